"""The two estimators of ∇E[f(z)]: their means against closed forms, by quadrature and by samples; their variances."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.distributions import Normal
from torch.testing import assert_close

from course_lib.autoencoders import LinearGaussian, kl_normal, pathwise_gradient, score_function_gradient

BOTH = [pathwise_gradient, score_function_gradient]


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def quadrature(d, points=60):
    """Nodes (n, d) and weights (n,) of the expectation over ε ~ N(0, I): means and variances without luck."""
    nodes, weights = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(points))
    weights = weights / weights.sum()
    grid = torch.cartesian_prod(*[nodes] * d).view(-1, d)
    return grid, torch.cartesian_prod(*[weights] * d).view(-1, d).prod(1)


def mean_and_variance(estimates, p):
    mean = p @ estimates
    return mean, p @ (estimates - mean).square()


class Quadratic:
    """f(z) = Σ a z² + b z: E f = Σ a(μ² + σ²) + b μ, with slopes 2aμ + b for μ and 2aσ² for log σ."""
    a, b = torch.tensor([0.5, -2.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)

    def f(self, z):
        return (self.a * z.square() + self.b * z).sum(1)

    def exact(self, mu, log_sigma):
        return 2 * self.a * mu + self.b, 2 * self.a * (2 * log_sigma).exp()


class Cosine:
    """f(z) = Σ cos 2z: E f = Σ e^(−2σ²) cos 2μ."""

    def f(self, z):
        return (2 * z).cos().sum(1)

    def exact(self, mu, log_sigma):
        square = (2 * log_sigma).exp()
        return -2 * (-2 * square).exp() * (2 * mu).sin(), -4 * square * (-2 * square).exp() * (2 * mu).cos()


class Elbo:
    """f(z) = log p(x, z) − log q(z) in a linear-Gaussian model, q held inside f: E f is the ELBO; ∇ is autograd's."""

    def __init__(self):
        self.model, self.x = LinearGaussian(normal(3, 2), normal(3, seed=1), 0.7), normal(1, 3, seed=2)

    def f(self, z):
        log_lik = Normal(z @ self.model.W.T + self.model.b, self.model.s).log_prob(self.x).sum(1)
        return log_lik + Normal(0.0, 1.0).log_prob(z).sum(1) - Normal(self.mu, self.log_sigma.exp()).log_prob(z).sum(1)

    def exact(self, mu, log_sigma):
        self.mu, self.log_sigma = mu, log_sigma
        mu, log_sigma = mu.clone().requires_grad_(), log_sigma.clone().requires_grad_()
        elbo = self.model.elbo(self.x, mu[None], torch.diag(2 * log_sigma).diagonal().exp().diag()[None])
        return torch.autograd.grad(elbo.sum(), (mu, log_sigma))


MU, LOG_SIGMA = torch.tensor([0.3, -0.8], dtype=torch.float64), torch.tensor([-0.5, 0.2], dtype=torch.float64)


# --- means -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("case", [Quadratic, Cosine, Elbo])
def test_the_mean_of_an_estimator_is_the_gradient(estimator, case):
    case, (eps, p) = case(), quadrature(2)
    wanted = case.exact(MU, LOG_SIGMA)
    for estimates, exact in zip(estimator(case.f, MU, LOG_SIGMA, eps), wanted, strict=True):
        assert estimates.shape == (3600, 2) and not estimates.requires_grad
        assert_close(p @ estimates, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("case", [Quadratic, Cosine, Elbo])
def test_so_it_is_of_samples(estimator, case):
    # 4 means of 50,000 draws, 5 standard errors each: a false alarm in 2e-6 of seeds.
    case = case()
    wanted = case.exact(MU, LOG_SIGMA)
    for estimates, exact in zip(estimator(case.f, MU, LOG_SIGMA, normal(50_000, 2, seed=5)), wanted, strict=True):
        assert ((estimates.mean(0) - exact).abs() < 5 * estimates.std(0) / math.sqrt(50_000)).all()


def test_a_sample_s_pathwise_estimate_is_autograd_s_through_mu_and_sigma():
    eps, case = normal(4, 2, seed=5), Quadratic()
    for i in range(4):
        mu, log_sigma = MU.clone().requires_grad_(), LOG_SIGMA.clone().requires_grad_()
        value = case.f((mu + log_sigma.exp() * eps[i])[None]).sum()
        wanted = torch.autograd.grad(value, (mu, log_sigma))
        for estimates, one in zip(pathwise_gradient(case.f, MU, LOG_SIGMA, eps), wanted, strict=True):
            assert_close(estimates[i], one)


def test_a_sample_s_score_is_autograd_s_of_log_q():
    eps, case = normal(4, 2, seed=5), Quadratic()
    for i in range(4):
        mu, log_sigma = MU.clone().requires_grad_(), LOG_SIGMA.clone().requires_grad_()
        z = MU + LOG_SIGMA.exp() * eps[i]
        score = torch.autograd.grad(Normal(mu, log_sigma.exp()).log_prob(z).sum(), (mu, log_sigma))
        for estimates, one in zip(score_function_gradient(case.f, MU, LOG_SIGMA, eps, 0.7), score, strict=True):
            assert_close(estimates[i], (case.f(z[None])[0] - 0.7) * one)


def test_the_score_function_needs_no_slope_of_f():      # P(z > 0) for z ~ N(μ, σ²): its slope is the density at 0
    eps = normal(200_000, 1, seed=5)                    # 2 means at 5 σ: a false alarm in 1e-6 of seeds
    mu, log_sigma = torch.tensor([0.4], dtype=torch.float64), torch.tensor([-0.3], dtype=torch.float64)
    density = Normal(mu, log_sigma.exp()).log_prob(torch.zeros(1)).exp()
    for estimates, exact in zip(score_function_gradient(lambda z: (z > 0).double().squeeze(1), mu, log_sigma, eps),
                                (density, -mu * density), strict=True):
        assert (estimates.mean(0) - exact).abs() < 5 * estimates.std() / math.sqrt(len(eps))


def test_the_kl_s_own_gradient():                       # f = log q − log p, q held inside f: E f is the KL
    eps, p = quadrature(2)
    mu, log_sigma = MU.clone().requires_grad_(), LOG_SIGMA.clone().requires_grad_()
    wanted = torch.autograd.grad(kl_normal(mu[None], 2 * log_sigma[None]).sum(), (mu, log_sigma))
    f = lambda z: (Normal(MU, LOG_SIGMA.exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)
    for estimator in BOTH:
        for estimates, exact in zip(estimator(f, MU, LOG_SIGMA, eps), wanted, strict=True):
            assert_close(p @ estimates, exact)


def test_parameters_that_learn_leave_no_trace_and_no_grad_is_no_hindrance():
    mu, log_sigma = MU.clone().requires_grad_(), LOG_SIGMA.clone().requires_grad_()
    for estimator in BOTH:
        wanted = estimator(Quadratic().f, MU, LOG_SIGMA, normal(5, 2))
        with torch.no_grad():
            assert_close(estimator(Quadratic().f, mu, log_sigma, normal(5, 2)), wanted)
        found = estimator(Quadratic().f, mu, log_sigma, normal(5, 2))
        assert_close(found, wanted)
        assert not any(estimates.requires_grad for estimates in found) and mu.grad is None


# --- variances -------------------------------------------------------------------------------------------------------

def test_the_path_is_the_quieter_one_on_the_elbo():
    case, (eps, p) = Elbo(), quadrature(2)
    case.exact(MU, LOG_SIGMA)
    path, score = ([mean_and_variance(estimates, p)[1] for estimates in estimator(case.f, MU, LOG_SIGMA, eps)]
                   for estimator in BOTH)
    for quiet, loud in zip(path, score, strict=True):
        assert (quiet < loud).all()


@pytest.mark.parametrize("case", [Quadratic, Elbo])
def test_a_baseline_changes_the_spread_and_not_the_mean(case):
    case, (eps, p) = case(), quadrature(2)
    wanted = case.exact(MU, LOG_SIGMA)
    average = (p @ case.f(MU + LOG_SIGMA.exp() * eps)).item()
    spreads = []
    for baseline in (average, average + 100, 0.0):
        found = [mean_and_variance(e, p) for e in score_function_gradient(case.f, MU, LOG_SIGMA, eps, baseline)]
        for (mean, _), exact in zip(found, wanted, strict=True):
            assert_close(mean, exact, rtol=1e-8, atol=1e-8)
        spreads.append(found[0][1])
    assert (spreads[0] < spreads[1]).all()


def test_a_baseline_from_the_same_draws_takes_a_share_of_the_gradient():
    # The mean of f over the n draws themselves: (1 − 1/n) of the gradient is left. 2,000 groups of n = 4, 5 standard
    # errors: a false alarm in 6e-7 of seeds; the whole gradient is farther away.
    f, mu, log_sigma = lambda z: 3 * z.squeeze(1), torch.zeros(1, dtype=torch.float64), torch.zeros(1)
    own = torch.stack([score_function_gradient(f, mu, log_sigma, e, f(e).mean().item())[0].mean()
                       for e in normal(2_000, 4, 1, seed=5)])
    error = own.std() / math.sqrt(len(own))
    assert abs(own.mean() - 3 * (1 - 1 / 4)) < 5 * error < abs(own.mean() - 3)


def variances_on_a_wave(mu, sigma):
    """Of both estimators of ∂/∂μ E cos 2z, in closed form, with c = e^(−8σ²) cos 4μ, the mean of cos 4z:

    pathwise: E(2 sin 2z)² = 2(1 − c); score function: E(ε cos 2z/σ)² = (1 + (1 − 16σ²) c)/2σ²; less the mean's square.
    """
    c, mean = math.exp(-8 * sigma**2) * math.cos(4 * mu), -2 * math.exp(-2 * sigma**2) * math.sin(2 * mu)
    return 2 * (1 - c) - mean**2, (1 + (1 - 16 * sigma**2) * c) / (2 * sigma**2) - mean**2


@pytest.mark.parametrize("mu", [0.0, 0.2, math.pi / 8, 0.7, math.pi / 4])
@pytest.mark.parametrize("sigma", [0.1, 0.4, 0.5, 0.9, 1.5])
def test_the_variances_on_a_wave_are_as_derived(mu, sigma):
    eps, p = quadrature(1, 120)
    at = torch.tensor([mu], dtype=torch.float64), torch.tensor([math.log(sigma)], dtype=torch.float64)
    for estimator, wanted in zip(BOTH, variances_on_a_wave(mu, sigma), strict=True):
        mean, variance = mean_and_variance(estimator(Cosine().f, *at, eps)[0], p)
        assert mean.item() == pytest.approx(-2 * math.exp(-2 * sigma**2) * math.sin(2 * mu), abs=1e-9)
        assert variance.item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("mu", [0.0, 0.2, math.pi / 8, 0.7, math.pi / 4])
def test_on_a_wave_the_score_function_becomes_the_quieter_one(mu):
    # f is bounded, its slope does not flatten: the score's noise falls as 1/σ², the path's stays. At μ = π/8 (c = 0)
    # they meet where 2 = 1/2σ², at σ = ½; elsewhere near it. A fifth away from there, one variance is 1.6 times the
    # other or more, and 100,000 draws tell each to some 1 %.
    difference = lambda sigma: np.subtract(*variances_on_a_wave(mu, sigma))                # path − score
    meeting = brentq(difference, 0.3, 1.0)
    assert mu != math.pi / 8 or meeting == pytest.approx(0.5)
    assert all(difference(s) < 0 for s in np.linspace(0.05, meeting - 1e-3, 50))           # one meeting only
    assert all(difference(s) > 0 for s in np.linspace(meeting + 1e-3, 5, 50))
    for sigma, path_is_quieter in [(0.8 * meeting, True), (1.25 * meeting, False)]:
        at = torch.tensor([mu], dtype=torch.float64), torch.tensor([math.log(sigma)], dtype=torch.float64)
        path, score = (estimator(Cosine().f, *at, normal(100_000, 1, seed=5))[0].var() for estimator in BOTH)
        assert (path < score) == path_is_quieter


# --- what is refused -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("mu, log_sigma, eps, message", [
    ((1, 2), (2,), (5, 2), r"mu has shape \(1, 2\)"), ((2,), (1,), (5, 2), r"log_sigma has shape \(1,\).*\(2,\)"),
    ((2,), (), (5, 2), r"log_sigma has shape \(\)"), ((2,), (2,), (5, 1), r"eps has shape \(5, 1\).*\(any, 2\)"),
    ((2,), (2,), (2,), r"eps has shape \(2,\)"),
])
def test_shapes_that_would_broadcast_are_refused(estimator, mu, log_sigma, eps, message):
    with pytest.raises(ValueError, match=message):
        estimator(lambda z: z.sum(1), torch.zeros(mu), torch.zeros(log_sigma), torch.zeros(eps))


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.parametrize("f, shape", [
    (lambda z: z.sum(1).mean(), r"\(\)"), (lambda z: z.sum(1, keepdim=True), r"\(5, 1\)"), (torch.cos, r"\(5, 2\)")])
def test_an_f_that_is_not_one_number_for_each_sample_is_refused(estimator, f, shape):
    with pytest.raises(ValueError, match=rf"f\(z\) has shape {shape}; it must be \(5,\)"):
        estimator(f, torch.zeros(2), torch.zeros(2), torch.zeros(5, 2))
