"""Live figure of clipped critics: for each c the surface, where the weights are, and the gradient layer by layer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import ipywidgets as ipw
import matplotlib as mpl
import numpy as np
import torch
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from course_lib.checks import require, require_shape
from course_lib.gans.critics import steepest
from course_lib.gans.slopes import layer_gradient_norms, weights_of
from course_lib.networks import Discriminator
from course_lib.plots.style import BLUE, GREY, RED
from course_lib.widgets.base import WRAP, Live, number, size_of
from course_lib.widgets.kept import HALO, KeptFigure

SIDE, BAND = 121, 0.1               # points of the surface along each side; its bands are so high, in units of x
BINS = 41                           # of weights, from −c to c
SHOWN = 120                         # data and fakes drawn


class ClippedCritics(NamedTuple):
    """Critics of one task, one for each c, and the task's samples: x (n, 2) real, y (m, 2) fake."""

    critics: Mapping[float, Discriminator]
    x: Tensor
    y: Tensor


class Reading(NamedTuple):
    """What there is to see of one critic. surface: f/K less its mean over the plane, (SIDE, SIDE), row 0 at the bottom,
    None where f is the same everywhere but for rounding; gap: then NaN; shares: of the weights in BINS bins."""

    surface: np.ndarray | None
    K: float
    gap: float
    at_c: float
    shares: np.ndarray
    norms: np.ndarray


def clipping_explorer(tasks: Mapping[str, tuple[Mapping[float, Discriminator], Tensor, Tensor]]) -> Live:
    """Slide c: the critic's surface with data and fakes, its weights between −c and c, and ‖∂f/∂h_l‖ over its layers.

    tasks: name → (critics by their c, x (n, 2) real, y (m, 2) fake), trained already; all is read off them here, in
    some tenths of a second each. Raises ValueError where there are none, or samples are not in the plane.
    """
    tasks = {name: ClippedCritics(*task) for name, task in tasks.items()}
    require(len(tasks) > 0 and all(len(task.critics) > 0 for task in tasks.values()),
            "there is no critic to show: give a task, and a critic for one c at least.")
    for task in tasks.values():
        require_shape("x", task.x, None, 2)
        require_shape("y", task.y, None, 2)
    readings = {name: {c: reading(f, c, task.x, task.y) for c, f in sorted(task.critics.items())}
                for name, task in tasks.items()}
    wide = {"layout": ipw.Layout(width="30em"), "style": {"description_width": "9em"}}
    first = next(iter(readings))
    which = ipw.Dropdown(options=list(readings), value=first, description="critics of", **wide)
    at = ipw.SelectionSlider(options=_options(readings[first]), index=len(readings[first]) // 2,
                             description="clipped at c =", **wide)
    picture, words, drawing = ipw.Image(format="png"), ipw.HTML(), ClippingDrawing(tasks, readings)

    def show(_=None) -> None:
        now = readings[which.value][at.value]
        picture.value = drawing.png_of(which.value, at.value)
        words.value = f"<p>{clipping_in_words(which.value, at.value, now)}</p>"

    def choose(_) -> None:
        """The other task's c, as near to the one that was shown as there is."""
        c, options = at.value, _options(readings[which.value])
        at.unobserve(show, "value")
        at.options = options
        at.index = int(np.argmin([abs(math.log(other / c)) for _, other in options]))
        at.observe(show, "value")
        show()

    which.observe(choose, "value")
    at.observe(show, "value")
    show()
    return Live([ipw.HBox([which, at], layout=WRAP), picture, words], picture.value,
                "Explorer of clipped critics: run the cell, then slide c.")


def _options(readings):
    return [(f"{c:g}", c) for c in readings]


# --- numbers ---------------------------------------------------------------------------------------------------------

def reach_of(x: Tensor, y: Tensor) -> float:
    """How far the plane goes to each side: all data are in it, and of the fakes' coordinates 98 % or more."""
    return math.ceil(10 * max(1.05 * x.abs().max().item(), y.abs().flatten().quantile(0.98).item())) / 10


def reading(f: Discriminator, c: float, x: Tensor, y: Tensor) -> Reading:
    """All numbers of one critic, in double precision: a deep one's slope may be below 1e-20."""
    norms = layer_gradient_norms(f, torch.cat([x, y])).numpy()
    f, weights = copy.deepcopy(f).eval().double(), weights_of(f).double()
    ticks = torch.linspace(-1, 1, SIDE, dtype=torch.float64) * reach_of(x, y)
    plane = torch.cartesian_prod(ticks, ticks).flip(1)
    K = steepest(f, plane).item()
    with torch.no_grad():
        values, gap = f(plane), f(x.double()).mean() - f(y.double()).mean()
    lost = (values.max() - values.min()) < 1e-12 * values.abs().max()
    surface = None if lost else ((values - values.mean()) / K).view(SIDE, SIDE).numpy()
    counts = np.histogram((weights / c).clamp(-1, 1).numpy(), np.linspace(-1, 1, BINS + 1))[0]
    return Reading(surface, K, math.nan if lost else gap.item(), (weights.abs() > 0.999 * c).double().mean().item(),
                   counts / len(weights), norms)


def clipping_in_words(name: str, c: float, now: Reading) -> str:
    """What the picture shows, for those who do not see it."""
    seen = ("f is the same everywhere but for rounding, so nothing can be seen of its surface" if now.surface is None
            else f"the gap is {_size(now.gap)}, and gap/K = {number(now.gap / now.K)} units of x, a lower bound of "
                 "W₁")
    return (f"{name}, c = {c:g}: the steepest slope found is K = {_size(now.K)}; {seen}. {now.at_c:.0%} of the "
            f"weights are at ±c. The gradient is {_size(now.norms[-1])} at the last hidden layer and "
            f"{_size(now.norms[0])} at the samples, {len(now.norms) - 1} layers further back.")


def _size(value):
    """Three digits or so, however large."""
    return size_of(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3)


# --- picture ---------------------------------------------------------------------------------------------------------

class ClippingDrawing(KeptFigure):
    """Left the surface, right above the weights, right below the gradient over the layers."""

    def __init__(self, tasks: Mapping[str, ClippedCritics], readings: Mapping[str, Mapping[float, Reading]]):
        super().__init__(11.4, 6.4)
        self.tasks, self.readings = tasks, readings
        axes = self.figure.subplot_mosaic([["surface", "weights"], ["surface", "layers"]], width_ratios=[1.15, 1])
        self.surface, self.weights, self.layers = axes["surface"], axes["weights"], axes["layers"]
        self.figure.suptitle("A clipped critic; grey lines: the others", x=0.01, ha="left", fontsize=14,
                             fontweight="bold")
        for ax in axes.values():
            ax.set_title(" ", fontsize=15)                              # the place of the heads, which move
        self.heads = {name: ax.text(0, 1.02, "", transform=ax.transAxes, va="bottom", fontsize=13)
                      for name, ax in axes.items()}
        self.image = self.surface.imshow(np.zeros((2, 2, 3)), origin="lower", extent=(-1, 1, -1, 1), zorder=1)
        self.fakes, = self.surface.plot([], [], "x", color=RED, markersize=4, markeredgewidth=1, label="fakes")
        self.data, = self.surface.plot([], [], "o", color="white", markersize=4, markeredgecolor="black",
                                       markeredgewidth=0.6, label="data")
        self.surface.set(xlabel="first coordinate (units of x)", ylabel="second coordinate (units of x)",
                         aspect="equal")
        self.surface.grid(False)
        for axis in (self.surface.xaxis, self.surface.yaxis):           # as wide in all tasks
            axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 1)))
        self.figure.legend(handles=[self.data, self.fakes], loc="upper right", ncols=2, markerscale=1.5)
        self.flat = self.surface.text(0.5, 0.5, "", transform=self.surface.transAxes, ha="center", va="center",
                                      fontsize=14, path_effects=HALO)
        edges = np.linspace(-1, 1, BINS + 1)
        self.bars = self.weights.stairs(np.zeros(BINS), edges, fill=True, color=BLUE)
        self.weights.set(xlim=(-1.04, 1.04), ylim=(0, 0.6), xlabel="weight, in units of c",
                         ylabel="share of\nthe weights")
        self.weights.set_xticks([-1, -0.5, 0, 0.5, 1], labels=["−c", "−½c", "0", "½c", "c"])
        self.weights.set_yticks([0, 0.2, 0.4, 0.6], labels=["0 %", "20 %", "40 %", "60 %"])
        self.line, = self.layers.plot([], [], "-o", color=BLUE, markersize=6)
        self.others: list = []
        self.layers.set(yscale="log", xlabel="layer l: 0 is the input x", ylabel="mean size\nof ∂f/∂hₗ")
        self.moving = [self.image, self.fakes, self.data, self.flat, self.bars, self.line, *self.heads.values()]
        self.changing = [self.surface, self.layers]
        # The layout is found with the widest labels, those of the smallest numbers.
        self._axes_of(min(readings, key=lambda name: min(now.norms.min() for now in readings[name].values())))
        self.settle()

    def png_of(self, name: str, c: float) -> bytes:
        """The picture of one critic, as PNG."""
        task, now = self.tasks[name], self.readings[name][c]
        self._axes_of(name)
        self.image.set_data(banded(now.surface))
        self.flat.set_text("f is flat, but for rounding" if now.surface is None else "")
        self.fakes.set_data(*task.y[:SHOWN].T)
        self.data.set_data(*task.x[:SHOWN].T)
        self.bars.set_data(now.shares)
        self.line.set_data(range(len(now.norms)), now.norms)
        self.heads["surface"].set_text(f"c = {c:g}: K = {_size(now.K)}; f/K in bands of {BAND:g} units of x")
        self.heads["weights"].set_text(f"{now.at_c:.0%} are at ±c")
        self.heads["layers"].set_text(f"at the samples: {_size(now.norms[0])}")
        return self.picture(name)

    def _axes_of(self, name):
        """Sets the axes of a task; its other critics are thin lines."""
        task, readings = self.tasks[name], self.readings[name].values()
        reach = reach_of(task.x, task.y)
        self.surface.set(xlim=(-reach, reach), ylim=(-reach, reach))
        self.image.set_extent((-reach, reach, -reach, reach))
        for line in self.others:
            line.remove()
        self.others = [self.layers.plot(now.norms, "-", color="#BBBBBB", linewidth=1, zorder=1)[0] for now in readings]
        self.others.append(self.layers.axhline(1, color=GREY, linewidth=1, linestyle="--", zorder=1))
        low, high = (pick(pick(now.norms) for now in readings) for pick in (min, max))
        last = max(len(now.norms) for now in readings) - 1
        self.layers.set(xlim=(-0.3, last + 0.3), ylim=(min(low, 1) / 5, max(high, 1) * 5), xticks=range(last + 1))


def banded(surface: np.ndarray | None) -> np.ndarray:
    """(SIDE, SIDE, 3) colours, brighter where it is higher, one for each band of the height BAND; grey where flat."""
    if surface is None:
        return np.full((SIDE, SIDE, 3), 0.85)
    band = np.floor(surface / BAND)
    return mpl.colormaps["cividis"]((band - band.min()) / max(np.ptp(band), 1))[..., :3]
