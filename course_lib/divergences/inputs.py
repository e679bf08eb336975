"""What the divergences take: numbers in float64, finite; masses of 0 or more, of sum 1."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape

TOLERANCE_OF_DENSITIES = 1e-3       # a grid cuts tails off
TOLERANCE_OF_MASSES = 1e-5          # float32 weights, many of them, add up to 1 no closer


def reals(name: str, value, device: torch.device | str | None = None) -> Tensor:
    """A tensor, an array, a list or a number as float64, with its graph; ValueError unless finite.

    device: None leaves it where it is.
    """
    value = torch.as_tensor(value, dtype=torch.float64, device=device)
    bad = int((~value.isfinite()).sum())
    require(bad == 0, f"{name} is NaN or infinite in {bad} of {value.numel()} places; it must be finite: look where "
                      "that arose.")
    return value


def points_on_line(name: str, value, device: torch.device | None = None) -> Tensor:
    """Finite float64 (n,), at least one; ValueError for anything else."""
    value = reals(name, value, device)
    require_shape(name, value, None)
    require(len(value) > 0, f"{name} is empty; it must hold at least one point.")
    return value


def masses(name: str, value, n: int, device: torch.device | str) -> Tensor:
    """Masses (n,) of 0 or more, of sum 1 within 1e-5, and divided by that sum; ValueError for anything else.

    value: None gives each the same.
    """
    if value is None:
        return torch.full((n,), 1 / n, dtype=torch.float64, device=device)
    value = reals(name, value, device)
    require_shape(name, value, n)
    return _divided_by_total(name, value, value.sum(), TOLERANCE_OF_MASSES, "sums to", "divide it by its sum.")


def densities_on_grid(p, q, dx) -> tuple[Tensor, Tensor, Tensor]:
    """p and q, each divided by its integral, and dx in their shape; ValueError for what are no densities."""
    p = reals("p", p)
    q, dx = reals("q", q, p.device), reals("dx", dx, p.device)
    require(p.numel() > 0, "p is empty; it must hold a density at one point at least.")
    require_same_shape(p=p, q=q)
    if dx.ndim:
        require_same_shape(p=p, dx=dx)
    require(bool((dx > 0).all()), f"dx goes down to {dx.min().item():.6g}; it must be above 0: the size of a cell.")
    advice = "widen or refine the grid, or divide it by its integral. (For masses that sum to 1, dx is 1.)"
    p, q = (_divided_by_total(name, density, (density * dx).sum(), TOLERANCE_OF_DENSITIES, "integrates to", advice)
            for name, density in (("p", p), ("q", q)))
    return p, q, dx.expand_as(p)


def _divided_by_total(name, value, total, tolerance, adds_up, advice):
    least = value.min().item() if value.numel() else 0.0
    require(least >= 0, f"{name} goes down to {least:.6g}; it must be 0 or more everywhere: there is no negative mass.")
    require(abs(total.item() - 1) <= tolerance,
            f"{name} {adds_up} {total.item():.6g}; it must be 1 within {tolerance:g}: {advice}")
    return value / total
