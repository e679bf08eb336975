"""The KL's live figure: its numbers against the library's closed form and scipy's quadrature, and sliders that act."""

import base64
import io
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from course_lib.autoencoders import kl_normal
from course_lib.plots import use_style
from course_lib.widgets import kl, kl_explorer
from course_lib.widgets.base import Live

mpl.use("Agg")
PLACES = [(1.5, 0.4), (0.0, 1.0), (3.0, 2**kl.FINEST), (-3.0, 2**kl.WIDEST), (-0.7, 2.0), (0.0, 0.25), (2.0, 1.0)]


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


def drawn(mu, sigma):
    drawing = kl.KLDrawing()
    drawing.png(mu, sigma, kl.kl_cost(mu, sigma))
    return drawing


# --- numbers ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mu, sigma", PLACES)
def test_the_cost_is_the_closed_form_and_the_area(mu, sigma):
    cost = kl.kl_cost(mu, sigma)
    q = Normal(*torch.tensor([mu, sigma], dtype=torch.float64))
    p = Normal(*torch.tensor([0, 1], dtype=torch.float64))
    assert cost["closed form"] == pytest.approx(kl_divergence(q, p).item(), abs=1e-12)
    mean, log_var = torch.tensor([[[mu]], [[2 * math.log(sigma)]]], dtype=torch.float64)
    assert cost["closed form"] == kl_normal(mean, log_var).item()
    assert cost["away"] + cost["width"] == pytest.approx(cost["closed form"], abs=1e-12)
    assert min(cost["away"], cost["width"]) >= 0

    def height(z):
        return norm.pdf(z, mu, sigma) * (norm.logpdf(z, mu, sigma) - norm.logpdf(z))

    # Cut into pieces, so that no spike is passed over and both signs are found.
    edges = mu + sigma * np.linspace(-12, 12, 49)
    wanted = {"area": height, "above": lambda z: max(0.0, height(z)), "below": lambda z: min(0.0, height(z))}
    for name, f in wanted.items():
        by_quad = sum(quad(f, a, b, epsabs=1e-9)[0] for a, b in zip(edges[:-1], edges[1:], strict=True))
        # The whole integrand is smooth: the trapezoid rule is exact. Its parts end in a corner: an error of step².
        assert cost[name] == pytest.approx(by_quad, abs=1e-8 if name == "area" else 1e-4)
    assert cost["area"] == pytest.approx(cost["closed form"], abs=1e-10)
    assert cost["above"] + cost["below"] == pytest.approx(cost["area"], abs=1e-10)


def test_each_further_halving_costs_nearly_log_2():
    cost = [kl.kl_cost(0, 2.0**-k)["width"] for k in range(5)]
    assert np.diff(cost)[1:] == pytest.approx(math.log(2), abs=0.1) and cost[0] == 0


@pytest.mark.parametrize("value, shown", [(1.6214, "1.621"), (-0.0531, "−0.053"), (-0.0001, "0.000"), (0.0, "0.000")])
def test_numbers_have_a_proper_minus_and_no_minus_zero(value, shown):
    assert kl.number(value) == shown


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mu, sigma", PLACES)
def test_the_picture_shows_these_numbers(mu, sigma):
    cost, drawing = kl.kl_cost(mu, sigma), drawn(mu, sigma)
    away, width, first, second, area = drawing.bars
    assert (away.get_width(), width.get_width()) == (cost["away"], cost["width"])
    assert first.get_width() == second.get_x() == cost["away"] and second.get_width() == cost["width"]  # stacked
    assert area.get_width() == pytest.approx(second.get_x() + second.get_width())
    wanted = [cost[name] for name in ("away", "width", "closed form", "area")]
    assert [text.get_text() for text in drawing.numbers] == [kl.number(nats) for nats in wanted]
    assert [text.get_position()[0] > nats for text, nats in zip(drawing.numbers, wanted, strict=True)] == [True] * 4
    sums = drawing.sums.get_text()
    assert all(kl.number(cost[name]) in sums for name in ("above", "below", "area"))
    assert drawing.dot.get_xydata().tolist() == [[sigma, cost["width"]]]


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_curves_and_areas_are_those_of_q_and_stay_within_the_axes(mu, sigma):
    drawing = drawn(mu, sigma)
    z, height = drawing.q.get_data()
    assert height == pytest.approx(norm.pdf(z, mu, sigma)) and drawing.p.get_ydata() == pytest.approx(norm.pdf(z))
    signed = height * (norm.logpdf(z, mu, sigma) - norm.logpdf(z))
    assert drawing.line.get_ydata() == pytest.approx(signed, abs=1e-9)
    for fill, edge in ((drawing.above, signed.clip(0)), (drawing.below, signed.clip(None, 0))):
        around = fill.get_paths()[0].vertices[:, 1]
        assert (around.min(), around.max()) == pytest.approx((edge.min(), edge.max()), abs=1e-9)
    top, low = drawing.axes["curves"], drawing.axes["area"]
    assert max(height.max(), 0.39) < 0.75 * top.get_ylim()[1]                      # under the legend
    assert drawing.line.get_ydata().max() < 0.6 * low.get_ylim()[1]                # under the numbers
    assert drawing.line.get_ydata().min() > low.get_ylim()[0]
    assert top.get_xlim() == low.get_xlim() and abs(mu) + 3 * sigma < top.get_xlim()[1]


def test_areas_are_told_apart_without_colour_and_the_axes_are_named():
    drawing = drawn(-0.7, 2.0)
    assert len({drawing.above.get_hatch(), drawing.below.get_hatch()}) == 2
    assert drawing.bars[0].get_hatch() != drawing.bars[1].get_hatch()
    assert drawing.q.get_linestyle() != drawing.p.get_linestyle()
    assert drawing.figure.get_suptitle() and all(ax.get_title(loc="left") for ax in drawing.axes.values())
    assert "nats" in drawing.axes["bars"].get_xlabel() and "nats" in drawing.axes["width"].get_ylabel()
    assert "nats" in drawing.axes["area"].get_ylabel() and "units of the code" in drawing.axes["area"].get_xlabel()
    assert drawing.axes["curves"].get_ylabel() and "σ" in drawing.axes["width"].get_xlabel()


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_nothing_is_cut_off(mu, sigma):
    drawing = drawn(mu, sigma)
    for ax in drawing.axes.values():
        names = [ax.xaxis.label, ax.yaxis.label, ax._left_title, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            names += [tick.label1 for tick in axis._update_ticks()]
        for text in names:
            if text.get_text():
                box, whole = text.get_window_extent(), drawing.figure.bbox
                assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1, text


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew():
    places = [*PLACES[:3], (1.4, 0.41)]                  # the last one has the first one's axes
    fresh = {place: pixels(kl.KLDrawing().png(*place, kl.kl_cost(*place))) for place in places}
    drawing = kl.KLDrawing()
    for place in (*places, *places[::-1]):
        assert np.array_equal(pixels(drawing.png(*place, kl.kl_cost(*place))), fresh[place])
    assert len(drawing.drawn) == 3


def test_backgrounds_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(kl, "KEPT", 2)
    drawing = kl.KLDrawing()
    for mu, sigma in PLACES:
        drawing.png(mu, sigma, kl.kl_cost(mu, sigma))
        assert 1 <= len(drawing.drawn) <= 2


# --- the widget ------------------------------------------------------------------------------------------------------

def test_sliders_move_the_picture_and_the_numbers():
    away, spread, picture, words = parts(kl_explorer(1.5, 0.4))
    assert (away.value, spread.value) == (1.5, pytest.approx(0.4)) and "1.621" in words.value
    seen = [picture.value]
    for slider, value in ((away, -2.0), (spread, 2.0), (away, 0.0), (spread, 1.0)):
        slider.value = value
        cost = kl.kl_cost(away.value, spread.value)
        numbers = [kl.number(cost[name]) for name in ("away", "width", "closed form", "above", "below", "area")]
        assert re.findall(r"−?\d\.\d{3}", words.value.split(": ", 1)[1]) == numbers
        assert words.value.startswith("<p>q = N(") and picture.tooltip is None
        seen.append(picture.value)
    assert len(set(seen)) == 5 and "as wide as p" in words.value
    assert pixels(seen[0]).shape == pixels(seen[-1]).shape


def test_the_sliders_reach_what_they_should_and_1_exactly():
    away, spread, *_ = parts(kl_explorer())
    assert (away.min, away.max) == (-3, 3)
    assert spread.base**spread.min == pytest.approx(0.05, abs=2e-3)
    assert spread.base**spread.max == pytest.approx(3, abs=0.05)
    steps = (0 - spread.min) / spread.step, (spread.max - spread.min) / spread.step, -away.min / away.step
    assert all(n == pytest.approx(round(n)) for n in steps)  # σ = 1 and μ = 0, where the KL is 0, are on the way
    assert away.description and spread.description and away.continuous_update and spread.continuous_update


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget = kl_explorer()
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still
    assert bundle["text/plain"] == repr(widget) == repr(kl_explorer(0.0, 1.0)) and widget.still == kl_explorer().still
    *_, picture, _ = parts(widget)
    assert widget.still == picture.value
    widget.children[0].children[0].value = -1.0
    assert widget.still != picture.value                # the still stays


@pytest.mark.parametrize("mu, sigma, message", [
    (3.1, 1.0, "mu is 3.1; the slider goes from -3 to 3"), (float("nan"), 1.0, "mu is nan"),
    (0.0, 0.01, "sigma is 0.01; the slider goes from 0.051 to 3.03"), (0.0, 5.0, "sigma is 5.0"),
    (0.0, -1.0, "sigma is -1.0")])
def test_a_start_beyond_the_sliders_is_refused(mu, sigma, message):
    with pytest.raises(ValueError, match=message):
        kl_explorer(mu, sigma)
