"""Chapter 06's pictures draw without a warning, name their axes, and show the numbers that they were given."""


import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import draws_and_names_its_axes, has_all_words_on_it

from course_lib import plots
from course_lib.plots import wasserstein as lib

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


AT = torch.linspace(-2, 2, 41, dtype=torch.float64)
CONE = (AT[:, None].square() + AT.square()).sqrt()
SLOPE = (AT[None] + 0 * AT[:, None])[:31]               # 31 rows, rises to the right
X, Y = normal(9, 2), 2 + normal(6, 2, seed=1)
PANELS = {"cone": CONE, "twice": 2 * CONE, "other": -CONE, "fourth": CONE + 7}
WEIGHTS = {"clipped": (torch.tensor([-0.1, -0.1, 0.1, 0.02]), 0.1), "free": (torch.tensor([-3.0, 1.0, 2.0]), None)}
NORMS = {"c = 1": torch.tensor([1e4, 1e3, 1e2]), "c = 0.1": torch.tensor([1e-8, 1e-4, 1.0])}
LAWS = {"a law": torch.tensor([1e-9, 1e-5, 1.0])}
ROWS = [{"c": c, "K": K, "bound": 5 * K, "gap": 0.1 * K, "W₁": 0.4} for c, K in ((0.01, 1e-4), (0.1, 1.0), (1.0, 1e4))]
SLOPES = {"narrow": torch.linspace(0.9, 1.1, 20), "wide": torch.tensor([0.0, 0.5, 1.0, 9.0])}
CURVES = {"half": (0.3 * 0.0625 ** torch.arange(14.0, dtype=torch.float64), 0.0625),
          "slow": (0.5 * 0.8 ** torch.arange(14.0, dtype=torch.float64), 0.8)}
FIGURES = {
    "surface_chart": lambda: lib.surface_chart(PANELS, X, Y, (-2, 2, -2, 2), "Four surfaces"),
    "surface_chart, one": lambda: lib.surface_chart({"slope": SLOPE}, X, Y, (-2, 2, 0, 3), "A surface", apart=0.5),
    "surface_chart, two": lambda: lib.surface_chart(dict(list(PANELS.items())[:2]), X, Y, (-2, 2, -2, 2), "Two"),
    "weight_histograms": lambda: lib.weight_histograms(WEIGHTS, "Weights"),
    "layer_chart": lambda: lib.layer_chart(NORMS, "Layers"),
    "layer_chart, laws": lambda: lib.layer_chart(NORMS, "Layers", LAWS),
    "clip_chart": lambda: lib.clip_chart(ROWS, "K can be anything"),
    "slope_histograms": lambda: lib.slope_histograms(SLOPES, "Slopes"),
    "convergence_chart": lambda: lib.convergence_chart(CURVES, "It converges"),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


@each_figure
def test_a_figure_draws_without_a_warning_and_names_its_axes(draw, tmp_path):
    draws_and_names_its_axes(draw, tmp_path)


@each_figure
def test_nothing_is_cut_off_and_no_words_lie_on_others(draw):
    has_all_words_on_it(draw)


# --- what they show --------------------------------------------------------------------------------------------------

def levels_of(ax):
    filled, lines = (kind for kind in ax.collections if isinstance(kind, mpl.contour.QuadContourSet))
    assert filled.filled and not lines.filled and list(filled.levels) == list(lines.levels)
    return filled


def test_surfaces_have_level_lines_as_far_apart_in_all_panels():
    figure = FIGURES["surface_chart"]()
    for ax, (name, values) in zip(figure.axes, PANELS.items(), strict=False):
        filled = levels_of(ax)
        assert ax.get_title(loc="left") == name
        assert np.diff(filled.levels) == pytest.approx(0.1)
        assert filled.levels[0] <= values.min() and filled.levels[-1] >= values.max()
        assert filled.levels[1] > values.min() - 0.1 and filled.levels[-3] < values.max()
        fakes, data = ax.lines
        assert data.get_xydata() == pytest.approx(X.numpy()) and fakes.get_xydata() == pytest.approx(Y.numpy())
        assert (data.get_label(), fakes.get_label()) == ("data", "fakes") and data.get_marker() != fakes.get_marker()
        assert ax.get_aspect() == 1 and (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-2, 2))
    assert [ax.get_visible() for ax in figure.axes] == [True] * 4 + [False] * 2
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False, True, True, True, False, False]
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["data", "fakes", "f/K, a line each 0.1 units of x"]


def test_rows_of_a_surface_go_up_and_columns_to_the_right():
    ax, = FIGURES["surface_chart, one"]().axes
    assert ax.get_ylim() == (0, 3) and np.diff(levels_of(ax).levels) == pytest.approx(0.5)
    lines = levels_of(ax).axes.collections[1]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        if len(path.vertices) and -2 < level < 2:
            assert path.vertices[:, 0] == pytest.approx(level) and np.ptp(path.vertices[:, 1]) == pytest.approx(3)
    with pytest.raises(ValueError, match="on a grid"):
        lib.surface_chart({"flat": CONE.flatten()}, X, Y, (-2, 2, -2, 2), "A surface")


def test_weights_are_shares_between_the_walls():
    clipped, free = FIGURES["weight_histograms"]().axes
    heights = [patch.get_height() for patch in clipped.patches]
    assert sum(heights) == pytest.approx(1) and (heights[0], heights[-1]) == (0.5, 0.25)
    assert clipped.get_title(loc="left") == "clipped\n75% of them at ±c" and free.get_title(loc="left") == "free"
    assert [label.get_text() for label in clipped.get_xticklabels()] == ["−0.1", "0", "0.1"]
    assert [label.get_text() for label in free.get_xticklabels()] == ["−3", "0", "3"]
    assert sum(patch.get_height() for patch in free.patches) == pytest.approx(1)
    assert free.patches[0].get_height() == pytest.approx(1 / 3) and free.patches[0].get_hatch()


def test_layers_run_from_the_input_on_a_log_axis():
    for name, laws in (("layer_chart", {}), ("layer_chart, laws", LAWS)):
        ax, = FIGURES[name]().axes
        drawn = [line for line in ax.lines if len(line.get_ydata()) == 3]
        for line, wanted in zip(drawn, [*laws.values(), *NORMS.values()], strict=True):
            assert line.get_ydata() == pytest.approx(wanted.numpy()) and list(line.get_xdata()) == [0, 1, 2]
        assert ax.get_yscale() == "log" and [text.get_text() for text in ax.texts] == list(laws)
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(NORMS)
        curves = drawn[len(laws):]
        assert len({line.get_linestyle() for line in curves}) == len({line.get_marker() for line in curves}) == 2
        assert list(ax.get_xticks()) == [0, 1, 2] and any(list(line.get_ydata()) == [1, 1] for line in ax.lines)


def test_clip_shows_slope_and_bound_and_the_share_that_is_seen():
    left, right = FIGURES["clip_chart"]().axes
    bound, K = left.lines[:2]
    assert K.get_ydata() == pytest.approx([1e-4, 1, 1e4]) and bound.get_ydata() == pytest.approx([5e-4, 5, 5e4])
    assert (left.get_xscale(), left.get_yscale(), right.get_xscale()) == ("log",) * 3
    assert list(K.get_xdata()) == list(right.lines[0].get_xdata()) == [0.01, 0.1, 1.0]
    assert right.lines[0].get_ydata() == pytest.approx([0.25] * 3) and right.get_ylim() == (0, 1)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert "bound" in labels[0] and labels[1].startswith("K")


def test_slopes_beyond_the_axis_are_in_the_last_bin():
    narrow, wide = FIGURES["slope_histograms"]().axes
    heights = [patch.get_height() for patch in wide.patches]
    assert sum(heights) == pytest.approx(1) and heights[0] == heights[-1] == heights[10] == heights[20] == 0.25
    assert wide.get_title(loc="left") == "wide\nmedian 0.75, to 9" and wide.get_xlim() == (0, 2)
    inside = [patch for patch in narrow.patches if patch.get_height()]
    assert sum(patch.get_height() for patch in inside) == pytest.approx(1)
    assert all(0.84 < patch.get_x() < 1.11 for patch in inside)
    assert all(list(ax.lines[0].get_xdata()) == [1, 1] for ax in (narrow, wide))
    assert wide.patches[0].get_hatch() != narrow.patches[0].get_hatch()


def test_convergence_lies_on_its_law_and_leaves_rounding_out():
    ax, = FIGURES["convergence_chart"]().axes
    for (name, (missing, factor)), points, law in zip(CURVES.items(), ax.lines[::2], ax.lines[1::2], strict=True):
        seen = missing.numpy() > 1e-13
        assert points.get_ydata() == pytest.approx(missing.numpy()[seen]) and points.get_label() == name
        assert list(points.get_xdata()) == list(np.arange(1, 15)[seen]) and points.get_linestyle() == "None"
        assert law.get_ydata() == pytest.approx(missing.numpy(), rel=1e-6)
        assert law.get_label() == f"factor {factor:.2g} at each" and law.get_color() == points.get_color()
    assert len(ax.lines[0].get_ydata()) == 11 and ax.get_yscale() == "log"
    _, law = lib.convergence_chart({"off": (torch.tensor([0.9, 0.5, 0.01]), 0.1)}, "It converges").axes[0].lines
    assert law.get_ydata() == pytest.approx([1.0, 0.1, 0.01])           # through the last point
