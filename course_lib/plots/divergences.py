"""Pictures of distributions apart: divergences and their slopes, plans, potentials, critics, what D teaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from course_lib.checks import require
from course_lib.divergences import Apart
from course_lib.plots.charts import DASHES
from course_lib.plots.style import BLUE, GREEN, GREY, LINES, ORANGE, RED

HALO = [withStroke(linewidth=3.5, foreground="white")]
X, Y = {"color": BLUE, "marker": "o"}, {"color": RED, "marker": "X"}
MEASURES = {"KL": (GREEN, ":"), "JS": (RED, "--"), "W₁": (BLUE, "-")}


def apart_chart(pairs: Mapping[str, Apart], title: str, top: float = 3.0, steepest: float = 1.4) -> plt.Figure:
    """KL, JS and W₁ over θ at the left, their derivatives in θ at the right, a row for each pair of distributions.

    pairs: name → an ``Apart`` of θ (n,), rising. Values are shown up to ``top``, derivatives within ±``steepest``; a KL
    that is infinite nearly everywhere is said in words; a derivative that does not exist is a gap in its line.
    """
    fig, axes = plt.subplots(len(pairs), 2, figsize=(12, 2.75 * len(pairs) + 0.7), sharex=True, squeeze=False)
    for (left, right), (name, apart) in zip(axes, pairs.items(), strict=True):
        columns = Apart(*(_array(column) for column in apart))
        for (measure, (colour, dash)), value, slope in zip(
                MEASURES.items(), (columns.kl, columns.js, columns.w1), (columns.dkl, columns.djs, columns.dw1),
                strict=True):
            left.plot(columns.theta, np.where(np.isfinite(value), value, np.nan), dash, color=colour, label=measure)
            right.plot(columns.theta, slope, dash, color=colour)
        if np.isinf(columns.kl).mean() > 0.5:
            finite = ", ".join(f"{theta:g}" for theta in columns.theta[np.isfinite(columns.kl)])
            left.text(0.5, 0.95, f"KL = ∞ but for θ = {finite}" if finite else "KL = ∞", transform=left.transAxes,
                      ha="center", va="top", color=GREEN, path_effects=HALO)
            right.text(0.03, 0.95, "KL has none", transform=right.transAxes, va="top", color=GREEN, path_effects=HALO)
        left.set(ylim=(-0.05 * top, top), ylabel="nats, or units of θ")
        right.set(ylim=(-steepest, steepest), ylabel="per unit of θ")
        left.set_title(name, fontsize=12, fontweight="normal")
        right.set_title("its derivative in θ", fontsize=12, fontweight="normal")
    for ax in axes[-1]:
        ax.set(xlabel="θ (units of x)", xlim=(columns.theta[0], columns.theta[-1]))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _titled(fig, title)


def plan_matrix(x: Tensor, p: Tensor, y: Tensor, q: Tensor, plan: Tensor, title: str) -> plt.Figure:
    """A plan on a line. Left: the plan as a matrix, its row sums p and column sums q along the sides.

    Right: the two cumulative distributions; W₁ is the area between them, and each level line in it is one way moved.
    x: (n,), p: (n,), the masses that are moved; y: (m,), q: (m,), where to; evenly spaced and rising; plan: (n, m).
    Raises ValueError where the plan does not fit.
    """
    x, p, y, q, plan = map(_array, (x, p, y, q, plan))
    require(plan.shape == (len(p), len(q)) == (len(x), len(y)),
            f"plan has shape {plan.shape}; with {len(p)} masses and {len(q)} to go to it must be {(len(p), len(q))}.")
    fig = plt.figure(figsize=(13, 5.4))
    places = fig.add_gridspec(2, 3, width_ratios=[0.32, 1, 1.55], height_ratios=[0.32, 1])
    ax = fig.add_subplot(places[1, 1])
    ax.pcolormesh(y, x, np.where(plan > 0, plan, np.nan), cmap="viridis_r", shading="nearest", rasterized=True)
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
    ax.step(at, cdf_p, "-", where="post", color=BLUE, label="share of p up to here")
    ax.step(at, cdf_q, "--", where="post", color=RED, label="share of q up to here")
    ax.set(xlabel="x (units of x)", ylabel="share of the mass", xlim=(low, high), ylim=(0, 1.3),
           yticks=[0, 0.25, 0.5, 0.75, 1])
    ax.legend(loc="upper left")
    return _titled(fig, title)


def plan_arrows(panels: Mapping[str, tuple[Tensor, Tensor, Tensor]], title: str, masses: bool = False) -> plt.Figure:
    """Plans in the plane, a panel each: x joined to y wherever the plan moves mass, the wider the more.

    panels: name → (x (n, 2), y (m, 2), plan (n, m)); masses: writes each mass beside its way (for few ways). The name
    stands above its panel. Raises ValueError where a plan does not fit its points.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(5.4 * len(panels) + 0.4, 5.6), squeeze=False)
    for ax, (name, (x, y, plan)) in zip(axes[0], panels.items(), strict=True):
        x, y, plan = map(_array, (x, y, plan))
        _draw_plan(ax, x, y, plan)
        i, j = np.nonzero(plan > 1e-9) if masses else ([], [])
        for a, b, mass in zip(x[i], y[j], plan[i, j], strict=True):
            ax.text(*(0.62 * a + 0.38 * b), f"{mass:.2g}", ha="center", va="center", fontsize=11, path_effects=HALO)
        ax.set(xlabel="x₁", ylabel="x₂", aspect="equal")
        ax.margins(0.08)
        ax.set_title(name, fontsize=12, fontweight="normal")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _titled(fig, title)


def potential_chart(panels: Mapping[str, Tensor], x: Tensor, y: Tensor, extent: tuple[float, float, float, float],
                    title: str, plan: Tensor | None = None,
                    along: tuple[Tensor, Tensor] | None = None) -> plt.Figure:
    """Functions on the plane as level lines, a panel each, with the points they were made for, and the plan's ways.

    panels: name → values (rows, columns) on an even grid over ``extent`` (left, right, bottom, top), row 0 at the
    bottom; x: (n, 2), where the function is to be high; y: (m, 2), where low; plan: (n, m). Each panel is shown less
    its own mean, on one scale: a constant does not count. Level lines are evenly spaced, so they lie evenly where the
    slope is even. along: for one more panel, how far one has gone on each way, and how far the function has risen,
    (k, s) each. Raises ValueError where shapes do not fit.
    """
    values = {name: _array(v) - _array(v).mean() for name, v in panels.items()}
    require(all(v.ndim == 2 for v in values.values()), "each panel must have values (rows, columns), on a grid.")
    x, y, (left, right, bottom, top) = _array(x), _array(y), extent
    most = max(np.abs(v).max() for v in values.values())
    levels = MaxNLocator(22).tick_values(-most, most)
    wide = len(values) + (along is not None)
    fig, axes = plt.subplots(1, wide, figsize=(5.6 * wide + 1.1, 5.6), squeeze=False)
    for ax, (name, v) in zip(axes[0], values.items(), strict=False):
        at = np.linspace(left, right, v.shape[1]), np.linspace(bottom, top, v.shape[0])
        filled = ax.contourf(*at, v, levels=levels, cmap="cividis")
        ax.contour(*at, v, levels=levels, colors="white", linewidths=0.6, linestyles="solid")
        _draw_plan(ax, x, y, np.zeros((len(x), len(y))) if plan is None else _array(plan), ways="black",
                   names=("x: f is to be high", "y: f is to be low"))
        ax.set(xlabel="x₁", ylabel="x₂", xlim=(left, right), ylim=(bottom, top), aspect="equal")
        ax.grid(False)
        ax.set_title(name, fontsize=12, fontweight="normal")
    fig.colorbar(filled, ax=axes[0][:len(values)].tolist(), label="f less its mean (units of x)", shrink=0.85)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    if along is not None:
        ax, (gone, risen) = axes[0, -1], map(_array, along)
        ax.plot(gone.T, risen.T, color=BLUE, alpha=0.5, linewidth=1.5)
        ax.plot(gone[:, -1], risen[:, -1], ".", color=BLUE)
        ax.plot([0, gone.max()], [0, gone.max()], ":", color="black", linewidth=3, label="slope 1")
        ax.set(xlabel="way gone from y towards x (units of x)", ylabel="rise of f since y (units of x)")
        ax.set_title("along each way", fontsize=12, fontweight="normal")
        ax.legend()
    return _titled(fig, title)


def critic_chart(x: Tensor, curves: Mapping[str, Tensor], densities: Mapping[str, Tensor], rows: Sequence[dict],
                 w1: float, title: str) -> plt.Figure:
    """Left: critics on a line, the first one thick, and two densities below. Right: what the critic's gap says of W₁.

    x: (n,), evenly spaced; curves and densities: name → (n,), two densities; each curve is shown less its mean over x,
    since a constant does not count. rows: dicts with "step" (above 0), "gap", mean f(x) − mean f(y), and "K", the
    steepest slope of f; w1: the distance itself, in units of x.
    """
    x = _array(x)
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), width_ratios=[1.25, 1])
    shown = {name: _array(values) - _array(values).mean() for name, values in curves.items()}
    low, high = (f(values.min() if f is min else values.max() for values in shown.values()) for f in (min, max))
    for k, ((name, values), dash, colour) in enumerate(zip(shown.items(), cycle(DASHES), cycle(["black", *LINES[2:]]))):
        left.plot(x, values, dash, color=colour, linewidth=4.5 if k == 0 else 2.2, label=name)
    floor, tallest = low - 0.45 * (high - low), max(_array(p).max() for p in densities.values())
    for (name, p), colour, hatch in zip(densities.items(), (BLUE, RED), ("", "///"), strict=True):
        left.fill_between(x, floor, floor + 0.35 * (high - low) * _array(p) / tallest, facecolor=colour, alpha=0.4,
                          hatch=hatch, edgecolor="white", linewidth=0, label=name)
    left.set(xlabel="x", ylabel="f less its mean (units of x)", xlim=(x[0], x[-1]), ylim=(floor, None))
    left.legend(fontsize=11)
    step, gap, steep = (np.array([row[key] for row in rows]) for key in ("step", "gap", "K"))
    right.axhline(w1, color="black", linewidth=4.5, label=f"W₁ = {w1:.2f}")
    right.plot(step, gap, ":s", color=GREY, markersize=6, label="gap of f")
    right.plot(step, gap / steep, "-o", color=BLUE, markersize=6, label="gap / K, a lower bound of W₁")
    right.plot(step, steep, "--^", color=ORANGE, markersize=6, label="K, the steepest slope of f")
    right.set(xscale="log", xlabel="training step", ylabel="units of x; K has none")
    right.legend(fontsize=11)
    return _titled(fig, title)


def parting_histograms(panels: Mapping[str, tuple[Tensor, Tensor]], title: str) -> plt.Figure:
    """What a discriminator says of real and of generated samples, a panel each, on one axis of log odds.

    panels: name → the logits of real (n,) and of generated samples (m,); the axis is marked with D = σ(l). Shares, so
    that n and m may differ.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(3.5 * len(panels) + 0.5, 4.2), sharey=True, squeeze=False)
    marks = np.array([1e-6, 1e-4, 0.01, 0.5, 0.99, 1 - 1e-4, 1 - 1e-6])
    places, names = np.log(marks) - np.log1p(-marks), ["10⁻⁶", "10⁻⁴", "0.01", "½", "0.99", "1−10⁻⁴", "1−10⁻⁶"]
    bins = np.linspace(-16, 16, 65)
    for ax, (name, logits) in zip(axes[0], panels.items(), strict=True):
        for values, colour, hatch, whose in zip(logits, (BLUE, RED), ("", "///"), ("real", "generated"), strict=True):
            values = _array(values).clip(-15.99, 15.99)
            ax.hist(values, bins, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.6, hatch=hatch,
                    edgecolor="white", linewidth=0, label=whose)
        ax.set_xticks(places, labels=names, rotation=45, ha="right", rotation_mode="anchor", fontsize=11)
        ax.set(xlabel="D(x), by its log odds", xlim=(-16, 16))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_title(name, fontsize=12, fontweight="normal")
    axes[0, 0].set_ylabel("share of the samples")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _titled(fig, title)


def gradient_sizes(rows: Sequence[dict], title: str) -> plt.Figure:
    """How large the gradient at generated samples is as training goes on, both axes logarithmic: a line for each loss.

    rows: dicts with "loss" (its name), "step" (above 0) and "sizes" (n,), of all samples; rows of one loss and step,
    from several seeds, are taken together. The line is the median, the band from the least to the largest.
    """
    fig, ax = plt.subplots(figsize=(10.5, 5))
    for name, colour, dash, marker in zip(dict.fromkeys(row["loss"] for row in rows), (RED, ORANGE, BLUE, GREEN),
                                          DASHES[1:] + DASHES[:1], "osD^",
                                          strict=False):
        steps = sorted({row["step"] for row in rows if row["loss"] == name})
        sizes = [np.concatenate([_array(row["sizes"]) for row in rows if (row["loss"], row["step"]) == (name, step)])
                 for step in steps]
        ax.fill_between(steps, [v.min() for v in sizes], [v.max() for v in sizes], color=colour, alpha=0.2, linewidth=0)
        ax.plot(steps, [np.median(v) for v in sizes], linestyle=dash, marker=marker, color=colour, label=name)
    ax.set(xscale="log", yscale="log", xlabel="training step of the discriminator, or the critic",
           ylabel="size of the gradient in x")
    ax.legend(title="median, and from least to largest", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _titled(fig, title)


def gradient_at_samples(panels: Sequence[Mapping[str, Tensor]], data: Tensor, samples: Tensor,
                        title: str) -> plt.Figure:
    """Where each generated sample is sent, as arrows of one length: a row for each mapping, a panel for each name.

    panels: name → the way each sample would be moved by gradient descent, (n, 2); its sizes are written above it; all
    rows with as many names. data: (m, 2); samples: (n, 2).
    """
    data, samples = _array(data), _array(samples)
    columns = max(map(len, panels))
    fig, axes = plt.subplots(len(panels), columns, figsize=(3.9 * columns, 2.65 * len(panels) + 0.9), sharex=True,
                             sharey=True, squeeze=False)
    for row, ways in zip(axes, panels, strict=True):
        for ax, (name, way) in zip(row, ways.items(), strict=True):
            way = _array(way)
            size = np.linalg.norm(way, axis=1)
            ax.plot(*data.T, ".", color=BLUE, markersize=2, label="data")
            ax.plot(*samples.T, "X", color=RED, markersize=5, markeredgecolor="white", markeredgewidth=0.4,
                    label="generated")
            ax.quiver(*samples.T, *(way / size.clip(1e-30)[:, None]).T, angles="xy", scale_units="xy", scale=2.6,
                      width=0.006, zorder=3)
            ax.set_title(f"{name}\nsize {np.median(size):.2g} ({size.min():.2g} to {size.max():.2g})", fontsize=11,
                         fontweight="normal")
            ax.set_aspect("equal")
        row[0].set_ylabel("x₂")
    for ax in axes[-1]:
        ax.set_xlabel("x₁")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _titled(fig, title)


def noise_chart(curves: Mapping[str, Apart], title: str) -> plt.Figure:
    """JS over θ at the left and its derivative at the right, a line for each amount of noise: name → an ``Apart``."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12.5, 4.6), sharex=True)
    for (name, apart), dash in zip(curves.items(), cycle(DASHES)):
        columns = Apart(*map(_array, apart))
        left.plot(columns.theta, columns.js, linestyle=dash, label=name)
        right.plot(columns.theta, columns.djs, linestyle=dash)
    left.set(xlabel="θ (units of x)", ylabel="JS (nats)", xlim=(columns.theta[0], columns.theta[-1]))
    right.set(xlabel="θ (units of x)", ylabel="dJS/dθ (nats per unit of θ)")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    return _titled(fig, title)


def _draw_plan(ax: plt.Axes, x: np.ndarray, y: np.ndarray, plan: np.ndarray, ways: str = GREY,
               names: tuple[str, str] = ("x", "y")) -> None:
    require(plan.shape == (len(x), len(y)),
            f"plan has shape {plan.shape}; from {len(x)} points to {len(y)} it must be {(len(x), len(y))}.")
    i, j = np.nonzero(plan > 1e-9)                      # a solver's rounding is no way
    if len(i):
        width = 0.8 + 2.6 * plan[i, j] / plan.max() * (plan[i, j].max() > 1.01 * plan[i, j].min())
        ax.add_collection(LineCollection(np.stack([x[i], y[j]], 1), colors=ways, linewidths=width, label="way taken"))
    mark = {"linestyle": "", "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 0.7, "zorder": 3}
    ax.plot(*x.T, **X, **mark, label=names[0])
    ax.plot(*y.T, **Y, **mark, label=names[1])


def _array(values) -> np.ndarray:
    return np.asarray(torch.as_tensor(values).detach().cpu(), dtype=float)


def _titled(fig: plt.Figure, title: str) -> plt.Figure:
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
