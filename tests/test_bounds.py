"""The bounds of log p(x): in a model where log p(x) is known, by quadrature, by counting, and by samples."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from torch import nn
from torch.distributions import MultivariateNormal, Normal
from torch.testing import assert_close

from course_lib.autoencoders import (
    LinearGaussian,
    bernoulli_nll,
    best_gaussian_nll,
    dequantise,
    gaussian_nll,
    iwae_bound,
    iwae_step,
    kl_gaussians,
    log_weights,
    vae_step,
    variational,
)
from course_lib.networks import mlp_vae


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def binary(n):
    return torch.bernoulli(torch.full((n, 1, 2, 3), 0.4, dtype=torch.float64), generator=seeded())


def linear_gaussian(D=5, d=3, s=0.7, seed=0):
    return LinearGaussian(normal(D, d, seed=seed), normal(D, seed=seed + 1), s)


def orthogonal(D=4, d=2, s=0.6):
    """With columns of W that are orthogonal, and so a posterior whose dimensions are independent."""
    Q = torch.linalg.qr(normal(D, d))[0]
    return LinearGaussian(Q * torch.linspace(0.5, 1.5, d, dtype=torch.float64), normal(D, seed=1), s)


class Wrapped(nn.Module):
    """A LinearGaussian as a VAE: q is the posterior, but ``away`` by so many of its σ and ``wider`` by a factor."""

    def __init__(self, exact, away=0.0, wider=1.0):
        super().__init__()
        self.exact, self.away, self.wider, self.latents = exact, away, wider, exact.W.shape[1]
        self.W, self.b = nn.Parameter(exact.W.clone()), nn.Parameter(exact.b.clone())

    def encode(self, x):
        mean, cov = self.exact.posterior(x)
        return mean + self.away * cov.diagonal().sqrt(), (cov.diagonal() * self.wider**2).log().expand_as(mean)

    def decode(self, z):
        return z @ self.W.T + self.b

    def elbo(self, x):
        mu, log_var = self.encode(x)
        return self.exact.elbo(x, mu, torch.diag_embed(log_var.exp()))


def nll_of(exact):
    return partial(gaussian_nll, sigma=exact.s)


def quadrature(points=40):
    """Nodes (n, 1, 1) and weights (n,) of the expectation over ε ~ N(0, 1): exact for polynomials below 2n."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return torch.tensor(nodes).view(-1, 1, 1), torch.tensor(weights / weights.sum())


# --- the linear-Gaussian model ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("x, s", [((0.3, -1.0), 0.7), ((2.0, 2.0), 0.2), ((-1.0, 5.0), 1.5)])
def test_log_px_is_the_integral_over_z(x, s):
    model = linear_gaussian(2, 1, s)
    W, b = model.W[:, 0].numpy(), model.b.numpy()
    def joint(z):
        return math.exp(-z * z / 2 - ((np.array(x) - W * z - b)**2).sum() / (2 * s * s)) / (2 * math.pi)**1.5 / s**2
    peak = model.posterior(torch.tensor([x], dtype=torch.float64))[0].item()
    px, first = (quad(lambda z, n=n: z**n * joint(z), peak - 12, peak + 12, points=[peak], epsabs=0)[0] for n in (0, 1))
    second = quad(lambda z: (z - peak)**2 * joint(z), peak - 12, peak + 12, points=[peak], epsabs=0)[0]
    assert model.log_px(torch.tensor([x], dtype=torch.float64)).item() == pytest.approx(math.log(px), rel=1e-8)
    assert peak == pytest.approx(first / px, rel=1e-7)                                  # the posterior's two moments
    assert model.posterior(torch.tensor([x], dtype=torch.float64))[1].item() == pytest.approx(second / px, rel=1e-7)


def test_the_posterior_is_the_joint_density_over_that_of_x():
    model, x, z = linear_gaussian(), normal(6, 5, seed=3), normal(6, 3, seed=4)
    mean, cov = model.posterior(x)
    joint = Normal(0.0, 1.0).log_prob(z).sum(1) + Normal(z @ model.W.T + model.b, model.s).log_prob(x).sum(1)
    assert_close(MultivariateNormal(mean, cov).log_prob(z), joint - model.log_px(x))


@pytest.mark.parametrize("D, d", [(1, 1), (5, 3), (3, 5), (8, 2)])
def test_log_px_is_the_elbo_and_the_kl_from_the_posterior(D, d):
    model, x, mean, root = linear_gaussian(D, d), normal(30, D, seed=3), normal(30, d, seed=4), normal(30, d, d, seed=5)
    cov = root @ root.mT + 0.05 * torch.eye(d, dtype=torch.float64)                     # any q: far off, and correlated
    m, C = model.posterior(x)
    C = C.expand(30, d, d)
    gap = kl_gaussians(mean, cov, m, C)
    assert_close(model.elbo(x, mean, cov) + gap, model.log_px(x), rtol=1e-9, atol=1e-9)
    assert (gap > 1e-3).all()
    assert_close(model.elbo(x, m, C), model.log_px(x), rtol=1e-9, atol=1e-9)            # no gap at the posterior


def test_the_elbo_is_the_mean_of_its_integrand():
    # 200,000 draws of one q; 5 standard errors: a false alarm in 6e-7 of seeds.
    model, x, mean, root = linear_gaussian(), normal(1, 5, seed=3), normal(1, 3, seed=4), normal(1, 3, 3, seed=5)
    q = MultivariateNormal(mean, root @ root.mT)
    z = mean + normal(200_000, 3, seed=6) @ root[0].T
    joint = Normal(0.0, 1.0).log_prob(z).sum(1) + Normal(z @ model.W.T + model.b, model.s).log_prob(x).sum(1)
    integrand = joint - q.log_prob(z)
    elbo = model.elbo(x, mean, root @ root.mT)
    assert abs(integrand.mean() - elbo) < 5 * integrand.std() / math.sqrt(len(z))


@pytest.mark.parametrize("call, message", [
    (lambda m: LinearGaussian(torch.zeros(5), torch.zeros(5), 1.0), r"W has shape \(5,\)"),
    (lambda m: LinearGaussian(torch.zeros(5, 3), torch.zeros(3), 1.0), r"b has shape \(3,\).*\(5,\)"),
    (lambda m: LinearGaussian(torch.zeros(5, 3), torch.zeros(5), 0.0), r"s is 0\.0.*above 0"),
    (lambda m: m.log_px(torch.zeros(4, 1)), r"x has shape \(4, 1\).*\(any, 5\)"),
    (lambda m: m.log_px(torch.zeros(5)), r"x has shape \(5,\)"),
    (lambda m: m.posterior(torch.zeros(4, 1)), r"x has shape \(4, 1\)"),
    (lambda m: m.elbo(torch.zeros(4, 1), torch.zeros(4, 3), torch.eye(3).expand(4, 3, 3)), r"x has shape \(4, 1\)"),
    (lambda m: m.elbo(torch.zeros(4, 5), torch.zeros(1, 3), torch.eye(3).expand(4, 3, 3)), r"mean has shape \(1, 3\)"),
    (lambda m: m.elbo(torch.zeros(4, 5), torch.zeros(4, 3), torch.eye(3)), r"cov has shape \(3, 3\).*\(4, 3, 3\)"),
    (lambda m: m.elbo(torch.zeros(4, 5), torch.zeros(4, 3), torch.eye(3).expand(1, 3, 3)), r"cov has shape \(1, 3, 3"),
])
def test_the_linear_gaussian_model_refuses_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(LinearGaussian(torch.zeros(5, 3), torch.zeros(5), 1.0))


# --- the weights -----------------------------------------------------------------------------------------------------

def test_log_weights_are_the_three_log_densities():
    torch.manual_seed(0)
    model, x, eps = mlp_vae(3, (7,), (1, 2, 3), logits=True).double(), binary(4), normal(9, 4, 3)
    log_w = log_weights(model, x, eps, bernoulli_nll)
    mu, log_var = model.encode(x)
    for i, j in itertools.product(range(9), range(4)):
        q = Normal(mu[j], (log_var[j] / 2).exp())
        z = mu[j] + (log_var[j] / 2).exp() * eps[i, j]
        wanted = (-bernoulli_nll(model.decode(z[None]), x[j:j + 1])[0] + Normal(0.0, 1.0).log_prob(z).sum()
                  - q.log_prob(z).sum())
        assert_close(log_w[i, j], wanted)


def test_at_the_posterior_every_single_weight_is_log_px():
    exact, x = orthogonal(), normal(6, 4, seed=2)
    model = Wrapped(exact)
    log_w = log_weights(model, x, 2 * normal(50, 6, 2, seed=3), nll_of(exact))
    assert_close(log_w.detach(), exact.log_px(x).expand(50, 6), rtol=1e-10, atol=1e-10)
    for k in (1, 7, 300):
        assert_close(iwae_bound(model, x, k, nll_of(exact)), exact.log_px(x), rtol=1e-10, atol=1e-10)


def test_the_mean_log_weight_is_the_elbo_and_the_mean_weight_is_px():      # by quadrature: no luck in it
    exact, x = linear_gaussian(3, 1), normal(4, 3, seed=2)
    nodes, p = quadrature()
    log_w = log_weights(Wrapped(exact, away=0.8, wider=1.3), x, nodes.expand(-1, 4, 1), nll_of(exact)).detach()
    assert_close(p @ log_w, Wrapped(exact, 0.8, 1.3).elbo(x), rtol=1e-10, atol=1e-10)
    assert_close((p.log()[:, None] + log_w).logsumexp(0), exact.log_px(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(7, 4, 1), (7, 1, 3), (4, 3), (7, 4, 2)])
def test_noise_that_would_be_shared_is_refused(shape):
    model, x = mlp_vae(3, (7,), (1, 2, 3), logits=True), torch.zeros(4, 1, 2, 3)
    with pytest.raises(ValueError, match=rf"eps has shape \({', '.join(map(str, shape))}\); .*\(any, 4, 3\)"):
        log_weights(model, x, torch.zeros(shape), bernoulli_nll)


# --- the bound of k samples ------------------------------------------------------------------------------------------

def test_the_bound_rises_with_k_and_tends_to_log_px():
    # Each row draws for itself: 4,000 draws of each bound, whose means are held to 5 standard errors in 5 comparisons:
    # a false alarm in 3e-6 of seeds.
    exact = linear_gaussian(3, 1)
    x = normal(1, 3, seed=2)
    model, wanted = Wrapped(exact, away=1.5, wider=1.2), exact.log_px(x).item()
    nodes, p = quadrature()
    weight = (log_weights(model, x, nodes, nll_of(exact)).detach()[:, 0] - wanted).exp()
    variance = (p @ weight.square() - 1).item()                                         # of w/p(x), whose mean is 1
    before = None
    for k in (1, 4, 16, 64):
        draws = iwae_bound(model, x.expand(4_000, 3), k, nll_of(exact), seeded(k))
        mean, error = draws.mean().item(), draws.std().item() / math.sqrt(4_000)
        if k == 1:
            assert abs(mean - model.elbo(x).item()) < 5 * error
        else:
            assert mean - before[0] > 5 * math.hypot(error, before[1])
        if k == 64:                                     # the gap is Var(w/p)/2k + O(1/k²)
            assert abs(wanted - mean - variance / (2 * k)) < 5 * error + (3 * variance / k)**2
        before = mean, error


def test_the_bound_of_two_samples_is_its_double_integral():
    # By quadrature over all pairs of nodes; and 100,000 draws, 5 standard errors: a false alarm in 6e-7 of seeds.
    exact, x = linear_gaussian(3, 1), normal(1, 3, seed=2)
    model = Wrapped(exact, away=0.4)
    nodes, p = quadrature(30)
    log_w = log_weights(model, x, nodes, nll_of(exact)).detach()[:, 0]
    wanted = sum(p[i] * p[j] * math.log((math.exp(log_w[i]) + math.exp(log_w[j])) / 2)
                 for i, j in itertools.product(range(30), repeat=2))
    draws = iwae_bound(model, x.expand(100_000, 3), 2, nll_of(exact), seeded())
    assert abs(draws.mean() - wanted) < 5 * draws.std() / math.sqrt(100_000)


@pytest.mark.parametrize("k", [1, 7, 12])
@pytest.mark.parametrize("rows", [1, 6, 13, 35, 36, 10_000])
def test_the_bound_is_the_same_in_chunks(monkeypatch, k, rows):
    exact, x = linear_gaussian(3, 2), normal(6, 3, seed=2)
    model, eps = Wrapped(exact, away=0.3, wider=1.5), normal(k, 6, 2, seed=3)
    log_w, held, rest = log_weights(model, x, eps, nll_of(exact)).detach(), [], eps.clone()
    def draw(n, *shape, generator, dtype, device):
        nonlocal rest
        drawn, rest = rest[:n], rest[n:]
        held.append(n * 6)
        assert drawn.shape == (n, *shape)
        return drawn
    monkeypatch.setattr(variational.torch, "randn", draw)
    bound = iwae_bound(model, x, k, nll_of(exact), rows=rows)
    assert_close(bound, log_w.exp().mean(0).log(), rtol=1e-10, atol=0)
    assert len(rest) == 0 and max(held) <= max(rows, 6)


def test_a_generator_fixes_the_bound_and_spares_torch_s_own():
    exact, x = linear_gaussian(), normal(6, 5, seed=2)
    before = torch.get_rng_state()
    first, again, other = (iwae_bound(Wrapped(exact, 0.3), x, 5, nll_of(exact), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rows", [3, 10_000])
def test_weights_of_e_to_the_minus_100_000_do_no_harm(rows):
    exact = LinearGaussian(torch.tensor([[1.0]]), torch.zeros(1), 0.01)
    x = torch.tensor([[0.0], [-1.0], [1.0]])
    model = Wrapped(exact, away=450.0)                  # so far off that log w is near −100,000
    bound = iwae_bound(model, x, 50, nll_of(exact), seeded(), rows)
    assert bound.isfinite().all() and (bound < -90_000).all() and (bound > -110_000).all()


def test_the_bound_of_k_equal_weights_is_their_log():   # a decoder that does not listen, an encoder that says the prior
    class Deaf(nn.Module):
        latents = 2
        encode = staticmethod(lambda x: (torch.zeros(len(x), 2), torch.zeros(len(x), 2)))
        decode = staticmethod(lambda z: torch.full((len(z), 1, 2, 3), 0.5))
    x = torch.bernoulli(torch.full((4, 1, 2, 3), 0.5), generator=seeded())
    for k in (1, 10, 999):
        assert_close(iwae_bound(Deaf(), x, k), -bernoulli_nll(torch.full_like(x, 0.5), x), rtol=1e-5, atol=0)


@pytest.mark.parametrize("call, message", [
    (lambda model, x, opt: iwae_bound(model, x, 0), "k is 0; .*at least 1 sample"),
    (lambda model, x, opt: iwae_bound(model, x, 3, rows=0), "rows is 0; .*at least 1"),
    (lambda model, x, opt: iwae_step(iter([x]), model, opt, 0), "k is 0"),
    (lambda model, x, opt: iwae_bound(model, x, 3, best_gaussian_nll), r"fits σ to the very samples.*sigma=…"),
    (lambda model, x, opt: iwae_step(iter([x]), model, opt, 3, best_gaussian_nll), "fits σ"),
    (lambda model, x, opt: iwae_bound(model, x + 0.5, 3), "grey pixels"),
])
def test_a_bad_bound_is_refused(call, message):
    model = mlp_vae(3, (7,), (1, 2, 3), logits=True)
    with pytest.raises(ValueError, match=message):
        call(model, torch.zeros(4, 1, 2, 3), torch.optim.SGD(model.parameters()))


# --- the step up the bound -------------------------------------------------------------------------------------------

def gradients(step, model, draws, seed=0):
    """What ``step`` goes down, for W and b, in ``draws`` runs: two tensors (draws, …), read off SGD's moves."""
    torch.manual_seed(seed)
    found, start = [], [p.detach().clone() for p in model.parameters()]
    for _ in range(draws):
        step(model, torch.optim.SGD(model.parameters(), lr=1.0))
        found.append([old - p.detach() for p, old in zip(model.parameters(), start, strict=True)])
        with torch.no_grad():
            for p, old in zip(model.parameters(), start, strict=True):
                p.copy_(old)
    return [torch.stack(each) for each in zip(*found, strict=True)]


def z_scores(draws, wanted):
    return (draws.mean(0) - wanted) / (draws.std(0) / math.sqrt(len(draws)))


def exact_gradients(function, exact):
    W, b = exact.W.clone().requires_grad_(), exact.b.clone().requires_grad_()
    return torch.autograd.grad(function(LinearGaussian(W, b, exact.s)).mean(), (W, b))


def test_iwae_step_is_the_step_by_hand():
    torch.manual_seed(0)
    model, x = mlp_vae(3, (7,), (1, 2, 3), logits=True).double(), binary(4)
    torch.manual_seed(1)
    eps = torch.randn(5, 4, 3, dtype=torch.float64)
    mu, log_var = model.encode(x)
    q, total = Normal(mu, (log_var / 2).exp()), 0
    for e in eps:
        z = mu + (log_var / 2).exp() * e
        total = total + (Normal(0.0, 1.0).log_prob(z).sum(1) - q.log_prob(z).sum(1)
                         - bernoulli_nll(model.decode(z), x)).exp()
    bound = (total / 5).log().mean()
    wanted = torch.autograd.grad(bound, list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(1)
    log = iwae_step(iter([x]), model, torch.optim.SGD(model.parameters(), lr=1.0), 5)
    assert log.keys() == {"bound"} and not log["bound"].requires_grad
    assert_close(log["bound"], bound.detach())
    for p, old, g in zip(model.parameters(), before, wanted, strict=True):
        assert_close(p.detach() - old, g, rtol=1e-8, atol=1e-10)                        # up, not down


def test_at_k_1_the_step_goes_up_the_elbo_on_average():
    # 9 numbers at 5 σ in 1,000 runs of each step: a false alarm in 1e-5 of seeds. q is held, whatever W and b become.
    exact, x = linear_gaussian(3, 2), normal(4, 3, seed=2)
    mu, log_var = Wrapped(exact, 0.4, 1.3).encode(x)
    wanted = exact_gradients(lambda model: -model.elbo(x, mu, torch.diag_embed(log_var.exp())), exact)
    for step in (partial(iwae_step, k=1), vae_step):
        run = lambda model, opt, step=step: step(iter([x]), model, opt, nll=nll_of(exact))
        for draws, g in zip(gradients(run, Wrapped(exact, 0.4, 1.3), 1_000), wanted, strict=True):
            assert z_scores(draws, g).abs().max() < 5


def test_at_large_k_the_step_goes_up_log_px():
    # 9 numbers at 5 σ in 300 runs: a false alarm in 5e-6 of seeds; the bias, of the order 1/k, is 10 times less than σ.
    exact, x = linear_gaussian(3, 2), normal(4, 3, seed=2)
    wanted = exact_gradients(lambda model: -model.log_px(x), exact)
    run = lambda model, opt: iwae_step(iter([x]), model, opt, k=3_000, nll=nll_of(exact))
    for draws, g in zip(gradients(run, Wrapped(exact, 0.3, 1.2), 300), wanted, strict=True):
        assert z_scores(draws, g).abs().max() < 5
        assert (draws.mean(0) - g).abs().max() < 0.01
    elbo = exact_gradients(lambda model: -model.elbo(
        x, Wrapped(exact, 0.3, 1.2).encode(x)[0], torch.diag_embed(Wrapped(exact, 0.3, 1.2).encode(x)[1].exp())), exact)
    assert (elbo[0] - wanted[0]).abs().max() > 0.1                                      # another direction altogether


# --- grey levels and densities ---------------------------------------------------------------------------------------

def test_dequantise_spreads_each_level_over_its_own_width():
    levels = torch.arange(256, dtype=torch.float64).view(1, 256)
    x = levels / 255
    lowest, highest = dequantise(x, torch.zeros_like(x)), dequantise(x, torch.full_like(x, 0.999))
    assert_close(lowest, levels / 256)
    assert (highest[:, :-1] < lowest[:, 1:]).all() and highest.max() < 1
    # 256 levels with 500 draws each are 128,000 uniform numbers, 2,000 to each of 64 bins, none more, none less
    y = dequantise(x.expand(500, 256), torch.rand(500, 256, dtype=torch.float64, generator=seeded()))
    assert torch.histc(y, 64, 0, 1).tolist() == [2_000.0] * 64
    within = 256 * y - levels
    assert within.min() > -1e-9 and within.max() < 1 + 1e-9
    assert abs(within.mean() - 0.5) < 5 / math.sqrt(12 * 128_000)                       # 5 σ: 6e-7 of seeds


@pytest.mark.parametrize("mean, sigma", [(0.4, 0.2), (0.41, 0.002), (0.9, 0.5)])
def test_a_density_of_dequantised_pixels_bounds_the_probability_of_the_levels(mean, sigma):
    # One pixel: P(level) is an area under the density; E log p, a mean over the level's width.
    p = Normal(torch.tensor(mean, dtype=torch.float64), sigma)
    u, weight = (torch.tensor(part) / 2 for part in np.polynomial.legendre.leggauss(40))
    density = lambda y: p.log_prob(torch.tensor(y, dtype=torch.float64)).exp().item()
    gaps = []
    for level in range(0, 256, 5):
        x = torch.full((40,), level / 255, dtype=torch.float64)
        bound = weight @ p.log_prob(dequantise(x, u + 0.5)) - math.log(256)
        P = quad(density, level / 256, (level + 1) / 256)[0]
        if P > 1e-290:
            gaps.append(math.log(P) - bound.item())
    assert min(gaps) > 0 and len(gaps) >= 3
    assert sigma < 0.1 or max(gaps) < 2e-4                                              # tight where a level is narrow


def test_the_bound_pays_log_256_for_each_pixel():       # two pixels that go together, P by a double integral
    cov = torch.tensor([[0.04, 0.03], [0.03, 0.04]], dtype=torch.float64) / 1000
    p = MultivariateNormal(torch.tensor([0.5, 0.5], dtype=torch.float64), cov)
    nodes, weight = (torch.tensor(part) / 2 for part in np.polynomial.legendre.leggauss(20))
    u, weight = torch.cartesian_prod(nodes + 0.5, nodes + 0.5), torch.outer(weight, weight).flatten()
    density = lambda b, a: p.log_prob(torch.tensor([a, b], dtype=torch.float64)).exp().item()
    for levels in [(128, 128), (127, 129), (130, 129)]:
        x = torch.tensor(levels, dtype=torch.float64).div(255).expand(400, 2)
        bound = (weight @ p.log_prob(dequantise(x, u)) - 2 * math.log(256)).item()
        (a, b), width = (level / 256 for level in levels), 1 / 256
        P = dblquad(density, a, a + width, b, b + width, epsabs=1e-9)[0]
        assert 1e-3 < math.log(P) - bound < 1


@pytest.mark.parametrize("x, u, message", [
    (torch.zeros(4, 1), torch.zeros(4, 3), r"x has shape \(4, 1\).*u has shape \(4, 3\)"),
    (torch.zeros(4, 3), torch.zeros(1, 3), r"x has shape \(4, 3\)"),
    (torch.zeros(4), torch.ones(4), r"u goes beyond \[0, 1\): draw it with torch.rand"),
    (torch.zeros(4), torch.full((4,), -0.1), "u goes beyond"),
    (torch.full((4,), 0.5), torch.zeros(4), r"no grey levels 0, 1/255 … 1"),
    (torch.full((4,), 2.0), torch.zeros(4), "no grey levels"),
    (torch.full((4,), torch.nan), torch.zeros(4), "no grey levels"),
])
def test_what_is_no_image_of_grey_levels_is_not_dequantised(x, u, message):
    with pytest.raises(ValueError, match=message):
        dequantise(x, u)
