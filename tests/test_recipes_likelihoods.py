"""What stands behind chapter 02's tables: draws from each likelihood, errors, nats and bits, and the rows."""

import json
import math
from functools import partial

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.testing import assert_close

from course_lib import metrics, networks
from course_lib.autoencoders import vae_step
from course_lib.datasets import batches, mnist
from course_lib.recipes import TABLES, likelihoods, load, table, vae
from course_lib.recipes.digits import digits
from course_lib.recipes.likelihoods import LIKELIHOODS, bits_a_pixel, held, sample_pixels
from course_lib.recipes.store import settings_of
from course_lib.training import adam, train

BERNOULLI, UNIT, HALF, LEARNED, PER_PIXEL = LIKELIHOODS
each_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def untrained(name, seed=0):
    torch.manual_seed(seed)
    return LIKELIHOODS[name].build().eval()


def flat(model):
    """The same network with every weight 0: it encodes all images as N(0, I) and decodes every z alike."""
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    return model


@pytest.fixture
def few(monkeypatch):
    """50 test digits and 80 training digits instead of all, for what is measured; training is on all."""
    cut = {"train": 80, "test": 50}
    for module in (likelihoods, vae):
        monkeypatch.setattr(module, "digits",
                            lambda split, device=None: tuple(t[:cut[split]] for t in digits(split, device)))
    return digits("train")[0][:80], digits("test")[0][:50]


# --- the five likelihoods --------------------------------------------------------------------------------------------

def test_the_networks_differ_in_their_last_layer_only():
    shapes = {name: [tuple(p.shape) for p in untrained(name).parameters()] for name in LIKELIHOODS}
    reference = [tuple(p.shape) for p in networks.mlp_vae(16).parameters()]
    assert all(shapes[name] == reference for name in (BERNOULLI, UNIT, HALF, LEARNED))
    assert shapes[PER_PIXEL][:-2] == reference[:-2] and shapes[PER_PIXEL][-2:] == [(1568, 256), (1568,)]


@each_likelihood
def test_each_trains_in_two_lines_and_its_parts_fit_together(name):
    likelihood, model = LIKELIHOODS[name], untrained(name).train()
    step = partial(vae_step, model=model, opt=adam(model, 2e-3), nll=likelihood.nll)
    logs = [log for _, log in train(step, map(likelihood.pixels, batches(mnist("train").images[:64], 32)), 3)]
    assert len(logs) == 3 and all(torch.isfinite(value) for log in logs for value in log.values())
    x = mnist("test").floats()[0][:5]
    likelihood, output = held(likelihood, model.eval(), x, seeded()), model(likelihood.pixels(x)).detach()
    assert likelihood.nll(output, likelihood.pixels(x)).shape == (5,)
    assert likelihood.mean(output).shape == sample_pixels(likelihood, output).shape == x.shape
    assert likelihood.sigma is None if name == BERNOULLI else (likelihood.sigma(output) > 0).all()


def test_pixels_are_binary_or_dequantised_and_drawn_anew():
    x = digits("test")[0]
    assert torch.equal(LIKELIHOODS[BERNOULLI].pixels(x, seeded()), vae.binary_test_digits())
    x = x[:200]
    for name in (UNIT, HALF, LEARNED, PER_PIXEL):
        drawn = LIKELIHOODS[name].pixels(x)
        assert torch.equal((drawn.double() * 256).floor().clamp_max(255), (255 * x.double()).round())   # one level
        u = 256 * drawn.double() - 255 * x.double()
        # 156,800 draws of U[0, 1): the mean spreads by 0.00073, the variance by 0.00019; 4.5σ is 7 in a million.
        assert abs(u.mean() - 1 / 2) < 0.0033 and abs(u.var() - 1 / 12) < 0.00085
        assert not torch.equal(drawn, LIKELIHOODS[name].pixels(x))
        assert torch.equal(LIKELIHOODS[name].pixels(x, seeded(3)), LIKELIHOODS[name].pixels(x, seeded(3)))


def outputs_and_oracles():
    """A decoder's output for 4 pixels, (1, C, 2, 2), and torch's distribution of these pixels."""
    mean = torch.tensor([0.1, 0.9, 0.4, 0.6]).view(1, 1, 2, 2)
    logits, log_var = 4 * mean - 2, torch.tensor([-30.0, -9.0, -3.0, 0.5]).view(1, 1, 2, 2)
    floor = torch.tensor(1 / 256)
    return {BERNOULLI: (LIKELIHOODS[BERNOULLI], logits, Bernoulli(logits=logits)),
            UNIT: (LIKELIHOODS[UNIT], mean, Normal(mean, torch.ones(()))),
            HALF: (LIKELIHOODS[HALF], mean, Normal(mean, torch.tensor(0.5).sqrt())),
            LEARNED: (likelihoods.gaussian(0.21), mean, Normal(mean, torch.tensor(0.21))),
            PER_PIXEL: (LIKELIHOODS[PER_PIXEL], torch.cat([mean, log_var], 1),
                        Normal(mean, (log_var.exp() + floor**2).sqrt()))}


@each_likelihood
def test_draws_have_the_mean_and_the_spread_of_the_likelihood(name):
    likelihood, output, oracle = outputs_and_oracles()[name]
    assert_close(likelihood.mean(output), oracle.mean)
    n = 40_000
    x = sample_pixels(likelihood, output.expand(n, -1, -1, -1), seeded(1)).double()
    sd = oracle.stddev[0]
    assert ((x.mean(0) - oracle.mean[0]).abs() < 4.5 * sd / n**0.5).all()   # false alarm: 7 in a million a pixel
    if likelihood.sigma is None:
        assert set(x.unique().tolist()) == {0.0, 1.0}                       # the mean says all
    else:
        assert_close(likelihood.sigma(output), oracle.stddev.expand(output.shape[0], 1, 2, 2))
        assert ((x.std(0) / sd - 1).abs() < 4.5 / (2 * n)**0.5).all()
    output = output.expand(40, -1, -1, -1)
    again = sample_pixels(likelihood, output, seeded(5))
    assert torch.equal(again, sample_pixels(likelihood, output, seeded(5)))
    assert not torch.equal(again, sample_pixels(likelihood, output, seeded(6)))


@each_likelihood
def test_what_is_drawn_is_what_the_likelihood_weighs(name):
    """−log p(x|z) of draws from p(x|z) has the entropy as its mean: draws and density belong together."""
    likelihood, output, oracle = outputs_and_oracles()[name]
    n = 20_000
    output = output.expand(n, -1, -1, -1)
    nll = likelihood.nll(output, sample_pixels(likelihood, output, seeded(2)))
    assert abs(nll.mean() - oracle.entropy().sum()) < 4.5 * nll.std() / n**0.5      # false alarm: 7 in a million


def test_a_sigma_that_is_fitted_to_each_batch_must_be_held_first():
    with pytest.raises(ValueError, match=r"it has none of its own: hold it, with held\("):
        sample_pixels(LIKELIHOODS[LEARNED], torch.rand(2, 1, 28, 28))


def test_sigma_is_held_at_the_root_mean_squared_error_of_decoded_draws():
    x, model, generator = digits("train")[0][:300], untrained(LEARNED), seeded(4)
    kept = held(LIKELIHOODS[LEARNED], model, x, seeded(4))
    u = torch.rand(x.shape, generator=generator)
    pixels = (255 * x + u) / 256
    mu, log_var = model.encode(pixels)
    z = mu + (log_var / 2).exp() * torch.randn(mu.shape, generator=generator)
    rms = (model.decode(z) - pixels).square().mean().sqrt().item()
    assert kept.nll.keywords["sigma"] == pytest.approx(rms, rel=1e-5)
    assert kept.sigma(pixels).unique().tolist() == pytest.approx([rms], rel=1e-5)
    nats = [likelihoods.gaussian(rms * f).nll(model.decode(z), pixels).mean() for f in (0.98, 1, 1.02)]
    assert nats[1] < min(nats[0], nats[2])                                  # no other σ makes them likelier
    for name in (BERNOULLI, UNIT, HALF, PER_PIXEL):
        assert held(LIKELIHOODS[name], model, x) is LIKELIHOODS[name]


# --- nats and bits ---------------------------------------------------------------------------------------------------

def test_bits_a_pixel_are_those_of_the_grey_levels():
    """A histogram over the 256 levels, spread evenly within each, is a density: it costs what the histogram does."""
    share = torch.rand(256, generator=seeded(), dtype=torch.float64)
    share /= share.sum()
    entropy_in_bits = -(share * share.log2()).sum().item()
    nats_of_the_density = -(share * (256 * share).log()).sum().item()
    assert bits_a_pixel(784 * nats_of_the_density) == pytest.approx(entropy_in_bits)
    assert bits_a_pixel(3 * nats_of_the_density, pixels=3) == pytest.approx(entropy_in_bits)
    assert bits_a_pixel(0.0) == 8
    with pytest.raises(ValueError, match="pixels is 0"):
        bits_a_pixel(1.0, 0)


@pytest.mark.parametrize(("name", "centre", "variance"), [
    (UNIT, 0.5, 1.0), (HALF, 0.5, 0.5), (LEARNED, 0.5, None), (PER_PIXEL, 0.0, 1 + 256**-2)])
def test_bits_of_a_model_without_weights_on_black_images(name, centre, variance, monkeypatch):
    """All is known: the KL is 0, the mean is one grey, and black pixels are U[0, 1/256)."""
    black = torch.zeros(20, 1, 28, 28)
    monkeypatch.setattr(likelihoods, "digits", lambda split, device=None: (black, None))
    monkeypatch.setattr(likelihoods, "unsure_share", lambda *_: 0.0)
    row = likelihoods.likelihood_figures(LIKELIHOODS[name], flat(untrained(name)), 0, 10)
    square = (centre - 0.5 / 256)**2 + 1 / 12 / 256**2                      # E[(x − centre)²] under U[0, 1/256)
    variance = square if variance is None else variance
    nats = 784 * (square / (2 * variance) + 0.5 * math.log(2 * math.pi * variance))
    # The drawn u move the mean of (x − ½)² by 9e-6 at most (1σ over 15,680 draws), the bits by 3e-5 where σ² is least.
    assert row["bits a pixel"] == pytest.approx(nats / 784 / math.log(2) + 8, abs=2e-4)
    assert row["nats"] == pytest.approx(nats, abs=0.1) and row["KL in nats"] == row["in use"] == 0
    assert row["σ"] == pytest.approx(variance**0.5, rel=1e-4)
    assert row["squared error"] == pytest.approx(784 * centre**2)


@each_likelihood
def test_nats_are_minus_the_elbo_with_one_draw(name, few, monkeypatch):
    monkeypatch.setattr(likelihoods, "unsure_share", lambda *_: 0.5)
    model, (x_train, grey) = untrained(name), few
    row = likelihoods.likelihood_figures(LIKELIHOODS[name], model, 3, 10)
    generator = seeded(1_003)                                               # first it holds σ, then draws the codes
    kept = held(LIKELIHOODS[name], model, x_train, generator)
    if name == BERNOULLI:
        x = torch.bernoulli(grey, generator=seeded())
    else:
        x = (255 * grey + torch.rand(grey.shape, generator=seeded())) / 256
    with torch.no_grad():
        mu, log_var = model.encode(x)
        sd = (log_var / 2).exp()
        output = model.decode(mu + sd * torch.randn(mu.shape, generator=generator))
        centre = model.decode(mu)
    if name == BERNOULLI:
        p, centre = Bernoulli(logits=output), centre.sigmoid()
    elif name == PER_PIXEL:
        p, centre = Normal(output[:, :1], (output[:, 1:].exp() + 1 / 256**2).sqrt()), centre[:, :1]
    else:
        p = Normal(output, {UNIT: 1.0, HALF: 0.5**0.5}.get(name) or kept.nll.keywords["sigma"])
    kl = kl_divergence(Normal(mu, sd), Normal(0.0, 1.0)).mean(0)
    nats = -p.log_prob(x).sum((1, 2, 3)).mean() + kl.sum()
    assert row["nats"] == pytest.approx(nats.item(), rel=1e-5)
    assert row["KL in nats"] == pytest.approx(kl.sum().item(), rel=1e-4)
    assert row["in use"] == int((kl > 0.05).sum())
    assert row["squared error"] == pytest.approx((centre - grey).square().sum((1, 2, 3)).mean().item(), rel=1e-5)
    if name == BERNOULLI:
        assert row.keys() == {"squared error", "KL in nats", "in use", "nats", "unsure, N(0, I)"}
    else:
        assert row["bits a pixel"] == pytest.approx(nats.item() / 784 / math.log(2) + 8, rel=1e-5)
        assert row["σ"] == pytest.approx(p.scale.median().item(), rel=1e-5)


# --- figures ---------------------------------------------------------------------------------------------------------

def spread_out(seed=0):
    """A VAE that has learned nothing, whose q is wide, so that draws and means are decoded to different images."""
    model = untrained(HALF, seed)
    with torch.no_grad():
        model.encoder[1][-1].bias[16:] = torch.linspace(-1, 3, 16)
    return model


def test_the_error_is_that_of_draws_and_not_of_means():
    model, x = spread_out(), digits("test")[0][:50]
    with torch.no_grad():
        mu, log_var = model.encode(x)
        z = mu + (log_var / 2).exp() * torch.randn(mu.shape, generator=seeded(1_007))
        drawn, means = ((model.decode(code) - x).square().sum((1, 2, 3)).mean().item() for code in (z, mu))
    assert likelihoods.error_of_draws(model, x, 7) == pytest.approx(drawn, rel=1e-6)
    assert abs(drawn - means) > 1e-4 * means and likelihoods.error_of_draws(model, x, 8) != pytest.approx(drawn, 1e-6)


def test_nats_of_each_dimension_are_means_over_the_images_in_the_model_s_order():
    model, x = spread_out(), digits("test")[0][:50]
    nats = likelihoods.mean_nats(model, x)
    with torch.no_grad():
        mu, log_var = model.encode(x)
    assert_close(nats, kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).mean(0))
    figures = likelihoods.kl_figures(torch.tensor([0.0, 0.04, 0.06, 2.0]))
    assert figures == {"KL in nats": pytest.approx(2.1), "in use": 2}


def test_the_share_of_unsure_images_is_that_of_chapter_01():
    seen = []

    def decode(z):
        seen.append(z)
        return digits("test")[0][:len(z)]

    share = likelihoods.unsure_share(decode, 1_000, seed=3)
    limit = table("hole-limits-digits")["rows"][0]["unsure_below"]
    with torch.no_grad():
        sure = load("digit-classifier")(digits("test")[0][:1_000]).softmax(1).max(1).values
    assert share == pytest.approx((sure < limit).float().mean().item()) and 0 < share < 0.02
    assert torch.equal(torch.cat(seen), metrics.sample_latents(torch.zeros(5, 16), "normal", 1_000, seeded(3)))
    assert likelihoods.unsure_share(lambda z: torch.zeros(len(z), 1, 28, 28), 10, 0) == 1


# --- the rows --------------------------------------------------------------------------------------------------------

def check_rows(rows, keys, by, values):
    assert all(list(row) == keys for row in rows)
    assert [(row[by], row["seed"]) for row in rows] == [(value, seed) for value in values for seed in (0, 1)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        nats = row.get("nats a dimension", [row["KL in nats"]])
        assert sum(nats) == pytest.approx(row["KL in nats"], rel=1e-5) and min(nats) > -1e-6
        if "nats a dimension" in row:
            assert len(nats) == 16 and row["in use"] == sum(n > 0.05 for n in nats)
    assert len({row["squared error"] for row in rows}) == len(rows)         # seeds and variants do something


def test_rows_by_beta(few, monkeypatch):
    seen, fit = [], vae.fit_vae

    def recorded(model, device=None, **settings):
        seen.append((settings["beta"], settings["seed"], settings["sigma"]))
        fit(model, device, **settings)

    monkeypatch.setattr(likelihoods, "fit_vae", recorded)
    rows = likelihoods.beta_rows(betas=(0.1, 9.0), steps=3, points=20)
    assert seen == [(beta, seed, 0.5**0.5) for beta in (0.1, 9.0) for seed in (0, 1)]
    check_rows(rows, ["beta", "seed", "squared error", "error of decoded means", "KL in nats", "in use",
                      "nats a dimension", "unsure, N(0, I)"], "beta", (0.1, 9.0))
    torch.manual_seed(1)
    model = networks.mlp_vae(16)
    fit(model, steps=3, seed=1, beta=9.0)
    with torch.no_grad():
        means = (model.eval()(few[1]) - few[1]).square().sum((1, 2, 3)).mean().item()
    assert rows[3]["error of decoded means"] == pytest.approx(means, rel=1e-5)
    assert rows[3]["squared error"] == pytest.approx(likelihoods.error_of_draws(model, few[1], 1), rel=1e-6)


def test_rows_by_likelihood(few):
    names = (BERNOULLI, PER_PIXEL)
    rows = likelihoods.likelihood_rows(likelihoods=names, steps=3, points=20)
    of_all = ["likelihood", "seed", "squared error", "KL in nats", "in use", "nats", "unsure, N(0, I)"]
    check_rows(rows[:2], of_all, "likelihood", names[:1])
    check_rows(rows[2:], [*of_all[:2], "σ", *of_all[2:6], "bits a pixel", of_all[6]], "likelihood", names[1:])
    assert settings_of(likelihoods.likelihood_rows)["likelihoods"] == list(LIKELIHOODS)


def test_rows_by_cure(few, monkeypatch):
    seen = []

    def recorded(batches, **settings):
        log = vae_step(batches, **settings)
        seen.append((settings.get("beta"), settings.get("free_bits"), settings["nll"].keywords["sigma"]))
        return log

    monkeypatch.setattr(likelihoods, "vae_step", recorded)
    rows = likelihoods.cure_rows(steps=3, warm_up=2, free_bits=0.5, sigma=0.5)
    variants = ("plain", "annealed", "free bits 0.5")
    check_rows(rows, ["variant", "seed", "squared error", "KL in nats", "in use", "−ELBO", "nats a dimension"],
               "variant", variants)
    for row in rows:                                                        # all of the KL, and β = 1, for each
        assert row["−ELBO"] == pytest.approx(row["squared error"] / 0.5 + sum(row["nats a dimension"]), rel=1e-5)
    plain, warmed, free = seen[:6], seen[6:12], seen[12:]
    assert set(plain) == {(None, None, 0.5)} and set(free) == {(None, 0.5, 0.5)}
    assert [beta.steps for beta, *_ in warmed] == [2] * 6 and {beta.end for beta, *_ in warmed} == {1.0}
    # Each seed's β begins at 0 anew.
    assert len({id(beta) for beta, *_ in warmed}) == 2 and {beta.taken for beta, *_ in warmed} == {3}


def test_the_tables_are_those_that_the_chapter_asks_for():
    assert likelihoods.TABLES.keys() == {"vae-beta-digits", "vae-likelihoods-digits", "vae-cures-digits"}
    assert likelihoods.TABLES.items() <= TABLES.items()
    for recipe in likelihoods.TABLES.values():
        settings = settings_of(recipe.rows)
        assert settings["steps"] == 6_000 and settings["seeds"] == [0, 1]
