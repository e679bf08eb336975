"""Attribute vectors: a direction in latent space that stands for an attribute, edits along it, and what they change.

Models have ``encode`` and ``decode``; where ``encode`` gives a mean and a log variance, the mean is the code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_shape
from course_lib.metrics import as_floats, in_blocks


def codes_of(model: nn.Module, images: Tensor, block: int = 1_000) -> Tensor:
    """The codes of images, without gradients: (N, C, H, W), uint8 or in [0, 1] → (N, d); a VAE's are its means."""
    def code(part: Tensor) -> Tensor:
        answer = model.encode(as_floats(part))
        return answer if isinstance(answer, Tensor) else answer[0]

    return in_blocks(code, images, block)


def attribute_vector(codes: Tensor, has: Tensor) -> Tensor:
    """The mean code of those that have an attribute, less that of those that do not.

    codes: (N, d); has: bool (N,). Returns (d,). To get rid of the attribute, subtract it. It stands for the attribute
    alone where no other attribute goes along with it: where some do, White 2016 (section 3) balances the two groups
    first. Raises ValueError for other shapes, and where everybody has it or nobody.  Larsen et al. 2016, section 4.2.
    """
    require_shape("codes", codes, None, None)
    require_shape("has", has, len(codes))
    require(has.dtype == torch.bool, f"has is {has.dtype}; it must be bool: has an image the attribute, or not?")
    n = int(has.sum())
    require(0 < n < len(has), f"{n} of {len(has)} images have the attribute; a vector needs some with it and some "
                              "without.")
    return codes[has].mean(0) - codes[~has].mean(0)


def edited(model: nn.Module, images: Tensor, vector: Tensor, strength: float) -> Tensor:
    """Images encoded, moved by ``strength`` times the vector, and decoded: (N, C, H, W), (d,) → (N, C, H, W).

    strength 0 gives the plain reconstructions, a negative one takes away.
    """
    codes = codes_of(model, images)
    require_shape("vector", vector, codes.shape[1])
    return in_blocks(model.decode, codes + strength * vector, 1_000)


def edit_columns(model: nn.Module, images: Tensor, vector: Tensor, strengths: Sequence[float]) -> dict[str, Tensor]:
    """What ``plots.edit_grid`` draws: "original", "reconstruction", and a column for each strength, as "s = 1.5"."""
    return {"original": as_floats(images), "reconstruction": edited(model, images, vector, 0.0),
            **{f"s = {s:g}".replace("-", "−"): edited(model, images, vector, s) for s in strengths}}


def measure_edits(model: nn.Module, images: Tensor, vector: Tensor, read: Callable[[Tensor], Tensor], attribute: int,
                  wanted: int, strengths: Sequence[float], counts: Tensor | None = None,
                  elsewhere: Tensor | None = None) -> list[dict[str, float | None]]:
    """What becomes of images along an attribute's vector, as a classifier reads it: a row for each strength.

    images: (N, C, H, W), uint8 or in [0, 1]; vector: (d,); read: images in [0, 1] → the values of their A attributes,
    int64 (N, A); attribute: the column that is to become ``wanted``; counts: bool (N, A), False where another attribute
    cannot hold or cannot be seen; elsewhere: bool (N, 1, H, W), pixels that the edit should leave alone.
    A row has "strength" and these shares:
    "changed": of the images, read as wanted (at strength 0: so many reconstructions are, before any edit);
    "changed of the rest": the same of those whose plain reconstruction is not read so; None where there are none;
    "held": of the other attributes that count, read as on the plain reconstruction;
    "held from the original": the same, read as on the original (at strength 0: what reconstructing alone preserves);
    and the root mean square by which pixels differ from the plain reconstruction: "moved", of all pixels, and "moved
    elsewhere", None where no pixels are named. Raises ValueError for other shapes and where nothing counts.
    """
    x = as_floats(images)
    require_shape("images", x, None, None, None, None)
    codes = codes_of(model, x)
    require_shape("vector", vector, codes.shape[1])
    of_original = read(x)
    require_shape("what read gives", of_original, len(x), None)
    a = of_original.shape[1]
    require(0 <= attribute < a, f"attribute is {attribute}; read gives {a} of them, numbered from 0.")
    counts = torch.ones_like(of_original, dtype=torch.bool) if counts is None else counts.clone()
    require_shape("counts", counts, len(x), a)
    counts[:, attribute] = False
    require(bool(counts.any()), "no other attribute counts: nothing can be said of what holds.")
    if elsewhere is not None:
        require_shape("elsewhere", elsewhere, len(x), 1, *x.shape[2:])
        require(bool(elsewhere.any()), "elsewhere names no pixel; give None.")
    plain = in_blocks(model.decode, codes, 1_000)
    of_plain = read(plain)
    rest = of_plain[:, attribute] != wanted
    rows: list[dict[str, float | None]] = []
    for strength in strengths:
        made = in_blocks(model.decode, codes + strength * vector, 1_000)
        values, square = read(made), (made - plain).square().mean(1, keepdim=True)           # (N, A), (N, 1, H, W)
        reached = values[:, attribute] == wanted
        rows.append({"strength": strength,
                     "changed": reached.float().mean().item(),
                     "changed of the rest": reached[rest].float().mean().item() if bool(rest.any()) else None,
                     "held": (values == of_plain)[counts].float().mean().item(),
                     "held from the original": (values == of_original)[counts].float().mean().item(),
                     "moved": square.mean().sqrt().item(),
                     "moved elsewhere": None if elsewhere is None else square[elsewhere].mean().sqrt().item()})
    return rows
