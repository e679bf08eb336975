"""Schedules: how much noise is added at each time, and what is known in closed form of the forward process."""

from __future__ import annotations

import math
import warnings
from numbers import Integral

import torch
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape

NEARLY_NOISE = 1e-2     # of SNR(T): then KL(q(x_T|x_0) ‖ N(0, 1)) is at most 0.005 nats for a pixel of size 1


class Schedule:
    """β_1 … β_T of the forward process q(x_t|x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t I).  Ho, Jain and Abbeel 2020, eq. 2.

    beta: (T,), the first is β_1. Kept as tensors (T + 1,) in float64, so that index t is time t as in the paper, and at
    index 0 stands the image itself, before any noise:
    ``beta`` (0 at index 0), ``alpha`` = 1 − β, ``alpha_bar`` = Π α (1 at index 0; eq. 4), ``variance`` = 1 − ᾱ, without
    the digits that a subtraction would lose, ``snr`` = ᾱ/(1 − ᾱ) (∞ at index 0), for x_0 of size 1.
    Raises ValueError unless every β lies in (0, 1) and ᾱ falls at each step and stays above 0. Warns where x_T is not
    nearly noise (SNR(T) above 0.01): samplers begin with N(0, I).
    """

    def __init__(self, beta: Tensor):
        beta = torch.as_tensor(beta).detach().to(torch.float64)
        require_shape("beta", beta, None)
        require(len(beta) >= 1, "beta is empty; a schedule needs one step at least.")
        wrong = [t for t, b in enumerate(beta.tolist(), start=1) if not 0 < b < 1]
        require(not wrong, f"β must lie in (0, 1) at every time, but {len(wrong)} of {len(beta)} do not, the first of "
                           f"them {', '.join(f'β_{t} = {beta[t - 1].item():.4g}' for t in wrong[:1])}: take smaller "
                           "ones; with more steps each can be smaller.")
        nothing = beta.new_zeros(1)
        log_alpha_bar = torch.cat([nothing, torch.log1p(-beta).cumsum(0)])
        self.T, self.beta = len(beta), torch.cat([nothing, beta])                # (T + 1,) from here on
        self.alpha, self.alpha_bar = 1 - self.beta, log_alpha_bar.exp()
        self.variance = torch.expm1(log_alpha_bar).abs()                         # −0 would make the SNR −∞ at index 0
        self.snr = self.alpha_bar / self.variance
        require(bool((self.alpha_bar.diff() < 0).all()) and self.alpha_bar[-1].item() > 0,
                f"ᾱ must fall at each step and stay above 0, but it ends at {self.alpha_bar[-1].item():.3g}: some β "
                "are too small to count, or so many are large that nothing is left: take others.")
        if self.snr[-1] > NEARLY_NOISE:
            warnings.warn(f"x_T is not nearly noise: √ᾱ_T = {self.alpha_bar[-1].sqrt().item():.3g} of x_0 is still in "
                          f"it (SNR(T) = {self.snr[-1].item():.3g}, above {NEARLY_NOISE}). Samplers begin with "
                          "N(0, I), so their samples will be off: take larger β or more steps.", stacklevel=2)

    @classmethod
    def linear(cls, T: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
        """β rises evenly from first to last, both times 1000/T: then ᾱ runs the same course for any T.

        With T = 1000 this is Ho, Jain and Abbeel 2020, section 4. Raises ValueError where T is so small that β_T would
        reach 1: for the usual ends, T of 20 or less.
        """
        _require_steps(T)
        top = 1000 / T * max(first, last)
        require(min(first, last) > 0 and top < 1,
                f"Schedule.linear({T}, {first:g}, {last:g}): β is scaled by 1000/T and would lie between "
                f"{1000 / T * min(first, last):.3g} and {top:.3g}; it must lie in (0, 1). Take T above "
                f"{1000 * max(first, last):g}, other ends, or Schedule.cosine, which fits any T.")
        return cls(1000 / T * torch.linspace(first, last, T, dtype=torch.float64))

    @classmethod
    def cosine(cls, T: int = 1000, s: float = 0.008, largest: float = 0.999) -> Schedule:
        """ᾱ_t = f(t)/f(0), f(t) = cos²(π/2 · (t/T + s)/(1 + s)), with no β above ``largest``: for any T.

        s keeps the first steps from being too small. Nichol and Dhariwal 2021, equation 17.
        """
        _require_steps(T)
        require(s > 0 and 0 < largest < 1, f"s is {s} and largest is {largest}; s must be above 0, largest in (0, 1).")
        f = torch.cos(math.pi / 2 * (torch.arange(T + 1, dtype=torch.float64) / T + s) / (1 + s)).square()
        return cls((1 - f[1:] / f[:-1]).clamp(max=largest))

    def to(self, device) -> Schedule:
        """The same schedule on this device, where its values can be read without waiting for the CPU."""
        moved = object.__new__(Schedule)
        moved.T = self.T
        for name in ("beta", "alpha", "alpha_bar", "variance", "snr"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def __repr__(self) -> str:
        return f"Schedule of {self.T} steps, SNR from {self.snr[1].item():.3g} to {self.snr[-1].item():.3g}"


def at(values: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """values[t] for times t (B,), shaped to multiply x (B, …): (B, 1, …), in x's dtype and on its device.

    Raises ValueError unless t is an integer tensor (B,); on the CPU also for times outside 0 … T.
    """
    require_shape("t", t, len(x))
    require(not t.is_floating_point() and t.dtype != torch.bool,
            f"t has dtype {t.dtype}; times are integers: 1 is the first noisy image, T the last.")
    if t.device.type == "cpu" and len(t):
        low, high = t.min().item(), t.max().item()
        require(low >= 0 and high < len(values), f"t runs from {low} to {high}; times run from 1 to {len(values) - 1}, "
                                                 "and 0 is the image itself.")
    return values.to(t.device)[t].to(x).view(-1, *[1] * (x.ndim - 1))


def q_sample(schedule: Schedule, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, a draw from q(x_t|x_0) in one go.  Ho, Jain and Abbeel 2020, equation 4.

    x0: (B, …); t: (B,), integers 0 … T; eps: N(0, I), x0's shape. Returns x0's shape.
    """
    require_same_shape(eps=eps, x0=x0)
    return at(schedule.alpha_bar, t, x0).sqrt() * x0 + at(schedule.variance, t, x0).sqrt() * eps


def posterior(schedule: Schedule, x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean (B, …) and variance (B, 1, …) of q(x_s|x_t, x_0), s < t.  Ho, Jain and Abbeel 2020, equations 6 and 7.

    s: (B,), an earlier time; by default t − 1, and then the variance is β̃_t = β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t). At s = 0
    the mean is x_0 and the variance 0. Steps in between are skipped by β_{t|s} = 1 − ᾱ_t/ᾱ_s in place of β_t.
    x0, x_t: (B, …); t: (B,), 1 … T. Raises ValueError for other shapes, and on the CPU unless 0 <= s < t <= T.
    """
    require_same_shape(x_t=x_t, x0=x0)
    s = t - 1 if s is None else s
    require_same_shape(s=s, t=t)
    require(t.device.type != "cpu" or bool((s < t).all()), "s must be earlier than t, for every image.")
    alpha_bar_t, alpha_bar_s = (at(schedule.alpha_bar, when, x0) for when in (t, s))
    variance_t, variance_s = (at(schedule.variance, when, x0) for when in (t, s))
    alpha_ts = alpha_bar_t / alpha_bar_s
    beta_ts = (variance_t - alpha_ts * variance_s)                              # 1 − ᾱ_t/ᾱ_s
    mean = (alpha_bar_s.sqrt() * beta_ts * x0 + alpha_ts.sqrt() * variance_s * x_t) / variance_t
    return mean, beta_ts * variance_s / variance_t


def _require_steps(T) -> None:
    require(isinstance(T, Integral) and T >= 1, f"T is {T!r}; it must be an integer of 1 or more.")
