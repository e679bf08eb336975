"""What can be said of images from their pixels alone: edges, and how far a shift moves them."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checks import require, require_shape
from course_lib.metrics.nearest import nearest_distance


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
