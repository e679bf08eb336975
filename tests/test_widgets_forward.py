"""The live figures of diffusion: noise that comes, and a sampler's run: their numbers, pictures and controls."""

import base64
import functools
import math
import time

import ipywidgets as ipw
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from widget_pictures import names_fit, not_cut_off, pixels

from course_lib.datasets.toy import GaussianMixture, ring
from course_lib.diffusion import Schedule, centred, q_sample
from course_lib.plots import use_style
from course_lib.plots.images import mosaic
from course_lib.widgets import denoising_explorer, forward_explorer
from course_lib.widgets import forward as lib
from course_lib.widgets.base import Live

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


T = 200
SCHEDULES = {"cosine": Schedule.cosine(T), "linear": Schedule.linear(T)}
DIGIT, FACE, RING = images(1, 28, 28), images(3, 32, 32, seed=1), ring(8, 1.5, 0.1)
MOMENTS = [("cosine", 0), ("linear", 60), ("cosine", 60), ("cosine", T), ("linear", T)]
TIMES = [T, 120, 60, 0]
FRAMES = {"DDPM": images(4, 5, 1, 8, 8, seed=2), "DDIM": images(4, 5, 1, 8, 8, seed=3)}
GUESSES = {name: images(4, 5, 1, 8, 8, seed=k) for k, name in enumerate(FRAMES, 4)}


def explorer(**change):
    return forward_explorer(**({"digit": DIGIT, "face": FACE, "density": RING, "schedules": SCHEDULES} | change))


def run(**change):
    return denoising_explorer(**({"frames": FRAMES, "times": TIMES, "guesses": GUESSES} | change))


def drawn():
    return lib.ForwardDrawing(DIGIT, FACE, RING, SCHEDULES)


@functools.cache
def shared():
    return drawn()


@functools.cache
def shared_run():
    return lib.DenoisingDrawing(lib._runs(FRAMES, TIMES, GUESSES), TIMES)


# --- noise comes: numbers --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, t", MOMENTS)
def test_images_and_points_at_time_t_are_those_of_the_forward_process(name, t):
    drawing = shared()
    for x_t, x0, eps in zip(drawing.at(name, t), drawing.x0, drawing.eps, strict=True):
        wanted = q_sample(SCHEDULES[name], x0[None], torch.tensor([t]), eps[None])[0]
        assert torch.allclose(x_t, wanted, atol=1e-6)
    digit, face, points = drawing.x0
    assert torch.equal(digit, centred(DIGIT)) and torch.equal(face, centred(FACE)) and points.shape == (lib.POINTS, 2)


def test_the_noise_is_standard_normal_and_the_same_in_every_explorer():
    first, second = shared().eps, drawn().eps
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    pooled = torch.cat([eps.flatten() for eps in first])                        # 4,856 numbers, seed fixed
    n = len(pooled)                                                             # within 4 standard errors
    assert pooled.mean().abs() < 4 / math.sqrt(n) and (pooled.std() - 1).abs() < 4 / math.sqrt(2 * n)


@pytest.mark.parametrize("t, said", [(0, "SNR(t) = ∞: nothing is added yet"), (T // 4, "more image than noise"),
                                     (round(0.496 * T), "as much noise as image"), (T, "more noise than image")])
def test_the_words_hold_the_factors_and_say_which_is_more(t, said):
    schedule = SCHEDULES["cosine"]
    words = lib.forward_in_words("cosine", schedule, t)
    assert words.startswith(f"cosine, t = {t} of {T}: ") and said in words and "nan" not in words
    assert f"√ᾱ_t = {lib.size_of(schedule.alpha_bar[t].sqrt().item())} times the image" in words
    assert f"√(1−ᾱ_t) = {lib.size_of(schedule.variance[t].sqrt().item())} times the noise" in words


@pytest.mark.parametrize("snr, words", [(math.inf, "∞"), (612.7, "613"), (30.04, "30.0"), (1.2341, "1.234"),
                                        (4.2e-5, "4.2·10⁻⁵")])
def test_a_ratio_has_three_digits_or_so(snr, words):
    assert lib.snr_in_words(snr) == words


# --- noise comes: the picture ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, t", MOMENTS)
def test_the_picture_shows_x_t_and_marks_the_time_on_every_curve(name, t):
    drawing, schedule = shared(), SCHEDULES[name]
    drawing.png_of(name, t)
    digit, face, points = drawing.at(name, t)
    for shown, x_t in zip(drawing.shown, (digit, face), strict=True):
        wanted = ((x_t + 1) / 2).clamp(0, 1).permute(1, 2, 0).squeeze(-1)
        assert np.allclose(np.asarray(shown.get_array()), wanted, atol=1e-6)
        assert shown.get_clim() == (0, 1) and shown.get_interpolation() == "nearest"
    assert np.allclose(drawing.group.get_xydata(), points[:lib.GROUP])
    assert np.allclose(drawing.points.get_xydata(), points[lib.GROUP:])
    assert list(drawing.now.get_xdata()) == [t, t]
    low, high = drawing.panels[3].get_ylim()
    for other, mark in drawing.marks.items():
        (at, snr), = mark.get_xydata()
        assert at == t and low < snr < high
        if 0 < t < T:
            assert snr == pytest.approx(SCHEDULES[other].snr[t].item())
    assert drawing.marks[name].get_markersize() == max(mark.get_markersize() for mark in drawing.marks.values())
    assert len({mark.get_markersize() for mark in drawing.marks.values()}) == 2
    for factor in (schedule.alpha_bar[t], schedule.variance[t]):
        assert f"{factor.sqrt().item():.3f}" in drawing.head.get_text()
    assert drawing.head.get_text().startswith(f"t = {t}, {name}")


def test_the_curves_are_snr_against_t_and_the_group_is_of_one_place():
    drawing = shared()
    curves = {line.get_label(): line for line in drawing.panels[3].lines}
    for name, schedule in SCHEDULES.items():
        assert curves[name].get_ydata() == pytest.approx(schedule.snr[1:].numpy())
        assert list(curves[name].get_xdata()) == list(range(1, T + 1))
    assert len({curves[name].get_linestyle() for name in SCHEDULES}) == 2
    points = drawing.x0[2]
    assert (points[:lib.GROUP].max(0).values - points[:lib.GROUP].min(0).values).max() < 1.0    # one mode of the ring
    circle, = drawing.panels[2].patches
    normal = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    inside = (normal.norm(dim=1) < circle.radius).double().mean()
    assert inside == pytest.approx(0.95, abs=0.0062)                            # 4 standard errors


@pytest.mark.parametrize("name, t", MOMENTS)
def test_nothing_is_cut_off(name, t):
    drawing = shared()
    drawing.png_of(name, t)
    not_cut_off(drawing, drawing.panels)
    head, below = drawing.head.get_window_extent(), drawing.panels[0].bbox.y0
    assert head.y1 < below and head.x1 < drawing.panels[2].get_tightbbox().x0


def quick_and_as_drawn_anew(drawing, fresh, states):
    """Over a kept background the picture is that of a new figure, and it takes few seconds of a processor."""
    spent = []
    for state in states:
        start = time.process_time()
        made = drawing.png_of(*state)
        spent.append(time.process_time() - start)
        assert np.array_equal(pixels(made), fresh[state])
    assert min(spent) < 0.1                             # the mean is some 0.03
    assert len(drawing.drawn) == 1


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew_and_quick():
    fresh = {moment: pixels(drawn().png_of(*moment)) for moment in MOMENTS[2:4]}
    quick_and_as_drawn_anew(shared(), fresh, [*fresh, *reversed(fresh)])


# --- noise comes: the widget -----------------------------------------------------------------------------------------

def parts(widget):
    controls, picture, words = widget.children
    return *controls.children, picture, words


def test_the_slider_and_the_schedule_move_the_picture_and_the_words():
    widget = explorer()
    at, which, picture, words = parts(widget)
    assert (at.value, at.min, at.max, which.value) == (60, 0, T, "cosine") and list(which.options) == list(SCHEDULES)
    seen = [picture.value]
    for control, value in ((at, 100), (which, "linear"), (at, 60), (which, "cosine")):
        control.value = value
        assert words.value == f"<p>{lib.forward_in_words(which.value, SCHEDULES[which.value], at.value)}</p>"
        assert np.array_equal(pixels(picture.value), pixels(shared().png_of(which.value, at.value)))
        seen.append(picture.value)
    assert len(set(seen)) == 4 and seen[0] == seen[-1] and picture.tooltip is None
    assert at.continuous_update and not at.disabled and names_fit(widget) == 2


@pytest.mark.parametrize("make, says", [
    (explorer, "Explorer of the forward process: run the cell, then slide the time."),
    (run, "Explorer of a sampler's run: run the cell, then slide the time.")], ids=["forward", "denoising"])
def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay(make, says):
    widget = make()
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still
    assert bundle["text/plain"] == repr(widget) == says and make().still == widget.still
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.1 and shown.shape[0] > 250 and shown.shape[1] > 500         # not blank
    slider = next(c for c in widget.children[0].children if isinstance(c, (ipw.IntSlider, ipw.SelectionSlider)))
    if isinstance(slider, ipw.IntSlider):
        slider.value = 150
    else:
        slider.index = 0
    assert widget.children[1].value != widget.still     # the still stays


@pytest.mark.parametrize("change, message", [
    ({"digit": DIGIT[None]}, r"digit has shape \(1, 1, 28, 28\)"),
    ({"face": FACE[:1]}, r"face has shape \(1, 32, 32\)"),
    ({"schedules": {}}, "no schedule"), ({"start": T + 1}, f"start is {T + 1}; t goes from 0 to T = {T}"),
    ({"schedules": {"a": SCHEDULES["cosine"], "b": Schedule.cosine(50)}}, "one slider needs one T"),
    ({"density": GaussianMixture([[0.0]], 1.0)}, "density's samples has shape"),
])
def test_what_is_no_forward_process_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        explorer(**change)


# --- noise leaves ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, k", [("DDPM", 0), ("DDIM", 2), ("DDPM", 3)])
def test_a_run_s_picture_shows_x_t_above_the_guess(name, k):
    drawing = shared_run()
    drawing.png_of(name, k)
    wanted = mosaic(torch.cat([FRAMES[name][k], GUESSES[name][k]]), 5)
    assert np.allclose(np.asarray(drawing.shown.get_array()), wanted) and drawing.shown.get_interpolation() == "nearest"
    assert ["x_t" in drawing.ax.get_yticklabels()[0].get_text(), "x}_0" in drawing.ax.get_yticklabels()[1].get_text()
            ] == [True, True]
    assert drawing.head.get_text() == f"{name}: t = {TIMES[k]}, step {k} of 3"
    not_cut_off(drawing, [drawing.ax])


@pytest.mark.parametrize("n, size, c", [(1, 28, 1), (12, 32, 3)])
def test_one_image_does_as_well_as_many(n, size, c):
    x = images(3, n, c, size, size)
    drawing = lib.DenoisingDrawing(lib._runs({"DDIM": x}, [2, 1, 0], {"DDIM": x}), [2, 1, 0])
    shown = pixels(drawing.png_of("DDIM", 1))
    not_cut_off(drawing, [drawing.ax])
    assert drawing.ax.bbox.height > 2 * 70 and shown.shape[1] < 1_300           # pixels


def test_a_run_over_a_kept_background_is_drawn_as_anew_and_quickly():
    states = [("DDPM", 0), ("DDIM", 2)]
    runs = lib._runs(FRAMES, TIMES, GUESSES)
    fresh = {state: pixels(lib.DenoisingDrawing(runs, TIMES).png_of(*state)) for state in states}
    quick_and_as_drawn_anew(shared_run(), fresh, [*states, *reversed(states)])


def test_the_words_say_how_far_x_and_the_guess_are_from_the_finished_images():
    x, guess = FRAMES["DDIM"].clone(), GUESSES["DDIM"].clone()
    x[-1], x[1], guess[1] = 0.5, 0.75, 9.0                                      # 9 is cut off at 1
    words = lib.denoising_in_words("DDIM", (x, guess), TIMES, 1)
    assert words.startswith("DDIM, after 1 of 3 steps, t = 120: ")
    assert "x_t is 0.250 away, the guess x̂_0 0.500 (root mean square" in words


def test_slider_play_and_choice_of_the_run_move_its_picture():
    widget = run(start=1)
    play, slider, which, picture, words = parts(widget)
    assert [label for label, _ in slider.options] == ["200", "120", "60", "0"] and slider.index == play.value == 1
    assert (play.min, play.max) == (0, 3) and list(which.options) == ["DDPM", "DDIM"]
    seen = [picture.value]
    for control, trait, value in ((slider, "index", 2), (which, "value", "DDIM"), (play, "value", 3)):
        setattr(control, trait, value)
        now = which.value, slider.index
        assert play.value == slider.index
        assert np.array_equal(pixels(picture.value), pixels(shared_run().png_of(*now)))
        said = lib.denoising_in_words(now[0], (FRAMES[now[0]], GUESSES[now[0]]), TIMES, now[1])
        assert words.value == f"<p>{said}</p>"
        seen.append(picture.value)
    assert len(set(seen)) == 4 and names_fit(widget) == 2


def test_one_run_of_one_image_needs_no_choice():
    one = {"DDPM": FRAMES["DDPM"][:, 0]}
    widget = run(frames=one, guesses=one)
    assert len(widget.children[0].children) == 2 and widget.children[0].children[1].index == 2


@pytest.mark.parametrize("change, message", [
    ({"frames": {}}, "there are 0 runs"), ({"times": [0]}, "1 times"), ({"start": 4}, "start is 4; with 4 frames"),
    ({"guesses": {"DDPM": GUESSES["DDPM"]}}, "they must have the same names"),
    ({"guesses": GUESSES | {"DDIM": GUESSES["DDIM"][:3]}}, r"frames\['DDIM'\] has shape"),
    ({"times": [3, 2, 0]}, r"must be \(3, any, any, any, any\)"),
    ({"frames": FRAMES | {"DDIM": FRAMES["DDIM"][:, :2]}, "guesses": GUESSES | {"DDIM": GUESSES["DDIM"][:, :2]}},
     "DDIM has shape"),
])
def test_what_is_no_run_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)
