import math
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm
from sklearn.datasets import make_moons, make_swiss_roll
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from course_lib.datasets import GaussianMixture, gaussian_mixture_1d, grid, parallel_lines, ring, swiss_roll, two_moons
from course_lib.datasets.toy import draws

DENSITIES = {
    "1-D": lambda: gaussian_mixture_1d([-2.0, 0.5, 3.0], [0.3, 1.0, 0.1], [0.2, 0.5, 0.3]),
    "3-D": lambda: GaussianMixture([[0.0, 1, 2], [-1, 0, 1]], [0.5, 2.0], [0.9, 0.1]),
    "ring": ring,
    "grid": grid,
    "two moons": two_moons,
    "swiss roll": swiss_roll,
    "line": lambda: parallel_lines(0.7, noise=0.1)[1],
}
each_density = pytest.mark.parametrize("density", [make() for make in DENSITIES.values()], ids=list(DENSITIES))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_mixture(K, d):
    g = seeded(K + d)
    means, stds = 3 * torch.randn(K, d, generator=g), torch.rand(K, generator=g) + 0.05
    weights = torch.rand(K, generator=g, dtype=torch.float64) + 0.1
    return GaussianMixture(means, stds, weights / weights.sum())


@pytest.mark.parametrize("K, d", [(1, 1), (4, 1), (3, 2), (7, 5)])
def test_log_prob_equals_torch_distributions(K, d):
    mixture = random_mixture(K, d)
    normals = Independent(Normal(mixture.means, mixture.stds[:, None].expand(K, d)), 1)
    oracle = MixtureSameFamily(Categorical(probs=mixture.weights), normals)
    x = 4 * torch.randn(200, d, generator=seeded(), dtype=torch.float64)
    assert_close(mixture.log_prob(x), oracle.log_prob(x))


def test_a_1d_mixture_integrates_to_1():
    mixture = DENSITIES["1-D"]()

    def p(x):
        return mixture.log_prob(torch.tensor([[x]], dtype=torch.float64)).exp().item()

    area, error = quad(p, -15, 15, points=[-2, 0.5, 2.5, 3, 3.5], limit=200)
    assert abs(area - 1) < 1e-8 and error < 1e-6


@pytest.mark.parametrize("density, reach, step", [
    (ring(std=0.05), 1.5, 0.025), (grid(side=3, std=0.2), 4.0, 0.1), (two_moons(0.1), 3.0, 0.05),
    (swiss_roll(0.1), 2.2, 0.05), (parallel_lines(0.5, noise=0.1)[1], 2.0, 0.05),
])
def test_a_2d_density_integrates_to_1(density, reach, step):
    # The trapezoid rule on a lattice of step σ/2 is exact to some 1e-34 for Gaussians; what is left is outside ±reach.
    ticks = torch.arange(-reach, reach, step, dtype=torch.float64)
    area = density.log_prob(torch.cartesian_prod(ticks, ticks)).exp().sum() * step**2
    assert abs(area - 1) < 1e-6


@each_density
def test_score_is_the_gradient_of_log_prob(density):
    x = density.sample(300, seeded(), dtype=torch.float64)
    x = torch.cat([x, 3 * x[:100] + 0.1]).requires_grad_()  # in the mass and away from it
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    assert_close(density.score(x.detach()), gradient, rtol=1e-9, atol=1e-9)


@each_density
def test_float32_agrees_with_float64(density):
    x = density.sample(500, seeded())
    assert x.dtype == density.log_prob(x).dtype == density.score(x).dtype == torch.float32
    assert_close(density.log_prob(x).double(), density.log_prob(x.double()), rtol=1e-4, atol=1e-4)
    assert_close(density.score(x).double(), density.score(x.double()), rtol=1e-3, atol=1e-2)  # of up to 4/σ = 400


@each_density
def test_log_prob_stays_finite_far_away(density):
    d = density.sample(1).shape[1]
    x = torch.full((1, d), 1e4)
    assert density.log_prob(x).isfinite().all() and density.score(x).isfinite().all()
    assert (density.score(x) < 0).all()  # towards the mass


def test_a_mixture_far_away_is_its_nearest_mode():
    mixture = gaussian_mixture_1d([-1.0, 1.0], 0.5)
    x = torch.tensor([[1000.0]], dtype=torch.float64)
    assert_close(mixture.log_prob(x)[0].item(), norm.logpdf(1000, 1, 0.5) - math.log(2))
    assert_close(mixture.score(x), (1 - x) / 0.25)


def test_a_component_of_weight_0_is_as_if_it_were_not_there():
    two, one = gaussian_mixture_1d([0.0, 3.0], 1.0, [1.0, 0.0]), gaussian_mixture_1d([0.0], 1.0)
    x = torch.linspace(-3, 5, 9)[:, None]
    assert_close(two.log_prob(x), one.log_prob(x))
    assert_close(two.score(x), one.score(x))
    assert two.sample(1000, seeded()).max() < 6


def test_1d_samples_pass_a_kolmogorov_smirnov_test():
    mixture = DENSITIES["1-D"]()
    x = mixture.sample(20_000, seeded(1), dtype=torch.float64)[:, 0].numpy()

    def cdf(at):
        return sum(w * norm.cdf(at, m, s) for w, m, s in zip([0.2, 0.5, 0.3], [-2, 0.5, 3], [0.3, 1, 0.1], strict=True))

    assert kstest(x, cdf).pvalue > 1e-4  # a right sampler fails for 1 seed in 10,000; the seed is fixed
    assert kstest(x + 0.05, cdf).pvalue < 1e-4  # and the test sees a shift of 0.05


@pytest.mark.parametrize("density, K, std", [(ring(), 8, 0.01), (grid(), 25, 0.05)])
def test_samples_fall_on_all_modes_alike(density, K, std):
    x = density.sample(40_000, seeded(2), dtype=torch.float64)
    distance, mode = torch.cdist(x, density.means).min(dim=1)
    counts = mode.bincount(minlength=K).double()
    # Binomial counts, 5σ: a false alarm in K·6e-7 of seeds, so fewer than 1 in 50,000.
    assert (counts - 40_000 / K).abs().max() < 5 * math.sqrt(40_000 / K * (1 - 1 / K))
    # |x − μ|²/σ² is χ² with 2 degrees of freedom: mean 2, σ 2, so its mean over 40,000 has σ 0.01. Beyond 3σ: e^−4.5.
    assert abs((distance / std).square().mean() - 2) < 0.05
    assert abs((distance > 3 * std).double().mean() - math.exp(-4.5)) < 5 * math.sqrt(math.exp(-4.5) / 40_000)


def test_unequal_weights_and_stds_are_kept():
    mixture = GaussianMixture([[0.0, 0], [50, 0], [0, 50]], [1.0, 2.0, 0.5], [0.7, 0.2, 0.1])
    x = mixture.sample(40_000, seeded(3), dtype=torch.float64)
    mode = torch.cdist(x, mixture.means).argmin(dim=1)
    for k, (weight, std) in enumerate([(0.7, 1.0), (0.2, 2.0), (0.1, 0.5)]):
        mine = x[mode == k] - mixture.means[k]
        assert abs(len(mine) / 40_000 - weight) < 5 * math.sqrt(weight * (1 - weight) / 40_000)  # 5σ: 6e-7 of seeds
        assert abs(mine.std() / std - 1) < 5 / math.sqrt(4 * len(mine))  # σ of an estimated std from 2·len numbers


def test_ring_and_grid_lie_where_the_course_says():
    assert_close(ring().means.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert_close(ring().means[[0, 2]], torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64))
    assert ring().stds.tolist() == [0.01] * 8 and grid().stds.tolist() == [0.05] * 25
    assert sorted(set(grid().means.flatten().tolist())) == [-4, -2, 0, 2, 4] and len(grid().means.unique(dim=0)) == 25
    assert_close(ring().weights, torch.full((8,), 1 / 8, dtype=torch.float64))


@each_density
def test_the_seed_fixes_the_samples_and_leaves_the_global_generator_alone(density):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(density.sample(50, seeded(4)), density.sample(50, seeded(4)))
    assert not torch.equal(density.sample(50, seeded(4)), density.sample(50, seeded(5)))
    assert torch.equal(torch.get_rng_state(), before)
    once = density.sample(50)
    torch.manual_seed(0)
    assert torch.equal(density.sample(50), once)  # without a generator: torch.manual_seed's


@pytest.mark.parametrize("density, point", [
    (two_moons(0.1), (0.0, 1.1)), (two_moons(0.1), (1.0, 0.2)), (two_moons(0.1), (2.0, 0.5)), (two_moons(0.1), (0, 2)),
    (two_moons(0.1), (-1.0, -0.2)), (two_moons(0.1), (0.0, 0.7)),  # at u = 1/2: one moon ends, the other begins
    (two_moons(0.02), (1.9, 0.5)), (swiss_roll(0.05), (0.5, 0.5)), (swiss_roll(0.05), (0.0, -0.6)),
    (parallel_lines(0.7, 0.1)[1], (0.5, 1.3)), (parallel_lines(0.7, 0.1)[1], (0.7, 2.0)),  # the last: 10σ past the end
])
def test_the_density_of_a_noisy_curve_is_the_integral(density, point):
    x, y = point

    def integrand(u):
        cx, cy = density.curve(torch.tensor([u], dtype=torch.float64))[0].tolist()
        return norm.pdf(x, cx, density.noise) * norm.pdf(y, cy, density.noise)

    p = sum(quad(integrand, a, a + 1 / 64, epsabs=0, epsrel=1e-10)[0] for a in np.arange(64) / 64)
    log_p = density.log_prob(torch.tensor([point], dtype=torch.float64)).item()
    assert abs(log_p - math.log(p)) < 1e-6


@pytest.mark.parametrize("density, where", [(two_moons(0.1), (1.0, 0.0)), (swiss_roll(0.1), (0.0, 1.0))])
def test_samples_of_a_noisy_curve_follow_its_density(density, where):
    # The mean of log p over samples against ∫ p log p on a lattice; 5σ of the mean: a false alarm in 6e-7 of seeds.
    ticks = torch.arange(-3, 3, 0.05, dtype=torch.float64)
    log_p = density.log_prob(torch.cartesian_prod(ticks, ticks))
    expected = (log_p.exp() * log_p).sum() * 0.05**2
    drawn = density.log_prob(density.sample(5_000, seeded(6), dtype=torch.float64))
    assert abs(drawn.mean() - expected) < 5 * drawn.std() / math.sqrt(5_000)
    # And the mass of a half plane, as a binomial count.
    normal = torch.tensor(where, dtype=torch.float64)
    share = (log_p.exp() * (torch.cartesian_prod(ticks, ticks) @ normal > 0)).sum().item() * 0.05**2
    found = (density.sample(20_000, seeded(7), dtype=torch.float64) @ normal > 0).double().mean()
    assert abs(found - share) < 5 * math.sqrt(0.25 / 20_000) + 0.01  # 0.01: the lattice's cells on the border


def test_moons_and_roll_are_those_of_sklearn():
    moons = two_moons(0.0).sample(4_000, seeded(), dtype=torch.float64)
    theirs = torch.from_numpy(make_moons(4_000, noise=None)[0])
    roll = swiss_roll(0.0).sample(4_000, seeded(), dtype=torch.float64)
    rolls = torch.from_numpy(make_swiss_roll(4_000, random_state=0)[0][:, [0, 2]] / 10)
    for mine, oracle in ((moons, theirs), (roll, rolls)):
        near = torch.cdist(mine, oracle)
        assert near.min(dim=0).values.max() < 0.06 and near.min(dim=1).values.max() < 0.06  # each on the other's curve
        assert (mine.mean(0) - oracle.mean(0)).abs().max() < 0.1  # the same share on each part


def test_noise_spreads_a_curve_by_its_std():
    x = parallel_lines(2.0, noise=0.3)[1].sample(40_000, seeded(8), dtype=torch.float64)
    assert abs(x[:, 0].mean() - 2) < 5 * 0.3 / 200 and abs(x[:, 0].std() - 0.3) < 5 * 0.3 / 283  # 5σ: 1 seed in 10⁶
    assert abs(x[:, 1].std() - math.sqrt(1 / 12 + 0.09)) < 0.01


def test_parallel_lines_are_vertical_segments_theta_apart():
    zero, other = parallel_lines(-0.4)
    a, b = zero.sample(20_000, seeded(9)), other.sample(20_000, seeded(9))
    assert (a[:, 0] == 0).all() and (b[:, 0] == torch.tensor(-0.4)).all()
    assert kstest(a[:, 1].numpy(), "uniform").pvalue > 1e-4
    assert torch.equal(a[:, 1], b[:, 1])


def test_samples_of_a_line_carry_the_gradient_in_theta():
    theta = torch.tensor(0.5, requires_grad=True)
    x = parallel_lines(theta)[1].sample(10, seeded())
    (gradient,) = torch.autograd.grad(x[:, 0].sum(), theta)
    assert gradient == 10


@pytest.mark.parametrize("density", [parallel_lines(1.0)[0], two_moons(0.0), swiss_roll(0.0)])
@pytest.mark.parametrize("name", ["log_prob", "score"])
def test_a_curve_without_noise_has_no_density_and_says_so(density, name):
    assert density.sample(5).shape == (5, 2)
    with pytest.raises(ValueError, match=r"no density.*noise > 0"):
        getattr(density, name)(torch.zeros(1, 2))


@pytest.mark.parametrize("arguments, message", [
    (([[0.0]], -1.0), r"stds is \[-1\.0\].*above 0"),
    (([[0.0]], 0.0), "above 0"),
    (([[0.0]], math.nan), "above 0"),
    (([[math.inf]], 1.0), "means must be finite"),
    ((torch.zeros(0, 2), 1.0), "at least one"),
    (([0.0, 1.0], 1.0), r"means has shape \(2,\)"),
    (([[0.0], [1.0]], [1.0, 1.0, 1.0]), r"stds has shape \(3,\)"),
    (([[0.0], [1.0]], 1.0, [0.5, 0.6]), r"of sum 1\.1"),
    (([[0.0], [1.0]], 1.0, [-0.5, 1.5]), r"\[-0\.5, 1\.5\].*0 or more"),
    (([[0.0], [1.0]], 1.0, [math.nan, 1.0]), "0 or more"),
    (([[0.0], [1.0]], 1.0, [1.0]), r"weights has shape \(1,\)"),
])
def test_a_bad_mixture_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*arguments)


def test_float32_weights_that_sum_to_1_within_rounding_are_taken():
    mixture = GaussianMixture(torch.zeros(10, 1), 1.0, torch.full((10,), 0.1))
    assert mixture.weights.sum().item() == pytest.approx(1, abs=1e-15)


@each_density
@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_bad_number_of_samples_is_refused(density, n):
    with pytest.raises(ValueError, match=rf"n is {n}"):
        density.sample(n)


@pytest.mark.parametrize("x, message", [
    (torch.zeros(5), r"x has shape \(5,\)"),
    (torch.zeros(5, 1), r"\(5, 1\).*\(any, 2\)"),       # would broadcast
    (torch.zeros(5, 3), r"\(5, 3\).*\(any, 2\)"),
    (torch.zeros(5, 2, dtype=torch.int64), "int64"),
])
@pytest.mark.parametrize("name", ["log_prob", "score"])
def test_points_of_another_shape_are_refused(x, message, name):
    with pytest.raises(ValueError, match=message):
        getattr(ring(), name)(x)


@pytest.mark.parametrize("make, message", [
    (lambda: ring(modes=0), "modes is 0"),
    (lambda: ring(std=-0.01), "stds"),
    (lambda: grid(side=2.5), r"side is 2\.5"),
    (lambda: two_moons(-0.1), r"noise is -0\.1"),
    (lambda: swiss_roll(math.inf), "noise is inf"),
    (lambda: parallel_lines("far"), "theta is 'far'"),
    (lambda: parallel_lines(torch.zeros(2)), "without dimensions"),
    (lambda: gaussian_mixture_1d([[0.0]], 1.0), r"means has shape \(1, 1\)"),
])
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_density
def test_densities_follow_the_device(density):
    x = density.sample(10, torch.Generator("cuda").manual_seed(0))
    assert x.is_cuda and density.log_prob(x).is_cuda
    assert_close(density.score(x).cpu(), density.score(x.cpu()), rtol=1e-3, atol=1e-2)


# --- endless draws ---------------------------------------------------------------------------------------------------

@each_density
def test_draws_are_new_points_for_ever_in_batches_of_one_size(density):
    d = density.sample(1).shape[1]
    some = list(islice(draws(density, 7), 40))
    assert all(x.shape == (7, d) and x.dtype == torch.float32 and x.device.type == "cpu" for x in some)
    assert len(torch.cat(some).unique(dim=0)) == 280                    # no point comes twice


def test_draws_come_from_a_generator_of_their_own():
    torch.manual_seed(0)
    state, stream, other = torch.get_rng_state(), draws(ring(), 5, seed=3), draws(ring(), 5, seed=3)
    first = next(stream)
    torch.manual_seed(99)
    assert torch.equal(first, next(other)) and torch.equal(next(stream), next(other))   # whatever else is drawn
    generator = torch.Generator().manual_seed(3)
    by_hand = [ring().sample(5, generator) for _ in range(3)]
    assert all(torch.equal(x, y) for x, y in zip(draws(ring(), 5, 3), by_hand, strict=False))
    assert not torch.equal(first, next(draws(ring(), 5, seed=4)))
    assert torch.equal(next(draws(ring(), 5)), next(draws(ring(), 5, seed=0)))
    torch.set_rng_state(state)
    next(draws(ring(), 5))
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_are_draws_from_the_density():
    x = torch.cat(list(islice(draws(gaussian_mixture_1d([1.0], 2.0), 500, seed=1), 20)))
    assert kstest(x[:, 0].numpy(), norm(1.0, 2.0).cdf).pvalue > 1e-4    # a false alarm in 1 of 10,000 seeds


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_bad_number_of_draws_is_refused_at_once(n):
    with pytest.raises(ValueError, match=rf"n is {n}"):
        draws(ring(), n)                                                # not with the first batch
