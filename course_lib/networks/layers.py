"""What all networks are made of: shapes of images, an MLP, a discriminator's activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from course_lib.checks import require

DIGIT, FACE, GREY_FACE = (1, 28, 28), (3, 32, 32), (1, 32, 32)  # channels, height, width


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, an activation between them, none after the last: (B, sizes[0]) → (B, sizes[-1])."""
    require(len(sizes) >= 2, f"sizes is {list(sizes)}; an MLP needs an input and an output size at least.")
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


def leaky_relu() -> nn.LeakyReLU:
    """x above 0 and 0.2 x below: a discriminator's usual activation, which passes a slope everywhere."""
    return nn.LeakyReLU(0.2)


def spectrally_normalised(net: nn.Module) -> nn.Module:
    """net itself, each Linear and Conv2d with its weight W replaced by W/σ(W), σ the largest singular value.

    σ is estimated by one step of power iteration at each forward in training mode; in eval mode it stands still. With
    1-Lipschitz activations, linear layers make a network that is 1-Lipschitz once the power iteration has caught up.
    Of a convolution, what is divided by is the norm of the kernel as a matrix (out, in · h · w), which bounds nothing
    by itself: the convolution's own norm can be up to √(⌈h/stride⌉ · ⌈w/stride⌉) times as large. Biases are left.
    Raises ValueError where net has no such layer, or has them already.  Miyato et al. 2018, section 2.
    """
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    require(len(layers) > 0, f"a {type(net).__name__} has no linear or convolutional layer: nothing to normalise.")
    require(not any(is_parametrized(m) for m in layers), "the network is normalised already: once is enough.")
    for layer in layers:
        spectral_norm(layer)
    return net
