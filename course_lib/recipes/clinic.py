"""The clinic: ways in which a GAN does not train, each provoked and cured by one change, with the same vitals watched.

A case is a pair of networks, a step and its data; ``play`` trains it and takes the vitals every so often. All but one
are on a ring of 8 (radius 1, σ = 0.05); the one on ranges has digits of 7×7 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import gans, networks
from course_lib.checks import require, require_one_of
from course_lib.datasets import batches, mnist, toy
from course_lib.recipes.digits import DATA
from course_lib.recipes.gan_failures import as_lists
from course_lib.recipes.store import Table
from course_lib.training import adam, train

RING_STD = 0.05
BATCH, LOOKED_AT = 256, 1_000           # points a step; points, real and fake, that the vitals are taken on
BETAS = (0.5, 0.999)
SEEDS = (0, 1, 2)
FLOOR = 1.0064  # log(1 + 1/e) + log 2 nats: the least that D's loss can be where its logits are held in (0, 1)


class Case(NamedTuple):
    """One way to play: networks, a step, the losses that it descends, batches for the step, and real x to look at."""

    G: networks.Generator
    D: nn.Module
    step: Callable[[Iterator], dict[str, Tensor]]
    losses: gans.Losses
    batches: Iterator[Tensor]
    real: Tensor


class Symptom(NamedTuple):
    """What is seen; cases by name, from a seed, the ill one first and the cured one second, then others; the rounds
    each is played; and the panels that show it, each the names of vitals that share one axis: the last one's first is
    the tell-tale.
    """

    seen: str
    cases: dict[str, Callable[[int], Case]]
    steps: int
    panels: tuple[tuple[str, ...], ...]
    scales: dict[str, str]                  # of a panel's axis, by its first vital: "log" or "symlog"


# --- the cases -------------------------------------------------------------------------------------------------------

def on_ring(seed: int, G: networks.Generator, D: nn.Module, losses: gans.Losses = gans.NON_SATURATING,
            lr: float = 1e-3, lr_D: float = 4e-3, opt_G: torch.optim.Optimizer | None = None,
            head_start: int = 0) -> Case:
    """``gan_step`` with Adam, β = (½, 0.999); head_start: steps that D takes alone, before G takes its first."""
    density = toy.ring(std=RING_STD)
    data, opt_D = toy.draws(density, BATCH, 1_000 + seed), adam(D, lr_D, BETAS)
    if head_start:
        list(train(partial(gans.discriminator_step, G=G, D=D, opt_D=opt_D), data, head_start, progress=False))
    step = partial(gans.gan_step, G=G, D=D, opt_G=opt_G or adam(G, lr, BETAS), opt_D=opt_D, losses=losses)
    return Case(G, D, step, losses, data, density.sample(LOOKED_AT, torch.Generator().manual_seed(seed)))


def healthy(seed: int, lr: float = 1e-3, lr_D: float = 4e-3, losses: gans.Losses = gans.NON_SATURATING) -> Case:
    """What all the others are held against: 2 hidden layers of 128 units in each network."""
    torch.manual_seed(seed)
    return on_ring(seed, networks.mlp_generator(2, 2), networks.mlp_discriminator(2), losses, lr, lr_D)


def left_behind(seed: int, losses: gans.Losses, plain: bool = True, away: float = 10.0, head_start: int = 300) -> Case:
    """G's samples start ``away`` from the data, and D has had a head start: it is sure of every fake.

    plain: G takes plain gradient steps, as in Algorithm 1; else Adam's, which divide a gradient by its usual size.
    """
    torch.manual_seed(seed)
    G, D = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    with torch.no_grad():
        list(G.parameters())[-1].add_(torch.tensor([away, 0.0]))                    # the last layer's bias
    opt_G = torch.optim.SGD(G.parameters(), 0.01) if plain else None
    return on_ring(seed, G, D, losses, opt_G=opt_G, head_start=head_start)


def wrong_weights(seed: int) -> Case:
    """The generator's optimizer was given the discriminator's weights."""
    torch.manual_seed(seed)
    G, D = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    return on_ring(seed, G, D, opt_G=adam(D, 1e-3, BETAS))


def sharp_eyes(seed: int, noise: float) -> Case:
    """Coins in z and Fourier features in D, as in the best recipe of chapter 6; noise: σ of D's instance noise."""
    torch.manual_seed(seed)
    G = networks.mlp_generator(10, 2, coins=8)
    D = gans.InstanceNoise(networks.mlp_discriminator(2, waves=64, scale=2.0), noise)
    return on_ring(seed, G, D, lr_D=1e-3)


class Squashed(nn.Module):
    """A network with a sigmoid at its end: it gives probabilities where a loss on logits wants logits."""

    def __init__(self, D: nn.Module):
        super().__init__()
        self.D = D

    def forward(self, x: Tensor) -> Tensor:
        return self.D(x).sigmoid()


def squashed(seed: int) -> Case:
    """A sigmoid at D's end, and another one in the loss."""
    torch.manual_seed(seed)
    return on_ring(seed, networks.mlp_generator(2, 2), Squashed(networks.mlp_discriminator(2)))


def normalised_input(seed: int) -> Case:
    """Batch norm on D's input: each batch, real or fake, loses its own mean and its own scale before D sees it."""
    torch.manual_seed(seed)
    G, D = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    return on_ring(seed, G, nn.Sequential(nn.BatchNorm1d(2, affine=False), D))


def value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """V = mean log D(x) + mean log(1 − D(G(z))), which D should ascend: descended, its sign is wrong."""
    return -gans.minimax_discriminator_loss(real_logits, fake_logits)


def minus_log_not_D(fake_logits: Tensor) -> Tensor:
    """−mean log(1 − D(G(z))): what G should ascend; as a loss to be descended, its sign is wrong too."""
    return -gans.minimax_generator_loss(fake_logits)


@lru_cache
def small_digits() -> Tensor:
    """The first 10,000 digits, means over 4×4 pixels: (10000, 49) in [0, 1]; a reader must not write into them."""
    return nn.functional.avg_pool2d(mnist("train").images[:10_000].float() / 255, 4).flatten(1)


def ranged(seed: int, low: float, end: Callable[[], nn.Module]) -> Case:
    """Digits of 49 numbers in [low, 1], and a generator that ends in a sigmoid, (0, 1), or a tanh, (−1, 1)."""
    torch.manual_seed(seed)
    data = low + (1 - low) * small_digits()
    G = networks.Generator(nn.Sequential(networks.mlp_generator(16, 49).body, end()), latents=16)
    D = networks.mlp_discriminator(49)
    step = partial(gans.gan_step, G=G, D=D, opt_G=adam(G, 1e-3, BETAS), opt_D=adam(D, 1e-3, BETAS))
    return Case(G, D, step, gans.NON_SATURATING, batches(data, BATCH, seed), data[:LOOKED_AT])


LOSSES = ("loss of D", "loss of G")
SYMPTOMS = {
    "slope": Symptom(
        "D is sure of every fake, and G stands still",
        {"minimax loss": partial(left_behind, losses=gans.MINIMAX),
         "non-saturating loss": partial(left_behind, losses=gans.NON_SATURATING),
         "minimax loss, Adam": partial(left_behind, losses=gans.MINIMAX, plain=False)},
        400, (("D(G(z))",), ("gradient",)), {"D(G(z))": "log", "gradient": "log"}),
    "optimizer": Symptom(
        "D seems to win, and the samples never change",
        {"G's optimizer holds D's weights": wrong_weights, "it holds G's weights": healthy},
        800, (LOSSES, ("G moved", "D moved")), {}),
    "collapse": Symptom(
        "samples at a few modes of eight, for ever",
        {"D sees sharply": partial(sharp_eyes, noise=0.0), "D sees through noise": partial(sharp_eyes, noise=0.2)},
        800, (LOSSES, ("near",)), {}),
    "rate": Symptom(
        "D's loss jumps about, and all samples are one point",
        {"both learning rates 0.1": partial(healthy, lr=0.1, lr_D=0.1), "0.001 and 0.004": healthy},
        800, (LOSSES, ("spread",)), {"loss of D": "log"}),
    "sigmoid": Symptom(
        "D's loss stands still above 1 nat, and so do the samples",
        {"sigmoid in D and in the loss": squashed, "sigmoid in the loss only": healthy},
        800, (("loss of D",), ("gradient",)), {"gradient": "log"}),
    "range": Symptom(
        "D wins within a hundred steps, for ever",
        {"data in [−1, 1], G ends in a sigmoid": partial(ranged, low=-1.0, end=nn.Sigmoid),
         "data in [0, 1], G ends in a sigmoid": partial(ranged, low=0.0, end=nn.Sigmoid),
         "data in [0, 1], G ends in a tanh": partial(ranged, low=0.0, end=nn.Tanh)},
        400, (LOSSES, ("D(G(z))",)), {"D(G(z))": "log"}),
    "batch norm": Symptom(
        "D cannot tell, and the samples have the wrong size",
        {"batch norm on D's input": normalised_input, "no norm on D's input": healthy},
        800, (("D(x)", "D(G(z))"), ("spread",)), {}),
    "sign": Symptom(
        "D's loss is below 0, and falls and falls",
        {"D descends V": partial(healthy, losses=gans.Losses(value, gans.non_saturating_generator_loss)),
         "D ascends V": healthy,
         "both signs turned": partial(healthy, losses=gans.Losses(value, minus_log_not_D))},
        400, (("D(x)", "D(G(z))"), ("loss of D",)), {"loss of D": "symlog"}),
}


# --- the vitals ------------------------------------------------------------------------------------------------------

def vitals(case: Case, z: Tensor, started: list[list[Tensor]]) -> dict[str, float]:
    """What to look at when a GAN does not train; z: fixed noise; started: the weights of G and of D at the start.

    "D(x)", "D(G(z))": means of what the loss takes for the probability of being real; "gradient": ‖∇_θ loss of G‖,
    nats per unit of θ; "G moved", "D moved": ‖θ − θ₀‖/‖θ₀‖ over all weights; "spread": the samples' standard
    deviation over that of the data, in all coordinates at once; on the ring "near": modes to which 20 samples of 2,500
    (here 8 of 1,000) are nearer than to the others. Neither the networks' weights nor torch's random state change.
    """
    with torch.random.fork_rng(devices=[]):
        gradient = gans.generator_gradient(case.G, case.D, z, case.losses.generator).item()
        with torch.no_grad():
            samples = case.G(z)
            seen = {name: case.D(x).sigmoid().mean().item() for name, x in (("D(x)", case.real), ("D(G(z))", samples))}
            seen["gradient"] = gradient
            for name, net, start in zip(("G moved", "D moved"), (case.G, case.D), started, strict=True):
                now, then = flat(list(net.parameters())), flat(start)
                seen[name] = ((now - then).norm() / then.norm()).item()
    seen["spread"] = (samples.var(0).sum() / case.real.var(0).sum()).sqrt().item()
    if samples.shape[1] == 2:
        found = gans.modes_hit(samples, toy.ring().means, RING_STD, needed=8)
        seen["near"] = int((found.nearest >= 8).sum())
    return seen


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def play(symptom: str, case: str, seed: int = 0, steps: int | None = None,
         looks: int = 20) -> Iterator[tuple[int, dict[str, float], Tensor]]:
    """Trains a case and yields (step, vitals, 1,000 samples from the same noise each time), ``looks`` times.

    symptom: one of SYMPTOMS; case: one of its cases; steps: all of the symptom's by default. With the vitals come
    "loss of D" and "loss of G", means over the steps since the last look. Raises ValueError for other names, and unless
    steps is a multiple of looks.
    """
    require_one_of("symptom", symptom, tuple(SYMPTOMS))
    require_one_of("case", case, tuple(SYMPTOMS[symptom].cases))
    steps = SYMPTOMS[symptom].steps if steps is None else steps
    require(looks >= 1 and steps >= 1 and steps % looks == 0,
            f"steps is {steps} and looks {looks}; steps must be a multiple of looks, such as {20 * looks}.")
    patient = SYMPTOMS[symptom].cases[case](seed)
    started = [[p.detach().clone() for p in net.parameters()] for net in (patient.G, patient.D)]
    z, logs = patient.G.noise(LOOKED_AT, torch.Generator().manual_seed(seed)), []
    for i, log in train(patient.step, patient.batches, steps, progress=False):
        logs.append(log)
        if i % (steps // looks) == 0:
            losses = {f"loss of {name}": torch.stack([log[name] for log in logs]).mean().item() for name in "DG"}
            with torch.no_grad():
                samples = patient.G(z)
            yield i, losses | vitals(patient, z, started), samples
            logs = []


def clinic_rows(device=None, *, symptoms=tuple(SYMPTOMS), seeds=SEEDS, looks=20):
    """Each case of each symptom, on each seed: the vitals through training; on the CPU: these are tiny."""
    return [{"symptom": symptom, "case": case, "seed": seed} |
            as_lists([{"step": i} | seen for i, seen, _ in play(symptom, case, seed, looks=looks)])
            for symptom in symptoms for case in SYMPTOMS[symptom].cases for seed in seeds]


def end(rows: list[dict], symptom: str, vital: str) -> dict[str, list[float]]:
    """A vital at the runs' ends: case → a value for each seed."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["symptom"] == symptom:
            found.setdefault(row["case"], []).append(row[vital][-1])
    return found


TABLES = {
    "gan-clinic": Table("eight ways in which a GAN does not train, each ill and cured: the vitals through training, 3 "
                        "seeds", clinic_rows, DATA),
}
