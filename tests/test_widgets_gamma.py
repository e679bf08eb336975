"""The live figure of γ: its sheets, its numbers, its picture, its control."""

import base64
import functools
import time

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from widget_pictures import names_fit, not_cut_off, pixels

from course_lib.plots import use_style
from course_lib.plots.images import mosaic
from course_lib.recipes.sheets import sheet
from course_lib.widgets import gamma as lib
from course_lib.widgets.base import Live
from course_lib.widgets.gamma import gamma_explorer

mpl.use("Agg")
N = 8


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


def images(n, seed, c=3, side=32):
    return torch.randint(256, (n, c, side, side), generator=torch.Generator().manual_seed(seed)).float() / 255


FACES = images(N, 99)
GAMMAS = (1.0, 1e-3, 0.03)                              # in no order


def row(gamma, k, **change):
    return {"gamma": gamma, "pixel error": 30.0 + 10 * k, "feature error": 900.0 / 9**k, "sharpness": 0.5 + 0.2 * k,
            "fréchet": 12_345.6 / 20**k, "pictures": sheet(images(2 * N, k)), "seed": 0} | change


ROWS = [row(gamma, k) for k, gamma in enumerate(GAMMAS)]


@functools.cache
def weighings():
    return lib.weighings_of(ROWS, FACES)


@functools.cache
def shared():
    return lib.GammaDrawing(weighings(), FACES)


def parts(widget):
    controls, picture, words = widget.children
    at, = controls.children
    return at, picture, words


# --- numbers ---------------------------------------------------------------------------------------------------------

def test_the_sweep_is_in_order_and_its_sheets_are_opened():
    assert list(weighings()) == sorted(GAMMAS)
    for k, gamma in enumerate(GAMMAS):
        now, made = weighings()[gamma], images(2 * N, k)
        assert torch.allclose(now.reconstructions, made[:N]) and torch.allclose(now.samples, made[N:])
        assert now.numbers == {name: ROWS[k][name] for name in lib.MEASURES}


@pytest.mark.parametrize("value, words", [(12_345.6, "1.2·10⁴"), (612.7, "613"), (30.04, "30.0"),
                                          (1.2341, "1.234"), (0.5, "0.500"), (4.2e-5, "4.2·10⁻⁵")])
def test_numbers_have_three_digits_or_so(value, words):
    assert lib.digits(value) == words


def test_the_words_hold_the_numbers():
    words = lib.gamma_in_words(1.0, weighings()[1.0])
    assert words.startswith("γ = 1: ") and "pixel error is 30.0 and their feature error 900, squared" in words
    assert "sharpness is 0.500 of the data's" in words and words.endswith("Fréchet distance is 1.2·10⁴.")


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_picture_shows_faces_reconstructions_and_samples_and_marks_the_numbers(gamma):
    drawing, now = shared(), weighings()[gamma]
    drawing.png_of(gamma)
    wanted = mosaic(torch.cat([FACES, now.reconstructions, now.samples]), N)
    assert np.allclose(np.asarray(drawing.shown.get_array()), wanted)
    assert drawing.shown.get_interpolation() == "nearest"
    assert [words.get_text() for words in drawing.images.get_yticklabels()] == ["test faces", "reconstructions",
                                                                                "samples"]
    assert drawing.head.get_text() == f"γ = {gamma:g}"
    for name, ax in drawing.panels.items():
        line = ax.lines[0]
        assert list(line.get_xdata()) == sorted(GAMMAS)
        assert list(line.get_ydata()) == [weighings()[g].numbers[name] for g in sorted(GAMMAS)]
        assert drawing.marks[name].get_xydata().tolist() == [[gamma, now.numbers[name]]]
        assert drawing.values[name].get_text() == lib.digits(now.numbers[name])
        low, high = ax.get_ylim()
        assert all(low < y < high for y in line.get_ydata()) and ax.get_xscale() == "log"
        assert ax.get_title(loc="left") == lib.MEASURES[name]
    assert drawing.panels["fréchet"].get_yscale() == "log" and drawing.panels["sharpness"].get_yscale() == "linear"


@pytest.mark.parametrize("gamma", GAMMAS)
def test_nothing_is_cut_off(gamma):
    drawing = shared()
    drawing.png_of(gamma)
    drawing.figure.canvas.draw()
    not_cut_off(drawing, (drawing.images, *drawing.panels.values()))
    for name, value in drawing.values.items():
        assert value.get_window_extent().x0 > drawing.panels[name].bbox.x1
    assert drawing.images.bbox.x1 < min(ax.get_tightbbox().x0 for ax in drawing.panels.values())


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew_and_quick():
    fresh = {gamma: pixels(lib.GammaDrawing(weighings(), FACES).png_of(gamma)) for gamma in GAMMAS}
    drawing = shared()
    spent = []
    for gamma in (*GAMMAS, GAMMAS[0], GAMMAS[2], *GAMMAS):
        start = time.process_time()
        made = drawing.png_of(gamma)
        spent.append(time.process_time() - start)
        assert np.array_equal(pixels(made), fresh[gamma])
    assert min(spent) < 0.1                             # seconds of a processor; the mean is some 0.03
    assert len(drawing.drawn) == 1


@pytest.mark.parametrize("shape", [(1, 28), (3, 32)])
def test_digits_do_as_well_and_any_number_of_them(shape):
    c, side = shape
    rows = [row(gamma, k, pictures=sheet(images(10, k, c, side), 5)) for k, gamma in enumerate((0.1, 0.2))]
    at, picture, _ = parts(gamma_explorer(rows, images(5, 9, c, side)))
    before = picture.value
    at.value = 0.1
    assert picture.value != before


# --- the widget ------------------------------------------------------------------------------------------------------

def test_the_slider_moves_the_picture_and_the_words():
    widget = gamma_explorer(ROWS, FACES)
    at, picture, words = parts(widget)
    assert at.value == 0.03 and [label for label, _ in at.options] == ["0.001", "0.03", "1"]
    seen = [picture.value]
    for gamma in (1.0, 1e-3, 0.03):
        at.value = gamma
        assert words.value == f"<p>{lib.gamma_in_words(gamma, weighings()[gamma])}</p>" and picture.tooltip is None
        assert np.array_equal(pixels(picture.value), pixels(shared().png_of(gamma)))
        seen.append(picture.value)
    assert len(set(seen)) == 3 and seen[0] == seen[3]
    assert "γ" in at.description and at.continuous_update and not at.disabled and names_fit(widget) == 1
    assert parts(gamma_explorer(ROWS, FACES, start=1.0))[0].value == 1.0


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget = gamma_explorer(ROWS, FACES)
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still
    assert bundle["text/plain"] == repr(widget) == "Explorer of γ: run the cell, then slide the weight."
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.2 and shown.shape[0] > 400 and shown.shape[1] > 1_000         # not blank
    at, picture, _ = parts(widget)
    assert widget.still == picture.value
    at.value = 1.0
    assert widget.still != picture.value                # the still stays


def without(name):
    return [{key: value for key, value in one.items() if key != name} for one in ROWS]


@pytest.mark.parametrize("rows, faces, options, message", [
    ([], FACES, {}, "there are 0 rows; a sweep has 2 or more"), (ROWS[:1], FACES, {}, "there are 1 rows"),
    ([*ROWS, row(0.0, 1)], FACES, {}, "gamma is 0.0; on a logarithmic scale"),
    ([*ROWS, row(1.0, 1)], FACES, {}, "gamma 1 comes twice"), (without("sharpness"), FACES, {}, "has no 'sharpness'"),
    (without("pictures"), FACES, {}, "has no 'pictures'"), (ROWS, FACES[:4], {}, r"must be \(8, 3, 32, 32\)"),
    (ROWS, FACES[0], {}, "faces has shape"),
    (ROWS, FACES, {"start": 0.5}, "start is 0.5; the sweep has 0.001, 0.03, 1"),
    ([*ROWS, row(2.0, 1, pictures="none")], FACES, {}, "no sheet of images"),
])
def test_what_is_no_sweep_is_refused(rows, faces, options, message):
    with pytest.raises(ValueError, match=message):
        gamma_explorer(rows, faces, **options)
