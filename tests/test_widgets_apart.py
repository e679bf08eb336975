"""The live figure of KL, JS and W₁: its numbers against scipy, its tangents against its curves, its controls."""

import base64
import functools
import io
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm, wasserstein_distance
from widget_pictures import names_fit

from course_lib.divergences import gaussians_apart, lines_apart, uniforms_apart
from course_lib.plots import use_style
from course_lib.widgets import apart, apart_explorer
from course_lib.widgets.base import Live

mpl.use("Agg")
LOG_2, INF, NAN = math.log(2), math.inf, math.nan
NAMES = ("KL", "JS", "W₁")
PLACES = [("two lines", 1.0, 0.5), ("two lines", 0.0, 0.5), ("two lines", -2.0, 0.5), ("Gaussians", 1.0, 0.5),
          ("Gaussians", 0.0, 0.3), ("Gaussians", -2.0, 0.1), ("Gaussians", 0.3, 1.0), ("Gaussians", -0.5, 0.1),
          ("uniforms", 0.3, 0.5), ("uniforms", -0.5, 0.5), ("uniforms", 0.0, 1.0), ("uniforms", 1.5, 0.1),
          ("samples", 0.0, 0.5), ("samples", 1.5, 0.5), ("samples", -2.0, 1.0), ("samples", 0.3, 0.1)]


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


def parts(widget):
    controls, picture, words = widget.children
    return *controls.children, picture, words


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


shared = functools.cache(apart.ApartDrawing)


def drawn(pair, theta, width, fresh=False):
    drawing = apart.ApartDrawing() if fresh else shared()
    drawing.png_of(pair, theta, width, apart.reading(pair, theta, width))
    return drawing


# --- numbers ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("theta", [-2.0, -0.3, 0.0, 0.5, 1.0])
def test_closed_forms_are_the_library_s(theta):
    wanted = {("two lines", 0.7): lines_apart(theta), ("Gaussians", 0.7): gaussians_apart(theta, 0.7),
              ("uniforms", 0.7): uniforms_apart(theta, 0.7), ("uniforms", 0.3): uniforms_apart(theta, 0.3)}
    for (pair, width), at in wanted.items():
        values, slopes = apart.reading(pair, theta, width)
        assert values == (at.kl.item(), at.js.item(), at.w1.item())
        assert slopes == pytest.approx((at.dkl.item(), at.djs.item(), at.dw1.item()), abs=0, nan_ok=True)


@pytest.mark.parametrize("theta, width", [(0.3, 0.5), (-1.0, 0.25), (1.5, 1.0)])
def test_gaussians_against_quadrature_and_finite_differences(theta, width):
    (kl, js, w1), slopes = apart.reading("Gaussians", theta, width)

    def js_at(t):
        def height(x):
            p, q = norm.logpdf(x, 0, width), norm.logpdf(x, t, width)
            middle = np.logaddexp(p, q) - LOG_2
            return (np.exp(p) * (p - middle) + np.exp(q) * (q - middle)) / 2
        return quad(height, -8, 8, points=[0, t], epsabs=1e-12, limit=400)[0]

    assert (kl, js, w1) == pytest.approx((theta**2 / (2 * width**2), js_at(theta), abs(theta)), abs=1e-8)
    wanted = theta / width**2, (js_at(theta + 1e-4) - js_at(theta - 1e-4)) / 2e-4, math.copysign(1, theta)
    assert slopes == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("theta, width", [(0.0, 0.5), (1.23, 0.5), (-2.0, 1.0), (0.05, 0.1)])
def test_samples_against_scipy_and_numpy(theta, width):
    x, y = (v.numpy() for v in apart.samples(width))
    (kl, js, w1), (no_slope, flat, slope) = apart.reading("samples", theta, width)
    assert w1 == pytest.approx(wasserstein_distance(x, y + theta), abs=1e-12)
    h = 1e-7
    assert slope == pytest.approx((wasserstein_distance(x, y + theta + h) - wasserstein_distance(x, y + theta - h))
                                  / (2 * h), abs=1e-5)
    edges = np.arange(-24, 25) / 4
    p, q = (np.histogram(v, edges)[0] / 200 for v in (x, y + theta))
    m = (p + q) / 2
    by_hand = sum((v[v > 0] * np.log(v[v > 0] / m[v > 0])).sum() for v in (p, q)) / 2
    assert js == pytest.approx(by_hand, abs=1e-12)
    assert kl == INF and math.isnan(no_slope) and flat == 0
    # Flat between the jumps: a step too small for any point to reach an edge changes nothing.
    near = np.abs((y + theta)[:, None] - edges).min()
    assert near > 0 and apart.reading("samples", theta + near / 2, width).values[1] == js
    assert apart.reading("samples", theta + 0.2, width).values[1] != js     # and yet it jumps


def test_samples_are_always_the_same_and_lie_where_they_are_counted():
    x, y = apart.samples(1.0)
    assert x.shape == y.shape == (200,) and not np.array_equal(x, y)
    assert np.array_equal(apart.samples(0.5)[1], 0.5 * y) and np.array_equal(x, apart.samples(1.0)[0])
    assert max(abs(x).max(), abs(y).max()) + 2 < 6
    assert norm.cdf(x.numpy()).mean() == pytest.approx(0.5, abs=0.07)       # 3.4 standard errors
    assert x.std().item() == pytest.approx(1, abs=0.17) and y.std().item() == pytest.approx(1, abs=0.17)


def test_no_point_lies_in_both_samples_wherever_the_sliders_stand():
    for width in np.arange(2, 21) / 20:                 # so the KL is infinite and the JS of the points log 2
        x, y = (v.numpy() for v in apart.samples(float(width)))
        for theta in np.arange(-40, 41) / 20:
            assert not len(np.intersect1d(x, y + theta))


@pytest.mark.parametrize("pair, width", [("two lines", 0.5), ("Gaussians", 0.5), ("Gaussians", 0.1), ("uniforms", 0.3),
                                         ("samples", 0.5)])
def test_curves_are_the_readings_at_each_place_of_the_slider(pair, width):
    theta, known = apart.curves(pair, width)
    assert list(known) == list(NAMES) and np.all(np.diff(theta) > 0) and (theta[0], theta[-1]) == (-2, 2)
    for at in np.round(np.arange(-40, 41) / 20, 6):
        k = np.abs(theta - at).argmin()
        assert theta[k] == pytest.approx(at, abs=1e-9)
        values = apart.reading(pair, float(at), width).values
        assert [known[name][k] for name in NAMES] == pytest.approx(values, abs=1e-9)


# --- words -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, pair, value, slope, words", [
    ("KL", "two lines", INF, NAN, "no slope"), ("KL", "two lines", 0.0, NAN, "no slope: a jump"),
    ("JS", "two lines", 0.0, NAN, "no slope: a jump"), ("JS", "two lines", LOG_2, 0.0, "slope 0: no direction"),
    ("W₁", "two lines", 0.0, NAN, "no slope: a kink"), ("JS", "uniforms", LOG_2, NAN, "no slope: a kink"),
    ("JS", "uniforms", 0.0, NAN, "no slope: a kink"), ("KL", "uniforms", 0.0, NAN, "no slope: a jump"),
    ("KL", "Gaussians", 0.0, 0.0, "slope 0: the minimum"), ("JS", "Gaussians", 0.0, 0.0, "slope 0: the minimum"),
    ("W₁", "Gaussians", 1.0, 1.0, "slope +1.000"), ("W₁", "Gaussians", 1.0, -1.0, "slope −1.000"),
    ("JS", "Gaussians", 0.6, -0.137, "slope −0.137"), ("JS", "samples", 0.3, 0.0, "slope 0 between jumps"),
    ("JS", "Gaussians", 0.69, 3.7e-12, "slope +3.7·10⁻¹²: next to none"),
    ("JS", "Gaussians", 0.69, 1.2e-3, "slope +0.001"),
    ("JS", "Gaussians", 0.69, -9e-4, "slope −9.0·10⁻⁴: next to none"),
    ("W₁", "samples", 0.1, 0.0, "slope 0: no direction")])
def test_a_slope_is_put_in_words(name, pair, value, slope, words):
    assert apart.of_slope(name, pair, value, slope) == words


@pytest.mark.parametrize("pair, theta, width", PLACES)
def test_the_words_hold_the_numbers_and_the_slopes(pair, theta, width):
    now = apart.reading(pair, theta, width)
    words = apart.apart_in_words(pair, theta, width, now)
    head, rest = words.split(": ", 1)
    assert f"θ = {theta:.2f}".replace("-", "−") in head
    if pair == "samples":
        js, w1, slope = re.search(r"bins of 0\.25: JS = ([\d.]+) nats.* W₁ = ([\d.]+) units of x \((.*)\), from",
                                  rest).groups()
        assert "KL = ∞" in rest and "is log 2 = 0.693 nats at any θ" in rest and "slope 0: no direction" in rest
        assert (float(js), float(w1)) == pytest.approx(now.values[1:], abs=5.1e-4)
        assert slope == apart.of_slope("W₁", pair, now.values[2], now.slopes[2])
        return
    kl, js, w1 = re.search(r"^KL = (.+?)\); JS = (.+?)\); W₁ = (.+?)\)\. Slopes are per unit of θ\.$", rest).groups()
    for name, said, value, slope in zip(NAMES, (kl, js, w1), *now, strict=True):
        number, of_slope = said.split(" (")
        assert of_slope == apart.of_slope(name, pair, value, slope)
        digits = number.split(" ")[0].removesuffix(",")
        assert (INF if digits == "∞" else float(digits)) == pytest.approx(value, abs=5.1e-4)
        assert ("nats" in number) == (name != "W₁" and digits != "∞") and ("units of x" in number) == (name == "W₁")
    assert ("log 2" in js) == (now.values[1] > LOG_2 - 5e-4)
    assert ("just below" in js) == (pair == "Gaussians" and now.values[1] > LOG_2 - 5e-4)
    shown = {"two lines": "Two lines", "Gaussians": f"{width:.2f}²", "uniforms": f"U[0, {width:.2f}]"}[pair]
    assert shown in head and f"{theta:.2f}".replace("-", "−") in head


def test_two_lines_are_told_plainly():
    words = apart.apart_in_words("two lines", 1.0, 0.5, apart.reading("two lines", 1.0, 0.5))
    assert words == ("Two lines, at x = 0 and x = 1.00, θ = 1.00: KL = ∞ (no slope); JS = 0.693 nats = log 2 (slope 0: "
                     "no direction); W₁ = 1.000 units of x (slope +1.000). Slopes are per unit of θ.")
    assert "U[−0.50, 0.00]" in apart.apart_in_words("uniforms", -0.5, 0.5, apart.reading("uniforms", -0.5, 0.5))


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("pair, theta, width", PLACES)
def test_points_and_headings_show_the_reading(pair, theta, width):
    drawing, now = drawn(pair, theta, width), apart.reading(pair, theta, width)
    for name, value, slope in zip(NAMES, *now, strict=True):
        (x, y), = drawing.dots[name].get_xydata()
        assert x == theta
        at_infinity = drawing.axes[name].get_yticks()[-1]
        if value == INF:
            assert y == at_infinity and drawing.axes[name].get_yticklabels()[-1].get_text() == "∞"
        elif value > 8.5:                               # beyond the axis: an arrowhead at its end, below ∞
            assert y == 8.5 < at_infinity and drawing.dots[name].get_marker() == "^"
        else:
            assert y == value and drawing.dots[name].get_marker() == "o"
        what = f"{name} in bins" if (name, pair) == ("JS", "samples") else name
        head = drawing.heads[name].get_text()
        assert head.startswith(f"{what} = {'∞' if value == INF else f'{value:.3f}'}")
        assert head.endswith(f"; {apart.of_slope(name, pair, value, slope)}")


@pytest.mark.parametrize("pair, theta, width", PLACES)
def test_tangents_have_the_slope_one_length_and_are_left_out_where_there_is_none(pair, theta, width):
    drawing, now = drawn(pair, theta, width), apart.reading(pair, theta, width)
    for name, value, slope in zip(NAMES, *now, strict=True):
        ends = drawing.tangents[name].get_xydata()
        if math.isnan(slope) or value > 8.5:
            assert not len(ends)
            continue
        (x0, y0), (x1, y1) = ends
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((theta, value), abs=1e-9) and x0 < x1
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope, abs=1e-9)
        on_screen = drawing.axes[name].transData.transform(ends)
        assert np.hypot(*(on_screen[1] - on_screen[0])) == pytest.approx(124, abs=0.1)
        # It touches the curve: nearer the point, the curve is nearer to it than in proportion.
        at, known = apart.curves(pair, width)
        near = np.abs(at - theta) < 0.03
        if (name, pair) != ("JS", "samples") and not np.isclose(abs(theta), 2):
            off = np.abs(known[name][near] - (value + slope * (at[near] - theta)))
            assert off.max() < 0.05 * max(1, abs(slope)), name


@pytest.mark.parametrize("pair, width, jumps", [("two lines", 0.5, ("KL", "JS")), ("Gaussians", 0.1, ()),
                                                ("Gaussians", 1.0, ()), ("uniforms", 0.1, ("KL",)),
                                                ("uniforms", 1.0, ("KL",)), ("samples", 0.3, ())])
def test_curves_are_drawn_with_their_jumps_and_with_infinity_on_top(pair, width, jumps):
    drawing = drawn(pair, 0.7, width)
    theta, known = apart.curves(pair, width)
    for name in NAMES:
        x, y = drawing.lines[name].get_data()
        assert np.array_equal(x, theta)
        height = drawing.axes["KL"].get_yticks()[-1] if name == "KL" else 0.0
        wanted = known[name].copy()
        wanted[wanted > 8.5] = NAN                      # beyond the axis
        wanted[known[name] == INF] = height
        if name in jumps:
            wanted[np.abs(theta) < 1e-9] = NAN
        assert y == pytest.approx(wanted, nan_ok=True)
        ring, alone = (artist[name].get_xydata().tolist() for artist in (drawing.rings, drawing.alone))
        side = height if name == "KL" else LOG_2
        assert (ring, alone) == (([[0, pytest.approx(side)]], [[0, 0]]) if name in jumps else ([], []))
    in_bins = drawing.lines["JS"]                       # dots: between them it jumps
    assert (in_bins.get_linestyle(), in_bins.get_marker()) == (("None", ".") if pair == "samples" else ("-", ""))
    low, high = drawing.axes["JS"].get_ylim()
    assert low < 0 and high > LOG_2 and any(np.isclose(drawing.axes["JS"].get_yticks(), LOG_2))
    assert drawing.axes["KL"].get_ylim()[1] > drawing.axes["KL"].get_yticks()[-1]


def test_left_are_the_two_distributions():
    lines = drawn("two lines", -1.5, 0.5, fresh=True)
    assert lines.zero.get_xydata().tolist() == [[0, 0], [0, 1]]
    assert lines.theta.get_xydata().tolist() == [[-1.5, 0], [-1.5, 1]]
    bells = drawn("Gaussians", 1.2, 0.3, fresh=True)
    for line, mean in ((bells.zero, 0), (bells.theta, 1.2)):
        x, p = line.get_data()
        assert p == pytest.approx(norm.pdf(x, mean, 0.3), abs=1e-9) and p.max() == pytest.approx(1.3298, abs=1e-3)
    boxes = drawn("uniforms", -0.4, 0.25, fresh=True)
    for line, low in ((boxes.zero, 0), (boxes.theta, -0.4)):
        x, p = line.get_data()
        assert np.trapezoid(p, x) == pytest.approx(1) and p.max() == 4
        assert (x[p > 0].min(), x[p > 0].max()) == pytest.approx((low, low + 0.25))
    for drawing in (bells, boxes):
        assert drawing.fill.get_paths()[0].vertices[:, 1].max() == drawing.theta.get_ydata().max()
        assert not any(len(ticks.get_xdata()) for ticks in drawing.ticks)
    points = drawn("samples", 0.8, 0.5, fresh=True)
    for line, ticks, sample in zip((points.zero, points.theta), points.ticks, apart.samples(0.5), strict=True):
        sample = np.sort(sample.numpy()) + (0.8 if line is points.theta else 0)
        assert np.sort(ticks.get_xdata()) == pytest.approx(sample) and (ticks.get_ydata() < 0).all()
        x, share = line.get_data()
        for at in np.linspace(-2, 2, 41):               # the last corner at or below
            assert share[np.searchsorted(x, at, side="right") - 1] == pytest.approx((sample <= at).mean())
        assert share[0] == 0 and share[-1] == 1
    assert points.fill.get_paths()[0].vertices[:, 1].max() == 0
    assert points.ticks[0].get_ydata()[0] != points.ticks[1].get_ydata()[0]
    assert points.zero.get_linestyle() != points.theta.get_linestyle()


@pytest.mark.parametrize("pair", apart.PAIRS)
def test_the_axes_do_not_move_with_theta(pair):
    drawing, seen = apart.ApartDrawing(), set()
    for theta in (-2.0, -0.5, 0.0, 0.05, 2.0):
        drawing.png_of(pair, theta, 0.5, apart.reading(pair, theta, 0.5))
        seen.add(str([(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in drawing.axes.values()]))
    assert len(seen) == 1 and len(drawing.drawn) == 1


@pytest.mark.parametrize("pair", ["Gaussians", "uniforms"])
def test_the_densities_stay_under_the_legend_and_few_backgrounds_do_for_all_widths(pair):
    drawing = apart.ApartDrawing()
    for width in np.arange(2, 21) / 20:
        drawing.png_of(pair, -2.0, width, apart.reading(pair, -2.0, width))
        low, high = drawing.axes["pair"].get_ylim()
        assert 0.3 * high < drawing.zero.get_ydata().max() < 0.8 * high and low < 0
    assert len(drawing.drawn) <= 5


@pytest.mark.parametrize("pair, theta, width", PLACES)
def test_nothing_is_cut_off_and_axes_are_named(pair, theta, width):
    drawing = drawn(pair, theta, width)
    drawing.figure.canvas.draw()
    for name, ax in drawing.axes.items():
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis, shown in ((ax.xaxis, name in ("pair", "W₁")), (ax.yaxis, True)):
            texts += [tick.label1 for tick in axis._update_ticks()] if shown else []
        for text in texts:
            if text.get_text():
                box, whole = text.get_window_extent(), drawing.figure.bbox
                assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1, text
        heads = [text.get_window_extent() for text in ax.texts if text.get_text()]
        above = drawing.figure._suptitle.get_window_extent()
        assert all(head.y0 >= ax.bbox.y1 and (head.y1 <= above.y0 or head.x0 > above.x1) for head in heads)
    assert drawing.name.get_window_extent().x1 < drawing.heads["KL"].get_window_extent().x0
    labels = [drawing.axes[name].get_ylabel() for name in NAMES]
    assert labels == ["KL (nats)", "JS (nats)", "W₁ (units of x)"]
    assert "θ" in drawing.axes["W₁"].get_xlabel() and "x (" in drawing.axes["pair"].get_xlabel()
    assert drawing.axes["pair"].get_ylabel().startswith({"two lines": "u", "samples": "share"}.get(pair, "density"))
    assert f"θ = {theta:.2f}".replace("-", "−") in drawing.name.get_text()


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew():
    places = PLACES[::2]
    fresh = [pixels(apart.ApartDrawing().png_of(*place, apart.reading(*place))) for place in places]
    drawing = apart.ApartDrawing()
    for k in (*range(len(places)), 4, 0, 6, 3):
        assert np.array_equal(pixels(drawing.png_of(*places[k], apart.reading(*places[k]))), fresh[k]), places[k]
    assert len(drawing.drawn) == 5                      # lines, samples, and densities of three heights
    drawing = apart.ApartDrawing()
    drawing.backgrounds = 2
    for place, wanted in zip(places, fresh, strict=True):
        assert np.array_equal(pixels(drawing.png_of(*place, apart.reading(*place))), wanted)
        assert 1 <= len(drawing.drawn) <= 2


# --- the widget ------------------------------------------------------------------------------------------------------

def test_each_control_moves_the_picture_and_the_words():
    which, away, size, picture, words = parts(apart_explorer())
    assert (which.value, away.value, size.value) == ("two lines", 1.0, 0.5)
    seen, place = [picture.value], ["two lines", 1.0, 0.5]
    for control, k, value in ((away, 1, -0.5), (which, 0, "Gaussians"), (size, 2, 0.2), (away, 1, 0.0),
                              (which, 0, "uniforms"), (away, 1, 0.2), (size, 2, 1.0), (which, 0, "samples"),
                              (size, 2, 0.5), (away, 1, 2.0)):
        control.value = value
        place[k] = value
        assert words.value == f"<p>{apart.apart_in_words(*place, apart.reading(*place))}</p>"
        assert picture.tooltip is None
        seen.append(picture.value)
    assert len(set(seen)) == 11 and len({pixels(png).shape for png in seen}) == 1
    assert np.array_equal(pixels(seen[-1]), pixels(apart.ApartDrawing().png_of(*place, apart.reading(*place))))


@pytest.mark.parametrize("theta, width", [(3e-17, 0.5), (-2.8e-17, 0.5), (0.1 + 0.2, 0.3), (-0.3, 0.1 * 3)])
def test_a_slider_s_rounding_hides_no_kink(theta, width):
    which, away, _, _, words = parts(apart_explorer(1.0, "uniforms", width))
    away.value = theta
    assert f"JS = {'0.000 nats' if abs(theta) < 0.1 else '0.693 nats = log 2'} (no slope: a kink)" in words.value
    which.value = "two lines"
    assert ("KL = 0.000" in words.value) == (abs(theta) < 0.1) and "−0.00" not in words.value


def test_the_width_can_be_moved_where_there_is_one():
    which, _, size, *_ = parts(apart_explorer())
    closed = {}
    for pair in which.options:
        which.value = pair
        closed[pair] = size.disabled
    assert closed == {"two lines": True, "Gaussians": False, "uniforms": False, "samples": False}


def test_every_control_has_a_name_and_a_unit_and_reaches_what_it_should():
    which, away, size, *_ = parts(apart_explorer())
    assert which.description == "pair" and "units of x" in away.description and "units of x" in size.description
    assert (away.min, away.max, size.min, size.max) == (-2, 2, 0.1, 1.0)
    assert away.continuous_update and size.continuous_update
    assert -away.min / away.step == pytest.approx(round(-away.min / away.step))         # θ = 0 is on the way


def test_no_control_s_name_is_cut_off():
    assert names_fit(apart_explorer()) == 3


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget = apart_explorer()
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still
    assert bundle["text/plain"] == repr(widget) == repr(apart_explorer(0.0, "samples", 1.0))
    assert widget.still == apart_explorer().still
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.03 and shown.shape[0] > 500 and shown.shape[1] > 900        # not blank
    _, away, _, picture, _ = parts(widget)
    assert widget.still == picture.value
    away.value = -1.0
    assert widget.still != picture.value                # the still stays


@pytest.mark.parametrize("kwargs, message", [
    ({"theta": 2.1}, "theta is 2.1; the slider goes from -2 to 2"), ({"theta": NAN}, "theta is nan"),
    ({"pair": "circles"}, "pair is 'circles'; it must be one of 'two lines', 'Gaussians', 'uniforms', 'samples'"),
    ({"width": 0.05}, "width is 0.05; the slider goes from 0.1 to 1"), ({"width": 1.5}, "width is 1.5"),
    ({"width": NAN}, "width is nan")])
def test_a_start_beyond_the_controls_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        apart_explorer(**kwargs)
