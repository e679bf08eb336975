"""Pictures of Wasserstein critics: their surfaces, weights and slopes, and what each way of holding the slope does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from course_lib.checks import require
from course_lib.plots.charts import DASHES
from course_lib.plots.divergences import PLANE, array, titled
from course_lib.plots.style import BLUE, GREEN, GREY, LINES, ORANGE, PURPLE, RED

MARKERS = "osD^vPX*"


def surface_chart(panels: Mapping[str, Tensor], x: Tensor, y: Tensor, extent: tuple[float, float, float, float],
                  title: str, columns: int = 3, apart: float = 0.1) -> plt.Figure:
    """Critics over the plane as level lines, a panel each, brighter where f is higher; lines that lie close are steep.

    panels: name → f/K, values (rows, columns) on an even grid over ``extent`` (left, right, bottom, top), row 0 at the
    bottom, divided by the critic's steepest slope K, so that critics of any scale can be compared. x: (n, 2), the data;
    y: (m, 2), the fakes; apart: from one level line to the next, in all panels, in units of x. Raises ValueError for
    values that are not on a grid.
    """
    values = {name: array(v) for name, v in panels.items()}
    require(all(v.ndim == 2 for v in values.values()), "each panel must have values (rows, columns), on a grid.")
    x, y, (left, right, bottom, top) = array(x), array(y), extent
    columns = min(columns, len(values))
    rows = -(-len(values) // columns)
    fig, axes = plt.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, layout="compressed",
                             figsize=(4.2 * columns + 0.6, 4.3 * rows + (1.2 if columns > 1 else 1.7)))
    for ax in axes.flat[len(values):]:
        ax.set_visible(False)
    for ax, (name, v) in zip(axes.flat, values.items(), strict=False):
        at = np.linspace(left, right, v.shape[1]), np.linspace(bottom, top, v.shape[0])
        levels = apart * np.arange(np.floor(v.min() / apart), np.ceil(v.max() / apart) + 1.5)
        ax.contourf(*at, v, levels=levels, cmap="cividis")
        ax.contour(*at, v, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
        ax.plot(*y.T, "x", color=RED, markersize=3.2, markeredgewidth=0.8, label="fakes")
        ax.plot(*x.T, "o", color="white", markersize=3.4, markeredgecolor="black", markeredgewidth=0.5, label="data")
        ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.grid(False)
        ax.set_title(name, fontsize=12, fontweight="normal")
    for column in axes.T:                                               # the lowest panel that there is
        lowest = [ax for ax in column if ax.get_visible()][-1]
        lowest.set_xlabel(PLANE["xlabel"])
        lowest.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel(PLANE["ylabel"])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend([*handles[::-1], Line2D([], [], color="#9A9A9A", linewidth=1)],
               [*labels[::-1], f"f/K, a line each {apart:g} units of x"],
               loc="outside lower center", ncols=3 if columns > 1 else 1, markerscale=2)
    return titled(fig, title)


def weight_histograms(panels: Mapping[str, tuple[Tensor, float | None]], title: str) -> plt.Figure:
    """How the weights of critics are spread, a panel each on an axis of its own.

    panels: name → (weights (P,), c or None): the axis goes from −c to c, or where nothing is clipped to the largest
    weight; the share of weights within a thousandth of ±c is written above.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels) + 0.6, 3.9), sharey=True, squeeze=False)
    for ax, (name, (weights, c)), colour in zip(axes[0], panels.items(), cycle([BLUE, GREEN, ORANGE, PURPLE])):
        weights = array(weights)
        reach = np.abs(weights).max() if c is None else c
        bins = np.linspace(-reach, reach, 42) * (1 + 1e-6)              # the walls lie inside the outer bins
        ax.hist(weights, bins, weights=np.full(len(weights), 1 / len(weights)), color=colour,
                hatch="///" if c is None else "", edgecolor="white", linewidth=0)
        ends = "" if c is None else f"\n{(np.abs(weights) >= 0.999 * c).mean():.0%} of them at ±c"
        ax.set_title(name + ends, fontsize=12, fontweight="normal")
        ax.set_xticks([-reach, 0, reach], labels=[f"−{reach:.2g}", "0", f"{reach:.2g}"])
        ax.set_xlabel("weight")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0, 0].set_ylabel("share of the weights")
    return titled(fig, title)


def layer_chart(curves: Mapping[str, Tensor], title: str, laws: Mapping[str, Tensor] | None = None) -> plt.Figure:
    """‖∂f/∂h_l‖ over the layers l, on a log axis: a line a critic; laws: the same by a formula, thin and grey.

    curves and laws: name → (L + 1,), from the input, l = 0, to the last hidden layer.
    """
    fig, ax = plt.subplots(figsize=(10.5, 5.2))
    for name, values in (laws or {}).items():
        ax.plot(array(values), linestyle=(0, (1, 1.5)), color=GREY, linewidth=3.5, zorder=1)
        ax.annotate(name, (0, array(values)[0]), (-6, 0), textcoords="offset points", ha="right", va="center",
                    color=GREY, fontsize=11)
    for (name, values), dash, colour, marker in zip(curves.items(), cycle(DASHES), cycle(LINES), cycle(MARKERS)):
        ax.plot(array(values), linestyle=dash, color=colour, marker=marker, markersize=6, label=name)
    layers = len(array(next(iter(curves.values()))))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(yscale="log", xlim=(-0.3 - 2.2 * bool(laws), layers - 0.7),
           ylabel="mean size of ∂f/∂hₗ, log scale",
           xlabel="layer l: 0 is the input x; backpropagation comes from the right")
    ax.set_xticks(range(layers))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return titled(fig, title)


def clip_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """Critics trained with several c. Left: the slope that c gives. Right: what part of W₁ each of them sees.

    rows: dicts with "c", "K" (the steepest slope), "bound" (of the slope, from the weights), "gap", mean f(x) − mean
    f(y), and "W₁", of the same samples, in units of x.
    """
    c, K, bound, gap, w1 = (np.array([row[key] for row in rows], float) for key in ("c", "K", "bound", "gap", "W₁"))
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8))
    left.loglog(c, bound, "--^", color=ORANGE, label="product of the layers' norms, a bound")
    left.loglog(c, K, "-o", color=BLUE, label="K, the steepest slope found")
    left.axhline(1, color="black", linewidth=0.8)
    left.annotate("slope 1", (c[-1], 1), (0, 4), textcoords="offset points", ha="right", fontsize=11)
    left.set(xlabel="clipping bound c, log scale", ylabel="slope of f, log scale")
    left.legend()
    right.semilogx(c, gap / K / w1, "-o", color=BLUE)
    right.set(xlabel="clipping bound c, log scale", ylabel="gap / K, as a share of W₁", ylim=(0, 1))
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return titled(fig, title)


def slope_histograms(panels: Mapping[str, Tensor], title: str, xlabel: str = "‖∇f‖ (units of f per unit of x)",
                     top: float = 2.0) -> plt.Figure:
    """How the slopes of critics at some places are spread, a panel each, on one axis up to ``top``; beyond is in the
    last bin. panels: name → slopes (n,); dashed: slope 1."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.8 * len(panels) + 0.5, 3.8), sharey=True, sharex=True,
                             squeeze=False)
    for ax, (name, values), colour, hatch in zip(axes[0], panels.items(), cycle([BLUE, GREEN, ORANGE, PURPLE]),
                                                 cycle(["", "///", "...", "xx"])):
        values = array(values)
        ax.hist(values.clip(max=0.999 * top), np.linspace(0, top, 41), weights=np.full(len(values), 1 / len(values)),
                color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        ax.axvline(1, color="black", linestyle="--", linewidth=1.2)
        ax.set_title(f"{name}\nmedian {np.median(values):.2g}, to {values.max():.2g}", fontsize=12, fontweight="normal")
        ax.set(xlabel=xlabel, xlim=(0, top), xticks=np.linspace(0, top, 5)[:4])
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0, 0].set_ylabel("share of the places")
    return titled(fig, title)


def convergence_chart(curves: Mapping[str, tuple[Tensor, float]], title: str) -> plt.Figure:
    """Power iteration: how far below σ the estimate still is, as a share of σ, on a log axis.

    curves: name → (what is still missing after 1, 2, … iterations, as a share, (n,); the factor by which it should
    shrink at each): drawn as a thin line through the last point that is above rounding, 1e-13.
    """
    fig, ax = plt.subplots(figsize=(9.6, 4.6))
    for (name, (missing, factor)), colour, marker in zip(curves.items(), cycle(LINES), cycle(MARKERS)):
        missing = array(missing)
        at = np.arange(1, len(missing) + 1)
        seen = missing > 1e-13
        ax.semilogy(at[seen], missing[seen], marker, color=colour, markersize=6, label=name)
        if seen.any():
            last = np.nonzero(seen)[0][-1]
            ax.semilogy(at, missing[last] * factor ** (at - at[last]), "-", color=colour, linewidth=1,
                        label=f"factor {factor:.2g} at each")
    ax.set(xlabel="iterations", ylabel="share of σ that is missing, log scale", ylim=(1e-13, 3))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return titled(fig, title)
