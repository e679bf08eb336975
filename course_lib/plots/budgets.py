"""Runs on one budget: quality against what it cost, and a loss against the progress it should tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, PercentFormatter

from course_lib.checks import require
from course_lib.plots.style import GREY, LINES

COLOURS = [*LINES[:6], "black"]

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = "os^Dv*P"


def budget_chart(rows: Sequence[Mapping], modes: int, title: str) -> plt.Figure:
    """Modes hit (above) and good samples (below), against gradients (left) and seconds (right): a line a variant, the
    mean over its seeds; the band goes from its worst seed to its best.

    rows: runs with "variant" and lists "gradients", "seconds", "hit" and "good"; modes: how many the set has.
    """
    require(len(rows) > 0, "there are no runs to draw.")
    fig, axes = plt.subplots(2, 2, figsize=(14, 8.4), sharey="row", sharex="col")
    for name, colour, dash, marker in zip(dict.fromkeys(row["variant"] for row in rows), cycle(COLOURS), cycle(DASHES),
                                          cycle(MARKERS)):
        mine = [row for row in rows if row["variant"] == name]
        for column, cost in zip(axes.T, ("gradients", "seconds"), strict=True):
            for ax, key in zip(column, ("hit", "good"), strict=True):
                at, values = np.array(mine[0][cost]), np.array([row[key] for row in mine], dtype=float)
                ax.fill_between(at, values.min(0), values.max(0), color=colour, alpha=0.13, linewidth=0)
                ax.plot(at, values.mean(0), color=colour, linestyle=dash, marker=marker, markevery=(3, 8), markersize=7,
                        label=name)
    for ax in axes[0]:
        ax.axhline(modes, color=GREY, linewidth=0.8)
        ax.set_ylim(-0.03 * modes, 1.06 * modes)
    for ax in axes[1]:
        ax.axhline(0.989, color=GREY, linewidth=0.8)
        ax.set_ylim(-0.03, 1.06)
    axes[0, 0].set_ylabel(f"modes hit, of {modes}")
    axes[1, 0].set_ylabel("share of good samples")
    axes[1, 0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1, 0].set_xlabel("gradients, each over one batch of 256")
    axes[1, 1].set_xlabel("seconds on one core")
    axes[1, 0].xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def search_chart(rows: Sequence[Mapping], modes: Mapping[str, int], title: str) -> plt.Figure:
    """A search for the learning rate, a panel a set: the share of good samples at the end, by variant and rate.

    rows: runs with "set", "variant", "lr" and the lists "hit" and "good". A dot a run, with its number of modes hit
    written beside it; the three rates of a variant side by side, from the lowest to the highest.
    """
    fig, axes = plt.subplots(len(modes), 1, figsize=(14, 4.4 * len(modes) + 0.4), squeeze=False)
    for ax, (name, count) in zip(axes[:, 0], modes.items(), strict=True):
        mine, places, labels = [row for row in rows if row["set"] == name], [], []
        for k, variant in enumerate(dict.fromkeys(row["variant"] for row in mine)):
            rates = sorted({row["lr"] for row in mine if row["variant"] == variant})
            ends = [[(row["good"][-1], row["hit"][-1]) for row in mine if (row["variant"], row["lr"]) == (variant, lr)]
                    for lr in rates]
            for j, found in enumerate(ends):
                at = 4.4 * k + 1.25 * j
                places.append(at)
                labels.append(f"{rates[j]:.0e}".replace("e-0", "e−") + (f"\n{variant}" if j == 1 else ""))
                good = [share for share, _ in found]
                ax.plot([at] * len(found), good, MARKERS[k % 7], color=COLOURS[k % 7], markersize=8)
                ax.text(at, 1.07, "/".join(f"{hit}" for _, hit in found), ha="center", fontsize=11)
        ax.set_xticks(places, labels=labels, fontsize=10)
        ax.set(ylim=(-0.03, 1.19), ylabel="share of good samples", xlabel="learning rate")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
        ax.grid(axis="x", visible=False)
        ax.set_title(f"{name}; above the dots: modes hit of {count}, a number a seed", fontsize=12, fontweight="normal")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def distance_chart(runs: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> plt.Figure:
    """Left: how far the generator is from the data as rounds go by. Right: the critic's gap against that distance.

    runs: name → lists "round", "distance" (in units of x) and "gap" (in units of f). Right, both axes are logarithmic,
    with a line of slope 1 through each run's first point: a gap that is a constant times the distance lies on it.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8))
    for (name, run), colour, dash, marker in zip(runs.items(), cycle(LINES), cycle(DASHES), cycle(MARKERS)):
        distance, gap = np.array(run["distance"]), np.array(run["gap"])
        left.plot(run["round"], distance, color=colour, linestyle=dash, label=name)
        there = gap > 0
        right.loglog(distance[there], gap[there], marker, color=colour, markersize=6, label=name)
        ends = np.array([distance.min(), distance.max()])
        right.loglog(ends, np.median(gap[there] / distance[there]) * ends, color=colour, linestyle=dash, linewidth=1.4)
    left.set(xlabel="round (5 steps of the critic, 1 of the generator)", ylabel="distance of the bars, W₁ (units of x)")
    right.set(xlabel="distance of the bars, W₁ (units of x)", ylabel="gap of the critic (units of f)")
    right.set_title("lines: gap = K · W₁, with the run's median K", fontsize=12, fontweight="normal")
    left.legend()
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def progress_chart(panels: Mapping[str, Sequence[Mapping]], ylabels: Mapping[str, str], title: str) -> plt.Figure:
    """A column a way to train: above its loss, below the Fréchet distance of its samples; a line a seed.

    panels: name → runs with "seed" and the lists "gradients", "loss" and "fréchet"; ylabels: name → what the loss is.
    """
    fig, axes = plt.subplots(2, len(panels), figsize=(6.8 * len(panels) + 0.4, 7.4), sharex="col", squeeze=False)
    for (above, below), (name, runs) in zip(axes.T, panels.items(), strict=True):
        for run, colour, dash in zip(runs, cycle(LINES), cycle(DASHES)):
            above.plot(run["gradients"], run["loss"], color=colour, linestyle=dash, label=f"seed {run['seed']}")
            below.semilogy(run["gradients"], run["fréchet"], color=colour, linestyle=dash)
        above.set_ylabel(ylabels[name])
        above.set_title(name, fontsize=12, fontweight="normal")
        below.set(xlabel="gradients, each over one batch of 64", ylabel="Fréchet distance on\nclassifier features")
        below.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    low, high = (f([f(run["fréchet"]) for runs in panels.values() for run in runs]) for f in (min, max))
    for ax in axes[1]:
        ax.set_ylim(0.8 * low, 1.25 * high)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
