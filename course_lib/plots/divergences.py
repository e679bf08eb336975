"""Pictures of distributions apart: divergences and their slopes, plans and potentials."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.checks import require
from course_lib.divergences import Apart
from course_lib.plots.style import BLUE, GREEN, GREY, ORANGE, RED

HALO = [withStroke(linewidth=3.5, foreground="white")]
X, Y = {"color": BLUE, "marker": "o"}, {"color": RED, "marker": "X"}
PLANE = {"xlabel": "first coordinate (units of x)", "ylabel": "second coordinate (units of x)"}
MEASURES = {"KL": (GREEN, ":"), "JS": (RED, "--"), "W₁": (BLUE, "-")}


def apart_chart(pairs: Mapping[str, Apart], title: str, top: float = 3.0, steepest: float = 1.4) -> plt.Figure:
    """KL, JS and W₁ over θ at the left, their derivatives in θ at the right, a row for each pair of distributions.

    pairs: name → an ``Apart`` of θ (n,), rising. Values are shown up to ``top``, derivatives within ±``steepest``; a KL
    that is infinite nearly everywhere is said in words; a derivative that does not exist is a gap in its line. Where
    one value stands alone in a flat line, a filled dot shows it, and a ring what the line leaves out.
    """
    fig, axes = plt.subplots(len(pairs), 2, figsize=(12, 2.75 * len(pairs) + 0.7), sharex=True, squeeze=False)
    for (left, right), (name, apart) in zip(axes, pairs.items(), strict=True):
        columns = Apart(*(array(column) for column in apart))
        for (measure, (colour, dash)), value, slope in zip(
                MEASURES.items(), (columns.kl, columns.js, columns.w1), (columns.dkl, columns.djs, columns.dw1),
                strict=True):
            flat = _alone(value)
            left.plot(columns.theta, np.where(np.isfinite(value) & ~flat, value, np.nan), dash, color=colour,
                      label=measure)
            for k in np.nonzero(flat)[0]:
                left.scatter([columns.theta[k]] * 2, [value[k], value[k - 1]], s=42, facecolor=[colour, "white"],
                             edgecolor=colour, linewidth=1.8, zorder=3)
            right.plot(columns.theta, slope, dash, color=colour)
        if np.isinf(columns.kl).mean() > 0.5:
            finite = ", ".join(f"{theta:g}" for theta in columns.theta[np.isfinite(columns.kl)])
            left.text(0.5, 0.95, f"KL = ∞ except at θ = {finite}" if finite else "KL = ∞", transform=left.transAxes,
                      ha="center", va="top", color=GREEN, path_effects=HALO)
            right.text(0.03, 0.95, "KL has none", transform=right.transAxes, va="top", color=GREEN, path_effects=HALO)
        left.set(ylim=(-0.05 * top, top), ylabel="nats, or units of θ")
        right.set(ylim=(-steepest, steepest), ylabel="per unit of θ")
        left.set_title(name, fontsize=12, fontweight="normal")
        right.set_title("slope in θ", fontsize=12, fontweight="normal")
    for ax in axes[-1]:
        ax.set(xlabel="θ (units of x)", xlim=(columns.theta[0], columns.theta[-1]))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return titled(fig, title)


def plan_matrix(x: Tensor, p: Tensor, y: Tensor, q: Tensor, plan: Tensor, title: str) -> plt.Figure:
    """A plan on a line. Left: the plan as a matrix, its row sums p and column sums q along the sides.

    Right: the two cumulative distributions; W₁ is the area between them, and each level line in it is one route.
    x: (n,), p: (n,), the masses that are moved; y: (m,), q: (m,), where to; evenly spaced and rising; plan: (n, m).
    Raises ValueError where the plan does not fit.
    """
    x, p, y, q, plan = map(array, (x, p, y, q, plan))
    require(plan.shape == (len(p), len(q)) == (len(x), len(y)),
            f"plan has shape {plan.shape}; with {len(p)} masses and {len(q)} to go to it must be {(len(p), len(q))}.")
    fig = plt.figure(figsize=(13, 5.4))
    places = fig.add_gridspec(2, 3, width_ratios=[0.32, 1, 1.55], height_ratios=[0.32, 1])
    ax = fig.add_subplot(places[1, 1])
    ax.pcolormesh(y, x, np.where(plan > 0, plan, np.nan), cmap="Blues", vmin=-0.4 * plan.max(),
                  vmax=plan.max(), shading="nearest", rasterized=True)        # the least mass is not white
    low, high = min(x[0], y[0]), max(x[-1], y[-1])
    ax.plot([low, high], [low, high], ":", color=GREY, linewidth=1.2)
    ax.text(0.97, 0.04, "darker: more mass", transform=ax.transAxes, ha="right", fontsize=11, path_effects=HALO)
    ax.set(xlabel="to y (units of x)", xlim=(y[0], y[-1]), ylim=(x[0], x[-1]))
    ax.tick_params(labelleft=False)
    above, beside = fig.add_subplot(places[0, 1], sharex=ax), fig.add_subplot(places[1, 0], sharey=ax)
    above.fill_between(y, q, facecolor=RED, alpha=0.5, step="mid", hatch="///", edgecolor="white", linewidth=0)
    beside.fill_betweenx(x, p, color=BLUE, alpha=0.5, step="mid", linewidth=0)
    above.tick_params(labelbottom=False, labelleft=False)
    above.set(ylabel="mass", xlabel="", ylim=(0, None))
    beside.tick_params(labelbottom=False)
    beside.invert_xaxis()
    beside.set(ylabel="from x (units of x)", xlabel="mass")
    ax = fig.add_subplot(places[:, 2])
    at = np.union1d(x, y)
    cdf_p, cdf_q = (np.concatenate([[0], np.cumsum(mass)])[np.searchsorted(points, at, side="right")]
                    for points, mass in ((x, p), (y, q)))
    area = (np.abs(cdf_p - cdf_q)[:-1] * np.diff(at)).sum()
    ax.fill_between(at, cdf_p, cdf_q, step="post", facecolor="#FBE7BF", edgecolor=ORANGE, hatch="///", linewidth=0,
                    label=f"area between them: {area:.3f}")
    ax.step(at, cdf_p, "-", where="post", color=BLUE, label="$F_p$, the share of p up to here")
    ax.step(at, cdf_q, "--", where="post", color=RED, label="$F_q$, the share of q up to here")
    ax.set(xlabel="x (units of x)", ylabel="share of the mass", xlim=(low, high), ylim=(0, 1.3),
           yticks=[0, 0.25, 0.5, 0.75, 1])
    ax.legend(loc="upper left")
    return titled(fig, title)


def plan_arrows(panels: Mapping[str, tuple[Tensor, Tensor, Tensor]], title: str, masses: bool = False) -> plt.Figure:
    """Plans in the plane, a panel each: x joined to y wherever the plan moves mass, the wider the more.

    panels: name → (x (n, 2), y (m, 2), plan (n, m)); masses: numbers heaps and holes, and writes each mass beside its
    route (for few routes). The name stands above its panel. Raises ValueError where a plan does not fit its points.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(5.4 * len(panels) + 0.4, 5.6), squeeze=False)
    for ax, (name, (x, y, plan)) in zip(axes[0], panels.items(), strict=True):
        x, y, plan = map(array, (x, y, plan))
        _draw_plan(ax, x, y, plan, names=("x, the heaps", "y, the holes") if masses else ("x", "y"))
        i, j = np.nonzero(plan > 1e-9) if masses else ([], [])
        for a, b, mass in zip(x[i], y[j], plan[i, j], strict=True):
            ax.text(*(0.73 * a + 0.27 * b), f"{mass:.2g}", ha="center", va="center", fontsize=11, path_effects=HALO)
        for points, colour, side in ((x, BLUE, "right"), (y, RED, "left")) if masses else ():
            for k, at in enumerate(points):
                ax.annotate(f"{k + 1}", at, (-9 if side == "right" else 9, 0), textcoords="offset points", ha=side,
                            va="center", color=colour, fontweight="bold", path_effects=HALO)
        ax.set(**PLANE, aspect="equal")
        ax.margins(0.12 if masses else 0.08)
        ax.set_title(name, fontsize=12, fontweight="normal")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return titled(fig, title)


def potential_chart(panels: Mapping[str, Tensor], x: Tensor, y: Tensor, extent: tuple[float, float, float, float],
                    title: str, plan: Tensor | None = None,
                    along: tuple[Tensor, Tensor] | None = None) -> plt.Figure:
    """Functions on the plane as level lines, a panel each, with the points they were made for, and the plan's routes.

    panels: name → values (rows, columns) on an even grid over ``extent`` (left, right, bottom, top), row 0 at the
    bottom; x: (n, 2), where the function is to be high; y: (m, 2), where low; plan: (n, m). Each panel is shown less
    its own mean, on one scale: a constant does not count. Level lines are evenly spaced, so they lie evenly where the
    slope is even. along: for one more panel, how far one has walked on each route, and how far f has risen,
    (k, s) each. Raises ValueError where shapes do not fit.
    """
    values = {name: array(v) - array(v).mean() for name, v in panels.items()}
    require(all(v.ndim == 2 for v in values.values()), "each panel must have values (rows, columns), on a grid.")
    x, y, (left, right, bottom, top) = array(x), array(y), extent
    most = max(np.abs(v).max() for v in values.values())
    levels = MaxNLocator(22).tick_values(-most, most)
    wide = len(values) + (along is not None)
    fig, axes = plt.subplots(1, wide, figsize=(5.6 * wide + 1.1, 5.6), squeeze=False)
    for ax, (name, v) in zip(axes[0], values.items(), strict=False):
        at = np.linspace(left, right, v.shape[1]), np.linspace(bottom, top, v.shape[0])
        filled = ax.contourf(*at, v, levels=levels, cmap="cividis")
        ax.contour(*at, v, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
        _draw_plan(ax, x, y, np.zeros((len(x), len(y))) if plan is None else array(plan), routes="black",
                   names=("x: f is to be high", "y: f is to be low"))
        ax.set(**PLANE, xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.grid(False)
        ax.set_title(name, fontsize=12, fontweight="normal")
    fig.colorbar(filled, ax=axes[0][:len(values)].tolist(), label="f minus its mean (units of x)", shrink=0.85)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    if along is not None:
        ax, (walked, risen) = axes[0, -1], map(array, along)
        ax.plot(walked.T, risen.T, color=BLUE, alpha=0.5, linewidth=1.5)
        ax.plot(walked[:, -1], risen[:, -1], ".", color=BLUE)
        ax.plot([0, walked.max()], [0, walked.max()], ":", color="black", linewidth=3, label="slope 1")
        ax.set(xlabel="distance walked from y towards x (units of x)", ylabel="rise of f since y (units of x)")
        ax.set_title("along each route", fontsize=12, fontweight="normal")
        ax.legend()
    return titled(fig, title)


def _draw_plan(ax: plt.Axes, x: np.ndarray, y: np.ndarray, plan: np.ndarray, routes: str = GREY,
               names: tuple[str, str] = ("x", "y")) -> None:
    require(plan.shape == (len(x), len(y)),
            f"plan has shape {plan.shape}; from {len(x)} points to {len(y)} it must be {(len(x), len(y))}.")
    i, j = np.nonzero(plan > 1e-9)                      # a solver's rounding is no route
    if len(i):
        width = 0.8 + 2.6 * plan[i, j] / plan.max() * (plan[i, j].max() > 1.01 * plan[i, j].min())
        ax.add_collection(LineCollection(np.stack([x[i], y[j]], 1), colors=routes, linewidths=width,
                                         label="route taken"))
    mark = {"linestyle": "", "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 0.7, "zorder": 3}
    ax.plot(*x.T, **X, **mark, label=names[0])
    ax.plot(*y.T, **Y, **mark, label=names[1])


def _alone(values: np.ndarray) -> np.ndarray:
    """Where one value stands apart from a line that is flat on both sides of it: (n,) of bool."""
    alone = np.zeros(len(values), dtype=bool)
    sides = values[:-4], values[1:-3], values[3:-1], values[4:]
    alone[2:-2] = [np.isfinite(a) and a == b == c == d != v for a, b, c, d, v in zip(*sides, values[2:-2], strict=True)]
    return alone


def array(values) -> np.ndarray:
    return np.asarray(torch.as_tensor(values).detach().cpu(), dtype=float)


def titled(fig: plt.Figure, title: str) -> plt.Figure:
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
