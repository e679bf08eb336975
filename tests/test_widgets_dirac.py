"""The Dirac-GAN's live figure: what is drawn and said is what the paths hold."""

import base64
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from widget_pictures import names_fit, not_cut_off, pixels

from course_lib.gans import dirac_field, dirac_gan
from course_lib.plots import use_style
from course_lib.widgets import dirac, dirac_explorer
from course_lib.widgets.base import Live

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


# --- numbers ---------------------------------------------------------------------------------------------------------

SETTINGS = [{}, {"rule": "alternating"}, {"gamma": 0.5}, {"gamma": 2.0}, {"noise": 0.7}, {"gamma": 0.05}]


def run_of(start=(1.0, 1.0), lr=0.2, steps=200, **kwargs):
    return dirac.dirac_run(start, lr, steps, **{"rule": "simultaneous", **kwargs})


@pytest.mark.parametrize("kwargs", SETTINGS)
@pytest.mark.parametrize("lr", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("saturating", [True, False])
def test_the_eigenvalues_size_is_that_of_one_step_s_jacobian(kwargs, lr, saturating):
    h, rows = 1e-4, []
    for at in ((h, 0.0), (0.0, h)):                     # central differences: off by h²
        ends = [dirac_gan(sign * at[0], sign * at[1], lr, 1, kwargs.get("rule", "simultaneous"), saturating=saturating,
                          **{k: v for k, v in kwargs.items() if k != "rule"})[1].numpy() for sign in (1, -1)]
        rows.append((ends[0] - ends[1]) / (2 * h))
    size = np.abs(np.linalg.eigvals(np.array(rows).T)).max()
    assert run_of(lr=lr, saturating=saturating, **kwargs)["size"] == pytest.approx(size, abs=1e-6)


@pytest.mark.parametrize("kwargs", SETTINGS)
@pytest.mark.parametrize("saturating", [True, False])
def test_close_to_the_equilibrium_the_path_does_what_the_words_say(kwargs, saturating):
    run = run_of((1e-9, 1e-9), lr=0.4, steps=500, saturating=saturating, **kwargs)
    per_step = (run["distance"][-1] / run["distance"][250]) ** (1 / 250)
    assert per_step == pytest.approx(run["size"], abs=2e-3)
    words = dirac.of_size(run)
    if kwargs.get("rule"):
        assert "size 1:" in words and "circles, to first order" in words and "farther out they do not tell" in words
    else:
        assert f"size {run['size']:.5f}" in words
        assert ("pushed away" in words) == (per_step > 1) and ("drawn in" in words) == (per_step < 1)
        share = float(re.search(r"some ([\d.]+) % a step", words)[1])
        assert share == pytest.approx(100 * abs(run["size"] - 1), rel=0.06)


def test_a_size_of_1_by_balance_is_said_to_be_1():
    # γ = lr/4: what R1 takes off is what the simultaneous step adds, |1 + lr λ|² = 1 − lr γ + lr²/4.
    assert "size 1:" in dirac.of_size(run_of(lr=0.4, gamma=0.1)) and "in" in dirac.of_size(run_of(lr=0.4, gamma=0.15))


@pytest.mark.parametrize("kwargs", SETTINGS)
@pytest.mark.parametrize("start", [(1.0, 1.0), (-2.9, 2.5), (0.0, 0.3)])
@pytest.mark.parametrize("saturating", [True, False])
def test_words_hold_the_path_s_own_numbers(kwargs, start, saturating):
    run = run_of(start, saturating=saturating, **kwargs)
    path = dirac_gan(*start, 0.2, 200, saturating=saturating, **kwargs).double()
    assert torch.equal(torch.from_numpy(run["path"]), path)
    r = path.norm(dim=1)
    assert run["distance"] == pytest.approx(r.numpy(), rel=1e-12)
    words = dirac.dirac_in_words(run)
    named = re.search(r"from \(θ, ψ\) = \((.+), (.+)\), at distance (.+) from the equilibrium, to \((.+), (.+)\), at "
                      r"distance (.+), after 200 steps: (.+ times|) ?as far as at first(?:, to 4 digits)?; on the way "
                      r"between (\S+) and ([^\s,]+?)(, partly outside the picture)?\. At the", words)
    wanted = [*path[0], r[0], *path[-1], r[-1], r[-1] / r[0], r.min(), r.max()]
    for text, value in zip(named.groups(), wanted, strict=False):
        within = {"rel": 0.06} if "·10" in text else {"abs": 5.1e-4}
        assert as_float(text.removesuffix(" times") or "1.000") == pytest.approx(float(value), **within), text
    assert (named[10] is not None) == bool((path.abs() > 3).any())
    assert words.startswith("Alternating" if kwargs.get("rule") else "Simultaneous")
    assert ("R1" in words) == ("gamma" in kwargs) and ("instance noise" in words) == ("noise" in kwargs)
    assert ("minimax" in words) == saturating and ("non-saturating" in words) == (not saturating)
    assert not re.search("converge|bounded|for ever|always|never", words)               # what a path cannot show


def as_float(text):
    digits, _, power = text.replace("−", "-").partition("·10")
    return float(digits) * 10.0 ** int((power or "0").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


@pytest.mark.parametrize("value, shown", [(1.4142, "1.414"), (-0.5, "−0.500"), (0.0, "0.000"), (-3.21e-7, "−3.2·10⁻⁷"),
                                          (4.4e-4, "4.4·10⁻⁴"), (1.43e30, "1.4·10³⁰"), (9999.0, "9999.000")])
def test_numbers_are_short_also_where_they_are_tiny_or_huge(value, shown):
    assert dirac.size_of(value) == shown


def test_at_the_equilibrium_it_stays():
    for kwargs in SETTINGS:
        run = run_of((0.0, 0.0), **kwargs)
        assert not run["distance"].any() and "begins at the equilibrium" in dirac.dirac_in_words(run)
        dirac.DistanceDrawing(200).png_of(run)          # a log axis has no 0: no warning, no error
        dirac.PlaneDrawing(200).png_of(run)


def test_a_path_that_runs_away_is_drawn_and_told():
    run = dirac.dirac_run((1.0, 1.0), 1.0, 200, "simultaneous", gamma=2.1)
    assert run["distance"].max() > 1e10
    words = dirac.dirac_in_words(run)
    assert as_float(re.search(r"between \S+ and (\S+), partly outside", words)[1]) == pytest.approx(
        run["distance"].max(), rel=0.06)
    assert len(dirac.PlaneDrawing(200).png_of(run)) > 1_000 and len(dirac.DistanceDrawing(200).png_of(run)) > 1_000


# --- the pictures ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kwargs", [*SETTINGS, {"saturating": False}])
def test_the_pictures_show_the_path_its_distances_and_the_field(kwargs):
    run = run_of(**kwargs)
    plane, curve = dirac.PlaneDrawing(200), dirac.DistanceDrawing(200)
    plane.png_of(run)
    curve.png_of(run)
    assert np.array_equal(plane.path.get_xydata(), run["path"])
    assert plane.first.get_xydata().tolist() == [[1, 1]]
    assert np.array_equal(plane.last.get_xydata(), run["path"][-1:])
    assert np.array_equal(curve.distance.get_xdata(), np.arange(201)) and curve.ax.get_yscale() == "log"
    assert curve.distance.get_ydata() == pytest.approx(np.hypot(*run["path"].T))
    assert curve.rate.get_ydata() == pytest.approx(math.sqrt(2) * run["size"] ** np.arange(201))
    shown = curve.size.get_text().removeprefix("eigenvalue's size: ")
    assert float(shown) == pytest.approx(run["size"], abs=5e-6) and (shown == "1") == (abs(run["size"] - 1) < 1e-9)
    theta, psi = (torch.from_numpy(np.asarray(v)).double() for v in np.asarray(plane.arrows.get_offsets()).T)
    across, up = (v.numpy() for v in dirac_field(theta, psi, kwargs.get("gamma", 0.0), kwargs.get("noise", 0.0),
                                                 kwargs.get("saturating", True)))
    u, v = np.ravel(plane.arrows.U), np.ravel(plane.arrows.V)
    speed, length = np.hypot(across, up), np.hypot(u, v)
    assert (u * across + v * up) == pytest.approx(speed * length, rel=1e-6)             # along the field, forwards
    order = speed.argsort()
    assert np.all(np.diff(length[order]) >= -1e-9) and length.min() > 0 and length.max() <= 0.5501    # longer: faster
    assert length.max() > 2 * length.min()


def test_without_regularisers_the_minimax_arrows_stand_at_right_angles_to_the_radius():
    plane = dirac.PlaneDrawing(200)
    plane.png_of(run_of())
    theta, psi = np.asarray(plane.arrows.get_offsets()).T
    assert theta * np.ravel(plane.arrows.U) + psi * np.ravel(plane.arrows.V) == pytest.approx(0, abs=1e-12)
    turn = theta * np.ravel(plane.arrows.V) - psi * np.ravel(plane.arrows.U)
    assert (turn < 0).all()                             # clockwise: D leans away from the fake, the fake follows
    assert len({round(t, 9) for t in theta}) == 12      # and the grid is even and within the axes
    assert plane.ax.get_xlim() == plane.ax.get_ylim() == (-3, 3) and plane.ax.get_aspect() == 1


@pytest.mark.parametrize("kwargs", SETTINGS)
def test_nothing_of_the_two_pictures_is_cut_off_and_their_axes_stay(kwargs):
    plane, curve = dirac.PlaneDrawing(200), dirac.DistanceDrawing(500)
    seen = set()
    for start in ((1.0, 1.0), (3.0, -3.0)):
        for drawing in (plane, curve):
            drawing.png_of(run_of(start, steps=200 if drawing is plane else 500, **kwargs))
            not_cut_off(drawing, [drawing.ax])
        seen.add(str([(d.ax.get_xlim(), d.ax.get_ylim(), d.ax.get_position().bounds) for d in (plane, curve)]))
    assert len(seen) == 1
    assert "θ" in plane.ax.get_xlabel() and "ψ" in plane.ax.get_ylabel()
    assert curve.ax.get_xlabel() == "step of both players" and "√(θ² + ψ²)" in curve.ax.get_ylabel()
    assert "200 steps" in plane.figure.get_suptitle() and curve.figure.get_suptitle()
    assert len({line.get_linestyle() for line in (curve.rate, curve.distance)}) == 2
    assert len({line.get_marker() for line in (plane.first, plane.last)}) == 2


# --- the widget ------------------------------------------------------------------------------------------------------

def dirac_parts(widget):
    (which, loss, rate), places_and_sizes, (pad, picture), words = (getattr(child, "children", child)
                                                                   for child in widget.children)
    *places, gamma, noise = places_and_sizes
    return which, loss, rate, places, gamma, noise, pad, picture, words


def test_each_control_moves_the_pictures_and_the_words():
    which, loss, rate, (theta, psi), gamma, noise, pad, picture, words = dirac_parts(dirac_explorer())
    assert words.value == f"<p>{dirac.dirac_in_words(run_of())}</p>" and picture.tooltip is None
    seen = [(pad.picture, picture.value)]
    at = {"start": (1.0, 1.0), "lr": 0.2}
    for control, value, more in ((theta, -2.0, {"start": (-2.0, 1.0)}), (psi, 0.5, {"start": (-2.0, 0.5)}),
                                 (rate, 0.1, {"lr": 0.1}), (loss, "non-saturating", {"saturating": False}),
                                 (which, "alternating", {"rule": "alternating"}),
                                 (which, "simultaneous + R1", {"rule": "simultaneous", "gamma": 0.5}),
                                 (gamma, 1.0, {"gamma": 1.0}),
                                 (which, "simultaneous + instance noise", {"gamma": 0.0, "noise": 0.7}),
                                 (noise, 1.0, {"noise": 1.0}), (which, "simultaneous", {"noise": 0.0}),
                                 (loss, "saturating (minimax)", {"saturating": True})):
        control.value = value
        at |= more
        run = dirac.dirac_run(**{"steps": 200, "rule": "simultaneous", **at})
        assert words.value == f"<p>{dirac.dirac_in_words(run)}</p>"
        seen.append((bytes(pad.picture), bytes(picture.value)))
        assert np.array_equal(pixels(pad.picture), pixels(dirac.PlaneDrawing(200).png_of(run)))
        assert np.array_equal(pixels(picture.value), pixels(dirac.DistanceDrawing(200).png_of(run)))
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in zip(seen, seen[1:], strict=False))


def test_only_the_slider_that_the_rule_reads_is_open():
    which, _, _, _, gamma, noise, *_ = dirac_parts(dirac_explorer())
    for rule, open_ones in (("simultaneous", (False, False)), ("alternating", (False, False)),
                            ("simultaneous + R1", (True, False)), ("simultaneous + instance noise", (False, True)),
                            ("simultaneous", (False, False))):
        which.value = rule
        assert (not gamma.disabled, not noise.disabled) == open_ones


def test_pad_and_sliders_hold_the_same_point_and_each_drag_is_answered():
    *_, places, _, _, pad, _, words = dirac_parts(dirac_explorer())
    pad.point = (0.333, -1.21)                          # between the sliders' marks: the pad is not pulled to one
    assert [slider.value for slider in places] == [0.333, -1.21] and pad.point == (0.333, -1.21)
    assert pad.answered == 1 and "(0.333, −1.210)" in words.value
    places[1].value = 2.0
    assert pad.point == (0.333, 2.0) and pad.answered == 2
    pad.point = (3.0, -3.0)                             # the corner
    assert [slider.value for slider in places] == [3, -3] and pad.answered == 3


@pytest.mark.parametrize("point", [(0.5, 1.0), (-2.0, -2.5)])
def test_the_pad_s_point_lies_where_the_path_begins(point):
    *_, pad, _, _ = dirac_parts(dirac_explorer(start=point))
    left, top, right, bottom = pad.frame
    x0, y0, x1, y1 = pad.limits
    assert (x0, y0, x1, y1) == (-3, 3, 3, -3)
    shown = pixels(pad.picture)
    height, width = shown.shape[:2]
    across = (left + (point[0] - x0) / (x1 - x0) * (right - left)) * width
    down = (top + (point[1] - y0) / (y1 - y0) * (bottom - top)) * height
    around = shown[round(down) - 12:round(down) + 12, round(across) - 12:round(across) + 12]
    black = np.argwhere((around < 60).all(2)) + 0.5 + [round(down) - 12, round(across) - 12]
    assert (shown[int(down), int(across)] > 240).all()  # the ring's white middle …
    assert black.mean(0) == pytest.approx([down, across], abs=1.5) and len(black) > 60     # … and the ring about it
    assert pad.width == width


def test_every_control_can_be_reached_by_keyboard_and_has_a_name_and_a_unit():
    which, loss, rate, places, gamma, noise, pad, *_ = dirac_parts(dirac_explorer())
    assert all(control.description for control in (which, loss, rate, *places, gamma, noise)) and pad.label
    assert "units" in noise.description and all(slider.continuous_update for slider in (*places, rate, gamma, noise))
    assert [(s.min, s.max) for s in (*places, rate, gamma, noise)] == [(-3, 3), (-3, 3), (0.02, 0.5), (0, 2), (0, 1)]
    for slider in places:
        assert (0 - slider.min) / slider.step == pytest.approx(round(-slider.min / slider.step))    # 0 is on the way
    assert len(which.options) == 4 and len(loss.options) == 2


def test_no_control_s_name_is_cut_off():
    assert names_fit(dirac_explorer()) == 7


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget, again = dirac_explorer(), dirac_explorer()
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still == again.still
    assert bundle["text/plain"] == repr(widget) == repr(again) and repr(widget).endswith(".")
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.03 and shown.shape[0] > 400 and shown.shape[1] > 800       # not blank


def test_the_still_is_both_pictures_and_stays():
    widget = dirac_explorer(0.1, 50, (0.5, -0.5), "alternating")
    which, _, rate, _, _, _, pad, picture, words = dirac_parts(widget)
    assert which.value == "alternating" and rate.value == 0.1 and "after 50 steps" in words.value
    assert "(0.500, −0.500)" in words.value
    both = np.concatenate([pixels(pad.picture), pixels(picture.value)], axis=1)
    assert np.array_equal(pixels(widget.still), both)
    rate.value = 0.5
    assert np.array_equal(pixels(widget.still), both) and not np.array_equal(pixels(pad.picture), both[:, :pad.width])


@pytest.mark.parametrize("kwargs, message", [
    ({"lr": 0.6}, "lr is 0.6; the slider goes from 0.02 to 0.5"), ({"lr": 0.0}, "lr is 0"),
    ({"lr": float("nan")}, "lr is nan"), ({"steps": 9}, "steps is 9; it must be a whole number, 10 to 500"),
    ({"steps": 501}, "steps is 501"), ({"steps": 50.0}, "steps is 50.0"),
    ({"start": (3.1, 0.0)}, r"start is \(3.1, 0.0\); it must be"), ({"start": (0.0, float("nan"))}, "start is"),
    ({"start": (1.0,)}, r"start is \(1.0,\)"), ({"rule": "R2"}, "rule is 'R2'; it must be one of 'simultaneous', 'al")])
def test_a_start_beyond_the_controls_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        dirac_explorer(**kwargs)
