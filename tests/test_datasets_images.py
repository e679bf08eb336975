import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.datasets import celeba, cifar10, fashion_mnist, files, folder, images


@pytest.fixture
def places(tmp_path, monkeypatch):
    """($COURSE_DATA, the repository's data), both empty."""
    mine, repository = tmp_path / "mine", tmp_path / "repository"
    mine.mkdir()
    repository.mkdir()
    monkeypatch.setenv("COURSE_DATA", str(mine))
    monkeypatch.setattr(files, "REPOSITORY_DATA", repository)
    return mine, repository


def write_fashion(root, count=3):
    """A whole FashionMNIST/raw with this many images a split; image i is grey i, its label 9 − i."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        pixels = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28).tobytes()
        header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + pixels)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(9 - i for i in range(count)))


def write_cifar(root, monkeypatch):
    """A CIFAR-10 of two images a file, with torchvision's table of hashes set to these files."""
    from torchvision.datasets import CIFAR10
    place = root / "cifar-10-batches-py"
    place.mkdir()

    def write(name, content):
        (place / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((place / name).read_bytes()).hexdigest()]

    pixels = np.zeros((2, 3, 32, 32), dtype=np.uint8)
    pixels[:, 0, 0, 1] = 7  # red, first row, second column
    entry = {"data": pixels.reshape(2, -1), "labels": [3, 8]}
    monkeypatch.setattr(CIFAR10, "train_list", [write(f"data_batch_{i}", entry) for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", entry)])
    name, md5 = write("batches.meta", {"label_names": list("0123456789")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})


def fake_download(monkeypatch, name, work):
    """Replaces the download of a torchvision set by work(root)."""
    import torchvision.datasets
    monkeypatch.setattr(getattr(torchvision.datasets, name), "download", lambda self: work(self.root))


def test_fashion_mnist_is_read_from_course_data(places):
    write_fashion(places[0])
    x = fashion_mnist("test")
    assert x.images.shape == (3, 1, 28, 28) and x.images.dtype == torch.uint8 and x.labels.dtype == torch.int64
    assert x.images[:, 0, 5, 5].tolist() == [0, 1, 2] and x.labels.tolist() == [9, 8, 7]


def test_course_data_comes_before_the_repository(places):
    write_fashion(places[1], count=2)
    assert len(fashion_mnist().labels) == 2
    write_fashion(places[0], count=4)
    assert len(fashion_mnist().labels) == 4


def test_cifar10_is_channels_first(places, monkeypatch):
    write_cifar(places[1], monkeypatch)
    train, test = cifar10(), cifar10("test")
    assert train.images.shape == (10, 3, 32, 32) and test.images.shape == (2, 3, 32, 32)
    assert test.images.is_contiguous() and test.images.dtype == torch.uint8
    assert test.images[0, 0, 0, 1] == 7 and test.images.sum() == 14
    assert test.labels.tolist() == [3, 8] and test.labels.dtype == torch.int64


def test_celeba_gives_cropped_faces_and_their_attributes(places, monkeypatch):
    from torchvision.datasets import CelebA
    place = places[0] / "celeba"
    (place / "img_align_celeba").mkdir(parents=True)
    names = [f"00000{i}.jpg" for i in range(1, 5)]
    for name, colour in zip(names, ["red", "lime", "blue", "white"], strict=True):
        Image.new("RGB", (178, 218), colour).save(place / "img_align_celeba" / name)
    (place / "list_eval_partition.txt").write_text("".join(f"{n} {2 * (i % 2)}\n" for i, n in enumerate(names)))
    (place / "identity_CelebA.txt").write_text("".join(f"{n} 1\n" for n in names))
    for table in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt"):
        rows = [f"{n} {'-1 ' * i}{'1 ' * (40 - i)}".strip() for i, n in enumerate(names)]
        (place / table).write_text("\n".join(["3", " ".join(f"a{i}" for i in range(40)), *rows]) + "\n")
    monkeypatch.setattr(CelebA, "file_list", [(0, None, name) for _, _, name in CelebA.file_list])  # no hashes
    x = celeba("train", size=16)
    assert x.images.shape == (2, 3, 16, 16) and x.labels.shape == (2, 40) and x.labels.dtype == torch.int64
    assert x.images[0, 0].min() > 250 and x.images[1, 2].min() > 250  # red, and blue: the third file
    assert x.labels.sum(1).tolist() == [40, 38]
    assert celeba("test", size=16).labels.sum(1).tolist() == [39, 37]


def test_a_download_is_moved_into_place_when_whole(places, monkeypatch):
    def work(root):
        assert Path(root).parent == places[0] and not (places[0] / "FashionMNIST").exists()
        write_fashion(Path(root))

    fake_download(monkeypatch, "FashionMNIST", work)
    assert len(fashion_mnist().labels) == 3
    assert [path.name for path in places[0].iterdir()] == ["FashionMNIST"]
    fake_download(monkeypatch, "FashionMNIST", lambda root: pytest.fail("downloaded twice"))
    assert len(fashion_mnist("test").labels) == 3


def test_without_course_data_a_download_goes_to_the_repository(places, monkeypatch):
    monkeypatch.delenv("COURSE_DATA")
    fake_download(monkeypatch, "FashionMNIST", lambda root: write_fashion(Path(root)))
    fashion_mnist()
    assert (places[1] / "FashionMNIST" / "raw").is_dir()


def test_course_data_is_made_where_it_is_missing(places, monkeypatch):
    places[0].rmdir()
    fake_download(monkeypatch, "FashionMNIST", lambda root: write_fashion(Path(root)))
    fashion_mnist()
    assert (places[0] / "FashionMNIST").is_dir()


@pytest.mark.parametrize("error, raised", [
    (OSError("<urlopen error [Errno -3] Temporary failure in name resolution>"), ConnectionError),
    (RuntimeError("File not found or corrupted."), ConnectionError),
    (KeyboardInterrupt(), KeyboardInterrupt),
])
def test_a_failed_or_interrupted_download_leaves_nothing_behind(places, monkeypatch, error, raised):
    def work(root):
        (Path(root) / "FashionMNIST").mkdir()
        (Path(root) / "FashionMNIST" / "half").write_bytes(b"half a file")
        raise error

    fake_download(monkeypatch, "FashionMNIST", work)
    with pytest.raises(raised) as caught:
        fashion_mnist()
    assert list(places[0].iterdir()) == [] and list(places[1].iterdir()) == []
    if raised is ConnectionError:
        for words in (str(error), "Is there a network?", str(places[0]), str(places[1]), "FashionMNIST/raw"):
            assert words in str(caught.value)


@pytest.mark.parametrize("name, load, parts", [
    ("CIFAR10", cifar10, "cifar-10-batches-py"), ("CelebA", celeba, "img_align_celeba"),
])
def test_each_set_says_what_to_put_where(places, monkeypatch, name, load, parts):
    def work(root):
        raise OSError("no route to host")

    fake_download(monkeypatch, name, work)
    with pytest.raises(ConnectionError, match=rf"{name}.*no route to host.*{parts}"):
        load()


def test_a_truncated_set_is_named_and_not_replaced(places, monkeypatch):
    write_fashion(places[0])
    path = places[0] / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    fake_download(monkeypatch, "FashionMNIST", lambda root: pytest.fail("downloaded over a reader's files"))
    with pytest.raises(ValueError, match=r"FashionMNIST is there but not whole.*Delete it"):
        fashion_mnist()


def test_an_altered_cifar_is_refused(places, monkeypatch):
    write_cifar(places[0], monkeypatch)
    with (places[0] / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match="cifar-10-batches-py is there but not whole"):
        cifar10()


@pytest.mark.parametrize("load, split", [(fashion_mnist, "valid"), (cifar10, "all"), (celeba, "all")])
def test_another_split_is_refused(load, split):
    with pytest.raises(ValueError, match=rf"split is '{split}'.*'train'.*'test'"):
        load(split)


@pytest.mark.parametrize("fault", [
    'raise RuntimeError("operator torchvision::nms does not exist")', 'raise ImportError("undefined symbol: _ZN3c10")',
])
def test_a_torchvision_that_does_not_match_names_versions_and_remedy(tmp_path, monkeypatch, fault):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(fault)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(images.metadata, "version", lambda name: {"torchvision": "0.27.1"}[name])
    with pytest.raises(ImportError) as caught:
        cifar10()
    for words in ("0.27.1", torch.__version__, "do not match", "pip install -r requirements.lock", fault.split('"')[1]):
        assert words in str(caught.value)


def test_a_missing_torchvision_is_an_error_with_the_same_remedy(monkeypatch):
    def absent(name):
        raise images.metadata.PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(images.metadata, "version", absent)
    with pytest.raises(ImportError, match=r"torchvision not installed.*requirements\.lock"):
        fashion_mnist()


def save(path, mode="RGB", size=(40, 30), colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def test_a_folder_needs_no_torchvision(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    save(tmp_path / "a.png")
    assert folder(tmp_path, size=8).images.shape == (1, 3, 8, 8)


def test_a_folder_of_odd_images_becomes_rgb_of_one_size(tmp_path):
    save(tmp_path / "a_grey.png", "L", (50, 20), 100)
    save(tmp_path / "b_clear.png", "RGBA", (20, 50), (255, 0, 0, 0))
    save(tmp_path / "c_tiny.gif", "P", (1, 1))
    save(tmp_path / "d_cmyk.JPG", "CMYK", (64, 64), (0, 0, 0, 0))
    save(tmp_path / "e_two_tone.png", "1", (9, 300), 1)
    save(tmp_path / "f_half.png", "LA", (30, 30), (0, 128))
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"no image")
    x = folder(str(tmp_path), size=16)
    assert x.images.shape == (6, 3, 16, 16) and x.images.dtype == torch.uint8
    assert x.labels.tolist() == [0] * 6 and x.labels.dtype == torch.int64
    grey = x.images.float().mean((1, 2, 3))
    assert grey[[0, 1, 4]].tolist() == [100, 255, 255] and abs(grey[5] - 127) <= 1  # transparent: white
    assert grey[3] > 250


def test_the_middle_of_a_wide_image_is_kept(tmp_path):
    picture = np.zeros((20, 60, 3), dtype=np.uint8)
    picture[:, 20:40, 0], picture[:, :20, 1], picture[:10, :, 2] = 200, 200, 90  # middle red; left green; top blue
    Image.fromarray(picture).save(tmp_path / "wide.png")
    image = folder(tmp_path, size=20).images[0]
    assert (image[0] == 200).all() and not image[1].any()
    assert (image[2, :10] == 90).all() and not image[2, 10:].any()


def test_the_camera_s_orientation_is_followed(tmp_path):
    picture = Image.new("RGB", (20, 20))
    picture.paste("white", (0, 0, 20, 10))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    image = folder(tmp_path, size=20).images[0]
    assert image[:, :10].max() == 0 and image[:, 10:].min() == 255


def test_labels_are_the_subfolders_that_hold_images(tmp_path):
    save(tmp_path / "dog" / "1.png", colour="red")
    save(tmp_path / "cat" / "young" / "2.png", colour="lime")
    save(tmp_path / "cat" / "3.png", colour="blue")
    (tmp_path / "ant").mkdir()
    x = folder(tmp_path, size=4)
    assert x.labels.tolist() == [0, 0, 1]
    assert x.images.amax((2, 3)).argmax(1).tolist() == [2, 1, 0]  # by path: cat/3, cat/young/2, dog/1
    save(tmp_path / "z.png")
    assert folder(tmp_path, size=4).labels.tolist() == [1, 1, 2, 0]  # the loose one counts as the first


def test_a_broken_image_is_named(tmp_path):
    save(tmp_path / "good.png", size=(100, 100))
    whole = (tmp_path / "good.png").read_bytes()
    for broken in (whole[:60], b"<html>", b""):
        (tmp_path / "bad.png").write_bytes(broken)
        with pytest.raises(ValueError, match=r"bad\.png cannot be read"):
            folder(tmp_path, size=4)


def test_16_bits_a_channel_are_refused_rather_than_cut(tmp_path):
    Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png.*more than 8 bits"):
        folder(tmp_path)


def test_folders_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"no images.*\.png"):
        folder(tmp_path)
    save(tmp_path / "a.png")
    for size in (0, -4, 2.5):
        with pytest.raises(ValueError, match="size is"):
            folder(tmp_path, size=size)
