"""Has a model learnt its training set by heart? Nearest training neighbours, and a test for copying."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.stats import rankdata
from torch import Tensor

from course_lib.checks import require
from course_lib.metrics.blocks import as_floats
from course_lib.metrics.nearest import Nearest


class NearestTraining(NamedTuple):
    """For each sample, which training item is nearest, int64 (N,), and how far away it is, (N,)."""

    indices: Tensor
    distances: Tensor


class CopyingTest(NamedTuple):
    """z: the Mann–Whitney statistic in standard deviations: far below 0, samples are nearer to the training set than
    the test set is, as copies are; far above 0, farther, as poor samples are.
    share: the part of the samples that are as near to the training set as the nearest 1 % of the test set."""

    z: float
    share: float


def nearest_training(samples: Tensor, train: Tensor | Nearest) -> NearestTraining:
    """The nearest training item to each sample, and its Euclidean distance: (N, …), (M, …) → (N,) and (N,).

    Images, uint8 (counted as 0 … 255 and divided by 255) or float, or features. train may be a Nearest, prepared once.
    """
    near = train if isinstance(train, Nearest) else Nearest(as_floats(train))
    return NearestTraining(*near.find(as_floats(samples)))


def copying_test(samples: Tensor, train: Tensor | Nearest, test: Tensor, quantile: float = 0.01) -> CopyingTest:
    """Are the samples nearer to the training set than fresh data are?  Meehan, Chaudhuri and Dasgupta 2020, section 3.

    samples (N, …), train (M, …), test (L, …): images or features. The distances of the samples to their nearest
    training item are ranked among those of the test items: with U the number of pairs (sample, test item) in which the
    sample is farther, ties counted half, z = (U − NL/2) / its standard deviation where both are drawn alike, ties
    allowed for (Mann and Whitney 1947). Then z is about N(0, 1): below −3 there is hardly a doubt. (The paper does so
    in each cell of a partition and averages; here, one cell.)
    share: which part of the samples is at most as far from the training set as the nearest ``quantile`` of the test
    items; about ``quantile`` where nothing is copied.
    """
    require(0 < quantile < 1, f"quantile is {quantile}; it must be between 0 and 1.")
    require(len(samples) > 0 and len(test) > 0, "there are no samples or no test items.")
    near = train if isinstance(train, Nearest) else Nearest(as_floats(train))
    of_samples, of_test = (nearest_training(x, near).distances.double() for x in (samples, test))
    share = (of_samples <= of_test.quantile(quantile)).double().mean().item()
    return CopyingTest(_mann_whitney_z(of_samples, of_test), share)


def _mann_whitney_z(a: Tensor, b: Tensor) -> float:
    """How many standard deviations U, the number of pairs with a > b (ties ½), is above its mean; 0 if all are tied."""
    n, m = len(a), len(b)
    both = torch.cat([a, b]).cpu()
    ranks = torch.from_numpy(rankdata(both.numpy()))
    u = ranks[:n].sum().item() - n * (n + 1) / 2
    ties = both.unique(return_counts=True)[1].double()
    variance = n * m / 12 * (n + m + 1 - ((ties**3 - ties).sum().item()) / ((n + m) * (n + m - 1)))
    return (u - n * m / 2) / variance**0.5 if variance > 0 else 0.0
