"""Live figure of two distributions moved apart: KL, JS and W₁ at the distance θ, and what slope each offers there."""

from __future__ import annotations

import math
from typing import NamedTuple

import ipywidgets as ipw
import numpy as np
import torch

from course_lib.checks import require
from course_lib.divergences import gaussians_apart, js_of_histograms, lines_apart, uniforms_apart, wasserstein_1d
from course_lib.plots.style import BLUE, GREEN, GREY, RED
from course_lib.widgets.base import WRAP, Live, number, size_of
from course_lib.widgets.kept import KeptFigure, least

LOG_2 = math.log(2)
MOST, STEP = 2.0, 0.05              # θ from −2 to 2
THINNEST, WIDEST = 0.1, 1.0         # s and w
PAIRS = {"two lines": None, "Gaussians": "s", "uniforms": "w", "samples": "s"}      # and what their width is called
SAMPLES, BIN, REACH = 200, 0.25, 6  # of each; the bins' width; they cover ±6
TOPS = {"KL": 10.0, "JS": 0.8, "W₁": 2.3}       # of the three axes, for all pairs
FINITE = 8.5                        # the KL is drawn up to here; ∞ stands above
INFINITE = 9.4
HEIGHTS = (0.6, 1.3, 2.6, 5.5, 13)         # the densities' axis ends at one of these


class Reading(NamedTuple):
    """What the three say at one θ: values (nats, nats, units of θ), and slopes (per unit of θ), NaN for none."""

    values: tuple[float, float, float]
    slopes: tuple[float, float, float]


def apart_explorer(theta: float = 1.0, pair: str = "two lines", width: float = 0.5) -> Live:
    """Slide θ, the distance of two distributions: both of them, and KL, JS and W₁ against θ with their tangents.

    theta: in ±2; pair: "two lines", "Gaussians", "uniforms" or "samples" (200 points each, from Gaussians); width: the
    standard deviation s of the Gaussians, the length w of the uniforms, 0.1 to 1. Raises ValueError for others.
    """
    require(abs(theta) <= MOST, f"theta is {theta}; the slider goes from {-MOST:g} to {MOST:g}.")
    require(pair in PAIRS, f"pair is {pair!r}; it must be one of {', '.join(map(repr, PAIRS))}.")
    require(THINNEST <= width <= WIDEST, f"width is {width}; the slider goes from {THINNEST:g} to {WIDEST:g}.")
    wide = {"layout": ipw.Layout(width="32em"), "style": {"description_width": "12.5em"}}
    which = ipw.Dropdown(options=list(PAIRS), value=pair, description="pair", **wide)
    away = ipw.FloatSlider(theta, min=-MOST, max=MOST, step=STEP, description="θ (units of x)", **wide)
    size = ipw.FloatSlider(width, min=THINNEST, max=WIDEST, step=0.05, description="width s or w (units of x)", **wide)
    picture, words, drawing = ipw.Image(format="png"), ipw.HTML(), ApartDrawing()

    def show(_=None) -> None:
        size.disabled = PAIRS[which.value] is None
        # A slider's 0 may be 3e-17, and its 0.3 not 0.3: kinks and jumps lie exactly there.
        place = which.value, round(away.value, 6) + 0.0, round(size.value, 6)
        now = reading(*place)
        picture.value = drawing.png_of(*place, now)
        words.value = f"<p>{apart_in_words(*place, now)}</p>"

    for control in (which, away, size):
        control.observe(show, "value")
    drawing.known("samples", round(size.value, 6))              # these take long: not while somebody waits
    show()
    return Live([ipw.HBox([which, away, size], layout=WRAP), picture, words], picture.value,
                "Explorer of KL, JS and W₁: run the cell, then slide θ.")


# --- numbers ---------------------------------------------------------------------------------------------------------

def samples(width: float) -> tuple[torch.Tensor, torch.Tensor]:
    """200 points each of two independent draws from N(0, width²), always the same: the second is to be moved by θ."""
    noise = torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return width * noise[0], width * noise[1]


def bins() -> torch.Tensor:
    return torch.linspace(-REACH, REACH, round(2 * REACH / BIN) + 1, dtype=torch.float64)


def closed_form(pair: str, theta: float | torch.Tensor, width: float):
    """``divergences.Apart`` of a pair whose divergences are known."""
    if pair == "two lines":
        return lines_apart(theta)
    return gaussians_apart(theta, width) if pair == "Gaussians" else uniforms_apart(theta, width)


def reading(pair: str, theta: float, width: float) -> Reading:
    """KL, JS and W₁ of a pair at θ with their slopes. Of samples, KL is that of the points as they stand, which no
    point shares, and JS that of their shares in bins: it jumps where a point passes from bin to bin, and is flat
    between."""
    if pair != "samples":
        at = closed_form(pair, theta, width)
        return Reading((at.kl.item(), at.js.item(), at.w1.item()), (at.dkl.item(), at.djs.item(), at.dw1.item()))
    x, y = samples(width)
    moved = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    w1 = wasserstein_1d(x, y + moved)
    slope, = torch.autograd.grad(w1, moved)
    return Reading((math.inf, js_of_histograms(x, y + theta, bins()).item(), w1.item()), (math.nan, 0.0, slope.item()))


def curves(pair: str, width: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """θ from −2 to 2, and KL, JS and W₁ there."""
    if pair == "samples":
        theta = np.round(np.linspace(-MOST, MOST, 81), 6)
        x, y = samples(width)
        js = [js_of_histograms(x, y + t, bins()).item() for t in theta]
        w1 = [wasserstein_1d(x, y + t).item() for t in theta]
        return theta, {"KL": np.full(81, math.inf), "JS": np.array(js), "W₁": np.array(w1)}
    right = torch.linspace(0, MOST, 161, dtype=torch.float64)                   # the other side is its mirror image
    at = closed_form(pair, right, width)

    def both(values):
        return np.concatenate([values.numpy()[:0:-1], values.numpy()])

    return np.concatenate([-right.numpy()[:0:-1], right.numpy()]), {"KL": both(at.kl), "JS": both(at.js),
                                                                   "W₁": both(at.w1)}


def in_digits(value: float) -> str:
    return "∞" if math.isinf(value) else number(value)


def of_slope(name: str, pair: str, value: float, slope: float) -> str:
    """In words: what one who can move θ is told there."""
    if math.isinf(value):
        return "no slope"
    if math.isnan(slope):
        return f"no slope: a {'jump' if name == 'KL' or (name, pair) == ('JS', 'two lines') else 'kink'}"
    if (name, pair) == ("JS", "samples"):
        return "slope 0 between jumps"
    if slope == 0:
        return "slope 0: the minimum" if value == 0 else "slope 0: no direction"
    size = f"slope {'+' if slope > 0 else '−'}{size_of(abs(slope))}"
    return size if abs(slope) >= 1e-3 else f"{size}: next to none"


def name_of(pair: str, theta: float, width: float) -> str:
    at = number(theta, 2)
    end = number(theta + width, 2)
    return {"two lines": f"Two lines, at x = 0 and x = {at}",
            "Gaussians": f"N(0, {width:.2f}²) and N({at}, {width:.2f}²)",
            "uniforms": f"U[0, {width:.2f}] and U[{at}, {end}]",
            "samples": f"{SAMPLES} points each of N(0, {width:.2f}²) and N({at}, {width:.2f}²)"}[pair]


def apart_in_words(pair: str, theta: float, width: float, now: Reading) -> str:
    """What the picture shows, for those who do not see it."""
    kl, js, w1 = (in_digits(v) for v in now.values)
    of_kl, of_js, of_w1 = (of_slope(name, pair, *both) for name, *both in zip(TOPS, *now, strict=True))
    head = f"{name_of(pair, theta, width)}, θ = {number(theta, 2)}: "
    if pair == "samples":
        return (f"{head}KL = ∞, for no point lies in both samples, and for the same reason the JS of the points as "
                f"they stand is log 2 = {LOG_2:.3f} nats at any θ. Counted in bins of {BIN:g}: JS = {js} nats, which "
                "jumps as points pass from bin to bin and is flat between (slope 0: no direction). "
                f"W₁ = {w1} units of x ({of_w1}), from the points alone.")
    flat = "" if LOG_2 - now.values[1] > 5e-4 else ", just below log 2" if pair == "Gaussians" else " = log 2"
    return (f"{head}KL = {kl}{'' if kl == '∞' else ' nats'} ({of_kl}); JS = {js} nats{flat} ({of_js}); "
            f"W₁ = {w1} units of x ({of_w1}). Slopes are per unit of θ.")


# --- picture ---------------------------------------------------------------------------------------------------------

class ApartDrawing(KeptFigure):
    """Left the two distributions, right the three curves over θ with the point and its tangent."""

    def __init__(self):
        super().__init__(11.4, 7.0)
        axes = self.figure.subplot_mosaic([["pair", "KL"], ["pair", "JS"], ["pair", "W₁"]], width_ratios=[1, 1.15])
        self.axes, self.curves = axes, {}
        self._left(axes["pair"])
        self.lines, self.dots, self.tangents, self.heads, self.rings, self.alone = ({} for _ in range(6))
        for name, unit in (("KL", "nats"), ("JS", "nats"), ("W₁", "units of x")):
            self._right(axes[name], name, unit)
        axes["W₁"].set_xlabel("θ (units of x)")
        self.figure.suptitle("How far apart, and in which direction are the data?", x=0.01, ha="left", fontsize=15,
                             fontweight="bold")
        self.changing = [axes["pair"]]
        self.figure.align_ylabels([axes[name] for name in TOPS])
        self.settle()

    def _left(self, ax) -> None:
        ax.set(xlim=(-4, 4), xlabel="x (units of the data)", title=" ")      # the title moves: this keeps its place
        self.name = ax.text(0, 1.0, "", transform=ax.transAxes, va="bottom", fontsize=13, fontweight="bold")
        self.fill = ax.fill_between([0, 1], [0, 0], facecolor="#BFE5D6", linewidth=0)
        self.theta, = ax.plot([], [], "-", color=GREEN, linewidth=3.4, label="$\\mathregular{P_θ}$")
        self.zero, = ax.plot([], [], "--", color="black", linewidth=2.6, label="$\\mathregular{P_0}$")
        self.ticks = [ax.plot([], [], "|", color=colour, markersize=13, markeredgewidth=1, alpha=0.6)[0]
                      for colour in ("black", GREEN)]
        ax.legend(handles=[self.zero, self.theta], loc="upper left", fontsize=14, handlelength=2.6)
        self.moving += [self.fill, self.theta, self.zero, *self.ticks, self.name]

    def _right(self, ax, name, unit) -> None:
        top = TOPS[name]
        ax.set(xlim=(-MOST - 0.1, MOST + 0.1), ylim=(-0.05 * top, top), ylabel=f"{name} ({unit})", title=" ")
        if name == "KL":
            ax.set_yticks([0, 2, 4, 6, 8, INFINITE], labels=["0", "2", "4", "6", "8", "∞"])
            ax.axhline(FINITE + 0.15, color=GREY, linewidth=1, linestyle=(0, (2, 3)))       # the axis is broken here
        if name == "JS":
            ax.set_yticks([0, 0.2, 0.4, LOG_2], labels=["0", "0.2", "0.4", "log 2"])
        if name != "W₁":
            ax.tick_params(labelbottom=False)
        self.lines[name], = ax.plot([], [], "-", color=BLUE, linewidth=2.6)
        self.rings[name], = ax.plot([], [], "o", color="white", markeredgecolor=BLUE, markeredgewidth=2, markersize=7)
        self.alone[name], = ax.plot([], [], "o", color=BLUE, markersize=7)
        self.tangents[name], = ax.plot([], [], "-", color=RED, linewidth=5, alpha=0.75, solid_capstyle="round")
        self.dots[name], = ax.plot([], [], "o", color="black", markersize=9)
        self.heads[name] = ax.text(0, 1.02, "", transform=ax.transAxes, va="bottom", fontsize=14, fontweight="bold")
        self.moving += [artists[name] for artists in (self.lines, self.rings, self.alone, self.tangents, self.dots,
                                                      self.heads)]

    def known(self, pair: str, width: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """``curves``, computed once."""
        if (pair, width) not in self.curves:
            self.curves[pair, width] = curves(pair, width)
        return self.curves[pair, width]

    def png_of(self, pair: str, theta: float, width: float, now: Reading) -> bytes:
        """The picture of a pair at θ, as PNG."""
        state = self._axes_of(pair, width)
        self._pair(pair, theta, width)
        at, known = self.known(pair, width)
        for name, value, slope in zip(TOPS, now.values, now.slopes, strict=True):
            in_bins = (name, pair) == ("JS", "samples")
            self._curve(name, at, known[name], in_bins)
            self._here(name, theta, value, slope)
            unit = "" if name == "W₁" or math.isinf(value) else " nats"
            what = f"{name} in bins" if in_bins else name
            self.heads[name].set_text(f"{what} = {in_digits(value)}{unit}; {of_slope(name, pair, value, slope)}")
        return self.picture(state)

    def _axes_of(self, pair, width):
        """Sets the left axes; returns what they depend on."""
        ax = self.axes["pair"]
        if pair == "two lines":
            top, label = 1.3, "u, the place along the line"
        elif pair == "samples":
            top, label = 1.3, "share of the points at or below x"
        else:
            peak = 1 / width if pair == "uniforms" else 1 / (width * math.sqrt(2 * math.pi))
            top, label = least(HEIGHTS, 1.3 * peak), "density (per unit of x)"
        low = -0.16 if pair == "samples" else -0.03 * top
        across = 2.6 if pair == "two lines" else 4.2
        ax.set(xlim=(-across, across), ylim=(low, top), ylabel=label)
        return label, top

    def _pair(self, pair, theta, width) -> None:
        self.name.set_text({"two lines": "Two lines in the plane", "Gaussians": f"Two Gaussians, s = {width:.2f}",
                            "uniforms": f"Two uniforms, w = {width:.2f}",
                            "samples": f"{SAMPLES} + {SAMPLES} points, their CDFs"}[pair]
                           + f"; θ = {number(theta, 2)}")
        self.fill.set_data([0, 1], [0, 0], 0)
        for ticks in self.ticks:
            ticks.set_data([], [])
        if pair == "two lines":
            self.zero.set_data([0, 0], [0, 1])
            self.theta.set_data([theta, theta], [0, 1])
        elif pair == "samples":
            for line, ticks, points, y in zip((self.zero, self.theta), self.ticks, samples(width), (-0.05, -0.11),
                                              strict=True):
                points = points.sort().values.numpy() + (theta if line is self.theta else 0)
                line.set_data(*_stairs(points))
                ticks.set_data(points, np.full(len(points), y))
        else:
            x, p = _uniform(width) if pair == "uniforms" else _normal(width)
            self.zero.set_data(x, p)
            self.theta.set_data(x + theta, p)
            self.fill.set_data(x + theta, p, 0)

    def _curve(self, name, at, values, in_bins) -> None:
        """Infinite values at the height of ∞; where the curve jumps, a ring for what it leaves out and a dot for what
        it is there. Values in bins are dots: between them it jumps many times."""
        values = np.where(np.isinf(values), INFINITE, np.where(values > FINITE, np.nan, values))
        middle = len(at) // 2                                   # θ = 0: there, and nowhere else, a curve may jump
        jumps = abs(values[middle + 1] - values[middle]) > 0.5 * LOG_2 and name != "W₁" and values[middle] == 0
        self.rings[name].set_data([0] if jumps else [], [values[middle + 1]] if jumps else [])
        self.alone[name].set_data([0] if jumps else [], [values[middle]] if jumps else [])
        if jumps:
            values[middle] = np.nan
        self.lines[name].set_data(at, values)
        self.lines[name].set(**{"linestyle": "none", "marker": "."} if in_bins else {"linestyle": "-", "marker": ""})

    def _here(self, name, theta, value, slope) -> None:
        shown = INFINITE if math.isinf(value) else min(value, FINITE)
        self.dots[name].set_data([theta], [shown])
        self.dots[name].set_marker("o" if shown == value or math.isinf(value) else "^")
        if math.isnan(slope) or math.isinf(value) or value > FINITE:
            self.tangents[name].set_data([], [])
            return
        # As long on the screen, however steep: 1 unit of θ is a share 1/across of the axes' width, 1 nat 1/up.
        ax = self.axes[name]
        across, up = (np.ptp(limits) / length for limits, length in
                      zip((ax.get_xlim(), ax.get_ylim()), (ax.bbox.width, ax.bbox.height), strict=True))
        half = 62 * across / math.hypot(1, slope * across / up)
        self.tangents[name].set_data([theta - half, theta + half], [value - half * slope, value + half * slope])


def _normal(width):
    z = np.concatenate([[-90], np.linspace(-5, 5, 201), [90]])
    return width * z, np.exp(-z**2 / 2) / (width * math.sqrt(2 * math.pi))


def _uniform(width):
    return np.array([-9, 0, 0, width, width, 9]), np.array([0, 0, 1, 1, 0, 0]) / width


def _stairs(points):
    """The empirical CDF of sorted points, as the corners of its steps."""
    share = np.arange(len(points) + 1) / len(points)
    return np.concatenate([[-9], points.repeat(2), [9]]), share.repeat(2)
