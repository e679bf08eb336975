"""Pictures in a table: images as one PNG sheet, as text. The sheet itself says how it is cut."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from course_lib.checks import require, require_shape


def sheet(images: Tensor, columns: int = 8) -> str:
    """Images (N, C, H, W) in [0, 1], C = 1 or 3, in rows of ``columns``: one PNG as base64; grey levels are rounded.

    Raises ValueError for other shapes or values, and where N is no multiple of columns.
    """
    require_shape("images", images, None, None, None, None)
    n, c, h, w = images.shape
    require(c in (1, 3), f"images have {c} channels; they must have 1 or 3.")
    require(columns >= 1 and n >= 1 and n % columns == 0,
            f"there are {n} images and {columns} columns; give whole rows, one at least.")
    x = images.detach().float().cpu()
    require(bool(((x >= 0) & (x <= 1)).all()), "images go beyond [0, 1]: clip them first.")
    pixels = (255 * x + 0.5).to(torch.uint8).view(n // columns, columns, c, h, w)
    pixels = pixels.permute(0, 3, 1, 4, 2).reshape(n // columns * h, columns * w, c).numpy()
    about, out = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_text("tiles", f"{n // columns} {columns}")
    Image.fromarray(pixels.squeeze(2) if c == 1 else pixels).save(out, format="png", optimize=True, pnginfo=about)
    return base64.b64encode(out.getvalue()).decode()


def from_sheet(text: str) -> Tensor:
    """What ``sheet`` was given, but for the rounding: (N, C, H, W), float32 in [0, 1], row after row.

    Raises ValueError where the text is no such sheet.
    """
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
        rows, columns = map(int, picture.text["tiles"].split())
        array = np.array(picture)
    except (binascii.Error, UnidentifiedImageError, AttributeError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"this is no sheet of images as recipes.sheets.sheet makes them ({error!r}).") from error
    pixels = torch.from_numpy(array).unsqueeze(-1) if array.ndim == 2 else torch.from_numpy(array)
    h, w = pixels.shape[0] // rows, pixels.shape[1] // columns
    pixels = pixels.view(rows, h, columns, w, -1).permute(0, 2, 4, 1, 3)                # (rows, columns, C, H, W)
    return pixels.reshape(rows * columns, -1, h, w).float() / 255
