"""The live figure of clipped critics: its numbers against the library's, its picture, its controls."""

import base64
import functools
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from widget_pictures import not_cut_off, pixels

from course_lib.gans import clip_weights, steepest
from course_lib.gans.slopes import layer_gradient_norms, weights_of
from course_lib.networks import mlp_discriminator
from course_lib.plots import use_style
from course_lib.widgets import clipping
from course_lib.widgets.base import Live
from course_lib.widgets.clipping import ClippedCritics, clipping_explorer

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


def critic(c, hidden, seed=0):
    torch.manual_seed(seed)
    f = mlp_discriminator(2, hidden)
    clip_weights(f, c)
    return f


def task(cs, hidden, spread):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 300, 2, generator=draw)
    return {c: critic(c, hidden) for c in cs}, x / x.norm(dim=1, keepdim=True), spread * y


TASKS = {"shallow": task((0.3, 0.03, 1.0), (16, 16), 0.7), "deep": task((0.001, 0.5), (16,) * 9, 2.0)}
PLACES = [(name, c) for name, (critics, *_) in TASKS.items() for c in critics]


@functools.cache
def readings():
    return {name: {c: clipping.reading(f, c, x, y) for c, f in critics.items()} for name, (critics, x, y) in
            TASKS.items()}


def drawing_of():
    return clipping.ClippingDrawing({name: ClippedCritics(*task) for name, task in TASKS.items()}, readings())


shared = functools.cache(drawing_of)


def parts(widget):
    controls, picture, words = widget.children
    return *controls.children, picture, words


# --- numbers ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "c"), PLACES)
def test_a_reading_is_the_library_s(name, c):
    critics, x, y = TASKS[name]
    f, now = critics[c], readings()[name][c]
    reach = clipping.reach_of(x, y)
    ticks = torch.linspace(-reach, reach, clipping.SIDE, dtype=torch.float64)
    at = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).view(-1, 2)       # row after row from the bottom
    g = critic(c, (16, 16) if name == "shallow" else (16,) * 9).double()
    found = steepest(g, at).item()
    assert pytest.approx(found) == now.K
    assert now.norms == pytest.approx(layer_gradient_norms(f, torch.cat([x, y])).numpy())
    weights = weights_of(f).double()
    assert now.at_c == pytest.approx((weights.abs() > 0.999 * c).double().mean().item())
    assert now.shares.sum() == pytest.approx(1) and len(now.shares) == clipping.BINS
    assert now.shares[-1] == pytest.approx((weights > c * (1 - 2 / clipping.BINS)).double().mean().item())
    if (name, c) == ("deep", 0.001):
        assert now.surface is None and math.isnan(now.gap) and 0 < now.K < 1e-15
    else:
        values = g(at).detach().view(clipping.SIDE, clipping.SIDE)
        assert now.surface == pytest.approx(((values - values.mean()) / now.K).numpy(), abs=1e-9)
        assert now.gap == pytest.approx((g(x.double()).mean() - g(y.double()).mean()).item())
    assert next(f.parameters()).dtype == torch.float32 and f.training


def test_the_plane_holds_the_data_and_nearly_all_fakes():
    for _, x, y in TASKS.values():
        reach = clipping.reach_of(x, y)
        assert x.abs().max() < reach and (y.abs() <= reach).float().mean() >= 0.98 and reach < 6
        assert (10 * reach) % 1 == pytest.approx(0, abs=1e-9)


def test_bands_are_so_high_and_brighter_where_it_is_higher():
    surface = np.linspace(-0.25, 0.34, clipping.SIDE)[None].repeat(clipping.SIDE, 0)
    colours = clipping.banded(surface)
    grey = colours.mean(2)
    assert colours.shape == (clipping.SIDE, clipping.SIDE, 3) and (np.diff(grey, axis=1) >= 0).all()
    assert len(np.unique(grey[0])) == 7                 # −0.3 …, −0.2 …, …, 0.3 …
    steps = surface[0, 1:][np.diff(grey[0]) > 0]
    assert steps == pytest.approx([-0.2, -0.1, 0, 0.1, 0.2, 0.3], abs=0.006)
    flat = clipping.banded(None)
    assert flat.shape == colours.shape and np.ptp(flat) == 0
    assert np.isfinite(clipping.banded(np.zeros((clipping.SIDE, clipping.SIDE)))).all()


@pytest.mark.parametrize(("name", "c"), PLACES)
def test_the_words_hold_the_numbers(name, c):
    now = readings()[name][c]
    words = clipping.clipping_in_words(name, c, now)
    assert words.startswith(f"{name}, c = {c:g}: ") and f"{now.at_c:.0%} of the weights are at ±c" in words
    assert f"K = {clipping._size(now.K)};" in words and f"{len(now.norms) - 1} layers further back" in words
    assert f"is {clipping._size(now.norms[-1])} at the last hidden layer and {clipping._size(now.norms[0])} at" in words
    if now.surface is None:
        assert "the same everywhere but for rounding" in words and "gap" not in words
    else:
        said = re.search(r"gap/K = ([−\d.]+) units of x, a lower bound of W₁", words)[1]
        assert float(said.replace("−", "-")) == pytest.approx(now.gap / now.K, abs=5.1e-4)


@pytest.mark.parametrize(("value", "words"), [(3170.5, "3170"), (-23.38, "−23.4"), (6.2317, "6.232"),
                                              (5.2e-14, "5.2·10⁻¹⁴"), (1.9e8, "1.9·10⁸"), (0.0, "0.000")])
def test_numbers_have_three_digits_or_so(value, words):
    assert clipping._size(value) == words


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "c"), PLACES)
def test_the_picture_shows_the_reading(name, c):
    drawing, now, (_, x, y) = shared(), readings()[name][c], TASKS[name]
    drawing.png_of(name, c)
    reach = clipping.reach_of(x, y)
    assert np.array_equal(drawing.image.get_array(), clipping.banded(now.surface))
    assert list(drawing.image.get_extent()) == [-reach, reach] * 2 and drawing.image.origin == "lower"
    assert drawing.surface.get_xlim() == drawing.surface.get_ylim() == (-reach, reach)
    assert drawing.data.get_xydata() == pytest.approx(x[:clipping.SHOWN].numpy())
    assert drawing.fakes.get_xydata() == pytest.approx(y[:clipping.SHOWN].numpy())
    assert drawing.data.get_marker() != drawing.fakes.get_marker()
    assert drawing.bars.get_data().values == pytest.approx(now.shares)
    assert drawing.line.get_ydata() == pytest.approx(now.norms)
    assert list(drawing.line.get_xdata()) == list(range(len(now.norms)))
    assert bool(drawing.flat.get_text()) == (now.surface is None)
    heads = {where: text.get_text() for where, text in drawing.heads.items()}
    assert heads["surface"].startswith(f"c = {c:g}: K = {clipping._size(now.K)};")
    assert heads["weights"] == f"{now.at_c:.0%} are at ±c"
    assert heads["layers"] == f"at the samples: {clipping._size(now.norms[0])}"


@pytest.mark.parametrize("name", TASKS)
def test_the_axes_stay_for_all_c_of_a_task_and_hold_all_its_critics(name):
    drawing, seen = drawing_of(), set()
    for c, now in readings()[name].items():
        drawing.png_of(name, c)
        low, high = drawing.layers.get_ylim()
        assert low < min(now.norms.min(), 1) and high > max(now.norms.max(), 1)
        axes = (drawing.surface, drawing.weights, drawing.layers)
        seen.add(str([(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in axes]))
        thin = [line.get_ydata() for line in drawing.layers.lines if line is not drawing.line]
        for other in readings()[name].values():
            assert any(len(line) == len(other.norms) and np.allclose(line, other.norms, rtol=1e-9, atol=0)
                       for line in thin)
        assert len(thin) == len(readings()[name]) + 1
        assert drawing.weights.get_ylim()[1] >= now.shares.max() or name == "deep"
    assert len(seen) == 1 and len(drawing.drawn) == 1


@pytest.mark.parametrize(("name", "c"), PLACES)
def test_nothing_is_cut_off_and_axes_are_named(name, c):
    drawing = shared()
    drawing.png_of(name, c)
    drawing.figure.canvas.draw()
    axes = drawing.surface, drawing.weights, drawing.layers
    not_cut_off(drawing, axes)
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)
    assert "units of x" in drawing.surface.get_xlabel() and drawing.layers.get_yscale() == "log"
    below, above = drawing.weights.xaxis.label.get_window_extent(), drawing.heads["layers"].get_window_extent()
    assert above.y1 <= below.y0 and drawing.heads["surface"].get_window_extent().x1 < drawing.weights.bbox.x0
    legend, = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["data", "fakes"]
    assert legend.get_window_extent().x0 > drawing.heads["weights"].get_window_extent().x1


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew():
    fresh = [pixels(drawing_of().png_of(*place)) for place in PLACES]
    drawing = drawing_of()
    for k in (*range(len(PLACES)), 0, 4, 2):
        assert np.array_equal(pixels(drawing.png_of(*PLACES[k])), fresh[k]), PLACES[k]
    assert len(drawing.drawn) == 2


# --- the widget ------------------------------------------------------------------------------------------------------

def test_each_control_moves_the_picture_and_the_words():
    which, at, picture, words = parts(clipping_explorer(TASKS))
    assert (which.value, at.value) == ("shallow", 0.3) and [label for label, _ in at.options] == ["0.03", "0.3", "1"]
    seen = [picture.value]
    for control, value, place in ((at, 0.03, ("shallow", 0.03)), (at, 1.0, ("shallow", 1.0)),
                                  (which, "deep", ("deep", 0.5)), (at, 0.001, ("deep", 0.001)),
                                  (which, "shallow", ("shallow", 0.03))):
        control.value = value
        assert (which.value, at.value) == place
        assert words.value == f"<p>{clipping.clipping_in_words(*place, readings()[place[0]][place[1]])}</p>"
        assert picture.tooltip is None
        assert np.array_equal(pixels(picture.value), pixels(shared().png_of(*place)))
        seen.append(picture.value)
    assert len(set(seen)) == 5 and seen[1] == seen[5]


def test_every_control_has_a_name():
    which, at, *_ = parts(clipping_explorer(TASKS))
    assert which.description == "critics of" and "c" in at.description and at.continuous_update


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget = clipping_explorer(TASKS)
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still
    assert bundle["text/plain"] == repr(widget) == "Explorer of clipped critics: run the cell, then slide c."
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.2 and shown.shape[0] > 500 and shown.shape[1] > 900         # not blank
    _, at, picture, _ = parts(widget)
    assert widget.still == picture.value
    at.value = 1.0
    assert widget.still != picture.value                # the still stays


def test_no_critics_and_samples_that_are_not_in_the_plane_are_refused():
    critics, x, y = TASKS["shallow"]
    for tasks in ({}, {"none": ({}, x, y)}):
        with pytest.raises(ValueError, match="there is no critic to show"):
            clipping_explorer(tasks)
    for wrong in ((critics, x[:, :1], y), (critics, x, y[:, 0])):
        with pytest.raises(ValueError, match=r"[xy] has shape .* it must be \(any, 2\)"):
            clipping_explorer({"line": wrong})
