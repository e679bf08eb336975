"""The KL, the likelihoods and the VAE's step: against torch.distributions, quadrature, enumeration, a step by hand."""

import itertools
import math
from functools import partial

import pytest
import torch
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize_scalar
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close

from course_lib.autoencoders import (
    annealed,
    bernoulli_nll,
    best_gaussian_nll,
    feature_nll,
    free_bits_kl,
    gaussian_nll,
    gaussian_nll_per_pixel,
    kl_gaussians,
    kl_normal,
    kl_per_dimension,
    vae_step,
)
from course_lib.datasets import Binarised, batches, faces
from course_lib.networks import VAE, conv_vae, mlp_vae
from course_lib.training import adam, train

IMAGE = (2, 3, 4)
exactly = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def images(n=5, image=IMAGE, seed=0):
    return torch.rand(n, *image, dtype=torch.float64, generator=seeded(seed))


def covariances(n, d, seed=0):
    root = normal(n, d, d, seed=seed)
    return root @ root.mT + 0.1 * torch.eye(d, dtype=torch.float64)


# --- the KL ----------------------------------------------------------------------------------------------------------

def test_kl_normal_equals_torch_distributions():
    mu, log_sigma = normal(64, 7), normal(64, 7, seed=1)
    oracle = kl_divergence(Normal(mu, log_sigma.exp()), Normal(0.0, 1.0))              # σ here, and σ² = exp(2 log σ)
    assert_close(kl_normal(mu, 2 * log_sigma), oracle.sum(1))
    assert_close(kl_per_dimension(mu, 2 * log_sigma), oracle)


@pytest.mark.parametrize("mu, sigma", [(0.0, 0.5), (1.5, 0.4), (-2.0, 1.0), (0.3, 2.5)])
def test_the_kl_is_the_integral_that_defines_it(mu, sigma):
    q, p = Normal(torch.tensor(mu, dtype=torch.float64), sigma), Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    integrand = lambda z: (q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).item()
    area = quad(lambda z: integrand(torch.tensor(z, dtype=torch.float64)), mu - 12 * sigma, mu + 12 * sigma)[0]
    at = torch.tensor([[mu]], dtype=torch.float64), 2 * torch.tensor([[sigma]], dtype=torch.float64).log()
    assert kl_normal(*at).item() == pytest.approx(area, abs=1e-9)
    square, one = torch.tensor([[[sigma**2]]], dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    assert kl_gaussians(at[0], square, 0 * at[0], one).item() == pytest.approx(area, abs=1e-9)


def test_the_kl_is_the_mean_log_ratio_of_samples():
    # 100,000 draws; 5 standard errors: a false alarm in 6e-7 of seeds.
    mu, log_var = normal(1, 3), normal(1, 3, seed=1)
    q = Normal(mu, (log_var / 2).exp())
    z = mu + (log_var / 2).exp() * normal(100_000, 3, seed=2)
    ratio = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)
    assert abs(ratio.mean() - kl_normal(mu, log_var)) < 5 * ratio.std() / math.sqrt(len(z))


def test_the_kl_is_0_at_the_prior_alone():
    mu, log_var = normal(500, 4), normal(500, 4, seed=1)
    assert (kl_per_dimension(mu, log_var) > 0).all()
    assert not kl_normal(0 * mu, 0 * mu).any()


@pytest.mark.parametrize("d", [1, 2, 5])
def test_kl_gaussians_equals_torch_distributions(d):
    m_q, m_p, c_q, c_p = normal(20, d), normal(20, d, seed=1), covariances(20, d, 2), covariances(20, d, 3)
    oracle = kl_divergence(MultivariateNormal(m_q, c_q), MultivariateNormal(m_p, c_p))
    assert_close(kl_gaussians(m_q, c_q, m_p, c_p), oracle)
    assert (kl_gaussians(m_q, c_q, m_p, c_p) - kl_gaussians(m_p, c_p, m_q, c_q)).abs().min() > 1e-6
    assert_close(kl_gaussians(m_q, c_q, m_q, c_q), torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_two_kls_agree_where_both_apply():
    mu, log_var = normal(9, 3), normal(9, 3, seed=1)
    prior = torch.eye(3, dtype=torch.float64).expand(9, 3, 3)
    assert_close(kl_gaussians(mu, torch.diag_embed(log_var.exp()), 0 * mu, prior), kl_normal(mu, log_var))


@pytest.mark.parametrize("kl", [kl_normal, kl_per_dimension])
@pytest.mark.parametrize("shapes, message", [
    (((4, 3), (4, 1)), r"log_var.*\(4, 1\).*\(4, 3\)"), (((4, 3), (3,)), r"log_var.*\(3,\)"),
    (((3,), (3,)), r"mu has shape \(3,\).*\(any, any\)"), (((2, 4, 3), (2, 4, 3)), r"mu has shape \(2, 4, 3\)"),
])
def test_kl_normal_refuses_shapes_that_would_broadcast(kl, shapes, message):
    with pytest.raises(ValueError, match=message):
        kl(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("change, message", [
    ({"mean_q": torch.zeros(2)}, r"mean_q has shape \(2,\)"),
    ({"mean_p": torch.zeros(1, 2)}, r"mean_p has shape \(1, 2\).*\(3, 2\)"),
    ({"cov_q": torch.eye(2)}, r"cov_q has shape \(2, 2\).*\(3, 2, 2\)"),
    ({"cov_p": torch.ones(3, 2)}, r"cov_p has shape \(3, 2\)"),
    ({"cov_q": torch.zeros(3, 2, 2)}, "cov_q is not positive definite: add"),
    ({"cov_p": -torch.eye(2).expand(3, 2, 2)}, "cov_p is not positive definite"),
    ({"cov_p": torch.full((3, 2, 2), torch.nan)}, "cov_p is not positive definite"),
    ({"cov_q": torch.tensor([[1.0, 0], [0.5, 1]]).expand(3, 2, 2)}, "cov_q is not symmetric.*Cholesky"),
])
def test_kl_gaussians_refuses_what_does_not_fit(change, message):
    fits = {"mean_q": torch.zeros(3, 2), "cov_q": torch.eye(2).expand(3, 2, 2)}
    fits |= {"mean_p": fits["mean_q"], "cov_p": fits["cov_q"]}
    assert not kl_gaussians(**fits).any()
    with pytest.raises(ValueError, match=message):
        kl_gaussians(**(fits | change))


# --- likelihoods -----------------------------------------------------------------------------------------------------

def test_bernoulli_nll_equals_torch_distributions():
    logits, x = 3 * normal(5, *IMAGE), torch.bernoulli(images())
    assert_close(bernoulli_nll(logits, x), -Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3)))


def test_the_bernoulli_likelihoods_of_all_images_sum_to_1():
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64).view(64, 1, 2, 3)
    logits = 2 * normal(1, 1, 2, 3).expand_as(every)
    assert torch.logsumexp(-bernoulli_nll(logits, every), 0).item() == pytest.approx(0, abs=1e-12)


def test_bernoulli_nll_survives_certainty():
    logits, x = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert bernoulli_nll(logits, x).tolist() == [0.0, 2000.0]


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0, torch.tensor(0.5)])
def test_gaussian_nll_equals_torch_distributions(sigma):
    mean, x = images(), images(seed=1)
    assert_close(gaussian_nll(mean, x, sigma), -Normal(mean, sigma).log_prob(x).sum((1, 2, 3)))


def test_gaussian_nll_per_pixel_equals_torch_distributions():
    out, x = normal(5, 4, 3, 4), images()
    for floor in (1 / 256, 0.5):
        oracle = Normal(out[:, :2], (out[:, 2:].exp() + floor**2).sqrt())
        assert_close(gaussian_nll_per_pixel(out, x, floor), -oracle.log_prob(x).sum((1, 2, 3)))


def test_the_gaussian_likelihoods_integrate_to_1():
    def area(nll):                                      # over images of two pixels
        at = lambda a, b: torch.tensor([a, b], dtype=torch.float64).view(1, 1, 1, 2)
        return dblquad(lambda a, b: (-nll(at(a, b))).exp().item(), -4, 4, -4, 4, epsabs=1e-7)[0]

    mean = torch.tensor([0.2, -0.3], dtype=torch.float64).view(1, 1, 1, 2)
    both = torch.cat([mean, torch.tensor([-2.0, -1.0]).view(1, 1, 1, 2)], 1)
    assert area(lambda x: gaussian_nll(mean, x, 0.5)) == pytest.approx(1, abs=1e-6)
    assert area(lambda x: gaussian_nll_per_pixel(both, x, 0.2)) == pytest.approx(1, abs=1e-6)


def test_the_floor_keeps_a_pixel_that_is_always_black_from_infinity():
    sure = torch.cat([torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), -1000.0)], 1)
    wanted = 0.5 * math.log(2 * math.pi) - math.log(256)
    assert gaussian_nll_per_pixel(sure, torch.zeros(1, 1, 1, 1)).item() == pytest.approx(wanted, rel=1e-6)


def test_a_sigma_that_learns_finds_the_root_mean_squared_error():
    mean, x = images(), images(seed=1)
    log_sigma = torch.zeros((), dtype=torch.float64, requires_grad=True)
    slope = lambda: torch.autograd.grad(gaussian_nll(mean, x, log_sigma.exp()).mean(), log_sigma)[0]
    assert slope().item() == pytest.approx(24 - (mean - x).square().sum().item() / 5)  # D − ‖x − mean‖²/σ²
    with torch.no_grad():
        log_sigma.fill_((mean - x).square().mean().sqrt().log())
    assert slope().item() == pytest.approx(0, abs=1e-10)


def test_sigma_keeps_its_digits_whatever_the_images_are_kept_as():
    mean, x = torch.zeros(3, 4), torch.ones(3, 4, dtype=torch.uint8)
    assert_close(gaussian_nll(mean, x, 0.5), gaussian_nll(mean, x.float(), 0.5))


def test_best_gaussian_nll_is_the_least_over_all_variances():
    x, x_hat = images(), images(seed=1)

    def nll(log_sigma):
        sigma = torch.tensor(log_sigma, dtype=torch.float64).exp()
        return -Normal(x_hat, sigma).log_prob(x).sum((1, 2, 3)).mean().item()

    best = minimize_scalar(nll, bounds=(-5, 3), method="bounded", options={"xatol": 1e-9})
    assert_close(best_gaussian_nll(x_hat, x).mean().item(), best.fun, rtol=1e-9, atol=0)
    each = -Normal(x_hat, math.exp(best.x)).log_prob(x).sum((1, 2, 3))                 # one σ for the batch
    assert_close(best_gaussian_nll(x_hat, x), each, rtol=1e-6, atol=0)


def test_the_gradient_is_the_same_whether_the_best_sigma_is_held_or_moves_along():
    x, x_hat = images(), images(seed=1).requires_grad_()
    held = (x - x_hat).square().mean().sqrt().item()
    assert_close(*(torch.autograd.grad(nll(x_hat, x).mean(), x_hat)[0]
                   for nll in (best_gaussian_nll, partial(gaussian_nll, sigma=held))))


def test_no_sigma_is_best_for_a_perfect_reconstruction():
    assert best_gaussian_nll(torch.zeros(2, 3), torch.zeros(2, 3)).isnan().all()


@pytest.mark.parametrize("nll", [bernoulli_nll, gaussian_nll, best_gaussian_nll])
@pytest.mark.parametrize("shape", [(4, 2, 3, 3), (4, 3, 3), (1, 1, 3, 3)])
def test_a_likelihood_refuses_shapes_that_would_broadcast(nll, shape):
    with pytest.raises(ValueError, match=r"x has shape \(4, 1, 3, 3\)"):
        nll(torch.zeros(shape), torch.zeros(4, 1, 3, 3))


@pytest.mark.parametrize("call, message", [
    (lambda x: bernoulli_nll(x, x + 0.5), "grey pixels.*binarise them, or take a Gaussian"),
    (lambda x: bernoulli_nll(x, x - 1), "0 or 1"),
    (lambda x: bernoulli_nll(x, x * torch.nan), "0 or 1"),
    (lambda x: gaussian_nll(x, x, 0.0), r"sigma is 0\.0.*above 0"),
    (lambda x: gaussian_nll(x, x, -1), "sigma is -1"),
    (lambda x: gaussian_nll(x, x, math.nan), "sigma is nan"),
    (lambda x: gaussian_nll(x, x, torch.ones(4, 1)), r"sigma has shape \(4, 1\).*scalar.*gaussian_nll_per_pixel"),
    (lambda x: gaussian_nll(x, x, torch.ones(4)), r"sigma has shape \(4,\)"),
    (lambda x: gaussian_nll_per_pixel(x, x), r"mean_and_log_var has shape \(4, 1, 3, 3\).*\(4, 2, 3, 3\)"),
    (lambda x: gaussian_nll_per_pixel(torch.zeros(1, 2, 3, 3), x), r"\(1, 2, 3, 3\).*\(4, 2, 3, 3\)"),
    (lambda x: gaussian_nll_per_pixel(x, x.flatten(1)), r"x has shape \(4, 9\)"),
    (lambda x: gaussian_nll_per_pixel(torch.cat([x, x], 1), x, 0), "floor is 0.*1/256"),
    (lambda x: gaussian_nll_per_pixel(torch.cat([x, x], 1), x, -0.1), r"floor is -0\.1"),
])
def test_a_likelihood_refuses_what_would_be_none(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 1, 3, 3))


# --- a likelihood in features ----------------------------------------------------------------------------------------

def phi():
    """A small network that stands still, and draws of an image and of its reconstruction."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh())
    x, x_hat = (torch.rand(5, *IMAGE, generator=seeded(seed)) for seed in (0, 1))
    return net, x_hat.requires_grad_(), x


@pytest.mark.parametrize("sigma", [0.3, 1.0, None])
def test_feature_nll_is_a_gaussian_s_of_what_the_network_makes_of_the_images(sigma):
    net, x_hat, x = phi()
    found = feature_nll(x_hat, x, net, sigma)
    spread = (net(x) - net(x_hat)).square().mean().sqrt() if sigma is None else sigma
    wanted = -Normal(net(x_hat), spread).log_prob(net(x)).flatten(1).sum(1)
    assert found.shape == (5,)
    assert_close(found, wanted)
    slope, = torch.autograd.grad(found.sum(), x_hat)
    assert_close(slope, torch.autograd.grad(wanted.sum(), x_hat)[0])    # through the network, to the reconstruction
    assert slope.abs().max() > 1e-3


def test_what_the_network_forgets_costs_nothing():
    forgets = lambda images: images[:, :1]
    _, x_hat, x = phi()
    other = torch.cat([x[:, :1], x_hat[:, 1:]], 1)
    assert_close(feature_nll(other, x, forgets, 0.5), feature_nll(x, x, forgets, 0.5), **exactly)
    assert (feature_nll(x_hat, x, forgets, 0.5) > feature_nll(x, x, forgets, 0.5)).all()


def test_feature_nll_s_target_carries_no_gradient():
    net, x_hat, x = phi()
    x.requires_grad_()
    loss = feature_nll(x_hat, x, net, 1.0).sum()
    assert torch.autograd.grad(loss, x, allow_unused=True) == (None,)


def test_vae_step_in_features_leaves_the_network_as_it_is():
    net, _, x = phi()
    torch.manual_seed(0)
    vae, before = mlp_vae(2, (6,), IMAGE), [p.detach().clone() for p in net.parameters()]
    own, opt = [p.detach().clone() for p in vae.parameters()], adam(vae)
    log = vae_step(itertools.repeat(x), vae, opt, partial(feature_nll, features=net))
    assert log["nll"].isfinite() and not any(torch.equal(a, b) for a, b in zip(vae.parameters(), own, strict=True))
    assert all(torch.equal(p, b) and p.grad is None for p, b in zip(net.parameters(), before, strict=True))


def test_feature_nll_refuses_what_would_be_none():
    net, x_hat, x = phi()
    with pytest.raises(ValueError, match=r"x has shape \(4, .* mean has shape \(5, "):
        feature_nll(x_hat, x[:4], net, 1.0)
    with pytest.raises(ValueError, match="sigma is 0"):
        feature_nll(x_hat, x, net, 0)


# --- free bits and annealing -----------------------------------------------------------------------------------------

def test_free_bits_charge_each_dimension_s_mean_above_what_is_free():
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.3, 6.0, 0.9]])          # means 0.2, 4, 0.45
    for free, wanted in [(0.0, 4.65), (0.3, 0.3 + 4 + 0.45), (1.0, 1 + 4 + 1), (5.0, 15.0)]:
        assert free_bits_kl(kl, free).item() == pytest.approx(wanted)
    mu, log_var = normal(6, 4), normal(6, 4, seed=1)
    assert_close(free_bits_kl(kl_per_dimension(mu, log_var), 0.0), kl_normal(mu, log_var).mean())


def test_free_bits_leave_the_dimensions_below_them_without_a_gradient():
    kl = torch.tensor([[0.1, 2.0], [0.3, 6.0]], requires_grad=True)
    assert torch.autograd.grad(free_bits_kl(kl, 0.5), kl)[0].tolist() == [[0, 0.5], [0, 0.5]]


@pytest.mark.parametrize("kl, free, message", [
    (torch.zeros(3), 0.1, r"kl has shape \(3,\)"), (torch.zeros(2, 3), -0.1, r"free is -0\.1; it must be at least 0"),
])
def test_bad_free_bits_are_refused(kl, free, message):
    with pytest.raises(ValueError, match=message):
        free_bits_kl(kl, free)


def test_annealed_rises_evenly_to_its_end_and_stays():
    assert list(itertools.islice(annealed(4), 6)) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert list(itertools.islice(annealed(2, end=4.0), 3)) == [2, 4, 4]
    one = annealed(10)
    for _ in range(3):
        next(one)
    other = annealed(10)
    other.load_state_dict(one.state_dict())
    assert [next(other) for _ in range(9)] == [next(one) for _ in range(9)]


@pytest.mark.parametrize("arguments, message", [((0,), "steps is 0; .*at least 1"), ((5, -1.0), r"end is -1\.0")])
def test_bad_annealing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        annealed(*arguments)


# --- the step --------------------------------------------------------------------------------------------------------

def per_pixel_vae():
    decoder = nn.Sequential(nn.Linear(3, 2 * 24), nn.Unflatten(1, (4, 3, 4)))
    return VAE(nn.Sequential(nn.Flatten(), nn.Linear(24, 6)), decoder, 3)


LIKELIHOODS = {     # the network, the likelihood, and the same by torch.distributions
    "Bernoulli": (partial(mlp_vae, 3, (7,), IMAGE, logits=True), bernoulli_nll, lambda out, x: Bernoulli(logits=out)),
    "Gaussian": (partial(mlp_vae, 3, (7,), IMAGE), partial(gaussian_nll, sigma=0.3), lambda out, x: Normal(out, 0.3)),
    "best sigma": (partial(mlp_vae, 3, (7,), IMAGE), best_gaussian_nll,
                   lambda out, x: Normal(out, (out - x).pow(2).mean().sqrt())),
    "sigma for each pixel": (per_pixel_vae, gaussian_nll_per_pixel,
                             lambda out, x: Normal(out[:, :2], (out[:, 2:].exp() + 2.0**-16).sqrt())),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("beta, bits", [(1.0, False), (4, False), (torch.tensor(0.5), True)])
def test_vae_step_is_the_step_by_hand(name, beta, bits):
    network, nll, likelihood = LIKELIHOODS[name]
    torch.manual_seed(0)
    model, x = network().double(), images(6)
    x = x.round() if name == "Bernoulli" else x
    torch.manual_seed(1)
    mu, log_var = model.encoder(x).split(3, 1)
    out = model.decode(mu + log_var.exp().sqrt() * torch.randn(6, 3, dtype=torch.float64))
    error = -likelihood(out, x).log_prob(x).sum((1, 2, 3)).mean()
    each = kl_divergence(Normal(mu, log_var.exp().sqrt()), Normal(0.0, 1.0)).mean(0)
    free = 1.01 * each.median().item() if bits else 0.0                                # two of three dimensions below
    kl = sum(k if k > free else torch.tensor(free, dtype=torch.float64) for k in each)
    gradients = torch.autograd.grad(error + beta * kl, list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(1)
    log = vae_step(iter([x]), model, torch.optim.SGD(model.parameters(), lr=1.0), nll, beta, free)
    assert log.keys() == {"nll", "kl"} and not (log["nll"].requires_grad or log["kl"].requires_grad)
    assert_close(log["nll"], error.detach())
    assert_close(log["kl"], kl.detach())
    for p, old, g in zip(model.parameters(), before, gradients, strict=True):
        assert_close(old - p.detach(), g, rtol=1e-7, atol=1e-9)


def test_vae_step_descends_the_negative_elbo_of_a_network_of_convolutions():
    torch.manual_seed(0)
    model, x = conv_vae(3, channels=4).double(), torch.rand(6, 3, 32, 32, dtype=torch.float64)
    torch.manual_seed(1)
    eps = torch.randn(6, 3, dtype=torch.float64)
    mu, log_var = model.encoder(x).split(3, 1)
    x_hat = model.decode(mu + log_var.exp().sqrt() * eps)
    nll = -Normal(x_hat, (x_hat - x).pow(2).mean().sqrt()).log_prob(x).sum((1, 2, 3)).mean()
    kl = kl_divergence(Normal(mu, log_var.exp().sqrt()), Normal(0.0, 1.0)).sum(1).mean()
    gradients = torch.autograd.grad(nll + kl, list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(1)
    vae_step(iter([x]), model, torch.optim.SGD(model.parameters(), lr=1e-6))           # the defaults
    for p, old, g in zip(model.parameters(), before, gradients, strict=True):
        assert_close(p.detach(), old - 1e-6 * g)


def test_beta_may_come_step_by_step():
    def end(betas):
        torch.manual_seed(0)
        model = mlp_vae(2, (5,), IMAGE).double()
        opt, data = torch.optim.SGD(model.parameters(), lr=1e-3), batches(images(8), 4)
        for beta in betas:
            vae_step(data, model, opt, beta=beta)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    schedule = annealed(3)
    assert_close(end([schedule] * 5), end([1 / 3, 2 / 3, 1.0, 1.0, 1.0]), **exactly)
    assert schedule.taken == 5
    assert_close(end([iter([1 / 3, 2 / 3])] * 2), end([1 / 3, 2 / 3]), **exactly)
    assert (end([schedule] * 5) - end([0.0] * 5)).abs().max() > 1e-6


def annealed_run(path, steps, schedule_in_state=True):
    torch.manual_seed(steps)
    x = (255 * images(20)).to(torch.uint8)
    model = mlp_vae(2, (5,), IMAGE, logits=True)
    opt, beta = adam(model, 1e-2), annealed(12)
    if not path.exists():
        torch.manual_seed(0)
        for p in model.parameters():
            nn.init.normal_(p, 0, 0.3)
    state = dict(model=model, opt=opt) | (dict(beta=beta) if schedule_in_state else {})
    step = partial(vae_step, model=model, opt=opt, nll=bernoulli_nll, beta=beta)
    logs = [log for _, log in train(step, Binarised(batches(x, 8)), steps, state=state, save_to=path)]
    return torch.cat([p.detach().flatten() for p in model.parameters()]), logs[-1]


def test_an_annealed_run_goes_on_with_the_same_bits(tmp_path):
    whole, log = annealed_run(tmp_path / "whole", 15)
    annealed_run(tmp_path / "parts", 7)
    parts, log_of_parts = annealed_run(tmp_path / "parts", 15)
    assert_close(parts, whole, **exactly)
    assert_close(log_of_parts, log, **exactly)
    annealed_run(tmp_path / "forgetful", 7, schedule_in_state=False)
    assert not torch.equal(annealed_run(tmp_path / "forgetful", 15, schedule_in_state=False)[0], whole)


def test_a_dear_nat_is_saved_and_free_ones_are_spent():
    def spent(**options):                               # nats of KL after 150 steps on two sorts of images
        torch.manual_seed(0)
        x = torch.cat([torch.full((32, 1, 2, 2), 0.1), torch.full((32, 1, 2, 2), 0.9)])
        model = mlp_vae(2, (8,), (1, 2, 2))
        opt = adam(model, 1e-2)
        step = partial(vae_step, model=model, opt=opt, nll=partial(gaussian_nll, sigma=0.3), **options)
        list(train(step, batches(x, 64), 150))
        return kl_normal(*model.encode(x)).mean().item()

    assert spent(beta=20.0) < 0.1 < 0.5 < spent(beta=1.0)
    assert spent(beta=20.0, free_bits=0.4) > 0.5


def test_a_vae_learns_faces():
    torch.manual_seed(0)
    x, model = faces("test").images[:256], conv_vae(8, channels=8)
    opt = adam(model, 3e-3)
    logs = [log for _, log in train(partial(vae_step, model=model, opt=opt), batches(x, 64), 60)]
    assert logs[-1]["nll"] < logs[0]["nll"] - 250
