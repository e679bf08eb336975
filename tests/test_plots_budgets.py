"""The pictures of runs on one budget show what they were given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_rules import draws_and_names_its_axes, has_all_words_on_it

from course_lib import plots
from course_lib.plots import budgets as lib

mpl.use("Agg")
NAMES = ("minimax", "non-saturating", "least squares", "WGAN, clipped", "WGAN-GP", "SN, hinge", "the best found")
RUNS = [{"variant": name, "seed": seed, "gradients": [100 * i for i in range(1, 9)], "lr": 1e-3,
         "seconds": [(k + 1) * i for i in range(1, 9)], "hit": [min(8, i + seed) for i in range(8)],
         "good": [0.1 * i + 0.05 * seed for i in range(8)]} for k, name in enumerate(NAMES) for seed in range(3)]
SEARCH = [{"set": data, "variant": name, "lr": lr, "seed": seed, "hit": [0, int(9 * good)], "good": [0.9, good]}
          for data in ("ring of 8", "grid of 25") for name in NAMES
          for lr, good in ((3e-4, 0.2), (1e-3, 0.7), (3e-3, 0.4)) for seed in (5, 6)]
BARS = {"c = 0.1": {"round": [5, 10, 15], "distance": [2.0, 1.0, 0.5], "gap": [6.0, 3.0, 1.5]},
        "c = 0.01": {"round": [5, 10, 15], "distance": [2.0, 1.0, 0.4], "gap": [-1.0, 2e-3, 8e-4]}}
DIGITS = {name: [{"seed": seed, "gradients": [100, 200], "loss": [1.0, 0.5 + seed], "fréchet": [900.0, 90.0 + seed]}
                 for seed in range(3)] for name in ("GAN", "WGAN-GP")}
FIGURES = {
    "budget_chart": lambda: lib.budget_chart(RUNS, 8, "Seven ways"),
    "search_chart": lambda: lib.search_chart(SEARCH, {"ring of 8": 8, "grid of 25": 25}, "A search"),
    "distance_chart": lambda: lib.distance_chart(BARS, "Bars"),
    "progress_chart": lambda: lib.progress_chart(DIGITS, {"GAN": "loss of D (nats)", "WGAN-GP": "gap"}, "Progress"),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@each_figure
def test_a_figure_draws_and_names_its_axes(draw, tmp_path):
    draws_and_names_its_axes(draw, tmp_path)


@each_figure
def test_a_figure_has_all_its_words_on_it(draw):
    has_all_words_on_it(draw)


def test_budget_lines_are_means_over_seeds_in_bands_from_worst_to_best():
    axes = np.array(FIGURES["budget_chart"]().axes).reshape(2, 2)
    for row, key in zip(axes, ("hit", "good"), strict=True):
        for ax, cost in zip(row, ("gradients", "seconds"), strict=True):
            lines = [line for line in ax.lines if line.get_label() in NAMES]
            assert [line.get_label() for line in lines] == list(NAMES)
            for line, band, name in zip(lines, ax.collections, NAMES, strict=True):
                mine = [run for run in RUNS if run["variant"] == name]
                values = np.array([run[key] for run in mine], dtype=float)
                assert line.get_xdata() == pytest.approx(mine[0][cost])
                assert line.get_ydata() == pytest.approx(values.mean(0))
                corners = band.get_paths()[0].vertices[:, 1]
                assert corners.min() == pytest.approx(values.min()) and corners.max() == pytest.approx(values.max())
            assert len({line.get_marker() for line in lines}) == 7
    assert axes[0, 0].get_ylabel() == "modes hit, of 8" and "seconds" in axes[1, 1].get_xlabel()
    with pytest.raises(ValueError, match="no runs"):
        lib.budget_chart([], 8, "Nothing")


def test_the_search_shows_the_ends_of_all_runs_by_rate():
    figure = FIGURES["search_chart"]()
    for ax in figure.axes:
        dots = [line for line in ax.lines if line.get_marker() not in ("", "None", None)]
        assert len(dots) == 21
        assert [dot.get_ydata()[0] for dot in dots[:3]] == [0.2, 0.7, 0.4]          # the last look, not the first
        assert all(len(dot.get_ydata()) == 2 for dot in dots)
        assert [text.get_text() for text in ax.texts[:3]] == ["1/1", "6/6", "3/3"]
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert labels[:3] == ["3e−4", "1e−3\nminimax", "3e−3"]


def test_the_gap_is_drawn_against_the_distance_with_its_median_slope():
    left, right = FIGURES["distance_chart"]().axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[2.0, 1.0, 0.5], [2.0, 1.0, 0.4]]
    dots, line, few, _ = right.lines
    assert dots.get_xydata().tolist() == [[2.0, 6.0], [1.0, 3.0], [0.5, 1.5]]
    assert line.get_ydata() == pytest.approx(3 * line.get_xdata())
    assert few.get_xydata().tolist() == [[1.0, 2e-3], [0.4, 8e-4]]                  # a gap below 0 has no logarithm
    assert right.get_xscale() == right.get_yscale() == "log"


def test_progress_has_a_line_a_seed_and_one_scale_for_the_distances():
    figure = FIGURES["progress_chart"]()
    axes = np.array(figure.axes).reshape(2, 2)
    for column, runs in zip(axes.T, DIGITS.values(), strict=True):
        for ax, key in zip(column, ("loss", "fréchet"), strict=True):
            assert [line.get_ydata().tolist() for line in ax.lines] == [run[key] for run in runs]
    assert axes[1, 0].get_ylim() == axes[1, 1].get_ylim() == pytest.approx((72.0, 1125.0))
    assert axes[0, 0].get_ylabel() == "loss of D (nats)" and axes[0, 1].get_ylabel() == "gap"
