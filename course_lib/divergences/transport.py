"""The earth mover's distance as a linear programme, its dual, and the dual's 1-Lipschitz potential.

Signs: a plan moves a to b, and W = Σ_ij plan_ij c_ij = Σ_i a_i f_i + Σ_j b_j g_j with f_i + g_j ≤ c_ij. With a distance
as cost, φ(x) = min_j c(x, y_j) − g_j is high where a is and low where b is: W = E_a[φ] − E_b[φ].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron, vstack
from torch import Tensor

from course_lib.checks import require, require_shape
from course_lib.divergences.inputs import masses, reals

PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}     # HiGHS's own: 1e-7


class Transport(NamedTuple):
    value: Tensor       # scalar, in units of the cost
    plan: Tensor        # (n, m): how much of a_i goes to b_j


class Dual(NamedTuple):
    value: Tensor       # scalar, in units of the cost
    f: Tensor           # (n,)
    g: Tensor           # (m,)


def transport_cost(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖, the Euclidean distances: (n, d), (m, d) → float64 (n, m), in units of x, with gradients.

    Raises ValueError for other shapes, NaN and infinities.
    """
    x = reals("x", x)
    y = reals("y", y, x.device)
    require_shape("x", x, None, None)
    require_shape("y", y, None, x.shape[1])
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")              # squares would lose digits


def emd(a: Tensor, b: Tensor, cost: Tensor) -> Transport:
    """The earth mover's distance: min Σ_ij plan_ij c_ij over plans ≥ 0 with row sums a and column sums b.

    a: (n,); b: (m,), masses of 0 or more, each of sum 1 within 1e-5 (and divided by it); cost: (n, m), any finite
    numbers. The plan is one of the best, float64, without a gradient; the value has one in the cost, which is the plan
    (so with ``transport_cost``, in the points). 100 by 100 points take a fifth of a second, 300 by 300 some three.
    Raises ValueError for other shapes, NaN, negative masses and other sums.  Peyré & Cuturi 2019, section 3.1.
    """
    a, b, cost = _programme(a, b, cost)
    _, c = _scaled(cost)
    plan = _solve(c.flatten(), A_eq=_sums(*cost.shape), b_eq=np.concatenate([a.numpy(), b.numpy()]), bounds=(0, None))
    plan = plan.view(cost.shape).clamp_min(0).add(0.0).to(cost.device)                 # −1e-17 and −0 are no mass
    return Transport((plan * cost).sum(), plan)


def kantorovich_dual(a: Tensor, b: Tensor, cost: Tensor) -> Dual:
    """The same distance from below: max Σ_i a_i f_i + Σ_j b_j g_j over f, g with f_i + g_j ≤ c_ij, solved by itself.

    Arguments and errors as of ``emd``. f and g are prices: for a unit taken at i and for one brought to j,
    together never more than the way costs. A constant may go from one to the other; g_0 = 0 settles it. Each f_i is as
    large as g lets it be. Float64, without gradients.  Peyré & Cuturi 2019, section 2.5.
    """
    a, b, cost = _programme(a, b, cost)
    n, m = cost.shape
    scale, c = _scaled(cost)
    gain = np.concatenate([a.numpy(), b.numpy()])
    bounds = [(None, None)] * n + [(0, 0)] + [(None, None)] * (m - 1)
    prices = _solve(-gain, A_ub=_sums(n, m).T, b_ub=c.flatten(), bounds=bounds)
    g = scale * prices[n:].to(cost.device)
    f = kantorovich_potential(cost.detach(), g)         # equal to the programme's f, up to rounding, where a is above 0
    return Dual((a.to(f) * f).sum() + (b.to(g) * g).sum(), f, g)


def kantorovich_potential(cost: Tensor, g: Tensor) -> Tensor:
    """φ(x) = min_j c(x, y_j) − g_j, the dual's f anywhere: with a distance as cost, 1-Lipschitz in x.

    cost: (k, m), from k points x, anywhere, to the m points y of b; g: (m,), from ``kantorovich_dual``. Returns (k,),
    float64, with a gradient in the cost (with ``transport_cost``, in x: of length 1 but at ridges and at y_j itself).
    Then W = E_a[φ] − E_b[φ]: φ(x_i) is f_i, and φ(y_j) is −g_j where b_j is above 0.
    Raises ValueError for other shapes, NaN and infinities.  Peyré & Cuturi 2019, sections 3.2 and 6.1.
    """
    cost = reals("cost", cost)
    g = reals("g", g, cost.device)
    require_shape("cost", cost, None, None)
    require_shape("g", g, cost.shape[1])
    return (cost - g).amin(1)


def _programme(a, b, cost):
    """The masses, on the CPU, and the cost where it is; checked."""
    cost = reals("cost", cost)
    require_shape("cost", cost, None, None)
    require(cost.numel() > 0, f"cost has shape {tuple(cost.shape)}; there must be a point on either side at least.")
    return *(masses(name, m, n, "cpu").detach() for name, m, n in zip("ab", (a, b), cost.shape, strict=True)), cost


def _scaled(cost):
    """The cost with 1 as its largest size, as an array, since a solver's tolerances are absolute; and that size."""
    scale = cost.detach().abs().max().item() or 1.0
    return scale, (cost.detach() / scale).cpu().numpy()


def _sums(n, m):
    """The sparse (n + m, n·m) matrix that takes a plan, row after row, to its row sums and its column sums."""
    return csr_array(vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))]))


def _solve(c, **programme):
    result = linprog(c, method="highs", options=PRECISE, **programme)
    if not result.success:
        raise RuntimeError(f"HiGHS found no solution: {result.message}")
    return torch.from_numpy(result.x)
