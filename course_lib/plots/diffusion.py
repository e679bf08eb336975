"""Pictures of diffusion models: schedules, images on their way from noise, losses over time, what samplers cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.plots.charts import DASHES
from course_lib.plots.images import mosaic, to_numpy
from course_lib.plots.style import BLUE, GREEN, LINES, RED

if TYPE_CHECKING:
    from course_lib.diffusion import Schedule

MARKERS, INK = "osD^vPX*", "#222222"
HIDDEN, STROKES = "#9DB4CC", "#6E8BAA"      # of pixels that are not known: a tone that no grey digit has, and hatching
FAR_APART = 20                              # values farther apart than this factor stand on a logarithmic axis
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g}%")
RULES = (":", (0, (8, 3)), (0, (1, 3)), (0, (8, 2, 1, 2)))      # dashes of the lines for comparison


# --- the forward process ---------------------------------------------------------------------------------------------

def schedule_chart(schedules: Mapping[str, Schedule], title: str) -> plt.Figure:
    """Left the factors √ᾱ_t of the image (thick) and √(1−ᾱ_t) of the noise (thin), right SNR(t) on a log axis."""
    require(len(schedules) > 0, "there is no schedule to draw.")
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8))
    for (name, schedule), colour, dash in zip(schedules.items(), cycle(LINES), cycle(DASHES)):
        t = np.arange(schedule.T + 1)
        left.plot(t, schedule.alpha_bar.sqrt(), color=colour, linestyle=dash, linewidth=3, label=f"√ᾱₜ, {name}")
        left.plot(t, schedule.variance.sqrt(), color=colour, linestyle=dash, linewidth=1.3, label=f"√(1−ᾱₜ), {name}")
        right.semilogy(t[1:], schedule.snr[1:], color=colour, linestyle=dash, linewidth=3, label=name)
    right.axhline(1, color=INK, linewidth=1.2, linestyle=":", label="SNR = 1: as much noise as image")
    left.set(xlabel="time t (steps of noise)", ylabel="factor of x₀ (thick), of ε (thin)", ylim=(-0.03, 1.03))
    right.set(xlabel="time t (steps of noise)", ylabel="SNR(t) = ᾱₜ/(1−ᾱₜ)")
    left.set_title("x₀ leaves as noise comes", fontsize=12, fontweight="normal")
    right.set_title("signal-to-noise ratio (at t = 0 it is ∞)", fontsize=12, fontweight="normal")
    handles, labels = (a + b for a, b in zip(left.get_legend_handles_labels(), _last(right), strict=True))
    fig.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), fontsize=11)
    return titled(fig, title)


def _last(ax):
    return tuple(entries[-1:] for entries in ax.get_legend_handles_labels())


def noise_rows(rows: Mapping[str, Tensor], times: Sequence[float], title: str) -> plt.Figure:
    """A row a name, a column a time with its head "t = 250": images on their way into noise, or out of it.

    rows: name → (n, C, H, W) in [0, 1], clipped to that; rows may differ in C, H and W, but each has an image for each
    of the n times. Values around 0, as models have them, are (x + 1)/2 here. Raises ValueError for other numbers.
    """
    require(len(rows) > 0 and len(times) > 0, "there are no images or no times to draw.")
    n = len(times)
    for name, images in rows.items():
        require_shape(f"row {name!r}", images, n, None, None, None)
    scale = min(1.35, 11.5 / n)                                                         # of an image, in inches
    narrow = scale < 0.95                                                               # too narrow for "t = 1000"
    names = [name.replace(", ", ",\n") for name in rows]
    left = 0.35 + 0.135 * max(len(line) for name in names for line in [*name.split("\n"), "time t"])
    high, wide, top = scale + 0.1, scale * n, 0.85
    width, height = left + wide + 0.1, top + high * len(rows)
    # Laid out by hand: the constrained layout gives long names too little room beside images of a fixed shape.
    fig = plt.figure(figsize=(width, height), layout="none")
    for k, (name, images) in enumerate(zip(names, rows.values(), strict=True)):
        ax = fig.add_axes((left / width, (height - top - high * (k + 1) + 0.1) / height, wide / width, scale / height))
        sheet = mosaic(images, n)
        ax.imshow(sheet, vmin=0, vmax=1, interpolation="nearest", cmap="gray", aspect="auto")
        _bare(ax)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10, fontsize=16, color=INK)
        if k == 0:
            step = images.shape[3] + 1
            heads = [f"{t:g}" if narrow else f"t = {t:g}" for t in times]
            ax.set_xticks([0.5 + step * (j + 0.5) - 0.5 for j in range(n)], labels=heads, fontsize=14)
            ax.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False)
            if narrow:
                ax.annotate("time t", (0, 1), (-10, 8), "axes fraction", "offset points", fontsize=14, ha="right")
    fig.suptitle(title, x=0.1 / width, y=1 - 0.1 / height, ha="left", va="top", fontsize=16, fontweight="bold")
    return fig


def inpaint_grid(known: Tensor, mask: Tensor, filled: Mapping[str, Tensor] | Sequence[Tensor] | Tensor,
                 originals: Tensor, title: str, scale: float = 1.25) -> plt.Figure:
    """A row an image; columns: the original, what is given of it (the rest hatched in grey-blue), and the fillings.

    known, originals: (n, C, H, W) in [0, 1]; mask: bool (n, 1, H, W) or (1, 1, H, W), True where a pixel is known;
    filled: so many tensors of known's shape, one behind the other or (k, n, C, H, W), or name → tensor. Raises
    ValueError for other shapes.
    """
    fillings = dict(filled) if isinstance(filled, Mapping) else {
        "filled" if len(filled) == 1 else f"filling {k + 1}": images for k, images in enumerate(filled)}
    require_shape("known", known, None, None, None, None)
    require_same_shape(known=known, originals=originals, **fillings)
    n, _, h, w = known.shape
    require_shape("mask", mask, n if len(mask) != 1 else 1, 1, h, w)
    require(not mask.is_floating_point(), f"mask has dtype {mask.dtype}; it must be bool, True where a pixel is known.")
    hidden = ~mask.bool().expand(n, 1, h, w).cpu()
    given = torch.where(hidden, torch.tensor(to_rgb(HIDDEN)).view(1, 3, 1, 1), known.cpu().float().expand(n, 3, h, w))
    columns = {"original": originals, "given": given, **fillings}
    fig, axes = plt.subplots(n, len(columns), squeeze=False, figsize=(scale * len(columns) + 0.3, scale * n + 1.25))
    for column, (name, images) in zip(axes.T, columns.items(), strict=True):
        for k, (ax, array) in enumerate(zip(column, to_numpy(images), strict=True)):
            ax.imshow(array, vmin=0, vmax=1, interpolation="nearest", cmap="gray")
            _bare(ax)
            if name == "given":
                with plt.rc_context({"hatch.color": STROKES, "hatch.linewidth": 1.2}):
                    ax.contourf(*_blocks(hidden[k, 0].numpy()), levels=[0.5, 1.5], colors="none", hatches=["///"])
        column[0].set_title(name, fontsize=13, fontweight="normal", loc="center")
    patch = Patch(facecolor=HIDDEN, edgecolor=STROKES, hatch="///", label="not known: to be filled in")
    fig.legend(handles=[patch], loc="outside lower center")
    return titled(fig, title)


def _blocks(hidden: np.ndarray):
    """x, y and values of a boolean image for contours that go around its pixels, not through their middles."""
    fine = np.repeat(np.repeat(hidden.astype(float), 10, 0), 10, 1)
    return *(np.arange(10 * size) / 10 - 0.45 for size in hidden.shape[::-1]), fine


# --- numbers ---------------------------------------------------------------------------------------------------------

def time_loss_chart(t: Tensor, losses: Mapping[str, Tensor], title: str, bins: int = 20) -> plt.Figure:
    """A panel a way to count the error: the mean loss in each of so many bins of t; the band is ±2 standard errors.

    t: (n,), the times; losses: "ε", say, → (n,), of one image each, a mean over its pixels. An axis is logarithmic
    where means lie farther apart than a factor of 20.
    """
    require(len(losses) > 0, "there are no losses to draw.")
    require_shape("t", t, None)
    require(len(t) > 0 and bins >= 1, f"there are {len(t)} losses and {bins} bins; it takes one of each at least.")
    t = t.detach().cpu().double().numpy()
    edges = np.linspace(t.min(), t.max(), bins + 1)
    of = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, bins - 1)
    there = [k for k in range(bins) if (of == k).any()]
    fig, axes = plt.subplots(1, len(losses), figsize=(max(4.7 * len(losses), 8), 4.4), squeeze=False)
    for ax, (name, values), colour, marker in zip(axes[0], losses.items(), cycle(LINES), cycle(MARKERS)):
        require_shape(f"losses[{name!r}]", values, len(t))
        values = values.detach().cpu().double().numpy()
        mean = np.array([values[of == k].mean() for k in there])
        error = np.array([values[of == k].std() / math.sqrt((of == k).sum()) for k in there])
        at = np.array([t[of == k].mean() for k in there])
        logarithmic = mean.min() > 0 and mean.max() > FAR_APART * mean.min()
        low = np.maximum(mean - 2 * error, mean / 10) if logarithmic else mean - 2 * error
        ax.fill_between(at, low, mean + 2 * error, color=colour, alpha=0.22, linewidth=0)
        ax.plot(at, mean, color=colour, marker=marker, markersize=5)
        if logarithmic:
            _log_axis(ax.yaxis, mean.min(), mean.max())
        else:
            ax.set_ylim(0, 1.12 * (mean + 2 * error).max() or 1)
        ax.set(xlabel="time t (steps of noise)", ylabel=f"squared error of {name}, a pixel")
        ax.set_title(f"error of {name}" + (" (log axis)" if logarithmic else ""), fontsize=12, fontweight="normal")
    return titled(fig, title)


def steps_chart(rows: Sequence[Mapping], title: str, references: Mapping[str, float] | None = None,
                measure: str = "fréchet", label: str = "Fréchet distance (squared): low is good",
                error: str | None = None) -> plt.Figure:
    """A measure of samples against the network's calls for an image (left) and the seconds (right), a line a sampler.

    rows: "sampler", "network calls", "seconds" (for an image), the measure, None where it was not taken, and where
    ``error`` names a column its standard error: bars are ±2 of it. references: words → level, horizontal lines. The
    measure's axis is logarithmic; where a value is 0 or less, as KID's may be, it is linear around 0.
    """
    rows = [row for row in rows if row[measure] is not None]
    require(len(rows) > 0, f"there are no rows with {measure!r} to draw.")
    levels = [row[measure] for row in rows] + list((references or {}).values())
    fig, axes = plt.subplots(1, 2, figsize=(13, 5.2), sharey=True)
    for ax, cost in zip(axes, ("network calls", "seconds"), strict=True):
        for name, colour, dash, marker in zip(dict.fromkeys(row["sampler"] for row in rows), cycle(LINES),
                                              cycle(DASHES), cycle(MARKERS)):
            mine = sorted((row for row in rows if row["sampler"] == name), key=lambda row: row[cost])
            ax.errorbar([row[cost] for row in mine], [row[measure] for row in mine], linestyle=dash, color=colour,
                        yerr=[2 * row[error] for row in mine] if error else None, capsize=3, marker=marker,
                        markersize=8, label=name)
        for (name, level), rule in zip((references or {}).items(), cycle(RULES)):
            ax.axhline(level, color=INK, linewidth=1.6, linestyle=rule, label=name, zorder=1)
        _log_axis(ax.xaxis, min(row[cost] for row in rows), max(row[cost] for row in rows))
        ax.set_xlabel(f"{cost} for an image")
    if min(levels) > 0:
        _log_axis(axes[0].yaxis, min(levels), max(levels))
    elif max(levels) > 0:
        straight = max(min(v for v in levels if v > 0), max(levels) / 1000)
        axes[0].set_yscale("symlog", linthresh=straight)
        axes[0].set_ylim(1.6 * min(levels) - straight, 1.6 * max(levels))
    axes[0].set_ylabel(label)
    entries = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    names = [*dict.fromkeys(row["sampler"] for row in rows), *(references or {})]
    fig.legend([entries[name] for name in names], names, loc="outside lower center",
               ncols=4 if sum(map(len, names)) > 75 else min(len(names), 6))
    return titled(fig, title)


def guidance_chart(rows: Sequence[Mapping], title: str) -> plt.Figure:
    """What guidance buys and costs: precision against recall as a path along w, and the share of samples of the class
    that was asked for and the Fréchet distance against w.

    rows: "w", "precision", "recall", "class right" and "fréchet"; w = 0 is no guidance (Ho and Salimans 2021).
    """
    require(len(rows) > 0, "there are no rows to draw.")
    rows = sorted(rows, key=lambda row: row["w"])
    w = [row["w"] for row in rows]
    fig, axes = plt.subplot_mosaic([["path", "right"], ["path", "fréchet"]], figsize=(13, 6.2), width_ratios=[1.15, 1])
    path = axes["path"]
    path.plot([row["recall"] for row in rows], [row["precision"] for row in rows], "-o", color=BLUE, markersize=8)
    points = np.array([(row["recall"], row["precision"]) for row in rows])
    room = np.maximum(0.16 * np.ptp(points, axis=0), 0.02)
    path.set(xlim=(points[:, 0].min() - room[0], points[:, 0].max() + room[0]),
             ylim=(points[:, 1].min() - room[1], points[:, 1].max() + room[1]),
             xlabel="recall: share of the data among the samples",
             ylabel="precision: share of the samples among the data")
    for k in _apart(points / (np.ptp(points, axis=0) + 2 * room)):
        path.annotate(f"w = {w[k]:g}", points[k], (9, 7), textcoords="offset points", fontsize=12)
    path.set_title("w written beside the marks", fontsize=12, fontweight="normal")
    axes["right"].plot(w, [row["class right"] for row in rows], "-s", color=GREEN, markersize=7)
    axes["right"].set(ylabel="share of the class\nthat was asked for", xlabel="guidance weight w")
    axes["fréchet"].plot(w, [row["fréchet"] for row in rows], "-D", color=RED, markersize=7)
    axes["fréchet"].set(xlabel="guidance weight w", ylabel="Fréchet distance\n(squared): low is good")
    axes["fréchet"].set_ylim(bottom=0)
    for axis in (path.xaxis, path.yaxis, axes["right"].yaxis):
        axis.set_major_formatter(PERCENT)
    return titled(fig, title)


def _apart(points: np.ndarray) -> list[int]:
    """Which of the points (n, 2), in shares of the axes, have room for words: the ends first, then those between."""
    chosen: list[int] = []
    for k in [0, len(points) - 1, *range(1, len(points) - 1)]:
        if all(abs(points[k, 0] - points[j, 0]) > 0.16 or abs(points[k, 1] - points[j, 1]) > 0.07 for j in chosen):
            chosen.append(k)
    return sorted(chosen)


def _log_axis(axis, low: float, high: float) -> None:
    """A logarithmic axis around positive values, its ticks plain numbers at 1, 2 and 5, or at powers of ten alone."""
    ax, letter = axis.axes, axis.axis_name
    room = max((high / low) ** 0.06, 1.12)
    getattr(ax, f"set_{letter}scale")("log")
    getattr(ax, f"set_{letter}lim")(low / room, high * room)
    digits = (1, 2, 3, 4, 5, 7) if high < 4 * low else (1, 2, 5) if high < 300 * low else (1,)
    powers = range(math.floor(math.log10(low / room)), math.ceil(math.log10(high * room)) + 1)
    axis.set_ticks([d * 10.0**k for k in powers for d in digits if low / room <= d * 10.0**k <= high * room])
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))


def titled(fig: plt.Figure, title: str) -> plt.Figure:
    """The figure, with its title at the upper left."""
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _bare(ax) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)
