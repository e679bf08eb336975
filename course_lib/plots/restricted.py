"""Pictures of codes restricted by the loss: what units draw, how a code may move, how a penalty is cheated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

from course_lib.plots.charts import DASHES
from course_lib.plots.images import _bare, mosaic
from course_lib.plots.style import LINES


def signed(images: Tensor) -> Tensor:
    """Images with both signs as grey: 0 becomes 0.5, each image's largest size 0 or 1. (N, C, H, W) → the same."""
    largest = images.flatten(1).abs().amax(1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return 0.5 + images / largest / 2


def spectrum_chart(spectra: Mapping[str, Tensor], directions: Mapping[str, Tensor], title: str) -> plt.Figure:
    """Left: an encoder's singular values over the largest, by rank; right: for each name the images that it moves for.

    spectra: name → (d,), in falling order; directions: name → (n, 1, H, W) of both signs.
    """
    fig, axes = plt.subplot_mosaic([["curves", name] for name in directions], figsize=(13, 4.9),
                                   width_ratios=[1, 1.25])
    for (name, values), dash in zip(spectra.items(), cycle(DASHES)):
        relative = (values / values[0]).cpu().numpy()
        axes["curves"].plot(np.arange(1, len(relative) + 1), relative, linestyle=dash, label=name)
    axes["curves"].set(xlabel="direction, by rank", ylabel="how far the code moves (largest = 1)", ylim=(0, 1.05))
    axes["curves"].legend(loc="upper right", bbox_to_anchor=(1.0, 0.97))
    for name, images in directions.items():
        axes[name].imshow(mosaic(signed(images), max(1, len(images) // 2)), vmin=0, vmax=1)
        _bare(axes[name])
        axes[name].set_title(f"{name}: the first {len(images)} directions for one digit", fontsize=12,
                             fontweight="normal")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def slip_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """Along training, with tied weights and with a decoder of its own: penalties and units on; dots: the seeds."""
    panels = [("sparse", "penalty", "sparse: penalty, mean ‖z‖₁"), ("sparse", "units on", "sparse: units on, of 256"),
              ("contractive", "penalty", "contractive: penalty, mean ‖J‖²")]
    fig, axes = plt.subplots(1, len(panels), figsize=(13, 4.4))
    for ax, (model, column, name) in zip(axes, panels, strict=True):
        for tied, dash, colour in ((True, "-", LINES[0]), (False, "--", LINES[1])):
            mine = [row for row in rows if row["model"] == model and row["tied"] == tied]
            steps = sorted({row["step"] for row in mine})
            means = [np.mean([row[column] for row in mine if row["step"] == step]) for step in steps]
            ax.semilogx(steps, means, dash, color=colour, label="tied weights" if tied else "a decoder of its own")
            ax.plot([row["step"] for row in mine], [row[column] for row in mine], "o", color=colour, markersize=3.5)
        ax.set(xlabel="training step", ylabel=name)
        ax.set_ylim(bottom=0)
    axes[0].legend(loc="lower left")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
