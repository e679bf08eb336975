"""Three tests for a hole in a latent space, one rule for all models."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor, nn

from course_lib.checks import require, require_shape
from course_lib.metrics.blocks import confidence, in_blocks
from course_lib.metrics.nearest import Nearest


class HoleShares(NamedTuple):
    """Shares, each in [0, 1], of the latent points that fail a test which 1 % of real images fail."""

    empty: float
    far: float
    unsure: float


class HoleRuler:
    """Three tests for a latent point z of an autoencoder, each set so that 1 % of the *test* images fail it.

    empty:  z is farther from its nearest training code than 99 % of the test codes are; distances are Euclidean after
            each latent was divided by the standard deviation of its training codes.
    far:    the decoded image is farther (L2 over pixels) from its nearest training image than 99 % of the test images.
    unsure: the classifier's largest class probability on the decoded image is below that of 99 % of the test images.

    encode: (B, C, H, W) → (B, d); decode: the way back; classifier: images → logits; train_images, test_images: float
    in [0, 1], on one device. far_beyond, unsure_below: the last two limits, which depend on data and classifier only
    and take half a minute to measure on a laptop; None measures them. The rule is one for all models, so that their
    shares can be compared.
    """

    QUANTILE = 0.99

    def __init__(self, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], classifier: nn.Module,
                 train_images: Tensor, test_images: Tensor, far_beyond: float | None = None,
                 unsure_below: float | None = None):
        self.decode, self.classifier = decode, classifier
        self.codes, test_codes = in_blocks(encode, train_images), in_blocks(encode, test_images)
        self.spread = self.codes.std(0)                                               # (d,)
        require(bool((self.spread > 0).all()),
                f"latent {int(self.spread.argmin())} has the same code for every image: the encoder has collapsed "
                "there; train it longer or with a lower learning rate.")
        self.to_codes, self.to_images = Nearest(self.codes / self.spread), _near_to(train_images)
        self.empty_beyond = self.to_codes(test_codes / self.spread).quantile(self.QUANTILE).item()
        measured = None in (far_beyond, unsure_below) and hole_limits(classifier, train_images, test_images)
        self.far_beyond = measured["far_beyond"] if far_beyond is None else far_beyond
        self.unsure_below = measured["unsure_below"] if unsure_below is None else unsure_below

    def scores(self, z: Tensor) -> dict[str, Tensor]:
        """For each z (N, d), each test's score: 1 is the limit, and above it z fails. Each (N,)."""
        require_shape("z", z, None, self.codes.shape[1])
        images = in_blocks(self.decode, z)
        return {"empty": self.to_codes(z / self.spread) / self.empty_beyond,
                "far": self.to_images(images) / self.far_beyond,
                "unsure": (1 - confidence(self.classifier, images)) / (1 - self.unsure_below)}

    def shares(self, z: Tensor) -> HoleShares:
        """The share of the points z (N, d) that fail each test."""
        return HoleShares(**{name: (score > 1).float().mean().item() for name, score in self.scores(z).items()})


def _near_to(train_images: Tensor) -> Nearest:
    return _kept_near_to(train_images, train_images._version)


@lru_cache(maxsize=1)
def _kept_near_to(train_images: Tensor, version: int) -> Nearest:
    """Kept, because every model on the same data asks for it; version: images changed in place are others."""
    return Nearest(train_images)


def hole_limits(classifier: nn.Module, train_images: Tensor, test_images: Tensor) -> dict[str, float]:
    """The limits of "far" and "unsure": 1 % of the test images are farther from their nearest training image than
    far_beyond (L2 over pixels), and 1 % leave the classifier less sure than unsure_below."""
    far = _near_to(train_images)(test_images).quantile(HoleRuler.QUANTILE)
    unsure = confidence(classifier, test_images).quantile(1 - HoleRuler.QUANTILE)
    return {"far_beyond": far.item(), "unsure_below": unsure.item()}
