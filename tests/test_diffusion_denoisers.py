"""Denoisers: exact ones against Tweedie's formula and quadrature, guidance by hand, networks as denoisers; the bound.

That a mixture's score is the gradient of its log density is tested in test_datasets_toy.py.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from course_lib.datasets import GaussianMixture, gaussian_mixture_1d
from course_lib.diffusion import (
    PREDICTS,
    Schedule,
    as_denoiser,
    exact_denoiser,
    guided,
    mixture_mean,
    noised,
    parts,
    posterior,
    score_of,
    step_weight,
    variational_bound,
)

LINE = gaussian_mixture_1d([-1.0, 0.5, 2.0], [0.2, 0.6, 0.1], [0.3, 0.5, 0.2])
PLANE = GaussianMixture([[-1.0, 0.0], [0.5, 1.0], [1.0, -1.0]], [0.3, 0.2, 0.5], [0.2, 0.3, 0.5])
SCHEDULE = Schedule.linear(50)
exactly = {"rtol": 0, "atol": 0}
to_8_digits = {"rtol": 1e-8, "atol": 1e-8}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- exact denoisers -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("t", [1, 10, 50])
@pytest.mark.parametrize("x", [-1.1, 0.3])
def test_the_noised_density_and_the_exact_denoiser_are_the_integrals(t, x):
    """q(x_t) = ∫ p(x_0) q(x_t|x_0) dx_0, and E[x_0|x_t] = ∫ x_0 p(x_0) q(x_t|x_0) dx_0/q(x_t)."""
    signal, sigma = SCHEDULE.alpha_bar[t].sqrt().item(), SCHEDULE.variance[t].sqrt().item()
    bell = lambda x, m, s: math.exp(-((x - m) / s) ** 2 / 2) / s / math.sqrt(2 * math.pi)
    p = lambda x0: sum(w * bell(x0, m, s) for m, s, w in ((-1.0, 0.2, 0.3), (0.5, 0.6, 0.5), (2.0, 0.1, 0.2)))
    mass, first = (quad(lambda x0, k=k: x0**k * p(x0) * bell(x, signal * x0, sigma), -5, 6, limit=200,
                        points=[-1, 0.5, 2, x / signal] if abs(x / signal) < 5 else [-1, 0.5, 2], epsabs=1e-12)[0]
                   for k in (0, 1))
    at = torch.tensor([[x]], dtype=torch.float64)
    assert noised(LINE, SCHEDULE, t).log_prob(at).exp().item() == pytest.approx(mass, rel=1e-7)
    assert exact_denoiser(LINE, SCHEDULE)(at, torch.tensor([t])).item() == pytest.approx(first / mass, rel=1e-6)


def test_at_time_0_nothing_is_noised_and_nothing_to_denoise():
    found, x = noised(PLANE, SCHEDULE, 0), normal(4, 2)
    for name in ("means", "stds", "weights"):
        assert_close(getattr(found, name), getattr(PLANE, name), rtol=1e-15, atol=0)
    assert_close(exact_denoiser(PLANE, SCHEDULE)(x, torch.zeros(4, dtype=torch.int64)), x, rtol=1e-12, atol=1e-12)


def test_the_exact_denoiser_is_tweedie_s_formula_with_autograd_s_score():
    x, t = normal(40, 2), torch.arange(40) + 1
    wanted = []
    for i in range(40):
        at = x[i:i + 1].clone().requires_grad_()
        (score,) = torch.autograd.grad(noised(PLANE, SCHEDULE, t[i].item()).log_prob(at).sum(), at)
        wanted.append((x[i] + SCHEDULE.variance[t[i]] * score[0]) / SCHEDULE.alpha_bar[t[i]].sqrt())
    assert_close(exact_denoiser(PLANE, SCHEDULE)(x, t), torch.stack(wanted), **to_8_digits)


def test_the_score_of_the_exact_denoiser_is_that_of_the_noised_density():
    x = normal(7, 2)
    for t in (1, 20, 50):
        found = score_of(exact_denoiser(PLANE, SCHEDULE), SCHEDULE, x, torch.full((7,), t))
        assert_close(found, noised(PLANE, SCHEDULE, t).score(x), rtol=1e-7, atol=1e-7)


def test_the_score_is_minus_the_noise_over_its_size():
    """For any denoiser: −ε̂/√(1−ᾱ), with the ε̂ of its x̂_0."""
    x, t = normal(3, 1, 2, 2), torch.tensor([1, 20, 50])
    eps = parts(x / 3, "x0", x, SCHEDULE, t).eps
    assert_close(score_of(lambda x, t: x / 3, SCHEDULE, x, t), -eps / SCHEDULE.variance[t].sqrt().view(3, 1, 1, 1),
                 **to_8_digits)


def test_each_point_is_denoised_at_its_own_time_and_in_its_own_precision():
    x, t, denoise = normal(5, 2), torch.tensor([1, 10, 20, 40, 50]), exact_denoiser(PLANE, SCHEDULE)
    alone = torch.cat([denoise(x[i:i + 1], t[i:i + 1]) for i in range(5)])
    assert_close(denoise(x, t), alone, rtol=1e-12, atol=1e-12)
    single = denoise(x.float(), t)
    assert single.dtype == torch.float32
    assert_close(single.double(), alone, rtol=1e-4, atol=1e-4)                              # 1/σ² = 25 times 6e-8


def test_far_away_the_nearest_mode_is_all_there_is():
    """No 0/0 where all densities are 0 in float64."""
    found = mixture_mean(LINE, torch.tensor([[1e4]]), torch.ones(1, 1), torch.ones(1, 1))
    k = 0.36 / 1.36                                                                         # the widest mode has it
    assert found.item() == pytest.approx(0.5 + k * (1e4 - 0.5), rel=1e-5)


@pytest.mark.parametrize("t", [-1, 51])
def test_noised_refuses_other_times(t):
    with pytest.raises(ValueError, match=f"t is {t}; it must be from 0 to T = 50"):
        noised(PLANE, SCHEDULE, t)


@pytest.mark.parametrize("x, signal, noise, message", [
    ((3, 1), (3, 1), (3, 1), r"x has shape \(3, 1\); it must be \(any, 2\)"),
    ((3, 2), (3,), (3, 1), r"signal has shape \(3,\); it must be \(3, 1\)"),                # 3 modes: would broadcast
    ((3, 2), (3, 1), (1, 1), r"noise has shape \(1, 1\); it must be \(3, 1\)"),
])
def test_mixture_mean_refuses_shapes_that_would_broadcast(x, signal, noise, message):
    with pytest.raises(ValueError, match=message):
        mixture_mean(PLANE, torch.zeros(x), torch.ones(signal), torch.ones(noise))


# --- guidance --------------------------------------------------------------------------------------------------------

def test_guidance_by_hand():
    with_class, without = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    for w, wanted in ((0.0, [2, 1]), (-1.0, [1, 3]), (1.0, [3, -1]), (3.0, [5, -5]), (-0.5, [1.5, 2])):
        assert guided(with_class, without, w)[0].tolist() == pytest.approx(wanted)
    with pytest.raises(ValueError, match=r"without has shape \(2,\), but with_class has shape \(1, 2\)"):
        guided(with_class, without[0], 1.0)


@pytest.mark.parametrize("predicts", PREDICTS)
def test_guidance_is_one_rule_for_noise_image_and_velocity(predicts):
    x, t, (a, b) = normal(3, 4), torch.tensor([1, 20, 50]), (normal(3, 4, seed=s) for s in (1, 2))
    found = parts(guided(a, b, 2.5), predicts, x, SCHEDULE, t)
    one, other = parts(a, predicts, x, SCHEDULE, t), parts(b, predicts, x, SCHEDULE, t)
    for name in PREDICTS:
        assert_close(getattr(found, name), guided(getattr(one, name), getattr(other, name), 2.5), **to_8_digits)


# --- a network as a denoiser -----------------------------------------------------------------------------------------

class Fake(nn.Module):
    """Answers scale · x plus the label's tenth; keeps what it was asked."""

    null = 4

    def __init__(self):
        super().__init__()
        self.scale, self.asked = nn.Parameter(torch.tensor(0.5, dtype=torch.float64)), []

    def forward(self, *given):
        self.asked.append(given)
        x, _, *y = given
        return self.scale * x + sum(labels[:, None] / 10 for labels in y)


X, T_, Y = normal(3, 2), torch.tensor([1, 20, 50]), torch.tensor([0, 1, 3])


@pytest.mark.parametrize("predicts", PREDICTS)
def test_a_network_s_output_becomes_a_guess_of_the_image(predicts):
    net = Fake()
    found = as_denoiser(net, SCHEDULE, predicts, clip=None)(X, T_)
    assert_close(found, parts(0.5 * X, predicts, X, SCHEDULE, T_).x0)
    assert len(net.asked) == 1 and len(net.asked[0]) == 2                                   # without y: not even None
    assert not found.requires_grad and not as_denoiser(net, SCHEDULE)(X.clone().requires_grad_(), T_).requires_grad


def test_by_default_a_network_predicts_v_and_its_guess_is_clipped_to_images():
    far = 5 * X
    found = as_denoiser(Fake(), SCHEDULE)(far, T_)
    assert_close(found, parts(0.5 * far, "v", far, SCHEDULE, T_).x0.clamp(-1, 1))
    assert found.max() == 1 and found.min() == -1
    found = as_denoiser(Fake(), SCHEDULE, clip=(-0.1, 0.2))(far, T_)
    assert found.max() == 0.2 and found.min() == -0.1


def test_without_guidance_labels_go_through_in_one_pass():
    net = Fake()
    found = as_denoiser(net, SCHEDULE, "x0", Y, clip=None)(X, T_)
    assert_close(found, 0.5 * X + Y[:, None] / 10)
    (asked,) = net.asked
    assert all(torch.equal(a, b) for a, b in zip(asked, (X, T_, Y), strict=True))


@pytest.mark.parametrize("w", [-1.0, 0.5, 4.0])
def test_guidance_asks_once_for_a_batch_twice_as_long(w):
    net = Fake()
    found = as_denoiser(net, SCHEDULE, "x0", Y, w, clip=None)(X, T_)
    assert_close(found, 0.5 * X + (1 + w) * Y[:, None] / 10 - w * 4 / 10)
    ((x, t, y),) = net.asked
    assert torch.equal(x, torch.cat([X, X])) and torch.equal(t, torch.cat([T_, T_]))
    assert y.tolist() == [0, 1, 3, 4, 4, 4] and y.dtype == Y.dtype


def test_what_cannot_be_a_denoiser_is_refused():
    with pytest.raises(ValueError, match="w is 2, but there are no labels y to be guided by"):
        as_denoiser(Fake(), SCHEDULE, w=2)
    with pytest.raises(ValueError, match="predicts is 'noise'"):
        as_denoiser(Fake(), SCHEDULE, "noise")(X, T_)


# --- the bound -------------------------------------------------------------------------------------------------------

def even_in_log_snr(T, first=9.0, last=-9.0):
    """A schedule whose log SNR falls evenly from first to last."""
    alpha_bar = torch.linspace(first, last, T, dtype=torch.float64).sigmoid()
    alpha_bar = torch.cat([alpha_bar.new_ones(1), alpha_bar])
    return Schedule(1 - alpha_bar[1:] / alpha_bar[:-1])


def test_each_term_of_the_bound_is_that_of_torch_distributions():
    """A denoiser of no use, x̂_0 = x_t/2 + 0.1, keeps what it was asked; each term is taken again from that."""
    schedule, x0, asked = Schedule.linear(25), normal(4, 1, 2, 3), []
    guess = lambda x: x / 2 + 0.1
    def denoise(x, t):
        asked.append((x, t))
        return guess(x)
    bound = variational_bound(denoise, schedule, x0, torch.Generator().manual_seed(0))
    a, b = schedule.alpha_bar[-1], schedule.variance[-1]
    prior = kl_divergence(Normal(a.sqrt() * x0, b.sqrt()), Normal(0.0, 1.0)).flatten(1).sum(1)
    assert_close(bound.prior, prior, **to_8_digits)
    assert [t.tolist() for _, t in asked] == [[t] * 4 for t in range(1, 26)] and bound.steps.shape == (4, 24)
    for i, (x_t, t) in enumerate(asked[1:]):
        (m, var), (m_hat, _) = (posterior(schedule, x, x_t, t) for x in (x0, guess(x_t)))
        wanted = kl_divergence(Normal(m, var.sqrt()), Normal(m_hat, var.sqrt())).flatten(1).sum(1)
        assert_close(bound.steps[:, i], wanted, **to_8_digits)
    last = Normal(guess(asked[0][0]), schedule.snr[1].rsqrt()).log_prob(x0).flatten(1).sum(1)
    assert_close(bound.reconstruction, -last, **to_8_digits)
    assert_close(bound.total(), prior - last + bound.steps.sum(1), **to_8_digits)


def test_the_bound_draws_x_t_from_q_and_from_its_generator():
    # ε of 25 times, 200 numbers each: mean and variance, 2 z-tests at 5σ, a false alarm in 1e-6 of seeds.
    schedule, x0, found = Schedule.linear(25), normal(100, 2), []
    def denoise(x, t):
        found.append((x - schedule.alpha_bar[t].sqrt()[:, None] * x0) / schedule.variance[t].sqrt()[:, None])
        return x
    first = variational_bound(denoise, schedule, x0, torch.Generator().manual_seed(0)).total()
    eps = torch.cat(found)
    assert abs(eps.mean()) < 5 / math.sqrt(5_000) and abs(eps.var() - 1) < 5 * math.sqrt(2 / 5_000)
    assert torch.equal(first, variational_bound(denoise, schedule, x0, torch.Generator().manual_seed(0)).total())


def test_a_bound_of_one_step_has_no_kl_in_between():
    bound = variational_bound(lambda x, t: 0 * x, Schedule.cosine(1), normal(3, 2))
    assert bound.steps.shape == (3, 0) and bound.total().isfinite().all()
    assert_close(bound.total(), bound.prior + bound.reconstruction)


MU, SIGMA = 0.4, 0.6
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * SIGMA**2)


def expected_bound(T):
    """For N(μ, σ²) with its denoiser, of which E (x_0 − x̂_0)² = 1/(1/σ² + SNR): the bound's mean, by numpy."""
    schedule = even_in_log_snr(T)
    snr, a = schedule.snr[1:].numpy(), schedule.alpha_bar[-1].item()
    error = 1 / (1 / SIGMA**2 + snr)
    prior = 0.5 * (a * (MU**2 + SIGMA**2) - a - math.log(1 - a))
    return prior + 0.5 * ((snr[:-1] - snr[1:]) * error[1:]).sum() + 0.5 * snr[0] * error[0] + 0.5 * math.log(
        2 * math.pi / snr[0])


def test_the_bound_of_one_gaussian_is_that_by_hand_and_above_its_entropy():
    # 5,000 points, 5 standard errors: a false alarm in 6e-7 of seeds.
    schedule, gaussian = even_in_log_snr(20), GaussianMixture([[MU]], SIGMA)
    x0 = gaussian.sample(5_000, torch.Generator().manual_seed(0), torch.float64)
    best, generator = exact_denoiser(gaussian, schedule), torch.Generator().manual_seed(1)
    total = variational_bound(best, schedule, x0, generator).total()
    error = 5 * total.std().item() / math.sqrt(5_000)
    assert abs(total.mean().item() - expected_bound(20)) < error
    assert total.mean().item() - error > ENTROPY


def test_the_bound_gets_tight_as_steps_of_log_snr_get_finer():
    """It is a sum of rectangles above an integral: the gap falls as 1/T, to what the two ends leave (e^−9 each)."""
    gaps = np.array([expected_bound(T) for T in (80, 320, 1280)]) - ENTROPY
    ratio = gaps[:-1] / gaps[1:]
    assert (gaps > 0).all() and (ratio > 3.7).all() and (ratio < 4.5).all()


def test_another_denoiser_than_the_best_costs_nats():
    """With shared draws: a guess that is off by 0.1 loses 0.1²/2 · (SNR of the first step) and more."""
    schedule, gaussian = even_in_log_snr(20), GaussianMixture([[MU]], SIGMA)
    x0, best = gaussian.sample(500, torch.Generator().manual_seed(0), torch.float64), exact_denoiser(gaussian, schedule)
    nats = [variational_bound(d, schedule, x0, torch.Generator().manual_seed(1)).total().mean().item()
            for d in (best, lambda x, t: best(x, t) + 0.1)]
    assert nats[1] - nats[0] > 0.8 * 0.1**2 / 2 * schedule.snr[1].item()


def test_step_weights_add_up_to_the_snr_that_is_lost():
    weight, snr = step_weight(SCHEDULE), SCHEDULE.snr
    assert_close(weight[2:].sum(), (snr[1] - snr[-1]) / 2, **to_8_digits)
