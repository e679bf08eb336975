"""Chapter 05, exercise 1: the Jensen–Shannon divergence of two densities on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.divergences import js
from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, require_fit, same, show, verdict


def check_js(my_js: Callable) -> None:
    """my_js(p, q, dx) → ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, in nats; p, q: (n,), densities; dx: (), a cell's width.

    Densities that are 0 in places come last: a formula that is right where both are above 0 gets there.
    """
    p = torch.tensor([0.02, 0.08, 0.30, 0.25, 0.20, 0.10, 0.05]) / 0.3
    q = torch.tensor([0.10, 0.05, 0.06, 0.04, 0.15, 0.35, 0.25]) / 0.3
    small = {"p": torch.tensor([2.0, 2.0]), "q": torch.tensor([3.0, 1.0]), "dx": torch.tensor(0.25)}
    with verdict():
        compare(my_js, {"p": p, "q": q, "dx": torch.tensor(0.3)}, js, JS_MISTAKES, read="section 5.1", number=True,
                small=("two cells of width 0.25, p = (2, 2) and q = (3, 1),", small))
        _require_zeros(my_js)


def _require_zeros(my_js: Callable) -> None:
    """Two uniform densities of four cells each: first they share two, then none, and two more cells hold neither."""
    for shared, empty in ((2, 0), (0, 0), (2, 2)):
        n = 8 - shared + empty
        p, q = torch.zeros(2, n)
        p[:4], q[4 - shared:8 - shared] = 0.5, 0.5
        arguments = {"p": p, "q": q, "dx": torch.tensor(0.5)}
        answer, wanted = ask(my_js, arguments, echo=False), js(**arguments)
        got = as_numbers(answer, number=True)
        if not same(got, wanted):
            _tell_of_zeros(answer, got, wanted, arguments)


def _tell_of_zeros(answer, got: Tensor, wanted: Tensor, arguments: dict[str, Tensor]) -> None:
    where = f"for p = {show(arguments['p'])}, q = {show(arguments['q'])}, dx = 0.5"
    if got.shape != wanted.shape:
        require_fit(answer, got, wanted, arguments)
    if not got.isfinite():
        raise NotYet(f"right where both densities are above 0, but {where} your answer is {show(got)}, and it is "
                     f"{show(wanted)}. 0 log 0 counts as 0, but a computer gets 0 · (−inf) = NaN, and 0/0 = NaN where "
                     "both are 0. Add up the terms where p > 0 only, and those of q where q > 0; or take torch.xlogy "
                     "for each p log p.")
    if same(got, torch.zeros_like(got)):
        raise NotYet(f"{where} your answer is 0. You leave out the cells where *one* density is 0, and these tell the "
                     "two apart best: only the term of that one is 0, the other's logarithm is log 2. It is "
                     f"{show(wanted)}.")
    raise NotYet(f"right where both densities are above 0, but {where} the answer is {show(wanted)}, and yours is "
                 f"{show(got)}. Where p is 0 its term is 0, and q/m is 2. Clamp nothing, and add no number "
                 "under the logarithm that is not tiny.")


def _kl(p: Tensor, q: Tensor, dx: Tensor) -> Tensor:
    return (p * (p / q).log()).sum() * dx


def _to(mixture: Callable) -> Callable:
    """½ KL(p‖m) + ½ KL(q‖m) with another m."""
    def value(p: Tensor, q: Tensor, dx: Tensor) -> Tensor:
        m = mixture(p, q)
        return (_kl(p, m, dx) + _kl(q, m, dx)) / 2
    return value


def _of(f: Callable) -> Callable:
    """A function of JS."""
    return lambda p, q, dx: f(js(p, q, dx))


def _terms(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return (p * (p / m).log() + q * (q / m).log()) / 2


def _geometric(p: Tensor, q: Tensor, dx: Tensor) -> Tensor:
    g = (p * q).sqrt()
    return _to(lambda p, q: g / (g.sum() * dx))(p, q, dx)


def _mixture(p: Tensor, q: Tensor) -> Tensor:
    return (p + q) / 2


NO_MIXTURE = "Both are compared with the mixture m = (p + q)/2, not with each other (section 5.1)."
ONE_SIDE = "and JS is the mean of KL(p‖m) and KL(q‖m), so that p and q can be exchanged (section 5.1)."
GEOMETRIC = ("your m is the geometric mean √(pq). The mixture is (p + q)/2: half of the points come from each (section "
             "5.1).")
TURNED = ("your KLs are the wrong way round, of m from p and from q. Each is taken under its own density: KL(p‖m) = "
          "∫ p log(p/m) dx. Turned round, it is infinite where p is 0 and q is not.")
JS_MISTAKES = [
    (_to(lambda p, q: p + q),
     "your mixture is p + q, whose area is 2: so your answer is log 2 too small: below 0, where JS never is. "
     "m = (p + q)/2 (section 5.1)."),
    (lambda p, q, dx: _kl(p, q, dx), f"this is KL(p‖q). {NO_MIXTURE}"),
    (lambda p, q, dx: _kl(q, p, dx), f"this is KL(q‖p). {NO_MIXTURE}"),
    (lambda p, q, dx: _kl(p, q, dx) / 2, f"you put q in the place of m: this is ½ KL(p‖q). {NO_MIXTURE}"),
    (lambda p, q, dx: _kl(q, p, dx) / 2, f"you put p in the place of m: this is ½ KL(q‖p). {NO_MIXTURE}"),
    (lambda p, q, dx: (_kl(p, q, dx) + _kl(q, p, dx)) / 2,
     "you take the mean of KL(p‖q) and KL(q‖p). That is symmetric, but infinite where one density is 0 and the other "
     "is not: m is what keeps JS at log 2 or below (section 5.1)."),
    (lambda p, q, dx: _kl(p, q, dx) + _kl(q, p, dx),
     "you add KL(p‖q) and KL(q‖p). That is symmetric, but infinite where one density is 0 and the other is not. JS "
     "compares both with m = (p + q)/2, and takes the mean (section 5.1)."),
    (_to(lambda p, q: (p * q).sqrt()), GEOMETRIC), (_geometric, GEOMETRIC),
    (lambda p, q, dx: _kl(p, _mixture(p, q), dx), f"this is KL(p‖m) alone, {ONE_SIDE}"),
    (lambda p, q, dx: _kl(q, _mixture(p, q), dx), f"this is KL(q‖m) alone, {ONE_SIDE}"),
    (lambda p, q, dx: _kl(p, _mixture(p, q), dx) / 2, f"this is ½ KL(p‖m): the half of q is missing, {ONE_SIDE}"),
    (lambda p, q, dx: _kl(q, _mixture(p, q), dx) / 2, f"this is ½ KL(q‖m): the half of p is missing, {ONE_SIDE}"),
    (lambda p, q, dx: (_kl(_mixture(p, q), p, dx) + _kl(_mixture(p, q), q, dx)) / 2, TURNED),
    (lambda p, q, dx: _kl(_mixture(p, q), p, dx) + _kl(_mixture(p, q), q, dx), TURNED),
    (_of(lambda js: 2 * js),
     "the ½ is missing: yours is twice JS, and goes up to 2 log 2. JS is the *mean* of the two KLs (section 5.1)."),
    (_of(lambda js: 2 * js - 2 * math.log(2)),
     "this is the game's value at the best discriminator, 2 JS − 2 log 2 (chapter 4). Asked is JS itself."),
    (_of(lambda js: js / math.log(2)),
     "your answer is in bits, in which JS goes up to 1. Here all is in nats, and it goes up to log 2: the logarithm is "
     "the natural one."),
    (_of(lambda js: -js),
     "your JS is negative, and JS is never below 0: the sign is turned. KL(p‖m) = ∫ p log(p/m) dx, with p on top."),
    (_of(lambda js: js.sqrt()),
     "this is the root of JS, the Jensen–Shannon *distance* (scipy's jensenshannon gives it). Asked is JS itself."),
    (_of(lambda js: (js / math.log(2)).sqrt()),
     "this is the root of JS, in bits. Asked is JS itself, in nats."),
    (lambda p, q, dx: _terms(p, q).sum(),
     "dx is missing. The integral is a sum over cells, each weighed by its width: without dx, a grid twice as fine "
     "gives twice the answer."),
    (lambda p, q, dx: _terms(p, q).mean(),
     "you take the mean over the cells. The integral is their sum times dx, the width of a cell."),
    (lambda p, q, dx: _terms(p, q).sum() * dx**2, "dx comes in twice. It is the width of a cell: once is enough."),
    (lambda p, q, dx: _terms(p, q), "you return a number for each cell. Asked is the integral: their sum times dx."),
    (lambda p, q, dx: _terms(p, q) * dx, "you return what each cell adds. Asked is the integral: add the cells up."),
    (lambda p, q, dx: ((p / _mixture(p, q)).log() + (q / _mixture(p, q)).log()).sum() * dx / 2,
     "your logarithms are not weighed by the densities. KL(p‖m) is a mean under p: ∫ p log(p/m) dx (section 5.1)."),
]
