"""Chapter 08, exercise 1: the missing logarithm in L_llike."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from course_lib.autoencoders import best_gaussian_nll, gaussian_nll
from course_lib.exercises.calling import NotYet, ask, in_time
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import as_numbers, compare, same, show, verdict

LOG_2PI = math.log(2 * math.pi)
ALLOWED = ("(You leave out the constant (n/2) log 2π, n features an image. That is allowed: it depends on no weight, "
           "so every gradient is the same. Only the nats that you print are no longer a density's.)")


def check_llike(my_llike: Callable) -> None:
    """my_llike(features_x, features_x_tilde) → mean over B of −log N(features_x | features_x_tilde, I), a scalar.

    Both (B, C, H, W). The constant may be left out; the check then says that it saw so. Six features come first, at
    which p is a number to be recognised; 2048 features come last: p is 0 there, in float64 too.
    """
    left_out = False
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        arguments = _features((5, 3, 1, 2), 0.6)
        got = as_numbers(ask(my_llike, arguments, echo=False))
        right = _half if same(got, _half(**arguments).detach()) else _llike
        with closer(partial(_look_at_one_feature, my_llike)):
            compare(my_llike, arguments, right, LLIKE_MISTAKES, read="section 8.3", trains=True,
                    small=("one image with the features (1, 2), and (0, 0) for x̃,",
                           _learning(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))))
        _require_many(my_llike, right)
        left_out = right is _half
    if left_out:
        print(textwrap.fill(ALLOWED, 110))


def _learning(x: Tensor, x_tilde: Tensor) -> dict[str, Tensor]:
    return {"features_x": x, "features_x_tilde": x_tilde.requires_grad_()}


def _features(shape: tuple[int, ...], error: float) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(8)
    x, difference = torch.randn((2, *shape), generator=draw)
    return _learning(x, x + error * difference)


def _require_many(my_llike: Callable, right: Callable) -> None:
    """As many features as a discriminator has, in value and in gradient."""
    arguments = _features((2, 32, 8, 8), 1.0)
    answer, wanted = ask(my_llike, arguments, echo=False), right(**arguments)
    got, case = as_numbers(answer), "for 2048 features an image "
    if got.shape == wanted.shape and not got.isfinite():
        raise NotYet(f"the formula is right, but {case}your loss is {show(got)}; it must be {show(wanted)}. There p is "
                     "about e^−2900, which a computer rounds to 0. Take the logarithm by hand, before anything is "
                     "multiplied or exponentiated: log of a product is a sum, and log exp is nothing (section 8.3).")
    if not same(got, wanted.detach()):
        raise NotYet(f"right for six features, but {case}the loss must be {show(wanted)}, and yours is {show(got)}. Is "
                     "something clamped, or added under the logarithm? Stay in log space, and neither is needed.")
    made = arguments["features_x_tilde"]
    (grad,), problem = in_time(lambda: torch.autograd.grad(answer, made, allow_unused=True), my_llike) \
        if answer.requires_grad else ((None,), "")
    if problem:
        raise NotYet(problem)
    if grad is None:
        raise NotYet("the number is right, but no gradient flows back to the features of x̃, so Dec would learn nothing "
                     "from it. Something cuts it: .detach(), .data, .item() or torch.no_grad(). (The features of x may "
                     "be cut off; Enc and Dec have no part in them.)")
    if not same(grad, torch.autograd.grad(wanted, made)[0]):
        raise NotYet(f"the number is right, but {case}its gradient in the features of x̃ is not: of an error of 1, with "
                     "2 images, it is ½. Is a part of it detached, or used twice?")


def _look_at_one_feature(my_llike: Callable) -> None:
    """Where the answer is a + b·error², it says which of the two is wrong."""
    def cost(error: float) -> float:
        made = torch.tensor([error, 0.0]).view(1, 2, 1, 1)
        return ask_again(my_llike, _learning(torch.zeros(1, 2, 1, 1), made), ()).item()

    at_0, at_1, at_2 = cost(0.0), cost(1.0), cost(2.0)
    slope = at_1 - at_0
    if not math.isfinite(at_2) or abs(at_2 - at_0 - 4 * slope) > 1e-4 * (1 + abs(at_2)):
        return
    if slope > 0 and abs(slope - 0.5) > 1e-4:
        raise NotYet(f"one image, two features, one of them off by 1: that costs {slope:.4g} more than no error at "
                     "all. Under N(·, σ²I) it costs 1/(2σ²); the covariance here is I, so which σ is that? (section "
                     "8.3)")
    if abs(slope - 0.5) < 1e-4 < abs(at_0) and abs(at_0 - LOG_2PI) > 1e-4:
        raise NotYet(f"what an error costs is right, but not the constant: for two features without error yours is "
                     f"{at_0:.4g}. It is (n/2) log 2π for n features, here {LOG_2PI:.4g}, or 0 if it is left out.")


# --- the answer, and the mistakes ----------------------------------------------------------------------------------

def _llike(features_x: Tensor, features_x_tilde: Tensor) -> Tensor:
    return gaussian_nll(features_x_tilde, features_x).mean()


def _of(f: Callable) -> Callable:
    """A function of the images' squared errors, (B,), and of the number of features."""
    return lambda features_x, features_x_tilde: f((features_x - features_x_tilde).square().flatten(1).sum(1),
                                                  features_x[0].numel())


def _both(f: Callable, why: str) -> list[tuple[Callable, str]]:
    """A mistake, a function of −log p of each image, (B,), and n: with the constant and without it."""
    return [(_of(lambda e, n: f(e / 2 + n / 2 * LOG_2PI, n)), why), (_of(lambda e, n: f(e / 2, n)), why)]


_half = _of(lambda e, n: e.mean() / 2)
NO_LOG = ("the log is missing: this is {}, the density itself. With thousands of features p is rounded to 0, and so is "
          "its gradient, so nothing would learn. What is to be added up are log densities (section 8.3).")
SIGMA = "(σ is 1 here: the covariance is I.)"
LLIKE_MISTAKES = [
    *_both(lambda nll, n: -(-nll).exp().mean(), NO_LOG.format("−E[p], as it is often printed")),
    *_both(lambda nll, n: (-nll).exp().mean(), NO_LOG.format("E[p], without its minus, too")),
    *_both(lambda nll, n: -(-nll).exp().mean().log(),
           "you take the log of the batch's *mean density*. It is the mean of the logs: then one image that is far off "
           "counts as much as it should, and nothing underflows (section 8.3)."),
    *_both(lambda nll, n: -nll.mean(),
           "the sign is turned: this is + log p, and an optimizer would drive x̃ away from x. The loss is −log p."),
    (_of(lambda e, n: e.mean() + n / 2 * LOG_2PI),
     f"the ½ is missing: log N has −‖error‖²/(2σ²) in it. {SIGMA} Without the ½ it is another γ (section 8.3)."),
    (_of(lambda e, n: e.mean()),
     f"this is the squared error, without its ½: log N has −‖error‖²/(2σ²) in it. {SIGMA}"),
    *_both(lambda nll, n: (nll / n).mean(),
           "you take the mean over the features. They are independent given z, so their densities multiply and their "
           "logs *add up*: sum over features, mean over images. Else L_llike is thousands of times too small beside "
           "L_prior (section 8.3)."),
    (_of(lambda e, n: (e / n).mean()),
     "this is the mean squared error, over features too, and without the ½. Features add up; the mean is over images "
     "(section 8.3)."),
    (_of(lambda e, n: (e / (2 * n)).mean() + n / 2 * LOG_2PI),
     "your constant is that of all features, but the error is their mean. Errors of features add up, as the constants "
     "do."),
    *_both(lambda nll, n: nll.sum(), "you add the images up, so the loss grows with the batch. Sum over features, mean "
                                     "over images."),
    (_of(lambda e, n: e.sum()), "you add the images up, and the ½ is missing. Sum over features, mean over images."),
    *_both(lambda nll, n: nll, "you return one number for each image. The loss is their mean."),
    (lambda features_x, features_x_tilde: best_gaussian_nll(features_x_tilde, features_x).mean(),
     "your σ is fitted to the batch: σ² is its mean squared error. Here the covariance is I, so σ = 1: to change it is "
     "to change γ behind one's back (section 8.3)."),
    (_of(lambda e, n: e.mean() / 2 + LOG_2PI / 2),
     "your constant is that of one feature, ½ log 2π. There are n features, each with its own: (n/2) log 2π."),
    (_of(lambda e, n: e.mean() / 2 + n * LOG_2PI),
     "your constant is twice what it is: the density of one feature has 1/√(2π) in front, a root: (n/2) log 2π."),
    (_of(lambda e, n: e.mean() / 2 - n / 2 * LOG_2PI),
     "the constant has the wrong sign. The density has 1/√(2π) in front, so −log p has + ½ log 2π, for each feature."),
    *_both(lambda nll, n: nll.mean() / math.log(2), "it is in bits. Here all is in nats: the natural logarithm."),
    *[(_of(lambda e, n, part=part: part * e.sqrt().mean()),
       "you take the length of the error, ‖Dis_l(x) − Dis_l(x̃)‖. In a Gaussian it is squared.") for part in (1, 0.5)],
    *[(lambda features_x, features_x_tilde, part=part: part * (features_x - features_x_tilde).abs().flatten(1).sum(1)
       .mean(), "you add up |errors|, as a Laplace density would have it. In a Gaussian they are squared.")
      for part in (1, 0.5)],
]
