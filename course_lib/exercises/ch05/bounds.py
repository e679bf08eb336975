"""Chapter 05, exercise 4: the lower bound of W₁ that a function certifies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.divergences import wasserstein_1d
from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, show, verdict


def check_lower_bound(my_lower_bound: Callable) -> None:
    """my_lower_bound(f_x, f_y, x, y) → (mean f(x) − mean f(y))/K, K the largest slope between any two of the 2n points.

    All are (n,); no two of the 2n points are equal. The steepest slope of the main case falls, and lies between an x
    and a y; that of the small one lies between two x.
    """
    x = torch.tensor([1.8, -3.5, -0.5, 3.2, -2.2])
    y = torch.tensor([3.6, 1.4, 2.2, -1.0, 0.8])
    f_x = torch.tensor([1.8, -2.6, 2.5, 4.9, 2.6])
    f_y = torch.tensor([2.7, -0.6, -2.3, -2.5, 1.0])
    arguments = {"f_x": f_x, "f_y": f_y, "x": x, "y": y}
    small = {"f_x": torch.tensor([4.0, 1.0]), "f_y": torch.tensor([0.0, 1.0]),
             "x": torch.tensor([2.0, 3.0]), "y": torch.tensor([0.0, 4.0])}
    with verdict(), closer(lambda: _look(my_lower_bound, small, arguments)):
        compare(my_lower_bound, arguments, _bound, BOUND_MISTAKES, read="sections 5.3 and 5.4", number=True,
                small=("x = (2, 3), y = (0, 4), f_x = (4, 1), f_y = (0, 1)", small))


def _look(my_lower_bound: Callable, *cases: dict[str, Tensor]) -> None:
    for case in cases:
        got = ask_again(my_lower_bound, case, (), number=True)
        distance = wasserstein_1d(case["x"], case["y"])
        if got > distance * (1 + 1e-4):
            raise NotYet(f"for x = {show(case['x'])}, y = {show(case['y'])}, f_x = {show(case['f_x'])}, f_y = "
                         f"{show(case['f_y'])} your answer is {show(got)}. That is no lower bound: W₁ is "
                         f"{show(distance)}. Divide by the largest slope of all (section 5.4).")


def _slopes(f_x: Tensor, f_y: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(f(u) − f(v))/(u − v) for each pair of two different points, (2n(2n − 1)/2,)."""
    return _between(torch.cat([f_x, f_y]), torch.cat([x, y]))


def _between(f: Tensor, z: Tensor) -> Tensor:
    i, j = torch.triu_indices(len(z), len(z), 1)
    return (f[i] - f[j]) / (z[i] - z[j])


def _neighbours(f: Tensor, z: Tensor) -> Tensor:
    order = z.argsort()
    return f[order].diff() / z[order].diff()


def _gap(f_x: Tensor, f_y: Tensor) -> Tensor:
    return f_x.mean() - f_y.mean()


def _bound(f_x: Tensor, f_y: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _gap(f_x, f_y) / _slopes(f_x, f_y, x, y).abs().max()


def _over(K: Callable) -> Callable:
    """The bound with another K, a function of all four."""
    return lambda f_x, f_y, x, y: _gap(f_x, f_y) / K(f_x, f_y, x, y)


def _all(f_x: Tensor, f_y: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([f_x, f_y]), torch.cat([x, y])


ONE_SAMPLE = ("you look for slopes within x and within y only, not from an x to a y. f may be steepest there: take all "
              "2n points together (section 5.4).")
SIZE = ("you divide by the largest |f|, as if ‖f‖ ≤ 1 made a function 1-Lipschitz. It is the *slope* that is bounded, "
        "|f(u) − f(v)| ≤ K |u − v|; f itself may be as large as it likes (section 5.3).")
NOT_LARGEST = ("and must be the largest: if one pair is steeper, f is not K-Lipschitz, and the quotient may be above "
               "W₁ (section 5.4).")
UNSORTED = ("you take the slopes between neighbours in the tensor, and it is not sorted. Take all pairs, or sort the "
            "points first, and f with them.")
BOUND_MISTAKES = [
    (_over(lambda *_: 1),
     "K is missing: yours is mean f(x) − mean f(y). Times 1000, the same f would give 1000 times as much, and W₁ does "
     "not change. For a K-Lipschitz f this is at most K·W₁: divide by K (sections 5.3 and 5.4)."),
    (lambda f_x, f_y, x, y: _gap(f_x, f_y) * _slopes(f_x, f_y, x, y).abs().max(),
     "you multiply by K. A steep f has a large gap for no merit of its own: the gap is at most K·W₁, so divide."),
    (lambda f_x, f_y, x, y: -_bound(f_x, f_y, x, y),
     "the sign is turned. It is mean f(x) − mean f(y), with x first, over a K above 0: the size of a slope (section "
     "5.4)."),
    (_over(lambda f_x, f_y, x, y: torch.cat([f_x, f_y]).abs().max()), SIZE),
    (_over(lambda f_x, f_y, x, y: f_x.abs().max()), SIZE), (_over(lambda f_x, f_y, x, y: f_y.abs().max()), SIZE),
    (_over(lambda f_x, f_y, x, y: torch.cat([f_x, f_y]).norm()), SIZE),
    (_over(lambda f_x, f_y, x, y: _between(f_x, x).abs().max()), ONE_SAMPLE),
    (_over(lambda f_x, f_y, x, y: _between(f_y, y).abs().max()), ONE_SAMPLE),
    (_over(lambda f_x, f_y, x, y: torch.cat([_between(f_x, x), _between(f_y, y)]).abs().max()), ONE_SAMPLE),
    (_over(lambda f_x, f_y, x, y: ((f_x - f_y) / (x - y)).abs().max()),
     "you take the slope between x[i] and y[i] only. The samples are not paired: take any two of all 2n points."),
    (_over(lambda *given: _slopes(*given).abs().mean()), f"your K is a mean slope, {NOT_LARGEST}"),
    (_over(lambda *given: _neighbours(*_all(*given)).abs().mean()), f"your K is a mean slope, {NOT_LARGEST}"),
    (_over(lambda *given: _slopes(*given).abs().median()), f"your K is the median slope, {NOT_LARGEST}"),
    (_over(lambda *given: _slopes(*given).abs().min()), f"your K is the smallest slope, {NOT_LARGEST}"),
    (_over(lambda *given: _slopes(*given).square().mean().sqrt()), f"your K is a root mean square, {NOT_LARGEST}"),
    (_over(lambda *given: _slopes(*given).max()),
     "your K is the largest *rise*. A fall counts as much: take the absolute value before the maximum."),
    (_over(lambda *given: (lambda f, z: (f.diff() / z.diff()).abs().max())(*_all(*given))), UNSORTED),
    (_over(lambda f_x, f_y, x, y: torch.cat([f_x.diff() / x.diff(), f_y.diff() / y.diff()]).abs().max()), UNSORTED),
    (_over(lambda *given: (lambda f, z: (f.sort().values.diff() / z.sort().values.diff()).abs().max())(*_all(*given))),
     "you sort f and the points, each for itself, so the values are no longer where f has them. Sort the points, and "
     "take f in the same order: argsort."),
    (_over(lambda *given: (lambda f, z: (f.max() - f.min()) / (z.max() - z.min()))(*_all(*given))),
     "your K is the range of f over the range of the points. That is a slope on the large, and f may be steeper in "
     "between."),
    (_over(lambda *given: (lambda f: f.max() - f.min())(_all(*given)[0])),
     "your K is the range of f. A slope is a difference of f over the *distance* of the two points."),
    (lambda f_x, f_y, x, y: (f_x.sum() - f_y.sum()) / _slopes(f_x, f_y, x, y).abs().max(),
     "you add f up in place of taking means: your bound grows with n, and W₁ does not."),
    (_over(lambda *given: _slopes(*given).abs().max()**2),
     "you divide by K². Once is enough: the gap is at most K·W₁."),
    (_over(lambda *given: 1 / _slopes(*given).abs().min()),
     "your slopes are turned over: |f(u) − f(v)| is divided by |u − v|."),
    (lambda f_x, f_y, x, y: _slopes(f_x, f_y, x, y).abs().max(),
     "this is K, the largest slope. Now divide: (mean f(x) − mean f(y))/K."),
    (lambda f_x, f_y, x, y: wasserstein_1d(x, y),
     "this is W₁ itself, without f. It is right as a bound, but not what this f certifies: (mean f(x) − mean f(y))/K."),
    (lambda f_x, f_y, x, y: (f_x - f_y).abs().mean() / _slopes(f_x, f_y, x, y).abs().max(),
     "you take |f(x_i) − f(y_i)| and then the mean. The samples are not paired: first the two means, then their "
     "difference."),
    (_over(lambda f_x, f_y, x, y: ((f_x[:, None] - f_y) / (x[:, None] - y)).abs().max()),
     "you take the slopes from x to y only. A plan uses no others, so yours is a lower bound, too; but asked is the K "
     "of any two of all 2n points, and the steepest pair may lie within one sample."),
]
