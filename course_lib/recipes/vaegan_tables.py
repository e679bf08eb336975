"""Chapter 08's tables: how a model of images is judged, the search over learning rates, three seeds, γ."""

from __future__ import annotations

import hashlib
import json
import time
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.autoencoders import ae_loss
from course_lib.checks import require
from course_lib.metrics import in_blocks
from course_lib.networks import GAN
from course_lib.recipes import digits, faces
from course_lib.recipes.sheets import sheet
from course_lib.recipes.store import DATA, Model, Table
from course_lib.recipes.vaegan import (
    ADVERSARIAL,
    NAMES,
    RATES,
    SETS,
    SHOWN,
    SMALL_BATCH_STEPS,
    STEPS,
    fit,
    fit_adversarial,
    network,
)
from course_lib.training import write_atomically

SAMPLES = 2_000
OF_COPIES = ("pixel error", "feature error", "sharpness", "fréchet of reconstructions")


# --- judging ---------------------------------------------------------------------------------------------------------

class Real(NamedTuple):
    """The test set as its measuring classifier sees it."""

    images: Tensor                              # (N, C, H, W), float
    features: Tensor                            # (N, d)
    statistics: metrics.FeatureStatistics
    classifier: nn.Module


@lru_cache(maxsize=2)
def real(data: str, device=None) -> Real:
    """2,000 test images of a set (all faces; digits in the order of chapter 07), and what is seen of them."""
    from course_lib.recipes import load
    classifier, images = load(SETS[data].measure, device), SETS[data].images("test", device)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    x = metrics.as_floats(images if len(images) == SAMPLES else images[chosen.to(images.device)])
    return Real(x, in_blocks(classifier.features, x), metrics.feature_statistics(classifier.features, x), classifier)


def decoder(net: nn.Module) -> networks.Generator:
    return net.G if isinstance(net, GAN) else net.decode


def copies(net: nn.Module, x: Tensor) -> Tensor:
    """Reconstructions, of a VAE those of its means: (N, C, H, W) → the same. A GAN has none: ValueError."""
    require(not isinstance(net, GAN), "a GAN has no encoder: it cannot reconstruct an image.")
    return in_blocks(net, x)


@torch.no_grad()
def samples(net: nn.Module, data: str, n: int = SAMPLES, seed: int = 0) -> Tensor:
    """n images from z ~ N(0, I), seed fixed: (n, C, H, W). An autoencoder has no prior: its z is drawn with the mean
    and the covariance of its training codes (chapter 01)."""
    device = next(net.parameters()).device
    generator, G = torch.Generator(device).manual_seed(seed), decoder(net)
    if not isinstance(net, networks.Autoencoder):
        return in_blocks(G, G.noise(n, generator))
    codes = in_blocks(net.encode, metrics.as_floats(SETS[data].images("train", device)[:10_000]))
    return in_blocks(G, metrics.sample_latents(codes, "fitted", n, generator))


def fréchet(features: Tensor, seen: Real) -> float:
    mine = metrics.feature_statistics(lambda part: part, features)
    return metrics.frechet_distance(mine.mean, mine.cov, seen.statistics.mean, seen.statistics.cov)


def judge(net: nn.Module, data: str) -> dict[str, float | None]:
    """What is measured of a model, on 2,000 test images and 2,000 samples; None for what a GAN does not have.

    Of reconstructions: pixel error, Σ (x̂ − x)² an image; feature error, ‖φ(x̂) − φ(x)‖², φ the measuring classifier's
    features; sharpness, their edge energy over the data's; the Fréchet distance of their features. Of samples:
    sharpness, Fréchet distance, precision and recall (k = 3).
    """
    seen = real(data, next(net.parameters()).device)
    made = samples(net, data)
    features = in_blocks(seen.classifier.features, made)
    found = {"sample sharpness": metrics.sharpness(made, seen.images), "fréchet": fréchet(features, seen)}
    found |= metrics.precision_recall(seen.features, features)._asdict()
    if isinstance(net, GAN):
        return dict.fromkeys(OF_COPIES) | found
    x_hat = copies(net, seen.images)
    features = in_blocks(seen.classifier.features, x_hat)
    return dict(zip(OF_COPIES, (ae_loss(x_hat, seen.images).item(), ae_loss(features, seen.features).item(),
                                metrics.sharpness(x_hat, seen.images), fréchet(features, seen)), strict=True)) | found


# --- the tables ------------------------------------------------------------------------------------------------------

def trained(data: str, model: str, lr: float, steps: int, seed: int, device, how=fit, **settings):
    """One run from its seed: its CPU seconds (of all threads), and the network in eval mode."""
    torch.manual_seed(seed)
    net = network(data, model).to(device or "cpu")
    start = time.process_time()
    how(net, device, data=data, model=model, lr=lr, steps=steps, seed=seed, **settings)
    return time.process_time() - start, net.eval()


def row_of(data: str, model: str, lr: float, steps: int, seed: int, device, how=fit, **settings):
    seconds, net = trained(data, model, lr, steps, seed, device, how, **settings)
    return {"model": model, "lr": lr, "seed": seed, "steps": steps, "seconds": seconds} | judge(net, data), net


def search_rows(device=None, *, data, rates, share=0.25, seed=0):
    """Each model at three learning rates, with a share of the steps."""
    rows, dis = [], None
    for model in ("GAN", *(m for m in SHOWN if m != "GAN")):         # first: its D gives features to another
        found = [row_of(data, model, lr, round(share * STEPS[data][model]), seed, device, dis=dis) for lr in rates]
        rows += [row for row, _ in found]
        if model == "GAN":
            dis = min(found, key=lambda pair: score(pair[0]))[1].D
    return sorted(rows, key=lambda row: SHOWN.index(row["model"]))


def small_batch_rows(device=None, *, data, rates=(5e-4, 1e-3, 2e-3), share=0.5, seed=0):
    """GAN and VAE/GAN in batches of 16 at three learning rates, with half of their steps."""
    return [row_of(data, model, lr, round(share * SMALL_BATCH_STEPS[data][model]), seed, device, fit_adversarial)[0]
            for model in ADVERSARIAL for lr in rates]


def score(row: dict) -> float:
    """What a learning rate is chosen by, the less the better: the Fréchet distance on the measuring classifier's
    features of reconstructions, and of samples for a GAN, which has no reconstructions."""
    found = row["fréchet of reconstructions"]
    return row["fréchet"] if found is None else found


def best_rates(rows: list[dict]) -> dict[str, float]:
    """Each model's learning rate with the least ``score``, from the rows of a search."""
    return {model: min((row for row in rows if row["model"] == model), key=score)["lr"] for model in SHOWN}


def at_full_length(data: str, model: str) -> dict:
    """How a model is trained in the end: its function and that function's settings."""
    if model in ADVERSARIAL:
        return {"how": fit_adversarial, "lr": RATES[data][model], "steps": SMALL_BATCH_STEPS[data][model]}
    return {"how": fit, "lr": RATES[data][model], "steps": STEPS[data][model]}


def seed_rows(data: str, seed: int, device=None) -> list[dict]:
    """The six models from one seed, the GAN first: its discriminator gives features to another. Seed 0: the stored
    models themselves."""
    from course_lib.recipes import card, load
    rows, dis = [], {}
    for model in ("GAN", *(m for m in SHOWN if m != "GAN")):
        how = at_full_length(data, model)
        if seed == 0:
            name = f"{NAMES[model]}-{data}"
            rows.append({"model": model, "lr": how["lr"], "seed": 0, "steps": how["steps"],
                         "seconds": card(name)["seconds"]} | judge(load(name, device), data))
            continue
        row, net = row_of(data, model, seed=seed, device=device, **how, **(dis if "Dis's" in model else {}))
        dis = {"dis": net.D} if model == "GAN" else dis
        rows.append(row)
    return rows


def kept_seed_rows(data: str, seed: int, device=None) -> list[dict]:
    """``seed_rows``, kept in build/runs, so that a table that was cut short goes on where it was. What is kept is of
    these settings only."""
    what = {model: {k: v for k, v in at_full_length(data, model).items() if k != "how"} for model in SHOWN}
    tag = hashlib.sha256(json.dumps([what, torch.__version__, str(device)]).encode()).hexdigest()[:8]
    path = DATA.parent / "build" / "runs" / f"vaegan-models-{data}-{seed}-{tag}.json"
    if not path.exists():
        write_atomically(path, json.dumps(seed_rows(data, seed, device)).encode())
    return json.loads(path.read_text())


def model_rows(device=None, *, data, seeds=(0, 1, 2)):
    """The six models at full length and at their best rates."""
    rows = [row for seed in seeds for row in kept_seed_rows(data, seed, device)]
    return sorted(rows, key=lambda row: (SHOWN.index(row["model"]), row["seed"]))


def gamma_rows(device=None, *, data="faces", gammas=(0.0005, 0.002, 0.01, 0.1), share=0.3, seed=0):
    """The VAE/GAN over γ, with a share of the steps: what is measured, and a sheet of pictures: the first 8 test images
    reconstructed, and 8 samples."""
    rows = []
    for gamma in gammas:
        seconds, net = trained(data, "VAE/GAN", RATES[data]["VAE/GAN"],
                               round(share * SMALL_BATCH_STEPS[data]["VAE/GAN"]), seed, device, fit_adversarial,
                               gamma=gamma)
        pictures = torch.cat([copies(net, real(data, device).images[:8]), samples(net, data, 8)])
        rows.append({"gamma": gamma, "seed": seed, "seconds": seconds} | judge(net, data) |
                    {"pictures": sheet(pictures)})
    return rows


# --- the recipes -----------------------------------------------------------------------------------------------------

def first_inputs(data: str) -> Tensor:
    """the first 8 test images"""
    return metrics.as_floats(SETS[data].images("test")[:8])


def noise_of(data: str) -> Tensor:
    """8 draws of z ~ N(0, I), seed 0"""
    return torch.randn(8, SETS[data].latents, generator=torch.Generator().manual_seed(0))


def card_figures(net: nn.Module, data: str) -> dict[str, float]:
    """``judge``, without what a GAN does not have."""
    return {name: value for name, value in judge(net, data).items() if value is not None}


def model_recipe(data: str, model: str) -> Model:
    probe = partial(noise_of if model == "GAN" else first_inputs, data)
    probe.__doc__ = probe.func.__doc__
    settings = at_full_length(data, model)
    how = settings.pop("how")
    return Model(f"chapter 08's {model} of {'grey faces' if data == 'faces' else data}", partial(network, data, model),
                 partial(how, data=data, model=model, **settings),
                 partial(card_figures, data=data), probe, faces.DATA if data == "faces" else digits.DATA)


MODELS = {f"{name}-{data}": model_recipe(data, model) for data in SETS for model, name in NAMES.items()}
TABLES = {}
for _data, _files, _rates in (("faces", faces.DATA, (1e-3, 2e-3, 4e-3)), ("digits", digits.DATA, (2e-3, 4e-3, 8e-3))):
    TABLES |= {
        f"vaegan-search-{_data}": Table(f"six models of {_data} at three learning rates, a quarter of the steps",
                                        partial(search_rows, data=_data, rates=_rates), _files),
        f"vaegan-search-16-{_data}": Table(f"GAN and VAE/GAN of {_data} in batches of 16 at three learning rates, half "
                                           "of the steps", partial(small_batch_rows, data=_data), _files),
        f"vaegan-models-{_data}": Table(f"AE, three VAEs, GAN and VAE/GAN on {_data}, equal seconds, 3 seeds",
                                        partial(model_rows, data=_data), _files),
    }
TABLES["vaegan-gamma"] = Table("the VAE/GAN of faces over γ, three tenths of the steps", gamma_rows, faces.DATA)
