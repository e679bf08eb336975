import hashlib
import io
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from course_lib import recipes
from course_lib.datasets import FaceSet, batches, faces, files
from course_lib.datasets.faces import (
    ATTRIBUTES,
    COLOURS_OF,
    CURLY,
    NOISE,
    PARTS,
    PARTS_OF,
    SHA256,
    SIZE,
    WAVE,
    describe,
    paint,
)

FILE = files.REPOSITORY_DATA / "faces.npz"
SCRIPT = files.REPOSITORY_DATA / "make_faces"


@pytest.fixture(scope="module")
def train():
    return faces()


@pytest.fixture(scope="module")
def test():
    return faces("test")


@pytest.fixture(scope="module")
def stored():
    with np.load(FILE) as file:
        return {name: file[f"test_{name}"] for name in ("two", "mix", "palette", "draw", "attributes")}


def value(data, attribute, name):
    """Whose attribute has this value: bool (N,)."""
    return data.attribute(attribute) == ATTRIBUTES[attribute].index(name)


def mean_colour(data, part):
    """The mean colour of a part on each image, as shares of their sum: (N, 3); light falls out of shares."""
    inside = data.mask(part)
    colour = (data.images.float() * inside).sum((2, 3)) / inside.sum((2, 3)).clamp_min(1)
    return colour


def test_the_set_is_whole_and_the_same_on_every_machine(train, test):
    assert isinstance(train, FaceSet)
    for data, n, sha in ((train, 18_000, "3ad8ce50d6846f2e2fe3fa7b80655df08ee04c0baf9d592c4ea5c8ad847765e5"),
                         (test, 2_000, "344381350dee8454efe95cefa68fdedb4e71f831426a6dfe20564958a7e1056a")):
        assert data.images.shape == (n, 3, 32, 32) and data.images.dtype == torch.uint8
        assert data.attributes.shape == (n, len(ATTRIBUTES)) and data.attributes.dtype == torch.int64
        assert data.parts.shape == (n, 32, 32) and data.parts.dtype == torch.uint8
        assert hashlib.sha256(data.images.numpy().tobytes()).hexdigest() == sha    # of what another program painted too


def test_no_two_images_are_the_same(train, test):
    images = torch.cat([train.images, test.images]).numpy()
    assert len({hashlib.sha256(image.tobytes()).digest() for image in images}) == 20_000


def test_every_value_is_common_and_no_attribute_tells_of_another(train):
    for name, values in ATTRIBUTES.items():
        shares = train.attribute(name).bincount(minlength=len(values)) / 18_000
        assert len(shares) == len(values) and shares.min() > 0.14, name
    for a, b in itertools.combinations(ATTRIBUTES, 2):
        if {a, b} in ({"hair", "hair colour"}, {"beard", "hair colour"}):
            continue                                            # hidden where there is no hair: see the next test
        table = torch.zeros(len(ATTRIBUTES[a]), len(ATTRIBUTES[b]), dtype=torch.float64)
        table.index_put_((train.attribute(a), train.attribute(b)), torch.tensor(1.0, dtype=torch.float64), True)
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        chi2, freedom = ((table - expected) ** 2 / expected).sum().item(), (table.shape[0] - 1) * (table.shape[1] - 1)
        assert chi2 < freedom + 4.5 * (2 * freedom) ** 0.5, (a, b)      # a fair draw: 99.9 %


def test_hair_colour_is_hidden_where_no_hair_is_to_be_seen(train):
    hidden, beardless = value(train, "hair colour", "hidden"), value(train, "beard", "none")
    assert not (hidden & ~beardless).any()
    assert (hidden == beardless)[value(train, "hair", "bald")].all()
    haired = ~value(train, "hair", "bald") & ~value(train, "hair", "hat")
    assert not hidden[haired].any()
    assert train.mask("hair").sum((1, 2, 3))[hidden].max() < 6


def test_attributes_are_what_the_pictures_show(train):
    area = {part: train.mask(part).sum((1, 2, 3)) for part in PARTS}
    assert ((area["glasses"] > 0) == ~value(train, "glasses", "none")).all()
    dark = area["glasses"].float()
    assert dark[value(train, "glasses", "sunglasses")].mean() > 1.3 * dark[value(train, "glasses", "glasses")].mean()
    assert area["hat"][value(train, "hair", "hat")].min() > 2 * area["hat"][~value(train, "hair", "hat")].max()
    assert (area["hair"][value(train, "hair", "long")].float().mean()
            > 1.3 * area["hair"][value(train, "hair", "short")].float().mean())
    assert area["clothes"].min() >= 20 and area["face"].min() > 60
    bald = value(train, "hair", "bald")
    assert area["hair"][bald & value(train, "beard", "none")].max() == 0
    assert area["hair"][bald & value(train, "beard", "beard")].min() > 0
    assert (area["hair"][bald & value(train, "beard", "beard")].float().median()
            > area["hair"][bald & value(train, "beard", "moustache")].float().median() > 0)


@pytest.mark.parametrize(("attribute", "part", "palette"), [
    ("clothes", "clothes", [(224, 72, 62), (245, 201, 59), (63, 174, 90), (59, 111, 212), (154, 85, 200),
                            (244, 244, 240)]),
    ("hair colour", "hair", [(29, 21, 18), (122, 74, 33), (209, 80, 26), (242, 201, 76), (185, 186, 196)]),
])
def test_colours_are_what_their_names_say(train, attribute, part, palette):
    """The mean colour of a part is nearest to its own name's colour for nearly all; light shifts the rest."""
    colour, number = mean_colour(train, part), train.attribute(attribute)
    seen = (number < len(palette)) & (train.mask(part).sum((1, 2, 3)) >= 40)
    nearest = torch.cdist(colour[seen], torch.tensor(palette, dtype=torch.float32)).argmin(1)
    assert (nearest == number[seen]).float().mean() > 0.85


def test_skins_get_darker_in_the_order_of_their_names(train):
    brightness = mean_colour(train, "face").mean(1)
    means = [brightness[train.attribute("skin") == k].mean() for k in range(5)]
    assert means == sorted(means, reverse=True) and means[0] > 1.8 * means[4]


def test_who_looks_left_is_mirrored(train):
    """Noses point to where people look: the mean of those who look left is the mirror image of the others' mean."""
    x, left = train.floats().mean(1), value(train, "looking", "left")
    mean_left, mean_right = x[left].mean(0), x[~left].mean(0)
    assert (mean_left - mean_right.flip(1)).abs().mean() < 0.2 * (mean_left - mean_right).abs().mean()
    glasses = train.mask("glasses")[:, 0].float().sum((0, 1)), train.mask("glasses")[~left][:, 0].float().sum((0, 1))
    columns = torch.arange(32.0)
    assert (glasses[1] @ columns) / glasses[1].sum() > 16.5                     # in the right half: they look right


def test_smiles_are_white(train):
    """Teeth: smiling mouths hold more white in the lower half of the face."""
    bright = (train.images.amin(1) > 200) & train.mask("face")[:, 0]
    teeth = bright[:, 17:].sum((1, 2)).float()
    dark_skinned = train.attribute("skin") >= 2                                 # on pale skin, white says little
    smiles = value(train, "smile", "yes")
    assert teeth[smiles & dark_skinned].mean() > 5 * teeth[~smiles & dark_skinned].mean()


def painted_slowly(two, mix, palette, draw, curly):
    """One person, pixel by pixel, with fractions: what ``paint`` does in integers, up to its rounding down."""
    def texture(code, row, column):
        lean, seed = (int(draw[3]) - 128) // 8, int(draw[4])
        if code == 2:
            line = (24 * column + lean * row + int(WAVE[(9 * row + seed) % 256]) // 8) // 32
            strand = int(NOISE[(line + seed) % 256])
            if curly:
                line = (24 * row - lean * column + int(WAVE[(9 * column + seed) % 256]) // 8) // 32
                strand = (strand + int(NOISE[(line + 3 * seed) % 256])) // 2
            return strand // 5
        if code == 4:
            kind, phase, period = int(draw[5]), int(draw[6]), 40 + int(draw[7]) // 4
            def sign(at):
                return 1 if WAVE[(period * at + phase) % 256] > 0 else -1
            kinds = [(102, 0), (140, sign(row)), (180, sign(row + column)), (218, sign(column)),
                     (256, sign(row) * sign(column))]
            return 22 * next(pattern for end, pattern in kinds if kind < end)
        return 0

    image = np.empty((3, 32, 32))
    gain, right, down = (int(v) - 128 for v in draw[:3])
    for row, column, c in itertools.product(range(32), range(32), range(3)):
        pixel = 0.0
        for code, share in ((two[row, column] // 16, 16 - mix[row, column]), (two[row, column] % 16, mix[row, column])):
            pixel += share / 16 * (float(palette[COLOURS_OF[code], c]) + texture(code, row, column))
        light = 1 + (gain + (right * (2 * column - 31) + down * (2 * row - 31)) / 40) / 1024
        image[c, row, column] = min(255, max(0, min(255, max(0, pixel)) * light))
    return image


def test_painting_equals_a_slow_painting_in_fractions(stored):
    curly = stored["attributes"][:, 3] == CURLY
    chosen = [int(np.flatnonzero(curly)[0]), *np.flatnonzero(~curly)[:3].tolist(), 1_999]
    fast = paint(*(stored[name][chosen] for name in ("two", "mix", "palette", "draw")), curly[chosen])
    for k, i in enumerate(chosen):
        slow = painted_slowly(*(stored[name][i] for name in ("two", "mix", "palette", "draw")), curly[i])
        assert np.abs(fast[k] - slow).max() < 3                      # rounded down twice
        assert 0 < (slow - fast[k]).mean() < 2


def test_a_part_is_what_most_of_a_pixel_shows(stored, test):
    assert (stored["mix"] <= 8).all() and (stored["two"] >> 4).max() < len(PARTS_OF)
    assert np.array_equal(PARTS_OF[stored["two"] >> 4], test.parts.numpy())
    assert torch.equal(sum(test.mask(part).int() for part in PARTS), torch.ones(2_000, 1, 32, 32, dtype=torch.int32))
    assert torch.equal(test.mask("hair", "hat"), test.mask("hair") | test.mask("hat"))


def test_sets_feed_batches(test):
    x, y = next(batches((test.images, test.attributes), 16))
    assert x.dtype == torch.float32 and x.max() <= 1 and y.shape == (16, 8)
    assert torch.equal(test.floats()[:2], test.images[:2].float() / 255)


def test_names_are_checked(test):
    with pytest.raises(ValueError, match=r"split is 'valid'.*'train', 'test'"):
        faces("valid")
    with pytest.raises(ValueError, match=r"name is 'mood'.*'smile'"):
        test.attribute("mood")
    with pytest.raises(ValueError, match=r"part is 'nose'.*'glasses'"):
        test.mask("face", "nose")


# --- descriptions ----------------------------------------------------------------------------------------------------

def row(**values):
    chosen = {name: 0 for name in ATTRIBUTES} | {key.replace("_", " "): ATTRIBUTES[key.replace("_", " ")].index(name)
                                                for key, name in values.items()}
    return torch.tensor([[chosen[name] for name in ATTRIBUTES]])


@pytest.mark.parametrize(("values", "words"), [
    ({}, "a serious person with pale skin and short black hair, dressed in red, looking right"),
    ({"smile": "yes", "glasses": "sunglasses", "beard": "beard", "hair": "long", "hair_colour": "ginger",
      "skin": "dark", "clothes": "blue", "looking": "left"},
     "a smiling person with dark skin, long ginger hair, a beard and sunglasses, dressed in blue, looking left"),
    ({"hair": "bald", "hair_colour": "hidden"},
     "a serious person with pale skin and a bald head, dressed in red, looking right"),
    ({"hair": "bald", "hair_colour": "grey", "beard": "moustache"},
     "a serious person with pale skin, a bald head and a grey moustache, dressed in red, looking right"),
    ({"hair": "hat", "hair_colour": "blond"},
     "a serious person with pale skin and blond hair under a hat, dressed in red, looking right"),
    ({"hair": "bun", "hair_colour": "brown", "glasses": "glasses"},
     "a serious person with pale skin, brown hair in a bun and glasses, dressed in red, looking right"),
])
def test_descriptions(values, words):
    assert describe(row(**values)) == [words]


def test_descriptions_tell_all_attributes_apart(train):
    assert len(set(describe(train.attributes))) == len(train.attributes.unique(dim=0)) > 10_000


@pytest.mark.parametrize(("attributes", "message"), [
    (torch.zeros(3, 7, dtype=torch.int64), r"attributes has shape \(3, 7\)"),
    (row() + 6, "numbers from 0 to"), (row() - 1, "numbers from 0 to"),
])
def test_descriptions_check_what_they_get(attributes, message):
    with pytest.raises(ValueError, match=message):
        describe(attributes)


# --- the file --------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(files, "REPOSITORY_DATA", tmp_path / "repository")
    return tmp_path


def test_a_missing_truncated_or_altered_file_is_named_with_the_remedy(folder):
    with pytest.raises(FileNotFoundError, match=r"faces.npz is missing.*make faces"):
        faces()
    content = FILE.read_bytes()
    (folder / "faces.npz").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"truncated.*git checkout -- data/faces.npz"):
        faces()
    altered = bytearray(content)
    altered[5_000_000] ^= 1
    (folder / "faces.npz").write_bytes(altered)
    with pytest.raises(ValueError, match=r"altered.*make faces"):
        faces()


def test_the_file_is_small_and_holds_integers_only():
    assert FILE.stat().st_size < 16e6
    with np.load(io.BytesIO(FILE.read_bytes()), allow_pickle=False) as file:
        assert {array.dtype for array in (file[name] for name in file.files)} == {np.dtype(np.uint8)}


def test_the_script_draws_the_people_of_the_file_again(tmp_path):
    """The first, the last and two others: `make faces` draws all 20,000, each from its own number."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not installed")
    for name in ("package.json", "package-lock.json", "make_faces.mjs"):
        shutil.copy(SCRIPT / name, tmp_path)
    installed = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], cwd=tmp_path,
                               capture_output=True, text=True, timeout=300, shell=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install the packages: {installed.stderr[-300:]}")
    with np.load(FILE) as file:
        whole = {name: np.concatenate([file[f"train_{name}"], file[f"test_{name}"]])
                 for name in ("two", "mix", "palette", "draw", "attributes")}
    for start, end in ((0, 1), (499, 501), (19_999, 20_000)):
        out = subprocess.run(["node", "make_faces.mjs", "--from", str(start), str(end)], cwd=tmp_path, check=True,
                             capture_output=True, text=True, timeout=120)
        for i, person in enumerate(json.loads(out.stdout), start=start):
            for name, array in whole.items():
                assert np.array_equal(np.array(person[name]), array[i].ravel()), (i, name)


def test_the_card_says_what_the_recipes_measured():
    words = (files.REPOSITORY_DATA / "README.md").read_text(encoding="utf-8")
    table = re.search(r"\| (smile \| glasses.*)\n.*\n\| (.*) \|\n", words)
    said = dict(zip(table[1].strip(" |").split(" | "), table[2].split(" | "), strict=True))
    figures = recipes.card("face-classifier")["figures"]
    assert said == {name: f"{100 * figures[f'{name}, test accuracy']:.4g} %" for name in ATTRIBUTES}
    assert min(figures.values()) >= 0.97
    kept = recipes.card("vae-faces")["figures"]["edge energy kept"]
    assert f"keeps **{kept:.0%}".replace("%", " %") in words and kept < 0.6
    assert SHA256 in words and f"{SIZE:,} bytes" in words
    for picture in re.findall(r"!\[.*\]\((.*)\)", words):
        assert (files.REPOSITORY_DATA / picture).stat().st_size < 400_000
