"""The forward process: schedules by the papers' numbers, q(x_t|x_0) by a chain of steps, the posterior by Bayes."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.testing import assert_close

from course_lib.diffusion import Schedule, posterior, q_sample
from course_lib.diffusion.schedules import at

KEPT = ("beta", "alpha", "alpha_bar", "variance", "snr")
exactly = {"rtol": 0, "atol": 0}
to_12_digits = {"rtol": 1e-12, "atol": 1e-12}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whole(t, n=3):
    return torch.full((n,), t)


# --- schedules -------------------------------------------------------------------------------------------------------

def test_linear_is_the_paper_s():
    schedule, beta = Schedule.linear(1000), np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(schedule.beta[1:], beta, rtol=1e-13)
    np.testing.assert_allclose(schedule.alpha[1:], 1 - beta, rtol=1e-13)
    np.testing.assert_allclose(schedule.alpha_bar[1:], np.cumprod(1 - beta), rtol=1e-12)    # 1000 roundings of 1e-16
    assert schedule.T == 1000 and all(getattr(schedule, name).shape == (1001,) for name in KEPT)
    assert all(getattr(schedule, name).dtype == torch.float64 for name in KEPT)


def test_index_0_is_the_image_itself():
    for schedule in (Schedule.linear(100), Schedule.cosine(7)):
        assert [getattr(schedule, name)[0].item() for name in KEPT] == [0, 1, 1, 0, math.inf]


@pytest.mark.parametrize("T", [100, 250, 500, 2000, 5000])
def test_alpha_bar_of_linear_is_the_same_at_the_same_share_of_any_T(T):
    # log ᾱ is −Σ β − ½ Σ β² − …: the first sum is an integral but for its ends, the second falls as 1/T. Together they
    # move ᾱ by less than 1/T + 1/1000: 0.011 at T = 100.
    share = np.arange(0, 11)
    apart = Schedule.linear(T).alpha_bar[share * T // 10] - Schedule.linear(1000).alpha_bar[share * 100]
    assert apart.abs().max() < 1 / T + 1 / 1000


@pytest.mark.parametrize("T, s", [(1000, 0.008), (10, 0.008), (50, 0.1)])
def test_cosine_is_equation_17_with_its_clip(T, s):
    f = [math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2 for t in range(T + 1)]
    beta = [min(1 - f[t] / f[t - 1], 0.999) for t in range(1, T + 1)]
    schedule = Schedule.cosine(T, s)
    assert beta[-1] == 0.999 and beta[-2] < 0.999                                           # f(T) is 0
    np.testing.assert_allclose(schedule.beta[1:], beta, rtol=1e-9)                          # 1 − f/f loses some digits
    np.testing.assert_allclose(schedule.alpha_bar[:-1], np.array(f[:-1]) / f[0], rtol=1e-9)     # eq. 17 itself
    assert schedule.alpha_bar[-1].item() == pytest.approx(0.001 * f[-2] / f[0])


@pytest.mark.parametrize("T", [1, 2, 3, 100])
def test_cosine_fits_any_number_of_steps_and_ends_in_noise(T):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = Schedule.cosine(T)
    assert schedule.T == T and schedule.snr[-1] < 0.01


def test_cosine_takes_another_clip():
    with pytest.warns(UserWarning, match="not nearly noise"):
        assert Schedule.cosine(10, largest=0.5).beta.max() == 0.5


@pytest.mark.parametrize("beta", [[1e-15] * 10 + [0.999], [1e-9, 1e-4, 0.3, 0.99, 0.5], [1e-12, 1 - 1e-9]])
def test_variance_and_snr_keep_their_digits(beta):
    schedule, alpha_bar = Schedule(torch.tensor(beta, dtype=torch.float64)), Fraction(1)
    for t, b in enumerate(beta, start=1):
        alpha_bar *= 1 - Fraction(b)                                                        # exact
        assert schedule.variance[t].item() == pytest.approx(float(1 - alpha_bar), rel=1e-14)
        assert schedule.alpha_bar[t].item() == pytest.approx(float(alpha_bar), rel=1e-14)
        assert schedule.snr[t].item() == pytest.approx(float(alpha_bar / (1 - alpha_bar)), rel=1e-14)


def test_linear_of_few_steps_says_what_to_do_instead():
    with pytest.raises(ValueError, match=r"Schedule\.linear\(20, 0\.0001, 0\.02\).*between 0\.005 and 1; it must lie "
                                         r"in \(0, 1\)\. Take T above 20, other ends, or Schedule\.cosine"):
        Schedule.linear(20)
    schedule = Schedule.linear(21)
    assert schedule.T == 21 and schedule.beta[-1].item() == pytest.approx(20 / 21)
    assert Schedule.linear(10, last=0.009).T == 10


@pytest.mark.parametrize("ends", [{"first": 0.0}, {"last": -0.02}, {"first": 1.5}])
def test_linear_refuses_ends_outside_0_and_1(ends):
    with pytest.raises(ValueError, match=r"it must lie in \(0, 1\)"):
        Schedule.linear(1000, **ends)


def test_linear_may_also_fall():
    assert_close(Schedule.linear(100, 0.02, 1e-4).beta[1:].flip(0), Schedule.linear(100).beta[1:], **to_12_digits)


@pytest.mark.parametrize("T", [0, -5, 2.5, "10"])
@pytest.mark.parametrize("make", [Schedule.linear, Schedule.cosine])
def test_a_bad_number_of_steps_is_refused(make, T):
    with pytest.raises(ValueError, match=f"T is {T!r}; it must be an integer of 1 or more"):
        make(T)


@pytest.mark.parametrize("given", [{"s": 0.0}, {"s": -1.0}, {"largest": 1.0}, {"largest": 0.0}])
def test_cosine_refuses_other_settings(given):
    with pytest.raises(ValueError, match=r"s must be above 0, largest in \(0, 1\)"):
        Schedule.cosine(10, **given)


@pytest.mark.parametrize("beta, first, number", [
    ([0.5, 0.0, 0.5], "β_2 = 0", 1), ([1.0, 0.5], "β_1 = 1", 1), ([0.1, 0.2, math.nan], "β_3 = nan", 1),
    ([0.5, -0.1, 2.0], r"β_2 = -0\.1", 2), ([0.5, math.inf], "β_2 = inf", 1),
])
def test_a_bad_beta_is_refused_and_the_first_of_them_named(beta, first, number):
    with pytest.raises(ValueError, match=rf"{number} of {len(beta)} do not, the first of them {first}: take smaller"):
        Schedule(torch.tensor(beta))


@pytest.mark.parametrize("beta, message", [
    (torch.zeros(0), "beta is empty"), (torch.full((2, 3), 0.5), r"beta has shape \(2, 3\); it must be \(any,\)"),
    (torch.tensor(0.5), r"beta has shape \(\)"),
    (torch.tensor([1e-20, 0.999], dtype=torch.float64), "too small to count"),              # 1 − β is 1
    (torch.full((1000,), 0.99), "ends at 0: .*nothing is left"),                            # 1e-2000
])
def test_a_schedule_that_is_none_is_refused(beta, message):
    with pytest.raises(ValueError, match=message):
        Schedule(beta)


def test_a_schedule_that_ends_with_signal_left_warns():
    with pytest.warns(UserWarning, match=r"√ᾱ_T = 0\.707 of x_0.*SNR\(T\) = 1, above 0\.01.*take larger β"):
        Schedule(torch.tensor([0.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Schedule(torch.tensor([0.5] * 7))                                                   # SNR(7) = 1/127
    with pytest.warns(UserWarning):
        Schedule(torch.tensor([0.5] * 6))                                                   # SNR(6) = 1/63


def test_where_it_does_not_warn_the_prior_s_kl_is_at_most_0_005_nats_for_a_pixel_of_size_1():
    """What the limit of 0.01 is explained by: ½ (ᾱ x_0² − ᾱ − log(1 − ᾱ)) at SNR 0.01 and x_0 = 1."""
    alpha_bar = 0.01 / 1.01
    assert 0.004 < 0.5 * (alpha_bar - alpha_bar - math.log(1 - alpha_bar)) < 0.005


def test_a_schedule_moves_as_a_whole_and_stays_where_it_was():
    schedule = Schedule.linear(50)
    moved = schedule.to("meta")
    assert moved.T == 50 and isinstance(moved, Schedule)
    assert all(getattr(moved, name).device.type == "meta" and getattr(schedule, name).device.type == "cpu"
               for name in KEPT)
    for name in KEPT:
        assert_close(getattr(schedule.to("cpu"), name), getattr(schedule, name), **exactly)


def test_a_schedule_says_how_long_it_is_and_how_far_it_goes():
    assert repr(Schedule.linear(1000)) == "Schedule of 1000 steps, SNR from 1e+04 to 4.04e-05"


def test_a_schedule_takes_no_gradient_and_no_lists_apart():
    beta = torch.full((30,), 0.3, requires_grad=True)
    assert not Schedule(beta).alpha_bar.requires_grad
    assert_close(Schedule([0.3] * 30).alpha_bar, Schedule(torch.full((30,), 0.3, dtype=torch.float64)).alpha_bar)


# --- values at a time ------------------------------------------------------------------------------------------------

def test_values_at_a_time_are_shaped_and_typed_like_x():
    schedule, t = Schedule.cosine(5), torch.tensor([5, 0, 2])
    for shape in ((3,), (3, 2), (3, 1, 4, 4)):
        found = at(schedule.alpha_bar, t, torch.zeros(shape))
        assert found.shape == (3, *[1] * (len(shape) - 1)) and found.dtype == torch.float32
        assert_close(found.flatten(), schedule.alpha_bar[[5, 0, 2]].float(), **exactly)
    assert at(schedule.beta, t.int(), torch.zeros(3, dtype=torch.float64)).dtype == torch.float64
    assert at(schedule.beta, t[:0], torch.zeros(0, 2)).shape == (0, 1)


@pytest.mark.parametrize("t, message", [
    (torch.tensor([1.0, 2.0, 3.0]), r"t has dtype torch\.float32; times are integers: 1 is the first"),
    (torch.tensor([True, False, True]), r"t has dtype torch\.bool"),
    (torch.tensor([1, 2]), r"t has shape \(2,\); it must be \(3,\)"), (torch.tensor([1]), "t has shape"),
    (torch.tensor(1), r"t has shape \(\)"), (torch.ones(3, 1, dtype=torch.int64), r"t has shape \(3, 1\)"),
    (torch.tensor([1, 6, 2]), "t runs from 1 to 6; times run from 1 to 5, and 0 is the image"),
    (torch.tensor([-1, 3, 2]), "t runs from -1 to 3"),
])
def test_other_times_are_refused(t, message):
    with pytest.raises(ValueError, match=message):
        at(Schedule.cosine(5).alpha_bar, t, torch.zeros(3, 2))


# --- q(x_t|x_0) ------------------------------------------------------------------------------------------------------

def test_q_sample_is_equation_4_and_at_time_0_the_image():
    schedule, x0, eps = Schedule.linear(30), normal(4, 1, 2, 3), normal(4, 1, 2, 3, seed=1)
    t, alpha_bar = [0, 1, 17, 30], np.cumprod(1 - np.append(0, np.linspace(1e-4, 0.02, 30) * 1000 / 30))
    found = q_sample(schedule, x0, torch.tensor(t), eps)
    for i, a in enumerate(alpha_bar[t]):
        np.testing.assert_allclose(found[i], math.sqrt(a) * x0[i] + math.sqrt(1 - a) * eps[i], rtol=1e-12)
    assert_close(found[0], x0[0], **exactly)
    with pytest.raises(ValueError, match=r"x0 has shape \(4, 1, 2, 3\), but eps has shape \(1, 2, 3\)"):
        q_sample(schedule, x0, torch.tensor(t), eps[0])


def test_a_chain_of_steps_draws_from_q_of_x_t_given_x_0():
    # 3 pixels, 4 times, mean and variance: 24 z-tests at 5σ, a false alarm in 1.4e-5 of seeds.
    n, schedule, generator = 20_000, Schedule.linear(40), torch.Generator().manual_seed(0)
    x0 = torch.tensor([-1.0, 0.2, 1.0], dtype=torch.float64)
    x = x0.expand(n, 3)
    for t in range(1, 41):
        beta = schedule.beta[t]
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(n, 3, generator=generator, dtype=torch.float64)
        if t in (1, 7, 20, 40):
            mean, var = schedule.alpha_bar[t].sqrt() * x0, schedule.variance[t]
            assert ((x.mean(0) - mean).abs() < 5 * (var / n).sqrt()).all()
            assert ((x.var(0) - var).abs() < 5 * var * math.sqrt(2 / (n - 1))).all()


@pytest.mark.parametrize("schedule", [Schedule.linear(1000), Schedule.linear(21), Schedule.cosine(100)], ids=repr)
def test_the_steps_put_together_are_the_closed_form(schedule):
    signal, variance = 1.0, 0.0
    for t in range(1, schedule.T + 1):
        beta = schedule.beta[t].item()
        signal, variance = math.sqrt(1 - beta) * signal, (1 - beta) * variance + beta
        assert signal**2 == pytest.approx(schedule.alpha_bar[t].item(), rel=1e-12, abs=1e-12)
        assert variance == pytest.approx(schedule.variance[t].item(), rel=1e-12)


# --- q(x_s|x_t, x_0) -------------------------------------------------------------------------------------------------

def by_bayes(schedule, x0, x_t, t, s):
    """q(x_s|x_0) q(x_t|x_s), two Gaussians in x_s, by completing the square."""
    kept, signal = (math.prod(1 - b for b in schedule.beta[i:j].tolist()) for i, j in ((s + 1, t + 1), (1, s + 1)))
    precision = 1 / (1 - signal) + kept / (1 - kept)
    return (math.sqrt(signal) * x0 / (1 - signal) + math.sqrt(kept) * x_t / (1 - kept)) / precision, 1 / precision


@pytest.mark.parametrize("t, s", [(2, 1), (25, 24), (50, 49), (50, 1), (30, 10)])
def test_the_posterior_is_bayes_rule(t, s):
    schedule, x0, x_t = Schedule.linear(50), normal(3, 2), normal(3, 2, seed=1)
    mean, var = posterior(schedule, x0, x_t, whole(t), whole(s))
    wanted, wanted_var = by_bayes(schedule, x0, x_t, t, s)
    assert_close(mean, wanted, rtol=1e-10, atol=1e-10)
    assert_close(var, torch.full((3, 1), wanted_var, dtype=torch.float64), rtol=1e-10, atol=0)


def test_the_posterior_is_bayes_rule_by_quadrature():
    schedule, x0, x_t, t, s = Schedule.cosine(20), 0.8, -0.4, 12, 7
    signal, kept = schedule.alpha_bar[s].item(), (schedule.alpha_bar[t] / schedule.alpha_bar[s]).item()
    joint = lambda x: norm.pdf(x, signal**0.5 * x0, (1 - signal)**0.5) * norm.pdf(x_t, kept**0.5 * x, (1 - kept)**0.5)
    mass, first, second = (quad(lambda x, k=k: x**k * joint(x), -8, 8)[0] for k in range(3))
    mean, var = posterior(schedule, *(torch.full((1, 1), x, dtype=torch.float64) for x in (x0, x_t)), whole(t, 1),
                          whole(s, 1))
    assert mean.item() == pytest.approx(first / mass, abs=1e-7)
    assert var.item() == pytest.approx(second / mass - (first / mass)**2, abs=1e-7)


def test_one_step_back_is_equations_6_and_7():
    schedule, t, x0, x_t = Schedule.linear(50), torch.tensor([2, 20, 50]), normal(3, 1, 4), normal(3, 1, 4, seed=1)
    beta, alpha, alpha_bar = (v[t].view(3, 1, 1) for v in (schedule.beta, schedule.alpha, schedule.alpha_bar))
    before = schedule.alpha_bar[t - 1].view(3, 1, 1)
    mean, var = posterior(schedule, x0, x_t, t)
    assert_close(mean, (before.sqrt() * beta * x0 + alpha.sqrt() * (1 - before) * x_t) / (1 - alpha_bar), rtol=1e-10,
                 atol=1e-12)
    assert_close(var, beta * (1 - before) / (1 - alpha_bar), rtol=1e-10, atol=0)


@pytest.mark.parametrize("t, s", [(50, 1), (30, 10), (9, 0)])
def test_a_posterior_that_skips_steps_is_all_of_them_put_together(t, s):
    """The mean of each is linear in the x before it, so means go through and variances add up."""
    schedule, x0, x_t = Schedule.linear(50), normal(3, 2), normal(3, 2, seed=1)
    mean, var = x_t, 0.0
    for u in range(t, s, -1):
        slope = (posterior(schedule, x0, mean + 1, whole(u))[0] - posterior(schedule, x0, mean, whole(u))[0])[:, :1]
        mean, added = posterior(schedule, x0, mean, whole(u))
        var = slope.square() * var + added
    found = posterior(schedule, x0, x_t, whole(t), whole(s))
    assert_close(found[0], mean, rtol=1e-10, atol=1e-10)
    assert_close(found[1], var, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("t", [1, 13, 50])
def test_at_time_0_the_posterior_is_the_image(t):
    schedule, x0, x_t = Schedule.linear(50), normal(3, 2), normal(3, 2, seed=1)
    mean, var = posterior(schedule, x0, x_t, whole(t), whole(0))
    assert_close(mean, x0, rtol=1e-15, atol=0)
    assert_close(var, torch.zeros(3, 1, dtype=torch.float64), **exactly)


def test_the_mean_by_the_noise_is_the_mean_by_the_image():
    schedule, t, x0, eps = Schedule.linear(50), torch.tensor([1, 20, 50]), normal(3, 4), normal(3, 4, seed=1)
    x_t = q_sample(schedule, x0, t, eps)
    beta, alpha, variance = (v[t].view(3, 1) for v in (schedule.beta, schedule.alpha, schedule.variance))
    equation_11 = (x_t - beta / variance.sqrt() * eps) / alpha.sqrt()
    assert_close(posterior(schedule, x0, x_t, t)[0], equation_11, rtol=1e-10, atol=1e-10)


def test_in_single_precision_the_posterior_keeps_its_digits():
    # β_{t|s} is a difference of numbers up to 1 that are right to 6e-8, against a β of 0.001 and more: 1e-4 of it.
    schedule = Schedule.linear(1000)
    t = torch.arange(1, 1001)
    x0, x_t = normal(1000, 1), normal(1000, 1, seed=1)
    wanted, found = posterior(schedule, x0, x_t, t), posterior(schedule, x0.float(), x_t.float(), t)
    assert found[0].dtype == found[1].dtype == torch.float32
    assert_close(found[0].double(), wanted[0], rtol=0, atol=2e-6)
    assert_close(found[1].double(), wanted[1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("x0, x_t, t, s, message", [
    ((3, 2), (3, 1), [1, 2, 3], None, r"x0 has shape \(3, 2\), but x_t has shape \(3, 1\)"),
    ((3, 2), (3, 2), [1, 2, 3], [0], r"t has shape \(3,\), but s has shape \(1,\)"),
    ((3, 2), (3, 2), [1, 2, 3], [0, 2, 2], "s must be earlier than t, for every image"),
    ((3, 2), (3, 2), [1, 2, 3], [0, 1, 5], "s must be earlier than t"),
    ((3, 2), (3, 2), [0, 2, 3], None, "t runs from -1 to 2"),
    ((3, 2), (3, 2), [1, 2, 9], None, "t runs from 1 to 9"),
    ((3, 2), (3, 2), [2], None, r"t has shape \(1,\); it must be \(3,\)"),
])
def test_a_posterior_of_other_shapes_or_times_is_refused(x0, x_t, t, s, message):
    with pytest.raises(ValueError, match=message):
        posterior(Schedule.cosine(5), torch.zeros(x0), torch.zeros(x_t), torch.tensor(t),
                  None if s is None else torch.tensor(s))
