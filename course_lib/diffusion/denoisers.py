"""Denoisers (x_t, t) → x̂_0: exact ones of densities that are known, and those that a network makes, with guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.datasets import GaussianMixture
from course_lib.diffusion.losses import parts
from course_lib.diffusion.schedules import Schedule, at


def noised(density: GaussianMixture, schedule: Schedule, t: int) -> GaussianMixture:
    """q(x_t) where x_0 comes from a mixture: one again, means √ᾱ_t μ_k, variances ᾱ_t σ_k² + 1 − ᾱ_t. t: 0 … T."""
    require(0 <= t <= schedule.T, f"t is {t}; it must be from 0 to T = {schedule.T}.")
    alpha_bar, variance = schedule.alpha_bar[t].cpu(), schedule.variance[t].cpu()
    return GaussianMixture(alpha_bar.sqrt() * density.means, (alpha_bar * density.stds.square() + variance).sqrt(),
                           density.weights)


def mixture_mean(density: GaussianMixture, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """E[x_0 | signal · x_0 + noise · ε = x] for x_0 from a mixture, exactly: (B, d) → (B, d).

    signal, noise: (B, 1), noise above 0 or all of the mixture's σ. Each mode k is a Gaussian, for which the mean is
    linear in x: μ_k + signal σ_k²/(signal² σ_k² + noise²) (x − signal μ_k); p(k|x) weighs them.
    """
    means, stds, weights = (values.to(x) for values in (density.means, density.stds, density.weights))
    require_shape("x", x, None, means.shape[1])
    require_shape("signal", signal, len(x), 1)
    require_shape("noise", noise, len(x), 1)
    apart = x[:, None] - signal[:, None] * means                                        # (B, K, d)
    spread = (signal * stds).square() + noise.square()                                  # (B, K)
    chance = (weights.log() - apart.square().sum(2) / (2 * spread)
              - 0.5 * means.shape[1] * spread.log()).softmax(1)                         # p(k|x)
    mean = means + (signal * stds.square() / spread)[:, :, None] * apart
    return (chance[:, :, None] * mean).sum(1)


def exact_denoiser(density: GaussianMixture, schedule: Schedule) -> Callable[[Tensor, Tensor], Tensor]:
    """The best denoiser there is, E[x_0|x_t], where x_0 comes from a mixture of Gaussians: no training.

    By Tweedie's formula (Efron 2011) it is (x_t + (1 − ᾱ_t) ∇ log q(x_t))/√ᾱ_t, with the score of ``noised``.
    """
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return mixture_mean(density, x, at(schedule.alpha_bar, t, x).sqrt(), at(schedule.variance, t, x).sqrt())
    return denoise


def score_of(denoiser: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
    """∇ log q(x_t) = (√ᾱ_t x̂_0 − x_t)/(1 − ᾱ_t) = −ε̂/√(1−ᾱ_t): what a denoiser says of the score. (B, …) → (B, …).

    Exact for the exact denoiser (Tweedie's formula; Vincent 2011 for what a trained one estimates).
    """
    return (at(schedule.alpha_bar, t, x).sqrt() * denoiser(x, t) - x) / at(schedule.variance, t, x)


def guided(with_class: Tensor, without: Tensor, w: float) -> Tensor:
    """(1 + w) · with_class − w · without: away from what holds for any class, towards this one.

    Both: a guess of ε (or x_0, or v, of which it is the same rule) at one x_t, given the class and given none. w = 0 is
    the model of the class as it is, w = −1 that without a class. Ho and Salimans 2021, equation 6.
    """
    require_same_shape(with_class=with_class, without=without)
    return without + (1 + w) * (with_class - without)


def as_denoiser(net: nn.Module, schedule: Schedule, predicts: str = "v", y: Tensor | None = None, w: float = 0.0,
                clip: tuple[float, float] | None = (-1.0, 1.0)) -> Callable[[Tensor, Tensor], Tensor]:
    """What samplers take, made of a network: (x_t, t) → x̂_0, without gradients.

    predicts: what the network's output is, "eps", "x0" or "v"; y: labels (B,), or None for a network or a sample
    without classes; w: guidance, see ``guided``; costs a second pass where it is not 0. clip: the range that x_0 is
    known to lie in, here images in [−1, 1], or None. Raises ValueError for w without y.
    """
    require(y is not None or w == 0, f"w is {w}, but there are no labels y to be guided by.")
    schedule = schedule.to(next(net.parameters()).device)

    @torch.no_grad()
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if w == 0:
            output = net(x, t) if y is None else net(x, t, y)
        else:
            both = net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, torch.full_like(y, net.null)]))
            output = guided(*both.chunk(2), w)
        x0 = parts(output, predicts, x, schedule, t).x0
        return x0 if clip is None else x0.clamp(*clip)
    return denoise
