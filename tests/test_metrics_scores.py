"""The inception score and the kernel distance: against loops, closed forms, torchmetrics, and draw upon draw."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchmetrics.image.inception import InceptionScore as TorchmetricsScore
from torchmetrics.image.kid import KernelInceptionDistance

from course_lib.metrics import inception_score, kernels, kid

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


# --- the inception score ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, splits", [(40, 1), (40, 4), (43, 10), (7, 7)])
def test_inception_score_against_a_loop(n, splits):
    probs = normal(n, 5).softmax(1)
    scores = []
    for part in np.array_split(probs.numpy(), splits):
        marginal = part.mean(0)
        scores.append(math.exp(np.mean([sum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True))
                                        for row in part])))
    got = inception_score(probs, splits)
    assert got.mean == pytest.approx(np.mean(scores)) and got.std == pytest.approx(np.std(scores), abs=1e-12)


def test_inception_score_is_torchmetrics():
    logits = 3 * normal(200, 6, dtype=torch.float32)
    oracle = TorchmetricsScore(nn.Identity(), splits=1)          # it shuffles, so only whole sets can be compared
    oracle.update(logits)
    assert inception_score(logits.softmax(1), 1).mean == pytest.approx(oracle.compute()[0].item(), rel=1e-5)


def test_inception_score_is_one_for_like_answers_and_the_classes_for_sure_and_even_ones():
    assert inception_score(torch.full((30, 4), 0.25), 3) == pytest.approx((1, 0))
    assert inception_score(torch.tensor([[1.0, 0, 0]]).repeat(20, 1), 2) == (1, 0)               # 0·log 0 is 0
    assert inception_score(torch.eye(7).repeat(20, 1), 4) == pytest.approx((7, 0), abs=1e-12)
    uneven = torch.eye(3)[torch.tensor([0, 0, 1, 2])]                                           # exp of the entropy
    assert inception_score(uneven, 1).mean == pytest.approx(math.exp(1.5 * math.log(2)))
    answers = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=DOUBLE)                              # log 2 − H(0.9)
    assert inception_score(answers, 1).mean == pytest.approx(2 * 0.9**0.9 * 0.1**0.1)


def test_splits_are_cut_in_the_order_of_the_rows():
    by_class = torch.eye(5).repeat_interleave(10, 0)
    assert inception_score(by_class, 5) == pytest.approx((1, 0))                                # a class in each
    assert inception_score(by_class, 1).mean == pytest.approx(5)
    halves = torch.cat([torch.eye(2).repeat(10, 1), torch.full((20, 2), 0.5)])
    assert inception_score(halves, 2) == pytest.approx((1.5, 0.5))                              # the scores are 2 and 1


@pytest.mark.parametrize("probs, splits, message", [
    (torch.tensor([[2.0, -1.0]]), 1, "smallest entry is -1"), (torch.ones(4, 2), 1, "a sum is off by 1.*softmax"),
    (torch.tensor([[0.5, 0.5], [0.5, 0.499]]), 1, "a sum is off by 0.001"),
    (torch.tensor([[0.5, torch.nan]]), 1, "is off by nan"), (torch.full((4, 2), 0.5), 5, "splits is 5.*from 1 to 4"),
    (torch.full((4, 2), 0.5), 0, "splits is 0"), (torch.ones(4), 1, r"probs has shape \(4,\)"),
    (torch.ones(0, 2), 1, "splits is 1"),
])
def test_inception_score_refuses(probs, splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(probs, splits)


# --- the kernel distance ---------------------------------------------------------------------------------------------

def by_pairs(x, y, degree):
    """The unbiased estimate by its definition, pair by pair."""
    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** degree
    x, y = x.double().numpy(), y.double().numpy()
    within = [np.mean([k(a, b) for a, b in itertools.permutations(z, 2)]) for z in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a, b in itertools.product(x, y)])


@pytest.mark.parametrize("m, n, d, degree", [(4, 4, 1, 3), (20, 13, 6, 3), (13, 20, 6, 1), (9, 9, 3, 2)])
@pytest.mark.parametrize("centre", [0.0, 20.0])
def test_kid_against_all_pairs(m, n, d, degree, centre):
    x, y = centre + normal(m, d), centre + 0.3 + 1.2 * normal(n, d, seed=1)
    assert kid(x, y, degree).value == pytest.approx(by_pairs(x, y, degree), rel=1e-6, abs=1e-12)
    assert kid(x, y, degree) == pytest.approx(kid(y, x, degree), rel=1e-9)


def test_kid_is_torchmetrics_on_all_pairs():
    x, y = normal(60, 16), 0.2 + normal(60, 16, seed=1)
    oracle = KernelInceptionDistance(nn.Identity(), subsets=1, subset_size=60)
    oracle.update(x, real=True)
    oracle.update(y, real=False)
    assert kid(x, y).value == pytest.approx(oracle.compute()[0].item(), rel=1e-9)


def test_of_degree_one_kid_is_a_distance_of_means():
    # k = a·b/d + 1, so the biased estimate is ‖x̄ − ȳ‖²/d; the unbiased one is less by the means' own variances.
    x, y = normal(30, 5), 1 + 2 * normal(40, 5, seed=1)
    variances = x.var(0).sum() / 30 + y.var(0).sum() / 40
    assert kid(x, y, 1).value == pytest.approx((((x.mean(0) - y.mean(0)).square().sum() - variances) / 5).item())


def test_the_block_changes_nothing(monkeypatch):
    x, y = normal(50, 4), normal(33, 4, seed=1)
    whole = kid(x, y)
    for block in (1, 7 * 33, 50 * 33 - 1):
        monkeypatch.setattr(kernels, "BLOCK", block)
        assert kid(x, y) == pytest.approx(whole, rel=1e-9)


def test_float32_features_are_computed_in_float64():
    x, y = (5 + normal(200, 8, seed=s, dtype=torch.float32) for s in (0, 1))
    assert kid(x, y) == kid(x.double(), y.double())
    assert not any(isinstance(v, torch.Tensor) for v in kid(x.requires_grad_(), y))


def test_the_variance_is_estimated_without_bias():
    """All 2^9 draws of 4 and 5 rows from two distributions of two points, each with its probability: no chance left."""
    points_x = torch.tensor([[0.0, 1.0], [2.0, 0.5]], dtype=DOUBLE)
    points_y = torch.tensor([[1.0, 1.0], [-1.0, 0.3]], dtype=DOUBLE)
    p_x, p_y = np.array([0.3, 0.7]), np.array([0.6, 0.4])
    values, estimates, weights = [], [], []
    for draw in itertools.product((0, 1), repeat=9):
        x, y = points_x[list(draw[:4])], points_y[list(draw[4:])]
        origin = torch.zeros(2, dtype=DOUBLE)
        parts = kernels._variance(kernels._sums(x, x, origin, 3, same=True), kernels._sums(y, y, origin, 3, same=True),
                                  kernels._sums(x, y, origin, 3))
        values.append(kid(x, y).value)
        estimates.append([part.item() for part in parts])
        weights.append(p_x[list(draw[:4])].prod() * p_y[list(draw[4:])].prod())
    values, estimates, weights = map(np.array, (values, estimates, weights))
    mean = weights @ values

    def k(a, b):
        return ((a @ b.T / 2 + 1) ** 3).numpy()

    xx, yy, xy = k(points_x, points_x), k(points_y, points_y), k(points_x, points_y)
    assert mean == pytest.approx(p_x @ xx @ p_x + p_y @ yy @ p_y - 2 * p_x @ xy @ p_y)          # nor has the value any
    assert weights @ estimates.sum(1) == pytest.approx(weights @ (values - mean) ** 2, rel=1e-9)
    witness = [xx @ p_x - xy @ p_y, yy @ p_y - xy.T @ p_x]
    variance = [p @ w**2 - (p @ w) ** 2 for p, w in zip((p_x, p_y), witness, strict=True)]
    assert weights @ estimates[:, 0] == pytest.approx(4 * variance[0] / 4 + 4 * variance[1] / 5, rel=1e-9)


def exact_parts(x, y):
    """What single rows and what pairs add to the variance, in fractions, from all tuples of different rows."""
    def k(a, b):
        return (sum(Fraction(u) * Fraction(v) for u, v in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    def one_side(x, y):
        m, n = len(x), len(y)
        xx, xy = ([[k(a, b) for b in z] for a in x] for z in (x, y))
        # h(x; x', y) = k(x, x') − k(x, y): its mean given x is the witness. E[h h'] with the same x, less (E h)².
        triples, quadruples = (list(itertools.permutations(range(m), r)) for r in (3, 4))
        same = mean((xx[i][j] - xy[i][p]) * (xx[i][l] - xy[i][q]) for i, j, l in triples
                    for p, q in itertools.permutations(range(n), 2))
        apart = mean((xx[i][j] - xy[i][p]) * (xx[g][l] - xy[g][q]) for i, j, g, l in quadruples
                     for p, q in itertools.permutations(range(n), 2))
        pairs = mean(xx[i][j] ** 2 - 2 * xx[i][j] * xx[i][l] for i, j, l in triples)
        pairs += mean(xx[i][j] * xx[g][l] for i, j, g, l in quadruples)
        return same - apart, pairs

    x, y = x.tolist(), y.tolist()
    m, n = len(x), len(y)
    (zeta_x, sigma_x), (zeta_y, sigma_y) = one_side(x, y), one_side(y, x)
    xy = [[k(a, b) for b in y] for a in x]
    sigma_xy = mean(xy[i][p] * (xy[i][p] - xy[i][q] - xy[j][p] + xy[j][q])
                    for i, j in itertools.permutations(range(m), 2) for p, q in itertools.permutations(range(n), 2))
    return (float(4 * zeta_x / m + 4 * zeta_y / n),
            float(2 * sigma_x / (m * (m - 1)) + 2 * sigma_y / (n * (n - 1)) + 4 * sigma_xy / (m * n)))


@pytest.mark.parametrize("seed, centre, shift, signs", [
    (1, 0, 0, (1, 1)), (0, 0, 0, (-1, 1)), (1, 1000, 1, (1, 1)), (0, 1000, 0, (-1, 1)),
])
def test_the_error_is_that_of_fractions_even_far_from_0(seed, centre, shift, signs):
    """Whole features, so that they are exact; where a part of the variance comes out negative, it counts as 0."""
    x = centre + torch.randint(-3, 4, (5, 2), generator=seeded(seed)).double()
    y = centre + shift + torch.randint(-3, 4, (4, 2), generator=seeded(seed + 100)).double()
    parts = exact_parts(x, y)
    assert tuple(np.sign(parts)) == signs
    assert kid(x, y).error == pytest.approx(math.sqrt(sum(max(part, 0) for part in parts)), rel=1e-10)


def spread(m, n, shift, scale, d=6, draws=500):
    """The values' mean and standard deviation over independent draws, and the root mean square of the errors."""
    rows = torch.randn(draws, m + n, d, generator=seeded(m + n), dtype=DOUBLE)
    found = [kid(draw[:m], shift + scale * draw[m:]) for draw in rows]
    values, errors = torch.tensor(found, dtype=DOUBLE).T
    return values.mean().item(), values.std().item(), errors.square().mean().sqrt().item()


# Over 500 draws a standard deviation has a standard error of 1/√1000 = 3.2 % for Gaussian values, some 5 % for these.
@pytest.mark.parametrize("m, n", [(60, 60), (40, 90)])
def test_the_error_is_the_spread_over_draws_where_the_distributions_differ(m, n):
    _, std, error = spread(m, n, 0.5, 1.2)
    assert error / std == pytest.approx(1, abs=0.2)                                             # 4σ


@pytest.mark.parametrize("m, n", [(60, 60), (40, 120)])
def test_the_error_is_a_little_above_the_spread_where_they_are_alike(m, n):
    mean, std, error = spread(m, n, 0, 1)
    assert 1 < error / std < 1.45
    assert abs(mean) < 5 * std / math.sqrt(500)                                                 # no bias: 5σ


@pytest.mark.parametrize("x, y, degree, message", [
    (torch.zeros(3, 2), torch.zeros(9, 2), 3, "x has 3 rows and y has 9"),
    (torch.zeros(9, 2), torch.zeros(3, 2), 3, "x has 9 rows and y has 3"),
    (torch.zeros(9, 2), torch.zeros(9, 3), 3, r"y has shape \(9, 3\); it must be \(any, 2\)"),
    (torch.zeros(9), torch.zeros(9, 3), 3, r"x has shape \(9,\)"),
    (torch.zeros(9, 2), torch.zeros(9, 2), 0, "degree is 0"),
    (torch.full((9, 2), torch.nan), torch.zeros(9, 2), 3, "x or y is not finite"),
    (torch.zeros(9, 2), torch.full((9, 2), torch.inf), 3, "x or y is not finite"),
])
def test_kid_refuses(x, y, degree, message):
    with pytest.raises(ValueError, match=message):
        kid(x, y, degree)


def test_kid_of_one_point_over_and_over():
    assert kid(torch.ones(5, 3), torch.ones(4, 3)) == (0, 0)
    apart = kid(torch.zeros(5, 3), torch.ones(4, 3))                                            # 1 + 2³ − 2
    assert apart.value == pytest.approx(7) and apart.error == pytest.approx(0, abs=1e-6)
    assert_close(torch.tensor(apart), torch.tensor([7.0, 0.0]))
