"""Chapter 04's pictures draw without a warning, name their axes, and show the numbers that they were given."""

import math
import re
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from course_lib import plots
from course_lib.datasets import gaussian_mixture_1d, grid, ring
from course_lib.gans import (
    dirac_gan,
    game_frame,
    minimax_generator_slope,
    non_saturating_generator_slope,
)
from course_lib.networks import mlp_discriminator, mlp_generator
from course_lib.plots import games, style

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def frames(n=3):
    made = []
    for step in range(n):
        torch.manual_seed(step)
        data = gaussian_mixture_1d([-1.5, 1.5], 0.5 + 0.1 * step)
        G, D = mlp_generator(1, 1, (8,), activation=nn.Tanh), mlp_discriminator(1, (8,))
        made.append(game_frame(1_000 * step, G, D, data.log_prob, torch.linspace(-6, 6, 121)))
    return made


X = torch.linspace(-4, 4, 81, dtype=torch.float64)
P_R, P_G = (torch.exp(-(X - m) ** 2 / 2 / s**2) / s / math.sqrt(2 * math.pi) for m, s in ((-1, 1.0), (1, 0.5)))
DISCRIMINATORS = {"best D*": P_R / (P_R + P_G), "trained": torch.sigmoid(-X), "half": torch.full_like(X, 0.5),
                  "another": torch.sigmoid(X)}
VALUES = [{"step": s, "2 JS − 2 log 2": -1.3 + s / 100, "V(G, D)": -1.35 + s / 120, "another": -1.2 + s / 200,
           "a fourth": -1.0} for s in (0, 50, 100)]
D = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
LOGITS = (D / (1 - D)).log()
LOSSES = {"saturating": (1 - D).log(), "non-saturating": -D.log()}
SLOPES = {"saturating": minimax_generator_slope(LOGITS).abs(),
          "non-saturating": non_saturating_generator_slope(LOGITS).abs()}
LOOKS = (0, 10, 100, 3_000)
GRADIENTS = [{"seed": seed, "steps of D": look, "D on samples": 0.5 / (1 + look) * (1 + seed / 4),
              "saturating": 1e-3 / (1 + look) * 2.0**seed, "non-saturating": 0.1 * (1 + look) ** 0.2 + seed / 50}
             for look in reversed(LOOKS) for seed in (0, 1, 2, 5)]
PATHS = {rule: dirac_gan(1.0, 1.0, 0.2, 60, **options) for rule, options in (
    ("simultaneous", {}), ("alternating", {"rule": "alternating"}), ("R1, γ = 1", {"gamma": 1.0}))}
RUNS = [{"set": data, "losses": losses, "seed": seed, "step": [250, 2_500, 5_000],
         "hit": [1, 3 + seed, count - seed - k], "good": [0.1, 0.2, 0.9 - 0.1 * seed - 0.05 * k],
         "near": [2, 3, count - 0.5 * seed - k]}
        for data, count in (("ring of 8", 8), ("grid of 25", 25))
        for k, losses in enumerate(("minimax", "non-saturating", "least squares", "hinge")) for seed in range(3)]
MODES = {"ring of 8": 8, "grid of 25": 25}
RING = [row for row in RUNS if row["set"] == "ring of 8"]
SAMPLES = {name: ring().sample(900, torch.Generator().manual_seed(k)) for k, name in enumerate(("early", "late"))}


FIGURES = {
    "discriminator_chart": lambda: plots.discriminator_chart(X, P_R, P_G, DISCRIMINATORS, "The best discriminator"),
    "discriminator_chart, one": lambda: plots.discriminator_chart(X, P_R, P_G, {"D": P_R}, "One"),
    "game_frames": lambda: plots.game_frames(frames(), "The game on a line"),
    "game_frames, one": lambda: plots.game_frames(frames(1), "One moment"),
    "js_chart": lambda: plots.js_chart(frames(4), "It falls, and then it wanders"),
    "value_chart": lambda: plots.value_chart(VALUES, "step", ["2 JS − 2 log 2", "V(G, D)", "another", "a fourth"],
                                             "The value follows", "training step"),
    "slope_chart": lambda: plots.slope_chart(D, LOSSES, SLOPES, "Where the slope is"),
    "slope_chart, a part": lambda: plots.slope_chart(D[10:60], {"one": D[10:60]}, {"one": D[10:60]}, "A part"),
    "gradient_chart": lambda: plots.gradient_chart(GRADIENTS, ["saturating", "non-saturating"], "It vanishes"),
    "dirac_chart": lambda: plots.dirac_chart(PATHS, "Need the game converge?"),
    "mode_samples": lambda: plots.mode_samples(SAMPLES, ring(), "Modes are dropped"),
    "mode_samples, one": lambda: plots.mode_samples({"all": grid().sample(50)}, grid(), "The grid"),
    "modes_chart": lambda: plots.modes_chart(RUNS, "losses", MODES, "How many modes are hit"),
    "modes_chart, one": lambda: plots.modes_chart(RING, "losses", {"ring of 8": 8}, "One set"),
    "runs_chart": lambda: plots.runs_chart({"minimax": (RING[:3], "hit", 8), "hinge": (RING[-3:], "good", 1)},
                                           "The same recipe"),
    "balance_chart": lambda: plots.balance_chart(RING, "losses", 8, "One thing changed at a time"),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


@each_figure
def test_a_figure_draws_without_a_warning_names_its_axes_cuts_nothing_off_and_leaves_the_style(draw, tmp_path):
    before, style_before = plt.figure(), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        figure.canvas.draw()
        style.save_svg(figure, tmp_path / "figure.svg")
    assert plt.get_fignums() == [before.number, figure.number] and dict(mpl.rcParams) == style_before
    text = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    title = figure.get_suptitle() or figure.axes[0].get_title("left")
    assert title and title in text
    for ax in figure.axes:
        for axis in "xy":
            assert named(ax, axis), f"no {axis} label on {ax.get_title('left')!r}"
    for words in figure.findobj(mpl.text.Text):
        if words.get_visible() and words.get_text().strip():
            assert not re.search(r"(?<!\w)-", words.get_text().replace("^{-", "")), words      # a minus is U+2212
            if words in shown_ticks(figure) or not is_tick(figure, words):
                box = words.get_window_extent()
                assert box.x0 >= -1 and box.y0 >= -1, words
                assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words
    for legend in (*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())):
        assert all(words.get_text().strip("_") for words in legend.get_texts())


def named(ax, axis):
    """A scale of numbers has a label, its own or that of the panel it shares its axis with; one of names needs none."""
    numbers = [words for words in ticks(ax, axis) if re.search(r"^[−\d]|mathdefault", words)]
    group = getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)
    return not numbers or any(getattr(other, f"get_{axis}label")().strip() for other in group)


def ticks(ax, axis):
    return [words.get_text() for words in getattr(ax, f"get_{axis}ticklabels")() if words.get_text()]


def is_tick(figure, words):
    return any(words in (tick.label1, tick.label2) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)
               for tick in (*axis.majorTicks, *axis.minorTicks))


def shown_ticks(figure):
    """Labels of ticks within the axes: matplotlib keeps others, which it does not draw."""
    return [label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in axis._update_ticks()
            for label in (tick.label1, tick.label2) if label.get_visible()]


def test_every_public_picture_of_the_game_is_drawn_here():
    drawn = {name.split(",")[0] for name in FIGURES}
    public = {name for name, thing in vars(games).items()
              if callable(thing) and getattr(thing, "__module__", "") == games.__name__ and not name.startswith("_")}
    assert drawn == public and public <= set(plots.__all__)


def legend_words(legend):
    return [words.get_text() for words in legend.get_texts()]


# --- what they show --------------------------------------------------------------------------------------------------

def xy(line):
    return np.asarray(line.get_xydata())


def shows(line, x, y):
    assert xy(line) == pytest.approx(np.column_stack([np.asarray(x, float), np.asarray(y, float)]), abs=1e-12)


def told_apart(lines):
    """Without colour: by dashes, markers or widths."""
    looks = {(str(line.get_linestyle()), line.get_marker(), line.get_linewidth()) for line in lines}
    return len(looks) == len(lines)


def test_discriminators_are_drawn_over_the_densities_on_an_axis_of_their_own():
    figure = FIGURES["discriminator_chart"]()
    left, right = figure.axes
    shows(left.lines[0], X, P_R)
    shows(left.lines[1], X, P_G)
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()
    under = left.collections[0].get_paths()[0].vertices
    assert under[:, 1].max() == pytest.approx(P_G.max().item()) and under[:, 1].min() == 0
    assert left.get_ylim()[0] == 0 and left.get_ylim()[1] > max(P_R.max(), P_G.max())
    lines = [line for line in right.lines if line.get_label() in DISCRIMINATORS]
    for line, values in zip(lines, DISCRIMINATORS.values(), strict=True):
        shows(line, X, values)
    assert told_apart(lines) and len({line.get_color() for line in lines}) == 4
    assert lines[0].get_linewidth() > 2 * lines[1].get_linewidth()                      # one lies over the other
    assert right.get_ylim()[0] == 0 and 1 < right.get_ylim()[1] < 1.1 and left.get_xlim() == (-4, 4)
    assert list(right.lines[0].get_ydata()) == [0.5, 0.5]
    assert legend_words(figure.legends[0]) == ["data p_r", "generator p_g", *DISCRIMINATORS]
    assert "per unit of x" in left.get_ylabel() and "probability" in right.get_ylabel() and left.get_xlabel() == "x"
    assert left.get_title("left") == "The best discriminator"


def test_frames_of_the_game_are_side_by_side_to_one_scale():
    made = frames()
    figure = plots.game_frames(made, "t")
    above, below, rights = figure.axes[:3], figure.axes[3:6], figure.axes[6:]
    for frame, ax, right, rays in zip(made, above, rights, below, strict=True):
        shows(ax.lines[0], frame.x, frame.p_r)
        shows(ax.lines[1], frame.x, frame.p_g)
        by_name = {line.get_label(): line for line in right.lines}
        shows(by_name["best D*"], frame.x, frame.D_star)
        shows(by_name["trained D"], frame.x, frame.D)
        assert told_apart([by_name["best D*"], by_name["trained D"]])
        assert ax.get_title("left") == f"step {frame.step:,}\nJS = {frame.js:.3f} nats"
        assert [xy(line).tolist() for line in rays.lines] == [
            [[z, 0], [x, 1]] for z, x in zip(frame.z.tolist(), frame.G_z.tolist(), strict=True)]
        assert ax.get_ylim() == above[0].get_ylim() and rays.get_xlim() == ax.get_xlim() == pytest.approx((-5.95, 5.95))
    assert above[0].get_ylim() == pytest.approx((0, 1.6 * max(float(frame.p_r.max()) for frame in made)))
    assert ticks(below[0], "y") == ["z", "x = G(z)"] and ticks(below[1], "y") == []
    assert ticks(above[1], "y") == [] and ticks(rights[0], "y") == [] and ticks(rights[2], "y") == ["0.0", "0.5", "1.0"]
    assert [ax.get_ylabel() for ax in rights] == ["", "", "D(x)"]
    assert legend_words(figure.legends[0]) == ["data p_r", "generator p_g", "best D*", "trained D"]
    assert made[2].step == 2_000 and "step 2,000" in above[2].get_title("left")


def test_values_lie_between_the_game_s_two_ends():
    figure = FIGURES["value_chart"]()
    ax, = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    for name in ("2 JS − 2 log 2", "V(G, D)", "another", "a fourth"):
        shows(lines[name], [0, 50, 100], [row[name] for row in VALUES])
    assert lines["V(G, D)"].get_marker() == "o" and lines["V(G, D)"].get_linestyle() == "None"
    drawn = [lines[name] for name in ("2 JS − 2 log 2", "V(G, D)", "another", "a fourth")]
    assert told_apart(drawn) and len({line.get_color() for line in drawn}) == 4
    levels = [line.get_ydata()[0] for line in ax.lines if line.get_label().startswith("_")]
    assert levels == pytest.approx([-2 * math.log(2), 0])
    assert {text.get_text(): text.get_position()[1] for text in ax.texts} == pytest.approx(
        {"−2 log 2: the two are one": -2 * math.log(2), "0: nothing in common": 0})
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "nats") and ax.get_ylim()[0] < -2 * math.log(2)
    assert legend_words(figure.legends[0]) == ["2 JS − 2 log 2", "V(G, D)", "another", "a fourth"]


def test_slopes_are_drawn_against_d_on_an_axis_of_log_odds():
    left, right = FIGURES["slope_chart"]().axes
    for ax, given in ((left, LOSSES), (right, SLOPES)):
        for line, values in zip(ax.lines, given.values(), strict=True):
            shows(line, LOGITS, values)
        assert told_apart(ax.lines) and legend_words(ax.get_legend()) == list(given)
        assert ticks(ax, "x") == ["0.001", "0.01", "0.1", "0.5", "0.9", "0.99", "0.999"]
        places = 1 / (1 + np.exp(-np.asarray(ax.get_xticks())))
        assert places == pytest.approx([float(words) for words in ticks(ax, "x")], rel=1e-5)
        assert "D(G(z))" in ax.get_xlabel()
    assert "nats" in left.get_ylabel() and "slope" in right.get_ylabel()
    assert right.get_ylim()[0] < 0 and right.get_ylim()[1] > 1
    assert [ticks(ax, "x") for ax in FIGURES["slope_chart, a part"]().axes] == [["0.5"]] * 2


def test_gradients_are_a_line_a_seed_and_their_median():
    left, right = FIGURES["gradient_chart"]().axes
    at = [10 / 3, 10, 100, 3_000]                       # 0 has no place on a log axis: it stands before the first
    rows = {(row["seed"], row["steps of D"]): row for row in GRADIENTS}
    for lines, name in ((left.lines, "D on samples"), (right.lines[:5], "saturating"),
                        (right.lines[5:], "non-saturating")):
        table = np.array([[rows[seed, look][name] for look in LOOKS] for seed in (0, 1, 2, 5)])
        for line, values in zip(lines[:4], table, strict=True):
            shows(line, at, values)
        shows(lines[4], at, np.sort(table, 0)[1:3].mean(0))
        assert lines[4].get_label() == f"{name} (median)" and lines[4].get_linewidth() > lines[0].get_linewidth()
        assert {line.get_color() for line in lines} == {lines[4].get_color()}
    assert told_apart([right.lines[4], right.lines[9]]) and right.lines[4].get_color() != right.lines[9].get_color()
    for ax in (left, right):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log") and "steps" in ax.get_xlabel()
        assert ticks(ax, "x") == ["0", "10", "100", "3,000"] and list(ax.get_xticks()) == pytest.approx(at)
    assert legend_words(right.get_legend()) == ["saturating (median)", "non-saturating (median)"]
    assert "D(G(z))" in left.get_ylabel() and "nats" in right.get_ylabel()


def test_dirac_s_paths_lie_in_their_field():
    figure = FIGURES["dirac_chart"]()
    ax, away = figure.axes
    for path, line, distance in zip(PATHS.values(), ax.lines, away.lines, strict=False):
        shows(line, path[:, 0], path[:, 1])
        shows(distance, range(61), np.hypot(*path.T.numpy()))
        assert line.get_color() == distance.get_color() and line.get_linestyle() == distance.get_linestyle()
    assert len(away.lines) == 3 and away.get_yscale() == "linear" and told_apart(away.lines)
    start, solution = ax.lines[3:]
    assert (xy(start).tolist(), xy(solution).tolist()) == ([[1, 1]], [[0, 0]])
    arrows = ax.collections[0]
    theta, psi = arrows.X, arrows.Y
    sigma = 1 / (1 + np.exp(-psi * theta))                              # (ψ σ(ψθ), −θ σ(ψθ))
    assert np.asarray(arrows.U) == pytest.approx(psi * sigma) and np.asarray(arrows.V) == pytest.approx(-theta * sigma)
    assert len(theta) == 225 and (theta.min(), theta.max(), psi.min(), psi.max()) == (-3, 3, -3, 3)
    assert ax.get_xlim() == ax.get_ylim() == (-3, 3) and ax.get_aspect() == 1 and arrows.angles == "xy"
    assert legend_words(figure.legends[0]) == list(PATHS)
    assert ax.get_xlabel()[0] == "θ" and ax.get_ylabel()[0] == "ψ" and away.get_xlabel() == "step"


@pytest.mark.parametrize("draw", [
    lambda n: plots.dirac_chart({f"path {k}": PATHS["alternating"] + k / 9 for k in range(n)}, "t").axes[1].lines,
    lambda n: plots.runs_chart({"": ([{"step": [1, 2], "hit": [k, 2], "seed": k} for k in range(n)], "hit", 9)},
                               "t").axes[0].lines[:-1]])
def test_no_line_is_dropped_where_there_are_more_than_colours(draw):
    n = len(style.LINES) + 2
    lines = draw(n)
    assert len(lines) == n and len({(line.get_color(), line.get_linestyle()) for line in lines}) == n


def test_samples_are_dots_over_rings_around_the_modes():
    for name, density, panels in (("mode_samples", ring(), SAMPLES), ("mode_samples, one", grid(), None)):
        figure = FIGURES[name]()
        for ax in figure.axes:
            assert np.array([circle.center for circle in ax.patches]) == pytest.approx(density.means.numpy())
            radii = {circle.radius for circle in ax.patches}
            reach = ax.get_xlim()[1]
            assert len(radii) == 1 and radii.pop() == pytest.approx(max(3 * density.stds[0].item(), 0.04 * reach))
            assert ax.get_xlim() == ax.get_ylim() == (-reach, reach) and reach > 1.3 * density.means.abs().max()
            assert ax.get_aspect() == 1 and ax.get_xlabel() == "x₁"
        assert figure.axes[0].get_ylabel() == "x₂"
        if panels:
            assert [ax.get_title("left") for ax in figure.axes] == list(panels)
            for ax, samples in zip(figure.axes, panels.values(), strict=True):
                shows(ax.lines[0], *samples[:600].T)
    ax, = plots.mode_samples({"": SAMPLES["early"]}, ring(std=0.2), "t", most=70).axes
    assert len(xy(ax.lines[0])) == 70 and ax.patches[0].radius == pytest.approx(0.6)


def test_bars_are_means_over_seeds_at_the_last_step():
    figure = FIGURES["modes_chart"]()
    axes = np.array(figure.axes).reshape(3, 2)
    names = ["minimax", "non-saturating", "least squares", "hinge"]
    for column, (data, count) in zip(axes.T, MODES.items(), strict=True):
        for ax, key, top in zip(column, ("near", "hit", "good"), (count, count, 1), strict=True):
            dots = [line for line in ax.lines if len(line.get_xdata()) == 3]
            for k, (name, bar, line) in enumerate(zip(names, ax.patches, dots, strict=True)):
                last = [row[key][-1] for row in RUNS if row["set"] == data and row["losses"] == name]
                assert line.get_ydata().tolist() == last and bar.get_height() == pytest.approx(sum(last) / 3)
                assert bar.get_x() + bar.get_width() / 2 == pytest.approx(k) == pytest.approx(line.get_xdata().mean())
                assert 0.1 < abs(line.get_xdata() - k).max() < bar.get_width() / 2
            assert len({line.get_marker() for line in dots}) == 4
            assert any(list(line.get_ydata()) == [top, top] for line in ax.lines)
            assert ax.get_ylim()[0] == 0 and top < ax.get_ylim()[1] < 1.2 * top
        assert [words.replace("-\n", "-").replace("\n", " ") for words in ticks(column[2], "x")] == names
        assert list(column[2].get_xticks()) == [0, 1, 2, 3] and "%" in "".join(ticks(column[2], "y"))
        assert data in column[0].get_title("left") and f"all {count}" in column[0].get_title("left")
        assert [ax.get_ylabel().replace("\n", " ") for ax in column] == [
            "modes with samples near", "modes hit", "good samples"]


def test_runs_are_lines_against_the_step():
    figure = FIGURES["runs_chart"]()
    figure.canvas.draw()
    for ax, name, key, runs, most in zip(figure.axes, ("minimax", "hinge"), ("hit", "good"), (RING[:3], RING[-3:]),
                                         (8, 1), strict=True):
        assert ax.get_title("left") == name and ax.get_xlabel() == "training step"
        for line, run in zip(ax.lines[:3], runs, strict=True):
            shows(line, run["step"], run[key])
            assert line.get_label() == f"seed {run['seed']}"
        assert list(ax.lines[3].get_ydata()) == [most, most] and told_apart(ax.lines[:3])
        assert ax.get_ylim()[0] < 0 and most < ax.get_ylim()[1] < 1.1 * most and "4,000" in ticks(ax, "x")
    hit, good = figure.axes
    assert (hit.get_ylabel(), good.get_ylabel()) == ("modes hit, of 8", "share of good samples")
    assert all("." not in words for words in ticks(hit, "y")) and "100%" in ticks(good, "y")
    assert legend_words(figure.legends[0]) == ["seed 0", "seed 1", "seed 2"]


def test_the_balance_is_read_from_the_top_the_reference_first():
    figure = FIGURES["balance_chart"]()
    names = ["minimax", "non-saturating", "least squares", "hinge"]
    for ax, key, most in zip(figure.axes, ("near", "hit", "good"), (8, 8, 1), strict=True):
        dots, means = ax.lines[0:8:2], ax.lines[1:8:2]
        for k, (name, dot, bar) in enumerate(zip(names, dots, means, strict=True)):
            last = [row[key][-1] for row in RING if row["losses"] == name]
            assert dot.get_xdata().tolist() == last and np.ptp(dot.get_ydata()) > 0.2
            assert dot.get_ydata().mean() == pytest.approx(k) == pytest.approx(bar.get_ydata().mean())
            assert list(bar.get_xdata()) == pytest.approx([sum(last) / 3] * 2)
            assert dot.get_linestyle() == "None" and dot.get_marker() == "o"
        assert dots[0].get_color() != dots[1].get_color() == dots[2].get_color()
        assert list(ax.lines[8].get_ydata()) == [0.5, 0.5]              # between the reference and the rest
        assert ax.yaxis_inverted() and ax.get_xlim()[0] < 0 and most < ax.get_xlim()[1] < 1.1 * most
    assert ticks(figure.axes[0], "y") == names and "%" in "".join(ticks(figure.axes[2], "x"))
    assert [ax.get_xlabel() for ax in figure.axes] == ["modes with samples near, of 8", "modes hit, of 8",
                                                       "share of good samples"]


def test_js_chart_shows_each_frame_s_js_at_its_step():
    (ax,) = FIGURES["js_chart"]().axes
    shown = frames(4)
    assert ax.lines[0].get_xdata().tolist() == [frame.step for frame in shown] and ax.get_yscale() == "log"
    assert ax.lines[0].get_ydata().tolist() == [frame.js for frame in shown]
