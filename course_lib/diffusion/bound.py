"""The bound on log p(x_0) that a diffusion model's training follows, term by term."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.diffusion.schedules import Schedule, at, q_sample


class Bound(NamedTuple):
    """−log p(x_0) <= prior + Σ steps + reconstruction, in nats: estimates, of an image each."""

    prior: Tensor               # (B,), KL(q(x_T|x_0) ‖ N(0, I))
    steps: Tensor               # (B, T − 1), KL(q(x_{t−1}|x_t, x_0) ‖ p(x_{t−1}|x_t)) for t = 2 … T
    reconstruction: Tensor      # (B,), −log p(x_0|x_1)

    def total(self) -> Tensor:
        """(B,), in nats."""
        return self.prior + self.steps.sum(1) + self.reconstruction


def step_weight(schedule: Schedule) -> Tensor:
    """½ (SNR(t−1) − SNR(t)) for t = 0 … T: (T + 1,), float64; NaN at 0, ∞ at 1.  Kingma et al. 2021.

    Times ‖x_0 − x̂_0‖² it is L_{t−1} = KL(q(x_{t−1}|x_t, x_0) ‖ p(x_{t−1}|x_t)) with both variances β̃_t. Times
    1/SNR(t) it weighs ‖ε − ε̂‖², and is β_t²/(2 β̃_t α_t (1 − ᾱ_t)) (Ho, Jain and Abbeel 2020, equation 12).
    """
    weight = torch.full_like(schedule.snr, math.nan)
    weight[1:] = -schedule.snr.diff() / 2
    return weight


@torch.no_grad()
def variational_bound(denoiser: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, x0: Tensor,
                      generator: torch.Generator | None = None) -> Bound:
    """The bound on −log p(x_0) in nats, one draw of x_t for each time.  Ho, Jain and Abbeel 2020, equation 5.

    x0: (B, …); denoiser: see ``diffusion.samplers``. p(x_{t−1}|x_t) is the posterior at x̂_0, with variance β̃_t;
    p(x_0|x_1) = N(x̂_0, 1/SNR(1)), a density, for data that are not rounded. T calls of the denoiser.
    """
    t_last = torch.full((len(x0),), schedule.T, device=x0.device)
    alpha_bar = at(schedule.alpha_bar, t_last, x0)
    prior = 0.5 * (alpha_bar * x0.square() - alpha_bar - torch.log1p(-alpha_bar)).flatten(1).sum(1)
    weight, errors = step_weight(schedule).to(x0), []
    for t in range(1, schedule.T + 1):
        when = torch.full((len(x0),), t, device=x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        errors.append((x0 - denoiser(q_sample(schedule, x0, when, eps), when)).square().flatten(1).sum(1))
    snr = schedule.snr[1].to(x0)
    reconstruction = 0.5 * snr * errors[0] + 0.5 * x0[0].numel() * (math.log(2 * math.pi) - snr.log())
    steps = torch.stack(errors[1:], 1) * weight[2:] if errors[1:] else x0.new_zeros(len(x0), 0)
    return Bound(prior, steps, reconstruction)
