"""Slopes of critics: measured against rows one by one, bounded against explicit matrices, held as steps by hand."""

import copy
import math
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from course_lib.datasets import batches
from course_lib.gans import critic_loss, critic_step, gradient_penalty, steepest
from course_lib.gans import slopes as lib
from course_lib.networks import dcgan_discriminator, mlp_discriminator
from course_lib.training import update

exactly = {"rtol": 0, "atol": 0}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def critic(hidden=(16, 8), inputs=3, seed=0):
    torch.manual_seed(seed)
    return mlp_discriminator(inputs, hidden)


def normalised(net):
    for layer in list(net.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)
    return net


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}, [m.training for m in net.modules()]


def unchanged(net, before):
    values, modes = state(net)
    assert values.keys() == before[0].keys() and modes == before[1]
    assert all(torch.equal(values[name], before[0][name]) for name in values)
    assert next(iter(values.values())).dtype == torch.float32


def half_square(x):
    return x.square().flatten(1).sum(1) / 2


# --- measured --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(5, 1), (5, 3), (4, 2, 3, 3)])
def test_slopes_of_half_the_square_are_the_distances(shape):
    x = normal(*shape)
    found = lib.slopes_at(half_square, x)
    assert_close(found, x.flatten(1).norm(dim=1))
    assert not found.requires_grad and not x.requires_grad
    assert_close(steepest(half_square, x), found.max())


def test_slopes_can_be_trained_by_where_this_is_asked_for():
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x = normal(5, 2)
    found = lib.slopes_at(lambda at: scale * half_square(at), x, create_graph=True)
    gradient, = torch.autograd.grad(found.sum(), scale)
    assert_close(gradient, x.norm(dim=1).sum())


@pytest.mark.parametrize("x", [torch.zeros(4), torch.zeros(())])
def test_slopes_refuse_points_that_are_no_rows(x):
    with pytest.raises(ValueError, match=r"points has shape .* it must be \(n, …\)"):
        lib.slopes_at(half_square, x)


def test_layer_gradient_norms_are_those_of_each_point_by_itself():
    f, x = critic(), normal(7, 3, dtype=torch.float32)
    before = state(f)
    found = lib.layer_gradient_norms(f, x)
    unchanged(f, before)
    assert found.shape == (3,) and found.dtype == torch.float64
    g, by_hand = copy.deepcopy(f).double(), torch.zeros(3, dtype=torch.float64)
    for row in x.double():
        first, second = (layer[1].weight for layer in g.layers)
        at_1 = first @ row + g.layers[0][1].bias
        h_1 = torch.where(at_1 > 0, at_1, 0.2 * at_1)
        at_2 = second @ h_1 + g.layers[1][1].bias
        back_2 = g.head.weight[0]
        back_1 = second.T @ (back_2 * torch.where(at_2 > 0, 1.0, 0.2))
        back_0 = first.T @ (back_1 * torch.where(at_1 > 0, 1.0, 0.2))
        by_hand += torch.stack([back_0.norm(), back_1.norm(), back_2.norm()]) / 7
    assert_close(found, by_hand.detach())
    assert_close(found[0], lib.slopes_at(g, x.double()).mean())


def test_layer_gradient_norms_hold_where_single_precision_does_not():
    f = critic((8,) * 11)
    with torch.no_grad():
        for p in f.parameters():
            p.mul_(1e-5)
    found = lib.layer_gradient_norms(f, normal(4, 3))
    assert 0 < found[0] < 1e-45 and (found[1:] > found[:-1]).all()


def test_layer_gradient_norms_of_images_and_of_a_normalised_critic():
    f, x = normalised(dcgan_discriminator(4)), normal(3, 1, 28, 28)
    before = state(f)
    found = lib.layer_gradient_norms(f, x)
    unchanged(f, before)
    g = copy.deepcopy(f).eval().double()
    assert found.shape == (3,)
    assert_close(found[0], lib.slopes_at(g, x).mean())
    assert_close(found[-1], g.head.weight.norm().detach())


def test_layer_gradient_norms_refuse_what_has_no_layers():
    with pytest.raises(ValueError, match=r"f is a Sequential; it must be a networks\.Discriminator"):
        lib.layer_gradient_norms(nn.Sequential(nn.Linear(2, 1)), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"points has shape \(0, 3\)"):
        lib.layer_gradient_norms(critic(), torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"points has shape \(3,\)"):
        lib.layer_gradient_norms(critic(), torch.zeros(3))


def test_weights_are_all_of_them_without_biases():
    f = dcgan_discriminator(4)
    wanted = torch.cat([p.flatten() for name, p in f.named_parameters() if name.endswith("weight")])
    assert_close(lib.weights_of(f), wanted.detach(), **exactly)
    assert not lib.weights_of(f).requires_grad


def test_weights_of_a_normalised_network_are_those_used_and_looking_moves_nothing():
    f = normalised(critic())
    before = state(f)
    found = lib.weights_of(f)
    unchanged(f, before)
    assert_close(found, torch.cat([layer.weight.flatten() for layer in (*(pair[1] for pair in f.eval().layers),
                                                                        f.head)]).detach())
    with pytest.raises(ValueError, match="a Tanh has no linear layer or convolution"):
        lib.weights_of(nn.Tanh())


# --- the laws of clipped weights -------------------------------------------------------------------------------------

def signed(f, c, aligned, seed):
    """A critic all of whose weights are ±c, without biases: by coin, or W = c·s·tᵀ."""
    draw = torch.Generator().manual_seed(seed)
    left = None
    with torch.no_grad():
        for layer in (*(pair[1] for pair in f.layers), f.head):
            n_out, n_in = layer.weight.shape
            coins = torch.randint(0, 2, (n_out, n_in), generator=draw) * 2.0 - 1
            layer.weight.copy_(c * (coins[:, :1] * coins[:1] if aligned else coins))
            layer.bias.zero_()
            left = coins
    assert left is not None
    return f


def test_the_law_of_random_signs_by_drawing_them():
    widths, c = (200, 300, 250, 150), 0.05
    law = lib.clipped_gradient_norms(widths, c).random
    found = torch.stack([lib.layer_gradient_norms(signed(critic(widths[1:], 200), c, False, seed), normal(20, 200))
                         for seed in range(5)]).mean(0)
    assert_close(found, law, rtol=0.06, atol=0)


@pytest.mark.parametrize("slope", [0.2, 0.0, 1.0])
def test_the_law_of_agreeing_signs_by_hand(slope):
    widths, c, law = (4, 6, 10), 0.3, lib.clipped_gradient_norms((4, 6, 10), 0.3, slope).aligned
    g = torch.tensor([1.0], dtype=torch.float64)                        # the last layer's output
    sizes = []
    signs = [normal(n, seed=n).sign() for n in (*widths, 1)]
    signs[-1] = torch.ones(1, dtype=torch.float64)
    for level in (2, 1, 0):
        W = c * torch.outer(signs[level + 1], signs[level])
        d = torch.ones_like(g)
        if level < 2:                                                   # half of the units on each side
            d[: len(g) // 2] = slope
        g = W.T @ (d * g)
        sizes.insert(0, g.norm())
    assert_close(law, torch.stack(sizes))


def test_the_laws_go_with_c_to_the_number_of_layers():
    one, two = (lib.clipped_gradient_norms((2, 32, 32, 32), c) for c in (0.01, 0.02))
    for small, large in zip(one, two, strict=True):
        assert_close(large / small, torch.tensor([16.0, 8, 4, 2], dtype=torch.float64))
    assert_close(one.random[-1], one.aligned[-1])                       # a single row has no signs to agree
    with pytest.raises(ValueError, match=r"widths is \[2\]; it must have the inputs and one hidden layer"):
        lib.clipped_gradient_norms((2,), 0.01)


# --- held in a step --------------------------------------------------------------------------------------------------

def test_one_sided_penalty_lets_small_slopes_go():
    x, y, eps = normal(5, 2), normal(5, 2, seed=1), torch.rand(5, dtype=torch.float64)
    for length, penalty in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.5, 0.25), (3.0, 4.0)):
        w = torch.tensor([0.6, 0.8], dtype=torch.float64) * length
        assert lib.one_sided_penalty(lambda at, w=w: at @ w, x, y, eps).item() == pytest.approx(penalty, abs=1e-12)


def test_one_sided_penalty_is_taken_between_the_pair_and_can_be_trained_by():
    x, y, eps = normal(7, 1, 2, 2), normal(7, 1, 2, 2, seed=1), torch.linspace(0, 1, 7, dtype=torch.float64)
    between = torch.stack([e * a + (1 - e) * b for e, a, b in zip(eps, x, y, strict=True)]).flatten(1).norm(dim=1)
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    found = lib.one_sided_penalty(lambda at: scale * half_square(at), x, y, eps)
    excess = (0.8 * between - 1).clamp_min(0)
    assert 0 < (excess > 0).sum() < 7
    assert_close(found, excess.square().mean())
    assert_close(torch.autograd.grad(found, scale)[0], (2 * excess * between).mean())


def test_one_sided_penalty_refuses_shapes_that_would_broadcast():
    good = torch.zeros(4, 2)
    for x, y, eps, named in ((good, good[:1], torch.zeros(4), "y"), (good, good, torch.zeros(4, 1), "eps"),
                             (good, good, torch.zeros(1), "eps")):
        with pytest.raises(ValueError, match=rf"^{named} has shape"):
            lib.one_sided_penalty(half_square, x, y, eps)


def pair_of(make):
    mine, library = make(), make()
    library.load_state_dict(mine.state_dict())
    return (mine, torch.optim.SGD(mine.parameters(), lr=0.1)), (library, torch.optim.SGD(library.parameters(), lr=0.1))


def same_weights(mine, library):
    for a, b in zip(mine.parameters(), library.parameters(), strict=True):
        assert_close(a, b, **exactly)


X, Y = normal(8, 3, dtype=torch.float32), 1 + normal(8, 3, seed=1, dtype=torch.float32)


def test_a_held_step_with_a_penalty_is_the_critic_s_step():
    (mine, by_hand), (library, opt) = pair_of(critic)
    for penalty in (10.0, 0.5, 0.0):
        torch.manual_seed(3)
        wanted = critic_step(iter([(X, Y)]), mine, by_hand, penalty=penalty)["gap"]
        torch.manual_seed(3)
        log = lib.held_critic_step(iter([(X, Y)]), library, opt, penalty=penalty)
        assert log.keys() == {"gap"} and not log["gap"].requires_grad
        assert_close(log["gap"], wanted)
        for a, b in zip(mine.parameters(), library.parameters(), strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_held_step_clips_after_the_update_and_only_where_it_is_told():
    (mine, by_hand), (library, opt) = pair_of(critic)
    loss = critic_loss(mine(X), mine(Y))
    update(by_hand, loss)
    beyond = max(p.abs().max().item() for p in mine.parameters())
    log = lib.held_critic_step(iter([(X, Y)]), library, opt, clip=0.1)
    assert_close(log["gap"], -loss.detach())
    assert beyond > 0.2
    for a, b in zip(mine.parameters(), library.parameters(), strict=True):
        assert_close(a.detach().clamp(-0.1, 0.1), b.detach(), **exactly)
    (mine, by_hand), (library, opt) = pair_of(critic)
    update(by_hand, critic_loss(mine(X), mine(Y)))
    lib.held_critic_step(iter([(X, Y)]), library, opt)
    same_weights(mine, library)


def test_a_held_step_takes_the_penalty_that_it_is_given_with_eps_drawn_for_each_pair():
    (mine, by_hand), (library, opt) = pair_of(critic)
    seen = []

    def penalty_of(f, x, y, eps):
        seen.append((x, y, eps))
        return 3 * gradient_penalty(f, x, y, eps)

    lib.held_critic_step(iter([(X, Y)]), library, opt, penalty=2.0, penalty_of=penalty_of)
    (x, y, eps), = seen
    assert x is X and y is Y and eps.shape == (8,) and len(eps.unique()) == 8 and ((eps >= 0) & (eps < 1)).all()
    update(by_hand, critic_loss(mine(X), mine(Y)) + 6 * gradient_penalty(mine, X, Y, eps))
    same_weights(mine, library)


def test_a_normalised_critic_needs_no_hold():
    torch.manual_seed(0)
    f, pairs = normalised(critic((32, 32), 3)), batches((X, Y), 8)
    opt = torch.optim.Adam(f.parameters(), lr=1e-2)
    gaps = [lib.held_critic_step(pairs, f, opt)["gap"].item() for _ in range(60)]
    assert gaps[-1] > gaps[0] + 0.2 and gaps[-1] < (X.mean(0) - Y.mean(0)).norm() + 3
    assert steepest(f.eval(), torch.cat([X, Y])) < 1.1


@pytest.mark.parametrize("wrong", [{"clip": 0.0}, {"clip": -0.1}, {"clip": math.nan}, {"penalty": -1.0},
                                   {"penalty": math.nan}])
def test_a_held_step_refuses(wrong):
    f = critic()
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} is "):
        lib.held_critic_step(iter([(X, Y)]), f, torch.optim.SGD(f.parameters(), lr=0.1), **wrong)


# --- bounded by the weights ------------------------------------------------------------------------------------------

def test_power_iteration_is_the_paper_s_and_leaves_its_start():
    W, u = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 1.0])
    v = torch.tensor([3.0, 1.0]) / math.sqrt(10)
    first, second, *_ = islice(lib.power_iteration(W, u), 3)
    assert_close(first, (W @ v).norm())                                 # √(81 + 1)/√10
    v = W.T @ W @ v
    assert_close(second, (W @ v).norm() / v.norm())
    assert u.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4), (4, 1)])
def test_power_iteration_comes_to_the_spectral_norm_from_below(shape):
    U, _, V = torch.linalg.svd(normal(*shape, seed=4), full_matrices=False)
    sigma = 3 * 0.8 ** torch.arange(min(shape), dtype=torch.float64)
    found = torch.stack(list(islice(lib.power_iteration(U * sigma @ V, normal(shape[0], seed=5)), 40)))
    assert (found <= sigma[0] + 1e-12).all() and (found.diff() > -1e-12).all()
    assert_close(found[-1], sigma[0], rtol=1e-6, atol=0)
    if len(sigma) > 1:
        missing = 1 - found / sigma[0]
        assert_close(missing[15] / missing[14], (sigma[1] / sigma[0]) ** 4, rtol=0.02, atol=0)


def test_power_iteration_refuses():
    for W, u, message in ((torch.zeros(3), torch.ones(3), "weight has shape"),
                          (torch.ones(3, 2), torch.ones(2), r"u has shape \(2,\); it must be \(3,\)"),
                          (torch.ones(3, 2), torch.zeros(3), "u is 0; it must have a direction")):
        with pytest.raises(ValueError, match=message):
            lib.power_iteration(W, u)                                   # at the call, not at the first estimate


def matrix_of(conv, shape):
    """The whole map as a matrix, column by column."""
    columns = torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)
    conv = copy.deepcopy(conv).double()
    return (conv(columns) - conv(torch.zeros_like(columns[:1]))).flatten(1).T.detach()


CONVS = {"plain": (nn.Conv2d(2, 3, 3), (2, 6, 5)), "stride": (nn.Conv2d(2, 3, 4, stride=2, padding=1), (2, 8, 8)),
         "wrapped": (nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), (1, 6, 6)),
         "dilated": (nn.Conv2d(2, 2, 3, dilation=2, padding=2, groups=2), (2, 7, 7)),
         "transposed": (nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), (3, 4, 4)),
         "one pixel": (nn.Conv2d(1, 5, 1), (1, 1, 1))}


@pytest.mark.parametrize(("conv", "shape"), CONVS.values(), ids=CONVS)
def test_the_norm_of_a_convolution_is_that_of_its_whole_matrix(conv, shape):
    whole = torch.linalg.matrix_norm(matrix_of(conv, shape), 2).item()
    assert lib.convolution_norm(conv, shape) == pytest.approx(whole, rel=1e-6)
    assert conv.weight.dtype == torch.float32 and conv.weight.requires_grad


def test_a_convolution_that_gives_nothing_has_norm_0_and_a_linear_layer_is_none():
    conv = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(conv.weight)
    assert lib.convolution_norm(conv, (1, 5, 5)) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="conv is a Linear; it must be a Conv2d or ConvTranspose2d"):
        lib.convolution_norm(nn.Linear(2, 2), (1, 1, 2))


@pytest.mark.parametrize(("k", "stride"), [(4, 4), (4, 2), (3, 1), (5, 2)])
def test_overlapping_patches_stretch_more_than_one_patch(k, stride):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, k, stride=stride)
    kernel = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2).item()
    ratio = lib.convolution_norm(conv, (3, 20, 20)) / kernel
    assert 1 - 1e-6 <= ratio <= math.ceil(k / stride) + 1e-6
    assert (ratio < 1 + 1e-6) == (k == stride)


def test_layer_slopes_are_named_in_order_with_the_norms_of_their_maps():
    f, x = dcgan_discriminator(3), torch.zeros(5, 1, 28, 28)
    found = lib.layer_slopes(f, x)
    assert [(layer.layer, layer.kind) for layer in found] == [
        ("layers.0.0", "Conv2d"), ("layers.0.1", "Identity"), ("layers.0.2", "LeakyReLU"), ("layers.1.0", "Conv2d"),
        ("layers.1.1", "Identity"), ("layers.1.2", "LeakyReLU"), ("head", "Linear")]
    shapes = {"layers.0.0": (1, 28, 28), "layers.1.0": (3, 14, 14)}
    for layer in found:
        module = f.get_submodule(layer.layer)
        if layer.layer in shapes:
            assert layer.slope == pytest.approx(lib.convolution_norm(module, shapes[layer.layer]))
            assert layer.kernel == pytest.approx(torch.linalg.matrix_norm(module.weight.flatten(1), 2).item(), rel=1e-5)
            assert layer.kernel < 0.99 * layer.slope
        elif layer.layer == "head":
            assert layer.slope == layer.kernel == pytest.approx(module.weight.norm().item(), rel=1e-5)
        else:
            assert layer.slope == 1 and math.isnan(layer.kernel)


def test_slopes_of_activations_and_of_a_transposed_kernel():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LeakyReLU(-3.0), nn.Tanh(), nn.Sigmoid(),
                        nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 5, 3), nn.Flatten())
    found = {layer.kind: layer for layer in lib.layer_slopes(net, torch.zeros(1, 4))}
    assert {kind: layer.slope for kind, layer in found.items() if math.isnan(layer.kernel)} == {
        "ReLU": 1, "LeakyReLU": 3, "Tanh": 1, "Sigmoid": 0.25, "Unflatten": 1, "Flatten": 1}
    by_outputs = net[6].weight.detach().transpose(0, 1).flatten(1)
    assert found["ConvTranspose2d"].kernel == pytest.approx(torch.linalg.matrix_norm(by_outputs, 2).item(), rel=1e-5)
    line = torch.linspace(-4, 4, 2001, dtype=torch.float64)[:, None]
    for layer in net[1:5]:                                              # none of them is anywhere steeper
        steep = lib.slopes_at(lambda x, layer=layer: layer(x)[:, 0], line).max()
        assert steep <= found[type(layer).__name__].slope + 1e-6


def test_the_bound_is_the_product_and_holds():
    f, x = critic((16, 16), 2), 5 * normal(4000, 2, dtype=torch.float32)
    before = state(f)
    bound = lib.lipschitz_bound(f, x)
    unchanged(f, before)
    by_hand = math.prod(torch.linalg.svdvals(p.detach())[0].item() for p in f.parameters() if p.ndim == 2)
    assert bound == pytest.approx(by_hand, rel=1e-5) and steepest(f, x) <= bound


def test_the_bound_of_linear_layers_in_line_is_reached():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        left, right = normal(4, dtype=torch.float32), normal(3, seed=1, dtype=torch.float32)
        net[0].weight.copy_(torch.outer(left, right))
        net[1].weight.copy_(left[None])
    x, wanted = torch.zeros(1, 3), pytest.approx((left.norm() ** 2 * right.norm()).item(), rel=1e-5)
    assert lib.lipschitz_bound(net, x) == wanted and steepest(lambda x: net(x)[:, 0], x).item() == wanted


def test_a_normalised_network_is_measured_as_it_is_used_and_not_moved_on():
    f = normalised(dcgan_discriminator(4))
    x, before = torch.zeros(2, 1, 28, 28), state(f)
    found = [layer for layer in lib.layer_slopes(f, x) if not math.isnan(layer.kernel)]
    unchanged(f, before)
    assert [layer.kind for layer in found] == ["Conv2d", "Conv2d", "Linear"]
    assert all(layer.kernel == pytest.approx(1, abs=0.05) for layer in found) and found[0].slope > 1.2
    f.eval()
    assert lib.lipschitz_bound(f, x) == pytest.approx(math.prod(layer.slope for layer in found))


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return x + self.layer(x)


class Twice(Skip):
    def forward(self, x):
        return self.layer(self.layer(x))


class Unused(Skip):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(2, 2)

    def forward(self, x):
        return self.other(x)


class Doubled(Skip):
    def forward(self, x):
        return self.layer(2 * x)


@pytest.mark.parametrize("kind", [Skip, Twice, Unused, Doubled])
def test_a_bound_is_refused_where_layers_are_not_in_a_row(kind):
    with pytest.raises(ValueError, match=f"the layers of this {kind.__name__} do not follow each other in a row"):
        lib.lipschitz_bound(kind(), torch.ones(3, 2))


def test_a_bound_is_refused_for_layers_whose_slope_is_not_known():
    with pytest.raises(ValueError, match=r"^1 is a BatchNorm1d, whose slope is not known here; known are Linear"):
        lib.lipschitz_bound(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"the network is a GELU"):
        lib.lipschitz_bound(nn.GELU(), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"x has shape \(0, 2\)"):
        lib.lipschitz_bound(nn.Linear(2, 1), torch.zeros(0, 2))
