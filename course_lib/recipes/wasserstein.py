"""Recipes on Wasserstein GANs and their rivals on the ring of 8 and the grid of 25: one budget, several seeds.

Every variant has the same generator and discriminator, 2 hidden layers of 128 units, and batches of 256; each is run at
three learning rates on two seeds, and at the best of them on five others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import mean, median, stdev
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import gans, networks
from course_lib.checks import require
from course_lib.datasets import toy
from course_lib.recipes.gan_failures import SAMPLES, SEEDS, SETS, as_lists
from course_lib.recipes.store import Table
from course_lib.training import adam, rmsprop, train

BATCH = 256
SEARCH_SEEDS = (5, 6)
PLANNED = "the best found"      # its noise fades and its learning rates fall as its run goes on
NOISE = (1.0, 0.01)     # the standard deviation of the best recipe's instance noise: at the start and before it ends


class Variant(NamedTuple):
    """One way to play: ``players(lr)`` makes new networks and a step; ``gradients``: how many gradients a round takes.

    Counted is each gradient of a value over one batch: by the weights of one network, or, for a penalty, by the points.
    """

    players: Callable[[float], tuple[networks.Generator, nn.Module, Callable]]
    rates: tuple[float, float, float]
    gradients: int


def plain(lr: float, losses: gans.Losses, normalised: bool = False):
    """One step of D, one of G, with Adam: β = (½, 0.999)."""
    G, D = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    D = networks.spectrally_normalised(D) if normalised else D
    return G, D, partial(gans.gan_step, G=G, D=D, losses=losses, opt_G=adam(G, lr, (0.5, 0.999)),
                         opt_D=adam(D, lr, (0.5, 0.999)))


def clipped(lr: float):
    """Arjovsky et al. 2017, Algorithm 1, but for the batch and the learning rate: five steps of f, c = 0.01."""
    G, f = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    return G, f, partial(gans.wgan_step, G=G, f=f, opt_G=rmsprop(G, lr), opt_f=rmsprop(f, lr))


def penalised(lr: float, penalty: float = 0.1):
    """Gulrajani et al. 2017, Algorithm 1, with λ = 0.1: on toys of this size, λ = 10 is stiffer than the gap."""
    G, f = networks.mlp_generator(2, 2), networks.mlp_discriminator(2)
    return G, f, partial(gans.wgan_gp_step, G=G, f=f, penalty=penalty, opt_G=adam(G, lr, (0.0, 0.9)),
                         opt_f=adam(f, lr, (0.0, 0.9)))


def best(lr: float, coins: int = 8, waves: int = 64, scale: float = 2.0, noise: bool = True):
    """The best that was found: eight coins in z, Fourier features and fading instance noise in D, rates that fall to 0.

    The coins let samples fall into separate pieces; the features let D see fine detail; the noise shows it all modes
    first, then their edges. The losses are the non-saturating ones.
    """
    G = networks.mlp_generator(2 + coins, 2, coins=coins)
    D = networks.mlp_discriminator(2, waves=waves, scale=scale)
    D = gans.InstanceNoise(D, NOISE[0]) if noise else D
    return G, D, partial(gans.gan_step, G=G, D=D, opt_G=adam(G, lr, (0.5, 0.999)), opt_D=adam(D, lr, (0.5, 0.999)))


VARIANTS = {
    "minimax": Variant(partial(plain, losses=gans.MINIMAX), (3e-4, 1e-3, 3e-3), 2),
    "non-saturating": Variant(partial(plain, losses=gans.NON_SATURATING), (3e-4, 1e-3, 3e-3), 2),
    "least squares": Variant(partial(plain, losses=gans.LEAST_SQUARES), (3e-4, 1e-3, 3e-3), 2),
    "WGAN, clipped": Variant(clipped, (5e-5, 3e-4, 2e-3), 6),
    "WGAN-GP": Variant(penalised, (3e-4, 1e-3, 3e-3), 11),
    "SN, hinge": Variant(partial(plain, losses=gans.HINGE, normalised=True), (3e-4, 1e-3, 3e-3), 2),
    PLANNED: Variant(best, (5e-4, 1e-3, 2e-3), 2),
}


def fading(progress: float, start: float, end: float, until: float = 0.8) -> float:
    """A standard deviation that falls from start to end, at a constant rate on a log scale, and is 0 from ``until`` on.

    progress, until: shares of the run, in [0, 1].
    """
    return start * (end / start) ** (progress / until) if progress < until else 0.0


def toy_run(variant: str, data: str, seed: int, lr: float, steps: int, every: int, fade: tuple[float, float] = NOISE,
            **changed) -> Iterator[tuple[int, Tensor, gans.ModesHit]]:
    """Plays ``steps`` rounds and yields (round, 2,500 samples from the same noise each time, modes hit) every so often.

    variant: one of VARIANTS; data: one of gan_failures.SETS; lr: of both players; fade: the instance noise's standard
    deviation at the start and before it ends, where there is any; changed: settings of the variant.
    """
    require(every <= steps, f"every is {every}, but there are {steps} rounds: nothing would be looked at.")
    density, sigma = SETS[data][0](), SETS[data][1]
    torch.manual_seed(seed)
    G, D, step = VARIANTS[variant].players(lr, **changed)
    if isinstance(D, gans.InstanceNoise):
        D.std = fade[0]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(step.keywords[opt], steps)
                 for opt in ("opt_G", "opt_D") if variant == PLANNED]
    z = G.noise(SAMPLES, torch.Generator().manual_seed(seed))
    for i, _ in train(step, toy.draws(density, BATCH, 1_000 + seed), steps, progress=False):
        for schedule in schedules:
            schedule.step()
        if isinstance(D, gans.InstanceNoise):
            D.std = fading(i / steps, *fade)
        if i % every == 0:
            with torch.no_grad():
                samples = G(z)                          # (2500, 2)
            yield i, samples, gans.modes_hit(samples, density.means, sigma)


def milliseconds(variants=tuple(VARIANTS), rounds: int = 40, turns: int = 9) -> dict[str, float]:
    """What a round of each variant takes on this machine: the median over turns, the variants one after the other."""
    steps = {name: VARIANTS[name].players(1e-3)[2] for name in variants}
    batches = toy.draws(toy.ring(), BATCH)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(turns):
        for name, step in steps.items():
            start = perf_counter()
            for _ in range(rounds):
                step(batches)
            taken[name].append(1e3 * (perf_counter() - start) / rounds)
    return {name: median(times) for name, times in taken.items()}


def history(variant: str, data: str, seed: int, lr: float, budget: int, looks: int, ms: float | None = None,
            **changed) -> dict:
    """A run as one row: after so many gradients and, with a round's milliseconds, seconds (lists), modes hit, near, and
    the share of good samples."""
    a_round = VARIANTS[variant].gradients
    every = max(1, budget // a_round // looks)
    seen = [{"gradients": i * a_round} | ({} if ms is None else {"seconds": i * ms / 1e3}) |
            {"hit": found.hit, "good": found.good, "near": int((found.nearest >= 20).sum())}
            for i, _, found in toy_run(variant, data, seed, lr, every * looks, every, **changed)]
    return {"variant": variant, "seed": seed, "lr": lr, **as_lists(seen)}


def score(row: dict, modes: int) -> float:
    """What learning rates are compared by, at a run's end: the share of the modes that are hit plus the good share."""
    return row["hit"][-1] / modes + row["good"][-1]


def best_rate(rows: list[dict], variant: str, modes: int) -> float:
    """The learning rate with the largest mean score over the search's seeds; of equals the largest."""
    rates = sorted({row["lr"] for row in rows if row["variant"] == variant})
    return max(reversed(rates), key=lambda lr: mean(score(row, modes) for row in rows
                                                    if (row["variant"], row["lr"]) == (variant, lr)))


def modes_rows(device=None, *, data, variants=tuple(VARIANTS), seeds=SEEDS, search_seeds=SEARCH_SEEDS, budget=16_000,
               looks=40):
    """Each variant at three learning rates on the search's seeds ("role": "search"), then at the best on the others
    ("result"); on the CPU: these are tiny. budget: gradients a run; a variant's seconds: rounds times their median.

    The best found plans its run to its end, so it must be given its length: what fits both budgets, no more gradients
    than the others have and no more seconds than the quickest of them.
    """
    ms, modes, rows = milliseconds(variants), len(SETS[data][0]().means), []
    quickest = min(ms[name] * (budget // VARIANTS[name].gradients) for name in variants)
    for name in variants:
        allowed = min(budget, int(quickest / ms[name]) * VARIANTS[name].gradients) if name == PLANNED else budget
        run = partial(history, name, data, budget=allowed, looks=looks, ms=ms[name])
        found = [run(seed, lr) for lr in VARIANTS[name].rates for seed in search_seeds]
        lr = best_rate(found, name, modes)
        rows += [{"role": "search"} | row for row in found]
        rows += [{"role": "result"} | run(seed, lr) for seed in seeds]
    return rows


def equal_seconds(rows: list[dict]) -> float:
    """The seconds that each run of a table has at least: where they can be compared on time."""
    return min(row["seconds"][-1] for row in rows)


def cut(row: dict, cost: str, at: float) -> dict:
    """A run as it stood when it had cost no more than ``at``; cost: "gradients" or "seconds". At least one look.

    Raises ValueError where the first look had already cost more.
    """
    kept = sum(spent <= at * (1 + 1e-9) for spent in row[cost])
    require(kept >= 1, f"at is {at} {cost}, but the first look came at {row[cost][0]}: allow more.")
    return {key: value[:kept] if isinstance(value, list) else value for key, value in row.items()}


def summary(rows: list[dict]) -> list[dict]:
    """Runs at their ends, a row a variant: the mean and the spread (standard deviation) over its seeds."""
    def of(runs: list[dict], key: str) -> dict:
        ends = [row[key][-1] for row in runs]
        return {f"{key}, mean": mean(ends), f"{key}, sd": stdev(ends), f"{key}, worst": min(ends)}
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["variant"], []).append(row)
    return [{"variant": name, "lr": runs[0]["lr"]} | of(runs, "hit") | of(runs, "good")
            for name, runs in groups.items()]


ABLATIONS = {"no coins": {"coins": 0}, "no Fourier features": {"waves": 0}, "no instance noise": {"noise": False}}


def ablation_rows(device=None, *, settings=tuple(ABLATIONS), sets=tuple(SETS), seeds=SEEDS[:1], lr=1e-3, budget=10_400,
                  looks=10):
    """The best recipe with one of its parts left out, ring and grid."""
    return [{"set": data, "setting": name} |
            history(PLANNED, data, seed, lr, budget, looks, **ABLATIONS[name])
            for data in sets for name in settings for seed in seeds]


def best_rows(device=None, *, data, lr, seeds=SEEDS, rounds=12_000, fade=(1.0, 0.02), looks=20):
    """The best found, given more rounds than the budget of the comparison, and noise that fades more slowly."""
    return [history(PLANNED, data, seed, lr, 2 * rounds, looks, fade=fade) for seed in seeds]


TABLES = {
    "wgan-modes-ring": Table("minimax, non-saturating, least squares, clipped, GP, SN and the best found on the ring: "
                             "three learning rates on 2 seeds, the best on 5", partial(modes_rows, data="ring of 8"),
                             {}),
    "wgan-modes-grid": Table("the same on the grid", partial(modes_rows, data="grid of 25"), {}),
    "wgan-best-ring": Table("the best found on the ring, with 12,000 rounds and noise that fades more slowly, 5 seeds",
                            partial(best_rows, data="ring of 8", lr=1e-3), {}),
    "wgan-best-grid": Table("the same on the grid", partial(best_rows, data="grid of 25", lr=5e-4), {}),
    "wgan-ablations": Table("the best found on ring and grid with one of its parts left out, one seed", ablation_rows,
                            {}),
}
