"""Inception features: with weights made up here, since the true ones need a network; and the message without them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import Inception_V3_Weights, inception_v3
from torchvision.transforms._presets import ImageClassification

from course_lib import metrics
from course_lib.metrics.inception import MEAN, STD, WEIGHTS


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights in any folder that is searched, and no network."""
    for name in ("data", "cache/checkpoints", "repository"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("course_lib.datasets.files.REPOSITORY_DATA", tmp_path / "repository")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))

    def unreachable(url, **_):
        raise OSError(f"no route to {url}")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    return tmp_path


def test_without_weights_the_message_says_what_to_put_where(nowhere):
    with pytest.raises(ConnectionError) as caught:
        metrics.inception_features()
    message = str(caught.value)
    for part in (WEIGHTS, "no route to https://download.pytorch.org/models/" + WEIGHTS, str(nowhere / "data"),
                 str(nowhere / "repository"), str(nowhere / "cache" / "checkpoints"), "put it into one of these"):
        assert part in message


def test_names_and_preparation_are_torchvision_s():
    weights = Inception_V3_Weights.IMAGENET1K_V1
    assert weights.url.endswith("/" + WEIGHTS)
    prepare = weights.transforms()
    assert (tuple(prepare.mean), tuple(prepare.std), prepare.crop_size) == (MEAN, STD, [299])


def test_features_are_those_of_torchvision_s_network(nowhere):
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False).eval()
    whole = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    network.load_state_dict(whole)
    torch.save(whole, nowhere / "data" / WEIGHTS)
    features = metrics.inception_features()
    images = torch.rand(2, 3, 299, 299)                 # of this size, nothing is scaled
    network.fc = nn.Identity()
    with torch.no_grad():
        oracle = network(ImageClassification(crop_size=299, resize_size=299)(images))
    found = features(images)
    assert found.shape == (2, 2048) and not found.requires_grad
    unit = oracle.std().item()                          # of weights made up, the features are tiny
    torch.testing.assert_close(found, oracle, rtol=0, atol=1e-3 * unit)
    torch.testing.assert_close(features(images[:1]), found[:1], rtol=0, atol=1e-3 * unit)   # no statistics of a batch
    grey = torch.randint(256, (1, 1, 28, 28), dtype=torch.uint8)
    large = F.interpolate(grey / 255, (299, 299), mode="bilinear").expand(-1, 3, -1, -1)
    torch.testing.assert_close(features(grey), features(large), rtol=0, atol=1e-3 * unit)
    for wrong, message in ((torch.rand(2, 4, 9, 9), "images have 4 channels"), (torch.rand(3, 9, 9), r"\(3, 9, 9\)")):
        with pytest.raises(ValueError, match=message):
            features(wrong)
    at = nowhere / "data"
    for place in ("repository", "cache/checkpoints"):   # found in the other folders too
        (at / WEIGHTS).rename(nowhere / place / WEIGHTS)
        at = nowhere / place
        assert metrics.inception._weights().keys() == whole.keys()
