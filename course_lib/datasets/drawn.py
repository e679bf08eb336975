"""A face drawn from a map of its parts, and other colours for a part: a toy for distances between pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import require, require_shape

PARTS = ("ground", "skin", "shirt", "hair", "ink")  # a part's number in the map is its place here
EVENING = ((0.16, 0.20, 0.35), (0.87, 0.68, 0.55), (0.75, 0.20, 0.25), (0.25, 0.15, 0.10), (0.05, 0.05, 0.05))
MORNING = ((0.85, 0.90, 0.95), (0.87, 0.68, 0.55), (0.20, 0.55, 0.45), (0.80, 0.65, 0.30), (0.05, 0.05, 0.05))


def face_parts(smile: float = 1.0, size: int = 32) -> Tensor:
    """Which part of a face each pixel shows: (size, size), int64 numbers of PARTS; drawn without any randomness.

    smile: from −1 (corners of the mouth down) over 0 (straight) to 1 (up); size: 16 pixels or more.
    Raises ValueError otherwise.
    """
    require(-1 <= smile <= 1, f"smile is {smile}; it must be from −1 (down) to 1 (up).")
    require(size >= 16, f"size is {size}; it must be at least 16 pixels, or the mouth is lost.")
    at = (torch.arange(size) + 0.5) / size * 2 - 1                                     # −1 … 1
    y, x = at[:, None], at[None, :]                                                    # down, right
    parts = torch.zeros(size, size, dtype=torch.int64)
    for number, inside in (
            (2, (x / 0.85) ** 2 + ((y - 1.05) / 0.55) ** 2 < 1),                       # shirt
            (3, (x / 0.58) ** 2 + ((y + 0.22) / 0.66) ** 2 < 1),                       # hair
            (1, (x / 0.46) ** 2 + ((y + 0.08) / 0.58) ** 2 < 1),                       # skin
            (4, ((x.abs() - 0.19) ** 2 + (y + 0.16) ** 2) < 0.005),                    # eyes
            (4, (x.abs() < 0.24) & ((y - 0.24 + smile * ((x / 0.24) ** 2 - 0.5) * 0.14).abs() < 0.04))):   # mouth
        parts = torch.where(inside, number, parts)
    return parts


def paint(parts: Tensor, colours: Sequence[Sequence[float]] = EVENING) -> Tensor:
    """A map of parts in these colours: (H, W) → (1, 3, H, W) in [0, 1]; colours: RGB for each of PARTS."""
    palette = torch.tensor(colours)
    require_shape("colours", palette, len(PARTS), 3)
    return palette[parts].permute(2, 0, 1)[None]


def recolour(images: Tensor, mask: Tensor, colour: Sequence[float]) -> Tensor:
    """Images with a part in another colour, its shades kept: the part's mean colour becomes ``colour``.

    images: (N, 3, H, W) in [0, 1]; mask: bool (N or 1, 1, H, W), True in the part; colour: RGB. Each pixel of an
    image's part moves by one and the same Δ, so the squared distance to the old image is (pixels in the part) · ‖Δ‖².
    Not clipped: shades may leave [0, 1]. Raises ValueError for other shapes, and where a mask is empty.
    """
    require_shape("images", images, None, 3, None, None)
    n, _, h, w = images.shape
    require_shape("mask", mask, n if len(mask) == n else 1, 1, h, w)
    area = mask.sum((2, 3))                                                            # (N or 1, 1)
    require(bool((area > 0).all()), "the mask is empty in one of the images; there is nothing to recolour.")
    mean = (images * mask).sum((2, 3)) / area                                          # (N, 3)
    change = torch.as_tensor(colour, dtype=images.dtype, device=images.device) - mean
    return images + mask * change[:, :, None, None]
