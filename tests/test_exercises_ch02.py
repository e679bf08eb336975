"""Exercises of chapter 02: right answers pass in many forms, and each known mistake is told apart from all others.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize, minimize_scalar
from test_exercises import in_one_line, mistakes, name_only, said
from torch.distributions import Bernoulli, Independent, Laplace, Normal, Uniform, kl_divergence

from course_lib import autoencoders
from course_lib.exercises import ch02

# --- right answers; the notebook's own solutions are proved in test_exercises.py --------------------------------------

def my_kl(mu, log_var):
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)


def my_sample(mu, log_var):
    eps = torch.randn_like(mu)
    return mu + (log_var / 2).exp() * eps


def my_loss(x_hat, x, sigma, mu, log_var):
    error = (x - x_hat).square().flatten(1).sum(1)
    D = x[0].numel()
    nll = error / (2 * sigma**2) + D / 2 * math.log(2 * math.pi * sigma**2)
    kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)
    return (nll + kl).mean()


def my_nats(beta, sigma, variances):
    level = beta * sigma**2
    return 0.5 * (variances.clamp(min=level) / level).log()


def my_bound(log_w):
    return log_w.logsumexp(0) - math.log(len(log_w))


# --- right answers, written in another way -------------------------------------------------------------------------

def kl_by_torch(mu, log_var):
    return kl_divergence(Independent(Normal(mu, (0.5 * log_var).exp()), 1), Independent(Normal(0 * mu, 1.0), 1))


def kl_in_loops(mu, log_var):
    def cost(m, v):
        return (m**2 + math.e**v - 1 - v) / 2
    return torch.stack([sum(cost(m, v) for m, v in zip(*row, strict=True)) for row in zip(mu, log_var, strict=True)])


def sample_in_loops(mu, log_var):
    sigma = torch.exp(log_var).sqrt()
    return torch.stack([m + s * torch.randn(3) for m, s in zip(mu, sigma, strict=True)])


def sample_by_numpy(mu, log_var):
    generator = np.random.default_rng()
    return mu - torch.exp(log_var / 2) * torch.from_numpy(generator.normal(size=tuple(mu.shape)))


def sample_by_generator(mu, log_var):
    generator = torch.Generator().manual_seed(int(torch.randint(10**6, ())))
    return torch.addcmul(mu, log_var.mul(0.5).exp(), torch.randn(mu.shape, generator=generator))


def loss_by_torch(x_hat, x, sigma, mu, log_var):
    log_likelihood = Normal(x_hat, sigma).log_prob(x).sum((1, 2, 3))
    return -(log_likelihood - kl_by_torch(mu, log_var)).mean()


def loss_by_functional(x_hat, x, sigma, mu, log_var):
    nll = F.gaussian_nll_loss(x_hat, x, torch.full_like(x, sigma**2), full=True, reduction="sum")
    return (nll + kl_by_torch(mu, log_var).sum()) / x.shape[0]


def nats_of_the_best_slope(beta, sigma, variances):
    """The loss of a direction, made least over the decoder's slope w by search, as the exercise states it."""
    level, nats = beta * sigma**2, []
    for v in variances.tolist():
        u = lambda w: w * w + level
        cost = lambda w: beta / 2 * (v / u(w) + math.log(u(w)))         # noqa: B023
        w = min((minimize_scalar(cost, bounds=(0, high), method="bounded", options={"xatol": 1e-9}).x
                 for high in (0.01, 10)), key=cost)
        nats.append(math.log(u(w) / level) / 2)
    return torch.tensor(nats)


def linear_vae(beta, sigma, variance):
    """(error, nats) of the best encoder N(v·x, s²) and decoder w·z in one direction, by descent on the β-ELBO."""
    def parts(p):
        w, v, log_s2 = p
        error = variance * (1 - w * v)**2 + w**2 * math.exp(log_s2)
        return error, 0.5 * (v**2 * variance + math.exp(log_s2) - 1 - log_s2)

    def cost(p):
        error, nats = parts(p)
        return error / (2 * sigma**2) + beta * nats

    return parts(minimize(cost, (1.0, 0.3, -0.5), method="Nelder-Mead",
                          options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}).x)


def nats_of_linear_vaes(beta, sigma, variances):
    return torch.tensor([linear_vae(beta, sigma, v)[1] for v in variances.tolist()]).round(decimals=6)


def bound_by_maximum(log_w):
    top = log_w.max(0, keepdim=True).values.detach()
    return ((log_w - top).exp().mean(0).log() + top)[0]


def bound_in_loops(log_w):
    total = log_w[0]
    for row in log_w[1:]:
        total = torch.logaddexp(total, row)
    return total - torch.tensor(float(log_w.shape[0])).log()


def bound_by_scores(log_w):
    return torch.stack([column.double().logsumexp(-1) - np.log(len(column)) for column in log_w.T])


RIGHT = [
    (ch02.check_kl, my_kl), (ch02.check_sample, my_sample), (ch02.check_elbo_loss, my_loss),
    (ch02.check_nats, my_nats), (ch02.check_bound, my_bound),
    (ch02.check_kl, autoencoders.kl_normal), (ch02.check_kl, kl_by_torch), (ch02.check_kl, kl_in_loops),
    (ch02.check_kl, lambda mu, log_var: -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=-1)),
    (ch02.check_kl, lambda mu, log_var: partial(kl_by_torch)(mu.double(), log_var.double())),
    (ch02.check_sample, sample_in_loops), (ch02.check_sample, sample_by_numpy),
    (ch02.check_sample, sample_by_generator),
    (ch02.check_sample, lambda mu, log_var: Normal(mu, torch.exp(log_var / 2)).rsample()),
    (ch02.check_sample, lambda mu, log_var: mu + torch.exp(log_var)**0.5 * torch.normal(0.0, 1.0, mu.shape)),
    (ch02.check_elbo_loss, loss_by_torch), (ch02.check_elbo_loss, loss_by_functional),
    (ch02.check_elbo_loss, lambda x_hat, x, s, *q: (autoencoders.gaussian_nll(x_hat, x, s) + kl_in_loops(*q)).mean()),
    (ch02.check_nats, nats_of_the_best_slope), (ch02.check_nats, nats_of_linear_vaes),
    (ch02.check_nats, lambda beta, sigma, v: F.relu(v.sqrt().log() - math.log(sigma) - math.log(beta) / 2)),
    (ch02.check_bound, bound_by_maximum), (ch02.check_bound, bound_in_loops), (ch02.check_bound, bound_by_scores),
    (ch02.check_bound, lambda log_w: (log_w - math.log(log_w.shape[0])).logsumexp(dim=0)),
    (ch02.check_bound, lambda log_w: log_w.log_softmax(0).neg().add(log_w)[0] - math.log(len(log_w))),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:5], ids=lambda x: x.__name__)
def test_gradients_are_asked_for_wherever_the_check_is_called(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


def test_a_right_sample_passes_whatever_its_seed(capsys):
    """60 streams of noise: the margins are at 6 standard errors or more, so none of them is turned down."""
    for seed in range(60):
        def answer(mu, log_var, seed=seed):
            generator = torch.Generator().manual_seed(10**6 * seed + int(torch.randint(10**6, ())))
            return mu + (log_var / 2).exp() * torch.randn(mu.shape, generator=generator)
        assert said(ch02.check_sample, answer, capsys) == "passed\n"


@pytest.mark.parametrize("variance", [0.1, 1.0, 1.6, 9.0])
def test_the_error_left_by_a_linear_vae_is_the_water_level(variance):
    """As the solution of exercise 4 says: min(λ, βσ²)."""
    assert linear_vae(3.0, 0.7, variance)[0] == pytest.approx(min(variance, 3 * 0.7**2), rel=1e-4)


# --- known mistakes: (answer, words that its message has and no other has) -----------------------------------------

def terms(m, v, square=lambda m: m**2, variance=torch.exp, one=1, log=lambda v: v, half=0.5):
    return half * (square(m) + variance(v) - one - log(v))


KL = [
    (lambda m, v: terms(m, v, log=lambda v: torch.log(torch.exp(v / 2))).sum(1), "your logarithm is log σ."),
    (lambda m, v: terms(m, 2 * v).sum(1), "you treat log_var as log σ."),
    (lambda m, v: terms(m, v, variance=lambda v: torch.exp(v)**2).sum(1), "squared once too often"),
    (lambda m, v: terms(m, v, variance=lambda v: torch.exp(v).sqrt()).sum(1), "you have σ where the formula has σ²"),
    (lambda m, v: terms(m, v, variance=lambda v: v, log=torch.log).sum(1), "you treat log_var as σ². It"),
    (lambda m, v: terms(m, v, variance=lambda v: v**2, log=lambda v: torch.log(v**2)).sum(1),
     "you treat log_var as σ. It"),
    (lambda m, v: terms(m, v, log=torch.neg).sum(1), "the logarithm has the wrong sign"),
    (lambda m, v: terms(m, v, one=0).sum(1), "the −1 is missing"),
    (lambda m, v: terms(m, v, one=-1).sum(1), "+ 1 for − 1"),
    (lambda m, v: 2 * kl_by_torch(m, v), "the ½ is missing: yours is twice the KL"),
    (lambda m, v: (m**2 / 2 + v.exp() - 1 - v).sum(1), "the ½ stands at μ² only"),
    (lambda m, v: (m**2 + (v.exp() - 1 - v) / 2).sum(1), "the ½ is missing at μ²"),
    (lambda m, v: kl_divergence(Normal(0 * m, 1.0), Normal(m, torch.exp(v / 2))).sum(1), "the wrong way round"),
    (lambda m, v: kl_divergence(Normal(m, torch.exp(v / 2)), Normal(m, 1.0)).sum(1), "μ does not come in"),
    (lambda m, v: kl_divergence(Normal(m, 1.0), Normal(0 * m, 1.0)).sum(1), "σ does not come in"),
    (lambda m, v: terms(m, v, square=lambda m: m).sum(1), "μ is not squared"),
    (lambda m, v: terms(m, v, square=torch.abs).sum(1), "you take |μ|"),
    (lambda m, v: terms(m / torch.exp(v / 2), v).sum(1), "you divide μ² by σ²"),
    (lambda m, v: 0.5 * torch.sum(1 + v - m**2 - v.exp(), 1), "your KL is negative"),
    (lambda m, v: terms(m, v).mean(1), "take the mean over the dimensions"),
    (lambda m, v: terms(m, v), "a cost for each dimension"),
    (lambda m, v: terms(m, v).sum(0), "add up the images and keep"),
    (lambda m, v: terms(m, v).mean(0), "average over the images and keep"),
    (lambda m, v: terms(m, v).sum(), "add up the images as well"),
    (lambda m, v: kl_by_torch(m, v).mean(), "you average over the images. Each"),
    (lambda m, v: torch.mean(terms(m, v)), "one mean over images and dimensions"),
    (lambda m, v: kl_by_torch(m, v) / np.log(2), "in bits"),
    (lambda m, v: terms(m, v).sum(1).detach(), "no gradient flows back"),
    (lambda m, v: (Normal(m, (v / 2).exp()).log_prob(z := m + (v / 2).exp() * torch.randn_like(m))
                   - Normal(0, 1).log_prob(z)).sum(1), "random numbers of its own"),
    (lambda m, v: 3 * kl_by_torch(m, v), "the answer is [1.307], and yours is [3.921]"),
    (lambda m, v: terms(m, v).sum(1, keepdim=True), "the numbers are right, but for mu"),
]


def noisy(scale, noise=torch.randn_like, centre=lambda m, v: m):
    return lambda m, v: centre(m, v) + scale(v) * noise(m)


def std(v):
    return (v / 2).exp()


def cumulated(m):
    return torch.randn_like(m).cumsum(1) / torch.arange(1, 4).sqrt()


KEPT = torch.randn(4000, 3, generator=torch.Generator().manual_seed(3))


def caches(m, v):
    return m + std(v) * KEPT


def seeded(m, v):
    torch.manual_seed(0)
    return m + std(v) * torch.randn_like(m)


def under_no_grad(m, v):
    with torch.no_grad():
        return m + std(v) * torch.randn_like(m)


SAMPLE = [
    (lambda m, v: m, "your z is μ: no noise comes in"),
    (lambda m, v: m + std(v), "your z is μ + σ, the same"),
    (seeded, "called twice, your function gives the same z"), (caches, "called twice, your function gives the same z"),
    (noisy(std, lambda m: torch.randn(3)), "all images of the batch get the same noise"),
    (noisy(std, lambda m: torch.randn(1, m.shape[1])), "all images of the batch get the same noise"),
    (noisy(torch.exp, lambda m: torch.randn(3)), "all images of the batch get the same noise"),
    (noisy(std, lambda m: torch.randn(len(m), 1)), "one number of noise for all its dimensions"),
    (noisy(std, lambda m: torch.randn(())), "one number of noise for everything"),
    (noisy(torch.ones_like, lambda m: torch.randn(1)), "one number of noise for everything"),
    (noisy(std, cumulated), "correlated with that of another"),
    (noisy(torch.exp), "multiplied by σ². The standard deviation"),
    (lambda m, v: Normal(m, v.exp()).rsample(), "multiplied by σ². The standard deviation"),
    (noisy(torch.ones_like), "your noise is not multiplied by σ"), (noisy(lambda v: v.exp() / 2), "you halve σ²"),
    (noisy(lambda v: std(v)**0.5), "root of σ"), (noisy(lambda v: v), "you multiply by log_var"),
    (noisy(lambda v: v / 2), "you multiply by log σ"), (noisy(lambda v: (-v / 2).exp()), "divided by σ:"),
    (noisy(lambda v: 1 / v.exp()), "divided by σ²"), (noisy(lambda v: v.exp()**2), "by σ⁴"),
    (noisy(F.softplus), "softplus"), (noisy(std, torch.rand_like), "a spread of 0.29"),
    (noisy(torch.exp, torch.rand_like), "uniform, and is multiplied by σ²"),
    (noisy(lambda v: 2 * std(v)), "the spread of your z is wrong"),
    (noisy(lambda v: std(v).mean(0)), "the spread of your z is wrong"),
    (noisy(std, centre=lambda m, v: 0), "your z lie around 0"),
    (lambda m, v: std(v) * (m + torch.randn_like(m)), "σ multiplies μ as well"),
    (noisy(std, centre=lambda m, v: -m), "a sign is turned"),
    (noisy(std, centre=lambda m, v: m.mean(0)), "do not lie around μ"),
    (noisy(std, lambda m: torch.rand_like(m) * 12**0.5), "do not lie around μ"),
    (noisy(std, lambda m: Uniform(-3**0.5, 3**0.5).sample(m.shape)), "your noise is not Gaussian"),
    (noisy(std, lambda m: Laplace(0.0, 0.5**0.5).sample(m.shape)), "your noise is not Gaussian"),
    (noisy(std, lambda m: 2 * Bernoulli(0.5).sample(m.shape) - 1), "your noise is not Gaussian"),
    (lambda m, v: torch.normal(m, std(v)), "flows back to μ and σ"),
    (lambda m, v: torch.normal(m.detach(), std(v).detach()), "flows back to μ and σ"),
    (lambda m, v: Normal(m, std(v)).sample(), "flows back to μ and σ"), (under_no_grad, "flows back to μ and σ"),
    (lambda m, v: (m + std(v) * torch.randn_like(m)).detach(), "flows back to μ and σ"),
    (lambda m, v: m + std(v).detach() * torch.randn_like(m), "no gradient flows back to σ"),
    (lambda m, v: m.data + std(v) * torch.randn_like(m), "no gradient flows back to μ. Something"),
    (lambda m, v: (z := Normal(m, std(v)).sample()) + 2 * (m - m.detach()) + 0 * z + v - v.detach(),
     "dz/dμ of the first image is [2, 2, 2]"),
    (lambda m, v: (m + std(v) * torch.randn_like(m))[:10], "your answer has shape (10, 3); it must be (4000, 3)"),
    (lambda m, v: m + v.sqrt() * torch.randn_like(m), "your answer holds NaN"),
    (lambda m, v: (m + std(v) * torch.randn_like(m), v), "a tuple of 2"),
]


def nll_of(x_hat, x, s):
    return -Normal(x_hat, s).log_prob(x).flatten(1).sum(1)


def error_of(x_hat, x):
    return ((x - x_hat)**2).sum((1, 2, 3))


def with_error(f):
    """f(squared errors of the images, σ, D) in place of −log p(x|z)."""
    return lambda a, x, s, m, v: (f(error_of(a, x), s, x[0].numel()) + kl_by_torch(m, v)).mean()


def constant(s, d):
    return d / 2 * np.log(2 * np.pi * s**2)


def with_kl(kl):
    return lambda a, x, s, m, v: (nll_of(a, x, s) + kl(m, v)).mean()


LOSS = [
    (lambda a, x, s, m, v: -Normal(a, s).log_prob(x).mean() + kl_by_torch(m, v).mean(), "average over the pixels and"),
    (lambda a, x, s, m, v: F.mse_loss(a, x) + kl_by_torch(m, v).mean(), "average over the pixels and"),
    (lambda a, x, s, m, v: F.mse_loss(a, x) / (2 * s**2) + kl_by_torch(m, v).mean(), "average over the pixels and"),
    (lambda a, x, s, m, v: nll_of(a, x, s).mean() + terms(m, v).mean(), "average the KL over the latents"),
    (lambda a, x, s, m, v: -Normal(a, s).log_prob(x).mean() + terms(m, v).mean(), "average both terms"),
    (lambda a, x, s, m, v: nll_of(a, x, s).mean() + kl_by_torch(m, v).sum(), "the KL is summed over the batch"),
    (lambda a, x, s, m, v: nll_of(a, x, s).sum() + kl_by_torch(m, v).mean(), "reconstruction is summed over the batch"),
    (lambda a, x, s, m, v: nll_of(a, x, s).sum() + kl_by_torch(m, v).sum(), "you add the images up"),
    (lambda a, x, s, m, v: nll_of(a, x, s) + kl_by_torch(m, v), "one number for each image"),
    (lambda a, x, s, m, v: loss_by_torch(a, x, s, m, v) / 6, "divide the loss by the number of pixels"),
    (lambda a, x, s, m, v: (nll_of(a, x, s) - kl_by_torch(m, v)).mean(), "the KL has the wrong sign"),
    (lambda a, x, s, m, v: (kl_by_torch(m, v) - nll_of(a, x, s)).mean(), "log p(x|z) has the wrong sign"),
    (lambda a, x, s, m, v: -loss_by_torch(a, x, s, m, v), "this is the ELBO itself"),
    (lambda a, x, s, m, v: nll_of(a, x, s).mean(), "the KL is missing"),
    (lambda a, x, s, m, v: kl_by_torch(m, v).mean(), "the reconstruction is missing"),
    (with_error(lambda r, s, d: r / (2 * s**2)), "(D/2) log 2πσ² is missing"),
    (lambda a, x, s, m, v: F.gaussian_nll_loss(a, x, torch.full_like(x, s**2), reduction="sum") / len(x)
     + kl_by_torch(m, v).mean(), "2π is missing"),
    (with_error(lambda r, s, d: r / (2 * s**2) + d / 2 * np.log(2 * np.pi * s)), "you have log 2πσ, and"),
    (with_error(lambda r, s, d: r / (2 * s**2) + 2 * constant(s, d)), "the ½ in front of log"),
    (with_error(lambda r, s, d: r / (2 * s**2) + constant(s, 1)), "once for each *pixel*"),
    (with_error(lambda r, s, d: r / (2 * s**2) - constant(s, d)), "(D/2) log 2πσ² has the wrong sign"),
    (with_error(lambda r, s, d: r / s**2 + constant(s, d)), "lacks its ½"),
    (with_error(lambda r, s, d: r / (2 * s) + constant(s, d)), "divide the squared error by σ."),
    (with_error(lambda r, s, d: r / 2 + constant(s, d)), "do not divide the squared error by σ²"),
    (with_error(lambda r, s, d: r), "the plain squared error"),
    (with_error(lambda r, s, d: r.sqrt() / (2 * s**2) + constant(s, d)), "the root of the squared error"),
    *[(with_kl(kl), f"the likelihood is right, and the KL is not: {words}") for kl, words in
      [(lambda m, v: terms(m, v, log=lambda v: v / 2).sum(1), "your logarithm is log σ."),
       (lambda m, v: terms(m, 2 * v).sum(1), "you treat log_var as log σ."),
       (lambda m, v: terms(m, v, variance=std).sum(1), "you have σ where the formula has σ²"),
       (lambda m, v: 2 * kl_by_torch(m, v), "the ½ is missing: yours is twice the KL"),
       (lambda m, v: terms(m, v, variance=lambda v: v, log=torch.log).sum(1), "you treat log_var as σ². It"),
       (lambda m, v: terms(m, v, one=0).sum(1), "the −1 is missing"),
       (lambda m, v: kl_divergence(Normal(0 * m, 1.0), Normal(m, std(v))).sum(1), "this is the KL the wrong way")]],
    (lambda *given: loss_by_torch(*given).item(), "a Python number (float)"),
    (lambda *given: loss_by_torch(*given).detach(), "no gradient flows back"),
    (lambda *given: loss_by_torch(*given) * torch.nan, "your answer holds NaN"),
    (lambda *given: loss_by_torch(*given) + 1, "the answer is 12.45, and yours is 13.45"),
    (lambda a, x, s, m, v: loss_by_torch(a + s * torch.randn_like(a), x, s, m, v), "random numbers of its own"),
]


def rate(level, over=lambda v: v):
    return lambda b, s, v: F.relu(torch.log(over(v) / level(b, s)) / 2)


def right(b, s):
    return b * s * s


NATS = [
    (rate(lambda b, s: s**2), "β does not come in"), (rate(lambda b, s: s**2 / b), "β stands on the wrong term"),
    (rate(lambda b, s: b * s), "you have σ where it is σ²"), (rate(lambda b, s: b), "σ does not come in. What"),
    (rate(lambda b, s: (b * s)**2), "β is squared"),
    (lambda b, s, v: torch.log(v / right(b, s)) / 2, "less than 0 nats"),
    (lambda b, s, v: torch.log(v / right(b, s)).abs() / 2, "the absolute value"),
    (lambda b, s, v: torch.log(v / right(b, s)).minimum(torch.zeros(())) / 2, "keep the wrong side"),
    (lambda b, s, v: -my_nats(b, s, v), "the sign is turned"),
    (lambda b, s, v: F.relu(torch.log(v / right(b, s))), "the ½ is missing: the nats"),
    (lambda b, s, v: F.relu(torch.log2(v / right(b, s)) / 2), "in bits"),
    (lambda b, s, v: torch.log1p(v / right(b, s)) / 2, "you put w² = λ"),
    (lambda b, s, v: my_nats(b, s, v).sum(), "you add the latents up"),
    (lambda b, s, v: my_nats(b, s, v).mean(), "you average over the latents"),
    (lambda b, s, v: v > right(b, s), "which latents are in use"),
    (lambda b, s, v: sum(v > right(b, s)), "count the latents"),
    (lambda b, s, v: torch.where(v > right(b, s), right(b, s), v), "the distortion"),
    (lambda b, s, v: torch.where(v > right(b, s), v, right(b, s)), "the best u."),
    (lambda b, s, v: F.relu(v - right(b, s)), "the best w²"),
    (lambda b, s, v: (right(b, s) / v).clamp(max=1), "the variance s²"),
    (lambda b, s, v: b * my_nats(b, s, v), "by their price β"),
    (lambda b, s, v: (v > right(b, s)) * v.log() / 2, "you take ½ log λ"),
    (rate(right, lambda v: v**2), "you square the variances"), (rate(right, lambda v: v**0.5), "root of the variances"),
    (lambda b, s, v: F.relu(v / right(b, s) - 1) / 2, "the logarithm is missing"),
    (lambda b, s, v: my_nats(b, s, v).sort().values, "the answer is [1.04, 0.3466, 0], and yours is [0, 0.3466, 1.04]"),
    (lambda b, s, v: my_nats(b, s, v).tolist(), "a list of"),
]


def naive(log_w):
    return torch.log(torch.mean(torch.exp(log_w), 0))


def one_maximum(log_w):
    return (log_w - log_w.max()).exp().mean(0).log() + log_w.max()


BOUND = [
    (lambda w: torch.logsumexp(w, 0), "log k is missing"), (lambda w: w.exp().sum(0).log(), "log k is missing"),
    (lambda w: torch.logsumexp(w, 0) + np.log(len(w)), "you add log k"),
    (lambda w: torch.logsumexp(w, 0) / w.shape[0], "divide the logarithm by k"),
    (lambda w: torch.logsumexp(w, 0) - len(w), "you subtract k."),
    (lambda w: torch.logsumexp(w, 0) - np.log(w.shape[1]), "you subtract log B"),
    (lambda w: torch.logsumexp(w, 0) - np.log(w.numel()), "you subtract log (k·B)"),
    (lambda w: torch.logsumexp(w, 0) - np.log2(len(w)), "to base 2"),
    (lambda w: w.mean(0), "the ELBO again"), (lambda w: w.sum(0), "k times the ELBO"),
    (lambda w: w.max(0).values, "you take the largest log weight"),
    (lambda w: w.max(0).values - np.log(len(w)), "you keep the largest log weight only"),
    (lambda w: w.exp().mean(0), "an estimate of p(x)"), (lambda w: torch.log1p(w.exp().mean(0)), "log1p"),
    (lambda w: torch.logsumexp(w, 1) - np.log(w.shape[1]), "logsumexp runs over the images"),
    (lambda w: torch.logsumexp(w, 1) - np.log(w.shape[0]), "logsumexp runs over the images"),
    (lambda w: torch.logsumexp(w, -1), "logsumexp runs over the images"),
    (lambda w: w.mean(1), "you average over the images, and keep the samples"),
    (lambda w: torch.logsumexp(w, (0, 1)) - np.log(w.numel()), "samples and images together"),
    (lambda w: my_bound(w).mean(), "you average over the images. Each"),
    (lambda w: my_bound(w).sum(), "you add the images up. Each"),
    (lambda w: w.mean(), "the mean of all log weights"), (lambda w: -my_bound(w), "the sign is turned"),
    (lambda w: (torch.softmax(w, 0) * w).sum(0), "by themselves, normalised"),
    (lambda w: -torch.log(torch.mean(1 / w.exp(), 0)), "the harmonic mean"),
    (lambda w: torch.logcumsumexp(w, 0) - np.log(len(w)), "up to each sample"),
    (naive, "at log weights of [-100000, -99998, -99999] your answer is -inf: exp of such a number is 0"),
    (lambda w: naive(w.double()), "at log weights of [-100000, -99998, -99999] your answer is -inf: exp of such a "
     "number is 0"),
    (lambda w: naive(w - (top := w.max(0).values.clamp(max=0))) + top, "exp of such a number is inf"),
    (lambda w: torch.log(w.exp().mean(0) + 1e-9), "Do not clamp, and add no small number"),
    (lambda w: naive(w.clamp(-80, 80)), "Do not clamp, and add no small number"),
    (one_maximum, "Do you subtract one maximum for all?"),
    (lambda w: my_bound(w).detach(), "no gradient flows back"),
    (lambda w: my_bound(w)[None], "your answer has shape (1, 3); it must be (3,)"),
    (lambda w: my_bound(w) + 1, "the answer is [0.6931], and yours is [1.693]"),
]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch02.check_kl, KL), (ch02.check_sample, SAMPLE), (ch02.check_elbo_loss, LOSS), (ch02.check_nats, NATS),
    (ch02.check_bound, BOUND)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)
