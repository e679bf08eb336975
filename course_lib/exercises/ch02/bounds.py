"""Chapter 02, exercise 5: the importance-weighted bound from log weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, require_fit, show, verdict


def check_bound(my_bound: Callable) -> None:
    """my_bound(log_w) → (B,), log (1/k) Σ_i exp(log_w_i), also where exp gives 0 or inf; log_w: (k, B).

    Large weights come last: a formula that is right in exact arithmetic gets there, and is told of rounding.
    """
    log_w = torch.randn((5, 3), generator=torch.Generator().manual_seed(0)) * 1.5 - 0.5
    with verdict():
        compare(my_bound, {"log_w": log_w.requires_grad_()}, _bound, BOUND_MISTAKES,
                small=("one image and two samples of the weights 1 and 3, so log_w = (0, 1.099),",
                       {"log_w": torch.tensor([[1.0], [3.0]]).log().requires_grad_()}), read="section 2.7", trains=True)
        few = torch.tensor([[0.0], [2.0], [1.0]])
        for levels in ([-1e5, -1e5], [1e5, 1e5], [-1e5, 1e5]):
            _require_large(my_bound, few + torch.tensor(levels))


def _require_large(my_bound: Callable, log_w: Tensor) -> None:
    """At log weights of ±100,000, as a large image has them; float32 tells them apart to 0.01."""
    answer = ask(my_bound, {"log_w": log_w}, echo=False)
    got, wanted = as_numbers(answer), _bound(log_w.double())
    if got.shape == wanted.shape and torch.allclose(got, wanted, rtol=0, atol=0.05):
        return
    first, second = (f"[{', '.join(f'{number:.0f}' for number in column)}]" for column in log_w.T)
    if got.shape != wanted.shape:
        require_fit(answer, got, wanted, {"log_w": log_w})
    if first != second:
        raise NotYet(f"where one image has the log weights {first} and the next {second}, your answer is {show(got)}; "
                     f"it must be {show(wanted)}. Do you subtract one maximum for all? Each image needs its own, over "
                     "its k samples: logsumexp(0) takes it.")
    if not got.isfinite().all():
        why = "0, and the logarithm of 0 is −inf" if got[0] == -torch.inf else "inf"
        raise NotYet(f"the formula is right, but at log weights of {first} your answer is {show(got[0])}: exp of such "
                     f"a number is {why}. Images have log weights like these. Never leave log space: torch.logsumexp "
                     "takes the largest out first (section 2.7).")
    raise NotYet(f"right for small log weights, but at {first} the answer is {wanted[0]:.1f}, and yours is "
                 f"{got[0]:.1f}. Do not clamp, and add no small number under the logarithm: torch.logsumexp needs "
                 "neither.")


def _bound(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) - math.log(len(log_w))


OVER_IMAGES = ("your logsumexp runs over the images, and keeps the samples. The k samples are dimension 0 of log_w: "
               "logsumexp(0).")
IMAGES_KEPT = "Each image has its own bound: return (B,)."
BOUND_MISTAKES = [
    (lambda log_w: log_w.logsumexp(0),
     "log k is missing: you have the log of the *sum* of the weights, which grows with k even if all are equal. "
     "Subtract log k (section 2.7)."),
    (lambda log_w: log_w.logsumexp(0) + math.log(len(log_w)),
     "you add log k. log (1/k) Σ w = log Σ w − log k (section 2.7)."),
    (lambda log_w: log_w.logsumexp(0) / len(log_w),
     "you divide the logarithm by k. 1/k stands inside it, and becomes − log k outside (section 2.7)."),
    (lambda log_w: log_w.logsumexp(0) - len(log_w),
     "you subtract k. 1/k inside the logarithm becomes − log k outside (section 2.7)."),
    (lambda log_w: log_w.logsumexp(0) - math.log(log_w.shape[1]),
     "you subtract log B, the number of images. The mean is over the k samples, dimension 0 of log_w: log k."),
    (lambda log_w: log_w.logsumexp(0) - math.log(log_w.numel()),
     "you subtract log (k·B). The mean is over the k samples of one image: log k."),
    (lambda log_w: log_w.logsumexp(0) - math.log2(len(log_w)),
     "your log k is a logarithm to base 2, and the rest is in nats: take math.log."),
    (lambda log_w: log_w.mean(0),
     "you take the mean of the log weights: that is the ELBO again, estimated with k samples, and no tighter for a "
     "larger k. First the mean of the weights, then the log (section 2.7)."),
    (lambda log_w: log_w.sum(0),
     "you add up the log weights: that is k times the ELBO. First the mean of the weights, then the log."),
    (lambda log_w: log_w.amax(0),
     "you take the largest log weight. That is near it when one weight dominates, but the others count too."),
    (lambda log_w: log_w.amax(0) - math.log(len(log_w)),
     "you keep the largest log weight only. The others count too: log Σ exp over all k."),
    (lambda log_w: log_w.exp().mean(0),
     "you return the mean of the weights, an estimate of p(x). Its logarithm is asked for (section 2.7)."),
    (lambda log_w: (log_w.exp().mean(0) + 1).log(),
     "you add 1 under the logarithm (log1p). It is the log of the mean weight as it is."),
    (lambda log_w: log_w.logsumexp(1) - math.log(log_w.shape[1]), OVER_IMAGES),
    (lambda log_w: log_w.logsumexp(1) - math.log(len(log_w)), OVER_IMAGES),
    (lambda log_w: log_w.logsumexp(1), OVER_IMAGES),
    (lambda log_w: log_w.mean(1),
     "you average over the images, and keep the samples. The k samples are dimension 0 of log_w."),
    (lambda log_w: log_w.flatten().logsumexp(0) - math.log(log_w.numel()),
     f"you take samples and images together, as if all were weights of one image. {IMAGES_KEPT}"),
    (lambda log_w: _bound(log_w).mean(), f"you average over the images. {IMAGES_KEPT}"),
    (lambda log_w: _bound(log_w).sum(), f"you add the images up. {IMAGES_KEPT}"),
    (lambda log_w: log_w.mean(), "you take the mean of all log weights: the ELBO, of all images together. First the "
                                 f"mean of the weights over k, then the log. {IMAGES_KEPT}"),
    (lambda log_w: -_bound(log_w),
     "the sign is turned. The bound is what is made large; it is only as a loss that it gets a minus."),
    (lambda log_w: (log_w.softmax(0) * log_w).sum(0),
     "you weigh the log weights by themselves, normalised. That is a mean of logarithms; what is asked for is the "
     "logarithm of a mean (section 2.7)."),
    (lambda log_w: (-log_w).logsumexp(0).neg() + math.log(len(log_w)),
     "you have the harmonic mean: the mean of 1/w, turned over. It is the mean of w (section 2.7)."),
    (lambda log_w: log_w.logcumsumexp(0) - math.log(len(log_w)),
     "you return a sum up to each sample. Only the last one, over all k, is asked for: logsumexp(0)."),
]
