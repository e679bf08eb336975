"""Chapter 07's pictures draw without a warning, name their axes, and show the numbers that they were given."""

import math
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import has_all_words_on_it
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Ellipse

from course_lib import plots
from course_lib.metrics import neighbour_radius, precision_recall
from course_lib.plots import style

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


ENTROPIES = {"test digits": (0.05, 2.25), "blurred": (1.2, 2.1), "one class": (0.1, 0.2)}
MEAN, COV = torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.6], [0.6, 0.5]])
PANELS = {"moved": {"real": (MEAN, COV), "half": (MEAN / 2, COV), "made": (0 * MEAN, COV)},
          "as they are": {"real": (MEAN, COV), "made": (MEAN, torch.diag(torch.tensor([4.0, 0.25])))}}
BIAS = [{"samples": name, "n": n, "draw": draw, "FD": at + 500 / n + draw, "KID": at + 0.1 * draw}
        for name, at in (("real", 0.0), ("GAN", 60.0)) for n in (2_000, 100, 200, 500, 5_000) for draw in (0, 1)]
SPOILT = [{"corruption": name, "strength": s, "FD": 1 + k + 9 * s, "precision": 0.9 - 0.5 * s, "inception score": 9 - s}
          for k, name in enumerate(("blur", "noise")) for s in (1.0, 0.0, 0.5)]
COLUMNS = ["FD", "precision", "inception score"]
REAL, FAKE, FAR = normal(30, 2), 0.5 * normal(20, 2, seed=1) + 1, 5 * normal(12, 2, seed=2)
SHARES = {"test": (0.9, 0.8), "GAN": (0.4, 0.6), "one a class": (0.95, 0.0)}
DISTANCES = {"GAN": torch.tensor([3.0, 1.0, 2.0, 4.0]), "test": torch.tensor([2.0, 2.5]), "copies": torch.zeros(3)}
RANKED = [{"samples": "a", "FD": 1.0, "IS": 2.0, "recall": 0.5}, {"samples": "b", "FD": 3.0, "IS": 9.0, "recall": 0.5},
          {"samples": "a long name indeed", "FD": 2.0, "IS": 5.0, "recall": 0.9}]
BETTER = {"FD": False, "IS": True, "recall": True}

FIGURES = {
    "entropy_chart": lambda: plots.entropy_chart(ENTROPIES, 10, "Two entropies"),
    "gaussian_ellipses": lambda: plots.gaussian_ellipses(PANELS, "Ellipses"),
    "bias_chart": lambda: plots.bias_chart(BIAS, ["FD", "KID"], "Lines in 1/N", {"GAN": (60.5, 500.0)}),
    "bias_chart, one": lambda: plots.bias_chart(BIAS, ["KID"], "A line in 1/N"),
    "corruption_chart": lambda: plots.corruption_chart(SPOILT, COLUMNS, "Spoilt", ["FD"]),
    "corruption_chart, two rows": lambda: plots.corruption_chart(SPOILT, COLUMNS, "Spoilt", columns=2),
    "manifold_chart": lambda: plots.manifold_chart({"near": (REAL, FAKE), "far": (REAL, FAR)}, "Balls"),
    "precision_recall_chart": lambda: plots.precision_recall_chart(SHARES, "Two shares"),
    "neighbour_chart": lambda: plots.neighbour_chart(DISTANCES, "Neighbours", control="test"),
    "rank_chart": lambda: plots.rank_chart(RANKED, BETTER, "Ranks"),
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
    title = figure.get_suptitle() or figure.axes[0].get_title(loc="left")
    assert title and title in text
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert all(ax.get_xlabel() for ax in shown)
    assert all(any(ax.get_ylabel() for ax in shown if ax.get_position().y0 == row.get_position().y0) for row in shown)


@each_figure
def test_nothing_is_cut_off(draw):
    has_all_words_on_it(draw, apart=False)


# --- what they show --------------------------------------------------------------------------------------------------

def named(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_entropies_are_points_and_equal_scores_diagonals():
    ax, = FIGURES["entropy_chart"]().axes
    drawn = named(ax)
    assert {name: (line.get_xdata()[0], line.get_ydata()[0]) for name, line in drawn.items()} == ENTROPIES
    assert len({line.get_marker() for line in drawn.values()}) == 3
    assert drawn["test digits"].get_markersize() > drawn["one class"].get_markersize()
    diagonals = [line for line in ax.lines if line not in drawn.values()]
    for line, words in zip(diagonals, ax.texts, strict=True):
        (x0, x1), (y0, y1) = line.get_data()
        score = float(words.get_text().removeprefix("score "))
        assert y0 - x0 == pytest.approx(math.log(score)) and y1 - x1 == pytest.approx(math.log(score))
        assert words.xy == pytest.approx((math.log(10) - math.log(score), math.log(10)))
    assert [words.get_text() for words in ax.texts] == ["score 1", "score 2", "score 4", "score 7", "score 10"]
    fewer = plots.entropy_chart(ENTROPIES, 3, "t").axes[0]
    assert [words.get_text() for words in fewer.texts] == ["score 1", "score 2"]


def test_an_ellipse_is_one_standard_deviation_from_its_mean():
    left, right = FIGURES["gaussian_ellipses"]().axes
    shapes = [patch for patch in left.patches if isinstance(patch, Ellipse)]
    assert [tuple(patch.center) for patch in shapes] == [(1.0, -2.0), (0.5, -1.0), (0.0, 0.0)]
    outline = shapes[0].get_path().vertices.copy()
    points = torch.from_numpy(shapes[0].get_patch_transform().transform(outline)) - MEAN
    on_curve = points[(torch.from_numpy(outline).norm(dim=1) - 1).abs() < 1e-9]
    away = (on_curve @ COV.double().inverse() * on_curve).sum(1).sqrt()     # Mahalanobis
    assert len(away) > 4 and away.numpy() == pytest.approx(np.ones(len(away)), abs=1e-6)
    looks = {(patch.get_edgecolor(), patch.get_linestyle()) for patch in shapes}
    assert len(looks) == 3
    made = right.patches[1]
    assert (made.get_edgecolor(), made.get_linestyle()) == (shapes[2].get_edgecolor(), shapes[2].get_linestyle())
    assert sorted([made.width, made.height]) == pytest.approx([1.0, 4.0])
    words = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert words == ["real", "half", "made"]
    with pytest.raises(ValueError, match=r"made's covariance has shape \(2,\)"):
        plots.gaussian_ellipses({"p": {"made": (MEAN, MEAN)}}, "t")


def test_bias_is_drawn_against_one_over_n_with_means_and_the_prediction():
    left, right = FIGURES["bias_chart"]().axes
    for ax, measure in ((left, "FD"), (right, "KID")):
        drawn = named(ax)
        assert list(drawn) == ["real", "GAN"] and ax.get_title(loc="left") == measure
        for name, line in drawn.items():
            means = [np.mean([row[measure] for row in BIAS if row["samples"] == name and row["n"] == n])
                     for n in (100, 200, 500, 2_000, 5_000)]
            assert line.get_xdata() == pytest.approx([1 / 100, 1 / 200, 1 / 500, 1 / 2_000, 1 / 5_000])
            assert line.get_ydata() == pytest.approx(means)
        dots = ax.lines[0]
        expected = sorted((1 / row["n"], row[measure]) for row in BIAS if row["samples"] == "real")
        assert np.array(sorted(dots.get_xydata().tolist())) == pytest.approx(np.array(expected))
        assert [label.get_text() for label in ax.get_xticklabels()] == ["1/5,000", "1/500", "1/200", "1/100"]
        assert list(ax.get_xticks()) == pytest.approx([1 / 5_000, 1 / 500, 1 / 200, 1 / 100])      # 1/2,000: no room
    dotted, = (line for line in left.lines if line.get_linestyle() == ":")
    assert list(dotted.get_xdata()) == [0, 0.01] and list(dotted.get_ydata()) == pytest.approx([60.5, 65.5])
    assert not [line for line in right.lines if line.get_linestyle() == ":"]
    words = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert words == ["real", "GAN", "value at 1/N = 0, plus c/N"]
    assert [text.get_text() for text in FIGURES["bias_chart, one"]().legends[0].get_texts()] == ["real", "GAN"]


def test_corruptions_have_a_panel_a_measure_and_a_line_each_in_order_of_strength():
    figure = FIGURES["corruption_chart"]()
    for ax, measure in zip(figure.axes, ["FD", "precision", "inception score"], strict=True):
        drawn = named(ax)
        assert list(drawn) == ["blur", "noise"] and ax.get_title(loc="left") == measure
        for name, line in drawn.items():
            values = {row["strength"]: row[measure] for row in SPOILT if row["corruption"] == name}
            assert dict(zip(*line.get_data(), strict=True)) == values and list(line.get_xdata()) == [0, 0.5, 1]
        assert len({line.get_linestyle() for line in drawn.values()}) == 2
    first, second, third = figure.axes
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear", "linear"]
    assert second.get_ylim() == (-0.03, 1.03) and second.get_ylabel() == "share of the points"
    assert (first.get_ylabel(), third.get_ylabel()) == ("squared units", "classes")
    figure = FIGURES["corruption_chart, two rows"]()
    assert [ax.get_visible() for ax in figure.axes] == [True, True, True, False]


def test_balls_and_what_lies_in_them():
    figure = FIGURES["manifold_chart"]()
    axes = np.array(figure.axes).reshape(2, 2)                          # precision above, recall below
    for (above, below), (name, fake) in zip(axes.T, (("near", FAKE), ("far", FAR)), strict=True):
        found = precision_recall(REAL, fake)
        assert above.get_title(loc="left") == f"{name}\nprecision {found.precision:.2f}"
        assert below.get_title(loc="left") == f"recall {found.recall:.2f}"
        for ax, of, points, share in ((above, REAL, fake, found.precision), (below, fake, REAL, found.recall)):
            balls, = (c for c in ax.collections if isinstance(c, EllipseCollection))
            assert balls.get_offsets() == pytest.approx(of.numpy())
            assert balls._widths * 2 == pytest.approx(2 * neighbour_radius(of, 3).numpy())
            assert balls._widths == pytest.approx(balls._heights) and balls._units == "x"
            own, inside, outside = (line.get_xydata() for line in ax.lines)
            assert own == pytest.approx(of.numpy())
            assert len(inside) == round(share * len(points)) and len(inside) + len(outside) == len(points)
            distance = np.linalg.norm(inside[:, None] - of.numpy()[None], axis=2)
            assert (distance <= neighbour_radius(of, 3).numpy() + 1e-9).any(1).all()
            assert ax.lines[2].get_fillstyle() == "none" and ax.get_aspect() == 1
            for x, y in points.tolist():
                assert ax.get_xlim()[0] < x < ax.get_xlim()[1] and ax.get_ylim()[0] < y < ax.get_ylim()[1]
    assert axes[0, 0].lines[1].get_marker() != axes[1, 0].lines[1].get_marker()
    wide = plots.manifold_chart({"k": (REAL, FAKE)}, "t", k=6).axes[0].get_title(loc="left")
    assert wide == f"k\nprecision {precision_recall(REAL, FAKE, 6).precision:.2f}"
    with pytest.raises(ValueError, match=r"fake has shape \(20, 3\)"):
        plots.manifold_chart({"a": (REAL, normal(20, 3))}, "t")


def test_recall_goes_across_and_precision_up():
    ax, = FIGURES["precision_recall_chart"]().axes
    drawn = named(ax)
    assert {name: (line.get_ydata()[0], line.get_xdata()[0]) for name, line in drawn.items()} == SHARES
    assert ax.get_xlabel().startswith("recall") and ax.get_ylabel().startswith("precision")
    assert len({(line.get_marker(), line.get_color()) for line in drawn.values()}) == 3


def test_neighbours_are_cumulative_shares():
    ax, = FIGURES["neighbour_chart"]().axes
    drawn = named(ax)
    assert list(drawn["GAN"].get_xdata()) == [1, 2, 3, 4] and list(drawn["GAN"].get_ydata()) == [0.25, 0.5, 0.75, 1]
    assert list(drawn["test"].get_ydata()) == [0.5, 1] and drawn["test"].get_linewidth() > 4
    assert list(drawn["copies"].get_xdata()) == [0, 0, 0] and ax.get_xlim()[0] <= 0
    assert drawn["GAN"].get_linestyle() != drawn["copies"].get_linestyle()
    with pytest.raises(ValueError, match="control is 'real'; it must be one of 'GAN', 'test', 'copies'"):
        plots.neighbour_chart(DISTANCES, "t", control="real")


def test_ranks_have_the_best_at_the_top():
    ax, = FIGURES["rank_chart"]().axes
    places = [list(line.get_ydata()) for line in ax.lines]
    assert places == [[1, 3, 2], [3, 1, 3], [2, 2, 1]]                 # equal recall: in the order of the rows
    assert [text.get_text() for text in ax.texts] == ["a", "b", "a long name indeed"]
    assert [text.xy for text in ax.texts] == [(2, 2), (2, 3), (2, 1)]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["FD", "IS", "recall"]
    with pytest.raises(ValueError, match="there are 11 rows"):
        plots.rank_chart(RANKED * 3 + RANKED[:2], BETTER, "t")
