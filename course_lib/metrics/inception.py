"""Inception features through torchvision, where its weights can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require, require_shape
from course_lib.datasets.files import data_folders, looked_for
from course_lib.metrics.blocks import as_floats

WEIGHTS = "inception_v3_google-0cc3c7bd.pth"
SIDE, MEAN, STD = 299, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)     # as these weights were trained


def inception_features(device: torch.device | str | None = None) -> Callable[[Tensor], Tensor]:
    """torchvision's Inception-v3 up to its last pooling, a function from images to features: (B, C, H, W) → (B, 2048).

    The images are uint8, or float in [0, 1], with 1 or 3 channels; they are scaled to 299 × 299. The weights (104 MB)
    are looked for in $COURSE_DATA, in the repository's data/ and in torch's own cache, else downloaded into that cache.

    A Fréchet distance on these features is *not* the FID of publications. That one uses the weights of the original
    TensorFlow network of 2015, some of whose pooling layers differ, and scales images in its own way; torchvision's
    weights were trained otherwise, and each of these changes the figure (Parmar, Zhang and Zhu 2022). Compare such
    figures only with others computed by the same function.
    Raises ConnectionError, which says what was looked for and where to put it, where the weights cannot be had.
    """
    from course_lib.datasets.images import _torchvision
    network = _torchvision().models.inception_v3(weights=None, init_weights=False, transform_input=False)
    network.load_state_dict(_weights())
    network.fc = nn.Identity()
    network = network.eval().requires_grad_(False).to(device)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (MEAN, STD))

    def features(images: Tensor) -> Tensor:
        require_shape("images", images, None, None, None, None)
        require(images.shape[1] in (1, 3), f"images have {images.shape[1]} channels; they must have 1 or 3.")
        x = as_floats(images).expand(-1, 3, -1, -1)
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
        return network((x - mean) / std)                                               # (B, 2048)

    return features


def _weights() -> dict[str, Tensor]:
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in [*data_folders(), cache]:
        if (folder / WEIGHTS).is_file():
            return torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    url = f"https://download.pytorch.org/models/{WEIGHTS}"
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:      # no network, a proxy's page, a full disk: of many kinds
        raise ConnectionError(
            f"The weights of Inception-v3 are not here and could not be downloaded ({error}). {looked_for([WEIGHTS])} "
            f"Looked for it in {cache} too. To have these features, fetch {url} where there is a network and put it "
            "into one of these folders. The course itself needs only its own classifiers' features.") from error
