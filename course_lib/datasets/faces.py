"""Faces: 20,000 drawn people with their true attributes and the masks of their parts, from data/faces.npz.

The file says of each pixel which two parts of the drawing it shows, and in what mixture; the person's colours, light
and texture are put on here. All of it is integer arithmetic, so that every machine gets the same bytes.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..checks import require, require_one_of, require_shape
from .files import find, read_checked

FILE, SIZE = "faces.npz", 10_870_071
SHA256 = "1f178bc0339c7bbfe8711495fd2f862c1d1fb11538871a1637f75f587c53cc3a"
REMEDY = "Restore it with `git checkout -- data/faces.npz`, or draw it again with `make faces`."

# Attribute → its values, by their numbers. Each attribute was drawn by itself, so none tells anything of another, but
# for one thing: the colour of hair is "hidden" where neither hair nor a beard is to be seen.
ATTRIBUTES = {
    "smile": ("no", "yes"),
    "glasses": ("none", "glasses", "sunglasses"),
    "beard": ("none", "moustache", "beard"),
    "hair": ("short", "curly", "long", "bun", "bald", "hat"),
    "hair colour": ("black", "brown", "ginger", "blond", "grey", "hidden"),
    "skin": ("pale", "light", "tan", "brown", "dark"),
    "clothes": ("red", "yellow", "green", "blue", "purple", "white"),
    "looking": ("right", "left"),
}
PARTS = ("background", "face", "hair", "hat", "glasses", "clothes")

# How the file numbers what a pixel shows: background, skin, hair, hat, clothes, white (of eyes and teeth), glasses, and
# the lines of face, hair, hat and clothes. For each number: the place of its colour in the palette, and its part.
COLOURS_OF = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7])
PARTS_OF = np.array([0, 1, 2, 3, 5, 1, 4, 1, 2, 3, 5], np.uint8)
HAIR, CLOTHES, CURLY = 2, 4, 1
BLOCK = 50                                      # people at a time, so that what is in work fits in the cache


class FaceSet(NamedTuple):
    """Faces, what is true of them, and where their parts are.

    images: uint8 (N, 3, 32, 32), or (N, 1, 32, 32) in grey.  attributes: int64 (N, 8), a column for each of
    ATTRIBUTES, its values by number.  parts: uint8 (N, 32, 32), which of PARTS a pixel shows most of.
    """

    images: Tensor
    attributes: Tensor
    parts: Tensor

    def floats(self) -> Tensor:
        """The images as float32 in [0, 1], four times the memory."""
        return self.images.float() / 255

    def in_grey(self) -> FaceSet:
        """The same people without colour: images uint8 (N, 1, 32, 32), (77 red + 150 green + 29 blue)/256, rounded.

        That is luma by ITU-R BT.601, in integers, so that every machine gets the same bytes. Grey faces stay."""
        if self.images.shape[1] == 1:
            return self
        red, green, blue = self.images.int().unbind(1)
        return self._replace(images=((77 * red + 150 * green + 29 * blue + 128) >> 8).to(torch.uint8).unsqueeze(1))

    def attribute(self, name: str) -> Tensor:
        """One attribute's numbers, int64 (N,): 0 is the first of its values in ATTRIBUTES."""
        require_one_of("name", name, ATTRIBUTES)
        return self.attributes[:, list(ATTRIBUTES).index(name)]

    def mask(self, *parts: str) -> Tensor:
        """Where these parts are: bool (N, 1, 32, 32), True inside."""
        for part in parts:
            require_one_of("part", part, PARTS)
        wanted = torch.tensor([PARTS.index(part) for part in parts], dtype=torch.uint8, device=self.parts.device)
        return torch.isin(self.parts, wanted).unsqueeze(1)


def faces(split: str = "train", device: torch.device | str | None = None) -> FaceSet:
    """Drawn people, 32×32, in colour, with their attributes and the masks of their parts.

    split: "train" (18,000) or "test" (2,000).  device: where the tensors go; None is the CPU.
    The file is searched in $COURSE_DATA, then in the repository's data/, and checked by SHA-256. Artwork: Open Peeps
    by Pablo Stanley (CC0). Raises ValueError for another split and for a truncated or altered file, FileNotFoundError
    for a missing one.
    """
    require_one_of("split", split, ("train", "test"))
    content = read_checked(find([FILE], REMEDY), SIZE, SHA256, REMEDY)
    with np.load(io.BytesIO(content)) as file:
        two, mix, palette, draw, attributes = (file[f"{split}_{name}"]
                                               for name in ("two", "mix", "palette", "draw", "attributes"))
    images = np.empty((len(two), 3, 32, 32), np.uint8)
    for start in range(0, len(two), BLOCK):
        i = slice(start, start + BLOCK)
        images[i] = paint(two[i], mix[i], palette[i], draw[i], attributes[i, 3] == CURLY)
    return FaceSet(torch.from_numpy(images).to(device), torch.from_numpy(attributes).long().to(device),
                   torch.from_numpy(PARTS_OF.take(two >> 4)).to(device))


def describe(attributes: Tensor) -> list[str]:
    """Attributes (N, 8) in words: "a smiling person with dark skin, long ginger hair and glasses, dressed in blue, …".

    Different attributes have different descriptions. Raises ValueError for another shape or a number out of range.
    """
    require_shape("attributes", attributes, None, len(ATTRIBUTES))
    sizes = torch.tensor([len(values) for values in ATTRIBUTES.values()])
    require(bool(((attributes.cpu() >= 0) & (attributes.cpu() < sizes)).all()),
            f"attributes must be numbers from 0 to {(sizes - 1).tolist()}, a column each, as faces() gives them.")
    return [_sentence(*(values[i] for values, i in zip(ATTRIBUTES.values(), row, strict=True)))
            for row in attributes.tolist()]


def _sentence(smile, glasses, beard, hair, hair_colour, skin, clothes, looking):
    colour = "" if hair_colour == "hidden" else f"{hair_colour} "
    head = {"bun": f"{colour}hair in a bun", "bald": "a bald head",
            "hat": f"{colour}hair under a hat" if colour and beard == "none" else "a hat"}
    things = [f"{skin} skin", head.get(hair, f"{hair} {colour}hair"),
              *([] if beard == "none" else [f"a {colour}{beard}" if hair in ("bald", "hat") else f"a {beard}"]),
              *([] if glasses == "none" else [glasses])]
    return (f"a {'smiling' if smile == 'yes' else 'serious'} person with {', '.join(things[:-1])} and {things[-1]}, "
            f"dressed in {clothes}, looking {looking}")


# --- colour, texture, light: integers only ---------------------------------------------------------------------------
# In NumPy: these are many small steps, and PyTorch's threads would wait for each other longer than they work.

def _wave(n: int) -> list[int]:
    """One period in n steps, −127 … 127: a sine made of two parabolas, so that no two machines round it differently."""
    half = [508 * t * (n // 2 - t) // (n // 2) ** 2 for t in range(n // 2)]
    return half + [-v for v in half]


def _noise(n: int) -> list[int]:
    """Numbers from −128 to 127 in no order that the eye sees: the high bits of a linear congruential generator."""
    state, numbers = 1, []
    for _ in range(n):
        state = (1_103_515_245 * state + 12_345) % 2**31
        numbers.append((state >> 16) % 256 - 128)
    return numbers


WAVE, NOISE = (np.array(table, np.int16) for table in (_wave(256), _noise(256)))
ALONG = np.arange(32, dtype=np.int16)           # the pixels of a row or column


def paint(two: np.ndarray, mix: np.ndarray, palette: np.ndarray, draw: np.ndarray, curly: np.ndarray) -> np.ndarray:
    """Images uint8 (N, 3, 32, 32) from a part of the file.

    two: (N, 32, 32), 16 × the number of what a pixel mostly shows + that of the second; mix: (N, 32, 32), how many of
    a pixel's 16 sixteenths show the second; palette: (N, 8, 3); draw: (N, 8), random bytes for light and texture; all
    uint8.  curly: bool (N,), whose hair is drawn in curls, not in strands.
    """
    n = len(two)
    first, second, mix = two >> 4, two & 15, mix.astype(np.int16)                  # (N, 32, 32)
    texture = (_share(first, second, mix, HAIR) * _hair(draw, curly)
               + _share(first, second, mix, CLOTHES) * _pattern(draw))             # in sixteenths, as what follows
    light = _light(draw)                                                           # 1024 leaves a colour as it is
    person = len(PARTS_OF) * np.arange(n)[:, None, None]
    first, second = first + person, second + person
    image = np.empty((n, 3, 32, 32), np.uint8)
    for c in range(3):
        colours = palette[:, COLOURS_OF, c].astype(np.int16)                       # (N, 11)
        a, b = colours.take(first), colours.take(second)
        flat = np.clip((16 * a + mix * (b - a) + texture) >> 4, 0, 255)
        image[:, c] = np.clip((flat * light) >> 10, 0, 255)
    return image


def _share(first, second, mix, what):
    """How many of a pixel's sixteenths show this."""
    return (first == what) * (16 - mix) + (second == what) * mix


def _hair(draw, curly):
    """Strands: a brightness for each wavy line across a direction of the person's own. Curls: two such sets crossed."""
    lean, seed = (draw[:, 3:4].astype(np.int16) - 128) // 8, draw[:, 4:5].astype(np.int16)
    ripple = WAVE.take((9 * ALONG + seed) & 255) // 8                              # (N, 32)
    lines = (24 * ALONG + (lean * ALONG + ripple)[:, :, None]) >> 5                # (N, rows, columns)
    strands = NOISE.take((lines + seed[:, :, None]) & 255)
    lines = (24 * ALONG[:, None] + (ripple - lean * ALONG)[curly, None]) >> 5
    strands[curly] = (strands[curly] + NOISE.take((lines + 3 * seed[curly, :, None]) & 255)) // 2
    return strands // 5


def _pattern(draw):
    """Plain for two in five, else stripes lying, slanted or upright, or checks."""
    kind, phase, period = draw[:, 5, None, None], draw[:, 6:7].astype(np.int16), 40 + draw[:, 7:8].astype(np.int16) // 4
    sign = np.where(WAVE.take((period * np.arange(63) + phase) & 255) > 0, 22, -22).astype(np.int16)       # (N, 63)
    lying, upright = sign[:, :32, None], sign[:, None, :32]
    slanted = np.lib.stride_tricks.sliding_window_view(sign, 32, axis=1)           # (N, 32, 32): row + column
    return np.select([kind < 102, kind < 140, kind < 180, kind < 218], [np.int16(0), lying, slanted, upright],
                     lying * upright // 22)


def _light(draw):
    gain, right, down = (draw[:, k, None, None].astype(np.int32) - 128 for k in range(3))
    at = 2 * ALONG.astype(np.int32) - 31
    return 1024 + gain + (down * at[:, None] + right * at) // 40
