"""60,000 digits to a classifier's features and a Fréchet distance: the library against a textbook loop, in one run.

    python -m benchmarks.measures [--images 60000] [--runs 3]

Textbook: a DataLoader over single images, features in batches of 50, all kept, numpy's mean and covariance, scipy's
square root of a matrix. Library: ``feature_statistics`` over the uint8 tensor, and ``frechet_distance``. The network is
the course's digit classifier in both, in torch's channels-last format for the library. The two take turns.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from course_lib import recipes
from course_lib.datasets import mnist
from course_lib.metrics import FeatureStatistics, feature_statistics, frechet_distance


@torch.no_grad()
def textbook(network: nn.Module, images: Tensor, reference: FeatureStatistics) -> float:
    loader = DataLoader(TensorDataset(images), batch_size=50)
    features = np.concatenate([network.features(batch.float() / 255).numpy() for batch, in loader])
    mean, cov = features.mean(0), np.cov(features, rowvar=False)
    root = sqrtm(cov @ reference.cov.numpy()).real
    difference = mean - reference.mean.numpy()
    return float(difference @ difference + np.trace(cov) + np.trace(reference.cov.numpy()) - 2 * np.trace(root))


def library(network: nn.Module, images: Tensor, reference: FeatureStatistics) -> float:
    mean, cov, _ = feature_statistics(network.features, images)
    return frechet_distance(mean, cov, reference.mean, reference.cov)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000, help="how many training digits")
    parser.add_argument("--runs", type=int, default=3, help="of each; the median counts")
    arguments = parser.parse_args()
    images = mnist("train").images[:arguments.images]
    plain = recipes.load("digit-classifier")
    by_pixels = recipes.load("digit-classifier").to(memory_format=torch.channels_last)  # convolutions: a third faster
    reference = feature_statistics(by_pixels.features, mnist("test").images)
    seconds, busy, found = {"textbook": [], "library": []}, {"textbook": [], "library": []}, {}
    for _ in range(arguments.runs):
        for name, measure, network in (("textbook", textbook, plain), ("library", library, by_pixels)):
            start, processor = time.perf_counter(), time.process_time()
            found[name] = measure(network, images, reference)
            seconds[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - processor)
    print(f"{len(images):,} digits to features and a Fréchet distance, {torch.get_num_threads()} threads, median of "
          f"{arguments.runs}:")
    for name, times in seconds.items():
        print(f"  {name:8}  {median(times):6.1f} s, {median(busy[name]):6.1f} s of processor time   distance "
              f"{found[name]:.6f}")
    ratios = [median(times["library"]) / median(times["textbook"]) for times in (seconds, busy)]
    print(f"  the library takes {ratios[0]:.2f} of the textbook's time, {ratios[1]:.2f} of its processor time")


if __name__ == "__main__":
    main()
