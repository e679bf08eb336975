"""Exercises of chapter 06: right answers pass in many forms, and each known mistake is told apart from all others.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from test_exercises import in_one_line, mistakes, name_only, said
from torch import nn

from course_lib import gans
from course_lib.exercises import calling, ch06
from course_lib.exercises.ch06 import penalties, slopes


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The first optimizer of a process imports much of torch; beside a busy neighbour that takes more than 5 s."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


# --- right answers; the notebook's own solutions are proved in test_exercises.py -------------------------------------

def my_wgan_round(w, theta, x, z, n_critic, lr, c):
    for t in range(n_critic):
        w = (w + lr * (x[t].mean(0) - (z[t] + theta).mean(0))).clamp(-c, c)
    return w, theta + lr * w


def my_gradient_penalty(critic, x, y, eps):
    eps = eps.view(-1, 1, 1, 1) if x.ndim == 4 else eps[:, None]
    x_hat = (eps * x + (1 - eps) * y).requires_grad_()
    slope, = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def my_best_critic(x, y, penalty):
    apart = x.mean(0) - y.mean(0)
    return apart / apart.norm() * (1 + apart.norm() / (2 * penalty))


def my_lipschitz_bound(W1, W2, W3):
    return torch.linalg.matrix_norm(torch.eye(1), 2) * math.prod(torch.linalg.matrix_norm(W, 2) for W in (W1, W2, W3))


def my_power_step(W, u):
    v = W.T @ u
    v = v / v.norm()
    u = W @ v
    u = u / u.norm()
    return u @ W @ v, u


def my_clipped_slope(widths, c):
    slope = 1.0
    for n_in, n_out in itertools.pairwise(widths):
        slope = slope * c * (n_in * n_out)**0.5
    return slope


# --- right answers, written in another way -------------------------------------------------------------------------

class Linear(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x):
        return x @ self.w


class Shift(nn.Module):
    def __init__(self, theta, noises):
        super().__init__()
        self.theta, self.noises = nn.Parameter(theta.clone()), noises

    def noise(self, n):
        return next(self.noises)

    def forward(self, z):
        return z + self.theta


def round_by_the_library(w, theta, x, z, n_critic, lr, c):
    """wgan_step itself, with plain gradient descent in the place of RMSProp."""
    f, G = Linear(w), Shift(theta, iter(z))
    sgd = lambda net: torch.optim.SGD(net.parameters(), lr=float(lr))
    gans.wgan_step(iter(x), G, f, sgd(G), sgd(f), n_critic=n_critic, clip=float(c))
    return f.w.detach(), G.theta.detach()


def round_by_autograd(w, theta, x, z, n_critic, lr, c):
    for t in range(n_critic):
        w = w.clone().requires_grad_()
        loss = (z[t] + theta) @ w
        loss = loss.mean() - (x[t] @ w).mean()
        w = (w - lr * torch.autograd.grad(loss, w)[0]).detach().clip(-c, c)
    theta = theta.clone().requires_grad_()
    theta = theta - lr * torch.autograd.grad(-((z[n_critic] + theta) @ w).mean(), theta)[0]
    return [w, theta.detach()]


def round_in_numbers(w, theta, x, z, n_critic, lr, c):
    w, theta, lr, c = w.tolist(), theta.tolist(), lr.item(), c.item()
    for t in range(n_critic):
        for i in range(len(w)):
            gap = sum(row[i] for row in x[t].tolist()) - sum(row[i] + theta[i] for row in z[t].tolist())
            w[i] = min(max(w[i] + lr * gap / len(x[t]), -c), c)
    return torch.tensor(w), torch.tensor([a + lr * b for a, b in zip(theta, w, strict=True)])


def penalty_in_loops(critic, x, y, eps):
    total = 0.0
    for a, b, e in zip(x, y, eps, strict=True):
        at = (e * a + (1 - e) * b)[None].requires_grad_()
        slope, = torch.autograd.grad(critic(at)[0], at, create_graph=True)
        total = total + (slope.square().sum().sqrt() - 1)**2
    return total / len(x)


def penalty_by_vmap(critic, x, y, eps):
    one = lambda at: critic(at[None])[0]
    at = torch.lerp(y, x, eps.reshape(-1, *[1] * (x.ndim - 1)))
    slope = torch.stack([torch.autograd.functional.jacobian(one, point, create_graph=True) for point in at])
    return ((torch.linalg.vector_norm(slope, dim=tuple(range(1, x.ndim))) - 1)**2).mean()


def penalty_with_grad_of_ones(critic, x, y, eps):
    eps = eps.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
    at = (x * eps + y * (1 - eps)).requires_grad_(True)
    values = critic(at)
    slope = torch.autograd.grad(values, at, torch.ones_like(values), retain_graph=True, create_graph=True)[0]
    return ((slope.reshape(len(x), -1).norm(2, dim=1) - 1)**2).mean()


def best_by_descent(x, y, penalty):
    """The library's loss and penalty, and a numerical optimizer."""
    apart = (x.mean(0) - y.mean(0)).double().numpy()
    score = lambda w: -(w @ apart) + penalty.item() * (np.linalg.norm(w) - 1)**2
    return torch.tensor(minimize(score, apart / np.linalg.norm(apart), tol=1e-12, method="BFGS",
                                 options={"gtol": 1e-9}).x)


def best_by_fixed_point(x, y, penalty):
    """From 0 = δ − 2λ (‖w‖ − 1) w/‖w‖."""
    apart = x.mean(0) - y.mean(0)
    w = apart.clone()
    for _ in range(200):
        w = w / w.norm() + apart / (2 * penalty)
    return w


def bound_by_eigenvalues(W1, W2, W3):
    return math.sqrt(math.prod(torch.linalg.eigvalsh(W @ W.T)[-1].item() for W in (W1, W2, W3)))


def bound_by_iteration(W1, W2, W3):
    total = 1.0
    for W in (W1, W2, W3):
        u = torch.ones(len(W), dtype=torch.float64) + torch.arange(len(W))
        for _ in range(500):
            sigma, u = my_power_step(W.double(), u)
        total = total * sigma
    return total


def power_by_normalize(W, u):
    v = nn.functional.normalize(torch.mv(W.t(), u), dim=0)
    u = nn.functional.normalize(torch.mv(W, v), dim=0)
    return torch.dot(u, torch.mv(W, v)), u


def power_in_float64(W, u):
    new = W.double() @ (W.double().T @ u.double())
    new = new / new.norm()
    v = W.double().T @ u.double()
    return (W.double() @ v).norm() / v.norm(), new


def slope_by_svd(widths, c):
    return math.prod(torch.linalg.svdvals(torch.full((b, a), c.item(), dtype=torch.float64))[0].item()
                     for a, b in itertools.pairwise(widths))


def slope_by_autograd(widths, c):
    """At x = (1, …, 1), of the network whose weights are all c."""
    x = torch.ones(widths[0], dtype=torch.float64, requires_grad=True)
    h = x
    for a, b in itertools.pairwise(widths):
        h = nn.functional.leaky_relu(torch.full((b, a), c.item(), dtype=torch.float64) @ h, 0.2)
    return torch.autograd.grad(h.sum(), x)[0].norm()


RIGHT = [
    (ch06.check_wgan_round, my_wgan_round), (ch06.check_gradient_penalty, my_gradient_penalty),
    (ch06.check_best_critic, my_best_critic), (ch06.check_lipschitz_bound, my_lipschitz_bound),
    (ch06.check_power_step, my_power_step), (ch06.check_clipped_slope, my_clipped_slope),
    (ch06.check_wgan_round, round_by_the_library), (ch06.check_wgan_round, round_by_autograd),
    (ch06.check_wgan_round, round_in_numbers), (ch06.check_wgan_round, partial(round_by_autograd)),
    (ch06.check_gradient_penalty, gans.gradient_penalty), (ch06.check_gradient_penalty, penalty_in_loops),
    (ch06.check_gradient_penalty, penalty_by_vmap), (ch06.check_gradient_penalty, penalty_with_grad_of_ones),
    (ch06.check_best_critic, best_by_descent), (ch06.check_best_critic, best_by_fixed_point),
    (ch06.check_best_critic, lambda x, y, penalty: (d := x.mean(0) - y.mean(0)) * (1 / d.norm() + 1 / (2 * penalty))),
    (ch06.check_lipschitz_bound, bound_by_eigenvalues), (ch06.check_lipschitz_bound, bound_by_iteration),
    (ch06.check_lipschitz_bound, lambda *Ws: np.prod([np.linalg.norm(W.numpy(), 2) for W in Ws])),
    (ch06.check_lipschitz_bound, lambda *Ws: math.prod(torch.linalg.svd(W).S.max() for W in Ws)),
    (ch06.check_power_step, power_by_normalize), (ch06.check_power_step, power_in_float64),
    (ch06.check_power_step, lambda W, u: list(my_power_step(W, 7 * u))),
    (ch06.check_clipped_slope, slope_by_svd), (ch06.check_clipped_slope, slope_by_autograd),
    (ch06.check_clipped_slope,
     lambda widths, c: math.prod(widths[1:-1]) * widths[0]**0.5 * float(c)**(len(widths) - 1)),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:6], ids=lambda x: x.__name__)
def test_gradients_are_asked_for_wherever_the_check_is_called(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:6], ids=lambda x: x.__name__)
def test_what_an_answer_prints_is_shown_once(check, answer, capsys):
    def talks(*args):
        print("hello")
        return answer(*args)
    told = said(check, talks, capsys)
    assert told.count("hello") == 1 and told.endswith("passed\n")


# --- what the exercises and their solutions say, against independent answers -----------------------------------------

def score(w, apart, penalty):
    """w·δ − λ(‖w‖ − 1)²."""
    return w @ apart - penalty * (w.norm() - 1)**2


@pytest.mark.parametrize("penalty", [0.5, 1.0, 10.0])
def test_the_best_critic_under_a_penalty_overshoots_by_the_gap_over_two_lambda(penalty):
    """And its own gap is more than ‖δ‖, by ‖δ‖²/(2λ): no lower bound of W₁ any more. One-sided, it is the same."""
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn((2, 6, 4), generator=draw, dtype=torch.float64)
    apart = x.mean(0) - y.mean(0)
    best = my_best_critic(x, y, penalty)
    assert best.norm() == pytest.approx(1 + apart.norm().item() / (2 * penalty))
    assert best @ apart == pytest.approx((apart.norm() + apart.norm()**2 / (2 * penalty)).item())
    f = lambda points: points @ best                        # the penalty does not see y − x
    eps = torch.rand(6, generator=draw, dtype=torch.float64)
    assert gans.gradient_penalty(f, x, y, eps) == pytest.approx((best.norm().item() - 1)**2)
    for _ in range(200):
        other = best + torch.randn(4, generator=draw, dtype=torch.float64) * 10**-torch.rand(1, generator=draw)
        one_sided = other @ apart - penalty * (other.norm() - 1).clamp(min=0)**2
        assert score(other, apart, penalty) <= score(best, apart, penalty) + 1e-12
        assert one_sided <= score(best, apart, penalty) + 1e-12


def test_no_signs_of_clipped_weights_are_steeper_than_all_alike():
    """A critic 2 → 3 → 1 in all 2^9 ways, at many points."""
    widths, c = (2, 3, 1), 0.7
    x = torch.randn((300, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steepest = 0.0
    for signs in itertools.product((-c, c), repeat=9):
        W1, W2 = torch.tensor(signs[:6]).double().view(3, 2), torch.tensor(signs[6:]).double().view(1, 3)
        phi = torch.where(x @ W1.T > 0, 1.0, 0.2).double()
        steepest = max(steepest, ((W2 * phi) @ W1).norm(dim=1).max().item())
    assert steepest == pytest.approx(my_clipped_slope(widths, c))


@pytest.mark.parametrize("seed", range(10))
def test_the_product_of_the_norms_bounds_the_slope_and_the_norm_of_the_product_does_not(seed):
    draw = torch.Generator().manual_seed(seed)
    Ws = [torch.randn(shape, generator=draw) for shape in ((4, 3), (5, 4), (1, 5))]
    assert slopes._steepest(*Ws) <= my_lipschitz_bound(*Ws)
    tent = [torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2), torch.full((1, 1), 2.0)]
    assert my_lipschitz_bound(*tent) == pytest.approx(4)        # and 0.8 |x| · 2 is 1.6 |x|, as exercise 5 says
    assert slopes._steepest(*tent) == pytest.approx(1.6) and (tent[2] @ tent[1] @ tent[0]).item() == 0


def test_power_steps_come_to_the_norm_from_below():
    draw = torch.Generator().manual_seed(1)
    W, u = torch.randn((20, 30), generator=draw, dtype=torch.float64), torch.randn(20, generator=draw).double()
    found = []
    for _ in range(400):
        sigma, u = my_power_step(W, u)
        found.append(sigma.item())
    exact = np.linalg.norm(W.numpy(), 2)
    assert np.diff(found).min() > -1e-12 and max(found) <= exact * (1 + 1e-12)
    assert found[0] < 0.9 * exact and found[-1] == pytest.approx(exact, rel=1e-9)


def right_option(question):
    """(the right option, why), as it appears when that one is chosen."""
    choice, verdict = question().children[1:]
    for words in choice.options:
        choice.value = words
        if "<b>Yes.</b>" in verdict.value:
            return words, verdict.value
    raise AssertionError("no option is right")


def test_the_questions_know_their_answers():
    steepest = [slope_by_svd((2, 128, 128, 1), torch.tensor(c)) for c in (0.01, 0.1)]
    right, why = right_option(ch06.predict_clip)
    assert right == "it grows 1000 times" and steepest[1] / steepest[0] == pytest.approx(1000, rel=1e-5)
    assert "from 0.023 to 23." in why and steepest == pytest.approx([0.02317, 23.17], rel=1e-3)
    assert my_clipped_slope((2, 128, 128, 1), 0.035) == pytest.approx(1, rel=0.01)         # as exercise 2 says

    right, why = right_option(ch06.predict_vanishing)
    draw, factors = torch.Generator().manual_seed(0), []
    for _ in range(20):
        h, layers = torch.randn(128, generator=draw), []
        for _ in range(8):
            W = 0.01 * torch.randn((128, 128), generator=draw).sign()
            phi = torch.where(W @ h > 0, 1.0, 0.2)
            h = phi * (W @ h)
            layers.append((W, phi))
        g = torch.randn(128, generator=draw)
        lengths = [g.norm()]
        for W, phi in reversed(layers):
            g = W.T @ (phi * g)
            lengths.append(g.norm())
        factors.append((lengths[5] / lengths[0]).item())
    five = np.mean(factors)
    assert right == "0.08" and five**0.2 == pytest.approx(0.08, abs=0.005)
    assert "After five layers 4 millionths" in why and round(five * 1e6) == 4

    right, why = right_option(ch06.predict_flat)
    flat = lambda x: 0 * x.sum(1)
    x = torch.randn((3, 2), generator=draw)
    assert right == "10" and 10 * gans.gradient_penalty(flat, x, -x, torch.rand(3, generator=draw)) == 10

    right, why = right_option(ch06.predict_product)
    tent = [torch.tensor([[1.0], [-1.0]]) / 2**0.5, torch.ones(1, 2) / 2**0.5, torch.ones(1, 1)]
    assert right.startswith("at most 1") and "f is 0.4 |x|" in why
    assert slopes._steepest(*tent) == pytest.approx(0.4) and my_lipschitz_bound(*tent) == pytest.approx(1)
    assert right_option(ch06.predict_gap)[0].startswith("either")


# --- known mistakes: (answer, words that its message has and no other has) -------------------------------------------

def round_with(slope=lambda x, z, theta: x.mean(0) - z.mean(0) - theta,
               to=lambda w, g, lr, c: torch.clip(w + lr * g, -c, c), batches=None, last=lambda w, c: w,
               learns=lambda theta, w, lr, c, old: theta + lr * w):
    """The round of which a part is another; batches: which ones, from x, z and n_critic."""
    batches = batches or (lambda x, z, n: [(x[t], z[t]) for t in range(n)])

    def play(w, theta, x, z, n_critic, lr, c):
        old = w
        for data, noise in batches(x, z, n_critic):
            w = to(w, slope(data, noise, theta), lr, c)
        w = last(w, c)
        return w, learns(theta, w, lr, c, old)
    return play


def learns_too_often(w, theta, x, z, n_critic, lr, c):
    """Right but for G, which makes a step in each turn of the loop."""
    for t in range(n_critic):
        w = torch.clip(w + lr * (x[t].mean(0) - z[t].mean(0) - theta), -c, c)
        theta = theta + lr * w
    return w, theta


def in_place(w, theta, x, z, n_critic, lr, c):
    for t in range(n_critic):
        w += lr * (x[t].mean(0) - z[t].mean(0) - theta)
        w.clamp_(-c, c)
    return w, theta + lr * w


ROUND = [
    (lambda *a: my_wgan_round(*a)[::-1], "the two are exchanged: return w first"),
    (round_with(to=lambda w, g, lr, c: torch.clip(w, -c, c) + lr * g), "you clip *before* the step"),
    (round_with(to=lambda w, g, lr, c: w + lr * torch.clip(g, -c, c)), "you clip the *gradient*"),
    (round_with(to=lambda w, g, lr, c: torch.clip(w + lr * torch.clip(g, -c, c), -c, c)),
     "you clip the gradient as well as the weights"),
    (round_with(to=lambda w, g, lr, c: w + lr * g), "you do not clip"),
    (round_with(to=lambda w, g, lr, c: w + lr * g, last=lambda w, c: torch.clip(w, -c, c)), "you clip once, after"),
    (round_with(to=lambda w, g, lr, c: torch.minimum(w + lr * g, c)), "you clip above only"),
    (round_with(to=lambda w, g, lr, c: torch.clip(w + lr * g, 0 * c, c)), "you clip to [0, c]"),
    (round_with(to=lambda w, g, lr, c: (w + lr * g) * min(1, c / (w + lr * g).norm())), "the *length* ‖w‖ down to c"),
    (round_with(to=lambda w, g, lr, c: nn.functional.normalize(w + lr * g, dim=0) * c), "the *length* ‖w‖ down to c"),
    (round_with(to=lambda w, g, lr, c: torch.copysign(c, w + lr * g)), "every weight becomes c or −c"),
    (round_with(to=lambda w, g, lr, c: torch.clip(w - lr * g, -c, c)), "the critic goes down"),
    (round_with(to=lambda w, g, lr, c: torch.clip(w + g, -c, c)), "lr is missing from the critic's step"),
    (round_with(batches=lambda x, z, n: list(zip(x, z, strict=True))[:n + 1]), "one step too many: t = 0"),
    (round_with(batches=lambda x, z, n: list(zip(x, z, strict=True))[:n - 1]), "one step too few"),
    (round_with(batches=lambda x, z, n: [(x[0], z[0])]), "your critic makes one step only"),
    (round_with(batches=lambda x, z, n: zip(x, z, strict=True)), "takes all the batches there are"),
    (round_with(batches=lambda x, z, n: [(x[0], z[0])] * n), "each step takes the first batch again"),
    (round_with(batches=lambda x, z, n: [(x.reshape(-1, x.shape[-1]), z.reshape(-1, z.shape[-1]))] * n),
     "all of the batches together"),
    (round_with(slope=lambda x, z, theta: (x - z - theta).sum(0)), "w: you add the batch up"),
    (round_with(slope=lambda x, z, theta: (x - z).mean(0)), "theta does not come in: you take the noise"),
    (round_with(slope=lambda x, z, theta: x.mean(0) - (x + theta).mean(0)), "your fakes are G(x)"),
    (round_with(slope=lambda x, z, theta: x.mean(0)), "the fakes are missing"),
    (round_with(slope=lambda x, z, theta: -z.mean(0) - theta), "the data are missing"),
    (round_with(slope=lambda x, z, theta: x.mean(0) + z.mean(0) + theta), "you add the means"),
    (round_with(slope=lambda x, z, theta: x.mean() - (z + theta).mean()), "mean over the coordinates as well"),
    (round_with(learns=lambda theta, w, lr, c, old: theta - lr * w), "your G goes the wrong way"),
    (round_with(learns=lambda theta, w, lr, c, old: theta + lr * old), "as it was *before* the round"),
    (round_with(learns=lambda theta, w, lr, c, old: theta + w), "lr is missing from G's step"),
    (round_with(learns=lambda theta, w, lr, c, old: torch.clip(theta + lr * w, -c, c)), "you clip the generator, too"),
    (round_with(learns=lambda theta, w, lr, c, old: theta), "G has made no step"),
    (learns_too_often, "after *each* step of the critic"), (in_place, "changes its argument w in place"),
    (lambda *a: my_wgan_round(*a)[0], "where two tensors are due, w and theta"),
    (lambda *a: tuple(2 * part for part in my_wgan_round(*a)),
     "the answer is w = [0.25] and theta = [0.125], and yours is w = [0.5]"),
    (lambda w, theta, x, z, n_critic, lr, c: my_wgan_round(w, theta, x, z, 7, lr, c), "stops with IndexError"),
]


def gradient_at(place):
    """Its gradients, (B, …), by the critic's own formula: no autograd behind it."""
    def slope(critic, x, y, eps):
        at = place(x, y, eps.reshape(-1, *[1] * (x.ndim - 1)))
        at = at.detach().requires_grad_()
        return torch.autograd.grad(critic(at).sum(), at, create_graph=True)[0]
    return slope


def on_the_way(x, y, eps):
    return y + eps * (x - y)


def penalty_at(place):
    return penalty_of(lambda s: (s - 1).square().mean(), place)


def penalty_of(f, place=on_the_way):
    """A function of the (B,) norms."""
    return lambda critic, x, y, eps: f(gradient_at(place)(critic, x, y, eps).flatten(1).norm(dim=1))


def by_gradient(f):
    return lambda critic, x, y, eps: f(gradient_at(on_the_way)(critic, x, y, eps))


def last_dim_eps(critic, x, y, eps):
    at = (eps * x + (1 - eps) * y).requires_grad_()
    slope, = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def no_graph(critic, x, y, eps):
    at = on_the_way(x, y, eps.reshape(-1, *[1] * (x.ndim - 1))).requires_grad_()
    slope, = torch.autograd.grad(critic(at).sum(), at)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def half_detached(critic, x, y, eps):
    norms = gradient_at(on_the_way)(critic, x, y, eps).flatten(1).norm(dim=1)
    return ((norms - 1) * (norms - 1).detach()).mean()


def own_eps(critic, x, y, eps):
    return my_gradient_penalty(critic, x, y, torch.rand(len(x)))


def backwards(critic, x, y, eps):
    at = on_the_way(x, y, eps.reshape(-1, *[1] * (x.ndim - 1))).requires_grad_()
    critic(at).sum().backward(create_graph=True)
    return (at.grad.flatten(1).norm(dim=1) - 1).square().mean()


def freezes(critic, x, y, eps):
    critic.requires_grad_(False)
    return my_gradient_penalty(critic, x, y, eps)


def changes(critic, x, y, eps):
    with torch.no_grad():
        critic.weight.mul_(1.5)
    return my_gradient_penalty(critic, x, y, eps)


def secant(critic, x, y, eps):
    rise = (critic(x) - critic(y)).abs()
    return (rise / torch.linalg.vector_norm((x - y).flatten(1), dim=1) - 1).pow(2).mean()


PENALTY = [
    (penalty_at(lambda x, y, e: x), "those at the *real* samples"),
    (penalty_at(lambda x, y, e: y), "those at the *fakes*"),
    (penalty_at(lambda x, y, e: (x + y) / 2), "you take the middle"),
    (penalty_at(lambda x, y, e: x + e * (y - x)), "eps and 1 − eps are exchanged"),
    (penalty_at(lambda x, y, e: x + e * y), "your x̂ is x + eps·y"),
    (penalty_at(lambda x, y, e: on_the_way(x, y, e[0])), "one eps for the whole batch"),
    (penalty_at(lambda x, y, e: on_the_way(x, y, e.mean())), "one eps for the whole batch"),
    (last_dim_eps, "along the *last* dimension"),
    (by_gradient(lambda s: (s.norm() - 1)**2), "your norm is over the whole *batch*"),
    (by_gradient(lambda s: (torch.linalg.vector_norm(s) - 1).pow(2).mean()), "your norm is over the whole *batch*"),
    (by_gradient(lambda s: (s.flatten(1).norm(dim=0) - 1).square().mean()), "over the batch, for each pixel"),
    (by_gradient(lambda s: (s.norm(dim=1) - 1).square().mean()), "is not over all numbers of a sample"),
    (by_gradient(lambda s: (s.norm(dim=-1) - 1).square().mean()), "is not over all numbers of a sample"),
    (by_gradient(lambda s: (s.flatten(2).norm(dim=2) - 1).square().mean() if s.ndim == 4 else (s - 1).square().mean()),
     "is not over all numbers of a sample"),
    (by_gradient(lambda s: (s.abs() - 1).square().mean()), "is not over all numbers of a sample"),
    (by_gradient(lambda s: ((s / len(s)).flatten(1).norm(dim=1) - 1).square().mean()), "B times too small"),
    (by_gradient(lambda s: (s.square().flatten(1).sum(1) - 1).square().mean()), "your norms are squared"),
    (penalty_of(lambda s: (s * s).mean()), "the −1 is missing"),
    (penalty_of(lambda s: nn.functional.relu(s - 1).pow(2).mean()), "yours is one-sided"),
    (penalty_of(lambda s: s.mean() - 1), "would then be a *reward*"),
    (penalty_of(lambda s: nn.functional.l1_loss(s, torch.ones_like(s))), "you take |‖∇f‖ − 1|"),
    (penalty_of(lambda s: (s.mean() - 1).pow(2)), "you take the mean of the slopes first"),
    (penalty_of(lambda s: (s - 1).pow(2).sum()), "you add the batch up. It is a mean, over"),
    (penalty_of(lambda s: (s - 1).pow(2)), "a number for each sample"),
    (penalty_of(lambda s: 10 * (s - 1).pow(2).mean()), "λ = 10 is in it already"),
    (penalty_of(lambda s: (s - 1).pow(2).mean() / 2), "you halve it"),
    (penalty_of(lambda s: (s - 1).norm() / len(s)**0.5), "a root of it all"),
    (penalty_of(lambda s: (s + 1).pow(2).mean()), "the sign of 1 is turned"),
    (penalty_of(lambda s: s), "these are the slopes"), (penalty_of(lambda s: s.mean()), "this is the mean slope"),
    (by_gradient(lambda s: (s.flatten(1).norm(p=1, dim=1) - 1).pow(2).mean()), "adds up absolute values"),
    (by_gradient(lambda s: (s.flatten(1).norm(p=math.inf, dim=1) - 1).pow(2).mean()), "is the largest entry"),
    (by_gradient(lambda s: (s.flatten(1).sum(1) - 1).pow(2).mean()), "as they are, and signs cancel"),
    (secant, "this is the slope of the *chord*"),
    (no_graph, "create_graph=True; .detach()"),
    (lambda *a: my_gradient_penalty(*a).detach(), "create_graph=True; .detach()"),
    (half_detached, "but not its gradient in the critic's weights"), (own_eps, "draws random numbers of its own"),
    (backwards, "your function calls .backward()"), (freezes, "changes the critic, or freezes"),
    (changes, "changes the critic, or freezes"), (lambda *a: my_gradient_penalty(*a).item(), "a Python number (float)"),
    (lambda *a: 7 * my_gradient_penalty(*a), "eps = ¼ the answer is 4, and yours is 28"),
    (lambda *a: my_gradient_penalty(*a)[None], "the numbers are right, but for x (3, 2, 2, 3), y"),
]


def along(length):
    """δ/‖δ‖ times a length, from ‖δ‖ and λ."""
    def w(x, y, penalty):
        d = torch.mean(x, 0) - torch.mean(y, 0)
        return nn.functional.normalize(d, dim=0) * length(d.norm(), penalty)
    return w


def of_means(f):
    return lambda x, y, penalty: f(x.mean(0) - y.mean(0), penalty)


def root_of_cubic(gap, penalty):
    """4λ(k³ − k) = gap."""
    roots = np.roots([4 * penalty.item(), 0, -4 * penalty.item(), -gap.item()])
    return float(roots[np.abs(roots.imag) < 1e-9].real.max())


BEST = [
    (along(lambda g, p: 1), "your w has length 1"), (lambda *a: -my_best_critic(*a), "so w points from y to x"),
    (lambda x, y, p: my_best_critic(y, x, p), "so w points from y to x"),
    (along(lambda g, p: 1 - g / (2 * p)), "the gap pulls w *longer*"),
    (along(lambda g, p: 1 + g / p), "a ½ is missing"),
    (along(lambda g, p: 1 + g / (4 * p)), "your overshoot is half"),
    (along(lambda g, p: 1 + g / 2), "λ does not come in"),
    (along(lambda g, p: 1 + g / 20), "You have put in λ = 10"),
    (along(lambda g, p: 1 + 1 / (2 * p)), "with a force of ‖δ‖, not 1"),
    (along(lambda g, p: 1 + 2 * p / g), "Your fraction is turned over"),
    (along(lambda g, p: 1 + p * g / 2), "grows with λ"),
    (of_means(lambda d, p: d / (2 * p)), "this is the best w under λ‖w‖²"),
    (along(lambda g, p: 1 + g**2 / (2 * p)), "with ‖δ‖ to the power 1"),
    (of_means(lambda d, p: d * (1 + d.norm() / (2 * p))), "your direction is not of length 1"),
    (of_means(lambda d, p: d), "the gradient of the gap"), (along(root_of_cubic), "best under (‖w‖² − 1)²"),
    (of_means(lambda d, p: torch.sign(d)), "you weigh each coordinate by itself"),
    (of_means(lambda d, p: torch.sign(d) + d / (2 * p)), "you weigh each coordinate by itself"),
    (of_means(lambda d, p: d / d.norm(p=1) * (1 + d.norm(p=1) / (2 * p))), "your norm adds up absolute values"),
    (lambda x, y, p: of_means(lambda d, q: d / d.norm() * (1 + d.norm() / (2 * q)))(len(x) * x, len(y) * y, p),
     "you add the samples up"),
    (lambda x, y, p: my_best_critic(x, 0 * y, p), "y does not come in"),
    (of_means(lambda d, p: 1 + d.norm() / (2 * p)), "this is the length of the best w"),
    (of_means(lambda d, p: d.norm() + d.norm()**2 / (2 * p)), "this is the gap of the best w"),
    (of_means(lambda d, p: d.norm()), "the gap of a critic of slope 1"),
    (along(lambda g, p: 3),
     "λ = 10 your w is [1.8, 2.4]. Its gap minus λ times its penalty is -25, and w = [0.75, 1] gets 5.625"),
    (of_means(lambda d, p: d * torch.nan), "your answer holds NaN"),
    (lambda *a: my_best_critic(*a)[None], "the numbers are right, but for x (5, 3), y (4, 3)"),
    (lambda *a: my_best_critic(*a).tolist(), "a list of"),
]


def each(norm):
    return lambda *Ws: math.prod(float(norm(W)) for W in Ws)


def norms(f):
    return lambda *Ws: f(torch.tensor([np.linalg.norm(W.numpy(), 2) for W in Ws]))


singular = torch.linalg.svdvals

BOUND = [
    (each(torch.linalg.norm), "you take the Frobenius norm"),
    (each(lambda W: W.norm(2)), "you take the Frobenius norm"),
    (lambda *Ws: math.sqrt(sum(float(W.square().sum()) for W in Ws)), "the root of the squares of *all* weights"),
    (norms(lambda s: s.sum()), "you add the norms"), (norms(lambda s: s.mean()), "you take the mean of the norms"),
    (norms(lambda s: s.max()), "you take the largest norm"), (norms(lambda s: s), "these are the norms of the three"),
    (norms(lambda s: s[0] * s[1]), "the last layer is missing"),
    (norms(lambda s: s[1] * s[2]), "the first layer is missing"),
    (each(torch.max), "the largest entry of each"), (each(lambda W: W.abs().max()), "the largest |entry| of each"),
    (norms(lambda s: s.prod() * 0.2**2), "you put LeakyReLU's 0.2 in for both"),
    (norms(lambda s: s.prod() * 0.2**3), "you put 0.2 in three times"),
    (norms(lambda s: s.prod() * 0.2), "there is a 0.2"),
    (norms(lambda s: s.prod() * 1.44), "you count 1 + 0.2"),
    (norms(lambda s: s.prod() * 0.36), "you count (1 + 0.2)/2"),
    (lambda W1, W2, W3: torch.linalg.matrix_norm(W3 @ W2 @ W1, 2), "a network without activations"),
    (lambda W1, W2, W3: (W3 @ (W2 @ W1)).norm(), "a network without activations"),
    (each(lambda W: singular(W).min()), "the *smallest* singular value"),
    (each(lambda W: torch.linalg.matrix_norm(W, "nuc")), "you add up the singular values"),
    (each(lambda W: singular(W).prod()), "you multiply all singular values"),
    (each(lambda W: singular(W).mean()), "the mean of the singular values"),
    (each(lambda W: torch.linalg.eigvalsh(W.T @ W).max()), "your norms are squared"),
    (norms(lambda s: s.prod().sqrt()), "you take a root. Singular"),
    (each(lambda W: torch.linalg.matrix_norm(W, math.inf)), "the largest row sum of |W|"),
    (each(lambda W: torch.linalg.matrix_norm(W, 1)), "the largest column sum of |W|"),
    (each(lambda W: W.norm(dim=1).max()), "you take the longest row"),
    (norms(lambda s: (1 / s).prod()), "yours is turned over: you have divided"),
    (lambda *Ws: 1.0, "you return 1, which is the bound once"),
    (norms(lambda s: 0.39 * s.prod()),
     "your answer is 1.56. That is no bound: there are x where this network has the slope 1.6"),
    (norms(lambda s: 2 * s.prod()), "the answer is 4, and yours is 8"),
    (lambda *Ws: torch.zeros(2), "for W1 (4, 3), W2 (5, 4), W3 (1, 5) your answer has shape (2,)"),
    (norms(lambda s: s.prod()[None]), "the numbers are right, but for W1 (4, 3)"),
]


def unit(a):
    return a / torch.linalg.vector_norm(a)


def power(first=lambda W, u: unit(u @ W), second=lambda W, v: unit(W @ v),
          sigma=lambda W, u, v, old: (u * (W @ v)).sum()):
    def step(W, u):
        v = first(W, u)
        new = second(W, v)
        return sigma(W, new, v, u), new
    return step


def repeated(steps):
    def play(W, u):
        for _ in range(steps):
            sigma, u = my_power_step(W, u)
        return sigma, u
    return play


def raw(W, u):
    new = W @ W.T @ u
    return new @ W @ (W.T @ u), new


def wide_only(W, u):
    """Right where W is square: Wᵀ has as many rows."""
    sigma, new = my_power_step(W, u)
    return (sigma, new) if W.shape[0] == W.shape[1] else (2 * sigma, new)


over = lambda length: power(lambda W, u: u @ W / length(u @ W), lambda W, v: W @ v / length(W @ v))
with_sigma = lambda f: power(sigma=f)
by_svd = lambda W, u, v, old: torch.tensor(np.linalg.norm(W.numpy(), 2))

POWER = [
    (lambda W, u: my_power_step(W, u)[::-1], "the two are exchanged: return sigma first"),
    (raw, "nothing is normalised"),
    (power(first=lambda W, u: u @ W), "v is not normalised"), (power(second=lambda W, v: W @ v), "u is not normalised"),
    (power(first=lambda W, u: unit(W @ u)), "you multiply by W twice"),
    (power(lambda W, u: unit(W @ u), lambda W, v: unit(v @ W), lambda W, u, v, old: v @ W @ u), "you take Wu first"),
    (power(lambda W, u: unit(W @ u), lambda W, v: unit(v @ W)), "you take Wu first"),
    (power(second=lambda W, v: unit(v @ W)), "you multiply by Wᵀ twice"),
    (power(first=lambda W, u: u), "the half step with Wᵀ is missing"),
    (lambda W, u: (my_power_step(W, u)[0], u), "your u is the old one"),
    (lambda W, u: (my_power_step(W, u)[0], u / u.norm()), "the old u at length 1"),
    (lambda W, u: (my_power_step(W, u)[0], unit(W.T @ u)), "you return v"),
    (with_sigma(lambda W, u, v, old: old @ W @ v), "you take the *old* u. With"),
    (with_sigma(lambda W, u, v, old: unit(old) @ W @ v), "you take the *old* u, at length 1"),
    (with_sigma(lambda W, u, v, old: (W @ v).square().sum()), "this is σ², the eigenvalue"),
    (with_sigma(lambda W, u, v, old: (W.T @ (W @ v)).norm()), "this is ‖WᵀWv‖"),
    (with_sigma(lambda W, u, v, old: (W @ v).norm().sqrt()), "you take a root. uᵀWv"),
    (with_sigma(by_svd), "this is the exact σ"), (with_sigma(lambda W, u, v, old: u @ W @ u), "this is uᵀWu"),
    (with_sigma(lambda W, u, v, old: v @ W @ u), "this is vᵀWu"),
    (with_sigma(lambda W, u, v, old: (u @ W).norm()), "this is ‖Wᵀu‖ with the new u"),
    (with_sigma(lambda W, u, v, old: torch.linalg.norm(W)), "this is the Frobenius norm"),
    (with_sigma(lambda W, u, v, old: -(W @ v).norm()), "the sign is turned: σ"),
    (with_sigma(lambda W, u, v, old: 1 / (W @ v).norm()), "and σ is asked"),
    (with_sigma(lambda W, u, v, old: W / (W @ v).norm()), "you return W/σ"),
    (repeated(2), "you make two steps"), (repeated(50), "you go on until nothing changes"),
    (over(lambda a: a @ a), "divide by the *squared* length"), (over(lambda a: a.norm(p=1)), "the sum of |entries|"),
    (over(lambda a: a.norm(p=math.inf)), "divide by the largest |entry|"),
    (wide_only, "right for square matrices, but for W (3, 5) sigma must be"),
    (lambda W, u: my_power_step(W, 0 * u), "your answer holds NaN"),
    (lambda W, u: my_power_step(W, u)[0], "where two tensors are due, sigma and u"),
    (lambda W, u: tuple(3 * part for part in my_power_step(W, u)),
     "W = ((3, 0), (4, 0)) and u = (1, 0) the answer is sigma = 5 and u = [0.6, 0.8]"),
]

def layers(f, total=math.prod):
    """A number for each layer from n_in, n_out and c, and what is made of them."""
    return lambda widths, c: total([f(a, b, float(c)) for a, b in itertools.pairwise(widths)])


def other_c(f):
    """The right slope times a function of c and the number of layers."""
    return lambda widths, c: my_clipped_slope(widths, c) * f(c, len(widths) - 1)


def three_layers(widths, c):
    return my_clipped_slope(widths[:3], c)


CLIP = [
    (other_c(lambda c, L: c), "you count a layer for each width"),
    (other_c(lambda c, L: 1 / c), "you count the hidden"), (other_c(lambda c, L: c / c**L), "c comes in once"),
    (lambda widths, c: my_clipped_slope(widths, 1), "c does not come"),
    (layers(lambda a, b, c: c), "this is c^L: one weight"), (layers(lambda a, b, c: a * c), "its largest row sum"),
    (layers(lambda a, b, c: b * c), "the factor √d is missing"),
    (lambda widths, c: my_clipped_slope((1, *widths[1:]), c), "the factor √d is missing"),
    (layers(lambda a, b, c: a * b * c), "all the weights of a layer added up"),
    (layers(lambda a, b, c: c * a**0.5), "the slope of *one* unit"),
    (layers(lambda a, b, c: c * b**0.5), "one input only"),
    (layers(lambda a, b, c: c * (a**0.5 + b**0.5)), "with *random* signs"),
    (layers(lambda a, b, c: c * max(a, b)), "you take max(n_in, n_out)"),
    (layers(lambda a, b, c: c * (a + b) / 2), "the mean of n_in and n_out"),
    (layers(lambda a, b, c: c * (a * b)**0.5, sum), "you add the layers"),
    (layers(lambda a, b, c: c * (a * b)**0.5, max), "the largest of the layers"),
    (layers(lambda a, b, c: c * c * a * b, lambda s: sum(s)**0.5), "the root of the number of all weights"),
    (other_c(lambda c, L: 0.2**(L - 1)), "LeakyReLU's 0.2 in. With"),
    (other_c(lambda c, L: 0.2**L), "and even for the"),
    (layers(lambda a, b, c: 2 * c * (a * b)**0.5), "you take 2c"),
    (layers(lambda a, b, c: c * c * a * b), "this is the square of it"),
    (layers(lambda a, b, c: c * (a * b)**0.5, lambda s: math.prod(s)**0.5), "there is a root too much"),
    (lambda widths, c: my_clipped_slope(widths, 1.0)**(-1 / (len(widths) - 1)), "the c at which the slope can reach 1"),
    (lambda widths, c: 1.0, "you return 1. Clipping"),
    (three_layers, "right for two layers, but for widths = (3, 7, 5, 4, 1) and c = 0.3"),
    (lambda widths, c: 3 * my_clipped_slope(widths, c),
     "widths = (4, 3, 1) and c = ½ the answer is 1.5, and yours is 4.5"),
    (lambda widths, c: my_clipped_slope(widths, c).sqrt()[None], "your answer has shape (1,); it must be ()"),
    (lambda widths, c: my_clipped_slope(widths, c.mul_(2)), "changes its argument c in place"),
]


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch06.check_wgan_round, ROUND), (ch06.check_gradient_penalty, PENALTY), (ch06.check_best_critic, BEST),
    (ch06.check_lipschitz_bound, BOUND), (ch06.check_power_step, POWER), (ch06.check_clipped_slope, CLIP)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)


def test_the_arguments_of_the_penalty_are_what_the_exercise_says():
    """Slopes on both sides of 1, or the two variants could not be told apart; and as wide as the batch is large."""
    given = penalties._images()
    norms = penalty_of(lambda s: s)(**given)
    assert norms.min() < 0.9 and norms.max() > 1.05 and given["x"].shape[-1] == len(given["eps"])
