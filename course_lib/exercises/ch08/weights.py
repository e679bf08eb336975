"""Chapter 08, exercise 4: which loss has which term, and which of them γ weighs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask, in_time
from course_lib.exercises.ch04.pairs import compare_pair, read_pair
from course_lib.exercises.ch05.looking import closer
from course_lib.exercises.checking import verdict

LOSSES = ("loss_enc", "loss_dec")
TERMS = ("prior", "llike", "gan")


def check_enc_dec_losses(my_enc_dec_losses: Callable) -> None:
    """my_enc_dec_losses(prior, llike, gan, gamma) → (prior + llike, gamma·llike + gan), two scalars, both descended.

    The terms are scalars with a gradient to come; what of it comes is looked at, too.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        arguments = _terms(3.7, 11.3, -1.9, 0.35)
        with closer(lambda: _say_weights(*_weights(my_enc_dec_losses, _terms(3.7, 11.3, -1.9, 0.35)))):
            compare_pair(my_enc_dec_losses, arguments, _losses, MISTAKES, names=LOSSES, read="sections 8.3 and 8.4",
                         small=("prior = 2, llike = 8, gan = −1 and gamma = ½", _terms(2.0, 8.0, -1.0, 0.5)))
        wanted = {"loss_enc": (1, 1, 0), "loss_dec": (0, 0.35, 1)}
        for (name, due), got in zip(wanted.items(), _weights(my_enc_dec_losses, arguments), strict=True):
            for term, a, b in zip(TERMS, got, due, strict=True):
                if abs(a - b) > 1e-5:
                    raise NotYet(f"both numbers are right, but the gradient of {name} through {term} is {a:.3g}, and "
                                 f"it must be {b:.3g}: is {term} cut off, by .detach(), .item() or torch.no_grad()? "
                                 "Nothing has to be: that a gradient stays out of a network is settled by *whose* "
                                 "weights it is taken in (section 8.4).")


def _terms(prior: float, llike: float, gan: float, gamma: float) -> dict[str, Tensor]:
    values = {name: torch.tensor(value, requires_grad=True)
              for name, value in zip(TERMS, (prior, llike, gan), strict=True)}
    return {**values, "gamma": torch.tensor(gamma)}


def _losses(prior: Tensor, llike: Tensor, gan: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    return prior + llike, gamma * llike + gan


def _weights(f: Callable, arguments: dict[str, Tensor]) -> list[list[float]]:
    """What each loss gains where prior, llike or gan grows by a little: its gradient, 0 where there is none."""
    losses, _ = read_pair(ask(f, arguments, echo=False), LOSSES)
    terms = [arguments[name] for name in TERMS]

    def grads(loss: Tensor) -> list[float]:
        if not loss.requires_grad:
            return [0.0, 0.0, 0.0]
        found = torch.autograd.grad(loss.sum(), terms, retain_graph=True, allow_unused=True)
        return [0.0 if grad is None else grad.item() for grad in found]

    got, problem = in_time(lambda: [grads(loss) for loss in losses], f)
    if problem:
        raise NotYet(problem)
    return got


def _say_weights(enc: list[float], dec: list[float]) -> None:
    """For an answer that is no known mistake, and whose gradients tell what it is made of."""
    if not (any(enc) and any(dec)):
        return
    words = [f"{name} has the weights {', '.join(f'{term} {a:.3g}' for term, a in zip(TERMS, got, strict=True))}"
             for name, got in zip(LOSSES, (enc, dec), strict=True)]
    raise NotYet(f"at gamma = 0.35 your {'; '.join(words)}. Which term belongs to whom? γ is one number, in one place: "
                 "read sections 8.3 and 8.4 again.")


# --- the mistakes --------------------------------------------------------------------------------------------------

def _enc(loss: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in Enc's loss, a function of prior, llike, gan and gamma, whatever Dec's is."""
    return lambda prior, llike, gan, gamma: (loss(prior, llike, gan, gamma), None), f"loss_enc: {why}"


def _dec(loss: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in Dec's loss, Enc's being right, or not yet looked at."""
    return lambda prior, llike, gan, gamma: (None, loss(prior, llike, gan, gamma)), f"loss_dec: {why}"


NOT_OF_ENC = ("L_GAN is in it. Enc has no part in the game against Dis: in Algorithm 1 it descends L_prior + L_llike "
              "alone, and a code that only makes x̃ convincing would not say which x it is (section 8.4).")
GAMMA_IS_DECS = ("Enc's loss is −ELBO, in features: KL and likelihood at their own weights. γ settles how *Dec* weighs "
                 "the likeness of x̃ to x against convincing Dis (section 8.3).")
ON_GAN = ("γ is on L_GAN. It is on L_llike: a sum over thousands of features, beside which an L_GAN of some −2 nats "
          "would count for nothing. So γ is small, and makes *L_llike* small (section 8.3).")
MISTAKES = [
    (lambda prior, llike, gan, gamma: _losses(prior, llike, gan, gamma)[::-1],
     "the two are exchanged: return Enc's loss first, then Dec's."),
    (lambda prior, llike, gan, gamma: (prior + llike + gan,) * 2,
     "both are the sum of the three terms. Each network has a loss of its own: Enc has no part in L_GAN, Dec none in "
     "L_prior, and γ weighs L_llike in Dec's (section 8.4)."),
    (lambda prior, llike, gan, gamma: (prior + gamma * llike + gan,) * 2,
     "both are L_prior + γ L_llike + L_GAN. Each network has a loss of its own: Enc has no part in L_GAN, nor has γ a "
     "part in Enc's, and Dec has none in L_prior (section 8.4)."),
    _enc(lambda prior, llike, gan, gamma: prior + gamma * llike, f"γ is in it. {GAMMA_IS_DECS}"),
    _enc(lambda prior, llike, gan, gamma: gamma * prior + llike,
         f"γ is on L_prior, as a β would be. {GAMMA_IS_DECS}"),
    _enc(lambda prior, llike, gan, gamma: gamma * (prior + llike), f"γ is on both terms. {GAMMA_IS_DECS}"),
    _enc(lambda prior, llike, gan, gamma: llike,
         "L_prior is missing. Then nothing holds q(z|x) near N(0, I), and what Dec makes of z ~ N(0, I) is made of "
         "codes that it has never met (chapter 2; section 8.3)."),
    _enc(lambda prior, llike, gan, gamma: gamma * llike, f"L_prior is missing, and γ is in it. {GAMMA_IS_DECS}"),
    _enc(lambda prior, llike, gan, gamma: prior,
         "L_llike is missing. With L_prior alone every code becomes N(0, I), whatever x is (section 8.3)."),
    _enc(lambda prior, llike, gan, gamma: prior + llike + gan, NOT_OF_ENC),
    _enc(lambda prior, llike, gan, gamma: prior + llike - gan, NOT_OF_ENC),
    _enc(lambda prior, llike, gan, gamma: prior + gamma * llike + gan,
         "L_GAN and γ are in it, and both are Dec's. Enc descends L_prior + L_llike, at their own weights (section "
         "8.4)."),
    _enc(lambda prior, llike, gan, gamma: llike - prior,
         "L_prior has the wrong sign: Enc would flee from N(0, I). Both terms come as losses, to be descended."),
    _enc(lambda prior, llike, gan, gamma: prior - llike,
         "L_llike has the wrong sign. It is −log p already, a loss to be descended (section 8.3)."),
    _enc(lambda prior, llike, gan, gamma: -prior - llike, "the sign is turned: both terms are to be made small."),
    _enc(lambda prior, llike, gan, gamma: (prior + llike) / 2, "you take the mean of the two. Their sum is −ELBO."),
    _dec(lambda prior, llike, gan, gamma: llike + gamma * gan, ON_GAN),
    _dec(lambda prior, llike, gan, gamma: gamma * (llike + gan),
         "γ is on both terms, so their proportion is what it was without it; only the step is shorter. It is on "
         "L_llike alone (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: llike + gan,
         "γ is missing. L_llike is a sum over thousands of features and would drown L_GAN (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: gamma * llike - gan,
         "L_GAN has the wrong sign. It is Dis's log likelihood: large where Dis sees through Dec. Dec makes it "
         "*small*, so it is added to a loss (section 8.3; and exercise 5)."),
    _dec(lambda prior, llike, gan, gamma: llike - gamma * gan,
         "γ is on L_GAN, and the sign of that is turned. γ is on L_llike; and L_GAN, which is large where Dis sees "
         "through Dec, is *added* to Dec's loss (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: llike - gan, "γ is missing, and L_GAN has the wrong sign (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: gan - gamma * llike,
         "L_llike has the wrong sign: x̃ would be driven away from x. It is −log p already, a loss (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: gamma * llike,
         "L_GAN is missing: Dec would be a VAE's decoder, in Dis's features, and nobody's samples would get sharper."),
    _dec(lambda prior, llike, gan, gamma: llike, "L_GAN is missing, and γ too (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: gan,
         "L_llike is missing: Dec would be a plain GAN's generator, that never learns which x its z came from."),
    _dec(lambda prior, llike, gan, gamma: gamma * gan, f"L_llike is missing, and {ON_GAN}"),
    *[_dec(lambda prior, llike, gan, gamma, a=a, b=b: prior + (gamma if a else 1) * llike + (gamma if b else 1) * gan,
           "L_prior is in it. It depends on μ and σ only, which are Enc's: in Dec's weights its gradient is 0. So it "
           f"does no harm, but it is no part of Dec's loss.{more}")
      for a, b, more in ((1, 0, ""), (0, 0, " And γ is missing."), (0, 1, " And γ is on L_GAN; it is on L_llike."))],
    _dec(lambda prior, llike, gan, gamma: gamma * prior + llike + gan,
         "γ is on L_prior, which depends on Enc alone: Dec has no part in it. γ is on L_llike (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: llike + gan / gamma,
         "you have divided by γ. The proportion is right, but Dec's step is 1/γ times as long as it should be: γ "
         "multiplies L_llike, and L_GAN stays as it is."),
    _dec(lambda prior, llike, gan, gamma: llike / gamma + gan, "you divide L_llike by γ. It is multiplied."),
    _dec(lambda prior, llike, gan, gamma: gamma * llike + (1 - gamma) * gan,
         "L_GAN has the weight 1 − γ. It has 1: γ is a factor of L_llike, and no share (section 8.3)."),
    _dec(lambda prior, llike, gan, gamma: (1 - gamma) * llike + gamma * gan,
         "γ is a share here, and that of L_GAN. It is a factor of L_llike; L_GAN has 1 (section 8.3)."),
]
