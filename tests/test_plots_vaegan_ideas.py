"""The pictures of the VAE/GAN's ideas: two errors that disagree, and who learns what."""

import pytest
import torch
from figure_rules import has_all_words_on_it
from matplotlib import pyplot as plt

from course_lib import plots

VERSIONS = {"the faces": torch.rand(2, 1, 8, 8), "moved": torch.rand(2, 1, 8, 8), "blurred": torch.rand(2, 1, 8, 8)}
ERRORS = {"pixel error": [0.0, 26.5, 10.5], "feature error": [0.0, 35.0, 518.0]}


def drawn():
    return plots.two_errors(VERSIONS, ERRORS, "Two errors")


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def test_two_errors_are_bars_of_their_heights_under_the_images():
    figure = drawn()
    rows = [ax for ax in figure.axes if ax.patches and not ax.images]
    heights = [ax.patches[0].get_height() for ax in rows]
    assert heights == [*ERRORS["pixel error"], *ERRORS["feature error"]]
    assert [ax.get_ylabel() for ax in rows if ax.get_ylabel()] == list(ERRORS)
    assert len([ax for ax in figure.axes if ax.images]) == 6
    assert [ax.get_title(loc="center") for ax in figure.axes[:3]] == list(VERSIONS)
    has_all_words_on_it(drawn)


def test_each_version_needs_its_error():
    with pytest.raises(ValueError, match="'pixel error' has 2 values, but there are 3 versions"):
        plots.two_errors(VERSIONS, {"pixel error": [1, 2]}, "no")
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.two_errors({}, {}, "no")


def test_the_scheme_says_whom_each_loss_moves():
    figure = plots.vaegan_scheme()
    ax, = figure.axes
    words = {(round(t.get_position()[1], 2), round(t.get_position()[0], 1)): t.get_text() for t in ax.texts}
    table = [[words[y, x] for x in (3.0, 6.6, 10.2)] for y in (1.25, 0.65, 0.05)]
    assert table == [["descends", "nothing", "nothing"], ["descends", r"descends, times $\gamma$", "nothing"],
                     ["nothing", "descends", "ascends"]]
    has_all_words_on_it(plots.vaegan_scheme)
