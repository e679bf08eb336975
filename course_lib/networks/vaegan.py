"""An encoder that mirrors the DCGAN's generator: one decoder for an autoencoder, a VAE, a GAN and a VAE/GAN."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import prod

from torch import nn

from course_lib.networks.adversarial import _halvings, dcgan_generator
from course_lib.networks.autoencoders import VAE, Autoencoder
from course_lib.networks.layers import FACE


def dcgan_encoder(outputs: int, channels: int = 32, image: tuple = FACE,
                  norm: Callable[[int], nn.Module] = nn.Identity) -> nn.Sequential:
    """(B, *image) → (B, outputs): strided convolutions, each halving the side, down to 7 or 4 pixels, then a linear
    layer: ``dcgan_generator`` the other way round.

    norm: what stands before each ReLU, from a number of channels. Raises ValueError for sides that cannot be halved to
    8 pixels or fewer.
    """
    c, h, w = image
    n = _halvings(image)
    widths = [channels * 2**i for i in range(n)]                          # for n = 3: 1, 2, 4 times channels
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise((c, *widths)):
        layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), norm(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(prod((widths[-1], h >> n, w >> n)), outputs))


def dcgan_autoencoder(latents: int = 64, channels: int = 32, image: tuple = FACE,
                      norm: Callable[[int], nn.Module] = nn.Identity) -> Autoencoder:
    """An autoencoder whose ``decode`` is a ``dcgan_generator``."""
    return Autoencoder(dcgan_encoder(latents, channels, image, norm),
                       dcgan_generator(latents, channels, image, norm=norm), latents)


def dcgan_vae(latents: int = 64, channels: int = 32, image: tuple = FACE,
              norm: Callable[[int], nn.Module] = nn.Identity) -> VAE:
    """A VAE whose ``decode`` is a ``dcgan_generator``, which also knows how its noise is drawn. Larsen et al. 2016."""
    return VAE(dcgan_encoder(2 * latents, channels, image, norm), dcgan_generator(latents, channels, image, norm=norm),
               latents)
