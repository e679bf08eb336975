"""Other sets of images: torchvision's, downloaded once, and a reader's own folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from ..checks import require, require_one_of
from .files import ImageSet, data_folders, looked_for

Device = torch.device | str | None
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def fashion_mnist(split: str = "train", device: Device = None) -> ImageSet:
    """Fashion-MNIST: articles of clothing, 28×28, grey.  Xiao, Rasul and Vollgraf 2017.

    split: "train" (60,000) or "test" (10,000).  Returns images uint8 (N, 1, 28, 28) and labels int64 (N,) in 0 … 9.
    Looked for in $COURSE_DATA, then in the repository's data/, else downloaded: see ``_torchvision_set``.
    """
    require_one_of("split", split, ["train", "test"])
    found = _torchvision_set("FashionMNIST", "FashionMNIST",
                             "its four files, unpacked, in FashionMNIST/raw/", train=split == "train")
    return ImageSet(found.data.unsqueeze(1).to(device), found.targets.long().to(device))  # (N, 1, 28, 28)


def cifar10(split: str = "train", device: Device = None) -> ImageSet:
    """CIFAR-10: small photographs of ten classes, 32×32, RGB.  Krizhevsky 2009.

    split: "train" (50,000) or "test" (10,000).  Returns images uint8 (N, 3, 32, 32) and labels int64 (N,) in 0 … 9.
    Looked for in $COURSE_DATA, then in the repository's data/, else downloaded: see ``_torchvision_set``.
    """
    require_one_of("split", split, ["train", "test"])
    found = _torchvision_set("CIFAR10", "cifar-10-batches-py",
                             "the folder cifar-10-batches-py from cifar-10-python.tar.gz", train=split == "train")
    images = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    return ImageSet(images.to(device), torch.tensor(found.targets).to(device))


def celeba(split: str = "train", size: int = 64, device: Device = None) -> ImageSet:
    """CelebA: photographs of faces, aligned, cut to their middle square and scaled to size, RGB.  Liu et al. 2015.

    split: "train" (162,770), "valid" (19,867) or "test" (19,962).  Returns images uint8 (N, 3, size, size) and, as a
    face has no class, its attributes as labels: int64 (N, 40), 0 or 1, in the order of list_attr_celeba.txt.
    Looked for in $COURSE_DATA, then in the repository's data/, else downloaded: see ``_torchvision_set``. Decoding the
    training images takes minutes; at size 64 they take 2 GB.
    """
    require_one_of("split", split, ["train", "valid", "test"])
    _require_size(size)
    found = _torchvision_set("CelebA", "celeba", "celeba/ with the folder img_align_celeba and the five .txt files",
                             split=split, target_type="attr")
    paths = [Path(found.root) / "celeba" / "img_align_celeba" / name for name in found.filename]
    return ImageSet(_read_images(paths, size).to(device), found.attr.long().to(device))


def folder(path: str | Path, size: int = 64, device: Device = None) -> ImageSet:
    """A folder of your own images, each scaled by its short side and cut to its middle size × size square, RGB.

    Files are told by their suffix (.jpg, .png …), hidden ones and all others are skipped; the order is by path.
    Returns images uint8 (N, 3, size, size), transparent parts white, and labels int64 (N,): the index of the subfolder
    of ``path`` that an image lies in, among those that hold images; all 0 where there are none. Images beside
    subfolders count as a first subfolder.
    Raises FileNotFoundError for no such folder, ValueError for one without images or for a broken image.
    """
    _require_size(size)
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path} (searched from {Path.cwd()}).")
    inside = [file.relative_to(path) for file in sorted(path.rglob("*"))]
    inside = [file for file in inside if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    require(len(inside) > 0, f"{path} and its subfolders hold no images ({' '.join(sorted(SUFFIXES))}).")
    classes = [file.parts[0] if len(file.parts) > 1 else "" for file in inside]
    index = {name: i for i, name in enumerate(sorted(set(classes)))}
    images = _read_images([path / file for file in inside], size)
    return ImageSet(images.to(device), torch.tensor([index[name] for name in classes]).to(device))


def _read_images(paths: Sequence[Path], size: int) -> torch.Tensor:
    """uint8 (N, 3, size, size). Threads help: Pillow decodes and scales outside Python's lock."""
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: _read_image(path, size), paths)
        for i, image in enumerate(tqdm(read, "reading images", len(paths), disable=len(paths) < 5_000)):
            images[i] = image
    return torch.from_numpy(images)


def _read_image(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as file:
            require(not file.mode.startswith(("I", "F")), f"mode {file.mode}, more than 8 bits a channel")
            image = ImageOps.exif_transpose(file)  # as a camera's "which way is up" says
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
    except Exception as error:  # Pillow raises many kinds for broken files
        raise ValueError(f"{path} cannot be read as an 8-bit image ({error}). Replace it or take it away.") from error
    return np.asarray(image).transpose(2, 0, 1)  # (3, size, size)


def _torchvision_set(name: str, place: str, parts: str, **arguments):
    """torchvision.datasets.<name>, found in a data folder, or downloaded into the first one.

    place: the set's folder in a data folder.  parts: what to put there by hand, for messages.
    torchvision shows the progress and checks the hashes. It works in a temporary folder beside the target, and the set
    is moved into place only when whole: an interrupted download leaves nothing behind.
    Raises ValueError for a set that is there but not whole, ConnectionError where it cannot be downloaded.
    """
    open_set = getattr(_torchvision().datasets, name)
    for data in data_folders():
        if (data / place).exists():
            try:
                return open_set(str(data), **arguments)
            except Exception as error:  # a missing file, a wrong hash or a truncated one: of any kind
                raise ValueError(f"{data / place} is there but not whole ({error}). "
                                 f"Delete it to have it downloaded again, or put there {parts}.") from error
    data = data_folders()[0]
    data.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".download-", dir=data, ignore_cleanup_errors=True) as temporary:
        try:
            open_set(temporary, download=True, **arguments)
        except Exception as error:
            raise ConnectionError(
                f"{name} is not here and could not be downloaded ({error}). Is there a network? {looked_for([place])} "
                f"To do without: put into one of these folders {parts}.") from error
        if not (data / place).exists():  # another process may have been faster
            os.rename(Path(temporary) / place, data / place)
    return open_set(str(data), **arguments)


def _torchvision():
    """The module torchvision, imported when it is needed; ImportError with the remedy where it does not fit torch."""
    try:
        import torchvision
        import torchvision.datasets
    except Exception as error:  # not only ImportError: "operator torchvision::nms does not exist" is a RuntimeError
        try:
            version = metadata.version("torchvision")
        except metadata.PackageNotFoundError:
            version = "not installed"
        raise ImportError(
            f"torch {torch.__version__} and torchvision {version} do not match ({error}). Install the pair that the "
            "lock names: `pip install -r requirements.lock`, and restart Python.") from error
    return torchvision


def _require_size(size: int) -> None:
    require(isinstance(size, Integral) and size >= 1, f"size is {size!r}; it must be an integer of 1 or more (pixels).")
