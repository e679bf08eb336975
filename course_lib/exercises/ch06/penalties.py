"""Chapter 06, exercises 3 and 4: the gradient penalty, and the critic that is best under it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from course_lib.exercises.calling import NotYet, ask, in_time, unchanged
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, same, show, verdict
from course_lib.gans import gradient_penalty

# --- exercise 3: the penalty ---------------------------------------------------------------------------------------

class Critic(nn.Module):
    """f(x) = Σ_j squash(x·w_j) with W (n, h), which a check hands over as it is, so that gradients can be read there.

    x: (B, …) of n numbers each → (B,).
    """

    def __init__(self, weight: Tensor, squash: Callable[[Tensor], Tensor]):
        super().__init__()
        self.weight, self.squash = nn.Parameter(weight), squash

    def __deepcopy__(self, memo: dict) -> Critic:
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(x.flatten(1) @ self.weight).sum(1)


def _images() -> dict[str, Any]:
    """Three images 3 pixels wide, so that eps (3,) broadcasts along the pixels without a word; slopes around 1."""
    draw = torch.Generator().manual_seed(267)
    weight = 0.2 * torch.randn((12, 4), generator=draw)
    x, y = torch.randn((2, 3, 2, 2, 3), generator=draw)
    return {"critic": Critic(weight, torch.tanh), "x": x + 0.5, "y": y - 0.5,
            "eps": torch.tensor([0.15, 0.8, 0.35])}


def _one_point() -> dict[str, Any]:
    return {"critic": Critic(torch.ones(1, 1), torch.square), "x": torch.tensor([[3.0]]),
            "y": torch.tensor([[1.0]]), "eps": torch.tensor([0.25])}


def check_gradient_penalty(my_gradient_penalty: Callable) -> None:
    """my_gradient_penalty(critic, x, y, eps) → mean (‖∇f(x̂)‖ − 1)², x̂ = eps·x + (1 − eps)·y, with a gradient in f.

    critic: (B, …) → (B,); x, y: (B, C, H, W), real and fake; eps: (B,). Before λ. The gradient in the critic's weights
    is compared, too.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        small = _one_point()
        with _untouched(small["critic"]):
            compare(my_gradient_penalty, _images(), gradient_penalty, PENALTY_MISTAKES, read="section 6.3",
                    small=("f(x) = x², one x = 3, one y = 1 and eps = ¼", small))
        arguments = _images()
        answer = ask(my_gradient_penalty, arguments, echo=False)
        grad, problem = in_time(lambda: _gradient(answer, arguments), my_gradient_penalty)
        if problem:
            raise NotYet(problem)
        wanted = _gradient(gradient_penalty(**arguments), arguments)
        if grad is None or not grad.count_nonzero():
            raise NotYet("the number is right, but no gradient flows from it to the critic's weights, so the penalty "
                         "would change nothing. torch.autograd.grad forgets how it came by its answer unless it is "
                         "told create_graph=True; .detach(), .item() and .data cut it off, too (section 6.3).")
        if not same(grad, wanted):
            raise NotYet("the number is right, but not its gradient in the critic's weights. Is a part of it detached, "
                         "or something used twice?")


@contextlib.contextmanager
def _untouched(critic: Critic) -> Iterator[None]:
    """Around ``compare``: a NotYet where the critic was changed, before anything that may come of it."""
    weight, before = critic.weight, critic.weight.detach().clone()
    try:
        yield
    except NotYet:
        _require_untouched(critic, weight, before)
        raise
    _require_untouched(critic, weight, before)


def _require_untouched(critic: nn.Module, weight: Tensor, before: Tensor) -> None:
    if getattr(critic, "weight", None) is not weight or not weight.requires_grad or not unchanged(weight, before):
        raise NotYet("your function changes the critic, or freezes its weights. Only a number is asked for, with the "
                     "critic as it comes.")
    if weight.grad is not None:
        raise NotYet("your function calls .backward(), which leaves a gradient in the critic's weights that a later "
                     "step would add to its own. torch.autograd.grad(values.sum(), x_hat, create_graph=True) gives the "
                     "gradient in x̂ and leaves nothing behind.")


def _gradient(answer: Tensor, arguments: dict[str, Any]) -> Tensor | None:
    if not answer.requires_grad:
        return None
    return torch.autograd.grad(answer, arguments["critic"].weight, allow_unused=True)[0]


def _at(place: Callable) -> Callable:
    """The penalty where x̂ is another place, a function of x, y and eps as a column."""
    return _of(lambda slope: (slope.flatten(1).norm(dim=1) - 1).square().mean(), place)


def _between(x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
    return eps * x + (1 - eps) * y


def _of(f: Callable, place: Callable = _between) -> Callable:
    """A function of the gradients ∇f(x̂), (B, …)."""
    def value(critic: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        at = place(x, y, eps.view(-1, *[1] * (x.ndim - 1))).detach().requires_grad_()
        return f(torch.autograd.grad(critic(at).sum(), at)[0])
    return value


def _norms(f: Callable) -> Callable:
    """A function of the slopes ‖∇f(x̂)‖, (B,)."""
    return _of(lambda slope: f(slope.flatten(1).norm(dim=1)))


BATCH = ("your norm is over the whole *batch*: one number. Each sample has a slope of its own, over all of its "
         "numbers: .flatten(1).norm(dim=1), which is (B,) (section 6.3).")
ONE_EPS = ("you take one eps for the whole batch. Each sample has its own, or all places of a batch lie in the same "
           "share of the way (section 6.3).")
PIXELS = ("your norm is not over all numbers of a sample. ‖∇f‖ is over channels, rows and columns: "
          ".flatten(1).norm(dim=1), which is (B,) (section 6.3).")
PENALTY_MISTAKES = [
    (_at(lambda x, y, eps: x),
     "your slopes are those at the *real* samples. The best critic is steep on the way from data to fakes, so that is "
     "where it is held: x̂ = eps·x + (1 − eps)·y (section 6.3)."),
    (_at(lambda x, y, eps: y),
     "your slopes are those at the *fakes*. The critic is held on the way between: x̂ = eps·x + (1 − eps)·y (section "
     "6.3)."),
    (_at(lambda x, y, eps: (x + y) / 2),
     "you take the middle between x and y, whatever eps is. The places are spread over the whole way (section 6.3)."),
    (_at(lambda x, y, eps: _between(y, x, eps)),
     "eps and 1 − eps are exchanged. With eps ~ U[0, 1] that makes no difference on average, but asked is "
     "x̂ = eps·x + (1 − eps)·y, as in the paper (section 6.3)."),
    (_at(lambda x, y, eps: x + eps * y), "your x̂ is x + eps·y. It lies between the two: eps·x + (1 − eps)·y."),
    (_at(lambda x, y, eps: _between(x, y, eps[:1])), ONE_EPS),
    (_at(lambda x, y, eps: _between(x, y, eps.mean())), ONE_EPS),
    (_at(lambda x, y, eps: _between(x, y, eps.flatten())),
     "eps is (B,), and multiplied as it is, torch lays it along the *last* dimension: a share for each column of "
     "pixels. One for each sample is eps.view(-1, 1, 1, 1) (section 6.3)."),
    (_of(lambda slope: (slope.norm() - 1).square()), BATCH),
    (_of(lambda slope: (slope.flatten(1).norm(dim=0) - 1).square().mean()),
     "your norm is over the batch, for each pixel. It is over the pixels, for each sample: dim=1 after .flatten(1)."),
    (_of(lambda slope: (slope.norm(dim=1) - 1).square().mean()), PIXELS),
    (_of(lambda slope: (slope.norm(dim=-1) - 1).square().mean()), PIXELS),
    (_of(lambda slope: (slope.norm(dim=(2, 3)) - 1).square().mean()), PIXELS),
    (_of(lambda slope: (slope.abs() - 1).square().mean()), PIXELS),
    (_of(lambda slope: (slope.flatten(1).norm(dim=1) / len(slope) - 1).square().mean()),
     "your slopes are B times too small: you take the gradient of the *mean* of the values. Each sample's value "
     "depends on itself alone, so take their sum: critic(x_hat).sum()."),
    (_norms(lambda slope: (slope.square() - 1).square().mean()),
     "your norms are squared: (‖∇f‖² − 1)². Asked is the norm itself; a root is missing (section 6.3)."),
    (_norms(lambda slope: slope.square().mean()),
     "this is mean ‖∇f‖²: the −1 is missing, so it wants a slope of 0. The best critic has slope 1 (section 6.3)."),
    (_norms(lambda slope: (slope - 1).relu().square().mean()),
     "yours is one-sided: a slope below 1 costs nothing. That is a variant with merits, but asked is (‖∇f‖ − 1)², "
     "which pulls up, too."),
    (_norms(lambda slope: (slope - 1).mean()),
     "the square is missing: a slope below 1 would then be a *reward*. It is (‖∇f‖ − 1)²."),
    (_norms(lambda slope: (slope - 1).abs().mean()), "you take |‖∇f‖ − 1|. It is squared."),
    (_norms(lambda slope: (slope.mean() - 1).square()),
     "you take the mean of the slopes first, and the square after. Then steep and flat places make up for each other: "
     "each sample is squared by itself."),
    (_norms(lambda slope: (slope - 1).square().sum()), "you add the batch up. It is a mean, over the samples."),
    (_norms(lambda slope: (slope - 1).square()), "you return a number for each sample. Asked is their mean."),
    (_norms(lambda slope: 10 * (slope - 1).square().mean()), "λ = 10 is in it already. Asked is the penalty before λ."),
    (_norms(lambda slope: (slope - 1).square().mean() / 2), "you halve it: there is no ½."),
    (_norms(lambda slope: (slope - 1).square().mean().sqrt()), "you take a root of it all. It is the mean square."),
    (_norms(lambda slope: (slope + 1).square().mean()), "the sign of 1 is turned: it is (‖∇f‖ − 1)²."),
    (_norms(lambda slope: slope), "these are the slopes. Asked is the mean of (slope − 1)²."),
    (_norms(lambda slope: slope.mean()), "this is the mean slope. Asked is the mean of (slope − 1)²."),
    (_of(lambda slope: (slope.flatten(1).abs().sum(1) - 1).square().mean()),
     "your norm adds up absolute values. It is the Euclidean one: the root of the sum of squares."),
    (_of(lambda slope: (slope.flatten(1).abs().amax(1) - 1).square().mean()),
     "your norm is the largest entry. It is the Euclidean one: the root of the sum of squares."),
    (_of(lambda slope: (slope.flatten(1).sum(1) - 1).square().mean()),
     "you add the entries of ∇f up as they are, and signs cancel. The norm is the root of the sum of squares."),
    (lambda critic, x, y, eps: _chord(critic, x, y),
     "this is the slope of the *chord*, |f(x) − f(y)|/‖x − y‖. f may be far steeper in between: take its gradient at "
     "x̂ (section 6.3)."),
]


def _chord(critic: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return ((critic(x) - critic(y)).abs() / (x - y).flatten(1).norm(dim=1) - 1).square().mean()


# --- exercise 4: how steep the best critic under the penalty is ----------------------------------------------------

def check_best_critic(my_best_critic: Callable) -> None:
    """my_best_critic(x, y, penalty) → w (d,), the linear critic that makes w·(mean x − mean y) − λ(‖w‖ − 1)² largest.

    x: (n, d), y: (m, d), whose means differ; penalty: λ, above 0.
    """
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn((5, 3), generator=draw) + torch.tensor([0.9, -1.4, 0.6]), torch.randn((4, 3), generator=draw)
    arguments = {"x": x, "y": y, "penalty": torch.tensor(1.7)}
    small = {"x": torch.tensor([[4.0, 4.0], [2.0, 4.0]]), "y": torch.zeros(1, 2), "penalty": torch.tensor(10.0)}
    with verdict(), closer(lambda: _look(my_best_critic, small)):
        compare(my_best_critic, arguments, _best, BEST_MISTAKES, read="section 6.3",
                small=("x = ((4, 4), (2, 4)), y = ((0, 0)) and λ = 10", small))


def _look(my_best_critic: Callable, case: dict[str, Tensor]) -> None:
    w, best = ask_again(my_best_critic, case, (2,)), _best(**case)
    if w.isfinite().all():
        raise NotYet(f"for x = ((4, 4), (2, 4)), y = ((0, 0)) and λ = 10 your w is {show(w)}. Its gap minus λ times "
                     f"its penalty is {show(_score(w, **case))}, and w = {show(best)} gets {show(_score(best, **case))}"
                     ". Which direction makes the gap largest at a given length, and then, which length? (section 6.3)")


def _score(w: Tensor, x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
    return w.double() @ _apart(x, y).double() - penalty * (w.double().norm() - 1).square()


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return x.mean(0) - y.mean(0)


def _best(x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
    return _as_long_as(lambda gap, penalty: 1 + gap / (2 * penalty))(x, y, penalty)


def _as_long_as(length: Callable) -> Callable:
    """Towards mean x − mean y, with another length, a function of ‖mean x − mean y‖ and λ."""
    def w(x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
        apart = _apart(x, y)
        return apart / apart.norm() * length(apart.norm(), penalty)
    return w


def _of_apart(f: Callable) -> Callable:
    """A function of mean x − mean y and λ."""
    return lambda x, y, penalty: f(_apart(x, y), penalty)


def _squared_norm(gap: Tensor, penalty: Tensor) -> float:
    """The length k of the best w where the penalty is (‖w‖² − 1)²: 4λ k (k² − 1) = gap."""
    return brentq(lambda k: 4 * penalty.item() * k * (k * k - 1) - gap.item(), 1, 10 + gap.item())


DIRECTION = "The direction is right, but not the length."
COORDINATES = ("you weigh each coordinate by itself. The penalty knows only the length ‖w‖, so the best direction is "
               "that of mean x − mean y (section 6.3).")
BEST_MISTAKES = [
    (_as_long_as(lambda gap, penalty: 1),
     "your w has length 1: the critic of a hard bound, λ = ∞. A penalty only pulls: at ‖w‖ = 1 it has slope 0, while "
     "the gap still grows. So the best is a little steeper (section 6.3)."),
    (lambda x, y, penalty: -_best(x, y, penalty),
     "the sign is turned: f must be high on the data, so w points from y to x: mean x − mean y."),
    (_as_long_as(lambda gap, penalty: 1 - gap / (2 * penalty)),
     f"{DIRECTION} Yours is 1 − ‖δ‖/(2λ), δ = mean x − mean y; the gap pulls w *longer*."),
    (_as_long_as(lambda gap, penalty: 1 + gap / penalty),
     f"{DIRECTION} The derivative of (k − 1)² is 2(k − 1): a ½ is missing."),
    (_as_long_as(lambda gap, penalty: 1 + gap / (4 * penalty)),
     f"{DIRECTION} The derivative of (k − 1)² is 2(k − 1): your overshoot is half of what it should be."),
    (_as_long_as(lambda gap, penalty: 1 + gap / 2), f"{DIRECTION} λ does not come in: the overshoot is ‖δ‖/(2λ)."),
    (_as_long_as(lambda gap, penalty: 1 + gap / 20),
     f"{DIRECTION} You have put in λ = 10, the paper's. Here it is `penalty`."),
    (_as_long_as(lambda gap, penalty: 1 + 1 / (2 * penalty)),
     f"{DIRECTION} The gap pulls with a force of ‖δ‖, not 1: δ = mean x − mean y."),
    (_as_long_as(lambda gap, penalty: 1 + 2 * penalty / gap),
     f"{DIRECTION} Your fraction is turned over: a strong penalty must bring the length nearer to 1."),
    (_as_long_as(lambda gap, penalty: 1 + penalty * gap / 2),
     f"{DIRECTION} Yours grows with λ: a strong penalty must bring it nearer to 1."),
    (_as_long_as(lambda gap, penalty: gap / (2 * penalty)),
     "this is the best w under λ‖w‖²: the −1 is missing. The penalty is 0 at length 1, not at 0 (section 6.3)."),
    (_as_long_as(lambda gap, penalty: 1 + gap.square() / (2 * penalty)),
     f"{DIRECTION} The gap of w = k·δ/‖δ‖ is k‖δ‖, with ‖δ‖ to the power 1."),
    (_of_apart(lambda apart, penalty: apart * (1 + apart.norm() / (2 * penalty))),
     "your direction is not of length 1. Divide δ = mean x − mean y by its norm first; the factor is then the length."),
    (_of_apart(lambda apart, penalty: apart),
     "this is mean x − mean y itself, the gradient of the gap. The penalty holds the *length*: near 1 (section 6.3)."),
    (_as_long_as(_squared_norm),
     f"{DIRECTION} Yours is best under (‖w‖² − 1)². The penalty is of the norm itself, (‖w‖ − 1)²."),
    (_of_apart(lambda apart, penalty: apart.sign()), COORDINATES),
    (_of_apart(lambda apart, penalty: apart.sign() * (1 + apart.abs() / (2 * penalty))), COORDINATES),
    (_of_apart(lambda apart, penalty: apart / apart.abs().sum() * (1 + apart.abs().sum() / (2 * penalty))),
     "your norm adds up absolute values. It is the Euclidean one, .norm()."),
    (lambda x, y, penalty: _best(len(x) * x.mean(0, keepdim=True), len(y) * y.mean(0, keepdim=True), penalty),
     "you add the samples up. The gap is a difference of means."),
    (lambda x, y, penalty: _best(x.mean(0, keepdim=True), torch.zeros_like(y), penalty),
     "y does not come in. The gap is mean f(x) − mean f(y), so w points from mean y to mean x."),
    (_of_apart(lambda apart, penalty: 1 + apart.norm() / (2 * penalty)),
     "this is the length of the best w. Asked is w itself, (d,): times the direction, δ/‖δ‖."),
    (_of_apart(lambda apart, penalty: apart.norm() * (1 + apart.norm() / (2 * penalty))),
     "this is the gap of the best w. Asked is w itself, (d,)."),
    (_of_apart(lambda apart, penalty: apart.norm()),
     "this is ‖mean x − mean y‖, the gap of a critic of slope 1. Asked is the critic: w, (d,)."),
]
