"""Samplers: from noise to an image, one step at a time. All have one shape: sampler(denoiser, schedule, x, times, …).

A denoiser is any function (x_t, t) → x̂_0, the guess of E[x_0|x_t]; ``as_denoiser`` makes one of a network,
``exact_denoiser`` of a density that is known. Each sampler is a generator: it yields x after each step, the last time
the sample itself. x: (B, …), the start, N(0, I); times: an integer tensor or list of falling times (S + 1,) that ends
at 0, as ``times`` gives it.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from course_lib.checks import require, require_one_of, require_same_shape
from course_lib.diffusion.schedules import Schedule, at, posterior, q_sample

Denoiser = Callable[[Tensor, Tensor], Tensor]


def times(T: int, steps: int | None = None, spacing: str = "uniform") -> list[int]:
    """The times that a sampler visits: from T down to 0 in so many steps, by default all of them; (steps + 1,).

    spacing: "uniform", or "quadratic", which takes smaller steps near 0. Song, Meng and Ermon 2021, appendix D.2.
    Raises ValueError unless 1 <= steps <= T, and where rounding would make two of them equal.
    """
    steps = T if steps is None else steps
    require(1 <= steps <= T, f"steps is {steps}; it must be from 1 to T = {T}.")
    require_one_of("spacing", spacing, ("uniform", "quadratic"))
    power = 1 if spacing == "uniform" else 2
    found = [round(T * (i / steps) ** power) for i in range(steps, -1, -1)]
    require(all(a > b for a, b in itertools.pairwise(found)),
            f"{steps} steps of {spacing} spacing do not fit into T = {T}: some would have no length. Take fewer.")
    return found


def last(sampler: Iterable[Tensor]) -> Tensor:
    """What a sampler yields last, the sample; nothing else is kept."""
    (x,) = collections.deque(sampler, maxlen=1)
    return x


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b along a great circle: (sin((1 − s)ω) a + sin(sω) b)/sin ω, s the share, ω the angle between a and b.

    a, b: (B, …), noise, of which each (…) is one vector; share: 0 is a, 1 is b. Between two draws of N(0, I) in many
    dimensions, which are all but orthogonal and of length √d, it keeps that length; the straight line between them has
    points of length √(d/2), where N(0, I) has next to no mass. Shoemake 1985.
    Raises ValueError for other shapes.
    """
    require_same_shape(b=b, a=a)
    cos = torch.cosine_similarity(a.flatten(1), b.flatten(1)).view(-1, *[1] * (a.ndim - 1))
    angle = cos.clamp(-1, 1).acos()
    nearly = angle.sin() < 1e-4                             # the same direction: a straight line is the limit
    low = torch.where(nearly, 1 - share, ((1 - share) * angle).sin() / angle.sin())
    return low * a + torch.where(nearly, share, (share * angle).sin() / angle.sin()) * b


def ddpm(denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], generator=None,
         variance: str = "posterior") -> Iterator[Tensor]:
    """Ancestral sampling: x_s ~ N(mean of q(x_s|x_t, x̂_0), σ²).  Ho, Jain and Abbeel 2020, Algorithm 2.

    variance: "posterior", β̃_t, which is right where all x_0 are one point; or "beta", β_t, right where x_0 ~ N(0, I)
    (section 3.2). No noise at the last step, to time 0.
    """
    require_one_of("variance", variance, ("posterior", "beta"))
    for t, s in _steps(times, schedule, x):
        mean, var = posterior(schedule, denoiser(x, t), x, t, s)
        if variance == "beta":
            var = 1 - at(schedule.alpha_bar, t, x) / at(schedule.alpha_bar, s, x)
        x = mean if s[0] == 0 else mean + var.sqrt() * _noise(x, generator)
        yield x


def ddim(denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], generator=None,
         eta: float = 0.0) -> Iterator[Tensor]:
    """x_s = √ᾱ_s x̂_0 + √(1−ᾱ_s−σ²) ε̂ + σ ε, σ² = η² β̃.  Song, Meng and Ermon 2021, equations 12 and 16.

    eta: 0, nothing is random but the start; 1, as much noise as ``ddpm`` has; and in between. Raises ValueError beyond:
    there more noise would be added than x_s has.
    """
    require(0 <= eta <= 1, f"eta is {eta}; it must be from 0 (nothing random) to 1 (DDPM).")
    for t, s in _steps(times, schedule, x):
        x0 = denoiser(x, t)
        eps = _eps(x0, x, schedule, t)
        alpha_bar_s, variance_s = at(schedule.alpha_bar, s, x), at(schedule.variance, s, x)
        var = eta**2 * posterior(schedule, x0, x, t, s)[1]
        x = alpha_bar_s.sqrt() * x0 + (variance_s - var).clamp_min(0).sqrt() * eps
        if eta > 0 and s[0] > 0:
            x = x + var.sqrt() * _noise(x, generator)
        yield x


def heun(denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], generator=None) -> Iterator[Tensor]:
    """The probability flow, an ordinary differential equation, by Heun's method.

    Errors fall as 1/steps² with quadratic spacing; with uniform spacing as 1/steps^1.5, for σ grows as √t near 0.
    In y = x/√(1−ᾱ) and r = √SNR it reads dy/dr = E[x_0|x]: what ``ddim`` with η = 0 takes one slope a step for, Heun
    takes two and goes by their mean. The last step, to time 0, where r = ∞, is ddim's. 2·steps − 1 calls of denoiser.
    Song et al. 2021 (score SDE), equation 13; Karras et al. 2022, Algorithm 1 (there in x/√ᾱ, which begins at 10⁴ and
    more where ᾱ_T is tiny). generator: for the one shape that samplers have; nothing is drawn.
    """
    for t, s in _steps(times, schedule, x):
        x0 = denoiser(x, t)
        predicted = _along(x0, x, schedule, t, s)
        x = predicted if s[0] == 0 else _along((x0 + denoiser(predicted, s)) / 2, x, schedule, t, s)
        yield x


def ddim_inversion(denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], generator=None,
                   repeats: int = 1) -> Iterator[Tensor]:
    """``ddim`` with η = 0 backwards: from an image x (B, …), at time 0, to the noise that it comes from.

    times: the same falling list, which is gone through from its end. Each step looks for the x_t that ddim takes to
    x_s: x_t = √ᾱ_t x̂_0 + √(1−ᾱ_t) ε̂ with the guess at x_t itself, by so many repeats of a fixed-point iteration that
    begins at x_s. One repeat is the usual approximation; where it converges, more give ddim's exact inverse. As steps
    get smaller, both come back to x. The cosine schedule ends in one step that leaves next to nothing of x_0
    (β = 0.999) and that nobody can go back over exactly: leave T out there, ``times(T, steps)[1:]``.
    Song, Meng and Ermon 2021, section 5.4. Raises ValueError unless repeats >= 1.
    """
    require(repeats >= 1, f"repeats is {repeats}; it must be 1 or more.")
    for t, s in reversed(list(_steps(times, schedule, x))):
        x_s, ratio = x, (at(schedule.alpha_bar, t, x) / at(schedule.alpha_bar, s, x)).sqrt()
        for _ in range(repeats):
            eps = _eps(denoiser(x, t), x, schedule, t)
            noise_t, noise_s = at(schedule.variance, t, x).sqrt(), at(schedule.variance, s, x).sqrt()
            x = ratio * (x_s - noise_s * eps) + noise_t * eps
        yield x


def inpaint(denoiser: Denoiser, schedule: Schedule, x: Tensor, times: Sequence[int], generator=None, *, known: Tensor,
            mask: Tensor, repeats: int = 1) -> Iterator[Tensor]:
    """``ddpm`` where a part of x_0 is known: after each step that part is put back, as noisy as the time asks for.

    known: x's shape, the image; only its masked part is looked at. mask: bool, True where known, x's shape or one that
    broadcasts to it. repeats: each step is taken so often, with the noise of the step put on again in between, so that
    the unknown part can settle with the known one: once is quick and often ill-fitting at the seam; often, it fits,
    but varies less than the conditional distribution does.
    Song et al. 2021 (score SDE), appendix I.2; Lugmayr et al. 2022 (RePaint), Algorithm 1.
    Raises ValueError for a mask that is not bool or does not broadcast to x, another shape of known, repeats below 1.
    """
    require(mask.dtype == torch.bool, f"mask has dtype {mask.dtype}; it must be bool, True where the image is known.")
    require_same_shape(known=known, x=x)
    fits = mask.ndim <= x.ndim and all(m in (1, n) for m, n in zip(mask.shape[::-1], x.shape[::-1], strict=False))
    require(fits, f"mask has shape {tuple(mask.shape)}; it must be x's, {tuple(x.shape)}, or broadcast to it.")
    require(repeats >= 1, f"repeats is {repeats}; it must be 1 or more.")
    for t, s in _steps(times, schedule, x):
        for again in range(repeats - 1, -1, -1):
            mean, var = posterior(schedule, denoiser(x, t), x, t, s)
            made = mean if s[0] == 0 else mean + var.sqrt() * _noise(x, generator)
            x_s = torch.where(mask, q_sample(schedule, known, s, _noise(x, generator)), made)
            if again:
                kept = at(schedule.alpha_bar, t, x) / at(schedule.alpha_bar, s, x)
                x = kept.sqrt() * x_s + (1 - kept).sqrt() * _noise(x, generator)         # q(x_t|x_s)
        x = x_s
        yield x


def _along(x0: Tensor, x_t: Tensor, schedule: Schedule, t: Tensor, s: Tensor) -> Tensor:
    """x_s on the straight way from x_t towards x0, straight in y = x/√(1−ᾱ) and r = √SNR."""
    return (at(schedule.alpha_bar, s, x_t).sqrt() * x0
            + at(schedule.variance, s, x_t).sqrt() * _eps(x0, x_t, schedule, t))


def _eps(x0: Tensor, x_t: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    return (x_t - at(schedule.alpha_bar, t, x_t).sqrt() * x0) / at(schedule.variance, t, x_t).sqrt()


def _steps(times, schedule, x) -> Iterator[tuple[Tensor, Tensor]]:
    times = [int(t) for t in times]
    require(len(times) >= 2 and all(a > b for a, b in itertools.pairwise(times)) and times[0] <= schedule.T
            and times[-1] == 0, f"times must fall from at most T = {schedule.T} to 0, but they are "
                                f"{times if len(times) < 9 else f'{times[:4]} … {times[-3:]}'}: see diffusion.times.")
    for t, s in itertools.pairwise(times):
        yield tuple(torch.full((len(x),), when, device=x.device) for when in (t, s))


def _noise(x: Tensor, generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
