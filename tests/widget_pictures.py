"""What the tests of the live figures share: a picture's pixels, and whether all words are on it and on its controls."""

import io

import ipywidgets as ipw
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageFont


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def not_cut_off(drawing, axes):
    """Every text lies within the picture."""
    for ax in axes:
        names = [ax.xaxis.label, ax.yaxis.label, ax._left_title, ax.title, *ax.texts]
        if ax.axison:
            ticks = [*ax.xaxis._update_ticks(), *ax.yaxis._update_ticks()]
            names += [label for tick in ticks for label in (tick.label1, tick.label2)]
        if ax.get_legend():
            names += ax.get_legend().get_texts()
        for text in names:
            if text.get_text() and text.get_visible():
                box, whole = text.get_window_extent(), drawing.figure.bbox
                assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1, text
    title = drawing.figure._suptitle.get_window_extent()
    assert title.x0 >= 0 and title.x1 <= drawing.figure.bbox.x1 and title.y1 <= drawing.figure.bbox.y1


def names_fit(widget):
    """The name of every control is shown whole: 1 em is 13 px in JupyterLab, whose widest common font is this one."""
    font = ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 13)
    names = 0
    for control in _all(widget):
        width = getattr(getattr(control, "style", None), "description_width", None)
        if isinstance(control, (ipw.Play, ipw.Button)) or width is None or not control.description:
            continue
        room = 13 * float(width.removesuffix("em")) if width else 80            # 80 px where nothing is said
        assert font.getlength(control.description) <= room, control.description
        names += 1
    return names


def _all(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _all(child)
