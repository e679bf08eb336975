"""Recipes on digits: one architecture without batch norm, five seeds of a plain GAN and of WGAN-GP; and a WGAN-GP.

The architecture is the DCGAN of Radford et al. 2016 with no norm at all: ``networks.dcgan_generator`` and
``dcgan_discriminator`` with 16 channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import torch
from torch import Tensor

from course_lib import metrics, networks
from course_lib.datasets import batches, mnist
from course_lib.gans import gan_step, wgan_gp_step
from course_lib.metrics import in_blocks
from course_lib.networks import DIGIT
from course_lib.recipes import digits
from course_lib.recipes.gans import LATENTS, SAMPLES, first_noise, samples
from course_lib.recipes.store import Model, Table
from course_lib.training import EMA, adam, train

CHANNELS, BATCH = 16, 64
GRADIENTS = {"GAN": 2, "WGAN-GP": 11}       # a round's gradients over one batch, as in recipes.wasserstein
WATCHED = {"GAN": "D", "WGAN-GP": "gap"}    # the loss that is drawn against the rounds


def players(variant: str, lr: float, device=None):
    """New networks and a step: for a GAN the non-saturating losses and β = (½, 0.999), for a WGAN-GP λ = 10 and
    β = (0, 0.9), each as its paper has it."""
    G = networks.dcgan_generator(LATENTS, CHANNELS, DIGIT).to(device)
    D = networks.dcgan_discriminator(CHANNELS, DIGIT).to(device)
    if variant == "GAN":
        return G, D, partial(gan_step, G=G, D=D, opt_G=adam(G, lr, (0.5, 0.999)), opt_D=adam(D, lr, (0.5, 0.999)))
    return G, D, partial(wgan_gp_step, G=G, f=D, opt_G=adam(G, lr, (0.0, 0.9)), opt_f=adam(D, lr, (0.0, 0.9)))


def digit_run(variant: str, seed: int, lr: float, rounds: int, every: int, batch: int = BATCH,
              device=None) -> Iterator[tuple[int, float, Tensor]]:
    """Plays and yields (round, the watched loss's mean since the last look, 2,000 samples of the same noise)."""
    torch.manual_seed(seed)
    G, D, step = players(variant, lr, device)
    z = G.noise(SAMPLES, torch.Generator(device or "cpu").manual_seed(seed))
    losses: list[Tensor] = []
    for i, log in train(step, batches(mnist("train", device).images, batch, seed), rounds, state={"G": G, "D": D},
                        memory_format=torch.channels_last, progress=False):
        losses.append(log[WATCHED[variant]])
        if i % every == 0:
            yield i, torch.stack(losses).mean().item(), in_blocks(G, z)
            losses = []


def judge(x: Tensor) -> dict[str, float]:
    """Samples (n, 1, 28, 28) against the test digits: the Fréchet distance on the classifier's features, the share that
    chapter 1's test calls unsure (1 % of test digits are), and the share of the rarest class."""
    from course_lib.recipes import load, table
    classifier = load("digit-classifier", x.device)
    mine, real = metrics.feature_statistics(classifier.features, x), real_statistics(x.device)
    limit = table("hole-limits-digits")["rows"][0]["unsure_below"]
    return {"fréchet": metrics.frechet_distance(mine.mean, mine.cov, real.mean, real.cov),
            "unsure": (metrics.confidence(classifier, x) < limit).float().mean().item(),
            "rarest class": (in_blocks(classifier, x).argmax(1).bincount(minlength=10).min() / len(x)).item()}


@lru_cache(maxsize=2)
def real_statistics(device=None):
    """Mean and covariance of the test digits' features."""
    from course_lib.recipes import load
    return metrics.feature_statistics(load("digit-classifier", device).features, digits.digits("test", device)[0])


def digit_rows(device=None, *, rates=(("GAN", 2e-4), ("WGAN-GP", 5e-4)), seeds=(0, 1, 2, 3, 4), budget=11_000,
               looks=20):
    """A row a run: at each look the gradients so far, the watched loss, and what ``judge`` says, as lists."""
    rows = []
    for variant, lr in rates:
        rounds = budget // GRADIENTS[variant]
        for seed in seeds:
            seen = [{"round": i, "gradients": i * GRADIENTS[variant], "loss": loss} | judge(x)
                    for i, loss, x in digit_run(variant, seed, lr, rounds, rounds // looks, device=device)]
            rows.append({"variant": variant, "seed": seed, "lr": lr} |
                        {key: [row[key] for row in seen] for key in seen[0]})
    return rows


def fit_wgan_gp(G, device=None, save_to=None, *, steps=3_000, batch_size=BATCH, lr=5e-4, seed=0, ema_decay=0.99):
    """Gulrajani's algorithm, learning rates falling to 0 along a cosine; G ends with its average."""
    D = networks.dcgan_discriminator(CHANNELS, DIGIT).to(device)
    opt_G, opt_f = (adam(net, lr, (0.0, 0.9)) for net in (G, D))
    ema = EMA(G, ema_decay)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps) for opt in (opt_G, opt_f)]
    state = {"G": G, "D": D, "opt_G": opt_G, "opt_f": opt_f, "ema": ema, "schedule_G": schedules[0],
             "schedule_f": schedules[1]}
    step = partial(wgan_gp_step, G=G, f=D, opt_G=opt_G, opt_f=opt_f)
    for _ in train(step, batches(mnist("train", device).images, batch_size, seed), steps, state=state, save_to=save_to,
                   memory_format=torch.channels_last):
        ema.update(G)
        for schedule in schedules:
            schedule.step()
    G.load_state_dict(ema.module.state_dict())


def wgan_figures(G):
    return judge(samples(G))


MODELS = {
    "wgan-gp-digits": Model("a WGAN-GP of digits without batch norm, its generator",
                            partial(networks.dcgan_generator, LATENTS, CHANNELS, DIGIT), fit_wgan_gp, wgan_figures,
                            first_noise, digits.DATA),
}
TABLES = {
    "wgan-digits": Table("a DCGAN without batch norm on digits, as a plain GAN and as a WGAN-GP, 5 seeds", digit_rows,
                         digits.DATA),
}
