"""A picture with a point that one drags over it, with the mouse, a finger or the arrow keys."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import ipywidgets as ipw
import matplotlib.pyplot as plt
import traitlets

from course_lib.checks import require


class Pad(anywidget.AnyWidget):
    """``point``: (x, y) in the units of the axes that the picture shows; set it, or observe it.

    The browser sends a new point only after Python has answered the last one (``answer``), so that a slow answer
    never leaves a queue behind.
    """

    point = traitlets.Tuple(traitlets.Float(), traitlets.Float()).tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)              # PNG
    frame = traitlets.List(traitlets.Float()).tag(sync=True)   # the axes: left, top, right, bottom, in [0, 1]
    limits = traitlets.List(traitlets.Float()).tag(sync=True)   # what they show there, in data units
    width = traitlets.Int(520).tag(sync=True)               # CSS pixels
    label = traitlets.Unicode().tag(sync=True)              # for screen readers
    answered = traitlets.Int(0).tag(sync=True)

    _esm = Path(__file__).with_suffix(".js")

    def __init__(self, figure: plt.Figure, axes: plt.Axes, point: tuple[float, float], label: str, width: int = 520):
        x, y = axes.get_xlim(), axes.get_ylim()
        require(min(x) <= point[0] <= max(x) and min(y) <= point[1] <= max(y),
                f"the point {point} lies outside the axes, which show {x} and {y}.")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        place = axes.get_position()  # after drawing: the layout is settled
        super().__init__(point=tuple(map(float, point)), picture=picture.getvalue(), label=label, width=width,
                         frame=[place.x0, 1 - place.y1, place.x1, 1 - place.y0],
                         limits=[float(v) for v in (x[0], y[1], x[1], y[0])])

    def answer(self) -> None:
        """To be called when the last point has been dealt with: the browser may send the next."""
        self.answered += 1

    def go_with(self, sliders: Sequence[ipw.Widget], show: Callable[[], None]) -> None:
        """Point and two sliders, x and y, follow each other; ``show()`` is called once for each new point."""
        def from_pad(change) -> None:
            for slider, value in zip(sliders, change["new"], strict=True):
                slider.unobserve(from_slider, "value")
                slider.value = value
                slider.observe(from_slider, "value")
            show()
            self.answer()

        def from_slider(_) -> None:
            self.point = tuple(slider.value for slider in sliders)

        self.observe(from_pad, "point")
        for slider in sliders:
            slider.observe(from_slider, "value")
