"""Where data files lie, and what a set of images is: shared by the modules that read sets."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..checks import require

REPOSITORY_DATA = Path(__file__).resolve().parents[2] / "data"


class ImageSet(NamedTuple):
    """Images and their labels, kept whole in memory; ``batches`` indexes them.

    images: uint8 (N, C, H, W), 0 … 255.  labels: int64 (N,), classes from 0 on (CelebA: (N, 40) attributes).
    """

    images: Tensor
    labels: Tensor

    def floats(self) -> tuple[Tensor, Tensor]:
        """The images as float32 in [0, 1], four times the memory, and the labels."""
        return self.images.float() / 255, self.labels


def data_folders() -> list[Path]:
    """The folders that are searched, in order: $COURSE_DATA where it is set, then the repository's data/."""
    chosen = os.environ.get("COURSE_DATA")
    return ([Path(chosen).expanduser()] if chosen else []) + [REPOSITORY_DATA]


def looked_for(names: list[str]) -> str:
    """A sentence for error messages: which names were looked for, in which folders."""
    folders = ", then in ".join(str(folder) for folder in data_folders())
    hint = "" if os.environ.get("COURSE_DATA") else " ($COURSE_DATA, which would be searched first, is not set)"
    return f"Looked for {' or '.join(names)} in {folders}{hint}."


def find(names: list[str], remedy: str) -> Path:
    """The first of these files (paths relative to a data folder) that exists.

    Raises FileNotFoundError that says what was looked for, where, and the remedy.
    """
    for folder in data_folders():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise FileNotFoundError(f"{names[0]} is missing. {looked_for(names)} {remedy}")


def read_checked(path: Path, size: int, sha256: str, remedy: str) -> bytearray:
    """A file's bytes, gunzipped where the name ends in .gz, if size and SHA-256 (of the gunzipped bytes) are right.

    Read piece by piece into one buffer, hashed while a piece is in the cache: MNIST's 47 MB take about 0.15 s.
    Raises ValueError that names the file, what is wrong with it, and the remedy.
    """
    gunzip = zlib.decompressobj(wbits=31) if path.suffix == ".gz" else None  # 31: a gzip header, and its CRC checked
    data, end, digest = bytearray(size), 0, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 16):
            try:
                piece = gunzip.decompress(piece) if gunzip else piece
            except zlib.error as error:
                raise ValueError(f"{path} is no gzip file or has been altered ({error}). {remedy}") from error
            require(end + len(piece) <= size, f"{path} holds more than {size:,} bytes: it is another file. {remedy}")
            data[end:end + len(piece)] = piece
            end += len(piece)
            digest.update(piece)
    require(end == size and (gunzip is None or gunzip.eof),
            f"{path} is truncated: it ends after {end:,} of {size:,} bytes. {remedy}")
    require(digest.hexdigest() == sha256,
            f"{path} has been altered: its SHA-256 is {digest.hexdigest()}, not {sha256}. {remedy}")
    return data
