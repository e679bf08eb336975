"""The U-Net and its parts, by hand: time embedding, blocks, attention; what time and class do; the MLP for points."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.diffusion import Schedule, diffusion_step
from course_lib.networks import TimedMLP, UNet, time_embedding
from course_lib.networks.unet import GROUPS, ResBlock, SelfAttention, zero_init

DIGITS, FACES, SMALL = (1, 28, 28), (3, 32, 32), (2, 8, 12)
exactly = {"rtol": 0, "atol": 0}


def images(image, n=3, seed=0):
    return torch.randn(n, *image, generator=torch.Generator().manual_seed(seed))


def moved(net, by=0.1, seed=0):
    """The same network with all weights moved at random, so that nothing is 0 any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p += by * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return net


def small(classes=0, **settings):
    torch.manual_seed(0)
    return UNet(SMALL, (8, 16), classes, embedding=16, **settings)


T_ = torch.tensor([1, 500, 1000])


# --- the embedding of time -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size, longest", [(2, 10_000.0), (8, 10_000.0), (128, 100.0)])
def test_the_embedding_of_time_is_the_formula(size, longest):
    t = np.array([0.0, 1.0, 7.5, 1000.0])
    speed = longest ** (-np.arange(size // 2) / (size // 2))                                # from 1 towards 1/longest
    wanted = np.concatenate([np.cos(np.outer(t, speed)), np.sin(np.outer(t, speed))], 1)
    found = time_embedding(torch.tensor(t), size, longest)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)                            # float32 at angles of 1000
    assert found.dtype == torch.float32
    assert_close(time_embedding(torch.tensor([7]), size), time_embedding(torch.tensor([7.0]), size), **exactly)


def test_near_times_have_near_embeddings_and_no_two_the_same():
    e = time_embedding(torch.arange(1, 1001), 128)
    assert_close(e.square().sum(1), torch.full((1000,), 64.0), rtol=1e-5, atol=0)           # all on one sphere
    apart = torch.cdist(e[499:500], e)[0]
    assert (apart[499:505].diff() > 0).all() and apart[499] < 1e-3
    assert torch.cdist(e, e).fill_diagonal_(9).min() > 0.1


@pytest.mark.parametrize("t, size, message", [
    (torch.zeros(3), 7, "size is 7; it must be even, 2 or more"), (torch.zeros(3), 0, "size is 0"),
    (torch.zeros(3, 1), 8, r"t has shape \(3, 1\); it must be \(any,\)"), (torch.tensor(3), 8, r"t has shape \(\)"),
])
def test_a_bad_embedding_is_refused(t, size, message):
    with pytest.raises(ValueError, match=message):
        time_embedding(t, size)


# --- parts -----------------------------------------------------------------------------------------------------------

def group_norm(x, norm):
    """Each group of neighbouring channels to mean 0 and variance 1 over channels and pixels, then scale and shift."""
    b, c, h, w = x.shape
    g = x.reshape(b, GROUPS, c // GROUPS, h, w)
    g = (g - g.mean((2, 3, 4), keepdim=True)) / (g.var((2, 3, 4), unbiased=False, keepdim=True) + 1e-5).sqrt()
    return g.reshape(b, c, h, w) * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("n_in, n_out", [(16, 16), (16, 8)])
def test_a_residual_block_is_its_formula(n_in, n_out):
    torch.manual_seed(0)
    block, x, emb = moved(ResBlock(n_in, n_out, 6).double()), images((n_in, 4, 5)).double(), torch.randn(3, 6).double()
    silu, conv = lambda h: h * h.sigmoid(), lambda h, c: nn.functional.conv2d(h, c.weight, c.bias, padding=1)
    scale, shift = (silu(emb) @ block.told.weight.T + block.told.bias)[:, :, None, None].split(n_out, 1)
    h = conv(silu(group_norm(x, block.norm1)), block.conv1)
    h = conv(silu(group_norm(h, block.norm2) * (1 + scale) + shift), block.conv2)
    skip = x if n_in == n_out else torch.einsum("bchw,dc->bdhw", x, block.skip.weight[:, :, 0, 0]) + (
        block.skip.bias[:, None, None])
    assert_close(block(x, emb), skip + h, rtol=1e-9, atol=1e-9)


def test_before_training_a_residual_block_and_attention_are_the_identity():
    torch.manual_seed(0)
    x = images((16, 4, 4))
    assert_close(ResBlock(16, 16, 6)(x, torch.randn(3, 6)), x, **exactly)
    assert_close(SelfAttention(16)(x), x, **exactly)
    layer = nn.Conv2d(2, 2, 1)
    assert zero_init(layer) is layer and all((p == 0).all() for p in layer.parameters())


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_the_plain_loop(heads):
    torch.manual_seed(0)
    c, h, w = 8, 2, 3
    attention, x = moved(SelfAttention(c, heads).double(), 0.5), images((c, h, w), 2).double()
    q, k, v = (torch.einsum("bchw,dc->bdhw", group_norm(x, attention.norm), weight) + bias[:, None, None]
               for weight, bias in zip(attention.qkv.weight[:, :, 0, 0].chunk(3), attention.qkv.bias.chunk(3),
                                       strict=True))
    out, d = torch.zeros_like(x), c // heads
    for b in range(2):
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            for i in range(h * w):
                at = (i // w, i % w)
                asks = torch.stack([q[b, own, *at] @ k[b, own, j // w, j % w] / math.sqrt(d) for j in range(h * w)])
                share = asks.exp() / asks.exp().sum()
                out[b, own, *at] = sum(share[j] * v[b, own, j // w, j % w] for j in range(h * w))
    out = torch.einsum("bchw,dc->bdhw", out, attention.out.weight[:, :, 0, 0]) + attention.out.bias[:, None, None]
    assert_close(attention(x), x + out, rtol=1e-9, atol=1e-9)


def test_attention_needs_heads_that_divide_its_channels():
    with pytest.raises(ValueError, match="there are 8 channels for 3 heads; they must divide evenly"):
        SelfAttention(8, 3)


# --- the U-Net -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("image", [DIGITS, FACES, SMALL])
def test_before_training_a_u_net_says_0_and_fits_its_images(image):
    torch.manual_seed(0)
    net, x = UNet(image, (8, 16)), images(image)
    assert_close(net(x, T_), torch.zeros_like(x), **exactly)
    assert moved(net)(x, T_).shape == x.shape and net(x, T_).std() > 0


def test_the_course_s_u_net_is_of_the_size_it_is_trained_at():
    assert 500_000 < sum(p.numel() for p in UNet(classes=10).parameters()) < 900_000
    assert sum(p.numel() for p in UNet(FACES).parameters()) < 900_000
    halves = [m for m in UNet().modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert len(halves) == 2
    norms = [m for m in UNet().modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 2 * 8 + 2 and all(m.num_groups == GROUPS == 8 for m in norms)      # 8 blocks, attention, head


def test_each_image_is_judged_alone_and_no_weight_is_idle():
    net, x = moved(small(classes=3)), images(SMALL)
    y = torch.tensor([0, 1, 2])
    assert_close(net(x, T_, y)[1:2], net(x[1:2], T_[1:2], y[1:2]), rtol=1e-4, atol=1e-5)
    output = net(x, T_, y).square().sum() + net(x, T_).square().sum()
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(output, list(net.parameters())))


def test_on_the_way_up_each_size_sees_what_the_way_down_saw():
    torch.manual_seed(0)
    net, made, given = moved(UNet((1, 8, 8), (8, 16, 24), embedding=16)), [], []
    for block, _ in net.down:
        block.register_forward_hook(lambda _, __, output: made.append(output))
    for _, block in net.up:
        block.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    net(images((1, 8, 8)), T_)
    assert [tuple(h.shape[1:]) for h in made] == [(8, 8, 8), (16, 4, 4), (24, 2, 2)]
    for h, seen in zip(reversed(made), given, strict=True):
        assert seen.shape[1] == 2 * h.shape[1]
        assert_close(seen[:, h.shape[1]:], h, **exactly)


def test_time_and_class_change_the_answer_after_a_step():
    """Before it they change nothing: all that they reach is multiplied by 0."""
    net, x, y = small(classes=3), images(SMALL, 4), torch.tensor([0, 1, 2, 0])
    t = torch.full((4,), 100)
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    assert_close(net(x, t, y), net(x, 5 * t, y), **exactly)
    for _ in range(2):                                  # the first moves the last layer, the second what is before it
        diffusion_step(iter([(x, y)]), net, opt, Schedule.cosine(1000), "v")
    with torch.no_grad():
        now = net(x, t, y)
        assert (now - net(x, 5 * t, y)).abs().max() > 1e-5 < (now - net(x, t, (y + 1) % 3)).abs().max()


def test_no_labels_is_the_null_label_for_all():
    net, x = moved(small(classes=3)), images(SMALL)
    assert net.null == 3 and net.label.num_embeddings == 4
    assert_close(net(x, T_), net(x, T_, torch.full((3,), 3)), **exactly)
    assert (net(x, T_) - net(x, T_, torch.zeros(3, dtype=torch.int64))).abs().max() > 1e-4


def test_t_is_a_share_of_T():
    a, b = moved(small(T=1000)), moved(small(T=50))
    x = images(SMALL)
    assert_close(a(x, torch.tensor([20, 500, 1000])), b(x, torch.tensor([1, 25, 50])), rtol=1e-4, atol=1e-4)
    assert (a(x, T_) - a(x, T_ - 1)).abs().max() > 1e-5                                     # and each time is another


@pytest.mark.parametrize("image, widths, message", [
    ((1, 30, 28), (8, 8, 8), r"image is \(1, 30, 28\); with 3 sizes.*multiples of 4: pad it, or give fewer widths"),
    ((1, 28, 26), (8, 8, 8), r"image is \(1, 28, 26\)"), ((1, 28, 28), (8,) * 4, "multiples of 8"),
    ((1, 28, 28), (8, 12), r"widths are \(8, 12\); each must be a multiple of 8, the number of groups"),
])
def test_sizes_that_do_not_divide_are_refused(image, widths, message):
    with pytest.raises(ValueError, match=message):
        UNet(image, widths)


@pytest.mark.parametrize("x, t, y, message", [
    ((3, 1, 8, 12), (3,), None, r"x has shape \(3, 1, 8, 12\); it must be \(any, 2, 8, 12\)"),
    ((3, 2, 8, 8), (3,), None, "x has shape"), ((3, 2, 8, 12), (1,), None, r"t has shape \(1,\); it must be \(3,\)"),
    ((3, 2, 8, 12), (3, 1), None, "t has shape"),
    ((3, 2, 8, 12), (3,), (1,), r"y has shape \(1,\); it must be \(3,\)"),                  # would broadcast
    ((3, 2, 8, 12), (3,), (3, 1), r"y has shape \(3, 1\)"),
])
def test_other_shapes_are_refused(x, t, y, message):
    y = None if y is None else torch.zeros(y, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        small(classes=3)(torch.zeros(x), torch.ones(t, dtype=torch.int64), y)


def test_labels_for_a_network_without_classes_are_refused():
    net = small()
    assert net.label is None and net.null == 0
    with pytest.raises(ValueError, match=r"labels were given, but this network knows none: build it with classes=…"):
        net(images(SMALL), T_, torch.tensor([0, 1, 2]))


def test_one_step_of_the_course_s_u_net_lowers_the_loss():
    torch.manual_seed(0)
    net, x, y = UNet(classes=10), torch.rand(8, *DIGITS), torch.arange(8)
    opt, losses = torch.optim.Adam(net.parameters(), 1e-3), []
    for _ in range(2):
        torch.manual_seed(1)                            # the same times, noise and dropped labels
        losses.append(diffusion_step(iter([(x, y)]), net, opt, Schedule.cosine(1000), "v")["loss"].item())
    assert losses[1] < losses[0]


def test_under_autocast_the_answer_is_single_precision_and_near():
    net, x = moved(small(classes=3)), images(SMALL)
    with torch.no_grad():
        wanted = net(x, T_)
        with torch.autocast("cpu", torch.bfloat16):
            found = net(x, T_)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).square().mean().sqrt() < 0.03 * wanted.std()                # 8 bits a layer: 0.4 % each


# --- the MLP for points ----------------------------------------------------------------------------------------------

def test_a_timed_mlp_is_an_mlp_of_point_and_time():
    torch.manual_seed(0)
    net, x, t = TimedMLP(3, (7, 5), T=50, embedding=4), torch.randn(6, 3), torch.arange(6) * 10
    h = torch.cat([x, time_embedding(t * 20, 4)], 1)
    for k in (0, 2, 4):
        h = h @ net.net[k].weight.T + net.net[k].bias
        h = h * h.sigmoid() if k < 4 else h
    assert_close(net(x, t), h, rtol=1e-4, atol=1e-5)
    assert net.double()(x.double(), t).dtype == torch.float64


def test_a_timed_mlp_of_T_1_takes_times_between_0_and_1():
    torch.manual_seed(0)
    a, b = TimedMLP(2, (8,), T=1), TimedMLP(2, (8,), T=1000)
    b.load_state_dict(a.state_dict())
    x = torch.randn(3, 2)
    assert_close(a(x, torch.tensor([0.0, 0.25, 1.0])), b(x, torch.tensor([0, 250, 1000])))


@pytest.mark.parametrize("x, t, message", [
    ((3, 3), (3,), r"x has shape \(3, 3\); it must be \(any, 2\)"), ((3, 2), (1,), r"t has shape \(1,\)"),
])
def test_a_timed_mlp_refuses_other_shapes(x, t, message):
    with pytest.raises(ValueError, match=message):
        TimedMLP(2, (8,))(torch.zeros(x), torch.zeros(t))
