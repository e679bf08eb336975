"""Measuring latent spaces and samples: distances, holes, areas."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from course_lib.checks import require, require_one_of, require_shape


class Nearest:
    """The Euclidean distance from each x to the nearest of ``to``: calling it gives (N, …) → (N,), in units of x.

    to: (M, …), prepared once, for many questions. Compared in blocks of rows, so that memory holds (block, M) numbers.
    The distance to the point found is exact, 0 for one that is in ``to``; which is nearer is told up to rounding.
    Raises ValueError where ``to`` is empty, or an item of x has another size than one of ``to``.
    """

    def __init__(self, to: Tensor):
        require(len(to) > 0, "there is nothing to be near to: `to` has no rows.")
        flat = to.flatten(1)
        self.centre = flat.mean(0)  # ‖a − b‖² = ‖a‖² − 2ab + ‖b‖² loses digits where both are far from the origin
        self.points = flat - self.centre
        self.squares = self.points.square().sum(1)

    @torch.no_grad()
    def __call__(self, x: Tensor, block: int = 256) -> Tensor:
        distances = [x.new_zeros(0)]
        for part in self._centred(x).split(block):
            # The squares find the point, but their difference has lost the digits of a small distance.
            distances.append((part - self.points[self._nearest(part)]).norm(dim=1))
        return torch.cat(distances)

    @torch.no_grad()
    def index(self, x: Tensor, block: int = 256) -> Tensor:
        """Which of ``to`` is nearest to each x: (N, …) → int64 (N,)."""
        none = torch.zeros(0, dtype=torch.int64, device=x.device)
        return torch.cat([none, *(self._nearest(part) for part in self._centred(x).split(block))])

    def _centred(self, x):
        x = x.flatten(1)
        require(x.shape[1] == len(self.centre), f"an item of x has {x.shape[1]} numbers, one of `to` has "
                                                f"{len(self.centre)}; they must be the same.")
        return x - self.centre

    def _nearest(self, part):
        return torch.addmm(self.squares, part, self.points.T, alpha=-2).argmin(1)


def nearest_distance(x: Tensor, to: Tensor) -> Tensor:
    """The Euclidean distance from each x to the nearest of ``to``, see Nearest: (N, …), (M, …) → (N,)."""
    return Nearest(to)(x)


# --- pixels --------------------------------------------------------------------------------------------------

def edge_energy(images: Tensor) -> Tensor:
    """The squared differences between neighbouring pixels, summed per image: (N, C, H, W) → (N,). Blur lowers it."""
    require_shape("images", images, None, None, None, None)
    down, across = images[:, :, 1:] - images[:, :, :-1], images[..., 1:] - images[..., :-1]
    return down.square().flatten(1).sum(1) + across.square().flatten(1).sum(1)


def sharpness(images: Tensor, data: Tensor) -> float:
    """The mean edge energy of images over that of the data: 1 where they are as sharp, less where they are blurred.

    (N, C, H, W), (M, C, H, W). Noise adds edges too: above 1 is not better. Raises ValueError where the data are flat.
    """
    reference = edge_energy(data).mean().item()
    require(reference > 0, "the data have no edges at all: there is nothing to compare with.")
    return edge_energy(images).mean().item() / reference


def shift(images: Tensor, right: int = 0, down: int = 0) -> Tensor:
    """Images moved by whole pixels, with 0 coming in at the other side; negative: left, up. (N, C, H, W) → the same."""
    require_shape("images", images, None, None, None, None)
    _, _, h, w = images.shape
    require(abs(right) <= w and abs(down) <= h, f"a shift of ({right}, {down}) leaves nothing of images of {h}×{w}.")
    return torch.nn.functional.pad(images, (right, -right, down, -down))


def shift_shares(images: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor,
                 shifts: range = range(7)) -> list[dict[str, float]]:
    """How often a shifted image is, pixel by pixel, farther from itself than a blank one is, or than another class.

    images (N, C, H, W) with 0 as background, labels (N,); others: where each image's nearest one of another class is
    looked for. For each shift, in pixels, the mean over the four directions: [{"shift": s, "a blank image": share,
    "the nearest digit of another class": share}, …]. Distances are L2 over pixels.
    """
    norm = images.flatten(1).norm(dim=1)
    rival = torch.empty_like(norm)
    for c in labels.unique():
        rival[labels == c] = nearest_distance(images[labels == c], others[other_labels != c])
    rows = []
    for s in shifts:
        moved = [shift(images, *way) for way in ((s, 0), (-s, 0), (0, s), (0, -s))]
        distance = torch.stack([(m - images).flatten(1).norm(dim=1) for m in moved])          # (4, N)
        rows.append({"shift": s, "a blank image": (distance > norm).float().mean().item(),
                     "the nearest digit of another class": (distance > rival).float().mean().item()})
    return rows


# --- holes ---------------------------------------------------------------------------------------------------

RULES = ("normal", "box", "fitted", "mixture")


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
    in [0, 1], on one device. far_beyond, unsure_below: the last two limits, which depend on data and classifier only
    and take half a minute to measure on a laptop; None measures them. The rule is one for all models, so that their
    shares can be compared.
    """

    QUANTILE = 0.99

    def __init__(self, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], classifier: nn.Module,
                 train_images: Tensor, test_images: Tensor, far_beyond: float | None = None,
                 unsure_below: float | None = None):
        self.decode, self.classifier = decode, classifier
        self.codes, test_codes = in_blocks(encode, train_images), in_blocks(encode, test_images)
        self.spread = self.codes.std(0)                                               # (d,)
        require(bool((self.spread > 0).all()),
                f"latent {int(self.spread.argmin())} has the same code for every image: the encoder has collapsed "
                "there; train it longer or with a lower learning rate.")
        self.to_codes, self.to_images = Nearest(self.codes / self.spread), _near_to(train_images)
        self.empty_beyond = self.to_codes(test_codes / self.spread).quantile(self.QUANTILE).item()
        measured = None in (far_beyond, unsure_below) and hole_limits(classifier, train_images, test_images)
        self.far_beyond = measured["far_beyond"] if far_beyond is None else far_beyond
        self.unsure_below = measured["unsure_below"] if unsure_below is None else unsure_below

    def scores(self, z: Tensor) -> dict[str, Tensor]:
        """For each z (N, d), each test's score: 1 is the limit, and above it z fails. Each (N,)."""
        require_shape("z", z, None, self.codes.shape[1])
        images = in_blocks(self.decode, z)
        return {"empty": self.to_codes(z / self.spread) / self.empty_beyond,
                "far": self.to_images(images) / self.far_beyond,
                "unsure": (1 - confidence(self.classifier, images)) / (1 - self.unsure_below)}

    def shares(self, z: Tensor) -> HoleShares:
        """The share of the points z (N, d) that fail each test."""
        return HoleShares(**{name: (score > 1).float().mean().item() for name, score in self.scores(z).items()})


def _near_to(train_images: Tensor) -> Nearest:
    return _kept_near_to(train_images, train_images._version)


@lru_cache(maxsize=1)
def _kept_near_to(train_images: Tensor, version: int) -> Nearest:
    """Kept, because every model on the same data asks for it; version: images changed in place are others."""
    return Nearest(train_images)


def hole_limits(classifier: nn.Module, train_images: Tensor, test_images: Tensor) -> dict[str, float]:
    """The limits of "far" and "unsure": 1 % of the test images are farther from their nearest training image than
    far_beyond (L2 over pixels), and 1 % leave the classifier less sure than unsure_below."""
    far = _near_to(train_images)(test_images).quantile(HoleRuler.QUANTILE)
    unsure = confidence(classifier, test_images).quantile(1 - HoleRuler.QUANTILE)
    return {"far_beyond": far.item(), "unsure_below": unsure.item()}


def local_mean(z: Tensor, codes: Tensor, images: Tensor, n: int = 100) -> Tensor:
    """The mean of the n images whose codes are nearest to each z: (M, d), (N, d), (N, C, H, W) → (M, C, H, W).

    An estimate of E[x | z], the best that a decoder trained with L2 can answer. Raises ValueError unless 1 <= n <= N.
    """
    require(1 <= n <= len(codes), f"n is {n}; it must be from 1 to {len(codes)}, the number of codes.")
    nearest = torch.cdist(z, codes).topk(n, largest=False).indices                    # (M, n)
    return torch.stack([images[index].mean(0) for index in nearest])


@torch.no_grad()
def in_blocks(f: Callable[[Tensor], Tensor], x: Tensor, block: int = 2_000) -> Tensor:
    """f(x) without gradients, in blocks along the first dimension, so that large sets fit in memory."""
    return torch.cat([f(part) for part in x.split(block)])


def confidence(classifier: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The largest class probability on each image: (N, C, H, W) → (N,), in [1/classes, 1]."""
    return in_blocks(classifier, images).softmax(1).amax(1)


def sample_latents(codes: Tensor, where: str, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n latent points (n, d) drawn by one of four rules from what is known of the training codes (N, d).

    "normal": z ~ N(0, I), whatever the codes are.  "box": uniform in the box that holds the middle 99 % of each
    latent.  "fitted": z ~ N(mean, covariance) of the codes.  "mixture": from a mixture of 50 Gaussians with full
    covariances, fitted by EM to at most 20,000 of the codes.  Raises ValueError for another name.
    """
    require_one_of("where", where, RULES)
    d = codes.shape[1]
    like = {"generator": generator, "dtype": codes.dtype, "device": codes.device}
    if where == "normal":
        return torch.randn(n, d, **like)
    if where == "box":
        low, high = box_of_codes(codes)
        return low + torch.rand(n, d, **like) * (high - low)
    if where == "fitted":
        factor, singular = torch.linalg.cholesky_ex(torch.cov(codes.T).view(d, d))
        if singular:  # some latents never change, or one is a sum of others: any root of the covariance will do
            variance, axes = torch.linalg.eigh(torch.cov(codes.T).view(d, d).double())
            factor = (axes * variance.clamp_min(0).sqrt()).to(codes.dtype)                # factor factorᵀ = covariance
        return codes.mean(0) + torch.randn(n, d, **like) @ factor.T
    from sklearn.mixture import GaussianMixture
    mean, spread = codes.mean(0), codes.std(0)
    seed = int(torch.randint(2**31, (1,), generator=generator, device=codes.device))
    mixture = GaussianMixture(50, reg_covar=1e-3, max_iter=50, tol=1e-2, random_state=seed)
    drawn = mixture.fit(((codes[:20_000] - mean) / spread).double().cpu().numpy()).sample(n)[0]
    order = torch.randperm(n, generator=generator, device=codes.device)  # scikit-learn gives component by component
    return mean + torch.from_numpy(drawn).to(codes)[order] * spread


def box_of_codes(codes: Tensor, share: float = 0.99) -> tuple[Tensor, Tensor]:
    """The lower and the upper end of the middle ``share`` of each latent: (N, d) → (d,), (d,)."""
    require(0 < share <= 1, f"share is {share}; it must be above 0 and at most 1.")
    tail = (1 - share) / 2
    ordered = codes.sort(0).values  # torch.quantile refuses more than 16 million numbers
    return ordered[round(tail * (len(codes) - 1))], ordered[round((1 - tail) * (len(codes) - 1))]


# --- principal components ------------------------------------------------------------------------------------

@lru_cache(maxsize=2)
def _principal_axes(x: Tensor, version: int) -> tuple[Tensor, Tensor]:
    flat = x.flatten(1)
    centre = flat.mean(0)
    _, axes = torch.linalg.eigh(torch.cov(flat.T).double())
    return centre, axes.flip(1).to(x.dtype)                                           # (D,), (D, D), largest first


def pca_codes(train: Tensor, x: Tensor, k: int) -> Tensor:
    """The coordinates of x along the k first principal axes of ``train``: (N, …), (M, …) → (M, k). Pearson 1901."""
    centre, axes = _principal_axes(train, train._version)
    require(1 <= k <= axes.shape[1], f"k is {k}; it must be from 1 to {axes.shape[1]}, the numbers in one item.")
    return (x.flatten(1) - centre) @ axes[:, :k]


def pca_reconstruction(train: Tensor, x: Tensor, k: int) -> Tensor:
    """x, projected on the k first principal axes of ``train``: (N, …), (M, …) → (M, …)."""
    centre, axes = _principal_axes(train, train._version)
    return (pca_codes(train, x, k) @ axes[:, :k].T + centre).view_as(x)


# --- areas ---------------------------------------------------------------------------------------------------

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
