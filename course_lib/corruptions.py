"""Ways to spoil images by degrees: what a measure of samples should notice, one at a time.

Images are float (N, C, H, W) in [0, 1], and so is what comes back. Chance comes from a generator: in the same state it
spoils the same way, and a larger strength spoils further along that way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks import require, require_shape

Generator = torch.Generator | None


def blur(images: Tensor, sigma: float) -> Tensor:
    """Each pixel becomes a Gaussian mean of those around it: (N, C, H, W) → the same. sigma >= 0, in pixels.

    The Gaussian is cut off at 4σ; beyond the border, the pixels on it go on for ever.
    """
    _require_images(images)
    require(sigma >= 0, f"sigma is {sigma}; it must be 0 pixels or more.")
    if sigma == 0:
        return images.clone()
    down, across = (_gaussian_means(side, sigma).to(images) for side in images.shape[2:])   # (H, H), (W, W)
    return (down @ images @ across.T).clamp(0, 1)       # rounding may leave [0, 1]


def _gaussian_means(side: int, sigma: float) -> Tensor:
    """The matrix that blurs a line of ``side`` pixels; its rows sum to 1."""
    reach = math.ceil(4 * sigma)
    offset = torch.arange(-reach, reach + 1)
    weights = torch.softmax(-0.5 * (offset.double() / sigma) ** 2, 0)
    columns = (torch.arange(side)[:, None] + offset).clamp(0, side - 1)                     # (side, offsets)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, columns, weights.expand(side, -1))


def add_noise(images: Tensor, sigma: float, generator: Generator = None) -> Tensor:
    """Gaussian noise of standard deviation sigma >= 0 on every pixel, clipped to [0, 1]: (N, C, H, W) → the same."""
    _require_images(images)
    require(sigma >= 0, f"sigma is {sigma}; it must be 0 or more.")
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
    return (images + sigma * noise).clamp(0, 1)


def salt_and_pepper(images: Tensor, share: float, generator: Generator = None) -> Tensor:
    """About this share of the pixels, all channels at once, turns black or white: (N, C, H, W) → the same."""
    _require_images(images)
    require(0 <= share <= 1, f"share is {share}; it must be from 0 to 1.")
    n, _, h, w = images.shape
    u, white = torch.rand(2, n, 1, h, w, generator=generator, dtype=images.dtype, device=images.device)
    return torch.where(u < share, (white < 0.5).to(images), images)


def swap_patches(images: Tensor, n: int, generator: Generator = None, cells: int = 4) -> Tensor:
    """n pairs of patches change places, each image's own: (N, C, H, W) → the same. All pixels stay in the image.

    An image is cut into cells × cells patches, so both sides must be multiples of cells; no patch is moved twice, so
    0 <= n <= cells²/2.
    """
    _require_images(images)
    count, c, h, w = images.shape
    require(cells >= 1 and h % cells == 0 and w % cells == 0,
            f"images of {h}×{w} cannot be cut into {cells}×{cells} equal patches; choose another number of cells.")
    require(0 <= n <= cells**2 // 2, f"n is {n}; with {cells}×{cells} patches it must be from 0 to {cells**2 // 2}.")
    order = torch.rand(count, cells**2, generator=generator, device=images.device).argsort(1)
    first, second = order[:, 0:2 * n:2], order[:, 1:2 * n:2]                                # (N, n)
    source = torch.arange(cells**2, device=images.device).repeat(count, 1)
    source.scatter_(1, first, second).scatter_(1, second, first)                            # (N, cells²)
    patches = images.view(count, c, cells, h // cells, cells, w // cells).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = patches[torch.arange(count, device=images.device)[:, None], source]             # (N, cells², C, h, w)
    return moved.unflatten(1, (cells, cells)).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def drop_modes(images: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """The images of all classes but these, in their order: (N, C, H, W), (N,) → (M, C, H, W), M <= N.

    Raises ValueError for a class that no image has, and where nothing would be left.
    """
    _require_images(images)
    require_shape("labels", labels, len(images))
    absent = sorted(set(classes) - set(labels.tolist()))
    require(not absent, f"no image has the class {', '.join(map(str, absent))}.")
    kept = ~torch.isin(labels, torch.tensor(list(classes), dtype=labels.dtype, device=labels.device))
    require(bool(kept.any()), "all classes would be dropped, and no image left.")
    return images[kept.to(images.device)]


def resize(images: Tensor, side: int) -> Tensor:
    """Scaled down to a height of ``side`` pixels and up again, bilinearly: (N, C, H, W) → the same. 1 <= side <= H.

    On the way down each pixel is a mean over its area (antialiasing); the width goes with the height.
    """
    _require_images(images)
    h, w = images.shape[2:]
    require(1 <= side <= h, f"side is {side}; it must be from 1 to the images' height, {h} pixels.")
    if side == h:
        return images.clone()
    small = F.interpolate(images, (side, max(1, round(w * side / h))), mode="bilinear", antialias=True)
    return F.interpolate(small, (h, w), mode="bilinear").clamp(0, 1)


def mirror(images: Tensor, share: float = 1.0, generator: Generator = None) -> Tensor:
    """Left and right change places in about this share of the images: (N, C, H, W) → the same."""
    _require_images(images)
    require(0 <= share <= 1, f"share is {share}; it must be from 0 to 1.")
    u = torch.rand(len(images), 1, 1, 1, generator=generator, dtype=images.dtype, device=images.device)
    return torch.where(u < share, images.flip(3), images)


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Every image turned anticlockwise about its centre, bilinearly, with 0 coming in: (N, C, H, W) → the same."""
    _require_images(images)
    if degrees == 0 or len(images) == 0:                # torch refuses a grid for no images
        return images.clone()
    angle = math.radians(degrees)
    wide, cos, sin = images.shape[3] / images.shape[2], math.cos(angle), math.sin(angle)    # units are half sides
    theta = torch.tensor([[cos, -sin / wide, 0], [sin * wide, cos, 0]], dtype=images.dtype, device=images.device)
    grid = F.affine_grid(theta.expand(len(images), 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).clamp(0, 1)


def cover(images: Tensor, share: float, generator: Generator = None) -> Tensor:
    """A black rectangle that covers this share of the area, somewhere in each image: (N, C, H, W) → the same.

    Its sides are √share of the image's. Pixels that it covers in part are darkened in part, so it grows smoothly.
    """
    _require_images(images)
    require(0 <= share <= 1, f"share is {share}; it must be from 0 to 1.")
    n, _, h, w = images.shape
    at = torch.rand(2, n, 1, generator=generator, dtype=images.dtype, device=images.device)

    def along(side, at):                                # how much of each pixel lies in the interval: (N, side)
        length = side * share**0.5
        start, pixel = at * (side - length), torch.arange(side, dtype=images.dtype, device=images.device)
        return (torch.minimum(pixel + 1, start + length) - torch.maximum(pixel, start)).clamp(0, 1)

    covered = along(h, at[0])[:, None, :, None] * along(w, at[1])[:, None, None, :]         # (N, 1, H, W)
    return images * (1 - covered)


def _require_images(images):
    require_shape("images", images, None, None, None, None)
    require(images.is_floating_point(), f"images are {images.dtype}; they must be float in [0, 1]: divide by 255.")


def _graded(spoil: Callable[[Tensor, float, Generator], Tensor]):
    def graded(images: Tensor, strength: float, generator: Generator = None) -> Tensor:
        _require_images(images)
        require(0 <= strength <= 1, f"strength is {strength}; it must be from 0 to 1.")
        return spoil(images, strength, generator)
    return graded


# For a slider: f(images, strength in [0, 1], generator). Strength 0 changes nothing; at 1 few digits can be read.
CORRUPTIONS: dict[str, Callable[[Tensor, float, Generator], Tensor]] = {
    "blur": _graded(lambda x, strength, generator: blur(x, 3 * strength)),
    "noise": _graded(lambda x, strength, generator: add_noise(x, 0.6 * strength, generator)),
    "salt and pepper": _graded(lambda x, strength, generator: salt_and_pepper(x, 0.5 * strength, generator)),
    "swapped patches": _graded(lambda x, strength, generator: swap_patches(x, round(8 * strength), generator)),
    "resizing": _graded(lambda x, strength, generator: resize(x, max(1, round(x.shape[2] * (1 - 0.8 * strength))))),
    "mirroring": _graded(lambda x, strength, generator: mirror(x, strength, generator)),
    "rotation": _graded(lambda x, strength, generator: rotate(x, 45 * strength)),
    "black rectangle": _graded(lambda x, strength, generator: cover(x, 0.6 * strength, generator)),
}
