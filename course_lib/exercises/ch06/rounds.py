"""Chapter 06, exercise 1: one round of Algorithm 1, by hand, with a critic and a generator that need no library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.ch04.pairs import compare_pair
from course_lib.exercises.checking import verdict

NAMES = ("w", "theta")


def check_wgan_round(my_wgan_round: Callable) -> None:
    """my_wgan_round(w, theta, x, z, n_critic, lr, c) → (w, theta) after n_critic steps of f(x) = w·x and one of G.

    G(z) = z + theta; w, theta: (d,); x, z: (N, m, d), N > n_critic batches, to be taken in order; lr and c: scalars.
    Plain gradient steps, not RMSProp's. Both numbers of batches are larger than needed, so that a loop that runs too
    long finds something.
    """
    with verdict():
        compare_pair(my_wgan_round, _batches(), _round(), MISTAKES, names=NAMES, read="section 6.1",
                     small=("one point a batch, x = 3, 1, 4 and z = 1, 2, 5, from w = θ = 0 with n_critic = 2, lr = ½ "
                            "and c = 0.75,", _three_points()))


def _batches() -> dict[str, Any]:
    """Most of the steps reach a bound, some come back from it: so it matters when one clips."""
    draw = torch.Generator().manual_seed(5)
    x, z = torch.randn((2, 5, 3, 4), generator=draw)
    return {"w": torch.tensor([0.1, -0.3, 0.05, 0.2]), "theta": torch.tensor([0.4, -0.2, 1.0, -0.6]), "x": x + 0.3,
            "z": z, "n_critic": 3, "lr": torch.tensor(0.4), "c": torch.tensor(0.35)}


def _three_points() -> dict[str, Any]:
    x, z = torch.tensor([[3.0, 1.0, 4.0], [1.0, 2.0, 5.0]])[:, :, None, None]
    return {"w": torch.zeros(1), "theta": torch.zeros(1), "x": x, "z": z, "n_critic": 2, "lr": torch.tensor(0.5),
            "c": torch.tensor(0.75)}


# --- the round, with a part of it exchanged ------------------------------------------------------------------------

def _slope(x: Tensor, z: Tensor, theta: Tensor) -> Tensor:
    """The gradient in w of mean w·x − mean w·G(z)."""
    return x.mean(0) - (z + theta).mean(0)


def _up(w: Tensor, slope: Tensor, lr: Tensor, c: Tensor) -> Tensor:
    return (w + lr * slope).clamp(-c, c)


def _round(slope: Callable = _slope, critic: Callable = _up, count: Callable = lambda n, N: n,
           batch: Callable = lambda x, t: x[t], end: Callable = lambda w, c: w,
           generator: Callable = lambda theta, w, lr, c, old: theta + lr * w, inside: bool = False) -> Callable:
    """The round of which one part is another: the critic's slope or step, the number of its steps, which batch the t-th
    is, what is done to w after them, the step of the generator, or whether that one is taken ``inside`` the loop."""
    def play(w: Tensor, theta: Tensor, x: Tensor, z: Tensor, n_critic: int, lr: Tensor, c: Tensor) -> tuple:
        old = w
        for t in range(count(n_critic, len(x))):
            w = critic(w, slope(batch(x, t), batch(z, t), theta), lr, c)
            if inside:
                theta = generator(theta, w, lr, c, old)
        w = end(w, c)
        return w, theta if inside else generator(theta, w, lr, c, old)
    return play


def _critic(step: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in the critic's step, whatever happens to theta."""
    return _round(critic=step), f"w: {why}"


def _slopes(slope: Callable, why: str) -> tuple[Callable, str]:
    return _round(slope=slope), f"w: {why}"


def _generator(step: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in the generator's step, a function of theta, w, lr, c and the old w; the critic's being right."""
    return _round(generator=step), f"theta: {why}"


def _to_length(w: Tensor, c: Tensor) -> Tensor:
    return w * (c / w.norm()).clamp(max=1)


NORM = ("you bring the *length* ‖w‖ down to c. Algorithm 1 clips each weight by itself, w.clamp(−c, c), so ‖w‖ may be "
        "up to c√d (section 6.2).")
MISTAKES = [
    (lambda *a, **k: _round()(*a, **k)[::-1], "the two are exchanged: return w first, then theta."),
    _critic(lambda w, g, lr, c: w.clamp(-c, c) + lr * g,
            "you clip *before* the step, so the last step leaves w outside [−c, c], and the generator is taught by a "
            "critic that nothing holds. First the step, then the clip (section 6.1)."),
    _critic(lambda w, g, lr, c: w + lr * g.clamp(-c, c),
            "you clip the *gradient*. That only shortens each step; the weights still go as far as they like. It is "
            "the weights that are clipped, after the step (section 6.2)."),
    _critic(lambda w, g, lr, c: (w + lr * g.clamp(-c, c)).clamp(-c, c),
            "you clip the gradient as well as the weights. The step is taken with the gradient as it is; clip the "
            "weights alone (section 6.2)."),
    _critic(lambda w, g, lr, c: w + lr * g,
            "you do not clip. The gap mean f(x) − mean f(G(z)) has no bound in w: w.clamp(−c, c) after each step."),
    (_round(critic=lambda w, g, lr, c: w + lr * g, end=lambda w, c: w.clamp(-c, c)),
     "w: you clip once, after the loop. Clip after *each* of the critic's steps: a weight that has run far beyond c "
     "takes long to come back (section 6.1)."),
    _critic(lambda w, g, lr, c: (w + lr * g).clamp(max=c), "you clip above only. It is from both sides, [−c, c]."),
    _critic(lambda w, g, lr, c: (w + lr * g).clamp(0, c), "you clip to [0, c]. It is [−c, c]: weights have a sign."),
    _critic(lambda w, g, lr, c: _to_length(w + lr * g, c), NORM),
    _critic(lambda w, g, lr, c: c * (w + lr * g) / (w + lr * g).norm(), NORM),
    _critic(lambda w, g, lr, c: c * (w + lr * g).sign(),
            "every weight becomes c or −c. Only what is beyond is brought back; what lies inside stays as it is."),
    _critic(lambda w, g, lr, c: (w - lr * g).clamp(-c, c),
            "the critic goes down. It makes the gap mean f(x) − mean f(G(z)) *large*: add lr times the gradient, or "
            "descend minus the gap (section 6.1)."),
    _critic(lambda w, g, lr, c: (w + g).clamp(-c, c), "lr is missing from the critic's step."),
    (_round(count=lambda n, N: n + 1),
     "your critic makes one step too many: t = 0, …, n_critic are n_critic + 1 of them. range(n_critic) ends at "
     "n_critic − 1 (section 6.1)."),
    (_round(count=lambda n, N: n - 1), "your critic makes one step too few: range(n_critic), from 0."),
    (_round(count=lambda n, N: 1), "your critic makes one step only. It makes n_critic of them, then G makes one."),
    (_round(count=lambda n, N: N), "your critic takes all the batches there are. It makes n_critic steps, then stops."),
    (_round(batch=lambda x, t: x[0]),
     "w: each step takes the first batch again. Each has a batch of its own: x[t] and z[t] (section 6.1)."),
    (_round(batch=lambda x, t: x.flatten(0, 1)),
     "w: each step takes all of the batches together. The t-th takes x[t] and z[t] (section 6.1)."),
    _slopes(lambda x, z, theta: x.sum(0) - (z + theta).sum(0),
            "you add the batch up. Both terms are means over the m points: the mean is over dimension 0 of x[t]."),
    _slopes(lambda x, z, theta: x.mean(0) - z.mean(0),
            "theta does not come in: you take the noise z for the fakes. These are G(z) = z + theta."),
    _slopes(lambda x, z, theta: x.mean(0) - (x + theta).mean(0),
            "your fakes are G(x). G makes them of noise, z ~ p_z, not of data, x ~ p_r (section 6.1)."),
    _slopes(lambda x, z, theta: x.mean(0), "the fakes are missing. The gap is mean f(x) *minus* mean f(G(z))."),
    _slopes(lambda x, z, theta: -(z + theta).mean(0), "the data are missing. The gap is mean f(x) − mean f(G(z))."),
    _slopes(lambda x, z, theta: x.mean(0) + (z + theta).mean(0),
            "you add the means. The critic is to tell data from fakes: the *difference*, mean f(x) − mean f(G(z))."),
    _slopes(lambda x, z, theta: x.mean() - (z + theta).mean(),
            "you take the mean over the coordinates as well. ∂f/∂w is x itself, so the gradient is a vector, (d,): "
            "means over the points only."),
    _generator(lambda theta, w, lr, c, old: theta - lr * w,
               "your G goes the wrong way: down the critic. It makes mean f(G(z)) *large*, that is, descends −mean "
               "f(G(z)), whose gradient in theta is −w: so theta + lr·w (section 6.1)."),
    _generator(lambda theta, w, lr, c, old: theta + lr * old,
               "your G is taught by the critic as it was *before* the round. It comes after the n_critic steps, and "
               "takes the new w: that is what they were for."),
    _generator(lambda theta, w, lr, c, old: theta + w, "lr is missing from G's step."),
    _generator(lambda theta, w, lr, c, old: (theta + lr * w).clamp(-c, c),
               "you clip the generator, too. Only the critic has a slope to be held; theta may go where it must."),
    _generator(lambda theta, w, lr, c, old: theta, "G has made no step: theta is what it was (section 6.1)."),
    (_round(inside=True),
     "G makes a step after *each* step of the critic. It makes one, after all n_critic of them: mind the indentation."),
]
