"""Pictures of variational autoencoders: bound and gap, two estimators, the price of a nat, collapse, the manifold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from course_lib.autoencoders.variational import IN_USE
from course_lib.checks import require
from course_lib.plots.charts import DASHES, HATCHES
from course_lib.plots.images import mosaic
from course_lib.plots.style import BLUE, GREY, LINES, ORANGE

HALO = [withStroke(linewidth=3.5, foreground="white")]


def gap_chart(rows: Sequence[dict], title: str, log_axes: Collection[str] = ()) -> plt.Figure:
    """log p(x) as one level line, made up of the ELBO below and the gap on top, as one parameter of q is moved.

    rows: dicts with "moved" (what of q is moved, with its unit: a panel each), "at" (where to), "ELBO", "gap" and
    "log p(x)" in nats; log_axes: which of the moved are drawn on a log axis. Stacked as given: where ELBO and gap did
    not add up to log p(x), one would see it.
    """
    names = list(dict.fromkeys(row["moved"] for row in rows))
    fig, axes = plt.subplots(1, len(names), figsize=(6.4 * len(names) + 0.4, 4.8), sharey=True, squeeze=False)
    top, least = (f(value for row in rows for value in (row["log p(x)"], row["ELBO"])) for f in (max, min))
    floor, room = least - 0.25 * (top - least), 0.12 * (top - least)
    for ax, name in zip(axes[0], names, strict=True):
        mine = sorted((row for row in rows if row["moved"] == name), key=lambda row: row["at"])
        at, elbo, gap, log_p = (np.array([row[key] for row in mine]) for key in ("at", "ELBO", "gap", "log p(x)"))
        ax.fill_between(at, floor, elbo, facecolor="#BFD9EA", edgecolor="none", label="ELBO")
        ax.fill_between(at, elbo, elbo + gap, facecolor="#FBE7BF", edgecolor=ORANGE, linewidth=0, hatch="///",
                        label="gap = KL(q‖p(z|x))")
        ax.plot(at, elbo, "--", color=BLUE)
        ax.plot(at, log_p, "-", color="black", label="log p(x)")
        ax.text(0.02, log_p[0], f"log p(x) = {log_p[0]:.2f} nats".replace("-", "−"), va="bottom",
                transform=ax.get_yaxis_transform())
        best = int(gap.argmin())
        ax.plot(at[best], elbo[best], "o", color="black", markersize=8, zorder=5)
        ax.annotate(f"least gap {gap[best]:.2f} nats\nat {round(at[best], 2) + 0.0:.2f}", (at[best], elbo[best]),
                    (0, -16), textcoords="offset points", ha="center", va="top", path_effects=HALO)
        if name in log_axes:
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}" if v >= 1 else f"1/{1 / v:g}"))
        ax.set(xlabel=name, xlim=(at[0], at[-1]), ylim=(floor, top + room))
        ax.grid(False)
    axes[0, 0].set_ylabel("nats")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def estimator_chart(rows: Sequence[dict], title: str, against: str = "σ", unit: str = "units of z") -> plt.Figure:
    """Variances of estimators of one gradient, both axes logarithmic: a panel for each f, a line for each estimator.

    rows: dicts with "f" (its name), the parameter named by ``against``, and the variance of a single sample under each
    estimator's name. Where the first two lines cross, a line says so; a variance of 0 has no place on such an axis and
    is left out.
    """
    names = list(dict.fromkeys(row["f"] for row in rows))
    estimators = [key for key in rows[0] if key not in ("f", against)]
    fig, axes = plt.subplots(1, len(names), figsize=(6.2 * len(names) + 0.6, 4.9), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = sorted((row for row in rows if row["f"] == name), key=lambda row: row[against])
        at = np.array([row[against] for row in mine])
        variances = [np.array([row[key] if row[key] > 0 else np.nan for row in mine]) for key in estimators]
        for key, values, dash, marker in zip(estimators, variances, cycle(DASHES), cycle("osD^v")):
            ax.plot(at, values, linestyle=dash, marker=marker, markersize=6, label=key)
        ax.set(xscale="log", yscale="log", xlabel=f"{against} ({unit})")
        ax.set_title(f"f = {name}", fontsize=12, fontweight="normal")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        for place in crossings(at, *variances[:2]):
            ax.axvline(place, color=GREY, linewidth=1.2, linestyle=":")
            side = "left" if place**2 < at[0] * at[-1] else "right"
            ax.text(place, 0.97, f" {estimators[0]} and \n {estimators[1]} \n cross at {place:.2f} ", va="top", ha=side,
                    transform=ax.get_xaxis_transform(), path_effects=HALO)
    axes[0, 0].set_ylabel("variance of one sample's gradient")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(estimators))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def crossings(at: np.ndarray, one: np.ndarray, other: np.ndarray) -> list[float]:
    """Where two lines on log-log axes cross, read off between the points: (n,) each, above 0 or NaN."""
    x, apart = np.log(at), np.log(one) - np.log(other)
    turns = np.flatnonzero(apart[:-1] * apart[1:] < 0)  # NaN is no turn
    between = x[turns] + (x[turns + 1] - x[turns]) * apart[turns] / (apart[turns] - apart[turns + 1])
    return np.exp(between).tolist()


def bound_chart(rows: Sequence[dict], title: str) -> plt.Figure:
    """−log p(x) as bounded from above with k samples, a line for each model, k on a log axis.

    rows: dicts with "model" (its name), "k" (samples that judge it) and "nats" (minus the bound, the mean over images).
    """
    names = list(dict.fromkeys(row["model"] for row in rows))
    fig, ax = plt.subplots(figsize=(10, 5))
    for name, dash, marker in zip(names, cycle(DASHES), cycle("osD^v")):
        points = sorted((row["k"], row["nats"]) for row in rows if row["model"] == name)
        ax.plot(*zip(*points, strict=True), linestyle=dash, marker=marker, markersize=7,
                label=f"{name}: {points[-1][1]:.1f}")
    most = max(row["k"] for row in rows)
    ax.set(xscale="log", xlabel="k, the samples of z that judge an image", ylabel="minus the bound (nats an image)")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.legend(title=f"with {most:,} samples, in nats")
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def rate_distortion_chart(rows: Sequence[dict], title: str, shown: Sequence[float] | None = None) -> plt.Figure:
    """Left: nats of KL (the rate) against squared error (the distortion), a point for each β, through the seeds' means.

    Right: for some β the nats of each latent dimension, the largest first: those that have collapsed pay nothing.
    rows: dicts with "beta", "squared error", "KL in nats" and "nats a dimension" (d numbers), one for each β and seed;
    shown: the β at the right (default: the least, the middle one and the largest); of several seeds the first.
    """
    betas = sorted({row["beta"] for row in rows})
    shown = list(dict.fromkeys([betas[0], betas[len(betas) // 2], betas[-1]]) if shown is None else shown)
    require(set(shown) <= set(betas), f"shown is {shown}; there are rows for β = {', '.join(f'{b:g}' for b in betas)}.")
    fig = plt.figure(figsize=(13, 5.6))
    places = fig.add_gridspec(len(shown), 2, width_ratios=[1.25, 1])
    _rate_distortion(fig.add_subplot(places[:, 0]), rows, betas)
    tallest = max(max(row["nats a dimension"]) for row in rows if row["beta"] in shown) or 1.0
    first = None
    for k, (beta, colour, hatch) in enumerate(zip(shown, cycle(LINES), cycle(HATCHES))):
        nats = np.sort(next(np.asarray(row["nats a dimension"]) for row in rows if row["beta"] == beta))[::-1]
        ax = first = fig.add_subplot(places[k, 1], sharex=first, sharey=first)
        ax.bar(np.arange(1, len(nats) + 1), nats, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        ax.text(0.98, 0.92, f"β = {beta:g}: {(nats > IN_USE).sum()} of {len(nats)} in use, {nats.sum():.1f} nats",
                transform=ax.transAxes, ha="right", va="top", path_effects=HALO)
        ax.grid(axis="x", visible=False)
        ax.tick_params(labelbottom=k == len(shown) - 1)
        if k == 0:
            ax.set_title(f"nats of each latent dimension (in use: above {IN_USE:g})", fontsize=12, fontweight="normal")
        if k == len(shown) // 2:
            ax.set_ylabel("KL (nats)")
    first.set(xlabel="latent dimension, the largest KL first", xlim=(0.4, len(nats) + 0.6), ylim=(0, 1.45 * tallest))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _rate_distortion(ax: plt.Axes, rows: Sequence[dict], betas: Sequence[float]) -> None:
    by_beta = [[(row["squared error"], row["KL in nats"]) for row in rows if row["beta"] == beta] for beta in betas]
    means = np.array([np.mean(points, 0) for points in by_beta])
    ax.plot(*means.T, "-o", markersize=10, markerfacecolor="white", markeredgewidth=2)
    if max(map(len, by_beta)) > 1:
        ax.plot(*np.concatenate(by_beta).T, "o", color="black", markersize=3)
    for beta, mean in zip(betas, means, strict=True):
        ax.annotate(f"β = {beta:g}", mean, (8, 8), textcoords="offset points", path_effects=HALO)
    ax.margins(x=0.14, y=0.1)
    ax.set(xlabel="distortion: squared error per image", ylabel="rate: KL (nats per image)")
    ax.set_title("each point a model, trained with that β", fontsize=12, fontweight="normal")


def collapse_chart(steps: Sequence[int], nats: Tensor, title: str, xlabel: str = "training step") -> plt.Figure:
    """Upper panel: the nats of each latent dimension as training goes on; lower panel: how many are in use.

    steps: (T,), when it was measured; nats: (T, d). Dimensions that end in use are coloured and carry their number
    (from 1 on) and their final nats; those that end collapsed are grey. The axis of nats is linear up to 0.05, the
    limit of use, and logarithmic above. Raises ValueError where steps and nats do not fit, or there is nothing to draw.
    """
    values = np.asarray(torch.as_tensor(nats).detach().cpu(), dtype=float)
    require(values.ndim == 2 and values.size > 0 and len(steps) == len(values),
            f"nats has shape {values.shape} and there are {len(steps)} steps; nats must be (steps, dimensions).")
    fig, (ax, below) = plt.subplots(2, 1, figsize=(10.5, 6.6), sharex=True, height_ratios=[3.4, 1])
    top = max(1.5 * values.max(), 4 * IN_USE)
    ax.set_yscale("symlog", linthresh=IN_USE, linscale=0.6)
    ax.set_ylim(-0.006, top)                            # a little room, so that dimensions at 0 are seen
    ax.set_xlim(min(steps), max(steps) if len(steps) > 1 else min(steps) + 1)
    used = values[-1] > IN_USE
    for j in np.flatnonzero(~used):
        ax.plot(steps, values[:, j], color="#A8A8A8", linewidth=1.3, zorder=1)
    order = sorted(np.flatnonzero(used), key=lambda j: values[-1, j])
    low, high, *ends = ax.yaxis.get_transform().transform(np.array([*ax.get_ylim(), *values[-1, order]]))
    places = (np.array(ends) - low) / (high - low)      # heights as shares of the panel's
    for j, place, label_at, colour, dash in zip(order, places, _apart(places, 0.062), cycle(LINES[:-1]), cycle(DASHES)):
        ax.plot(steps, values[:, j], color=colour, linestyle=dash, zorder=2)
        ax.plot([1.0, 1.03], [place, label_at], color=colour, linewidth=1.5, transform=ax.transAxes, clip_on=False)
        ax.text(1.035, label_at, f"latent {j + 1}: {values[-1, j]:.2f} nats", fontsize=12, va="center",
                transform=ax.transAxes)
    ax.axhline(IN_USE, color="black", linewidth=1.2, linestyle=":")
    ax.text(0.995, IN_USE, f"in use above {IN_USE:g} nats", ha="right", va="bottom", fontsize=11, path_effects=HALO,
            transform=ax.get_yaxis_transform())
    marks = [mark for mark in (0, IN_USE, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if mark <= top]
    ax.set_yticks(marks, labels=[f"{mark:g}" for mark in marks])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("KL of a dimension (nats)")
    count = (values > IN_USE).sum(1)
    below.step(steps, count, where="post", color="black")
    below.text(1.035, count[-1], f"{count[-1]} of {len(used)}", fontsize=12, va="center",
               transform=below.get_yaxis_transform())
    below.set(xlabel=xlabel, ylabel="in use", ylim=(0, 1.08 * len(used)))
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _apart(places: Sequence[float], gap: float) -> np.ndarray:
    """Heights near to ascending places, as shares of a panel, but with a gap between neighbours: room for labels."""
    n, moved = len(places), np.array(places, dtype=float)
    gap = min(gap, 1 / max(1, n - 1))
    for k in range(1, n):
        moved[k] = max(moved[k], moved[k - 1] + gap)
    for k in range(n - 1, -1, -1):                      # what was pushed out at the top comes down again
        moved[k] = min(moved[k], 1 - (n - 1 - k) * gap)
    return moved


def quantile_grid(cells: int) -> Tensor:
    """Places in the plane, each standing for the same share of N(0, I), as an image is read: (cells², 2).

    Along each axis they are the quantiles (k + ½)/cells of N(0, 1). Raises ValueError for cells below 1.
    """
    require(cells >= 1, f"cells is {cells}; it must be at least 1.")
    z = torch.special.ndtri((torch.arange(cells, dtype=torch.float64) + 0.5) / cells).float()
    return torch.stack([z.repeat(cells), z.flip(0).repeat_interleave(cells)], 1)


def manifold(images: Tensor, title: str) -> plt.Figure:
    """What is decoded at ``quantile_grid``: images (cells², C, H, W), in its order, with z marked on both axes.

    Raises ValueError where the number of images is no square.
    """
    cells = round(len(images) ** 0.5)
    require(cells**2 == len(images) and cells > 0,
            f"there are {len(images)} images; there must be a square of them, decoded at quantile_grid(cells).")
    fig, ax = plt.subplots(figsize=(8.2, 8.6))
    ax.imshow(mosaic(images, cells, gap=0), vmin=0, vmax=1, extent=(0, cells, 0, cells))
    marks = torch.tensor([-2, -1, -0.5, 0, 0.5, 1, 2], dtype=torch.float64)
    names = [f"{mark:g}".replace("-", "−") for mark in marks.tolist()]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks((cells * torch.special.ndtr(marks)).numpy(), labels=names)
    ax.set(xlabel="$z_1$, spaced by its quantiles under N(0, 1)", ylabel="$z_2$, spaced by its quantiles under N(0, 1)",
           anchor="N")
    ax.grid(False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig
