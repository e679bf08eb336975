"""Losses, the step, spoiling; and what the minimiser of L2 is, on which chapter 01 rests."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from scipy.stats import chisquare, kstest
from torch.testing import assert_close

from course_lib.autoencoders import (
    add_noise,
    ae_loss,
    ae_step,
    box_hidden,
    box_mask,
    denoising_errors,
    edge_weight,
    hide,
    linear_denoiser,
    noise_of_any_level,
)
from course_lib.datasets import batches, random_edges
from course_lib.networks import Constant, mlp_autoencoder
from course_lib.training import adam, train


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, c=1, h=8, w=8, seed=0, dtype=torch.float32):
    return torch.rand(n, c, h, w, generator=seeded(seed), dtype=dtype)


# --- the loss --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(4, 1, 5, 6), (3, 3, 2, 2), (7, 10), (1, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_ae_loss_is_the_sum_over_pixels_and_the_mean_over_images(shape, weighted):
    g = seeded()
    x_hat, x, w = (torch.rand(*shape, generator=g, dtype=torch.float64) for _ in range(3))
    total = 0.0
    for i in range(shape[0]):
        for a, b, weight in zip(*(t[i].flatten().numpy() for t in (x_hat, x, w)), strict=True):
            total += (weight if weighted else 1) * (a - b) ** 2
    assert_close(ae_loss(x_hat, x, w if weighted else None).item(), total / shape[0], rtol=1e-12, atol=0)


def test_ae_loss_is_torch_s_mse_times_the_number_of_pixels():
    x_hat, x = images(16, 3), images(16, 3, seed=1)
    assert_close(ae_loss(x_hat, x), F.mse_loss(x_hat, x) * 3 * 8 * 8)


def test_ae_loss_has_the_gradient_of_its_formula():
    x_hat, x, w = (images(4, seed=s, dtype=torch.float64) for s in (0, 1, 2))
    x_hat.requires_grad_()
    assert_close(torch.autograd.grad(ae_loss(x_hat, x, w), x_hat)[0], 2 * w * (x_hat - x).detach() / 4)
    assert torch.autograd.gradcheck(lambda a: ae_loss(a, x), x_hat)


@pytest.mark.parametrize("arguments, message", [
    ((torch.zeros(4, 1, 8, 8), torch.zeros(4, 8, 8)), r"x has shape \(4, 8, 8\).*x_hat has shape \(4, 1, 8, 8\)"),
    ((torch.zeros(4, 1), torch.zeros(4, 3)), r"\(4, 3\).*\(4, 1\)"),
    ((torch.zeros(4, 3), torch.zeros(1, 3)), r"\(1, 3\).*\(4, 3\)"),
    ((torch.zeros(4, 3), torch.zeros(4, 3), torch.ones(3)), r"weight has shape \(3,\)"),
    ((torch.zeros(4, 3), torch.zeros(4, 3), torch.ones(4, 1)), r"weight has shape \(4, 1\)"),
])
def test_ae_loss_refuses_shapes_that_would_broadcast(arguments, message):
    with pytest.raises(ValueError, match=message):
        ae_loss(*arguments)


# --- the step --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("spoil, weight", [
    (None, None), (partial(add_noise, sigma=0.5), None), (None, partial(edge_weight, strength=3.0)),
    (partial(add_noise, sigma=0.5), edge_weight),
])
def test_ae_step_is_the_loop_by_hand(spoil, weight):
    x, ends = images(40, dtype=torch.float64), []
    for by_hand in (False, True):
        torch.manual_seed(1)
        model = mlp_autoencoder(2, [10], (1, 8, 8)).double()
        opt, data, losses = adam(model, 1e-2), batches(x, 16), []
        for _ in range(6):
            if by_hand:
                batch = next(data)
                wanted = batch.clone()
                seen = spoil(batch) if spoil else batch
                error = (model(seen) - wanted) ** 2 * (weight(wanted) if weight else 1)
                loss = error.sum() / len(batch)
                opt.zero_grad()
                loss.backward()
                opt.step()
                losses.append(loss.detach())
            else:
                log = ae_step(data, model, opt, spoil, weight)
                assert log.keys() == {"loss"} and not log["loss"].requires_grad
                losses.append(log["loss"])
        ends.append([*losses, *(p.detach() for p in model.parameters())])
    assert_close(*ends, rtol=1e-10, atol=1e-12)


def test_the_target_of_a_denoising_step_is_the_whole_image():
    # Everything is hidden from the model; only if the target is the whole image does its constant answer become that.
    x = torch.full((8, 1, 4, 4), 0.9)
    model = Constant((1, 4, 4))
    step = partial(ae_step, model=model, opt=torch.optim.SGD(model.parameters(), lr=0.25), spoil=torch.zeros_like)
    list(train(step, batches(x, 8), 30))
    assert_close(model.output.detach(), x[0])


# --- spoiling --------------------------------------------------------------------------------------------------------

def test_noise_has_mean_0_and_the_variance_asked_for():
    x, sigma = images(200, h=10, w=10, dtype=torch.float64), 0.7
    noise = ((add_noise(x, sigma, seeded()) - x) / sigma).flatten()  # 20,000 numbers
    # 5σ of a mean and of a variance (σ² = 2/n): a false alarm in 6e-7 of seeds each. KS: in 1e-4.
    n = len(noise)
    assert abs(noise.mean()) < 5 / math.sqrt(n) and abs(noise.square().mean() - 1) < 5 * math.sqrt(2 / n)
    assert kstest(noise.numpy(), "norm").pvalue > 1e-4


def test_noise_is_drawn_for_each_pixel_and_each_image():
    noise = add_noise(torch.zeros(500, 2, 3, 3), 1.0, seeded()).flatten(1)  # (500, 18)
    between = torch.corrcoef(noise.T) - torch.eye(18)
    assert between.abs().max() < 5 / math.sqrt(500)  # 153 pairs at 5σ: 1 seed in 10,000
    assert torch.corrcoef(noise[:18]).sub(torch.eye(18)).abs().max() < 1


def test_noise_can_have_a_level_for_each_image():
    sigma = torch.tensor([0.0, 0.5, 2.0])
    x = images(3, 3, 40, 40)
    noisy = add_noise(x, sigma, seeded())
    assert torch.equal(noisy[0], x[0])
    for k in (1, 2):
        assert abs((noisy[k] - x[k]).std() / sigma[k] - 1) < 5 / math.sqrt(2 * 4800)  # 5σ: 6e-7 of seeds
    assert torch.equal(noisy, x + sigma.view(3, 1, 1, 1) * add_noise(torch.zeros_like(x), 1.0, seeded()))


def test_noise_is_not_clipped_and_the_image_stays_as_it_was():
    x = images()
    before = x.clone()
    noisy = add_noise(x, 1.0, seeded())
    assert noisy.min() < 0 and noisy.max() > 1 and torch.equal(x, before)
    assert torch.equal(noisy, add_noise(x, 1.0, seeded())) and not torch.equal(noisy, add_noise(x, 1.0, seeded(1)))
    assert torch.equal(add_noise(x, 0), x)


@pytest.mark.parametrize("sigma, message", [
    (-0.1, r"sigma is -0\.1"), (torch.tensor([0.1, -2, 0, 0, 0, 0]), "sigma is -2"), (math.nan, "sigma is nan"),
    (torch.ones(5), r"sigma has shape \(5,\).*\(6,\)"), (torch.ones(6, 1), r"sigma has shape \(6, 1\)"),
])
def test_a_bad_level_of_noise_is_refused(sigma, message):
    with pytest.raises(ValueError, match=message):
        add_noise(images(6), sigma)


@pytest.mark.parametrize("size, h, w", [(1, 6, 6), (4, 9, 6), (6, 9, 6), (3, 3, 8)])
def test_a_mask_is_one_whole_square_in_each_image(size, h, w):
    mask = box_mask(torch.zeros(300, 3, h, w), size, seeded())
    assert mask.dtype == torch.bool and mask.shape == (300, 1, h, w)
    assert (mask.sum(dim=(1, 2, 3)) == size**2).all()
    for m in mask[:, 0]:
        rows, columns = m.any(1).nonzero(), m.any(0).nonzero()
        assert len(rows) == len(columns) == size
        assert rows.max() - rows.min() == columns.max() - columns.min() == size - 1


def test_every_place_of_a_mask_is_equally_likely():
    size, h, w, n = 3, 6, 5, 12_000
    mask = box_mask(torch.zeros(n, 1, h, w), size, seeded(1))[:, 0]
    top, left = mask.any(2).float().argmax(1), mask.any(1).float().argmax(1)
    places = (h - size + 1) * (w - size + 1)
    counts = torch.bincount(top * (w - size + 1) + left, minlength=places)
    assert len(counts) == places == 12
    assert 1e-4 < chisquare(counts.numpy()).pvalue < 1 - 1e-4  # a right mask fails for 2 seeds in 10,000


@pytest.mark.parametrize("size", [0, -1, 7, 28])
def test_a_square_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=rf"size is {size}; it must be from 1 to 6 pixels for images of 9×6"):
        box_mask(torch.zeros(2, 1, 9, 6), size)


def test_hiding_sets_the_mask_to_mid_grey_in_all_channels_and_nothing_else():
    x = images(5, 3)
    mask, before = box_mask(x, 3, seeded()), x.clone()
    hidden = hide(x, mask)
    everywhere = mask.expand_as(x)
    assert (hidden[everywhere] == 0.5).all() and torch.equal(hidden[~everywhere], x[~everywhere])
    assert torch.equal(x, before) and everywhere.sum() == 5 * 3 * 9


def test_the_course_s_two_ways_to_spoil():
    x = torch.zeros(400, 1, 28, 28)
    torch.manual_seed(0)
    sigma = noise_of_any_level(x).flatten(1).std(1)
    # Each σ is measured to ±1/√(2·784) = 2.5 %: it blurs the uniform law by less than the test sees (1 seed in 10,000).
    assert kstest(sigma.numpy(), "uniform").pvalue > 1e-4
    hidden = box_hidden(x)
    assert ((hidden == 0.5).sum(dim=(1, 2, 3)) == 144).all() and ((hidden == 0) | (hidden == 0.5)).all()
    assert len({tuple((h[0] == 0.5).nonzero()[0].tolist()) for h in hidden}) > 100  # of 289 places


# --- weights ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (3, 3, 4, 6), (1, 1, 1, 3), (1, 2, 3, 1), (1, 1, 1, 1)])
def test_edge_weight_is_the_largest_step_to_a_neighbour(shape):
    x, strength = torch.rand(*shape, generator=seeded(), dtype=torch.float64), 2.5
    by_hand, (b, c, h, w) = np.ones(shape), shape
    for k in np.ndindex(b, c, h, w):
        i, j = k[2:]
        around = [x[k[0], k[1], a, d] for a, d in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                  if 0 <= a < h and 0 <= d < w]
        by_hand[k] += strength * max([abs(float(x[k] - other)) for other in around], default=0.0)
    assert_close(edge_weight(x, strength), torch.from_numpy(by_hand))


def test_edge_weight_0_weighs_all_pixels_alike_and_below_is_refused():
    assert torch.equal(edge_weight(images(), 0), torch.ones(6, 1, 8, 8))
    with pytest.raises(ValueError, match="strength is -1"):
        edge_weight(images(), -1)
    with pytest.raises(ValueError, match=r"x has shape \(8, 8\)"):
        edge_weight(torch.zeros(8, 8))


# --- what minimises the loss -----------------------------------------------------------------------------------------

L = 15
RAMP = (torch.arange(L, dtype=torch.float64) + 1) / (L + 1)  # P(pixel j is 1) = P(edge ≤ j), the edge uniform on 0 … L
ALL_EDGES = (torch.arange(L) >= torch.arange(L + 1)[:, None]).double()  # each once: (L + 1, L)


def best_constant(x, weight=None, steps=1200):
    """Trains a Constant by the library's own step, on all of x at each step, with a rate that falls to 0."""
    model = Constant(x.shape[1:]).to(x.dtype)
    opt = adam(model, 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    for _ in train(partial(ae_step, model=model, opt=opt, weight=weight), batches(x, len(x)), steps):
        schedule.step()
    return model.output.detach()


def test_the_mean_of_random_edges_is_the_ramp():
    x = random_edges(20_000, L, seeded(2)).double()
    # Each pixel's share is a binomial: 5σ ≤ 5·0.5/√n, 15 pixels: 1 seed in 100,000.
    assert (x.mean(0) - RAMP).abs().max() < 2.5 / math.sqrt(20_000)
    assert {tuple(row.tolist()) for row in x} == {tuple(row.tolist()) for row in ALL_EDGES}


def test_the_best_constant_for_l2_is_the_mean_so_edges_at_random_places_give_a_ramp():
    # Adam's rate falls to 0 on a convex loss whose gradient is exact: what is left is far below 1e-4.
    assert_close(best_constant(ALL_EDGES), RAMP, rtol=0, atol=1e-4)
    # It is the minimum: any step away costs ‖step‖², and nothing else, whatever its direction.
    for s in range(5):
        away = torch.randn(L, generator=seeded(s), dtype=torch.float64)
        def risk(c):
            return ae_loss(c.expand_as(ALL_EDGES), ALL_EDGES)
        assert_close(risk(RAMP + away) - risk(RAMP), away.square().sum())


def test_no_weight_on_pixels_moves_the_best_answer_as_long_as_it_is_the_same_for_all_images():
    w = 0.2 + 3 * torch.rand(L, generator=seeded(3), dtype=torch.float64)
    assert_close(best_constant(ALL_EDGES, lambda x: w.expand_as(x)), RAMP, rtol=0, atol=1e-4)


def test_weights_that_follow_the_image_move_it_to_the_weighted_mean():
    def weight(x):  # ink counts four times
        return 1 + 3 * x
    w = weight(ALL_EDGES)
    expected = (w * ALL_EDGES).mean(0) / w.mean(0)  # E[wx]/E[w]
    assert_close(expected, 4 * RAMP / (1 + 3 * RAMP))
    assert (expected - RAMP).abs().max() > 0.3  # elsewhere than the mean, and so the test tells them apart
    assert_close(best_constant(ALL_EDGES, weight), expected, rtol=0, atol=1e-4)


# --- other ways to take off noise ------------------------------------------------------------------------------------

@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
def test_the_linear_denoiser_shrinks_each_principal_axis_by_its_share_of_signal(sigma):
    g = seeded()
    train_set = (torch.randn(500, 12, generator=g, dtype=torch.float64) @ torch.diag(torch.arange(1.0, 13).double())
                 @ torch.linalg.qr(torch.randn(12, 12, generator=g, dtype=torch.float64))[0] + 3).view(500, 1, 3, 4)
    noisy = torch.randn(7, 1, 3, 4, generator=g, dtype=torch.float64) * 5
    variances, axes = np.linalg.eigh(np.cov(train_set.flatten(1).numpy().T))
    mean = train_set.flatten(1).numpy().mean(0)
    along = (noisy.flatten(1).numpy() - mean) @ axes
    by_hand = (along * variances / (variances + sigma**2)) @ axes.T + mean
    assert_close(linear_denoiser(train_set, sigma)(noisy).flatten(1).numpy(), by_hand)


def test_no_linear_map_takes_off_more_noise():
    # For signals of covariance C, the mean error of x̂ = m + G(x̃ − m) is tr[(I − G)C(I − G)ᵀ + σ²GGᵀ]; the library's G
    # is read off its answers to unit vectors.
    x = torch.randn(300, 5, generator=seeded(), dtype=torch.float64) * torch.tensor([3.0, 2, 1, 0.5, 0])
    sigma, C = 0.8, torch.cov(x.T)
    denoise = linear_denoiser(x, sigma)
    best = (denoise(x.mean(0) + torch.eye(5, dtype=torch.float64)) - x.mean(0)).T
    def risk(G):
        rest = torch.eye(5, dtype=torch.float64) - G
        return torch.trace(rest @ C @ rest.T + sigma**2 * G @ G.T)
    least = risk(best)
    assert_close(least, torch.trace(sigma**2 * best))  # the error that is left, in closed form: tr σ²C(C + σ²I)⁻¹
    for s in range(20):
        other = 0.05 * torch.randn(5, 5, generator=seeded(s), dtype=torch.float64)
        assert risk(best + other) > least and risk(best - other) > least


def test_a_linear_denoiser_keeps_the_type_and_needs_noise():
    assert linear_denoiser(images(20), 0.5)(images(3, seed=1)).dtype == torch.float32
    for sigma in (0, -1):
        with pytest.raises(ValueError, match=rf"sigma is {sigma}; it must be above 0"):
            linear_denoiser(images(20), sigma)


def test_denoising_errors_against_a_loop():
    train_set = images(60, h=12, w=12, seed=9, dtype=torch.float64)
    x, sigmas = images(4, h=12, w=12, dtype=torch.float64), [0.1, 1.0]
    rows = denoising_errors(lambda noisy: noisy.clamp(0, 1), train_set, x, sigmas, seeded(5))
    g = seeded(5)
    for row, sigma in zip(rows, sigmas, strict=True):
        noisy = x + sigma * torch.randn(x.shape, generator=g, dtype=x.dtype)
        def error(a):
            return ((np.asarray(a) - x.numpy()) ** 2).sum() / 4
        widths = np.arange(3, 21) / 10
        blurs = [np.stack([gaussian_filter(i[0], width)[None] for i in noisy.numpy()]) for width in widths]
        assert row["noise σ"] == sigma and row.keys() == {"noise σ", "noisy", "best blur", "best linear", "denoiser"}
        assert_close([row[key] for key in ("noisy", "best blur", "best linear", "denoiser")],
                     [error(noisy), min(map(error, blurs)), error(linear_denoiser(train_set, sigma)(noisy)),
                      error(noisy.clip(0, 1))], rtol=1e-9, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_spoiling_follows_the_device():
    x = images().cuda()
    assert all(out.is_cuda for out in (noise_of_any_level(x), box_hidden(x), edge_weight(x), box_mask(x, 3)))
