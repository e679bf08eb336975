"""Chapter 06, exercises 2 and 5: how steep a clipped critic can be, and the bound that its layers give."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, same, show, verdict

LEAK = 0.2              # the slope of LeakyReLU below 0, as in the course's networks

# --- exercise 2: how steep a clipped critic can be -----------------------------------------------------------------

def check_clipped_slope(my_clipped_slope: Callable) -> None:
    """my_clipped_slope(widths, c) → c^L·Π √(n_in·n_out), the largest slope of an MLP whose weights are in [−c, c].

    widths: (d, …, 1), a tuple of L + 1 whole numbers, of the inputs, the hidden layers and the output; c: above 0.
    LeakyReLU between the layers.
    """
    arguments = {"widths": (3, 7, 5, 4, 1), "c": torch.tensor(0.3)}
    small = {"widths": (4, 3, 1), "c": torch.tensor(0.5)}
    with verdict(), closer(lambda: _look_deeper(my_clipped_slope, small, arguments)):
        compare(my_clipped_slope, arguments, _clipped, CLIP_MISTAKES, read="section 6.2", number=True,
                small=("widths = (4, 3, 1) and c = ½", small))


def _look_deeper(my_clipped_slope: Callable, small: dict, arguments: dict) -> None:
    if same(ask_again(my_clipped_slope, small, (), number=True), _clipped(**small)):
        got = ask_again(my_clipped_slope, arguments, (), number=True)
        raise NotYet(f"right for two layers, but for widths = (3, 7, 5, 4, 1) and c = 0.3 the answer is "
                     f"{show(_clipped(**arguments))}, and yours is {show(got)}: four layers, from each width to the "
                     "next.")


def _layers(widths: tuple) -> list[tuple[int, int]]:
    return list(zip(widths[:-1], widths[1:], strict=True))


def _clipped(widths: tuple, c: Tensor) -> Tensor:
    return _each(lambda n_in, n_out: (n_in * n_out)**0.5)(widths, c)


def _each(factor: Callable) -> Callable:
    """c^L times the product of a number for each layer."""
    return lambda widths, c: c**(len(widths) - 1) * prod(factor(*layer) for layer in _layers(widths))


def _times(f: Callable) -> Callable:
    """The right answer times a number, a function of c and L."""
    return lambda widths, c: _clipped(widths, c) * f(c, len(widths) - 1)


CLIP_MISTAKES = [
    (_times(lambda c, L: c),
     "you count a layer for each width: L + 1 widths have L layers between them, so c comes in L times."),
    (_times(lambda c, L: 1 / c), "you count the hidden layers. The output layer has weights of size c as well: L, not "
                                 "L − 1 times."),
    (_times(lambda c, L: c**(1 - L)), "c comes in once. Each of the L layers has weights of size c: they multiply."),
    (_times(lambda c, L: c**-L), "c does not come in."),
    (_each(lambda n_in, n_out: 1),
     "this is c^L: one weight a layer. A layer has n_in·n_out of them, and all may be c at once (section 6.2)."),
    (_each(lambda n_in, n_out: n_in),
     "you take n_in·c for each layer, its largest row sum. That is how far the output moves when *each* coordinate of "
     "x moves by 1, and that step has the length √d. It is √(n_in·n_out)·c, the spectral norm (section 6.2)."),
    (_each(lambda n_in, n_out: n_out),
     "the factor √d is missing. (Is it n_out·c for each layer, the largest column sum? Then x moves along one "
     "coordinate only.) Along x = (1, …, 1)/√d all inputs act together: √(n_in·n_out)·c, the spectral norm (section "
     "6.2)."),
    (_each(lambda n_in, n_out: n_in * n_out),
     "you take n_in·n_out·c, all the weights of a layer added up. The spectral norm of a matrix of nothing but c is "
     "√(n_in·n_out)·c: a root is missing."),
    (_each(lambda n_in, n_out: n_in**0.5),
     "you take √n_in·c, the slope of *one* unit. n_out of them act together: √(n_in·n_out)·c."),
    (_each(lambda n_in, n_out: n_out**0.5),
     "you take √n_out·c: one input only. It is √(n_in·n_out)·c."),
    (_each(lambda n_in, n_out: n_in**0.5 + n_out**0.5),
     "you take c(√n_in + √n_out), about the norm of a matrix of ±c with *random* signs. Asked is the largest that can "
     "be: all signs alike, √(n_in·n_out)·c."),
    (_each(lambda n_in, n_out: max(n_in, n_out)),
     "you take max(n_in, n_out)·c. The spectral norm of a matrix of nothing but c is √(n_in·n_out)·c."),
    (_each(lambda n_in, n_out: (n_in + n_out) / 2),
     "you take the mean of n_in and n_out. The spectral norm of a matrix of nothing but c is √(n_in·n_out)·c."),
    (lambda widths, c: sum(c * (a * b)**0.5 for a, b in _layers(widths)),
     "you add the layers. Each stretches what the one before has stretched: they multiply."),
    (lambda widths, c: max(c * (a * b)**0.5 for a, b in _layers(widths)),
     "you take the largest of the layers. Each stretches what the one before has stretched: they multiply."),
    (lambda widths, c: c * sum(a * b for a, b in _layers(widths))**0.5,
     "you take the root of the number of all weights. Layers act one after the other: each has √(n_in·n_out)·c, and "
     "these multiply."),
    (_times(lambda c, L: LEAK**(L - 1)),
     "you put LeakyReLU's 0.2 in. With all weights c and all x above 0, every unit is above 0, where its slope is 1."),
    (_times(lambda c, L: LEAK**L),
     "you put LeakyReLU's 0.2 in, and even for the output. Above 0 its slope is 1, and that is where f is steepest."),
    (_times(lambda c, L: 2**L), "you take 2c, the width of [−c, c]. A weight is c at most."),
    (lambda widths, c: _clipped(widths, c)**2, "this is the square of it: a root is missing."),
    (lambda widths, c: _clipped(widths, c).sqrt(), "there is a root too much."),
    (lambda widths, c: _clipped(widths, torch.ones(()))**(-1 / (len(widths) - 1)),
     "this is the c at which the slope can reach 1. A good thing to know; asked is the slope at the c that is given."),
    (lambda widths, c: torch.ones(()),
     "you return 1. Clipping does not know about slopes: it bounds weights, and what slope comes of it depends on c "
     "and on the widths (section 6.2)."),
]


# --- exercise 5: the product of the layers -------------------------------------------------------------------------

def check_lipschitz_bound(my_lipschitz_bound: Callable) -> None:
    """my_lipschitz_bound(W1, W2, W3) → ‖W1‖·‖W2‖·‖W3‖, the spectral norms, for W3 φ(W2 φ(W1 x)), φ LeakyReLU(0.2).

    W1: (h, d), W2: (k, h), W3: (1, k).
    """
    draw = torch.Generator().manual_seed(0)
    W1, W2, W3 = (torch.randn(shape, generator=draw) for shape in ((4, 3), (5, 4), (1, 5)))
    arguments = {"W1": W1, "W2": W2, "W3": W3}
    small = {"W1": torch.tensor([[1.0], [-1.0]]), "W2": torch.ones(1, 2), "W3": torch.full((1, 1), 2.0)}
    with verdict(), closer(lambda: _look_steeper(my_lipschitz_bound, small, arguments)):
        compare(my_lipschitz_bound, arguments, _bound, BOUND_MISTAKES, read="section 6.4", number=True,
                small=("W1 = ((1), (−1)), W2 = ((1, 1)) and W3 = ((2))", small))


def _look_steeper(my_lipschitz_bound: Callable, *cases: dict[str, Tensor]) -> None:
    """Is the network steeper somewhere than the answer allows?"""
    for case in cases:
        got, found = ask_again(my_lipschitz_bound, case, (), number=True), _steepest(**case)
        if got < found * (1 - 1e-4):
            raise NotYet(f"for {', '.join(f'{name} = {show(W)}' for name, W in case.items())} your answer is "
                         f"{show(got)}. That is no bound: there are x where this network has the slope "
                         f"{show(found)} (section 6.4).")


def _steepest(W1: Tensor, W2: Tensor, W3: Tensor) -> Tensor:
    """The largest of the slopes at 500 points: the gradient is W3 Φ2 W2 Φ1 W1, each Φ of 1 and 0.2."""
    h1 = torch.randn((500, W1.shape[1]), generator=torch.Generator().manual_seed(0)) @ W1.T
    phi1 = torch.where(h1 > 0, 1.0, LEAK)
    phi2 = torch.where((h1 * phi1) @ W2.T > 0, 1.0, LEAK)
    return ((((W3 * phi2) @ W2) * phi1) @ W1).norm(dim=1).max()


def _norm(W: Tensor) -> Tensor:
    return torch.linalg.svdvals(W)[0]


def _bound(W1: Tensor, W2: Tensor, W3: Tensor) -> Tensor:
    return _norm(W1) * _norm(W2) * _norm(W3)


def _product(norm: Callable) -> Callable:
    """The product of another norm of each layer."""
    return lambda W1, W2, W3: norm(W1) * norm(W2) * norm(W3)


def _list(f: Callable) -> Callable:
    """A function of the three spectral norms, (3,)."""
    return lambda W1, W2, W3: f(torch.stack([_norm(W1), _norm(W2), _norm(W3)]))


FROBENIUS = ("you take the Frobenius norm, the root of all squares (`.norm()` and torch.linalg.norm(W) give it). That "
             "holds as a bound, but a layer stretches no x by so much: the *largest singular value* is what it can "
             "(section 6.4).")
BOUND_MISTAKES = [
    (_product(lambda W: W.norm()), FROBENIUS),
    (lambda W1, W2, W3: torch.cat([W1.flatten(), W2.flatten(), W3.flatten()]).norm(),
     "you take the root of the squares of *all* weights. Layers act one after the other: each has a norm of its own, "
     "and the norms multiply (section 6.4)."),
    (_list(torch.sum), "you add the norms. Each layer stretches what the one before has stretched: they multiply."),
    (_list(torch.mean), "you take the mean of the norms. Each layer stretches what the one before has stretched: they "
                        "multiply."),
    (_list(torch.max), "you take the largest norm. Each layer stretches what the one before has stretched: they "
                       "multiply."),
    (_list(lambda norms: norms), "these are the norms of the three layers. The bound is their product."),
    (_list(lambda norms: norms[:2].prod()), "the last layer is missing: W3 stretches as well."),
    (_list(lambda norms: norms[1:].prod()), "the first layer is missing: W1 stretches as well."),
    (_product(lambda W: W.max()),
     "you take the largest entry of each matrix. Many small entries together stretch more than one: the largest "
     "singular value does (section 6.4)."),
    (_product(lambda W: W.abs().max()),
     "you take the largest |entry| of each matrix. Many small entries together stretch more than one: the largest "
     "singular value does (section 6.4)."),
    (lambda W1, W2, W3: _bound(W1, W2, W3) * LEAK**2,
     "you put LeakyReLU's 0.2 in for both activations, as if every unit were below 0. Above 0 its slope is 1, and that "
     "is the largest: an activation adds the factor 1 (section 6.4)."),
    (lambda W1, W2, W3: _bound(W1, W2, W3) * LEAK**3,
     "you put 0.2 in three times. There are two activations, and the largest slope of each is 1, not 0.2 (section "
     "6.4)."),
    (lambda W1, W2, W3: _bound(W1, W2, W3) * LEAK,
     "there is a 0.2 in it. The largest slope of LeakyReLU is 1, above 0: it adds the factor 1 (section 6.4)."),
    (lambda W1, W2, W3: _bound(W1, W2, W3) * (1 + LEAK)**2,
     "you count 1 + 0.2 for each activation. A unit is above 0 or below, so the slope is 1 *or* 0.2: 1 at most."),
    (lambda W1, W2, W3: _bound(W1, W2, W3) * ((1 + LEAK) / 2)**2,
     "you count (1 + 0.2)/2 for each activation. A bound must hold where all units are above 0, with slope 1."),
    (lambda W1, W2, W3: _norm(W3 @ W2 @ W1),
     "you multiply the *matrices*, and take the norm of that: a network without activations. That is no bound. Take "
     "W1 = ((1), (−1)), W2 = ((1, 1)): their product is 0, but φ(x) + φ(−x) = 0.8 |x|. Multiply the norms (section "
     "6.4)."),
    (_product(lambda W: torch.linalg.svdvals(W)[-1]),
     "you take the *smallest* singular value of each layer. svdvals gives them from the largest on: the first."),
    (_product(lambda W: torch.linalg.svdvals(W).sum()),
     "you add up the singular values. A layer stretches one direction by the largest of them, no more."),
    (_product(lambda W: torch.linalg.svdvals(W).prod()),
     "you multiply all singular values: that is how volumes grow. A length grows by the largest, no more."),
    (_product(lambda W: torch.linalg.svdvals(W).mean()),
     "you take the mean of the singular values. A bound must hold in the direction that is stretched most."),
    (_product(lambda W: _norm(W)**2),
     "your norms are squared: these are the largest eigenvalues of WᵀW, and σ is their root (section 6.4)."),
    (_list(lambda norms: norms.prod().sqrt()), "you take a root. Singular values are lengths already."),
    (_product(lambda W: W.abs().sum(1).max()),
     "you take the largest row sum of |W|: the norm for steps measured by their largest coordinate. For Euclidean "
     "lengths it is the largest singular value (section 6.4)."),
    (_product(lambda W: W.abs().sum(0).max()),
     "you take the largest column sum of |W|: the norm for steps measured by the sum of |coordinates|. For Euclidean "
     "lengths it is the largest singular value (section 6.4)."),
    (_product(lambda W: W.norm(dim=1).max()),
     "you take the longest row: the slope of one unit of each layer. Several units act together: the largest singular "
     "value (section 6.4)."),
    (_list(lambda norms: 1 / norms.prod()),
     "yours is turned over: you have divided by the norms. Dividing each layer by its norm is how the bound is made 1; "
     "the bound is the product."),
    (_list(lambda norms: torch.ones(())),
     "you return 1, which is the bound once each layer *is divided* by its norm. Here they are as they come."),
]
