"""The GAN's losses, its step, the game in closed form, toys: against torch and scipy's own, quadrature, autograd."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2, norm
from sklearn.metrics import hinge_loss
from torch import nn
from torch.distributions import Bernoulli
from torch.testing import assert_close

from course_lib.datasets import batches, gaussian_mixture_1d, grid, ring
from course_lib.gans import (
    HINGE,
    LEAST_SQUARES,
    MINIMAX,
    NON_SATURATING,
    Losses,
    density_along,
    density_of_generator,
    dirac_eigenvalues,
    dirac_field,
    dirac_gan,
    game_value,
    game_value_of_logits,
    gan_step,
    gradient_reversal,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    minimax_discriminator_loss,
    minimax_generator_loss,
    minimax_generator_slope,
    modes_hit,
    non_saturating_generator_loss,
    non_saturating_generator_slope,
    optimal_discriminator,
    optimal_logits,
)
from course_lib.networks import mlp_discriminator, mlp_generator
from course_lib.training import adam, train

exactly = {"rtol": 0, "atol": 0}
PAIRS = {"minimax": MINIMAX, "non-saturating": NON_SATURATING, "least squares": LEAST_SQUARES, "hinge": HINGE}
each_pair = pytest.mark.parametrize("losses", PAIRS.values(), ids=PAIRS)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- the losses ------------------------------------------------------------------------------------------------------

def bce(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


REAL, FAKE = 3 * normal(7), 3 * normal(5, seed=1)       # batches of two sizes


def test_the_discriminator_s_loss_is_the_two_cross_entropies():
    assert_close(minimax_discriminator_loss(REAL, FAKE), bce(REAL, 1.0) + bce(FAKE, 0.0))
    assert minimax_discriminator_loss(0 * REAL, 0 * FAKE).item() == pytest.approx(2 * math.log(2))


def test_the_generator_s_losses_are_the_two_logs():
    D = Bernoulli(logits=FAKE)
    assert_close(minimax_generator_loss(FAKE), D.log_prob(0 * FAKE).mean())
    assert_close(non_saturating_generator_loss(FAKE), -D.log_prob(0 * FAKE + 1).mean())


def test_the_minimax_game_has_sum_zero():
    fake = FAKE.clone().requires_grad_()
    g, d = (torch.autograd.grad(loss, fake)[0]
            for loss in (minimax_generator_loss(fake), minimax_discriminator_loss(REAL, fake)))
    assert_close(g, -d)


@pytest.mark.parametrize("a, b, c", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (0.3, -0.5, 2.0)])
def test_the_least_squares_are_torch_s(a, b, c):
    wanted = 0.5 * F.mse_loss(REAL, torch.full_like(REAL, b)) + 0.5 * F.mse_loss(FAKE, torch.full_like(FAKE, a))
    assert_close(least_squares_discriminator_loss(REAL, FAKE, a, b), wanted)
    assert_close(least_squares_generator_loss(FAKE, c), 0.5 * F.mse_loss(FAKE, torch.full_like(FAKE, c)))
    if (a, b, c) == (0, 1, 1):
        assert_close(least_squares_discriminator_loss(REAL, FAKE), wanted)
        assert_close(least_squares_generator_loss(FAKE), least_squares_generator_loss(FAKE, c))


def test_the_hinge_is_scikit_learn_s():
    real, fake = normal(8), normal(8, seed=1)
    both = hinge_loss([1] * 8 + [-1] * 8, torch.cat([real, fake]).numpy())              # a mean over 16
    assert hinge_discriminator_loss(real, fake).item() == pytest.approx(2 * both)
    assert hinge_discriminator_loss(REAL, FAKE).item() == pytest.approx(
        np.maximum(0, 1 - REAL.numpy()).mean() + np.maximum(0, 1 + FAKE.numpy()).mean())
    assert hinge_generator_loss(FAKE).item() == pytest.approx(-FAKE.numpy().mean())


@pytest.mark.parametrize("loss, wanted", [
    (minimax_discriminator_loss, math.log(0.3 / 0.2)), (least_squares_discriminator_loss, 0.3 / 0.5),
    (partial(least_squares_discriminator_loss, a=-1.0), (0.3 - 0.2) / 0.5), (hinge_discriminator_loss, 1.0)])
def test_the_best_answer_at_a_point(loss, wanted):      # where 3 of 10 real samples lie and 2 of 10 fakes
    at = lambda l: loss(torch.cat([tensor(l).repeat(3), normal(7)]), torch.cat([tensor(l).repeat(2), normal(8)])).item()
    assert minimize_scalar(at, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x == pytest.approx(
        wanted, abs=1e-5)


def test_least_squares_against_the_best_discriminator_is_a_chi_square():
    # On three points: p_r, p_g as shares of 20 samples; D* = (p_r − p_g)/(p_r + p_g) with a, b, c = −1, 1, 0.
    n_r, n_g = np.array([10, 6, 4]), np.array([2, 6, 12])
    best = (n_r - n_g) / (n_r + n_g)
    over = lambda n: torch.tensor(np.repeat(best, n))
    value = least_squares_generator_loss(over(n_g), 0.0) + least_squares_generator_loss(over(n_r), 0.0)
    p_r, p_g = n_r / 20, n_g / 20
    assert value.item() == pytest.approx(0.5 * ((2 * p_g - (p_r + p_g)) ** 2 / (p_r + p_g)).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_any_logit_has_a_finite_loss_and_the_right_slope(dtype, l):
    D, not_D = (1 / (1 + math.exp(min(s * l, 700))) for s in (-1, 1))
    log_D, log_not_D = min(0, l) - math.log1p(math.exp(-abs(l))), min(0, -l) - math.log1p(math.exp(-abs(l)))
    one, other = torch.tensor([l], dtype=dtype, requires_grad=True), torch.tensor([l], dtype=dtype, requires_grad=True)
    for loss, value, slopes in [
            (minimax_discriminator_loss(one, other), -log_D - log_not_D, (-not_D, D)),
            (minimax_generator_loss(one), log_not_D, (-D,)), (non_saturating_generator_loss(one), -log_D, (-not_D,)),
            (least_squares_discriminator_loss(one, other), ((l - 1) ** 2 + l**2) / 2, (l - 1, l)),
            (least_squares_generator_loss(one), (l - 1) ** 2 / 2, (l - 1,)),
            (hinge_discriminator_loss(one, other), max(0, 1 - l) + max(0, 1 + l), (-float(l < 1), float(l > -1))),
            (hinge_generator_loss(one), -l, (-1.0,))]:
        assert loss.shape == () and loss.item() == pytest.approx(value, rel=1e-6, abs=1e-30)
        for slope, wanted in zip(torch.autograd.grad(loss, (one, other)[:len(slopes)]), slopes, strict=True):
            assert slope.item() == pytest.approx(wanted, rel=1e-6, abs=1e-30)


def test_the_two_slopes_are_autograd_s_and_add_up_to_minus_1():
    l = torch.linspace(-30, 30, 121, dtype=torch.float64).requires_grad_()
    D = l.detach().sigmoid()
    for slope, loss, wanted in ((minimax_generator_slope, minimax_generator_loss, -D),
                                (non_saturating_generator_slope, non_saturating_generator_loss, D - 1)):
        by_autograd, = torch.autograd.grad(len(l) * loss(l), l)
        assert_close(slope(l), by_autograd, rtol=1e-12, atol=0)
        assert_close(slope(l.detach()), wanted, rtol=0, atol=1e-15)
    assert_close(minimax_generator_slope(l) + non_saturating_generator_slope(l), torch.full_like(l, -1))
    early = tensor(-12.0)                               # D is sure that this is a fake: who still learns?
    assert -1e-5 < minimax_generator_slope(early) < 0 and non_saturating_generator_slope(early) < -0.99999
    assert minimax_generator_slope(torch.zeros(2, 3)).shape == (2, 3)


def test_the_pairs_are_what_their_names_say():
    assert [*PAIRS.values()] == [
        (minimax_discriminator_loss, minimax_generator_loss),
        (minimax_discriminator_loss, non_saturating_generator_loss),
        (least_squares_discriminator_loss, least_squares_generator_loss),
        (hinge_discriminator_loss, hinge_generator_loss)]


@each_pair
@pytest.mark.parametrize("shape", [(), (4, 1), (1, 4), (2, 1, 3, 3), (0,)])
def test_logits_of_other_shapes_are_refused(losses, shape):
    bad, good = torch.zeros(shape), torch.zeros(4)
    told = "is empty" if shape == (0,) else rf"has shape \({', '.join(map(str, shape))}\); it must be \(any,\)"
    for name, call in [("real_logits", lambda: losses.discriminator(bad, good)),
                       ("fake_logits", lambda: losses.discriminator(good, bad)),
                       ("fake_logits", lambda: losses.generator(bad))]:
        with pytest.raises(ValueError, match=f"{name} {told}"):
            call()


# --- the step --------------------------------------------------------------------------------------------------------

def players(seed=0):
    torch.manual_seed(seed)
    return mlp_generator(2, 3, (5,), activation=nn.Tanh).double(), mlp_discriminator(3, (6,), nn.Tanh).double()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@each_pair
@pytest.mark.parametrize("k", [1, 3])
def test_gan_step_is_algorithm_1_by_hand(losses, k):
    x = [normal(n, 3, seed=n) for n in (4, 6, 5)][:k]
    (G, D), (by_hand_G, by_hand_D) = players(), players()
    torch.manual_seed(1)
    for batch in x:                                     # the discriminator: k times, each on its own batch and noise
        fake = by_hand_G(torch.randn(len(batch), 2, dtype=torch.float64)).detach()
        loss_D = losses.discriminator(by_hand_D(batch), by_hand_D(fake))
        for p, g in zip(by_hand_D.parameters(), torch.autograd.grad(loss_D, by_hand_D.parameters()), strict=True):
            p.data -= 0.5 * g
    z = torch.randn(len(x[-1]), 2, dtype=torch.float64)
    loss_G = losses.generator(by_hand_D(by_hand_G(z)))  # the generator: new noise, the new discriminator
    for p, g in zip(by_hand_G.parameters(), torch.autograd.grad(loss_G, by_hand_G.parameters()), strict=True):
        p.data -= 0.3 * g
    torch.manual_seed(1)
    rest = iter([*x, normal(9, 3)])
    log = gan_step(rest, G, D, torch.optim.SGD(G.parameters(), 0.3), torch.optim.SGD(D.parameters(), 0.5), k, losses)
    assert len(next(rest)) == 9                         # k batches taken, no more
    assert log.keys() == {"D", "G"} and not (log["D"].requires_grad or log["G"].requires_grad)
    assert_close((log["D"], log["G"]), (loss_D.detach(), loss_G.detach()))
    assert_close((weights(G), weights(D)), (weights(by_hand_G), weights(by_hand_D)))
    assert all(p.grad is None for p in [*G.parameters(), *D.parameters()])


def test_by_default_a_step_is_one_of_each_and_does_not_saturate():
    ends = []
    for options in ({}, {"k": 1, "losses": NON_SATURATING}, {"losses": MINIMAX}):
        G, D = players()
        torch.manual_seed(1)
        gan_step(iter([normal(4, 3)]), G, D, *(torch.optim.SGD(m.parameters(), 0.5) for m in (G, D)), **options)
        ends.append(weights(G))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_a_step_without_a_discriminator_s_is_refused():
    G, D = players()
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        gan_step(iter([normal(4, 3)]), G, D, adam(G), adam(D), k=0)


@each_pair
def test_a_gan_moves_its_samples_to_the_data(losses):
    torch.manual_seed(0)
    x, G, D = 3 + 0.5 * torch.randn(2_000, 1), mlp_generator(1, 1, (16,)), mlp_discriminator(1, (16,))
    assert G.sample(1_000).mean().abs() < 1
    step = partial(gan_step, G=G, D=D, opt_G=adam(G, 1e-2, (0.5, 0.9)), opt_D=adam(D, 2e-2, (0.5, 0.9)), losses=losses)
    means = [G.sample(200).mean().item() for _ in train(step, batches(x, 64), 150)]
    assert abs(np.mean(means[100:]) - 3) < 1            # it circles around them


# --- two networks in one ---------------------------------------------------------------------------------------------

def test_gradient_reversal_changes_nothing_forward_and_the_sign_backward():
    x, pull = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    for scale in (1.0, 0.3, 0):
        y = gradient_reversal(x, scale)
        assert torch.equal(y, x)
        assert_close(torch.autograd.grad((pull * y).sum(), x)[0], -scale * pull)
    assert_close(torch.autograd.grad((pull * gradient_reversal(x)).sum(), x)[0], -pull)
    first, = torch.autograd.grad(gradient_reversal(x**3, 2.0).sum(), x, create_graph=True)
    assert_close(torch.autograd.grad(first.sum(), x)[0], -12 * x)                       # and it can be derived again
    with pytest.raises(ValueError, match=r"scale is -1\.0.*turned already"):
        gradient_reversal(x, -1.0)


def test_one_descent_through_the_reversal_is_both_players_step_at_once():
    theta, psi = tensor(0.7).requires_grad_(), tensor(-0.4).requires_grad_()
    path = [torch.cat([theta, psi]).detach()]
    opt = torch.optim.SGD([theta, psi], lr=0.1)
    for _ in range(20):
        opt.zero_grad()
        minimax_discriminator_loss(0 * psi, psi * gradient_reversal(theta)).backward()
        opt.step()
        path.append(torch.cat([theta, psi]).detach())
    assert_close(torch.stack(path), dirac_gan(0.7, -0.4, 0.1, 20))


# --- the game in closed form -----------------------------------------------------------------------------------------

def test_the_optimal_discriminator_is_the_share_of_real_mass():
    p_r, p_g = tensor(0.2, 0.0, 0.5, 0.0, 1e-300), tensor(0.6, 0.3, 0.0, 0.0, 3e-300)
    assert_close(optimal_discriminator(p_r, p_g), tensor(0.25, 0.0, 1.0, 0.5, 0.25))
    assert_close(optimal_logits(p_r.log(), p_g.log()), tensor(-math.log(3), -math.inf, math.inf, 0.0, -math.log(3)))
    p_r, p_g = normal(4, 5).abs(), normal(4, 5, seed=1).abs()
    assert_close(optimal_logits(p_r.log(), p_g.log()).sigmoid(), optimal_discriminator(p_r, p_g))


def test_logits_stay_right_where_densities_underflow():
    far = optimal_logits(tensor(-5_000.0, -800.0), tensor(-4_000.0, -900.0))
    assert far.tolist() == [-1_000.0, 100.0]
    assert optimal_discriminator(tensor(-5_000.0).exp(), tensor(-4_000.0).exp()).item() == 0.5     # 0/0: no evidence


def js(p_r, p_g, low, high):
    """In nats, by quadrature from the definition."""
    def half(p, q):
        f = lambda x: p(x) * math.log(2 * p(x) / (p(x) + q(x))) if p(x) > 0 else 0.0
        return quad(f, low, high, points=np.linspace(low, high, 30), limit=500, epsabs=1e-10)[0] / 2
    return half(p_r, p_g) + half(p_g, p_r)


SWEEP = [((0.0, 1.0), (m, s)) for m in (0.0, 0.5, 2.0, 6.0, 12.0) for s in (0.3, 1.0, 2.0)]


@pytest.mark.parametrize("r, g", SWEEP)
def test_the_value_at_the_optimal_discriminator_is_2_js_minus_2_log_2(r, g):
    x = torch.linspace(-20, 30, 20_001, dtype=torch.float64)
    dens = [gaussian_mixture_1d([m], s) for m, s in (r, g)]
    log_p = [d.log_prob(x[:, None]) for d in dens]
    pdf = lambda m, s: lambda x: math.exp(-((x - m) / s) ** 2 / 2) / (s * math.sqrt(2 * math.pi))
    wanted = 2 * js(pdf(*r), pdf(*g), -20, 30) - 2 * math.log(2)
    logits = optimal_logits(*log_p)
    p = [l.exp() for l in log_p]
    assert game_value_of_logits(*p, logits, dx=50 / 20_000).item() == pytest.approx(wanted, abs=1e-6)
    D = optimal_discriminator(*p)
    if (D < 1).all():
        assert game_value(*p, D, dx=50 / 20_000).item() == pytest.approx(wanted, abs=1e-6)
    for other in (logits + 0.1, 0.9 * logits, 0 * logits, logits.clamp(-1, 1)):          # no other D has a higher value
        assert game_value_of_logits(*p, other, 50 / 20_000) <= game_value_of_logits(*p, logits, 50 / 20_000) + 1e-12


def test_equal_densities_and_separate_ones_are_the_game_s_two_ends():
    p, q = tensor(0, 1, 1, 0, 0, 0, 0), tensor(0, 0, 0, 0, 1, 1, 0)
    p, q = p.double() / 2, q.double() / 2               # by trapezoids of width 1 each has mass 1
    assert game_value(p, p, optimal_discriminator(p, p), 1.0).item() == pytest.approx(-2 * math.log(2))
    assert game_value(p, q, optimal_discriminator(p, q), 1.0).item() == 0                # JS = log 2
    assert game_value_of_logits(p, q, optimal_logits(p.log(), q.log()), 1.0).item() == 0
    assert game_value(p, q, optimal_discriminator(q, p), 1.0).item() == -math.inf        # sure, and wrong


def test_the_value_of_a_discriminator_is_that_of_quadrature():
    x, D = torch.linspace(-12, 12, 4_001, dtype=torch.float64), lambda x: 1 / (1 + np.exp(0.7 - 1.3 * np.sin(x)))
    p_r, p_g = (partial(norm.pdf, loc=m, scale=s) for m, s in ((0, 1), (1, 1.5)))
    wanted = quad(lambda x: p_r(x) * math.log(D(x)) + p_g(x) * math.log(1 - D(x)), -12, 12, epsabs=1e-11)[0]
    on_grid = torch.tensor(p_r(x)), torch.tensor(p_g(x)), torch.tensor(D(x.numpy()))
    assert game_value(*on_grid, 24 / 4_000).item() == pytest.approx(wanted, abs=1e-9)
    assert game_value_of_logits(*on_grid[:2], on_grid[2].logit(), 24 / 4_000).item() == pytest.approx(wanted, abs=1e-9)


def test_the_discriminator_s_loss_estimates_minus_the_value():
    # 200,000 draws of each; 5 standard errors: a false alarm in 6e-7 of seeds.
    real, fake = normal(200_000), 1 + 1.5 * normal(200_000, seed=1)
    logits = lambda x: 0.4 - 0.8 * x
    x = torch.linspace(-20, 20, 8_001, dtype=torch.float64)
    on_grid = (torch.tensor(norm(m, s).pdf(x.numpy())) for m, s in ((0, 1), (1, 1.5)))
    value = game_value_of_logits(*on_grid, logits(x), 40 / 8_000)
    spread = F.logsigmoid(logits(real)).var() + F.logsigmoid(-logits(fake)).var()
    loss = minimax_discriminator_loss(logits(real), logits(fake))
    assert (loss + value).abs() < 5 * (spread / 200_000).sqrt()


@pytest.mark.parametrize("call, message", [
    (lambda p: optimal_discriminator(p, p[:1]), r"p_g has shape \(1,\).*p_r has shape \(3,\)"),
    (lambda p: optimal_discriminator(-p, p), "p_r is below 0 or not finite"),
    (lambda p: optimal_discriminator(p, p / 0), "p_g is below 0 or not finite.*not its log"),
    (lambda p: optimal_logits(p, p[None]), r"log_p_g has shape \(1, 3\)"),
    (lambda p: game_value(p, p, p + 1, 0.1), r"D goes beyond \[0, 1\].*game_value_of_logits"),
    (lambda p: game_value(p, p, p * math.nan, 0.1), r"D goes beyond \[0, 1\]"),
    (lambda p: game_value(p, p, p[:1], 0.1), r"D has shape \(1,\); it must be \(3,\)"),
    (lambda p: game_value(p[None], p[None], p[None], 0.1), r"p_r has shape \(1, 3\)"),
    (lambda p: game_value(p, -p, p, 0.1), "p_g is below 0"),
    (lambda p: game_value_of_logits(p, p, p, 0.0), r"dx is 0\.0"),
    (lambda p: game_value_of_logits(p, p, p[:, None], 0.1), r"D has shape \(3, 1\)"),
])
def test_the_game_refuses_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.full((3,), 0.5))


# --- Dirac-GAN -------------------------------------------------------------------------------------------------------

POINTS = normal(30, seed=3) * 1.5, normal(30, seed=4) * 1.5


def push(field, t, at):
    return [v.item() for v in field(*torch.as_tensor(at, dtype=torch.float64))]


@pytest.mark.parametrize("losses, saturating", [(MINIMAX, True), (NON_SATURATING, False)])
@pytest.mark.parametrize("gamma", [0.0, 0.8])
def test_the_field_is_minus_the_gradient_of_each_player_s_loss(losses, saturating, gamma):
    for i, (t, p) in enumerate(zip(*POINTS, strict=True)):
        theta, psi = t[None].requires_grad_(), p[None].requires_grad_()
        loss_D = losses.discriminator(0 * psi, psi * theta) + (gamma / 2 * psi**2).sum()
        wanted = (-torch.autograd.grad(losses.generator(psi * theta), theta)[0],
                  -torch.autograd.grad(loss_D, psi)[0])
        assert_close(dirac_field(*(v[i] for v in POINTS), gamma, saturating=saturating), (wanted[0][0], wanted[1][0]))
        assert_close([v[i] for v in dirac_field(*POINTS, gamma, saturating=saturating)],  # all points at once
                     [wanted[0][0], wanted[1][0]])


@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize("theta, psi, noise", [(0.7, 1.2, 0.8), (-3.0, 3.0, 1.0), (0.0, -2.0, 0.5), (3.0, 1.0, 3.0)])
def test_instance_noise_is_an_expectation_over_both_samples(theta, psi, noise, saturating):
    mean = lambda f: quad(lambda e: norm.pdf(e) * f(noise * e), -10, 10, epsabs=1e-11, limit=200)[0]
    D = lambda x: 1 / (1 + math.exp(-psi * x))
    to_theta = psi * mean(lambda e: D(theta + e) if saturating else 1 - D(theta + e))
    to_psi = mean(lambda e: e * (1 - D(e))) - mean(lambda e: (theta + e) * D(theta + e))
    found = dirac_field(tensor(theta)[0], tensor(psi)[0], noise=noise, saturating=saturating)
    assert [v.item() for v in found] == pytest.approx([to_theta, to_psi], abs=1e-6)


@pytest.mark.parametrize("start", [(1.0, 1.0), (-0.3, 2.0), (0.1, 0.0)])
def test_the_continuous_game_circles_for_ever(start):
    path = solve_ivp(partial(push, dirac_field), (0, 30), start, rtol=1e-8, atol=1e-10).y
    assert np.hypot(*path) == pytest.approx(np.hypot(*start), rel=1e-5)
    assert (np.diff(np.unwrap(np.arctan2(path[1], path[0]))) < 0).all()                 # and does not stand still


def test_the_game_that_does_not_saturate_is_drawn_in_to_fourth_order_only():
    theta, psi = POINTS
    to_theta, to_psi = dirac_field(theta, psi, saturating=False)
    assert_close(theta * to_theta + psi * to_psi, -theta * psi * (theta * psi / 2).tanh())
    to_theta, to_psi = dirac_field(theta, psi)
    assert_close(theta * to_theta + psi * to_psi, 0 * theta, rtol=0, atol=1e-14)        # the minimax game: not at all


@pytest.mark.parametrize("start", [(1.0, 1.0), (-0.3, 2.0), (0.01, 0.0)])
def test_simultaneous_steps_go_outwards_by_a_known_factor(start):
    path = dirac_gan(*start, lr=0.1, steps=1_000)
    square, D = path.square().sum(1), path.prod(1).sigmoid()
    assert path.shape == (1_001, 2) and path.dtype == torch.float64 and path[0].tolist() == list(start)
    assert_close(square[1:] / square[:-1], 1 + 0.01 * D[:-1].square())
    assert square[-1] > 2 * square[0]


@pytest.mark.parametrize("start", [(1.0, 1.0), (-0.3, 2.0), (0.01, 0.0)])
def test_alternating_steps_stay_near_their_circle(start):
    radius = dirac_gan(*start, lr=0.1, steps=1_500, rule="alternating").norm(dim=1)
    assert radius.min() > 0.94 * radius[0] and radius.max() < 1.06 * radius[0]


@pytest.mark.parametrize("options", [{"gamma": 0.3}, {"gamma": 1.0}, {"noise": 0.8}, {"gamma": 0.3, "noise": 0.5}])
@pytest.mark.parametrize("rule", ["simultaneous", "alternating"])
def test_regularised_steps_come_home(options, rule):
    for saturating in (True, False):
        radius = dirac_gan(1.0, 1.0, 0.2, 400, rule, saturating=saturating, **options).norm(dim=1)
        assert radius[-1] < 1e-3 * radius[0]
        fall = (radius[-1] / radius[200]).log().item() / 200                            # a step, near 0
        slowest = dirac_eigenvalues(**options)[0].real
        assert 0.7 < fall / (0.2 * slowest) < 1.3


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("noise", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("saturating", [True, False])
def test_the_eigenvalues_are_those_of_the_field_s_jacobian(gamma, noise, saturating):
    field = lambda theta, psi: dirac_field(theta, psi, gamma, noise, saturating)
    J = torch.tensor(torch.autograd.functional.jacobian(field, (tensor(0.0)[0], tensor(0.0)[0])))
    c = gamma + noise**2 / 2
    assert_close(J, torch.tensor([[0, 0.5], [-0.5, -c]], dtype=torch.float64))
    found, wanted = (sorted(v, key=lambda l: (round(l.real, 6), l.imag))
                     for v in (dirac_eigenvalues(gamma, noise), torch.linalg.eigvals(J).tolist()))
    assert found == pytest.approx(wanted, abs=1e-7)     # where c = 1 both are one, and LAPACK has half the digits


def test_of_one_step_s_jacobian_only_the_alternating_one_keeps_the_area():
    h, e = 0.4, 1e-5
    for rule, wanted in [("simultaneous", 1 + h**2 / 4), ("alternating", 1.0)]:         # |λ|², for λ is complex
        J = torch.stack([dirac_gan(*at, h, 1, rule)[1] / e for at in ((e, 0.0), (0.0, e))], 1)
        assert torch.linalg.det(J).item() == pytest.approx(wanted, abs=1e-8)
        assert torch.linalg.eigvals(J).abs().square().tolist() == pytest.approx([wanted] * 2, abs=1e-8)


def test_alternating_moves_the_discriminator_first():
    (t, p), = dirac_gan(0.5, 0.0, 0.1, 1, "alternating")[1:].tolist()
    assert p == pytest.approx(-0.5 * 0.1 / 2) and t == pytest.approx(0.5 + 0.1 * p / (1 + math.exp(-0.5 * p)))
    (t, p), = dirac_gan(0.5, 1.0, 0.1, 1, "alternating", saturating=False)[1:].tolist()
    assert p == pytest.approx(1 - 0.05 / (1 + math.exp(-0.5)))
    assert t == pytest.approx(0.5 + 0.1 * p / (1 + math.exp(0.5 * p)))


@pytest.mark.parametrize("change, message", [
    ({"rule": "both"}, "rule is 'both'; it must be one of 'simultaneous', 'alternating'"), ({"lr": 0.0}, r"lr is 0\.0"),
    ({"steps": 0}, "steps is 0"), ({"gamma": -0.1}, r"gamma is -0\.1"), ({"noise": -1}, "noise is -1"),
])
def test_dirac_gan_refuses_what_makes_no_path(change, message):
    with pytest.raises(ValueError, match=message):
        dirac_gan(**({"theta": 1.0, "psi": 1.0, "lr": 0.1, "steps": 3} | change))


def test_dirac_s_field_and_eigenvalues_refuse_too():
    with pytest.raises(ValueError, match=r"psi has shape \(2,\), but theta has shape \(3,\)"):
        dirac_field(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="gamma is -1"):
        dirac_eigenvalues(gamma=-1)


# --- modes and good samples ------------------------------------------------------------------------------------------

def test_modes_hit_counts_by_hand():
    modes = tensor(0.0, 0.0, 10.0, 0.0, 0.0, 10.0).view(3, 2)
    samples = torch.cat([tensor(2.9, 0.0).expand(20, 2), tensor(10.0, 3.0).expand(19, 2),      # 3σ itself is good
                         tensor(0.0, 13.1).expand(30, 2), tensor(math.nan, 0.0).expand(31, 2)])
    hit, good, counts, nearest = modes_hit(samples, modes, sigma=1.0)
    assert (hit, good, counts.tolist(), nearest.tolist()) == (1, 0.39, [20, 19, 0], [20, 19, 30])
    assert modes_hit(samples, modes, 1.0, needed=19).hit == 2 and modes_hit(samples, modes, 1.1).counts[2] == 30
    assert modes_hit(samples[-31:], modes, 1.0) [:2] == (0, 0.0)


@pytest.mark.parametrize("toy, K, sigma", [(ring(), 8, 0.01), (grid(), 25, 0.05)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_perfect_samples_hit_all_modes_and_are_good_to_3_sigma(toy, K, sigma, dtype):
    # P(|ε| ≤ 3) in the plane is 1 − e^(−9/2). 5 standard errors: a false alarm in 6e-7 of seeds, for each of 4.
    x = toy.sample(2_500, torch.Generator().manual_seed(0), dtype)
    hit, good, counts, nearest = modes_hit(x, toy.means, sigma)
    share = 1 - math.exp(-4.5)
    assert hit == K and abs(good - share) < 5 * math.sqrt(share * (1 - share) / 2_500)
    assert counts.shape == (K,) and counts.sum() == round(2_500 * good)
    assert nearest.sum() == 2_500 and (nearest >= counts).all()
    fewer = toy.means[torch.arange(2_500) % 3].to(dtype)
    assert modes_hit(fewer, toy.means, sigma)[:2] == (3, 1.0)
    assert modes_hit(x + 4 * sigma, toy.means, sigma).good < 0.05


@pytest.mark.parametrize("change, message", [
    ({"samples": torch.zeros(5)}, r"samples has shape \(5,\)"), ({"modes": torch.zeros(2, 3)}, r"modes.*\(any, 2\)"),
    ({"sigma": 0.0}, r"sigma is 0\.0"), ({"needed": 0}, "needed is 0"), ({"samples": torch.zeros(0, 2)}, "one sample"),
])
def test_modes_hit_refuses_what_cannot_be_counted(change, message):
    with pytest.raises(ValueError, match=message):
        modes_hit(**({"samples": torch.zeros(5, 2), "modes": torch.zeros(2, 2), "sigma": 1.0} | change))


# --- the density of a generator --------------------------------------------------------------------------------------

Z = torch.linspace(-8, 8, 4_001, dtype=torch.float64)
P_Z = torch.tensor(norm.pdf(Z.numpy()))
EDGES = torch.linspace(-6, 6, 121, dtype=torch.float64)


def cells(cdf):
    return torch.tensor(np.diff(cdf(EDGES.numpy())) / 0.1)


MAPS = {    # G, and P(G(z) ≤ x) for z ~ N(0, 1)
    "affine": (lambda z: 1.5 - 0.7 * z, norm(1.5, 0.7).cdf),
    "cubic": (lambda z: z + z**3, np.vectorize(lambda x: norm.cdf(brentq(lambda z: z + z**3 - x, -9, 9)))),
    "square": (lambda z: z**2, chi2(1).cdf),
    "folded": (lambda z: z.abs() - 2, lambda x: 1 - 2 * norm.cdf(-np.maximum(x + 2, 0))),
    "bend": (lambda z: z.clamp(-1.03, 0.52), lambda x: np.where(x < -1.03, 0, np.where(x < 0.52, norm.cdf(x), 1))),
    "constant": (lambda z: 0 * z + 0.25, lambda x: (x > 0.25).astype(float)),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_density_of_a_generator_has_the_cells_of_its_closed_form(name):
    G, cdf = MAPS[name]
    p = density_of_generator(G, Z, P_Z, EDGES)
    assert_close(p, cells(cdf), rtol=0, atol=2e-3)      # next to a fold, where p is infinite, it is the least exact
    assert (0.1 * p.sum()).item() == pytest.approx(cdf(np.array([6.0]))[0] - cdf(np.array([-6.0]))[0], abs=1e-5)
    if name in ("affine", "cubic"):
        assert_close(p, cells(cdf), rtol=0, atol=2e-5)


def test_the_density_of_a_generator_is_no_friend_of_symmetry():
    z = torch.linspace(0, 30, 6_001, dtype=torch.float64)
    p = density_of_generator(lambda z: 2 - z, z, 1.004 * (-z).exp(), EDGES)             # its mass is scaled to 1
    assert_close(p, cells(lambda x: np.exp(np.minimum(x - 2, 0))), rtol=0, atol=1e-5)
    at_an_edge = density_of_generator(lambda z: 0 * z + EDGES[70], Z, P_Z, EDGES)
    assert_close(0.1 * at_an_edge, torch.eye(120, dtype=torch.float64)[70])             # it counts to the cell above


def test_where_three_noises_share_an_x_their_densities_add_up():
    G, slope = lambda z: z**3 - 3 * z, lambda z: 3 * z**2 - 3
    p, centres = density_of_generator(G, Z, P_Z, EDGES), (EDGES[1:] + EDGES[:-1]) / 2
    for x in (-5.05, -1.05, 0.05, 1.25, 4.45):          # away from the folds at x = ±2
        roots = np.roots([1, 0, -3, -x])
        real = roots[np.abs(roots.imag) < 1e-9].real
        assert len(real) == (3 if abs(x) < 2 else 1)
        wanted = (norm.pdf(real) / np.abs(slope(real))).sum()
        assert p[(centres - x).abs().argmin()].item() == pytest.approx(wanted, rel=5e-3)


def test_the_density_of_a_network_is_the_histogram_of_its_samples():
    # 200,000 samples in 40 cells, 5 standard errors each: a false alarm in 2e-5 of seeds.
    torch.manual_seed(2)
    G = mlp_generator(1, 1, (16, 16), prior="uniform", activation=nn.Tanh)
    with torch.no_grad():
        G.body[0].weight *= 4
        G.body[2].weight *= 3
    z = torch.linspace(-1, 1, 4_001)
    edges = torch.linspace(*(f(G(z[:, None])).item() for f in (torch.min, torch.max)), 41) * 1.001
    p = density_of_generator(G, z, torch.full_like(z, 0.5), edges)
    share = p * edges.double().diff()
    assert (G(z[:, None]).diff(dim=0) > 0).any() and (G(z[:, None]).diff(dim=0) < 0).any()       # not monotone
    assert share.sum().item() == pytest.approx(1, abs=1e-6)
    counts = torch.histogram(G.sample(200_000, torch.Generator().manual_seed(0))[:, 0], edges).hist.double()
    error = (share * (1 - share) / 200_000).sqrt()
    assert ((counts / 200_000 - share).abs() < 5 * error + 1e-6).all()


def test_density_along_is_the_change_of_variables():
    x, p = density_along(MAPS["affine"][0], Z, P_Z)
    assert_close(x, 1.5 - 0.7 * Z)
    assert_close(p, torch.tensor(norm(1.5, 0.7).pdf(x.numpy())))
    x, p = density_along(MAPS["cubic"][0], Z, P_Z)
    assert_close(p, P_Z / (1 + 3 * Z**2))
    assert torch.trapezoid(p, x).item() == pytest.approx(1, abs=1e-5)
    x, p = density_along(lambda z: z**2, Z[Z > 0.1], P_Z[Z > 0.1])                       # half of the mass at each x
    assert_close(2 * p, torch.tensor(chi2(1).pdf(x.numpy())))
    assert density_along(lambda z: 0 * z, Z, P_Z)[1].isinf().all()
    with torch.no_grad():
        assert not any(t.requires_grad for t in density_along(mlp_generator(1, 1).double(), Z, P_Z))


@pytest.mark.parametrize("change, message", [
    ({"z": Z[:, None]}, r"z has shape \(4001, 1\)"), ({"p_z": P_Z[:5]}, r"p_z has shape \(5,\)"),
    ({"z": -Z}, "z must rise"), ({"edges": EDGES.flip(0)}, "edges must rise"), ({"edges": EDGES[:1]}, "edges must"),
    ({"p_z": 2 * P_Z}, "p_z has mass 2 on z"), ({"z": Z / 10, "p_z": P_Z}, r"mass 0\.1 .*widen z"),
    ({"p_z": P_Z * math.nan}, "mass nan"), ({"G": lambda z: z[:, 0]}, r"G\(z\) has shape \(4001,\).*\(4001, 1\)"),
    ({"p_z": P_Z + 0.1 * torch.sin(40 * Z)}, "must be a density"),
])
def test_the_density_refuses_what_has_none(change, message):
    given = {"G": lambda z: z, "z": Z, "p_z": P_Z, "edges": EDGES} | change
    with pytest.raises(ValueError, match=message):
        density_of_generator(**given)
    if not {"edges", "G"} & change.keys() and "shape" in message:
        with pytest.raises(ValueError, match=message):
            density_along(given["G"], given["z"], given["p_z"])


def test_density_along_wants_a_column():
    with pytest.raises(ValueError, match=r"G\(z\) has shape \(4001,\)"):
        density_along(lambda z: z[:, 0], Z, P_Z)


def test_own_losses_can_take_the_pairs_place():
    chi_square = Losses(partial(least_squares_discriminator_loss, a=-1.0), partial(least_squares_generator_loss, c=0.0))
    G, D = players()
    log = gan_step(iter([normal(4, 3)]), G, D, adam(G), adam(D), losses=chi_square)
    assert log["D"].isfinite() and log["G"].isfinite()
