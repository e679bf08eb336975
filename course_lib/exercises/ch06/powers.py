"""Chapter 06, exercise 6: one step of the power iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.ch04.pairs import compare_pair, read_pair
from course_lib.exercises.checking import same, show, verdict

PARTS = ("sigma", "u")


def check_power_step(my_power_step: Callable) -> None:
    """my_power_step(W, u) → (sigma, u): v = Wᵀu/‖Wᵀu‖, u = Wv/‖Wv‖ and sigma = uᵀWv; W: (m, n), u: (m,).

    Square matrices first, so that a W in the place of Wᵀ gives a number; then one that is not.
    """
    draw = torch.Generator().manual_seed(2)
    W, u = torch.randn((4, 4), generator=draw), torch.randn(4, generator=draw)
    small = {"W": torch.tensor([[3.0, 0.0], [4.0, 0.0]]), "u": torch.tensor([1.0, 0.0])}
    with verdict():
        compare_pair(my_power_step, {"W": W, "u": u}, _power, POWER_MISTAKES, names=PARTS, read="section 6.4",
                     small=("W = ((3, 0), (4, 0)) and u = (1, 0)", small))
        wide = {"W": torch.randn((3, 5), generator=draw), "u": torch.randn(3, generator=draw)}
        _, got = read_pair(ask(my_power_step, wide, echo=False), PARTS)
        for name, part, wanted in zip(PARTS, got, _power(**wide), strict=True):
            if not same(part, wanted):
                raise NotYet(f"right for square matrices, but for W (3, 5) {name} must be {show(wanted)}, and yours is "
                             f"{show(part)}.")


def _unit(a: Tensor) -> Tensor:
    return a / a.norm()


def _step(first: Callable = lambda W, u: _unit(W.T @ u), second: Callable = lambda W, v: _unit(W @ v),
          estimate: Callable = lambda W, u, v, old: u @ W @ v) -> Callable:
    """The step of which one part is another: v from W and u, the new u from W and v, or sigma."""
    def play(W: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        v = first(W, u)
        new = second(W, v)
        return estimate(W, new, v, u), new
    return play


_power = _step()


def _sigma(estimate: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in sigma, a function of W, the new u, v and the old u; u being right."""
    return _step(estimate=estimate), f"sigma: {why}"


def _after(steps: int) -> Callable:
    def play(W: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(steps):
            sigma, u = _power(W, u)
        return sigma, u
    return play


def _raw(W: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    v = W.T @ u
    return (W @ v) @ W @ v, W @ v


W_FIRST = ("the two are exchanged: you take Wu first, and Wᵀ after. u is in the space of W's outputs, (m,): first Wᵀu, "
           "(n,), then Wv (section 6.4).")
POWER_MISTAKES = [
    (lambda W, u: _power(W, u)[::-1], "the two are exchanged: return sigma first, then u."),
    (_raw, "nothing is normalised. Each step multiplies lengths by up to σ², so after some steps they are inf or 0; "
           "and sigma is uᵀWv of vectors of length 1 only (section 6.4)."),
    (_step(first=lambda W, u: W.T @ u),
     "sigma: v is not normalised, so uᵀWv is too large by the factor ‖Wᵀu‖. Both u and v have length 1."),
    (_step(second=lambda W, v: W @ v),
     "u: the new u is not normalised: divide Wv by its length, before sigma is taken (section 6.4)."),
    (_step(first=lambda W, u: _unit(W @ u), second=lambda W, v: _unit(W @ v)),
     "you multiply by W twice. That turns u towards an *eigenvector* of W; singular values are the eigenvalues' roots "
     "of WᵀW: first Wᵀu, then Wv (section 6.4)."),
    (_step(first=lambda W, u: _unit(W @ u), second=lambda W, v: _unit(W.T @ v),
           estimate=lambda W, u, v, old: v @ W @ u),
     W_FIRST),
    (_step(first=lambda W, u: _unit(W @ u), second=lambda W, v: _unit(W.T @ v)), W_FIRST),
    (_step(first=lambda W, u: _unit(W.T @ u), second=lambda W, v: _unit(W.T @ v)),
     "you multiply by Wᵀ twice. That turns u towards an *eigenvector* of Wᵀ; first Wᵀu, then Wv (section 6.4)."),
    (_step(first=lambda W, u: u), "the half step with Wᵀ is missing: v = Wᵀu/‖Wᵀu‖, and then u = Wv/‖Wv‖."),
    (lambda W, u: (_step()(W, u)[1] @ W @ _unit(W.T @ u), u),
     "u: your u is the old one. Return the new one: the next step goes on from there, so that over a training one step "
     "at a time is enough (section 6.4)."),
    (lambda W, u: (_power(W, u)[0], _unit(W.T @ u)), "u: you return v. Asked is u = Wv/‖Wv‖, (m,)."),
    _sigma(lambda W, u, v, old: old @ W @ v,
           "you take the *old* u. With the new one, uᵀWv = ‖Wv‖, which is nearer to the truth (section 6.4)."),
    _sigma(lambda W, u, v, old: _unit(old) @ W @ v,
           "you take the *old* u, at length 1. With the new one, uᵀWv = ‖Wv‖, which is nearer to the truth."),
    _sigma(lambda W, u, v, old: (u @ W @ v)**2,
           "this is σ², the eigenvalue of WᵀW. Asked is σ: its root, or uᵀWv (section 6.4)."),
    _sigma(lambda W, u, v, old: (W.T @ W @ v).norm(),
           "this is ‖WᵀWv‖, an estimate of σ². Asked is σ: uᵀWv (section 6.4)."),
    _sigma(lambda W, u, v, old: (u @ W @ v).sqrt(), "you take a root. uᵀWv is σ already, not σ²."),
    _sigma(lambda W, u, v, old: torch.linalg.svdvals(W)[0],
           "this is the exact σ, from a decomposition. Asked is the estimate after *one* step, uᵀWv: it costs two "
           "products, and gets better from step to step (section 6.4)."),
    _sigma(lambda W, u, v, old: u @ W @ u, "this is uᵀWu, which has to do with eigenvalues. It is uᵀWv (section 6.4)."),
    _sigma(lambda W, u, v, old: v @ W @ u, "this is vᵀWu. It is uᵀWv: u in the outputs' space, v in the inputs'."),
    _sigma(lambda W, u, v, old: (W.T @ u).norm(),
           "this is ‖Wᵀu‖ with the new u: half a step further. Asked is uᵀWv = ‖Wv‖."),
    _sigma(lambda W, u, v, old: W.norm(), "this is the Frobenius norm. Asked is uᵀWv (section 6.4)."),
    _sigma(lambda W, u, v, old: -(u @ W @ v), "the sign is turned: σ is never below 0."),
    _sigma(lambda W, u, v, old: 1 / (u @ W @ v), "yours is turned over: W is divided by σ, and σ is asked."),
    (lambda W, u: (W / _power(W, u)[0], _power(W, u)[1]),
     "sigma: you return W/σ, the normalised weights. Asked is the number σ."),
    (_after(2), "you make two steps. Asked is one: the next call goes on from your u."),
    (_after(30), "you go on until nothing changes. Asked is *one* step: the next call goes on from your u."),
    (lambda W, u: (_power(W, u)[0], u / u.norm()), "u: this is the old u at length 1. Return the new one, Wv/‖Wv‖."),
    (_step(first=lambda W, u: W.T @ u / (W.T @ u).square().sum(), second=lambda W, v: W @ v / (W @ v).square().sum()),
     "you divide by the *squared* length. A vector over its length has length 1."),
    (_step(first=lambda W, u: W.T @ u / (W.T @ u).abs().sum(), second=lambda W, v: W @ v / (W @ v).abs().sum()),
     "you divide by the sum of |entries|. The length is Euclidean: .norm()."),
    (_step(first=lambda W, u: W.T @ u / (W.T @ u).abs().max(), second=lambda W, v: W @ v / (W @ v).abs().max()),
     "you divide by the largest |entry|. The length is Euclidean: .norm()."),
]
