"""Chapter 13, exercise 1: the mean of one step back, where α and ᾱ are easily taken for each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.ch05.looking import closer
from course_lib.exercises.ch13.combining import say_weights
from course_lib.exercises.checking import compare, verdict

ALPHA, ALPHA_BAR = 0.85, 0.3


def check_step_mean(my_step_mean: Callable) -> None:
    """my_step_mean(x_t, eps, alpha_t, alpha_bar_t) → (x_t − β_t/√(1−ᾱ_t) ε)/√α_t, β_t = 1 − α_t.

    x_t, eps: (B, d); alpha_t, alpha_bar_t: (), one time for all. Ho, Jain and Abbeel 2020, equation 11.
    """
    draw = torch.Generator().manual_seed(13)
    x_t, eps = torch.randn((2, 4, 3), generator=draw)
    arguments = {"x_t": x_t, "eps": eps, "alpha_t": torch.tensor(ALPHA), "alpha_bar_t": torch.tensor(ALPHA_BAR)}
    small = {"x_t": torch.tensor([[1.0]]), "eps": torch.tensor([[0.8]]), "alpha_t": torch.tensor(0.81),
             "alpha_bar_t": torch.tensor(0.36)}
    weights = ALPHA ** -0.5, -(1 - ALPHA) / ((1 - ALPHA_BAR) * ALPHA) ** 0.5
    case = f"α = {ALPHA} and ᾱ = {ALPHA_BAR}"
    with verdict(), closer(lambda: say_weights(my_step_mean, arguments, ("x_t", "eps"), weights, case, "section 13.2")):
        compare(my_step_mean, arguments, _mean(), MISTAKES, read="section 13.2",
                small=("x_t = 1, ε = 0.8, α_t = 0.81 and ᾱ_t = 0.36", small))


def _mean(part: Callable = lambda a, ab: (1 - a) / (1 - ab).sqrt(),
          whole: Callable = lambda a, ab: a.sqrt()) -> Callable:
    """(x_t − part·ε)/whole, both functions of α and ᾱ."""
    return lambda x_t, eps, alpha_t, alpha_bar_t: ((x_t - part(alpha_t, alpha_bar_t) * eps)
                                                   / whole(alpha_t, alpha_bar_t))


def _ddim(x_t: Tensor, eps: Tensor, alpha_t: Tensor, alpha_bar_t: Tensor) -> Tensor:
    before = alpha_bar_t / alpha_t
    x_0 = (x_t - (1 - alpha_bar_t).sqrt() * eps) / alpha_bar_t.sqrt()
    return before.sqrt() * x_0 + (1 - before).sqrt() * eps


EXCHANGED = "α and ᾱ are exchanged"
STEP_AND_WAY = ("α_t belongs to *one step*, from t − 1 to t; ᾱ_t to the whole way from the image to t. The mean undoes "
                "one step")
MISTAKES = [
    (_mean(lambda a, ab: (1 - ab) / (1 - a).sqrt(), lambda a, ab: ab.sqrt()),
     f"{EXCHANGED} everywhere. {STEP_AND_WAY}, so it divides by √α_t; only the size of the noise that is in x_t, "
     "√(1 − ᾱ_t), is of the whole way (section 13.2)."),
    (_mean(lambda a, ab: (1 - ab) / (1 - a).sqrt()),
     f"{EXCHANGED} in the factor of ε: it is β_t/√(1 − ᾱ_t), what the step added over what is in x_t by now (section "
     "13.2)."),
    (_mean(lambda a, ab: (1 - ab).sqrt(), lambda a, ab: ab.sqrt()),
     "this is x̂_0, the guess of the image itself: *all* noise taken away, by ᾱ alone. Asked is one step, to t − 1: "
     "only β_t of the noise goes, and √α_t of the shrinking (section 13.2)."),
    (_mean(lambda a, ab: (1 - ab).sqrt()),
     "you take *all* the noise away, √(1 − ᾱ_t) ε: 1 − ᾱ stands where β_t = 1 − α_t belongs. One step takes away "
     "β_t/√(1 − ᾱ_t) of ε (section 13.2)."),
    (_mean(lambda a, ab: (1 - a).sqrt()),
     "ᾱ does not come in: you have β_t/√(1 − α_t), which is √β_t. The root is √(1 − ᾱ_t), the size of *all* noise in "
     "x_t (section 13.2)."),
    (_mean(whole=lambda a, ab: ab.sqrt()),
     f"you divide by √ᾱ_t: ᾱ for α. {STEP_AND_WAY}: √α_t (section 13.2)."),
    (_mean(lambda a, ab: (1 - a) / (1 - ab)),
     "the root on 1 − ᾱ_t is missing. The noise in x_t has variance 1 − ᾱ_t, so its size is √(1 − ᾱ_t) (section "
     "13.2)."),
    (_mean(lambda a, ab: (1 - a).sqrt() / (1 - ab).sqrt()),
     "√β_t stands where β_t belongs (or the root goes over the whole fraction): it is β_t/√(1 − ᾱ_t), a variance over "
     "a size (section 13.2)."),
    (_mean(lambda a, ab: a / (1 - ab).sqrt()),
     "α_t stands where β_t belongs: β_t = 1 − α_t, the little that the step has added (section 13.2)."),
    (_mean(lambda a, ab: ab / (1 - ab).sqrt()),
     "ᾱ_t stands where β_t belongs: β_t = 1 − α_t (section 13.2)."),
    (_mean(lambda a, ab: (1 - a.sqrt()) / (1 - ab).sqrt()),
     "you have 1 − √α_t for β_t. β_t = 1 − α_t, without a root (section 13.2)."),
    (_mean(lambda a, ab: (1 - a) / (1 - ab.sqrt())),
     "the root is on ᾱ_t alone, 1 − √ᾱ_t. It is over all of it: √(1 − ᾱ_t) (section 13.2)."),
    (_mean(lambda a, ab: (1 - a) / (1 - ab.sqrt()).sqrt()),
     "there is one root too many: √(1 − √ᾱ_t). It is √(1 − ᾱ_t) (section 13.2)."),
    (_mean(lambda a, ab: (1 - a) / ab.sqrt()),
     "ε is divided by √ᾱ_t, the size of the *image* in x_t. The size of the noise is √(1 − ᾱ_t) (section 13.2)."),
    (_mean(lambda a, ab: 1 - a),
     "you have β_t ε, without √(1 − ᾱ_t). That form is the score's: ∇ log p = −ε/√(1 − ᾱ_t). Here ε comes in, of "
     "size 1 (sections 13.2 and 13.3)."),
    (_mean(lambda a, ab: (1 - a) * (1 - ab).sqrt()),
     "you multiply by √(1 − ᾱ_t). ε is *divided* by it (section 13.2)."),
    (_mean(lambda a, ab: 1 / (1 - ab).sqrt()), "β_t is missing: ε's factor is β_t/√(1 − ᾱ_t) (section 13.2)."),
    (_mean(lambda a, ab: 1), "you take all of ε away. Its factor is β_t/√(1 − ᾱ_t) (section 13.2)."),
    (_mean(lambda a, ab: 0), "ε does not come in. That undoes the shrinking, and no noise (section 13.2)."),
    (_mean(whole=lambda a, ab: a), "you divide by α_t. The step forward multiplied by √α_t: a root (section 13.2)."),
    (_mean(whole=lambda a, ab: ab), "you divide by ᾱ_t. It is √α_t: another α, and a root (section 13.2)."),
    (_mean(whole=lambda a, ab: 1), "1/√α_t is missing: the step forward has shrunk x, by √α_t (section 13.2)."),
    (_mean(whole=lambda a, ab: 1 / a.sqrt()),
     "you multiply by √α_t, as the step *forward* does. Going back, divide by it (section 13.2)."),
    (_mean(whole=lambda a, ab: (1 - a).sqrt()), "you divide by √β_t. It is √α_t (section 13.2)."),
    (_mean(lambda a, ab: a.sqrt() * (1 - a) / (1 - ab).sqrt()),
     "1/√α_t is on x_t alone. It is on the whole bracket, on ε's part too (section 13.2)."),
    (_mean(lambda a, ab: -(1 - a) / (1 - ab).sqrt()),
     "the sign of ε is turned: going back takes noise *away*, x_t minus (section 13.2)."),
    (_ddim,
     "this is DDIM's step with η = 0: it leaves √(1 − ᾱ_{t−1}) ε in. Asked is the mean of DDPM's step, to which noise "
     "is added afterwards (sections 13.2 and 13.4)."),
]
