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
    m = (p + q) / 2
    return (_kl(p, m, dx) + _kl(q, m, dx)) / 2


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
    there = p > 0                                       # 0 log 0 is 0, and so is its gradient here
    p, q = torch.where(there, p, 1.0), torch.where(there, q, 1.0)
    return (p * (p.log() - q.log()) * dx).sum()
