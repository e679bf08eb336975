"""Recipes on measuring samples: a second classifier, sets of samples of digits, and chapter 07's tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import corruptions, metrics, networks
from course_lib.checks import require, require_shape
from course_lib.classifiers import classifier_step, train_on_samples
from course_lib.corruptions import CORRUPTIONS
from course_lib.datasets import batches, mnist
from course_lib.metrics import feature_statistics, frechet_distance, in_blocks, sample_latents
from course_lib.recipes import gans
from course_lib.recipes.digits import DATA, classifier_figures, digits, first_test_digits, to_the_end
from course_lib.recipes.store import Model, Table
from course_lib.recipes.vae import SIGMA, drawn_codes
from course_lib.training import adam

WIDTH_2 = 20        # of the second classifier; the first has 32
BLOCK = 500         # images at once through a classifier


# --- a second classifier ---------------------------------------------------------------------------------------------

def fit_second_classifier(model, device=None, save_to=None, *, steps=3_000, batch_size=128, lr=2e-3, seed=1,
                          ema_decay=0.999):
    """Cross entropy on the digits as they are: narrower than the first classifier, another seed, no augmentation."""
    opt = adam(model, lr)
    step = partial(classifier_step, model=model, opt=opt)
    to_the_end(step, batches(mnist("train", device), batch_size, seed), model, opt, steps, save_to, ema_decay)


def measuring_networks(device=None) -> dict[str, nn.Module]:
    """Three sources of features: both classifiers, and the first one's network as it is before any training."""
    from course_lib.recipes import load
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = networks.ConvClassifier().eval().requires_grad_(False)
    return {"classifier": load("digit-classifier", device), "second classifier": load("digit-classifier-2", device),
            "untrained": untrained.to(device or "cpu")}


# --- sets of samples -------------------------------------------------------------------------------------------------

class Samples(NamedTuple):
    """Images (N, 1, 28, 28) in [0, 1], their labels (N,), and where the labels come from."""

    images: Tensor
    labels: Tensor
    labelled: str


@lru_cache(maxsize=8)
def some_digits(split: str, n: int, start: int = 0, device=None) -> Samples:
    """n digits of a split in one random order (seed 0), from ``start`` on. In its files' order, the test set's first
    half was written by other people than its second.

    Raises ValueError for more digits than there are.
    """
    images, labels = digits(split, device)
    require(start + n <= len(images), f"digits {start} to {start + n} were asked for; {split} has {len(images)}.")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[start:start + n]
    chosen = chosen.to(labels.device)
    return Samples(images[chosen], labels[chosen], "true")


@lru_cache(maxsize=8)
def digit_features(split: str, n: int, start: int = 0, name: str = "digit-classifier", device=None) -> Tensor:
    """A classifier's features of ``some_digits``: (n, d)."""
    from course_lib.recipes import load
    return in_blocks(load(name, device).features, some_digits(split, n, start, device).images, BLOCK)


def ae_samples(n: int, seed: int = 0, device=None) -> Samples:
    """The autoencoder with 16 latents, sampled from a Gaussian fitted to its training codes; labelled by the
    classifier."""
    from course_lib.recipes import load
    model, generator = load("ae-digits-16", device), torch.Generator(device or "cpu").manual_seed(seed)
    z = sample_latents(in_blocks(model.encode, digits("train", device)[0]), "fitted", n, generator)
    return labelled_by_classifier(in_blocks(model.decode, z))


def vae_samples(n: int, seed: int = 0, device=None, draw: bool = False) -> Samples:
    """The VAE with 16 latents: the decoder's mean for z ~ N(0, I); draw: a draw from p(x|z), clipped. Labelled
    by the classifier."""
    from course_lib.recipes import load
    model, generator = load("vae-digits-16", device), torch.Generator(device or "cpu").manual_seed(seed)
    z = torch.randn(n, model.latents, generator=generator, device=generator.device)
    images = in_blocks(model.decode, z)
    return labelled_by_classifier(corruptions.add_noise(images, SIGMA, generator) if draw else images)


def vae_class_samples(n: int, seed: int = 0, device=None) -> Samples:
    """The VAE with 16 latents and a Gaussian for each class, fitted to draws of its training codes: each sample is made
    as a class, and has its label by construction."""
    from course_lib.recipes import load
    model, generator = load("vae-digits-16", device), torch.Generator(device or "cpu").manual_seed(seed)
    x, y = digits("train", device)
    codes = in_blocks(drawn_codes(model, generator), x)
    labels = torch.arange(n, device=y.device) % 10
    z = codes.new_empty(n, codes.shape[1])
    for k in range(10):
        z[labels == k] = sample_latents(codes[y == k], "fitted", int((labels == k).sum()), generator)
    order = torch.randperm(n, generator=generator, device=y.device)
    return Samples(in_blocks(model.decode, z[order]), labels[order], "by construction")


def gan_samples(n: int, seed: int = 0, device=None, name: str = "gan-digits") -> Samples:
    """A generator's samples for z ~ N(0, I), labelled by the classifier."""
    from course_lib.recipes import load
    return labelled_by_classifier(gans.samples(load(name, device), n, seed))


def copies(n: int, seed: int = 0, device=None) -> Samples:
    """The training digits themselves, those that ``reference`` holds."""
    return some_digits("train", n, 0, device)


def test_digits(n: int, seed: int = 0, device=None, sigma: float = 0.0) -> Samples:
    """Digits of the test set, blurred by a Gaussian of sigma pixels."""
    images, labels, labelled = some_digits("test", n, 0, device)
    return Samples(corruptions.blur(images, sigma), labels, labelled)


def labelled_by_classifier(images: Tensor) -> Samples:
    from course_lib.recipes import load
    return Samples(images, in_blocks(load("digit-classifier", images.device), images, BLOCK).argmax(1), "classifier")


SETS: dict[str, Callable[..., Samples]] = {         # name → f(n, seed, device); no lambdas: cards name them
    "test digits": test_digits,
    "copies of training digits": copies,
    "test digits, blurred by ½ px": partial(test_digits, sigma=0.5),
    "test digits, blurred by 1 px": partial(test_digits, sigma=1.0),
    "autoencoder": ae_samples,
    "VAE, means": vae_samples,
    "VAE, draws": partial(vae_samples, draw=True),
    "VAE, a Gaussian a class": vae_class_samples,
    "GAN": gan_samples,
    "WGAN-GP": partial(gan_samples, name="wgan-gp-digits"),
}


# --- what the measures can be led to see -----------------------------------------------------------------------------

def liked_noise(classifier: nn.Module, labels: Tensor, steps: int = 12, rate: float = 1.0, brightest: float = 0.2,
                generator: torch.Generator | None = None) -> Tensor:
    """Noise that a classifier takes for these classes: gradient ascent on log p(label|x) from uniform noise.

    labels: (N,); brightest: of the noise at first, in [0, 1]; each image goes `rate` along its normalised gradient
    (with momentum ½) in each of the steps, and stays in [0, 1]. Returns (N, 1, 28, 28).  As Nguyen et al. 2015.
    """
    x = brightest * torch.rand(len(labels), 1, 28, 28, generator=generator, device=labels.device)
    velocity = torch.zeros_like(x)
    for _ in range(steps):
        loss = F.cross_entropy(classifier(x.requires_grad_()), labels, reduction="sum")
        slope, = torch.autograd.grad(loss, x)
        velocity = 0.5 * velocity - F.normalize(slope.flatten(1), dim=1).view_as(x)
        x = (x.detach() + rate * velocity).clamp(0, 1)
    return x


def frechet_bias(features: Tensor) -> float:
    """c, such that n draws of these features are at a Fréchet distance of c/n from all of them: the mean, for large n.

    features: (N, d), with N far above n. With C the covariance of all and H the error of the draws' own, ‖μ̂ − μ‖² has
    the mean tr C/n, and to second order the rest is ½ Σ H_ij²/(λ_i + λ_j), in C's axes with its eigenvalues λ (the
    Bures metric: Bhatia, Jain and Lim 2019); H_ij² has the mean Var(x_i x_j)/n. Axes without variance are left out.
    """
    require_shape("features", features, None, None)
    x = features.double()
    x = x - x.mean(0)
    values, axes = torch.linalg.eigh(x.T @ x / (len(x) - 1))
    kept = values > 1e-9 * values.max()
    x, values = x @ axes[:, kept], values[kept]
    products = x.square().T @ x.square() / len(x) - torch.diag(values.square())         # Var(x_i x_j)
    return (values.sum() + 0.5 * (products / (values[:, None] + values)).sum()).item()


# --- tables ----------------------------------------------------------------------------------------------------------

def probabilities(classifier: nn.Module, features: Tensor) -> Tensor:
    return classifier.head(features).detach().softmax(1)


def feature_measures(classifier: nn.Module, features: Tensor, real: Tensor, statistics, n_balls: int = 5_000,
                     ) -> dict[str, float]:
    """Every measure that needs a set's features only: (N, d), against real ones (M, d) and their statistics; precision
    and recall from the first n_balls of each."""
    kernel = metrics.kid(features, real)
    manifolds = metrics.precision_recall(real[:n_balls], features[:n_balls])
    own = feature_statistics(nn.Identity(), features)
    return {"inception score": metrics.inception_score(probabilities(classifier, features)).mean,
            "Fréchet distance": frechet_distance(own.mean, own.cov, statistics.mean, statistics.cov),
            "KID": kernel.value, "KID's error": kernel.error,
            "precision": manifolds.precision, "recall": manifolds.recall}


def distance_on(network: nn.Module, images: Tensor, statistics) -> float:
    own = feature_statistics(network.features, images, BLOCK)
    return frechet_distance(own.mean, own.cov, statistics.mean, statistics.cov)


def samples_rows(device=None, *, sets=tuple(SETS), n=10_000, seed=0, steps=500):
    """Each set of samples under every measure. Real data: all training digits for Fréchet distances; n of them for KID,
    5,000 for precision and recall; for the copying test all of them, half of the set and the other half of the test
    digits."""
    measuring = measuring_networks(device)
    first, second = measuring["classifier"], measuring["second classifier"]
    statistics, of_second = (feature_statistics(net.features, digits("train", device)[0], BLOCK)
                             for net in (first, second))
    real = digit_features("train", n, device=device)
    train, test = metrics.Nearest(digits("train", device)[0]), some_digits("test", len(digits("test")[0]), 0, device)
    rows = []
    for name in sets:
        made = SETS[name](n, seed, device)
        copied = metrics.copying_test(made.images[:n // 2], train, test.images[n // 2:])
        rows.append({"samples": name,
                     **feature_measures(first, in_blocks(first.features, made.images, BLOCK), real, statistics),
                     "Fréchet distance, second classifier": distance_on(second, made.images, of_second),
                     "copying z": copied.z, "as near as 1 % of the test digits": copied.share,
                     "accuracy of a classifier trained on them": train_on_samples(
                         made.images, made.labels, test.images, test.labels, steps, seed=seed),
                     "labels": made.labelled})
    return rows


def bias_rows(device=None, *, sizes=(100, 200, 500, 1_000, 2_000, 5_000), draws=10, pool=30_000):
    """Fréchet distance and KID against the number of samples: draws from a pool, against the other training digits.

    The training digits are parted: some are the reference, the others the pool of "training digits". KID compares
    with as many of the reference as there are samples."""
    from course_lib.recipes import load
    classifier = load("digit-classifier", device)
    reference = digit_features("train", len(digits("train")[0]) - pool, pool, device=device)
    statistics, rows = feature_statistics(nn.Identity(), reference), []
    pools = {"training digits": partial(some_digits, "train", pool), "GAN": partial(gan_samples, pool),
             "VAE, means": partial(vae_samples, pool)}
    seeds = iter(range(len(pools) * len(sizes) * draws))        # each draw by itself
    for name, make in pools.items():
        features = in_blocks(classifier.features, make(device=device).images, BLOCK)
        for n in sizes:
            for draw in range(draws):
                generator = torch.Generator().manual_seed(next(seeds))
                some = features[torch.randperm(pool, generator=generator)[:n].to(features.device)]
                others = reference[torch.randperm(len(reference), generator=generator)[:n].to(reference.device)]
                own, kernel = feature_statistics(nn.Identity(), some), metrics.kid(some, others)
                rows.append({"samples": name, "n": n, "draw": draw,
                             "Fréchet distance": frechet_distance(own.mean, own.cov, statistics.mean, statistics.cov),
                             "KID": kernel.value, "KID's error": kernel.error})
    return rows


STRENGTHS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)


def corruption_rows(device=None, *, strengths=STRENGTHS, n=2_000, n_balls=1_000, seed=0):
    """n test digits spoilt by degrees, one way at a time, against n training digits, under every measure that needs
    features only (precision and recall: the first n_balls); strengths as in ``corruptions.CORRUPTIONS``. "dropped
    classes": strength times 10 classes are missing, the highest ones."""
    measuring = measuring_networks(device)
    first = measuring["classifier"]
    real, test = some_digits("train", n, 0, device).images, some_digits("test", n, 0, device).images
    statistics = {name: feature_statistics(net.features, real, BLOCK) for name, net in measuring.items()}
    real = in_blocks(first.features, real, BLOCK)

    def row(name: str, strength: float, images: Tensor) -> dict:
        others = {f"Fréchet distance, {other}": distance_on(measuring[other], images, statistics[other])
                  for other in ("second classifier", "untrained")}
        features = in_blocks(first.features, images, BLOCK)
        return {"corruption": name, "strength": strength,
                **feature_measures(first, features, real, statistics["classifier"], n_balls), **others}

    rows = [row(name, strength, spoilt(test, name, strength, seed)) for name in CORRUPTIONS for strength in strengths]
    return rows + [row("dropped classes", dropped / 10, kept_classes(10 - dropped, n, device))
                   for dropped in (0, 1, 2, 4, 7, 9)]


def spoilt(images: Tensor, corruption: str, strength: float, seed: int = 0) -> Tensor:
    return CORRUPTIONS[corruption](images, strength, torch.Generator(images.device).manual_seed(seed))


def kept_classes(classes: int, n: int, device=None) -> Tensor:
    """n test digits of the classes below ``classes``, or all of them where there are fewer."""
    images, labels, _ = some_digits("test", len(digits("test", device)[0]), 0, device)
    kept = corruptions.drop_modes(images, labels, range(classes, 10)) if classes < 10 else images
    return kept[:n]


MODELS = {
    "digit-classifier-2": Model("a second classifier of digits, narrower and trained without augmentation",
                                partial(networks.ConvClassifier, width=WIDTH_2), fit_second_classifier,
                                classifier_figures, first_test_digits, DATA),
}
TABLES = {
    "digit-samples": Table("samples of the course's models of digits, and digits themselves, under every measure",
                           samples_rows, DATA),
    "measures-bias": Table("Fréchet distance and KID against the number of samples, 10 draws", bias_rows, DATA),
    "measures-corruptions": Table("test digits spoilt by degrees under every measure", corruption_rows, DATA),
}
