"""Curves, bars and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from course_lib.plots.style import GREY, LINES

DASHES = ["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))]
HATCHES = ["", "///", "...", "xx", ""]


def loss_curves(losses: Mapping[str, Sequence[float]], title: str, ylabel: str) -> plt.Figure:
    """Losses against the step (on a logarithmic axis: most happens early), one line a name."""
    fig, ax = plt.subplots(figsize=(9, 4.2))
    for (name, values), dash in zip(losses.items(), cycle(DASHES)):
        ax.semilogx(np.arange(1, len(values) + 1), values, linestyle=dash, label=name)
    ax.set(xlabel="training step", ylabel=ylabel, title=title)
    if len(losses) > 1:
        ax.legend()
    return fig


def signals(panels: Mapping[str, Mapping[str, Tensor]], title: str, xlabel: str, ylabel: str,
            shaded: Mapping[str, tuple[float, float, str]] | None = None) -> plt.Figure:
    """One panel a name, in it 1-D signals: (L,) as a thick line with its name, (n, L) as thin grey lines.

    shaded: panel → (from, to, name) of a span of x to be shaded.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.9), sharey=True, squeeze=False)
    for ax, (name, curves) in zip(axes[0], panels.items(), strict=True):
        dashes = cycle(DASHES)
        if shaded and name in shaded:
            low, high, label = shaded[name]
            ax.axvspan(low, high, color="#E8E8E8", label=label)
        for label, signal in curves.items():
            values = signal.detach().cpu().numpy()
            at = np.arange(values.shape[-1])
            if values.ndim == 2:
                ax.plot(at, values.T, color="#B5B5B5", linewidth=1, drawstyle="steps-mid")
                ax.plot([], [], color="#B5B5B5", linewidth=1, label=label)
            else:
                ax.plot(at, values, next(dashes), label=label, linewidth=2.6)
        ax.set(xlabel=xlabel)
        ax.set_title(name, fontsize=12, fontweight="normal")
        ax.legend(loc="upper left", fontsize=11)
    axes[0][0].set_ylabel(ylabel)
    axes[0][0].set_ylim(-0.05, 1.42)
    axes[0][0].set_yticks([0, 0.25, 0.5, 0.75, 1])
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def shift_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """Against the shift in pixels: the shares that metrics.shift_shares gives."""
    fig, ax = plt.subplots(figsize=(9, 4.6))
    shifts = [row["shift"] for row in rows]
    for (name, dash) in zip([key for key in rows[0] if key != "shift"], cycle(DASHES)):
        ax.plot(shifts, [row[name] for row in rows], dash, marker="o", label=name)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="shift (pixels)", ylabel="share of the test digits", ylim=(-0.03, 1.03), title=title)
    ax.legend(loc="lower right", title="a shifted digit is farther from itself than …", title_fontsize=12)
    return fig


def hole_chart(table: Sequence[dict], title: str) -> plt.Figure:
    """The stored hole shares: a panel for each test, bars for each latent size by rule, dots for the seeds."""
    tests, rules = ("empty", "far", "unsure"), ("normal", "box", "fitted", "mixture", "test codes")
    names = {"normal": "z ~ N(0, I)", "box": "box of 99 % of the codes", "fitted": "Gaussian fitted to the codes",
             "mixture": "mixture of 50 Gaussians",
             "test codes": "codes of test digits (control)"}
    sizes = sorted({row["latents"] for row in table})
    fig, axes = plt.subplots(1, 3, figsize=(14, 5.2), sharey=True, width_ratios=[1.2, 0.8, 1.5])
    for ax, test in zip(axes, tests, strict=True):
        for k, rule in enumerate(rules):
            by_size = [[row[test] for row in table if row["latents"] == d and row["z from"] == rule] for d in sizes]
            at = np.arange(len(sizes)) + (k - 2) * 0.17
            ax.bar(at, [np.mean(v) for v in by_size], width=0.16, label=names[rule], hatch=HATCHES[k],
                   color=[*LINES[:4], GREY][k], edgecolor="white", linewidth=0)
            for x, values in zip(at, by_size, strict=True):
                ax.plot([x] * len(values), values, "o", color="black", markersize=2.5)
                if np.mean(values) >= 0.005:  # the label stands above the highest seed
                    ax.text(x, max(values) + 0.015, f"{np.mean(values):.0%}", fontsize=10, ha="center")
        ax.set_xticks(range(len(sizes)), labels=[str(d) for d in sizes])
        ax.set(xlabel="latents", title=test, ylim=(0, 1.08))
        ax.grid(axis="x", visible=False)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].set_ylabel("share of 2,000 points")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=11,
               columnspacing=1.2)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def confidence_histogram(confidences: Mapping[str, Tensor], limit: float, title: str) -> plt.Figure:
    """How sure the classifier is: for each name (N,), the share of images below each; the last is the control."""
    fig, ax = plt.subplots(figsize=(9, 4.8))
    colours = [*LINES[:len(confidences) - 1], GREY]
    for (name, values), dash, colour in zip(confidences.items(), cycle(DASHES), colours):
        ordered = np.sort(values.cpu().numpy())
        ax.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), linestyle=dash, color=colour, label=name)
    ax.axvline(limit, color=GREY, linewidth=1)
    ax.text(limit - 0.01, 0.72, "“unsure” is left of here", color=GREY, ha="right", va="top", fontsize=11)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="largest class probability", ylabel="share of images below it", xlim=(0.1, 1.0), ylim=(0, 1),
           title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))
    return fig


def compression_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """Test error against the number of latents, one line for each way."""
    fig, ax = plt.subplots(figsize=(9, 4.8))
    sizes = [row["latents"] for row in rows]
    for name, style in (("PCA", dict(linestyle="-", marker="o", markersize=11, markerfacecolor="none")),
                        ("linear autoencoder", dict(linestyle=":", marker="x", markersize=8)),
                        ("autoencoder", dict(linestyle="--", marker="s"))):
        ax.loglog(sizes, [row[name] for row in rows], label=name, **style)
    ax.set(xlabel="latents (numbers kept of 784)", ylabel="squared error per image", title=title,
           xticks=sizes, xticklabels=[str(d) for d in sizes])
    ax.set_yticks([5, 10, 20, 40], labels=["5", "10", "20", "40"])
    ax.set_ylim(4.5, 52)
    ax.minorticks_off()
    ax.legend()
    return fig


def few_labels_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """Accuracy against labels a class, a line for each kind of feature, with its spread over draws of the labels."""
    fig, ax = plt.subplots(figsize=(9, 5))
    for (name, dash), marker in zip(zip(dict.fromkeys(row["features"] for row in rows), cycle(DASHES)), cycle("osD^v")):
        mine = [row for row in rows if row["features"] == name]
        ax.errorbar([row["labels a class"] for row in mine], [row["accuracy"] for row in mine],
                    yerr=[row["sd over draws"] for row in mine], linestyle=dash, marker=marker, capsize=3, label=name)
    counts = sorted({row["labels a class"] for row in rows})
    ax.set_xscale("log")
    ax.set_xticks(counts, labels=[str(n) for n in counts])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="labelled images of each class", ylabel="test accuracy (bars: ±1 sd over draws)", title=title)
    ax.legend(loc="lower right")
    return fig
