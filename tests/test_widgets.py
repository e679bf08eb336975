"""What live figures stand on: a still and a text where no kernel runs, a draggable point, and held-back answers."""

import base64
import io

import ipywidgets as ipw
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from course_lib.plots import use_style
from course_lib.widgets.base import Live, png_of_array, png_of_figure
from course_lib.widgets.pad import Pad
from course_lib.widgets.questions import predict

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        yield
    plt.close("all")


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float) / 255


# --- a question first ------------------------------------------------------------------------------------------------

def question(**kwargs):
    return predict(**{"question": "Which is larger?", "options": ["the first", "the second", "neither"], "right": 1,
                      "because": "it was doubled.", **kwargs})


def parts(widget):
    head, choice, verdict = widget.children
    return head, choice, verdict


def test_the_answer_is_held_back_until_one_has_chosen():
    head, choice, verdict = parts(question())
    assert choice.value is None and verdict.value == "" and "Which is larger?" in head.value
    assert "doubled" not in head.value + verdict.value
    assert list(choice.options) == ["the first", "the second", "neither"]
    choice.value = "the second"
    assert "Yes." in verdict.value and "it was doubled." in verdict.value


@pytest.mark.parametrize("wrong", ["the first", "neither"])
def test_a_wrong_answer_gets_the_right_one_and_why(wrong):
    _, choice, verdict = parts(question())
    choice.value = wrong
    assert "Yes" not in verdict.value and "Not quite: the second." in verdict.value
    assert "it was doubled." in verdict.value
    choice.value = "the second"  # one may think again
    assert "Yes." in verdict.value and "Not quite" not in verdict.value


def test_what_is_html_to_a_browser_is_shown_as_written():
    head, choice, verdict = parts(question(question="Is p(x|z) < 1 & <b>sharp</b>?", options=["a < b", "<i>c</i>"],
                                           because="<script>"))
    choice.value = "a < b"
    shown = head.value + verdict.value
    assert "&lt; 1 &amp; &lt;b&gt;sharp&lt;/b&gt;?" in shown and "<b>sharp" not in shown
    assert "&lt;i&gt;c&lt;/i&gt;" in shown and "<i>" not in shown
    assert "&lt;script&gt;" in shown and "<script" not in shown


@pytest.mark.parametrize("change, message", [
    ({"right": 3}, "right is 3, with 3 options"), ({"right": -1}, "right is -1"),
    ({"options": ["one"], "right": 0}, "at least two options"), ({"options": [], "right": 0}, "with 0 options"),
])
def test_a_question_without_an_answer_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        question(**change)


def test_where_no_kernel_runs_a_question_s_text_stays_and_gives_nothing_away():
    widget = question()
    assert "Which is larger?" in repr(widget) and "the first / the second / neither" in repr(widget)
    assert "doubled" not in repr(widget) and repr(widget) == repr(question(right=0))  # which one is right is not said
    assert repr(widget) == repr(question())  # the same on each run: it is compared


# --- stills ----------------------------------------------------------------------------------------------------------

def test_a_live_figure_leaves_a_picture_and_a_fixed_text():
    still = png_of_array(np.eye(4), 40)
    def live():
        return Live([ipw.IntSlider(), ipw.HTML("x")], still, "Explorer: run the cell, then drag.")
    bundle, again = live()._repr_mimebundle_(), live()._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == still
    assert bundle["text/plain"] == "Explorer: run the cell, then drag."
    assert "application/vnd.jupyter.widget-view+json" in bundle  # and the widget itself, where there is a kernel
    for kind in ("image/png", "text/plain"):
        assert bundle[kind] == again[kind]
    assert repr(live()) == "Explorer: run the cell, then drag." and len(live().children) == 2


def test_a_live_figure_shows_itself_in_ipython():
    from IPython.core.formatters import DisplayFormatter
    formats, _ = DisplayFormatter().format(Live([], png_of_array(np.eye(2), 4), "what it says"))
    assert formats["text/plain"] == "what it says" and "image/png" in formats


def test_a_figure_becomes_a_png_and_is_closed():
    figure, ax = plt.subplots(figsize=(2, 1), dpi=50)
    other = plt.figure()
    ax.set_axis_off()
    png = png_of_figure(figure)
    assert pixels(png).shape == (50, 100, 3) and plt.get_fignums() == [other.number]


def test_an_array_becomes_a_png_with_square_pixels():
    array = np.array([[0.0, 0.2], [1.0, 2.0], [-1.0, 0.6]])
    shown = pixels(png_of_array(array, 30))
    assert shown.shape == (30, 20, 3)
    assert shown[5::10, 5::10, 0] == pytest.approx(array.clip(0, 1), abs=1 / 255)
    assert len(np.unique(shown)) == 4  # 0, 0.2, 0.6 and 1: nothing is blended
    colour = pixels(png_of_array(np.random.default_rng(0).random((3, 4, 3)), 6))
    assert colour.shape == (6, 8, 3) and colour.std(axis=2).max() > 0.1


# --- the pad ---------------------------------------------------------------------------------------------------------

def picture_of(point, xlim=(-3, 5), ylim=(10, 14), aspect="auto", invert=False, styled=True):
    if styled:
        use_style()
    figure, ax = plt.subplots(figsize=(5, 4))
    ax.plot(*point, "s", color="#FF0000", markersize=6, markeredgewidth=0)
    ax.set(xlim=xlim, ylim=ylim, xlabel="a long label", title="a title\non two lines", aspect=aspect)
    if invert:
        ax.invert_yaxis()
    return figure, ax


@pytest.mark.parametrize("point", [(0.0, 12.0), (-2.5, 13.5), (4.8, 10.2)])
@pytest.mark.parametrize("kwargs", [{}, {"aspect": "equal"}, {"invert": True}, {"styled": False}])
def test_frame_and_limits_find_a_point_where_the_picture_shows_it(point, kwargs):
    figure, ax = picture_of(point, **kwargs)
    pad = Pad(figure, ax, point, "a plane")
    left, top, right, bottom = pad.frame
    x0, y0, x1, y1 = pad.limits                       # of the left, top, right and bottom edge, as pad.js reads them
    across = left + (point[0] - x0) / (x1 - x0) * (right - left)
    down = top + (point[1] - y0) / (y1 - y0) * (bottom - top)
    shown = pixels(pad.picture)
    red = np.argwhere((shown[..., 0] > 0.9) & (shown[..., 1] < 0.1) & (shown[..., 2] < 0.1)) + 0.5
    height, width = shown.shape[:2]
    # The red square's middle; it is drawn to the pixel, so its centre is found to within one.
    assert [down * height, across * width] == pytest.approx(red.mean(0), abs=1.0)
    # And matplotlib's own transform, at its own resolution.
    at = ax.transData.transform(point) / figure.bbox.size
    assert [across, 1 - down] == pytest.approx(at, abs=2e-3)


def test_limits_go_from_the_top_left_to_the_bottom_right():
    pad = Pad(*picture_of((0, 12)), (0, 12), "a plane")
    assert pad.limits == [-3, 14, 5, 10] and all(0 < edge < 1 for edge in pad.frame)
    assert Pad(*picture_of((0, 12), invert=True), (0, 12), "a plane").limits == [-3, 10, 5, 14]


@pytest.mark.parametrize("point", [(-3.1, 12), (5.1, 12), (0, 9.9), (0, 14.1), (float("nan"), 12)])
@pytest.mark.parametrize("invert", [False, True])
def test_a_point_outside_the_axes_is_refused(point, invert):
    figure, ax = picture_of((0, 12), invert=invert)
    with pytest.raises(ValueError, match="lies outside the axes, which show"):
        Pad(figure, ax, point, "a plane")


def test_a_pad_tells_of_new_points_and_counts_answers():
    pad, seen = Pad(*picture_of((0, 12)), (1, 12), "a plane", width=300), []
    pad.observe(lambda change: seen.append(change["new"]), "point")
    pad.point = (2.5, 13.0)
    assert seen == [(2.5, 13.0)] and pad.answered == 0
    pad.answer()
    pad.answer()
    assert pad.answered == 2 and pad.width == 300 and pad.label == "a plane"
    assert {"point", "picture", "frame", "limits", "width", "label", "answered"} <= set(pad.get_state())


def test_a_pad_has_its_script():
    pad = Pad(*picture_of((0, 12)), (0, 12), "a plane")
    assert "render" in str(pad._esm)


def test_a_picture_with_a_tooltip_which_no_browser_shows_is_refused():
    picture = ipw.Image(format="png")
    Live([ipw.HBox([picture])], b"", "says")
    picture.tooltip = "words"
    with pytest.raises(ValueError, match="tooltip"):
        Live([ipw.HBox([picture])], b"", "says")
