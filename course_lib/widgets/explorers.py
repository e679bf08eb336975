"""Live figures of the autoencoder chapters: a point in the latent plane, and noise taken off a digit."""

from __future__ import annotations

from html import escape

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from course_lib.autoencoders import add_noise
from course_lib.checks import require, require_shape
from course_lib.metrics import HoleRuler
from course_lib.plots.images import image_rows, to_numpy
from course_lib.plots.latent import explorer_still, point_map
from course_lib.widgets.base import Live, png_of_array, png_of_figure
from course_lib.widgets.pad import Pad

SIDE = 280  # pixels of a decoded digit on the screen


def latent_explorer(ruler: HoleRuler, labels: Tensor, unsure: Tensor, box, start: tuple[float, float]) -> Live:
    """Drag a point over a 2-D latent plane (or move the sliders): what is decoded there, and its three hole scores.

    ruler: of a model with 2 latents; labels: of its training codes (N,); unsure: scores on a square grid over ``box``
    (cells²,), for the shade; box: its lower and upper corner; start: where the point stands first.
    """
    require_shape("codes", ruler.codes, None, 2)
    low, high = ([float(v) for v in corner] for corner in box)
    figure, axes = point_map(ruler.codes, labels, unsure, box)
    pad = Pad(figure, axes, start, "The latent plane with the training codes. Drag the point.")
    plt.close(figure)
    sliders = [ipw.FloatSlider(start[k], min=low[k], max=high[k], step=(high[k] - low[k]) / 200,
                               description=f"z{k + 1}", readout_format=".1f") for k in (0, 1)]
    picture = ipw.Image(format="png", width=SIDE, height=SIDE)
    words = ipw.HTML()

    def show() -> None:
        z = torch.tensor([pad.point], dtype=ruler.codes.dtype, device=ruler.codes.device)
        picture.value = png_of_array(to_numpy(decoded(ruler, z))[0], SIDE)
        words.value = _score_table({name: score.item() for name, score in ruler.scores(z).items()})

    pad.go_with(sliders, show)
    show()
    z = torch.tensor([start], dtype=ruler.codes.dtype, device=ruler.codes.device)
    still = png_of_figure(explorer_still(ruler.codes, labels, unsure, box, start, decoded(ruler, z)))
    side = ipw.VBox([picture, words, *sliders], layout=ipw.Layout(margin="0 0 0 16px"))
    return Live([ipw.HBox([pad, side], layout=ipw.Layout(flex_flow="row wrap"))], still,
                "Latent explorer: run the cell, then drag the point over the plane.")


@torch.no_grad()
def decoded(ruler: HoleRuler, z: Tensor) -> Tensor:
    return ruler.decode(z)


def _score_table(scores: dict[str, float]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td style='text-align:right'>{score:.2f}</td>"
                   f"<td><b>{'hole' if score > 1 else 'passes'}</b></td></tr>" for name, score in scores.items())
    return f"<table><tr><th>test</th><th>score</th><th>limit 1</th></tr>{rows}</table>"


def denoise_explorer(model: nn.Module, images: Tensor, start: float = 0.5) -> Live:
    """Slide the noise: a digit, the digit with noise, and what the denoiser makes of it; images (N, 1, H, W)."""
    require(len(images) > 0, "there are no images to choose from.")
    which = ipw.IntSlider(0, min=0, max=len(images) - 1, description="digit")
    level = ipw.FloatSlider(start, min=0, max=1.5, step=0.05, description="noise σ", continuous_update=True)
    picture = ipw.Image(format="png")
    words = ipw.HTML()

    @torch.no_grad()
    def three(index: int, sigma: float) -> Tensor:
        x = images[index:index + 1]
        generator = torch.Generator(x.device).manual_seed(index)  # the same noise, scaled: one sees its level alone
        noisy = add_noise(x, sigma, generator)
        return torch.cat([x, noisy, model(noisy)])

    def show(_=None) -> None:
        x, noisy, mended = three(which.value, level.value)
        picture.value = png_of_array(np.concatenate(list(to_numpy(torch.stack([x, noisy, mended]))), axis=1), 220)
        before, after = (noisy - x).square().sum().item(), (mended - x).square().sum().item()
        words.value = (f"digit · with noise · denoised &nbsp; squared error: <b>{before:.0f}</b> with noise, "
                       f"<b>{after:.0f}</b> denoised")

    for control in (which, level):
        control.observe(show, "value")
    show()
    levels = (0.25, 0.5, 0.75, 1.0, 1.5)
    strips = [three(k, s) for k, s in enumerate(levels[:len(images)])]
    still = png_of_figure(image_rows({"digit": torch.stack([s[0] for s in strips]),
                                      "with noise": torch.stack([s[1] for s in strips]),
                                      "denoised": torch.stack([s[2] for s in strips])},
                                     "The denoiser at several levels of noise",
                                     {"denoised": [f"σ = {s:g}" for s in levels[:len(images)]]}))
    return Live([ipw.HBox([which, level]), picture, words], still,
                "Denoiser: run the cell, then slide the noise.")
