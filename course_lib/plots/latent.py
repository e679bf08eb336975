"""Pictures of a 2-D latent space: the codes, what is decoded from where, and the holes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from torch import Tensor

from course_lib.checks import require_shape
from course_lib.metrics import LevelSet
from course_lib.plots.images import _bare, mosaic, to_numpy
from course_lib.plots.style import CLASSES, GREY, HEAT, RED


def grid_of(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """The centres of cells × cells over a box, as an image is read (top row first): (2,), (2,) → (cells², 2)."""
    steps = (torch.arange(cells, dtype=low.dtype, device=low.device) + 0.5) / cells
    across, down = low[0] + steps * (high[0] - low[0]), high[1] - steps * (high[1] - low[1])
    return torch.stack([across.repeat(cells), down.repeat_interleave(cells)], 1)


def scatter_codes(ax: plt.Axes, codes: Tensor, labels: Tensor, most: int = 6_000, box=None) -> None:
    """Codes (N, 2) as dots in their class's colour, each class's name at its median; most: how many dots are drawn."""
    require_shape("codes", codes, None, 2)
    z, y = codes[:most].cpu().numpy(), labels[:most].cpu().numpy()
    ax.scatter(*z.T, s=5, c=[CLASSES[c % 10] for c in y], alpha=0.6, linewidths=0, rasterized=True)
    for c in np.unique(y):
        ax.text(*np.median(z[y == c], 0), str(c), fontsize=17, fontweight="bold", color=CLASSES[c % 10], ha="center",
                va="center", path_effects=[withStroke(linewidth=4, foreground="white")])
    ax.set(xlabel="$z_1$ (units of the code)", ylabel="$z_2$ (units of the code)")
    if box is not None:
        ax.set(xlim=(float(box[0][0]), float(box[1][0])), ylim=(float(box[0][1]), float(box[1][1])))


def decoded_plane(ax: plt.Axes, decode: Callable[[Tensor], Tensor], box, cells: int) -> None:
    """What the decoder makes of cells × cells places of a box, each where it was decoded."""
    with torch.no_grad():
        images = decode(grid_of(*box, cells))
    ax.imshow(mosaic(images, cells, gap=0), vmin=0, vmax=1, aspect="auto",
              extent=(float(box[0][0]), float(box[1][0]), float(box[0][1]), float(box[1][1])))
    ax.set(xlabel="$z_1$ (units of the code)", ylabel="$z_2$ (units of the code)")
    ax.grid(False)


def latent_plane(codes: Tensor, labels: Tensor, decode: Callable[[Tensor], Tensor], box, title: str,
                 cells: int = 20) -> plt.Figure:
    """Left: the training codes by class. Right: what the decoder makes of every place of the same box."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 6.2))
    scatter_codes(left, codes, labels, box=box)
    left.set_title("where the training digits lie", fontsize=12, fontweight="normal")
    decoded_plane(right, decode, box, cells)
    right.set_title("what is decoded there", fontsize=12, fontweight="normal")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def latent_planes(models: Mapping[str, tuple], labels: Tensor, title: str, cells: int = 20) -> plt.Figure:
    """Two or more latent planes side by side: for each the codes, and under them what is decoded at each place.

    models: name → (codes (N, 2), decoder, box). Each box has its own scale; the dashed circle, which holds 90 % of
    N(0, I), is the same in all.
    """
    radius = (-2 * np.log(0.1)) ** 0.5  # of two independent squares the sum is above r² with probability exp(−r²/2)
    fig, axes = plt.subplots(2, len(models), figsize=(5.8 * len(models) + 0.2, 10.8), squeeze=False)
    for (upper, lower), (name, (codes, decode, box)) in zip(axes.T, models.items(), strict=True):
        scatter_codes(upper, codes, labels, most=3_000, box=box)
        upper.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", linewidth=2))
        upper.plot([], [], "--", color="black", label="90 % of N(0, I)")
        upper.legend(loc="lower right")
        upper.set_title(name, fontsize=13)
        decoded_plane(lower, decode, box, cells)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def hole_maps(scores: Mapping[str, Tensor], codes: Tensor, box, title: str) -> plt.Figure:
    """One map for each test: how far every place is beyond the limit (1), and the codes; scores: name → (cells²,)."""
    fig, axes = plt.subplots(1, len(scores), figsize=(4.9 * len(scores), 4.9), sharex=True, sharey=True,
                             squeeze=False)
    extent = [float(v) for v in (box[0][0], box[1][0], box[0][1], box[1][1])]
    for ax, (name, score) in zip(axes[0], scores.items(), strict=True):
        cells = round(len(score) ** 0.5)
        values = score.view(cells, cells).cpu().numpy()
        shown = ax.imshow(np.log2(np.clip(values, 1 / 8, 8)), extent=extent, aspect="auto", cmap=HEAT, vmin=-3, vmax=3,
                          interpolation="bilinear")
        ax.contour(np.log2(np.clip(values, 1 / 8, 8))[::-1], levels=[0], extent=extent, colors="white", linewidths=1.3)
        ax.scatter(*codes[:2_000].cpu().numpy().T, s=1.5, c="black", alpha=0.6, linewidths=0, rasterized=True)
        ax.grid(False)
        ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="$z_1$ (units of the code)",
               title=f"{name}: {(score > 1).float().mean().item():.0%} of the box")
    axes[0, 0].set_ylabel("$z_2$ (units of the code)")
    bar = fig.colorbar(shown, ax=axes, ticks=[-3, -2, -1, 0, 1, 2, 3], pad=0.01)
    bar.ax.set_yticklabels(["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    bar.set_label("score (white line: the limit, 1)")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def walk(path: Tensor, images: Tensor, scores: Mapping[str, Tensor], codes: Tensor, labels: Tensor,
         title: str) -> plt.Figure:
    """A straight walk through a 2-D latent space: its way over the codes, the images on it, and each test's score."""
    fig = plt.figure(figsize=(13, 5.6))
    places = fig.add_gridspec(2, 2, width_ratios=[1, 1.9], height_ratios=[1, 2.6])
    ax = fig.add_subplot(places[:, 0])
    z = path.cpu().numpy()
    around = 0.35 * float((path.amax(0) - path.amin(0)).max())
    scatter_codes(ax, codes, labels, most=20_000)
    ax.plot(*z.T, "-o", color="black", markersize=4, markevery=max(1, len(z) // 12))
    ax.set(xlim=(z[:, 0].min() - around, z[:, 0].max() + around), ylim=(z[:, 1].min() - around, z[:, 1].max() + around))
    for text in ax.texts:
        text.set_clip_on(True)
    ax.set_title("the way", fontsize=12, fontweight="normal")
    ax = fig.add_subplot(places[0, 1])
    chosen = torch.linspace(0, len(path) - 1, 12).round().long()
    ax.imshow(mosaic(images[chosen], 12), vmin=0, vmax=1)
    _bare(ax)
    ax.set_title("decoded along the way", fontsize=12, fontweight="normal")
    ax = fig.add_subplot(places[1, 1])
    t = np.linspace(0, 1, len(path))
    for name, score in scores.items():
        ax.plot(t, score.cpu().numpy(), label=name, linestyle={"empty": "-", "far": ":", "unsure": "--"}.get(name, "-"))
    ax.axhline(1, color=GREY, linewidth=1)
    ax.text(0.01, 1.0, "limit: 1 % of the test digits lie above", color=GREY, fontsize=11, va="bottom",
            transform=ax.get_yaxis_transform(), path_effects=[withStroke(linewidth=3, foreground="white")])
    ax.set(xlabel="share of the way", ylabel="score (limit = 1)", xlim=(0, 1))
    ax.legend(loc="upper left", ncols=3)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def area_chart(sets: Mapping[int, LevelSet], title: str) -> plt.Figure:
    """Left: for each class the region that holds 90 % of its codes. Right: the regions' areas, in order."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(13, 5.4), width_ratios=[1.2, 1])
    for c, region in sets.items():
        left.contourf(region.x, region.y, region.density, levels=[region.level, region.density.max() * 2],
                      colors=[CLASSES[c % 10]], alpha=0.45)
        left.contour(region.x, region.y, region.density, levels=[region.level], colors=[CLASSES[c % 10]])
        at = _label_place(region)
        left.text(*at, str(c), fontsize=17, fontweight="bold", color=CLASSES[c % 10], ha="center",
                  va="center", path_effects=[withStroke(linewidth=4, foreground="white")])
    inside = [np.stack([r.x[r.density > r.level], r.y[r.density > r.level]]) for r in sets.values()]
    low, high = np.min([i.min(1) for i in inside], 0), np.max([i.max(1) for i in inside], 0)
    edge = 0.05 * (high - low)
    left.set(xlabel="$z_1$ (units of the code)", ylabel="$z_2$ (units of the code)",
             xlim=(low[0] - edge[0], high[0] + edge[0]), ylim=(low[1] - edge[1], high[1] + edge[1]))
    left.set_title("regions with 90 % of a class's codes", fontsize=12, fontweight="normal")
    order = sorted(sets, key=lambda c: sets[c].area)
    bars = right.barh([str(c) for c in order], [sets[c].area for c in order], color=[CLASSES[c % 10] for c in order])
    right.bar_label(bars, fmt="%.0f", padding=4)
    right.grid(axis="y", visible=False)
    right.set(xlabel="area (square units of the code)", ylabel="class")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _label_place(region: LevelSet) -> tuple[float, float]:
    """Well inside a region, but away from 0, where the others are: three quarters of the way to its far end."""
    inside = np.flatnonzero(region.density > region.level)
    x, y = region.x.ravel()[inside], region.y.ravel()[inside]
    k = np.argsort(np.hypot(x, y))[int(0.75 * len(inside))]
    near = np.hypot(x - x[k], y - y[k]) < 0.15 * np.hypot(np.ptp(x), np.ptp(y))
    return float(x[near].mean()), float(y[near].mean())


def point_map(codes: Tensor, labels: Tensor, unsure: Tensor, box) -> tuple[plt.Figure, plt.Axes]:
    """The map under the latent explorer: the codes over a shade where the classifier is unsure; (cells²,) scores."""
    cells = round(len(unsure) ** 0.5)
    fig, ax = plt.subplots(figsize=(6.2, 5.6))
    extent = [float(v) for v in (box[0][0], box[1][0], box[0][1], box[1][1])]
    ax.imshow((unsure.view(cells, cells) > 1).cpu().numpy(), extent=extent, aspect="auto",
              cmap=ListedColormap(["white", "#E3E3E3"]), vmin=0, vmax=1)
    scatter_codes(ax, codes, labels, box=box)
    ax.grid(False)
    ax.set_title("grey: the classifier is unsure there", fontsize=12, fontweight="normal")
    return fig, ax


def explorer_still(codes: Tensor, labels: Tensor, unsure: Tensor, box, point, image: Tensor) -> plt.Figure:
    """What the latent explorer shows where no kernel runs: the map with a point on it, and the decoded image."""
    fig, ax = point_map(codes, labels, unsure, box)
    fig.set_size_inches(9.6, 5.2)
    ax.plot(*map(float, point), "o", markersize=13, markerfacecolor="white", markeredgecolor="black", markeredgewidth=3)
    ax.set_position([0.08, 0.12, 0.5, 0.8])
    fig.set_layout_engine("none")
    side = fig.add_axes((0.66, 0.25, 0.3, 0.5))
    side.imshow(to_numpy(image)[0], vmin=0, vmax=1)
    _bare(side)
    side.set_title("decoded from the point", fontsize=12, fontweight="normal", color=RED)
    return fig
