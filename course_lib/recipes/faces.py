"""Recipes on faces: the attribute classifier, the VAE that tries the set, and segmentation."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor

from course_lib import metrics, networks
from course_lib.autoencoders import ae_loss, kl_normal, vae_step
from course_lib.classifiers import attributes_step, intersection_over_union, read_attributes, segmenter_step
from course_lib.datasets import FaceSet, batches, faces
from course_lib.datasets.faces import ATTRIBUTES, FILE, PARTS, SHA256
from course_lib.metrics import in_blocks
from course_lib.recipes.digits import to_the_end
from course_lib.recipes.store import Model
from course_lib.training import adam

DATA = {FILE: SHA256}
SIZES = tuple(len(values) for values in ATTRIBUTES.values())


@lru_cache(maxsize=4)
def people(split: str, device: torch.device | None = None) -> FaceSet:
    """The faces, painted once."""
    return faces(split, device)


def first_test_faces() -> Tensor:
    """the first 8 test faces"""
    return people("test").floats()[:8]


def first_grey_faces() -> Tensor:
    """the first 8 test faces, in grey"""
    return people("test").in_grey().floats()[:8]


# --- the attribute classifier ----------------------------------------------------------------------------------------

def fit_classifier(model, device=None, save_to=None, *, steps=6_000, batch_size=128, lr=2e-3, seed=0, ema_decay=0.999):
    """Cross entropy, summed over the eight attributes."""
    opt, data = adam(model, lr), people("train", device)
    step = partial(attributes_step, model=model, opt=opt, sizes=SIZES)
    to_the_end(step, batches((data.images, data.attributes), batch_size, seed), model, opt, steps, save_to, ema_decay)


def fit_grey_classifier(model, device=None, save_to=None, *, steps=2_000, batch_size=64, lr=2e-3, seed=0,
                        ema_decay=0.99):
    """The same on grey faces: of colours it can only learn how light they are."""
    opt, data = adam(model, lr), people("train", device).in_grey()
    step = partial(attributes_step, model=model, opt=opt, sizes=SIZES)
    to_the_end(step, batches((data.images, data.attributes), batch_size, seed), model, opt, steps, save_to, ema_decay)


def classifier_figures(model, grey: bool = False):
    """The share of test faces on which each attribute is read rightly."""
    data = people("test", next(model.parameters()).device)
    data = data.in_grey() if grey else data
    right = read_attributes(model, data.floats(), SIZES) == data.attributes
    shares = right.float().mean(0).tolist()
    return {f"{name}, test accuracy": share for name, share in zip(ATTRIBUTES, shares, strict=True)}


# --- a VAE: does the set blur? ---------------------------------------------------------------------------------------

def fit_vae(model, device=None, save_to=None, *, steps=8_000, batch_size=128, lr=1.5e-3, seed=0, ema_decay=0.999):
    """The negative ELBO with a Gaussian decoder whose variance is the best for each batch."""
    opt = adam(model, lr)
    step = partial(vae_step, model=model, opt=opt)
    to_the_end(step, batches(people("train", device).images, batch_size, seed), model, opt, steps, save_to, ema_decay)


def vae_figures(model):
    """Errors, and the share of the edge energy that is kept when the mean of q(z|x) is decoded."""
    device = next(model.parameters()).device
    x, x_test = people("train", device).floats(), people("test", device).floats()
    copies = in_blocks(model, x_test)
    kl = in_blocks(lambda part: kl_normal(*model.encode(part)), x_test).mean()
    return {"train error": ae_loss(in_blocks(model, x), x).item(), "test error": ae_loss(copies, x_test).item(),
            "test KL in nats": kl.item(),
            "edge energy kept": metrics.sharpness(copies, x_test)}


# --- segmentation ----------------------------------------------------------------------------------------------------

def fit_segmenter(model, device=None, save_to=None, *, steps=3_000, batch_size=128, lr=2e-3, seed=0, ema_decay=0.999):
    """Cross entropy of each pixel's part."""
    opt, data = adam(model, lr), people("train", device)
    to_the_end(partial(segmenter_step, model=model, opt=opt), batches((data.images, data.parts), batch_size, seed),
               model, opt, steps, save_to, ema_decay)


def segmenter_figures(model):
    """The share of test pixels that are right, and the intersection over union of each part."""
    data = people("test", next(model.parameters()).device)
    found = in_blocks(lambda part: model(part).argmax(1), data.floats())
    overlap = intersection_over_union(found, data.parts, len(PARTS)).tolist()
    return {"test pixels right": (found == data.parts).float().mean().item(),
            **{f"{part}, intersection over union": value for part, value in zip(PARTS, overlap, strict=True)}}


def segmenter_recipe(about: str, skips: bool) -> Model:
    return Model(about, partial(networks.Segmenter, classes=len(PARTS), skips=skips), fit_segmenter,
                 segmenter_figures, first_test_faces, DATA)


MODELS = {
    "face-classifier": Model("reads eight attributes of a face, the measuring instrument of the course",
                             partial(networks.ConvClassifier, classes=sum(SIZES), image=networks.FACE),
                             fit_classifier, classifier_figures, first_test_faces, DATA),
    "grey-face-classifier": Model("the same for grey faces, narrower: chapter 08's measuring instrument",
                                  partial(networks.ConvClassifier, classes=sum(SIZES), image=networks.GREY_FACE,
                                          width=20), fit_grey_classifier, partial(classifier_figures, grey=True),
                                  first_grey_faces, DATA),
    "vae-faces": Model("a convolutional VAE of faces with 64 latents", networks.conv_vae, fit_vae, vae_figures,
                       first_test_faces, DATA),
    "segmenter-faces": segmenter_recipe("finds a face's parts; its decoder also sees what the encoder saw", skips=True),
    "segmenter-faces-64": segmenter_recipe("finds a face's parts through a bottleneck of 64 numbers", skips=False),
}
