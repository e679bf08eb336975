"""Pictures of images: rows with names, grids, strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from torch import Tensor

from course_lib.checks import require


def to_numpy(images: Tensor) -> np.ndarray:
    """(N, C, H, W) in [0, 1] or uint8 → (N, H, W) grey or (N, H, W, 3), clipped to [0, 1]."""
    require(images.ndim == 4 and images.shape[1] in (1, 3),
            f"images have shape {tuple(images.shape)}; they must be (N, 1, H, W) or (N, 3, H, W).")
    images = images.detach().cpu()
    images = images.float() / 255 if not images.is_floating_point() else images.float().clamp(0, 1)
    return images.permute(0, 2, 3, 1).squeeze(-1).numpy()


def image_rows(rows: Mapping[str, Tensor], title: str, captions: Mapping[str, Sequence[str]] | None = None,
               scale: float = 1.0, legend: Mapping[str, str] | None = None) -> plt.Figure:
    """One row of images for each name, the name at its left; captions: words under each image of a row; legend: what
    colours mean, name → colour."""
    arrays = {name: to_numpy(images) for name, images in rows.items()}
    columns, captions = max(map(len, arrays.values())), captions or {}
    fig, axes = plt.subplots(len(arrays), columns, squeeze=False,
                             figsize=(scale * columns + 1.9, scale * len(arrays) + 0.6 + 0.24 * len(captions)))
    for (name, array), row in zip(arrays.items(), axes, strict=True):
        for k, ax in enumerate(row):
            _bare(ax)
            if k < len(array):
                ax.imshow(array[k], vmin=0, vmax=1)
            else:
                ax.set_visible(False)
            if name in captions and k < len(captions[name]):
                ax.set_xlabel(captions[name][k], fontsize=11, labelpad=2)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    if legend:
        patches = [Patch(facecolor=colour, edgecolor="#999999", label=name) for name, colour in legend.items()]
        fig.legend(handles=patches, loc="outside lower center", ncols=len(patches))
        fig.set_figheight(fig.get_figheight() + 0.4)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def image_grids(grids: Mapping[str, Tensor], title: str, columns: int = 8, scale: float = 0.5) -> plt.Figure:
    """Several sets of images side by side, each as one mosaic under its name."""
    rows, words = max(-(-len(g) // columns) for g in grids.values()), 1.0 if any(grids) else 0.6
    fig, axes = plt.subplots(1, len(grids), squeeze=False, layout="constrained",
                             figsize=(len(grids) * (columns * scale + 0.3), rows * scale + words))
    for ax, (name, images) in zip(axes[0], grids.items(), strict=True):
        ax.imshow(mosaic(images, columns), vmin=0, vmax=1)
        if name:
            ax.set_title(name, fontsize=12, fontweight="normal", loc="center")
        _bare(ax)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def coloured(classes: Tensor, colours: Sequence[str]) -> Tensor:
    """A picture of the class of each pixel: integers (N, H, W), a colour for each class → (N, 3, H, W) in [0, 1]."""
    least, most = int(classes.min()), int(classes.max())
    require(classes.ndim == 3 and least >= 0 and most < len(colours),
            f"classes have shape {tuple(classes.shape)} and values from {least} to {most}; they must be (N, H, W), "
            f"from 0 to {len(colours) - 1}, as there are {len(colours)} colours.")
    palette = torch.tensor([to_rgb(colour) for colour in colours])
    return palette[classes.long().cpu()].permute(0, 3, 1, 2)


def mosaic(images: Tensor, columns: int, gap: int = 1) -> np.ndarray:
    """One array of all images, row by row, with white lines between them."""
    array = to_numpy(images)
    n, h, w = array.shape[:3]
    rows = -(-n // columns)
    sheet = np.ones((rows * (h + gap) + gap, columns * (w + gap) + gap, *array.shape[3:]), dtype=array.dtype)
    for k, image in enumerate(array):
        top, left = gap + (k // columns) * (h + gap), gap + (k % columns) * (w + gap)
        sheet[top:top + h, left:left + w] = image
    return sheet


def _bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
