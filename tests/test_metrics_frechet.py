"""Feature statistics and the Fréchet distance: against closed forms, scipy's square root of a matrix, torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torch.testing import assert_close
from torchmetrics.image.fid import FrechetInceptionDistance

from course_lib.metrics import feature_statistics, frechet_distance, whitened
from course_lib.networks import ConvClassifier

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def rotation(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def covariance(d, rank=None, seed=0):
    a = normal(d, rank or d + 2, seed=seed)
    return a @ a.T / d


def with_eigenvalues(values, axes):
    return (axes * values) @ axes.T


def textbook(mu1, cov1, mu2, cov2):
    """With scipy's square root of the product: good where both covariances are well conditioned."""
    root = sqrtm((cov1 @ cov2).numpy())
    assert abs(np.imag(root)).max() < 1e-9          # the complex residue, which must be checked here
    return float((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace() - 2 * np.trace(np.real(root)))


# --- the distance ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mu1, s1, mu2, s2", [(0, 1, 0, 1), (1, 1, -2, 1), (0, 3, 0, 0.5), (-1, 2, 4, 0), (5, 0, 2, 0)])
def test_in_one_dimension_means_and_deviations_differ_squared(mu1, s1, mu2, s2):
    one = [torch.tensor(v, dtype=DOUBLE) for v in ([mu1], [[s1**2]], [mu2], [[s2**2]])]
    assert frechet_distance(*one) == pytest.approx((mu1 - mu2) ** 2 + (s1 - s2) ** 2, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("d", [2, 16, 128])
def test_with_common_axes_each_is_a_case_of_one_dimension(d):
    axes, g = rotation(d), seeded(1)
    l1, l2 = torch.rand(2, d, generator=g, dtype=DOUBLE) ** 4                           # from 1 to 1e-8 and less
    mu1, mu2 = torch.randn(2, d, generator=g, dtype=DOUBLE)
    exact = ((mu1 - mu2).square() + (l1.sqrt() - l2.sqrt()).square()).sum().item()
    assert frechet_distance(mu1, with_eigenvalues(l1, axes), mu2, with_eigenvalues(l2, axes)) == pytest.approx(exact)


@pytest.mark.parametrize("d", [2, 5, 40])
def test_without_common_axes_it_is_the_textbook_s(d):
    mu1, mu2, cov1, cov2 = normal(d), normal(d, seed=1), covariance(d, seed=2), covariance(d, seed=3)
    assert not torch.allclose(cov1 @ cov2, cov2 @ cov1)
    assert frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(textbook(mu1, cov1, mu2, cov2), rel=1e-10)
    assert frechet_distance(mu2, cov2, mu1, cov1) == pytest.approx(frechet_distance(mu1, cov1, mu2, cov2), rel=1e-12)


def test_the_root_is_of_the_matrix_and_not_of_its_entries():
    cov1, cov2 = covariance(6), covariance(6, seed=1)
    entries = (cov1.trace() + cov2.trace() - 2 * (cov1 * cov2).abs().sqrt().trace()).item()
    assert abs(frechet_distance(torch.zeros(6), cov1, torch.zeros(6), cov2) / entries - 1) > 0.1


@pytest.mark.parametrize("d, rank", [(5, 3), (128, 60), (128, 1), (128, 127)])
def test_covariances_without_full_rank(d, rank):
    # Eigenvalues that should be 0 come out at some 1e-16, and their roots at 1e-8: hence a tolerance above rounding.
    axes, l1, l2 = rotation(d), torch.rand(d, generator=seeded(1), dtype=DOUBLE), torch.ones(d, dtype=DOUBLE)
    l1[rank:] = 0
    exact = (l1.sqrt() - l2.sqrt()).square().sum().item()
    zero, singular, full = torch.zeros(d, dtype=DOUBLE), with_eigenvalues(l1, axes), with_eigenvalues(l2, axes)
    assert frechet_distance(zero, singular, zero, full) == pytest.approx(exact, rel=1e-6)
    assert frechet_distance(zero, full, zero, singular) == pytest.approx(exact, rel=1e-6)
    assert 0 <= frechet_distance(zero, singular, zero, singular) < 1e-12


def test_two_singular_covariances_with_nothing_in_common():
    axes, half = rotation(64), torch.cat([torch.ones(32, dtype=DOUBLE), torch.zeros(32, dtype=DOUBLE)])
    cov1, cov2 = with_eigenvalues(half, axes), with_eigenvalues(half.flip(0), axes)
    assert frechet_distance(torch.zeros(64), cov1, torch.zeros(64), cov2) == pytest.approx(64, rel=1e-6)


def test_covariances_of_fewer_images_than_features():
    x, y = normal(20, 64), 1 + normal(30, 64, seed=1)
    (mu1, cov1, _), (mu2, cov2, _) = feature_statistics(nn.Identity(), x), feature_statistics(nn.Identity(), y)
    # tr (C₁C₂)^½ from the data themselves: the singular values of XYᵀ, both centred, 20 × 30 and of full rank.
    values = torch.linalg.svdvals((x - mu1) @ (y - mu2).T) / math.sqrt(19 * 29)
    exact = ((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace() - 2 * values.sum()).item()
    assert frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(exact, rel=1e-6)


def test_covariances_that_are_zero():
    zero, one = torch.zeros(3), torch.ones(3)
    assert frechet_distance(zero, torch.zeros(3, 3), one, torch.zeros(3, 3)) == 3
    assert frechet_distance(zero, torch.zeros(3, 3), zero, torch.eye(3)) == pytest.approx(3)
    assert frechet_distance(zero, torch.zeros(3, 3), zero, torch.zeros(3, 3)) == 0


@pytest.mark.parametrize("d", [4, 100])
def test_nearly_singular_covariances(d):
    axes = rotation(d)
    l1, l2 = torch.full((d,), 1e-14, dtype=DOUBLE), torch.full((d,), 1e-13, dtype=DOUBLE)
    l1[: d // 2], l2[d // 4:] = 1, 1
    exact = (l1.sqrt() - l2.sqrt()).square().sum().item()
    zero = torch.zeros(d)
    assert frechet_distance(zero, with_eigenvalues(l1, axes), zero, with_eigenvalues(l2, axes)) == pytest.approx(exact)


def test_a_small_distance_keeps_its_digits():
    cov = covariance(50)
    factor = 1 + 1e-6
    exact = cov.trace().item() * (math.sqrt(factor) - 1) ** 2                           # 3e-13 of the traces
    assert frechet_distance(torch.zeros(50), cov, torch.zeros(50), factor * cov) == pytest.approx(exact, rel=1e-6)
    assert 0 <= frechet_distance(torch.zeros(50), cov, torch.zeros(50), cov) < 1e-20


def test_units_and_float32():
    mu, cov = normal(8), covariance(8)
    d = frechet_distance(mu, cov, torch.zeros(8), torch.eye(8))
    assert frechet_distance(10 * mu, 100 * cov, torch.zeros(8), 100 * torch.eye(8)) == pytest.approx(100 * d)
    assert frechet_distance(mu.float(), cov.float(), torch.zeros(8), torch.eye(8)) == pytest.approx(d, rel=1e-5)
    assert isinstance(d, float)
    singular = torch.cov(normal(5, 60, dtype=torch.float32).T)                          # eigenvalues of -1e-7: rounding
    assert torch.linalg.eigvalsh(singular).min() < 0
    assert frechet_distance(torch.zeros(60), singular, torch.zeros(60), torch.zeros(60, 60)) == pytest.approx(
        singular.trace().item(), rel=1e-5)


EYE, LOPSIDED, NEGATIVE = torch.eye(3), torch.eye(3), torch.diag(torch.tensor([1.0, 1, -0.1]))
LOPSIDED[0, 1] = 0.1


@pytest.mark.parametrize("mu1, cov1, mu2, cov2, message", [
    (torch.zeros(3), LOPSIDED, torch.zeros(3), EYE, "cov1 is not symmetric"),
    (torch.zeros(3), EYE, torch.zeros(3), LOPSIDED, "cov2 is not symmetric"),
    (torch.zeros(3), NEGATIVE, torch.zeros(3), EYE, r"cov1 has the eigenvalue -0\.1"),
    (torch.zeros(3), EYE, torch.zeros(3), NEGATIVE, r"cov2 has the eigenvalue -0\.1"),
    (torch.zeros(3), EYE * torch.nan, torch.zeros(3), EYE, "mu1 or cov1 is not finite"),
    (torch.zeros(3), EYE, torch.full((3,), torch.inf), EYE, "mu2 or cov2 is not finite"),
    (torch.zeros(2), EYE, torch.zeros(3), EYE, r"cov1 has shape \(3, 3\); it must be \(2, 2\)"),
    (torch.zeros(3), EYE, torch.zeros(3), torch.ones(3), r"cov2 has shape \(3,\); it must be \(3, 3\)"),
    (torch.zeros(3, 1), EYE, torch.zeros(3), EYE, r"mu1 has shape \(3, 1\)"),
    (torch.zeros(3), EYE, torch.zeros(2), torch.eye(2), r"mu2 has shape \(2,\), but mu1 has shape \(3,\)"),
])
def test_what_is_no_mean_and_covariance_is_refused(mu1, cov1, mu2, cov2, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(mu1, cov1, mu2, cov2)


# --- statistics ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("block", [1, 7, 100, 1000])
@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_statistics_are_numpy_s_whatever_the_blocks(block, centre):
    x = centre + normal(100, 5) @ normal(5, 5, seed=1)
    mean, cov, n = feature_statistics(nn.Identity(), x, block)
    assert n == 100 and mean.dtype == cov.dtype == DOUBLE
    assert_close(mean.numpy(), x.numpy().mean(0), rtol=1e-14, atol=1e-14)
    assert_close(cov.numpy(), np.cov((x - centre).numpy().T), rtol=1e-8, atol=1e-8)     # 1e6 leaves 1e-10 of a float64
    assert torch.equal(cov, cov.T)


def test_statistics_of_batches_of_any_sizes_are_those_of_the_whole():
    x = normal(50, 4, dtype=torch.float32)
    whole = feature_statistics(torch.exp, x)
    streamed = feature_statistics(torch.exp, (part for part in x.split([1, 20, 0, 29])))
    assert streamed.n == 50
    assert_close(streamed.mean, whole.mean)
    assert_close(streamed.cov, whole.cov)
    assert_close(whole.cov.numpy(), np.cov(x.exp().double().numpy().T))


def test_statistics_in_float64_of_float32_features():
    x = normal(1000, 3, dtype=torch.float32) + 1e4                                      # float32 keeps 1e-3 of it
    assert_close(feature_statistics(nn.Identity(), x, 10).cov.numpy(), np.cov(x.double().numpy().T), rtol=1e-9, atol=0)


def test_bytes_count_from_0_to_1():
    x = torch.randint(256, (40, 3, 2, 2), generator=seeded(), dtype=torch.uint8)
    of_bytes, of_floats = (feature_statistics(lambda x: x.flatten(1), y, 16) for y in (x, x.float() / 255))
    assert torch.equal(of_bytes.mean, of_floats.mean) and torch.equal(of_bytes.cov, of_floats.cov)
    assert of_bytes.mean.max() < 1 and of_bytes.mean.shape == (12,)


def test_features_are_never_held_all_at_once():
    sizes = []
    def features(x):
        sizes.append(len(x))
        return x
    feature_statistics(features, torch.zeros(1050, 2, requires_grad=True))
    assert sizes == [500, 500, 50]
    assert not feature_statistics(nn.Linear(2, 2), torch.zeros(4, 2)).mean.requires_grad


def test_a_network_in_training_mode_is_refused_by_whichever_way_it_comes():
    classifier, x = ConvClassifier(width=4), torch.rand(4, 1, 28, 28)
    for features_of in (classifier, classifier.features, nn.Sequential(nn.Flatten(), nn.Dropout(0.5))):
        with pytest.raises(ValueError, match=r"training mode.*eval\(\)"):
            feature_statistics(features_of, x)
    assert feature_statistics(nn.Linear(2, 3), torch.rand(5, 2)).mean.shape == (3,)     # its mode makes no difference
    assert feature_statistics(classifier.eval().features, x).mean.shape == (16,)


@pytest.mark.parametrize("features_of, images, block, message", [
    (nn.Identity(), torch.zeros(1, 3), 500, "there are 1 images"),
    (nn.Identity(), torch.zeros(0, 3), 500, "there are 0 images"),
    (nn.Identity(), [], 500, "there are 0 images"),
    (nn.Identity(), torch.zeros(3, 2, 2), 500, r"features_of\(images\) has shape \(3, 2, 2\)"),
    (lambda x: x.mean(0, keepdim=True), torch.zeros(3, 2), 500, r"has shape \(1, 2\); it must be \(3, any\)"),
    (nn.Identity(), [torch.zeros(3, 2), torch.zeros(3, 4)], 500, r"has shape \(3, 4\); it must be \(3, 2\)"),
    (nn.Identity(), torch.tensor([[0.0], [1], [2], [torch.nan]]), 2, "features of images 2 to 3 are not all finite"),
    (nn.Identity(), torch.tensor([[0.0], [torch.inf]]), 2, "features of images 0 to 1 are not all finite"),
    (nn.Identity(), torch.zeros(4, 2), 0, "block is 0"),
])
def test_statistics_refuse(features_of, images, block, message):
    with pytest.raises(ValueError, match=message):
        feature_statistics(features_of, images, block)


# --- both, against torchmetrics --------------------------------------------------------------------------------------

def test_distance_on_classifier_features_is_torchmetrics():
    torch.manual_seed(0)
    classifier = ConvClassifier(width=4).eval().double()        # torchmetrics answers in the features' type

    class Features(nn.Module):
        num_features = 16

        def forward(self, x):
            return classifier.features(x)

    real, fake = (torch.rand(n, 1, 28, 28, generator=seeded(n), dtype=DOUBLE) ** p for n, p in ((300, 1), (200, 2)))
    oracle = FrechetInceptionDistance(Features(), input_img_size=(1, 28, 28))
    for part in real.split(60):
        oracle.update(part, real=True)
    for part in fake.split(60):
        oracle.update(part, real=False)
    (mu1, cov1, _), (mu2, cov2, _) = (feature_statistics(classifier.features, x, 70) for x in (real, fake))
    assert frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(oracle.compute().item(), rel=1e-6)


# --- whitened features -----------------------------------------------------------------------------------------------

def test_whitened_real_features_have_mean_0_and_covariance_1():
    mix = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = torch.randn(500, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ mix + 3
    made = whitened(real, feature_statistics(nn.Identity(), real))
    assert_close(made.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-10, rtol=0)
    assert_close(torch.cov(made.T), torch.eye(6, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_distance_of_whitened_features_stays_the_same_under_a_linear_map():
    real, fake = torch.randn(2, 300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fake = 1.3 * fake + 0.2
    squeeze = torch.diag(torch.tensor([1e-3, 1.0, 30.0, 2.0], dtype=torch.float64))

    def distance(real, fake):
        statistics = feature_statistics(nn.Identity(), real)
        own = feature_statistics(nn.Identity(), whitened(fake, statistics))
        return frechet_distance(own.mean, own.cov, torch.zeros(4), torch.eye(4))

    plain, squeezed = distance(real, fake), distance(real @ squeeze, fake @ squeeze)
    assert abs(squeezed / plain - 1) < 1e-6
    assert plain > 0.1


def test_features_without_variance_cannot_be_whitened():
    real = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    real[:, 1] = 0
    statistics = feature_statistics(nn.Identity(), real)
    with pytest.raises(ValueError, match=r"singular.*never active"):
        whitened(real, statistics)
    with pytest.raises(ValueError, match=r"features has shape \(50, 2\)"):
        whitened(real[:, :2], statistics)
