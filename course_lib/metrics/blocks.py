"""Large sets in blocks that fit in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def in_blocks(f: Callable[[Tensor], Tensor], x: Tensor, block: int = 2_000) -> Tensor:
    """f(x) without gradients, in blocks along the first dimension, so that large sets fit in memory."""
    return torch.cat([f(part) for part in x.split(block)])


def confidence(classifier: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The largest class probability on each image: (N, C, H, W) → (N,), in [1/classes, 1]."""
    return in_blocks(classifier, images).softmax(1).amax(1)


def as_floats(x: Tensor) -> Tensor:
    """uint8 images, 0 … 255, as float32 in [0, 1]; all else as it is."""
    return x.float() / 255 if x.dtype == torch.uint8 else x
