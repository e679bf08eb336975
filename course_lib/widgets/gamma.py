"""Live figure of γ: the same test faces reconstructed, and samples, for each weight of a stored sweep, with numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ipywidgets as ipw
import numpy as np
import torch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from torch import Tensor

from course_lib.checks import require, require_shape
from course_lib.plots.images import mosaic
from course_lib.plots.style import BLUE, GREY, RED
from course_lib.recipes.sheets import from_sheet
from course_lib.widgets.base import WRAP, Live, size_of
from course_lib.widgets.kept import KeptFigure

# The numbers beside the pictures: column → the words above its panel.
MEASURES = {"pixel error": "pixel error (squared, per image)", "feature error": "feature error (squared, per image)",
            "sharpness": "sharpness (1: the data's)", "fréchet": "Fréchet distance of samples (squared)"}
LOGARITHMIC = 6                 # values farther apart than this factor stand on a logarithmic axis


class Weighing(NamedTuple):
    """What a γ made: pictures, (n, C, H, W) each, and its numbers, one for each of MEASURES."""

    reconstructions: Tensor
    samples: Tensor
    numbers: Mapping[str, float]


def gamma_explorer(rows: Sequence[Mapping], faces: Tensor, start: float | None = None) -> Live:
    """Slide γ: test faces, what the VAE/GAN of that γ makes of them, samples of it, and its errors among all the γ.

    rows: of the stored sweep, each with "gamma", MEASURES, and "pictures", a sheet (``recipes.sheets``) of as many
    reconstructions as there are faces and as many samples; faces: (n, C, H, W) in [0, 1], what was reconstructed;
    start: the γ shown at first, by default the middle one. Raises ValueError where rows do not fit or are below 2.
    """
    require_shape("faces", faces, None, None, None, None)
    weighings = weighings_of(rows, faces)
    gammas = list(weighings)
    start = gammas[len(gammas) // 2] if start is None else start
    require(start in weighings, f"start is {start:g}; the sweep has {', '.join(f'{g:g}' for g in gammas)}.")
    at = ipw.SelectionSlider(options=[(f"{g:g}", g) for g in gammas], value=start, description="weight γ",
                             continuous_update=True, layout=ipw.Layout(width="34em"),
                             style={"description_width": "6em"})
    picture, words, drawing = ipw.Image(format="png"), ipw.HTML(), GammaDrawing(weighings, faces)

    def show(_=None) -> None:
        picture.value = drawing.png_of(at.value)
        words.value = f"<p>{gamma_in_words(at.value, weighings[at.value])}</p>"

    at.observe(show, "value")
    show()
    return Live([ipw.HBox([at], layout=WRAP), picture, words], picture.value,
                "Explorer of γ: run the cell, then slide the weight.")


def weighings_of(rows: Sequence[Mapping], faces: Tensor) -> dict[float, Weighing]:
    """The sweep by its γ, from the least to the largest, its sheets opened."""
    require(len(rows) >= 2, f"there are {len(rows)} rows; a sweep has 2 or more.")
    found: dict[float, Weighing] = {}
    for row in sorted(rows, key=lambda row: row["gamma"]):
        gamma = row["gamma"]
        require(gamma > 0, f"gamma is {gamma}; on a logarithmic scale it must be above 0.")
        require(gamma not in found, f"gamma {gamma:g} comes twice: give the rows of one sweep and one seed.")
        missing = [name for name in (*MEASURES, "pictures") if name not in row]
        require(not missing, f"the row of gamma {gamma:g} has no {', no '.join(map(repr, missing))}.")
        pictures = from_sheet(row["pictures"])
        require_shape(f"the sheet of gamma {gamma:g}", pictures, 2 * len(faces), *faces.shape[1:])
        found[gamma] = Weighing(*pictures.split(len(faces)), {name: row[name] for name in MEASURES})
    return found


def gamma_in_words(gamma: float, now: Weighing) -> str:
    """What the picture shows, for those who do not see it."""
    pixel, feature, sharp, frechet = (digits(now.numbers[name]) for name in MEASURES)
    return (f"γ = {gamma:g}: the reconstructions' pixel error is {pixel} and their feature error {feature}, squared "
            f"and per image; their sharpness is {sharp} of the data's. The samples' Fréchet distance is {frechet}.")


def digits(value: float) -> str:
    """Three digits or so, however large."""
    return size_of(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3)


class GammaDrawing(KeptFigure):
    """Left three rows of images, right a panel a number against γ, in which a mark moves."""

    def __init__(self, weighings: Mapping[float, Weighing], faces: Tensor):
        super().__init__(13.2, 5.0)
        self.weighings = weighings
        n, h = len(faces), faces.shape[2]
        axes = self.figure.subplot_mosaic([["images", name] for name in MEASURES], width_ratios=[2.5, 1])
        self.images, self.panels = axes["images"], {name: axes[name] for name in MEASURES}
        self.figure.suptitle("γ weighs likeness in features against what the discriminator says", x=0.01, ha="left",
                             fontsize=14, fontweight="bold")
        self.faces, self.columns = faces, n
        self.shown = self.images.imshow(self._sheet(next(iter(weighings.values()))), vmin=0, vmax=1, cmap="gray",
                                        interpolation="nearest")
        self.images.set_yticks([1 + (h + 1) * k + h / 2 - 0.5 for k in range(3)],
                               labels=["test faces", "reconstructions", "samples"], fontsize=13)
        self.images.set(xticks=[])
        self.images.tick_params(length=0)
        self.images.grid(False)
        for side in self.images.spines.values():
            side.set_visible(False)
        self.images.set_title(" ", fontsize=15)                         # the place of the head, which moves
        self.head = self.images.text(0, 1.02, "", transform=self.images.transAxes, va="bottom", fontsize=14)
        gammas, self.marks, self.values = list(weighings), {}, {}
        for name, ax in self.panels.items():
            line = [weighings[g].numbers[name] for g in gammas]
            ax.plot(gammas, line, "-o", color=BLUE, markersize=4, linewidth=1.6)
            if name == "sharpness":
                ax.axhline(1, color=GREY, linewidth=1, linestyle="--", zorder=1)
            ax.set_title(MEASURES[name], fontsize=11, fontweight="normal", loc="left", pad=4)
            self._axes(ax, gammas, [*line, 1.0] if name == "sharpness" else line)
            self.marks[name], = ax.plot([], [], "D", color=RED, markersize=10, clip_on=False, zorder=3)
            self.values[name] = ax.text(1.03, 0.5, "", transform=ax.transAxes, va="center", fontsize=14, color=RED,
                                        fontweight="bold", clip_on=False)
        for ax in list(self.panels.values())[:-1]:
            ax.tick_params(labelbottom=False)
        list(self.panels.values())[-1].set_xlabel("weight γ")
        # The layout leaves room at the right for the widest number, then it stays.
        widest = self.figure.text(0.999, 0.5, "88,888", fontsize=14, fontweight="bold", ha="right")
        self.moving = [self.shown, self.head, *self.marks.values(), *self.values.values()]
        self.figure.get_layout_engine().set(rect=(0, 0, 1 - self._width(widest), 1))
        widest.remove()
        self.settle()

    def _width(self, words) -> float:
        """Of words, as a share of the figure."""
        return words.get_window_extent().width / self.figure.bbox.width + 0.01

    @staticmethod
    def _axes(ax, gammas, line) -> None:
        low, high = min(line), max(line)
        ax.set_xscale("log")
        ax.set_xlim(gammas[0] / 1.25, gammas[-1] * 1.25)
        powers = range(math.ceil(math.log10(gammas[0]) - 1e-9), math.floor(math.log10(gammas[-1]) + 1e-9) + 1)
        ax.xaxis.set_major_locator(FixedLocator([10.0**p for p in powers] if len(powers) > 1 else
                                                [gammas[0], gammas[-1]]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        if low > 0 and high > LOGARITHMIC * low:
            ax.set_yscale("log")
            ax.set_ylim(low / 1.5, high * 1.5)
            ticks = [d * 10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
                     for d in ((1,) if high > 50 * low else (1, 3)) if low / 1.5 <= d * 10.0**p <= high * 1.5]
            ax.yaxis.set_major_locator(FixedLocator(ticks))
            ax.yaxis.set_minor_locator(NullLocator())
        else:
            room = 0.18 * (high - low) or 0.1 * abs(high) or 1
            ax.set_ylim(low - room, high + room)
            ax.locator_params(axis="y", nbins=3)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.tick_params(labelsize=10)

    def _sheet(self, now: Weighing) -> np.ndarray:
        return mosaic(torch.cat([self.faces, now.reconstructions, now.samples]), self.columns)

    def png_of(self, gamma: float) -> bytes:
        """The picture of one γ, as PNG."""
        now = self.weighings[gamma]
        self.shown.set_data(self._sheet(now))
        self.head.set_text(f"γ = {gamma:g}")
        for name, mark in self.marks.items():
            mark.set_data([gamma], [now.numbers[name]])
            self.values[name].set_text(digits(now.numbers[name]))
        return self.picture()
