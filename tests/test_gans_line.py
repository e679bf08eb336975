"""The game on a line against closed forms and quadrature; a discriminator's step and a generator's gradient by hand."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from scipy.special import rel_entr
from scipy.stats import norm
from torch import nn
from torch.testing import assert_close

from course_lib.datasets import gaussian_mixture_1d
from course_lib.divergences import js
from course_lib.gans import (
    HINGE,
    LEAST_SQUARES,
    MINIMAX,
    NON_SATURATING,
    GameFrame,
    discriminator_step,
    game_frame,
    game_value,
    game_value_of_logits,
    gan_step,
    generator_gradient,
    minimax_generator_loss,
    non_saturating_generator_loss,
    optimal_discriminator,
)
from course_lib.networks import mlp_discriminator, mlp_generator
from course_lib.training import adam, train

exactly = {"rtol": 0, "atol": 0}
PAIRS = {"minimax": MINIMAX, "non-saturating": NON_SATURATING, "least squares": LEAST_SQUARES, "hinge": HINGE}
each_pair = pytest.mark.parametrize("losses", PAIRS.values(), ids=PAIRS)
EDGES = torch.linspace(-10, 10, 401, dtype=torch.float64)
CENTRES, DX = (EDGES[1:] + EDGES[:-1]) / 2, 0.05


class Map(nn.Module):
    """A map of the line with a weight, so that it has a dtype: f(x, weight)."""

    def __init__(self, f, weight=1.0, dtype=torch.float64):
        super().__init__()
        self.f, self.weight = f, nn.Parameter(torch.tensor(weight, dtype=dtype))

    def forward(self, x):
        return self.f(x, self.weight)


def affine(a, b, dtype=torch.float64):
    """z ~ N(0, 1) becomes N(b, a²)."""
    return Map(lambda z, w: a * w * z + b, dtype=dtype)


def line(slope, offset, dtype=torch.float64):
    """Logits slope · x + offset."""
    return Map(lambda x, w: slope * w * x[:, 0] + offset, dtype=dtype)


def cells(density):
    """Means over the cells, from the distribution function."""
    return torch.tensor(np.diff(density.cdf(EDGES.numpy())) / DX)


def frame(a=1.0, b=0.0, D=None, data=(0.0, 1.0), edges=EDGES, step=0):
    mean, std = data
    return game_frame(step, affine(a, b), D or line(0.0, 0.0), gaussian_mixture_1d([mean], std).log_prob, edges)


FINE = np.linspace(-10, 10, 20_001)                                      # far finer than the frame's own cells


def js_by_quadrature(p, q):
    p, q = p.pdf(FINE), q.pdf(FINE)
    return simpson(rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2), x=FINE) / 2


# --- one moment of the game ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("a, b", [(1.0, 0.0), (0.7, 1.5), (-1.6, -2.0), (0.4, 4.0)])
def test_with_an_affine_generator_all_is_known(a, b):
    """G(z) = a z + b gives N(b, a²); the data are N(−1, 1.3²), the discriminator a logistic curve."""
    r, g = norm(-1.0, 1.3), norm(b, abs(a))
    now = frame(a, b, line(-0.6, 0.2), (-1.0, 1.3), step=17)
    assert isinstance(now, GameFrame) and now.step == 17
    assert_close(now.x, CENTRES)
    assert_close(now.p_r, torch.tensor(r.pdf(CENTRES)), rtol=0, atol=1e-9)
    assert_close(now.p_g, cells(g), rtol=0, atol=5e-5)
    assert_close(now.D, torch.tensor(1 / (1 + np.exp(0.6 * CENTRES.numpy() - 0.2))))
    best = r.pdf(CENTRES) / (r.pdf(CENTRES) + g.pdf(CENTRES))
    there = (now.p_r + now.p_g) > 1e-3
    assert there.sum() > 100
    assert_close(now.D_star[there], torch.tensor(best)[there], rtol=0, atol=2e-3)        # p_g is a cell's mean
    distance = js_by_quadrature(r, g)
    assert now.js == pytest.approx(distance, abs=6e-5)
    assert now.best == pytest.approx(2 * distance - 2 * math.log(2), abs=1.2e-4)
    log_D, log_not_D = (-np.log1p(np.exp(sign * (0.2 - 0.6 * FINE))) for sign in (-1, 1))
    wanted = simpson(r.pdf(FINE) * log_D + g.pdf(FINE) * log_not_D, x=FINE)
    assert now.value == pytest.approx(wanted, abs=2e-5) and now.value < now.best


def test_a_frame_s_numbers_are_the_library_s_own_of_its_densities():
    now = frame(0.7, 1.5, line(0.8, 0.3), (-1.0, 1.3))
    assert now.js == pytest.approx(js(now.p_r, now.p_g, DX).item(), abs=1e-12)
    both = (now.p_r + now.p_g).numpy()                                  # p_r log D* = p_r log(p_r/(p_r + p_g))
    at_the_best = (rel_entr(now.p_r.numpy(), both) + rel_entr(now.p_g.numpy(), both)).sum() * DX
    assert now.best == pytest.approx(at_the_best, abs=1e-9)
    assert_close(now.D_star, optimal_discriminator(now.p_r, now.p_g), **exactly)
    assert now.value == pytest.approx(game_value(now.p_r, now.p_g, now.D, DX).item(), abs=1e-9)
    for p in (now.p_r, now.p_g):
        assert p.sum().item() * DX == pytest.approx(1, abs=1e-12)


def test_the_best_discriminator_of_two_gaussians_of_one_width_is_a_logistic_curve():
    """log N(x; 1, σ²) − log N(x; −1, σ²) = 2x/σ²."""
    now = frame(1.2, -1.0, line(2 / 1.44, 0.0), (1.0, 1.2))
    assert now.value == pytest.approx(now.best, abs=1e-6) and now.best < -0.5
    there = (now.p_r + now.p_g) > 1e-3
    assert_close(now.D[there], now.D_star[there], rtol=0, atol=1e-3)
    others = [frame(1.2, -1.0, line(2 / 1.44 + d, e), (1.0, 1.2)).value for d, e in ((0.3, 0), (-0.3, 0), (0, 0.3))]
    assert max(others) < now.best - 1e-3


def test_the_ends_of_the_game():
    same = frame()
    assert same.js == pytest.approx(0, abs=1e-6) and same.best == pytest.approx(-2 * math.log(2), abs=1e-6)
    assert same.value == pytest.approx(same.best, abs=1e-6)             # D = ½ is best where nothing can be told apart
    assert_close(same.D, torch.full_like(CENTRES, 0.5))
    apart = frame(0.3, 6.0, line(-20.0, 50.0), (-3.0, 0.5))
    assert apart.js == pytest.approx(math.log(2), abs=1e-6) and apart.best == pytest.approx(0, abs=1e-6)
    assert apart.value == pytest.approx(0, abs=1e-6)
    sure = frame(0.3, -6.0, line(-1e4, 0.0), (3.0, 0.3))                # sure, and wrong: D is 0 or 1 to all digits
    assert sure.value == pytest.approx(-1e4 * (3 + 6), rel=1e-6)


@pytest.mark.parametrize("n", [41, 401])
@pytest.mark.parametrize("seed", range(4))
def test_no_discriminator_does_better_than_the_best(n, seed):
    """Also where edges cut tails off: value and best count the same cells."""
    edges = torch.linspace(-2.45, 3.45, n, dtype=torch.float64)
    torch.manual_seed(seed)
    network = mlp_discriminator(1, (16, 16), nn.Tanh).double()
    for D in (network, line(1.0, -0.5)):                                # the latter is the best one
        now = frame(1.0, 0.0, D, (1.0, 1.0), edges)
        assert now.value < now.best + 1e-6
    assert now.value == pytest.approx(now.best, abs=1e-6)


def test_value_of_a_network_is_that_of_its_logits():
    torch.manual_seed(0)
    G, D = mlp_generator(1, 1, (16,), activation=nn.Tanh).double(), mlp_discriminator(1, (16,)).double()
    data = gaussian_mixture_1d([-1.0, 2.0], [0.5, 1.0])
    now = game_frame(3, G, D, data.log_prob, EDGES)
    with torch.no_grad():
        logits, sent = D(CENTRES[:, None]), G(now.z[:, None])[:, 0]
    assert_close(now.D, logits.sigmoid())
    assert now.value == pytest.approx(game_value_of_logits(now.p_r, now.p_g, logits, DX).item(), abs=1e-9)
    assert_close(now.G_z, sent)
    assert_close(now.z, torch.linspace(-2.5, 2.5, 33).double())
    assert now.G_z.shape == (33,) and now.x.shape == now.p_r.shape == now.D.shape == now.D_star.shape == (400,)
    # 100,000 samples, 5 standard errors of each of 40 cells: a false alarm in 2e-5 of seeds.
    share = (now.p_g * DX).view(40, 10).sum(1)
    counts = torch.histogram(G.sample(100_000, torch.Generator().manual_seed(1))[:, 0], EDGES[::10].contiguous()).hist
    assert ((counts / 1e5 - share).abs() < 5 * (share * (1 - share) / 1e5).sqrt() + 2e-6).all()


def test_a_folded_generator_has_its_density_twice_on_one_side():
    """|z| − 1: a half normal from −1 on, and nothing before it."""
    now = game_frame(0, Map(lambda z, w: z.abs() - w), line(0.0, 0.0), gaussian_mixture_1d([0.0], 1.0).log_prob, EDGES)
    wanted = np.diff(np.where(EDGES > -1, 1 - 2 * norm.cdf(-np.maximum(EDGES.numpy() + 1, 0)), 0)) / DX
    assert_close(now.p_g, torch.tensor(wanted), rtol=0, atol=2e-4)
    before = CENTRES < -1.05                                            # but for the cell at the fold
    assert not now.p_g[before].any() and now.p_g.sum().item() * DX == pytest.approx(1, abs=1e-9)
    assert (now.D_star[before] == 1).all() and now.js > 0.1


def test_a_generator_that_collapsed_is_one_cell():
    now = game_frame(0, Map(lambda z, w: 0 * z + 0.51 * w), line(0.0, 0.0), gaussian_mixture_1d([0.0], 1.0).log_prob,
                     EDGES)
    at = (CENTRES - 0.51).abs().argmin()
    assert now.p_g[at].item() * DX == pytest.approx(1) and now.p_g.count_nonzero() == 1
    assert (now.G_z == 0.51).all() and now.js > 0.6


@pytest.mark.parametrize("n", [41, 121, 241, 401])
def test_where_no_sample_falls_the_best_discriminator_is_sure(n):
    """Not a cell of p_g is off by rounding: against data that are as rare there, D* would take it for a fake."""
    now = frame(0.5, 0.0, data=(0.0, 1.5), edges=torch.linspace(-10, 10, n, dtype=torch.float64))
    outside = (now.x.abs() > 4 + 20 / (n - 1))                          # G(±8) = ±4
    assert not now.p_g[outside].any() and (now.p_g >= 0).all() and (now.D_star[outside] == 1).all()


def test_networks_in_single_precision_are_measured_in_double():
    data = gaussian_mixture_1d([-1.0], 1.3)
    single = game_frame(0, affine(0.7, 1.5, torch.float32), line(0.8, 0.3, torch.float32), data.log_prob, EDGES.float())
    double = frame(0.7, 1.5, line(0.8, 0.3), (-1.0, 1.3))
    for a, b in zip(single, double, strict=True):
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype == torch.float64 and a.device.type == "cpu" and not a.requires_grad
            assert_close(a, b, rtol=0, atol=1e-4)
        else:
            assert type(a) is type(b) and a == pytest.approx(b, abs=1e-5)


def test_a_frame_leaves_the_players_alone():
    torch.manual_seed(0)
    G, D = mlp_generator(1, 1, (4,)), mlp_discriminator(1, (4,))
    before, state = [p.detach().clone() for p in (*G.parameters(), *D.parameters())], torch.get_rng_state()
    now = game_frame(0, G, D, gaussian_mixture_1d([0.0], 1.0).log_prob, EDGES)
    assert all(torch.equal(p, q) and p.grad is None for p, q in
               zip((*G.parameters(), *D.parameters()), before, strict=True))
    assert torch.equal(torch.get_rng_state(), state) and G.training and D.training
    assert not any(t.requires_grad for t in now if isinstance(t, torch.Tensor))


def column(f):
    return lambda x: f(x)[:, None]


UNEVEN = torch.cat([torch.linspace(-10, 0, 100), torch.linspace(0.2, 10, 60)])


@pytest.mark.parametrize("change, message", [
    ({"edges": UNEVEN}, "edges must rise evenly"), ({"edges": EDGES.flip(0)}, "edges must rise evenly"),
    ({"edges": EDGES[::400]}, "3 points at least"), ({"edges": EDGES[:1]}, "3 points at least"),
    ({"edges": EDGES[:0]}, "3 points at least"), ({"edges": EDGES * math.nan}, "edges must rise evenly"),
    ({"edges": EDGES[:, None]}, r"edges has shape \(401, 1\)"),
    ({"edges": EDGES / 5 - 2}, r"the data's density has mass 0\.5.*widen the edges"),
    ({"G": affine(1.0, 10.0)}, r"the generator's density has mass 0\.500 between -10 and 10; .*0\.98"),
    ({"G": affine(math.nan, 0.0)}, "the generator's density has mass nan"),
    ({"G": Map(lambda z, w: z[:, 0])}, r"G\(z\) has shape \(4001,\)"),
    ({"D": Map(lambda x, w: x)}, r"D\(x\) has shape \(400, 1\); it must be \(400,\)"),
    ({"log_prob": column(gaussian_mixture_1d([0.0], 1.0).log_prob)}, r"shape \(400, 1\)|\(400,\)"),
])
def test_what_is_no_frame_is_refused(change, message):
    given = {"G": affine(1.0, 0.0), "D": line(0.0, 0.0), "log_prob": gaussian_mixture_1d([0.0], 1.0).log_prob,
             "edges": EDGES} | change
    with pytest.raises(ValueError, match=message):
        game_frame(0, **given)


def test_98_of_100_of_the_mass_must_lie_inside():
    for share, fits in ((0.985, True), (0.975, False)):
        reach = norm.ppf(0.5 + share / 2)
        for data, b in (((0.0, 1.0), 0.1), ((0.0, 0.1), 1.0)):          # the data reach beyond, or the generator does
            given = {"a": b, "data": data, "edges": torch.linspace(-reach, reach, 201, dtype=torch.float64)}
            if fits:
                assert frame(**given).p_g.sum().item() * reach / 100 == pytest.approx(1)
            else:
                with pytest.raises(ValueError, match=r"has mass 0\.975"):
                    frame(**given)


# --- the discriminator alone -----------------------------------------------------------------------------------------

def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def players(seed=0):
    torch.manual_seed(seed)
    return mlp_generator(2, 3, (5,), activation=nn.Tanh).double(), mlp_discriminator(3, (6,), nn.Tanh).double()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@each_pair
def test_discriminator_step_is_one_step_by_hand(losses):
    x, (G, D), (by_hand_G, by_hand_D) = normal(6, 3), players(), players()
    torch.manual_seed(1)
    fake = by_hand_G(torch.randn(6, 2, dtype=torch.float64)).detach()
    loss = losses.discriminator(by_hand_D(x), by_hand_D(fake))
    for p, g in zip(by_hand_D.parameters(), torch.autograd.grad(loss, by_hand_D.parameters()), strict=True):
        p.data -= 0.5 * g
    kept = [torch.ones_like(p) for p in G.parameters()]
    for p, g in zip(G.parameters(), kept, strict=True):
        p.grad = g
    torch.manual_seed(1)
    rest = iter([x, normal(9, 3)])
    log = discriminator_step(rest, G, D, torch.optim.SGD(D.parameters(), 0.5), losses)
    assert len(next(rest)) == 9                                         # one batch taken, no more
    assert log.keys() == {"D"} and not log["D"].requires_grad
    assert_close(log["D"], loss.detach())
    assert_close(weights(D), weights(by_hand_D))
    assert torch.equal(weights(G), weights(by_hand_G)) and all(p.grad is None for p in D.parameters())
    assert all(p.grad is g and (g == 1).all() for p, g in zip(G.parameters(), kept, strict=True))


@pytest.mark.parametrize("options", [{}, {"losses": HINGE}])
def test_it_is_the_inner_step_of_algorithm_1(options):
    batch, ends = [normal(6, 3), normal(4, 3, seed=1)], []
    for alone in (True, False):
        G, D = players()
        opt_G, opt_D = torch.optim.SGD(G.parameters(), 0.0), adam(D, 1e-2)
        torch.manual_seed(1)
        log = (discriminator_step(iter(batch), G, D, opt_D, **options) if alone else
               gan_step(iter(batch), G, D, opt_G, opt_D, **options))
        ends.append((weights(D), log["D"]))
    assert_close(*ends, **exactly)


def test_each_step_draws_noise_anew():
    G, D = players()
    seen = []
    D.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for _ in range(2):
        discriminator_step(iter([normal(6, 3)]), G, D, torch.optim.SGD(D.parameters(), 0.1))
    real, fake, real_again, fake_again = seen
    assert torch.equal(real, real_again) and fake.shape == fake_again.shape == (6, 3)
    assert not torch.isclose(fake, fake_again).any() and not (fake.requires_grad or fake_again.requires_grad)


class Die(nn.Module):
    """A generator that throws a loaded die of three sides, as one-hot points."""

    def __init__(self, p):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))

    def noise(self, n):
        return torch.rand(n, 1)

    def forward(self, z):
        return torch.eye(3)[(z > self.p.cumsum(0)[:2]).sum(1)]


def test_alone_the_discriminator_comes_to_the_log_ratio():
    """Its best logits on a die's sides are log p_r − log p_g; a step's noise leaves a standard deviation of 0.02."""
    torch.manual_seed(0)
    p_r, G = torch.tensor([0.5, 0.3, 0.2]), Die([0.1, 0.3, 0.6])
    D = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
    real = iter(lambda: torch.eye(3)[torch.multinomial(p_r, 2_000, replacement=True)], None)
    step = partial(discriminator_step, G=G, D=D, opt_D=torch.optim.SGD(D.parameters(), 1.0))
    *_, (_, log) = train(step, real, 200)
    ratio = p_r.log() - torch.tensor([0.1, 0.3, 0.6]).log()
    assert_close(D[0].weight[0].detach(), ratio, rtol=0, atol=0.1)
    p_g = G.p.detach()
    best = -(p_r * (p_r / (p_r + p_g)).log() + p_g * (p_g / (p_r + p_g)).log()).sum()
    assert log["D"].item() == pytest.approx(best.item(), abs=0.1)


# --- the generator's gradient ----------------------------------------------------------------------------------------

def test_a_linear_game_s_gradient_by_hand():
    """G(z) = W z + b, l(x) = v·x + c: ∇_W log(1 − σ(l)) = −σ(l) v zᵀ, ∇_b = −σ(l) v, both meant over z."""
    G, D, z = nn.Linear(2, 3).double(), nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)).double(), normal(7, 2)
    v, Z = D[0].weight.detach()[0].numpy(), z.numpy()
    logits = (Z @ G.weight.detach().numpy().T + G.bias.detach().numpy()) @ v + D[0].bias.item()
    for loss, slope in ((minimax_generator_loss, -1 / (1 + np.exp(-logits))),
                        (non_saturating_generator_loss, -1 / (1 + np.exp(logits)))):
        to_W, to_b = np.outer(v, slope @ Z) / 7, v * slope.mean()
        wanted = math.sqrt((to_W**2).sum() + (to_b**2).sum())
        found = generator_gradient(G, D, z, loss)
        assert found.shape == () and found.item() == pytest.approx(wanted, rel=1e-9)


@each_pair
def test_the_gradient_is_that_of_backward(losses):
    (G, D), z = players(), normal(8, 2)
    losses.generator(D(G(z))).backward()
    wanted = math.sqrt(sum(p.grad.square().sum().item() for p in G.parameters()))
    kept = [(p.grad, p.grad.clone()) for p in (*G.parameters(), *D.parameters())]
    found = generator_gradient(G, D, z, losses.generator)
    assert found.item() == pytest.approx(wanted, rel=1e-9) and not found.requires_grad
    with torch.no_grad():
        assert torch.equal(generator_gradient(G, D, z, losses.generator), found)
        assert not torch.is_grad_enabled()
    for p, (grad, value) in zip((*G.parameters(), *D.parameters()), kept, strict=True):
        assert p.grad is grad and torch.equal(grad, value)
    (G, D), before = players(), [weights(m) for m in players()]
    generator_gradient(G, D, z, losses.generator)
    assert all(p.grad is None for p in (*G.parameters(), *D.parameters()))
    assert torch.equal(weights(G), before[0]) and torch.equal(weights(D), before[1])


def test_a_sure_discriminator_starves_the_minimax_generator_only():
    (G, D), z = players(), normal(50, 2)
    with torch.no_grad():
        D.head.bias -= 12                                               # D is near e^−12 on all samples
    starved, fed = (generator_gradient(G, D, z, loss).item()
                    for loss in (minimax_generator_loss, non_saturating_generator_loss))
    assert starved < 1e-4 * fed and fed > 1e-3
