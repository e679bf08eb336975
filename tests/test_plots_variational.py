"""Chapter 02's pictures draw without a warning, name their axes, and show the numbers that they were given."""

import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.stats import norm

from course_lib import plots
from course_lib.autoencoders import LinearGaussian, kl_gaussians
from course_lib.plots import style, variational

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def gap_rows():
    """A linear-Gaussian model: q's mean moved with its σ at the posterior's, and its σ with its mean 0.3 off."""
    model = LinearGaussian(torch.tensor([[1.2], [0.7]]).double(), torch.zeros(2).double(), 0.6)
    x = torch.tensor([[1.5, 0.4]]).double()
    best, cov = model.posterior(x)

    def row(moved, at, mean, variance):
        mean, variance = mean.view(1, 1), variance.view(1, 1, 1)
        return {"moved": moved, "at": at, "ELBO": model.elbo(x, mean, variance).item(),
                "gap": kl_gaussians(mean, variance, best, cov[None]).item(), "log p(x)": model.log_px(x).item()}

    return [*(row("mean of q (units of z)", a, best + a, cov) for a in (-1.0, -0.5, 0.0, 0.5, 1.0)),
            *(row("σ of q (units of z)", s, best + 0.3, torch.tensor(s * s).double()) for s in (0.25, 0.5, 1.0, 2.0))]


ESTIMATORS = [{"f": f, "σ": s, "pathwise": path(s), "score function": 1 / s**2}
              for f, path in (("ELBO", lambda s: s**2 / 100), ("cos 2z", lambda s: s**2)) for s in (0.5, 0.8, 2.0, 4.0)]
BOUNDS = [{"model": model, "k": k, "nats": level - k**0.1}
          for k in (5_000, 1, 10) for model, level in (("a", 91), ("b", 95))]
RATES = [{"beta": beta, "seed": seed, "squared error": 10 * beta + seed, "KL in nats": 8 / beta - seed,
          "nats a dimension": [0.01, 4 / beta, 2 / beta, 0.06 / beta]}
         for seed in (0, 1) for beta in (0.5, 1.0, 2.0, 4.0)]


def dying():
    """Five dimensions over 4 looks: 1 and 4 stay in use, 2 and 5 die on the way, 3 was never used."""
    return [0, 20, 40, 60], torch.tensor([[1.5, 0.9, 0.0, 1.4, 2.0], [1.4, 0.2, 1e-5, 1.4, 0.3],
                                          [1.3, 0.04, 0.0, 1.3, 0.1], [1.25, 0.01, 0.0, 1.24, 0.03]]).double()


def decoded(cells):
    """Images that are as bright as their z₂ is high, and brighter still to the right."""
    z = plots.quantile_grid(cells)
    return (0.5 + z[:, 1] / 8 + z[:, 0] / 80).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)


FIGURES = {
    "gap_chart": lambda: plots.gap_chart(gap_rows(), "One level line", ["σ of q (units of z)"]),
    "gap_chart, one": lambda: plots.gap_chart(gap_rows()[:5], "One level line"),
    "estimator_chart": lambda: plots.estimator_chart(ESTIMATORS, "Which is quieter"),
    "estimator_chart, another parameter": lambda: plots.estimator_chart(
        [{"f": "x", "samples": n, "pathwise": 1 / n, "score function": 9 / n, "with a baseline": 0.0} for n in (1, 10)],
        "More samples", "samples", "a step"),
    "bound_chart": lambda: plots.bound_chart(BOUNDS, "More samples"),
    "rate_distortion_chart": lambda: plots.rate_distortion_chart(RATES, "The price of a nat"),
    "rate_distortion_chart, one seed": lambda: plots.rate_distortion_chart(RATES[:4], "The price of a nat", [4.0, 1.0]),
    "rate_distortion_chart, one model": lambda: plots.rate_distortion_chart(RATES[:1], "The price of a nat"),
    "collapse_chart": lambda: plots.collapse_chart(*dying(), "Latents die"),
    "collapse_chart, all dead": lambda: plots.collapse_chart([0, 9], torch.zeros(2, 3), "Latents are dead", "step"),
    "collapse_chart, one look": lambda: plots.collapse_chart([5], torch.full((1, 20), 7.0), "All live"),
    "manifold": lambda: plots.manifold(decoded(6), "The plane"),
    "manifold, in colour": lambda: plots.manifold(torch.rand(4, 3, 5, 5), "The plane"),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


@each_figure
def test_a_figure_draws_without_a_warning_names_its_axes_and_leaves_the_style(draw, tmp_path):
    before, style_before = plt.figure(), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        figure.canvas.draw()
        style.save_svg(figure, tmp_path / "figure.svg")
    assert plt.get_fignums() == [before.number, figure.number] and dict(mpl.rcParams) == style_before
    text = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    assert figure.get_suptitle() and figure.get_suptitle() in text
    for axis in "xy":
        assert all(getattr(ax, f"get_{axis}label")() for ax in labelled(figure, axis))


def labelled(figure, axis):
    """The panels that must name this axis: one of those that share it."""
    groups = {frozenset(getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)) for ax in figure.axes}
    return [max(group, key=lambda ax: len(getattr(ax, f"get_{axis}label")())) for group in groups]


@each_figure
def test_nothing_is_cut_off(draw):
    figure = draw()
    figure.canvas.draw()
    for words in figure.findobj(mpl.text.Text):
        if words.get_visible() and words.get_text().strip():
            box = words.get_window_extent()
            if words in shown_ticks(figure) or not is_tick(figure, words):
                assert box.x0 >= -1 and box.y0 >= -1, words
                assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words


def is_tick(figure, words):
    return any(words in (tick.label1, tick.label2) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)
               for tick in (*axis.majorTicks, *axis.minorTicks))


def shown_ticks(figure):
    """Labels of ticks within the axes: matplotlib keeps others, which it does not draw."""
    return [tick.label1 for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in axis._update_ticks()
            if tick.label1.get_visible()]


# --- what they show --------------------------------------------------------------------------------------------------

def test_bounds_are_lines_over_k_with_the_last_one_named():
    ax, = FIGURES["bound_chart"]().axes
    assert ax.get_xscale() == "log" and [list(line.get_xdata()) for line in ax.lines] == [[1, 10, 5_000]] * 2
    assert list(ax.lines[1].get_ydata()) == pytest.approx([94, 95 - 10**0.1, 95 - 5_000**0.1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a: 88.7", "b: 92.7"]
    assert "5,000" in ax.get_legend().get_title().get_text()


def test_elbo_and_gap_are_stacked_up_to_log_p():
    rows, figure = gap_rows(), FIGURES["gap_chart"]()
    assert [ax.get_xlabel() for ax in figure.axes] == ["mean of q (units of z)", "σ of q (units of z)"]
    assert [ax.get_xscale() for ax in figure.axes] == ["linear", "log"]
    for ax, mine, least in zip(figure.axes, (rows[:5], rows[5:]), (2, 1), strict=True):
        elbo, log_p = ax.lines[:2]
        assert elbo.get_ydata() == pytest.approx([row["ELBO"] for row in mine])
        assert log_p.get_ydata() == pytest.approx([rows[0]["log p(x)"]] * len(mine))    # level
        gap = ax.collections[1].get_paths()[0].vertices
        for row in mine:
            edge = gap[np.isclose(gap[:, 0], row["at"]), 1]
            assert edge.min() == pytest.approx(row["ELBO"])
            assert edge.max() == pytest.approx(row["ELBO"] + row["gap"]) == pytest.approx(row["log p(x)"])
        assert ax.lines[2].get_xydata() == pytest.approx(np.array([[mine[least]["at"], mine[least]["ELBO"]]]))
        written = " ".join(text.get_text() for text in ax.texts)
        assert f"{mine[least]['gap']:.2f} nats" in written and f"at {mine[least]['at']:.2f}" in written
        assert f"log p(x) = −{-rows[0]['log p(x)']:.2f} nats" in written
    assert len({path.get_hatch() for path in figure.axes[0].collections}) == 2      # told apart without colour


def test_what_does_not_add_up_is_seen_not_to():
    rows = [{**row, "gap": row["gap"] + 1} for row in gap_rows()[:5]]
    ax, = plots.gap_chart(rows, "t").axes
    assert ax.collections[1].get_paths()[0].vertices[:, 1].max() == pytest.approx(rows[0]["log p(x)"] + 1)


def test_estimators_share_a_log_axis_and_their_meeting_is_marked():
    figure = FIGURES["estimator_chart"]()
    left, right = figure.axes
    assert {left.get_yscale(), left.get_xscale()} == {"log"} and left.get_ylim() == right.get_ylim()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["f = ELBO", "f = cos 2z"]
    for ax, rows in ((left, ESTIMATORS[:4]), (right, ESTIMATORS[4:])):
        for line, name in zip(ax.lines[:2], ("pathwise", "score function"), strict=True):
            assert line.get_xydata().tolist() == [[row["σ"], row[name]] for row in rows]
    assert len({(line.get_linestyle(), line.get_marker()) for line in left.lines[:2]}) == 2
    # 1/σ² and σ² are straight on these axes, so that reading between the points is exact: they cross at σ = 1.
    assert right.lines[2].get_xdata() == pytest.approx([1.0, 1.0])
    assert [" ".join(text.get_text().split()) for text in right.texts] == ["pathwise and score function cross at 1.00"]
    assert left.lines[2].get_xdata() == pytest.approx([10**0.5] * 2)                # σ²/100 = 1/σ²
    assert [words.get_text() for words in figure.legends[0].get_texts()] == ["pathwise", "score function"]


def test_crossings_are_where_one_line_passes_the_other():
    at = np.array([1.0, 10.0, 100.0, 1000.0])
    assert variational.crossings(at, np.ones(4), np.array([0.1, 10, 0.1, 0.1])) == pytest.approx([10**0.5, 10**1.5])
    assert variational.crossings(at, np.ones(4), np.array([2, 3, 4, 5])) == []
    assert variational.crossings(at, np.ones(4), np.array([0.5, np.nan, 4, 5])) == []


def test_a_variance_of_0_is_left_out():
    ax, = FIGURES["estimator_chart, another parameter"]().axes
    assert np.isnan(ax.lines[2].get_ydata()).all() and ax.get_xlabel() == "samples (a step)"
    assert ax.get_ylim()[0] > 1e-3


def test_rate_against_distortion_goes_through_the_means_of_the_seeds():
    left, *bars = FIGURES["rate_distortion_chart"]().axes
    assert left.lines[0].get_xydata() == pytest.approx(np.array([[10 * b + 0.5, 8 / b - 0.5] for b in (0.5, 1, 2, 4)]))
    assert len(left.lines[1].get_xydata()) == 8                                     # and each seed
    assert [text.get_text() for text in left.texts] == ["β = 0.5", "β = 1", "β = 2", "β = 4"]
    assert [text.xy for text in left.texts] == [tuple(point) for point in left.lines[0].get_xydata()]
    assert [ax.texts[0].get_text() for ax in bars] == [
        "β = 0.5: 3 of 4 in use, 12.1 nats", "β = 2: 2 of 4 in use, 3.0 nats", "β = 4: 2 of 4 in use, 1.5 nats"]
    for ax, beta in zip(bars, (0.5, 2, 4), strict=True):
        heights = [bar.get_height() for bar in ax.patches]
        assert heights == pytest.approx(sorted([0.01, 4 / beta, 2 / beta, 0.06 / beta], reverse=True))
        assert ax.get_ylim() == bars[0].get_ylim()
    assert len({ax.patches[0].get_hatch() for ax in bars}) == 3


def test_the_shown_betas_are_those_asked_for():
    axes = FIGURES["rate_distortion_chart, one seed"]().axes
    assert len(axes[0].lines) == 1 and [ax.texts[0].get_text()[:5] for ax in axes[1:]] == ["β = 4", "β = 1"]
    with pytest.raises(ValueError, match=r"shown is \[3.0\]; there are rows for β = 0.5, 1, 2, 4"):
        plots.rate_distortion_chart(RATES, "t", [3.0])


def test_collapse_colours_what_ends_in_use_and_counts_the_rest():
    steps, nats = dying()
    upper, lower = FIGURES["collapse_chart"]().axes
    lines = {line.get_ydata()[0]: line for line in upper.lines if len(line.get_xdata()) == 4}   # by their first nats
    assert {key: line.get_ydata().tolist() for key, line in lines.items()} == {
        column[0]: column for column in nats.T.tolist()}
    assert all(list(line.get_xdata()) == steps for line in lines.values())
    alive, dead = ([lines[column[0]].get_color() for column in columns.T.tolist()]
                   for columns in (nats[:, [0, 3]], nats[:, [1, 2, 4]]))
    assert len(set(dead)) == 1 and len({*alive, *dead}) == 3
    written = [text.get_text() for text in upper.texts]
    assert written == ["latent 4: 1.24 nats", "latent 1: 1.25 nats", "in use above 0.05 nats"]
    assert upper.get_yscale() == "symlog" and upper.get_ylim()[0] < 0                   # a dimension at 0 is seen
    # The labels stand apart although the lines end side by side, and each is joined to its line's end.
    joins = [line for line in upper.lines if line.get_transform() == upper.transAxes]
    for join, text, end in zip(joins, upper.texts, (1.24, 1.25), strict=False):
        at, = upper.transAxes.inverted().transform(upper.transData.transform([(60, end)]))
        assert (join.get_xdata()[0], join.get_ydata()[0]) == pytest.approx(tuple(at), abs=1e-3)
        assert text.get_position()[1] == join.get_ydata()[1]
    assert upper.texts[1].get_position()[1] - upper.texts[0].get_position()[1] > 0.05
    assert lower.lines[0].get_xydata().tolist() == [[0, 4], [20, 4], [40, 3], [60, 2]]
    assert [text.get_text() for text in lower.texts] == ["2 of 5"] and lower.get_xlabel() == "training step"
    assert FIGURES["collapse_chart, all dead"]().axes[1].get_xlabel() == "step"


def test_collapse_needs_a_step_for_each_look():
    with pytest.raises(ValueError, match=r"nats has shape \(4, 5\) and there are 3 steps"):
        plots.collapse_chart([0, 1, 2], dying()[1], "t")
    with pytest.raises(ValueError, match=r"nats has shape \(0, 5\)"):
        plots.collapse_chart([], torch.zeros(0, 5), "t")


def test_labels_are_moved_apart_and_stay_in_the_panel():
    assert variational._apart([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])   # nothing in the way
    for places in ([0.5, 0.5, 0.5], [0.97, 0.98, 0.99], [0.0, 0.01, 1.0], np.full(16, 0.9).tolist()):
        moved = variational._apart(places, 0.06)
        assert np.diff(moved).min() >= 0.06 - 1e-9 and moved.min() >= 0 and moved.max() <= 1
    assert np.diff(variational._apart([0.5] * 30, 0.06)).min() == pytest.approx(1 / 29)  # too many: less room for each
    assert len(variational._apart([], 0.06)) == 0


def test_quantile_grid_gives_each_place_the_same_share_of_the_prior():
    cells = 5
    z = plots.quantile_grid(cells)
    assert z.shape == (25, 2) and z.dtype == torch.float32
    quantiles = norm.ppf((np.arange(cells) + 0.5) / cells)
    assert z[:cells, 0].numpy() == pytest.approx(quantiles, abs=1e-6)               # read from the left …
    assert z[::cells, 1].numpy() == pytest.approx(quantiles[::-1], abs=1e-6)        # … and from the top
    assert (z[:cells, 1] == z[0, 1]).all() and z[cells // 2 * cells + cells // 2].tolist() == [0, 0]
    with pytest.raises(ValueError, match="cells is 0"):
        plots.quantile_grid(0)


def test_the_manifold_s_ticks_stand_where_these_z_are():
    cells = 6
    figure = FIGURES["manifold"]()
    ax, = figure.axes
    shown, z = np.asarray(ax.images[0].get_array()), plots.quantile_grid(cells)
    assert shown.shape == (3 * cells, 3 * cells) and ax.get_xlim() == ax.get_ylim() == (0, cells)
    assert shown[0, -1] == shown.max() and shown[-1, 0] == shown.min()              # z₂ grows upwards, z₁ to the right
    assert shown[1, 1] == pytest.approx((0.5 + z[0, 1] / 8 + z[0, 0] / 80).item())
    for axis in (ax.xaxis, ax.yaxis):
        marks = [float(label.get_text().replace("−", "-")) for label in axis.get_ticklabels()]
        assert marks == [-2, -1, -0.5, 0, 0.5, 1, 2]
        assert axis.get_ticklocs() == pytest.approx(cells * norm.cdf(marks))
        # The middle of a cell is at (k + ½): the grid's own z, on the scale of the ticks.
        assert cells * norm.cdf(z[:cells, 0]) == pytest.approx(np.arange(cells) + 0.5, abs=1e-5)
    with pytest.raises(ValueError, match="there are 5 images; there must be a square"):
        plots.manifold(torch.rand(5, 1, 2, 2), "t")
