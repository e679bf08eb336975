"""Chapter 13, exercise 3: ᾱ and β̃ from β, with the right entry at both ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.ch04.pairs import compare_pair
from course_lib.exercises.checking import verdict

NAMES = ("alpha_bar", "beta_tilde")


def check_schedule(my_schedule: Callable) -> None:
    """my_schedule(beta) → alpha_bar (T+1,), 1 at index 0, and beta_tilde (T,), which begins with β̃_1 = 0.

    beta: (T,), begins with β_1. β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t).  Ho, Jain and Abbeel 2020, equations 4 and 7.
    """
    with verdict():
        compare_pair(my_schedule, {"beta": torch.tensor([0.1, 0.25, 0.15, 0.4, 0.3, 0.55])}, _schedule, MISTAKES,
                     names=NAMES, read="sections 13.1 and 13.2",
                     small=("β_1 = 0.2 and β_2 = 0.5", {"beta": torch.tensor([0.2, 0.5])}))


def _schedule(beta: Tensor) -> tuple[Tensor, Tensor]:
    alpha_bar = _led(1, (1 - beta).cumprod(0))
    return alpha_bar, beta * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])


def _led(first: float, rest: Tensor) -> Tensor:
    return torch.cat([torch.full((1,), float(first)), rest])


def _bar(f: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in alpha_bar, a function of beta, whatever beta_tilde is."""
    return lambda beta: (f(beta), None), f"alpha_bar: {why}"


def _tilde(f: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in beta_tilde, a function of β_t, ᾱ_{t−1} and ᾱ_t, each (T,); alpha_bar is right."""
    def mistake(beta: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = _schedule(beta)[0]
        return alpha_bar, f(beta, alpha_bar[:-1], alpha_bar[1:])
    return mistake, f"beta_tilde: {why}"


def _right(beta: Tensor, before: Tensor, now: Tensor) -> Tensor:
    return beta * (1 - before) / (1 - now)


def _other_first(first: Callable) -> Callable:
    """Right but for β̃_1, which is a function of β and of the right β̃."""
    def tilde(beta: Tensor, before: Tensor, now: Tensor) -> Tensor:
        right = _right(beta, before, now)
        return _led(float(first(beta, right)), right[1:])
    return tilde


OWN_BAR = "Look at t = 1 first: from x_1 and x_0 nothing about x_0 is open, so β̃_1 is 0."
MISTAKES = [
    (lambda beta: _schedule(beta)[::-1], "the two are exchanged: return alpha_bar first, then beta_tilde."),
    _bar(lambda beta: (1 - beta).cumprod(0),
         "ᾱ_0 = 1 is missing at the front. Yours has T entries, and index t holds ᾱ_{t+1}: every alpha_bar[t] is off "
         "by one. With the 1, index 0 is the image itself and index t is time t (section 13.1)."),
    _bar(lambda beta: _led(1, (1 - beta).cumprod(0)[:-1]),
         "ᾱ_T is missing at the end. With ᾱ_0 = 1 there are T + 1 entries; yours are ᾱ_0 … ᾱ_{T−1}, what is often "
         "called alpha_bar_prev (section 13.1)."),
    _bar(lambda beta: _led(1, _led(1, (1 - beta).cumprod(0)[:-1])),
         "ᾱ is shifted by one: 1 stands twice in front, and ᾱ_T is missing. Index t is to hold ᾱ_t (section 13.1)."),
    _bar(lambda beta: torch.cat([(1 - beta).cumprod(0), torch.ones(1)]),
         "the 1 is at the end. ᾱ_0 = 1 comes first: before any noise all of the image is there (section 13.1)."),
    _bar(lambda beta: torch.cat([(1 - beta).cumprod(0), torch.zeros(1)]),
         "there is a 0 at the end, and no 1 in front. Index 0 is the image itself, ᾱ_0 = 1 (section 13.1)."),
    _bar(lambda beta: _led(0, (1 - beta).cumprod(0)),
         "it begins with 0, as if x_0 were nothing but noise. ᾱ_0 is a product of no factors: 1 (section 13.1)."),
    _bar(lambda beta: (1 - beta).cumprod(0).flip(0),
         "it runs backwards, and ᾱ_0 = 1 is missing. t rises with the noise (section 13.1)."),
    _bar(lambda beta: _led(1, (1 - beta).cumprod(0)).flip(0),
         "it runs backwards. t rises with the noise: ᾱ_0 = 1 first, ᾱ_T last (section 13.1)."),
    _bar(lambda beta: _led(1, 1 - beta),
         "these are the α_t. ᾱ_t is their *product* up to t: .cumprod(0) (section 13.1)."),
    _bar(lambda beta: 1 - beta, "these are the α_t. ᾱ_t is their *product* up to t, after a 1 (section 13.1)."),
    *[_bar(lambda beta, lead=lead: lead(beta.cumprod(0)),
           "you multiply the β_t. It is the α_t = 1 − β_t that are multiplied: what is left of the image at each step "
           "(section 13.1).") for lead in (lambda a: a, lambda a: _led(1, a))],
    *[_bar(lambda beta, lead=lead: lead(1 - beta.cumprod(0)),
           "you have 1 − Π β. It is Π (1 − β): first 1 − β, then the product (section 13.1).")
      for lead in (lambda a: a, lambda a: _led(1, a))],
    *[_bar(lambda beta, lead=lead: lead(1 - beta.cumsum(0)),
           "you have 1 − Σ β. That is near Π (1 − β) only while the β are small (section 13.1).")
      for lead in (lambda a: a, lambda a: _led(1, a))],
    _bar(lambda beta: _led(1, (-beta.cumsum(0)).exp()),
         "you have e^(−Σ β). That is the limit of infinitely many, infinitely small steps; here it is Π (1 − β)."),
    _bar(lambda beta: _led(1, (1 - beta).cumprod(0).sqrt()),
         "you have √ᾱ, the factor of x_0. Asked is ᾱ itself, of which the roots are taken later (section 13.1)."),
    _bar(lambda beta: _led(0, 1 - (1 - beta).cumprod(0)),
         "you have 1 − ᾱ, the variance of the noise. Asked is ᾱ (section 13.1)."),
    _bar(lambda beta: _led(0, (1 - beta).log().cumsum(0)), "this is log ᾱ. Take its exponential."),
    _tilde(lambda beta, before, now: beta,
           "this is β_t. Have you taken ᾱ_t for ᾱ_{t−1}, so that the fraction is 1? Above stands the noise *before* "
           f"the step, 1 − ᾱ_{{t−1}}. {OWN_BAR} Yours is β_1 (section 13.2)."),
    _tilde(lambda beta, before, now: beta * (1 - now) / (1 - before),
           "the fraction is turned over: ᾱ_t and ᾱ_{t−1} are exchanged, and at t = 1 you divide by 1 − ᾱ_0 = 0. It is "
           "(1 − ᾱ_{t−1})/(1 − ᾱ_t), at most 1: looking back from x_t with x_0 known leaves *less* open than β_t "
           "(section 13.2)."),
    _tilde(_other_first(lambda beta, right: beta[0]),
           f"only its first entry is wrong: yours is β_1. Was ᾱ_1 put in for ᾱ_0? ᾱ_0 is 1. {OWN_BAR} (section 13.2)"),
    _tilde(_other_first(lambda beta, right: 1.0),
           f"only its first entry is wrong: yours is 1. Was 0 put in for ᾱ_0? ᾱ_0 is 1. {OWN_BAR} (section 13.2)"),
    _tilde(_other_first(lambda beta, right: right[1]),
           "only its first entry is wrong: it repeats β̃_2. Code that takes log β̃ does so to keep clear of log 0; "
           "asked is β̃_1 itself, 0 (section 13.2)."),
    _tilde(lambda beta, before, now: _right(_led(0, beta[:-1]), before, now),
           "β is shifted by one: you take β_{t−1} where β_t belongs, the noise of the step that is undone (section "
           "13.2)."),
    _tilde(lambda beta, before, now: _right(beta, before, now)[1:],
           "β̃_1 is missing: yours begins with β̃_2. β̃_1 is 0, and it has its place: T entries (section 13.2)."),
    _tilde(lambda beta, before, now: _led(0, _right(beta, before, now)),
           "it has T + 1 entries. There is no step to time 0 − 1, so no β̃_0: like beta, it begins with time 1 (section "
           "13.2)."),
    _tilde(lambda beta, before, now: _right(beta, before, now).sqrt(),
           "you have its root, the standard deviation. β̃ is a variance (section 13.2)."),
    _tilde(lambda beta, before, now: beta * ((1 - before) / (1 - now)).sqrt(),
           "there is a root on the fraction. All of these are variances: no root (section 13.2)."),
    _tilde(lambda beta, before, now: beta * before / now,
           "the 1 − is missing above and below: it is (1 − ᾱ_{t−1})/(1 − ᾱ_t) (section 13.2)."),
    _tilde(lambda beta, before, now: beta * (1 - now / before),
           "you have β_t (1 − ᾱ_t/ᾱ_{t−1}), which is β_t². It is β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t) (section 13.2)."),
    _tilde(lambda beta, before, now: (1 - beta) * (1 - before) / (1 - now),
           "α_t stands where β_t belongs (section 13.2)."),
    _tilde(lambda beta, before, now: (1 - before) / (1 - now), "β_t is missing: this is the fraction alone."),
    _tilde(lambda beta, before, now: beta * (1 - before), "1 − ᾱ_t is missing below (section 13.2)."),
    _tilde(lambda beta, before, now: beta / (1 - now), "1 − ᾱ_{t−1} is missing above (section 13.2)."),
]
