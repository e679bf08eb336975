"""The figure that live figures keep: its picture is the one drawn anew, its layout stays, and its memory is bounded."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from widget_pictures import pixels

from course_lib.plots import use_style
from course_lib.widgets.kept import HALO, KeptFigure, least

mpl.use("Agg")


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


class Two(KeptFigure):
    """Left axes that change, labels and all, right ones that stand still, and in both something that moves."""

    def __init__(self, **kwargs):
        super().__init__(5, 2.5, **kwargs)
        self.left, self.right = self.figure.subplots(1, 2)
        self.right.set(xlim=(0, 1), ylim=(0, 1), ylabel="stands still", title="Right")
        self.dots = [ax.plot([], [], "o", color="black", markersize=9)[0] for ax in (self.left, self.right)]
        self.word = self.right.text(1.0, 0.5, "a word from the start", path_effects=HALO)
        self.moving = [*self.dots, self.word]
        self.changing = [self.left]
        self.scale(1)
        self.settle()

    def scale(self, top):
        self.left.set(xlim=(0, 1), ylim=(0, top), ylabel=f"up to {top:,}")

    def move(self, top, at):
        self.scale(top)
        for dot, height in zip(self.dots, (top, 1), strict=True):
            dot.set_data([at], [at * height])
        self.word.set_text(f"a word as wide as it is long: {at}")

    def at(self, top, at):
        self.move(top, at)
        return pixels(self.picture(top))

    def anew(self, top, at):
        """The same with matplotlib's own drawing of all there is, in the places that the axes have."""
        self.move(top, at)
        for artist in self.moving:
            artist.set_animated(False)
        self.figure.canvas.draw()
        for artist in self.moving:
            artist.set_animated(True)
        return np.asarray(self.figure.canvas.buffer_rgba())[..., :3].astype(int)


PLACES = [(1, 0.5), (1_000_000, 0.5), (1_000_000, 0.2), (1, 0.9), (20, 0.5), (1, 0.5)]


def test_a_picture_over_a_kept_background_is_the_picture_drawn_anew():
    drawing, other = Two(), Two()
    seen = [drawing.at(*place) for place in PLACES]
    for place, shown in zip(PLACES, seen, strict=True):
        assert np.array_equal(shown, other.anew(*place)), place
    assert len({shown.tobytes() for shown in seen}) == 5 and len(drawing.drawn) == 3    # a background for each scale


def test_the_layout_is_found_with_all_axes_in_place_and_then_stays(monkeypatch):
    drawing = Two()
    with monkeypatch.context() as patch:
        patch.setattr(KeptFigure, "settle", lambda self: None)
        wanted = Two()
    wanted.word.set_in_layout(False)                    # what moves takes no room
    wanted.figure.canvas.draw()                         # matplotlib's own layout, of all axes
    places = [ax.get_position().bounds for ax in (wanted.left, wanted.right)]
    still = None
    for top, at in PLACES:
        drawing.at(top, at)
        drawing.figure.canvas.draw()                    # what a drag pad does: savefig draws all once more
        shown = drawing.at(top, 0.5)
        assert [ax.get_position().bounds for ax in (drawing.left, drawing.right)] == places
        right = shown[:, shown.shape[1] // 2:]
        assert still is None or np.array_equal(right, still)
        still = right


@pytest.mark.parametrize("most", [1, 2])
def test_backgrounds_do_not_pile_up(most):
    drawing, other = Two(backgrounds=most), Two()
    for place in [*PLACES, *((top, 0.5) for top in range(2, 8))]:
        assert np.array_equal(drawing.at(*place), other.at(*place))
        assert 1 <= len(drawing.drawn) <= most
    assert len(other.drawn) <= 8


@pytest.mark.parametrize("enough, level", [(0.2, 1), (1, 1), (1.01, 3), (3, 3), (9, 3)])
def test_the_least_level_that_is_enough(enough, level):
    assert least((1, 3), enough) == level
