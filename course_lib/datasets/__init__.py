"""Data: digits, faces, toy densities, torchvision's sets, and batches of them. Importing this spares torchvision."""

from .batches import Batches, Binarised, batches
from .digits import mnist
from .faces import FaceSet, faces
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
    "Binarised",
    "FaceSet",
    "GaussianMixture",
    "ImageSet",
    "NoisyCurve",
    "batches",
    "celeba",
    "cifar10",
    "faces",
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
