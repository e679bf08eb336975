"""Networks: plain nn.Modules, nothing more. Images go in and come out as (B, C, H, W)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require, require_one_of

DIGIT, FACE = (1, 28, 28), (3, 32, 32)  # channels, height, width


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


class Generator(nn.Module):
    """A network from noise to samples, (B, latents) → (B, …), that knows how its noise is drawn.

    body: the network; latents: how many numbers of noise it takes; prior: "normal", z ~ N(0, I) (Goodfellow et al. 2014
    leave it open), or "uniform", each number in [−1, 1] (Radford et al. 2016). Raises ValueError for another prior.
    """

    def __init__(self, body: nn.Module, latents: int, prior: str = "normal"):
        super().__init__()
        require_one_of("prior", prior, ("normal", "uniform"))
        self.body, self.latents, self.prior = body, latents, prior

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of z, (n, latents), on the device and of the dtype of the weights."""
        weight = next(self.parameters())
        like = {"generator": generator, "dtype": weight.dtype, "device": weight.device}
        if self.prior == "normal":
            return torch.randn(n, self.latents, **like)
        return 2 * torch.rand(n, self.latents, **like) - 1

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n samples G(z), z ~ p_z, without gradients: (n, …)."""
        return self(self.noise(n, generator))


class Discriminator(nn.Module):
    """Hidden layers and a linear head: (B, …) → logits (B,), whose sigmoid is the probability that x is real.

    layers: the hidden layers, each with its activation; size: how many numbers the last of them gives for one x.
    ``features(x, layer)``: what layer 1 … L gives, by default the last (Dis_l of Larsen et al. 2016); calling it is
    the head on the last layer's features.
    """

    def __init__(self, layers: Sequence[nn.Module], size: int):
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(size, 1)

    def features(self, x: Tensor, layer: int | None = None) -> Tensor:
        layer = len(self.layers) if layer is None else layer
        require(1 <= layer <= len(self.layers), f"layer is {layer}; it must be from 1 to {len(self.layers)}.")
        for hidden in self.layers[:layer]:
            x = hidden(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1)).squeeze(1)


def mlp_generator(latents: int, outputs: int, hidden: Sequence[int] = (128, 128), prior: str = "normal",
                  activation: Callable[[], nn.Module] = nn.ReLU) -> Generator:
    """For points: (B, latents) → (B, outputs), unbounded. For images: Generator(mlp_decoder(latents), latents)."""
    return Generator(mlp([latents, *hidden, outputs], activation), latents, prior)


def leaky_relu() -> nn.LeakyReLU:
    """x above 0 and 0.2 x below: a discriminator's usual activation, which passes a slope everywhere."""
    return nn.LeakyReLU(0.2)


def mlp_discriminator(inputs: int, hidden: Sequence[int] = (128, 128),
                      activation: Callable[[], nn.Module] = leaky_relu) -> Discriminator:
    """For points (B, inputs), or for images of so many numbers, which it flattens: → logits (B,). One hidden layer at
    least."""
    require(len(hidden) >= 1, "hidden is empty; a discriminator needs one hidden layer at least.")
    layers = [nn.Sequential(nn.Flatten(), nn.Linear(n_in, n_out), activation())
              for n_in, n_out in itertools.pairwise((inputs, *hidden))]
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
