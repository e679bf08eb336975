"""Chapter 05's pictures draw without a warning, name their axes, and show the numbers that they were given."""


import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import draws_and_names_its_axes, has_all_words_on_it

from course_lib import plots
from course_lib.divergences import (
    Apart,
    emd,
    gaussians_apart,
    kantorovich_dual,
    kantorovich_potential,
    lines_apart,
    transport_cost,
    uniforms_apart,
    wasserstein_1d,
)

mpl.use("Agg")
THETA = torch.arange(-20, 21, dtype=torch.float64) / 10


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


PAIRS = {"lines": lines_apart(THETA), "Gaussians": gaussians_apart(THETA), "uniforms": uniforms_apart(THETA)}
LINE = torch.linspace(-3, 3, 25, dtype=torch.float64)
P, Q = (-(LINE - 1).square()).softmax(0), (-(LINE + 0.5).square() / 2).softmax(0)
ORDERED = emd(P, Q, (LINE[:, None] - LINE).square()).plan
X, Y = normal(6, 2), 2 + normal(6, 2, seed=1)
BEST = emd(None, None, transport_cost(X, Y)).plan
HEAPS = torch.tensor([[0.5, 0.0], [0.1, 0.4]], dtype=torch.float64)        # of (0, 0) and (0, 1) to (1, 0) and (1, 1)
CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


def potential(rows=11, columns=13):
    """The potential of X and Y over a grid from −4 to 5 and from −3 to 6."""
    across, up = torch.linspace(-4, 5, columns).double(), torch.linspace(-3, 6, rows).double()
    plane = torch.stack(torch.meshgrid(across, up, indexing="xy"), -1).view(-1, 2)
    g = kantorovich_dual(None, None, transport_cost(X, Y)).g
    return kantorovich_potential(transport_cost(plane, Y), g).view(rows, columns)


def draw_potential(panels, **more):
    return plots.potential_chart(panels, X, Y, (-4, 5, -3, 6), "The potential", **more)


ALONG = torch.linspace(0, 1, 5).double() * torch.tensor([[1.0], [2.0]]).double()
CURVES = {"exact": LINE.abs(), "critic": 0.5 * LINE.abs() + 9}
ROWS = [{"step": step, "gap": gap, "K": K} for step, gap, K in ((1, 0.2, 0.5), (10, 1.2, 1.5), (100, 2.0, 2.5))]
NARROW = {"data": P, "made": (-9 * LINE.square()).softmax(0)}
LOGITS = {"before": (torch.zeros(10), torch.zeros(30)), "after": (torch.full((10,), 6.0), torch.full((30,), -99.0))}
SIZES = [{"loss": loss, "step": step, "sizes": size * torch.tensor([1.0, 2.0, 4.0]) * (1 + seed)}
         for seed in (0, 1) for loss, size in (("a", 0.1), ("b", 3.0)) for step in (8, 3)]
MOVES = [{"D, 1": normal(6, 2), "D, 2": torch.zeros(6, 2)}, {"f, 1": X, "f, 2": -X}]

FIGURES = {
    "apart_chart": lambda: plots.apart_chart(PAIRS, "Three distances"),
    "apart_chart, one": lambda: plots.apart_chart({"G": PAIRS["Gaussians"]}, "Three distances", top=5, steepest=3),
    "plan_matrix": lambda: plots.plan_matrix(LINE, P, LINE, Q, ORDERED, "In order"),
    "plan_matrix, other places": lambda: plots.plan_matrix(
        LINE[:3], P[:3] / P[:3].sum(), LINE[5:9], Q[5:9] / Q[5:9].sum(),
        torch.outer(P[:3] / P[:3].sum(), Q[5:9] / Q[5:9].sum()), "All to all"),
    "plan_arrows": lambda: plots.plan_arrows({"best": (X, Y, BEST), "other": (X, Y, BEST.flip(0))}, "No crossing"),
    "plan_arrows, masses": lambda: plots.plan_arrows({"heaps": (CORNERS[:2], CORNERS[2:], HEAPS)}, "Few routes", True),
    "potential_chart": lambda: draw_potential({"exact": potential(), "shifted": potential() + 7}),
    "potential_chart, routes": lambda: draw_potential({"exact": potential()}, plan=BEST, along=(ALONG, 0.9 * ALONG)),
    "critic_chart": lambda: plots.critic_chart(LINE, CURVES, {"data": P, "made": Q}, "A critic", ROWS, 0.9),
    "critic_chart, no rows": lambda: plots.critic_chart(LINE, CURVES, NARROW, "A critic"),
    "parting_histograms": lambda: plots.parting_histograms(LOGITS, "They part"),
    "gradient_sizes": lambda: plots.gradient_sizes(SIZES, "Sizes"),
    "gradient_at_samples": lambda: plots.gradient_at_samples(MOVES, Y, X, "Directions"),
    "noise_chart": lambda: plots.noise_chart({"none": PAIRS["lines"], "some": PAIRS["Gaussians"]}, "Noise"),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


@each_figure
def test_a_figure_draws_without_a_warning_names_its_axes_and_leaves_the_style(draw, tmp_path):
    draws_and_names_its_axes(draw, tmp_path)


@each_figure
def test_nothing_is_cut_off(draw):
    has_all_words_on_it(draw, apart=False)


# --- what they show --------------------------------------------------------------------------------------------------

def test_apart_shows_values_and_derivatives_and_says_where_there_are_none():
    axes = np.array(FIGURES["apart_chart"]().axes).reshape(3, 2)
    for (left, right), (name, apart) in zip(axes, PAIRS.items(), strict=True):
        assert left.get_title(loc="left") == name
        columns = [apart.kl.where(apart.kl.isfinite(), torch.nan), apart.js.clone(), apart.w1]
        if name == "lines":                             # at θ = 0 JS jumps: a dot for what it is, a ring in the line
            columns[1][20] = torch.nan
            (_, zero), (_, beside) = left.collections[0].get_offsets()
            assert (zero, beside) == (0, pytest.approx(np.log(2))) and len(left.collections) == 1
            filled, ring = left.collections[0].get_facecolors()
            assert ring.tolist() == [1, 1, 1, 1] != filled.tolist()
        else:
            assert not left.collections
        for line, column in zip(left.lines, columns, strict=True):
            assert line.get_ydata() == pytest.approx(column.numpy(), nan_ok=True)
            assert line.get_xdata() == pytest.approx(THETA.numpy())
        for line, column in zip(right.lines, apart[4:], strict=True):
            assert line.get_ydata() == pytest.approx(column.numpy(), nan_ok=True)
        assert [len(ax.texts) for ax in (left, right)] == ([0, 0] if name == "Gaussians" else [1, 1])
        assert left.get_ylim()[1] == 3 and right.get_ylim() == (-1.4, 1.4)
    assert len({line.get_linestyle() for line in axes[0, 0].lines}) == 3            # told apart without colour
    assert axes[0, 0].texts[0].get_text() == "KL = ∞ except at θ = 0"
    never = lines_apart(THETA[:20])
    assert plots.apart_chart({"never 0": never}, "t").axes[0].texts[0].get_text() == "KL = ∞"
    left, right = FIGURES["apart_chart, one"]().axes
    assert left.get_ylim()[1] == 5 and right.get_ylim() == (-3, 3)


def test_a_plan_on_a_line_shows_masses_and_the_area_between_the_cdfs():
    figure = FIGURES["plan_matrix"]()
    matrix, above, beside, area = figure.axes
    shown = matrix.collections[0].get_array()
    assert np.ma.filled(shown.reshape(25, 25), 0) == pytest.approx(ORDERED.numpy())
    assert (shown.mask.reshape(25, 25) == (ORDERED.numpy() == 0)).all()
    little, much = (np.mean(matrix.collections[0].to_rgba(v)[:3]) for v in (1e-9, ORDERED.max().item()))
    assert 0.95 > little > much + 0.3                                               # not white, and darker for more
    # Rows are x, upwards; columns are y, to the right.
    assert matrix.get_ylabel() == "" and "y" in matrix.get_xlabel() and "x" in beside.get_ylabel()
    assert above.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(Q.max().item())
    assert beside.collections[0].get_paths()[0].vertices[:, 0].max() == pytest.approx(P.max().item())
    p, q = area.lines
    assert p.get_ydata()[[0, 12, 24]] == pytest.approx(P.cumsum(0)[[0, 12, 24]].numpy())
    assert q.get_ydata()[[0, 12, 24]] == pytest.approx(Q.cumsum(0)[[0, 12, 24]].numpy())
    written = area.get_legend().get_texts()[0].get_text()
    assert written == f"area between them: {wasserstein_1d(LINE, LINE, P, Q):.3f}"
    assert p.get_label().startswith("$F_p$, the share of p") and q.get_label().startswith("$F_q$, the share of q")
    area = FIGURES["plan_matrix, other places"]().axes[3]
    exact = wasserstein_1d(LINE[:3], LINE[5:9], P[:3] / P[:3].sum(), Q[5:9] / Q[5:9].sum())
    assert area.get_legend().get_texts()[0].get_text() == f"area between them: {exact:.3f}"
    with pytest.raises(ValueError, match=r"plan has shape \(25, 24\); with 25 masses and 25 to go to"):
        plots.plan_matrix(LINE, P, LINE, Q, ORDERED[:, 1:], "t")


def test_routes_join_the_points_that_the_plan_joins():
    best, other = FIGURES["plan_arrows"]().axes
    for ax, plan in ((best, BEST), (other, BEST.flip(0))):
        i, j = plan.nonzero(as_tuple=True)
        expected = torch.stack([X[i], Y[j]], 1).numpy()
        assert np.array(ax.collections[0].get_segments()) == pytest.approx(expected)
        assert [line.get_xydata().tolist() for line in ax.lines] == [X.tolist(), Y.tolist()]
    assert [ax.get_title(loc="left") for ax in (best, other)] == ["best", "other"]
    assert not best.texts and len(set(best.collections[0].get_linewidths())) == 1       # equal masses, equal widths
    ax, = FIGURES["plan_arrows, masses"]().axes
    numbers, written = [t for t in ax.texts if isinstance(t, mpl.text.Annotation)], ax.texts[:3]
    assert [text.get_text() for text in written] == ["0.5", "0.1", "0.4"]
    assert written[1].get_position() == pytest.approx((0.27, 0.73))                 # nearer to its heap
    assert [(text.get_text(), *text.xy) for text in numbers] == [("1", 0, 0), ("2", 0, 1), ("1", 1, 0), ("2", 1, 1)]
    names = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert names == ["route taken", "x, the heaps", "y, the holes"]
    thick, thin, middle = ax.collections[0].get_linewidths()
    assert thick > middle > thin
    with pytest.raises(ValueError, match=r"plan has shape \(2, 2\); from 2 points to 6"):
        plots.plan_arrows({"a": (CORNERS[:2], Y, HEAPS)}, "t")


def test_potentials_are_drawn_less_their_mean_on_one_scale():
    first, second, bar = FIGURES["potential_chart"]().axes
    assert np.array_equal(first.collections[0].levels, second.collections[0].levels)
    assert np.unique(np.diff(first.collections[0].levels).round(9)).size == 1           # evenly spaced
    for one, other in zip(first.collections[0].get_paths(), second.collections[0].get_paths(), strict=True):
        assert one.vertices == pytest.approx(other.vertices)                            # a constant does not count
    assert first.get_xlim() == (-4, 5) and first.get_ylim() == (-3, 6)
    assert [line.get_xydata().tolist() for line in first.lines] == [X.tolist(), Y.tolist()]
    words = [text.get_text() for text in first.figure.legends[0].get_texts()]
    assert words == ["x: f is to be high", "y: f is to be low"] and "units of x" in bar.get_ylabel()


def test_a_potential_stands_upright():
    rising = torch.linspace(0, 1, 11)[:, None].expand(11, 13)                           # low at the bottom
    ax = plots.potential_chart({"f": rising}, X, Y, (-4, 5, -3, 6), "t").axes[0]
    drawn = [(k, path.vertices[:, 1].mean()) for k, path in enumerate(ax.collections[0].get_paths()) if len(path)]
    assert [height for _, height in drawn] == sorted(height for _, height in drawn) and len(drawn) > 3


def test_routes_and_the_rise_along_them():
    plane, along, _ = FIGURES["potential_chart, routes"]().axes
    i, j = BEST.nonzero(as_tuple=True)
    segments = next(c for c in plane.collections if isinstance(c, mpl.collections.LineCollection)).get_segments()
    assert np.array(segments) == pytest.approx(torch.stack([X[i], Y[j]], 1).numpy())
    for line, walked in zip(along.lines, ALONG, strict=False):
        assert line.get_xydata() == pytest.approx(torch.stack([walked, 0.9 * walked], 1).numpy())
    assert along.lines[2].get_xydata().tolist() == [[1.0, 0.9], [2.0, 1.8]]             # the ends
    assert along.lines[3].get_xydata().tolist() == [[0, 0], [2, 2]] and along.lines[3].get_label() == "slope 1"
    with pytest.raises(ValueError, match=r"plan has shape \(5, 6\)"):
        draw_potential({"f": potential()}, plan=BEST[1:])
    with pytest.raises(ValueError, match=r"must have values \(rows, columns\)"):
        draw_potential({"f": potential().flatten()})


def test_critics_are_laid_over_the_exact_one_and_their_gap_is_divided_by_k():
    left, right = FIGURES["critic_chart"]().axes
    exact, critic = left.lines
    assert exact.get_ydata() == pytest.approx((LINE.abs() - LINE.abs() @ (P + Q) / 2).numpy())     # under both
    assert critic.get_ydata() == pytest.approx(0.5 * exact.get_ydata())
    assert exact.get_linewidth() > critic.get_linewidth() and exact.get_linestyle() != critic.get_linestyle()
    floor, data, made = left.get_ylim()[0], *(c.get_paths()[0].vertices[:, 1] for c in left.collections)
    assert data.min() == made.min() == pytest.approx(floor)
    assert (made.max() - floor) / (data.max() - floor) == pytest.approx((Q.max() / P.max()).item())
    assert max(data.max(), made.max()) < exact.get_ydata().min()                        # below the curves
    drawn = {line.get_label(): line for line in right.lines}
    assert list(drawn["W₁ = 0.90"].get_ydata()) == [0.9, 0.9]
    for label, values in (("gap of f", [0.2, 1.2, 2.0]), ("gap / K, a lower bound of W₁", [0.4, 0.8, 0.8]),
                          ("K, the steepest slope of f", [0.5, 1.5, 2.5])):
        assert drawn[label].get_xydata() == pytest.approx(np.array([[1, 10, 100], values]).T)
    assert right.get_xscale() == "log"
    alone, = FIGURES["critic_chart, no rows"]().axes
    exact, critic = alone.lines
    assert critic.get_ydata() == pytest.approx(0.5 * exact.get_ydata())


def test_where_there_are_no_samples_a_critic_s_chart_is_grey():
    ax, = FIGURES["critic_chart, no rows"]().axes
    assert [c.get_label() for c in ax.collections] == ["data", "made", "next to no samples"]
    both = P + NARROW["made"]
    empty = (both < 0.01 * both.max()).numpy()
    assert 0 < empty.sum() < len(empty)
    shaded = np.zeros_like(empty)
    for path in ax.collections[2].get_paths():
        inside = (LINE.numpy() >= path.vertices[:, 0].min()) & (LINE.numpy() <= path.vertices[:, 0].max())
        shaded |= inside
    assert (shaded == empty).all()


def test_histograms_are_shares_on_log_odds_and_nothing_falls_out():
    before, after = FIGURES["parting_histograms"]().axes
    for ax, middles in ((before, (0.25, 0.25)), (after, (6.25, -15.75))):               # bins of ½, up to ±16
        real, made = ax.containers
        for bars, middle in zip((real, made), middles, strict=True):
            (full,) = [bar for bar in bars if bar.get_height() > 0]
            assert full.get_height() == pytest.approx(1)
            assert full.get_x() + full.get_width() / 2 == pytest.approx(middle)
        assert real[0].get_hatch() != made[0].get_hatch() and ax.get_ylim() == before.get_ylim()
        odds = dict(zip((label.get_text() for label in ax.get_xticklabels()), ax.get_xticks(), strict=True))
        assert odds["½"] == 0 and odds["0.99"] == pytest.approx(np.log(99)) == pytest.approx(-odds["0.01"])
        assert 1 / (1 + np.exp(-odds["10⁻⁴"])) == pytest.approx(1e-4)
        assert 1 / (1 + np.exp(odds["1−10⁻⁶"])) == pytest.approx(1e-6)
    assert [text.get_text() for text in before.figure.legends[0].get_texts()] == ["real", "generated"]


def test_sizes_are_medians_over_samples_and_seeds_within_their_range():
    ax, = FIGURES["gradient_sizes"]().axes
    for line, band, size in zip(ax.lines, ax.collections, (0.1, 3.0), strict=True):
        assert line.get_xydata() == pytest.approx(np.array([[3, 3 * size], [8, 3 * size]]))  # of 1, 2, 4 and 2, 4, 8
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx((size, 8 * size))
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_arrows_show_directions_and_headings_sizes():
    axes = FIGURES["gradient_at_samples"]().axes
    arrows = [next(c for c in ax.collections if isinstance(c, mpl.quiver.Quiver)) for ax in axes]
    assert np.array(arrows[2].get_offsets()) == pytest.approx(X.numpy())
    unit = (X / X.norm(dim=1, keepdim=True)).numpy()
    assert np.stack([arrows[2].U, arrows[2].V], 1) == pytest.approx(unit)
    assert np.stack([arrows[3].U, arrows[3].V], 1) == pytest.approx(-unit)
    assert not np.any(arrows[1].U) and not np.any(arrows[1].V)                          # no move, no arrow, no NaN
    names = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert names == ["data", "generated", "up", "down", "left", "right"]
    drawn = {name: handle.get_color() for name, handle in
             zip(names[2:], axes[0].figure.legends[0].legend_handles[2:], strict=True)}
    assert len(set(drawn.values())) == 4
    for (a, b), colour in zip(X.tolist(), arrows[2].get_facecolors(), strict=True):
        towards = ("right" if a > 0 else "left") if abs(a) > abs(b) else ("up" if b > 0 else "down")
        assert mpl.colors.to_hex(colour) == mpl.colors.to_hex(drawn[towards])
    size = X.norm(dim=1).numpy()
    assert axes[2].get_title(loc="left") == f"f, 1\nsize {np.median(size):.2g} ({size.min():.2g} to {size.max():.2g})"
    assert [line.get_xydata().tolist() for line in axes[0].lines] == [Y.tolist(), X.tolist()]


def test_noise_shows_js_and_its_derivative():
    left, right = FIGURES["noise_chart"]().axes
    for k, apart in enumerate((PAIRS["lines"], PAIRS["Gaussians"])):
        assert left.lines[k].get_xydata() == pytest.approx(torch.stack([THETA, apart.js], 1).numpy())
        assert right.lines[k].get_ydata() == pytest.approx(apart.djs.numpy(), nan_ok=True)
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()
    assert isinstance(PAIRS["lines"], Apart)
