"""Autoencoders, variational ones, and a network with a bottleneck that segments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require
from course_lib.networks.layers import DIGIT, FACE, mlp


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


class OneLayer(nn.Module):
    """z = f(W x + b), x̂ = zᵀA + c: an autoencoder with one layer of units; tied: A is W itself (W transposed decodes).

    ``encode``: (B, *image) → (B, units); ``decode``: the way back, not bounded; ``atoms``: A, (units, pixels), what
    each unit draws. Rows of W and A begin as random directions of length 1. Vincent et al. 2008; Rifai et al. 2011.
    """

    def __init__(self, units: int, activation: Callable[[Tensor], Tensor] = torch.relu, tied: bool = True,
                 image: tuple = DIGIT):
        super().__init__()
        self.latents, self.activation, self.image = units, activation, image
        self.weight = nn.Parameter(F.normalize(torch.randn(units, prod(image)), dim=1))
        self.bias, self.offset = nn.Parameter(torch.zeros(units)), nn.Parameter(torch.zeros(prod(image)))
        self.register_parameter("own_atoms", None if tied else nn.Parameter(self.weight.detach().clone()))

    @property
    def atoms(self) -> Tensor:
        return self.weight if self.own_atoms is None else self.own_atoms

    def encode(self, x: Tensor) -> Tensor:
        return self.activation(F.linear(x.flatten(1), self.weight, self.bias))

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.atoms + self.offset).unflatten(1, self.image)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class VAE(nn.Module):
    """An encoder that answers with a Gaussian, and a decoder. Kingma & Welling 2014.

    ``encode``: (B, *image) → mean and log variance of q(z|x), each (B, latents); ``decode``: (B, latents) → (B,
    *image). Calling it decodes the mean.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latents: int):
        super().__init__()
        self.encoder, self.decode, self.latents = encoder, decoder, latents

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return mu, log_var

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x)[0])


def mlp_vae(latents: int, hidden: Sequence[int] = (256, 128), image: tuple = DIGIT, logits: bool = False,
            activation: Callable[[], nn.Module] = nn.ReLU) -> VAE:
    """A VAE of linear layers, with chapter 01's sizes; logits: the decoder's output is not squeezed into (0, 1)."""
    encoder = nn.Sequential(nn.Flatten(), mlp([prod(image), *hidden, 2 * latents], activation))
    squeeze = [] if logits else [nn.Sigmoid()]
    decoder = nn.Sequential(mlp([latents, *hidden[::-1], prod(image)], activation), *squeeze, nn.Unflatten(1, image))
    return VAE(encoder, decoder, latents)


def conv_encoder(outputs: int, channels: int = 32, image: tuple = FACE) -> nn.Sequential:
    """(B, *image) → (B, outputs): three strided convolutions to an eighth of the side, then a linear layer."""
    c, h, w = image
    require(h % 8 == 0 and w % 8 == 0, f"image is {image}; height and width must be multiples of 8: pad or resize it.")
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise((c, channels, 2 * channels, 4 * channels)):
        layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * channels * h * w // 64, outputs))


def conv_decoder(latents: int, channels: int = 32, image: tuple = FACE) -> nn.Sequential:
    """(B, latents) → (B, *image), each pixel in (0, 1): ``conv_encoder`` the other way round."""
    c, h, w = image
    require(h % 8 == 0 and w % 8 == 0, f"image is {image}; height and width must be multiples of 8: pad or resize it.")
    small = (4 * channels, h // 8, w // 8)
    layers: list[nn.Module] = [nn.Linear(latents, prod(small)), nn.Unflatten(1, small)]
    for n_in, n_out in itertools.pairwise((4 * channels, 2 * channels, channels, c)):
        layers += [nn.ReLU(), nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.Sigmoid())


def conv_vae(latents: int = 64, channels: int = 32, image: tuple = FACE) -> VAE:
    """A VAE of convolutions, three down and three up."""
    return VAE(conv_encoder(2 * latents, channels, image), conv_decoder(latents, channels, image), latents)


class Segmenter(nn.Module):
    """Says of each pixel to which class it belongs: (B, C, H, W) → logits (B, classes, H, W).

    An encoder of three strided convolutions, a code of ``latents`` numbers, and a decoder that mirrors the encoder.
    Without skips the code is all that the decoder knows (an hourglass, as SegNet, Badrinarayanan et al. 2017); with
    skips it also sees, at each size, what the encoder saw there (U-Net, Ronneberger et al. 2015).
    """

    def __init__(self, classes: int, skips: bool = True, latents: int = 64, channels: int = 16, image: tuple = FACE):
        super().__init__()
        c, h, w = image
        require(h % 8 == 0 and w % 8 == 0, f"image is {image}; height and width must be multiples of 8: pad it.")
        sizes, small = (channels, 2 * channels, 4 * channels), (4 * channels, h // 8, w // 8)
        self.skips = skips
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for n_in, n_out in itertools.pairwise((c, *sizes)):
            self.down.append(nn.Sequential(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()))
        self.code = nn.Sequential(nn.Flatten(), nn.Linear(prod(small), latents), nn.Linear(latents, prod(small)),
                                  nn.ReLU(), nn.Unflatten(1, small))
        for n_in, n_out in itertools.pairwise((*sizes[::-1], channels)):
            n_in = 2 * n_in if skips else n_in                          # what comes from below, and what was seen here
            self.up.append(nn.Sequential(nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU()))
        self.head = nn.Sequential(nn.Conv2d(channels + c if skips else channels, 2 * channels, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(2 * channels, classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.down:
            seen.append(layer(seen[-1]))                # (B, channels, H/2, W/2) … (B, 4 channels, H/8, W/8)
        h = self.code(seen[-1])
        for layer in (*self.up, self.head):             # … (B, channels, H, W), (B, classes, H, W)
            h = layer(torch.cat([h, seen.pop()], 1) if self.skips else h)
        return h
