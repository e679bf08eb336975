"""Recipes on how a GAN fails, each failure over five seeds: dropped modes, runs that get worse, players out of balance.

All on the ring of 8 and the grid of 25, with networks of linear layers and noise of 2 numbers, judged on 2,500 samples
by the course's rule (``gans.modes_hit``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from course_lib import gans, networks
from course_lib.checks import require
from course_lib.datasets import toy
from course_lib.recipes.store import Table
from course_lib.training import adam, train

SETS = {"ring of 8": (toy.ring, 0.01), "grid of 25": (toy.grid, 0.05)}        # name → density, σ of a mode
LOSSES = {"minimax": gans.MINIMAX, "non-saturating": gans.NON_SATURATING, "least squares": gans.LEAST_SQUARES,
          "hinge": gans.HINGE}
SEEDS = (0, 1, 2, 3, 4)
SAMPLES = 2_500


def toy_run(data: str = "ring of 8", losses: str = "non-saturating", seed: int = 0, *, steps: int = 5_000,
            every: int = 500, k: int = 1, lr: float = 1e-3, lr_D: float = 1e-3, batch: int = 256, width_D: int = 128,
            prior: str = "normal") -> Iterator[tuple[int, Tensor, gans.ModesHit]]:
    """Trains a GAN on a toy and yields (step, 2,500 samples from the same noise each time, modes hit) every so often.

    data: one of SETS; losses: one of LOSSES; lr, lr_D: Adam's learning rates of generator and discriminator, β₁ = 0.5;
    batch: points a step; width_D: units in each of the discriminator's two hidden layers (the generator has 128).
    """
    require(every <= steps, f"every is {every}, but there are {steps} steps: nothing would be looked at.")
    density, sigma = SETS[data][0](), SETS[data][1]
    torch.manual_seed(seed)
    G, D = networks.mlp_generator(2, 2, prior=prior), networks.mlp_discriminator(2, (width_D, width_D))
    step = partial(gans.gan_step, G=G, D=D, opt_G=adam(G, lr, (0.5, 0.999)), opt_D=adam(D, lr_D, (0.5, 0.999)), k=k,
                   losses=LOSSES[losses])
    z = G.noise(SAMPLES, torch.Generator().manual_seed(seed))
    for i, _ in train(step, toy.draws(density, batch, 1_000 + seed), steps, progress=False):
        if i % every == 0:
            with torch.no_grad():
                samples = G(z)                          # (2500, 2)
            yield i, samples, gans.modes_hit(samples, density.means, sigma)


def history(data: str, losses: str, seed: int, **settings) -> list[dict]:
    """A run as rows: at each step looked at, how many modes were hit, the share of good samples, and how many modes
    have samples near them at all (20 that are nearer to it than to the others, good or not)."""
    return [{"step": i, "hit": found.hit, "good": found.good, "near": int((found.nearest >= 20).sum())}
            for i, _, found in toy_run(data, losses, seed, **settings)]


def gradient_history(seed: int, *, looks=(0, 10, 30, 100, 300, 1_000, 3_000), lr: float = 1e-3,
                     batch: int = 256) -> list[dict]:
    """On the ring, a generator that stands still where its training began, and a discriminator that learns on.

    At each look: D on the generator's samples (mean), and the size of the gradient that the generator would get from
    either loss, over 2,500 samples.
    """
    torch.manual_seed(seed)
    G, D = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    z = G.noise(SAMPLES, torch.Generator().manual_seed(seed))

    def row(i: int) -> dict:
        with torch.no_grad():
            on_samples = D(G(z)).sigmoid().mean().item()
        return {"seed": seed, "steps of D": i, "D on samples": on_samples,
                "saturating": gans.generator_gradient(G, D, z, gans.minimax_generator_loss).item(),
                "non-saturating": gans.generator_gradient(G, D, z, gans.non_saturating_generator_loss).item()}

    step = partial(gans.discriminator_step, G=G, D=D, opt_D=adam(D, lr, (0.5, 0.999)))
    run = train(step, toy.draws(toy.ring(), batch, 1_000 + seed), max(looks), progress=False)
    return [row(0)] + [row(i) for i, _ in run if i in looks]


BALANCE = {                             # name → what differs from ``toy_run`` on the ring with the non-saturating loss
    "as it is": {},
    "D slower: lr / 10": {"lr_D": 1e-4},
    "D faster: lr · 10": {"lr_D": 1e-2},
    "D narrow: 16 units": {"width_D": 16},
    "D wide: 512 units": {"width_D": 512},
    "k = 5 steps of D": {"k": 5},
    "batches of 32": {"batch": 32},
    "batches of 1,024": {"batch": 1_024},
    "uniform noise": {"prior": "uniform"},
    "four times the steps": {"steps": 20_000},
}


def modes_rows(device=None, *, sets=tuple(SETS), losses=tuple(LOSSES), seeds=SEEDS, steps=5_000, every=250, slow=1e-4):
    """Modes hit and the share of good samples through training, by set, losses and seed; on the CPU: these are tiny.

    Each pair of losses with both players at one learning rate; then, with the non-saturating loss, D at lr ``slow``.
    """
    runs = [(name, name, {}) for name in losses] + [("D slower", "non-saturating", {"lr_D": slow})]
    return [{"set": data, "losses": name, "seed": seed,
             **as_lists(history(data, pair, seed, steps=steps, every=every, **changed))}
            for data in sets for name, pair, changed in runs for seed in seeds]


def balance_rows(device=None, *, settings=tuple(BALANCE), seeds=SEEDS, steps=5_000, every=250):
    """The same on the ring with the non-saturating loss, one thing changed at a time; steps: but for the one that takes
    four times as many, 20,000."""
    def run(seed: int, **changed) -> dict[str, list]:
        return as_lists(history("ring of 8", "non-saturating", seed, **{"steps": steps, "every": every} | changed))
    return [{"setting": name, "seed": seed, **run(seed, **BALANCE[name])} for name in settings for seed in seeds]


def gradient_rows(device=None, *, seeds=SEEDS):
    """What a better and better discriminator leaves of the generator's gradient, with either loss."""
    return [row for seed in seeds for row in gradient_history(seed)]


def as_lists(rows: list[dict]) -> dict[str, list]:
    """Rows with the same keys as one row of lists."""
    return {key: [row[key] for row in rows] for key in rows[0]}


TABLES = {
    "gan-gradients": Table("the generator's gradient under a discriminator that learns on, on the ring, 5 seeds",
                           gradient_rows, {}),
    "gan-modes": Table("modes hit and good samples through training, ring and grid, four pairs of losses, 5 seeds",
                       modes_rows, {}),
    "gan-balance": Table("the same on the ring, one setting changed at a time, 5 seeds", balance_rows, {}),
}
