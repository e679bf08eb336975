"""Pairs of distributions at distance θ whose divergences are known, and how these change with θ.

Each function gives the same columns, so that the pairs can be laid side by side; each column is float64 in θ's shape.
KL is that of P_0 from P_θ (the other way round it is the same for all of them). A derivative is NaN where there is
none: at a kink or a jump, and where the KL is infinite on either side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks import require
from course_lib.divergences.inputs import reals

LOG_2 = math.log(2)


class Apart(NamedTuple):
    theta: Tensor
    kl: Tensor          # nats
    js: Tensor          # nats
    w1: Tensor          # units of θ
    dkl: Tensor         # d KL/dθ
    djs: Tensor         # d JS/dθ
    dw1: Tensor         # d W₁/dθ


def lines_apart(theta: float | Tensor) -> Apart:
    """(0, u) and (θ, u) with u ~ U[0, 1]: KL = ∞ and JS = log 2 for any θ but 0, and W₁ = |θ|.

    theta: any shape. Raises ValueError for NaN and infinities.  Arjovsky et al. 2017 (Wasserstein GAN), example 1.
    """
    theta = reals("theta", theta)
    same = theta == 0
    none, flat = torch.full_like(theta, torch.nan), torch.zeros_like(theta)
    return Apart(theta, kl=flat.where(same, torch.inf), js=flat.where(same, LOG_2), w1=theta.abs(),
                 dkl=none, djs=none.where(same, 0.0), dw1=_sign(theta))


def gaussians_apart(theta: float | Tensor, std: float = 1.0) -> Apart:
    """N(0, s²) and N(θ, s²): KL = θ²/2s², W₁ = |θ|, and JS by quadrature.

    With D the best discriminator, p_0/(p_0 + p_θ), JS = log 2 + E[log D] over P_0 (the pair is symmetric, so P_θ's half
    is as large), and by Stein's lemma dJS/dθ = (θ/s²) E[(1 − D)²]. With u = |θ|/s, 1 − D is sigmoid(u w) at
    w ~ N(−u/2, 1). E is a sum over 2,001 points w in ±12, which agrees with adaptive quadrature to 1e-12.
    theta: any shape (memory holds 2,001 numbers for each); std: s, a number above 0. Raises ValueError for others.
    """
    theta = reals("theta", theta)
    std = _above_0("std", std)
    u = (theta.abs() / std).clamp_max(100)[..., None]   # from 77 on, the overlap is 0 in float64
    w = torch.linspace(-12, 12, 2_001, dtype=theta.dtype, device=theta.device)
    weight = (-(w + u / 2).square() / 2).exp() * (24 / 2_000) / math.sqrt(2 * math.pi)
    js = (LOG_2 + (weight * F.logsigmoid(-u * w)).sum(-1)).clamp_min(0)                # rounding may go to −1e-16
    slope = (u[..., 0] / std) * (weight * torch.sigmoid(u * w).square()).sum(-1)
    return Apart(theta, kl=(theta / std).square() / 2, js=js, w1=theta.abs(),
                 dkl=theta / std**2, djs=theta.sign() * slope, dw1=_sign(theta))


def uniforms_apart(theta: float | Tensor, width: float = 1.0) -> Apart:
    """U[0, w] and U[θ, θ + w]: JS = log 2 · (1 − overlap), the overlap being max(0, 1 − |θ|/w); W₁ = |θ|.

    Where both are, each equals their mean and pays nothing; where one is alone, it is twice the mean and pays log 2.
    KL = ∞ for any θ but 0. theta: any shape; width: w, a number above 0. Raises ValueError for anything else.
    """
    theta = reals("theta", theta)
    width = _above_0("width", width)
    share = theta.abs() / width
    none, flat = torch.full_like(theta, torch.nan), torch.zeros_like(theta)
    slope = torch.where(share < 1, _sign(theta) * LOG_2 / width, none.where(share == 1, 0.0))
    return Apart(theta, kl=flat.where(theta == 0, torch.inf), js=LOG_2 * share.clamp_max(1), w1=theta.abs(),
                 dkl=none, djs=slope, dw1=_sign(theta))


def wasserstein_1d_gaussians(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    """W₁ of N(μ₁, σ₁²) and N(μ₂, σ₂²) on a line: E|δ + τz| with z ~ N(0, 1), δ = μ₁ − μ₂, τ = σ₁ − σ₂.

    The plan keeps the order, so the point μ₁ + σ₁z goes to μ₂ + σ₂z. The mean of a folded normal is
    |τ| √(2/π) exp(−δ²/2τ²) + δ erf(δ/(|τ|√2)), and |δ| for τ = 0; its slope in δ is erf(δ/(|τ|√2)).
    Numbers, or tensors of one shape; deviations of 0 or more (0 is a point). Returns float64 in that shape, in units of
    μ, with gradients. Raises ValueError for anything else.  Leone et al. 1961.
    """
    given = {"mean_p": mean_p, "std_p": std_p, "mean_q": mean_q, "std_q": std_q}
    given = {name: reals(name, value) for name, value in given.items()}
    shapes = {name: tuple(value.shape) for name, value in given.items() if value.ndim}
    require(len(set(shapes.values())) <= 1, f"the shapes are {shapes}; they must be the same, but for single numbers.")
    for name in ("std_p", "std_q"):
        least = given[name].min().item() if given[name].numel() else 0.0
        require(least >= 0, f"{name} goes down to {least:.6g}; a standard deviation must be 0 or more.")
    mean_p, std_p, mean_q, std_q = given.values()
    delta, tau = mean_p - mean_q, std_p - std_q
    delta, tau = delta + 0 * tau, tau + 0 * delta       # one shape, on one device
    equal = tau == 0
    tau = torch.where(equal, 1.0, tau).abs()
    ratio = delta / (tau * math.sqrt(2))
    folded = tau * math.sqrt(2 / math.pi) * (-ratio.square()).exp() + delta * torch.erf(ratio)
    return torch.where(equal, delta.abs(), folded)


def _sign(theta):
    return torch.where(theta == 0, torch.nan, theta.sign())


def _above_0(name, value):
    require(math.isfinite(value) and value > 0, f"{name} is {value}; it must be a finite number above 0.")
    return float(value)
