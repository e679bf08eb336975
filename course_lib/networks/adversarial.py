"""Generators and discriminators, of linear layers and of convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_one_of
from course_lib.networks.layers import DIGIT, leaky_relu, mlp


class Generator(nn.Module):
    """A network from noise to samples, (B, latents) → (B, …), that knows how its noise is drawn.

    body: the network; latents: how many numbers of noise it takes; prior: "normal", z ~ N(0, I) (Goodfellow et al. 2014
    leave it open), or "uniform", each number in [−1, 1] (Radford et al. 2016). coins: so many of the latents, the first
    ones, are coins, −1 or 1 with probability ½ each: then p_z falls into 2^coins separate pieces, and samples can do so
    without a bridge between them. Raises ValueError for another prior, or unless 0 <= coins <= latents.
    """

    def __init__(self, body: nn.Module, latents: int, prior: str = "normal", coins: int = 0):
        super().__init__()
        require_one_of("prior", prior, ("normal", "uniform"))
        require(0 <= coins <= latents, f"coins is {coins}; it must be from 0 to {latents}, the number of latents.")
        self.body, self.latents, self.prior, self.coins = body, latents, prior, coins

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of z, (n, latents), on the device and of the dtype of the weights."""
        weight = next(self.parameters())
        like = {"generator": generator, "dtype": weight.dtype, "device": weight.device}
        if self.prior == "normal":
            z = torch.randn(n, self.latents, **like)
        else:
            z = 2 * torch.rand(n, self.latents, **like) - 1
        if self.coins:
            z[:, :self.coins] = 1 - 2 * (z[:, :self.coins] < 0).to(z.dtype)         # either sign has probability ½
        return z

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n samples G(z), z ~ p_z, without gradients: (n, …)."""
        return self(self.noise(n, generator))


class Discriminator(nn.Module):
    """Hidden layers and a linear head: (B, …) → logits (B,), whose sigmoid is the probability that x is real.

    layers: the hidden layers, each with its activation; size: how many numbers the last of them gives for one x.
    ``features(x, layer)``: what layer 1 … L gives, by default the last (Dis_l of Larsen et al. 2016); calling it is
    the head on the last layer's features; ``features_and_logits(x, layer)`` gives both for one pass.
    """

    def __init__(self, layers: Sequence[nn.Module], size: int):
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(size, 1)

    def features(self, x: Tensor, layer: int | None = None) -> Tensor:
        for hidden in self.layers[:self._number(layer)]:
            x = hidden(x)
        return x

    def features_and_logits(self, x: Tensor, layer: int | None = None) -> tuple[Tensor, Tensor]:
        layer = self._number(layer)
        features = top = self.features(x, layer)
        for hidden in self.layers[layer:]:
            top = hidden(top)
        return features, self.head(top.flatten(1)).squeeze(1)

    def _number(self, layer: int | None) -> int:
        layer = len(self.layers) if layer is None else layer
        require(1 <= layer <= len(self.layers), f"layer is {layer}; it must be from 1 to {len(self.layers)}.")
        return layer

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1)).squeeze(1)


class GAN(nn.Module):
    """Both players, to be kept together. Calling it is G, (B, latents) → (B, …); ``D`` judges."""

    def __init__(self, G: Generator, D: Discriminator):
        super().__init__()
        self.G, self.D = G, D

    def forward(self, z: Tensor) -> Tensor:
        return self.G(z)


def mlp_generator(latents: int, outputs: int, hidden: Sequence[int] = (128, 128), prior: str = "normal",
                  activation: Callable[[], nn.Module] = nn.ReLU, coins: int = 0) -> Generator:
    """For points: (B, latents) → (B, outputs), unbounded. For images: Generator(mlp_decoder(latents), latents)."""
    return Generator(mlp([latents, *hidden, outputs], activation), latents, prior, coins)


class FourierFeatures(nn.Module):
    """x, and the sine and cosine of random projections of it: (B, d) → (B, d + 2 waves).

    x ↦ (x, sin Bx, cos Bx), the rows of B ~ N(0, scale² I), drawn once and kept as a buffer. A network on top learns
    what changes over a distance of 1/scale as fast as an ordinary one learns what changes over 1. Rahimi & Recht 2007;
    Tancik et al. 2020, equation 5 (without x itself, and with 2π in B).
    """

    def __init__(self, inputs: int, waves: int = 64, scale: float = 1.0):
        super().__init__()
        require(waves >= 1 and scale > 0, f"waves is {waves} and scale {scale}; both must be above 0.")
        self.register_buffer("B", scale * torch.randn(inputs, waves))

    def forward(self, x: Tensor) -> Tensor:
        angle = x @ self.B                                                  # (B, waves)
        return torch.cat([x, angle.sin(), angle.cos()], 1)


def mlp_discriminator(inputs: int, hidden: Sequence[int] = (128, 128),
                      activation: Callable[[], nn.Module] = leaky_relu, waves: int = 0,
                      scale: float = 1.0) -> Discriminator:
    """For points (B, inputs), or for images of so many numbers, which it flattens: → logits (B,). One hidden layer at
    least. waves, scale: with waves above 0, the first layer sees ``FourierFeatures`` of x."""
    require(len(hidden) >= 1, "hidden is empty; a discriminator needs one hidden layer at least.")
    sizes = (inputs + 2 * waves, *hidden)
    layers = [nn.Sequential(nn.Flatten(), nn.Linear(n_in, n_out), activation())
              for n_in, n_out in itertools.pairwise(sizes)]
    if waves:
        layers[0].insert(1, FourierFeatures(inputs, waves, scale))
    return Discriminator(layers, hidden[-1])


def _halvings(image: tuple) -> int:
    """How often an image's sides can be halved while both are even and above 4: 28 → 14 → 7, 32 → 16 → 8 → 4."""
    _, h, w = image
    n = 0
    while h % 2 == 0 and w % 2 == 0 and min(h, w) > 4:
        h, w, n = h // 2, w // 2, n + 1
    require(n > 0 and max(h, w) <= 8, f"image is {image}; halved while both sides are even and above 4, it must end at "
                                      "8 pixels or fewer, as 28 and 32 do: pad or resize it.")
    return n


def dcgan_generator(latents: int = 64, channels: int = 32, image: tuple = DIGIT, prior: str = "normal",
                    norm: Callable[[int], nn.Module] = nn.Identity) -> Generator:
    """Transposed convolutions, each doubling the side, up to (B, *image) in (0, 1): 7 → 28 or 4 → 32 pixels.

    norm: what stands before each ReLU, from a number of channels; ``nn.BatchNorm2d`` is the paper's (its samples then
    depend on their batch until ``eval()``), none by default. The paper ends in tanh; the course's pixels are in [0, 1].
    Radford et al. 2016. Raises ValueError for sides that cannot be halved to 8 pixels or fewer.
    """
    c, h, w = image
    n = _halvings(image)
    widths = [channels * 2**i for i in reversed(range(n))]                # for n = 3: 4, 2, 1 times channels
    small = (widths[0], h // 2**n, w // 2**n)
    layers: list[nn.Module] = [nn.Linear(latents, prod(small)), nn.Unflatten(1, small)]
    for n_in, n_out in itertools.pairwise((*widths, c)):
        layers += [norm(n_in), nn.ReLU(), nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)]
    return Generator(nn.Sequential(*layers, nn.Sigmoid()), latents, prior)


def dcgan_discriminator(channels: int = 32, image: tuple = DIGIT,
                        norm: Callable[[int], nn.Module] = nn.Identity) -> Discriminator:
    """Strided convolutions, each halving the side, down to a head: (B, *image) → logits (B,). Radford et al. 2016.

    norm: what stands before each activation but the first, from a number of channels; none by default: with
    ``nn.BatchNorm2d`` an image's logit depends on its batch. Raises ValueError as ``dcgan_generator`` does.
    """
    c, h, w = image
    n = _halvings(image)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise((c, *(channels * 2**i for i in range(n)))):
        layers.append(nn.Sequential(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1),
                                    norm(n_out) if layers else nn.Identity(), leaky_relu()))
    return Discriminator(layers, channels * 2 ** (n - 1) * (h >> n) * (w >> n))
