"""Chapter 05, exercises 2 and 5: W₁ of two samples on a line, and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.divergences import wasserstein_1d
from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, same, show, verdict

X = torch.tensor([3.4, 1.7, -1.4, -1.8, -2.0, 1.4, -3.4, 3.6, 1.8])
Y = torch.tensor([1.1, 3.9, 0.4, -3.5, 0.9, -1.1, 2.2, 0.3, 2.5])

# --- exercise 2: W₁ ------------------------------------------------------------------------------------------------

def check_w1(my_w1: Callable) -> None:
    """my_w1(x, y) → mean |x_(i) − y_(i)| of the sorted samples, with a gradient; x, y: (n,), neither sorted."""
    x, y = X.clone(), Y.clone()
    small = {"x": torch.tensor([1.0, 4.0]), "y": torch.tensor([9.0, 0.0])}
    with verdict(), closer(lambda: _look_far(my_w1)):
        compare(my_w1, {"x": x.requires_grad_(), "y": y.requires_grad_()}, wasserstein_1d, W1_MISTAKES,
                small=("x = (1, 4) and y = (9, 0)", {name: value.requires_grad_() for name, value in small.items()}),
                read="section 5.2", trains=True)


def _look_far(my_w1: Callable) -> None:
    """W₁ knows how far: with y moved by 100, then by 1000, it grows by 900. And it needs no bins."""
    near, far = (ask_again(my_w1, {"x": X, "y": Y + shift}, ()) for shift in (100, 1000))
    if (far - near).abs() < 9:
        raise NotYet(f"where y lies 100 away your answer is {show(near)}, and where it lies 1000 away {show(far)}. Do "
                     "you compare counts in bins? They say that the samples lie apart, but not how far: that is what "
                     "JS does. W₁ is a distance: sort both samples (section 5.2).")
    got, wanted = ask_again(my_w1, {"x": X, "y": Y}, ()), wasserstein_1d(X, Y)
    if abs(got - wanted) < 0.15 * wanted:
        raise NotYet(f"your answer is near: {show(got)}, and it is {show(wanted)}. Are there bins, or a grid? W₁ of "
                     "two samples needs none: sort them (section 5.2).")


def _sorted(x: Tensor, y: Tensor) -> Tensor:
    """x_(i) − y_(i), (n,)."""
    return x.sort().values - y.sort().values


def _greedy(x: Tensor, y: Tensor) -> Tensor:
    """The mean distance where the nearest two are paired first, then the nearest two of what is left."""
    table, lengths = (x[:, None] - y).abs().detach(), []
    for _ in range(len(x)):
        i, j = divmod(int(table.argmin()), len(y))
        lengths.append(table[i, j].item())
        table[i], table[:, j] = torch.inf, torch.inf
    return torch.tensor(lengths).mean()


def _pairs(f: Callable) -> Callable:
    """A function of the distances of all pairs, (n, n)."""
    return lambda x, y: f((x[:, None] - y).abs())


ONE_SORTED = ("you sort only one of the two samples. Sort both: the smallest x goes to the smallest y, and so on "
              "(section 5.2).")
ROOT = ("this is the root of the mean square: W₂. W₁ pays for the distance as it is, without squares (section 5.2).")
MEANS = ("this is the difference of the means: moves to the right and moves to the left cancel. Its size is a lower "
         "bound of W₁, and 0 for samples of one mean but another width. Take the absolute value of each x_(i) − y_(i), "
         "and only then the mean.")
NEAREST = ("you send each point to the nearest of the other sample, so several may go to one, and some get none. Each "
           "y takes one x: sort both (section 5.2).")
W1_MISTAKES = [
    (lambda x, y: (x - y).abs().mean(),
     "you pair x[i] with y[i], as they happen to stand. A sample has no order: sort both first, and the plan that "
     "keeps the order is the cheapest (section 5.2)."),
    (lambda x, y: x.sort().values.sub(y).abs().mean(), ONE_SORTED),
    (lambda x, y: x.sub(y.sort().values).abs().mean(), ONE_SORTED),
    (lambda x, y: (x.mean() - y.mean()).abs(), MEANS), (lambda x, y: x.mean() - y.mean(), MEANS),
    (lambda x, y: y.mean() - x.mean(), MEANS),
    (lambda x, y: _sorted(x, y).square().mean(),
     "this is the mean *square*, W₂². W₁ pays for the distance as it is: the absolute value (section 5.2)."),
    (lambda x, y: _sorted(x, y).square().mean().sqrt(), ROOT),
    (lambda x, y: _sorted(x, y).square().sum().sqrt(),
     "this is the Euclidean length of the sorted differences. W₁ is the mean of their absolute values."),
    (lambda x, y: wasserstein_1d(x, y).sqrt(), "you take a root. The mean of |x_(i) − y_(i)| is W₁ already."),
    (lambda x, y: _sorted(x, y).abs().amax(),
     "you take the longest route, W_∞. Each point counts, with the mass 1/n: the mean."),
    (lambda x, y: _sorted(x, y).abs().sum(),
     "you add the lengths up. Each point has the mass 1/n, so W₁ is their mean: it must not grow with n."),
    (lambda x, y: _sorted(x, y).abs().median(), "you take the median length. Each counts by its length: the mean."),
    (lambda x, y: (x.median() - y.median()).abs(),
     "this is the distance of the medians. W₁ looks at all points: sort both, and take the mean of |x_(i) − y_(i)|."),
    (lambda x, y: _sorted(x, y).abs(), "you return the length for each point. W₁ is one number, their mean."),
    (_pairs(lambda d: d.mean()),
     "you take the mean distance of all pairs, as if each point sent to all (a bᵀ). It is above 0 even for two equal "
     "samples. The cheapest plan keeps the order: sort both (section 5.2)."),
    (_pairs(lambda d: d.amin(1).mean()), NEAREST), (_pairs(lambda d: d.amin(0).mean()), NEAREST),
    (_pairs(lambda d: (d.amin(0).mean() + d.amin(1).mean()) / 2), NEAREST),
    (_pairs(lambda d: d.amin(0).mean() + d.amin(1).mean()), NEAREST),
    (_greedy,
     "you pair the nearest two, then the nearest two of what is left. That leaves long routes for the last. The plan "
     "that keeps the order is the cheapest: sort both (section 5.2)."),
    (_pairs(lambda d: d.amin()),
     "you take the distance of the nearest pair. W₁ moves all of the mass: each point pays."),
    (lambda x, y: (x.sort().values - y.sort(descending=True).values).abs().mean(),
     "you sort the two samples in opposite directions, so the smallest goes to the largest: no pairing costs more. "
     "Both in the same (section 5.2)."),
    (lambda x, y: (x.argsort() - y.argsort()).abs().double().mean(),
     "argsort gives *places*, and you subtract these. The values in order are x.sort().values, or x[x.argsort()]."),
    (lambda x, y: -wasserstein_1d(x, y), "your distance is negative: the sign is turned."),
    (lambda x, y: wasserstein_1d(x, y) / 2, "you halve it. JS has a ½, W₁ has none: the mean of |x_(i) − y_(i)|."),
]


# --- exercise 5: its gradient --------------------------------------------------------------------------------------

def check_w1_gradient(my_w1_gradient: Callable) -> None:
    """my_w1_gradient(x, y) → (n,), ∂W₁/∂y_j = sign(y_j − its partner)/n, in y's order; x, y: (n,), no ties."""
    x, y = X.clone(), Y.clone()
    small = {"x": torch.tensor([2.0, 0.0]), "y": torch.tensor([3.0, -1.0])}
    with verdict(), closer(lambda: _look_at_signs(my_w1_gradient)):
        compare(my_w1_gradient, {"x": x, "y": y}, _gradient, GRADIENT_MISTAKES, read="sections 5.2 and 5.5",
                small=("x = (2, 0) and y = (3, −1)", small))


def _look_at_signs(my_w1_gradient: Callable) -> None:
    n = len(Y)
    got, wanted = ask_again(my_w1_gradient, {"x": X, "y": Y}, (n,)), _gradient(X, Y)
    if same(got.abs(), wanted.double().abs()):
        j = int((got - wanted).abs().argmax())
        raise NotYet(f"each of your numbers is 1/n or −1/n, as it must be, but some signs are wrong: in sorted order "
                     f"y[{j}] = {show(Y[j])} has the place {int((Y[j] > Y).sum())}, counted from 0, and the x in that "
                     f"place is {show(_partners(X, Y)[j])}. Must y[{j}] move up or down for that distance to grow?")
    raise NotYet(f"for n = {n} points each number must be 1/n = {1 / n:.4g} or its negative: W₁ is the mean of n "
                 f"distances, and each has slope ±1 in its y. Yours are {show(got)} (sections 5.2 and 5.5).")


def _partners(x: Tensor, y: Tensor) -> Tensor:
    """For each y_j the x of the same rank, (n,)."""
    return x.sort().values[y.argsort().argsort()]


def _gradient(x: Tensor, y: Tensor) -> Tensor:
    return _toward(_partners)(x, y)


def _toward(partners: Callable) -> Callable:
    """sign(y_j − partner)/n with other partners."""
    return lambda x, y: (y - partners(x, y)).sign() / len(y)


PLACES = ("your signs stand in the wrong places: argsort once says which y has each rank; the rank of each y is "
          "y.argsort().argsort() (its inverse). Or write to places: grad[y.argsort()] = signs.")
IN_X = "this is the gradient in x. Asked is how W₁ changes as the *y* move: they are the generator's."
DIFFERENCE = ("your gradient is as large as the distance, as for squares (W₂²). |x − y| has slope ±1 however far the "
              "partner lies: the sign alone, over n (section 5.5).")
GRADIENT_MISTAKES = [
    (lambda x, y: -_sorted(x, y).sign() / len(y),
     "the numbers are right, but stand in sorted order. Entry j belongs to y[j] as it was given: put each back in its "
     "place."),
    (lambda x, y: _sorted(x, y).sign() / len(y),
     "the sign is turned, and the numbers stand in sorted order. If y lies above its x, W₁ grows with y: +1/n, at the "
     "place where that y was given."),
    (lambda x, y: _gradient(x, y) * len(y),
     "1/n is missing: W₁ is a mean, so one point moves it by 1/n of its own step."),
    (lambda x, y: -_sorted(x, y).sign(),
     "the numbers stand in sorted order, and 1/n is missing. Entry j belongs to y[j] as it was given."),
    (lambda x, y: -_gradient(x, y),
     "the sign is turned: this is the way *down*. If y lies above its x, W₁ grows with y, so the gradient is +1/n."),
    (lambda x, y: -_gradient(x, y) * len(y), "the sign is turned, and 1/n is missing. If y lies above its x, the "
                                             "gradient is +1/n."),
    (lambda x, y: (y.sort().values - x.sort().values).sign()[y.argsort()] / len(y), PLACES),
    (_toward(lambda x, y: x.sort().values[y.argsort()]), PLACES),
    (_toward(lambda x, y: x[y.argsort().argsort()]),
     "you take x by the rank of y, but x is not sorted. The partner of the k-th smallest y is the k-th smallest x."),
    (_toward(lambda x, y: x),
     "you compare y[j] with x[j], as they happen to stand. Its partner is the x of the same *rank* (section 5.2)."),
    (_toward(lambda x, y: x.sort().values),
     "x is sorted and y is not. The partner of y[j] is the x of the same *rank*: sort both, then put the signs back."),
    (_toward(lambda x, y: x[(x[:, None] - y).abs().argmin(0)]),
     "you compare each y with the nearest x. In W₁ each x takes one y only: the partner is the x of the same rank "
     "(section 5.2)."),
    (_toward(lambda x, y: x.mean()),
     "you compare each y with the mean of x. The partner is the x of the same rank; else all y would run to one point "
     "(section 5.2)."),
    (_toward(lambda x, y: x.median()),
     "you compare each y with the median of x. The partner is the x of the same rank; else all y would run to one "
     "point (section 5.2)."),
    (lambda x, y: (x[:, None] < y).double().mean(0).mul(2).sub(1) / len(y),
     "this is the gradient of the mean distance of *all pairs*, as if each y were held by every x. In W₁ each y has "
     "one partner, the x of the same rank (section 5.2)."),
    (lambda x, y: (y.mean() - x.mean()).sign().expand(len(y)) / len(y),
     "this is the gradient of the distance of the means: all y go in one direction. Each y has a partner of its own "
     "(section 5.2)."),
    (lambda x, y: y - _partners(x, y), DIFFERENCE), (lambda x, y: (y - _partners(x, y)) / len(y), DIFFERENCE),
    (lambda x, y: 2 * (y - _partners(x, y)) / len(y), DIFFERENCE), (lambda x, y: _partners(x, y) - y, DIFFERENCE),
    (lambda x, y: (_partners(x, y) - y) / len(y), DIFFERENCE),
    (lambda x, y: _gradient(y, x), IN_X), (lambda x, y: -_gradient(y, x), IN_X),
    (lambda x, y: (y - _partners(x, y)).abs(), "these are the distances. Asked is how W₁ changes as each y moves."),
    (lambda x, y: (y - _partners(x, y)).abs() / len(y),
     "this is what each y adds to W₁. Asked is how W₁ changes as it moves: the slope."),
    (wasserstein_1d, "this is W₁ itself. Asked is its gradient: a number for each y, (n,)."),
    (lambda x, y: torch.zeros_like(y),
     "yours is 0 everywhere: that is what JS has to say about two samples. W₁ changes with each y, by ±1/n (section "
     "5.5)."),
    (_partners,
     "these are the partners, the x of the same rank. Asked is the sign of y[j] minus its partner, over n."),
]
