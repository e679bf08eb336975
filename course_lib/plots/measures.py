"""Pictures on measuring samples: entropies, bias, corruptions, manifolds, neighbours, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Ellipse
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from course_lib.checks import require, require_shape
from course_lib.metrics import in_manifold, neighbour_radius
from course_lib.plots.charts import DASHES
from course_lib.plots.style import BLUE, GREY, LINES, RED

MARKERS = "osD^vPX*<>"
INK = "#222222"


def entropy_chart(points: Mapping[str, tuple[float, float]], classes: int, title: str) -> plt.Figure:
    """Inception scores taken apart: for each name (mean entropy of p(y|x), entropy of p(y)), both in nats.

    The score is exp of the second less the first, so lines of equal score are diagonals; no point is below the one of
    score 1. Later names are drawn smaller, so that points on top of each other show.
    """
    most = np.log(classes)
    fig, ax = plt.subplots(figsize=(9, 5.6))
    ends = np.array([0, most])
    for score in [s for s in (1, 2, 4, 7, 10) if s <= classes]:
        ax.plot(ends, ends + np.log(score), color=GREY if score == 1 else "#BBBBBB", linewidth=1.2, zorder=1)
        at = most - np.log(score)                       # where the diagonal leaves through the top
        ax.annotate(f"score {score}", (at, most), xytext=(0, 4), textcoords="offset points", ha="center", color=GREY,
                    fontsize=11, annotation_clip=False)
    for k, (name, (given, marginal)) in enumerate(points.items()):
        ax.plot(given, marginal, MARKERS[k % len(MARKERS)], color=LINES[k % len(LINES)], label=name,
                linestyle="none", markersize=max(9, 18 - 1.5 * k), markeredgecolor="white", markeredgewidth=0.7,
                clip_on=False, zorder=3)
    ax.set(xlabel="mean entropy of p(y|x) (nats): low where the classifier is sure",
           ylabel="entropy of p(y) (nats):\nhigh where classes come alike", xlim=(-0.03, most), ylim=(-0.03, most))
    ax.set_title(title, pad=26)
    ax.legend(loc="lower right", fontsize=11)
    return fig


def gaussian_ellipses(panels: Mapping[str, Mapping[str, tuple[Tensor, Tensor]]], title: str) -> plt.Figure:
    """Gaussians in the plane, each as the ellipse one standard deviation from its mean: panel → name → (mean (2,),
    covariance (2, 2))."""
    fig, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.6), squeeze=False)
    styles = dict(zip(dict.fromkeys(name for gaussians in panels.values() for name in gaussians),
                      zip(cycle(LINES), cycle(DASHES), strict=False), strict=False))
    for ax, (words, gaussians) in zip(axes[0], panels.items(), strict=True):
        for name, (mean, cov) in gaussians.items():
            colour, dash = styles[name]
            require_shape(f"{name}'s covariance", cov, 2, 2)
            values, vectors = np.linalg.eigh(cov.double().numpy())
            angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
            width, height = 2 * np.sqrt(values.clip(0))[::-1]
            ax.add_patch(Ellipse(mean.tolist(), width, height, angle=angle, fill=False, edgecolor=colour,
                                 linestyle=dash, linewidth=2.4, label=name))
            ax.plot(*mean.tolist(), "+", color=colour, markersize=10)
        ax.autoscale_view()
        ax.set_aspect("equal", adjustable="datalim")
        ax.set(xlabel="first feature", ylabel="second feature")
        ax.set_title(words, fontsize=12, fontweight="normal")
    handles = [plt.Line2D([], [], color=colour, linestyle=dash) for colour, dash in styles.values()]
    fig.legend(handles, styles, loc="outside lower center", ncols=len(styles))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def bias_chart(rows: Sequence[dict], measures: Sequence[str], title: str,
               predicted: Mapping[str, tuple[float, float]] | None = None) -> plt.Figure:
    """Each measure against the number of samples n, its axis in 1/n: dots are draws, the line joins their means.

    rows: "samples", "n", and the measures. predicted: samples → (value at n = ∞, c) of the dotted line value + c/n, in
    the first panel.
    """
    fig, axes = plt.subplots(1, len(measures), figsize=(max(9, 6.4 * len(measures)), 5), squeeze=False)
    sizes = sorted({row["n"] for row in rows})
    at = 1 / np.array(sizes)
    for ax, measure in zip(axes[0], measures, strict=True):
        for name, colour, marker, dash in zip(dict.fromkeys(row["samples"] for row in rows), cycle(LINES),
                                              cycle(MARKERS), cycle(DASHES)):
            mine = [row for row in rows if row["samples"] == name]
            ax.plot([1 / row["n"] for row in mine], [row[measure] for row in mine], marker, color=colour, markersize=4,
                    alpha=0.6, linestyle="none")
            means = [np.mean([row[measure] for row in mine if row["n"] == n]) for n in sizes]
            ax.plot(at, means, linestyle=dash, color=colour, marker=marker, label=name)
            if predicted and name in predicted and ax is axes[0][0]:
                limit, slope = predicted[name]
                ax.plot([0, at[0]], [limit, limit + slope * at[0]], ":", color=INK, linewidth=1.6, zorder=4)
        shown = [sizes[-1]]
        for n in sizes[-2::-1]:                         # from the left, those with room for their words
            shown += [n] if 1 / n - 1 / shown[-1] > 0.08 * at[0] else []
        ax.set_xticks([1 / n for n in shown], labels=[f"1/{n:,}" for n in shown], rotation=30, ha="right")
        ax.set(xlabel="1 / N, N: number of samples", xlim=(-0.02 * at[0], 1.04 * at[0]))
        ax.set_title(measure, fontsize=12, fontweight="normal")
    axes[0][0].set_ylabel("in squared units of the features")
    handles, labels = axes[0][0].get_legend_handles_labels()
    if predicted:
        handles.append(plt.Line2D([], [], color=INK, linestyle=":", linewidth=1.6))
        labels.append("value at 1/N = 0, plus c/N")
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def corruption_chart(rows: Sequence[dict], measures: Sequence[str], title: str, logarithmic: Sequence[str] = (),
                     columns: int = 3) -> plt.Figure:
    """A panel for each measure against the strength, a line for each corruption; logarithmic: measures drawn so."""
    lines = -(-len(measures) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(4.8 * columns, 3.7 * lines + 0.5), squeeze=False, sharex=True)
    for ax in axes.flat[len(measures):]:
        ax.set_visible(False)
    for ax, measure in zip(axes.flat, measures, strict=False):
        for name, colour, dash, marker in zip(dict.fromkeys(row["corruption"] for row in rows), cycle(LINES),
                                              cycle(DASHES), cycle(MARKERS)):
            mine = sorted((row for row in rows if row["corruption"] == name), key=lambda row: row["strength"])
            ax.plot([row["strength"] for row in mine], [row[measure] for row in mine], linestyle=dash, color=colour,
                    marker=marker, markersize=5, linewidth=1.8, label=name)
        if measure in logarithmic:
            ax.set_yscale("log")
        ax.set_title(measure, fontsize=12, fontweight="normal")
        ax.set(xlabel="strength", xlim=(-0.03, 1.03))
        if measure in ("precision", "recall"):
            ax.yaxis.set_major_formatter(PercentFormatter(1))
            ax.set_ylim(-0.03, 1.03)
        ax.set_ylabel("share of the points" if measure in ("precision", "recall") else
                      "classes" if "score" in measure else "squared units")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def manifold_chart(panels: Mapping[str, tuple[Tensor, Tensor]], title: str, k: int = 3) -> plt.Figure:
    """Precision (above) and recall (below) in the plane: panel → (real (N, 2), fake (M, 2)).

    Above, the balls are the real points' and the marks the fake points; below the other way round. Filled marks lie in
    a ball, empty ones do not.
    """
    fig, axes = plt.subplots(2, len(panels), figsize=(4.4 * len(panels), 8.4), squeeze=False)
    for column, (name, (real, fake)) in zip(axes.T, panels.items(), strict=True):
        require_shape("real", real, None, 2)
        require_shape("fake", fake, None, 2)
        both = np.concatenate([real.numpy(), fake.numpy()])
        centre, half = (both.min(0) + both.max(0)) / 2, 0.56 * np.ptp(both, axis=0).max()
        for ax, (of, points, colour, mark, marker, words) in zip(column, (
                (real, fake, BLUE, RED, "D", "precision"), (fake, real, RED, BLUE, "o", "recall")), strict=True):
            inside = in_manifold(points, of, k).numpy()
            width = 2 * neighbour_radius(of, k).numpy()
            ax.add_collection(EllipseCollection(width, width, 0 * width, units="x", offsets=of.numpy(),
                                                offset_transform=ax.transData, facecolor=colour, alpha=0.13,
                                                edgecolor="none"))
            ax.plot(*of.numpy().T, ".", color=colour, markersize=3)
            ax.plot(*points.numpy()[inside].T, marker, color=mark, markersize=5, linestyle="none")
            ax.plot(*points.numpy()[~inside].T, marker, color=mark, markersize=5, linestyle="none", fillstyle="none")
            ax.set(aspect="equal", xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half),
                   xlabel="first feature", ylabel="second feature")
            ax.grid(False)
            ax.set_title(f"{name}\n{words} {inside.mean():.2f}" if ax is column[0] else f"{words} {inside.mean():.2f}",
                         fontsize=12, fontweight="normal")
    entries = [plt.Line2D([], [], color=BLUE, marker="o", linestyle="none"),
               plt.Line2D([], [], color=RED, marker="D", linestyle="none"),
               plt.Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle="none")]
    fig.legend(entries, ["real", "generated", "in no ball of the other set"], loc="outside lower center", ncols=3)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def precision_recall_chart(points: Mapping[str, tuple[float, float]], title: str) -> plt.Figure:
    """Each set of samples by its recall (across) and its precision (up)."""
    fig, ax = plt.subplots(figsize=(9, 5.4))
    for k, (name, (precision, recall)) in enumerate(points.items()):
        ax.plot(recall, precision, MARKERS[k % len(MARKERS)], color=LINES[k % len(LINES)], markersize=11, label=name,
                linestyle="none", clip_on=False, zorder=3, fillstyle="full" if k < len(LINES) else "left")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="recall: share of the real digits among the samples",
           ylabel="precision: share of the\nsamples among the real digits",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=11)
    return fig


def neighbour_chart(distances: Mapping[str, Tensor], title: str, control: str) -> plt.Figure:
    """How far it is to the nearest training image: for each name (N,), the share of images within each distance;
    control: the name drawn thick and grey."""
    require(control in distances, f"control is {control!r}; it must be one of {', '.join(map(repr, distances))}.")
    fig, ax = plt.subplots(figsize=(9, 5))
    colours, dashes = cycle(LINES), cycle(DASHES[1:] + DASHES[:1])
    for name, values in distances.items():
        ordered = np.sort(values.cpu().numpy())
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        style = {"color": "#999999", "linewidth": 5, "zorder": 1} if name == control else {
            "color": next(colours), "linestyle": next(dashes)}
        ax.plot(ordered, share, label=name, **style)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="distance to the nearest training image (Euclidean, over 784 pixels from 0 to 1)",
           ylabel="share of images within it", ylim=(0, 1.02), title=title)
    ax.set_xlim(left=min(0, ax.get_xlim()[0]))
    ax.legend(loc="lower right", fontsize=11)
    return fig


def rank_chart(rows: Sequence[dict], measures: Mapping[str, bool], title: str, name: str = "samples") -> plt.Figure:
    """Who comes first, measure by measure: a line for each row; measures: column → whether larger is better.

    Equal values share a place in the order of the rows.
    """
    require(len(rows) <= len(MARKERS), f"there are {len(rows)} rows; at most {len(MARKERS)} can be told apart.")
    fig, ax = plt.subplots(figsize=(2.0 * len(measures) + 4.6, 0.52 * len(rows) + 1.9))
    places = np.stack([np.argsort(np.argsort([-row[m] if larger else row[m] for row in rows], kind="stable"))
                       for m, larger in measures.items()])                              # (measures, rows)
    for k, row in enumerate(rows):
        ax.plot(range(len(measures)), 1 + places[:, k], color=LINES[k % len(LINES)], marker=MARKERS[k], markersize=9,
                linestyle=DASHES[k % len(DASHES)], clip_on=False)
        ax.annotate(row[name], (len(measures) - 1, 1 + places[-1, k]), xytext=(12, 0), textcoords="offset points",
                    va="center", fontsize=12, color=INK, annotation_clip=False)
    ax.set_xticks(range(len(measures)), labels=list(measures))
    ax.set_yticks(range(1, len(rows) + 1))
    ax.set(ylim=(len(rows) + 0.4, 0.6), ylabel="place (1: best)", xlabel="measure", title=title)
    ax.grid(axis="x", visible=False)
    return fig
