"""What stands behind chapter 08's models and tables: networks, training, judging, the searches and the seeds."""

import json
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib import autoencoders, metrics, networks, recipes
from course_lib.recipes import vaegan, vaegan_tables
from course_lib.recipes.store import settings_of
from course_lib.recipes.vaegan import ADVERSARIAL, NAMES, RATES, SETS, SHOWN, STEPS

exactly = {"rtol": 0, "atol": 0}


# --- networks ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data", SETS)
def test_all_six_have_the_same_decoder_and_encoders_that_differ_in_their_last_layer_alone(data):
    nets = {model: vaegan.network(data, model) for model in SHOWN}
    kinds = {model: [(k, v.shape) for k, v in vaegan_tables.decoder(net).state_dict().items()]
             for model, net in nets.items()}
    assert all(kind == kinds["AE"] for kind in kinds.values())
    encoders = {model: [v.shape for v in getattr(net, "encoder", net.encode).state_dict().values()]
                for model, net in nets.items() if model != "GAN"}
    assert all(encoder[:-2] == encoders["AE"][:-2] for encoder in encoders.values())
    assert encoders["VAE"][-1][0] == 2 * encoders["AE"][-1][0] == 2 * SETS[data].latents
    images = SETS[data].images("test")[:4].float() / 255
    assert all(net(images).shape == images.shape for model, net in nets.items() if model != "GAN")
    assert nets["GAN"].D(nets["GAN"](torch.randn(4, SETS[data].latents))).shape == (4,)


def test_another_set_or_model_is_refused():
    with pytest.raises(ValueError, match="data is 'cats'"):
        vaegan.network("cats", "VAE")
    with pytest.raises(ValueError, match="model is 'WGAN'"):
        vaegan.network("faces", "WGAN")


def test_the_discriminator_sees_pixels_from_minus_1_to_1():
    dis = vaegan.discriminator("faces")
    seen = []
    dis.layers[0][1].register_forward_hook(lambda net, given, out: seen.append(given[0]))
    dis(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 32, 32))
    assert_close(seen[0][:, 0, 0, 0], torch.tensor([-1.0, 0, 1]), **exactly)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in dis.modules())


@pytest.mark.parametrize("data, shape", [("faces", (2, 6144)), ("digits", (2, 40, 14, 14))])
def test_fixed_features_stand_still_and_let_gradients_pass(data, shape):
    features = SETS[data].fixed()
    x = torch.rand(2, *SETS[data].image, requires_grad=True)
    made = features(x)
    assert made.shape == shape
    slope, = torch.autograd.grad(made.square().sum(), x)
    assert slope.abs().sum() > 0
    assert SETS[data].measure not in ("segmenter-faces", "digit-classifier-2")      # what trains does not measure


# --- training ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("model", SHOWN)
def test_each_model_trains_in_place_and_gives_the_same_from_the_same_seed(model, monkeypatch):
    monkeypatch.setattr(vaegan, "SETTLE", 2)
    dis = vaegan.discriminator("digits") if "Dis's" in model else None
    before = None if dis is None else [p.clone() for p in dis.parameters()]
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        net = vaegan.network("digits", model)
        start = {k: v.clone() for k, v in net.state_dict().items()}
        vaegan.fit(net, data="digits", model=model, lr=1e-3, steps=3, dis=dis)
        weights.append(net.state_dict())
    for key, value in weights[0].items():
        assert_close(value, weights[1][key], **exactly)
        assert value.isfinite().all()
    moved = [key for key, value in weights[0].items() if value.is_floating_point() and not value.equal(start[key])]
    assert any(key.startswith(("decode", "G")) for key in moved)
    assert any(key.startswith(("encode", "D")) for key in moved)
    if dis is not None:
        assert all(p.equal(was) for p, was in zip(dis.parameters(), before, strict=True))


def test_what_a_vae_pays_for_is_what_its_name_says():
    assert vaegan.autoencoder_nll("digits", "VAE", None, None) is autoencoders.best_gaussian_nll
    dis, x = vaegan.discriminator("digits"), torch.rand(4, 1, 28, 28)
    other = torch.rand(4, 1, 28, 28)
    pays = vaegan.autoencoder_nll("digits", "VAE, Dis's features", dis, None)
    wanted = autoencoders.best_gaussian_nll(dis.features(other, 2), dis.features(x, 2))
    assert_close(pays(other, x), wanted)
    fixed = vaegan.autoencoder_nll("digits", "VAE, fixed features", None, None)
    assert_close(fixed(other, x), autoencoders.best_gaussian_nll(*map(SETS["digits"].fixed(), (other, x))))


@pytest.mark.parametrize("model, prior", [("VAE", False), ("VAE/GAN", True), ("AE", False), ("GAN", False)])
def test_settling_gives_batch_norm_the_mean_over_batches_of_what_is_decoded(model, prior):
    torch.manual_seed(0)
    net = vaegan.network("digits", model)
    first = next(m for m in vaegan_tables.decoder(net).modules() if isinstance(m, nn.BatchNorm2d))
    seen = []
    first.register_forward_hook(lambda norm, given, out: seen.append(given[0].detach()))
    batches = torch.rand(3, 6, 1, 28, 28)
    vaegan.settle(net, batches, prior)
    assert [len(h) for h in seen] == [12 if prior else 6] * 3
    assert_close(first.running_mean, torch.stack([h.mean((0, 2, 3)) for h in seen]).mean(0))
    assert_close(first.running_var, torch.stack([h.transpose(0, 1).flatten(1).var(1) for h in seen]).mean(0))
    assert first.momentum == 0.1


# --- judging ----------------------------------------------------------------------------------------------------------

def test_the_judge_gives_the_measures_of_reconstructions_and_samples_their_names():
    net = recipes.load("vae-pixel-digits")
    found, seen = vaegan_tables.judge(net, "digits"), vaegan_tables.real("digits")
    copies, made = vaegan_tables.copies(net, seen.images), vaegan_tables.samples(net, "digits")
    phi = seen.classifier.features
    with torch.no_grad():
        features, of_made = phi(copies), phi(made)
    assert len(seen.images) == len(made) == 2_000
    assert found["pixel error"] == pytest.approx((copies - seen.images).square().sum((1, 2, 3)).mean().item(), rel=1e-5)
    assert found["feature error"] == pytest.approx((features - seen.features).square().sum(1).mean().item(), rel=1e-4)
    assert found["sharpness"] == pytest.approx(metrics.sharpness(copies, seen.images), rel=1e-5)
    assert found["sample sharpness"] == pytest.approx(metrics.sharpness(made, seen.images), rel=1e-5)
    for name, fake in (("fréchet", of_made), ("fréchet of reconstructions", features)):
        away = metrics.frechet_distance(fake.double().mean(0), torch.cov(fake.double().T),
                                        seen.features.double().mean(0), torch.cov(seen.features.double().T))
        assert found[name] == pytest.approx(away, rel=1e-3)
    both = metrics.precision_recall(seen.features, of_made)
    assert (found["precision"], found["recall"]) == pytest.approx(both, abs=5e-3)


def test_a_gan_has_samples_and_no_reconstructions():
    net = recipes.load("gan-pair-digits")
    found = vaegan_tables.judge(net, "digits")
    assert [k for k, v in found.items() if v is None] == list(vaegan_tables.OF_COPIES)
    assert set(vaegan_tables.card_figures(net, "digits")) == set(found) - set(vaegan_tables.OF_COPIES)
    with pytest.raises(ValueError, match="no encoder"):
        vaegan_tables.copies(net, vaegan_tables.real("digits").images)


def test_samples_are_the_prior_s_and_an_autoencoder_s_have_the_mean_of_its_codes():
    net = recipes.load("vaegan-digits")
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert_close(vaegan_tables.samples(net, "digits", 5, seed=4), net.decode(z))
    net, drawn = recipes.load("ae-digits"), []
    net.decode.register_forward_hook(lambda decoder, given, out: drawn.append(given[0]))
    vaegan_tables.samples(net, "digits", 2_000)
    codes = metrics.in_blocks(net.encode, SETS["digits"].images("train")[:10_000].float() / 255)
    assert_close(drawn[0].mean(0), codes.mean(0), rtol=0, atol=5 * float(codes.std(0).max()) / math.sqrt(2_000))


# --- searches and tables ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data", SETS)
def test_rates_are_those_that_the_searches_found(data):
    wide = vaegan_tables.best_rates(recipes.table(f"vaegan-search-{data}")["rows"])
    small = recipes.table(f"vaegan-search-16-{data}")["rows"]
    for model in SHOWN:
        rows = [row for row in small if row["model"] == model]
        best = min(rows, key=vaegan_tables.score)["lr"] if model in ADVERSARIAL else wide[model]
        assert RATES[data][model] == best, model
        assert len(rows) == (3 if model in ADVERSARIAL else 0)


def test_the_score_is_that_of_reconstructions_and_for_a_gan_of_samples():
    assert vaegan_tables.score({"fréchet of reconstructions": 3.0, "fréchet": 9.0}) == 3.0
    assert vaegan_tables.score({"fréchet of reconstructions": None, "fréchet": 9.0}) == 9.0
    rows = [{"model": model, "lr": lr, "fréchet of reconstructions": None, "fréchet": away}
            for model in SHOWN for lr, away in ((1, 5.0), (2, 4.0), (3, 6.0))]
    assert vaegan_tables.best_rates(rows) == dict.fromkeys(SHOWN, 2)


@pytest.mark.parametrize("data", SETS)
def test_the_stored_tables_are_of_all_models_seeds_and_settings(data):
    rows = recipes.table(f"vaegan-models-{data}")["rows"]
    assert [(row["model"], row["seed"]) for row in rows] == [(m, s) for m in SHOWN for s in (0, 1, 2)]
    for row in rows:
        how = vaegan_tables.at_full_length(data, row["model"])
        assert (row["lr"], row["steps"]) == (how["lr"], how["steps"])
        if row["seed"] == 0:
            card = recipes.card(f"{NAMES[row['model']]}-{data}")
            assert row["seconds"] == card["seconds"]
            for key, value in card["figures"].items():
                assert row[key] == pytest.approx(value, rel=1e-3, abs=1e-3)
    search = recipes.table(f"vaegan-search-{data}")
    assert [row["steps"] for row in search["rows"]] == [round(0.25 * STEPS[data][m]) for m in SHOWN for _ in range(3)]


def test_all_models_had_about_the_same_seconds():
    for data in SETS:
        rows = recipes.table(f"vaegan-models-{data}")["rows"]
        seconds = [row["seconds"] for row in rows if row["seed"] > 0]
        assert max(seconds) < 1.5 * min(seconds)


def test_finished_seeds_are_kept_until_settings_change(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(vaegan_tables, "DATA", tmp_path / "data")
    monkeypatch.setattr(vaegan_tables, "seed_rows", lambda data, seed, device: made.append(seed) or [
        {"model": model, "seed": seed} for model in SHOWN])
    rows = vaegan_tables.model_rows(data="digits", seeds=(1, 0))
    assert rows == vaegan_tables.model_rows(data="digits", seeds=(1, 0)) and made == [1, 0]
    assert [(row["model"], row["seed"]) for row in rows] == [(m, s) for m in SHOWN for s in (0, 1)]
    monkeypatch.setitem(vaegan.RATES["digits"], "AE", 1.0)
    vaegan_tables.model_rows(data="digits", seeds=(1,))
    assert made == [1, 0, 1]
    assert all(json.loads(path.read_text()) for path in (tmp_path / "build" / "runs").iterdir())


def test_cards_say_how_their_model_was_made():
    for data in SETS:
        for model, name in NAMES.items():
            settings = recipes.card(f"{name}-{data}")["settings"]
            assert settings == settings_of(recipes.MODELS[f"{name}-{data}"].fit)
            assert settings["model"] == model and settings.get("batch_size", 32) == (16 if model in ADVERSARIAL else 32)


def test_the_sweep_over_gamma_has_a_sheet_of_16_pictures_for_each():
    from course_lib.recipes.sheets import from_sheet
    table = recipes.table("vaegan-gamma")
    assert [row["gamma"] for row in table["rows"]] == table["settings"]["gammas"]
    assert all(from_sheet(row["pictures"]).shape == (16, 1, 32, 32) for row in table["rows"])


# --- grey faces -------------------------------------------------------------------------------------------------------

def test_grey_faces_are_luma_in_integers_and_stay_what_they_are():
    people = vaegan.faces.people("test")
    grey = people.in_grey()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert grey.images.dtype == torch.uint8 and grey.images.shape == (2_000, 1, 32, 32)
    assert (grey.images - (people.images * weights).sum(1, keepdim=True)).abs().max() < 1.2
    assert grey.images[people.images.eq(255).all(1, keepdim=True)].eq(255).all()
    assert grey.in_grey() is grey and grey.attributes is people.attributes


def test_a_gan_s_pair_is_called_as_its_generator():
    torch.manual_seed(0)
    pair = networks.GAN(networks.mlp_generator(2, 3, (4,)), networks.mlp_discriminator(3, (4,)))
    z = torch.randn(5, 2)
    assert_close(pair(z), pair.G(z), **exactly)
    assert {key.split(".")[0] for key in pair.state_dict()} == {"G", "D"}
