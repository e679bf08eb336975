"""What the tests of the live figures share: a picture's pixels, and whether all of its words are on it."""

import io

import numpy as np
from PIL import Image


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
