"""Attribute vectors: means by hand, a latent space in which all is known, and the table's rows on small networks."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib import recipes
from course_lib.attributes import attribute_vector, codes_of, edit_columns, edited, measure_edits
from course_lib.datasets import FaceSet
from course_lib.datasets.faces import ATTRIBUTES
from course_lib.networks import Autoencoder, conv_vae
from course_lib.recipes import attributes as table
from course_lib.recipes.attributes import CHANGES, Change
from course_lib.recipes.store import settings_of

exactly = {"rtol": 0, "atol": 0}
SIZES = torch.tensor([len(values) for values in ATTRIBUTES.values()])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Pixels(nn.Module):
    """A code for each pixel of (N, 1, 2, 2): what it encodes it decodes, but never above 0.9."""

    def __init__(self, gaussian=False):
        super().__init__()
        self.gaussian = gaussian

    def encode(self, x):
        code = x.flatten(1)
        return (code, torch.full_like(code, 9.0)) if self.gaussian else code

    def decode(self, z):
        return z.clamp_max(0.9).view(-1, 1, 2, 2)


def bright(images):
    """The "classifier": whether each of the four pixels is above ½."""
    return (images.flatten(1) > 0.5).long()


IMAGES = torch.tensor([[0.1, 0.1, 0.7, 0.2], [0.4, 0.1, 0.2, 0.2], [0.6, 0.8, 0.1, 0.4]]).view(3, 1, 2, 2)
ACROSS = torch.tensor([0.3, 0.3, 0.0, 0.0])                            # brightens pixels 0 and 1


# --- vectors ---------------------------------------------------------------------------------------------------------

def test_the_vector_goes_from_the_mean_of_those_without_to_the_mean_of_those_with():
    codes = torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 5.0], [8.0, 7.0], [6.0, -1.0]])
    has = torch.tensor([False, True, False, True, False])
    assert attribute_vector(codes, has).tolist() == pytest.approx([6 - 8 / 3, 5 - 5 / 3])
    assert_close(attribute_vector(codes, ~has), -attribute_vector(codes, has))


@pytest.mark.parametrize("codes, has, message", [
    (torch.zeros(3), torch.ones(3).bool(), r"codes has shape \(3,\)"),
    (torch.zeros(3, 2), torch.ones(2).bool(), r"has has shape \(2,\); it must be \(3,\)"),
    (torch.zeros(3, 2), torch.ones(3), r"has is torch\.float32; it must be bool"),
    (torch.zeros(3, 2), torch.ones(3).bool(), "3 of 3 images have the attribute"),
    (torch.zeros(3, 2), torch.zeros(3).bool(), "0 of 3 images have the attribute"),
])
def test_vectors_that_would_be_none_are_refused(codes, has, message):
    with pytest.raises(ValueError, match=message):
        attribute_vector(codes, has)


@pytest.mark.parametrize("gaussian", [False, True])
def test_codes_are_the_encoder_s_answer_or_its_mean(gaussian):
    model = Pixels(gaussian)
    assert_close(codes_of(model, IMAGES), IMAGES.flatten(1), **exactly)
    assert_close(codes_of(model, IMAGES, block=2), IMAGES.flatten(1), **exactly)
    assert_close(codes_of(model, torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)), torch.full((1, 4), 0.2))


def test_edited_images_are_decoded_from_the_moved_code():
    for model in (Pixels(), Pixels(gaussian=True)):
        assert_close(edited(model, IMAGES, ACROSS, 0.0), IMAGES)
        assert_close(edited(model, IMAGES, ACROSS, 2.0)[0], torch.tensor([[[0.7, 0.7], [0.7, 0.2]]]))
        assert_close(edited(model, IMAGES, ACROSS, -1.0)[2], torch.tensor([[[0.3, 0.5], [0.1, 0.4]]]))
    columns = edit_columns(Pixels(), IMAGES, ACROSS, (-1, 1.5))
    assert list(columns) == ["original", "reconstruction", "s = −1", "s = 1.5"]
    assert_close(columns["s = 1.5"], edited(Pixels(), IMAGES, ACROSS, 1.5))
    with pytest.raises(ValueError, match=r"vector has shape \(3,\); it must be \(4,\)"):
        edited(Pixels(), IMAGES, ACROSS[:3], 1.0)


# --- measures --------------------------------------------------------------------------------------------------------

def test_shares_are_those_counted_by_hand():
    rows = measure_edits(Pixels(), IMAGES, ACROSS, bright, 0, 1, (0.0, 1.0, 2.0))
    # Pixel 0 is 0.1, 0.4, 0.6 and rises by 0.3 a strength; pixel 1 is 0.1, 0.1, 0.8 and goes along.
    assert [row["strength"] for row in rows] == [0, 1, 2]
    assert [row["changed"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [row["changed of the rest"] for row in rows] == pytest.approx([0, 1 / 2, 1])
    assert [row["held"] for row in rows] == pytest.approx([1, 1, 7 / 9])                # pixel 1 of the first two
    assert [row["held from the original"] for row in rows] == pytest.approx([1, 1, 7 / 9])
    assert [row["moved"] for row in rows] == pytest.approx([
        0, math.sqrt((5 * 0.09 + 0.01) / 12), math.sqrt((3 * 0.36 + 0.25 + 0.09 + 0.01) / 12)])
    assert all(row["moved elsewhere"] is None for row in rows)


def test_taking_away_is_the_same_backwards():
    row, = measure_edits(Pixels(), IMAGES, ACROSS, bright, 0, 0, (-0.5,))
    assert row["changed"] == 1 and row["changed of the rest"] == 1 and row["held"] == 1
    row, = measure_edits(Pixels(), IMAGES[:2], ACROSS, bright, 0, 0, (0.0,))
    assert row["changed"] == 1 and row["changed of the rest"] is None                   # they are all read so already


def test_what_held_is_counted_from_the_reconstruction_and_from_the_original():
    class Darker(Pixels):
        def decode(self, z):
            return super().decode(z) - 0.35

    rows = measure_edits(Darker(), IMAGES, ACROSS, bright, 0, 1, (0.0, 1.0))
    assert [row["held"] for row in rows] == pytest.approx([1, 8 / 9])           # pixel 1 of the third: 0.45, then 0.55
    assert [row["held from the original"] for row in rows] == pytest.approx([7 / 9, 8 / 9])
    assert [row["changed"] for row in rows] == pytest.approx([0, 1 / 3])


def test_only_what_counts_is_counted_and_elsewhere_is_only_there():
    counts, elsewhere = torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 1, 2, 2, dtype=torch.bool)
    counts[:, 1], elsewhere[:, :, 1] = False, True
    before = counts.clone()
    row, = measure_edits(Pixels(), IMAGES, ACROSS, bright, 0, 1, (2.0,), counts, elsewhere)
    assert row["held"] == 1 and torch.equal(counts, before) and row["moved elsewhere"] == 0
    row, = measure_edits(Pixels(), IMAGES, ACROSS, bright, 0, 1, (1.0,), counts, ~elsewhere)
    assert row["moved elsewhere"] == pytest.approx(math.sqrt((5 * 0.09 + 0.01) / 6))


@pytest.mark.parametrize("change, message", [
    ({"images": IMAGES[0]}, "images has shape"), ({"vector": ACROSS[:2]}, r"vector has shape \(2,\)"),
    ({"attribute": 4}, "attribute is 4; read gives 4"), ({"attribute": -1}, "attribute is -1"),
    ({"counts": torch.ones(3, 3).bool()}, r"counts has shape \(3, 3\)"),
    ({"counts": torch.zeros(3, 4).bool()}, "no other attribute counts"),
    ({"elsewhere": torch.ones(3, 2, 2).bool()}, "elsewhere has shape"),
    ({"elsewhere": torch.zeros(3, 1, 2, 2).bool()}, "elsewhere names no pixel"),
    ({"read": lambda images: bright(images)[:2]}, "what read gives has shape"),
])
def test_what_cannot_be_measured_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        measure_edits(**{"model": Pixels(), "images": IMAGES, "vector": ACROSS, "read": bright, "attribute": 0,
                         "wanted": 1, "strengths": (1.0,)} | change)


# --- the table -------------------------------------------------------------------------------------------------------

def crowd(n, seed):
    """Faces of noise, attributes at random."""
    draw = seeded(seed)
    attributes = (torch.rand(n, 8, generator=draw) * SIZES).long()
    return FaceSet(torch.randint(256, (n, 3, 32, 32), generator=draw, dtype=torch.uint8), attributes,
                   torch.randint(6, (n, 32, 32), generator=draw, dtype=torch.uint8))


@pytest.fixture
def small(monkeypatch):
    sets = {"train": crowd(300, 0), "test": crowd(80, 1)}
    torch.manual_seed(0)
    made = {"face-classifier": nn.Sequential(nn.Flatten(), nn.Linear(3072, int(SIZES.sum()))),
            "vae": conv_vae(5, 4).eval(),
            "ae": Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)),
                              nn.Sequential(nn.Linear(4, 3072), nn.Sigmoid(), nn.Unflatten(1, (3, 32, 32))), 4)}
    monkeypatch.setattr(table, "people", lambda split, device=None: sets[split])
    monkeypatch.setattr(recipes, "load", lambda name, device=None: made[name])
    return sets, made


def test_rows_are_each_model_s_edits_of_those_before(small):
    sets, made = small
    rows = table.attribute_rows(models=(("AE", "ae"), ("VAE", "vae")), strengths=(0.0, 2.0), grey=False,
                                classifier="face-classifier")
    assert len(rows) == 2 * len(CHANGES) * 2
    assert [row["model"] for row in rows] == ["AE"] * 18 + ["VAE"] * 18
    assert [row["change"] for row in rows[:18:2]] == list(CHANGES)
    assert list(rows[0]) == ["model", "change", "people", "strength", "changed", "changed of the rest", "held",
                             "held from the original", "moved", "moved elsewhere"]
    train, test = sets["train"], sets["test"]
    row = next(r for r in rows if (r["model"], r["change"], r["strength"]) == ("VAE", "add glasses", 2.0))
    codes = made["vae"].encode(train.floats())[0].detach()
    with_glasses, without = train.attributes[:, 1] == 1, train.attributes[:, 1] == 0      # sunglasses are neither
    vector = codes[with_glasses].mean(0) - codes[without].mean(0)
    who = test.attributes[:, 1] == 0
    x = test.floats()[who]
    plain, made_ = (made["vae"].decode(made["vae"].encode(x)[0] + s * vector) for s in (0, 2))
    read = lambda images: torch.stack([part.argmax(1) for part in made["face-classifier"](images).split(
        SIZES.tolist(), 1)], 1)
    assert row["people"] == int(who.sum())
    assert row["changed"] == pytest.approx((read(made_)[:, 1] == 1).float().mean().item())
    others = [0, 2, 3, 5, 6, 7]                                         # and the colour of hair, where it is seen
    same = read(made_) == read(plain)
    hair, beard = test.attributes[who, 3], test.attributes[who, 2]
    seen = ~((hair == 4) | (hair == 5)) | (beard > 0)
    held = torch.cat([same[:, others].flatten(), same[seen, 4]]).float().mean().item()
    assert row["held"] == pytest.approx(held)
    apart = (test.parts[who] == 0) | (test.parts[who] == 5)             # background and clothes
    moved = (made_ - plain).square().mean(1)[apart].mean().sqrt().item()
    assert row["moved elsewhere"] == pytest.approx(moved, rel=1e-4)


def test_grey_faces_are_what_grey_models_and_their_classifier_see(small):
    _, made = small
    torch.manual_seed(0)
    made["grey-vae"] = conv_vae(5, 4, (1, 32, 32)).eval()
    made["grey-face-classifier"] = nn.Sequential(nn.Flatten(), nn.Linear(1024, int(SIZES.sum())))
    rows = table.attribute_rows(models=(("VAE", "grey-vae"),), changes=("add glasses",), strengths=(0.0, 1.0))
    assert rows[0]["held"] == 1 and rows[1]["moved"] > 0


def test_what_the_grey_classifier_cannot_read_is_not_asked_to_hold(small, monkeypatch):
    _, made = small
    made["grey-vae"] = conv_vae(5, 4, (1, 32, 32)).eval()
    made["grey-face-classifier"] = nn.Sequential(nn.Flatten(), nn.Linear(1024, int(SIZES.sum())))
    asked = []
    monkeypatch.setattr(table, "measure_edits", lambda *given: asked.append(given[7]) or [])
    table.attribute_rows(models=(("VAE", "grey-vae"),), changes=("add glasses",))
    assert not asked[0][:, [4, 6]].any() and asked[0][:, [0, 1, 2, 3, 5, 7]].all()      # hair colour, clothes


def test_adding_and_removing_are_opposite_vectors():
    data, codes = crowd(300, 0), torch.randn(300, 6, generator=seeded())
    for there, back in (("add glasses", "remove glasses"), ("add a smile", "remove a smile"),
                        ("add a beard", "remove a beard"), ("short hair to long", "long hair to short")):
        assert_close(table.vector_of(CHANGES[there], codes, data), -table.vector_of(CHANGES[back], codes, data))
        one, other = (table.those_before(CHANGES[name], data) for name in (there, back))
        assert not (one & other).any() and one.any() and other.any()


def test_hair_s_colour_counts_where_it_is_seen_before_and_after():
    short, bald, hat = (ATTRIBUTES["hair"].index(value) for value in ("short", "bald", "hat"))
    people = torch.zeros(6, 8, dtype=torch.long)
    people[:, 3] = torch.tensor([short, bald, hat, short, bald, hat])
    people[3:, 2] = 2                                                   # the last three have beards
    colour = lambda name: table.which_count(CHANGES[name], people)[:, 4].tolist()
    assert colour("add glasses") == [True, False, False, True, True, True]
    assert colour("add a beard") == colour("remove a beard") == [True, False, False, True, False, False]
    assert colour("short hair to bald") == [False, False, False, True, True, True]
    assert colour("short hair to long") == [True] * 6                   # whoever it is, hair is seen
    rest = table.which_count(CHANGES["add a beard"], people)
    assert rest[:, [0, 1, 2, 3, 5, 6, 7]].all()


def test_changes_name_values_that_there_are():
    for change in CHANGES.values():
        assert change.before != change.after
        assert table.value_of(change.attribute, change.before) >= 0 <= table.value_of(change.attribute, change.after)
    with pytest.raises(ValueError, match="value is 'monocle'; it must be one of 'none', 'glasses', 'sunglasses'"):
        table.those_before(Change("glasses", "monocle", "none"), crowd(3, 0))
    with pytest.raises(ValueError, match="change is 'add wings'"):
        table.attribute_rows(models=(), changes=("add wings",))


def test_attributes_of_the_faces_go_with_no_other_so_no_balance_is_needed():
    """Cramér's V of each pair, but for the colour of hair, which is hidden at times: √(χ²/(N k)) of independent ones.

    χ² has f degrees of freedom; 5 standard deviations √(2f) above f.
    """
    attributes = recipes.faces.people("train").attributes
    for a in range(8):
        for b in range(a):
            if 4 in (a, b):
                continue
            counts = torch.zeros(int(SIZES[a]), int(SIZES[b])).double()
            counts.index_put_((attributes[:, a], attributes[:, b]), torch.ones(len(attributes)).double(), True)
            expected = counts.sum(1, keepdim=True) * counts.sum(0) / len(attributes)
            chi2, f = ((counts - expected) ** 2 / expected).sum().item(), (len(counts) - 1) * (counts.shape[1] - 1)
            assert chi2 < f + 5 * math.sqrt(2 * f), (a, b)


def test_the_table_is_registered_with_settings_that_a_card_can_hold():
    recipe = recipes.TABLES["face-attributes"]
    assert recipe.rows is table.attribute_rows and recipe.data == recipes.faces.DATA
    assert [name for name, _ in table.FACE_MODELS] == ["AE", "VAE", "VAE, fixed features", "VAE, Dis's features",
                                                       "VAE/GAN"]
    assert settings_of(recipe.rows)["strengths"] == [0.0, 1.0, 2.0]
