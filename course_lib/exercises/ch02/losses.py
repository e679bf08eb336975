"""Chapter 02, exercises 3 and 4: the negative ELBO as a loss, and how many nats a latent carries at a given β."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.autoencoders import gaussian_nll, kl_normal
from course_lib.exercises.ch02.gaussians import COSTS
from course_lib.exercises.checking import compare, verdict

# --- exercise 3: the negative ELBO ---------------------------------------------------------------------------------

def check_elbo_loss(my_loss: Callable) -> None:
    """my_loss(x_hat, x, sigma, mu, log_var) → (1/B) Σ_i [−log N(x_i | x̂_i, σ²I) + KL_i], a scalar."""
    generator = torch.Generator().manual_seed(0)
    x_hat, x = torch.randn((2, 4, 1, 2, 3), generator=generator)
    mu, log_var = torch.randn((2, 4, 3), generator=generator)
    log_var = log_var.abs() + 0.1               # so that a logarithm of it is a number, and names its mistake
    small = {"x_hat": torch.zeros(1, 1, 1, 2), "x": torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), "sigma": 0.5,
             "mu": torch.tensor([[2.0]]), "log_var": torch.zeros(1, 1)}
    with verdict():
        compare(my_loss, _learning({"x_hat": x_hat, "x": x, "sigma": 0.6, "mu": mu, "log_var": log_var}), _loss,
                LOSS_MISTAKES, read="sections 2.3 and 2.4", trains=True,
                small=("one image of two pixels, x = (1, 2), x_hat = (0, 0), sigma = 0.5, and one latent of mu = 2, "
                       "log_var = 0,", _learning(small)))


def _learning(arguments: dict) -> dict:
    return {name: value.requires_grad_() if name in ("x_hat", "mu", "log_var") else value
            for name, value in arguments.items()}


def _loss(x_hat: Tensor, x: Tensor, sigma: float, mu: Tensor, log_var: Tensor) -> Tensor:
    return (gaussian_nll(x_hat, x, sigma) + kl_normal(mu, log_var)).mean()


def _squares(x_hat: Tensor, x: Tensor) -> Tensor:
    return (x_hat - x).square().flatten(1).sum(1)                       # (B,)


def _log_constant(x: Tensor, sigma: float) -> float:
    """(D/2) log 2πσ²."""
    return x[0].numel() / 2 * math.log(2 * math.pi * sigma**2)


def _of_parts(total: Callable) -> Callable:
    """The loss as a function of the two terms of each image, (B,) both, and of D."""
    return lambda x_hat, x, sigma, mu, log_var: total(gaussian_nll(x_hat, x, sigma), kl_normal(mu, log_var),
                                                      x[0].numel())


def _with_nll(nll: Callable) -> Callable:
    """The loss with another −log p(x|z), a function of the squared errors (B,), σ and D."""
    return lambda x_hat, x, sigma, mu, log_var: (nll(_squares(x_hat, x), sigma, x[0].numel())
                                                 + kl_normal(mu, log_var)).mean()


def _with_cost(cost: Callable) -> Callable:
    """The loss with another KL of one dimension."""
    return lambda x_hat, x, sigma, mu, log_var: (gaussian_nll(x_hat, x, sigma) + cost(mu, log_var).sum(1)).mean()


LOG_2PI = math.log(2 * math.pi)
PIXEL_MEAN = ("you average over the pixels and add up the latents: then the KL weighs D times too much, as if β were "
              "the number of pixels, and the latents collapse. −log p(x|z) is a sum over pixels (section 2.4).")
BATCH = "The loss is the mean over the images of *both* terms."
NO_CONSTANT = ("(D/2) log 2πσ² is missing. While σ is held it moves no gradient, but then the number is no bound of "
               "log p(x), and two σ cannot be compared (section 2.4).")
LOSS_MISTAKES = [
    (_of_parts(lambda nll, kl, d: (nll / d + kl).mean()), PIXEL_MEAN),
    (_with_nll(lambda r, s, d: r / d / (2 * s**2)), PIXEL_MEAN),
    (_with_nll(lambda r, s, d: r / d), PIXEL_MEAN),
    (_with_nll(lambda r, s, d: r / d / (2 * s**2) + d / 2 * (LOG_2PI + 2 * math.log(s))), PIXEL_MEAN),
    (lambda x_hat, x, sigma, mu, log_var: (gaussian_nll(x_hat, x, sigma)
                                           + kl_normal(mu, log_var) / mu.shape[1]).mean(),
     "you average the KL over the latents. What dimensions cost adds up: sum over them (section 2.3)."),
    (lambda x_hat, x, sigma, mu, log_var: (gaussian_nll(x_hat, x, sigma) / x[0].numel()
                                           + kl_normal(mu, log_var) / mu.shape[1]).mean(),
     "you average both terms, one over the pixels and one over the latents, by two different numbers. Both are sums; "
     "only the images are averaged."),
    (_of_parts(lambda nll, kl, d: nll.mean() + kl.sum()),
     f"the KL is summed over the batch, and the reconstruction is averaged: β would grow with the batch. {BATCH}"),
    (_of_parts(lambda nll, kl, d: nll.sum() + kl.mean()),
     f"the reconstruction is summed over the batch, and the KL is averaged. {BATCH}"),
    (_of_parts(lambda nll, kl, d: (nll + kl).sum()), f"you add the images up. {BATCH}"),
    (_of_parts(lambda nll, kl, d: nll + kl), f"you return one number for each image. {BATCH}"),
    (_of_parts(lambda nll, kl, d: (nll + kl).mean() / d),
     "you divide the loss by the number of pixels. It is in nats an image: sum over pixels and latents."),
    (_of_parts(lambda nll, kl, d: (nll - kl).mean()),
     "the KL has the wrong sign: this loss pays the encoder for going away from the prior. −ELBO = −log p(x|z) + KL "
     "(section 2.1)."),
    (_of_parts(lambda nll, kl, d: (kl - nll).mean()),
     "log p(x|z) has the wrong sign: this loss is least where the reconstruction is worst. −ELBO = −log p(x|z) + KL."),
    (_of_parts(lambda nll, kl, d: -(nll + kl).mean()),
     "this is the ELBO itself, which is to be made large. An optimizer makes its negative small (section 2.1)."),
    (_of_parts(lambda nll, kl, d: nll.mean()), "the KL is missing: this is an autoencoder with noise (section 2.1)."),
    (_of_parts(lambda nll, kl, d: kl.mean()),
     "the reconstruction is missing: the KL alone is least when z says nothing about x."),
    (_with_nll(lambda r, s, d: r / (2 * s**2)), NO_CONSTANT),
    (_with_nll(lambda r, s, d: r / (2 * s**2) + d * math.log(s)),
     "2π is missing under the logarithm: (D/2) log 2πσ², so that the density has the area 1 (section 2.4)."),
    (_with_nll(lambda r, s, d: r / (2 * s**2) + d / 2 * (LOG_2PI + math.log(s))),
     "you have log 2πσ, and it is log 2πσ²: half of your weight on log σ is missing (section 2.4)."),
    (_with_nll(lambda r, s, d: r / (2 * s**2) + d * (LOG_2PI + 2 * math.log(s))),
     "the ½ in front of log 2πσ² is missing: the density's root, 1/√(2πσ²), gives D/2 (section 2.4)."),
    (_with_nll(lambda r, s, d: r / (2 * s**2) + (LOG_2PI + 2 * math.log(s)) / 2),
     "½ log 2πσ² comes once for each *pixel*, and you have it once for each image: D/2 times (section 2.4)."),
    (_with_nll(lambda r, s, d: r / (2 * s**2) - d / 2 * (LOG_2PI + 2 * math.log(s))),
     "(D/2) log 2πσ² has the wrong sign: a wide Gaussian is low, so its −log is large (section 2.4)."),
    (_with_nll(lambda r, s, d: r / s**2 + d / 2 * (LOG_2PI + 2 * math.log(s))),
     "the squared error lacks its ½: it is ‖x − x̂‖²/(2σ²) (section 2.4)."),
    (_with_nll(lambda r, s, d: r / (2 * s) + d / 2 * (LOG_2PI + 2 * math.log(s))),
     "you divide the squared error by σ. It is 2σ²: the error is measured in units of σ, and then squared."),
    (_with_nll(lambda r, s, d: r / 2 + d / 2 * (LOG_2PI + 2 * math.log(s))),
     "you do not divide the squared error by σ²: it is ‖x − x̂‖²/(2σ²) (section 2.4)."),
    (_with_nll(lambda r, s, d: r),
     "your reconstruction is the plain squared error: that is 1/(2σ²) = 1, whatever sigma says. It is ‖x − x̂‖²/(2σ²) + "
     "(D/2) log 2πσ² (section 2.4)."),
    (_with_nll(lambda r, s, d: r.sqrt() / (2 * s**2) + d / 2 * (LOG_2PI + 2 * math.log(s))),
     "you take the root of the squared error. ‖x − x̂‖² is the sum of the squares as it is."),
    *[(_with_cost(cost), f"the likelihood is right, and the KL is not: {message}")
      for cost, message in COSTS[:-1]],         # the last is −KL, and has been told above
]


# --- exercise 4: what β switches off -------------------------------------------------------------------------------

def check_nats(my_nats: Callable) -> None:
    """my_nats(beta, sigma, variances) → (d,), max(0, ½ log(λ_j/βσ²)): nats that a linear VAE's best latents carry."""
    variances = torch.tensor([0.05, 9.0, 0.8, 4.0, 1.2, 0.2, 2.5, 0.4])
    with verdict():
        compare(my_nats, {"beta": 3.0, "sigma": 0.7, "variances": variances}, _nats, NATS_MISTAKES,
                small=("beta = 2, sigma = 0.5 and variances (4, 1, 0.1)",
                                      {"beta": 2.0, "sigma": 0.5, "variances": torch.tensor([4.0, 1.0, 0.1])}),
                read="section 2.6")


def _nats(beta: float, sigma: float, variances: Tensor) -> Tensor:
    return _above(variances, beta * sigma**2)


def _above(variances: Tensor, level: float) -> Tensor:
    return 0.5 * (variances / level).log().clamp_min(0)


def _at_level(f: Callable) -> Callable:
    """A function of λ and βσ²."""
    return lambda beta, sigma, variances: f(variances, beta * sigma**2)


NATS_MISTAKES = [
    (lambda beta, sigma, variances: _above(variances, sigma**2),
     "β does not come in. A latent pays where its direction has more variance than βσ²: a larger β switches more of "
     "them off."),
    (lambda beta, sigma, variances: _above(variances, sigma**2 / beta),
     "β stands on the wrong term: you divide by it, as if it weighed the reconstruction. It is the price of a nat, so "
     "a larger β leaves *fewer* nats: βσ² (section 2.6)."),
    (lambda beta, sigma, variances: _above(variances, beta * sigma),
     "you have σ where it is σ²: a variance λ is compared with a variance, βσ²."),
    (lambda beta, sigma, variances: _above(variances, beta),
     "σ does not come in. What a pixel's error costs depends on it, 1/(2σ²): the level is βσ²."),
    (lambda beta, sigma, variances: _above(variances, beta**2 * sigma**2),
     "β is squared: only σ is. The level is βσ²."),
    (_at_level(lambda v, level: 0.5 * (v / level).log()),
     "some of your latents carry less than 0 nats. w² cannot be negative, so u = w² + βσ² is never below βσ²: where "
     "λ < βσ² the best is w = 0, and the latent has collapsed."),
    (_at_level(lambda v, level: 0.5 * (v / level).log().abs()),
     "you take the absolute value, so directions of little variance carry many nats. Where λ < βσ² the best is w = 0, "
     "and the latent carries nothing."),
    (_at_level(lambda v, level: 0.5 * (v / level).log().clamp_max(0)),
     "you keep the wrong side: nats are 0 where λ is *below* βσ², and positive above."),
    (_at_level(lambda v, level: -_above(v, level)), "the sign is turned: nats of KL are never below 0."),
    (_at_level(lambda v, level: 2 * _above(v, level)),
     "the ½ is missing: the nats are ½ log(u/βσ²). λ is a variance, and its root is what counts."),
    (_at_level(lambda v, level: _above(v, level) / math.log(2)),
     "your answer is in bits. Here all is in nats: the logarithm is the natural one."),
    (_at_level(lambda v, level: 0.5 * (1 + v / level).log()),
     "you put w² = λ, so that u = λ + βσ². Set the derivative of ℓ to zero: it is u, not w², that becomes λ. So a "
     "latent can be switched off altogether."),
    (_at_level(lambda v, level: _above(v, level).sum()),
     "you add the latents up. Asked is what each of them carries: (d,)."),
    (_at_level(lambda v, level: _above(v, level).mean()),
     "you average over the latents. Asked is what each of them carries: (d,)."),
    (_at_level(lambda v, level: (v > level).double()),
     "you say which latents are in use, 1 or 0. That is right; asked is how many nats each of them carries."),
    (_at_level(lambda v, level: (v > level).sum()),
     "you count the latents in use. Asked is how many nats each of them carries: (d,)."),
    (_at_level(lambda v, level: v.clamp_max(level)),
     "this is the squared error that is left in each direction, min(λ, βσ²): the distortion. Asked is the rate, in "
     "nats."),
    (_at_level(lambda v, level: v.clamp_min(level)),
     "this is the best u. The nats are ½ log(u/βσ²)."),
    (_at_level(lambda v, level: (v - level).clamp_min(0)),
     "this is the best w². With u = w² + βσ² the nats are ½ log(u/βσ²)."),
    (_at_level(lambda v, level: level / v.clamp_min(level)),
     "this is the variance s² of the best encoder. The nats are ½ log(u/βσ²), that is −½ log s²."),
    (lambda beta, sigma, variances: beta * _nats(beta, sigma, variances),
     "you multiply the nats by their price β. Asked is how many they are."),
    (_at_level(lambda v, level: torch.where(v > level, 0.5 * v.log(), 0)),
     "you take ½ log λ. Nats are ½ log(u/βσ²), the logarithm of a ratio of two variances: divide by βσ²."),
    (_at_level(lambda v, level: _above(v.square(), level)),
     "you square the variances. λ is a variance already: compare it with βσ² as it is."),
    (_at_level(lambda v, level: _above(v.sqrt(), level)),
     "you take the root of the variances. A variance is compared with a variance: λ with βσ²."),
    (_at_level(lambda v, level: 0.5 * (v / level - 1).clamp_min(0)),
     "the logarithm is missing: nats are ½ log(u/βσ²)."),
]
