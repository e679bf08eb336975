"""The VAE/GAN: its losses against torch.distributions, its gradients against three passes by hand, and its signs."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close
from vaegan_by_hand import (
    DIS,
    PARTS,
    VAE_,
    X,
    close,
    descents,
    exactly,
    gradient,
    networks,
    noise,
    normal,
    size,
    step,
    terms,
    three_passes,
    weights,
)

from course_lib.gans import vaegan_losses, vaegan_step
from course_lib.networks import dcgan_discriminator, dcgan_vae

# --- the losses ------------------------------------------------------------------------------------------------------

def inputs(b=4, d=3, features=(2, 5), seed=0):
    shapes = ((b, d), (b, d), (b, *features), (b, *features), (b,), (b,), (b,))
    return [normal(*shape, seed=seed + k) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("features", [(5,), (2, 5), (3, 2, 2)])
def test_the_losses_are_those_of_torch_distributions(features):
    mu, log_var, f_x, f_tilde, l_x, l_tilde, l_p = given = inputs(features=features)
    losses = vaegan_losses(*given)
    assert_close(losses.prior, kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).sum() / 4)
    assert_close(losses.llike, -Normal(f_tilde, 1.0).log_prob(f_x).sum() / 4)
    assert_close(losses.gan, (l_x.sigmoid().log() + (1 - l_tilde.sigmoid()).log() + (1 - l_p.sigmoid()).log()).mean())
    assert all(loss.shape == () for loss in losses)


def test_l_gan_is_minus_3_log_2_where_dis_knows_nothing_and_never_above_0():
    mu, log_var, f_x, f_tilde, *logits = inputs()
    value = lambda *ls: vaegan_losses(mu, log_var, f_x, f_tilde, *ls).gan.item()
    assert value(*[0 * l for l in logits]) == pytest.approx(-3 * math.log(2))
    for scale in (0.1, 1, 30, 1e4):
        assert -math.inf < value(*[scale * l for l in logits]) < 0                      # no log of 0
    sure = torch.full((4,), 800.0, dtype=torch.float64)
    assert value(sure, -sure, -sure) == pytest.approx(0) and value(-sure, sure, sure) == pytest.approx(-2_400)


def test_the_variance_of_the_features_likelihood_is_1():
    mu, log_var, f_x, _, *logits = inputs()
    perfect = vaegan_losses(mu, log_var, f_x, f_x, *logits).llike.item()
    assert perfect == pytest.approx(10 / 2 * math.log(2 * math.pi))                     # 10 features
    off = vaegan_losses(mu, log_var, f_x, f_x + 0.3, *logits).llike.item()
    assert off - perfect == pytest.approx(10 * 0.3**2 / 2)


@pytest.mark.parametrize("at, shape, message", [
    (0, (4, 1), r"log_var has shape \(4, 3\), but mu has shape \(4, 1\)"), (0, (4,), r"mu has shape \(4,\)"),
    (1, (4, 1), "log_var has shape"), (2, (1, 2, 5), "features_x has shape"),
    (3, (4, 10), r"features_x has shape \(4, 2, 5\), but features_x_tilde has shape \(4, 10\)"),
    (4, (4, 1), r"logits_x has shape \(4, 1\); it must be \(4,\)"), (5, (3,), "logits_x_tilde has shape"),
    (6, (8,), r"logits_x_p has shape \(8,\); it must be \(4,\)"),
])
def test_the_losses_refuse_shapes_that_would_broadcast(at, shape, message):
    given = inputs()
    given[at] = normal(*shape)
    with pytest.raises(ValueError, match=message):
        vaegan_losses(*given)
    with pytest.raises(ValueError, match="features_x has shape"):
        vaegan_losses(*[g[:3] if k in (2, 3) else g for k, g in enumerate(inputs())])


# --- one forward, three gradients ------------------------------------------------------------------------------------

@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize("gamma, layer", [(0.0, 2), (0.3, 2), (0.3, 1), (7.0, 2)])
def test_each_gradient_is_that_of_a_pass_of_its_own(gamma, layer, saturating):
    wanted = three_passes(VAE_, DIS, gamma, saturating, layer=layer)
    found = descents(VAE_, DIS, gamma=gamma, layer=layer, saturating=saturating)
    for name in PARTS:
        assert size(wanted[name]) > 1e-3
        close(found[name], wanted[name])


def test_by_default_features_are_the_last_layer_s_gamma_a_hundredth_and_dec_s_loss_does_not_saturate():
    found = descents(VAE_, DIS)
    for name, wanted in three_passes(VAE_, DIS, 1e-2, False, layer=2).items():
        close(found[name], wanted)


def test_with_batch_norm_data_reconstructions_and_samples_share_its_statistics():
    vae, dis = networks(nn.BatchNorm1d)
    wanted = three_passes(vae, copy.deepcopy(dis), 0.3, False, one_batch=True)
    found, apart = descents(vae, dis, gamma=0.3, layer=1), three_passes(vae, copy.deepcopy(dis), 0.3, False, layer=1)
    for name in PARTS:
        close(found[name], wanted[name])
        assert size(a - b for a, b in zip(found[name], apart[name], strict=True)) > 1e-3


def test_in_single_precision_the_gradients_are_the_same_to_its_digits():
    vae, dis = copy.deepcopy(VAE_).to(torch.float32), copy.deepcopy(DIS).to(torch.float32)
    before = weights(vae, dis)
    eps, z_p = noise()
    drawn = iter([eps.float(), z_p.float()])
    opts = [torch.optim.SGD(net.parameters(), lr=1.0) for net in (vae.encoder, vae.decode, dis)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *shape, **like: next(drawn))
        vaegan_step(iter([X.float()]), vae, dis, *opts, gamma=0.3)
    wanted = three_passes(VAE_, DIS, 0.3, False)
    for name, after in weights(vae, dis).items():
        close([b - a for b, a in zip(before[name], after, strict=True)], [g.float() for g in wanted[name]], rtol=1e-4,
              atol=1e-5)


def test_l_llike_does_not_reach_dis():
    assert size(gradient(terms(VAE_, DIS)["llike"], DIS.layers)) > 0.01                 # though it could
    alone = [-g for g in gradient(terms(VAE_, DIS)["gan"], DIS)]
    for gamma, layer, saturating in itertools.product((0.0, 1.0, 1e3), (1, 2), (True, False)):
        close(descents(VAE_, DIS, gamma=gamma, layer=layer, saturating=saturating)["dis"], alone)


def test_l_gan_does_not_reach_enc():
    assert size(gradient(terms(VAE_, DIS)["gan"], VAE_.encoder)) > 1e-3                 # though x̃ is made of its z
    found = terms(VAE_, DIS)
    alone = gradient(found["prior"] + found["llike"], VAE_.encoder)
    for gamma, saturating in itertools.product((0.0, 1.0, 1e3), (True, False)):
        close(descents(VAE_, DIS, gamma=gamma, saturating=saturating)["enc"], alone)


def test_gamma_weighs_l_llike_for_dec_alone():
    at_0, at_3 = (descents(VAE_, DIS, gamma=gamma) for gamma in (0.0, 3.0))
    close(at_3["enc"], at_0["enc"], **exactly)
    close(at_3["dis"], at_0["dis"], **exactly)
    llike = gradient(terms(VAE_, DIS)["llike"], VAE_.decode)
    close([b - a for a, b in zip(at_0["dec"], at_3["dec"], strict=True)], [3 * g for g in llike])


# --- signs -----------------------------------------------------------------------------------------------------------

def moved(which, lr, **settings):
    """The terms before a small step and after it, where only one network has moved; and its squared slope."""
    vae, dis = copy.deepcopy(VAE_), copy.deepcopy(DIS)
    step(vae, dis, lr, **settings)
    other_vae, other_dis = copy.deepcopy(VAE_), copy.deepcopy(DIS)
    if which == "dis":
        other_dis = dis
    else:
        part = "encoder" if which == "enc" else "decode"
        setattr(other_vae, part, getattr(vae, part))
    slope = size(descents(VAE_, DIS, **settings)[which]) ** 2
    return terms(VAE_, DIS), terms(other_vae, other_dis), slope


def test_a_small_step_of_dis_raises_l_gan():
    before, after, slope = moved("dis", 1e-4)
    assert after["gan"] > before["gan"]
    assert (after["gan"] - before["gan"]).item() == pytest.approx(1e-4 * slope, rel=0.02)


def test_a_small_step_of_dec_at_gamma_0_lowers_l_gan():
    before, after, slope = moved("dec", 1e-4, gamma=0.0, saturating=True)
    assert after["gan"] < before["gan"]
    assert (before["gan"] - after["gan"]).item() == pytest.approx(1e-4 * slope, rel=0.02)


def test_a_small_step_of_dec_makes_dis_take_its_images_for_data():
    before, after, slope = moved("dec", 1e-4, gamma=0.0)
    assert (after["fooled"] - before["fooled"]).item() == pytest.approx(1e-4 * slope, rel=0.02)
    assert after["gan"] < before["gan"]                 # the same direction for the player, though another loss


def test_small_steps_lower_what_enc_and_dec_are_to_lower():
    before, after, slope = moved("enc", 1e-6)
    charged = before["prior"] + before["llike"] - after["prior"] - after["llike"]
    assert charged.item() == pytest.approx(1e-6 * slope, rel=0.02)
    before, after, _ = moved("dec", 1e-6, gamma=1e4)    # γ so large that L_llike is all that counts
    assert after["llike"] < before["llike"]


# --- the leak: three backward passes that add up in .grad ------------------------------------------------------------

def as_in_the_wild(vae, dis, gamma, saturating, zero_each):
    """Three calls of backward on one graph, then three steps at a rate of 1: what Dec and Dis are moved by.

    zero_each: each network's .grad is emptied just before its own backward, as if that were enough.
    """
    vae, dis = copy.deepcopy(vae), copy.deepcopy(dis)
    opts = [torch.optim.SGD(net.parameters(), lr=1.0) for net in (vae.encoder, vae.decode, dis)]
    before, found = weights(vae, dis), terms(vae, dis)
    fool = found["gan"] if saturating else -found["fooled"]
    for opt, loss in zip(opts, (found["prior"] + found["llike"], gamma * found["llike"] + fool, -found["gan"]),
                         strict=True):
        if zero_each:
            opt.zero_grad()
        loss.backward(retain_graph=True)
    for opt in opts:
        opt.step()
    after = weights(vae, dis)
    return {name: [b - a for b, a in zip(before[name], after[name], strict=True)] for name in PARTS}


def test_three_backward_passes_leak_into_the_other_networks_and_ours_do_not():
    leaky, ours = as_in_the_wild(VAE_, DIS, 1.0, False, zero_each=True), descents(VAE_, DIS, gamma=1.0)
    foreign = gradient(-terms(VAE_, DIS)["gan"], VAE_.decode)                           # Dis's loss, at Dec's weights
    close([a - b for a, b in zip(leaky["dec"], ours["dec"], strict=True)], foreign)
    assert size(foreign) > 0.01 * size(ours["dec"])     # and it is no rounding error
    assert size(a - b for a, b in zip(leaky["enc"], ours["enc"], strict=True)) > 0.01 * size(ours["enc"])
    close(leaky["dis"], ours["dis"])                    # the last one gets away
    without = as_in_the_wild(VAE_, DIS, 1.0, False, zero_each=False)
    assert size(a - b for a, b in zip(without["dis"], ours["dis"], strict=True)) > 0.01 * size(ours["dis"])


def test_at_gamma_0_what_leaks_in_cancels_all_that_the_decoder_should_learn():
    leaky = as_in_the_wild(VAE_, DIS, 0.0, True, zero_each=True)["dec"]
    assert size(leaky) < 1e-14 and size(descents(VAE_, DIS, gamma=0.0, saturating=True)["dec"]) > 0.01


# --- the step --------------------------------------------------------------------------------------------------------

def test_the_log_is_of_before_the_update_and_detached():
    vae, dis = copy.deepcopy(VAE_), copy.deepcopy(DIS)
    log, wanted = step(vae, dis), terms(VAE_, DIS)
    eps, z_p = noise()
    mu, log_var = VAE_.encode(X)
    wanted |= {"Dis(x)": DIS(X).sigmoid().mean(), "Dis(x_p)": DIS(VAE_.decode(z_p)).sigmoid().mean(),
               "Dis(x̃)": DIS(VAE_.decode(mu + (log_var / 2).exp() * eps)).sigmoid().mean()}
    assert list(log) == ["prior", "llike", "gan", "Dis(x)", "Dis(x̃)", "Dis(x_p)"]
    for name, value in log.items():
        assert not value.requires_grad and value.shape == ()
        assert_close(value, wanted[name].detach())
    assert all(p.grad is None for net in (vae, dis) for p in net.parameters())          # nothing for a later step


def test_a_step_takes_one_batch_and_refuses_what_is_wrong_before_it_moves_anything():
    vae, dis = copy.deepcopy(VAE_), copy.deepcopy(DIS)
    with pytest.raises(ValueError, match=r"gamma is -0\.1; it must be at least 0"):
        step(vae, dis, gamma=-0.1)
    with pytest.raises(ValueError, match="layer is 3; it must be from 1 to 2"):
        step(vae, dis, layer=3)
    opts = [torch.optim.SGD(net.parameters(), lr=1.0) for net in (vae.encoder, vae.decode, networks(seed=1)[1])]
    with pytest.raises(ValueError, match="depends on none of this optimizer's parameters"):
        vaegan_step(itertools.repeat(X), vae, dis, *opts)
    for name, now in weights(vae, dis).items():
        close(now, weights(VAE_, DIS)[name], **exactly)
    batches = iter([X, X])
    opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (vae.encoder, vae.decode, dis)]
    vaegan_step(batches, vae, dis, *opts)
    assert len(list(batches)) == 1


@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 32)])
def test_the_course_s_networks_go_through_it(image):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d
    vae, dis = dcgan_vae(4, 2, image, norm), dcgan_discriminator(2, image, norm)
    opts = [torch.optim.Adam(net.parameters(), 1e-3) for net in (vae.encoder, vae.decode, dis)]
    before, x = weights(vae, dis), torch.rand(5, *image)
    log = vaegan_step(itertools.repeat(x), vae, dis, *opts, layer=2)
    assert all(value.isfinite() for value in log.values())
    for name, after in weights(vae, dis).items():
        moved = [not torch.equal(a, b) for a, b in zip(after, before[name], strict=True)]
        assert all(moved), name


def test_under_autocast_the_losses_are_taken_in_single_precision():
    vae, dis = copy.deepcopy(VAE_).float(), copy.deepcopy(DIS).float()
    opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (vae.encoder, vae.decode, dis)]
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        log = vaegan_step(iter([X.float()]), vae, dis, *opts)
    assert {value.dtype for value in log.values()} == {torch.float32}
    assert all(p.isfinite().all() and p.dtype == torch.float32 for net in (vae, dis) for p in net.parameters())
