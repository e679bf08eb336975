"""What the tests of pictures share: a figure draws without a warning, names its axes and has all its words on it."""

import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt

from course_lib.plots import style


def draws_and_names_its_axes(draw, tmp_path):
    """No warning, one new figure, the style as it was; a title, and a label on each axis (or on one that shares it)."""
    before, style_before = plt.figure(), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        figure.canvas.draw()
        style.save_svg(figure, tmp_path / "figure.svg")
    assert plt.get_fignums() == [before.number, figure.number] and dict(mpl.rcParams) == style_before
    text = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    assert figure.get_suptitle() and figure.get_suptitle() in text
    for axis in "xy":
        groups = {frozenset(getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)) for ax in figure.axes
                  if ax.get_label() != "<colorbar>"}
        assert all(any(getattr(ax, f"get_{axis}label")() for ax in group) for group in groups)


def has_all_words_on_it(draw, apart=True):
    """No word is cut off by the figure's edge, and, where ``apart``, none lies on another (ticks aside)."""
    figure = draw()
    figure.canvas.draw()
    ticks = [label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)
             for tick in (*axis.majorTicks, *axis.minorTicks) for label in (tick.label1, tick.label2)]
    boxes = []
    for words in figure.findobj(mpl.text.Text):
        seen = words.get_visible() and words.get_text().strip() and (words.axes is None or words.axes.get_visible())
        if seen and words not in ticks:
            box = words.get_window_extent()
            assert box.x0 >= -1 and box.y0 >= -1, words
            assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words
            assert not apart or not any(box.x0 < b.x1 - 1 and b.x0 < box.x1 - 1 and box.y0 < b.y1 - 1
                                         and b.y0 < box.y1 - 1 for b in boxes), words
            boxes.append(box)
