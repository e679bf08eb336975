"""Live figure of the KL: a Gaussian q against the standard normal, where its cost comes from, and its two parts."""

from __future__ import annotations

import math

import ipywidgets as ipw
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from course_lib.autoencoders import kl_normal
from course_lib.checks import require
from course_lib.plots.style import BLUE, GREEN, ORANGE, RED
from course_lib.widgets.base import Live, number
from course_lib.widgets.kept import KeptFigure, least

MOST_AWAY, FINEST, WIDEST = 3.0, -4.3, 1.6      # |μ| at most; log₂ σ from … to …: σ from 0.05 to 3
WIDTHS = (5, 10, 16)                            # the z axis shows −w … w
DENSITIES = (0.8, 1.6, 3, 6, 12)                # and the others up to one of these: a drag seldom moves the axes
HEIGHTS = (0.5, 1, 1.5, 2.5, 5, 8, 12, 20, 30, 50, 80, 120)
KEPT = 16                                       # backgrounds in memory, 2 MB each


def kl_explorer(mu: float = 1.5, sigma: float = 0.4) -> Live:
    """Slide μ and σ of q = N(μ, σ²): q and p = N(0, 1), the integrand q log(q/p) with its area, and the cost's parts.

    mu, sigma: where the sliders stand first. Raises ValueError for μ beyond ±3 and for σ not in 0.051 … 3.03.
    """
    require(abs(mu) <= MOST_AWAY, f"mu is {mu}; the slider goes from {-MOST_AWAY:g} to {MOST_AWAY:g}.")
    require(2**FINEST <= sigma <= 2**WIDEST,
            f"sigma is {sigma}; the slider goes from {2**FINEST:.3f} to {2**WIDEST:.2f}.")
    wide = {"layout": ipw.Layout(width="26em"), "style": {"description_width": "7em"}}
    away = ipw.FloatSlider(mu, min=-MOST_AWAY, max=MOST_AWAY, step=0.05, description="μ (mean)", **wide)
    spread = ipw.FloatLogSlider(sigma, base=2, min=FINEST, max=WIDEST, step=0.05, description="σ (log scale)",
                                readout_format=".3f", **wide)
    picture, words, drawing = ipw.Image(format="png"), ipw.HTML(), KLDrawing()

    def show(_=None) -> None:
        cost = kl_cost(away.value, spread.value)
        picture.value = drawing.png(away.value, spread.value, cost)
        words.value = f"<p>{in_words(away.value, spread.value, cost)}</p>"

    for control in (away, spread):
        control.observe(show, "value")
    show()
    return Live([ipw.HBox([away, spread], layout=ipw.Layout(flex_flow="row wrap")), picture, words], picture.value,
                "KL explorer: run the cell, then slide μ and σ.")


def normal(z: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    """The density of N(mu, sigma²) at z."""
    return np.exp(-((z - mu) / sigma) ** 2 / 2) / (sigma * math.sqrt(2 * math.pi))


def integrand(z: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    """q(z) log(q(z)/p(z)), in nats per unit of z."""
    return normal(z, mu, sigma) * ((z**2 - ((z - mu) / sigma) ** 2) / 2 - math.log(sigma))


def kl_cost(mu: float, sigma: float) -> dict[str, float]:
    """In nats: the two parts of the cost, the closed form that trains the VAEs, and the areas of the integrand."""
    mean, log_var = torch.tensor([[[mu]], [[2 * math.log(sigma)]]], dtype=torch.float64)
    z = mu + sigma * np.linspace(-12, 12, 4_001)
    height = integrand(z, mu, sigma)
    return {"away": mu**2 / 2, "width": (sigma**2 - 1 - math.log(sigma**2)) / 2,
            "closed form": kl_normal(mean, log_var).item(), "area": float(np.trapezoid(height, z)),
            "above": float(np.trapezoid(height.clip(0), z)), "below": float(np.trapezoid(height.clip(None, 0), z))}


def in_words(mu: float, sigma: float, cost: dict[str, float]) -> str:
    """What the picture shows, for those who do not see it."""
    shape = "narrower than p" if sigma < 0.9995 else "wider than p" if sigma > 1.0005 else "as wide as p"
    return (f"q = N({number(mu, 2)}, {sigma:.3f}²), {shape}: being away {cost['away']:.3f} nats + being wider or "
            f"narrower {cost['width']:.3f} nats = {cost['closed form']:.3f} nats in closed form; "
            f"area {number(cost['above'])} above 0 and {number(cost['below'])} below: {number(cost['area'])} nats.")


class KLDrawing(KeptFigure):
    """Above the two densities and the cost's bars, below the integrand and the price of a width."""

    def __init__(self):
        super().__init__(11.4, 6.0, KEPT)
        self.axes = axes = self.figure.subplot_mosaic([["curves", "bars"], ["area", "width"]], width_ratios=[1.25, 1])
        self.changing = [axes["curves"], axes["area"]]
        self._curves(axes["curves"], axes["area"])
        self._bars(axes["bars"])
        self._price(axes["width"])
        self.figure.suptitle("KL(q‖p): being away from 0 costs, and being narrower or wider than 1", x=0.01, ha="left",
                             fontsize=14, fontweight="bold")
        self._scale(WIDTHS[-1], DENSITIES[0], HEIGHTS[0])      # the layout is found at its widest tick labels
        self.settle()

    def _curves(self, top, low) -> None:
        q, = top.plot([], [], "-", color=BLUE, linewidth=3, label="q = N(μ, σ²): the code")
        p, = top.plot([], [], "--", color="black", linewidth=1.8, label="p = N(0, 1): the prior")
        top.set(ylabel="density (per unit of z)", title="The two densities")
        above = low.fill_between([0, 1], [0, 0], hatch="///", facecolor="#BFD9EA", edgecolor=BLUE, linewidth=0,
                                 label="counts +")
        below = low.fill_between([0, 1], [0, 0], hatch="xxx", facecolor="#F6CDB8", edgecolor=RED, linewidth=0,
                                 label="counts −")
        line, = low.plot([], [], color="black", linewidth=1.6)
        low.axhline(0, color="black", linewidth=0.8)
        low.set(xlabel="z (units of the code)", ylabel="nats per unit of z",
                title="q·log(q/p): its area is the KL")
        for ax in (top, low):
            ax.legend(loc="upper left", handlelength=1.8)
            ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
            ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))     # one decimal: the labels fit
        text = low.text(0.98, 0.95, "", transform=low.transAxes, ha="right", va="top", fontsize=12,
                        linespacing=1.4)
        self.p, self.q, self.above, self.below, self.line, self.sums = p, q, above, below, line, text
        self.moving = [q, p, above, below, line, text]

    def _bars(self, ax) -> None:
        names = ["away\n½μ²", "wider, narrower\n½(σ² − 1 − log σ²)", "closed form\n(their sum)", "area"]
        style = {"height": 0.66, "edgecolor": "white", "linewidth": 0}
        first = ax.barh([0, 1, 2], 0, color=[GREEN, ORANGE, GREEN], hatch=["", "///", ""], **style)
        second = ax.barh([2, 3], 0, color=[ORANGE, BLUE], hatch=["///", "xx"], **style)
        ax.set_yticks(range(4), labels=names, fontsize=12)
        ax.set(xlim=(0, 9.4), ylim=(3.5, -0.5), xlabel="nats", title="Two parts; their sum = area")
        ax.grid(axis="y", visible=False)
        self.bars = [*first, *second]
        self.numbers = [ax.text(0, k, "", va="center", fontsize=13, fontweight="bold") for k in range(4)]
        self.moving += self.bars + self.numbers

    def _price(self, ax) -> None:
        sigma = 2 ** np.linspace(FINEST, WIDEST, 200)
        ax.semilogx(sigma, (sigma**2 - 1) / 2 - np.log(sigma), color=ORANGE, base=2)
        ax.set_xticks([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2], labels=["1/16", "1/8", "1/4", "1/2", "1", "2"])
        ax.set(xlabel="σ (log scale)", ylabel="nats", ylim=(-0.15, 3.3), title="½(σ² − 1 − log σ²) against σ")
        self.dot, = ax.plot([], [], "o", color="black", markersize=9)
        self.moving.append(self.dot)

    def _scale(self, width: float, density: float, cost: float) -> None:
        for name in ("curves", "area"):
            self.axes[name].set_xlim(-width, width)
        self.axes["curves"].set_ylim(0, density)
        self.axes["area"].set_ylim(-max(0.2, 0.06 * cost), cost)

    def png(self, mu: float, sigma: float, cost: dict[str, float]) -> bytes:
        """The picture of q = N(mu, sigma²), as PNG."""
        width = least(WIDTHS, abs(mu) + 3.5 * sigma)
        z = np.sort(np.concatenate([mu + sigma * np.linspace(-6, 6, 301), np.linspace(-width, width, 201)]))
        q, height = normal(z, mu, sigma), integrand(z, mu, sigma)
        scale = width, least(DENSITIES, 1.45 * q.max()), least(HEIGHTS, 1.8 * height.max())  # room for the words
        self._move(z, q, height)
        self._write(sigma, cost)
        self._scale(*scale)                             # what moves is placed by these limits too
        return self.picture(scale)

    def _move(self, z, q, height) -> None:
        self.q.set_data(z, q)
        self.p.set_data(z, normal(z, 0, 1))
        self.above.set_data(z, height.clip(0), 0)
        self.below.set_data(z, height.clip(None, 0), 0)
        self.line.set_data(z, height)

    def _write(self, sigma, cost) -> None:
        away, width, total = cost["away"], cost["width"], cost["closed form"]
        self.sums.set_text(f"above 0: {number(cost['above'])}\nbelow 0: {number(cost['below'])}\n"
                           f"area: {number(cost['area'])} nats")
        for bar, (left, length) in zip(self.bars, [(0, away), (0, width), (0, away), (away, width), (0, cost["area"])],
                                       strict=True):
            bar.set(x=left, width=length)
        for text, nats in zip(self.numbers, (away, width, total, cost["area"]), strict=True):
            text.set(x=nats + 0.12, text=number(nats))
        self.dot.set_data([sigma], [width])
