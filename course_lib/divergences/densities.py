"""KL, JS and W₁ of two densities on a grid.

dx is the size of a cell: a number above 0 on an even grid (a length; an area where the grid has two dimensions), or a
tensor of p's shape where cells differ. dx = 1 makes p and q masses. Densities are finite, 0 or more, and integrate to
1 within 1e-3, since a grid cuts tails off; each is then divided by its integral, so that KL ≥ 0 and JS ≤ log 2 hold.
Tensors, arrays and lists go in; float64 scalars come out, with a gradient in p and q where these have one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checks import require_shape
from course_lib.divergences.inputs import densities_on_grid

TINY = 1e-290       # a density far below it cannot be halved: it underflows


def kl(p: Tensor, q: Tensor, dx: float | Tensor) -> Tensor:
    """KL(p‖q) = ∫ p log(p/q) dx, in nats: 0 for equal ones, infinite where q is 0 and p is not. Not symmetric.

    p, q: one shape, any; dx: see above. Raises ValueError for what are no densities.  Kullback & Leibler 1951.
    """
    return _kl(*densities_on_grid(p, q, dx))


def js(p: Tensor, q: Tensor, dx: float | Tensor) -> Tensor:
    """JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2, in nats: from 0 to log 2, which is "no overlap".

    p, q: one shape, any; dx: see above. Raises ValueError for what are no densities.  Lin 1991.
    """
    p, q, dx = densities_on_grid(p, q, dx)
    scale = torch.ones_like(p).masked_fill(p + q < TINY, 1 / TINY)      # p/m is the same of both times a large number
    p_up, q_up = p * scale, q * scale
    m = (p_up + q_up) / 2
    return ((_log_ratio(p_up, m) * p + _log_ratio(q_up, m) * q) * dx).sum() / 2


def wasserstein_1d_densities(p: Tensor, q: Tensor, dx: float | Tensor) -> Tensor:
    """W₁ = ∫ |F_p − F_q| dx, the area between the two cumulative distributions, in units of dx.

    p, q: (n,), at the cells' centres; dx: see above. Exact for masses at the centres, so it is off by O(dx²) for smooth
    densities. Raises ValueError for other shapes and for what are no densities.  Vallender 1974.
    """
    p, q, dx = densities_on_grid(p, q, dx)
    require_shape("p", p, None)
    gap = ((p - q) * dx).cumsum(0)[:-1]                 # F_p − F_q between one centre and the next
    return (gap.abs() * (dx[:-1] + dx[1:]) / 2).sum()


def _kl(p, q, dx):
    return (p * _log_ratio(p, q) * dx).sum()


def _log_ratio(p, q):
    """log(p/q), and 0 where p is: 0 log 0 is 0, and so is its gradient."""
    there = p > 0
    return torch.where(there, p, 1.0).log() - torch.where(there, q, 1.0).log()
