"""The clinic's pictures show the runs that they were given, the ill beside the cured."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import draws_and_names_its_axes, has_all_words_on_it

from course_lib import plots
from course_lib.plots import clinic as lib
from course_lib.recipes.clinic import SYMPTOMS

mpl.use("Agg")
VITALS = {"loss of D": 1.2, "loss of G": 0.8, "D(x)": 0.6, "D(G(z))": 0.4, "gradient": 0.5, "G moved": 0.2,
          "D moved": 0.3, "spread": 0.9, "near": 7}
ROWS = [{"symptom": symptom, "case": case, "seed": seed, "step": [20, 40, 60]} |
        {key: [value, value * (1 + 0.1 * seed), 0.0 if key == "gradient" and k == 0 else value / (1 + k)]
         for key, value in VITALS.items()}
        for symptom, spec in SYMPTOMS.items() for k, case in enumerate(spec.cases) for seed in (0, 1)]
PIXELS = {"ill": (torch.tensor([-1.0, -1.0, 0.9, -1.0]), torch.tensor([0.1, 0.4])),
          "cured": (torch.rand(50), torch.rand(60))}
FIGURES = {f"symptom_chart, {name}": lambda name=name: lib.symptom_chart(ROWS, name, "One change, ill and cured")
           for name in SYMPTOMS} | {
    "symptom_chart, three cases": lambda: lib.symptom_chart(ROWS, "sign", "Three", cases=3),
    "clinic_chart": lambda: lib.clinic_chart(ROWS, "Eight ways"),
    "range_histograms": lambda: lib.range_histograms(PIXELS, "Ranges"),
}
VARIED = [name for name in FIGURES if name.split(", ")[-1] not in set(SYMPTOMS) - {"slope", "sigmoid"}]
each_figure = pytest.mark.parametrize("draw", [FIGURES[name] for name in VARIED], ids=VARIED)   # of each sort one


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


def of(symptom, k):
    case = list(SYMPTOMS[symptom].cases)[k]
    return [row for row in ROWS if (row["symptom"], row["case"]) == (symptom, case)]


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) == 3]


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_stands_left_and_its_cure_right_a_line_a_seed(symptom):
    spec = SYMPTOMS[symptom]
    axes = np.array(FIGURES[f"symptom_chart, {symptom}"]().axes).reshape(len(spec.panels), 2)
    for k, (column, case) in enumerate(zip(axes.T, spec.cases, strict=False)):
        assert column[0].get_title(loc="left") == f"{('ill', 'cured')[k]}: {case}"
        for ax, keys in zip(column, spec.panels, strict=True):
            expected = [row[key] for key in keys for row in of(symptom, k)]
            assert len(curves(ax)) == len(expected)
            for line, values in zip(curves(ax), expected, strict=True):
                assert list(line.get_xdata()) == [20, 40, 60]
                low = lib.LOWEST if ax.get_yscale() == "log" else -np.inf
                assert line.get_ydata() == pytest.approx(np.clip(values, low, None))
            assert ax.get_yscale() == spec.scales.get(keys[0], "linear")
    for row in axes:
        assert row[0].get_ylim() == row[1].get_ylim()


def test_the_page_shows_each_tell_tale_ill_in_red_and_cured_in_blue():
    axes = FIGURES["clinic_chart"]().axes
    assert len(axes) == len(SYMPTOMS) == 8
    for ax, (symptom, spec) in zip(axes, SYMPTOMS.items(), strict=True):
        assert ax.get_title(loc="left").startswith(symptom)
        drawn = curves(ax)
        assert [line.get_color() for line in drawn] == [lib.RED] * 2 + [lib.BLUE] * 2
        assert len({line.get_linestyle() for line in drawn}) == 2
        key = spec.panels[-1][0]
        for line, row in zip(drawn, of(symptom, 0) + of(symptom, 1), strict=True):
            assert line.get_ydata()[:2] == pytest.approx(row[key][:2])


def test_histograms_are_shares_of_all_values():
    left, right = FIGURES["range_histograms"]().axes
    for ax in (left, right):
        heights = [sum(bar.get_height() for bar in bars) for bars in ax.containers]
        assert heights == pytest.approx([1, 1])
    first = left.containers[0][0]
    assert first.get_x() == pytest.approx(-1) and first.get_height() == pytest.approx(0.75)


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"symptom.*flu"):
        lib.symptom_chart(ROWS, "flu", "t")
    with pytest.raises(ValueError, match="no rows of 'rate'"):
        lib.symptom_chart([], "rate", "t")
    with pytest.raises(ValueError, match="no panels"):
        lib.range_histograms({}, "t")
