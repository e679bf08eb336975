"""Precision, recall, density, coverage, and copies: against brute force in float64, scipy, and cases known by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm
from torch.testing import assert_close

from course_lib.metrics import (
    Nearest,
    copying_test,
    density_coverage,
    in_manifold,
    manifolds,
    nearest_training,
    neighbour_radius,
    precision_recall,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


# --- precision and recall --------------------------------------------------------------------------------------------

def brute_force(real, fake, k):
    """Precision, recall, density, coverage, with all distances at once."""
    real, fake = real.double().numpy(), fake.double().numpy()

    def radii(x):
        distances = cdist(x, x)
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, 1)[:, k - 1]

    in_real, in_fake = cdist(fake, real) <= radii(real), cdist(real, fake) <= radii(fake)
    return in_real.any(1).mean(), in_fake.any(1).mean(), in_real.sum() / (k * len(fake)), in_real.any(0).mean()


def whole(n, d, top, seed):
    """Points on a lattice of whole numbers: many ties and copies, and all distances squared are exact."""
    return torch.randint(top, (n, d), generator=seeded(seed)).float()


SETS = {"apart in spread": (normal(300, 5), 0.7 * normal(200, 5, seed=1)),
        "far from 0": (1e4 + normal(200, 3), 1e4 + 0.5 + normal(250, 3, seed=1)),
        "many features": (normal(150, 100), normal(150, 100, seed=1)),
        "one feature": (normal(60, 1), 1 + normal(50, 1, seed=1)),
        "a lattice": (whole(300, 3, 4, 0), whole(200, 3, 5, 1)),
        "a small lattice": (whole(100, 2, 3, 0), whole(120, 2, 4, 1)),
        "copies": (normal(80, 4), torch.cat([normal(40, 4), 3 + normal(40, 4, seed=1)])),
        "one real point": (torch.ones(20, 3), torch.cat([torch.ones(5, 3), torch.zeros(15, 3)])),
        "near copies": (normal(100, 4), normal(100, 4) + 1e-7 * normal(100, 4, seed=1))}


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("name", SETS)
def test_precision_recall_density_and_coverage_are_those_of_brute_force(name, k, monkeypatch):
    real, fake = SETS[name]
    oracle = brute_force(real, fake, k)
    for block in (manifolds.BLOCK, 1000, 1):
        monkeypatch.setattr(manifolds, "BLOCK", block)
        assert (*precision_recall(real, fake, k), *density_coverage(real, fake, k)) == pytest.approx(oracle, abs=1e-12)


def test_the_defaults_are_the_papers():
    real, fake = SETS["apart in spread"]
    assert precision_recall(real, fake) == precision_recall(real, fake, 3) != precision_recall(real, fake, 4)
    assert density_coverage(real, fake) == density_coverage(real, fake, 5) != density_coverage(real, fake, 4)


def test_precision_without_recall_and_the_reverse():
    g = seeded()
    clusters = 20 * torch.eye(4)[torch.arange(400) % 4] + torch.randn(400, 4, generator=g)
    one_mode, one_and_strays = clusters[::4], torch.cat([clusters, 200 + 20 * torch.randn(400, 4, generator=g)])
    assert precision_recall(clusters, one_mode) == (1, pytest.approx(0.25, abs=0.03))
    precision, recall = precision_recall(clusters, one_and_strays)
    assert precision == 0.5 and recall == 1
    swapped = precision_recall(one_mode, clusters)
    assert swapped == precision_recall(clusters, one_mode)[::-1]


def test_precision_and_recall_by_hand():
    real, fake = torch.tensor([[0.0], [1], [3]]), torch.tensor([[-1.0], [5], [5.5]])
    # k = 1: real balls [−1, 1], [0, 2], [1, 5]; fake ones [−7, 5], [4.5, 5.5], [5, 6].
    assert neighbour_radius(real, 1).tolist() == [1, 1, 2] and neighbour_radius(fake, 1).tolist() == [6, 0.5, 0.5]
    assert in_manifold(fake, real, 1).tolist() == [True, True, False]                 # −1 and 5 lie on a surface
    assert in_manifold(real, fake, 1).tolist() == [True, True, True]
    assert in_manifold(fake, real, 1, radii=torch.tensor([1.0, 1, 2.5])).tolist() == [True, True, True]
    with pytest.raises(ValueError, match=r"radii has shape \(2,\); it must be \(3,\)"):
        in_manifold(fake, real, 1, radii=torch.ones(2))
    assert precision_recall(real, fake, 1) == (2 / 3, 1)
    assert density_coverage(real, fake, 1) == (2 / 3, 2 / 3)                          # [0, 2] holds none


def test_a_surface_is_told_from_just_outside():
    real = torch.tensor([[0.0, 0], [3, 4]], dtype=torch.float64)                      # k = 1: both radii are 5
    for reach, inside in ((5, True), (5 * (1 + 1e-13), True), (5 * (1 + 1e-11), False), (5 * (1 - 1e-11), True)):
        assert in_manifold(torch.tensor([[-reach, 0.0]], dtype=torch.float64), real, 1).item() is inside


def test_a_radius_counts_copies_but_not_the_point_itself():
    x = torch.tensor([[0.0], [0], [0], [7], [9]])
    assert neighbour_radius(x, 1).tolist() == [0, 0, 0, 2, 2]
    assert neighbour_radius(x, 2).tolist() == [0, 0, 0, 7, 9]
    assert neighbour_radius(x, 3).tolist() == [7, 7, 7, 7, 9]


def test_small_radii_among_large_distances_keep_their_digits():
    # 30 knots of 20 points, each 1e-6 wide, 1e3 from each other: in squares 1e-12 and 1e6, more than float64 can hold.
    knots = 1e3 * normal(30, 6, dtype=torch.float64).repeat_interleave(20, 0)
    x = knots + 1e-6 * normal(600, 6, seed=1, dtype=torch.float64)
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    assert_close(neighbour_radius(x, 3).numpy(), np.sort(distances, 1)[:, 2], rtol=1e-9, atol=0)
    y = knots + 1e-6 * normal(600, 6, seed=2, dtype=torch.float64)
    assert precision_recall(x, y) == pytest.approx(brute_force(x, y, 3)[:2], abs=1e-12)


def test_a_copy_lies_on_its_manifold_even_among_copies():
    x = normal(50, 128)
    assert precision_recall(x, x.repeat(2, 1)) == (1, 1)
    assert in_manifold(x, x.repeat_interleave(5, 0)).all()                            # radius 0, and distance 0
    assert not in_manifold(x + 1e-3, x.repeat_interleave(5, 0)).any()
    assert in_manifold(x[:0], x).shape == (0,)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
@pytest.mark.parametrize("real, fake, k, message", [
    (torch.zeros(5, 2), torch.zeros(9, 2), 5, "k is 5; it must be from 1 to 4"),
    (torch.zeros(9, 2), torch.zeros(5, 2), 5, "k is 5; it must be from 1 to 4"),
    (torch.zeros(5, 2), torch.zeros(5, 2), 0, "k is 0"),
    (torch.zeros(5, 2), torch.zeros(5, 3), 3, r"\(5, 3\); it must be \(any, 2\)"),
    (torch.zeros(5, 2, 1), torch.zeros(5, 2, 1), 3, r"\(5, 2, 1\)"),
    (torch.zeros(5, 2), torch.full((5, 2), torch.nan), 3, "not finite"),
    (torch.full((5, 2), torch.inf), torch.zeros(5, 2), 3, "not finite"),
])
def test_manifolds_refuse(measure, real, fake, k, message):
    with pytest.raises(ValueError, match=message):
        measure(real, fake, k)


# --- memorisation ----------------------------------------------------------------------------------------------------

def test_nearest_training_items_are_brute_force_s():
    samples, train = normal(30, 1, 4, 4), normal(100, 1, 4, 4, seed=1)
    oracle = cdist(samples.flatten(1).double(), train.flatten(1).double())
    for to in (train, Nearest(train)):
        found = nearest_training(samples, to)
        assert found.indices.tolist() == oracle.argmin(1).tolist()
        assert_close(found.distances.double().numpy(), oracle.min(1), rtol=1e-5, atol=0)
    assert torch.equal(nearest_training(train[::7], train).distances, torch.zeros(15))
    assert nearest_training(train[::7], train).indices.tolist() == list(range(0, 100, 7))


def test_bytes_count_from_0_to_1_here_too():
    samples, train = (torch.randint(256, (n, 1, 3, 3), generator=seeded(n), dtype=torch.uint8) for n in (8, 20))
    as_bytes, as_floats = nearest_training(samples, train), nearest_training(samples / 255.0, train / 255.0)
    assert torch.equal(as_bytes.indices, as_floats.indices) and as_bytes.distances.max() < 3
    assert_close(as_bytes.distances, as_floats.distances)


def scipy_z(samples, train, test):
    near = [cdist(x.double(), train.double()).min(1) for x in (samples, test)]
    found = mannwhitneyu(*near, use_continuity=False, method="asymptotic")
    u, (n, m) = found.statistic, map(len, near)
    return math.copysign(norm.isf(found.pvalue / 2), u - n * m / 2)                   # the p value knows the ties


@pytest.mark.parametrize("samples", [normal(60, 4, seed=2), 1.3 * normal(60, 4, seed=2), whole(60, 4, 2, 5)])
def test_z_is_scipy_s_mann_whitney(samples):
    train, test = normal(300, 4), normal(80, 4, seed=1)
    assert copying_test(samples, train, test).z == pytest.approx(scipy_z(samples, train, test), rel=1e-6)


def test_z_with_ties_is_scipy_s():
    samples, train, test = whole(70, 2, 9, 2), whole(20, 2, 6, 0), whole(90, 2, 8, 1)
    exact = [cdist(x, train).min(1) for x in (samples, test)]
    assert len(np.unique(np.concatenate(exact))) < 20                                 # nearly all are tied
    assert copying_test(samples, train, test).z == pytest.approx(scipy_z(samples, train, test), rel=1e-6)


def test_copies_and_poor_samples_lie_on_either_side():
    train, test = normal(400, 6), normal(200, 6, seed=1)
    copies = train[:100] + 0.01 * normal(100, 6, seed=2)
    copied, poor = copying_test(copies, train, test), copying_test(2 * normal(100, 6, seed=2), train, test)
    assert copied.z < -10 and copied.share == 1 and poor.z > 5 and poor.share < 0.05
    assert copying_test(train[:100], train, test).share == 1
    assert all(isinstance(v, float) for v in copied)


def test_fresh_draws_are_not_accused():
    """Over 200 draws z has mean 0 and standard deviation 1 (standard errors 0.07 and 0.05), share the quantile."""
    g, found = seeded(), []
    for _ in range(200):
        train, samples, test = torch.randn(3, 60, 3, generator=g)
        found.append(copying_test(samples, train, test, quantile=0.1))
    z, share = torch.tensor(found, dtype=torch.float64).T
    # One training set serves both samples and test, and z is N(0, 1) given that set too.
    assert abs(z.mean()) < 4 * 0.07 and abs(z.std() - 1) < 4 * 0.05
    # The 0.1-quantile of 60, interpolated, lies at rank 6.9 of 61 gaps: 0.113; each share varies by 0.05, their mean
    # by 0.004.
    assert abs(share.mean() - 0.113) < 4 * 0.004


def test_where_all_distances_are_alike_nothing_can_be_told():
    train = torch.zeros(5, 2)
    assert copying_test(torch.ones(6, 2), train, torch.ones(7, 2)) == (0, 1)
    assert copying_test(torch.zeros(6, 2), train, torch.zeros(7, 2)) == (0, 1)


@pytest.mark.parametrize("samples, train, test, quantile, message", [
    (torch.zeros(0, 2), torch.zeros(5, 2), torch.zeros(5, 2), 0.01, "there are no samples or no test items"),
    (torch.zeros(5, 2), torch.zeros(5, 2), torch.zeros(0, 2), 0.01, "there are no samples or no test items"),
    (torch.zeros(5, 2), torch.zeros(0, 2), torch.zeros(5, 2), 0.01, "nothing to be near to"),
    (torch.zeros(5, 2), torch.zeros(5, 3), torch.zeros(5, 3), 0.01, "has 2 numbers.*has 3"),
    (torch.zeros(5, 2), torch.zeros(5, 2), torch.zeros(5, 2), 0.0, r"quantile is 0\.0"),
    (torch.zeros(5, 2), torch.zeros(5, 2), torch.zeros(5, 2), 1, "quantile is 1"),
])
def test_copying_test_refuses(samples, train, test, quantile, message):
    with pytest.raises(ValueError, match=message):
        copying_test(samples, train, test, quantile)
