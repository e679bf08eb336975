"""The steps of Wasserstein GANs against the papers' boxes written out by hand, and the networks that belong to them."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib import networks
from course_lib.datasets import ring, toy
from course_lib.gans import clip_weights, wgan_gp_step, wgan_step
from course_lib.training import adam, rmsprop

exactly = {"rtol": 0, "atol": 0}


class Counted:
    """Batches of a toy, and how many were taken."""

    def __init__(self, n=16):
        self.taken, self.data = 0, toy.draws(ring(), n, 3)

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        return next(self.data)


@pytest.fixture
def players():
    torch.manual_seed(0)
    return networks.mlp_generator(2, 2, (8,)), networks.mlp_discriminator(2, (8, 8))


# --- clipping --------------------------------------------------------------------------------------------------------

def test_clip_weights_moves_what_is_outside_to_the_edge_and_leaves_the_rest():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net[1].running_mean.fill_(7.0)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    clip_weights(net, 0.3)
    for name, p in net.named_parameters():
        assert_close(p.detach(), before[name].clip(-0.3, 0.3), **exactly)
        assert p.requires_grad
    assert any((value.abs() > 0.3).any() for value in before.values())
    assert_close(net[1].running_mean, torch.full((4,), 7.0), **exactly)


@pytest.mark.parametrize("c", [0, -0.01, float("nan"), float("inf")])
def test_clip_weights_refuses_a_bound_that_is_none(c):
    with pytest.raises(ValueError, match=r"c is .*above 0"):
        clip_weights(nn.Linear(1, 1), c)


# --- Algorithm 1 of Arjovsky et al. 2017, written out -----------------------------------------------------------------

class ByHand:
    """RMSProp as Hinton's lecture has it, with PyTorch's α = 0.99 and ε = 1e-8 outside the root."""

    def __init__(self, net, lr):
        self.net, self.lr = net, lr
        self.squares = [torch.zeros_like(p) for p in net.parameters()]

    def descend(self, loss):
        gradients = torch.autograd.grad(loss, list(self.net.parameters()))
        with torch.no_grad():
            for p, g, v in zip(self.net.parameters(), gradients, self.squares, strict=True):
                v.mul_(0.99).add_(0.01 * g * g)
                p.sub_(self.lr * g / (v.sqrt() + 1e-8))


@pytest.mark.parametrize(("n_critic", "c"), [(5, 0.01), (1, 0.05), (3, 0.2)])
def test_wgan_step_is_the_paper_s_algorithm_by_hand(players, n_critic, c):
    G, f = players
    G2, f2 = copy.deepcopy(G), copy.deepcopy(f)
    data = Counted()
    torch.manual_seed(1)
    logs = [wgan_step(data, G, f, rmsprop(G), rmsprop(f), n_critic=n_critic, clip=c)]
    assert data.taken == n_critic
    data, w, theta = toy.draws(ring(), 16, 3), ByHand(f2, 5e-5), ByHand(G2, 5e-5)
    torch.manual_seed(1)
    for _ in range(n_critic):
        x, z = next(data), torch.randn(16, 2)
        gap = f2(x).mean() - f2(G2(z)).mean()
        w.descend(-gap)                                                     # w ascends the gap
        with torch.no_grad():
            for p in f2.parameters():
                p.copy_(torch.where(p > c, torch.full_like(p, c), torch.where(p < -c, torch.full_like(p, -c), p)))
    loss = -f2(G2(torch.randn(16, 2))).mean()
    theta.descend(loss)                                                     # θ descends −mean f(G(z))
    for mine, hand in ((G, G2), (f, f2)):
        for a, b in zip(mine.parameters(), hand.parameters(), strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-8)
    assert_close(logs[0]["gap"], gap.detach())
    assert_close(logs[0]["G"], loss.detach())
    assert not logs[0]["gap"].requires_grad and not logs[0]["G"].requires_grad
    assert max(p.abs().max().item() for p in f.parameters()) <= c * (1 + 1e-6)         # c in float32


def test_by_default_wgan_step_is_the_paper_s_settings(players):
    G, f = players
    data = Counted()
    wgan_step(data, G, f, rmsprop(G), rmsprop(f))
    assert data.taken == 5
    assert max(p.abs().max().item() for p in f.parameters()) == pytest.approx(0.01)
    assert rmsprop(G).param_groups[0]["lr"] == 5e-5
    assert rmsprop(G).param_groups[0]["momentum"] == 0


def both_steps(G, f, lr):
    sgd = lambda net, rate=lr: torch.optim.SGD(net.parameters(), rate)
    return [lambda data: wgan_step(data, G, f, sgd(G), sgd(f), n_critic=1, clip=10.0),
            lambda data: wgan_gp_step(data, G, f, sgd(G), sgd(f), n_critic=1, penalty=0.0)]


@pytest.mark.parametrize("which", [0, 1])
def test_the_critic_climbs_the_gap_and_the_generator_climbs_the_critic(players, which):
    G, f = players
    x, z = next(toy.draws(ring(), 512, 0)), torch.randn(512, 2)
    def gap(): return (f(x).mean() - f(G(z)).mean()).item()
    def heights(): return f(G(z)).mean().item()
    G.noise = lambda n, generator=None: z
    start = gap()
    both = both_steps(G, f, 1e-2)[which]
    before = copy.deepcopy(G.state_dict())
    both(itertools.repeat(x))
    G_after = copy.deepcopy(G.state_dict())
    G.load_state_dict(before)
    assert gap() > start + 1e-5                                             # f alone has moved
    low = heights()
    G.load_state_dict(G_after)
    assert heights() > low + 1e-5                                           # and G climbs it


# --- the penalty ------------------------------------------------------------------------------------------------------

def test_wgan_gp_step_is_the_paper_s_algorithm_by_hand(players):
    G, f = players
    G2, f2 = copy.deepcopy(G), copy.deepcopy(f)
    rate, lam = 1e-2, 7.0
    data = Counted()
    torch.manual_seed(2)
    log = wgan_gp_step(data, G, f, torch.optim.SGD(G.parameters(), rate), torch.optim.SGD(f.parameters(), rate),
                       n_critic=3, penalty=lam)
    assert data.taken == 3
    data = toy.draws(ring(), 16, 3)
    torch.manual_seed(2)
    for _ in range(3):
        x, z, eps = next(data), torch.randn(16, 2), torch.rand(16)
        y = G2(z).detach()
        between = torch.stack([e * a + (1 - e) * b for e, a, b in zip(eps, x, y, strict=True)]).requires_grad_()
        rows = [torch.autograd.grad(f2(row[None]).sum(), row, create_graph=True)[0] for row in between]
        steep = torch.stack([(row.square().sum().sqrt() - 1) ** 2 for row in rows]).mean()
        gap = f2(x).mean() - f2(y).mean()
        gradients = torch.autograd.grad(-gap + lam * steep, list(f2.parameters()), allow_unused=True)
        with torch.no_grad():
            for p, g in zip(f2.parameters(), gradients, strict=True):
                p.sub_(rate * (torch.zeros_like(p) if g is None else g))
    loss = -f2(G2(torch.randn(16, 2))).mean()
    gradients = torch.autograd.grad(loss, list(G2.parameters()))
    with torch.no_grad():
        for p, g in zip(G2.parameters(), gradients, strict=True):
            p.sub_(rate * g)
    for mine, hand in ((G, G2), (f, f2)):
        for a, b in zip(mine.parameters(), hand.parameters(), strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-6)
    for name, value in {"gap": gap, "penalty": steep, "G": loss}.items():
        assert_close(log[name], value.detach(), rtol=1e-4, atol=1e-6)
        assert not log[name].requires_grad


def test_by_default_wgan_gp_makes_five_steps_of_the_critic_with_lambda_10(players, monkeypatch):
    G, f = players
    data = Counted()
    seen = []
    monkeypatch.setattr("course_lib.gans.wasserstein.update", lambda opt, loss: seen.append(loss.item()))
    torch.manual_seed(0)
    log = wgan_gp_step(data, G, f, adam(G), adam(f))
    assert data.taken == 5 and len(seen) == 6
    assert seen[4] == pytest.approx(-log["gap"].item() + 10 * log["penalty"].item(), rel=1e-5)


def test_each_sample_has_its_own_eps(players, monkeypatch):
    G, f = players
    given = []
    def recording(critic, x, y, eps):
        given.append(eps)
        return f(x).mean() * 0
    monkeypatch.setattr("course_lib.gans.wasserstein.gradient_penalty", recording)
    wgan_gp_step(toy.draws(ring(), 4_000, 0), G, f, adam(G), adam(f), n_critic=1)
    eps, = given
    assert eps.shape == (4_000,)
    assert 0 <= eps.min() < 0.01 and 0.99 < eps.max() <= 1
    assert abs(eps.mean().item() - 0.5) < 5 / (12 * 4_000) ** 0.5           # five standard errors: 6 in 10 million
    assert abs(eps.var().item() - 1 / 12) < 0.01


def test_a_critic_with_batch_norm_is_refused(players):
    G, _ = players
    f = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match="batch norm"):
        wgan_gp_step(toy.draws(ring(), 8), G, f, adam(G), adam(f))
    plain = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1), nn.Flatten(0))
    wgan_gp_step(toy.draws(ring(), 8), G, plain, adam(G), adam(plain))      # another norm will do


@pytest.mark.parametrize("step", [wgan_step, wgan_gp_step])
def test_steps_refuse_to_leave_the_critic_out(step, players):
    G, f = players
    with pytest.raises(ValueError, match=r"n_critic is 0.*1 step"):
        step(Counted(), G, f, adam(G), adam(f), n_critic=0)


def test_a_penalty_below_0_is_refused(players):
    G, f = players
    with pytest.raises(ValueError, match="penalty is -1"):
        wgan_gp_step(Counted(), G, f, adam(G), adam(f), penalty=-1)


def test_neither_step_leaves_gradients_behind_or_builds_a_graph_through_the_generator(players):
    G, f = players
    for step in both_steps(G, f, 1e-3):
        step(Counted())
        assert all(p.grad is None for p in (*G.parameters(), *f.parameters()))


def test_wgan_gp_learns_a_gaussian():
    """From far away, where a discriminator would be sure: the samples' mean ends near the data's."""
    torch.manual_seed(0)
    target = toy.gaussian_mixture_1d([4.0], [0.5])
    G, f = networks.mlp_generator(1, 1, (16,)), networks.mlp_discriminator(1, (32, 32))
    data, opts = toy.draws(target, 64, 1), (adam(G, 1e-2, (0.0, 0.9)), adam(f, 1e-2, (0.0, 0.9)))
    before = abs(G.sample(500).mean().item() - 4)
    for _ in range(100):
        wgan_gp_step(data, G, f, *opts, penalty=1.0)
    after = abs(G.sample(500).mean().item() - 4)
    assert before > 3 and after < before / 2


# --- spectral norm ----------------------------------------------------------------------------------------------------

def test_spectrally_normalised_layers_have_norm_1_and_the_network_slope_1_at_most():
    torch.manual_seed(0)
    f = networks.mlp_discriminator(2, (64, 64))
    assert networks.spectrally_normalised(f) is f
    for _ in range(200):
        f(torch.randn(4, 2))
    f.eval()
    for layer in f.modules():
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    x, y = torch.randn(500, 2), torch.randn(500, 2)
    assert ((f(x) - f(y)).abs() <= 1.001 * (x - y).norm(dim=1)).all()


def test_a_normalised_convolution_is_divided_by_the_norm_of_its_kernel_as_a_matrix():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3)
    kernel = conv.weight.detach().clone()
    networks.spectrally_normalised(conv)
    for _ in range(100):
        conv(torch.randn(1, 3, 5, 5))
    conv.eval()
    assert_close(conv.weight, kernel / torch.linalg.matrix_norm(kernel.flatten(1), 2), rtol=1e-3, atol=1e-5)


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match="no linear or convolutional layer"):
        networks.spectrally_normalised(nn.ReLU())
    f = networks.spectrally_normalised(networks.mlp_discriminator(2))
    with pytest.raises(ValueError, match="already"):
        networks.spectrally_normalised(f)


# --- coins and waves --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_coins_are_fair_and_the_rest_is_the_prior(prior):
    G = networks.mlp_generator(5, 2, prior=prior, coins=3)
    z = G.noise(20_000, torch.Generator().manual_seed(0))
    assert z.shape == (20_000, 5)
    assert set(z[:, :3].unique().tolist()) == {-1.0, 1.0}
    assert z[:, :3].mean(0).abs().max() < 5 / 20_000**0.5                   # five standard errors, three coins: 2e-6
    assert len(z[:, :3].unique(dim=0)) == 8
    assert len(z[:, 3:].unique()) > 30_000
    variance = {"normal": 1.0, "uniform": 1 / 3}[prior]
    assert_close(z[:, 3:].var(0), torch.full((2,), variance), rtol=0.05, atol=0)


@pytest.mark.parametrize("coins", [-1, 6])
def test_there_cannot_be_more_coins_than_latents(coins):
    with pytest.raises(ValueError, match=r"coins is .*from 0 to 5"):
        networks.mlp_generator(5, 2, coins=coins)


def test_fourier_features_are_x_its_sines_and_its_cosines():
    torch.manual_seed(0)
    waves = networks.FourierFeatures(2, 500, scale=3.0)
    x = torch.randn(7, 2)
    out = waves(x)
    assert out.shape == (7, 1_002)
    assert_close(out[:, :2], x, **exactly)
    assert_close(out[:, 2:502].square() + out[:, 502:].square(), torch.ones(7, 500))
    angle = torch.stack([(x * b).sum(1) for b in waves.B.T], 1)
    assert_close(out[:, 2:502], angle.sin(), rtol=1e-4, atol=1e-5)
    assert waves.B.std().item() == pytest.approx(3, rel=0.1)
    assert not list(waves.parameters()) and "B" in waves.state_dict()


def test_a_discriminator_with_waves_sees_them_in_its_first_layer():
    D = networks.mlp_discriminator(2, (8, 4), waves=6, scale=2.0)
    assert D(torch.randn(3, 2)).shape == (3,)
    linear = [m for m in D.modules() if isinstance(m, nn.Linear)]
    assert [m.in_features for m in linear] == [14, 8, 4]
    assert networks.mlp_discriminator(2, (8,)).layers[0][1].in_features == 2


@pytest.mark.parametrize("settings", [{"waves": 0}, {"waves": 4, "scale": 0.0}, {"waves": 4, "scale": -1.0}])
def test_waves_and_their_scale_must_be_above_0(settings):
    with pytest.raises(ValueError, match="must be above 0"):
        networks.FourierFeatures(2, **settings)
