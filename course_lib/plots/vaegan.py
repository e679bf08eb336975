"""Pictures of models side by side, in images and in numbers, and of edits along an attribute's vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.plots.images import mosaic, to_numpy
from course_lib.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

# One colour, mark and dash a model in every picture of the chapter; a name that is not here takes the next free one.
MODEL_STYLES = {"AE": (GREY, "s", ":"), "VAE": (BLUE, "o", "--"), "VAE, fixed features": (SKY, "^", "-."),
                "VAE, Dis's features": (GREEN, "v", (0, (5, 1, 1, 1, 1, 1))), "GAN": (ORANGE, "X", (0, (1, 1))),
                "VAE/GAN": (RED, "D", "-")}
OTHERS = ((PURPLE, "P", (0, (8, 2))), ("black", "*", "-"))
# The table's columns that are drawn: column → what its axis says.
MEASURES = {"pixel error": "pixel error of reconstructions\n(squared, per image): low is good",
            "feature error": "feature error of reconstructions\n(squared, per image): low is good",
            "sharpness": "sharpness of reconstructions\n(edge energy / the data's): 1 is good",
            "fréchet": "Fréchet distance of samples\n(squared, in features): low is good",
            "precision": "precision of samples: high is good", "recall": "recall of samples: high is good"}
SHARES = ("precision", "recall")
INK = "#222222"


def styles_of(names: Sequence[str]) -> dict[str, tuple]:
    """Each model's (colour, marker, dash), those of MODEL_STYLES fixed."""
    free = cycle(OTHERS)
    return {name: MODEL_STYLES[name] if name in MODEL_STYLES else next(free) for name in dict.fromkeys(names)}


# --- images ----------------------------------------------------------------------------------------------------------

def side_by_side(images: Mapping[str, Tensor], title: str, scale: float = 1.35) -> plt.Figure:
    """A row a model, a column an image: name → (N, C, H, W), the same test faces in each row, say.

    Names are in large type at the left, pixels are left square; scale: an image's side in inches. Raises ValueError
    for rows of different shapes.
    """
    require(len(images) > 0, "there are no images to draw.")
    require_same_shape(**{name: rows for name, rows in images.items()})
    n, _, h, w = next(iter(images.values())).shape
    names = [name.replace(", ", ",\n") for name in images]
    left = 0.35 + 0.17 * max(len(line) for name in names for line in name.split("\n"))     # inches, for the names
    wide, high = scale * n, scale * n * (h + 2) / (n * (w + 1) + 1)                         # of a row
    width, height = left + wide + 0.1, 0.6 + (high + 0.08) * len(images)
    # Laid out by hand: the constrained layout gives long names too little room beside images of a fixed shape.
    fig = plt.figure(figsize=(width, height), layout="none")
    for k, (name, row) in enumerate(zip(names, images.values(), strict=True)):
        bottom = height - 0.6 - (high + 0.08) * k - high
        ax = fig.add_axes((left / width, bottom / height, wide / width, high / height))
        ax.imshow(mosaic(row, n), vmin=0, vmax=1, interpolation="nearest", cmap="gray")
        _bare(ax)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10, fontsize=20, color=INK)
    fig.suptitle(title, x=0.1 / width, y=1 - 0.1 / height, ha="left", va="top", fontsize=18, fontweight="bold")
    return fig


def edit_grid(columns: Mapping[str, Tensor], title: str, wanted: Mapping[str, Tensor] | None = None,
              scale: float = 1.15) -> plt.Figure:
    """A row a person; a column the original, the reconstruction, and each strength, as ``attributes.edit_columns``
    gives them: name → (N, C, H, W).

    wanted: column → bool (N,), whether the classifier reads the wanted value: such images stand in a frame. Raises
    ValueError for columns of different shapes.
    """
    require(len(columns) > 0, "there are no images to draw.")
    require_same_shape(**{name: images for name, images in columns.items()})
    n, wanted = len(next(iter(columns.values()))), wanted or {}
    for name, framed in wanted.items():
        require(name in columns, f"wanted has {name!r}; the columns are {', '.join(map(repr, columns))}.")
        require_shape(f"wanted[{name!r}]", framed, n)
    fig, axes = plt.subplots(n, len(columns), squeeze=False,
                             figsize=(scale * len(columns) + 0.3, scale * n + 0.9 + 0.35 * bool(wanted)))
    for column, (name, images) in zip(axes.T, columns.items(), strict=True):
        array = to_numpy(images)
        for k, ax in enumerate(column):
            ax.imshow(array[k], vmin=0, vmax=1, interpolation="nearest", cmap="gray")
            _bare(ax)
            if name in wanted and bool(wanted[name][k]):
                ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor=RED, linewidth=5,
                                       clip_on=False))
        column[0].set_title(name, fontsize=12, fontweight="normal", loc="center")
    if wanted:
        frame = Rectangle((0, 0), 1, 1, fill=False, edgecolor=RED, linewidth=3)
        fig.legend([frame], ["the classifier reads what was wanted"], loc="outside lower center")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


# --- numbers ---------------------------------------------------------------------------------------------------------

def edit_chart(rows: Sequence[Mapping], title: str, columns: int = 3) -> plt.Figure:
    """A panel a change: the share read as wanted (across) against the share of other attributes that held (up), a line
    a model along its strengths, the mark of strength 1 drawn large. A line begins with the plain reconstruction.

    rows: as ``recipes.attributes.attribute_rows`` gives them. The best is the upper right corner.
    """
    require(len(rows) > 0, "there are no edits to draw.")
    changes, styles = list(dict.fromkeys(row["change"] for row in rows)), styles_of([row["model"] for row in rows])
    columns = min(columns, len(changes))
    lines = -(-len(changes) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(max(4.5 * columns, 7.5), 3.7 * lines + 1.0), squeeze=False,
                             sharex=True, sharey=True)
    for ax in axes.flat[len(changes):]:
        ax.set_visible(False)
    for ax, change in zip(axes.flat, changes, strict=False):
        for name, (colour, marker, dash) in styles.items():
            mine = sorted((row for row in rows if (row["change"], row["model"]) == (change, name)),
                          key=lambda row: row["strength"])
            ax.plot([row["changed"] for row in mine], [row["held"] for row in mine], linestyle=dash, color=colour,
                    marker=marker, markersize=5, linewidth=1.8, clip_on=False, label=name)
            at_1 = [(row["changed"], row["held"]) for row in mine if row["strength"] == 1]
            if at_1:
                ax.plot(*zip(*at_1, strict=True), marker, color=colour, markersize=11, markeredgecolor="white",
                        markeredgewidth=0.8, linestyle="none", clip_on=False, zorder=3)
        ax.set_title(change, fontsize=13, fontweight="normal")
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.tick_params(labelbottom=True)
    low = min(row["held"] for row in rows)
    axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(max(0.0, low - 0.05), 1.02))
    for ax in axes[:, 0]:
        ax.set_ylabel("other attributes\nthat held")
    for k, ax in enumerate(axes.flat[:len(changes)]):
        if k + columns >= len(changes):
            ax.set_xlabel("people read as wanted")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], color=INK, marker="o", markersize=11, linestyle="none"))
    fig.legend(handles, [*labels, "strength 1 (large marks)"], loc="outside lower center",
               ncols=min(len(labels) + 1, 3))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def model_table_chart(rows: Sequence[Mapping], title: str, measures: Mapping[str, str] | None = None) -> plt.Figure:
    """Small multiples, a panel a measure: for each model a large mark at its mean over seeds, small ones for the seeds,
    and a line from the least to the most.

    rows: "model", "seed" and the measures, None where a model has none; measures: column → what its axis says. An axis
    is logarithmic where values spread over a factor above 12. Dotted: sharpness 1, the data's own.
    """
    measures = MEASURES if measures is None else measures
    require(len(rows) > 0 and len(measures) > 0, "there are no rows or no measures to draw.")
    styles, columns = styles_of([row["model"] for row in rows]), min(3, len(measures))
    lines = -(-len(measures) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(4.5 * columns + 1.6, (0.5 * len(styles) + 1.5) * lines + 0.6),
                             squeeze=False, sharey=True)
    for ax in axes.flat[len(measures):]:
        ax.set_visible(False)
    for ax, (measure, words) in zip(axes.flat, measures.items(), strict=False):
        for k, (name, (colour, marker, _)) in enumerate(styles.items()):
            values = [row[measure] for row in rows if row["model"] == name and row[measure] is not None]
            if not values:
                ax.text(0.5, k, "has none", transform=ax.get_yaxis_transform(), ha="center", va="center", color=GREY,
                        fontsize=11)
                continue
            ax.plot([min(values), max(values)], [k, k], color=colour, linewidth=3, solid_capstyle="round")
            ax.plot(values, [k] * len(values), "|", color=INK, markersize=19, markeredgewidth=1.2, zorder=3.5)
            ax.plot(mean(values), k, marker, color=colour, markersize=12, markeredgecolor="white", zorder=3)
        _scale(ax, [row[measure] for row in rows if row[measure] is not None], measure)
        ax.set_xlabel(words)
        ax.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(styles)), labels=list(styles), fontsize=13)
    axes[0, 0].set_ylim(len(styles) - 0.4, -0.6)
    for ax in axes[:, 0]:
        ax.set_ylabel("model")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _scale(ax, values: Sequence[float], measure: str) -> None:
    """From 0, or logarithmic where the values are far apart; shares from 0 to 1; the data's own sharpness marked."""
    if measure in SHARES:
        ax.set_xlim(-0.03, 1.03)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        return
    if "sharpness" in measure:
        ax.axvline(1, color=INK, linewidth=1.4, linestyle=":", zorder=1)
        values = [*values, 1.0]
    if values and min(values) > 0 and max(values) > 12 * min(values):
        ax.set_xscale("log")
        ax.set_xlim(0.75 * min(values), 1.35 * max(values))
        low, high = np.log10(ax.get_xlim())
        ax.set_xticks([d * 10.0**k for k in range(int(np.floor(low)), int(np.ceil(high)) + 1) for d in (1, 2, 5)
                       if low <= np.log10(d * 10.0**k) <= high][::1 if high - low < 2.2 else 3])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
    elif values:
        ax.set_xlim(min(0, min(values)), 1.08 * max(values))


def rate_chart(rows: Sequence[Mapping], measures: Mapping[str, str], title: str,
               chosen: Mapping[str, float] | None = None) -> plt.Figure:
    """A search for the learning rate: a panel a measure, in it the runs of each model, its rates side by side from the
    lowest to the highest, a mark a run.

    rows: "model", "lr" and the measures (None where a model has none); measures: column → what its axis says; chosen:
    model → the rate that was taken, whose runs are filled.
    """
    require(len(rows) > 0 and len(measures) > 0, "there are no runs or no measures to draw.")
    styles, chosen = styles_of([row["model"] for row in rows]), chosen or {}
    fig, axes = plt.subplots(len(measures), 1, figsize=(14, 2.7 * len(measures) + 1.3), squeeze=False, sharex=True)
    for ax, (measure, words) in zip(axes[:, 0], measures.items(), strict=True):
        drawn = [row[measure] for row in rows if row[measure] is not None]
        places, labels = [], []
        for k, (name, (colour, marker, _)) in enumerate(styles.items()):
            rates = sorted({row["lr"] for row in rows if row["model"] == name})
            for j, rate in enumerate(rates):
                at = 4.2 * k + 1.15 * (j - (len(rates) - 1) / 2)
                places.append(at)
                labels.append(f"{rate:.0e}".replace("e-0", "e−") + (f"\n{name}" if j == len(rates) // 2 else ""))
                values = [row[measure] for row in rows
                          if (row["model"], row["lr"]) == (name, rate) and row[measure] is not None]
                ax.plot([at] * len(values), values, marker, color=colour, markersize=10, markeredgewidth=1.8,
                        fillstyle="full" if chosen.get(name, rate) == rate else "none")
        if drawn and min(drawn) > 0 and max(drawn) > 12 * min(drawn):
            ax.set_yscale("log")
        ax.set_ylabel(words)
        ax.grid(axis="x", visible=False)
        ax.set_xticks(places, labels=labels, fontsize=11)
    axes[-1, 0].set_xlabel("learning rate" + ("; filled: taken" if chosen else ""))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
