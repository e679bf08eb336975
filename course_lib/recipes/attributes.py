"""The table on attribute vectors: faces edited along them, read by the attribute classifier, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.attributes import attribute_vector, codes_of, measure_edits
from course_lib.checks import require_one_of
from course_lib.classifiers import read_attributes
from course_lib.datasets import FaceSet
from course_lib.datasets.faces import ATTRIBUTES
from course_lib.recipes.faces import DATA, SIZES, people
from course_lib.recipes.store import Table


class Change(NamedTuple):
    """An attribute's value that people have, and the one that they are to get."""

    attribute: str
    before: str
    after: str


CHANGES = {
    "add glasses": Change("glasses", "none", "glasses"), "remove glasses": Change("glasses", "glasses", "none"),
    "add a smile": Change("smile", "no", "yes"), "remove a smile": Change("smile", "yes", "no"),
    "add a beard": Change("beard", "none", "beard"), "remove a beard": Change("beard", "beard", "none"),
    "short hair to long": Change("hair", "short", "long"), "long hair to short": Change("hair", "long", "short"),
    "short hair to bald": Change("hair", "short", "bald"),
}
# Parts that a change of this attribute should leave alone. Hair may hang over anything.
ELSEWHERE = {"glasses": ("background", "clothes"), "smile": ("background", "clothes"), "beard": ("background",)}
NAMES = tuple(ATTRIBUTES)
UNREAD_IN_GREY = ("hair colour", "clothes")     # the classifier of grey faces is wrong on a fifth of them, or more
FACE_MODELS = (("AE", "ae-faces"), ("VAE", "vae-pixel-faces"), ("VAE, fixed features", "vae-features-faces"),
               ("VAE, Dis's features", "vae-dis-faces"), ("VAE/GAN", "vaegan-faces"))


def value_of(attribute: str, value: str) -> int:
    """A value's number: value_of("glasses", "sunglasses") is 2."""
    require_one_of("attribute", attribute, ATTRIBUTES)
    require_one_of("value", value, ATTRIBUTES[attribute])
    return ATTRIBUTES[attribute].index(value)


def vector_of(change: Change, codes: Tensor, data: FaceSet) -> Tensor:
    """The vector of a change, from the codes of faces that have its one value or its other: (N, d) → (d,).

    No balancing: the set's attributes were drawn independently, but for hair's colour, which is hidden where no hair is
    to be seen, and then tells nothing of the image.
    """
    values = data.attribute(change.attribute)
    after = values == value_of(change.attribute, change.after)
    either = after | (values == value_of(change.attribute, change.before))
    return attribute_vector(codes[either], after[either])


def those_before(change: Change, data: FaceSet) -> Tensor:
    """Who is to be edited: bool (N,)."""
    return data.attribute(change.attribute) == value_of(change.attribute, change.before)


def which_count(change: Change, attributes: Tensor) -> Tensor:
    """Which attributes can hold: bool (N, 8); the colour of hair where hair or a beard is seen before and after."""
    counts = torch.ones_like(attributes, dtype=torch.bool)
    for value in (change.before, change.after):
        then = attributes.clone()
        then[:, NAMES.index(change.attribute)] = value_of(change.attribute, value)
        hair, beard = (then[:, NAMES.index(name)] for name in ("hair", "beard"))
        covered = (hair == value_of("hair", "bald")) | (hair == value_of("hair", "hat"))
        counts[:, NAMES.index("hair colour")] &= ~covered | (beard != value_of("beard", "none"))
    return counts


def attribute_rows(device=None, *, models: Sequence[tuple[str, str]] = FACE_MODELS,
                   changes: Sequence[str] = tuple(CHANGES),
                   strengths: Sequence[float] = (0.0, 1.0, 2.0), grey: bool = True,
                   classifier: str = "grey-face-classifier") -> list[dict]:
    """Each model's test faces under each change, at each strength: see ``attributes.measure_edits``.

    models: pairs (name in the table, stored model). Vectors come from the training faces; edited are all test faces
    that have the value before; "people" says how many. Strength 0 is the plain reconstruction. grey: whether models
    and classifier are of grey faces; then the attributes of UNREAD_IN_GREY are not among those that are to hold.
    """
    from course_lib.recipes import load
    for name in changes:
        require_one_of("change", name, CHANGES)
    train, test = (people(split, device).in_grey() if grey else people(split, device) for split in ("train", "test"))
    read = partial(read_attributes, load(classifier, device), sizes=SIZES)
    rows = []
    for model_name, stored in models:
        model = load(stored, device)
        codes = codes_of(model, train.images)
        for name in changes:
            change = CHANGES[name]
            who, parts = those_before(change, test), ELSEWHERE.get(change.attribute)
            counts = which_count(change, test.attributes[who])
            if grey:
                counts[:, [NAMES.index(unread) for unread in UNREAD_IN_GREY]] = False
            found = measure_edits(
                model, test.images[who], vector_of(change, codes, train), read, NAMES.index(change.attribute),
                value_of(change.attribute, change.after), strengths, counts,
                None if parts is None else test.mask(*parts)[who])
            rows += [{"model": model_name, "change": name, "people": int(who.sum()), **row} for row in found]
    return rows


TABLES = {
    "face-attributes": Table("test faces edited along attribute vectors, read by the attribute classifier",
                             attribute_rows, DATA),
}
