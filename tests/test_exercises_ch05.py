"""Exercises of chapter 05: right answers pass in many forms, and each known mistake is told apart from all others.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, wasserstein_distance
from test_exercises import in_one_line, mistakes, name_only, said

from course_lib import divergences
from course_lib.exercises import ch05

LOG_2 = math.log(2)

# --- right answers; the notebook's own solutions are proved in test_exercises.py --------------------------------------

def my_js(p, q, dx):
    m = (p + q) / 2
    kl = lambda r: (torch.xlogy(r, r) - torch.xlogy(r, m)).sum() * dx
    return (kl(p) + kl(q)) / 2


def my_w1(x, y):
    return (x.sort().values - y.sort().values).abs().mean()


def my_plan(a, b):
    A, B = a.cumsum(0)[:, None], b.cumsum(0)
    return (torch.minimum(A, B) - torch.maximum(A - a[:, None], B - b)).clamp(min=0)


def my_lower_bound(f_x, f_y, x, y):
    z, order = torch.cat([x, y]).sort()
    K = (torch.cat([f_x, f_y])[order].diff() / z.diff()).abs().max()
    return (f_x.mean() - f_y.mean()) / K


def my_w1_gradient(x, y):
    order = y.argsort()
    grad = torch.empty_like(y)
    grad[order] = (y[order] - x.sort().values).sign() / len(y)
    return grad


# --- right answers, written in another way -------------------------------------------------------------------------

def js_by_entropies(p, q, dx):
    """H((p + q)/2) − ½ H(p) − ½ H(q)."""
    H = lambda r: torch.special.entr(r).sum() * dx
    return H((p + q) / 2) - (H(p) + H(q)) / 2


def js_by_the_game(p, q, dx):
    """log 2 + ½ E_p[log D] + ½ E_q[log(1 − D)] at the best D."""
    D = torch.nan_to_num(p / (p + q), nan=0.5)
    return LOG_2 + (torch.xlogy(p, D) + torch.xlogy(q, 1 - D)).sum() * dx / 2


def js_with_masks(p, q, dx):
    m = (p + q) / 2
    at_p, at_q = p > 0, q > 0
    return 0.5 * dx * ((p * (p / m).log())[at_p].sum() + (q * (q / m).log())[at_q].sum())


def js_in_loops(p, q, dx):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        for r in (a, b):
            if r > 0:
                total += r * math.log(2 * r / (a + b)) / 2
    return total * float(dx)


def js_by_functional(p, q, dx):
    m = ((p + q) / 2).clamp(min=1e-30)
    return (F.kl_div(m.log(), p, reduction="sum") + F.kl_div(m.log(), q, reduction="sum")) * dx / 2


def w1_by_assignment(x, y):
    rows, columns = linear_sum_assignment((x[:, None] - y).abs().detach().numpy())
    return (x[rows] - y[columns]).abs().mean()


def w1_by_area(x, y):
    z = torch.cat([x, y]).sort().values
    F_x, F_y = ((sample[:, None] <= z[:-1]).double().mean(0) for sample in (x, y))
    return ((F_x - F_y).abs() * z.diff()).sum()


def w1_in_loops(x, y):
    left, right, total = list(x), list(y), 0
    while left:
        a, b = min(left), min(right)
        left = [v for v in left if v is not a]
        right = [v for v in right if v is not b]
        total = total + abs(a - b)
    return total / len(x)


def plan_by_corner(a, b, copy=torch.clone, demand_first=False):
    """The north-west corner rule. Without the copy, the load is a view, and changes with what it is taken from."""
    supply, demand = a.clone(), b.clone()
    plan, i, j = torch.zeros(len(a), len(b)), 0, 0
    while i < len(a) and j < len(b):
        load = copy(min(supply[i], demand[j]))
        plan[i, j] = load
        if demand_first:
            demand[j] -= load
            supply[i] -= load
        else:
            supply[i] -= load
            demand[j] -= load
        if supply[i] == 0:
            i += 1
        else:
            j += 1
    return plan


def plan_by_differences(a, b):
    corner = torch.minimum(a.cumsum(0)[:, None], b.cumsum(0))
    return F.pad(corner, (1, 0, 1, 0)).diff(dim=0).diff(dim=1)


def plan_by_emd(a, b):
    """Under a strictly convex cost no other plan is the cheapest."""
    i, j = torch.arange(len(a)), torch.arange(len(b))
    return divergences.emd(a, b, (i[:, None] - j).double().square()).plan


def plan_by_linprog(a, b):
    n, m = len(a), len(b)
    sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    x, y = np.linspace(-1, 1, n), np.exp(np.arange(m))
    cost = ((x[:, None] - y)**2).ravel()
    return torch.tensor(linprog(cost, A_eq=sums, b_eq=np.concatenate([a.numpy(), b.numpy()])).x.reshape(n, m))


def plan_by_quantiles(a, b):
    """The grains of 1/64, in order: the k-th of a goes to the k-th of b."""
    places = lambda masses: torch.repeat_interleave((64 * masses).round().long())
    plan = torch.zeros(len(a), len(b))
    return plan.index_put((places(a), places(b)), torch.tensor(1 / 64), accumulate=True)


def bound_over_all_pairs(f_x, f_y, x, y):
    f, z = torch.cat([f_x, f_y]), torch.cat([x, y])
    slopes = (f[:, None] - f).abs() / (z[:, None] - z).abs().fill_diagonal_(1)
    return (f_x.mean() - f_y.mean()) / slopes.max()


def bound_in_loops(f_x, f_y, x, y):
    points = [*zip(x.tolist(), f_x.tolist(), strict=True), *zip(y.tolist(), f_y.tolist(), strict=True)]
    K = max(abs(f - g) / abs(u - v) for u, f in points for v, g in points if u != v)
    return abs(float(f_x.mean() - f_y.mean())) / K


def gradient_by_autograd(x, y):
    y = y.clone().requires_grad_()
    my_w1(x, y).backward()
    return y.grad


def gradient_by_the_library(x, y):
    return of(divergences.wasserstein_1d)(x, y)


def gradient_by_differences(x, y):
    """Both sides, in float64; scipy's W₁."""
    x, y, h = x.double().numpy(), y.double().numpy(), 1e-4
    steps = h * np.eye(len(y))
    return torch.tensor([(wasserstein_distance(x, y + step) - wasserstein_distance(x, y - step)) / (2 * h)
                         for step in steps])


def gradient_by_ranks(x, y):
    partners = x.sort().values[y.argsort().argsort()]
    return torch.where(y > partners, 1 / len(y), -1 / len(y))


def gradient_by_assignment(x, y):
    rows, columns = linear_sum_assignment((y[:, None] - x).square())
    assert (rows == np.arange(len(y))).all()
    return torch.sign(y - x[columns]) / len(y)


RIGHT = [
    (ch05.check_js, my_js), (ch05.check_w1, my_w1), (ch05.check_plan, my_plan),
    (ch05.check_lower_bound, my_lower_bound), (ch05.check_w1_gradient, my_w1_gradient),
    (ch05.check_js, divergences.js), (ch05.check_js, js_by_entropies), (ch05.check_js, js_by_the_game),
    (ch05.check_js, js_with_masks), (ch05.check_js, js_in_loops), (ch05.check_js, js_by_functional),
    (ch05.check_js, lambda p, q, dx: jensenshannon(p, q)**2),
    (ch05.check_js, lambda p, q, dx: (entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2),
    (ch05.check_js, lambda p, q, dx: my_js(p + 1e-12, q + 1e-12, dx)),
    (ch05.check_js, lambda p, q, dx: partial(js_by_entropies)(p.double() * dx, q.double() * dx, 1)),
    (ch05.check_w1, divergences.wasserstein_1d), (ch05.check_w1, w1_by_assignment), (ch05.check_w1, w1_by_area),
    (ch05.check_w1, w1_in_loops),
    (ch05.check_w1, lambda x, y: F.l1_loss(x.sort(descending=True)[0], y.sort(descending=True)[0])),
    (ch05.check_w1, lambda x, y: sum(abs(a - b) for a, b in zip(sorted(x), sorted(y), strict=True)) / len(x)),
    (ch05.check_w1, lambda x, y: torch.dist(x[x.argsort()], y[y.argsort()], p=1) / x.numel()),
    (ch05.check_plan, plan_by_corner), (ch05.check_plan, plan_by_differences), (ch05.check_plan, plan_by_emd),
    (ch05.check_plan, plan_by_linprog), (ch05.check_plan, plan_by_quantiles),
    (ch05.check_plan, lambda a, b: my_plan(b, a).T),
    (ch05.check_lower_bound, bound_over_all_pairs), (ch05.check_lower_bound, bound_in_loops),
    (ch05.check_lower_bound, lambda *given: np.float64(bound_over_all_pairs(*given))),
    (ch05.check_w1_gradient, gradient_by_autograd), (ch05.check_w1_gradient, gradient_by_the_library),
    (ch05.check_w1_gradient, gradient_by_differences), (ch05.check_w1_gradient, gradient_by_ranks),
    (ch05.check_w1_gradient, gradient_by_assignment),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", [*RIGHT[:5], (ch05.check_w1_gradient, gradient_by_autograd)],
                         ids=lambda x: x.__name__)
def test_gradients_are_asked_for_wherever_the_check_is_called(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


# --- what the exercises and their solutions say, against independent answers ------------------------------------------

@pytest.mark.parametrize("seed", range(20))
def test_no_function_certifies_more_than_w1_and_the_potential_certifies_all_of_it(seed):
    x, y, f_x, f_y = torch.randn((4, 7), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    distance = wasserstein_distance(x, y)
    for f in (lambda z, values: values, lambda z, values: z**3, lambda z, values: torch.sin(5 * z)):
        assert my_lower_bound(f(x, f_x), f(y, f_y), x, y).abs() <= distance * (1 + 1e-9)
        assert my_lower_bound(f(x, f_x), f(y, f_y), x, y) == pytest.approx(
            bound_over_all_pairs(f(x, f_x), f(y, f_y), x, y).item())
    mass = torch.full((7,), 1 / 7)
    cost = divergences.transport_cost(x[:, None], y[:, None])
    dual = divergences.kantorovich_dual(mass, mass, cost)
    phi_x, phi_y = (divergences.kantorovich_potential(divergences.transport_cost(z[:, None], y[:, None]), dual.g)
                    for z in (x, y))
    assert my_lower_bound(phi_x, phi_y, x, y) == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_plan_in_order_costs_no_more_than_any_other_wherever_the_points_lie(seed):
    """And W₁ of two samples of n is the case of equal masses 1/n."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(k, generator=generator, dtype=torch.float64) for k in (6, 4))
    x, y = (torch.randn(k, generator=generator, dtype=torch.float64).sort().values for k in (6, 4))
    a, b, cost = a / a.sum(), b / b.sum(), (x[:, None] - y).abs()
    plan = my_plan(a, b)
    assert (plan * cost).sum() == pytest.approx(wasserstein_distance(x, y, a, b), rel=1e-9)
    assert (a[:, None] * b * cost).sum() >= (plan * cost).sum()
    assert (my_plan(a.flip(0), b).flip(0) * cost).sum() >= (a[:, None] * b * cost).sum()      # "the dearest of all"
    dearest = divergences.emd(a, b, -cost)
    assert (my_plan(a.flip(0), b).flip(0) * cost).sum() == pytest.approx(-dearest.value.item(), rel=1e-9)


def option(question):
    return question.children[1].options


QUESTIONS = [ch05.predict_dual, ch05.predict_lines, ch05.predict_noise, ch05.predict_perfect, ch05.predict_samples]


def because(question):
    """(the right option, why), as it appears when that one is chosen."""
    choice, verdict = question().children[1:]
    for words in choice.options:
        choice.value = words
        if "<b>Yes.</b>" in verdict.value:
            return words, verdict.value
    raise AssertionError("no option is right")


def test_the_answers_to_predict_are_those_that_one_computes():
    two, near = divergences.lines_apart(2.0), divergences.lines_apart(0.1)
    assert two.kl == near.kl == torch.inf and two.js == near.js == LOG_2 and (two.w1, near.w1) == (2.0, 0.1)
    assert because(ch05.predict_lines)[0] == "KL and JS stay, W₁ falls"

    x, y = torch.randn((2, 1000), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert not set(x.tolist()) & set(y.tolist())
    many = [wasserstein_distance(*torch.randn((2, 1000), generator=torch.Generator().manual_seed(seed)))
            for seed in range(100)]
    right, why = because(ch05.predict_samples)
    assert right == "JS is log 2, W₁ is near 0" and "about 0.06" in why
    assert np.mean(many) == pytest.approx(0.06, abs=0.005)

    right, why = because(ch05.predict_perfect)
    slope = [torch.autograd.grad(torch.log1p(-torch.sigmoid(l)), l)[0].item()
             for l in (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-5.0, -10.0))]
    assert right == "nearly 0" and slope == pytest.approx([-0.0067, -0.0000454], rel=0.01)
    assert "0.007 at a logit of −5, 0.00005 at −10" in why

    right, why = because(ch05.predict_noise)
    u = np.linspace(-9, 10, 40_001)
    normal = lambda centre, s: np.exp(-((u - centre) / s)**2 / 2)
    js = [jensenshannon(normal(0, s), normal(1, s))**2 for s in (0.25, 0.5, 1)]
    assert right.startswith("it falls") and [f"{v:.2f}" for v in js] == ["0.63", "0.34", "0.11"]
    assert "0.63 at σ = 0.25, 0.34 at σ = 0.5 and 0.11 at σ = 1" in why
    assert because(ch05.predict_dual)[0] == "at most W₁"


# --- known mistakes: (answer, words that its message has and no other has) -----------------------------------------

def kl(p, q, dx):
    return torch.sum(p * (torch.log(p) - torch.log(q))) * dx


def between(mixture, weights=(0.5, 0.5)):
    return lambda p, q, dx: sum(w * kl(r, mixture(p, q), dx) for w, r in zip(weights, (p, q), strict=True))


def middle(p, q):
    return 0.5 * p + 0.5 * q


def turned(p, q, dx):
    m = middle(p, q)
    return F.kl_div(p.log(), m, reduction="sum") * dx / 2 + F.kl_div(q.log(), m, reduction="sum") * dx / 2


def terms(p, q):
    m = middle(p, q)
    return torch.xlogy(p, p / m) / 2 + torch.xlogy(q, q / m) / 2


def naive(p, q, dx):
    m = middle(p, q)
    return (p * (p / m).log() + q * (q / m).log()).sum() / 2 * dx


def overlap_only(p, q, dx):
    both = (p > 0) & (q > 0)
    return naive(p[both], q[both], dx)


def clamped(p, q, dx):
    return my_js(p.clamp(min=1e-2), q.clamp(min=1e-2), dx)


JS = [
    (between(torch.add), "your mixture is p + q"), (kl, "this is KL(p‖q)"),
    (lambda p, q, dx: kl(q, p, dx), "this is KL(q‖p)"),
    (between(lambda p, q: q), "this is ½ KL(p‖q)"), (between(lambda p, q: p), "this is ½ KL(q‖p)"),
    (lambda p, q, dx: (kl(p, q, dx) + kl(q, p, dx)) / 2, "you take the mean of KL(p‖q) and KL(q‖p)"),
    (lambda p, q, dx: ((p - q) * (p.log() - q.log())).sum() * dx, "you add KL(p‖q) and KL(q‖p)"),
    (between(lambda p, q: torch.exp((p.log() + q.log()) / 2)), "the geometric mean"),
    (lambda p, q, dx: between(lambda p, q: (g := (p * q)**0.5) / torch.sum(g * dx))(p, q, dx), "the geometric mean"),
    (between(middle, (1, 0)), "this is KL(p‖m) alone"), (between(middle, (0, 1)), "this is KL(q‖m) alone"),
    (between(middle, (0.5, 0)), "this is ½ KL(p‖m)"), (between(middle, (0, 0.5)), "this is ½ KL(q‖m)"),
    (turned, "your KLs are the wrong way round"),
    (lambda *given: 2 * turned(*given), "your KLs are the wrong way round"),
    (between(middle, (1, 1)), "the ½ is missing"), (lambda *given: 2 * my_js(*given) - math.log(4), "the game's value"),
    (lambda p, q, dx: jensenshannon(p, q, base=2)**2, "your answer is in bits"),
    (lambda *given: between(middle)(*given) / LOG_2, "your answer is in bits"),
    (between(middle, (-0.5, -0.5)), "your JS is negative"),
    (lambda p, q, dx: jensenshannon(p, q), "(scipy's jensenshannon gives it)"),
    (lambda p, q, dx: jensenshannon(p, q, base=2), "this is the root of JS, in bits"),
    (lambda p, q, dx: terms(p, q).sum(), "dx is missing"), (lambda p, q, dx: my_js(p, q, 1), "dx is missing"),
    (lambda p, q, dx: terms(p, q).mean(), "you take the mean over the cells"),
    (lambda p, q, dx: my_js(p * dx, q * dx, dx), "dx comes in twice"),
    (lambda p, q, dx: terms(p, q), "you return a number for each cell"),
    (lambda p, q, dx: terms(p, q) * dx, "what each cell adds"),
    (lambda p, q, dx: torch.log(p * q / middle(p, q)**2).sum() * dx / 2, "not weighed by the densities"),
    (naive, "q = [0, 0, 0.5, 0.5, 0.5, 0.5], dx = 0.5 your answer is nan, and it is 0.3466"),
    (lambda p, q, dx: js_by_functional(p, q, dx) + 0 * ((p + q) / (p + q)).sum(),
     "p = [0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0], q = [0, 0, 0.5, 0.5, 0.5, 0.5, 0, 0], dx = 0.5 your answer is nan"),
    (overlap_only, "You leave out the cells where *one* density is 0"),
    (lambda p, q, dx: naive(p, q, dx).nan_to_num(), "You leave out the cells where *one* density is 0"),
    (clamped, "Clamp nothing, and add no number"),
    (lambda p, q, dx: my_js(p, q, dx) if p.all() else my_js(p, q, dx)[None], "the numbers are right, but for p (6,)"),
    (lambda *given: my_js(*given) * 3, "the answer is 0.03382, and yours is 0.1015"),
    (lambda *given: my_js(*given)[None], "the numbers are right, but for p (7,), q (7,), dx ()"),
    (lambda *given: my_js(*given) * torch.nan, "your answer holds NaN"),
]


def in_bins(share, bins=20):
    """A function of the shares of x and y in bins of one common range."""
    def distance(x, y):
        low, high = (pick(torch.cat([x, y])).item() for pick in (torch.min, torch.max))
        counts = [torch.histc(sample.detach(), bins, low, high) / len(x) for sample in (x, y)]
        return share(*counts, (high - low) / bins)
    return distance


def summed(p, q, width):
    return (p - q).abs().sum()


def row(order):
    """A distance from the differences of the samples, each in its order."""
    return lambda f: lambda x, y: f(order[0](x) - order[1](y))


up, down, as_is = (lambda x: x.sort().values), (lambda x: x.sort(descending=True).values), (lambda x: x)
ordered = row((up, up))


def w2(x, y):
    return ordered(lambda d: torch.sqrt(torch.mean(d * d)))(x, y)


def cheapest_first(x, y):
    """Greedy: the nearest pair, then the nearest of what is left."""
    x, y, total = list(x), list(y), 0
    n = len(x)
    while x:
        i, j = min(((i, j) for i in range(len(x)) for j in range(len(y))), key=lambda p: abs(x[p[0]] - y[p[1]]))
        total = total + abs(x.pop(i) - y.pop(j))
    return total / n


W1 = [
    (F.l1_loss, "you pair x[i] with y[i]"), (row((up, as_is))(lambda d: d.abs().mean()), "sort only one"),
    (row((as_is, up))(lambda d: d.abs().mean()), "sort only one"),
    (lambda x, y: abs(x.mean() - y.mean()), "the difference of the means"),
    (ordered(torch.mean), "the difference of the means"), (lambda x, y: (y - x).mean(), "the difference of the means"),
    (lambda x, y: ordered(torch.mean)(x, y).abs(), "the difference of the means"),
    (lambda x, y: F.mse_loss(up(x), up(y)), "this is the mean *square*, W₂²"), (w2, "root of the mean square: W₂"),
    (lambda x, y: torch.dist(up(x), up(y)), "the Euclidean length"),
    (lambda x, y: w1_by_area(x, y).sqrt(), "you take a root"),
    (ordered(lambda d: d.abs().max()), "the longest route, W_∞"),
    (ordered(lambda d: d.abs().sum()), "you add the lengths up"),
    (ordered(lambda d: d.abs().median()), "the median length"),
    (lambda x, y: (x.median() - y.median()).abs(), "the distance of the medians"),
    (ordered(torch.abs), "the length for each point"),
    (lambda x, y: torch.cdist(x[:, None], y[:, None]).mean(), "the mean distance of all pairs"),
    (lambda x, y: torch.cdist(x[:, None], y[:, None]).min(1).values.mean(), "send each point to the nearest"),
    (lambda x, y: torch.cdist(y[:, None], x[:, None]).min(1).values.mean(), "send each point to the nearest"),
    (lambda x, y: (d := torch.cdist(x[:, None], y[:, None])).min(0)[0].mean() / 2 + d.min(1)[0].mean() / 2,
     "send each point to the nearest"),
    (lambda x, y: (d := torch.cdist(x[:, None], y[:, None])).min(0)[0].mean() + d.min(1)[0].mean(),
     "send each point to the nearest"),
    (lambda x, y: min(abs(a - b) for a in x for b in y), "the nearest pair"),
    (row((up, down))(lambda d: d.abs().mean()), "in opposite directions"),
    (row((down, up))(lambda d: d.abs().mean()), "in opposite directions"),
    (lambda x, y: (torch.argsort(x) - torch.argsort(y)).float().abs().mean(), "argsort gives *places*"),
    (lambda x, y: -my_w1(x, y), "your distance is negative"), (lambda x, y: my_w1(x, y) / 2, "you halve it"),
    (in_bins(summed), "Do you compare counts in bins?"), (in_bins(summed, 7), "Do you compare counts in bins?"),
    (in_bins(lambda p, q, width: (p - q).square().mean(), 50), "Do you compare counts in bins?"),
    (in_bins(lambda p, q, width: divergences.js(p, q, 1.0)), "Do you compare counts in bins?"),
    (in_bins(lambda p, q, width: (p - q).cumsum(0).abs().sum() * width, 50), "Are there bins, or a grid?"),
    (lambda x, y: my_w1(x, y).detach(), "no gradient flows back"),
    (lambda x, y: wasserstein_distance(x.detach(), y.detach()), "a Python number (float64)"),
    (lambda x, y: x.sort() - y.sort(), "your function stops with TypeError"),
    (cheapest_first, "you pair the nearest two, then"),
    (lambda x, y: my_w1(x[:2], y[:2]), "in a small case your function is right"),
    (lambda x, y: my_w1(x, y) * 3, "the answer is 3, and yours is 9"),
    (lambda x, y: my_w1(x, y.data.add_(1)), "changes its argument y in place"),
]


def north_east(a, b):
    return plan_by_corner(a, b.flip(0)).flip(1)


def diagonal(a, b):
    plan = torch.zeros(len(a), len(b))
    for i in range(min(len(a), len(b))):
        plan[i, i] = min(a[i], b[i])
    return plan


def corner(a, b):
    return torch.minimum(a.cumsum(0)[:, None], b.cumsum(0)[None, :])


def spoiled(i, j, mass, also=()):
    """The plan with some mass more at (i, j), and in other places."""
    def answer(a, b):
        plan = plan_by_corner(a, b)
        for row, column, more in [(i, j, mass), *also]:
            plan[row, column] += more
        return plan
    return answer


def unequal(a, b):
    return (torch.minimum(a.cumsum(0)[:, None], b.cumsum(0))
            - torch.maximum(a.cumsum(0)[:, None] - a[:, None], b.cumsum(0) - b))


def largest_first(a, b):
    """Right sums, in the order of the masses of b."""
    order = b.argsort(descending=True)
    plan = torch.zeros(len(a), len(b))
    plan[:, order] = plan_by_corner(a, b[order])
    return plan


def spoils_supply(a, b):
    plan = torch.zeros(len(a), len(b))
    plan[0, 0] = min(a[0], b[0])
    a[0] -= plan[0, 0]
    return plan


PLAN = [
    (torch.outer, "this is a bᵀ"), (lambda a, b: plan_by_corner(a, b).T, "your plan is transposed"),
    (lambda a, b: my_plan(b, a), "your plan is transposed"),
    (lambda a, b: F.normalize(my_plan(a, b), p=1, dim=1), "each of your rows sums to 1"),
    (lambda a, b: F.normalize(my_plan(a, b), p=1, dim=0), "each of your columns sums to 1"),
    (partial(plan_by_corner, copy=lambda load: load), "your load is a *view*"),
    (partial(plan_by_corner, copy=lambda load: load, demand_first=True), "your load is a *view*"),
    (diagonal, "you fill the diagonal only"),
    (lambda a, b: torch.stack([b.clamp(max=mass) for mass in a]), "min(a_i, b_j) for every pair"),
    (north_east, "from the wrong corner"), (lambda a, b: north_east(b, a).T, "from the wrong corner"),
    (lambda a, b: plan_by_corner(a.sort()[0], b.sort()[0]), "you sort the masses"),
    (lambda a, b: plan_by_corner(a.sort()[0].flip(0), b.sort()[0].flip(0)), "you sort the masses"),
    (corner, "you return min(A_i, B_j)"),
    (lambda a, b: F.pad(corner(a, b), (0, 0, 1, 0)).diff(dim=0), "your rows are cumulated over j"),
    (lambda a, b: my_plan(a, b).cumsum(1), "your rows are cumulated over j"),
    (lambda a, b: F.pad(corner(a, b), (1, 0)).diff(dim=1), "your columns are cumulated over i"),
    (unequal, "negative where two intervals lie apart"),
    (lambda a, b: unequal(a, b).abs(), "you take the gap between them for an overlap"),
    (lambda a, b: plan_by_corner(a, b) > 0, "which routes are used, 1 or 0"),
    (lambda a, b: -my_plan(a, b), "the sign is"),
    (spoiled(0, 0, -0.5, [(1, 0, 0.5)]), "plan[0, 0] is -0.25. There is no negative earth"),
    (spoiled(1, 1, 0.125), "plan[1] sums to 0.375, and 0.25 is lying at a[1]: 0.125 too much"),
    (spoiled(2, 1, -0.125), "plan[2] sums to 0.125, and 0.25 is lying at a[2]: 0.125 too little"),
    (spoiled(0, 1, -0.125, [(0, 0, 0.125)]), "plan[:, 0] sums to 0.375, and 0.25 is wanted at b[0]: 0.125 too much"),
    (lambda a, b: a[:, None].expand(len(a), len(b)) / len(b), "plan[:, 0] sums to 0.5, and 0.25 is wanted at b[0]"),
    (lambda a, b: torch.ones(len(a), len(b)) / (len(a) * len(b)), "plan[0] sums to 0.3333, and 0.5 is lying at a[0]"),
    (largest_first, "a[0] sends to b[1], and a[2], which lies after it, to b[0]"),
    (lambda a, b: plan_by_corner(a, b) if len(a) == 3 else largest_first(a, b),
     "0.1094, 0.07812, 0.2969] and b = [0.3281, 0.0625, 0.4375, 0.1719], your sums are right, but two loads cross"),
    (spoils_supply, "changes its argument a in place"),
    (lambda a, b: my_plan(a, b)[None], "the numbers are right, but for a (5,), b (4,)"),
    (lambda a, b: my_plan(a, b).tolist(), "a list of"),
    (lambda a, b: my_plan(a, b) / 0, "your answer holds NaN"),
]


def slopes(f, z):
    table = (f[:, None] - f) / (z[:, None] - z)
    return table[~torch.eye(len(z), dtype=torch.bool)]


def over(K):
    """The gap over K, a function of the values and the points of both samples together, x first."""
    return lambda f_x, f_y, x, y: (f_x.mean() - f_y.mean()) / K(torch.cat([f_x, f_y]), torch.cat([x, y]))


def steepest(f, z):
    return slopes(f, z).abs().amax()


def halves(f, z):
    return zip(f.split(len(f) // 2), z.split(len(z) // 2), strict=True)


def pairs_across(f, z):
    (f_x, x), (f_y, y) = halves(f, z)
    return (f_x[:, None] - f_y[None]) / (x[:, None] - y[None])


def in_order(f, z):
    return f[z.argsort()].diff() / z[z.argsort()].diff()


BOUND = [
    (lambda f_x, f_y, x, y: f_x.mean() - f_y.mean(), "K is missing"),
    (over(lambda f, z: 1 / steepest(f, z)), "you multiply by K"),
    (lambda f_x, f_y, x, y: my_lower_bound(f_y, f_x, y, x), "the sign is turned"),
    (over(lambda f, z: slopes(f, z).amin()), "the sign is turned"),
    (over(lambda f, z: f.abs().max()), "as if ‖f‖ ≤ 1"), (over(lambda f, z: f.square().sum().sqrt()), "as if ‖f‖ ≤ 1"),
    (lambda f_x, f_y, x, y: (f_x.mean() - f_y.mean()) / f_x.abs().max(), "as if ‖f‖ ≤ 1"),
    (lambda f_x, f_y, x, y: (f_x.mean() - f_y.mean()) / f_y.abs().max(), "as if ‖f‖ ≤ 1"),
    (over(lambda f, z: max(steepest(*half) for half in halves(f, z))), "slopes within x and within y only"),
    (over(lambda f, z: min(steepest(*half) for half in halves(f, z))), "slopes within x and within y only"),
    (over(lambda f, z: max(in_order(*half).abs().max() for half in halves(f, z))), "slopes within x and within y only"),
    (over(lambda f, z: pairs_across(f, z).abs().max()), "the slopes from x to y only"),
    (over(lambda f, z: pairs_across(f, z).diagonal().abs().max()), "between x[i] and y[i] only"),
    (over(lambda f, z: slopes(f, z).abs().mean()), "your K is a mean slope"),
    (over(lambda f, z: in_order(f, z).abs().mean()), "your K is a mean slope"),
    (over(lambda f, z: slopes(f, z).abs().median()), "your K is the median slope"),
    (over(lambda f, z: slopes(f, z).abs().min()), "your K is the smallest slope"),
    (over(lambda f, z: slopes(f, z).square().mean().sqrt()), "your K is a root mean square"),
    (over(lambda f, z: slopes(f, z).max()), "your K is the largest *rise*"),
    (over(lambda f, z: in_order(f, z).max()), "your K is the largest *rise*"),
    (over(lambda f, z: (f.diff() / z.diff()).abs().max()), "it is not sorted"),
    (over(lambda f, z: max((g.diff() / u.diff()).abs().max() for g, u in halves(f, z))), "it is not sorted"),
    (over(lambda f, z: (f.sort()[0].diff() / z.sort()[0].diff()).max()), "you sort f and the points, each for itself"),
    (over(lambda f, z: (f.max() - f.min()) / (z.max() - z.min())), "the range of f over the range of the points"),
    (over(lambda f, z: f.max() - f.min()), "your K is the range of f. A"),
    (over(lambda f, z: (f[:, None] - f).abs().max()), "your K is the range of f. A"),
    (lambda f_x, f_y, x, y: my_lower_bound(f_x, f_y, x, y) * len(x), "you add f up in place of taking means"),
    (over(lambda f, z: steepest(f, z)**2), "you divide by K²"),
    (over(lambda f, z: steepest(z, f)), "your slopes are turned over"),
    (lambda f_x, f_y, x, y: steepest(torch.cat([f_x, f_y]), torch.cat([x, y])), "this is K, the largest slope. Now"),
    (lambda f_x, f_y, x, y: wasserstein_distance(x, y), "this is W₁ itself, without f"),
    (lambda f_x, f_y, x, y: F.l1_loss(f_x, f_y) / steepest(torch.cat([f_x, f_y]), torch.cat([x, y])),
     "and then the mean. The samples are not paired"),
    (lambda *given: 2.5 * my_lower_bound(*given), "your answer is 1.667. That is no lower bound: W₁ is 1.5. Divide"),
    (lambda *given: my_lower_bound(*given) / 2, "the answer is 0.6667, and yours is 0.3333"),
    (over(lambda f, z: ((f[:, None] - f) / (z[:, None] - z)).abs().max()), "your answer holds NaN"),
    (lambda *given: my_lower_bound(*given)[None], "the numbers are right, but for f_x (5,), f_y (5,), x (5,), y (5,)"),
]


def pulled(partners, length=torch.sign):
    """length(y_j − partner_j)/n."""
    return lambda x, y: length(y - partners(x, y)) / len(y)


def ranks(y):
    return (y[:, None] > y).sum(1)


def partner(x, y):
    return up(x)[ranks(y)]


def of(distance, argument=1):
    """A gradient by autograd; argument 0 is x, 1 is y."""
    def gradient(*given):
        given = [points.clone().requires_grad_() for points in given]
        return torch.autograd.grad(distance(*given), given[argument])[0]
    return gradient


GRADIENT = [
    (lambda x, y: torch.sign(up(y) - up(x)) / len(y), "right, but stand in sorted order"),
    (lambda x, y: torch.sign(up(x) - up(y)) / len(y), "the sign is turned, and the numbers stand in sorted order"),
    (pulled(partner, lambda d: d.sign() * len(d)), "1/n is missing: W₁"),
    (of(lambda x, y: my_w1(x, y) * len(y)), "1/n is missing: W₁"),
    (lambda x, y: torch.sign(up(y) - up(x)), "stand in sorted order, and 1/n is missing"),
    (lambda x, y: -my_w1_gradient(x, y), "this is the way *down*"),
    (lambda x, y: torch.sign(partner(x, y) - y), "the sign is turned, and 1/n is missing"),
    (lambda x, y: torch.sign(up(y) - up(x))[y.argsort()] / len(y), "your signs stand in the wrong places"),
    (pulled(lambda x, y: up(x)[y.argsort()]), "your signs stand in the wrong places"),
    (pulled(lambda x, y: x[ranks(y)]), "but x is not sorted"), (pulled(lambda x, y: x), "you compare y[j] with x[j]"),
    (of(F.l1_loss), "you compare y[j] with x[j]"), (pulled(lambda x, y: up(x)), "x is sorted and y is not"),
    (pulled(lambda x, y: torch.stack([x[(x - v).abs().argmin()] for v in y])), "with the nearest x"),
    (of(lambda x, y: (x - y[:, None]).abs().min(1).values.mean()), "with the nearest x"),
    (pulled(lambda x, y: x.mean()), "with the mean of x"), (pulled(lambda x, y: x.median()), "with the median of x"),
    (of(lambda x, y: (x[:, None] - y).abs().mean()), "the mean distance of *all pairs*"),
    (of(lambda x, y: (x.mean() - y.mean()).abs()), "the distance of the means"),
    (pulled(partner, lambda d: d), "as large as the distance"),
    (pulled(partner, lambda d: d * len(d)), "as large as the distance"),
    (of(lambda x, y: w2(x, y)**2), "as large as the distance"),
    (lambda x, y: partner(x, y) - y, "as large as the distance"),
    (lambda x, y: (partner(x, y) - y) / len(y), "as large as the distance"),
    (of(my_w1, 0), "this is the gradient in x"), (lambda x, y: -of(my_w1, 0)(x, y), "this is the gradient in x"),
    (lambda x, y: (partner(x, y) - y).abs(), "these are the distances"),
    (lambda x, y: (partner(x, y) - y).abs() / len(y), "what each y adds to W₁"), (my_w1, "this is W₁ itself. Asked"),
    (lambda x, y: 0 * y, "yours is 0 everywhere"), (partner, "these are the partners"),
    (lambda x, y: my_w1_gradient(x, y) * (y > 0), "for n = 9 points each number must be 1/n = 0.1111"),
    (lambda x, y: 2 * my_w1_gradient(x, y), "for n = 9 points each number must be 1/n = 0.1111"),
    (lambda x, y: (y - 0.1).sign() / len(y), "some signs are wrong: in sorted order y["),
    (of(w2), "for n = 9 points each number must be 1/n = 0.1111"),
    (lambda x, y: my_w1_gradient(x, y)[:, None], "the numbers are right, but for x (9,), y (9,)"),
    (lambda x, y: torch.ones(3), "for x (9,), y (9,) your answer has shape (3,)"),
    (lambda x, y: my_w1_gradient(x, y.sort_()[0]), "changes its argument y in place"),
    (lambda x, y: my_w1_gradient(x, y).tolist(), "a list of"),
]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch05.check_js, JS), (ch05.check_w1, W1), (ch05.check_plan, PLAN), (ch05.check_lower_bound, BOUND),
    (ch05.check_w1_gradient, GRADIENT)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)


def test_a_wrong_sign_of_the_gradient_is_shown_at_a_point(capsys):
    """y = 2.5 stands in the eighth place from below, and so does x = 3.4."""
    told = in_one_line(said(ch05.check_w1_gradient, lambda x, y: my_w1_gradient(x, y) * torch.tensor([1.0] * 8 + [-1.0])
                            if len(y) == 9 else my_w1_gradient(x, y), capsys))
    assert "in sorted order y[8] = 2.5 has the place 7, counted from 0, and the x in that place is 3.4." in told


def test_an_answer_with_a_second_look_still_prints_once(capsys):
    def prints(x, y):
        print("x is", tuple(x.shape))
        return in_bins(summed)(x, y)
    told = said(ch05.check_w1, prints, capsys)
    assert told.startswith("x is (2,)\nNot yet: where y lies 100 away your answer is 2, and")
    assert told.count("x is") == 1


@pytest.mark.parametrize("check, answer", RIGHT[1:5], ids=lambda x: x.__name__)
def test_an_answer_that_changes_its_shape_breaks_no_second_look(check, answer, capsys):
    calls = []

    def fickle(*given):
        calls.append(given)
        return 0.9 * answer(*given) if len(calls) < 4 else torch.zeros(0)
    told = in_one_line(said(check, fickle, capsys))
    assert "called once more, your function gives an answer of shape (0,), and before it was (" in told
