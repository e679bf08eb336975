"""What the network learns: ε, x_0 and v are one guess said in three ways, and their losses one error; the step."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.diffusion import (
    LOSSES,
    PREDICTS,
    Schedule,
    centred,
    diffusion_step,
    drop_labels,
    eps_loss,
    error_weight,
    parts,
    q_sample,
    step_weight,
    v_loss,
    x0_loss,
)
from course_lib.networks import TimedMLP

SCHEDULE, TIMES, SHAPE = Schedule.linear(50), torch.tensor([1, 10, 30, 50]), (4, 1, 2, 3)
each_pair = pytest.mark.parametrize("predicts, other", list(itertools.product(PREDICTS, PREDICTS)))
each_way = pytest.mark.parametrize("predicts", PREDICTS)
to_10_digits = {"rtol": 1e-10, "atol": 1e-10}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn():
    """x_0, ε and their x_t: (4, 1, 2, 3) each."""
    x0, eps = normal(*SHAPE), normal(*SHAPE, seed=1)
    return x0, eps, q_sample(SCHEDULE, x0, TIMES, eps)


# --- three ways ------------------------------------------------------------------------------------------------------

@each_way
def test_the_three_ways_solve_the_two_equations(predicts):
    x0, eps, x_t = drawn()
    for i, t in enumerate(TIMES):
        signal, noise = SCHEDULE.alpha_bar[t].sqrt().item(), SCHEDULE.variance[t].sqrt().item()
        turn = np.array([[signal, noise], [-noise, signal]])                                # (x_0, ε) → (x_t, v)
        v = (turn @ torch.stack([x0[i].flatten(), eps[i].flatten()]).numpy())[1]
        given = {"eps": eps[i:i + 1], "x0": x0[i:i + 1], "v": torch.from_numpy(v).view(1, *SHAPE[1:])}
        found = parts(given[predicts], predicts, x_t[i:i + 1], SCHEDULE, TIMES[i:i + 1])
        for name, wanted in given.items():
            assert_close(getattr(found, name), wanted, **to_10_digits)


@each_way
def test_a_guess_in_three_ways_stays_one_guess(predicts):
    """Any output, right or wrong: √ᾱ x̂_0 + √(1−ᾱ) ε̂ = x_t, and the output itself is handed on."""
    _, _, x_t = drawn()
    output = normal(*SHAPE, seed=2)
    found = parts(output, predicts, x_t, SCHEDULE, TIMES)
    assert_close(q_sample(SCHEDULE, found.x0, TIMES, found.eps), x_t, **to_10_digits)
    assert_close(getattr(found, predicts), output, rtol=0, atol=0)


def test_v_is_a_turn_of_the_plane():
    x0, eps, x_t = drawn()
    v = parts(eps, "eps", x_t, SCHEDULE, TIMES).v
    assert_close(v.square() + x_t.square(), x0.square() + eps.square(), **to_10_digits)


def test_v_is_the_noise_at_time_0_and_minus_the_image_at_the_end():
    schedule = Schedule.cosine(100)                                                         # √ᾱ_T = 5e-4
    x0, eps, t = normal(2, 3), normal(2, 3, seed=1), torch.tensor([0, 100])
    assert_close(v_loss(torch.stack([eps[0], -x0[1]]), x0, eps, schedule, t), torch.zeros(2, dtype=torch.float64),
                 rtol=0, atol=4 * schedule.alpha_bar[-1].item() * (x0**2 + eps**2).max().item())
    found = parts(torch.stack([eps[0], -x0[1]]), "v", q_sample(schedule, x0, t, eps), schedule, t)
    assert_close(found.x0[0], x0[0], rtol=0, atol=0)
    assert_close(found.eps[1], eps[1], rtol=0, atol=2e-3 * x0.abs().max().item())


@pytest.mark.parametrize("change, message", [
    ({"predicts": "noise"}, "predicts is 'noise'; it must be one of 'eps', 'x0', 'v'"),
    ({"output": torch.zeros(4, 1, 2, 1)}, r"x_t has shape \(4, 1, 2, 3\), but output has shape \(4, 1, 2, 1\)"),
    ({"t": torch.tensor([1])}, r"t has shape \(1,\); it must be \(4,\)"), ({"t": TIMES + 1}, "t runs from 2 to 51"),
    ({"t": TIMES.float()}, "times are integers"),
])
def test_parts_refuses_other_names_shapes_and_times(change, message):
    given = {"output": torch.zeros(SHAPE), "predicts": "v", "x_t": torch.zeros(SHAPE), "schedule": SCHEDULE, "t": TIMES}
    with pytest.raises(ValueError, match=message):
        parts(**given | change)


# --- losses ----------------------------------------------------------------------------------------------------------

@each_way
def test_a_loss_is_the_mean_squared_error_of_each_image(predicts):
    x0, eps, x_t = drawn()
    output, target = normal(*SHAPE, seed=2), getattr(parts(eps, "eps", x_t, SCHEDULE, TIMES), predicts)
    wanted = [np.mean((target[i].numpy() - output[i].numpy()) ** 2) for i in range(4)]
    np.testing.assert_allclose(LOSSES[predicts](output, x0, eps, SCHEDULE, TIMES), wanted, rtol=1e-9)


@each_pair
def test_each_loss_weighted_as_another_is_the_other_s(predicts, other):
    x0, eps, x_t = drawn()
    output = normal(*SHAPE, seed=2)
    same = getattr(parts(output, predicts, x_t, SCHEDULE, TIMES), other)
    assert_close(LOSSES[predicts](output, x0, eps, SCHEDULE, TIMES, weighted_as=other),
                 LOSSES[other](same, x0, eps, SCHEDULE, TIMES), rtol=1e-8, atol=0)


def test_the_losses_stand_under_their_names():
    assert list(LOSSES.values()) == [eps_loss, x0_loss, v_loss] and tuple(LOSSES) == PREDICTS


def test_losses_in_single_precision_stay_there():
    x0, eps, _ = (x.float() for x in drawn())
    for predicts, other in itertools.product(PREDICTS, PREDICTS):
        assert LOSSES[predicts](x0, x0, eps, SCHEDULE, TIMES, other).dtype == torch.float32


@each_way
@pytest.mark.parametrize("at, shape, message", [
    (0, (4, 1, 2, 1), "has shape"), (0, (1, 2, 3), "has shape"), (1, (4, 1, 1, 3), "has shape"),
    (2, (1, 1, 2, 3), "has shape"),
])
def test_losses_refuse_shapes_that_would_broadcast(predicts, at, shape, message):
    given = [torch.zeros(SHAPE) for _ in range(3)]
    given[at] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        LOSSES[predicts](*given, SCHEDULE, TIMES)


@each_way
@pytest.mark.parametrize("t, message", [
    (TIMES[:1], r"t has shape \(1,\); it must be \(4,\)"), (TIMES[:, None], r"t has shape \(4, 1\)"),
    (TIMES + 1, "t runs from 2 to 51"), (TIMES - 2, "t runs from -1"), (TIMES.float(), "times are integers"),
])
def test_losses_refuse_other_times(predicts, t, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[predicts](*[torch.zeros(SHAPE)] * 3, SCHEDULE, t)


@each_way
def test_losses_refuse_other_weights(predicts):
    with pytest.raises(ValueError, match="of is 'snr'; it must be one of 'eps', 'x0', 'v'"):
        LOSSES[predicts](*[torch.zeros(SHAPE)] * 3, SCHEDULE, TIMES, "snr")


# --- weights ---------------------------------------------------------------------------------------------------------

@each_pair
def test_an_error_s_weight_is_the_ratio_of_two_errors(predicts, other):
    """Two guesses at one x_t differ in each way by a number of its own; the ratio of their squares is the weight."""
    _, _, x_t = drawn()
    a, b = (parts(normal(*SHAPE, seed=s), predicts, x_t, SCHEDULE, TIMES) for s in (2, 3))
    size = lambda name: (getattr(a, name) - getattr(b, name)).square().flatten(1).sum(1)
    assert_close(error_weight(SCHEDULE, TIMES, other, predicts), size(other) / size(predicts), rtol=1e-8, atol=0)


def test_error_weights_by_hand():
    with pytest.warns(UserWarning, match="not nearly noise"):
        schedule = Schedule(torch.tensor([0.5, 0.5]))                                       # ᾱ = ½, ¼; SNR = 1, ⅓
    t = torch.tensor([1, 2])
    for of, predicts, wanted in [("eps", "x0", [1, 1 / 3]), ("x0", "eps", [1, 3]), ("v", "x0", [2, 4 / 3]),
                                 ("v", "eps", [2, 4]), ("eps", "v", [1 / 2, 1 / 4]), ("x0", "v", [1 / 2, 3 / 4])]:
        assert error_weight(schedule, t, of, predicts).tolist() == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("given, message", [
    ((TIMES, "noise", "v"), "of is 'noise'"), ((TIMES, "v", "noise"), "predicts is 'noise'"),
    ((TIMES - 2, "v", "x0"), "t runs from -1 to 48"), ((TIMES[:, None], "v", "x0"), r"t has shape \(4, 1\)"),
    ((torch.tensor(3), "v", "x0"), r"t has shape \(\)"), ((TIMES.float(), "v", "x0"), "times are integers"),
])
def test_error_weight_refuses_other_names_and_times(given, message):
    with pytest.raises(ValueError, match=message):
        error_weight(SCHEDULE, *given)


@pytest.mark.parametrize("schedule", [Schedule.linear(1000), Schedule.cosine(20)], ids=repr)
def test_a_step_s_weight_over_the_snr_is_that_of_equation_12(schedule):
    t = torch.arange(2, schedule.T + 1)
    beta, before, alpha_bar = schedule.beta[t], schedule.alpha_bar[t - 1], schedule.alpha_bar[t]
    beta_tilde = beta * (1 - before) / (1 - alpha_bar)
    wanted = beta**2 / (2 * beta_tilde * (1 - beta) * (1 - alpha_bar))
    assert_close((step_weight(schedule) / schedule.snr)[t], wanted, rtol=1e-8, atol=0)
    assert_close(step_weight(schedule)[t] * error_weight(schedule, t, "x0", "eps"), wanted, rtol=1e-8, atol=0)


def test_a_step_s_weight_is_no_number_at_0_and_infinite_at_1():
    weight = step_weight(Schedule.linear(30))
    assert weight.shape == (31,) and weight.dtype == torch.float64
    assert weight[0].isnan() and weight[1] == math.inf and (weight[2:] > 0).all() and weight[2:].isfinite().all()


# --- what is done to a batch first -----------------------------------------------------------------------------------

def test_centred_takes_0_to_minus_1_and_1_to_1():
    assert centred(torch.tensor([0.0, 0.25, 1.0])).tolist() == [-1, -0.5, 1]


def test_labels_are_dropped_with_the_stated_chance_and_the_others_kept():
    # 20,000 labels of chance 0.15: 5σ, a false alarm in 6e-7 of seeds.
    n, y = 20_000, torch.arange(20_000) % 10
    found = drop_labels(y, 10, 0.15, torch.Generator().manual_seed(0))
    dropped = found == 10
    assert abs(dropped.sum().item() - 0.15 * n) < 5 * math.sqrt(n * 0.15 * 0.85)
    assert torch.equal(found[~dropped], y[~dropped]) and found.dtype == y.dtype
    counts = torch.bincount(y[dropped], minlength=10).double()                              # of each class alike:
    assert (counts - 0.15 * n / 10).abs().max() < 5 * math.sqrt(n / 10 * 0.15 * 0.85)       # 10 more tests at 5σ
    assert torch.equal(drop_labels(y, 10, 0.0), y) and (drop_labels(y, 10, 1.0) == 10).all()
    assert torch.equal(drop_labels(y, 10, 0.15, torch.Generator().manual_seed(0)), found)


# --- the step --------------------------------------------------------------------------------------------------------

class Watched(nn.Module):
    """Answers x·scale + 0, with what it was asked kept: one number learns."""

    null = 10

    def __init__(self, scale=0.0):
        super().__init__()
        self.scale, self.asked = nn.Parameter(torch.tensor(scale)), []

    def forward(self, x, t, y=None):
        self.asked.append((x.detach(), t, y))
        return self.scale * x


def watched_step(batch, schedule=SCHEDULE, net=None, **settings):
    net = net or Watched()
    log = diffusion_step(iter([batch]), net, torch.optim.SGD(net.parameters(), 0.1), schedule, **settings)
    return *net.asked[-1], log["loss"]


def test_a_step_asks_about_noisy_images_of_what_prepare_made(monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)                              # no noise: √ᾱ x_0 is left
    batch = torch.rand(5, 1, 2, 2)
    for settings, prepared in (({}, 2 * batch - 1), ({"prepare": lambda x: x / 3}, batch / 3)):
        torch.manual_seed(0)
        x_t, t, y, _ = watched_step(batch, **settings)
        assert y is None and t.dtype == torch.int64
        assert_close(x_t, SCHEDULE.alpha_bar[t].sqrt().float()[:, None, None, None] * prepared)


def test_the_noise_is_of_variance_1():
    # 40,000 draws, mean and variance: 2 z-tests at 5σ, a false alarm in 1e-6 of seeds.
    torch.manual_seed(0)
    x_t, t, *_ = watched_step(torch.zeros(40_000, 1), prepare=lambda x: x)
    eps = x_t[:, 0].double() / SCHEDULE.variance[t].sqrt()
    assert abs(eps.mean()) < 5 / 200 and abs(eps.var() - 1) < 5 * math.sqrt(2) / 200


def test_times_are_even_from_1_to_T():
    # 8 times, 8,000 draws: 8 counts at 5σ, a false alarm in 5e-6 of seeds.
    torch.manual_seed(0)
    _, t, *_ = watched_step(torch.zeros(8_000, 1), Schedule.cosine(8))
    counts = torch.bincount(t, minlength=9)
    assert len(counts) == 9 and counts[0] == 0
    assert (counts[1:] - 1_000).abs().max() < 5 * math.sqrt(8_000 * 1 / 8 * 7 / 8)


@each_pair
def test_the_loss_is_that_of_the_network_s_answer(predicts, other):
    torch.manual_seed(0)
    x0 = torch.rand(6, 3, dtype=torch.float64)
    x_t, t, _, loss = watched_step(x0, predicts=predicts, weighted_as=other, prepare=lambda x: x)
    eps = (x_t - SCHEDULE.alpha_bar[t].sqrt()[:, None] * x0) / SCHEDULE.variance[t].sqrt()[:, None]
    target = getattr(parts(eps, "eps", x_t, SCHEDULE, t), predicts)                         # the answer was 0
    wanted = (error_weight(SCHEDULE, t, other, predicts)[:, None] * target**2).mean()
    assert_close(loss, wanted, rtol=1e-8, atol=0)
    assert not loss.requires_grad and loss.shape == ()


def test_by_default_a_step_predicts_the_noise_with_its_own_weight():
    def loss(**settings):
        torch.manual_seed(0)
        return watched_step(torch.ones(6, 3), **settings)[-1]
    assert loss() == loss(predicts="eps", weighted_as="eps") != loss(predicts="v")
    assert loss(predicts="v") == loss(predicts="v", weighted_as="v")


def test_a_step_drops_the_stated_share_of_labels():
    # 10,000 labels, 3 shares: 5σ each, a false alarm in 2e-6 of seeds.
    torch.manual_seed(0)
    batch = torch.zeros(10_000, 1), torch.arange(10_000) % 10
    for settings, share in (({}, 0.1), ({"unlabelled": 0.3}, 0.3), ({"unlabelled": 0.0}, 0.0)):
        _, _, y, _ = watched_step(batch, **settings)
        assert abs((y == 10).sum().item() - 10_000 * share) <= 5 * math.sqrt(10_000 * share * (1 - share))
        assert torch.equal(y[y != 10], batch[1][y != 10])


def test_a_step_moves_the_network_s_weights_and_nothing_else():
    torch.manual_seed(0)
    net, other = TimedMLP(2, (8,), T=50), nn.Linear(2, 2)                                   # other: in prepare
    before, kept = copy.deepcopy(net), copy.deepcopy(other)
    batches = iter([torch.rand(16, 2)] * 2)
    diffusion_step(batches, net, torch.optim.SGD(net.parameters(), 0.1), SCHEDULE, prepare=other)
    assert all(not torch.equal(a, b) for a, b in zip(net.parameters(), before.parameters(), strict=True))
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(other.parameters(), kept.parameters(), strict=True))
    assert len(list(batches)) == 1                                                          # one batch a step


@each_way
def test_steps_on_one_image_lower_the_loss(predicts):
    """One image is learnt by heart: then x_t tells the noise in it, and nothing is left that cannot be known."""
    torch.manual_seed(0)
    net, schedule = TimedMLP(2, (64,), T=50), Schedule.linear(50)
    opt, x = torch.optim.Adam(net.parameters(), 1e-2), torch.tensor([1.0, 0.0]).expand(64, 2)
    losses = [diffusion_step(iter([x]), net, opt, schedule, predicts)["loss"].item() for _ in range(100)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])


def test_a_step_refuses_what_it_cannot_predict_before_it_takes_a_batch():
    batches, net = iter([torch.zeros(2, 1)]), Watched()
    with pytest.raises(ValueError, match="predicts is 'score'; it must be one of 'eps', 'x0', 'v'"):
        diffusion_step(batches, net, torch.optim.SGD(net.parameters(), 0.1), SCHEDULE, "score")
    assert len(list(batches)) == 1
    with pytest.raises(ValueError, match="of is 'score'"):
        watched_step(torch.zeros(2, 1), weighted_as="score")


def test_under_autocast_the_loss_is_taken_in_single_precision():
    torch.manual_seed(0)
    net = TimedMLP(2, (8,), T=50)
    with torch.autocast("cpu", torch.bfloat16):
        log = diffusion_step(iter([torch.rand(16, 2)]), net, torch.optim.SGD(net.parameters(), 0.1), SCHEDULE)
    assert log["loss"].dtype == torch.float32 and all(p.dtype == torch.float32 for p in net.parameters())
