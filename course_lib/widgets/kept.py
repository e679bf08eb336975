"""The figure that live figures keep: what stands still is drawn once, and only what moves is drawn again."""

from __future__ import annotations

import io
from collections.abc import Hashable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

HALO = [withStroke(linewidth=3.5, foreground="white")]


class KeptFigure:
    """A figure that is kept: what stands still is drawn once, axes that change once for each of their states, and what
    moves is put on top.

    width, height: in inches; backgrounds: how many are kept for such states, of 2 MB each.
    """

    def __init__(self, width: float, height: float, backgrounds: int = 8):
        self.figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(self.figure)
        self.moving: list[Artist] = []
        self.changing: list[Axes] = []
        self.drawn: dict[Hashable, object] = {}
        self.backgrounds = backgrounds

    def settle(self) -> None:
        """To be called when all is in place: the layout is found once, from what stands still, and stays."""
        for artist in self.moving:
            artist.set(animated=True, in_layout=False)
        self.figure.canvas.draw()
        self.figure.set_layout_engine("none")
        for ax in self.changing:
            ax.set_visible(False)
        self.figure.canvas.draw()
        self.still = self.figure.canvas.copy_from_bbox(self.figure.bbox)
        for ax in self.changing:
            ax.set_visible(True)

    def picture(self, state: Hashable = None) -> bytes:
        """The picture as PNG. state: of the axes in ``changing``; a background is kept for each of the last states."""
        canvas = self.figure.canvas
        if state not in self.drawn:
            if len(self.drawn) >= self.backgrounds:
                self.drawn.clear()
            canvas.restore_region(self.still)
            for ax in self.changing:
                self.figure.draw_artist(ax)
            self.drawn[state] = canvas.copy_from_bbox(self.figure.bbox)
        canvas.restore_region(self.drawn[state])
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        out = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(out, format="png", compress_level=1)
        return out.getvalue()


def least(levels, enough: float) -> float:
    """The least of the levels that is enough, or the last."""
    return next((level for level in levels if level >= enough), levels[-1])
