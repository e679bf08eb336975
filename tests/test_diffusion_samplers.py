"""Samplers on densities whose best denoiser is known: against scalar recursions, by their orders, by what comes out."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch.testing import assert_close

from course_lib.datasets import GaussianMixture
from course_lib.diffusion import (
    Schedule,
    ddim,
    ddim_inversion,
    ddpm,
    exact_denoiser,
    exact_velocity,
    flow,
    heun,
    inpaint,
    last,
    noised,
    slerp,
    times,
)

MU, SIGMA = 0.7, 0.5                                                                        # one Gaussian
GAUSSIAN = GaussianMixture([[MU]], SIGMA)
MIXTURE = GaussianMixture([[-2.0, 0.0], [1.0, 1.5], [1.5, -1.2]], [0.3, 0.35, 0.4], [0.2, 0.3, 0.5])
exactly = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# --- times -----------------------------------------------------------------------------------------------------------

def test_times_fall_from_T_to_0():
    assert times(4) == [4, 3, 2, 1, 0] and times(1000, 4) == [1000, 750, 500, 250, 0] and times(7, 1) == [7, 0]
    assert times(10, 4) == [10, 8, 5, 2, 0]                                                 # rounded
    assert times(1000, 4, "quadratic") == [1000, 562, 250, 62, 0]                           # 1000 (i/4)²
    assert times(3, 3) == times(3) == [3, 2, 1, 0]


@pytest.mark.parametrize("given, message", [
    ((10, 0), "steps is 0; it must be from 1 to T = 10"), ((10, 11), "steps is 11"),
    ((10, 5, "cubic"), "spacing is 'cubic'; it must be one of 'uniform', 'quadratic'"),
    ((1000, 50, "quadratic"), "50 steps of quadratic spacing do not fit into T = 1000.*Take fewer"),
])
def test_times_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        times(*given)


def test_last_is_what_is_yielded_last():
    assert last(iter([torch.zeros(1), torch.ones(2)])).tolist() == [1, 1]


# --- what all of them have in common ---------------------------------------------------------------------------------

def inpaint_nothing(denoiser, schedule, x, times, generator=None):
    return inpaint(denoiser, schedule, x, times, generator, known=x, mask=torch.zeros(1, dtype=torch.bool))


each_sampler = pytest.mark.parametrize("sampler", [ddpm, ddim, heun, ddim_inversion, inpaint_nothing])


@each_sampler
@pytest.mark.parametrize("bad", [[30, 20, 20, 0], [10, 20, 0], [30, 10], [31, 10, 0], [0], []])
def test_samplers_refuse_times_that_do_not_fall_to_0(sampler, bad):
    with pytest.raises(ValueError, match=r"times must fall from at most T = 30 to 0, but they are \[.*see diff"):
        list(sampler(lambda x, t: x, Schedule.linear(30), torch.zeros(2, 1), bad))


def test_a_long_list_of_bad_times_is_shortened_in_the_message():
    with pytest.raises(ValueError, match=r"they are \[30, 29, 28, 27\] … \[3, 2, 1\]: see"):
        list(ddpm(lambda x, t: x, Schedule.linear(30), torch.zeros(2, 1), range(30, 0, -1)))


@each_sampler
def test_samplers_yield_after_each_step_and_ask_at_integer_times(sampler):
    asked, given = [], [30, 12, 5, 0]
    def denoise(x, t):
        assert x.shape == (4, 1, 2, 2) and t.shape == (4,) and t.dtype == torch.int64 and len(t.unique()) == 1
        asked.append(t[0].item())
        return x / 2
    found = list(sampler(denoise, Schedule.linear(30), torch.randn(4, 1, 2, 2), torch.tensor(given)))
    assert len(found) == 3 and all(x.shape == (4, 1, 2, 2) and x.isfinite().all() for x in found)
    assert asked == {heun: [30, 12, 12, 5, 5], ddim_inversion: [5, 12, 30]}.get(sampler, [30, 12, 5])


@each_sampler
def test_a_denoiser_that_knows_the_image_is_believed_at_the_last_step(sampler):
    """With x̂_0 = x_0 all end at x_0 exactly; inversion begins with x_0 and ends with some noise."""
    x0, schedule = noise(5, 2), Schedule.linear(30)
    if sampler is not ddim_inversion:
        x = last(sampler(lambda x, t: x0, schedule, noise(5, 2, seed=1), times(30, 7), seeded()))
        assert_close(x, x0, rtol=0, atol=1e-14)


def test_only_samplers_with_noise_draw_any():
    schedule, x, denoise = Schedule.linear(30), noise(3, 2), exact_denoiser(MIXTURE, Schedule.linear(30))
    draws = {"ddim": lambda g: ddim(denoise, schedule, x, times(30, 5), g), "heun": lambda g: heun(
        denoise, schedule, x, times(30, 5), g), "inversion": lambda g: ddim_inversion(denoise, schedule, x,
                                                                                     times(30, 5), g)}
    for make in draws.values():
        generator, before = seeded(), torch.get_rng_state()
        first = last(make(generator))
        assert torch.equal(generator.get_state(), seeded().get_state()) and torch.equal(torch.get_rng_state(), before)
        assert torch.equal(first, last(make(None)))
    for make in (lambda g: ddpm(denoise, schedule, x, times(30, 5), g),
                 lambda g: ddim(denoise, schedule, x, times(30, 5), g, eta=0.5)):
        assert not torch.equal(last(make(seeded(0))), last(make(seeded(1))))
        assert torch.equal(last(make(seeded(0))), last(make(seeded(0))))


def test_an_unknown_variance_is_refused():
    with pytest.raises(ValueError, match="variance is 'learned'; it must be one of 'posterior', 'beta'"):
        list(ddpm(lambda x, t: x, Schedule.linear(30), torch.zeros(2, 1), times(30), variance="learned"))


# --- one sampler is another ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("schedule", [Schedule.linear(30), Schedule.cosine(30)], ids=repr)
@pytest.mark.parametrize("steps, spacing", [(30, "uniform"), (7, "uniform"), (5, "quadratic")])
def test_ddim_with_eta_1_is_ddpm(schedule, steps, spacing):
    denoise, x, path = exact_denoiser(MIXTURE, schedule), noise(6, 2), times(30, steps, spacing)
    for a, b in zip(ddim(denoise, schedule, x, path, seeded(1), eta=1.0), ddpm(denoise, schedule, x, path, seeded(1)),
                    strict=True):
        assert_close(a, b, rtol=1e-9, atol=1e-9)


# --- one Gaussian, by scalars ----------------------------------------------------------------------------------------

def recursion(sampler, schedule, path, variance="posterior", eta=0.0):
    """(a, b, c) of each step x_s = a x_t + b + c z, for N(μ, σ²) with its denoiser x̂_0 = k x_t + h: by scalars."""
    kept, lost = schedule.alpha_bar.tolist(), schedule.variance.tolist()

    def guess(t):
        k = math.sqrt(kept[t]) * SIGMA**2 / (kept[t] * SIGMA**2 + lost[t])
        return k, MU * (1 - k * math.sqrt(kept[t]))

    def towards(k, h, t, s, left):                     # √ᾱ_s x̂_0 + √left ε̂
        r = math.sqrt(left / lost[t])
        slope = math.sqrt(kept[s]) - r * math.sqrt(kept[t])
        return slope * k + r, slope * h

    for t, s in zip(path, path[1:], strict=False):
        (k, h), beta = guess(t), 1 - kept[t] / kept[s]
        tilde = beta * lost[s] / lost[t]
        if sampler is ddpm:
            of_x0, of_xt = math.sqrt(kept[s]) * beta / lost[t], math.sqrt(kept[t] / kept[s]) * lost[s] / lost[t]
            yield of_x0 * k + of_xt, of_x0 * h, math.sqrt((tilde if variance == "posterior" else beta) * (s > 0))
        elif sampler is ddim:
            yield *towards(k, h, t, s, max(lost[s] - eta**2 * tilde, 0)), eta * math.sqrt(tilde)
        else:
            a, b = towards(k, h, t, s, lost[s])
            if s > 0:
                k_s, h_s = guess(s)
                a, b = towards((k + k_s * a) / 2, (h + h_s + k_s * b) / 2, t, s, lost[s])
            yield a, b, 0.0


SETTINGS = [(ddpm, {}), (ddpm, {"variance": "beta"}), (ddim, {}), (ddim, {"eta": 0.5}), (ddim, {"eta": 1.0}),
            (heun, {})]
each_setting = pytest.mark.parametrize("sampler, settings", SETTINGS)


@each_setting
@pytest.mark.parametrize("steps, spacing", [(40, "uniform"), (12, "uniform"), (6, "quadratic")])
def test_each_sampler_on_one_gaussian_is_its_linear_recursion(sampler, settings, steps, spacing):
    schedule, x, path, generator = Schedule.linear(40), noise(5, 1), times(40, steps, spacing), seeded(3)
    found = sampler(exact_denoiser(GAUSSIAN, schedule), schedule, x, path, seeded(3), **settings)
    for after, (a, b, c) in zip(found, recursion(sampler, schedule, path, **settings), strict=True):
        x = a * x + b
        if c > 0:
            x = x + c * torch.randn(5, 1, generator=generator, dtype=torch.float64)
        assert_close(after, x, rtol=1e-9, atol=1e-9)                                        # roundings of 40 steps


def biases(sampler, settings, spacing, all_steps=(64, 128, 256)):
    """Standard deviation of what comes out, less σ, for each number of steps; begun with q(x_T), so it can be 0."""
    schedule, T = Schedule.linear(65_536), 65_536
    start, found = noised(GAUSSIAN, schedule, T), []
    for steps in all_steps:
        mean, var = start.means.item(), start.stds.item() ** 2
        for a, b, c in recursion(sampler, schedule, times(T, steps, spacing), **settings):
            mean, var = a * mean + b, a * a * var + c * c
        assert mean == pytest.approx(MU, abs=1e-9)                                          # the mean is never off
        found.append(math.sqrt(var) - SIGMA)
    return np.array(found)


@each_setting
@pytest.mark.parametrize("spacing", ["quadratic", "uniform"])
def test_bias_falls_at_the_method_s_order_as_steps_double(sampler, settings, spacing):
    """Order 1 for ddpm and ddim; for Heun 2 if steps get smaller towards 0, and 1.5 if they do not, since σ ~ √t."""
    found = np.abs(biases(sampler, settings, spacing))
    order = np.log2(found[:-1] / found[1:])
    wanted = 1 if sampler is not heun else 2 if spacing == "quadratic" else 1.5
    assert np.abs(order - wanted).max() < 0.17 and np.abs(order - wanted)[-1] < 0.15


def test_ddpm_s_two_variances_err_on_either_side():
    assert (biases(ddpm, {}, "quadratic") < 0).all() and (biases(ddpm, {"variance": "beta"}, "quadratic") > 0).all()


def test_more_noise_costs_more_steps_and_heun_needs_the_fewest():
    """At 64 steps, whatever the spacing: |bias| of heun < ddim < η = ½ < η = 1."""
    for spacing in ("quadratic", "uniform"):
        found = [abs(biases(sampler, settings, spacing, (64,))[0])
                 for sampler, settings in ((heun, {}), (ddim, {}), (ddim, {"eta": 0.5}), (ddim, {"eta": 1.0}))]
        assert found == sorted(found)


# --- a mixture -------------------------------------------------------------------------------------------------------

def marks(x, density):
    """Shares of the modes by chi², and each mode's inside variance over its own: a p-value, and (ratio, error) each."""
    near = ((x[:, None] - density.means).square().sum(2) / density.stds.square()).argmin(1)
    counts, wanted = torch.bincount(near, minlength=len(density.means)), len(x) * density.weights
    p = chi2.sf(((counts - wanted) ** 2 / wanted).sum().item(), len(wanted) - 1)
    inside = [(x[near == k] - density.means[k]) / density.stds[k] for k in range(len(wanted))]
    return p, [(z.square().mean().item(), math.sqrt(2 / z.numel())) for z in inside]


SCHEDULE = Schedule.linear(1600)
WAYS = {
    "ddpm": lambda x: ddpm(exact_denoiser(MIXTURE, SCHEDULE), SCHEDULE, x, times(1600, 50, "quadratic"), seeded(1)),
    "ddpm, beta": lambda x: ddpm(exact_denoiser(MIXTURE, SCHEDULE), SCHEDULE, x, times(1600, 50, "quadratic"),
                                 seeded(1), "beta"),
    "ddim": lambda x: ddim(exact_denoiser(MIXTURE, SCHEDULE), SCHEDULE, x, times(1600, 50, "quadratic")),
    "heun": lambda x: heun(exact_denoiser(MIXTURE, SCHEDULE), SCHEDULE, x, times(1600, 25, "quadratic")),
    "flow, euler": lambda x: flow(exact_velocity(MIXTURE), x, 60),
    "flow, heun": lambda x: flow(exact_velocity(MIXTURE), x, 25, "heun"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mixture_comes_back_mode_by_mode(way):
    # 2,000 points. Shares: a false alarm in 1e-5 of seeds. Variances: 3 z-tests at 5σ, 2e-6, and a tenth more for what
    # so few steps are off; modes are 5σ apart and more, so few points go to a wrong one.
    p, inside = marks(last(WAYS[way](noise(2_000, 2, seed=5))), MIXTURE)
    assert p > 1e-5
    assert all(abs(ratio - 1) < 5 * error + 0.1 for ratio, error in inside)


# --- inversion -------------------------------------------------------------------------------------------------------

WIDE = GaussianMixture([[-0.7, 0.0], [0.7, 0.4]], [0.9, 0.8])


def round_trip(steps, repeats, schedule=SCHEDULE, skip=0):
    x, path = WIDE.sample(5, seeded(), torch.float64), times(schedule.T, steps)[skip:]
    denoise = exact_denoiser(WIDE, schedule)
    there = last(ddim_inversion(denoise, schedule, x, path, repeats=repeats))
    return (last(ddim(denoise, schedule, there, path)) - x).square().mean().sqrt().item()


def test_inversion_comes_back_as_steps_get_smaller():
    errors = np.array([round_trip(steps, 1) for steps in (32, 64, 128)])
    ratio = errors[:-1] / errors[1:]
    assert 1.7 < ratio[0] < ratio[1] < 2.05                                                 # towards 2: as 1/steps


def test_inversion_with_many_repeats_comes_back_exactly():
    found = [round_trip(16, repeats) for repeats in (1, 2, 4, 40)]
    assert found == sorted(found, reverse=True) and found[-1] < 1e-12


def test_the_cosine_schedule_s_last_step_is_the_one_that_inversion_cannot_go_back_over():
    """β_T = 0.999 leaves √0.001 of x_s, whatever the number of steps: there the iteration hardly converges."""
    whole, without_T = (round_trip(32, 10, Schedule.cosine(1024), skip) for skip in (0, 1))
    assert without_T < 1e-4 < 1e-3 < whole


def test_inversion_of_a_gaussian_ends_in_its_noise():
    """x = μ + σ z comes from z: the flow keeps the order of points on the line. 32 steps leave σ 5 % too small."""
    schedule, z = Schedule.linear(1024), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    found = last(ddim_inversion(exact_denoiser(GAUSSIAN, schedule), schedule, MU + SIGMA * z,
                                times(1024, 32, "quadratic"), repeats=10))
    assert_close(found, z, rtol=0.08, atol=0.01)


@pytest.mark.parametrize("sampler, more", [(ddim_inversion, {}), (inpaint, {
    "known": torch.zeros(2, 1), "mask": torch.zeros(2, 1, dtype=torch.bool)})])
def test_repeats_below_1_are_refused(sampler, more):
    with pytest.raises(ValueError, match="repeats is 0; it must be 1 or more"):
        list(sampler(lambda x, t: x, Schedule.linear(30), torch.zeros(2, 1), times(30, 5), repeats=0, **more))


# --- between two noises ----------------------------------------------------------------------------------------------

def test_slerp_goes_along_the_circle_at_an_even_pace():
    a, b = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 3.0], [math.sin(2), math.cos(2)]])
    for share in (0.0, 0.25, 0.5, 1.0):                                                     # 90 degrees, and 2 radians
        found, (u, v) = slerp(a, b, share), (share * math.pi / 2, share * 2)
        assert_close(found, torch.tensor([[3 * math.cos(u), 3 * math.sin(u)], [math.sin(v), math.cos(v)]]))


def test_between_noises_slerp_keeps_their_length_where_a_straight_line_does_not():
    # d = 6,400: lengths are √d to 1/√(2d) = 0.9 %; 5 % is more than 5σ: a false alarm in less than 1e-5 of seeds.
    a, b = noise(4, 1, 80, 80), noise(4, 1, 80, 80, seed=1)
    size = lambda x: x.flatten(1).norm(dim=1) / 80
    assert (size(slerp(a, b, 0.5)) - 1).abs().max() < 0.05
    assert (size((a + b) / 2) - math.sqrt(0.5)).abs().max() < 0.05


def test_slerp_of_one_direction_is_a_straight_line():
    a = noise(3, 5)
    assert_close(slerp(a, 2 * a, 0.25), 1.25 * a)
    with pytest.raises(ValueError, match=r"a has shape \(3, 5\), but b has shape \(1, 5\)"):
        slerp(a, a[:1], 0.5)


# --- in-painting -----------------------------------------------------------------------------------------------------

def test_what_is_known_is_there_at_the_end_and_the_rest_is_not_looked_at():
    schedule, x = Schedule.linear(30), noise(4, 2, 3)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    known = torch.where(mask, noise(4, 2, 3, seed=1), math.nan)
    for repeats in (1, 3):
        found = last(inpaint(lambda x, t: x / 2, schedule, x, times(30, 6), seeded(), known=known, mask=mask,
                             repeats=repeats))
        assert_close(found[:, mask], known[:, mask], **exactly)
        assert found.isfinite().all()


def test_the_known_part_is_as_noisy_as_the_time_asks_for():
    """After a step to s, and where the denoiser is asked again at t, with the step's noise put on once more."""
    # 10,000 numbers at 5 times, mean and variance: 10 z-tests at 5σ, a false alarm in 6e-6 of seeds.
    n, schedule, asked = 10_000, Schedule.linear(30), []
    def denoise(x, t):
        asked.append(x)
        return x / 2
    found = list(inpaint(denoise, schedule, noise(n, 2), [30, 20, 5, 0], seeded(), repeats=2,
                         known=torch.full((n, 2), 0.8, dtype=torch.float64), mask=torch.tensor([True, False])))
    assert len(asked) == 6
    for x, s in zip((*found[:2], *asked[1::2]), (20, 5, 30, 20, 5), strict=True):
        mean, var = 0.8 * schedule.alpha_bar[s].sqrt(), schedule.variance[s]
        assert abs(x[:, 0].mean() - mean) < 5 * (var / n).sqrt()
        assert abs(x[:, 0].var() - var) < 5 * var * math.sqrt(2 / n)


def test_with_nothing_known_a_step_of_inpaint_is_one_of_ddpm():
    """To the digit in its first step; then the draws differ, for each step also draws noise of the known part."""
    schedule, x = Schedule.linear(30), noise(4, 2)
    denoise = exact_denoiser(MIXTURE, schedule)
    for sampler in (inpaint_nothing, ddpm):
        found = next(sampler(denoise, schedule, x, [30, 12, 0], seeded()))
        assert_close(found, next(ddpm(denoise, schedule, x, [30, 12, 0], seeded())), **exactly)


def test_repeats_fit_the_unknown_part_to_the_known_one():
    """Nine modes along a diagonal; the first coordinate is 0.7, and the second is to be as it is given that.

    Found for one repeat: a mean of 0.50 instead of 0.70 and a spread of 0.54 instead of 0.42, a seam that does not fit.
    Repeats bring the mean there; but the spread falls below what it should be (0.37 at 5, 0.32 at 20 repeats), for the
    known part is drawn anew at each repeat, whatever the unknown one is. 1,000 points, 5σ: 1e-6 of seeds.
    """
    ticks = torch.linspace(-1.5, 1.5, 9, dtype=torch.float64)
    density, schedule, n, given = GaussianMixture(ticks[:, None].expand(9, 2), 0.3), Schedule.cosine(50), 1_000, 0.7
    share = (-(given - ticks).square() / (2 * 0.3**2)).softmax(0)
    mean = (share * ticks).sum()
    spread = ((share * (ticks - mean).square()).sum() + 0.3**2).sqrt()

    def second(repeats):
        known, mask = torch.tensor([given, 0.0], dtype=torch.float64).expand(n, 2), torch.tensor([True, False])
        return last(inpaint(exact_denoiser(density, schedule), schedule, noise(n, 2), times(50, 25), seeded(1),
                            known=known, mask=mask, repeats=repeats))[:, 1]

    once, five = second(1), second(5)
    error = 5 * spread / math.sqrt(n)
    assert abs(five.mean() - mean) < error < abs(once.mean() - mean) - error / 2
    assert five.std() < spread < once.std()


@pytest.mark.parametrize("change, message", [
    ({"mask": torch.ones(4, 2)}, r"mask has dtype torch\.float32; it must be bool, True where the image is known"),
    ({"known": torch.zeros(2)}, r"known has shape \(2,\), but x|x has shape \(4, 2\), but known has shape \(2,\)"),
    ({"mask": torch.ones(3, dtype=torch.bool)}, r"mask has shape \(3,\); it must be x's, \(4, 2\), or broadcast to it"),
    ({"mask": torch.ones(5, 4, 2, dtype=torch.bool)}, r"mask has shape \(5, 4, 2\)"),       # x would grow
])
def test_other_masks_are_refused(change, message):
    given = {"known": torch.zeros(4, 2), "mask": torch.tensor([True, False])}
    with pytest.raises(ValueError, match=message):
        list(inpaint(lambda x, t: x, Schedule.linear(30), torch.zeros(4, 2), [30, 0], **given | change))


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_ddim_refuses_more_noise_than_ddpm_has(eta):
    with pytest.raises(ValueError, match=rf"eta is {eta}; it must be from 0"):
        last(ddim(lambda x, t: x, Schedule.cosine(10), torch.zeros(2, 1), times(10), eta=eta))
