"""The areas that classes take in a plane of codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from torch import Tensor

from course_lib.checks import require, require_shape


class LevelSet(NamedTuple):
    """The region in which a 2-D density lies above ``level``: its area, and the density on a grid, to be drawn."""

    area: float
    x: np.ndarray           # (cells, cells), the grid's first coordinate
    y: np.ndarray           # (cells, cells), its second
    density: np.ndarray     # (cells, cells), up to a factor
    level: float


def level_set(points: Tensor, share: float = 0.9, cells: int = 256) -> LevelSet:
    """The smallest region that holds ``share`` of the density of 2-D points (N, 2); its area in squared units.

    The density is a Gaussian kernel estimate with Scott's bandwidth along the points' own axes (Scott 1992), on a grid;
    the level is the one that ``share`` of the mass lies above (Hyndman 1996). A linear map of the points multiplies
    the area by the map's determinant. Raises ValueError for fewer than 10 points, other shapes, or points on a line.
    """
    require_shape("points", points, None, 2)
    require(len(points) >= 10, f"there are {len(points)} points; a density needs 10 or more.")
    require(0 < share < 1, f"share is {share}; it must be between 0 and 1.")
    p = points.detach().cpu().double().numpy()
    covariance = np.cov(p.T)
    require(np.linalg.cond(covariance) < 1e12, "the points lie on a line: their region has no area.")
    axes = np.linalg.cholesky(covariance)
    white = np.linalg.solve(axes, (p - p.mean(0)).T)                                  # (2, N), covariance I
    bandwidth = len(p) ** (-1 / 6)
    low, high = white.min(1) - 4 * bandwidth, white.max(1) + 4 * bandwidth
    cell = (high - low).max() / cells
    start = (low + high - cells * cell) / 2
    counts = np.histogram2d(*white, bins=cells, range=[(s, s + cells * cell) for s in start])[0]
    density = ndimage.gaussian_filter(counts, bandwidth / cell)
    ordered = np.sort(density.ravel())[::-1]
    inside = int(np.searchsorted(ordered.cumsum() / ordered.sum(), share)) + 1
    steps = (np.arange(cells) + 0.5) * cell
    grid = axes @ np.stack(np.meshgrid(*(s + steps for s in start), indexing="ij")).reshape(2, -1) + p.mean(0)[:, None]
    x, y = grid.reshape(2, cells, cells)
    return LevelSet(float(inside * cell**2 * np.linalg.det(axes)), x, y, density, float(ordered[inside - 1]))


def area_ratio(codes: Tensor, labels: Tensor, share: float = 0.9) -> tuple[float, dict[int, float]]:
    """Largest over smallest area of the classes' level sets, and each class's area.

    codes: (N, 2); labels: (N,); share: of each class's density. Returns (ratio, {class: area in squared units}).
    """
    areas = {int(c): level_set(codes[labels == c], share).area for c in labels.unique()}
    return max(areas.values()) / min(areas.values()), areas
