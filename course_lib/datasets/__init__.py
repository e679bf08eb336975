"""Data: digits, toy densities, torchvision's sets, and batches of them. Importing it does not import torchvision."""

from .batches import Batches, batches
from .digits import mnist
from .files import ImageSet
from .images import celeba, cifar10, fashion_mnist, folder
from .toy import (
    GaussianMixture,
    NoisyCurve,
    gaussian_mixture_1d,
    grid,
    parallel_lines,
    random_edges,
    ring,
    swiss_roll,
    two_moons,
)

__all__ = [
    "Batches",
    "GaussianMixture",
    "ImageSet",
    "NoisyCurve",
    "batches",
    "celeba",
    "cifar10",
    "fashion_mnist",
    "folder",
    "gaussian_mixture_1d",
    "grid",
    "mnist",
    "parallel_lines",
    "random_edges",
    "ring",
    "swiss_roll",
    "two_moons",
]
