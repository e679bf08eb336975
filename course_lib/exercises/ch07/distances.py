"""Chapter 07, exercises 2 and 3: the Fréchet distance of two sets of features, and what it tends to with many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import as_numbers, compare, require_fit, show, verdict

# --- exercise 2: the distance --------------------------------------------------------------------------------------

def check_frechet(my_frechet: Callable) -> None:
    """my_frechet(x, y) → ‖m − m'‖² + tr(C + C' − 2 (C C')^½); x: (n, d), y: (n', d), float64, covariances over n − 1.

    Fewer samples than dimensions come last: C C' is singular, and its eigenvalues 0 are computed as ±1e-17.
    """
    x, y = _features(7, 5, 3, seed=1041)
    small = {"x": torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]).double(),
             "y": torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 4.0], [6.0, 4.0]]).double()}
    with verdict():
        compare(my_frechet, {"x": x, "y": y}, _frechet, FRECHET_MISTAKES, read="section 7.3", number=True,
                small=("x the corners of a square, ((0, 0), (2, 0), (0, 2), (2, 2)), and y those of a rectangle, ((0, "
                       "0), (6, 0), (0, 4), (6, 4)),", small))
        for seed in range(6):
            _require_singular(my_frechet, *_features(4, 5, 8, seed))


def _features(n: int, m: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Correlated, and the two sets not alike."""
    draw = torch.Generator().manual_seed(seed)
    x, y = (torch.randn((size, d), generator=draw, dtype=torch.float64) for size in (n, m))
    mix = torch.randn((d, d), generator=draw, dtype=torch.float64)
    return x @ mix + 0.8, y + 0.3 * y @ mix.T


def _require_singular(my_frechet: Callable, x: Tensor, y: Tensor) -> None:
    arguments = {"x": x, "y": y}
    answer, wanted = ask(my_frechet, arguments, echo=False), _frechet(x, y)
    got = as_numbers(answer, number=True)
    if got.shape != wanted.shape:
        require_fit(answer, got, wanted, arguments)
    if not got.isfinite():
        raise NotYet(f"right for many samples, but for {len(x)} and {len(y)} samples of {x.shape[1]} features your "
                     f"answer is {show(got)}. With fewer samples than dimensions C C' is singular: eigenvalues that "
                     "are 0 come out as −1e-17, say, and their roots as NaN. Set what is below 0 to 0: "
                     ".clamp(min=0).")
    if not torch.allclose(got, wanted, rtol=1e-3):
        raise NotYet(f"right for many samples, but for {len(x)} and {len(y)} samples of {x.shape[1]} features the "
                     f"answer is {show(wanted)}, and yours is {show(got)}. C C' is singular there: what is done to "
                     "the eigenvalues near 0? Add nothing to the covariances.")


def _frechet(x: Tensor, y: Tensor) -> Tensor:
    """tr (C C')^½ is the sum of the singular values of A Bᵀ, where C = AᵀA and C' = BᵀB: no root of a matrix."""
    return _parts(x, y)[0].square().sum() + _spread(x, y) - 2 * _root(x, y)


def _parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The difference of the means, and the two covariances."""
    return x.mean(0) - y.mean(0), torch.cov(x.T), torch.cov(y.T)


def _spread(x: Tensor, y: Tensor) -> Tensor:
    """tr C + tr C'."""
    return x.var(0).sum() + y.var(0).sum()


def _root(x: Tensor, y: Tensor) -> Tensor:
    A, B = ((points - points.mean(0)) / (len(points) - 1)**0.5 for points in (x, y))
    return torch.linalg.svdvals(A @ B.T).sum()


def _of(f: Callable) -> Callable:
    """A function of the right distance."""
    return lambda x, y: f(_frechet(x, y))


def _with_root(f: Callable) -> Callable:
    """Another number in the place of tr (C C')^½, a function of C and C'."""
    def value(x: Tensor, y: Tensor) -> Tensor:
        apart, C, D = _parts(x, y)
        return apart.square().sum() + _spread(x, y) - 2 * f(C, D)
    return value


def _with_mean(f: Callable) -> Callable:
    """Another number in the place of ‖m − m'‖²."""
    return lambda x, y: f(x.mean(0) - y.mean(0)) + _spread(x, y) - 2 * _root(x, y)


def _symmetric_root(C: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(C)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _kl(x: Tensor, y: Tensor) -> Tensor:
    apart, C, D = _parts(x, y)
    return ((torch.linalg.solve(D, C)).trace() + apart @ torch.linalg.solve(D, apart) - len(C)
            + D.logdet() - C.logdet()) / 2


ELEMENTS = ("you take the root of each *entry*. (C C')^½ is the matrix whose square is C C'; torch.sqrt and ** 0.5 "
            "know nothing of that. Its trace is the sum of the roots of the eigenvalues of C C' (section 7.3).")
NO_COVARIANCE = "of each feature by itself. The correlations between features count, too: tr (C C')^½ (section 7.3)."
MEAN = "The means' part is ‖m − m'‖², the sum of squares (section 7.3)."
FRECHET_MISTAKES = [
    (_with_root(lambda C, D: (C @ D).diagonal().sqrt().sum()), ELEMENTS),
    (_with_root(lambda C, D: (C @ D).diagonal().abs().sqrt().sum()), ELEMENTS),
    (_with_root(lambda C, D: (C.diagonal() * D.diagonal()).sqrt().sum()),
     f"this is the distance of the means and standard deviations {NO_COVARIANCE} (Or is it the root of C * D? `*` "
     "multiplies entry by entry.)"),
    (_with_root(lambda C, D: (C @ D).trace()),
     "the root is missing: you subtract 2 tr(C C'). It is 2 tr (C C')^½, the sum of the *roots* of the eigenvalues."),
    (_with_root(lambda C, D: (C @ D).trace().sqrt()),
     "you take the root of the trace, of the *sum* of the eigenvalues. It is the trace of the root: the sum of their "
     "roots (section 7.3)."),
    (_with_root(lambda C, D: (_symmetric_root(C) @ _symmetric_root(D)).trace()),
     "this is tr(C^½ C'^½), the root of each alone. The two agree only where C and C' commute; it is the root of the "
     "*product*, (C C')^½ (section 7.3)."),
    (_with_root(lambda C, D: (torch.linalg.cholesky(C) * torch.linalg.cholesky(D)).sum()),
     "you compare Cholesky factors. They are roots of C in one sense, L Lᵀ = C, but the trace wants (C C')^½: the sum "
     "of the roots of the eigenvalues of C C' (section 7.3)."),
    (lambda x, y: _frechet(x, y) + _root(x, y), "the factor 2 is missing: C + C' − 2 (C C')^½ (section 7.3)."),
    (lambda x, y: _frechet(x, y) + 4 * _root(x, y), "the sign is turned: the root's part is *subtracted*."),
    (_with_root(lambda C, D: 0.0), "the part with the root is missing: − 2 tr (C C')^½. Two equal sets are 0 apart."),
    (_with_mean(lambda apart: apart.norm()), f"you take ‖m − m'‖ as it is. {MEAN}"),
    (_with_mean(lambda apart: apart.sum()), f"you add the differences of the means as they are. {MEAN}"),
    (_with_mean(lambda apart: apart.abs().sum()), f"you add the absolute differences of the means. {MEAN}"),
    (_with_mean(lambda apart: apart.square().mean()), f"you take the mean over the features. {MEAN}"),
    (_with_mean(lambda apart: 0.0), f"the means do not come in. {MEAN}"),
    (_with_mean(lambda apart: apart.square()),
     "you return a number for each feature: the sum over the squares of m − m' is missing."),
    (lambda x, y: _parts(x, y)[0].square().sum(),
     "this is ‖m − m'‖² alone. A set that has the right mean and no spread would be perfect (section 7.3)."),
    (_of(lambda d: d.sqrt()),
     "you take the root of it all: the Fréchet distance in the strict sense, W₂ of the two Gaussians. What is "
     "reported as FID, and asked here, is its *square* (section 7.3)."),
    (lambda x, y: _parts(x, y)[0].square().sum() + _scaled(x, y, lambda n: (n - 1) / n),
     "your covariances are divided by n. That is biased: 1/(n − 1), as torch.cov does (and numpy.cov; correction=0 "
     "turns it off)."),
    (lambda x, y: _parts(x, y)[0].square().sum() + _scaled(x, y, lambda n: n - 1),
     "your covariances are not divided by anything: 1/(n − 1)."),
    (lambda x, y: _parts(x, y)[0].square().sum() + (_parts(x, y)[1] - _parts(x, y)[2]).square().sum(),
     "you take ‖C − C'‖², of the covariances' entries. That has another unit than ‖m − m'‖²: feature to the power 4 "
     "(section 7.3)."),
    (lambda x, y: _parts(x, y)[0].square().sum() + (x.var(0) - y.var(0)).square().sum(),
     "you compare variances. It would be standard deviations, and that only where the features are uncorrelated; in "
     "general tr(C + C' − 2 (C C')^½) (section 7.3)."),
    (lambda x, y: _parts(x, y)[0].square().sum() + _moments(x, y),
     "your matrices are second moments, E[x xᵀ]: the means are not subtracted, and count twice. Take covariances."),
    (_kl, "this is the KL divergence of the two Gaussians. Asked is the squared Fréchet distance (section 7.3)."),
    (lambda x, y: _kl(y, x),
     "this is the KL divergence of the two Gaussians, of y's from x's. Asked is the squared Fréchet distance (section "
     "7.3)."),
    (_of(lambda d: -d), "the sign is turned: a distance is never below 0."),
    (_of(lambda d: d / 2), "you have half of it: there is no ½."),
]


def _scaled(x: Tensor, y: Tensor, factor: Callable) -> Tensor:
    """The part of the covariances where each is multiplied by a number, a function of its n."""
    a, b = factor(len(x)), factor(len(y))
    return a * x.var(0).sum() + b * y.var(0).sum() - 2 * (a * b)**0.5 * _root(x, y)


def _moments(x: Tensor, y: Tensor) -> Tensor:
    A, B = (points / len(points)**0.5 for points in (x, y))
    return A.square().sum() + B.square().sum() - 2 * torch.linalg.svdvals(A @ B.T).sum()


# --- exercise 3: with infinitely many samples ----------------------------------------------------------------------

def check_frechet_limit(my_frechet_limit: Callable) -> None:
    """my_frechet_limit(n, distances) → a of the least-squares line a + b/n; n, distances: (K,), K at least 2."""
    n = torch.tensor([300.0, 500.0, 800.0, 1200.0, 2500.0, 6000.0])
    noise = torch.tensor([0.09, -0.05, 0.04, 0.06, -0.08, 0.03])
    arguments = {"n": n, "distances": 3.1 + 900 / n + noise}
    small = {"n": torch.tensor([100.0, 200.0]), "distances": torch.tensor([8.0, 5.0])}
    with verdict(), closer(lambda: _look_closer(my_frechet_limit, arguments)):
        compare(my_frechet_limit, arguments, _limit, LIMIT_MISTAKES, read="section 7.3", number=True,
                small=("n = (100, 200) with the distances (8, 5)", small))


def _look_closer(my_frechet_limit: Callable, arguments: dict[str, Tensor]) -> None:
    got, wanted = ask_again(my_frechet_limit, arguments, (), number=True), _limit(**arguments)
    if abs(got - wanted) < 0.1 * wanted:
        raise NotYet(f"your answer is near: {show(got)}, and it is {show(wanted)}. Do all the pairs count, and all "
                     "alike? It is the least-squares line in 1/n, without weights (section 7.3).")
    if got >= arguments["distances"].min():
        raise NotYet(f"your answer is {show(got)}, and the distance measured with the most samples is "
                     f"{show(arguments['distances'][-1])} already. The bias b/n is above 0 and falls with n, so its "
                     "limit lies lower still (section 7.3).")


def _limit(n: Tensor, distances: Tensor) -> Tensor:
    return _line(1 / n, distances)[0]


def _line(u: Tensor, v: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(a, b) of the least-squares line v = a + b u."""
    weights = torch.ones_like(u) / len(u) if weights is None else weights / weights.sum()
    mean_u, mean_v = (weights * u).sum(), (weights * v).sum()
    b = (weights * (u - mean_u) * (v - mean_v)).sum() / (weights * (u - mean_u).square()).sum()
    return mean_v - b * mean_u, b


def _intercept(u: Callable, v: Callable = lambda d: d, back: Callable = lambda a: a) -> Callable:
    """The intercept of a line in another u(n), of another v(distance)."""
    return lambda n, distances: back(_line(u(n), v(distances))[0])


IN_N = "your line is in n, not in 1/n: its a is the distance at *no* samples. The bias falls like 1/n (section 7.3)."
LIMIT_MISTAKES = [
    (_intercept(lambda n: n), IN_N),
    (_intercept(lambda n: n.log()),
     "your line is in log n, which has no end: its a is the distance at one sample. The bias falls like 1/n (section "
     "7.3)."),
    (_intercept(lambda n: n**-0.5),
     "your line is in 1/√n. So falls the *noise* of a mean; the bias falls like 1/n (section 7.3)."),
    (_intercept(lambda n: n**-2.0), "your line is in 1/n². The bias falls like 1/n (section 7.3)."),
    (_intercept(lambda n: n.log(), torch.log, torch.exp),
     "you fit a power law: a line in log n and log distance. It falls to 0 or stays at no limit; what is measured is "
     "a limit a, plus b/n (section 7.3)."),
    (_intercept(lambda n: 1 / n, torch.log, torch.exp),
     "you fit the logarithm of the distance. It is the distance itself that is a + b/n (section 7.3)."),
    (_intercept(lambda n: 1 / n, torch.sqrt, torch.square),
     "you fit the root of the distance. It is the squared Fréchet distance, as measured, that is a + b/n."),
    (lambda n, distances: _line(1 / n, distances)[1],
     "this is the slope b. Asked is a: what is left where 1/n is 0 (section 7.3)."),
    (lambda n, distances: torch.stack(_line(1 / n, distances)), "you return a and b. Asked is a alone, one number."),
    (lambda n, distances: torch.stack(_line(1 / n, distances)[::-1]),
     "you return b and a. Asked is a alone, one number."),
    (lambda n, distances: sum(_line(1 / n, distances)), "this is a + b, the line at n = 1. Asked is 1/n → 0: a."),
    (lambda n, distances: _line(distances, 1 / n)[0],
     "the two axes are exchanged: you fit 1/n as a function of the distance."),
    (lambda n, distances: -_line(distances, 1 / n)[0] / _line(distances, 1 / n)[1],
     "you fit 1/n as a function of the distance, and solve for 1/n = 0. The noise is in the distances, so these are "
     "to be fitted, as a function of 1/n."),
    (lambda n, distances: distances[-1],
     "you take the distance with the most samples, the smallest. It still has the bias b/n in it (section 7.3)."),
    (lambda n, distances: distances.mean(), "you take the mean of the distances. Each has a bias, b/n, above 0."),
    (lambda n, distances: (n * distances).sum() / n.sum(),
     "you take a mean weighted by n. Each distance has a bias, b/n, above 0: fit a line in 1/n."),
    (lambda n, distances: _line(1 / n[[0, -1]], distances[[0, -1]])[0],
     "you draw the line through the first and the last point only. Each of the others says something, too: least "
     "squares over all."),
    (lambda n, distances: _line(1 / n[-2:], distances[-2:])[0],
     "you draw the line through the last two points only. Each of the others says something, too: least squares over "
     "all."),
    (lambda n, distances: _line(1 / n, distances, n)[0],
     "your fit is weighted by n. Here all pairs count alike: plain least squares."),
    (lambda n, distances: (distances / n).sum() / (1 / n).square().sum(),
     "this is the slope of a line *through the origin*: your fit has no a. Give it a column of ones (section 7.3)."),
    (lambda n, distances: torch.zeros(()),
     "you return 0. So it would be for a perfect generator; what is left when the bias is gone is its fault (section "
     "7.3)."),
]
