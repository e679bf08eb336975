"""The live figure of the game on a line: what is drawn and said is what the frames hold."""

import base64
import math
import re

import ipywidgets as ipw
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.distributions import Normal
from widget_pictures import not_cut_off, pixels

from course_lib.gans import game_value_of_logits
from course_lib.gans.line import GameFrame
from course_lib.plots import use_style
from course_lib.widgets import game, game_explorer
from course_lib.widgets.base import Live

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


# --- numbers ---------------------------------------------------------------------------------------------------------

STEPS = (0, 100, 200, 300)


def frames(steps=STEPS, low=-4.0, high=4.0):
    """A generator N(m, s²) that comes nearer to data N(1, 0.5²), and a discriminator off the best one by 0.5 in l."""
    edges = torch.linspace(low, high, 161, dtype=torch.float64)
    x = (edges[1:] + edges[:-1]) / 2
    made = []
    for t, step in zip(torch.linspace(0, 1, len(steps), dtype=torch.float64), steps, strict=True):
        mean, std = -0.5 + 1.2 * t, 0.2 + 0.6 * t
        log_r, log_g = Normal(1.0, 0.5).log_prob(x), Normal(mean, std).log_prob(x)
        p_r, p_g, best = log_r.exp(), log_g.exp(), log_r - log_g
        value, optimum = (game_value_of_logits(p_r, p_g, logits, 0.05).item() for logits in (best + 0.5, best))
        z = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)
        made.append(GameFrame(step, x, p_r, p_g, (best + 0.5).sigmoid(), best.sigmoid(), value, optimum,
                              optimum / 2 + math.log(2), z, mean + std * z))
    return made


def game_parts(widget):
    controls, picture, words = widget.children
    return *controls.children, picture, words


def game_drawing(made):
    moments = game._moments(made)
    return game.GameDrawing(moments, "title"), moments


@pytest.mark.parametrize("k", range(4))
def test_mean_and_spread_are_those_of_the_densities(k):
    moment, t = game._moments(frames())[k], k / 3
    assert game.spread(moment["x"], moment["p_r"]) == pytest.approx((1.0, 0.5), abs=1e-6)
    assert game.spread(moment["x"], moment["p_g"]) == pytest.approx((-0.5 + 1.2 * t, 0.2 + 0.6 * t), abs=2e-3)
    assert game.spread(moment["x"], 7 * moment["p_r"]) == pytest.approx((1.0, 0.5), abs=1e-6)  # of any mass


def test_the_distance_to_the_best_discriminator_is_a_mean_over_real_and_generated_points():
    moment = game._moments(frames())[2]
    noise = torch.randn(2, 400_000, generator=torch.Generator().manual_seed(1))
    real, fake = 1 + 0.5 * noise[0], 0.3 + 0.6 * noise[1]
    off = [np.interp(p.double().numpy(), moment["x"], np.abs(moment["D"] - moment["D_star"])).mean()
           for p in (real, fake)]
    assert game.distance_to_best(moment) == pytest.approx(sum(off) / 2, abs=1e-3)    # its standard error is 6e-5
    exact = {**moment, "D": moment["D_star"]}
    assert game.distance_to_best(exact) == 0


@pytest.mark.parametrize("k", range(4))
def test_the_words_hold_the_frame_s_numbers(k):
    frame = frames()[k]
    words = game.game_in_words(game._moments(frames())[k])
    named = re.fullmatch(
        r"Step (\d+): V\(G, D\) = (−?[\d.]+) nats with D as trained, V\(G, D\*\) = (−?[\d.]+) nats with the best D for "
        r"this generator, so JS = ([\d.]+) nats; p_g = p_r would make it −1\.386 nats, and JS 0\. Generated: mean "
        r"(−?[\d.]+), standard deviation ([\d.]+); data: mean 1\.00, standard deviation 0\.50\. "
        r"D is off D\* by ([\d.]+) on average\.", words)
    step, value, best, js, mean, std, off = (float(v.replace("−", "-")) for v in named.groups())
    assert step == frame.step
    assert (value, best, js) == pytest.approx((frame.value, frame.best, frame.js), abs=5.1e-4)
    assert best == pytest.approx(2 * js - 2 * math.log(2), abs=2e-3) and value < best
    assert (mean, std) == pytest.approx((-0.5 + 0.4 * k, 0.2 + 0.2 * k), abs=6e-3)
    assert 0 < off < 0.13                               # σ(l + ½) − σ(l) is at most 0.1245


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k", range(4))
def test_the_picture_shows_the_frame(k):
    frame, (drawing, moments) = frames()[k], game_drawing(frames())
    drawing.png_of(moments[k])
    for line, wanted in ((drawing.p_r, frame.p_r), (drawing.p_g, frame.p_g), (drawing.D, frame.D),
                         (drawing.best, frame.D_star)):
        assert np.array_equal(line.get_xdata(), frame.x) and np.array_equal(line.get_ydata(), wanted)
    assert drawing.fill.get_paths()[0].vertices[:, 1].max() == frame.p_g.max()
    assert drawing.at_value.get_xydata().tolist() == [[frame.step, frame.value]]
    assert drawing.at_best.get_xydata().tolist() == [[frame.step, frame.best]]
    assert list(drawing.now.get_xdata()) == [frame.step] * 2
    shown = drawing.sums.get_text()
    assert shown == (f"step {frame.step}\nV(G, D) = {frame.value:.3f} nats\nV(G, D*) = {frame.best:.3f} nats\n"
                     f"JS = {frame.js:.3f} nats").replace("-", "−")


def test_densities_and_probabilities_have_their_own_axes_and_a_half_is_marked():
    drawing, _ = game_drawing(frames())
    left, right = drawing.axes["curves"], drawing.axes["D"]
    assert {drawing.p_r.axes, drawing.p_g.axes, drawing.fill.axes} == {left}
    assert {drawing.D.axes, drawing.best.axes} == {right} and right.yaxis.get_ticks_position() == "right"
    assert left.get_xlim() == right.get_xlim() == pytest.approx((-4, 4))
    low, high = right.get_ylim()
    assert low == 0 and 1 < high < 1.2
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in right.lines)
    assert "density" in left.get_ylabel() and "D(x)" in right.get_ylabel() and "x" in left.get_xlabel()
    value = drawing.axes["value"]
    assert value.get_ylabel() == "nats" and value.get_xlabel() == "training step"
    assert any(list(line.get_ydata()) == [-2 * math.log(2)] * 2 for line in value.lines)
    assert any("−2 log 2 = −1.386" in text.get_text() for text in value.texts)
    wanted = [[f.value for f in frames()], [f.best for f in frames()]]
    drawn = [list(line.get_ydata()) for line in value.lines if list(line.get_xdata()) == list(STEPS)]
    assert sorted(drawn) == sorted(wanted)


def test_curves_are_told_apart_without_colour_and_have_names():
    drawing, _ = game_drawing(frames())
    assert drawing.p_r.get_linestyle() == drawing.best.get_linestyle() == "--"
    assert drawing.p_g.get_linestyle() == drawing.D.get_linestyle() == "-"
    assert drawing.best.get_linewidth() > 1.5 * drawing.D.get_linewidth()              # it is seen beside D over it
    assert drawing.moving.index(drawing.best) < drawing.moving.index(drawing.D)
    names = [text.get_text() for text in drawing.axes["key"].get_legend().get_texts()]
    assert ["data" in names[0], "generator" in names[1], "trained" in names[2], "D*" in names[3]] == [True] * 4
    assert drawing.at_best.get_marker() != drawing.at_value.get_marker()


def test_the_axes_are_the_same_for_all_frames_and_a_high_peak_is_named():
    drawing, moments = game_drawing(frames())
    seen = set()
    for moment in moments:
        drawing.png_of(moment)
        seen.add(str([(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in drawing.axes.values()]))
    assert len(seen) == 1 and len(drawing.drawn) == 1
    data = frames()[0].p_r.max().item()
    assert drawing.top == pytest.approx(1.08 * 1.6 * data)  # the generator's first peak, 2.0, is higher
    drawing.png_of(moments[0])
    assert drawing.above.get_text() == "the generator's peak: 2.0" and drawing.above.get_position()[1] < drawing.top
    drawing.png_of(moments[3])
    assert drawing.above.get_text() == ""
    low, _ = game_drawing([f._replace(p_g=0.2 * f.p_r) for f in frames()])
    assert low.top == pytest.approx(1.08 * data)            # no more room than is needed


def test_arrows_go_from_z_to_where_the_generator_sends_it():
    made = [f._replace(z=torch.tensor([-1.0, 0.0, 2.0]), G_z=torch.tensor([a, 3.0, -3.5]))
            for f, a in zip(frames(), (0.0, 1.0, 2.0, -2.0), strict=True)]
    drawing, moments = game_drawing(made)
    ax = drawing.axes["map"]
    # Where the ticks say that z is.
    ticks = {label.get_text(): at for at, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
    assert ax.get_xlim() == drawing.axes["curves"].get_xlim() and "noise" in ax.get_xlabel()
    for moment, frame in zip(moments, made, strict=True):
        png = pixels(drawing.png_of(moment))
        offsets = np.asarray(drawing.arrows.get_offsets())
        assert offsets[:, 0] == pytest.approx([ticks["−1"], ticks["0"], ticks["2"]]) and not offsets[:, 1].any()
        assert offsets[:, 0] + drawing.arrows.U == pytest.approx(frame.G_z.numpy())
        assert drawing.arrows.V.tolist() == [1, 1, 1] and tuple(ax.get_ylim()) == (0, 1)
        # And on the screen: a third of the way down, each arrow is a third of the way back to its z.
        height = 2 / 3
        row = round(png.shape[0] - ax.transData.transform((0, height))[1])
        green = (np.abs(png[row] - [0, 158, 115]).sum(1) < 150).nonzero()[0] + 0.5
        starts, tips = (ax.transData.transform(np.stack([at, np.full(3, y)], 1))
                        for at, y in ((offsets[:, 0], 0.0), (frame.G_z.numpy(), 1.0)))
        wanted, slant = (starts + height * (tips - starts))[:, 0], np.abs((tips - starts)[:, 0] / (tips - starts)[:, 1])
        assert all(min(abs(green - at)) < 2.5 for at in wanted)
        assert all(min(abs(wanted - at) - 2 * slant) < 3 for at in green)              # a slanted arrow is cut wider


def test_a_value_below_the_axes_stays_at_their_lower_edge_and_the_words_tell_it():
    made = frames()
    made[1] = made[1]._replace(value=-40.0)
    drawing, moments = game_drawing(made)
    drawing.png_of(moments[1])
    low, high = drawing.axes["value"].get_ylim()
    assert -4 < low < -2 * math.log(2) < high and drawing.at_value.get_ydata()[0] == low
    assert "−40.000" in game.game_in_words(moments[1]) and "−40.000" in drawing.sums.get_text()


@pytest.mark.parametrize("steps, scale", [(STEPS, "linear"), ((0, 10, 100, 1_000), "symlog"), ((1, 2, 3, 4), "linear")])
def test_steps_that_thin_out_get_an_axis_that_does_so(steps, scale):
    drawing, _ = game_drawing(frames(steps))
    assert drawing.axes["value"].get_xscale() == scale and drawing.axes["value"].get_xlim() == (steps[0], steps[-1])


@pytest.mark.parametrize("made", [frames(), frames((0, 10, 1_000, 20_000)), frames((1_000, 20_000, 40_000, 60_000)),
                                  frames(low=-30.0, high=30.0)])
def test_nothing_is_cut_off_and_no_two_labels_of_the_steps_overlap(made):
    drawing, moments = game_drawing(made)
    for moment in moments:
        drawing.png_of(moment)
        not_cut_off(drawing, drawing.axes.values())
    boxes = [label.get_window_extent() for label in drawing.axes["value"].get_xticklabels() if label.get_text()]
    low, high = drawing.axes["value"].bbox.x0 - 1, drawing.axes["value"].bbox.x1 + 1
    boxes = sorted((b for b in boxes if low <= (b.x0 + b.x1) / 2 <= high), key=lambda b: b.x0)
    assert len(boxes) >= 2 and all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_a_picture_over_the_kept_background_is_the_picture_drawn_anew():
    drawing, moments = game_drawing(frames())
    fresh = [pixels(game_drawing(frames())[0].png_of(moment)) for moment in moments]
    for k in (0, 1, 2, 3, 1, 0):
        assert np.array_equal(pixels(drawing.png_of(moments[k])), fresh[k])
    assert len({frame.tobytes() for frame in fresh}) == 4


# --- the widget ------------------------------------------------------------------------------------------------------

def test_slider_and_play_move_the_picture_and_the_words_together():
    play, slider, picture, words = game_parts(game_explorer(frames()))
    assert isinstance(play, ipw.Play) and (play.min, play.max, play.value, slider.index) == (0, 3, 0, 0)
    assert slider.options == ("0", "100", "200", "300") and slider.description == "training step" and play.description
    seen = [picture.value]
    for k, (control, name) in enumerate(((play, "value"), (slider, "index"), (play, "value")), start=1):
        setattr(control, name, k)
        assert play.value == slider.index == k
        assert words.value.startswith(f"<p>Step {STEPS[k]}:") and picture.tooltip is None
        assert f"{frames()[k].value:.3f}".replace("-", "−") in words.value
        seen.append(picture.value)
    assert len(set(seen)) == 4 and len({pixels(png).shape for png in seen}) == 1
    slider.index = 0
    assert picture.value == seen[0]


def test_the_start_and_the_title_can_be_chosen():
    play, slider, picture, _ = game_parts(game_explorer(frames(), "Another title", start=2))
    assert play.value == slider.index == 2 and slider.value == "200"
    drawing, moments = game_drawing(frames())
    assert not np.array_equal(pixels(picture.value), pixels(drawing.png_of(moments[2])))   # but for the title
    drawing.figure._suptitle.set_text("Another title")
    drawing.settle()
    drawing.drawn.clear()
    assert np.array_equal(pixels(picture.value), pixels(drawing.png_of(moments[2])))


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay():
    widget, again = game_explorer(frames()), game_explorer(frames())
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still == again.still
    assert bundle["text/plain"] == repr(widget) == repr(again) and repr(widget).endswith(".")
    shown = pixels(widget.still)
    assert (shown < 250).any(2).mean() > 0.03 and shown.shape[0] > 400 and shown.shape[1] > 800       # not blank


def test_the_game_s_still_is_the_first_picture_and_stays():
    widget = game_explorer(frames(), start=1)
    _, slider, picture, _ = game_parts(widget)
    assert widget.still == picture.value
    slider.index = 3
    assert widget.still != picture.value


def changed(k, **fields):
    made = frames()
    made[k] = made[k]._replace(**fields)
    return made


@pytest.mark.parametrize("made, message", [
    (frames()[:1], "there are 1 frames; it takes 2 or more"), ([], "there are 0 frames"),
    (frames()[::-1], r"steps are \[300, 200, 100, 0\]; each must be above"), (changed(1, step=0), "no two equal"),
    (changed(0, step=-1), "the first step is -1; steps must be 0 or more"),
    (changed(1, p_g=torch.zeros(3)), "p_g has shape \\(3,\\), but x has shape \\(160,\\)"),
    (changed(1, D=torch.ones(160, 1)), "D has shape \\(160, 1\\)"),
    (changed(2, x=torch.zeros(1, 160)), "frame 2's x has shape \\(1, 160\\)"),
    (changed(2, z=torch.zeros(1, 11)), "frame 2's z has shape"), (changed(2, G_z=torch.zeros(3)), "G_z has shape"),
    (changed(3, p_r=frames()[3].p_r - 1), "frame 3's p_r goes down to -1"),
    (changed(3, p_g=frames()[3].p_g - 1), "frame 3's p_g goes down to -1"),
    (changed(0, D=2 * torch.ones(160)), r"frame 0's D goes beyond \[0, 1\]; it must be probabilities, not logits"),
    (changed(0, D_star=-torch.ones(160)), "frame 0's D_star goes beyond"),
    (changed(1, value=float("-inf")), "frame 1's value is NaN or infinite"),
    (changed(1, G_z=torch.full((11,), torch.nan)), "frame 1's G_z is NaN"),
    (changed(1, x=frames()[1].x + 1), "frame 1 has another x than frame 0"),
    ([f._replace(x=f.x**3) for f in frames()], "x must rise evenly"),
    ([f._replace(x=-f.x) for f in frames()], "x must rise evenly"),
    (changed(1, z=torch.zeros(5), G_z=torch.zeros(5)), "different numbers of z"),
])
def test_frames_that_do_not_fit_together_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        game_explorer(made)


@pytest.mark.parametrize("start", [-1, 4])
def test_a_start_that_is_no_frame_is_refused(start):
    with pytest.raises(ValueError, match=f"start is {start}; with 4 frames it must be 0 to 3"):
        game_explorer(frames(), start=start)


def test_frames_are_not_changed_and_may_carry_gradients():
    made = [f._replace(G_z=f.G_z.clone().requires_grad_()) for f in frames()]
    _, slider, *_ = game_parts(game_explorer(made))
    slider.index = 2
    for frame, same in zip(made, frames(), strict=True):
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(frame, same, strict=True))
