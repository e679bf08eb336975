"""Checks of arguments at the edge of a public function: what was given, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless the condition holds."""
    if not condition:
        raise ValueError(message)


def require_one_of(name: str, value, allowed: Iterable) -> None:
    """Raises ValueError unless value is one of the allowed ones; the message lists them."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}.")


def require_same_shape(**tensors: Tensor) -> None:
    """Raises ValueError unless all tensors have one shape: no silent broadcasting inside a formula."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but {first} has shape {tuple(reference.shape)}; "
                             "they must be the same: reshape or expand one of them on purpose.")


def require_shape(name: str, tensor: Tensor, *shape: int | None) -> None:
    """Raises ValueError unless tensor has this shape; None stands for any size of a dimension."""
    fits = tensor.ndim == len(shape) and all(s is None or s == t for s, t in zip(shape, tensor.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be {wanted}.")
