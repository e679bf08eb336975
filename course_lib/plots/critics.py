"""Pictures of critics and discriminators: what they learn, and what they tell the generator's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from course_lib.divergences import Apart
from course_lib.plots.charts import DASHES
from course_lib.plots.divergences import PLANE, array, titled
from course_lib.plots.style import BLUE, GREEN, GREY, LINES, ORANGE, PURPLE, RED

TOWARDS = {"up": "#000000", "down": PURPLE, "left": ORANGE, "right": GREEN}


def critic_chart(x: Tensor, curves: Mapping[str, Tensor], densities: Mapping[str, Tensor], title: str,
                 rows: Sequence[dict] = (), w1: float = 0.0) -> plt.Figure:
    """Left: critics on a line, the first one thick, and two densities below. Right: what the critic's gap says of W₁.

    x: (n,), evenly spaced; curves and densities: name → (n,), two densities; each curve is shown minus its mean under
    both densities, since a constant does not count; grey: where they are next to 0. rows: dicts with "step" (above 0),
    "gap", mean f(x) − mean f(y), and "K", the steepest slope of f; without any there is no right panel; w1: the
    distance itself, in units of x.
    """
    x, both = array(x), sum(array(p) for p in densities.values())
    fig, axes = plt.subplots(1, 2 if rows else 1, figsize=(13 if rows else 9.5, 5.2 if rows else 4.4), squeeze=False,
                             width_ratios=[1.25, 1] if rows else None)
    left = axes[0, 0]
    shown = {name: array(values) - (array(values) * both).sum() / both.sum() for name, values in curves.items()}
    low, high = (f(values.min() if f is min else values.max() for values in shown.values()) for f in (min, max))
    for k, ((name, values), dash, colour) in enumerate(zip(shown.items(), cycle(DASHES), cycle(["black", *LINES[2:]]))):
        left.plot(x, values, dash, color=colour, linewidth=4.5 if k == 0 else 2.2, label=name)
    floor, tallest = low - 0.45 * (high - low), max(array(p).max() for p in densities.values())
    for (name, p), colour, hatch in zip(densities.items(), (BLUE, RED), ("", "///"), strict=True):
        left.fill_between(x, floor, floor + 0.35 * (high - low) * array(p) / tallest, facecolor=colour, alpha=0.4,
                          hatch=hatch, edgecolor="white", linewidth=0, label=name)
    if (both < 0.01 * both.max()).any():
        left.fill_between(x, 0, 1, where=both < 0.01 * both.max(), transform=left.get_xaxis_transform(), zorder=0,
                          color="#E9E9E9", linewidth=0, label="next to no samples")
    left.set(xlabel="x (units of x)", ylabel="f minus its mean (units of x)", xlim=(x[0], x[-1]), ylim=(floor, None))
    left.legend(fontsize=11, **{} if rows else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)})
    return titled(_gap_panel(fig, axes[0, 1], rows, w1) if rows else fig, title)


def _gap_panel(fig: plt.Figure, right: plt.Axes, rows: Sequence[dict], w1: float) -> plt.Figure:
    step, gap, steep = (np.array([row[key] for row in rows]) for key in ("step", "gap", "K"))
    right.axhline(w1, color="black", linewidth=4.5, label=f"W₁ = {w1:.2f}")
    right.plot(step, gap, ":s", color=GREY, markersize=6, label="gap of f")
    right.plot(step, gap / steep, "-o", color=BLUE, markersize=6, label="gap / K, a lower bound of W₁")
    right.plot(step, steep, "--^", color=ORANGE, markersize=6, label="K, the steepest slope of f")
    right.set(xscale="log", xlabel="training step", ylabel="units of x; K has none")
    right.legend(fontsize=11)
    return fig


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
            values = array(values).clip(-15.99, 15.99)
            ax.hist(values, bins, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.6, hatch=hatch,
                    edgecolor="white", linewidth=0, label=whose)
        ax.set_xticks(places, labels=names, rotation=45, ha="right", rotation_mode="anchor", fontsize=11)
        ax.set(xlabel="D(x), on a log-odds scale", xlim=(-16, 16))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_title(name, fontsize=12, fontweight="normal")
    axes[0, 0].set_ylabel("share of the samples")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return titled(fig, title)


def gradient_sizes(rows: Sequence[dict], title: str) -> plt.Figure:
    """How large the gradient at generated samples is as training goes on, both axes logarithmic: a line for each loss.

    rows: dicts with "loss" (its name), "step" (above 0) and "sizes" (n,), of all samples; rows of one loss and step,
    from several seeds, are taken together. The line is the median, the band goes from the smallest to the
    largest.
    """
    fig, ax = plt.subplots(figsize=(10.5, 5))
    for name, colour, dash, marker in zip(dict.fromkeys(row["loss"] for row in rows), (RED, ORANGE, BLUE, GREEN),
                                          DASHES[1:] + DASHES[:1], "osD^",
                                          strict=False):
        steps = sorted({row["step"] for row in rows if row["loss"] == name})
        sizes = [np.concatenate([array(row["sizes"]) for row in rows if (row["loss"], row["step"]) == (name, step)])
                 for step in steps]
        ax.fill_between(steps, [v.min() for v in sizes], [v.max() for v in sizes], color=colour, alpha=0.2, linewidth=0)
        ax.plot(steps, [np.median(v) for v in sizes], linestyle=dash, marker=marker, color=colour, label=name)
    ax.set(xscale="log", yscale="log", xlabel="training step of the discriminator, or the critic",
           ylabel="size of the gradient in x")
    ax.legend(title="line: median;\nband: smallest to largest", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return titled(fig, title)


def gradient_at_samples(panels: Sequence[Mapping[str, Tensor]], data: Tensor, samples: Tensor,
                        title: str) -> plt.Figure:
    """Where each generated sample is sent, as arrows of one length: a row for each mapping, a panel for each name.

    panels: name → how gradient descent would move each sample, (n, 2); the sizes are written above; all rows with as
    many names. Colours tell up, down, left and right, whichever is nearest. data: (m, 2); samples: (n, 2).
    """
    data, samples = array(data), array(samples)
    columns = max(map(len, panels))
    fig, axes = plt.subplots(len(panels), columns, figsize=(3.9 * columns, 2.65 * len(panels) + 0.9), sharex=True,
                             sharey=True, squeeze=False)
    for row, moves in zip(axes, panels, strict=True):
        for ax, (name, move) in zip(row, moves.items(), strict=True):
            move = array(move)
            size = np.linalg.norm(move, axis=1)
            nearest = (move @ np.array([(0, 1), (0, -1), (-1, 0), (1, 0)]).T).argmax(1)
            ax.plot(*data.T, ".", color=BLUE, markersize=2, label="data")
            ax.plot(*samples.T, "X", color=RED, markersize=5, markeredgecolor="white", markeredgewidth=0.4,
                    label="generated")
            ax.quiver(*samples.T, *(move / size.clip(1e-30)[:, None]).T, angles="xy", scale_units="xy", scale=3.4,
                      width=0.009, zorder=3, color=np.array(list(TOWARDS.values()))[nearest])
            ax.set_title(f"{name}\nsize {np.median(size):.2g} ({size.min():.2g} to {size.max():.2g})", fontsize=11,
                         fontweight="normal")
            ax.set_aspect("equal")
        row[0].set_ylabel(PLANE["ylabel"].replace(" (", "\n("))
    for ax in axes[-1]:
        ax.set_xlabel(PLANE["xlabel"])
    arrows = [Line2D([], [], color=colour, linewidth=3, label=name) for name, colour in TOWARDS.items()]
    fig.legend(handles=axes[0, 0].get_legend_handles_labels()[0] + arrows, loc="outside lower center", ncols=6)
    return titled(fig, title)


def noise_chart(curves: Mapping[str, Apart], title: str) -> plt.Figure:
    """JS over θ at the left and its derivative at the right, a line for each amount of noise: name → an ``Apart``."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(12.5, 4.6), sharex=True)
    for (name, apart), dash in zip(curves.items(), cycle(DASHES)):
        columns = Apart(*map(array, apart))
        left.plot(columns.theta, columns.js, linestyle=dash, label=name)
        right.plot(columns.theta, columns.djs, linestyle=dash)
    left.set(xlabel="θ (units of x)", ylabel="JS (nats)", xlim=(columns.theta[0], columns.theta[-1]))
    right.set(xlabel="θ (units of x)", ylabel="dJS/dθ (nats per unit of θ)")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    return titled(fig, title)
