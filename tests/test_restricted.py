"""Codes restricted by the loss: the penalties against autograd, the step by hand, the slip, and what is measured."""

import warnings
from functools import partial

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from course_lib import metrics, plots
from course_lib.autoencoders import (
    ae_loss,
    ae_step,
    contractive_penalty,
    encoder_jacobian,
    free_directions,
    moves_of_codes,
    noise_passed,
    restricted_ae_step,
    sparse_penalty,
    strongest_parts,
)
from course_lib.datasets import batches, drawn
from course_lib.networks import OneLayer, mlp_encoder
from course_lib.plots import restricted as pictures
from course_lib.recipes import restricted
from course_lib.training import adam

mpl.use("Agg")
IMAGE = (1, 4, 5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, seed=0):
    return torch.rand(n, *IMAGE, generator=seeded(seed), dtype=torch.float64)


def one_layer(units=7, activation=torch.relu, tied=True, seed=0):
    """With biases and lengths of rows that differ, so that no formula is right by chance."""
    torch.manual_seed(seed)
    model = OneLayer(units, activation, tied, IMAGE).double()
    with torch.no_grad():
        model.bias.normal_(0, 0.5)
        model.weight *= torch.linspace(0.5, 3, units)[:, None]
        if not tied:
            model.own_atoms.normal_()
    return model


# --- the network -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("activation", [torch.relu, torch.sigmoid])
@pytest.mark.parametrize("tied", [True, False])
def test_one_layer_is_its_formula(activation, tied):
    model, x = one_layer(activation=activation, tied=tied), images()
    z = torch.stack([activation(torch.stack([(w * one.flatten()).sum() + b
                                             for w, b in zip(model.weight, model.bias, strict=True)])) for one in x])
    assert_close(model.encode(x), z)
    A = model.weight if tied else model.own_atoms
    assert_close(model(x), (torch.einsum("nj,jp->np", z, A) + model.offset).view(6, *IMAGE))
    assert (model.atoms is model.weight) == tied
    assert sum(p.numel() for p in model.parameters()) == 7 * 20 * (1 if tied else 2) + 7 + 20
    assert_close(OneLayer(9).weight.norm(dim=1).detach(), torch.ones(9))


# --- the penalties ---------------------------------------------------------------------------------------------------

def test_sparse_penalty_is_the_sum_over_units_and_the_mean_over_images():
    z = torch.tensor([[1.0, -2, 0], [0, 0, 5]])
    assert sparse_penalty(z) == 4
    assert_close(sparse_penalty(z), torch.linalg.vector_norm(z, ord=1, dim=1).mean())


@pytest.mark.parametrize("gain", [0.3, 0.7, 1.2, 3.0])
def test_a_unit_is_on_only_where_its_atom_takes_off_more_than_half_the_strength(gain):
    # min over z ≥ 0 of ‖r − z a‖² + λ z: with a of length 1 it is z = max(0, a·r − λ/2), as the chapter derives.
    strength = 1.6
    a = torch.nn.functional.normalize(torch.randn(30, generator=seeded(1), dtype=torch.float64), dim=0)
    r = torch.randn(30, generator=seeded(2), dtype=torch.float64)
    r = r - (r @ a) * a + gain * a
    cost = lambda z: float((r - z * a).square().sum() + strength * sparse_penalty(torch.tensor([[z]])))
    best = minimize_scalar(cost, bounds=(0, 10), method="bounded", options={"xatol": 1e-9}).x
    assert best == pytest.approx(max(0, gain - strength / 2), abs=1e-6)


def test_the_sum_of_squares_makes_no_unit_zero():   # why the penalty is L1: with z², z = a·r / (1 + λ)
    cost = lambda z: (0.3 - z) ** 2 + 1.6 * z**2
    assert minimize_scalar(cost, bounds=(0, 10), method="bounded").x == pytest.approx(0.3 / 2.6, abs=1e-4)


@pytest.mark.parametrize("units", [1, 7, 30])
def test_contractive_penalty_is_the_squared_frobenius_norm_of_autograd_s_jacobian(units):
    model, x = one_layer(units, torch.sigmoid), images()
    by_autograd = torch.stack([jacobian(lambda one: model.encode(one[None])[0], image).square().sum() for image in x])
    assert_close(contractive_penalty(model.encode(x), model.weight), by_autograd.mean())


def test_contractive_penalty_is_how_far_small_noise_moves_a_code():
    # E‖q(x + σε) − q(x)‖² / σ² → ‖J‖² as σ → 0. 40,000 draws: the mean of a χ²-like sum with sd < √2 of it, so 5 sd of
    # the mean are 3.6 %: a false alarm in 6e-7 of seeds.
    model, x, sigma = one_layer(5, torch.sigmoid), images(1), 1e-4
    eps = torch.randn(40_000, *IMAGE, generator=seeded(), dtype=torch.float64)
    moved = (model.encode(x + sigma * eps) - model.encode(x)).square().sum(1).mean() / sigma**2
    assert moved.item() == pytest.approx(contractive_penalty(model.encode(x), model.weight).item(), rel=0.036)


@pytest.mark.parametrize("penalty", [
    lambda model, x: sparse_penalty(model.encode(x)),
    lambda model, x: contractive_penalty(model.encode(x), model.weight)])
def test_a_penalty_s_gradient_is_that_of_small_steps(penalty):
    model, x = one_layer(4, torch.sigmoid), images(3)
    loss = penalty(model, x)
    for p, gradient in zip((model.weight, model.bias), torch.autograd.grad(loss, [model.weight, model.bias]),
                           strict=True):
        step = torch.randn(p.shape, generator=seeded(3), dtype=torch.float64)
        ends = []
        for h in (1e-5, -2e-5):
            with torch.no_grad():
                p.add_(h * step)
                ends.append(penalty(model, x).item())
        with torch.no_grad():
            p.add_(1e-5 * step)     # back to where the gradient was taken
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((gradient * step).sum().item(), rel=1e-6)


@pytest.mark.parametrize("call, message", [
    (lambda: sparse_penalty(torch.zeros(3)), r"z has shape \(3,\)"),
    (lambda: contractive_penalty(torch.zeros(4, 3), torch.zeros(5, 3)), r"weight has shape \(5, 3\); it must be \(3,"),
    (lambda: contractive_penalty(torch.zeros(3), torch.zeros(3, 8)), r"z has shape \(3,\)"),
    (lambda: moves_of_codes(torch.flatten, images(2), images(3)), r"x has shape \(2, 1, 4, 5\)"),
    (lambda: strongest_parts(one_layer(), images(2), 3), r"x has shape \(2, 1, 4, 5\)"),
])
def test_other_shapes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the slip --------------------------------------------------------------------------------------------------------

def test_with_a_decoder_of_its_own_the_sparse_penalty_falls_and_nothing_else_changes():
    model, x = one_layer(tied=False), images()
    z, copy = model.encode(x), model(x)
    with torch.no_grad():
        model.weight /= 100
        model.bias /= 100
        model.own_atoms *= 100
    assert_close(model(x), copy)
    assert_close(sparse_penalty(model.encode(x)), sparse_penalty(z) / 100)
    assert torch.equal(model.encode(x) > 0, z > 0)


def test_with_a_decoder_of_its_own_the_contractive_penalty_falls_too():
    # Near 0 a sigmoid is 1/2 + a/4: the encoder may shrink by any factor and the decoder take it back.
    model, x = one_layer(activation=torch.sigmoid, tied=False), images()
    ends = []
    for shrink in (1e-3, 1e-4):
        small = one_layer(activation=torch.sigmoid, tied=False)
        with torch.no_grad():
            small.weight.copy_(shrink * model.weight)
            small.bias.zero_()
            small.own_atoms.copy_(model.own_atoms * 4 / shrink)
            small.offset.copy_(-small.own_atoms.sum(0) / 2)
        ends.append(contractive_penalty(small.encode(x), small.weight).item())
        linear = (x.flatten(1) @ model.weight.T @ model.own_atoms).view_as(x)
        assert_close(small(x), linear, rtol=1e-4, atol=1e-4)
    assert ends[1] == pytest.approx(ends[0] / 100, rel=1e-3)


def test_with_tied_weights_a_smaller_encoder_makes_a_smaller_copy():
    model, x = one_layer(), images()
    part = model(x) - model.offset.view(IMAGE)
    with torch.no_grad():
        model.weight /= 10
        model.bias /= 10
    assert_close(model(x) - model.offset.view(IMAGE), part / 100)


# --- the step --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("activation", [torch.relu, torch.sigmoid])
def test_restricted_ae_step_is_the_loop_by_hand(activation):
    x, ends, strength = images(40), [], 0.7
    for by_hand in (False, True):
        model = one_layer(activation=activation)
        opt, data, logs = adam(model, 1e-2), batches(x, 16), []
        penalty = restricted.penalty_of(model)
        for _ in range(5):
            if by_hand:
                batch = next(data)
                z = activation(batch.flatten(1) @ model.weight.T + model.bias)
                error = ((z @ model.weight + model.offset - batch.flatten(1)) ** 2).sum() / len(batch)
                cost = z.sum() / len(z) if activation is torch.relu else sum(
                    (zi * (1 - zi)) ** 2 @ (model.weight**2).sum(1) for zi in z) / len(z)
                opt.zero_grad()
                (error + strength * cost).backward()
                opt.step()
                logs += [error.detach(), cost.detach()]
            else:
                log = restricted_ae_step(data, model, opt, penalty, strength)
                assert list(log) == ["error", "penalty"] and not any(v.requires_grad for v in log.values())
                logs += log.values()
        ends.append([*logs, *(p.detach() for p in model.parameters())])
    assert_close(*ends, rtol=1e-9, atol=1e-11)


def test_of_strength_0_it_is_ae_step():
    x, ends = images(40), []
    for plain in (True, False):
        model = one_layer()
        opt, data = adam(model, 1e-2), batches(x, 16)
        for _ in range(5):
            _ = ae_step(data, model, opt) if plain else restricted_ae_step(data, model, opt, sparse_penalty, 0.0)
        ends.append([p.detach() for p in model.parameters()])
    assert_close(*ends, rtol=1e-12, atol=1e-14)


def test_the_sparse_penalty_turns_units_off():
    x, on = images(64), {}
    for strength in (0.0, 1.0):
        model = one_layer(30)
        opt, data = adam(model, 1e-2), batches(x, 32)
        for _ in range(300):
            restricted_ae_step(data, model, opt, sparse_penalty, strength)
        on[strength] = (model.encode(x) > 0).sum(1).double().mean().item()
    assert on[1.0] < 0.5 * on[0.0]


# --- what is measured ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("encode", [
    one_layer().encode, one_layer(activation=torch.sigmoid).encode, mlp_encoder(3, [9], IMAGE).double()])
def test_encoder_jacobian_is_autograd_s(encode):
    x = images(4)
    by_autograd = torch.stack([jacobian(lambda one: encode(one[None])[0], image).flatten(1) for image in x])
    assert_close(encoder_jacobian(encode, x).detach(), by_autograd)


def test_free_directions_counts_equal_singular_values():
    turn = lambda n, seed: torch.linalg.qr(torch.randn(n, n, generator=seeded(seed), dtype=torch.float64))[0]
    for k in (1, 3, 6):
        s = torch.diag(2.5 * (torch.arange(6) < k).double())
        jacobians = (turn(6, 1) @ s @ turn(8, 2)[:6])[None]
        assert free_directions(jacobians).item() == pytest.approx(k)
    j = torch.randn(5, 4, 9, generator=seeded(), dtype=torch.float64)
    s = torch.linalg.svdvals(j)
    assert_close(free_directions(j), s.square().sum(1) ** 2 / s.pow(4).sum(1))


def test_a_copy_passes_all_noise_a_constant_none_and_a_projection_its_share():
    x = images(2_000).float()
    keep = torch.zeros(IMAGE).view(-1).index_fill(0, torch.arange(5), 1.0).view(IMAGE)     # 5 of 20 pixels
    assert noise_passed(lambda y: y, x, 0.3, seeded()) == pytest.approx(1, abs=1e-5)
    assert noise_passed(torch.zeros_like, x, 0.3, seeded()) == 0
    # The share of 10,000 of 40,000 squared normals: sd √(2 · ¼ · ¾ / 40,000) = 0.003; 5 sd: 6e-7 of seeds.
    assert noise_passed(lambda y: keep * y + 1, x, 2.0, seeded()) == pytest.approx(0.25, abs=0.016)


def test_moves_of_codes_compares_with_noise_of_the_same_length():
    x, changed = images(300), images(300, seed=1)
    for scale in (1, 1e-3):     # no scale of the codes changes it; and codes that copy move as far as their images
        assert_close(moves_of_codes(lambda y, c=scale: c * y.flatten(1) + 1, x, changed, seeded()),
                     torch.ones(300, dtype=torch.float64))
    mean_only = moves_of_codes(lambda y: y.flatten(1).mean(1, keepdim=True), x, x + 0.1, seeded())
    assert mean_only.median() > 3       # a change that the code is made for, against noise that it averages away


def test_the_strongest_parts_add_up_to_the_copy():
    model, x = one_layer(), images(1)
    parts, sums = strongest_parts(model, x, 7)
    assert_close(sums[-1:], model(x).detach())
    assert_close(sums[0], (model.offset.view(IMAGE) + parts[0]).detach())
    sizes = parts.flatten(1).norm(dim=1)
    assert (sizes[:-1] >= sizes[1:]).all()
    j = int((model.encode(x)[0] * model.atoms.norm(dim=1)).argmax())
    assert_close(parts[0].flatten(), (model.encode(x)[0, j] * model.atoms[j]).detach())


def test_the_fitted_gaussian_has_the_codes_mean_and_covariance_also_where_units_never_change():
    codes = torch.randn(4_000, 3, generator=seeded()) @ torch.tensor([[1.0, 2, 0], [0, 1, 0], [0, 0, 3]]) + 5
    codes = torch.cat([codes, torch.full((4_000, 1), 2.0)], 1)
    drawn_codes = metrics.sample_latents(codes, "fitted", 40_000, seeded(1))
    assert (drawn_codes[:, 3] == 2).all()
    # 5 sd: of a mean sd/√n ≤ 3/200; of a covariance ≤ √2 · 9/200.
    assert (drawn_codes.mean(0) - codes.mean(0)).abs().max() < 0.08
    assert (torch.cov(drawn_codes.T) - torch.cov(codes.T)).abs().max() < 0.32


def test_a_penalty_goes_with_the_units_it_is_made_for():
    assert restricted.penalty_of(one_layer()) is sparse_penalty
    model = one_layer(activation=torch.sigmoid)
    of_codes = restricted.penalty_of(model)
    assert isinstance(of_codes, partial) and of_codes.keywords["weight"] is model.weight


def test_rows_of_the_slip_table(monkeypatch):
    digits = torch.rand(300, 1, 28, 28, generator=seeded())
    monkeypatch.setattr(restricted, "digits", lambda split, device=None: (digits, torch.zeros(300)))
    monkeypatch.setattr(restricted, "mnist", lambda split, device=None: type("Set", (), {"images": digits}))
    rows = restricted.slip_rows(units=5, at=(1, 3), seeds=(0, 1), batch_size=32)
    assert [(r["model"], r["tied"], r["seed"], r["step"]) for r in rows] == [
        (m, t, s, i) for m in ("sparse", "contractive") for t in (True, False) for s in (0, 1) for i in (1, 3)]
    assert all(np.isfinite(v) for row in rows for k, v in row.items() if k != "model")


# --- pictures --------------------------------------------------------------------------------------------------------

SLIPS = [{"model": m, "tied": t, "seed": s, "step": i, "penalty": 5.0 / i + s, "units on": 90.0 + i}
         for m in ("sparse", "contractive") for t in (True, False) for s in (0, 1) for i in (1, 10, 100)]
FIGURES = {
    "spectrum_chart": lambda: pictures.spectrum_chart(
        {"plain": torch.tensor([2.0, 1, 0.5]), "contractive": torch.tensor([3.0, 1, 0])},
        {"plain": torch.randn(6, 1, 5, 5), "contractive": torch.randn(6, 1, 5, 5)}, "Few directions"),
    "slip_chart": lambda: pictures.slip_chart(SLIPS, "The slip"),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_draws_without_a_warning_and_names_its_axes(draw):
    before = dict(mpl.rcParams)
    with plt.rc_context():
        plots.use_style()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = draw()
            figure.canvas.draw()
        assert figure.get_suptitle()
        for ax in figure.axes:
            assert (ax.get_xlabel() and ax.get_ylabel()) or not len(ax.get_xticks())
    plt.close("all")
    assert dict(mpl.rcParams) == before


def test_the_charts_show_what_they_are_given():
    figure = FIGURES["spectrum_chart"]()
    curves = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert curves[0] == [1, 0.5, 0.25] and curves[1] == pytest.approx([1, 1 / 3, 0])
    ax = FIGURES["slip_chart"]().axes[0]
    assert ax.lines[0].get_xydata() == pytest.approx(np.array([[1, 5.5], [10, 1.0], [100, 0.55]]))    # mean of seeds
    plt.close("all")


def test_signed_images_have_0_in_the_middle():
    x = torch.tensor([[-2.0, 0, 1, 2], [0, 0, 0, 0.1]]).view(2, 1, 2, 2)
    assert_close(pictures.signed(x).flatten(1), torch.tensor([[0, 0.5, 0.75, 1], [0.5, 0.5, 0.5, 1]]))
    assert torch.equal(pictures.signed(torch.zeros(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 0.5))


# --- faces drawn for a distance --------------------------------------------------------------------------------------

def test_a_drawn_face_has_all_its_parts_and_is_painted_in_their_colours():
    parts = drawn.face_parts()
    assert parts.unique().tolist() == [0, 1, 2, 3, 4] and torch.equal(parts, parts.flip(1))
    face = drawn.paint(parts)
    assert face.shape == (1, 3, 32, 32) and face.min() >= 0 and face.max() <= 1
    for number in range(5):
        assert torch.equal(face[0, :, parts == number].unique(dim=1)[:, 0], torch.tensor(drawn.EVENING[number]))
    changed = parts != drawn.face_parts(-1)
    assert 4 <= changed.sum() <= 40 and changed[16:26].any() and not changed[:16].any()
    for bad in (dict(smile=2), dict(size=8)):
        with pytest.raises(ValueError, match="it must be"):
            drawn.face_parts(**bad)


def test_recolouring_costs_area_times_the_squared_change_of_colour():
    pictures_of, g = torch.rand(3, 3, 9, 8, generator=seeded(), dtype=torch.float64), seeded(1)
    mask = torch.rand(3, 1, 9, 8, generator=g) < 0.3
    new = drawn.recolour(pictures_of, mask, (0.1, 0.5, 0.9))
    for old, after, m in zip(pictures_of, new, mask[:, 0], strict=True):
        mean = old[:, m].mean(1)
        assert_close(after[:, m].mean(1), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
        change = (torch.tensor([0.1, 0.5, 0.9]) - mean).square().sum()
        assert_close((after - old).square().sum(), m.sum() * change, rtol=1e-6, atol=1e-6)
        assert torch.equal(after[:, ~m], old[:, ~m])
        assert_close(after[:, m] - after[:, m].mean(1, keepdim=True), old[:, m] - mean[:, None])   # shades are kept
    assert_close(drawn.recolour(pictures_of, mask[:1], (0, 0, 0))[1:2], drawn.recolour(pictures_of[1:2], mask[:1],
                                                                                       (0, 0, 0)))


@pytest.mark.parametrize("shapes, message", [
    (((2, 1, 4, 4), (1, 1, 4, 4)), r"images has shape \(2, 1, 4, 4\)"),
    (((2, 3, 4, 4), (3, 1, 4, 4)), r"mask has shape \(3, 1, 4, 4\); it must be \(1, 1, 4, 4\)"),
    (((2, 3, 4, 4), (2, 3, 4, 4)), r"mask has shape \(2, 3, 4, 4\)"),
])
def test_recolour_refuses_other_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        drawn.recolour(torch.zeros(shapes[0]), torch.ones(shapes[1], dtype=torch.bool), (0, 0, 0))
    with pytest.raises(ValueError, match="mask is empty"):
        drawn.recolour(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool), (0, 0, 0))


def test_another_expression_is_nearer_than_other_colours():
    face = drawn.paint(drawn.face_parts(1))
    frown, recoloured = drawn.paint(drawn.face_parts(-1)), drawn.paint(drawn.face_parts(1), drawn.MORNING)
    assert ae_loss(frown, face) < 0.1 * ae_loss(recoloured, face)
