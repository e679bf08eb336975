"""The inception score: what a classifier's answers say of a set of images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checks import require, require_shape


class InceptionScore(NamedTuple):
    """The mean over the splits, from 1 to the number of classes, and their standard deviation (divided by splits)."""

    mean: float
    std: float


def inception_score(probs: Tensor, splits: int = 10) -> InceptionScore:
    """exp of the mean over images of KL(p(y|x) ‖ p(y)), in each of the splits.  Salimans et al. 2016, section 4.

    probs: (N, classes), a classifier's p(y|x) for each image: at least 0, rows that sum to 1; p(y) is the mean row of
    the split. splits: the rows are cut, in their order, into so many parts as equal as can be, so images sorted by
    class must be shuffled first. The logarithm of the score is the information, in nats, that an image holds about its
    label: the entropy of p(y) less the mean entropy of p(y|x). So it is 1 where all answers are alike and `classes`
    where all are certain and each class comes as often. 0·log 0 is 0.
    Raises ValueError for rows that are no distributions (logits, say) and for splits outside 1 … N.
    """
    require_shape("probs", probs, None, None)
    require(1 <= splits <= len(probs), f"splits is {splits}; it must be from 1 to {len(probs)}, the number of images.")
    p = probs.detach().double()
    worst = (p.sum(1) - 1).abs().amax().item()
    require(bool((p >= 0).all()) and worst < 1e-4,
            f"the rows of probs must be at least 0 and sum to 1; the smallest entry is {p.amin().item():.3g} and a sum "
            f"is off by {worst:.3g}. Are they logits? Then take their softmax(1).")
    scores = torch.stack([_information(part).exp() for part in p.tensor_split(splits)])
    return InceptionScore(scores.mean().item(), scores.std(correction=0).item())


def _information(p: Tensor) -> Tensor:
    """The mean of KL(p(y|x) ‖ p(y)) in nats: (N, classes) → (); where p(y) is 0, so is every p(y|x)."""
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(0))).sum(1).mean()
