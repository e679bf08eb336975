"""Flow matching: the straight path, its loss, the best velocity by quadrature, and the orders of its two samplers."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.testing import assert_close

from course_lib.datasets import GaussianMixture, gaussian_mixture_1d
from course_lib.diffusion import exact_velocity, flow, flow_loss, flow_step, last, straight
from course_lib.networks import TimedMLP

MU, SIGMA = 0.7, 0.5
exactly = {"rtol": 0, "atol": 0}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the path and the loss -------------------------------------------------------------------------------------------

def test_the_path_is_straight_from_noise_to_data():
    data, noise, s = normal(3, 1, 2), normal(3, 1, 2, seed=1), torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    found = straight(data, noise, s)
    assert_close(found[0], noise[0], **exactly)
    assert_close(found[1], 0.75 * noise[1] + 0.25 * data[1])
    assert_close(found[2], data[2], **exactly)
    step = 1e-6
    assert_close((straight(data, noise, s + step) - found) / step, data - noise, rtol=0, atol=1e-8)     # its velocity


def test_the_loss_is_the_mean_squared_error_of_the_velocity():
    output, data, noise = (normal(3, 1, 2, 2, seed=k) for k in range(3))
    wanted = [np.mean((data[i].numpy() - noise[i].numpy() - output[i].numpy()) ** 2) for i in range(3)]
    np.testing.assert_allclose(flow_loss(output, data, noise), wanted, rtol=1e-12)
    assert_close(flow_loss(data - noise, data, noise), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("call, message", [
    (lambda x, s: straight(x, x[:1], s), r"data has shape \(3, 2\), but noise has shape \(1, 2\)"),
    (lambda x, s: straight(x, x, s[:1]), r"s has shape \(1,\); it must be \(3,\)"),
    (lambda x, s: straight(x, x, s[:, None]), r"s has shape \(3, 1\)"),
    (lambda x, s: flow_loss(x[:, :1], x, x), r"data has shape \(3, 2\), but output has shape \(3, 1\)"),
    (lambda x, s: flow_loss(x, x, x[:1]), r"noise has shape \(1, 2\)"),
    (lambda x, s: exact_velocity(GaussianMixture([[0.0, 0.0]], 1.0))(x, s[:2]), r"signal has shape \(2, 1\)"),
    (lambda x, s: list(flow(lambda x, s: x, x, 0)), "steps is 0; it must be 1 or more"),
    (lambda x, s: list(flow(lambda x, s: x, x, 3, "midpoint")), "'midpoint'; it must be one of 'euler', 'heun'"),
])
def test_shapes_that_would_broadcast_and_other_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(3, 2), torch.zeros(3))


# --- the step --------------------------------------------------------------------------------------------------------

def test_a_step_s_loss_is_that_of_what_the_network_was_asked():
    """Data at 0 make it plain: x_s = (1 − s) noise, so the noise can be told from x_s, and the velocity is minus it."""
    torch.manual_seed(0)
    net, asked = TimedMLP(2, (8,), T=1), []
    net.register_forward_hook(lambda _, given, output: asked.append((*given, output.detach())))
    before, batches = copy.deepcopy(net), iter([torch.zeros(500, 2)] * 2)
    log = flow_step(batches, net, torch.optim.SGD(net.parameters(), 0.1))
    (x_s, s, output), = asked
    noise = x_s / (1 - s)[:, None]
    assert_close(log["loss"], (output + noise).square().mean(), rtol=1e-4, atol=0)
    assert not log["loss"].requires_grad and len(list(batches)) == 1
    assert 0 <= s.min() < 0.05 and 0.95 < s.max() < 1 and s.shape == (500,)                 # 1e-11 of seeds miss this
    assert abs(noise.mean()) < 5 / math.sqrt(1_000) and abs(noise.var() - 1) < 5 * math.sqrt(2 / 1_000)  # 1e-6
    assert all(not torch.equal(a, b) for a, b in zip(net.parameters(), before.parameters(), strict=True))


def test_steps_lower_the_loss():
    torch.manual_seed(0)
    net, data = TimedMLP(2, (64,), T=1), torch.tensor([3.0, -2.0]).expand(64, 2)
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    losses = [flow_step(iter([data]), net, opt)["loss"].item() for _ in range(100)]
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])


# --- the best velocity -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("s", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("x", [-0.8, 1.1])
def test_the_exact_velocity_is_the_mean_velocity_of_all_lines_through_a_point(s, x):
    """E[data − noise|x_s = x] by quadrature over data, noise = (x − s data)/(1 − s): what least squares goes to."""
    modes = ((-1.0, 0.3, 0.4), (0.5, 0.6, 0.6))
    bell = lambda x, m, s: math.exp(-((x - m) / s) ** 2 / 2) / s
    noise = lambda data: (x - s * data) / (1 - s)
    joint = lambda data: sum(w * bell(data, m, sd) for m, sd, w in modes) * bell(noise(data), 0, 1)
    mass, first = (quad(f, -5, 5, points=[-1, 0.5], limit=100)[0]
                   for f in (joint, lambda data: (data - noise(data)) * joint(data)))
    velocity = exact_velocity(gaussian_mixture_1d([-1.0, 0.5], [0.3, 0.6], [0.4, 0.6]))
    found = velocity(torch.tensor([[x]], dtype=torch.float64), torch.tensor([s], dtype=torch.float64))
    assert found.item() == pytest.approx(first / mass, rel=1e-6)


def test_no_velocity_has_a_lower_loss_than_the_exact_one():
    # E of the loss rises by δ² where the velocity is off by δ: a z-test of the difference at 5σ, 6e-7 of seeds.
    n, density = 20_000, GaussianMixture([[-1.0, 0.0], [0.5, 1.0]], [0.3, 0.6], [0.4, 0.6])
    data, noise = density.sample(n, torch.Generator().manual_seed(0), torch.float64), normal(n, 2, seed=1)
    s = torch.rand(n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    best = exact_velocity(density)(straight(data, noise, s), s)
    for delta in (0.3, -0.3, 0.3 * straight(data, noise, s)):
        rise = flow_loss(best + delta, data, noise) - flow_loss(best, data, noise)
        wanted = torch.as_tensor(delta).square().mean()
        assert abs(rise.mean() - wanted) < 5 * rise.std() / math.sqrt(n) and rise.mean() > 0


# --- the flow --------------------------------------------------------------------------------------------------------

def gaussian_error(steps, method):
    """x_s = s μ + ρ z with ρ² = (1 − s)² + s²σ² solves dx/ds = μ + ρ'/ρ (x − s μ), so x_1 = μ + σ z: the greatest error
    at z = −1, 0, 2."""
    z = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    found = last(flow(exact_velocity(GaussianMixture([[MU]], SIGMA)), z, steps, method))
    return (found - MU - SIGMA * z).abs().max().item()


@pytest.mark.parametrize("method, order", [("euler", 1), ("heun", 2)])
def test_the_flow_of_a_gaussian_is_right_to_its_order(method, order):
    errors = np.array([gaussian_error(steps, method) for steps in (16, 32, 64)])
    found = np.log2(errors[:-1] / errors[1:])
    assert errors[-1] < 0.03 and np.abs(found - order).max() < 0.25 and abs(found[-1] - order) < 0.15


def test_the_velocity_of_a_gaussian_is_that_of_its_flow():
    x, s = normal(5, 1), torch.linspace(0, 0.9, 5, dtype=torch.float64)
    rho2 = (1 - s) ** 2 + (s * SIGMA) ** 2
    wanted = MU + ((s * SIGMA**2 - (1 - s)) / rho2)[:, None] * (x - s[:, None] * MU)        # ρ'/ρ = (ρ²)'/(2ρ²)
    assert_close(exact_velocity(GaussianMixture([[MU]], SIGMA))(x, s), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method, wanted", [("euler", [0, 0.25, 0.5, 0.75]),
                                            ("heun", [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75])])
def test_the_velocity_is_never_asked_for_at_1(method, wanted):
    asked = []
    def velocity(x, s):
        asked.append(s[0].item())
        assert s.shape == (3,) and s.dtype == x.dtype
        return torch.ones_like(x)
    found = list(flow(velocity, torch.zeros(3, 2), 4, method))
    assert asked == wanted and [x[0, 0].item() for x in found] == [0.25, 0.5, 0.75, 1]


def test_one_step_is_a_straight_line_with_either_method():
    x = normal(4, 1)
    for method in ("euler", "heun"):
        found = last(flow(exact_velocity(GaussianMixture([[MU]], SIGMA)), x, 1, method))
        assert_close(found, torch.full_like(x, MU))                                         # x + (μ − x): to the mean
