"""What stands behind chapter 13's models and tables: training, sampling in blocks, judging, the rows."""

import pytest
import torch
from torch.testing import assert_close

from course_lib import metrics, networks, recipes
from course_lib.datasets import mnist
from course_lib.diffusion import Schedule, as_denoiser, ddim, last, times
from course_lib.recipes import diffusion, measures
from course_lib.recipes import diffusion_tables as tables
from course_lib.recipes.sheets import from_sheet

exactly = {"rtol": 0, "atol": 0}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def small_net(classes=10, image=networks.DIGIT):
    """A U-Net that depends on all that it is told, as it does not before training."""
    torch.manual_seed(0)
    net = networks.UNet(image, (8, 8, 8), classes, embedding=16)
    for p in net.parameters():
        if not p.any():                                 # what begins as 0 hides all that lies before it
            torch.nn.init.normal_(p, std=0.1)
    return net.eval().requires_grad_(False)


# --- training ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data, image", [("digits", networks.DIGIT), ("faces", networks.FACE)])
def test_a_model_trains_in_place_and_gives_the_same_from_the_same_seed(data, image):
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        net = networks.UNet(image, (8, 8, 8), 10 if data == "digits" else 0, embedding=16)
        diffusion.fit(net, data=data, steps=3, batch_size=4)
        weights.append(torch.cat([p.flatten() for p in net.parameters()]))
    torch.manual_seed(0)
    before = torch.cat([p.flatten() for p in networks.UNet(image, (8, 8, 8), 10 if data == "digits" else 0,
                                                           embedding=16).parameters()])
    assert_close(weights[0], weights[1], **exactly)
    assert not torch.equal(weights[0], before)


def test_a_network_that_says_0_has_the_loss_of_v_s_variance_and_times_that_cover_all():
    """E v² = ᾱ E ε² + (1 − ᾱ) E x_0²: between the two, for each digit."""
    net = networks.UNet(classes=10, widths=(8, 8, 8), embedding=16).eval()
    t, losses = diffusion.test_losses(net, "digits", n=500)
    x0 = 2 * mnist("test").floats()[0][:500] - 1
    schedule = Schedule.cosine(diffusion.T)
    wanted = schedule.alpha_bar[t] + schedule.variance[t] * x0.square().flatten(1).mean(1)
    assert t.min() == 1 and t.max() == 1000 and len(t.unique()) == 500
    assert abs((losses.mean() / wanted.mean()).item() - 1) < 0.01


@pytest.mark.parametrize("name, noisy", [("diffusion-digits", diffusion.noisy_digits),
                                         ("diffusion-faces", diffusion.noisy_faces)])
def test_the_probe_fits_the_network_and_is_half_noise(name, noisy):
    x, t, *_ = noisy()
    net = recipes.MODELS[name].build()
    assert x.shape[1:] == net.image and t.tolist() == [500] * 8
    assert 0.3 < x.var() < 1.2


# --- sampling ---------------------------------------------------------------------------------------------------------

def test_samples_do_not_depend_on_where_blocks_end(monkeypatch):
    net, labels = small_net(), tables.each_class(6)
    whole = tables.generate(net, labels, 6, steps=3, w=1.0, bf16=False)
    monkeypatch.setattr(tables, "BLOCK", 4)
    assert_close(tables.generate(net, labels, 6, steps=3, w=1.0, bf16=False), whole, atol=1e-5, rtol=0)
    assert whole.shape == (6, 1, 28, 28) and whole.min() >= 0 and whole.max() <= 1


def test_generate_is_the_sampler_on_the_seed_s_noise():
    net, schedule = small_net(0, networks.FACE), Schedule.cosine(1000)
    start = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    wanted = last(ddim(as_denoiser(net, schedule), schedule, start, times(1000, 4)))
    made = tables.generate(net, None, 2, "DDIM", 4, seed=5, bf16=False)
    assert_close(made, ((wanted + 1) / 2).clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sampler", tables.SAMPLERS)
def test_calls_counts_how_often_the_network_is_asked(sampler):
    net = small_net()
    asked = []
    net.register_forward_hook(lambda *_: asked.append(1))
    tables.generate(net, tables.each_class(2), 2, sampler, 4)
    assert len(asked) == tables.calls(sampler, 4)


def test_another_sampler_is_refused():
    with pytest.raises(ValueError, match="sampler is 'Euler'"):
        tables.generate(small_net(), None, 1, "Euler")


# --- judging and the rows ---------------------------------------------------------------------------------------------

@pytest.fixture
def few_real(monkeypatch):
    """2,000 training digits stand in for the 60,000 that measure."""
    classifier = recipes.load("digit-classifier")
    real = measures.some_digits("train", 2_000).images
    ruler = tables.Ruler(classifier, metrics.feature_statistics(classifier.features, real))
    monkeypatch.setattr(tables, "ruler", lambda device=None: ruler)


@pytest.fixture
def untrained(few_real, monkeypatch):
    """The tables are made with a network of no use, in a moment."""
    real = recipes.load
    monkeypatch.setattr(recipes, "load", lambda name, device=None: small_net() if name == "diffusion-digits"
                        else real(name, device))
    five = measures.digit_features("train", 500)
    monkeypatch.setattr(measures, "digit_features", lambda split, n, device=None: five[:n])


def test_digits_are_at_no_distance_from_themselves_and_of_their_class(few_real):
    images, labels, _ = measures.some_digits("train", 2_000)
    real = measures.digit_features("train", 500)
    found = tables.judge(images, labels, real)
    spoilt = tables.judge(1 - images, None, real)
    assert found["fréchet, whitened"] < 1e-6 and found["fréchet"] < 1e-6 and found["class right"] > 0.99
    assert found["precision"] == found["recall"] == 1
    assert spoilt["class right"] is None and spoilt["fréchet, whitened"] > 100


def test_step_rows_have_a_row_a_run_and_one_of_test_digits(untrained):
    rows = tables.step_rows(runs=(("DDPM", 2), ("Heun", 2)), n=10)
    assert [row["sampler"] for row in rows] == ["test digits", "DDPM", "Heun"]
    assert [row["network calls"] for row in rows] == [0, 2, 3]
    assert all(from_sheet(row["pictures"]).shape == (10, 1, 28, 28) for row in rows[1:])
    assert all(row["seconds"] > 0 for row in rows[1:])


def test_guidance_rows_begin_from_the_same_noise(untrained):
    rows = tables.guidance_rows(weights=(0.0, 0.0, 3.0), n=20, steps=2)
    same, again, guided = (from_sheet(row["pictures"]) for row in rows)
    assert_close(same, again, **exactly)
    assert not torch.equal(same, guided)


def test_sample_rows_judge_each_set_and_keep_a_sheet_of_the_model_s(untrained):
    rows = tables.sample_rows(sets=("test digits", "GAN", "diffusion"), n=100, steps=2)
    assert [row["samples"] for row in rows] == ["test digits", "GAN", "diffusion"]
    assert rows[0]["class right"] > 0.95 and rows[1]["class right"] is None and rows[2]["class right"] is not None
    assert from_sheet(rows[2]["pictures"]).shape == (100, 1, 28, 28)
    assert rows[0]["fréchet, whitened"] < rows[2]["fréchet, whitened"]


# --- what is stored ---------------------------------------------------------------------------------------------------

def test_the_stored_digits_model_draws_the_class_asked_for():
    """A fifth of 40 wrong would be far from the 98 % that its table says."""
    net, labels = recipes.load("diffusion-digits"), tables.each_class(40)
    made = tables.generate(net, labels, 40, steps=10)
    by = recipes.load("digit-classifier")
    assert (by(made).argmax(1) == labels).float().mean() > 0.8


def test_the_stored_models_predict_better_than_nothing():
    for name, data in (("diffusion-digits", "digits"), ("diffusion-faces", "faces")):
        net = recipes.load(name)
        assert diffusion.test_losses(net, data, n=60)[1].mean() < 0.25


@pytest.mark.gpu
@needs_gpu
def test_samples_on_a_gpu_are_those_of_the_cpu():
    net = small_net()
    cpu = tables.generate(net, tables.each_class(4), 4, steps=3, bf16=False)
    gpu = tables.generate(net.cuda(), tables.each_class(4, "cuda"), 4, steps=3, bf16=False)
    assert_close(gpu.cpu(), cpu, atol=2e-3, rtol=0)


@pytest.mark.gpu
@needs_gpu
def test_training_on_a_gpu_lowers_the_loss():
    torch.manual_seed(0)
    net = networks.UNet(classes=10).cuda()
    before = diffusion.test_losses(net.eval(), "digits", n=100)[1].mean()
    diffusion.fit(net.train(), "cuda", data="digits", steps=100, ema_decay=0.9)
    assert diffusion.test_losses(net.eval(), "digits", n=100)[1].mean() < 0.5 * before
