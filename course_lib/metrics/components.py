"""Principal components: the best linear code."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from course_lib.checks import require


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
