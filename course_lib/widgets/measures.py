"""Live figure of two corruptions mixed on test digits: what each measure of samples makes of the mixture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets as ipw
import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor, nn

from course_lib.checks import require, require_one_of, require_shape
from course_lib.corruptions import CORRUPTIONS
from course_lib.metrics import (
    FeatureStatistics,
    feature_statistics,
    frechet_distance,
    in_blocks,
    inception_score,
    kid,
    neighbour_radius,
)
from course_lib.plots.images import mosaic
from course_lib.plots.style import BLUE, RED
from course_lib.widgets.base import WRAP, Live
from course_lib.widgets.kept import KeptFigure

K = 3                               # which neighbour the balls of precision and recall reach
LOTS = 5                            # of other clean digits: how far a measure moves from lot to lot
CLASSES, SIDE = 10, 28
ACROSS = 6                          # 6 × 6 digits are shown
STEP = 0.05                         # of a strength
KEPT = 300                          # mixtures that are remembered, with their pictures of 30 kB each
DROPPED, REPEATED = "dropped classes", "repeated images"
# What a corruption's strength s stands for, in words.
MEANING: dict[str, Callable[[float], str]] = {
    "blur": lambda s: f"σ = {3 * s:.2f} px",
    "noise": lambda s: f"σ = {0.6 * s:.2f}",
    "salt and pepper": lambda s: f"{50 * s:.0f} % of pixels",
    "swapped patches": lambda s: f"{round(8 * s)} pair{'' if round(8 * s) == 1 else 's'} of 16",
    "resizing": lambda s: f"to {round(SIDE * (1 - 0.8 * s))} px and back",
    "mirroring": lambda s: f"{100 * s:.0f} % of images",
    "rotation": lambda s: f"{45 * s:.0f}°",
    "black rectangle": lambda s: f"{60 * s:.0f} % of the area",
}
MIXABLE = (*CORRUPTIONS, DROPPED, REPEATED)
Mixture = tuple[tuple[str, float], ...]     # (corruption, strength above 0), the first one first


def measures_explorer(bench: CorruptionBench, first: tuple[str, float] = ("blur", 0.2),
                      second: tuple[str, float] = ("noise", 0.0)) -> Live:
    """Choose two corruptions and slide their strengths: the spoilt digits, and where all measures go at once.

    bench: of the digits and the classifier; first, second: (corruption, strength in [0, 1]), at first: a key of
    ``CORRUPTIONS``, "dropped classes" or "repeated images". Raises ValueError for others.
    """
    checked((first, second))
    kinds, sliders = [], []
    for word, (name, strength) in (("first", first), ("second", second)):
        kinds.append(ipw.Dropdown(options=list(MIXABLE), value=name, description=f"{word} corruption",
                                  layout=ipw.Layout(width="22em"), style={"description_width": "10em"}))
        sliders.append(ipw.FloatSlider(strength, min=0, max=1, step=STEP, description=f"its strength ({word})",
                                       layout=ipw.Layout(width="32em"), style={"description_width": "12em"}))
    picture, words, drawing = ipw.Image(format="png"), ipw.HTML(), MeasuresDrawing(bench)

    def show(_=None) -> None:
        mixture = checked((kind.value, slider.value) for kind, slider in zip(kinds, sliders, strict=True))
        picture.value = drawing.png_of(mixture)
        words.value = f"<p>{measures_in_words(bench, mixture)}</p>"

    for control in (*kinds, *sliders):
        control.observe(show, "value")
    show()
    rows = [ipw.HBox(row, layout=WRAP) for row in zip(kinds, sliders, strict=True)]
    return Live([*rows, picture, words], picture.value,
                "Explorer of the measures of samples: run the cell, then mix two corruptions.")


# --- numbers ---------------------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """What the measures say: the inception score, the (squared) Fréchet distance, KID with its standard error,
    precision and recall, and, with the digits' true labels, the share that the classifier still reads as such."""

    inception: float
    frechet: float
    kid: float
    kid_error: float
    precision: float
    recall: float
    accuracy: float


# A measure's name, and beside it what its numbers are.
NAMES = {"inception": "Inception score (1 to 10)", "frechet": "Fréchet distance, squared (units of φ²)",
         "kid": "KID ± standard error", "precision": "Precision (share)", "recall": "Recall (share)",
         "accuracy": "Read as what they were (share)"}
POSSIBLE = {"inception": (1, CLASSES), "frechet": (0, math.inf), "kid": (-math.inf, math.inf), "precision": (0, 1),
            "recall": (0, 1), "accuracy": (0, 1)}
LESS_IS_BETTER = ("frechet", "kid")


class CorruptionBench:
    """A lot of digits to be spoilt, as many others to compare with, and some clean lots more, to know what is usual.

    classifier: with ``features`` (B, C, H, W) → (B, d) and ``head`` (B, d) → logits (B, 10), in eval mode; images:
    float (N, 1, 28, 28) in [0, 1], labels (N,) in 0 … 9, best test digits; count: how many make a lot, as many of each
    class. They are drawn in an order that is always the same: one lot to compare with, five that stay clean, and the
    rest to be spoilt, so it takes 8 · count/10 images of each class, or more. Raises ValueError for fewer.
    ``clean``: the Reading of the lot before it is spoilt; ``lots``: those of the others. All are of ``count`` digits
    against the same ``count`` others, so the bias of the Fréchet distance is the same in all.
    """

    def __init__(self, classifier: nn.Module, images: Tensor, labels: Tensor, count: int = 300):
        require_shape("images", images, None, 1, SIDE, SIDE)
        require_shape("labels", labels, len(images))
        require(not classifier.training, "the classifier is in training mode: call its eval().")
        require(count >= CLASSES and count % CLASSES == 0,
                f"count is {count}; it must be a multiple of {CLASSES}, as many of each class.")
        require(bool(((labels >= 0) & (labels < CLASSES)).all()), f"labels must be from 0 to {CLASSES - 1}.")
        fewest, needed = int(labels.bincount(minlength=CLASSES).min()), (LOTS + 3) * count // CLASSES
        require(fewest >= needed, f"the rarest class has {fewest} images; with lots of {count} it takes {needed}: give "
                                  "more images, or choose a smaller count.")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        of_each = [order[labels.cpu()[order] == c][:fewest] for c in range(CLASSES)]
        order = torch.stack(of_each, 1).flatten()       # classes 0 … 9, 0 … 9, …: each lot has as many of each
        self.classifier, self.count = classifier, count
        self.images, self.labels = images[order.to(images.device)], labels[order.to(labels.device)].to(images.device)
        self.real = in_blocks(classifier.features, self.images[:count], 500)                    # (count, d)
        self.reach, self.fitted = neighbour_radius(self.real, K), _statistics(self.real)
        self.lots = [self.measure(*(x[k * count:(k + 1) * count] for x in (self.images, self.labels)))
                     for k in range(1, LOTS + 1)]
        self.images, self.labels = (x[(LOTS + 1) * count:] for x in (self.images, self.labels))
        self.known: dict[Mixture, tuple[Reading, np.ndarray]] = {}
        self.clean, _ = self.look()

    def reading(self, *mixture: tuple[str, float]) -> Reading:
        """What the measures say of a mixture: pairs (corruption, strength in [0, 1]), applied in their order."""
        return self.look(*mixture)[0]

    def look(self, *mixture: tuple[str, float]) -> tuple[Reading, np.ndarray]:
        """The reading of a mixture, and a picture of 6 × 6 of its digits, by class. Mixtures seen are remembered."""
        mixture = checked(mixture)
        if mixture not in self.known:
            if len(self.known) >= KEPT:
                self.known.clear()
            images, labels = self.spoilt(mixture)
            by_class = labels.sort(stable=True).indices
            shown = by_class[torch.linspace(0, self.count - 1, ACROSS**2).round().long()]
            sheet = (255 * mosaic(images[shown], ACROSS)).round().astype(np.uint8)
            self.known[mixture] = self.measure(images, labels), sheet
        return self.known[mixture]

    def spoilt(self, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """The spoilt images (count, 1, 28, 28) and their labels. Which digits there are is settled first: other ones
        take the place of those that are dropped. Chance is the same each time, so a strength moves smoothly."""
        chosen = self._chosen(dict(mixture))
        images = self.images[chosen]
        for slot, (name, strength) in enumerate(mixture):
            if name in CORRUPTIONS:
                images = CORRUPTIONS[name](images, strength, torch.Generator(images.device).manual_seed(slot))
        return images, self.labels[chosen]

    def _chosen(self, mixture: dict[str, float]) -> Tensor:
        """Which digits there are: (count,) indices."""
        kept = CLASSES - dropped(mixture.get(DROPPED, 0.0))
        chosen = (self.labels < kept).nonzero()[:, 0]                                           # classes take turns
        if REPEATED in mixture:
            chosen = chosen[:kept * distinct(self.count, mixture[REPEATED])]
        return chosen[torch.arange(self.count, device=chosen.device) % len(chosen)]             # and again from 0

    @torch.no_grad()
    def measure(self, images: Tensor, labels: Tensor) -> Reading:
        """All measures of a lot (count, 1, 28, 28) against ``real``."""
        features = self.classifier.features(images)
        logits, fitted = self.classifier.head(features), _statistics(features)
        distances = torch.cdist(features.double(), self.real.double())                         # (count, count)
        estimate = kid(features, self.real)
        return Reading(
            inception=inception_score(logits.softmax(1), splits=1).mean,
            frechet=frechet_distance(fitted.mean, fitted.cov, self.fitted.mean, self.fitted.cov),
            kid=estimate.value, kid_error=estimate.error,
            # metrics.precision_recall, with the real radii known and the distances between the sets found once.
            precision=(distances <= self.reach).any(1).double().mean().item(),
            recall=(distances <= neighbour_radius(features, K)[:, None]).any(0).double().mean().item(),
            accuracy=(logits.argmax(1) == labels).double().mean().item())

    def usual(self, name: str) -> tuple[float, float]:
        """Where a clean lot's value is to be expected: the mean of six lots (the one to be spoilt is among them) −/+ 3
        of their standard deviations, as far as it is possible. Some 1 in 25 clean lots fall outside (Student's t).
        KID's also holds 0 ± 2 of its standard errors: those count the digits to compare with as drawn by chance too,
        which are the same for all lots here."""
        values = [getattr(reading, name) for reading in (self.clean, *self.lots)]
        least, most = POSSIBLE[name]
        middle, spread = statistics.mean(values), statistics.stdev(values)
        low, high = max(middle - 3 * spread, least), min(middle + 3 * spread, most)
        error = 2 * self.clean.kid_error
        return (min(low, -error), max(high, error)) if name == "kid" else (low, high)

    def verdict(self, name: str, value: float) -> str:
        """"worse" or "better" than is usual of clean lots, or "as clean"."""
        low, high = self.usual(name)
        if low <= value <= high:
            return "as clean"
        return "better" if (value < low) == (name in LESS_IS_BETTER) else "worse"

    def blank(self) -> Reading:
        """What the measures say of nothing but black images: where the axes end."""
        return self.measure(torch.zeros_like(self.images[:self.count]), self.labels[:self.count])


def _statistics(features: Tensor) -> FeatureStatistics:
    return feature_statistics(lambda x: x, features)


def distinct(count: int, strength: float) -> int:
    """How many different images of each class there are when images are repeated: from count/10 down to 1."""
    return max(1, round((count / CLASSES) ** (1 - strength)))


def dropped(strength: float) -> int:
    """How many classes are dropped: the last ones, up to nine of the ten."""
    return round((CLASSES - 1) * strength)


def checked(mixture) -> Mixture:
    """Any pairs (corruption, strength) as a Mixture: without what has strength 0, strengths as the sliders' marks are
    meant (0.3, not 3 · 0.1). What chooses the images is done once: of two such, the stronger stays."""
    mixture = tuple(mixture)
    for name, strength in mixture:
        require_one_of("the corruption", name, MIXABLE)
        require(0 <= strength <= 1, f"the strength of {name!r} is {strength}; it must be from 0 to 1.")
    kept = [(name, round(strength, 6)) for name, strength in mixture if round(strength, 6) > 0]
    for name in (DROPPED, REPEATED):
        of_it = [part for part in kept if part[0] == name]
        kept = [part for part in kept if part[0] != name or part is max(of_it, key=lambda part: part[1])]
    return tuple(kept)


def named(mixture: Mixture, count: int) -> str:
    """A mixture in words, with what its strengths stand for."""
    def meaning(name, strength):
        if name == DROPPED:
            return f"{dropped(strength)} of {CLASSES}"
        if name == REPEATED:
            return f"{distinct(count, strength)} of each class"
        return MEANING[name](strength) if name in MEANING else f"strength {strength:.2f}"

    return ", then ".join(f"{name} ({meaning(name, strength)})" for name, strength in mixture) or "not spoilt"


def in_digits(name: str, reading: Reading) -> str:
    """One measure's number, with as many digits as the next lot of images would leave standing, or one more."""
    value = getattr(reading, name)
    decimals = {"inception": 2, "frechet": 1 if abs(value) < 100 else 0, "kid": 0}.get(name, 3)
    if name == "kid" and reading.kid_error < 0.95:      # of other features, whose numbers are smaller
        decimals = 3
    shown = f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
    return f"{shown} ± {reading.kid_error:,.{decimals}f}" if name == "kid" else shown


def measures_in_words(bench: CorruptionBench, mixture: Mixture) -> str:
    """What the picture shows, for those who do not see it."""
    reading = bench.reading(*mixture)
    parts = []
    for name, words in NAMES.items():
        ends = (bench.clean._replace(**{name: value}) for value in bench.usual(name))
        usual = " to ".join(in_digits(name, end).split(" ±")[0] for end in ends)
        parts.append(f"{words.split(' (')[0].split(' ±')[0]} {in_digits(name, reading)}, "
                     f"{bench.verdict(name, getattr(reading, name))} ({usual})")
    return (f"{bench.count} digits, {named(mixture, bench.count)}: {'; '.join(parts)}. "
            f"In brackets: what is usual for {bench.count} clean digits, the mean of {LOTS + 1} such lots −/+ 3 of "
            "their standard deviations (for KID at least 0 ± 2 standard errors).")


# --- picture ---------------------------------------------------------------------------------------------------------

COLOURS = {"better": BLUE, "worse": RED, "as clean": "#404040"}
MARKERS = {"better": ">", "worse": "<", "as clean": "o"}


class MeasuresDrawing(KeptFigure):
    """Left the digits, right a gauge for each measure: better is to the right in all, so two of them run backwards."""

    def __init__(self, bench: CorruptionBench):
        super().__init__(11.4, 7.6)
        self.bench = bench
        rows = [["digits", name] for name in NAMES]
        rows[-1][0] = "key"
        self.axes = self.figure.subplot_mosaic(rows, width_ratios=[1.12, 1])
        self._digits(self.axes["digits"])
        self._key(self.axes["key"])
        self.bars, self.ends, self.values = {}, {}, {}
        limits, n = limits_of(bench), bench.count
        for name, words in NAMES.items():
            self._gauge(self.axes[name], name, words, limits[name])
        self.figure.get_layout_engine().set(h_pad=0.07)
        self.figure.suptitle(f"{n} spoilt digits against {n} others: in every row, right is better",
                             x=0.01, ha="left", fontsize=15, fontweight="bold")
        self.settle()

    def _digits(self, ax) -> None:
        side = (SIDE + 1) * ACROSS + 1                          # with white lines between
        self.sheet = ax.imshow(np.zeros((side, side), np.uint8), vmin=0, vmax=255, cmap="gray")
        ax.axis("off")
        ax.set_title(" \n ")                                    # room for two lines
        self.head = ax.text(0, 1.02, "", transform=ax.transAxes, va="bottom", fontsize=13.5)
        self.moving += [self.sheet, self.head]

    def _key(self, ax) -> None:
        ax.axis("off")
        handles = [Line2D([], [], color="black", linewidth=2.5, label="the same digits before they are spoilt"),
                   Patch(facecolor="#CFCFCF", label=f"usual for {self.bench.count} clean digits (see below)")]
        handles += [Line2D([], [], color=COLOURS[what], marker=MARKERS[what], markersize=10, label=f"{what}{than}",
                           linewidth=0 if what == "as clean" else 6)
                    for what, than in (("as clean", " digits"), ("worse", " than that"), ("better", " than that"))]
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, -0.3), borderaxespad=0, fontsize=12.5,
                  labelspacing=0.3, handlelength=2.2).set_in_layout(False)

    def _gauge(self, ax, name, words, limits) -> None:
        low, high, ticks = limits
        if name == "frechet":
            ax.set_xscale("log")
        elif name == "kid":
            ax.set_xscale("asinh", linear_width=ticks[1])           # linear about 0, as a log scale far from it
        ax.set(xlim=(high, low) if name in LESS_IS_BETTER else (low, high), ylim=(0, 1), yticks=[])
        ax.set_xticks(ticks, labels=[f"{t:,g}".replace("-", "−") for t in ticks])
        ax.minorticks_off()
        ax.spines["left"].set_visible(False)
        ax.set_title(words, fontsize=13, fontweight="normal")
        ax.axvspan(*self.bench.usual(name), facecolor="#CFCFCF", linewidth=0)
        ax.axvline(getattr(self.bench.clean, name), color="black", linewidth=2.5, zorder=3)
        self.bars[name], = ax.plot([], [], linewidth=9, solid_capstyle="butt")
        self.ends[name], = ax.plot([], [], markersize=15, markeredgecolor="white", linestyle="none", clip_on=False)
        self.values[name] = ax.text(1, 1.06, "", transform=ax.transAxes, ha="right", va="bottom", fontsize=14,
                                    fontweight="bold")
        self.moving += [self.bars[name], self.ends[name], self.values[name]]

    def png_of(self, mixture: Mixture) -> bytes:
        """The picture of a mixture, as PNG."""
        reading, sheet = self.bench.look(*mixture)
        self.sheet.set_data(sheet)
        self.head.set_text(named(mixture, self.bench.count).capitalize().replace(", then", ",\nthen"))
        for name in NAMES:
            value, clean = getattr(reading, name), getattr(self.bench.clean, name)
            verdict = self.bench.verdict(name, value)
            low, high = sorted(self.axes[name].get_xlim())
            shown = min(max(value, low), high)          # a value beyond the axis stands at its end; its number is told
            self.bars[name].set_data([clean, shown], [0.5, 0.5])
            self.bars[name].set_color(COLOURS[verdict])
            self.ends[name].set_data([shown], [0.5])
            self.ends[name].set(marker=MARKERS[verdict], markerfacecolor=COLOURS[verdict])
            self.values[name].set_text(in_digits(name, reading))
            self.values[name].set_color(COLOURS[verdict])
        return self.picture()


def limits_of(bench: CorruptionBench) -> dict[str, tuple[float, float, list[float]]]:
    """For each measure the least and largest value that its axis shows, and its ticks."""
    blank = bench.blank()
    share = (-0.01, 1.03, [0, 0.25, 0.5, 0.75, 1])
    nearest, _ = bench.usual("frechet")
    linear = rounds(bench.clean.kid_error, 10 * bench.clean.kid_error)[0]
    return {"inception": (1.0, CLASSES + 0.2, [1, 2, 4, 6, 8, 10]),
            "frechet": (nearest / 1.3, 2 * blank.frechet, rounds(nearest / 1.3, 2 * blank.frechet)),
            "kid": (-2 * linear, 2 * blank.kid, [0.0, *rounds(linear, 2 * blank.kid)]),
            "precision": share, "recall": share, "accuracy": share}


def rounds(low: float, high: float) -> list[float]:
    """1, 3, 10, 30 … and 0.3, 0.1 … as far as they lie between."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for value in (10.0**power, 3 * 10.0**power) if low <= value <= high]
