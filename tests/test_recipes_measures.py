"""What stands behind chapter 07's tables: the sets of samples, noise that is liked, the bias, and the tables' rows."""

import copy
import json
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib import corruptions, metrics, networks, recipes
from course_lib.classifiers import train_on_samples
from course_lib.datasets import ImageSet
from course_lib.metrics import sample_latents
from course_lib.recipes import digits, measures
from course_lib.recipes.measures import Samples, frechet_bias, liked_noise
from course_lib.recipes.store import settings_of
from course_lib.recipes.vae import SIGMA

exactly = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def classifier():
    return recipes.load("digit-classifier")


@pytest.fixture
def few(monkeypatch):
    """The first 600 digits of each split only, for tables that would take all of them."""
    def some(split, device=None):
        return tuple(part[:600] for part in digits.digits(split, device))

    monkeypatch.setattr(measures, "digits", some)
    for cached in (measures.some_digits, measures.digit_features):
        cached.cache_clear()
    yield some
    for cached in (measures.some_digits, measures.digit_features):
        cached.cache_clear()


# --- digits in a random order ----------------------------------------------------------------------------------------

def test_some_digits_are_the_set_in_one_random_order(few):
    images, labels = few("test")
    first, rest = measures.some_digits("test", 250), measures.some_digits("test", 350, 250)
    both, named = torch.cat([first.images, rest.images]), torch.cat([first.labels, rest.labels])
    position = (both.flatten(1)[:, None] == images.flatten(1)[None]).all(2).int().argmax(1)
    assert torch.equal(position.sort().values, torch.arange(600)) and torch.equal(labels[position], named)
    assert (position[:-1] < position[1:]).float().mean() < 0.6                          # not as in the file
    assert torch.equal(measures.some_digits("test", 300).images, both[:300]) and first.labelled == "true"
    with pytest.raises(ValueError, match="digits 500 to 601 were asked for; test has 600"):
        measures.some_digits("test", 101, 500)


def test_digit_features_are_those_digits_features(few, classifier):
    x = measures.some_digits("train", 30, 10).images
    assert_close(measures.digit_features("train", 30, 10), classifier.features(x).detach(), rtol=1e-4, atol=1e-4)
    second = recipes.load("digit-classifier-2")
    found = measures.digit_features("train", 30, 10, "digit-classifier-2")
    assert found.shape == (30, 80)
    assert_close(found, second.features(x).detach(), rtol=1e-4, atol=1e-4)


def test_the_measuring_networks_are_three_and_the_third_is_as_it_was_born(classifier):
    nets = measures.measuring_networks()
    assert list(nets) == ["classifier", "second classifier", "untrained"]
    assert not any(net.training for net in nets.values())
    torch.manual_seed(0)
    born = networks.ConvClassifier()
    for name, weight in nets["untrained"].state_dict().items():
        assert torch.equal(weight, born.state_dict()[name])
    x = digits.digits("test")[0][:5]
    assert torch.equal(nets["classifier"](x), classifier(x)) and nets["second classifier"].features(x).shape == (5, 80)


# --- sets of samples -------------------------------------------------------------------------------------------------

def test_vae_samples_are_decoded_noise_named_by_the_classifier(classifier):
    model = recipes.load("vae-digits-16")
    images, labels, labelled = measures.vae_samples(40, seed=3)
    assert_close(images, model.decode(torch.randn(40, 16, generator=seeded(3))).detach(), rtol=0, atol=1e-5)
    assert labelled == "classifier" and torch.equal(labels, classifier(images).argmax(1))
    assert not torch.equal(images, measures.vae_samples(40, seed=4).images)


def test_vae_draws_have_the_decoder_s_noise():
    means, drawn = (measures.vae_samples(200, 1, draw=draw).images for draw in (False, True))
    black, white = means < 0.01, means > 0.99
    assert drawn.min() == 0 and drawn.max() == 1
    assert (drawn[black] == 0).float().mean() == pytest.approx(0.5, abs=0.02)           # half of the noise is below 0
    # E max(e, 0) of N(0, σ²), but cut at 1: σ = 0.7 is cut in 8 % of the cases.
    e = SIGMA * torch.randn(200_000, generator=seeded(9))
    assert drawn[black].mean() == pytest.approx(e.clamp(0, 1).mean().item(), abs=0.01)
    assert drawn[white].mean() == pytest.approx((1 + e).clamp(0, 1).mean().item(), abs=0.02)


def test_class_samples_are_made_as_their_classes(classifier):
    made = measures.vae_class_samples(500, seed=2)
    assert made.labels.bincount().tolist() == [50] * 10 and made.labelled == "by construction"
    assert (made.labels[:-1] <= made.labels[1:]).float().mean() < 0.8                   # shuffled
    read = classifier(made.images).argmax(1)
    for k in range(10):
        assert (read[made.labels == k] == k).float().mean() > 0.5
    assert (read == made.labels).float().mean() > 0.8
    again, other = measures.vae_class_samples(500, seed=2), measures.vae_class_samples(500, seed=3)
    assert torch.equal(again.images, made.images) and not torch.equal(other.images, made.images)


def test_autoencoder_samples_come_from_the_gaussian_of_its_codes(few, classifier):
    model, x = recipes.load("ae-digits-16"), few("train")[0]
    images, labels, labelled = measures.ae_samples(30, seed=1)
    z = sample_latents(model.encode(x).detach(), "fitted", 30, seeded(1))
    assert_close(images, model.decode(z).detach(), rtol=0, atol=1e-3)
    assert labelled == "classifier" and torch.equal(labels, classifier(images).argmax(1))


def test_gan_samples_are_the_generator_s(classifier):
    G = recipes.load("gan-digits")
    images, labels, _ = measures.gan_samples(20, seed=6)
    assert_close(images, G(torch.randn(20, 64, generator=seeded(6))).detach(), rtol=0, atol=1e-5)
    assert torch.equal(labels, classifier(images).argmax(1))


def test_digits_as_sets_of_samples(few):
    assert torch.equal(measures.copies(20).images, measures.some_digits("train", 20).images)
    sharp, soft = measures.test_digits(20), measures.test_digits(20, sigma=1.0)
    assert torch.equal(sharp.images, measures.some_digits("test", 20).images)
    assert_close(soft.images, corruptions.blur(sharp.images, 1.0), **exactly)
    assert torch.equal(soft.labels, sharp.labels)


def test_the_sets_are_what_their_names_say():
    assert measures.SETS["copies of training digits"] is measures.copies
    assert measures.SETS["VAE, a Gaussian a class"] is measures.vae_class_samples
    made = {name: (f.func, f.keywords) for name, f in measures.SETS.items() if isinstance(f, partial)}
    assert made == {"test digits, blurred by ½ px": (measures.test_digits, {"sigma": 0.5}),
                    "test digits, blurred by 1 px": (measures.test_digits, {"sigma": 1.0}),
                    "VAE, draws": (measures.vae_samples, {"draw": True}),
                    "WGAN-GP": (measures.gan_samples, {"name": "wgan-gp-digits"})}
    assert {name: f for name, f in measures.SETS.items() if name not in made} == {
        "test digits": measures.test_digits, "copies of training digits": measures.copies,
        "autoencoder": measures.ae_samples, "VAE, means": measures.vae_samples,
        "VAE, a Gaussian a class": measures.vae_class_samples, "GAN": measures.gan_samples}


# --- noise that is liked ---------------------------------------------------------------------------------------------

def test_liked_noise_climbs_the_gradient_with_momentum():
    """Each image by itself, with backward(), against all at once."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.Tanh(), nn.Linear(12, 10))
    labels = torch.tensor([3, 7, 0])
    start = 0.4 * torch.rand(3, 1, 28, 28, generator=seeded(5))
    wanted = []
    for x, y in zip(start, labels, strict=True):
        x, velocity = x.clone(), torch.zeros(1, 28, 28)
        for _ in range(4):
            pixels = x.clone().requires_grad_()
            F.log_softmax(net(pixels[None]), 1)[0, y].backward()
            velocity = 0.5 * velocity + pixels.grad / pixels.grad.norm()
            x = (x + 0.7 * velocity).clamp(0, 1)
        wanted.append(x)
    found = liked_noise(net, labels, steps=4, rate=0.7, brightest=0.4, generator=seeded(5))
    assert_close(found, torch.stack(wanted), rtol=0, atol=1e-4)
    assert not found.requires_grad and found.amin() >= 0 and found.amax() <= 1
    assert_close(liked_noise(net, labels, steps=0, generator=seeded(5)), start / 2, **exactly)


def test_the_classifier_likes_it(classifier):
    wanted = torch.arange(10)
    answers = classifier(liked_noise(classifier, wanted, generator=seeded(0))).softmax(1)
    assert (answers.argmax(1) == wanted).sum() >= 9 and answers.diagonal().median() > 0.95
    assert all(p.grad is None for p in classifier.parameters())


# --- the bias --------------------------------------------------------------------------------------------------------

def test_the_bias_of_a_gaussian_is_known():
    values = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=seeded()))[0]
    x = torch.randn(400_000, 3, dtype=torch.float64, generator=seeded(1)) * values.sqrt() @ turn.T + 7
    pairs = values[:, None] * values / (values[:, None] + values)               # Var(x_i x_j) = λ_i λ_j, or 2 λ_i²
    assert frechet_bias(x) == pytest.approx((values.sum() + 0.5 * (pairs.sum() + values.sum() / 2)).item(), rel=0.01)
    constant = torch.cat([x, torch.ones(len(x), 1)], 1)
    assert frechet_bias(constant) == pytest.approx(frechet_bias(x), rel=1e-6)
    assert frechet_bias(3 * x) == pytest.approx(9 * frechet_bias(x), rel=1e-6)


def test_the_bias_of_a_coin_is_its_mean_s():
    coin = torch.tensor([[1.0], [-1.0]]).repeat(500, 1)                                 # its variance hardly varies
    assert frechet_bias(coin) == pytest.approx(1, rel=0.01)


def test_the_bias_foretells_the_distance_of_few_draws():
    """Of skewed, dependent features; 400 times 200 of 20,000: the mean's standard error is some 2 %."""
    raw = torch.randn(20_000, 4, dtype=torch.float64, generator=seeded(2)).exp()
    x = raw.clamp(max=8) @ torch.randn(4, 4, dtype=torch.float64, generator=seeded(3))
    mean, cov, n = x.mean(0), torch.cov(x.T), 200
    found = []
    for k in range(400):
        few = x[torch.randint(len(x), (n,), generator=seeded(k))]
        found.append(metrics.frechet_distance(few.mean(0), torch.cov(few.T), mean, cov))
    assert sum(found) / 400 == pytest.approx(frechet_bias(x) / n, rel=0.1)
    with pytest.raises(ValueError, match=r"features has shape \(3,\)"):
        frechet_bias(torch.zeros(3))


# --- tables ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def by_hand(classifier):
    """Every measure of features against real ones, straight from the metrics."""
    def measured(features, real, n_balls=5_000):
        probs, kernel = classifier.head(features).softmax(1).detach(), metrics.kid(features, real)
        shares = metrics.precision_recall(real[:n_balls], features[:n_balls])
        return {"inception score": metrics.inception_score(probs).mean,
                "Fréchet distance": distance(features, real), "KID": kernel.value, "KID's error": kernel.error,
                "precision": shares.precision, "recall": shares.recall}
    return measured


def distance(a, b):
    a, b = a.double(), b.double()
    return metrics.frechet_distance(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))


def test_samples_rows(few, classifier, by_hand):
    names, n = ("VAE, means", "test digits", "copies of training digits"), 60
    rows = measures.samples_rows(sets=names, n=n, seed=1, steps=3)
    assert [row["samples"] for row in rows] == list(names)
    x, all_features = few("train")[0], {}
    second = recipes.load("digit-classifier-2")
    for name, net in (("", classifier), (", second classifier", second)):
        all_features[name] = net.features(x).detach(), net
    real, test = measures.digit_features("train", n), measures.some_digits("test", 600)
    for row in rows:
        made = measures.SETS[row["samples"]](n, 1, None)
        expected = by_hand(classifier.features(made.images).detach(), real)
        for name, (everything, net) in all_features.items():                            # against all, not n
            expected[f"Fréchet distance{name}"] = distance(net.features(made.images).detach(), everything)
        copied = metrics.copying_test(made.images[:30], x, test.images[30:])
        expected |= {"copying z": copied.z, "as near as 1 % of the test digits": copied.share,
                     "accuracy of a classifier trained on them": train_on_samples(
                         made.images, made.labels, test.images, test.labels, 3, seed=1)}
        assert row["labels"] == made.labelled and row.keys() == expected.keys() | {"samples", "labels"}
        for key, value in expected.items():
            assert row[key] == pytest.approx(value, rel=1e-3, abs=2e-3), (row["samples"], key)
    vae, _, copies = rows
    assert (copies["precision"], copies["recall"]) == (1, 1) and vae["recall"] < 0.9
    assert copies["as near as 1 % of the test digits"] == 1 and copies["copying z"] < -5
    json.dumps(rows)


def test_bias_rows(few, classifier):
    rows = measures.bias_rows(sizes=(20, 40), draws=2, pool=400)
    assert [(row["samples"], row["n"], row["draw"]) for row in rows] == [
        (name, n, draw) for name in ("training digits", "GAN", "VAE, means") for n in (20, 40) for draw in (0, 1)]
    pool, reference = measures.digit_features("train", 400), measures.digit_features("train", 200, 400)
    for name, features in (("training digits", pool),
                           ("GAN", classifier.features(measures.gan_samples(400).images).detach())):
        mine = [row for row in rows if row["samples"] == name]
        for row in mine:
            generator = seeded(rows.index(row))         # no two draws alike
            some = features[torch.randperm(400, generator=generator)[:row["n"]]]
            kernel = metrics.kid(some, reference[torch.randperm(200, generator=generator)[:row["n"]]])
            assert row["Fréchet distance"] == pytest.approx(distance(some, reference), rel=1e-3)
            assert (row["KID"], row["KID's error"]) == pytest.approx((kernel.value, kernel.error), rel=1e-2, abs=0.05)
    assert settings_of(measures.bias_rows) == {"sizes": [100, 200, 500, 1_000, 2_000, 5_000], "draws": 10,
                                               "pool": 30_000}


def test_corruption_rows(few, classifier, by_hand):
    rows = measures.corruption_rows(strengths=(0.0, 0.5), n=50, n_balls=40, seed=4)
    assert [(row["corruption"], row["strength"]) for row in rows] == [
        *((name, s) for name in corruptions.CORRUPTIONS for s in (0.0, 0.5)),
        *(("dropped classes", s) for s in (0.0, 0.1, 0.2, 0.4, 0.7, 0.9))]
    test, real = measures.some_digits("test", 50).images, measures.some_digits("train", 50).images
    nets = measures.measuring_networks()
    every = measures.some_digits("test", 600)
    chosen = {3: corruptions.add_noise(test, 0.3, seeded(4)), 5: corruptions.salt_and_pepper(test, 0.25, seeded(4)),
              16: test, 18: every.images[every.labels < 8][:50], 21: every.images[every.labels < 1][:50]}
    for k, images in chosen.items():
        expected = by_hand(classifier.features(images).detach(), measures.digit_features("train", 50), 40)
        for name in ("second classifier", "untrained"):
            expected[f"Fréchet distance, {name}"] = distance(*(nets[name].features(x).detach() for x in (images, real)))
        assert rows[k].keys() == expected.keys() | {"corruption", "strength"}
        for key, value in expected.items():
            assert rows[k][key] == pytest.approx(value, rel=2e-3, abs=2e-3), (k, key)
    clean = {key: value for key, value in rows[0].items() if key != "corruption"}
    for row in rows:
        assert row["strength"] or {key: row[key] for key in clean} == pytest.approx(clean, rel=1e-3)
    assert settings_of(measures.corruption_rows) == {"strengths": [0, 0.1, 0.2, 0.4, 0.7, 1], "n": 2_000,
                                                     "n_balls": 1_000, "seed": 0}


def test_kept_classes_are_the_first_ones(few):
    images, labels, _ = measures.some_digits("test", 600)
    assert torch.equal(measures.kept_classes(3, 40), images[labels < 3][:40])
    assert torch.equal(measures.kept_classes(10, 40), images[:40])
    assert len(measures.kept_classes(1, 600)) == (labels == 0).sum() < 600


# --- the second classifier -------------------------------------------------------------------------------------------

def test_the_second_classifier_learns_from_the_digits_as_they_are(monkeypatch):
    given = {}
    monkeypatch.setattr(measures, "to_the_end", lambda *arguments: given.update(arguments=arguments))
    torch.manual_seed(0)
    model = networks.ConvClassifier(width=4)
    measures.fit_second_classifier(model, "cpu", "here", steps=7, batch_size=6, lr=0.01, seed=3, ema_decay=0.9)
    step, data, trained, _, *rest = given["arguments"]
    assert trained is model and rest == [7, "here", 0.9] and (data.batch_size, data.seed, data.n) == (6, 3, 60_000)
    twin = copy.deepcopy(model)
    x, y = ImageSet(torch.randint(256, (6, 1, 28, 28), generator=seeded(), dtype=torch.uint8),
                    torch.arange(6)).floats()
    step(iter([(x, y)]))
    adam = torch.optim.Adam(twin.parameters(), 0.01)
    F.cross_entropy(twin(x), y).backward()
    adam.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_stored_second_classifier_is_good_small_and_another(classifier):
    card, second = recipes.card("digit-classifier-2"), recipes.load("digit-classifier-2")
    assert card["figures"]["test accuracy"] > 0.99 and card["bytes"] <= 130_000
    assert card["settings"]["seed"] == 1 != recipes.card("digit-classifier")["settings"]["seed"]
    assert second.head.weight.shape == (10, 80) and classifier.head.weight.shape == (10, 128)


def test_the_recipes_are_registered_under_their_names():
    rows = {"digit-samples": measures.samples_rows, "measures-bias": measures.bias_rows,
            "measures-corruptions": measures.corruption_rows}
    assert {name: recipes.TABLES[name].rows for name in rows} == rows
    assert recipes.MODELS["digit-classifier-2"].fit is measures.fit_second_classifier
    assert isinstance(measures.some_digits("test", 10), Samples)
