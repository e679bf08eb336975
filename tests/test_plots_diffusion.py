"""Chapter 13's pictures draw, name their axes, and show what they were given."""

import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import draws_and_names_its_axes, has_all_words_on_it
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.quiver import Quiver

from course_lib import plots
from course_lib.datasets.toy import GaussianMixture
from course_lib.diffusion import Schedule
from course_lib.plots import diffusion, diffusion_toys

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=4, c=1, size=6, seed=0):
    return torch.rand(n, c, size, size, generator=generator(seed))


SCHEDULES = {"linear": Schedule.linear(100), "cosine": Schedule.cosine(100)}
TIMES = [0, 25, 50, 100]
TWO = GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.2, [0.25, 0.75])
WIDE = GaussianMixture([[0.0, 0.0]], 1.0)
CLOUDS = {"t = 0": TWO.sample(300, generator()), "t = 50": WIDE.sample(300, generator(1))}
TRUE = torch.tensor([0.5, 0.3, 0.2])
FOUND = {"DDPM": torch.tensor([0.45, 0.33, 0.22]), "Heun": torch.tensor([0.5, 0.29, 0.21])}
SE = {"DDPM": torch.tensor([0.02, 0.02, 0.01])}
ERRORS = {"DDIM": [(s, 1.1 / s) for s in (32, 8, 128)], "Heun": [(s, 5 / s**2) for s in (8, 32, 128)]}
N = 400
T_OF = torch.arange(N) % 100 + 1
LOSSES = {"ε": 1 / T_OF.double(), "v": 0.1 + torch.rand(N, generator=generator(2))}
STEPS = [{"sampler": name, "steps": n, "network calls": n * calls, "seconds": 0.01 * n * calls + 0.001 * calls,
          "fréchet": 4 + 300 / n**calls, "KID": 1 / n - 0.02, "se": 0.1}
         for name, calls in (("DDPM", 1), ("Heun", 2)) for n in (50, 5, 20)]
GUIDED = [{"w": w, "precision": 0.7 + 0.06 * w, "recall": 0.8 - 0.15 * w, "class right": 0.9 + 0.02 * w,
           "fréchet": 5 + w**2} for w in (4.0, 0.0, 1.0, 2.0)]
FULL = torch.ones(1, 1, 6, 6, dtype=torch.bool)
MASK = FULL.clone()
MASK[..., 3:, :] = False
GRID = torch.cartesian_prod(*[torch.linspace(-2, 2, 5, dtype=torch.float64)] * 2)
PATHS = {"DDIM": torch.stack([(1 - k / 9) * CLOUDS["t = 50"][:20] + k / 9 * CLOUDS["t = 0"][:20] for k in range(10)]),
         "flow matching": torch.stack([CLOUDS["t = 50"][:30], CLOUDS["t = 0"][:30]])}
LINE = torch.linspace(-3, 3, 61)
HUMPS = {name: torch.exp(-(LINE - m) ** 2) for name, m in (("exact", 0.5), ("the model's Gaussian", 0.0))}


def inpaint(c=1, **change):
    x = images(3, c)
    given = {"known": x * MASK, "mask": MASK, "filled": torch.stack([images(3, c, seed=k) for k in (1, 2)]),
             "originals": x, "title": "Filled in"}
    return diffusion.inpaint_grid(**(given | change))


CHARTS = {
    "schedule_chart": lambda: diffusion.schedule_chart(SCHEDULES, "Two schedules"),
    "schedule_chart, one": lambda: diffusion.schedule_chart({"cosine": SCHEDULES["cosine"]}, "One schedule"),
    "time_loss_chart": lambda: diffusion.time_loss_chart(T_OF, LOSSES, "Losses", bins=10),
    "time_loss_chart, one": lambda: diffusion.time_loss_chart(T_OF, {"v": LOSSES["v"]}, "A loss"),
    "steps_chart": lambda: diffusion.steps_chart(STEPS, "Steps", {"test digits": 1.0, "blurred ½ px": 30.0}),
    "steps_chart, below 0": lambda: diffusion.steps_chart(STEPS, "KID", {"test digits": 0.0}, "KID", "KID", "se"),
    "guidance_chart": lambda: diffusion.guidance_chart(GUIDED, "Guidance"),
    "guidance_chart, many": lambda: diffusion.guidance_chart(
        [GUIDED[0] | {"w": w, "precision": 0.7 + w / 100, "recall": 0.8 - w / 100} for w in range(40)], "Guidance"),
    "cloud_strip": lambda: diffusion_toys.cloud_strip(CLOUDS, "Clouds", {"t = 0": TWO, "t = 50": WIDE}),
    "cloud_strip, one": lambda: diffusion_toys.cloud_strip({"data": CLOUDS["t = 0"]}, "A cloud", limit=2.0),
    "cloud_strip, five": lambda: diffusion_toys.cloud_strip({str(k): CLOUDS["t = 0"] for k in range(5)}, "Five", TWO),
    "paths_chart": lambda: diffusion_toys.paths_chart(PATHS, "Paths", TWO),
    "paths_chart, one": lambda: diffusion_toys.paths_chart({"DDIM": PATHS["DDIM"]}, "Paths"),
    "score_fields": lambda: diffusion_toys.score_fields(
        {"t = 5": (GRID, TWO.score(GRID)), "t = 50": (GRID, WIDE.score(GRID))}, {"t = 5": TWO}, "Fields"),
    "score_fields, true": lambda: diffusion_toys.score_fields({"t = 50": (GRID, -GRID)}, None, "To x̂₀", True),
    "mode_weights_chart": lambda: diffusion_toys.mode_weights_chart(TRUE, FOUND, "Weights", SE),
    "mode_weights_chart, one": lambda: diffusion_toys.mode_weights_chart(torch.ones(25) / 25, {
        "DDIM": torch.ones(25) / 30}, "Weights"),
    "order_chart": lambda: diffusion_toys.order_chart(ERRORS, {"1/S": 1.0, "1/S²": 2.0}, "Orders"),
    "order_chart, one": lambda: diffusion_toys.order_chart({"DDIM": [(8, 0.1)]}, {}, "A point"),
    "posterior_chart": lambda: diffusion_toys.posterior_chart(LINE, {"small": HUMPS, "large": HUMPS}, "One step back"),
    "posterior_chart, one": lambda: diffusion_toys.posterior_chart(LINE, {"small": HUMPS}, "One step back"),
}
PICTURES = {
    "noise_rows": lambda: diffusion.noise_rows({"digit, linear": images(), "face": images(4, 3, 8)}, TIMES, "Noise"),
    "noise_rows, many": lambda: diffusion.noise_rows({"$\\hat{x}_0$, the guess": images(21)}, range(1000, -1, -50),
                                                     "From noise to digit"),
    "inpaint_grid": inpaint, "inpaint_grid, colour": lambda: inpaint(3, filled=[images(3, 3)]),
}


USUAL = [name for name in CHARTS if "," not in name]


@pytest.mark.parametrize("draw", [CHARTS[name] for name in USUAL], ids=USUAL)
def test_a_chart_draws_and_names_its_axes(draw, tmp_path):
    draws_and_names_its_axes(draw, tmp_path)


@pytest.mark.parametrize("draw", [*CHARTS.values(), *PICTURES.values()], ids=[*CHARTS, *PICTURES])
def test_all_words_are_on_it(draw):
    has_all_words_on_it(draw)


# --- the forward process and images ----------------------------------------------------------------------------------

def test_schedules_are_drawn_as_factors_and_as_snr():
    left, right = CHARTS["schedule_chart"]().axes
    for k, schedule in enumerate(SCHEDULES.values()):
        signal, noise = left.lines[2 * k:2 * k + 2]
        assert len(signal.get_xdata()) == 101 and signal.get_linestyle() == noise.get_linestyle()
        assert np.square(signal.get_ydata()) + np.square(noise.get_ydata()) == pytest.approx(np.ones(101))
        assert np.square(signal.get_ydata()) == pytest.approx(schedule.alpha_bar.numpy())
        assert right.lines[k].get_xdata()[0] == 1 and right.lines[k].get_ydata() == pytest.approx(schedule.snr[1:])
        assert right.lines[k].get_color() == signal.get_color()
    assert right.get_yscale() == "log" and list(right.lines[-1].get_ydata()) == [1, 1]
    assert left.lines[0].get_linestyle() != left.lines[2].get_linestyle()       # without colour too


def test_a_row_of_noise_has_an_image_under_each_time():
    rows = {"digit": images(), "face": images(4, 3, 8)}
    figure = diffusion.noise_rows(rows, TIMES, "Noise")
    figure.canvas.draw()
    above, below = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == list(rows)
    heads = above.get_xticklabels()
    assert [head.get_text() for head in heads] == ["t = 0", "t = 25", "t = 50", "t = 100"]
    for ax, (size, shown) in zip((above, below), ((6, rows["digit"]), (8, rows["face"])), strict=True):
        sheet, box = np.asarray(ax.images[0].get_array()), ax.get_window_extent()
        for k in range(4):
            left = 1 + k * (size + 1)
            assert np.allclose(sheet[1:1 + size, left:left + size], shown[k].permute(1, 2, 0).squeeze(-1).numpy())
            middle = box.x0 + box.width * (left + size / 2) / sheet.shape[1]
            if ax is above:
                head = heads[k].get_window_extent()
                assert (head.x0 + head.x1) / 2 == pytest.approx(middle, abs=3)      # pixels of some 120
        # Images stay square to a few per cent, whatever their size.
        assert box.width / box.height == pytest.approx(sheet.shape[1] / sheet.shape[0], rel=0.12)


def test_many_times_have_heads_that_fit_side_by_side():
    figure = PICTURES["noise_rows, many"]()
    figure.canvas.draw()
    boxes = [head.get_window_extent() for head in figure.axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False)) and len(boxes) == 21
    assert [text.get_text() for text in figure.axes[0].texts] == ["time t"] and figure.get_figwidth() < 16


def test_what_is_not_known_is_hatched_in_a_tone_of_its_own_and_the_rest_is_as_given():
    figure = inpaint()
    axes = np.array(figure.axes).reshape(3, 4)
    assert [ax.get_title(loc="center") for ax in axes[0]] == ["original", "given", "filling 1", "filling 2"]
    x = images(3)
    for k, row in enumerate(axes):
        original, given, first, second = (np.asarray(ax.images[0].get_array()) for ax in row)
        assert np.allclose(original, x[k, 0]) and np.allclose(given[:3], np.repeat(original[:3, :, None], 3, 2))
        assert np.allclose(given[3:], to_rgb(diffusion.HIDDEN)) and np.ptp(to_rgb(diffusion.HIDDEN)) > 0.1
        assert np.allclose(first, images(3, seed=1)[k, 0]) and np.allclose(second, images(3, seed=2)[k, 0])
        hatched, = (c for c in row[1].collections if isinstance(c, mpl.contour.QuadContourSet))
        around = np.concatenate([path.vertices for path in hatched.get_paths()])
        assert around.min(0) == pytest.approx([-0.5, 2.5], abs=0.1)
        assert around.max(0) == pytest.approx([5.5, 5.5], abs=0.1)
        assert hatched.hatches == ["///"]


def test_fillings_may_have_names_masks_may_differ_and_nothing_need_be_missing():
    figure = inpaint(filled={"replaced": images(3), "resampled": images(3)}, mask=torch.cat([MASK, ~MASK, FULL]))
    axes = np.array(figure.axes).reshape(3, 4)
    assert [ax.get_title(loc="center") for ax in axes[0]] == ["original", "given", "replaced", "resampled"]
    second, third = (np.asarray(ax.images[0].get_array()) for ax in axes[1:, 1])
    assert np.allclose(second[:3], to_rgb(diffusion.HIDDEN)) and np.ptp(second[3:], 2).max() == 0
    assert np.ptp(third, 2).max() == 0


# --- numbers ---------------------------------------------------------------------------------------------------------

def test_losses_are_means_over_bins_of_time_with_their_errors():
    left, right = CHARTS["time_loss_chart"]().axes
    t = T_OF.numpy()
    for ax, (name, values) in zip((left, right), LOSSES.items(), strict=True):
        line, = ax.lines
        # From 1 to 100 in 10 bins of 9.9: 1 … 10 are in the first, 11 … 20 in the second, and so on.
        bins = [values.numpy()[(t > 10 * k) & (t <= 10 * k + 10)] for k in range(10)]
        assert line.get_ydata() == pytest.approx([v.mean() for v in bins])
        assert line.get_xdata() == pytest.approx([10 * k + 5.5 for k in range(10)])
        assert name in ax.get_ylabel()
        band = ax.collections[0].get_paths()[0].vertices[:, 1]
        assert band.max() == pytest.approx(max(v.mean() + 2 * v.std() / math.sqrt(len(v)) for v in bins))
    assert left.get_yscale() == "log" and right.get_yscale() == "linear" and right.get_ylim()[0] == 0
    assert left.get_ylim()[0] < left.lines[0].get_ydata().min()


def test_a_bin_without_a_loss_is_left_out():
    ax, = diffusion.time_loss_chart(torch.tensor([1, 2, 99, 100]), {"v": torch.ones(4)}, "t", bins=10).axes
    assert ax.lines[0].get_xydata().tolist() == [[1.5, 1], [99.5, 1]]


def points_of(container):
    return container.lines[0].get_xydata()


def test_a_sampler_s_line_goes_along_its_cost_and_references_lie_across():
    figure = CHARTS["steps_chart"]()
    for ax, cost in zip(figure.axes, ("network calls", "seconds"), strict=True):
        lines = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
        for name, line in zip(("DDPM", "Heun"), lines, strict=True):
            rows = sorted((row for row in STEPS if row["sampler"] == name), key=lambda row: row["steps"])
            assert points_of(line) == pytest.approx(np.array([(row[cost], row["fréchet"]) for row in rows]))
        assert len({(line.lines[0].get_marker(), line.lines[0].get_linestyle()) for line in lines}) == 2
        levels = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
        assert levels == [1.0, 30.0] and ax.get_xscale() == ax.get_yscale() == "log" and cost in ax.get_xlabel()
    low, high = figure.axes[0].get_ylim()
    assert low < 1 and high > max(row["fréchet"] for row in STEPS)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["DDPM", "Heun", "test digits", "blurred ½ px"]


def test_a_measure_below_0_is_shown_with_its_error_and_what_was_not_taken_is_left_out():
    rows = [*STEPS, STEPS[0] | {"steps": 100, "network calls": 100, "KID": None}]
    ax = diffusion.steps_chart(rows, "KID", None, "KID", "KID (biased)", "se").axes[0]
    assert ax.get_yscale() == "symlog" and ax.get_ylabel() == "KID (biased)"
    assert [len(points_of(c)) for c in ax.containers] == [3, 3]
    bars, = ax.containers[0].lines[2]
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(0.4)           # ±2 of 0.1
    assert ax.get_ylim()[0] < min(row["KID"] for row in STEPS)


def test_guidance_is_a_path_along_w():
    figure = CHARTS["guidance_chart"]()
    path, right, frechet = (next(ax for ax in figure.axes if word in ax.get_ylabel())
                            for word in ("precision", "class", "Fréchet"))
    rows = sorted(GUIDED, key=lambda row: row["w"])
    assert path.lines[0].get_xydata() == pytest.approx(np.array([(row["recall"], row["precision"]) for row in rows]))
    assert {text.get_text(): text.xy for text in path.texts} == {
        f"w = {row['w']:g}": pytest.approx((row["recall"], row["precision"])) for row in rows}
    for ax, name in ((right, "class right"), (frechet, "fréchet")):
        assert ax.lines[0].get_xydata() == pytest.approx(np.array([(row["w"], row[name]) for row in rows]))
        assert "w" in ax.get_xlabel()
    many = CHARTS["guidance_chart, many"]().axes[0].texts
    assert 3 < len(many) < 20 and {"w = 0", "w = 39"} <= {text.get_text() for text in many}


# --- where the density is known --------------------------------------------------------------------------------------

def contour_mass(ax, density, which):
    """The share of a density's draws inside one of its panel's outlines."""
    filled, = (c for c in ax.collections if isinstance(c, mpl.contour.QuadContourSet) and c.filled)
    paths = filled.get_paths()[which:]
    draws = density.sample(4_000, generator(5)).numpy()
    return sum(path.contains_points(draws) for path in paths).clip(0, 1).mean()


def test_clouds_lie_over_the_most_likely_half_and_95_percent_of_their_density():
    figure = CHARTS["cloud_strip"]()
    for ax, (name, cloud), density in zip(figure.axes, CLOUDS.items(), (TWO, WIDE), strict=True):
        assert ax.get_title(loc="left") == name and ax.get_aspect() == 1
        assert np.allclose(ax.lines[0].get_xydata(), cloud.numpy())
        # 4 standard errors of 4,000 draws are 0.032 at a half and 0.014 at 95 %, and the grid's cells blur a little;
        # the panel cuts off some per cent of the wide one.
        assert contour_mass(ax, density, 0) == pytest.approx(0.95, abs=0.035)
        assert contour_mass(ax, density, 1) == pytest.approx(0.5, abs=0.05)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert len(figure.legends) == 1 and not CHARTS["cloud_strip, one"]().legends


def test_a_panel_s_box_is_square_around_the_points_or_as_asked_for():
    ax, = CHARTS["cloud_strip, one"]().axes
    assert ax.get_xlim() == ax.get_ylim() == (-2, 2)
    far = torch.tensor([10.0, -4.0]) + CLOUDS["t = 50"]
    ax, = diffusion_toys.cloud_strip({"far": far}, "t").axes
    inside = ((far[:, 0] - 10).abs() < np.ptp(ax.get_xlim()) / 2).float().mean()
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim())) and inside > 0.97
    assert np.mean(ax.get_xlim()) == pytest.approx(10, abs=0.6) and np.mean(ax.get_ylim()) == pytest.approx(-4, abs=0.6)


def test_paths_go_from_open_circles_to_filled_squares():
    figure = CHARTS["paths_chart"]()
    for ax, path in zip(figure.axes, PATHS.values(), strict=True):
        *lines, start, end = ax.lines
        assert len(lines) == path.shape[1]
        for k, line in enumerate(lines):
            assert np.allclose(line.get_xydata(), path[:, k])
        assert np.allclose(start.get_xydata(), path[0]) and np.allclose(end.get_xydata(), path[-1])
        assert start.get_markerfacecolor() == "white" and start.get_marker() != end.get_marker()
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < path[..., 0].min() and path[..., 0].max() < right                     # no path leaves the panel
        assert bottom < path[..., 1].min() and path[..., 1].max() < top
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "start: noise", "95 % of the exact density", "path", "half of it", "end: sample"]


def test_fields_have_arrows_that_are_scaled_panel_by_panel_or_drawn_as_long_as_they_are():
    figure = CHARTS["score_fields"]()
    for ax, (name, density) in zip(figure.axes, (("t = 5", TWO), ("t = 50", WIDE)), strict=True):
        arrows, = (c for c in ax.collections if isinstance(c, Quiver))
        score = density.score(GRID).numpy()
        assert np.allclose(arrows.get_offsets(), GRID) and np.allclose(arrows.U, score[:, 0])
        assert np.allclose(arrows.V, score[:, 1])
        longest = np.linalg.norm(score, axis=1).max()
        assert ax.get_title(loc="left") == f"{name}\nlongest arrow: {longest:.3g}"
        assert 0.5 < longest / arrows.scale < 1.5                               # of a grid whose step is 1
    (ax,) = CHARTS["score_fields, true"]().axes
    assert next(c for c in ax.collections if isinstance(c, Quiver)).scale == 1


def test_bars_are_the_shares_found_with_two_standard_errors_under_lines_at_the_true_weights():
    figure = CHARTS["mode_weights_chart"]()
    (ax,) = figure.axes
    bars = [c for c in ax.containers if isinstance(c, BarContainer)]
    for (name, shares), group in zip(FOUND.items(), bars, strict=True):
        assert [bar.get_height() for bar in group] == pytest.approx(shares.tolist())
        assert [round(bar.get_x() + bar.get_width() / 2) for bar in group] == [1, 2, 3]
        assert (group.errorbar is not None) == (name in SE)
    errors, = bars[0].errorbar.lines[2]
    assert [np.ptp(part[:, 1]) for part in errors.get_segments()] == pytest.approx([0.08, 0.08, 0.04])
    true = next(c for c in ax.collections if c.get_label() == "true weight")
    assert [part[0, 1] for part in true.get_segments()] == pytest.approx(TRUE.tolist())
    assert len({bar[0].get_hatch() for bar in bars}) == 2


def test_errors_are_drawn_against_steps_with_lines_that_fall_as_their_order():
    (ax,) = CHARTS["order_chart"]().axes
    ddim, heun, first, second = ax.lines
    assert ddim.get_xydata() == pytest.approx(np.array(sorted(ERRORS["DDIM"])))
    assert heun.get_xydata() == pytest.approx(np.array(ERRORS["Heun"]))
    assert ax.get_xscale() == ax.get_yscale() == "log"
    for line, near, order in ((first, ddim, 1), (second, heun, 2)):
        (s, e), (last_s, last_e) = line.get_xydata()
        assert e / last_e == pytest.approx((last_s / s) ** order)
        assert (s, last_s) == (8, 128) and 0.3 < e / near.get_ydata()[0] < 0.9      # below the one that it is for
    assert [line.get_label() for line in (first, second)] == ["falls as 1/S", "falls as 1/S²"]


def test_the_exact_density_of_a_step_back_is_thick_and_shaded():
    figure = CHARTS["posterior_chart"]()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["small", "large"]
    for ax in figure.axes:
        exact, model = ax.lines
        assert np.allclose(exact.get_ydata(), HUMPS["exact"]) and np.allclose(exact.get_xdata(), LINE)
        assert np.allclose(model.get_ydata(), HUMPS["the model's Gaussian"])
        assert exact.get_linewidth() > model.get_linewidth() and exact.get_linestyle() != model.get_linestyle()
        assert len(ax.collections) == 1 and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(HUMPS)


# --- what is refused -------------------------------------------------------------------------------------------------

CLOUD = CLOUDS["t = 0"]


@pytest.mark.parametrize("call, message", [
    (lambda: diffusion.schedule_chart({}, "t"), "no schedule"),
    (lambda: diffusion.noise_rows({}, TIMES, "t"), "no images"),
    (lambda: diffusion.noise_rows({"x": images(3)}, TIMES, "t"), r"row 'x' has shape \(3, 1, 6, 6\); it must be \(4,"),
    (lambda: inpaint(filled=[images(2)]), "filled has shape"), (lambda: inpaint(originals=images(2)), "originals has"),
    (lambda: inpaint(mask=MASK[..., 1:]), "mask has shape"), (lambda: inpaint(mask=MASK.float()), "it must be bool"),
    (lambda: diffusion.time_loss_chart(T_OF, {}, "t"), "no losses"),
    (lambda: diffusion.time_loss_chart(T_OF, {"v": torch.ones(3)}, "t"), r"losses\['v'\] has shape \(3,\)"),
    (lambda: diffusion.time_loss_chart(T_OF, LOSSES, "t", bins=0), "0 bins"),
    (lambda: diffusion.steps_chart([], "t"), "no rows"),
    (lambda: diffusion.steps_chart([STEPS[0] | {"KID": None}], "t", measure="KID"), "no rows with 'KID'"),
    (lambda: diffusion.guidance_chart([], "t"), "no rows"),
    (lambda: diffusion_toys.cloud_strip({}, "t"), "nothing to draw"),
    (lambda: diffusion_toys.cloud_strip({"a": torch.ones(5, 3)}, "t"), r"a has shape \(5, 3\)"),
    (lambda: diffusion_toys.cloud_strip({"a": torch.ones(0, 2)}, "t"), "holds no point"),
    (lambda: diffusion_toys.cloud_strip({"a": CLOUD}, "t", {"b": TWO}), "density has 'b'; the panels are 'a'"),
    (lambda: diffusion_toys.paths_chart({"a": CLOUD}, "t"), r"must be \(any, any, 2\)"),
    (lambda: diffusion_toys.score_fields({"a": (GRID, GRID[:3])}, None, "t"), "arrows has shape"),
    (lambda: diffusion_toys.mode_weights_chart(TRUE, {}, "t"), "no samplers"),
    (lambda: diffusion_toys.mode_weights_chart(TRUE, {"a": TRUE[:2]}, "t"), "a has shape"),
    (lambda: diffusion_toys.mode_weights_chart(TRUE, FOUND, "t", {"x": TRUE}), "errors has 'x'"),
    (lambda: diffusion_toys.order_chart({}, {}, "t"), "no errors"),
    (lambda: diffusion_toys.order_chart({"Heun": [(8, 0.1), (16, 0.0)]}, {}, "t"), "errors of Heun go down to 0"),
    (lambda: diffusion_toys.posterior_chart(LINE, {}, "t"), "no densities"),
    (lambda: diffusion_toys.posterior_chart(LINE, {"a": {"b": LINE[1:]}}, "t"), "b has shape"),
])
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
