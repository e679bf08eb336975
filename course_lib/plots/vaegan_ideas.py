"""Pictures of the VAE/GAN's ideas: two errors that disagree, and who learns from which loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from course_lib.checks import require
from course_lib.plots.images import to_numpy
from course_lib.plots.style import BLUE, GREEN, ORANGE, RED

BOXES = {"Enc": (3.0, BLUE), "Dec": (6.6, GREEN), "Dis": (10.2, ORANGE)}    # network → its place, its colour


def two_errors(versions: Mapping[str, Tensor], errors: Mapping[str, Sequence[float]], title: str) -> plt.Figure:
    """Images in several versions, and under each version its errors, a row of bars for each kind of error.

    versions: name → (N, C, H, W), the same N images; errors: what its axis says → one number a version, in their order.
    Raises ValueError where an error has another number of values.
    """
    require(len(versions) > 0 and len(errors) > 0, "there is nothing to draw: give versions and errors.")
    for name, values in errors.items():
        require(len(values) == len(versions), f"{name!r} has {len(values)} values, but there are {len(versions)} "
                                              "versions: one for each.")
    n, k = len(next(iter(versions.values()))), len(versions)
    fig, axes = plt.subplots(n + len(errors), k, squeeze=False,
                             figsize=(1.75 * k + 1.6, 1.6 * n + 1.5 * len(errors) + 1))
    for column, (name, images) in enumerate(versions.items()):
        for row, image in enumerate(to_numpy(images)):
            axes[row, column].imshow(image, vmin=0, vmax=1, cmap="gray")
            axes[row, column].set(xticks=[], yticks=[])
            axes[row, column].grid(False)
        axes[0, column].set_title(name, fontsize=13, fontweight="normal", loc="center")
    for row, (label, values), colour, hatch in zip(range(n, n + len(errors)), errors.items(), (BLUE, RED), ("", "//"),
                                                   strict=False):
        for column, value in enumerate(values):
            ax = axes[row, column]
            ax.bar([0], [value], width=0.6, color=colour, hatch=hatch, edgecolor="white")
            ax.text(0, value, f" {value:.3g}", ha="center", va="bottom")
            ax.set(ylim=(0, 1.25 * max(values)), xlim=(-0.8, 0.8), xticks=[])
            ax.tick_params(labelleft=column == 0)
        axes[row, 0].set_ylabel(label)
    fig.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return fig


def vaegan_scheme() -> plt.Figure:
    """Three networks, what flows between them, the three losses, and whose weights each loss moves."""
    fig, ax = plt.subplots(figsize=(14, 5.8))
    ax.set(xlim=(-0.2, 14.9), ylim=(-0.2, 6.0))
    ax.axis("off")
    for name, (x, colour) in BOXES.items():
        ax.add_patch(FancyBboxPatch((x - 0.75, 2.6), 1.5, 1.5, boxstyle="round,pad=0.08", fc=colour, ec="black",
                                    alpha=0.85))
        ax.text(x, 3.35, name, ha="center", va="center", fontsize=20, fontweight="bold", color="white")

    def arrow(start, end, words="", at=None, **style):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "black", **style})
        if words:
            ax.text(*(at or ((start[0] + end[0]) / 2, start[1] + 0.16)), words, ha="center", fontsize=15)

    arrow((0.9, 3.35), (2.1, 3.35), "$x$")
    arrow((3.9, 3.6), (5.7, 3.6), r"$z = \mu + \sigma\varepsilon$")
    arrow((4.6, 2.5), (5.7, 3.0), r"$z_p \sim \mathcal{N}(0, I)$", (4.5, 2.1))
    arrow((7.5, 3.6), (9.3, 3.6), r"$\tilde x$")
    arrow((7.5, 3.0), (9.3, 3.0), "$x_p$", (8.4, 2.55))
    ax.plot([1.2, 1.2, 10.2], [3.35, 5.0, 5.0], color="black", lw=2)
    arrow((10.2, 5.0), (10.2, 4.25))
    ax.text(5.7, 5.12, "$x$: Dis sees the data too", ha="center", fontsize=14)
    arrow((11.1, 3.35), (12.3, 3.35), "", None)
    ax.text(12.4, 3.35, "logits,\n$\\mathrm{Dis}_l$", va="center", fontsize=15)
    for y, (loss, what, moves) in zip((1.25, 0.65, 0.05), (
            (r"$\mathcal{L}_{\mathrm{prior}}$", "KL of $q(z|x)$ from $N(0, I)$", {"Enc": "descends"}),
            (r"$\mathcal{L}_{\mathrm{llike}}$", r"error in $\mathrm{Dis}_l$",
             {"Enc": "descends", "Dec": r"descends, times $\gamma$"}),
            (r"$\mathcal{L}_{\mathrm{GAN}}$", "log likelihood", {"Dec": "descends", "Dis": "ascends"})), strict=True):
        ax.text(-0.1, y, f"{loss}:", fontsize=20, va="center")
        ax.text(11.75, y, what, fontsize=13, va="center")
        for name, (x, colour) in BOXES.items():
            ax.text(x, y, moves.get(name, "nothing"), ha="center", va="center", fontsize=14,
                    color="white" if name in moves else "#777777",
                    bbox={"boxstyle": "round", "fc": colour if name in moves else "white",
                          "ec": colour if name in moves else "#CCCCCC"})
    ax.text(0.0, 1.85, "who learns what", fontsize=14, fontweight="bold")
    ax.set_title("VAE/GAN: Dec is a VAE's decoder and a GAN's generator; each loss moves only some of the three")
    return fig
