"""Recipes on digits: the classifier, autoencoders of several kinds, and chapter 01's tables."""

from __future__ import annotations

from functools import lru_cache, partial
from statistics import mean

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.autoencoders import add_noise, ae_loss, ae_step, box_mask, hide
from course_lib.classifiers import accuracy, classifier_step, few_label_accuracy, random_affine
from course_lib.datasets import batches, mnist
from course_lib.metrics import in_blocks
from course_lib.recipes.store import Model, Table
from course_lib.training import EMA, adam, train


@lru_cache(maxsize=4)
def digits(split: str, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """MNIST as float images in [0, 1] (N, 1, 28, 28), and labels (N,)."""
    images, labels = mnist(split, device)
    return images.float() / 255, labels


def to_the_end(step, data, model: nn.Module, opt, steps: int, save_to=None) -> None:
    """A whole run: the learning rate falls along a cosine to 0, and the model ends with the EMA's weights."""
    ema, schedule = EMA(model), torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    state = {"model": model, "opt": opt, "ema": ema, "schedule": schedule}
    for _ in train(step, data, steps, state=state, save_to=save_to, memory_format=torch.channels_last):
        ema.update(model)
        schedule.step()
    model.load_state_dict(ema.module.state_dict())


# --- the classifier ----------------------------------------------------------------------------------------------------

def fit_classifier(model, device=None, save_to=None, *, steps=7_000, batch_size=128, lr=2e-3, seed=0):
    """Cross entropy on digits that are turned, scaled and shifted a little at random."""
    opt = adam(model, lr)
    step = partial(classifier_step, model=model, opt=opt, augment=random_affine)
    to_the_end(step, batches(mnist("train", device), batch_size, seed), model, opt, steps, save_to)


def classifier_figures(model):
    device = next(model.parameters()).device
    return {"test accuracy": accuracy(model, *digits("test", device)),
            "median confidence on test": metrics.confidence(model, digits("test", device)[0]).median().item()}


def first_test_digits() -> Tensor:
    """the first 8 test digits"""
    return digits("test")[0][:8]


# --- autoencoders ------------------------------------------------------------------------------------------------------

def fit_autoencoder(model, device=None, save_to=None, *, steps=20_000, batch_size=256, lr=2e-3, seed=0, spoil=None):
    """L2 between the output and the whole image; with spoil, the input is spoilt."""
    opt = adam(model, lr)
    step = partial(ae_step, model=model, opt=opt, spoil=spoil)
    to_the_end(step, batches(mnist("train", device).images, batch_size, seed), model, opt, steps, save_to)


def ae_figures(model):
    device = next(model.parameters()).device
    error = {split: ae_loss(in_blocks(model, digits(split, device)[0]), digits(split, device)[0]).item()
             for split in ("train", "test")}
    return {"train error": error["train"], "test error": error["test"]}


MODELS = {
    "digit-classifier": Model("a small convolutional classifier of digits, the measuring instrument of the course",
                              networks.ConvClassifier, fit_classifier, classifier_figures, first_test_digits),
}
TABLES = {}
