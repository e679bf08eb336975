"""What every live figure shares: controls above a picture that is redrawn, a still where there is no kernel,
and numbers as one reads them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from course_lib.checks import require

WRAP = ipw.Layout(flex_flow="row wrap")


class Live(ipw.VBox):
    """Widgets in a column. Where no kernel runs (on the web, on paper) ``still``, a PNG, stands in for them, and
    ``says`` is the text beside it, the same on each run."""

    def __init__(self, children: Sequence[ipw.Widget], still: bytes, says: str):
        super().__init__(list(children))
        self.still, self.says = still, says
        for widget in _all(self):       # in the browser an Image with a tooltip is an error, in ipywidgets 8
            require(not isinstance(widget, ipw.Image) or widget.tooltip is None,
                    "a picture has a tooltip, with which the browser does not show it: put the words below it.")

    def __repr__(self) -> str:
        return self.says

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": self.says, "image/png": base64.b64encode(self.still).decode()}


def _all(widget: ipw.Widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _all(child)


def png_of_figure(figure: plt.Figure) -> bytes:
    """A figure as PNG; the figure is closed, so that the notebook does not show it a second time."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    plt.close(figure)
    return out.getvalue()


def png_of_array(array: np.ndarray, height: int) -> bytes:
    """(H, W) or (H, W, 3) in [0, 1] as a PNG of this height in pixels, its pixels left square, in a millisecond."""
    image = Image.fromarray((255 * np.clip(array, 0, 1) + 0.5).astype(np.uint8))
    out = io.BytesIO()
    image.resize((round(height * image.width / image.height), height), Image.Resampling.NEAREST).save(out, format="png")
    return out.getvalue()


def number(value: float, decimals: int = 3) -> str:
    """With a proper minus, and no −0.000."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def size_of(value: float, decimals: int = 3) -> str:
    """A number as one reads it, also where it is tiny or huge: 1.414, 3.2·10⁻⁷, −0.500."""
    if value == 0 or 10.0 ** -decimals <= abs(value) < 1e4:
        return number(value, decimals)
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}".replace("-", "−")
