"""Pictures of diffusion where the density is known: clouds of points, paths, score fields, and errors of samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Protocol

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.plots.charts import DASHES, HATCHES
from course_lib.plots.diffusion import INK, MARKERS, PERCENT, titled
from course_lib.plots.style import BLUE, GREY, LINES, ORANGE, RED


class Density(Protocol):
    """Whatever says log p(x), (n,), of points x (n, 2): a ``GaussianMixture``, a curve with noise."""

    def log_prob(self, x: Tensor) -> Tensor: ...


SHADES = ("#F6E3B8", "#EBBF62")             # of the density: where 95 % of its mass are, and where half of it is
MASSES = (0.95, 0.5)
CELLS = 141                                 # of the grid on which a density is shaded, along each side


# --- in the plane ----------------------------------------------------------------------------------------------------

def cloud_strip(points: Mapping[str, Tensor], title: str, density: Density | Mapping[str, Density] | None = None,
                limit: float | None = None) -> plt.Figure:
    """A panel a name, side by side: points (n, 2) over the shaded density, half of whose mass is in the darker shade.

    density: one for all panels, or name → density; limit: panels go from −limit to limit, by default they are a square
    with 99 % of all points. Raises ValueError for points that are not in the plane.
    """
    _require_plane(points, 2)
    fig, axes, densities = _panels(points, density)
    box = _box(points.values(), limit)
    for ax, (name, cloud) in zip(axes, points.items(), strict=True):
        _shade(ax, densities.get(name), box)
        ax.plot(*cloud.detach().cpu().numpy().T, ".", color=BLUE, markersize=4, alpha=min(1.0, 0.35 + 150 / len(cloud)))
        _plane(ax, name, box)
    if densities:
        fig.legend(handles=_shades(), loc="outside lower center", ncols=2)
    return titled(fig, title)


def paths_chart(paths: Mapping[str, Tensor], title: str, density: Density | Mapping[str, Density] | None = None,
                limit: float | None = None) -> plt.Figure:
    """A panel a sampler: the paths of n points from noise (open circles) to samples (filled squares), over the density.

    paths: name → (S + 1, n, 2), a point's places after 0 … S steps; density, limit: as in ``cloud_strip``.
    """
    _require_plane(paths, 3)
    fig, axes, densities = _panels(paths, density, inches_more=0.4)
    box = _box(paths.values(), limit, share=1.0)
    for ax, (name, path) in zip(axes, paths.items(), strict=True):
        path = path.detach().cpu().numpy()
        _shade(ax, densities.get(name), box)
        ax.plot(path[..., 0], path[..., 1], "-", color=BLUE, linewidth=1, alpha=0.75)
        ax.plot(*path[0].T, "o", color=GREY, markersize=6, markerfacecolor="white", markeredgewidth=1.3)
        ax.plot(*path[-1].T, "s", color=RED, markersize=5)
        _plane(ax, name, box)
    entries = [plt.Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none", markersize=8,
                          label="start: noise"), plt.Line2D([], [], color=BLUE, label="path"),
               plt.Line2D([], [], color=RED, marker="s", linestyle="none", label="end: sample")]
    if densities:                       # a legend is filled column by column: the density's words stand below
        entries = [entries[0], _shades()[0], entries[1], _shades()[1], entries[2]]
    fig.legend(handles=entries, loc="outside lower center", ncols=3)
    return titled(fig, title)


def score_fields(fields: Mapping[str, tuple[Tensor, Tensor]], densities: Density | Mapping[str, Density] | None,
                 title: str, true_length: bool = False, limit: float | None = None) -> plt.Figure:
    """A panel a noise level: arrows (g, 2) at points (g, 2), of a score or of x̂_0 − x, over the density of that level.

    In each panel the longest arrow is drawn a little longer than the grid's step, and its length written above, in the
    arrows' own units; true_length: arrows are drawn as long as they are, from x to x̂_0.
    """
    for name, pair in fields.items():
        require(len(pair) == 2, f"fields[{name!r}] must be a pair: points (g, 2), arrows (g, 2).")
        require_same_shape(points=pair[0], arrows=pair[1])
    _require_plane({name: places for name, (places, _) in fields.items()}, 2)
    fig, axes, densities = _panels(fields, densities, inches_more=0.0 if true_length else 0.3)
    box = _box([places for places, _ in fields.values()], limit, share=1.0)
    for ax, (name, (places, arrows)) in zip(axes, fields.items(), strict=True):
        places, arrows = (values.detach().cpu().double().numpy() for values in (places, arrows))
        longest, step = np.linalg.norm(arrows, axis=1).max(), (box[1] - box[0]) / len(places) ** 0.5
        _shade(ax, densities.get(name), box)
        ax.quiver(*places.T, *arrows.T, angles="xy", scale_units="xy", color=BLUE, headwidth=4.5,
                  width=0.0045 if true_length else 0.006,
                  scale=1 if true_length or longest == 0 else longest / (1.25 * step))
        _plane(ax, name if true_length else f"{name}\nlongest arrow: {longest:.3g}", box)
    if densities:
        fig.legend(handles=_shades(), loc="outside lower center", ncols=2)
    return titled(fig, title)


def _panels(panels: Mapping, density, inches_more: float = 0.0):
    """A figure with a panel a name, higher by so much, and name → density."""
    require(len(panels) > 0, "there is nothing to draw.")
    if isinstance(density, Mapping):
        strange = [name for name in density if name not in panels]
        require(not strange, f"density has {', '.join(map(repr, strange))}; the panels are "
                             f"{', '.join(map(repr, panels))}.")
        densities = dict(density)
    else:
        densities = {} if density is None else dict.fromkeys(panels, density)
    side = min(4.3, 15 / len(panels))
    fig, axes = plt.subplots(1, len(panels), figsize=(max(side * len(panels) + 0.5, 7.2), side + 1.35 + inches_more),
                             squeeze=False, sharey=True)
    axes[0][0].set_ylabel("second coordinate")
    return fig, axes[0], densities


def _plane(ax, name: str, box: tuple[float, float, float, float]) -> None:
    ax.set(xlim=box[:2], ylim=box[2:], aspect="equal", xlabel="first coordinate")
    ax.set_title(name, fontsize=13, fontweight="normal")
    ax.grid(False)


def _box(clouds, limit: float | None, share: float = 0.995) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a square: from −limit to limit, or so that this share of all coordinates is in."""
    if limit is not None:
        return -limit, limit, -limit, limit
    places = torch.cat([cloud.detach().cpu().double().reshape(-1, 2) for cloud in clouds]).numpy()
    places = places[np.isfinite(places).all(1)]
    low, high = (np.quantile(places, q, axis=0) for q in ((1 - share) / 2, (1 + share) / 2))
    (x, y), half = (low + high) / 2, 0.55 * (high - low).max() or 1.0
    return x - half, x + half, y - half, y + half


@torch.no_grad()
def _shade(ax, density: Density | None, box: tuple[float, float, float, float]) -> None:
    """Shades where the most likely 95 % and 50 % of the mass are, of what is within the panel."""
    if density is None:
        return
    x, y = (torch.linspace(*ends, CELLS, dtype=torch.float64) for ends in (box[:2], box[2:]))
    grid = torch.cartesian_prod(y, x).flip(1)                                           # row by row
    p = torch.cat([density.log_prob(block) for block in grid.split(2_000)])             # a curve has 1,000 parts
    p = (p - p.max()).exp().view(CELLS, CELLS).numpy()
    ordered = np.sort(p.ravel())[::-1]
    mass = ordered.cumsum() / ordered.sum()
    levels = [ordered[np.searchsorted(mass, share)] for share in MASSES]
    if levels[0] < levels[1]:
        ax.contourf(x, y, p, levels=[*levels, 1.01], colors=SHADES, zorder=0.5)
        ax.contour(x, y, p, levels=levels, colors=[ORANGE], linewidths=[0.8, 1.2], zorder=0.6)


def _shades() -> list[Patch]:
    words = ("95 % of the exact density", "half of it")
    return [Patch(facecolor=shade, edgecolor=ORANGE, label=label) for shade, label in zip(SHADES, words, strict=True)]


def _require_plane(panels: Mapping[str, Tensor], dimensions: int) -> None:
    for name, values in panels.items():
        require_shape(name, values, *[None] * (dimensions - 1), 2)
        require(values.numel() > 0, f"{name} has shape {tuple(values.shape)}: it holds no point.")


# --- numbers ---------------------------------------------------------------------------------------------------------

def mode_weights_chart(weights: Tensor, found: Mapping[str, Tensor], title: str,
                       errors: Mapping[str, Tensor] | None = None) -> plt.Figure:
    """The share of samples in each mode, a bar a sampler, under a black line at the mode's true weight.

    weights: (K,), of sum 1; found: name → shares (K,); errors: name → their standard errors (K,), bars are ±2 of it.
    """
    require(len(found) > 0, "there are no samplers to draw.")
    require_shape("weights", weights, None)
    K, errors = len(weights), errors or {}
    require_same_shape(weights=weights, **found)
    for name, error in errors.items():
        require(name in found, f"errors has {name!r}; found has {', '.join(map(repr, found))}.")
        require_shape(f"errors[{name!r}]", error, K)
    fig, ax = plt.subplots(figsize=(max(9, 0.9 * K + 0.12 * K * len(found) + 2), 4.8))
    width, at = 0.8 / len(found), np.arange(1, K + 1)
    for k, ((name, shares), colour, hatch) in enumerate(zip(found.items(), cycle(LINES), cycle(HATCHES))):
        bars = 2 * errors[name].detach().cpu().numpy() if name in errors else None
        ax.bar(at + (k - (len(found) - 1) / 2) * width, shares.detach().cpu().numpy(), 0.92 * width, yerr=bars,
               color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name, capsize=3,
               error_kw={"elinewidth": 1.4, "ecolor": INK})
    ax.hlines(weights.detach().cpu().numpy(), at - 0.45, at + 0.45, color="black", linewidth=3, label="true weight")
    ax.set(xlabel="mode", ylabel="share of the samples" + ("\n(with ±2 standard errors)" if errors else ""), xticks=at)
    ax.grid(axis="x", visible=False)
    ax.yaxis.set_major_formatter(PERCENT)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(found) + 1, 5))
    return titled(fig, title)


def order_chart(errors: Mapping[str, Sequence[tuple[int, float]]], orders: Mapping[str, float], title: str,
                ylabel: str = "error at time 0 (units of x)") -> plt.Figure:
    """Errors against the number of steps S, both logarithmic, with thin straight lines that fall as 1/S^order.

    errors: sampler → (steps, error above 0) pairs; orders: words, "1/S" say, → order. Each such line starts a little
    below the sampler whose own fall, from its first to its last point, is nearest to it.
    """
    require(len(errors) > 0 and all(len(pairs) > 0 for pairs in errors.values()), "there are no errors to draw.")
    curves = {name: np.array(sorted(pairs), dtype=float) for name, pairs in errors.items()}
    for name, curve in curves.items():
        require(bool((curve > 0).all()), f"the errors of {name} go down to {curve[:, 1].min():.3g}; on a logarithmic "
                                         "axis they must be above 0: leave those out.")
    fig, ax = plt.subplots(figsize=(10, 5.4))
    for (name, curve), colour, dash, marker in zip(curves.items(), cycle(LINES), cycle(DASHES), cycle(MARKERS)):
        ax.loglog(*curve.T, color=colour, linestyle=dash, marker=marker, markersize=7, label=name)
    for (name, order), rule in zip(orders.items(), cycle(((0, (6, 4)), (0, (1, 2)), (0, (6, 3, 1, 3))))):
        nearest = min(curves.values(), key=lambda curve: abs(_fall(curve) - order))
        steps = nearest[[0, -1], 0]
        # Under the curve's lowest point relative to the line, so that the two do not cross.
        height = 0.6 * (nearest[:, 1] * nearest[:, 0] ** order).min()
        ax.loglog(steps, height / steps**order, color=GREY, linewidth=1.8, linestyle=rule, label=f"falls as {name}")
    sizes = sorted({int(s) for curve in curves.values() for s in curve[:, 0]})
    shown = sizes[:1]
    for s in sizes[1:]:
        shown += [s] if np.log(s / shown[-1]) > 0.06 * np.log(sizes[-1] / sizes[0]) else []
    ax.set_xticks(shown, labels=[f"{s:,}" for s in shown])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="steps S", ylabel=ylabel)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return titled(fig, title)


def _fall(curve: np.ndarray) -> float:
    """The order that a curve of (steps, error) has, from its first to its last point."""
    (s, e), (last_s, last_e) = curve[0], curve[-1]
    return np.log(e / last_e) / np.log(last_s / s) if last_s > s else 0.0


def posterior_chart(x: Tensor, panels: Mapping[str, Mapping[str, Tensor]], title: str,
                    xlabel: str = "xₜ₋₁ (units of x)") -> plt.Figure:
    """Densities on a line, a panel a size of step: the first of each panel thick and shaded, the exact one, others
    dashed.

    x: (g,), rising; panels: what the panel shows → name → density per unit of x, (g,).
    """
    require(len(panels) > 0 and all(len(curves) > 0 for curves in panels.values()), "there are no densities to draw.")
    require_shape("x", x, None)
    for curves in panels.values():
        require_same_shape(x=x, **curves)
    fig, axes = plt.subplots(1, len(panels), figsize=(max(5.4 * len(panels), 8), 4.6), squeeze=False)
    x = x.detach().cpu().numpy()
    entries: dict = {}
    for ax, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for k, ((label, density), colour, dash) in enumerate(zip(curves.items(), cycle([ORANGE, BLUE, RED, GREY]),
                                                                 cycle(DASHES))):
            density = density.detach().cpu().numpy()
            entries[label], = ax.plot(x, density, color=colour, linestyle=dash, linewidth=4 if k == 0 else 2.2,
                                      zorder=2 + k / 10)
            if k == 0:
                ax.fill_between(x, 0, density, color=colour, alpha=0.2, linewidth=0)
        ax.set(xlabel=xlabel, ylim=(0, None), xlim=(x[0], x[-1]))
        ax.set_title(name, fontsize=13, fontweight="normal")
    axes[0][0].set_ylabel("density (per unit of x)")
    for ax in axes[0][1:]:
        ax.set_ylabel("density")
    fig.legend(entries.values(), entries, loc="outside lower center", ncols=min(len(entries), 4))
    return titled(fig, title)
