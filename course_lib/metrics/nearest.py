"""Which point of a set is nearest, and how far away it is."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checks import require


class Nearest:
    """The Euclidean distance from each x to the nearest of ``to``: calling it gives (N, …) → (N,), in units of x.

    to: (M, …), prepared once, for many questions. Compared in blocks of rows, so that memory holds (block, M) numbers.
    The distance to the point found is exact, 0 for one that is in ``to``; which is nearer is told up to rounding.
    Raises ValueError where ``to`` is empty, or an item of x has another size than one of ``to``.
    """

    def __init__(self, to: Tensor):
        require(len(to) > 0, "there is nothing to be near to: `to` has no rows.")
        self.to = to.flatten(1)
        self.centre = self.to.mean(0)  # ‖a − b‖² = ‖a‖² − 2ab + ‖b‖² loses digits where both are far from the origin
        self.points = self.to - self.centre
        self.squares = self.points.square().sum(1)

    def __call__(self, x: Tensor, block: int = 256) -> Tensor:
        return self.find(x, block)[1]

    def index(self, x: Tensor, block: int = 256) -> Tensor:
        """Which of ``to`` is nearest to each x: (N, …) → int64 (N,)."""
        return self.find(x, block)[0]

    @torch.no_grad()
    def find(self, x: Tensor, block: int = 256) -> tuple[Tensor, Tensor]:
        """Which of ``to`` is nearest to each x, and its distance: (N, …) → int64 (N,) and (N,)."""
        indices, distances = [torch.zeros(0, dtype=torch.int64, device=x.device)], [x.new_zeros(0)]
        x = x.flatten(1)
        require(x.shape[1] == len(self.centre), f"an item of x has {x.shape[1]} numbers, one of `to` has "
                                                f"{len(self.centre)}; they must be the same.")
        for part in x.split(block):
            nearest = torch.addmm(self.squares, part - self.centre, self.points.T, alpha=-2).argmin(1)
            indices.append(nearest)
            # The squares find the point, but their difference has lost the digits of a small distance.
            distances.append((part - self.to[nearest]).norm(dim=1))
        return torch.cat(indices), torch.cat(distances)


def nearest_distance(x: Tensor, to: Tensor) -> Tensor:
    """The Euclidean distance from each x to the nearest of ``to``, see Nearest: (N, …), (M, …) → (N,)."""
    return Nearest(to)(x)
