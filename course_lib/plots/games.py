"""Pictures of the minimax game: densities and discriminators on a line, slopes, paths, and how a GAN fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from torch import Tensor

from course_lib.gans import GameFrame, dirac_field
from course_lib.plots.charts import DASHES
from course_lib.plots.style import BLUE, GREEN, GREY, LINES, ORANGE, RED

if TYPE_CHECKING:
    from course_lib.datasets.toy import GaussianMixture

MARKERS = "osD^vPX*"
LABELS = {"near": "modes with samples near", "hit": "modes hit", "good": "share of good samples"}


def discriminator_chart(x: Tensor, p_r: Tensor, p_g: Tensor, discriminators: Mapping[str, Tensor],
                        title: str) -> plt.Figure:
    """Two densities (per unit of x), and on a second axis discriminators in [0, 1] by name, the first one thick."""
    fig, ax = plt.subplots(figsize=(9.6, 4.6))
    right = _densities(ax, x, p_r, p_g)
    for k, ((name, D), colour) in enumerate(zip(discriminators.items(), cycle([ORANGE, BLUE, RED, GREY]))):
        right.plot(x, D, color=colour, linestyle=["--", "-", "-.", ":"][k % 4], linewidth=5 if k == 0 else 2,
                   alpha=0.75 if k == 0 else 1, label=name)
    right.set_ylabel("D(x), probability of being real")
    _legend(fig, ax, right)
    ax.set_title(title)
    return fig


def _densities(ax, x, p_r, p_g, top: float | None = None):
    """Draws both densities, and gives the axis for D on the right."""
    ax.plot(x, p_r, "--", color="black", linewidth=2, label="data p_r")
    ax.plot(x, p_g, "-", color=GREEN, linewidth=2, label="generator p_g")
    ax.fill_between(x, 0, p_g, color=GREEN, alpha=0.18, linewidth=0)
    ax.set(xlabel="x", ylabel="density (per unit of x)", xlim=(float(x[0]), float(x[-1])),
           ylim=(0, top or 1.25 * float(max(p_r.max(), p_g.max()))))
    ax.grid(False)
    right = ax.twinx()
    right.set(ylim=(0, 1.02), yticks=[0, 0.5, 1])
    right.axhline(0.5, color="#BBBBBB", linewidth=0.8)
    right.grid(False)
    right.spines["right"].set_visible(True)
    return right


def _legend(fig, *axes) -> None:
    handles = [handle for ax in axes for handle in ax.get_legend_handles_labels()[0]]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles) if fig.get_figwidth() > 7 else 2)


def game_frames(frames: Sequence[GameFrame], title: str) -> plt.Figure:
    """Some moments of the game on a line side by side: densities, D over D*, and below them where G sends the noise.

    Goodfellow et al. 2014, figure 1.
    """
    fig, axes = plt.subplots(2, len(frames), figsize=(3.7 * len(frames) + 0.8, 5.2), height_ratios=[2.6, 1],
                             sharex=True, squeeze=False)
    top = 1.6 * max(float(frame.p_r.max()) for frame in frames)
    for k, (frame, (above, below)) in enumerate(zip(frames, axes.T, strict=True)):
        right = _densities(above, frame.x, frame.p_r, frame.p_g, top)
        right.plot(frame.x, frame.D_star, "--", color=ORANGE, linewidth=5, alpha=0.75, label="best D*")
        right.plot(frame.x, frame.D, "-", color=BLUE, linewidth=2, label="trained D")
        above.set_title(f"step {frame.step:,}\nJS = {frame.js:.3f} nats", fontsize=12, fontweight="normal")
        above.set_xlabel("")
        if k:
            above.set(ylabel="", yticklabels=[])
        if k < len(frames) - 1:
            right.set_yticklabels([])
        else:
            right.set_ylabel("D(x)")
        for z, x in zip(frame.z.tolist(), frame.G_z.tolist(), strict=True):
            below.plot([z, x], [0, 1], color=GREEN, linewidth=0.8)
        below.set(ylim=(0, 1), yticks=[0, 1], xlabel="x, and z below")
        below.set_yticklabels(["z", "x = G(z)"] if k == 0 else [])
        below.grid(False)
    _legend(fig, axes[0, 0], right)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def js_chart(frames: Sequence[GameFrame], title: str) -> plt.Figure:
    """JS(p_r‖p_g) of each frame against its step, on a log axis."""
    fig, ax = plt.subplots(figsize=(9, 3.6))
    ax.semilogy([frame.step for frame in frames], [frame.js for frame in frames], "-o", markersize=3.5)
    ax.set(xlabel="training step", ylabel="JS (nats, log scale)", title=title)
    return fig


def value_chart(rows: Sequence[Mapping[str, float]], at: str, values: Sequence[str], title: str,
                xlabel: str) -> plt.Figure:
    """Values in nats against rows' column ``at``: the first as a thick line, the second as dots on or off it, others as
    thin lines."""
    fig, ax = plt.subplots(figsize=(9, 4.4))
    x = [row[at] for row in rows]
    for k, name in enumerate(values):
        style = {"linewidth": 5, "color": ORANGE, "alpha": 0.75} if k == 0 else {
            "linestyle": "none" if k == 1 else DASHES[k % 5], "marker": MARKERS[k - 1] if k == 1 else None,
            "color": [BLUE, RED, GREY][(k - 1) % 3]}
        ax.plot(x, [row[name] for row in rows], label=name, **style)
    for height, words in ((-2 * np.log(2), "−2 log 2: the two are one"), (0.0, "0: nothing in common")):
        ax.axhline(height, color=GREY, linewidth=0.8)
        ax.text(0.99, height, words, transform=ax.get_yaxis_transform(), ha="right", va="bottom", color=GREY,
                fontsize=11)
    ax.set(xlabel=xlabel, ylabel="nats", title=title, ylim=(-1.5, 0.14))
    fig.legend(loc="outside lower center", ncols=len(values))
    return fig


def slope_chart(D: Tensor, losses: Mapping[str, Tensor], slopes: Mapping[str, Tensor], title: str) -> plt.Figure:
    """Against D(G(z)) on a log-odds axis: what the generator pays, and the size of the slope in the logit it gets."""
    fig, axes = plt.subplots(1, 2, figsize=(13, 4.6))
    odds = (D / (1 - D)).log()
    for ax, lines in zip(axes, (losses, slopes), strict=True):
        for (name, values), dash in zip(lines.items(), cycle(DASHES)):
            ax.plot(odds, values, dash, label=name)
        ticks = torch.tensor([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
        ticks = ticks[(ticks >= D.min() * 0.999) & (ticks <= D.max() * 1.001)]
        ax.set_xticks((ticks / (1 - ticks)).log(), labels=[f"{t:g}" for t in ticks.tolist()])
        ax.set_xlabel("D(G(z)), how real the sample seems (logit scale)")
        ax.legend()
    axes[0].set_ylabel("loss (nats)")
    axes[1].set_ylabel("size of its slope in the logit")
    axes[1].set_ylim(-0.03, 1.05)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def gradient_chart(rows: Sequence[Mapping[str, float]], losses: Sequence[str], title: str) -> plt.Figure:
    """The generator's gradient against the steps of a discriminator that learns on: thin lines seeds, thick medians.

    rows: "seed", "steps of D", "D on samples", and a gradient under each loss's name.
    """
    fig, axes = plt.subplots(1, 2, figsize=(13, 4.7))
    looks = sorted({row["steps of D"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})

    def draw(ax, name, colour, dash, marker):
        by_seed = {(row["seed"], row["steps of D"]): row[name] for row in rows}
        table = np.array([[by_seed[seed, look] for look in looks] for seed in seeds])
        at = [max(look, looks[1] / 3) for look in looks]                # 0 has no place on a log axis
        ax.plot(at, table.T, color=colour, linewidth=0.8, alpha=0.6)
        ax.plot(at, np.median(table, 0), linestyle=dash, color=colour, marker=marker, label=f"{name} (median)")

    draw(axes[0], "D on samples", GREY, "-", "o")
    for name, colour, dash, marker in zip(losses, cycle(LINES), cycle(("-", "--", "-.")), cycle("sD^")):
        draw(axes[1], name, colour, dash, marker)
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="training steps of D against the same generator")
        ax.set_xticks([max(look, looks[1] / 3) for look in looks], labels=[f"{look:,}" for look in looks])
        ax.minorticks_off()
        ax.legend(loc="lower left", title="thin: seeds", title_fontsize=11)
    axes[0].set_ylabel("mean D(G(z))")
    axes[1].set_ylabel("‖gradient‖ at G's weights (nats)")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def dirac_chart(paths: Mapping[str, Tensor], title: str, reach: float = 3.0) -> plt.Figure:
    """Dirac-GAN: the minimax field with a path for each rule, and each path's distance from (0, 0) against the step."""
    fig, (ax, away) = plt.subplots(1, 2, figsize=(13, 5.4), width_ratios=[1, 1.2])
    grid = torch.linspace(-reach, reach, 15, dtype=torch.float64)
    theta, psi = torch.meshgrid(grid, grid, indexing="ij")
    to_theta, to_psi = dirac_field(theta, psi)
    ax.quiver(theta, psi, to_theta, to_psi, color="#BBBBBB", angles="xy", scale=30, width=0.004)
    for (name, path), colour, dash in zip(paths.items(), cycle(LINES), cycle(DASHES)):
        ax.plot(*path.T, color=colour, linestyle=dash, linewidth=1.6, label=name)
        away.plot(path.norm(dim=1), color=colour, linestyle=dash, label=name)
    first = next(iter(paths.values()))[0]
    ax.plot(*first[:, None], "o", color="black", markersize=9)
    ax.plot([0], [0], "+", color="black", markersize=14, markeredgewidth=2)
    ax.set(xlabel="θ: where the generator puts its point", ylabel="ψ: the discriminator's slope", xlim=(-reach, reach),
           ylim=(-reach, reach), aspect="equal")
    ax.set_title("start ●, solution +; arrows: the game's pushes", fontsize=12, fontweight="normal")
    ax.grid(False)
    away.set(xlabel="step", ylabel="distance from the solution")
    away.set_title("√(θ² + ψ²), step by step", fontsize=12, fontweight="normal")
    fig.legend(*away.get_legend_handles_labels(), loc="outside lower center", ncols=len(paths))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def mode_samples(panels: Mapping[str, Tensor], density: GaussianMixture, title: str, columns: int = 4,
                 most: int = 600) -> plt.Figure:
    """A panel a name, in rows of so many: samples (n, 2) as dots over a toy's modes, each in a circle (of 3σ, or larger
    where that could not be seen)."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(3.6 * columns + 0.4, 3.7 * rows + 0.6), sharex=True, sharey=True,
                             squeeze=False)
    reach = 1.6 * float(density.means.abs().max()) + 3 * float(density.stds.max())
    for ax in axes.flat[len(panels):]:
        ax.set_visible(False)
    for ax, (name, samples) in zip(axes.flat, panels.items(), strict=False):
        for mean, std in zip(density.means.tolist(), density.stds.tolist(), strict=True):
            ax.add_patch(Circle(mean, max(3 * std, 0.04 * reach), facecolor="none", edgecolor=ORANGE, linewidth=1.8))
        ax.plot(*samples[:most].T, ".", color=BLUE, markersize=3, alpha=0.6)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set_title(name, fontsize=12, fontweight="normal")
    for ax in axes[-1]:
        ax.set_xlabel("x₁")
    for ax in axes[:, 0]:
        ax.set_ylabel("x₂")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def modes_chart(rows: Sequence[Mapping], by: str, modes: Mapping[str, int], title: str) -> plt.Figure:
    """Runs at their last step, a column a set: modes with samples near them, modes hit, the share of good samples.

    A bar at the mean over seeds, a dot a seed. rows: runs, with lists "near", "hit" and "good" over the steps, "set",
    and the column ``by``; modes: set → how many it has.
    """
    fig, axes = plt.subplots(3, len(modes), figsize=(6.8 * len(modes), 7.6), sharex="col", squeeze=False)
    for column, (name, count) in zip(axes.T, modes.items(), strict=True):
        mine = [row for row in rows if row["set"] == name]
        groups = list(dict.fromkeys(row[by] for row in mine))
        labels = ("modes with\nsamples near", "modes hit", "good samples")
        for ax, key, label in zip(column, ("near", "hit", "good"), labels, strict=True):
            for k, group in enumerate(groups):
                last = np.array([row[key][-1] for row in mine if row[by] == group], dtype=float)
                ax.bar(k, last.mean(), width=0.62, color="#CFE3F1", edgecolor=BLUE, linewidth=0.8)
                ax.plot(k + np.linspace(-0.2, 0.2, len(last)), last, MARKERS[k % 8], color=BLUE, markersize=5)
            top = 1.0 if key == "good" else count
            ax.axhline(top, color=GREY, linewidth=1)
            ax.set(ylim=(0, 1.1 * top), ylabel=label)
            ax.grid(axis="x", visible=False)
            names = [group.replace(" ", "\n", 1).replace("non-", "non-\n") for group in groups]
            ax.set_xticks(range(len(groups)), labels=names, fontsize=11)
        column[2].yaxis.set_major_formatter(PercentFormatter(1))
        column[0].set_title(f"{name} (line: all {count})", fontsize=12, fontweight="normal")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def runs_chart(panels: Mapping[str, tuple[Sequence[Mapping], str, float]], title: str) -> plt.Figure:
    """A panel a name: one of a run's lists against the step, a line for each seed of the same recipe.

    panels: name → (runs, which list, the most it can be); a share if that is 1, else a number of modes.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(6.4 * len(panels) + 0.4, 4.6), squeeze=False)
    for ax, (name, (runs, key, most)) in zip(axes[0], panels.items(), strict=True):
        for run, colour, dash in zip(runs, cycle(LINES), cycle(DASHES)):
            ax.plot(run["step"], run[key], color=colour, linestyle=dash, linewidth=1.8, label=f"seed {run['seed']}")
        ax.axhline(most, color=GREY, linewidth=0.8)
        ax.set(xlabel="training step", ylim=(-0.03 * most, 1.06 * most),
               ylabel=LABELS[key] + (f", of {most:g}" if most > 1 else ""))
        ax.set_title(name, fontsize=12, fontweight="normal")
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        if most == 1:
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        else:
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(fig, axes[0, 0])
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def balance_chart(rows: Sequence[Mapping], by: str, modes: int, title: str) -> plt.Figure:
    """Settings one below the other, the first in black: at the last step modes with samples near them, modes hit, and
    the share of good samples; a dot a seed, | the mean.

    rows: runs, with lists "near", "hit" and "good" over the steps, and the column ``by``.
    """
    groups = list(dict.fromkeys(row[by] for row in rows))
    fig, axes = plt.subplots(1, 3, figsize=(14, 0.44 * len(groups) + 1.8), sharey=True)
    for ax, key in zip(axes, LABELS, strict=True):
        for k, group in enumerate(groups):
            last = np.array([row[key][-1] for row in rows if row[by] == group], dtype=float)
            ax.plot(last, k + np.linspace(-0.18, 0.18, len(last)), "o", color=BLUE if k else "black", markersize=6,
                    alpha=0.8)
            ax.plot([last.mean()] * 2, [k - 0.34, k + 0.34], color=RED, linewidth=2.5)
        ax.axhline(0.5, color=GREY, linewidth=0.8)
        ax.set_xlabel(LABELS[key] + (f", of {modes}" if key != "good" else ""))
        ax.set_xlim((-0.03, 1.03) if key == "good" else (-0.04 * modes, 1.06 * modes))
    axes[0].set_yticks(range(len(groups)), labels=groups)
    axes[0].invert_yaxis()
    axes[2].xaxis.set_major_formatter(PercentFormatter(1))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
