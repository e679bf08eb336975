"""Live figure of the minimax game on a line: Goodfellow's picture, scrubbed through a training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ipywidgets as ipw
import numpy as np
import torch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.gans.line import GameFrame
from course_lib.plots.style import BLUE, GREEN, GREY, ORANGE
from course_lib.widgets.base import WRAP, Live, number
from course_lib.widgets.kept import HALO, KeptFigure

LOWEST = -2 * math.log(2)           # V(G, D*) where p_g = p_r
CLIP = 1.6                          # the densities' axis ends at so many times the data's peak
LEAST_VALUE = LOWEST - 1.2          # and that of V here: a D that is sure and wrong would squeeze all else
NAMES = {"p_r": "$\\mathregular{p_r}$: the data's density", "p_g": "$\\mathregular{p_g}$: the generator's density",
         "D": "D as trained", "D_star": "D* = $\\mathregular{p_r/(p_r + p_g)}$"}


def game_explorer(frames: Sequence[GameFrame], title: str = "The game on a line", start: int = 0) -> Live:
    """Scrub through a training, or play it: densities, D over D*, the generator's map, and V(G, D) over the steps.

    frames: two or more ``GameFrame``, their steps rising, all on one even grid x; start: the index of the one that is
    shown first, and in the still. The axes are the same for all frames. Raises ValueError for frames that do not fit
    together, for values that are not finite, densities below 0 and a D outside [0, 1].
    Goodfellow et al. 2014, figure 1.
    """
    moments = _moments(frames)
    require(0 <= start < len(moments), f"start is {start}; with {len(moments)} frames it must be 0 to "
                                       f"{len(moments) - 1}.")
    drawing = GameDrawing(moments, title)
    slider = ipw.SelectionSlider(options=[f"{m['step']:,}" for m in moments], index=start, description="training step",
                                 layout=ipw.Layout(width="38em"), style={"description_width": "7em"})
    play = ipw.Play(value=start, min=0, max=len(moments) - 1, interval=250, description="play the training",
                    tooltip="play the training")
    picture, words = ipw.Image(format="png"), ipw.HTML()

    def show(_=None) -> None:
        moment = moments[slider.index]
        picture.value = drawing.png_of(moment)
        words.value = f"<p>{game_in_words(moment)}</p>"

    ipw.link((play, "value"), (slider, "index"))
    slider.observe(show, "index")
    show()
    return Live([ipw.HBox([play, slider], layout=WRAP), picture, words], picture.value,
                "Game explorer: run the cell, then slide or play the training.")


def _moments(frames) -> list[dict]:
    """The frames as dicts of float arrays and numbers, checked."""
    frames = list(frames)
    require(len(frames) >= 2, f"there are {len(frames)} frames; it takes 2 or more to watch a training.")
    steps = [frame.step for frame in frames]
    require(all(a < b for a, b in zip(steps, steps[1:], strict=False)),
            f"the frames' steps are {steps}; each must be above the one before: sort them, and leave no two equal.")
    require(steps[0] >= 0, f"the first step is {steps[0]}; steps must be 0 or more.")
    moments = []
    for k, frame in enumerate(frames):
        tensors = {name: torch.as_tensor(getattr(frame, name)).detach().cpu().double()
                   for name in ("x", "p_r", "p_g", "D", "D_star", "z", "G_z")}
        numbers = {name: float(getattr(frame, name)) for name in ("value", "best", "js")}
        require_shape(f"frame {k}'s x", tensors["x"], None)
        require_shape(f"frame {k}'s z", tensors["z"], None)
        require_same_shape(**{name: tensors[name] for name in ("x", "p_r", "p_g", "D", "D_star")})
        require_same_shape(z=tensors["z"], G_z=tensors["G_z"])
        for name, value in {**tensors, **numbers}.items():
            require(bool(torch.as_tensor(value).isfinite().all()),
                    f"frame {k}'s {name} is NaN or infinite somewhere; it must be finite: look where that arose.")
        for name in ("p_r", "p_g"):
            require(tensors[name].min() >= 0, f"frame {k}'s {name} goes down to {tensors[name].min():.4g}; a density "
                                              "must be 0 or more.")
        for name in ("D", "D_star"):
            require(bool(((tensors[name] >= 0) & (tensors[name] <= 1)).all()),
                    f"frame {k}'s {name} goes beyond [0, 1]; it must be probabilities, not logits.")
        moments.append({"step": frame.step, **{name: t.numpy() for name, t in tensors.items()}, **numbers})
    x, gaps = moments[0]["x"], np.diff(moments[0]["x"])
    require(len(gaps) >= 2 and bool((gaps > 0).all()) and np.allclose(gaps, gaps.mean(), rtol=1e-3),
            "x must rise evenly, and have 3 points at least: take the centres of even cells.")
    for k, moment in enumerate(moments):
        require(moment["x"].shape == x.shape and np.allclose(moment["x"], x),
                f"frame {k} has another x than frame 0; all frames must have the same.")
    return moments


def spread(x: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a density at the centres of even cells."""
    mean = (x * p).sum() / p.sum()
    return float(mean), float(np.sqrt(((x - mean) ** 2 * p).sum() / p.sum()))


def distance_to_best(moment: dict) -> float:
    """E|D − D*| over real and generated x, half of each: how far the trained D is from the best one."""
    weight = moment["p_r"] + moment["p_g"]
    return float((np.abs(moment["D"] - moment["D_star"]) * weight).sum() / weight.sum())


def game_in_words(moment: dict) -> str:
    """What the picture shows, for those who do not see it."""
    (mean_r, std_r), (mean_g, std_g) = (spread(moment["x"], moment[name]) for name in ("p_r", "p_g"))
    return (f"Step {moment['step']:,}: V(G, D) = {number(moment['value'])} nats with D as trained, "
            f"V(G, D*) = {number(moment['best'])} nats with the best D for this generator, so "
            f"JS = {number(moment['js'])} nats; p_g = p_r would make it {number(LOWEST)} nats, and JS 0. "
            f"Generated: mean {number(mean_g, 2)}, standard deviation {std_g:.2f}; data: mean {number(mean_r, 2)}, "
            f"standard deviation {std_r:.2f}. D is off D* by {distance_to_best(moment):.3f} on average.")


class GameDrawing(KeptFigure):
    def __init__(self, moments: list[dict], title: str):
        super().__init__(11.4, 6.6)
        self.axes = self.figure.subplot_mosaic([["curves", "value"], ["curves", "key"], ["map", "key"]],
                                               width_ratios=[1.75, 1], height_ratios=[2, 0.7, 1.05])
        self._curves(moments)
        self._map(moments)
        self._value(moments)
        self._key()
        self.figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
        self.settle()

    def _curves(self, moments) -> None:
        ax = self.axes["curves"]
        x = moments[0]["x"]
        half = (x[1] - x[0]) / 2
        data, most = (max(m[name].max() for m in moments) for name in ("p_r", "p_g"))
        self.top = 1.08 * min(max(data, most), CLIP * data)
        ax.set(xlim=(x[0] - half, x[-1] + half), ylim=(0, self.top), xlabel="x (units of the data), where G sends z:",
               ylabel="density (per unit of x)", title="Densities and discriminators")
        ax.tick_params(axis="x", labelbottom=True)
        right = ax.twinx()
        right.set(ylim=(0, 1.08),                       # a D of 1 is still seen
                   ylabel="D(x): probability that x is real")
        right.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "¼", "½", "¾", "1"])
        right.spines["right"].set_visible(True)
        right.grid(False)
        right.axhline(0.5, color=GREY, linewidth=1.2, linestyle=":")
        self.fill = ax.fill_between([0, 1], [0, 0], facecolor="#BFE5D6", linewidth=0, alpha=0.7)
        self.p_g, = ax.plot([], [], "-", color=GREEN, linewidth=3, label=NAMES["p_g"])
        self.p_r, = ax.plot([], [], "--", color="black", linewidth=2.2, label=NAMES["p_r"])
        self.best, = right.plot([], [], "--", color=ORANGE, linewidth=4.5, label=NAMES["D_star"])
        self.D, = right.plot([], [], "-", color=BLUE, linewidth=2.4, label=NAMES["D"])
        self.above = ax.text(0, 0.985 * self.top, "", color="#00694D", ha="center", va="top", fontsize=12,
                             path_effects=HALO)
        self.moving += [self.fill, self.p_g, self.p_r, self.best, self.D, self.above]
        self.axes["D"] = right

    def _map(self, moments) -> None:
        ax, (low, high) = self.axes["map"], self.axes["curves"].get_xlim()
        most = max(float(np.abs(m["z"]).max()) for m in moments) or 1.0
        self.middle, self.scale = (low + high) / 2, 0.4 * (high - low) / most       # z has its own scale: 80 % of x's
        ax.set(xlim=(low, high), ylim=(0, 1), yticks=[], xlabel="z, the noise (in standard deviations)")
        ticks = [t for t in MaxNLocator(5, integer=most > 1.5).tick_values(-most, most) if abs(t) <= most * 1.001]
        ax.xaxis.set_major_locator(FixedLocator([self.middle + self.scale * t for t in ticks]))
        ax.set_xticklabels([f"{t:g}".replace("-", "−") for t in ticks])
        ax.spines[["left", "right"]].set_visible(False)
        ax.spines["top"].set_visible(True)
        ax.grid(False)
        n = len(moments[0]["z"])
        require(all(len(m["z"]) == n for m in moments), "the frames have different numbers of z; they must have one.")
        self.arrows = ax.quiver(np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n), angles="xy", scale_units="xy",
                                scale=1, width=0.0024, headwidth=4, headlength=6, headaxislength=5, color=GREEN)
        self.moving.append(self.arrows)

    def _value(self, moments) -> None:
        ax = self.axes["value"]
        steps = np.array([m["step"] for m in moments], dtype=float)
        value, best = (np.array([m[name] for m in moments]) for name in ("value", "best"))
        low, high = min(LOWEST, max(LEAST_VALUE, value.min())), max(best.max(), value.max())
        self.least = low - 0.14 * (high - low)
        ax.axhline(LOWEST, color=GREY, linewidth=1.4, linestyle=":")
        ax.plot(steps, best, "--", color=ORANGE, linewidth=4, label="V(G, D*) = 2 JS − 2 log 2")
        ax.plot(steps, value, "-", color=BLUE, linewidth=2.2, label="V(G, D)")
        ax.set(ylim=(self.least, high + 0.08 * (high - low)), xlabel="training step", ylabel="nats",
               title="V(G, D) solid, V(G, D*) dashed")
        if np.diff(steps).max() > 5 * np.diff(steps).min():         # frames that thin out: so does the axis
            ax.set_xscale("symlog", linthresh=max(steps[steps > 0].min(), 1.0))
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlim(steps[0], steps[-1])
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}".replace("-", "−")))
        ax.annotate(f"−2 log 2 = {number(LOWEST)}", (0.99, LOWEST), (0, -3), ax.get_yaxis_transform(),
                    "offset points", color="#505050", ha="right", va="top", fontsize=12)
        self.now, = ax.plot([0, 0], [0, 1], color="black", linewidth=1.2, transform=ax.get_xaxis_transform())
        self.at_best, = ax.plot([], [], "D", color=ORANGE, markersize=11, markeredgecolor="black", clip_on=False)
        self.at_value, = ax.plot([], [], "o", color=BLUE, markersize=9, markeredgecolor="black", clip_on=False)
        self.moving += [self.now, self.at_best, self.at_value]

    def _key(self) -> None:
        ax = self.axes["key"]
        ax.axis("off")
        names = ax.legend(handles=[self.p_r, self.p_g, self.D, self.best], loc="upper left", handlelength=2.6,
                          fontsize=13, bbox_to_anchor=(-0.12, 1.0), borderaxespad=0)
        names.set_in_layout(False)
        self.sums = ax.text(-0.1, 0.0, "", va="bottom", fontsize=15, linespacing=1.35, transform=ax.transAxes,
                            in_layout=False)
        self.moving.append(self.sums)

    def png_of(self, moment: dict) -> bytes:
        """The picture of one moment, as PNG."""
        x, p_g = moment["x"], moment["p_g"]
        self.fill.set_data(x, p_g, 0)
        for line, name in ((self.p_g, "p_g"), (self.p_r, "p_r"), (self.D, "D"), (self.best, "D_star")):
            line.set_data(x, moment[name])
        peak = int(p_g.argmax())
        self.above.set_text(f"the generator's peak: {p_g[peak]:.1f}" if p_g[peak] > self.top else "")
        low, high = self.axes["curves"].get_xlim()
        self.above.set_x(min(max(x[peak], low + 0.20 * (high - low)), high - 0.20 * (high - low)))
        below = self.middle + self.scale * moment["z"]
        self.arrows.set_offsets(np.stack([below, np.zeros_like(below)], 1))
        self.arrows.set_UVC(moment["G_z"] - below, np.ones_like(below))
        self.now.set_xdata([moment["step"]] * 2)
        self.at_best.set_data([moment["step"]], [max(moment["best"], self.least)])
        self.at_value.set_data([moment["step"]], [max(moment["value"], self.least)])
        self.sums.set_text(f"step {moment['step']:,}\nV(G, D) = {number(moment['value'])} nats\n"
                           f"V(G, D*) = {number(moment['best'])} nats\nJS = {number(moment['js'])} nats")
        return self.picture()
