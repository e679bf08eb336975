"""Judging a generator on toys: modes hit, the share of good samples, and the density of what it draws on the line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape


class ModesHit(NamedTuple):
    """How many modes were hit, the share of good samples in [0, 1], and at each mode, (K,): the good samples there, and
    all samples that are nearer to it than to the others, good or not."""

    hit: int
    good: float
    counts: Tensor
    nearest: Tensor


def modes_hit(samples: Tensor, modes: Tensor, sigma: float, needed: int = 20) -> ModesHit:
    """A sample is good within 3σ of its nearest mode; a mode is hit by ``needed`` good samples or more.

    samples: (n, d), 2,500 in this course (``needed`` means a share of n, so compare at one n); modes: (K, d), such as
    ``ring().means``; sigma: their standard deviation, above 0. In two dimensions 1 − e^(−9/2) = 98.9 % of perfect
    samples are good. NaN is not good. Raises ValueError for other shapes and for sigma or needed not above 0.
    """
    require_shape("samples", samples, None, None)
    require_shape("modes", modes, None, samples.shape[1])
    require(sigma > 0, f"sigma is {sigma}; it must be above 0.")
    require(needed >= 1, f"needed is {needed}; it must be at least 1 sample.")
    require(len(samples) >= 1 and len(modes) >= 1, "there must be one sample and one mode at least.")
    away = torch.cdist(samples, modes.to(samples), compute_mode="donot_use_mm_for_euclid_dist")   # (n, K)
    distance, nearest = away.min(1)
    good = distance <= 3 * sigma
    counts = nearest[good].bincount(minlength=len(modes))
    all_there = nearest[distance.isfinite()].bincount(minlength=len(modes))
    return ModesHit(int((counts >= needed).sum()), good.double().mean().item(), counts, all_there)


def density_along(G: Callable[[Tensor], Tensor], z: Tensor, p_z: Tensor) -> tuple[Tensor, Tensor]:
    """x = G(z) and p_z(z)/|G'(z)|, what this z adds to the density of G's samples at x: change of variables.

    G: (n, 1) → (n, 1), differentiable, each row by itself; z, p_z: (n,), noise and its density. Returns (n,), (n,),
    detached; infinite where G is flat. Where G is monotone this is the density; elsewhere several z share one x and
    must be added up, as ``density_of_generator`` does. Raises ValueError for other shapes.
    """
    require_shape("z", z, None)
    require_same_shape(z=z, p_z=p_z)
    with torch.enable_grad():
        z = z.detach()[:, None].requires_grad_()
        x = G(z)
        require_shape("G(z)", x, len(z), 1)
        slope, = torch.autograd.grad(x.sum(), z)
    return x.detach()[:, 0], p_z / slope[:, 0].abs()


@torch.no_grad()
def density_of_generator(G: Callable[[Tensor], Tensor], z: Tensor, p_z: Tensor, edges: Tensor) -> Tensor:
    """The density of G(z) for noise z on the line, its mean over each cell of x, for any G, monotone or not.

    p_g(x) = Σ over all z with G(z) = x of p_z(z)/|G'(z)|. Here: the mass of p_z between two neighbouring points z is
    spread evenly between the x they are sent to, and each cell adds up what falls into it; folds and flat stretches,
    where the formula is infinite, do no harm. G: (n, 1) → (n, 1); z: (n,), rising, dense enough for G to be straight
    between neighbours; p_z: (n,), their density, of mass 1 on z to 1 % (it is scaled to 1); edges: (m + 1,), rising.
    Returns (m,), float64, which integrates to the share of samples inside the edges. Memory: n × m.
    Raises ValueError for other shapes, points that do not rise, and a mass that is not 1.
    """
    require_shape("z", z, None)
    require_same_shape(z=z, p_z=p_z)
    require_shape("edges", edges, None)
    for name, points in (("z", z), ("edges", edges)):
        require(len(points) >= 2 and bool((points.diff() > 0).all()), f"{name} must rise, and have 2 points at least.")
    mass = (p_z[1:] + p_z[:-1]).double() / 2 * z.double().diff()                           # (n − 1,)
    total = mass.sum().item()
    require(math.isfinite(total) and abs(total - 1) < 0.01 and bool((p_z >= 0).all()),
            f"p_z has mass {total:.4g} on z; it must be a density of mass 1 there: widen z or take it denser.")
    x = G(z[:, None])
    require_shape("G(z)", x, len(z), 1)
    x, edges = x[:, 0].double(), edges.to(x.device).double()
    low, high = torch.minimum(x[1:], x[:-1]), torch.maximum(x[1:], x[:-1])
    width = (high - low).clamp_min(torch.finfo(torch.float64).tiny)                        # flat: all of it at once
    share = ((edges[:, None] - low) / width).clamp_(0, 1)                                  # (m + 1, n − 1)
    below = share.mul_(mass / total).sum(1)     # P(G(z) ≤ edge), (m + 1,); not share @ mass, whose rows are added up in
    return below.diff() / edges.diff()          # different orders: 1e-14 where nothing falls, and D* would believe it


def generator_gradient(G: nn.Module, D: nn.Module, z: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """‖∇_θ loss(D(G_θ(z)))‖ over all weights θ of the generator: how much of a lesson it gets from this discriminator.

    z: (n, latents); loss: logits (n,) → scalar, such as ``minimax_generator_loss``. Returns a scalar, detached, in
    units of the loss; the networks' ``.grad`` stay as they are.  Arjovsky & Bottou 2017, figure 2.
    """
    with torch.enable_grad():
        gradients = torch.autograd.grad(loss(D(G(z))), list(G.parameters()))
    return torch.stack([g.norm() for g in gradients]).norm()
