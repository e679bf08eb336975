"""Recipes on digits: the classifier, autoencoders of several kinds, and chapter 01's tables."""

from __future__ import annotations

from functools import lru_cache, partial
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.autoencoders import ae_loss, ae_step, box_hidden, edge_weight, noise_of_any_level
from course_lib.classifiers import accuracy, classifier_step, few_label_accuracy, random_affine
from course_lib.datasets import batches, mnist
from course_lib.datasets.digits import FILES
from course_lib.metrics import in_blocks
from course_lib.recipes.store import Model, Table
from course_lib.training import EMA, adam, train

DATA = {name: sha for split in FILES.values() for name, sha in (split["images"], split["labels"])}
STEPS = 6_000  # of 256 digits: 26 passes over the set


@lru_cache(maxsize=4)
def digits(split: str, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """MNIST as float images in [0, 1] (N, 1, 28, 28), and labels (N,)."""
    return mnist(split, device).floats()


def to_the_end(step, data, model: nn.Module, opt, steps: int, save_to=None, ema_decay: float = 0.999,
               memory_format: torch.memory_format = torch.channels_last) -> None:
    """A whole run: the learning rate falls along a cosine to 0, and the model ends with the EMA's weights."""
    ema, schedule = EMA(model, ema_decay), torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    state = {"model": model, "opt": opt, "ema": ema, "schedule": schedule}
    for _ in train(step, data, steps, state=state, save_to=save_to, memory_format=memory_format):
        ema.update(model)
        schedule.step()
    model.load_state_dict(ema.module.state_dict())


# --- the classifier --------------------------------------------------------------------------------------------

def fit_classifier(model, device=None, save_to=None, *, steps=6_000, batch_size=128, lr=2e-3, seed=0,
                   ema_decay=0.999):
    """Cross entropy on digits that are turned, scaled and shifted a little at random."""
    opt = adam(model, lr)
    step = partial(classifier_step, model=model, opt=opt, augment=random_affine)
    to_the_end(step, batches(mnist("train", device), batch_size, seed), model, opt, steps, save_to, ema_decay)


def classifier_figures(model):
    device = next(model.parameters()).device
    return {"test accuracy": accuracy(model, *digits("test", device)),
            "median confidence on test": metrics.confidence(model, digits("test", device)[0]).median().item()}


def first_test_digits() -> Tensor:
    """the first 8 test digits"""
    return digits("test")[0][:8]


# --- autoencoders ----------------------------------------------------------------------------------------------

def fit_autoencoder(model, device=None, save_to=None, *, steps=STEPS, batch_size=256, lr=2e-3, seed=0, spoil=None,
                    weight=None, ema_decay=0.999):
    """L2 between the output and the whole image; with spoil, the input is spoilt; with weight, pixels are weighted."""
    opt = adam(model, lr)
    step = partial(ae_step, model=model, opt=opt, spoil=spoil, weight=weight)
    to_the_end(step, batches(mnist("train", device).images, batch_size, seed), model, opt, steps, save_to, ema_decay)


def ae_figures(model):
    device = next(model.parameters()).device
    error = {split: ae_loss(in_blocks(model, digits(split, device)[0]), digits(split, device)[0]).item()
             for split in ("train", "test")}
    return {"train error": error["train"], "test error": error["test"]}


def mending_figures(model, spoil):
    """Errors on the test digits, spoilt the same way each time."""
    device = next(model.parameters()).device
    x = digits("test", device)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spoilt = spoil(x.cpu()).to(device)
    return {"test error of the spoilt images": ae_loss(spoilt, x).item(),
            "test error of the mended images": ae_loss(in_blocks(model, spoilt), x).item()}


# --- chapter 01's tables ---------------------------------------------------------------------------------------

def hole_limits_rows(device=None):
    """The two limits that depend on the digits and the classifier only."""
    from course_lib.recipes import load
    train_images, test_images = digits("train", device)[0], digits("test", device)[0]
    return [metrics.hole_limits(load("digit-classifier", device), train_images, test_images)]


def holes_rows(device=None, *, latents=(2, 8, 16), seeds=(0, 1, 2), points=2_000, steps=STEPS):
    """Hole shares of autoencoders at several sizes, under three rules for z, and on test digits' codes."""
    rows = []
    for k in latents:
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.mlp_autoencoder(k).to(device)
            fit_autoencoder(model, device, steps=steps, seed=seed)
            rows += [{"latents": k, "seed": seed} | row
                     for row in hole_shares(model.eval().encode, model.decode, k, points, seed, device)]
    return rows


def hole_shares(encode, decode, latents: int, points: int, seed: int, device=None) -> list[dict]:
    """One row for each rule for z, and one for test digits' codes: the three shares; at 2 latents the area ratio."""
    from course_lib.recipes import load, table
    (x, labels), (x_test, _), limits = digits("train", device), digits("test", device), table("hole-limits-digits")
    ruler = metrics.HoleRuler(encode, decode, load("digit-classifier", device), x, x_test, **limits["rows"][0])
    generator = torch.Generator(device or "cpu").manual_seed(seed)
    drawn = {where: metrics.sample_latents(ruler.codes, where, points, generator) for where in metrics.RULES}
    drawn["test codes"] = in_blocks(encode, x_test[:points])
    areas = {"area ratio": metrics.area_ratio(ruler.codes, labels)[0]} if latents == 2 else {}
    return [{"z from": where, **ruler.shares(z)._asdict(), **areas} for where, z in drawn.items()]


def compression_rows(device=None, *, latents=(2, 4, 8, 16, 32, 64), steps=STEPS, seed=0):
    """Test error against the number of latents: PCA, a linear autoencoder, and an MLP autoencoder."""
    rows = []
    x, x_test = digits("train", device)[0], digits("test", device)[0]
    for k in latents:
        row = {"latents": k, "PCA": ae_loss(metrics.pca_reconstruction(x, x_test, k), x_test).item()}
        for name, build, lr in (("linear autoencoder", networks.linear_autoencoder, 1e-2),
                                ("autoencoder", networks.mlp_autoencoder, 2e-3)):
            torch.manual_seed(seed)
            model = build(k).to(device)
            fit_autoencoder(model, device, steps=steps, lr=lr, seed=seed)
            row[name] = ae_figures(model.eval())["test error"]
        rows.append(row)
    return rows


def edge_weight_rows(device=None, *, strengths=(0.0, 4.0, 16.0), latents=16, seeds=(0, 1, 2), steps=STEPS):
    """What weighing edges up does: pixel error, and the share of the test digits' edge energy that is kept."""
    rows, x_test = [], digits("test", device)[0]
    for strength in strengths:
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.mlp_autoencoder(latents).to(device)
            fit_autoencoder(model, device, steps=steps, seed=seed, weight=partial(edge_weight, strength=strength))
            x_hat = in_blocks(model.eval(), x_test)
            rows.append({"strength": strength, "seed": seed, "test error": ae_loss(x_hat, x_test).item(),
                         "edge energy kept": metrics.sharpness(x_hat, x_test)})
    return rows


def few_labels_rows(device=None, *, labels=(1, 3, 10, 30, 100, 300), draws=20):
    """Test accuracy of logistic regression from few labels a class: pixels, PCA and codes; mean over random draws."""
    from course_lib.recipes import load
    (x, y), (x_test, y_test) = digits("train", device), digits("test", device)
    features = {"raw pixels (784)": (x.flatten(1), x_test.flatten(1)),
                "PCA (16)": tuple(metrics.pca_codes(x, part, 16) for part in (x, x_test))}
    for k in (16, 2):
        encode = load(f"ae-digits-{k}", device).encode
        features[f"autoencoder codes ({k})"] = (in_blocks(encode, x), in_blocks(encode, x_test))
    rows = []
    for name, (train_features, test_features) in features.items():
        for n in labels:
            reached = [few_label_accuracy(train_features, y, test_features, y_test, n, seed) for seed in range(draws)]
            rows.append({"features": name, "labels a class": n, "accuracy": mean(reached),
                         "sd over draws": stdev(reached)})
    return rows


def autoencoder_recipe(latents: int) -> Model:
    return Model(f"an MLP autoencoder of digits with {latents} latents",
                 partial(networks.mlp_autoencoder, latents=latents), fit_autoencoder, ae_figures,
                 first_test_digits, DATA)


def mending_recipe(about: str, spoil) -> Model:
    return Model(about, partial(networks.conv_autoencoder, latents=64), partial(fit_autoencoder, spoil=spoil, lr=1e-3),
                 partial(mending_figures, spoil=spoil), first_test_digits, DATA)


MODELS = {
    "digit-classifier": Model("a small convolutional classifier of digits, the measuring instrument of the course",
                              networks.ConvClassifier, fit_classifier, classifier_figures, first_test_digits, DATA),
    "ae-digits-2": autoencoder_recipe(2),
    "ae-digits-16": autoencoder_recipe(16),
    "denoiser-digits": mending_recipe("a convolutional autoencoder that takes noise of σ up to 1 off digits",
                                      noise_of_any_level),
    "inpainter-digits": mending_recipe("a convolutional autoencoder that fills a hidden square of 12×12 pixels",
                                       box_hidden),
}
TABLES = {
    "hole-limits-digits": Table("limits that 1 % of the test digits fail: distance to the training set, confidence",
                                hole_limits_rows, DATA),
    "holes-digits": Table("hole shares of autoencoders with 2, 8 and 16 latents, 3 seeds", holes_rows, DATA),
    "compression-digits": Table("test error against latent size: PCA, linear autoencoder, autoencoder",
                                compression_rows, DATA),
    "edge-weights-digits": Table("what weighing edges up does to an autoencoder with 16 latents, 3 seeds",
                                 edge_weight_rows, DATA),
    "few-labels-digits": Table("accuracy from few labels a class: raw pixels, PCA, codes", few_labels_rows, DATA),
}
