"""Chapter 08's pictures draw, name their axes, and show what they were given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from figure_rules import draws_and_names_its_axes, has_all_words_on_it
from matplotlib.patches import Rectangle

from course_lib import plots
from course_lib.plots import vaegan as lib

mpl.use("Agg")
NAMES = list(lib.MODEL_STYLES)
EDITS = [{"model": name, "change": change, "strength": s, "changed": 0.1 * k + 0.2 * s, "held": 1 - 0.1 * s - 0.01 * k}
         for k, name in enumerate([*NAMES[:4], "VAE/GAN"]) for change in ("add glasses", "add a beard", "bald", "smile")
         for s in (2.0, 0.0, 1.0)]
OF_COPIES = ("pixel error", "feature error", "sharpness")
TABLE = [{"model": name, "seed": seed, "lr": 1e-3, "fréchet": 10 * 4.0**k + seed, "precision": 0.1 * k + 0.02 * seed,
          "recall": 0.5} | {key: None if name == "GAN" else 2.0 + k + 0.1 * seed for key in OF_COPIES}
         for k, name in enumerate(NAMES) for seed in range(3)]
SEARCH = [{**row, "lr": lr, "fréchet": row["fréchet"] * (1 + 100 * lr)} for row in TABLE if row["seed"] == 0
          for lr in (2e-3, 5e-4, 1e-3)]
CHOSEN = {name: 1e-3 for name in NAMES}


def images(n=4, c=3, seed=0):
    return torch.rand(n, c, 6, 6, generator=torch.Generator().manual_seed(seed))


ROWS = {name: images(seed=k) for k, name in enumerate(["data", *NAMES])}
COLUMNS = {name: images(3, seed=k) for k, name in enumerate(["original", "reconstruction", "s = 0.5", "s = 1"])}
WANTED = {"s = 0.5": torch.tensor([False, True, False]), "s = 1": torch.tensor([True, True, False])}
CHARTS = {
    "edit_chart": lambda: lib.edit_chart(EDITS, "Edits"),
    "edit_chart, one": lambda: lib.edit_chart(EDITS[:3], "An edit"),
    "model_table_chart": lambda: lib.model_table_chart(TABLE, "Six models"),
    "model_table_chart, two": lambda: lib.model_table_chart(TABLE, "Six models", {"recall": "recall", "fréchet": "F"}),
    "rate_chart": lambda: lib.rate_chart(SEARCH, {"pixel error": "error", "fréchet": "distance"}, "Search", CHOSEN),
    "rate_chart, one": lambda: lib.rate_chart(SEARCH, {"fréchet": "distance"}, "A search"),
}
PICTURES = {
    "side_by_side": lambda: lib.side_by_side(ROWS, "Side by side"),
    "side_by_side, grey": lambda: lib.side_by_side({"data": images(8, 1), "VAE": images(8, 1)}, "Digits"),
    "edit_grid": lambda: lib.edit_grid(COLUMNS, "Along the vector", WANTED),
    "edit_grid, no frames": lambda: lib.edit_grid(COLUMNS, "Along the vector"),
}


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS.keys())
def test_a_chart_draws_and_names_its_axes(draw, tmp_path):
    draws_and_names_its_axes(draw, tmp_path)


@pytest.mark.parametrize("draw", [*CHARTS.values(), *PICTURES.values()], ids=[*CHARTS, *PICTURES])
def test_all_words_are_on_it(draw):
    has_all_words_on_it(draw)


def test_every_row_of_side_by_side_is_a_model_in_large_type_with_big_square_pixels():
    figure = PICTURES["side_by_side"]()
    figure.canvas.draw()
    assert [ax.get_ylabel().replace("\n", " ") for ax in figure.axes] == list(ROWS)
    for ax, rows in zip(figure.axes, ROWS.values(), strict=True):
        picture, = ax.images
        sheet = np.asarray(picture.get_array())
        assert picture.get_interpolation() == "nearest" and picture.get_clim() == (0, 1)
        for k in range(4):
            assert np.allclose(sheet[1:7, 1 + 7 * k:7 + 7 * k], rows[k].permute(1, 2, 0).numpy())
        assert ax.yaxis.label.get_fontsize() >= 18
        box = ax.get_window_extent()
        assert box.width / box.height == pytest.approx(29 / 8, rel=0.01)
        assert box.height / figure.dpi > 1.2                            # inches, of one image


def test_the_grid_shows_each_image_in_its_column_and_frames_what_is_read_as_wanted():
    figure = PICTURES["edit_grid"]()
    axes = np.array(figure.axes).reshape(3, 4)
    assert [ax.get_title(loc="center") for ax in axes[0]] == list(COLUMNS)
    for column, (name, shown) in zip(axes.T, COLUMNS.items(), strict=True):
        for k, ax in enumerate(column):
            assert np.allclose(np.asarray(ax.images[0].get_array()), shown[k].permute(1, 2, 0).numpy())
            framed = any(isinstance(patch, Rectangle) for patch in ax.patches)
            assert framed == (name in WANTED and bool(WANTED[name][k]))
    assert figure.legends and not PICTURES["edit_grid, no frames"]().legends


def test_an_edit_s_line_goes_along_its_strengths_and_strength_1_is_large():
    figure = CHARTS["edit_chart"]()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == ["add glasses", "add a beard", "bald", "smile"]
    for ax in shown:
        lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
        large = [line for line in ax.lines if len(line.get_xdata()) == 1]
        for k, (line, mark) in enumerate(zip(lines, large, strict=True)):
            assert line.get_xydata() == pytest.approx(np.array([[0.1 * k + 0.2 * s, 1 - 0.1 * s - 0.01 * k]
                                                                for s in (0, 1, 2)]))
            assert mark.get_xydata()[0] == pytest.approx(line.get_xydata()[1])
            assert mark.get_markersize() > line.get_markersize() and mark.get_color() == line.get_color()
    assert [line.get_label() for line in lines] == [*NAMES[:4], "VAE/GAN"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == [*NAMES[:4], "VAE/GAN", "strength 1 (large marks)"]


def test_the_table_s_marks_are_means_over_seeds_and_a_gan_has_no_reconstructions():
    figure = CHARTS["model_table_chart"]()
    for ax, measure in zip(figure.axes, lib.MEASURES, strict=True):
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == NAMES
        marks = {line.get_ydata()[0]: line for line in ax.lines if len(line.get_ydata()) == 1}
        assert sorted(marks) == [k for k, name in enumerate(NAMES) if measure not in OF_COPIES or name != "GAN"]
        for k, mark in marks.items():
            values = [row[measure] for row in TABLE if row["model"] == NAMES[k]]
            assert mark.get_xdata()[0] == pytest.approx(np.mean(values))
            colour = lib.MODEL_STYLES[NAMES[k]][0]
            assert mark.get_color() == colour
            spread, seeds = (next(line for line in ax.lines if list(line.get_ydata()) == [k] * n) for n in (2, 3))
            assert list(spread.get_xdata()) == [min(values), max(values)] and list(seeds.get_xdata()) == values
        assert [text.get_text() for text in ax.texts] == (["has none"] if measure in OF_COPIES else [])
        low, high = ax.get_xlim()
        assert all(low < row[measure] < high for row in TABLE if row[measure] is not None)
    assert [ax.get_xscale() for ax in figure.axes] == ["linear"] * 3 + ["log"] + ["linear"] * 2
    assert any(list(line.get_xdata()) == [1, 1] for line in figure.axes[2].lines)       # the data's own sharpness


def test_models_are_told_apart_by_colour_mark_and_dash_and_new_names_get_what_is_free():
    styles = lib.styles_of([*NAMES, "mine", "mine", "yours"])
    assert all(len({style[k] for style in styles.values()}) == 8 for k in (0, 1)) and list(styles)[-1] == "yours"
    assert len({str(lib.MODEL_STYLES[name][2]) for name in NAMES}) == 6
    assert all(styles[name] == lib.MODEL_STYLES[name] for name in NAMES)


def test_a_search_shows_every_run_its_rates_in_order_and_fills_the_chosen():
    figure = CHARTS["rate_chart"]()
    for ax, measure in zip(figure.axes, ("pixel error", "fréchet"), strict=True):
        marks = [line for line in ax.lines if len(line.get_xdata())]
        found = [(line.get_ydata()[0], line.get_fillstyle()) for line in sorted(marks, key=lambda l: l.get_xdata()[0])]
        wanted = [(row[measure], "full" if row["lr"] == 1e-3 else "none")
                  for row in sorted(SEARCH, key=lambda row: (NAMES.index(row["model"]), row["lr"])) if row[measure]]
        assert [f for _, f in found] == [f for _, f in wanted]
        assert [v for v, _ in found] == pytest.approx([v for v, _ in wanted])
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels[:3] == ["5e−4", "1e−3\nAE", "2e−3"] and len(labels) == 18
    assert "filled" in figure.axes[-1].get_xlabel() and "filled" not in CHARTS["rate_chart, one"]().axes[0].get_xlabel()


@pytest.mark.parametrize("call, message", [
    (lambda: lib.side_by_side({}, "t"), "no images"), (lambda: lib.edit_grid({}, "t"), "no images"),
    (lambda: lib.side_by_side({"a": images(3), "b": images(4)}, "t"), r"b has shape \(4, 3, 6, 6\), but a has shape"),
    (lambda: lib.edit_grid({"a": images(3), "b": images(2)}, "t"), "b has shape"),
    (lambda: lib.edit_grid(COLUMNS, "t", {"s = 9": WANTED["s = 1"]}), "wanted has 's = 9'"),
    (lambda: lib.edit_grid(COLUMNS, "t", {"s = 1": WANTED["s = 1"][:2]}), r"wanted\['s = 1'\] has shape \(2,\)"),
    (lambda: lib.edit_chart([], "t"), "no edits"), (lambda: lib.model_table_chart([], "t"), "no rows"),
    (lambda: lib.model_table_chart(TABLE, "t", {}), "no measures"),
    (lambda: lib.rate_chart([], {"a": "b"}, "t"), "no runs"),
])
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
