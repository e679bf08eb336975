"""Chapter 07, exercise 1: the inception score of a table of probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, require_fit, same, show, verdict


def check_inception_score(my_inception_score: Callable) -> None:
    """my_inception_score(probs) → exp of the mean over n of KL(p(y|x_n)‖p(y)); probs: (N, classes), rows of sum 1.

    In one piece, without splits. Rows with zeros come last: a formula that is right where all are above 0 gets there.
    """
    probs = torch.tensor([[0.70, 0.20, 0.10], [0.15, 0.60, 0.25], [0.05, 0.15, 0.80], [0.55, 0.35, 0.10],
                          [0.10, 0.85, 0.05]])
    small = {"probs": torch.tensor([[0.9, 0.1], [0.3, 0.7]])}
    with verdict():
        compare(my_inception_score, {"probs": probs}, _score, SCORE_MISTAKES, read="section 7.2", number=True,
                small=("probs = ((0.9, 0.1), (0.3, 0.7))", small))
        for sure in (torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])):
            _require_zeros(my_inception_score, {"probs": sure})


def _require_zeros(my_inception_score: Callable, arguments: dict[str, Tensor]) -> None:
    """One image a class, and the classifier is sure: the score is the number of classes that occur."""
    answer, wanted = ask(my_inception_score, arguments, echo=False), _score(**arguments).double()
    got = as_numbers(answer, number=True)
    if same(got, wanted):
        return
    if got.shape != wanted.shape:
        require_fit(answer, got, wanted, arguments)
    where = f"right where all probabilities are above 0, but for probs = {show(arguments['probs'])} your answer is "
    if not got.isfinite():
        raise NotYet(f"{where}{show(got)}, and it is {show(wanted)}. 0 log 0 counts as 0, but a computer gets "
                     "0 · (−inf) = NaN, and 0/0 = NaN where a class never occurs. torch.xlogy(p, p) − torch.xlogy(p, q)"
                     " is p log(p/q), and 0 where p is 0.")
    raise NotYet(f"{where}{show(got)}, and it is {show(wanted)}. Where p is 0 its term is 0. Clamp nothing, and add no "
                 "number under the logarithm that is not tiny.")


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


def _score(probs: Tensor) -> Tensor:
    """By entropies: the mean KL is H(p(y)) − mean H(p(y|x))."""
    return (_entropy(probs.mean(0)) - _entropy(probs).mean()).exp()


def _of(f: Callable) -> Callable:
    """A function of the mean KL, in nats."""
    return lambda probs: f(_score(probs).log())


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum(-1)


def _to(marginal: Callable) -> Callable:
    """The score with another p(y), a function of probs."""
    return lambda probs: _kl(probs, marginal(probs)).mean().exp()


UNIFORM = ("your p(y) is uniform. It is the *marginal*, the mean of the rows: which classes occur, and how often, is "
           "half of what the score looks at (section 7.2).")
SCORE_MISTAKES = [
    (_of(lambda kl: kl),
     "the exponential is missing: this is the mean KL, in nats, from 0 to log(classes). Its exp goes from 1 to the "
     "number of classes (section 7.2)."),
    (_of(lambda kl: kl / math.log(2)),
     "this is the mean KL in bits. The score is its exponential: with the natural logarithm, exp (section 7.2)."),
    (_of(lambda kl: 2**kl), "you take 2 to the power of a KL in nats. It is exp; 2 goes with bits."),
    (_of(lambda kl: (kl / math.log(2)).exp()), "you take exp of a KL in bits. With exp goes the natural logarithm."),
    (_of(lambda kl: (-kl).exp()),
     "the sign is turned: yours is 1 over the score, at most 1. KL = Σ p(y|x) log(p(y|x)/p(y)), with p(y|x) on top."),
    (_of(lambda kl: -kl), "the sign is turned, and the exponential is missing. KL = Σ p(y|x) log(p(y|x)/p(y))."),
    (lambda probs: _kl(probs.mean(0), probs).mean().exp(),
     "your KL is turned round: KL(p(y)‖p(y|x)), which is infinite as soon as the classifier excludes a class. It is "
     "KL(p(y|x)‖p(y)) (section 7.2)."),
    (lambda probs: _kl(probs.mean(0), probs).mean(),
     "your KL is turned round, KL(p(y)‖p(y|x)), and the exponential is missing. It is exp of the mean of "
     "KL(p(y|x)‖p(y)) (section 7.2)."),
    (lambda probs: _kl(probs, probs.mean(0)).exp().mean(),
     "you take exp of each image's KL, and then the mean. It is the other way round: exp of the mean (section 7.2)."),
    (lambda probs: _kl(probs, probs.mean(0)).sum().exp(),
     "you add the images' KLs up. It is their *mean*: the score must not grow with the number of images."),
    (lambda probs: (probs * (probs / probs.mean(0)).log()).mean().exp(),
     "you take the mean over the classes as well. A KL is a *sum* over classes; the mean is over images."),
    (lambda probs: _kl(probs, probs.mean(0)).exp(), "you return a number for each image. Take the mean KL, then exp."),
    (lambda probs: _kl(probs, probs.mean(0)), "these are the images' KLs. Take their mean, then exp."),
    (_to(lambda probs: torch.full_like(probs[0], 1 / probs.shape[1])), UNIFORM),
    (_to(lambda probs: probs.mean(1, keepdim=True)), UNIFORM),
    (_to(lambda probs: probs.sum(0)),
     "your p(y) is the *sum* of the rows, not their mean: then it is no distribution, and the score is N times too "
     "small."),
    (lambda probs: _entropy(probs.mean(0)).exp(),
     "this is exp of the entropy of p(y): diversity alone. Noise about which the classifier knows nothing gets the "
     "best score. Subtract the mean entropy of p(y|x) (section 7.2)."),
    (lambda probs: _entropy(probs.mean(0)),
     "this is the entropy of p(y), without the entropy of p(y|x) and without the exponential (section 7.2)."),
    (lambda probs: _entropy(probs).mean().exp(),
     "this is exp of the mean entropy of p(y|x), which is *low* for good images. It is subtracted: "
     "exp(H(p(y)) − mean H(p(y|x))) (section 7.2)."),
    (lambda probs: (-_entropy(probs).mean()).exp(),
     "this is exp of −H(p(y|x)): how sure the classifier is, alone. One image a thousand times would do as well as a "
     "thousand. The entropy of p(y) is missing (section 7.2)."),
    (lambda probs: (_entropy(probs.mean(0)) + _entropy(probs).mean()).exp(),
     "you add the two entropies. That of p(y) should be high, that of p(y|x) low: subtract it (section 7.2)."),
    (lambda probs: _entropy(probs.mean(0)) - _entropy(probs).mean() + 1,
     "you take 1 + KL, which is near exp only where the KL is small."),
    (lambda probs: _score(torch.nn.functional.one_hot(probs.argmax(1), probs.shape[1]).double()),
     "you round the classifier's answers to 0 and 1. How sure it is belongs to the score (section 7.2)."),
    (lambda probs: probs.amax(1).mean(),
     "this is the mean of the largest probability. The score is exp of the mean KL (section 7.2)."),
    (lambda probs: _score(probs.softmax(1)), "you take a softmax of probabilities. They sum to 1 already."),
]
