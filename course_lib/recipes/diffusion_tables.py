"""Chapter 13's tables: samples under the measures of chapter 07, fewer steps, guidance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import diffusion, metrics
from course_lib.checks import require_one_of
from course_lib.diffusion import Schedule, as_denoiser, ddim, ddpm, heun
from course_lib.metrics import feature_statistics, frechet_distance, in_blocks
from course_lib.recipes import measures
from course_lib.recipes.diffusion import T
from course_lib.recipes.digits import DATA, digits
from course_lib.recipes.sheets import sheet
from course_lib.recipes.store import Table

SAMPLERS = {"DDPM": ddpm, "DDPM, σ² = β": partial(ddpm, variance="beta"), "DDIM": ddim, "Heun": heun}
BLOCK = 128         # images at once through the U-Net
STEPS = 20          # of DDIM, where nothing else is said


# --- samples ---------------------------------------------------------------------------------------------------------

@torch.no_grad()
def generate(net: nn.Module, labels: Tensor | None, n: int, sampler: str = "DDIM", steps: int = STEPS, w: float = 0.0,
             seed: int = 0, bf16: bool = True) -> Tensor:
    """n samples of a stored model as images in [0, 1], (n, C, H, W): labels (n,), or None; the noise of the seed.

    sampler: one of SAMPLERS; steps of even lengths; w: guidance; bf16: convolutions in bfloat16.
    """
    require_one_of("sampler", sampler, tuple(SAMPLERS))
    device, schedule = next(net.parameters()).device, Schedule.cosine(T)
    generator, made = torch.Generator(device).manual_seed(seed), []
    start = torch.randn(n, *net.image, generator=torch.Generator().manual_seed(seed)).to(device)
    for i, x in enumerate(start.split(BLOCK)):
        y = None if labels is None else labels[i * BLOCK:(i + 1) * BLOCK]
        denoiser = as_denoiser(net, schedule, "v", y, w)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            x0 = diffusion.last(SAMPLERS[sampler](denoiser, schedule, x, diffusion.times(T, steps), generator))
        made.append(((x0 + 1) / 2).clamp(0, 1))
    return torch.cat(made)


def each_class(n: int, device=None) -> Tensor:
    """Labels 0, 1, …, 9, 0, 1, …: (n,)."""
    return torch.arange(n, device=device) % 10


def calls(sampler: str, steps: int) -> int:
    """How often the network is asked for one sample."""
    return 2 * steps - 1 if sampler == "Heun" else steps


# --- how they are measured -------------------------------------------------------------------------------------------

class Ruler(NamedTuple):
    """The classifier that measures, and the training digits' features as it sees them."""

    classifier: nn.Module
    statistics: metrics.FeatureStatistics


@lru_cache(maxsize=2)
def ruler(device=None) -> Ruler:
    from course_lib.recipes import load
    classifier = load("digit-classifier", device)
    return Ruler(classifier, feature_statistics(classifier.features, digits("train", device)[0], measures.BLOCK))


def whitened_distance(features: Tensor, statistics: metrics.FeatureStatistics) -> float:
    """The Fréchet distance of features, (N, d), to the real ones, both whitened by these."""
    own = feature_statistics(nn.Identity(), metrics.whitened(features, statistics))
    return frechet_distance(own.mean, own.cov, torch.zeros_like(own.mean), torch.eye(len(own.mean)))


def judge(images: Tensor, labels: Tensor | None, real: Tensor, device=None) -> dict[str, float | None]:
    """Images (N, 1, 28, 28) against all training digits; precision and recall against ``real``, (M, d) features.

    class right: the share that the classifier takes for the class asked for; None where no class was.
    """
    by = ruler(device)
    features = in_blocks(by.classifier.features, images, measures.BLOCK)
    manifolds = metrics.precision_recall(real, features[:len(real)])
    right = None if labels is None else (by.classifier.head(features).argmax(1) == labels).float().mean().item()
    own = feature_statistics(nn.Identity(), features)
    return {"fréchet, whitened": whitened_distance(features, by.statistics),
            "fréchet": frechet_distance(own.mean, own.cov, by.statistics.mean, by.statistics.cov),
            "KID": metrics.kid(features, real).value, "precision": manifolds.precision, "recall": manifolds.recall,
            "class right": right}


# --- the tables ------------------------------------------------------------------------------------------------------

SETS = ("test digits", "test digits, blurred by ½ px", "test digits, blurred by 1 px", "VAE, a Gaussian a class", "GAN",
        "WGAN-GP", "diffusion")


def sample_rows(device=None, *, sets=SETS, n=10_000, steps=STEPS, w=0.5, sampler="DDIM", seed=0):
    """n samples of each set; real digits for precision and recall: 5,000 of the training digits. With a sheet of a
    hundred of the diffusion model's."""
    from course_lib.recipes import load
    real, rows = measures.digit_features("train", 5_000, device=device), []
    for name in sets:
        if name == "diffusion":
            labels = each_class(n, device)
            images = generate(load("diffusion-digits", device), labels, n, sampler, steps, w, seed)
            made = measures.Samples(images, labels, "asked for")
        else:
            made = measures.SETS[name](n, seed, device)
        asked = made.labels if made.labelled != "classifier" else None
        row = {"samples": name, **judge(made.images, asked, real, device)}
        rows.append(row | ({"pictures": sheet(made.images[:100], 10)} if name == "diffusion" else {}))
    return rows


ALL_STEPS = (("DDPM", 10), ("DDPM", 20), ("DDPM", 50), ("DDPM", 100), ("DDPM", 1000),
             ("DDPM, σ² = β", 10), ("DDPM, σ² = β", 20), ("DDPM, σ² = β", 50), ("DDPM, σ² = β", 100),
             ("DDIM", 10), ("DDIM", 20), ("DDIM", 50), ("DDIM", 100), ("DDIM", 1000),
             ("Heun", 5), ("Heun", 10), ("Heun", 25))

FEW_STEPS = (*((sampler, steps) for sampler in ("DDPM", "DDPM, σ² = β", "DDIM") for steps in (3, 5, 10, 20)),
             ("Heun", 2), ("Heun", 3), ("Heun", 5), ("Heun", 10))


def step_rows(device=None, *, runs=ALL_STEPS, n=128, w=0.0, seed=0):
    """The same n starts, each sampler, from 1000 steps down to 10; n test digits as a row of their own, for what so
    few images can show. seconds: of an image, in blocks of 128. With a sheet of the first ten."""
    from course_lib.recipes import load
    net, real = load("diffusion-digits", device), measures.digit_features("train", 5_000, device=device)
    test = measures.some_digits("test", n, 0, device)
    rows = [{"sampler": "test digits", "steps": 0, "network calls": 0, "seconds": 0.0,
             **judge(test.images, test.labels, real[:n], device)}]
    for sampler, steps in runs:
        start = time.perf_counter()
        made = generate(net, each_class(n, device), n, sampler, steps, w, seed)
        seconds = (time.perf_counter() - start) / n
        rows.append({"sampler": sampler, "steps": steps, "network calls": calls(sampler, steps), "seconds": seconds,
                     **judge(made, each_class(n, device), real[:n], device), "pictures": sheet(made[:10], 10)})
    return rows


def guidance_rows(device=None, *, weights: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), n=500, steps=STEPS,
                  seed=0):
    """The same n starts and classes with each guidance; real digits for precision and recall: n training digits. With
    a sheet of the first twenty."""
    from course_lib.recipes import load
    net, real = load("diffusion-digits", device), measures.digit_features("train", n, device=device)
    rows = []
    for w in weights:
        made = generate(net, each_class(n, device), n, "DDIM", steps, w, seed)
        rows.append({"w": w, **judge(made, each_class(n, device), real, device), "pictures": sheet(made[:20], 10)})
    return rows


TABLES = {
    "diffusion-samples-digits": Table("10,000 samples of the diffusion model beside digits and other models",
                                      sample_rows, DATA),
    "diffusion-steps-digits": Table("DDPM, DDIM and Heun from 1000 steps to 10: quality and time", step_rows, DATA),
    "diffusion-few-steps-digits": Table("the same with 20 steps and fewer, on a thousand images",
                                        partial(step_rows, runs=FEW_STEPS, n=1_000), DATA),
    "diffusion-guidance-digits": Table("guidance against precision, recall and class", guidance_rows, DATA),
}
