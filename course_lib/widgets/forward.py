"""Live figures of diffusion: noise that comes step by step, and the images of a sampler as noise leaves them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import ipywidgets as ipw
import numpy as np
import torch
from matplotlib.patches import Circle
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.diffusion import Schedule, centred
from course_lib.plots.charts import DASHES
from course_lib.plots.images import mosaic, to_numpy
from course_lib.plots.style import BLUE, GREY, LINES, RED
from course_lib.widgets.base import WRAP, Live, number, size_of
from course_lib.widgets.kept import HALO, KeptFigure

POINTS, GROUP = 500, 60             # of the cloud, and those of them that are drawn in another colour
NEARLY_ALL = math.sqrt(-2 * math.log(0.05))     # the radius around 0 in which 95 % of N(0, I) in the plane lie


# --- noise comes -----------------------------------------------------------------------------------------------------

def forward_explorer(digit: Tensor, face: Tensor, density, schedules: Mapping[str, Schedule],
                     start: int | None = None) -> Live:
    """Slide t from 0 to T, and choose a schedule: a digit, a face and a cloud of points with the noise of that time,
    and SNR(t) of all the schedules.

    digit: (1, H, W), face: (3, H, W), both in [0, 1]; density: of points in the plane, anything with
    ``sample(n, generator)``, a ``GaussianMixture`` say; schedules: name → schedule, all of one T; start: the t that is
    shown first, and in the still, by default 0.3 T. ε is the same at all times. Raises ValueError for other shapes,
    schedules of different T, and a start outside 0 … T.
    """
    require_shape("digit", digit, 1, None, None)
    require_shape("face", face, 3, None, None)
    require(len(schedules) > 0, "there is no schedule to choose.")
    lengths = {name: schedule.T for name, schedule in schedules.items()}
    require(len(set(lengths.values())) == 1, f"the schedules have different T: {lengths}; one slider needs one T.")
    T = next(iter(lengths.values()))
    start = round(0.3 * T) if start is None else start
    require(0 <= start <= T, f"start is {start}; t goes from 0 to T = {T}.")
    drawing = ForwardDrawing(digit, face, density, schedules)
    wide = {"layout": ipw.Layout(width="36em"), "style": {"description_width": "5em"}}
    at = ipw.IntSlider(start, min=0, max=T, description="time t", continuous_update=True, **wide)
    which = ipw.Dropdown(options=list(schedules), value=next(iter(schedules)), description="schedule",
                         layout=ipw.Layout(width="16em"), style={"description_width": "5em"})
    picture, words = ipw.Image(format="png"), ipw.HTML()

    def show(_=None) -> None:
        picture.value = drawing.png_of(which.value, at.value)
        words.value = f"<p>{forward_in_words(which.value, schedules[which.value], at.value)}</p>"

    for control in (at, which):
        control.observe(show, "value")
    show()
    return Live([ipw.HBox([at, which], layout=WRAP), picture, words], picture.value,
                "Explorer of the forward process: run the cell, then slide the time.")


def forward_in_words(name: str, schedule: Schedule, t: int) -> str:
    """What the picture shows, for those who do not see it."""
    signal, noise = schedule.alpha_bar[t].sqrt().item(), schedule.variance[t].sqrt().item()
    snr = schedule.snr[t].item()
    seen = ("nothing is added yet" if t == 0 else
            f"there is {'more image than noise' if snr > 1.05 else 'more noise than image'}" if not 0.95 < snr < 1.05
            else "there is as much noise as image")
    return (f"{name}, t = {t} of {schedule.T}: x_t is √ᾱ_t = {size_of(signal)} times the image x_0 and "
            f"√(1−ᾱ_t) = {size_of(noise)} times the noise ε. SNR(t) = {snr_in_words(snr)}: {seen}. In the images "
            "values beyond black and white are cut off; the diamonds are the same points at all times.")


def snr_in_words(snr: float) -> str:
    """Three digits or so, however large; ∞ at time 0."""
    return "∞" if math.isinf(snr) else size_of(snr, 0 if snr >= 100 else 1 if snr >= 10 else 3)


class ForwardDrawing(KeptFigure):
    """A digit, a face and a cloud at time t, and SNR(t) with a mark on it."""

    def __init__(self, digit: Tensor, face: Tensor, density, schedules: Mapping[str, Schedule]):
        super().__init__(12.8, 4.3)
        self.schedules, self.marks = schedules, {}
        noise = torch.Generator().manual_seed(0)
        x0 = density.sample(POINTS, noise)
        require_shape("density's samples", x0, POINTS, 2)
        x0 = x0[(x0 - x0[0]).square().sum(1).argsort()]                                 # the first ones are near x0[0]
        self.x0 = [centred(image.detach().cpu().float()) for image in (digit, face)] + [x0]
        self.eps = [torch.randn(x.shape, generator=noise) for x in self.x0]
        self.panels = self.figure.subplots(1, 4, width_ratios=[1, 1, 1.06, 1.3])
        self.figure.suptitle("Noise added to a digit, a face and points in the plane; SNR(t)", x=0.01, ha="left",
                             fontsize=14, fontweight="bold")
        self._images()
        self._cloud()
        self._curves()
        self.settle()

    def _images(self) -> None:
        self.shown = []
        for ax, x, name in zip(self.panels, self.x0, ("digit", "face"), strict=False):
            self.shown.append(ax.imshow(to_numpy(x[None])[0], vmin=0, vmax=1, cmap="gray", interpolation="nearest"))
            ax.set(xticks=[], yticks=[], anchor="N")
            ax.grid(False)
            for side in ax.spines.values():
                side.set_visible(False)
            ax.set_title(f"xₜ of the {name}", fontsize=13, fontweight="normal")
        # The head, which moves, stands below the digit: there is room under both images.
        self.head = self.panels[0].text(0, -0.06, "", transform=self.panels[0].transAxes, va="top", fontsize=15)
        self.moving += [*self.shown, self.head]

    def _cloud(self) -> None:
        ax, reach = self.panels[2], max(3.2, 1.1 * float(self.x0[2].abs().max()))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", anchor="N", xlabel="first coordinate",
               ylabel="second coordinate")
        ax.set_title("xₜ of points; ◆: one group", fontsize=13, fontweight="normal")
        ax.grid(False)
        ax.add_patch(Circle((0, 0), NEARLY_ALL, facecolor="none", edgecolor=GREY, linestyle=":", linewidth=1.6))
        ax.annotate("dotted: 95 % of N(0, I)", (0.5, 0), (0, 3), "axes fraction", "offset points", color="#505050",
                    fontsize=11, ha="center", path_effects=HALO)
        self.points, = ax.plot([], [], ".", color=BLUE, markersize=4, alpha=0.6)
        self.group, = ax.plot([], [], "D", color=RED, markersize=3.5)
        self.moving += [self.points, self.group]

    def _curves(self) -> None:
        ax, T = self.panels[3], next(iter(self.schedules.values())).T
        low = min(schedule.snr[-1].item() for schedule in self.schedules.values())
        high = max(schedule.snr[1].item() for schedule in self.schedules.values())
        # The last steps of a cosine schedule go far below all others, where there is nothing to see.
        self.floor, self.ceiling = max(low, 1e-6) / 2, 4 * high        # where marks stand whose SNR is beyond them
        for (name, schedule), colour, dash in zip(self.schedules.items(), LINES * len(self.schedules),
                                                  DASHES * len(self.schedules), strict=False):
            ax.semilogy(range(1, T + 1), schedule.snr[1:], color=colour, linestyle=dash, label=name)
            self.marks[name], = ax.plot([], [], "o", color=colour, markersize=7, markeredgecolor="black",
                                        zorder=3)
        ax.axhline(1, color=GREY, linewidth=1.2, linestyle=":")
        ax.set(xlim=(-0.03 * T, 1.03 * T), ylim=(self.floor / 4, self.ceiling * 4), xlabel="time t (steps of noise)",
               ylabel="SNR(t), log axis")
        ax.set_title("signal-to-noise ratio", fontsize=13, fontweight="normal")
        ax.legend(loc="lower left", fontsize=12)
        self.now, = ax.plot([0, 0], [0, 1], color="black", linewidth=1.2, transform=ax.get_xaxis_transform())
        self.moving += [self.now, *self.marks.values()]

    def _factors(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """√ᾱ, √(1−ᾱ) and SNR, (T + 1,) each."""
        schedule = self.schedules[name]
        return schedule.alpha_bar.sqrt(), schedule.variance.sqrt(), schedule.snr

    def at(self, name: str, t: int) -> list[Tensor]:
        """x_t of the digit, the face and the points, equation 4 of Ho, Jain and Abbeel 2020."""
        signal, noise, _ = (values[t].item() for values in self._factors(name))
        return [signal * x0 + noise * eps for x0, eps in zip(self.x0, self.eps, strict=True)]

    def png_of(self, name: str, t: int) -> bytes:
        """The picture of one time, as PNG."""
        *images, points = self.at(name, t)
        for shown, image in zip(self.shown, images, strict=True):
            shown.set_data(to_numpy((image[None] + 1) / 2)[0])
        self.points.set_data(*points[GROUP:].T)
        self.group.set_data(*points[:GROUP].T)
        self.now.set_xdata([t, t])
        for other, mark in self.marks.items():
            snr = min(max(self.schedules[other].snr[t].item(), self.floor), self.ceiling)
            mark.set_data([t], [snr])
            mark.set(markersize=12 if other == name else 6)
        signal, noise, snr = (values[t].item() for values in self._factors(name))
        self.head.set_text(f"t = {t}, {name}\n√ᾱₜ = {number(signal)},   √(1−ᾱₜ) = {number(noise)}\n"
                           f"SNR = {snr_in_words(snr)}")
        return self.picture()


# --- noise leaves ----------------------------------------------------------------------------------------------------

def denoising_explorer(frames: Mapping[str, Tensor], times: Sequence[float], guesses: Mapping[str, Tensor],
                       start: int | None = None) -> Live:
    """Slide, or play, through a sampler's run: above x_t of several images, below the guess x̂_0 at that time.

    frames: a sampler's or a model's name → (S + 1, n, C, H, W), or (S + 1, C, H, W) for one image, in [0, 1] and cut
    off there: (x + 1)/2 of what a sampler yields; times: the S + 1 times of the frames; guesses: as frames, x̂_0 at each
    of these; start: the index that is shown first, by default the middle one. Raises ValueError for shapes that do not
    fit together.
    """
    runs = _runs(frames, times, guesses)
    start = len(times) // 2 if start is None else start
    require(0 <= start < len(times), f"start is {start}; with {len(times)} frames it must be 0 to {len(times) - 1}.")
    drawing, first = DenoisingDrawing(runs, times), next(iter(runs))
    slider = ipw.SelectionSlider(options=[(f"{t:g}", k) for k, t in enumerate(times)], index=start,
                                 description="time t", continuous_update=True, layout=ipw.Layout(width="34em"),
                                 style={"description_width": "5em"})
    play = ipw.Play(value=start, min=0, max=len(times) - 1, interval=250, description="play the run",
                    tooltip="play the run")
    which = ipw.Dropdown(options=list(runs), value=first, description="run", layout=ipw.Layout(width="20em"),
                         style={"description_width": "4em"})
    picture, words = ipw.Image(format="png"), ipw.HTML()

    def show(_=None) -> None:
        picture.value = drawing.png_of(which.value, slider.index)
        words.value = f"<p>{denoising_in_words(which.value, runs[which.value], times, slider.index)}</p>"

    ipw.link((play, "value"), (slider, "index"))
    slider.observe(show, "index")
    which.observe(show, "value")
    show()
    return Live([ipw.HBox([play, slider, *([which] if len(runs) > 1 else [])], layout=WRAP), picture, words],
                picture.value, "Explorer of a sampler's run: run the cell, then slide the time.")


def _runs(frames, times, guesses) -> dict[str, tuple[Tensor, Tensor]]:
    """Name → (x_t, x̂_0), (S + 1, n, C, H, W) each, checked."""
    require(len(frames) > 0 and len(times) >= 2, f"there are {len(frames)} runs and {len(times)} times; it takes one "
                                                 "run and two times at least.")
    require(list(frames) == list(guesses), f"frames has {', '.join(map(repr, frames))}, but guesses has "
                                           f"{', '.join(map(repr, guesses))}; they must have the same names.")
    found = {}
    for name in frames:
        require_same_shape(**{f"guesses[{name!r}]": guesses[name], f"frames[{name!r}]": frames[name]})
        x, guess = (values.detach().cpu().float() for values in (frames[name], guesses[name]))
        x, guess = (values[:, None] if values.ndim == 4 else values for values in (x, guess))
        require_shape(f"frames[{name!r}]", x, len(times), None, None, None, None)
        found[name] = x, guess
    require_same_shape(**{name: x for name, (x, _) in found.items()})
    return found


def denoising_in_words(name: str, run: tuple[Tensor, Tensor], times: Sequence[float], k: int) -> str:
    """What the picture shows, for those who do not see it."""
    x, guess = (values.clamp(0, 1) for values in run)

    def apart(a: Tensor, b: Tensor) -> str:
        return number((a - b).square().mean().sqrt().item(), 3)

    return (f"{name}, after {k} of {len(times) - 1} steps, t = {times[k]:g}: above x_t, below what the model takes the "
            f"image for. From the finished images x_t is {apart(x[k], x[-1])} away, the guess x̂_0 "
            f"{apart(guess[k], x[-1])} (root mean square over pixels from 0 to 1).")


class DenoisingDrawing(KeptFigure):
    """Two rows of images, x_t above the guess of x_0, and a head that says which time it is."""

    def __init__(self, runs: Mapping[str, tuple[Tensor, Tensor]], times: Sequence[float]):
        n, _, h, w = next(iter(runs.values()))[0].shape[1:]
        scale = min(1.6, 10.5 / n)
        super().__init__(max(scale * n + 2.2, 6.5), 2 * scale * h / w + 1.2)
        self.runs, self.times, self.n = runs, times, n
        self.ax = self.figure.subplots()
        self.shown = self.ax.imshow(self._sheet(next(iter(runs)), 0), vmin=0, vmax=1, cmap="gray",
                                    interpolation="nearest")
        self.ax.set_yticks([1 + (h + 1) * k + h / 2 - 0.5 for k in range(2)],
                           labels=["$x_t$", "guess $\\hat{x}_0$"], fontsize=18)
        self.ax.set(xticks=[])
        self.ax.tick_params(length=0)
        self.ax.grid(False)
        for side in self.ax.spines.values():
            side.set_visible(False)
        self.ax.set_title(" ", fontsize=16)                             # the place of the head, which moves
        self.head = self.ax.text(0, 1.02, "", transform=self.ax.transAxes, va="bottom", fontsize=14)
        self.figure.suptitle("From noise to images", x=0.01, ha="left", fontsize=14, fontweight="bold")
        self.moving = [self.shown, self.head]
        self.settle()

    def _sheet(self, name: str, k: int) -> np.ndarray:
        return mosaic(torch.cat([values[k] for values in self.runs[name]]), self.n)

    def png_of(self, name: str, k: int) -> bytes:
        """The picture of one frame, as PNG."""
        self.shown.set_data(self._sheet(name, k))
        self.head.set_text(f"{name}: t = {self.times[k]:g}, step {k} of {len(self.times) - 1}")
        return self.picture()
