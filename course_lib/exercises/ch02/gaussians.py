"""Chapter 02, exercises 1 and 2: the KL of a diagonal Gaussian from N(0, I), and a sample that lets gradients through.

COSTS are the wrong forms of the KL of one dimension; exercise 3, whose loss holds a KL, knows them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.autoencoders import kl_normal, kl_per_dimension
from course_lib.exercises.calling import NotYet, ask, in_time
from course_lib.exercises.checking import as_numbers, compare, require_fit, same, show, verdict

# --- exercise 1: the KL --------------------------------------------------------------------------------------------

def check_kl(my_kl: Callable) -> None:
    """my_kl(mu, log_var) → (B,), Σ_j ½(μ_j² + σ_j² − 1 − log σ_j²); mu, log_var: (B, d)."""
    mu, log_var = torch.randn((2, 5, 3), generator=torch.Generator().manual_seed(0))
    log_var = 1.5 * log_var
    log_var[2] = log_var[2].abs() + 0.1         # one row that survives a logarithm
    small = {"mu": torch.tensor([[1.0, 0.0]]), "log_var": torch.tensor([[1.0, 4.0]]).log()}
    with verdict():
        compare(my_kl, {"mu": mu.requires_grad_(), "log_var": log_var.requires_grad_()}, kl_normal, KL_MISTAKES,
                small=("one image and two latents, of means (1, 0) and variances (1, 4), so log_var = (0, 1.386),",
                       {name: value.requires_grad_() for name, value in small.items()}), read="section 2.3",
                trains=True)


COSTS = [
    (lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1 - log_var / 2),
     "your logarithm is log σ. The formula has log σ², twice as much: so being narrow costs half of what it should. "
     "log_var is log σ² as it comes (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() + (2 * log_var).exp() - 1 - 2 * log_var),
     "you treat log_var as log σ. It is the logarithm of the variance: σ² = exp(log_var), with no 2 in it (section "
     "2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() + (2 * log_var).exp() - 1 - log_var),
     "your σ² is squared once too often. exp(log_var) is σ² already (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() + (log_var / 2).exp() - 1 - log_var),
     "you have σ where the formula has σ². exp(log_var / 2) is σ, exp(log_var) is σ² (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() + log_var - 1 - log_var.log()),
     "you treat log_var as σ². It is its logarithm, so the last term is log_var as it is, and σ² = exp(log_var)."),
    (lambda mu, log_var: 0.5 * (mu.square() + log_var.square() - 1 - log_var.square().log()),
     "you treat log_var as σ. It is log σ²: σ² = exp(log_var), and the last term is log_var as it is."),
    (lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1 + log_var),
     "the logarithm has the wrong sign. Let σ go to 0: your cost falls without end, though it should rise. It is "
     "− log σ² (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - log_var),
     "the −1 is missing: for μ = 0, σ = 1 the two Gaussians are equal and the KL must be 0; yours is ½ for each "
     "dimension."),
    (lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() + 1 - log_var),
     "you have + 1 for − 1: for μ = 0, σ = 1 the two Gaussians are equal and the KL must be 0; yours is 1 for each "
     "dimension."),
    (lambda mu, log_var: 2 * kl_per_dimension(mu, log_var),
     "the ½ is missing: yours is twice the KL. It comes from the ½ in the exponent of the Gaussian (section 2.3)."),
    (lambda mu, log_var: 0.5 * mu.square() + log_var.exp() - 1 - log_var,
     "the ½ stands at μ² only. It belongs to the whole bracket: ½ [μ² + σ² − 1 − log σ²]."),
    (lambda mu, log_var: mu.square() + 0.5 * (log_var.exp() - 1 - log_var),
     "the ½ is missing at μ². It belongs to the whole bracket: ½ [μ² + σ² − 1 − log σ²]."),
    (lambda mu, log_var: 0.5 * ((mu.square() + 1) / log_var.exp() - 1 + log_var),
     "this is the KL the wrong way round, of N(0, I) from q: zero in the right place, but for μ = 0, σ = 2 it is 0.318 "
     "where the KL of q from N(0, I) is 0.807. The average is taken under q (section 2.3)."),
    (lambda mu, log_var: 0.5 * (log_var.exp() - 1 - log_var),
     "μ does not come in: being away from 0 is free. That is the KL of N(μ, σ²) from N(μ, 1); the prior has mean 0 "
     "(the Watch out of section 2.3)."),
    (lambda mu, log_var: 0.5 * mu.square() + 0 * log_var,
     "σ does not come in, so an encoder could be as sure as it likes for nothing. Add ½ [σ² − 1 − log σ²]."),
    (lambda mu, log_var: 0.5 * (mu + log_var.exp() - 1 - log_var),
     "μ is not squared. Under q the mean of z² is μ² + σ² (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.abs() + log_var.exp() - 1 - log_var),
     "you take |μ|, and it is μ². Under q the mean of z² is μ² + σ² (section 2.3)."),
    (lambda mu, log_var: 0.5 * (mu.square() / log_var.exp() + log_var.exp() - 1 - log_var),
     "you divide μ² by σ². The distance to 0 is measured in units of the prior's spread, and that is 1 (section 2.3)."),
    (lambda mu, log_var: -kl_per_dimension(mu, log_var),
     "your KL is negative, and a KL cannot be: the sign is turned. The paper gives −KL = ½ Σ (1 + log σ² − μ² − σ²)."),
]
KL_MISTAKES = [
    (lambda mu, log_var: kl_per_dimension(mu, log_var).mean(1),
     "you take the mean over the dimensions. Divide by nothing: dimensions are independent, so what they cost adds up "
     "(section 2.3)."),
    (lambda mu, log_var: kl_per_dimension(mu, log_var),
     "you return a cost for each dimension. Add them up: one number for each image (section 2.3)."),
    (lambda mu, log_var: kl_per_dimension(mu, log_var).sum(0),
     "you add up the images and keep the dimensions. It is the other way round: .sum(1), one number for each image."),
    (lambda mu, log_var: kl_per_dimension(mu, log_var).mean(0),
     "you average over the images and keep the dimensions. A KL belongs to one image: add up its dimensions, .sum(1)."),
    (lambda mu, log_var: kl_normal(mu, log_var).sum(),
     "you add up the images as well. Each image has its own q, and so its own KL: return (B,), with .sum(1)."),
    (lambda mu, log_var: kl_normal(mu, log_var).mean(),
     "you average over the images. Each image has its own q, and so its own KL: return (B,)."),
    (lambda mu, log_var: kl_per_dimension(mu, log_var).mean(),
     "you take one mean over images and dimensions. Dimensions are added up, and images are kept apart: return (B,)."),
    (lambda mu, log_var: kl_normal(mu, log_var) / math.log(2),
     "your KL is in bits. Here all is in nats: the logarithm is the natural one."),
    *[(lambda mu, log_var, cost=cost: cost(mu, log_var).sum(1), message) for cost, message in COSTS],
]


# --- exercise 2: the sample ----------------------------------------------------------------------------------------

ROWS = 4000                                     # in two kinds of 2000, so that a spread is known to 1.6 %
TWO_KINDS = torch.tensor([[0.5, 1.25, 3.0], [3.0, 0.5, 1.25]])      # σ of the even rows and of the odd ones


def check_sample(my_sample: Callable) -> None:
    """my_sample(mu, log_var) → z ~ N(mu, diag σ²), (B, d), made so that dz/dμ = 1 and dz/dσ is the noise.

    The learner draws the noise, in any way. What is asked of it is asked with a margin of 6 standard errors or more: a
    right answer is turned down less than once in ten million checks. Two calls tell centre and noise apart.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        mu = 2 + 2 * torch.rand((ROWS, 3), generator=torch.Generator().manual_seed(0))
        sigma = TWO_KINDS.repeat(ROWS // 2, 1)
        arguments = {"mu": mu.requires_grad_(), "log_var": (2 * sigma.log()).requires_grad_()}
        answer, z = _ask_for_sample(my_sample, arguments)
        _, other = _ask_for_sample(my_sample, arguments, seed=1, echo=False)
        centre, sigma = mu.detach().double(), sigma.double()
        _require_noise(z, other, centre, sigma)
        _require_spread((z - other) / 2**0.5)
        _require_centre(z, centre, sigma)
        _require_gradient(my_sample, answer, arguments, (z - centre) / 2)


def _ask_for_sample(f: Callable, arguments: dict[str, Tensor], seed: int = 0, echo: bool = True) -> tuple:
    answer = ask(f, arguments, seed, echo)
    z = as_numbers(answer)
    require_fit(answer, z, z.new_full((ROWS, 3), torch.nan), arguments)     # of the shape only
    return answer, z


def _require_noise(z: Tensor, other: Tensor, mu: Tensor, sigma: Tensor) -> None:
    """Noise there must be: new at each call, for each image and for each dimension."""
    if same(z, other):
        if same(z, mu):
            raise NotYet("your z is μ: no noise comes in. A sample is μ plus noise that is as wide as σ (section 2.2).")
        if same(z, mu + sigma):
            raise NotYet("your z is μ + σ, the same each time: σ must be multiplied by noise, new at each call.")
        raise NotYet("called twice, your function gives the same z. The noise must be new at each call: leave out any "
                     "torch.manual_seed, and draw inside the function.")
    noise = z - other                           # whatever stands at the centre is gone
    if _constant_down(noise[::2]) and _constant_down(noise[1::2]):
        if same((noise / sigma)[0], (noise / sigma)[0, :1].expand(3)) or same(noise[0], noise[0, :1].expand(3)):
            raise NotYet("there is one number of noise for everything. Each image and each dimension needs its own: "
                         "noise of the shape of mu, torch.randn_like(mu).")
        raise NotYet("all images of the batch get the same noise, so their errors do not average out. Each needs its "
                     "own: noise of shape (B, d), not (d,) or (1, d).")
    correlations = [torch.corrcoef(rows.T)[i, j].abs().item() for rows in (noise[::2], noise[1::2])
                    for i, j in ((0, 1), (0, 2), (1, 2))]
    if min(correlations) > 0.99:
        raise NotYet("an image has one number of noise for all its dimensions, so z moves along one line only. Each "
                     "dimension needs its own: noise of shape (B, d), not (B, 1).")
    if max(correlations) > 0.2:
        raise NotYet("the noise of one dimension is correlated with that of another. q is a *diagonal* Gaussian: draw "
                     "all the numbers independently, torch.randn_like(mu).")


def _constant_down(rows: Tensor) -> bool:
    return torch.allclose(rows, rows[:1].expand_as(rows), rtol=1e-3, atol=1e-5)


VARIANCE = ("your noise is multiplied by σ². The standard deviation is what stretches it: exp(log_var) is σ², and σ is "
            "its root, exp(log_var / 2) (section 2.2).")
SPREADS = [
    (lambda s: s.square(), VARIANCE),
    (lambda s: torch.ones_like(s), "your noise is not multiplied by σ: every dimension gets a spread of 1. z = μ + σ ε "
                                   "(section 2.2)."),
    (lambda s: s.square() / 2, "you halve σ² instead of log σ². The ½ belongs inside: σ = exp(log_var / 2)."),
    (lambda s: s.sqrt(), "your noise is multiplied by the root of σ. One root turns σ² into σ: exp(log_var / 2), and "
                         "no further root."),
    (lambda s: 2 * s.log().abs(), "you multiply by log_var. It is a logarithm: σ = exp(log_var / 2) (section 2.2)."),
    (lambda s: s.log().abs(), "you multiply by log σ, log_var / 2. The exponential is missing: σ = exp(log_var / 2)."),
    (lambda s: 1 / s, "your noise is divided by σ: where the encoder is unsure z hardly moves. Mind the sign: "
                      "σ = exp(+log_var / 2)."),
    (lambda s: s.square().reciprocal(), "your noise is divided by σ²: where the encoder is unsure z hardly moves. It "
                                        "is multiplied by σ = exp(log_var / 2)."),
    (lambda s: s.pow(4), "your noise is multiplied by σ⁴: exp(log_var) is σ² already, and σ is its *root*."),
    (lambda s: F.softplus(2 * s.log()), "you send log_var through softplus. That makes it positive, but not σ: "
                                        "log_var is log σ², so σ = exp(log_var / 2)."),
    (lambda s: s / 12**0.5, "your noise has a spread of 0.29, as torch.rand has: it is uniform. The Gaussian is "
                            "torch.randn, with an n."),
    (lambda s: s.square() / 12**0.5, "your noise comes from torch.rand, which is uniform, and is multiplied by σ². "
                                     "Take torch.randn and σ = exp(log_var / 2)."),
]


def _require_spread(noise: Tensor) -> None:
    got = torch.stack([noise[::2].square().mean(0), noise[1::2].square().mean(0)]).sqrt()        # (2, 3)
    fits = lambda wanted: bool(((got / wanted - 1).abs() < 0.12).all())
    if fits(TWO_KINDS.double()):
        return
    for spread, message in SPREADS:
        if fits(spread(TWO_KINDS.double())):
            raise NotYet(message)
    ratio = got / TWO_KINDS
    i, j = divmod(int((ratio.log().abs() + 1e-9).nan_to_num(posinf=1e9).argmax()), 3)
    raise NotYet(f"the spread of your z is wrong: where σ is {TWO_KINDS[i, j]:g} it is about {got[i, j]:.1g}. It must "
                 "be σ = exp(log_var / 2), for each image and dimension its own (section 2.2).")


def _require_centre(z: Tensor, mu: Tensor, sigma: Tensor) -> None:
    def centred(residual: Tensor) -> bool:
        kinds = torch.stack([residual[::2], residual[1::2]]) / TWO_KINDS[:, None]
        return bool((kinds.mean(1).abs() < 0.15).all() and (kinds.square().mean(1) - 1).abs().max() < 0.25)

    if not centred(z - mu):
        if (z / sigma).mean(0).abs().max() < 0.15:
            raise NotYet("μ does not come in: your z lie around 0. A sample of q is μ + σ ε (section 2.2).")
        if centred(z - sigma * mu):
            raise NotYet("σ multiplies μ as well. Only the noise is stretched, and μ is added last: μ + σ ε.")
        if centred(z + mu):
            raise NotYet("your z lie around −μ: a sign is turned. z = μ + σ ε (section 2.2).")
        raise NotYet("your z do not lie around μ, each image around its own. z = μ + σ ε, and ε has mean 0: "
                     "torch.randn, not torch.rand.")
    if abs(((z - mu) / sigma).pow(4).mean() - 3) > 0.7:        # 1.8 for a uniform law
        raise NotYet("mean and spread are right, but your noise is not Gaussian: draw it with torch.randn.")


def _require_gradient(f: Callable, answer: Tensor, arguments: dict[str, Tensor], half_noise: Tensor) -> None:
    """The gradients must reach both arguments: dz/dμ = 1, dz/dlog_var = σε/2."""
    grads = [None, None]
    if answer.requires_grad:
        grads, problem = in_time(lambda: torch.autograd.grad(answer.sum(), list(arguments.values()),
                                                             allow_unused=True), f)
        if problem:
            raise NotYet(problem)
    reached = [grad is not None and bool(grad.count_nonzero()) for grad in grads]
    if not any(reached):
        raise NotYet("your z has the right law, but no gradient flows back to μ and σ, so the encoder could not learn. "
                     "torch.normal, .sample(), .detach() and torch.no_grad() cut it. Draw noise that depends on "
                     "nothing, and make z of it: μ + σ ε (section 2.2).")
    for name, through in zip(("μ", "σ"), reached, strict=True):
        if not through:
            raise NotYet(f"your z has the right law, but no gradient flows back to {name}. Something cuts it: "
                         ".detach(), .data, .item(), numpy or torch.no_grad().")
    wanted = [torch.ones_like(half_noise), half_noise]
    if not all(torch.allclose(grad.double(), want, rtol=1e-3, atol=1e-4)
               for grad, want in zip(grads, wanted, strict=True)):
        raise NotYet("your z has the right law, but not the gradient of μ + σ ε: dz/dμ must be 1, and dz/dσ must be ε; "
                     f"dz/dμ of the first image is {show(grads[0][0])}. Is a part of z detached, or used twice?")
