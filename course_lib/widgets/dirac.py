"""Live figure of the Dirac-GAN, whose start one drags: the field, the path, and its distance from the equilibrium."""

from __future__ import annotations

import io

import ipywidgets as ipw
import numpy as np
import torch
from PIL import Image

from course_lib.checks import require
from course_lib.gans import dirac_eigenvalues, dirac_field, dirac_gan
from course_lib.plots.style import BLUE, GREY, ORANGE, RED
from course_lib.widgets.base import WRAP, Live, size_of
from course_lib.widgets.kept import HALO, KeptFigure
from course_lib.widgets.pad import Pad

BOX = 3.0                           # θ and ψ are shown from −3 to 3
NEAREST, FARTHEST = 1e-3, 10.0      # the distances that are shown
LEAST_RATE, MOST_RATE = 0.02, 0.5
AS_GOOD_AS_0 = 1e-9                 # an eigenvalue's size is off 1 by at least 1e-5 on the sliders' marks, or is 1
# Rule → what of dirac_gan's arguments it sets, and which slider it reads.
RULES = {"simultaneous": ("simultaneous", None), "alternating": ("alternating", None),
         "simultaneous + R1": ("simultaneous", "gamma"), "simultaneous + instance noise": ("simultaneous", "noise")}
LOSSES = {"saturating (minimax)": True, "non-saturating": False}


def dirac_explorer(lr: float = 0.2, steps: int = 200, start: tuple[float, float] = (1.0, 1.0),
                   rule: str = "simultaneous") -> Live:
    """Drag the start of a Dirac-GAN (or move the sliders): the field, the path from there, and its distance from 0.

    lr: the learning rate at first, 0.02 to 0.5; steps: of both players, 10 to 500; start: (θ, ψ), each in ±3; rule: at
    first, a key of ``RULES``. Raises ValueError for others.  Mescheder et al. 2018, sections 2 to 4.
    """
    require(LEAST_RATE <= lr <= MOST_RATE, f"lr is {lr}; the slider goes from {LEAST_RATE:g} to {MOST_RATE:g}.")
    require(isinstance(steps, int) and 10 <= steps <= 500, f"steps is {steps}; it must be a whole number, 10 to 500.")
    require(len(start) == 2 and all(abs(v) <= BOX for v in start),
            f"start is {start}; it must be (θ, ψ), each from {-BOX:g} to {BOX:g}.")
    require(rule in RULES, f"rule is {rule!r}; it must be one of {', '.join(map(repr, RULES))}.")
    plane, curve = PlaneDrawing(steps), DistanceDrawing(steps)
    pad = Pad(plane.figure, plane.ax, start, "The plane of θ (across) and ψ (up) with the path. Drag its start.",
              width=plane.figure.canvas.get_width_height()[0])
    style = {"style": {"description_width": "9em"}, "layout": ipw.Layout(width="25em")}
    places = [ipw.FloatSlider(start[k], min=-BOX, max=BOX, step=0.05, description=name, **style)
              for k, name in enumerate(("θ at first", "ψ at first"))]
    rate = ipw.FloatSlider(lr, min=LEAST_RATE, max=MOST_RATE, step=0.02, description="learning rate", **style)
    which = ipw.Dropdown(options=list(RULES), value=rule, description="rule", **style)
    loss = ipw.Dropdown(options=list(LOSSES), description="generator's loss", **style)
    sizes = {"gamma": ipw.FloatSlider(0.5, min=0, max=2, step=0.05, description="γ of R1", **style),
             "noise": ipw.FloatSlider(0.7, min=0, max=1, step=0.05, description="noise (units of θ)", **style)}
    picture, words = ipw.Image(format="png"), ipw.HTML()

    def show(_=None) -> None:
        kind, size = RULES[which.value]
        for name, slider in sizes.items():
            slider.disabled = name != size
        run = dirac_run(pad.point, rate.value, steps, kind, saturating=LOSSES[loss.value],
                        **({size: sizes[size].value} if size else {}))
        pad.picture, picture.value = plane.png_of(run), curve.png_of(run)
        words.value = f"<p>{dirac_in_words(run)}</p>"

    pad.go_with(places, show)
    for control in (rate, which, loss, *sizes.values()):
        control.observe(show, "value")
    show()
    controls = [ipw.HBox(row, layout=WRAP) for row in ([which, loss, rate], [*places, *sizes.values()])]
    return Live([*controls, ipw.HBox([pad, picture], layout=WRAP), words], _beside(pad.picture, picture.value),
                "Dirac-GAN explorer: run the cell, then drag the start over the plane.")


def _beside(*pngs: bytes) -> bytes:
    """Pictures of one height, side by side."""
    rows = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows, axis=1)).save(out, format="png")
    return out.getvalue()


def dirac_run(start, lr: float, steps: int, rule: str, gamma: float = 0.0, noise: float = 0.0,
              saturating: bool = True) -> dict:
    """A path (steps + 1, 2), its distances from (0, 0), and the size of a step's eigenvalues there.

    One step of the simultaneous rule is x + lr·field, with eigenvalues 1 + lr λ. Alternating, here without R1 and
    noise, has the matrix [[1 − lr²/4, lr/2], [−lr/2, 1]]: its determinant is 1 and its trace within ±2 up to lr = 4,
    hence size 1.
    """
    path = dirac_gan(*map(float, start), lr, steps, rule, gamma, noise, saturating).numpy()
    size = 1.0 if rule == "alternating" else max(abs(1 + lr * e) for e in dirac_eigenvalues(gamma, noise))
    return {"path": path, "distance": np.hypot(*path.T), "size": size, "lr": lr, "rule": rule, "gamma": gamma,
            "noise": noise, "saturating": saturating}


def dirac_in_words(run: dict) -> str:
    """What the pictures show, for those who do not see them: only what these numbers say."""
    path, distance = run["path"], run["distance"]
    extra = (f" with R1, γ = {run['gamma']:.2f}" if run["gamma"] else
             f" with instance noise of standard deviation {run['noise']:.2f}" if run["noise"] else "")
    head = (f"{run['rule'].capitalize()} steps{extra}, {'minimax' if run['saturating'] else 'non-saturating'} loss, "
            f"learning rate {run['lr']:.2f}: ")
    place = [f"({size_of(a)}, {size_of(b)})" for a, b in path[[0, -1]]]
    if distance[0] == 0:
        return f"{head}it begins at the equilibrium, (0, 0), where the field is 0, and stays there. {of_size(run)}"
    ratio = distance[-1] / distance[0]
    change = ("as far as at first, to 4 digits" if abs(ratio - 1) < 5e-5 else
              f"{size_of(ratio, 4)} times as far as at first")
    leaves = ", partly outside the picture" if np.abs(path).max() > BOX else ""
    return (f"{head}from (θ, ψ) = {place[0]}, at distance {size_of(distance[0])} from the equilibrium, to {place[1]}, "
            f"at distance {size_of(distance[-1])}, after {len(path) - 1} steps: {change}; on the way between "
            f"{size_of(distance.min())} and {size_of(distance.max())}{leaves}. {of_size(run)}")


def of_size(run: dict) -> str:
    """What the eigenvalues say, and of where."""
    size = run["size"]
    if abs(size - 1) < AS_GOOD_AS_0:
        return ("At the equilibrium the eigenvalues of one step have size 1: close to it the path circles, to first "
                "order; farther out they do not tell.")
    return (f"At the equilibrium the larger of a step's eigenvalues has size {size:.5f}: very close to it, the path is "
            f"{'pushed away' if size > 1 else 'drawn in'}, some {100 * abs(size - 1):.2g} % a step on average.")


class PlaneDrawing(KeptFigure):
    def __init__(self, steps: int):
        super().__init__(5.6, 5.6)
        self.ax = ax = self.figure.subplots()
        ax.set(xlim=(-BOX, BOX), ylim=(-BOX, BOX), aspect="equal", xlabel="θ, where the fake is (the data is at 0)",
               ylabel="ψ, the slope of the logit: l(x) = ψx")
        ax.axhline(0, color=GREY, linewidth=1)
        ax.axvline(0, color=GREY, linewidth=1)
        ticks = torch.linspace(-2.75, 2.75, 12, dtype=torch.float64)
        self.grid = torch.meshgrid(ticks, ticks, indexing="xy")
        self.arrows = ax.quiver(*(g.numpy() for g in self.grid), *np.zeros((2, 12, 12)), angles="xy", pivot="middle",
                                scale_units="xy", scale=1, width=0.005, color="#6FA6C8")
        self.path, = ax.plot([], [], "-o", color=BLUE, linewidth=1.6, markersize=3, label="each step")
        self.first, = ax.plot([], [], "o", color="white", markeredgecolor="black", markeredgewidth=2.5, markersize=11,
                              label="start")
        self.last, = ax.plot([], [], "X", color=RED, markeredgecolor="white", markersize=13, label="end")
        self.moving = [self.arrows, self.path, self.first, self.last]
        self.figure.suptitle(f"Field (longer: faster) and {steps} steps", x=0.02, ha="left", fontsize=15,
                             fontweight="bold")
        ax.legend(handles=[self.path, self.first, self.last], loc="lower left", bbox_to_anchor=(-0.02, 0.995), ncols=3,
                  borderaxespad=0, handletextpad=0.5, columnspacing=1.4, fontsize=13)
        self.settle()

    def png_of(self, run: dict) -> bytes:
        """The picture of one run, as PNG."""
        across, up = dirac_field(*self.grid, run["gamma"], run["noise"], run["saturating"])
        speed = torch.hypot(across, up).clamp_min(1e-12)
        # Arrows as long as the root of the speed, at most a cell: near 0 they would else be too short to see.
        scale = 0.22 / speed.sqrt()
        scale = scale.minimum(0.55 / speed)
        self.arrows.set_UVC((across * scale).numpy(), (up * scale).numpy())
        shown = np.clip(run["path"], -10 * BOX, 10 * BOX)           # what lies far out is cut off anyway
        self.path.set_data(*shown.T)
        self.first.set_data(*shown[:1].T)
        self.last.set_data(*shown[-1:].T)
        return self.picture()


class DistanceDrawing(KeptFigure):
    def __init__(self, steps: int):
        super().__init__(5.6, 5.6)
        self.ax = ax = self.figure.subplots()
        ax.set(yscale="log", ylim=(NEAREST, FARTHEST), xlim=(0, steps), xlabel="step of both players",
               ylabel="√(θ² + ψ²) (log scale)")
        ax.set_yticks([0.001, 0.01, 0.1, 1, 10], labels=["0.001", "0.01", "0.1", "1", "10"])
        self.rate, = ax.plot([], [], "--", color=ORANGE, linewidth=3.5, label="by the linear map alone")
        self.distance, = ax.plot([], [], "-", color=BLUE, linewidth=2.6, label="the path")
        self.size = ax.text(0.97, 0.96, "", transform=ax.transAxes, ha="right", va="top", fontsize=14,
                            path_effects=HALO)
        self.moving = [self.rate, self.distance, self.size]
        self.figure.suptitle("Distance from the equilibrium", x=0.02, ha="left", fontsize=15, fontweight="bold")
        ax.legend(handles=[self.distance, self.rate], loc="lower left", bbox_to_anchor=(-0.02, 0.995), ncols=2,
                  borderaxespad=0, handletextpad=0.5, columnspacing=1.2, fontsize=12)
        self.settle()

    def png_of(self, run: dict) -> bytes:
        """The picture of one run, as PNG."""
        steps, distance = np.arange(len(run["distance"])), run["distance"]
        self.distance.set_data(steps, distance.clip(1e-12))         # a log axis has no 0
        self.rate.set_data(steps, (distance[0] * run["size"] ** steps).clip(1e-12))
        exactly_1 = abs(run["size"] - 1) < AS_GOOD_AS_0
        self.size.set_text(f"eigenvalue's size: {'1' if exactly_1 else format(run['size'], '.5f')}")
        return self.picture()
