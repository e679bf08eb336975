"""Fidelity and coverage apart: sets of balls around feature vectors, by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checks import require, require_shape

BLOCK = 2**22       # distances at once: 32 MB
TIE = 1e-12         # relative: distances that differ by less are one, for rounding alone can part them so far


class PrecisionRecall(NamedTuple):
    """The share of generated samples that lie among the real ones, and of real ones among the generated: in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How thick the real balls are where the generated samples lie (1 for the real distribution, may be above it), and
    the share of real balls that hold a generated sample, in [0, 1]."""

    density: float
    coverage: float


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Precision and recall by k-nearest-neighbour manifolds.  Kynkäänniemi et al. 2019, equations 1 and 2.

    real: (N, d), fake: (M, d), features. Around each point of a set lies a ball that just reaches its k-th nearest
    neighbour in that set; the set's manifold is the union of its balls. Precision: the share of fake points on the real
    manifold; recall: the share of real points on the fake one.
    A point is not its own neighbour, but a copy of it is, at distance 0. A ball holds its surface, so a copy of a
    point always lies on its manifold. Distances are Euclidean, in float64; where rounding could decide, they are taken
    anew from differences, and are told apart from 1e-12 on, relatively. In blocks of some 32 MB.
    Raises ValueError for other shapes, features that are not finite, or k outside 1 … the smaller set's size − 1.
    """
    _require_features(real, fake, k)
    return PrecisionRecall(in_manifold(fake, real, k).double().mean().item(),
                           in_manifold(real, fake, k).double().mean().item())


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage.  Naeem et al. 2020, equations 5 and 6.

    real: (N, d), fake: (M, d), features. Only the real points have balls, so a stray fake point cannot cover much.
    Density: the number of real balls that a fake point lies in, on average, over k. Coverage: the share of real points
    in whose ball lies a fake one. Balls are as in ``precision_recall``.
    """
    _require_features(real, fake, k)
    inside, covered = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for within in _within(fake, real, neighbour_radius(real, k)):                      # (block, N)
        inside += int(within.sum())
        covered |= within.any(0)
    return DensityCoverage(inside / (k * len(fake)), covered.double().mean().item())


@torch.no_grad()
def neighbour_radius(x: Tensor, k: int = 3) -> Tensor:
    """The distance from each point to its k-th nearest *other* point of the set: (N, d) → float64 (N,)."""
    _require_features(x, x, k)
    x, radii = x.double(), []
    few = min(k + 8, len(x) - 1)
    for start, squares, slack in _squares(x, x):                                       # (block, N)
        squares.diagonal(start).fill_(torch.inf)                                       # itself; a copy of it stays
        part, near = x[start:start + len(squares)], squares.topk(few, largest=False)
        radius = (part[:, None] - x[near.indices]).norm(dim=2).kthvalue(k, 1).values
        # Could one that is not among these few be as near as the k-th, so far as rounding tells? Then ask all.
        close = (near.values[:, -1] - near.values[:, k - 1] <= 2 * slack).nonzero()[:, 0] if few < len(x) - 1 else []
        for i in close:
            distances = (part[i] - x).norm(dim=1)
            distances[start + i] = torch.inf
            radius[i] = distances.kthvalue(k).values
        radii.append(radius)
    return torch.cat(radii)


@torch.no_grad()
def in_manifold(points: Tensor, of: Tensor, k: int = 3, radii: Tensor | None = None) -> Tensor:
    """Whether each point lies in a ball of ``of``, see precision_recall: (N, d), (M, d) → bool (N,).

    radii: neighbour_radius(of, k), (M,), where it is known already; it saves half of the time.
    """
    _require_features(of, points, k, several=False)
    radii = neighbour_radius(of, k) if radii is None else radii.double()
    require_shape("radii", radii, len(of))
    none = torch.zeros(0, dtype=torch.bool, device=points.device)
    return torch.cat([none, *(within.any(1) for within in _within(points, of, radii))])


@torch.no_grad()
def _within(points: Tensor, of: Tensor, radii: Tensor) -> Iterator[Tensor]:
    """Whether each point lies in the ball around each of ``of``, in blocks of points: bool (block, M)."""
    points, of = points.double(), of.double()
    for start, squares, slack in _squares(points, of):
        beyond = squares - radii.square()
        within = beyond < 0
        unsure = beyond.abs() <= slack + 4 * TIE * radii.square()                      # rounding could decide these
        for pairs in unsure.nonzero().split(2**16):
            row, column = pairs.T
            distances = (points[start + row] - of[column]).norm(dim=1)
            within[row, column] = distances <= radii[column] * (1 + TIE)
        yield within


def _squares(x: Tensor, to: Tensor) -> Iterator[tuple[int, Tensor, float]]:
    """Blocks of squared distances (block, M), with the index of the first row and a bound of their rounding error.

    ‖a‖² − 2ab + ‖b‖² is some twenty times faster than the norms of differences, but leaves no digits of a small one.
    """
    centre = to.mean(0)
    x, to = x - centre, to - centre
    norms, norms_to = x.square().sum(1, keepdim=True), to.square().sum(1)
    slack = 4 * (x.shape[1] + 4) * torch.finfo(x.dtype).eps * (norms.amax() + norms_to.amax()).item() if len(x) else 0.0
    block = max(1, BLOCK // len(to))
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        yield start, torch.addmm(norms[rows] + norms_to, x[rows], to.T, alpha=-2), slack


def _require_features(real, fake, k, several=True):
    require_shape("the first set of features", real, None, None)
    require_shape("the second set of features", fake, None, real.shape[1])
    fewest = min(len(real), len(fake)) if several else len(real)
    require(1 <= k < fewest, f"k is {k}; it must be from 1 to {fewest - 1}: a point is not its own neighbour, and the "
                             f"smaller set has {fewest}.")
    require(bool(real.isfinite().all() and fake.isfinite().all()), "some features are not finite.")
