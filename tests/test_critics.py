"""Critics: loss, penalty, step, slopes, pushes at samples, instance noise: against closed forms and a step by hand."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.datasets import batches
from course_lib.divergences import gaussians_apart, wasserstein_1d
from course_lib.gans import (
    InstanceNoise,
    critic_loss,
    critic_step,
    gradient_penalty,
    hinge_generator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
    pushes,
    segment_generator,
    steepest,
)
from course_lib.networks import mlp_discriminator
from course_lib.training import adam, train

exactly = {"rtol": 0, "atol": 0}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def half_square(x):
    """½‖x‖²: its slope is ‖x‖, another one at each place."""
    return x.square().flatten(1).sum(1) / 2


def linear(w):
    return lambda x: x.flatten(1) @ w.flatten() + 5.0


# --- the loss --------------------------------------------------------------------------------------------------------

def test_critic_loss_is_minus_the_gap():
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0, 2.0])
    assert critic_loss(real, fake).item() == 1.0 - 4.0
    real, fake = real.requires_grad_(), fake.requires_grad_()
    to_real, to_fake = torch.autograd.grad(critic_loss(real, fake), [real, fake])
    assert_close(to_real, torch.full((2,), -1 / 2))                 # descending, the critic rises on data …
    assert_close(to_fake, torch.full((3,), 1 / 3))                  # … and falls on fakes


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((0,), (4,)), ((4,), (0,)), ((), (4,))])
def test_critic_loss_refuses_shapes(shapes):
    with pytest.raises(ValueError, match=r"real_values|fake_values"):
        critic_loss(*(torch.zeros(shape) for shape in shapes))


# --- the penalty -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(6, 1), (6, 3), (6, 2, 4, 4)])
def test_penalty_of_a_linear_critic(shape):
    w = (0.7 * normal(*shape[1:], seed=3)).requires_grad_()
    penalty = gradient_penalty(linear(w), normal(*shape), normal(*shape, seed=1), normal(6, seed=2).sigmoid())
    assert_close(penalty, (w.norm() - 1) ** 2)
    gradient, = torch.autograd.grad(penalty, w)                     # it can be trained: a gradient of a gradient
    assert_close(gradient, (2 * (w.norm() - 1) * w / w.norm()).detach())


def test_penalty_is_taken_between_the_pair_with_eps_as_the_share_of_x():
    x, y, eps = normal(7, 3), 4 + normal(7, 3, seed=1), torch.linspace(0, 1, 7, dtype=torch.float64)
    between = torch.stack([e * a + (1 - e) * b for e, a, b in zip(eps, x, y, strict=True)])
    assert_close(gradient_penalty(half_square, x, y, eps), (between.norm(dim=1) - 1).square().mean())
    assert_close(gradient_penalty(half_square, x, y, torch.ones(7)), (x.norm(dim=1) - 1).square().mean())


def test_penalty_has_two_sides_and_is_1_where_the_critic_is_flat():
    x, y, eps = normal(5, 2), normal(5, 2, seed=1), torch.rand(5, dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    flat = gradient_penalty(linear(w), x, y, eps)
    assert flat.item() == 1.0 and torch.autograd.grad(flat, w)[0].isfinite().all()      # no 0/0 at a slope of 0
    for length, penalty in ((0.5, 0.25), (1.0, 0.0), (1.5, 0.25)):
        w = torch.tensor([0.6, 0.8], dtype=torch.float64) * length
        assert gradient_penalty(linear(w.requires_grad_()), x, y, eps).item() == pytest.approx(penalty, abs=1e-12)


def test_penalty_pulls_at_the_critic_and_not_at_the_samples():
    x, y = normal(5, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():                                           # its own gradients do not need the caller's mode
        penalty = gradient_penalty(lambda at: scale * half_square(at), x, y, torch.rand(5, dtype=torch.float64))
    gradients = torch.autograd.grad(gradient_penalty(lambda at: scale * half_square(at), x, y, torch.full((5,), 0.5)),
                                    [scale, x, y], allow_unused=True)
    assert penalty.isfinite() and gradients[0] != 0 and gradients[1:] == (None, None)


@pytest.mark.parametrize(("x", "y", "eps", "named"), [
    ((4, 2), (4, 3), (4,), "y"), ((4, 2), (1, 2), (4,), "y"), ((4, 2), (4, 2), (4, 1), "eps"),
    ((4, 2), (4, 2), (), "eps"), ((4, 2), (4, 2), (3,), "eps"), ((4,), (4,), (4,), "x")])
def test_penalty_refuses_shapes_that_would_broadcast(x, y, eps, named):
    with pytest.raises(ValueError, match=rf"^{named} has shape"):
        gradient_penalty(half_square, torch.zeros(x), torch.zeros(y), torch.zeros(eps))


def test_a_critic_must_give_one_value_each():
    with pytest.raises(ValueError, match=r"critic\(x\) has shape \(4, 1\); it must be \(4,\)"):
        gradient_penalty(nn.Linear(2, 1), torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4))


# --- the step --------------------------------------------------------------------------------------------------------

def test_critic_step_is_the_paper_s_by_hand():
    x, y = normal(8, 2, dtype=torch.float32), 1 + normal(8, 2, seed=1, dtype=torch.float32)
    torch.manual_seed(0)
    mine, library = (mlp_discriminator(2, (16,)) for _ in range(2))
    library.load_state_dict(mine.state_dict())
    opts = [torch.optim.SGD(f.parameters(), lr=0.1) for f in (mine, library)]
    for penalty in (10.0, 0.5, 0.0):
        torch.manual_seed(7)
        at = torch.lerp(y, x, torch.rand(8)[:, None]).requires_grad_()
        slope, = torch.autograd.grad(mine(at).sum(), at, create_graph=True)
        gap, steep = mine(x).mean() - mine(y).mean(), (slope.norm(dim=1) - 1).square().mean()
        opts[0].zero_grad()
        (penalty * steep - gap).backward()
        opts[0].step()
        torch.manual_seed(7)
        given = {} if penalty == 10.0 else {"penalty": penalty}     # 10 is the paper's, and the default
        log = critic_step(iter([(x, y)]), library, opts[1], **given)
        assert_close(log["gap"], gap.detach())                      # before the update
        assert_close(log["penalty"], steep.detach())
        assert not log["gap"].requires_grad and not log["penalty"].requires_grad
        for a, b in zip(mine.parameters(), library.parameters(), strict=True):
            assert_close(a, b)


def test_critic_step_refuses_a_penalty_below_0():
    f = mlp_discriminator(1, (4,))
    with pytest.raises(ValueError, match="penalty is -1"):
        critic_step(iter([(torch.zeros(2, 1),) * 2]), f, adam(f), penalty=-1)


def test_a_trained_critic_bounds_w1_from_below_and_points_at_the_data():
    x, y = normal(500, 1, dtype=torch.float32), 3 + normal(500, 1, seed=1, dtype=torch.float32)
    torch.manual_seed(0)
    f = mlp_discriminator(1, (32,))
    for i, _ in train(partial(critic_step, critic=f, opt=adam(f, lr=5e-3)), batches((x, y), 250), steps=150):
        if i in (1, 20, 150):
            K = steepest(f, torch.linspace(-4, 8, 1_201)[:, None])
            assert (f(x).mean() - f(y).mean()) / K <= wasserstein_1d(x[:, 0], y[:, 0]) + 1e-6
    assert (f(x).mean() - f(y).mean()) / K > 0.6 * 3 and 0.8 < K < 2
    assert gradient_penalty(f, x, y, torch.rand(500)) < 0.1
    assert (pushes(hinge_generator_loss, f, y) < -0.7).all()        # data lie at 0, fakes at 3


# --- slopes and pushes -----------------------------------------------------------------------------------------------

def test_steepest_finds_the_largest_slope():
    line = torch.linspace(-3, 3, 6_001, dtype=torch.float64)[:, None]
    assert steepest(lambda x: (10 * x[:, 0]).sin(), line).item() == pytest.approx(10, abs=1e-6)
    assert steepest(lambda x: -x[:, 0].square(), line).item() == pytest.approx(6)       # a fall is steep too
    images = normal(5, 1, 3, 3)
    assert_close(steepest(half_square, images), images.flatten(1).norm(dim=1).max())
    w = normal(2).requires_grad_()
    with torch.no_grad():
        found = steepest(linear(w), normal(3, 2))
    assert_close(found, w.detach().norm())
    assert not steepest(linear(w), normal(3, 2)).requires_grad
    for shape in ((0, 1), (5,)):
        with pytest.raises(ValueError, match=rf"points has shape \({shape[0]},"):
            steepest(half_square, torch.zeros(shape))


def test_pushes_of_three_losses_at_a_linear_discriminator():
    w, at = normal(3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    D = linear(w)(at).sigmoid().detach()[:, None]
    expected = {minimax_generator_loss: D * w, non_saturating_generator_loss: (1 - D) * w,
                hinge_generator_loss: w.expand(6, 3)}
    for loss, ways in expected.items():
        found = pushes(loss, linear(w), at)
        assert_close(found, ways.detach())                          # each sample's own: no 1/n
        assert not found.requires_grad and at.grad is None
        assert_close(pushes(loss, linear(w), at[:2]), found[:2])
    with torch.no_grad():
        assert_close(pushes(hinge_generator_loss, linear(w), at), w.expand(6, 3).detach())
    with pytest.raises(ValueError, match=r"network\(samples\) has shape \(6, 1\)"):
        pushes(hinge_generator_loss, nn.Linear(3, 1).double(), at)


@pytest.mark.parametrize("std", [0.5, 1.0])
def test_what_the_best_discriminator_pushes_is_the_gradient_of_2_js_and_of_kl_less_2_js(std):
    """Arjovsky & Bottou 2017, theorem 2.5, on N(0, s²) against N(1, s²); means of 400,000 draws, within 5 errors."""
    draws = 1 + std * normal(400_000)
    apart = gaussians_apart(1.0, std=std)
    for loss, exact in ((minimax_generator_loss, 2 * apart.djs),
                        (non_saturating_generator_loss, apart.dkl - 2 * apart.djs)):
        ways = pushes(loss, lambda x: ((x[:, 0] - 1).square() - x[:, 0].square()) / (2 * std**2), draws[:, None])
        assert abs(-ways.mean() - exact) < 5 * ways.std() / math.sqrt(len(draws))


# --- a line as a generator, and noise --------------------------------------------------------------------------------

def test_segment_generator_goes_from_start_to_end():
    G = segment_generator((2.0, -1.0), (3.0, 5.0))
    z = torch.tensor([[-1.0], [0.0], [1.0]])
    assert_close(G(z).detach(), torch.tensor([[2.0, -1.0], [2.5, 2.0], [3.0, 5.0]]), **exactly)
    samples = G.sample(2_000, torch.Generator().manual_seed(0))
    assert samples.shape == (2_000, 2) and 2 <= samples[:, 0].min() < 2.01 and 2.99 < samples[:, 0].max() <= 3
    assert samples[:, 0].mean().item() == pytest.approx(2.5, abs=5 * 0.289 / 2_000**0.5)         # uniform, within 5σ
    assert sum(p.numel() for p in G.parameters() if p.requires_grad) == 4
    with pytest.raises(ValueError, match=r"end has shape \(1,\)"):
        segment_generator((0.0, 1.0), (1.0,))
    with pytest.raises(ValueError, match="must have a coordinate each"):
        segment_generator((), ())


def test_instance_noise_blurs_what_the_discriminator_sees():
    class Keep(nn.Module):
        def forward(self, x):
            self.seen = x
            return x.flatten(1).sum(1)

    D, x = Keep(), torch.full((20_000, 2), 3.0)
    torch.manual_seed(0)
    noisy = InstanceNoise(D, 0.5)
    values = noisy(x)
    noise = D.seen - 3
    assert_close(values, D.seen.sum(1))
    assert abs(noise.mean()) < 5 * 0.5 / 200 and abs(noise.std() - 0.5) < 0.01          # 40,000 draws, within 5σ
    assert abs(torch.corrcoef(noise.T)[0, 1]) < 5 / 20_000**0.5                         # each coordinate its own
    first = D.seen
    noisy(x)
    assert not torch.equal(first, D.seen)                           # drawn anew
    noisy.std = 0.0                                                 # as an annealing loop sets it
    noisy(x)
    assert torch.equal(D.seen, x)
    assert (x == 3).all()


def test_instance_noise_trains_the_network_it_wraps_and_passes_gradients_to_its_input():
    D = mlp_discriminator(2, (4,))
    noisy = InstanceNoise(D, 0.1)
    assert [id(p) for p in noisy.parameters()] == [id(p) for p in D.parameters()] and noisy.D is D
    assert pushes(hinge_generator_loss, noisy, torch.randn(5, 2)).abs().sum() > 0
    with pytest.raises(ValueError, match="std is -1"):
        InstanceNoise(D, -1)
