"""Networks: plain nn.Modules, nothing more. Images go in and come out as (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require

DIGIT = (1, 28, 28)  # channels, height, width


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, an activation between them, none after the last: (B, sizes[0]) → (B, sizes[-1])."""
    require(len(sizes) >= 2, f"sizes is {list(sizes)}; an MLP needs an input and an output size at least.")
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    """An encoder and a decoder, one after the other. Ballard 1987; Hinton & Salakhutdinov 2006.

    ``encode``: (B, *image) → (B, latents); ``decode``: the way back; calling it does both.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latents: int):
        super().__init__()
        self.encode, self.decode, self.latents = encoder, decoder, latents

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Constant(nn.Module):
    """One learned output, whatever goes in: an autoencoder that keeps nothing. (B, …) → (B, *shape)."""

    def __init__(self, shape: tuple):
        super().__init__()
        self.output = nn.Parameter(torch.full(shape, 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.output.expand(len(x), *self.output.shape)


def mlp_encoder(outputs: int, hidden: Sequence[int] = (256, 128), image: tuple = DIGIT) -> nn.Sequential:
    """(B, *image) → (B, outputs)."""
    return nn.Sequential(nn.Flatten(), mlp([prod(image), *hidden, outputs]))


def mlp_decoder(latents: int, hidden: Sequence[int] = (128, 256), image: tuple = DIGIT) -> nn.Sequential:
    """(B, latents) → (B, *image), each pixel in (0, 1)."""
    return nn.Sequential(mlp([latents, *hidden, prod(image)]), nn.Sigmoid(), nn.Unflatten(1, image))


def mlp_autoencoder(latents: int, hidden: Sequence[int] = (256, 128), image: tuple = DIGIT) -> Autoencoder:
    """A bottleneck of ``latents`` units between an encoder and its mirror image."""
    return Autoencoder(mlp_encoder(latents, hidden, image), mlp_decoder(latents, hidden[::-1], image), latents)


def linear_autoencoder(latents: int, image: tuple = DIGIT) -> Autoencoder:
    """One matrix in, one matrix out, a bias each: with L2 its best is the span of PCA. Bourlard & Kamp 1988."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(prod(image), latents))
    decoder = nn.Sequential(nn.Linear(latents, prod(image)), nn.Unflatten(1, image))
    return Autoencoder(encoder, decoder, latents)


def conv_autoencoder(latents: int, channels: int = 16, image: tuple = DIGIT) -> Autoencoder:
    """Two strided convolutions to a quarter of the side, a bottleneck of ``latents`` units, and back to (0, 1)."""
    c, h, w = image
    require(h % 4 == 0 and w % 4 == 0, f"image is {image}; height and width must be multiples of 4: pad or resize it.")
    small = (2 * channels, h // 4, w // 4)
    encoder = nn.Sequential(
        nn.Conv2d(c, channels, 4, stride=2, padding=1), nn.ReLU(),                     # (B, channels, H/2, W/2)
        nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1), nn.ReLU(),          # (B, 2 channels, H/4, W/4)
        nn.Flatten(), nn.Linear(prod(small), latents))                                 # (B, latents)
    decoder = nn.Sequential(
        nn.Linear(latents, prod(small)), nn.ReLU(), nn.Unflatten(1, small),            # (B, 2 channels, H/4, W/4)
        nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1), nn.ReLU(), # (B, channels, H/2, W/2)
        nn.ConvTranspose2d(channels, c, 4, stride=2, padding=1), nn.Sigmoid())         # (B, C, H, W)
    return Autoencoder(encoder, decoder, latents)


class ConvClassifier(nn.Module):
    """A small convolutional classifier: the course's measuring instrument.

    ``features``: (B, C, H, W) in [0, 1] → (B, 4 width); calling it gives the logits (B, classes).
    """

    def __init__(self, classes: int = 10, image: tuple = DIGIT, width: int = 32):
        super().__init__()
        def block(n_in, n_out):
            return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
        self.body = nn.Sequential(
            *block(image[0], width), nn.MaxPool2d(2),                    # (B, width, H/2, W/2)
            *block(width, 2 * width), *block(2 * width, 2 * width), nn.MaxPool2d(2),   # (B, 2 width, H/4, W/4)
            *block(2 * width, 4 * width))                                # (B, 4 width, H/4, W/4)
        self.head = nn.Linear(4 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(self.body(x), 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
