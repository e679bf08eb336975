"""What all networks are made of: shapes of images, an MLP, a discriminator's activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from course_lib.checks import require

DIGIT, FACE = (1, 28, 28), (3, 32, 32)  # channels, height, width


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
