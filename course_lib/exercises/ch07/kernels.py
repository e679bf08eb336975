"""Chapter 07, exercise 4: the unbiased kernel distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, same, show, verdict


def check_kid(my_kid: Callable) -> None:
    """my_kid(x, y) → the unbiased MMD² with k(a, b) = (a·b/d + 1)³; x: (n, d), y: (m, d), n and m at least 2.

    Samples whose value is below 0 come last.
    """
    draw = torch.Generator().manual_seed(831)
    arguments = {"x": torch.randn((5, 4), generator=draw) + 0.6, "y": 1.3 * torch.randn((4, 4), generator=draw)}
    small = {"x": torch.tensor([[2.0, 0.0], [2.0, 2.0]]), "y": torch.tensor([[0.0, 0.0], [0.0, -2.0]])}
    with verdict():
        compare(my_kid, arguments, _kid, KID_MISTAKES, read="section 7.4", number=True,
                small=("x = ((2, 0), (2, 2)) and y = ((0, 0), (0, −2))", small))
        near = {"x": torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), "y": torch.tensor([[1.0, 0.0], [-1.0, 0.0]])}
        got, wanted = as_numbers(ask(my_kid, near, echo=False), number=True), _kid(**near)
        if not same(got, wanted):
            raise NotYet(f"for x = y = ((1, 0), (−1, 0)) the answer is {show(wanted)}, and yours is {show(got)}. An "
                         "estimate that is right on average must sometimes lie below a true value of 0: no clamp, no "
                         "absolute value (section 7.4).")


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1)**3


def _pairs(K: Tensor) -> Tensor:
    """The mean over pairs of two different points."""
    return (K.sum() - K.trace()) / (len(K) * (len(K) - 1))


def _mmd(within: Callable = _pairs, kernel: Callable = _kernel, across: Callable = torch.mean,
         factor: float = 2.0) -> Callable:
    """MMD² of which one part is another: the mean of a square table, the kernel, the mean of K(x, y), the 2."""
    return lambda x, y: within(kernel(x, x)) + within(kernel(y, y)) - factor * across(kernel(x, y))


_kid = _mmd()


def _kernels(kernel: Callable, why: str) -> tuple[Callable, str]:
    """Another kernel, a function of a·b, (n, m), and d."""
    return _mmd(kernel=lambda a, b: kernel(a @ b.T, a.shape[1])), why


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y).square()


BIASED = ("this is the *biased* estimate: k(x_i, x_i), the diagonal, is in the means. A point is more like itself than "
          "like another, so the value is too large, by about 1/n of that. Take pairs i ≠ j: n(n − 1) of them (section "
          "7.4).")
RBF = ("your kernel is the Gaussian one, of the distance. KID takes the polynomial (a·b/d + 1)³ (section 7.4).")
KID_MISTAKES = [
    (_mmd(within=torch.mean), BIASED),
    (_mmd(within=lambda K: (K.sum() - K.trace()) / len(K)**2),
     "you leave the diagonal out, but still divide by n². Pairs i ≠ j are n(n − 1) (section 7.4)."),
    (_mmd(within=lambda K: K.sum() / (len(K) * (len(K) - 1))),
     "you divide by n(n − 1), but the diagonal is still in the sum. Leave it out: K.sum() − K.trace()."),
    (_mmd(within=lambda K: torch.triu(K, 1).sum() / (len(K) * (len(K) - 1))),
     "you count each pair once and divide by n(n − 1). Above the diagonal there are n(n − 1)/2 pairs."),
    _kernels(lambda ab, d: (ab / d + 1)**2, "your exponent is 2. KID's kernel is (a·b/d + 1)³ (section 7.4)."),
    _kernels(lambda ab, d: ab / d + 1,
              "the exponent is missing. With the kernel a·b/d + 1 the MMD sees the means only; with the third power, "
              "moments up to the third (section 7.4)."),
    _kernels(lambda ab, d: ab, "your kernel is a·b: it sees the means only. It is (a·b/d + 1)³ (section 7.4)."),
    _kernels(lambda ab, d: (ab / d + 1)**d, "your exponent is d. It is 3, and d divides: (a·b/d + 1)³."),
    _kernels(lambda ab, d: (ab + 1)**3,
              "the division by d is missing: (a·b/d + 1)³. Without it, the value would grow with the number of "
              "features (section 7.4)."),
    _kernels(lambda ab, d: (ab / d)**3, "the + 1 is missing: (a·b/d + 1)³. It brings in the lower moments."),
    _kernels(lambda ab, d: (ab / d**0.5 + 1)**3, "you divide by √d, as attention does. KID's kernel divides by d."),
    _kernels(lambda ab, d: ab**3 / d + 1, "the brackets are elsewhere: (a·b/d + 1)³, all of it to the third."),
    _kernels(lambda ab, d: ((ab + 1) / d)**3, "the brackets are wrong: a·b is divided by d, then 1 is added."),
    (_mmd(kernel=lambda a, b: torch.exp(-_square(a, b) / 2)), RBF),
    (_mmd(kernel=lambda a, b: torch.exp(-_square(a, b))), RBF),
    (_mmd(kernel=lambda a, b: torch.exp(-_square(a, b) / a.shape[1])), RBF),
    (_mmd(kernel=lambda a, b: torch.exp(-_square(a, b) / (2 * a.shape[1]))), RBF),
    (_mmd(factor=1.0), "the factor 2 is missing: the square ‖m_x − m_y‖² has − 2 m_x·m_y in it (section 7.4)."),
    (_mmd(factor=-2.0), "the sign is turned: 2 mean k(x, y) is *subtracted*."),
    (_mmd(factor=0.0), "the part with both is missing: − 2 mean k(x, y)."),
    (lambda x, y: _pairs(_kernel(x, x)) - _pairs(_kernel(y, y)),
     "you subtract what lies within y. Both are added, and 2 mean k(x, y) is subtracted (section 7.4)."),
    (lambda x, y: _kernel(x, y).mean(), "this is mean k(x, y) alone: how alike the two are. MMD² compares it with how "
                                        "alike each is to itself (section 7.4)."),
    (lambda x, y: -_kid(x, y), "the sign is turned. What is within x and within y is added, and what is across is "
                               "subtracted."),
    (lambda x, y: _kid(x, y).clamp(min=0).sqrt(), "you take the root. KID is MMD², without a root: only so is it "
                                                  "unbiased."),
    (_mmd(within=lambda K: K.sum() - K.trace(), across=torch.sum),
     "you add the pairs up. Each of the three is a mean."),
    (_mmd(across=lambda K: (K.sum() - K.diagonal().sum()) / (K.numel() - min(K.shape))),
     "you leave the pairs (x_i, y_i) out, too. x and y are not paired: all n·m pairs count. Only a point *with itself* "
     "is left out (section 7.4)."),
    (lambda x, y: _kid(x, y) / 2, "you have half of it: there is no ½."),
    (lambda x, y: (x.mean(0) - y.mean(0)).square().sum(),
     "this is ‖mean x − mean y‖², the MMD² of the kernel a·b, with its bias. KID's kernel is (a·b/d + 1)³ (section "
     "7.4)."),
    (_mmd(within=lambda K: K.diagonal().mean()),
     "you take the diagonals, k(x_i, x_i), and leave out the rest. It is the diagonal that is left out."),
]
