"""The VAE/GAN's forward, its likelihood with the best σ, and whom each of its losses would move."""

import math

import pytest
import torch
from torch.testing import assert_close
from vaegan_by_hand import networks

from course_lib import gans
from course_lib.autoencoders import best_gaussian_nll
from course_lib.gans import loss_slopes, vaegan_forward, vaegan_losses


@pytest.fixture
def parts():
    vae, dis = networks()
    torch.manual_seed(1)
    like = {"dtype": torch.float64}
    x = torch.rand(5, *vae.decode(torch.zeros(1, vae.latents, **like)).shape[1:], **like)
    return vae, dis, x, torch.randn(5, vae.latents, **like), torch.randn(5, vae.latents, **like)


def test_the_forward_judges_data_reconstructions_and_samples(parts):
    vae, dis, x, eps, z_p = parts
    seen = vaegan_forward(vae, dis, x, eps, z_p, layer=1)
    mu, log_var = vae.encode(x)
    x_tilde, x_p = vae.decode(mu + (log_var / 2).exp() * eps), vae.decode(z_p)
    assert_close(seen.mu, mu)
    assert_close(seen.log_var, log_var)
    assert_close(seen.features_x, dis.features(x, 1))
    assert_close(seen.features_x_tilde, dis.features(x_tilde, 1))
    for found, images in ((seen.logits_x, x), (seen.logits_x_tilde, x_tilde), (seen.logits_x_p, x_p)):
        assert_close(found, dis(images))


def test_noise_that_does_not_fit_is_refused(parts):
    vae, dis, x, eps, z_p = parts
    with pytest.raises(ValueError, match="eps has shape"):
        vaegan_forward(vae, dis, x, eps[:1], z_p)
    with pytest.raises(ValueError, match="z_p has shape"):
        vaegan_forward(vae, dis, x, eps, z_p[:, :1])


def test_with_the_best_sigma_the_features_size_does_not_matter_to_the_gradient(parts):
    vae, dis, x, eps, z_p = parts
    seen = vaegan_forward(vae, dis, x, eps, z_p)
    n = seen.features_x[0].numel()
    best = vaegan_losses(*seen, sigma=None)
    assert_close(best.llike, best_gaussian_nll(seen.features_x_tilde, seen.features_x).mean())
    ten = seen._replace(features_x=10 * seen.features_x, features_x_tilde=10 * seen.features_x_tilde)
    assert_close(vaegan_losses(*ten, sigma=None).llike, best.llike + n * math.log(10))
    slopes = [torch.autograd.grad(vaegan_losses(*s, sigma=None).llike, list(vae.encoder.parameters()),
                                  retain_graph=True) for s in (seen, ten)]
    assert_close(slopes[0], slopes[1])
    wide, paper = vaegan_losses(*seen, sigma=3.0).llike, vaegan_losses(*seen).llike
    error = (seen.features_x - seen.features_x_tilde).square().flatten(1).sum(1).mean()
    assert_close(wide - paper, error / 2 * (1 / 9 - 1) + n * math.log(3))


def test_the_slopes_are_lengths_of_gradients_and_0_where_a_loss_does_not_reach(parts):
    vae, dis, x, eps, z_p = parts
    losses = vaegan_losses(*vaegan_forward(vae, dis, x, eps, z_p))
    rows = loss_slopes(vae, dis, losses)
    assert [row["term"] for row in rows] == ["L_prior", "L_llike", "L_GAN"]
    for row, loss in zip(rows, losses, strict=True):
        for name, net in (("Enc", vae.encoder), ("Dec", vae.decode), ("Dis", dis)):
            for p in net.parameters():
                p.grad = None
            loss.backward(retain_graph=True)
            length = math.sqrt(sum(p.grad.square().sum().item() for p in net.parameters() if p.grad is not None))
            assert row[name] == pytest.approx(length, rel=1e-9)
    assert rows[0]["Dec"] == rows[0]["Dis"] == 0 < min(rows[1]["Dis"], rows[2]["Enc"])


def test_what_chapter_8_calls_is_public():
    assert {"vaegan_forward", "vaegan_losses", "vaegan_step", "loss_slopes"} <= set(gans.__all__)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_forward_gives_the_same_losses(parts):
    vae, dis, x, eps, z_p = parts
    here = vaegan_losses(*vaegan_forward(vae, dis, x, eps, z_p))
    there = vaegan_losses(*vaegan_forward(vae.cuda(), dis.cuda(), x.cuda(), eps.cuda(), z_p.cuda()))
    for one, other in zip(here, there, strict=True):
        assert_close(other.cpu(), one, rtol=1e-9, atol=1e-9)
