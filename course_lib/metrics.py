"""Measuring latent spaces and samples: distances, holes, areas."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from course_lib.checks import require, require_shape


@torch.no_grad()
def nearest_distance(x: Tensor, to: Tensor, block: int = 1024) -> Tensor:
    """The Euclidean distance from each x to the nearest of ``to``: (N, …), (M, …) → (N,), in units of x.

    Compared in blocks of ``block`` rows, so that memory holds (block, M) numbers. Raises ValueError where an item of x
    has another size than one of ``to``, or ``to`` is empty.
    """
    x, to = x.flatten(1), to.flatten(1)
    require(len(to) > 0, "there is nothing to be near to: `to` has no rows.")
    require(x.shape[1] == to.shape[1], f"an item of x has {x.shape[1]} numbers, one of `to` has {to.shape[1]}; "
                                       "they must be the same.")
    centre = to.mean(0)  # ‖a − b‖² = ‖a‖² − 2ab + ‖b‖² loses digits where both are far from the origin
    x, to = x - centre, to - centre
    squares = to.square().sum(1)
    nearest = [(squares - 2 * part @ to.T).amin(1) + part.square().sum(1) for part in x.split(block)]
    return torch.cat(nearest).clamp_min(0).sqrt() if nearest else x.new_zeros(0)


# --- holes -----------------------------------------------------------------------------------------------------------

class HoleShares(NamedTuple):
    """Shares, each in [0, 1], of the latent points that fail a test which 1 % of real images fail."""

    empty: float
    far: float
    unsure: float


class HoleRuler:
    """Three tests for a latent point z of an autoencoder, each set so that 1 % of the *test* images fail it.

    empty:  z is farther from its nearest training code than 99 % of the test codes are; distances are Euclidean after
            each latent was divided by the standard deviation of its training codes.
    far:    the decoded image is farther (L2 over pixels) from its nearest training image than 99 % of the test images.
    unsure: the classifier's largest class probability on the decoded image is below that of 99 % of the test images.

    encode: (B, C, H, W) → (B, d); decode: the way back; classifier: images → logits; train_images, test_images: float
    in [0, 1], on one device. The rule is one for all models, so their shares can be compared.
    """

    QUANTILE = 0.99

    def __init__(self, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], classifier: nn.Module,
                 train_images: Tensor, test_images: Tensor):
        self.decode, self.classifier, self.train_images = decode, classifier, train_images
        self.codes, test_codes = in_blocks(encode, train_images), in_blocks(encode, test_images)
        self.spread = self.codes.std(0)                                               # (d,)
        require(bool((self.spread > 0).all()),
                f"latent {int(self.spread.argmin())} has the same code for every image: the encoder has collapsed "
                "there; train it longer or with a lower learning rate.")
        self.empty_beyond = self._to_codes(test_codes).quantile(self.QUANTILE)
        self.far_beyond = nearest_distance(test_images, train_images).quantile(self.QUANTILE)
        self.unsure_below = confidence(classifier, test_images).quantile(1 - self.QUANTILE)

    def _to_codes(self, z: Tensor) -> Tensor:
        return nearest_distance(z / self.spread, self.codes / self.spread)

    def scores(self, z: Tensor) -> dict[str, Tensor]:
        """For each z (N, d): how far beyond each limit it is; above 1 is a failure. Each (N,)."""
        require_shape("z", z, None, self.codes.shape[1])
        images = in_blocks(self.decode, z)
        return {"empty": self._to_codes(z) / self.empty_beyond,
                "far": nearest_distance(images, self.train_images) / self.far_beyond,
                "unsure": (1 - confidence(self.classifier, images)) / (1 - self.unsure_below)}

    def shares(self, z: Tensor) -> HoleShares:
        """The share of the points z (N, d) that fail each test."""
        return HoleShares(**{name: (score > 1).float().mean().item() for name, score in self.scores(z).items()})


@torch.no_grad()
def in_blocks(f: Callable[[Tensor], Tensor], x: Tensor, block: int = 2_000) -> Tensor:
    """f(x) without gradients, in blocks along the first dimension, so that large sets fit in memory."""
    return torch.cat([f(part) for part in x.split(block)])


def confidence(classifier: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The largest class probability on each image: (N, C, H, W) → (N,), in [1/classes, 1]."""
    return in_blocks(classifier, images).softmax(1).amax(1)


def sample_latents(codes: Tensor, where: str, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n latent points (n, d) drawn by one of three rules from what is known of the training codes (N, d).

    "normal": z ~ N(0, I), whatever the codes are.  "box": uniform in the box that holds the middle 99 % of each
    latent.  "fitted": z ~ N(mean, covariance) of the codes.  Raises ValueError for another name.
    """
    d = codes.shape[1]
    rules = {"normal": lambda: noise(torch.randn),
             "box": lambda: low + noise(torch.rand) * (high - low),
             "fitted": lambda: codes.mean(0) + noise(torch.randn) @ factor.T}
    require(where in rules, f"where is {where!r}; it must be one of {', '.join(map(repr, rules))}.")
    def noise(draw):
        return draw(n, d, generator=generator, dtype=codes.dtype, device=codes.device)
    if where == "box":
        low, high = box_of_codes(codes)
    if where == "fitted":
        factor = torch.linalg.cholesky(torch.cov(codes.T).view(d, d))
    return rules[where]()


def box_of_codes(codes: Tensor, share: float = 0.99) -> tuple[Tensor, Tensor]:
    """The lower and the upper end of the middle ``share`` of each latent: (N, d) → (d,), (d,)."""
    tail = (1 - share) / 2
    ordered = codes.sort(0).values  # torch.quantile refuses more than 16 million numbers
    return ordered[round(tail * (len(codes) - 1))], ordered[round((1 - tail) * (len(codes) - 1))]


# --- principal components --------------------------------------------------------------------------------------------

@lru_cache(maxsize=2)
def _principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    flat = x.flatten(1)
    centre = flat.mean(0)
    _, axes = torch.linalg.eigh(torch.cov(flat.T).double())
    return centre, axes.flip(1).to(x.dtype)                                           # (D,), (D, D), largest first


def pca_codes(train: Tensor, x: Tensor, k: int) -> Tensor:
    """The coordinates of x along the k first principal axes of ``train``: (N, …), (M, …) → (M, k). Pearson 1901."""
    centre, axes = _principal_axes(train)
    require(1 <= k <= axes.shape[1], f"k is {k}; it must be from 1 to {axes.shape[1]}, the numbers in one item.")
    return (x.flatten(1) - centre) @ axes[:, :k]


def pca_reconstruction(train: Tensor, x: Tensor, k: int) -> Tensor:
    """x, projected on the k first principal axes of ``train``: (N, …), (M, …) → (M, …)."""
    centre, axes = _principal_axes(train)
    return (pca_codes(train, x, k) @ axes[:, :k].T + centre).view_as(x)


# --- areas -----------------------------------------------------------------------------------------------------------

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
    """Largest over smallest area of the classes' level sets, and each class's area: (N, 2), (N,) → (ratio, {class: area})."""
    areas = {int(c): level_set(codes[labels == c], share).area for c in labels.unique()}
    return max(areas.values()) / min(areas.values()), areas
