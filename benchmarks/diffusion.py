"""A training step of the U-Net on 128 digits and 16 samples by DDIM: the library against a textbook loop, in one run.

    python -m benchmarks.diffusion [--runs 5]

Textbook: float32, images read one by one through a DataLoader, loss.backward(), Adam's own step, and samples by DDPM
in 1000 steps (timed over 20 of them). Library: ``diffusion_step`` on a set that lies whole in memory, convolutions in
bfloat16, and ``ddim`` in 20 steps. The same network and batch in both; they take turns.
"""

from __future__ import annotations

import argparse
import itertools
import time
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_lib import networks
from course_lib.datasets import batches, mnist
from course_lib.diffusion import Schedule, diffusion_step
from course_lib.recipes.diffusion import T
from course_lib.recipes.diffusion_tables import each_class, generate
from course_lib.recipes.vaegan import in_bf16
from course_lib.training import adam

BATCH, SAMPLES = 128, 16


def textbook_step(loader, net, opt, alpha_bar) -> None:
    x, y = next(loader)
    x = 2 * (x.float() / 255) - 1
    t = torch.randint(0, T, (len(x),))
    eps = torch.randn_like(x)
    kept = alpha_bar[t].view(-1, 1, 1, 1)
    opt.zero_grad()
    F.mse_loss(net(kept.sqrt() * x + (1 - kept).sqrt() * eps, t + 1, y), eps).backward()
    opt.step()


def seconds_of(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each; the median counts")
    runs = parser.parse_args().runs
    data, schedule, labels = mnist("train"), Schedule.cosine(T), each_class(SAMPLES)
    nets = {name: networks.UNet(classes=10) for name in ("textbook", "library")}
    loader = DataLoader(TensorDataset(*data), batch_size=BATCH, shuffle=True)
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    opt = torch.optim.Adam(nets["textbook"].parameters(), lr=1e-3)
    step = in_bf16(partial(diffusion_step, net=nets["library"], opt=adam(nets["library"]), schedule=schedule,
                           predicts="v"), torch.device("cpu"))
    steps = {"textbook": lambda: textbook_step(endless, nets["textbook"], opt, schedule.alpha_bar[1:].float()),
             "library": lambda: step(ours)}
    ours = batches(tuple(data), BATCH)
    sample = {"textbook": lambda: generate(nets["textbook"], labels, SAMPLES, "DDPM", 20, bf16=False),
              "library": lambda: generate(nets["library"], labels, SAMPLES, "DDIM", 20)}
    found = {(what, name): [] for what in ("step", "samples") for name in nets}
    for f in (*steps.values(), *sample.values()):
        f()                                             # once to warm up
    for _ in range(runs):
        for what, kinds in (("step", steps), ("samples", sample)):
            for name, f in kinds.items():
                found[what, name].append(seconds_of(f) * (50 if (what, name) == ("samples", "textbook") else 1))
    print(f"{torch.get_num_threads()} threads, median of {runs}:")
    for what, words in (("step", f"a training step of {BATCH} digits"),
                        ("samples", f"{SAMPLES} samples (textbook: DDPM in 1000 steps; library: DDIM in 20)")):
        plain, own = (median(found[what, name]) for name in ("textbook", "library"))
        print(f"  {words}: textbook {plain:.2f} s, library {own:.2f} s, {own / plain:.3f} of the time")


if __name__ == "__main__":
    main()
