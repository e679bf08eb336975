"""Chapter 13, exercise 5: guidance towards a class, and not away from it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.ch05.looking import closer
from course_lib.exercises.ch13.combining import say_weights
from course_lib.exercises.checking import compare, verdict

W = 2.5


def check_guided(my_guided: Callable) -> None:
    """my_guided(eps_y, eps_null, w) → (1 + w) ε(x, y) − w ε(x, ∅).  Ho and Salimans 2021, equation 6.

    eps_y, eps_null: (B, C, H, W), the noise predicted with the class and without; w: (), the weight, 0 or more.
    """
    draw = torch.Generator().manual_seed(6)
    eps_y, eps_null = torch.randn((2, 3, 1, 2, 4), generator=draw)
    arguments = {"eps_y": eps_y, "eps_null": eps_null, "w": torch.tensor(W)}
    small = {"eps_y": torch.full((1, 1, 1, 1), 2.0), "eps_null": torch.ones(1, 1, 1, 1), "w": torch.tensor(3.0)}
    with verdict(), closer(lambda: say_weights(my_guided, arguments, ("eps_y", "eps_null"), (1 + W, -W), f"w = {W:g}",
                                               "section 13.8")):
        compare(my_guided, arguments, _weighted(lambda w: 1 + w, lambda w: -w), MISTAKES, read="section 13.8",
                small=("ε(x, y) = 2, ε(x, ∅) = 1 and w = 3", small))


def _weighted(y: Callable, null: Callable) -> Callable:
    """y(w) ε(x, y) + null(w) ε(x, ∅)."""
    def guided(eps_y: Tensor, eps_null: Tensor, w: Tensor) -> Tensor:
        return y(w) * eps_y + null(w) * eps_null
    return guided


SUM = "The two weights add up to 1, so where the class makes no difference guidance makes none"
MISTAKES = [
    (_weighted(lambda w: 1 - w, lambda w: w),
     "the sign of w is turned. At w = 0 yours is right, at w = 1 the class is forgotten, and with more you are pushed "
     "*away* from it: images of anything but y. Guidance goes from ε(x, ∅) to ε(x, y) and further on, "
     "ε(x, y) + w (ε(x, y) − ε(x, ∅)) (section 13.8)."),
    (_weighted(lambda w: w, lambda w: 1 - w),
     "that is the other convention, ε(x, ∅) + s (ε(x, y) − ε(x, ∅)), with w in place of s = 1 + w. At w = 0 yours "
     "ignores the class; asked is the one in which w = 0 is the plain conditional model (section 13.8)."),
    (_weighted(lambda w: -w, lambda w: 1 + w),
     "the two predictions are exchanged. At w = 0 yours ignores the class, and with more it is pushed away from it: "
     "1 + w belongs to ε(x, y), −w to ε(x, ∅) (section 13.8)."),
    (_weighted(lambda w: 2 + w, lambda w: -1 - w),
     "the 1 counts twice: your w is larger by 1 than it should be. At w = 0 it must be ε(x, y) alone (section 13.8)."),
    (_weighted(lambda w: 1 + w, lambda w: w),
     "you add ε(x, ∅). It is subtracted: the weights are 1 + w and −w. Yours add up to 1 + 2w, so there is 1 + 2w "
     "times as much noise as x_t has (section 13.8)."),
    (_weighted(lambda w: w, lambda w: -w),
     "that is w times the difference alone. It is added to ε(x, y); at w = 0 there would be nothing (section 13.8)."),
    (_weighted(lambda w: 1 + w, lambda w: 0), f"ε(x, ∅) is missing. {SUM} (section 13.8)."),
    (_weighted(lambda w: 1 + w, lambda w: -1),
     f"ε(x, ∅) has the weight −1. It is −w. {SUM} (section 13.8)."),
    (_weighted(lambda w: 1, lambda w: -w), f"ε(x, y) has the weight 1. It is 1 + w. {SUM} (section 13.8)."),
    (_weighted(lambda w: w, lambda w: -1 - w),
     "the 1 is on the wrong one: 1 + w belongs to ε(x, y), and −w to ε(x, ∅) (section 13.8)."),
    (_weighted(lambda w: 1 + w, lambda w: 1 - w),
     f"the weights are 1 + w and 1 − w. The second is −w. {SUM} (section 13.8)."),
    (_weighted(lambda w: w, lambda w: 1), "you have ε(x, ∅) + w ε(x, y): it is the *difference* that is multiplied by "
                                          "w, and it is added to ε(x, y) (section 13.8)."),
    (_weighted(lambda w: 1, lambda w: w), "you have ε(x, y) + w ε(x, ∅): it is the *difference* that is multiplied by "
                                          "w, and it is added to ε(x, y) (section 13.8)."),
    (_weighted(lambda w: -1 - w, lambda w: w),
     "both signs are turned. That is towards the class, but of minus the noise, as a score is (section 13.8)."),
    (_weighted(lambda w: 0.5, lambda w: 0.5),
     "you take the mean of the two, so half of the class is left. Guidance does not go between them, but *beyond* "
     "ε(x, y) (section 13.8)."),
    (_weighted(lambda w: 1 / (1 + w), lambda w: w / (1 + w)),
     "you take a weighted mean of the two, and more w means less class. Guidance goes *beyond* ε(x, y) (section "
     "13.8)."),
    (_weighted(lambda w: w / (1 + w), lambda w: 1 / (1 + w)),
     "you take a weighted mean of the two, which never reaches ε(x, y). Guidance goes *beyond* it (section 13.8)."),
    (_weighted(lambda w: (1 + w) / 2, lambda w: -w / 2),
     "you take half of it. It is a sum with the weights 1 + w and −w, and no mean (section 13.8)."),
    (_weighted(lambda w: (1 + w) / (1 + 2 * w), lambda w: -w / (1 + 2 * w)),
     f"you divide by 1 + 2w. {SUM}: nothing is to be divided (section 13.8)."),
    (_weighted(lambda w: 1, lambda w: 0), "w does not come in: this is the plain conditional model, w = 0."),
    (_weighted(lambda w: 0, lambda w: 1), "this is the model without a class. Neither y nor w comes in."),
]
