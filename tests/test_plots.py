"""Every picture draws from small inputs without a warning, says what its axes are, and shows what it was given."""

import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib import plots
from course_lib.metrics import level_set
from course_lib.plots import charts, images, latent, style

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(n, c=1, size=6):
    return torch.rand(n, c, size, size, generator=torch.Generator().manual_seed(n))


def decode(z):
    return torch.sigmoid(z.sum(1)).view(-1, 1, 1, 1).expand(-1, 1, 6, 6)


CODES, LABELS = normal(200, 2), torch.arange(200) % 10
BOX = (torch.tensor([-2.0, -1.0]), torch.tensor([2.0, 3.0]))
SCORES = {name: 1 + normal(64, seed=k) for k, name in enumerate(["empty", "far", "unsure"])}
SETS = {c: level_set(CODES[c::3] + 3 * c) for c in range(3)}
SHIFTS = [{"shift": s, "a blank image": s / 6, "the nearest digit of another class": s / 7} for s in range(7)]
HOLES = [{"latents": d, "seed": s, "z from": rule, "empty": d / 20, "far": s / 10, "unsure": 0.3, "area ratio": 5.0}
         for d in (2, 8, 16) for s in (0, 1, 2) for rule in ("normal", "box", "fitted", "mixture", "test codes")]
COMPRESSION = [{"latents": d, "PCA": 40 / d, "linear autoencoder": 41 / d, "autoencoder": 20 / d} for d in (2, 4, 8)]
FEW = [{"features": name, "labels a class": n, "accuracy": 0.3 + n / 1000, "sd over draws": 0.02}
       for name in ("raw pixels", "PCA", "codes") for n in (1, 10, 100)]

FIGURES = {
    "loss_curves": lambda: plots.loss_curves({"AE": [3.0, 2, 1], "denoiser": [4.0, 3, 2]}, "Losses fall", "loss"),
    "loss_curves, one": lambda: plots.loss_curves({"AE": [3.0, 2, 1]}, "The loss falls", "loss (squared)"),
    "signals": lambda: plots.signals({"data": {"mean": torch.rand(9), "some": torch.rand(3, 9)},
                                      "answer": {"the best": torch.rand(9)}}, "A ramp", "pixel", "ink"),
    "shift_chart": lambda: plots.shift_chart(SHIFTS, "Shifts"),
    "hole_chart": lambda: plots.hole_chart(HOLES, "Holes"),
    "confidence_histogram": lambda: plots.confidence_histogram(
        {"test digits": torch.rand(50), "decoded": torch.rand(70)}, 0.6, "How sure"),
    "compression_chart": lambda: plots.compression_chart(COMPRESSION, "Compression"),
    "few_labels_chart": lambda: plots.few_labels_chart(FEW, "Few labels"),
    "image_rows": lambda: plots.image_rows({"digit": pictures(4), "decoded": pictures(3)}, "Pairs",
                                           {"decoded": ["a", "b", "c"]}),
    "image_rows, in colour": lambda: plots.image_rows({"face": pictures(2, 3)}, "Faces"),
    "image_rows, with a legend": lambda: plots.image_rows({"parts": pictures(2, 3)}, "Parts",
                                                          legend=plots.PART_COLOURS),
    "image_grids": lambda: plots.image_grids({"one": pictures(10), "other": pictures(3, 3)}, "Samples", columns=4),
    "latent_plane": lambda: plots.latent_plane(CODES, LABELS, decode, BOX, "The plane", cells=5),
    "latent_planes": lambda: plots.latent_planes({"one": (CODES, decode, BOX), "other": (CODES, decode, BOX)}, LABELS,
                                                 "Planes", cells=5),
    "hole_maps": lambda: plots.hole_maps(SCORES, CODES, BOX, "Where the holes are"),
    "hole_maps, no hole": lambda: plots.hole_maps(
        {"empty": torch.full((64,), 0.3), "far": SCORES["far"]}, CODES, BOX, "No hole at the left"),
    "hole_maps, all hole": lambda: plots.hole_maps(
        {"empty": torch.full((64,), 3.0), "far": SCORES["far"]}, CODES, BOX, "All hole at the left"),
    "hole_maps, one": lambda: plots.hole_maps({"empty": SCORES["empty"]}, CODES, BOX, "One test"),
    "walk": lambda: plots.walk(torch.linspace(-1, 1, 30)[:, None].repeat(1, 2), pictures(30),
                               {name: score[:30] for name, score in SCORES.items()}, CODES, LABELS, "A walk"),
    "area_chart": lambda: plots.area_chart(SETS, "Areas"),
    "point_map": lambda: latent.point_map(CODES, LABELS, SCORES["unsure"], BOX)[0],
    "explorer_still": lambda: latent.explorer_still(CODES, LABELS, SCORES["unsure"], BOX, (0.5, 1.0), pictures(1)),
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


def has_scale(ax):
    return ax.get_visible() and ax.axison and len(ax.get_xticks()) + len(ax.get_yticks()) > 0


def words_of(ax, axis):
    """An axis's label, or that of the panel it shares its axis with."""
    group = getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)
    return "".join(getattr(other, f"get_{axis}label")() for other in group)


@each_figure
def test_a_figure_draws_without_a_warning_and_names_its_axes(draw, tmp_path):
    before = plt.figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        figure.canvas.draw()
        style.save_svg(figure, tmp_path / "figure.svg")
    assert isinstance(figure, plt.Figure) and plt.get_fignums() == [before.number, figure.number]
    scales = [ax for ax in figure.axes if has_scale(ax) and ax.get_label() != "<colorbar>"]
    for ax in scales:
        for axis in "xy":
            if len(getattr(ax, f"get_{axis}ticks")()):
                assert words_of(ax, axis).strip(), f"no {axis} label on {ax.get_title()!r}"
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            assert ax.get_ylabel()
    titles = [figure.get_suptitle(), *(ax.get_title(loc) for ax in figure.axes for loc in ("left", "center"))]
    assert any(titles)
    # Text is text, so it can be searched, read aloud, and set in the page's type.
    text = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    assert max(titles, key=len) in text
    if scales:
        assert "<text" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


@each_figure
def test_a_figure_changes_no_style_for_those_that_follow(draw):
    before = dict(mpl.rcParams)
    draw()
    assert dict(mpl.rcParams) == before


def test_every_public_picture_is_drawn_here():
    drawn = {name.split(",")[0] for name in FIGURES}
    no_figures = {"PART_COLOURS", "coloured", "grid_of", "save_svg", "signed", "use_style"}
    elsewhere = {"slip_chart", "spectrum_chart",                    # tests/test_restricted.py
                 "bound_chart", "collapse_chart", "estimator_chart", "gap_chart", "manifold", "quantile_grid",
                 "rate_distortion_chart",                           # tests/test_plots_variational.py
                 "balance_chart", "dirac_chart", "discriminator_chart", "game_frames", "gradient_chart", "js_chart",
                 "mode_samples", "modes_chart", "runs_chart", "slope_chart", "value_chart",    # test_plots_games.py
                 "apart_chart", "critic_chart", "gradient_at_samples", "gradient_sizes", "noise_chart",
                 "parting_histograms", "plan_arrows", "plan_matrix", "potential_chart",     # test_plots_divergences.py
                 "two_errors", "vaegan_scheme",                     # tests/test_plots_vaegan_ideas.py
                 "budget_chart", "distance_chart", "progress_chart", "search_chart",           # test_plots_budgets.py
                 "clip_chart", "convergence_chart", "layer_chart", "slope_histograms", "surface_chart",
                 "weight_histograms",                               # test_plots_wasserstein.py
                 "bias_chart", "corruption_chart", "entropy_chart", "gaussian_ellipses", "manifold_chart",
                 "neighbour_chart", "precision_recall_chart", "rank_chart",                     # test_plots_measures.py
                 "edit_chart", "edit_grid", "model_table_chart", "rate_chart", "side_by_side",  # test_plots_vaegan.py
                 "cloud_strip", "guidance_chart", "inpaint_grid", "mode_weights_chart", "noise_rows", "order_chart",
                 "paths_chart", "posterior_chart", "schedule_chart", "score_fields", "steps_chart",
                 "time_loss_chart",                                                            # test_plots_diffusion.py
                 "clinic_chart", "range_histograms", "symptom_chart"}                          # test_plots_clinic.py
    assert set(plots.__all__) - no_figures - elsewhere <= drawn


# --- what they show --------------------------------------------------------------------------------------------------

def test_loss_curves_count_steps_from_1():
    (ax,) = FIGURES["loss_curves"]().axes
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 3], [2, 2], [3, 1]], [[1, 4], [2, 3], [3, 2]]]
    assert len({line.get_linestyle() for line in ax.lines}) == 2  # told apart without colour too
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["AE", "denoiser"]


def test_hole_chart_s_bars_are_the_means_over_seeds():
    panels = FIGURES["hole_chart"]().axes
    assert [ax.get_title(loc="left") for ax in panels] == ["empty", "far", "unsure"]
    for ax, expected in zip(panels, ([0.1, 0.4, 0.8], [0.1, 0.1, 0.1], [0.3, 0.3, 0.3]), strict=True):
        assert len(ax.containers) == 5
        for bars in ax.containers:
            assert [bar.get_height() for bar in bars] == pytest.approx(expected)
    written = [text.get_text() for text in panels[0].texts]
    assert written == ["10%", "40%", "80%"] * 5
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bars in panels[0].containers for bar in bars)
    gaps = [left - right for (_, right), (left, _) in zip(edges[:-1], edges[1:], strict=True)]
    assert min(gaps) > -1e-9  # no bar hides another


def test_confidence_is_drawn_as_its_distribution_function():
    values = torch.tensor([0.9, 0.3, 0.5, 0.7])
    (ax,) = plots.confidence_histogram({"four": values}, 0.6, "t").axes
    assert ax.lines[0].get_xydata() == pytest.approx(np.array([[0.3, 0.25], [0.5, 0.5], [0.7, 0.75], [0.9, 1.0]]))
    assert ax.lines[1].get_xdata() == [0.6, 0.6]


def test_few_labels_chart_shows_every_row_with_its_spread():
    (ax,) = FIGURES["few_labels_chart"]().axes
    assert len(ax.containers) == 3
    for container in ax.containers:
        assert container.lines[0].get_xydata() == pytest.approx(np.array([[1, 0.301], [10, 0.31], [100, 0.4]]))
        (bars,) = container.lines[2]
        assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(0.04)


def test_grid_of_reads_a_box_as_one_reads_a_page():
    grid = latent.grid_of(torch.tensor([0.0, 10.0]), torch.tensor([2.0, 14.0]), 2)
    assert grid.tolist() == [[0.5, 13.0], [1.5, 13.0], [0.5, 11.0], [1.5, 11.0]]


def test_hole_maps_show_a_place_where_it_is():
    cells = 20
    grid = latent.grid_of(*BOX, cells)
    score = torch.where((grid - torch.tensor([1.2, 2.2])).norm(dim=1) < 0.6, 4.0, 0.5)  # a hole at the top right
    ax = plots.hole_maps({"empty": score}, CODES, BOX, "t").axes[0]
    assert ax.get_xlim() == (-2, 2) and ax.get_ylim() == (-1, 3)
    image = ax.images[0]
    assert list(image.get_extent()) == [-2, 2, -1, 3] and image.origin == "upper"
    row, column = np.argwhere(image.get_array() == 2).mean(0)  # log₂ 4
    assert row == pytest.approx(3.5, abs=0.5) and column == pytest.approx(15.5, abs=0.5)
    line, = (c for c in ax.collections if isinstance(c, mpl.contour.QuadContourSet) and not c.filled)
    around = np.concatenate([path.vertices for path in line.get_paths()])
    assert (around.min(0) + around.max(0)) / 2 == pytest.approx([1.2, 2.2], abs=0.2)  # a cell
    assert ax.get_title(loc="left") == f"empty: {(score > 1).float().mean():.0%} of the box"


def test_the_latent_plane_lays_out_what_is_decoded_where_it_was_decoded():
    _, right = plots.latent_plane(CODES, LABELS, decode, BOX, "t", cells=5).axes
    shown = np.asarray(right.images[0].get_array())
    assert list(right.images[0].get_extent()) == [-2, 2, -1, 3] and shown.shape == (30, 30)
    assert shown[2, 27] == shown.max() and shown[27, 2] == shown.min()  # the decoder's ink grows to the top right


def norm_of_draws(n):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).norm(dim=1)


def test_planes_side_by_side_each_have_their_own_codes_decoder_and_box():
    low = (torch.tensor([-1.0, -1.0]), torch.tensor([0.0, 1.0]))
    both = {"a": (CODES, decode, low), "b": (CODES + 9, lambda z: 1 - decode(z), BOX)}
    upper, _, lower, other = plots.latent_planes(both, LABELS, "t", cells=5).axes
    assert "a" in (upper.get_title(), upper.get_title("left"))
    assert upper.get_xlim() == (-1, 0) and upper.get_ylim() == (-1, 1)
    assert list(lower.images[0].get_extent()) == [-1, 0, -1, 1]
    assert list(other.images[0].get_extent()) == [-2, 2, -1, 3]
    circle, = upper.patches
    assert circle.center == (0, 0)
    inside = norm_of_draws(200_000) < circle.radius
    assert inside.double().mean() == pytest.approx(0.9, abs=0.003)                  # 4.5 standard errors
    first, second = (np.asarray(ax.images[0].get_array()) for ax in (lower, other))
    assert first[2, 27] == first.max() and second[2, 27] == second.min()


def test_class_names_stand_at_their_medians():
    _, ax = plt.subplots()
    latent.scatter_codes(ax, CODES, LABELS, most=100)
    assert [text.get_text() for text in ax.texts] == [str(c) for c in range(10)]
    for c, text in enumerate(ax.texts):
        assert text.get_position() == pytest.approx(np.median(CODES[:100][LABELS[:100] == c], 0))
    assert len(ax.collections[0].get_offsets()) == 100
    with pytest.raises(ValueError, match=r"codes has shape \(5, 3\)"):
        latent.scatter_codes(ax, normal(5, 3), torch.zeros(5))


def test_area_chart_puts_the_areas_in_order():
    _, right = FIGURES["area_chart"]().axes
    widths = [bar.get_width() for bar in right.containers[0]]
    assert widths == sorted(widths) and sorted(widths) == pytest.approx(sorted(s.area for s in SETS.values()))


def test_a_mosaic_is_read_row_by_row():
    x = torch.arange(1, 6).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 10
    sheet = images.mosaic(x, columns=3)
    assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1)
    assert [sheet[1, 1], sheet[1, 5], sheet[1, 9], sheet[4, 1], sheet[4, 5]] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (sheet[0] == 1).all() and (sheet[:, 4] == 1).all() and (sheet[4:, 8:] == 1).all()  # white between, and after
    assert images.mosaic(pictures(4, 3), 2, gap=0).shape == (12, 12, 3)


def test_images_become_arrays_in_0_to_1():
    x = torch.tensor([-1.0, 0.5, 2.0, 1.0]).view(1, 1, 2, 2)
    assert images.to_numpy(x).tolist() == [[[0, 0.5], [1, 1]]]
    assert images.to_numpy(torch.full((2, 3, 4, 5), 255, dtype=torch.uint8)).shape == (2, 4, 5, 3)
    assert images.to_numpy(torch.full((1, 1, 1, 1), 51, dtype=torch.uint8)).item() == pytest.approx(0.2)
    assert images.to_numpy(pictures(1).requires_grad_().half()).dtype == np.float32
    for bad in (torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4)):
        with pytest.raises(ValueError, match=r"they must be \(N, 1, H, W\) or \(N, 3, H, W\)"):
            images.to_numpy(bad)


def test_image_rows_show_the_images_and_hide_the_places_left_over():
    x, y = pictures(4), pictures(3)
    figure = plots.image_rows({"digit": x, "decoded": y}, "Pairs", {"decoded": ["a", "b", "c"]})
    axes = np.array(figure.axes).reshape(2, 4)
    for k in range(4):
        assert np.asarray(axes[0, k].images[0].get_array()) == pytest.approx(x[k, 0].numpy())
    assert [ax.get_visible() for ax in axes[1]] == [True, True, True, False]
    assert [ax.get_xlabel() for ax in axes[1]] == ["a", "b", "c", ""] and axes[0, 0].get_ylabel() == "digit"


# --- style -----------------------------------------------------------------------------------------------------------

def linear(colour):
    """sRGB's nonlinearity taken off."""
    return np.array([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in mpl.colors.to_rgb(colour)])


def lightness(colour):
    """CIE L* of a colour, from its relative luminance."""
    return 116 * float(np.dot([0.2126, 0.7152, 0.0722], linear(colour))) ** (1 / 3) - 16


def seen_by_a_deuteranope(colour):
    """Machado, Oliveira & Fernandes 2009, deuteranopia in full, on linear RGB; as CIE Lab."""
    seen = np.clip(np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                             [-0.011820, 0.042940, 0.968881]]) @ linear(colour), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_first_lines_can_be_told_apart_by_a_colour_blind_reader():
    seen = [seen_by_a_deuteranope(colour) for colour in style.LINES[:4]]
    between = [np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[k + 1:]]
    assert min(between) > 15  # Lab distances: some 2 can just be seen


def test_lines_stand_out_from_white_paper():
    assert all(lightness(colour) < 80 for colour in [*style.LINES, *style.CLASSES])
    assert len(set(style.CLASSES)) == 10


def test_svg_for_notebooks(monkeypatch):
    called = []
    monkeypatch.setattr("matplotlib_inline.backend_inline.set_matplotlib_formats", lambda *kinds: called.append(kinds))
    plots.use_style()
    assert called == []
    plots.use_style(svg=True)
    assert called == [("svg",)]


def test_bars_have_hatches_and_colours_enough():
    assert len(charts.HATCHES) >= 5 and len(style.LINES) >= 4


def test_coloured_gives_each_class_its_colour():
    classes = torch.tensor([[[0, 2], [1, 0]]])
    colours = ["#FF0000", "#00FF00", "#0000FF"]
    expected = torch.tensor([[[[1.0, 0], [0, 1]], [[0, 0], [1, 0]], [[0, 1], [0, 0]]]])
    assert torch.equal(plots.coloured(classes, colours), expected)
    with pytest.raises(ValueError, match=r"values from 0 to 2.*from 0 to 1.*2 colours"):
        plots.coloured(classes, colours[:2])
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        plots.coloured(classes[0], colours)


def test_a_legend_names_every_colour():
    figure = plots.image_rows({"parts": torch.rand(2, 3, 4, 4)}, "Parts", legend={"face": "#F0B060", "hair": "#882255"})
    assert [words.get_text() for words in figure.legends[0].get_texts()] == ["face", "hair"]
