"""KL, JS and W₁: against scipy's quadrature, distances and assignments, closed forms, finite differences."""

import math
from functools import partial
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import entropy, norm, wasserstein_distance
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from course_lib.datasets import parallel_lines
from course_lib.divergences import (
    emd,
    gaussians_apart,
    js,
    js_from_samples,
    js_of_histograms,
    kantorovich_dual,
    kantorovich_potential,
    kl,
    kl_from_samples,
    lines_apart,
    transport_cost,
    uniforms_apart,
    wasserstein_1d,
    wasserstein_1d_densities,
    wasserstein_1d_gaussians,
)

LOG_2 = math.log(2)
exactly = {"rtol": 0, "atol": 0}
close = partial(assert_close, rtol=0, atol=1e-12)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def shares(n, seed=0):
    raw = torch.rand(n, dtype=torch.float64, generator=seeded(seed))
    return raw / raw.sum()


def bell(x, mean=0.0, std=1.0):
    return (-((x - mean) / std) ** 2 / 2).exp() / (std * math.sqrt(2 * math.pi))


def pdf(x, mean=0.0, std=1.0):
    """N(mean, std²) at a number, by math alone: quad asks for many."""
    return math.exp(-((x - mean) / std) ** 2 / 2) / (std * math.sqrt(2 * math.pi))


def js_by_quad(p, q, low, high, at=None):
    """The integral that defines it, adaptive, of two functions of a number."""
    def integrand(x):
        a, b = p(x), q(x)
        return sum(d * math.log(2 * d / (a + b)) / 2 for d in (a, b) if d > 0)

    return quad(integrand, low, high, points=at, epsabs=1e-13, epsrel=1e-12, limit=400)[0]


# --- densities on a grid ---------------------------------------------------------------------------------------------

def test_kl_and_js_of_masses_equal_scipy():
    for seed in range(5):
        p, q = shares(7, seed), shares(7, seed + 100)
        close(kl(p, q, 1), number(entropy(p, q)))
        close(js(p, q, 1), number(jensenshannon(p, q) ** 2))


def test_kl_of_gaussians_on_a_grid_equals_torch_distributions():
    dx = 0.01
    x = torch.arange(-15, 15, dx, dtype=torch.float64)
    for mean, std in [(0.0, 1.0), (1.5, 0.6), (-2.0, 1.3)]:
        oracle = kl_divergence(Normal(number(mean), number(std)), Normal(number(0.0), number(1.0)))
        assert_close(kl(bell(x, mean, std), bell(x), dx), oracle, rtol=0, atol=1e-9)


def test_kl_is_infinite_where_q_is_0_and_p_is_not_and_js_is_log_2_at_most():
    p, q = torch.tensor([0.5, 0.5, 0, 0]), torch.tensor([0, 0.25, 0.75, 0])
    assert kl(p, q, 1).item() == kl(q, p, 1).item() == math.inf
    assert js(p, q, 1).item() == pytest.approx(jensenshannon(p.double(), q.double()) ** 2, abs=1e-12)
    assert kl(torch.tensor([0, 1.0]), torch.tensor([0.5, 0.5]), 1).item() == pytest.approx(LOG_2)
    assert js(torch.tensor([1.0, 0]), torch.tensor([0, 1.0]), 1).item() == pytest.approx(LOG_2, abs=1e-15)
    for seed in range(20):                              # within the tolerance, and yet never above log 2
        p, q = torch.cat([shares(9, seed), torch.zeros(9)]), torch.cat([torch.zeros(9), shares(9, seed + 100)])
        assert js(1.0009 * p, 1.0009 * q, 1).item() <= LOG_2 + 1e-15


@pytest.mark.parametrize("divergence", [kl, js, wasserstein_1d_densities])
def test_a_divergence_of_densities_is_0_for_equal_ones_alone(divergence):
    for seed in range(10):
        p, q = shares(30, seed), shares(30, seed + 100)
        assert divergence(p, p, 1).item() == 0 < 1e-3 < divergence(p, q, 1).item()


def test_js_and_w1_are_symmetric_and_kl_is_not():
    p, q = shares(30), shares(30, 1)
    close(js(p, q, 1), js(q, p, 1))
    close(wasserstein_1d_densities(p, q, 1), wasserstein_1d_densities(q, p, 1))
    assert abs(kl(p, q, 1) - kl(q, p, 1)) > 1e-3


def test_kl_is_no_distance_and_w1_keeps_the_triangle_inequality():
    x = torch.arange(-12, 14, 0.01, dtype=torch.float64)
    p, q, r = (bell(x, mean) for mean in (0.0, 1.0, 2.0))
    between = lambda divergence: [divergence(*pair, 0.01).item() for pair in ((p, r), (p, q), (q, r))]
    assert between(kl) == pytest.approx([2, 0.5, 0.5], abs=1e-6)
    whole, first, second = between(wasserstein_1d_densities)
    assert whole <= first + second + 1e-12


def test_cells_may_differ_in_size_and_a_grid_may_have_two_dimensions():
    edges = torch.cat([torch.arange(-9, 0, 0.02), torch.arange(0, 9.001, 0.01)]).double()
    dx, x = edges.diff(), (edges[1:] + edges[:-1]) / 2
    assert kl(bell(x, 0.5), bell(x), dx).item() == pytest.approx(0.125, abs=1e-5)
    assert wasserstein_1d_densities(bell(x, 0.5), bell(x), dx).item() == pytest.approx(0.5, abs=1e-5)
    x = torch.arange(-8, 8, 0.1, dtype=torch.float64)
    p, q = bell(x)[:, None] * bell(x), bell(x, 1.0)[:, None] * bell(x, -2.0)
    assert kl(p, q, 0.01).item() == pytest.approx(2.5, abs=1e-9)                       # ½(1² + 2²)
    assert js(p, q, 0.01).item() == pytest.approx(js(p.flatten(), q.flatten(), 0.01).item(), abs=1e-14)


@pytest.mark.parametrize("theta, std", [(0.3, 1.0), (2.0, 1.0), (1.0, 0.5), (0.0, 1.7)])
def test_js_on_a_grid_is_the_integral_that_defines_it(theta, std):
    x = torch.arange(-15, 15, 0.01, dtype=torch.float64)
    oracle = js_by_quad(pdf, lambda z: pdf(z, theta, std), -15, 15, at=[0, theta])
    assert js(bell(x), bell(x, theta, std), 0.01).item() == pytest.approx(oracle, abs=1e-10)


def test_w1_of_densities_equals_scipy_and_the_closed_form():
    for seed in range(5):
        p, q, dx = shares(40, seed) / 0.3, shares(40, seed + 100) / 0.3, 0.3
        x = dx * np.arange(40)
        close(wasserstein_1d_densities(p, q, dx), number(wasserstein_distance(x, x, p, q)))
    x = torch.arange(-15, 15, 0.01, dtype=torch.float64)
    found = wasserstein_1d_densities(bell(x, 0.5, 1.5), bell(x), 0.01)
    assert_close(found, wasserstein_1d_gaussians(0.5, 1.5, 0.0, 1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("divergence", [kl, js, wasserstein_1d_densities])
def test_the_gradient_of_a_divergence_of_densities_is_its_slope(divergence):
    p, q = (shares(6, seed).requires_grad_() for seed in (0, 1))
    normed = lambda p, q: divergence(p / p.sum(), q / q.sum(), 1)
    assert torch.autograd.gradcheck(normed, (p, q))
    x = torch.arange(-12, 14, 0.01, dtype=torch.float64)
    theta = number(1.5).requires_grad_()
    slope = torch.autograd.grad(divergence(bell(x), bell(x, theta), 0.01), theta)[0].item()
    row = gaussians_apart(1.5)
    wanted = {kl: row.dkl, js: row.djs, wasserstein_1d_densities: row.dw1}[divergence]
    assert slope == pytest.approx(wanted.item(), abs=1e-5)


def test_empty_cells_leave_no_nan_in_the_gradient():
    p, q = torch.tensor([0.0, 0.4, 0.6], requires_grad=True), torch.tensor([0.0, 0.5, 0.5], requires_grad=True)
    for divergence in (kl, js):
        assert all(g.isfinite().all() for g in torch.autograd.grad(divergence(p, q, 1), (p, q)))


@pytest.mark.parametrize("divergence", [kl, js, wasserstein_1d_densities])
@pytest.mark.parametrize("change, message", [
    ({"p": [0.5, 0.6]}, r"p integrates to 1\.1; it must be 1 within 0\.001: widen or refine"),
    ({"q": [0.5, 0.498]}, r"q integrates to 0\.998"),
    ({"dx": 0.5}, r"p integrates to 0\.5.*dx is 1"),
    ({"p": [1.5, -0.5]}, r"p goes down to -0\.5; it must be 0 or more.*no negative mass"),
    ({"q": [math.nan, 1]}, "q is NaN or infinite in 1 of"),
    ({"q": [math.inf, 1]}, "q is NaN or infinite in 1 of"),
    ({"q": [0.2, 0.3, 0.5]}, r"q has shape \(3,\), but p has shape \(2,\)"),
    ({"q": [1.0]}, r"q has shape \(1,\), but p has shape \(2,\)"),
    ({"p": [], "q": []}, "p is empty"),
    ({"dx": 0}, "dx goes down to 0; it must be above 0"),
    ({"dx": -1.0}, "dx goes down to -1"),
    ({"dx": [1.0, 0.0]}, "dx goes down to 0"),
    ({"dx": math.nan}, "dx is NaN or infinite in 1 of"),
    ({"dx": [1.0]}, r"dx has shape \(1,\), but p has shape \(2,\)"),
])
def test_what_are_no_densities_is_refused(divergence, change, message):
    fits = {"p": [0.5, 0.5], "q": np.array([0.25, 0.75]), "dx": 1}
    assert divergence(**fits) > 0
    with pytest.raises(ValueError, match=message):
        divergence(**(fits | change))


def test_w1_of_a_grid_of_two_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"p has shape \(2, 2\); it must be \(any,\)"):
        wasserstein_1d_densities(torch.full((2, 2), 0.25), torch.full((2, 2), 0.25), 1)


# --- samples ---------------------------------------------------------------------------------------------------------

def test_kl_and_js_from_samples_meet_the_integrals_within_their_errors():
    # 100,000 draws each, 4 comparisons within 5 standard errors: a false alarm in 2e-6 of seeds.
    p, q = Normal(number(0.0), number(1.0)), Normal(number(1.0), number(1.4))
    x, y = normal(100_000), 1 + 1.4 * normal(100_000, seed=1)
    found, error = kl_from_samples(p.log_prob(x), q.log_prob(x))
    assert abs(found - kl_divergence(p, q)) < 5 * error
    found, error = kl_from_samples(q.log_prob(y), p.log_prob(y))
    assert abs(found - kl_divergence(q, p)) < 5 * error
    oracle = js_by_quad(pdf, lambda z: pdf(z, 1, 1.4), -20, 20, at=[0, 1])
    found, error = js_from_samples(p.log_prob(x), q.log_prob(x), p.log_prob(y), q.log_prob(y))
    assert abs(found - oracle) < 5 * error < 0.01
    assert abs(js_from_samples(q.log_prob(y), p.log_prob(y), q.log_prob(x), p.log_prob(x)).value - oracle) < 5 * error


def test_the_standard_errors_are_the_spread_of_the_estimates():
    # 500 estimates: their deviation is known to 3.2 % (they are nearly normal); 5 of these: a false alarm in 1e-6.
    p, q = Normal(number(0.0), number(1.0)), Normal(number(0.5), number(1.2))
    x, y = normal(500, 200), 0.5 + 1.2 * normal(500, 100, seed=1)
    kls = [kl_from_samples(p.log_prob(i), q.log_prob(i)) for i in x]
    jss = [js_from_samples(p.log_prob(i), q.log_prob(i), p.log_prob(j), q.log_prob(j))
           for i, j in zip(x, y, strict=True)]
    for estimates in (kls, jss):
        values, errors = (torch.stack(column) for column in zip(*estimates, strict=True))
        assert (values.std() / errors.square().mean().sqrt()).item() == pytest.approx(1, abs=0.16)


def test_samples_where_the_other_density_is_0():
    nothing = torch.tensor([-math.inf, 0.0])
    value, error = kl_from_samples(torch.zeros(2), nothing)
    assert value.item() == math.inf and error.isnan()
    far = torch.full((3,), -math.inf)
    assert js_from_samples(torch.zeros(3), far, far, torch.zeros(3)) == (pytest.approx(LOG_2), 0)
    assert js_from_samples(torch.zeros(3), torch.zeros(3), torch.ones(3), torch.ones(3)) == (pytest.approx(0), 0)


@pytest.mark.parametrize("call, message", [
    (lambda z: kl_from_samples(z, z[:2]), r"log_q has shape \(2,\), but log_p has shape \(3,\)"),
    (lambda z: kl_from_samples(z[:1], z[:1]), "log_p has length 1; it must be 2 or more"),
    (lambda z: kl_from_samples(z[:, None], z[:, None]), r"log_p has shape \(3, 1\)"),
    (lambda z: kl_from_samples(z, z * math.nan), "log_q holds NaN or"),
    (lambda z: kl_from_samples(z, z + math.inf), "log_q holds NaN or"),
    (lambda z: kl_from_samples(z - math.inf, z), "log_p is −∞ at some samples.*exchanged"),
    (lambda z: js_from_samples(z, z[:2], z, z), r"log_q_x has shape \(2,\), but log_p_x has shape \(3,\)"),
    (lambda z: js_from_samples(z, z, z[:2], z), r"log_p_y has shape \(2,\), but log_q_y has shape \(3,\)"),
    (lambda z: js_from_samples(z - math.inf, z, z, z), "log_p_x is −∞"),
    (lambda z: js_from_samples(z, z, z, z - math.inf), "log_q_y is −∞"),
    (lambda z: js_from_samples(z, z, z, z[:1]), r"log_p_y has shape \(3,\), but log_q_y has shape \(1,\)"),
])
def test_log_densities_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3))


def test_js_of_histograms_equals_numpy_s_counts():
    x, y, edges = normal(300), normal(200, seed=1) + 1, np.array([-6.0, -1, 0, 0.5, 3, 6])
    counts = [np.histogram(points, edges)[0] / len(points) for points in (x, y)]
    close(js_of_histograms(x, y, edges), number(jensenshannon(*counts) ** 2))
    on_edges = torch.tensor([0.0, 1, 1, 2])             # the last bin holds its upper edge, as numpy has it
    counts = [np.histogram(points, [0, 1, 2])[0] / 4 for points in (on_edges, on_edges / 2)]
    close(js_of_histograms(on_edges, on_edges / 2, [0, 1, 2]), number(jensenshannon(*counts) ** 2))


def test_a_histogram_s_js_is_too_large_by_the_stated_bias():
    # 200 estimates: their mean is known to 3.3 %; 5 of these and 2 % for what the bias leaves out: an alarm in 6e-7.
    edges = torch.linspace(0, 1, 11)
    x, y = (torch.rand(200, n, generator=seeded(n)) for n in (1_000, 500))
    found = torch.stack([js_of_histograms(i, j, edges) for i, j in zip(x, y, strict=True)]).mean().item()
    assert found == pytest.approx(9 * (1 / 1_000 + 1 / 500) / 8, rel=0.185)


def test_a_histogram_s_js_runs_from_blurred_to_log_2_with_its_bins():
    x, y = normal(1_000), normal(1_000, seed=1) + 0.5
    coarse, fine = (js_of_histograms(x, y, torch.linspace(-6, 6, k + 1)).item() for k in (1, 1_000_000))
    assert coarse == 0 and fine > 0.99 * LOG_2
    assert js_of_histograms(x, y, torch.linspace(-6, 6, 3)) < 0.5**2 / 8 < js_of_histograms(
        x, y, torch.linspace(-6, 6, 101))


@pytest.mark.parametrize("edges, message", [
    ([0.0, 1.0], r"1 of y lie beyond the edges, 0 to 1; all must lie within: widen"),
    ([0.1, 3.0], "1 of x lie beyond"),
    ([0.0], "edges has length 1; it must be 2 or more"), ([0.0, 3.0, 3.0], "edges has a step of 0; each must be above"),
    ([0.0, 3.0, 2.0], "edges has a step of -1"),
    ([[0.0, 3.0]], r"edges has shape \(1, 2\)"), ([0.0, math.nan], "edges is NaN or infinite in 1 of"),
])
def test_bad_edges_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        js_of_histograms([0.0, 0.5], [1.0, 2.0], edges)


# --- W₁ of samples on a line -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, m", [(1, 1), (5, 5), (7, 3), (200, 333)])
def test_wasserstein_1d_equals_scipy(n, m):
    for seed in range(5):
        x, y, u, v = normal(n, seed=seed), 2 * normal(m, seed=seed + 100), shares(n, seed), shares(m, seed + 100)
        close(wasserstein_1d(x, y), number(wasserstein_distance(x, y)))
        close(wasserstein_1d(x, y, u, v), number(wasserstein_distance(x, y, u, v)))
        close(wasserstein_1d(x, y, y_weights=v), number(wasserstein_distance(x, y, None, v)))
        a, b = (x * 2).round(), (y * 2).round()         # points that meet
        close(wasserstein_1d(a, b, u, v), number(wasserstein_distance(a, b, u, v)))


def test_wasserstein_1d_is_a_distance():
    x, y, z = normal(9), normal(7, seed=1), normal(8, seed=2)
    assert wasserstein_1d(x, x.flip(0)).item() == 0
    close(wasserstein_1d(x, y), wasserstein_1d(y, x))
    assert wasserstein_1d(x, z) <= wasserstein_1d(x, y) + wasserstein_1d(y, z)
    close(wasserstein_1d(3 - 2 * x, 3 - 2 * y), 2 * wasserstein_1d(x, y))
    close(wasserstein_1d(x, x + 0.7), number(0.7))


def test_a_weight_is_a_number_of_copies():
    x, y = normal(4), normal(6, seed=1)
    copies = torch.tensor([1, 3, 0, 2])
    close(wasserstein_1d(x, y, copies / 6), wasserstein_1d(x.repeat_interleave(copies), y), rtol=0, atol=1e-7)


def test_the_gradient_of_wasserstein_1d_is_its_slope():
    x, y = normal(6).requires_grad_(), normal(4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(wasserstein_1d, (x, y))
    assert torch.autograd.gradcheck(lambda x, y: wasserstein_1d(x, y, shares(6), shares(4)), (x, y))


def test_samples_far_from_the_data_are_pulled_at_full_strength():
    x, y = normal(5).float().requires_grad_(), normal(8, seed=1).float() + 1_000
    assert_close(torch.autograd.grad(wasserstein_1d(x, y), x)[0], torch.full((5,), -0.2), rtol=0, atol=1e-7)


def test_w1_of_samples_of_gaussians_meets_the_closed_form():
    # 100,000 draws each: W₁ moves no more than its points do, so its error is below √(1.5² + 1²)/√100,000 = 0.0057, and
    # its bias below that; 0.03 is 5 of these: a false alarm in 6e-7 of seeds.
    found = wasserstein_1d(2 + 1.5 * normal(100_000), normal(100_000, seed=1)).item()
    assert found == pytest.approx(wasserstein_1d_gaussians(2, 1.5, 0, 1).item(), abs=0.03)


@pytest.mark.parametrize("change, message", [
    ({"x": []}, "x is empty; it must hold at least one point"), ({"y": []}, "y is empty"),
    ({"x": [[1.0, 2.0]]}, r"x has shape \(1, 2\); it must be \(any,\)"), ({"y": 1.0}, r"y has shape \(\)"),
    ({"x": [math.nan, 1]}, "x is NaN or infinite in 1 of"),
    ({"y": [math.inf]}, "y is NaN or infinite in 1 of"),
    ({"x_weights": [1.0]}, r"x_weights has shape \(1,\); it must be \(2,\)"),
    ({"x_weights": [0.5, 0.6]}, r"x_weights sums to 1\.1; it must be 1 within 1e-05: divide it by its sum"),
    ({"x_weights": [1.5, -0.5]}, r"x_weights goes down to -0\.5.*negative mass"),
    ({"y_weights": [0.0]}, "y_weights sums to 0"), ({"y_weights": [math.nan]}, "y_weights is NaN or infinite in 1 of"),
])
def test_wasserstein_1d_refuses_what_does_not_fit(change, message):
    fits = {"x": [0, 1], "y": np.array([3.0])}
    assert wasserstein_1d(**fits).item() == 2.5
    with pytest.raises(ValueError, match=message):
        wasserstein_1d(**(fits | change))


# --- transport -------------------------------------------------------------------------------------------------------

PROBLEMS = [(1, 1, 1), (1, 4, 2), (5, 3, 1), (12, 17, 2), (20, 20, 3)]


def problem(n, m, d, seed=0):
    x, y = normal(n, d, seed=seed), normal(m, d, seed=seed + 100) + 1
    return shares(n, seed), shares(m, seed + 100), x, y


def test_transport_cost_is_the_euclidean_distance():
    for d in (1, 2, 5):
        x, y = normal(6, d), normal(4, d, seed=1)
        close(transport_cost(x, y), torch.from_numpy(cdist(x, y)))
        far = 1e6 + 1e-3 * x                            # where squares would lose the digits
        assert_close(transport_cost(far, far), 1e-3 * transport_cost(x, x), rtol=0, atol=1e-9)
    x = normal(3, 2).requires_grad_()
    assert torch.autograd.grad(transport_cost(x, x.detach()).sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("n, m, d", PROBLEMS)
def test_the_plan_moves_a_to_b_at_the_stated_cost(n, m, d):
    a, b, x, y = problem(n, m, d)
    cost = transport_cost(x, y)
    value, plan = emd(a, b, cost)
    assert plan.shape == (n, m) and (plan >= 0).all()
    assert_close(plan.sum(1), a, rtol=0, atol=1e-9)
    assert_close(plan.sum(0), b, rtol=0, atol=1e-9)
    close(value, (plan * cost).sum())


@pytest.mark.parametrize("n, m, d", PROBLEMS)
def test_primal_is_dual_and_the_potential_shows_it(n, m, d):
    for seed in range(3):
        a, b, x, y = problem(n, m, d, seed)
        cost = transport_cost(x, y)
        value, plan = emd(a, b, cost)
        dual, f, g = kantorovich_dual(a, b, cost)
        assert_close(dual, value, rtol=0, atol=1e-9)
        assert f.shape == (n,) and g.shape == (m,) and g[0] == 0
        slack = cost - f[:, None] - g
        assert slack.min() >= -1e-12
        assert (slack * plan).sum() < 1e-9              # what is moved is moved where the prices meet the cost
        phi = lambda points, y=y, g=g: kantorovich_potential(transport_cost(points, y), g)
        assert_close((a * phi(x)).sum() - (b * phi(y)).sum(), value, rtol=0, atol=1e-9)
        close(phi(x), f)
        assert_close(phi(y), -g, rtol=0, atol=1e-9)


def test_the_potential_is_1_lipschitz_everywhere():
    a, b, x, y = problem(12, 17, 2)
    g = kantorovich_dual(a, b, transport_cost(x, y)).g
    points = torch.cat([3 * normal(300, 2, seed=5), x, y])
    phi = kantorovich_potential(transport_cost(points, y), g)
    apart = transport_cost(points, points)
    slopes = ((phi[:, None] - phi).abs() / apart)[apart > 1e-9]
    assert 1 - 1e-9 <= slopes.max() <= 1 + 1e-9
    points = points[:300].requires_grad_()
    slope = torch.autograd.grad(kantorovich_potential(transport_cost(points, y), g).sum(), points)[0].norm(dim=1)
    close(slope, torch.ones(300, dtype=torch.float64))


def test_the_potential_falls_from_a_to_b():
    a, b, x, y = [1.0], [1.0], torch.tensor([[0.0]]), torch.tensor([[3.0]])
    value, f, g = kantorovich_dual(a, b, transport_cost(x, y))
    phi = kantorovich_potential(transport_cost([[0.0], [1.0], [3.0]], y), g)
    assert value.item() == pytest.approx(3) and phi.tolist() == pytest.approx([3, 2, 0]) and f.tolist() == [3]


def test_emd_of_equal_weights_is_the_best_assignment():
    x, y = normal(25, 2), normal(25, 2, seed=1)
    cost, even = transport_cost(x, y), torch.full((25,), 1 / 25)
    rows, columns = linear_sum_assignment(cost)
    value, plan = emd(even, even, cost)
    close(value, cost[rows, columns].mean())
    assert_close(plan[rows, columns], torch.full((25,), 1 / 25, dtype=torch.float64), rtol=0, atol=1e-9)
    tiny = cost[:4, :4]
    least = min(sum(tiny[i, j] for i, j in enumerate(order)) / 4 for order in permutations(range(4)))
    close(emd([0.25] * 4, [0.25] * 4, tiny).value, least)


def test_emd_on_a_line_is_the_area_between_the_cumulative_distributions():
    for seed in range(3):
        a, b, x, y = problem(15, 20, 1, seed)
        cost = transport_cost(x, y)
        area = wasserstein_1d(x[:, 0], y[:, 0], a, b)
        assert_close(emd(a, b, cost).value, area, rtol=0, atol=1e-10)
        assert_close(kantorovich_dual(a, b, cost).value, area, rtol=0, atol=1e-10)
        assert area.item() == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0], a, b), abs=1e-12)


def test_emd_is_a_distance():
    a, b, x, y = problem(8, 8, 2)
    c, z = shares(9, 7), normal(9, 2, seed=7)
    there = emd(a, b, transport_cost(x, y)).value
    close(emd(b, a, transport_cost(y, x)).value, there)
    assert there <= emd(a, c, transport_cost(x, z)).value + emd(c, b, transport_cost(z, y)).value + 1e-12
    stay = transport_cost(x, x)
    assert emd(a, a, stay).value.item() == kantorovich_dual(a, a, stay).value.item() == 0


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_cost_does_not_matter(unit):
    a, b, x, y = problem(12, 17, 2)
    cost = transport_cost(x, y)
    value = emd(a, b, cost).value.item()
    for programme in (emd, kantorovich_dual):
        assert programme(a, b, unit * cost).value.item() == pytest.approx(unit * value, rel=1e-12, abs=0)


def test_a_cost_may_be_any_numbers():
    a, b = shares(4), shares(3, 1)
    cost = normal(4, 3)
    assert_close(emd(a, b, cost).value, kantorovich_dual(a, b, cost).value, rtol=0, atol=1e-12)
    for programme in (emd, kantorovich_dual):           # all of one sign, either one
        close(programme(a, b, cost + 5).value, emd(a, b, cost).value + 5)
        close(programme(a, b, cost - 5).value, emd(a, b, cost).value - 5)
    assert emd(a, b, 0 * cost).value == kantorovich_dual(a, b, 0 * cost).value == 0


def test_points_without_mass_do_no_harm():
    x, y = normal(4, 2), normal(3, 2, seed=1)
    a, b = torch.tensor([0.5, 0.0, 0.5, 0.0]), torch.tensor([0.0, 0.25, 0.75])
    cost = transport_cost(x, y)
    value, plan = emd(a, b, cost)
    dual, f, g = kantorovich_dual(a, b, cost)
    assert_close(value, emd(a[a > 0], b[b > 0], cost[a > 0][:, b > 0]).value, rtol=0, atol=1e-12)
    assert_close(dual, value, rtol=0, atol=1e-12)
    assert not plan[a == 0].any() and not plan[:, b == 0].any() and f.isfinite().all() and g.isfinite().all()


def test_the_gradient_of_emd_is_its_slope():
    a, b, x, y = problem(6, 5, 2)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: emd(a, b, transport_cost(x, y)).value, x)
    cost = transport_cost(x.detach(), y).requires_grad_()
    value, plan = emd(a, b, cost)
    assert_close(torch.autograd.grad(value, cost)[0], plan, **exactly)
    assert not plan.requires_grad and not kantorovich_dual(a, b, cost).value.requires_grad


def test_the_plan_equals_pot_s():
    ot = pytest.importorskip("ot")
    a, b, x, y = problem(12, 17, 2)
    cost = transport_cost(x, y)
    assert_close(emd(a, b, cost).plan, torch.from_numpy(ot.emd(a.numpy(), b.numpy(), cost.numpy())), rtol=0, atol=1e-9)


@pytest.mark.parametrize("programme", [emd, kantorovich_dual])
@pytest.mark.parametrize("change, message", [
    ({"a": [0.5, 0.5, 0.0]}, r"a has shape \(3,\); it must be \(2,\)"), ({"b": [1.0]}, r"b has shape \(1,\)"),
    ({"a": [0.5, 0.4]}, r"a sums to 0\.9; it must be 1 within 1e-05: divide it by its sum"),
    ({"a": [2.0, 2.0], "b": [1.0, 1, 2]}, "a sums to 4"), ({"b": [0.3, 0.3, 0.3]}, r"b sums to 0\.9"),
    ({"b": [1.2, -0.2, 0.0]}, r"b goes down to -0\.2; it must be 0 or more"),
    ({"a": [math.nan, 1.0]}, "a is NaN or infinite in 1 of"),
    ({"b": [math.inf, 0, 0]}, "b is NaN or infinite in 1 of"),
    ({"cost": torch.zeros(3, 2)}, r"a has shape \(2,\); it must be \(3,\)"),
    ({"cost": torch.zeros(6)}, r"cost has shape \(6,\); it must be \(any, any\)"),
    ({"cost": torch.full((2, 3), math.nan)}, "cost is NaN or infinite in 6 of"),
    ({"a": [], "cost": torch.zeros(0, 3)}, r"cost has shape \(0, 3\); there must be a point"),
])
def test_a_programme_refuses_what_does_not_fit(programme, change, message):
    fits = {"a": [0.5, 0.5], "b": np.array([0.2, 0.3, 0.5]), "cost": torch.ones(2, 3)}
    assert programme(**fits).value.item() == pytest.approx(1)
    with pytest.raises(ValueError, match=message):
        programme(**(fits | change))


@pytest.mark.parametrize("call, message", [
    (lambda: transport_cost(torch.zeros(3), torch.zeros(3)), r"x has shape \(3,\); it must be \(any, any\)"),
    (lambda: transport_cost(torch.zeros(3, 2), torch.zeros(3, 1)), r"y has shape \(3, 1\); it must be \(any, 2\)"),
    (lambda: transport_cost(torch.full((3, 2), math.nan), torch.zeros(3, 2)), "x is NaN or infinite in 6 of"),
    (lambda: kantorovich_potential(torch.zeros(3, 2), torch.zeros(3)), r"g has shape \(3,\); it must be \(2,\)"),
    (lambda: kantorovich_potential(torch.zeros(3), torch.zeros(3)), r"cost has shape \(3,\)"),
    (lambda: kantorovich_potential(torch.zeros(3, 1), [math.inf]), "g is NaN or infinite in 1 of"),
])
def test_points_and_prices_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- closed forms ----------------------------------------------------------------------------------------------------

def nan_or(wanted):
    return pytest.approx(wanted, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("theta, wanted", [
    (0.0, (0, 0, 0, math.nan, math.nan, math.nan)), (0.5, (math.inf, LOG_2, 0.5, math.nan, 0, 1)),
    (-3.0, (math.inf, LOG_2, 3, math.nan, 0, -1)), (1e-9, (math.inf, LOG_2, 1e-9, math.nan, 0, 1)),
])
def test_parallel_lines(theta, wanted):
    row = lines_apart(theta)
    assert tuple(column.item() for column in row) == nan_or((theta, *wanted))
    if theta:                                           # as two discrete sets, by the programme
        u = torch.rand(12, generator=seeded())
        base, moved = (torch.stack([torch.full((12,), at), u], 1) for at in (0.0, theta))
        even = torch.full((12,), 1 / 12)
        assert emd(even, even, transport_cost(base, moved)).value.item() == pytest.approx(abs(theta), abs=1e-7)


def test_lines_blurred_are_two_gaussians_apart():
    # 1,000 draws each, 5 standard errors: a false alarm in 6e-7 of seeds. Both densities share the factor along u.
    p, q = parallel_lines(0.3, noise=0.2)
    x, y = (line.sample(1_000, seeded(i), torch.float64) for i, line in enumerate((p, q)))
    value, error = js_from_samples(p.log_prob(x), q.log_prob(x), p.log_prob(y), q.log_prob(y))
    assert abs(value - gaussians_apart(0.3, 0.2).js) < 5 * error


@pytest.mark.parametrize("std", [1.0, 0.2, 30.0])
@pytest.mark.parametrize("u", [0.0, 1e-3, 0.5, -1.0, 2.0, 5.0, -9.0, 20.0, 30.0, 60.0, 1e4])
def test_gaussians_apart(u, std):
    theta = u * std
    row = gaussians_apart(theta, std)
    js_oracle = js_by_quad(pdf, lambda z: pdf(z, abs(u)), -9, abs(u) + 9,
                           at=sorted({0, abs(u) / 2, abs(u)})) if abs(u) < 100 else LOG_2
    assert row.js.item() == pytest.approx(js_oracle, abs=1e-12) and row.js.item() >= 0
    assert (row.theta.item(), row.kl.item(), row.w1.item()) == pytest.approx((theta, u**2 / 2, abs(theta)))
    assert row.dkl.item() == pytest.approx(theta / std**2)
    assert row.dw1.item() == nan_or(math.copysign(1, theta) if theta else math.nan)
    if abs(u) <= 20:                                    # ½ ∫ ∂q/∂θ log(q/m): the other terms cancel
        over_mean = lambda z: LOG_2 - np.logaddexp(0, -abs(u) * (z - abs(u) / 2))      # log(q/m)
        slope = quad(lambda z: pdf(z, abs(u)) * (z - abs(u)) * over_mean(z) / 2, -9, abs(u) + 9,
                     points=[abs(u) / 2, abs(u)], epsabs=1e-14, limit=400)[0]
        assert row.djs.item() * std == pytest.approx(math.copysign(slope, theta), abs=1e-12)


def test_js_s_slope_fades_as_the_gaussians_part_and_w1_s_does_not():
    row = gaussians_apart(torch.tensor([10.0, 20, 40, 60]))
    for i in range(3):                                  # D is ½ in the middle, and there both densities are ∝ e^(−θ²/8)
        wanted = (row.theta[i].square() - row.theta[i + 1].square()) / 8
        assert_close(row.djs[i + 1].log() - row.djs[i].log(), wanted, rtol=0, atol=0.1)
    assert row.dw1.tolist() == [1] * 4


@pytest.mark.parametrize("theta, width, wanted", [
    (0.0, 1.0, (0, 0, 0, math.nan, math.nan, math.nan)),
    (0.25, 1.0, (math.inf, LOG_2 / 4, 0.25, math.nan, LOG_2, 1)),
    (-0.5, 2.0, (math.inf, LOG_2 / 4, 0.5, math.nan, -LOG_2 / 2, -1)),
    (2.0, 2.0, (math.inf, LOG_2, 2, math.nan, math.nan, 1)), (-7.0, 2.0, (math.inf, LOG_2, 7, math.nan, 0, -1)),
])
def test_uniforms_apart(theta, width, wanted):
    assert tuple(column.item() for column in uniforms_apart(theta, width)) == nan_or((theta, *wanted))
    row = uniforms_apart(theta, width)
    p, q = (lambda z: float(0 <= z <= width) / width), (lambda z: float(theta <= z <= theta + width) / width)
    ends = sorted({0.0, width, theta, theta + width})
    assert row.js.item() == pytest.approx(js_by_quad(p, q, ends[0], ends[-1], at=ends), abs=1e-9)
    dx = width / 200                                    # cells whose edges are the intervals' ends
    x = torch.arange(-8, 10, dx, dtype=torch.float64) + dx / 2
    on_grid = [((x > at) & (x < at + width)).double() / width for at in (0.0, theta)]
    assert kl(*on_grid, dx).item() == row.kl.item()
    assert js(*on_grid, dx).item() == pytest.approx(row.js.item(), abs=1e-12)
    assert wasserstein_1d_densities(*on_grid, dx).item() == pytest.approx(row.w1.item(), abs=1e-12)


@pytest.mark.parametrize("apart", [lines_apart, partial(gaussians_apart, std=0.7), partial(uniforms_apart, width=1.3)])
def test_the_stated_derivatives_are_the_slopes(apart):
    theta = torch.tensor([[-2.5, -0.9, -0.2], [0.1, 1.1, 3.0]], dtype=torch.float64)
    row, h = apart(theta), 1e-5
    assert all(column.shape == (2, 3) and column.dtype == torch.float64 for column in row)
    for value, slope in (("kl", row.dkl), ("js", row.djs), ("w1", row.dw1)):
        difference = (getattr(apart(theta + h), value) - getattr(apart(theta - h), value)) / (2 * h)
        assert_close(slope, difference, rtol=1e-6, atol=1e-9, equal_nan=True)          # ∞ − ∞ is NaN
        for at, wanted in zip(theta.flatten(), slope.flatten(), strict=True):
            if wanted.isfinite():
                at = at.clone().requires_grad_()
                column = getattr(apart(at), value)
                found = torch.autograd.grad(column, at)[0] if column.requires_grad else number(0.0)
                assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("apart", [lines_apart, gaussians_apart, uniforms_apart])
def test_the_sign_of_theta_turns_the_slopes_alone(apart):
    left, right = apart(-0.6), apart(0.6)
    assert left[1:4] == right[1:4]
    for a, b in zip(left[4:], right[4:], strict=True):
        assert_close(a, -b, **exactly, equal_nan=True)


@pytest.mark.parametrize("p, q", [((0, 1), (0, 1)), ((2, 1), (0, 1)), ((0, 3), (0, 1)), ((-0.5, 0.3), (1, 2)),
                                  ((1, 2), (-0.5, 0.3)), ((0, 0), (3, 0)), ((1, 0), (1, 2))])
def test_w1_of_gaussians_is_the_area_between_their_cumulative_distributions(p, q):
    def gap(z):
        return abs(norm.cdf(z, *p) - norm.cdf(z, *q)) if p[1] and q[1] else abs(
            *[float(z >= p[0]) - (norm.cdf(z, *q) if q[1] else float(z >= q[0]))])

    area = quad(gap, -25, 25, points=sorted({p[0], q[0]}), epsabs=1e-10, limit=500)[0]
    assert wasserstein_1d_gaussians(*p, *q).item() == pytest.approx(area, abs=1e-7)


def test_w1_of_gaussians_is_the_mean_distance_of_equal_quantiles():
    level = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = torch.special.ndtri(level)
    mean, std = normal(6), normal(6, seed=1).abs() + 0.1
    found = wasserstein_1d_gaussians(mean, std, 0.3, 0.8)
    assert_close(found, (mean[:, None] + std[:, None] * z - 0.3 - 0.8 * z).abs().mean(1), rtol=0, atol=1e-4)
    close(found, wasserstein_1d_gaussians(0.3, 0.8, mean, std))
    assert (found >= (mean - 0.3).abs()).all()          # no plan moves the mean for less


def test_the_gradient_of_w1_of_gaussians_is_its_slope():
    inputs = [number(v).requires_grad_() for v in (0.5, 1.5, -0.2, 0.9)]
    assert torch.autograd.gradcheck(wasserstein_1d_gaussians, inputs)
    slope = torch.autograd.grad(wasserstein_1d_gaussians(*inputs), inputs[0])[0].item()
    assert slope == pytest.approx(math.erf(0.7 / (0.6 * math.sqrt(2))), abs=1e-12)
    equal = [number(v).requires_grad_() for v in (0.5, 1.5, -0.2, 1.5)]
    assert [g.item() for g in torch.autograd.grad(wasserstein_1d_gaussians(*equal), equal)] == [1, 0, -1, 0]


@pytest.mark.parametrize("call, message", [
    (lambda: lines_apart(math.nan), "theta is NaN or infinite in 1 of"),
    (lambda: gaussians_apart(math.inf), "theta is NaN or infinite in 1 of"),
    (lambda: gaussians_apart(1.0, 0), "std is 0; it must be a finite number above 0"),
    (lambda: gaussians_apart(1.0, -1.0), r"std is -1\.0"), (lambda: gaussians_apart(1.0, math.inf), "std is inf"),
    (lambda: uniforms_apart(1.0, math.nan), "width is nan"), (lambda: uniforms_apart(1.0, 0.0), r"width is 0\.0"),
    (lambda: uniforms_apart(math.nan), "theta is NaN"),
    (lambda: wasserstein_1d_gaussians(0, -1, 0, 1), "std_p goes down to -1; a standard deviation must be 0 or more"),
    (lambda: wasserstein_1d_gaussians(0, 1, 0, [1, -0.5]), r"std_q goes down to -0\.5"),
    (lambda: wasserstein_1d_gaussians(0, 1, math.nan, 1), "mean_q is NaN or infinite in 1 of"),
    (lambda: wasserstein_1d_gaussians([0, 1, 2], 1, [0, 1], 1), r"shapes are .*'mean_p': \(3,\).*'mean_q': \(2,\)"),
])
def test_a_closed_form_refuses_what_it_does_not_hold_for(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- what goes in and comes out --------------------------------------------------------------------------------------

def every_function(of):
    """Each function's tensors, from inputs made by ``of``."""
    p, q, x, y = of([0.25, 0.75]), of([0.5, 0.5]), of([0.0, 2.0]), of([1.0, 3.0, 4.0])
    cost, even = transport_cost(x[:, None], y[:, None]), of([0.25, 0.25, 0.5])
    value, plan = emd(p, even, cost)
    dual, f, g = kantorovich_dual(p, even, cost)
    return [*(divergence(p, q, dx) for divergence in (kl, js, wasserstein_1d_densities) for dx in (1, of([1.0, 1.0]))),
            *kl_from_samples(p, q), *js_from_samples(p, q, y, y), js_of_histograms(x, y, [0, 1.5, 5]),
            wasserstein_1d(x, y), wasserstein_1d(x, y, [0.5, 0.5], even), cost, value, plan, dual, f, g,
            kantorovich_potential(cost, g), *lines_apart(x), *gaussians_apart(x), *uniforms_apart(x),
            wasserstein_1d_gaussians(x, 1, 0, 2), wasserstein_1d_gaussians(0, x, 0, 2)]


@pytest.mark.parametrize("of", [torch.tensor, np.array, partial(np.array, dtype=np.float32)])
def test_tensors_and_arrays_give_the_same_in_float64(of):
    oracle = every_function(number)
    assert all(out.dtype == torch.float64 for out in oracle)
    for out, wanted in zip(every_function(of), oracle, strict=True):
        assert_close(out, wanted, **exactly, equal_nan=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_divergences_follow_the_device():
    for out, wanted in zip(every_function(lambda v: number(v).cuda()), every_function(number), strict=True):
        assert out.is_cuda
        assert_close(out.cpu(), wanted, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("tiny", [5e-324, 1e-320, 1e-300, 1e-291, 1e-289])
def test_js_of_densities_so_small_that_half_of_them_is_0(tiny):
    p, q = torch.tensor([1.0, tiny], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert 0 <= js(p, q, 1) < 1e-15 and js(p, p, 1) == 0
    p, q = torch.tensor([1.0, 0.0, tiny], dtype=torch.float64), torch.tensor([0.0, 1.0, tiny], dtype=torch.float64)
    assert_close(js(p, q, 1).item(), math.log(2))
