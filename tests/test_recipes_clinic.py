"""The clinic: each symptom is really provoked by what it is said to be, and cured by the one change."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from course_lib import gans, networks, recipes
from course_lib.datasets import toy
from course_lib.recipes import clinic
from course_lib.training import adam, train


def last(symptom, case, steps=60, seed=0):
    *_, (step, seen, samples) = clinic.play(symptom, case, seed, steps=steps, looks=2)
    assert step == steps
    return seen, samples


def ill_and_cured(symptom):
    return list(clinic.SYMPTOMS[symptom].cases)[:2]


def test_the_floor_of_a_loss_whose_logits_are_probabilities():
    """inf over p, q in (0, 1) of −log σ(p) − log σ(−q), by a grid that comes near its corners."""
    p = torch.linspace(1e-6, 1 - 1e-6, 1_001, dtype=torch.float64)
    losses = -p.sigmoid().log()[:, None] - (-p).sigmoid().log()[None]
    assert losses.min().item() == pytest.approx(clinic.FLOOR, abs=1e-4)
    assert abs(math.log(1 + math.exp(-1)) + math.log(2) - clinic.FLOOR) < 1e-4
    assert divmod(losses.argmin().item(), 1_001) == (1_000, 0)                      # at p → 1 on data, q → 0 on fakes


@pytest.mark.parametrize(("squash", "least"), [(True, clinic.FLOOR), (False, 0.0)])
def test_a_discriminator_alone_comes_down_to_its_floor_and_no_further(squash, least):
    torch.manual_seed(0)
    G, D = gans.segment_generator((2.0, 0.0), (2.0, 1.0)), networks.mlp_discriminator(2, (32, 32))
    D = clinic.Squashed(D) if squash else D
    step = partial(gans.discriminator_step, G=G, D=D, opt_D=adam(D, 1e-2))
    losses = [log["D"].item() for _, log in train(step, toy.draws(toy.parallel_lines(2.0)[0], 64), 150)]
    assert least < min(losses) < least + 0.02


def test_squashed_logits_that_cannot_tell_are_pushed_to_0_where_nothing_moves():
    """With one p for data and fakes, the loss's slope in p is 2σ(p) − 1 ≥ 0: descent ends at p = 0, at 2 log 2."""
    p = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad((-(p.sigmoid().log()) - (-p).sigmoid().log()).sum(), p)
    assert torch.allclose(slope, 2 * p.detach().sigmoid() - 1) and (slope > 0).all()
    seen, _ = last("sigmoid", ill_and_cured("sigmoid")[0], steps=200)
    assert seen["loss of D"] == pytest.approx(2 * math.log(2), abs=0.01) and seen["gradient"] < 1e-2


def test_a_sure_discriminator_leaves_the_minimax_generator_where_it_is():
    (ill, _), (cured, _) = (last("slope", case) for case in ill_and_cured("slope"))
    assert ill["D(G(z))"] < 1e-4 and ill["gradient"] < 1e-3 and ill["G moved"] < 1e-4
    assert cured["gradient"] > 0.1 and cured["G moved"] > 0.05
    case = clinic.left_behind(0, gans.MINIMAX)
    assert isinstance(case.step.keywords["opt_G"], torch.optim.SGD)
    assert (case.G.sample(100).mean(0) - torch.tensor([10.0, 0.0])).norm() < 1


def test_an_optimizer_of_the_wrong_weights_moves_nothing_of_the_generator():
    (ill, before), (cured, _) = (last("optimizer", case) for case in ill_and_cured("optimizer"))
    assert ill["G moved"] == 0 < ill["D moved"] and cured["G moved"] > 0.05
    assert torch.equal(before, last("optimizer", ill_and_cured("optimizer")[0], steps=2)[1])


def test_a_rate_of_a_tenth_ends_in_one_point():
    (ill, samples), (cured, _) = (last("rate", case, steps=100) for case in ill_and_cured("rate"))
    assert ill["spread"] < 1e-3 < 0.5 < cured["spread"] and samples.std(0).max() < 1e-3


def test_batch_norm_on_the_input_hides_place_and_size_of_a_batch():
    case, plain = clinic.normalised_input(0), clinic.healthy(0)
    x = 3 * torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
    moved = 5 * x + torch.tensor([100.0, -7.0])
    assert torch.allclose(case.D(x), case.D(moved), atol=1e-3)
    assert not torch.allclose(plain.D(x), plain.D(moved), atol=1e-1)
    ill, cured = (last("batch norm", case, steps=120)[0] for case in ill_and_cured("batch norm"))
    assert ill["spread"] < 0.6 < 0.8 < cured["spread"]


def test_turned_signs_are_the_losses_with_the_other_sign():
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([0.8, 2.0])
    assert clinic.value(real, fake) == pytest.approx(
        (real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()).item())
    assert clinic.minus_log_not_D(fake) == pytest.approx(-(1 - fake.sigmoid()).log().mean().item())
    ill, right = (last("sign", case)[0] for case in ill_and_cured("sign"))
    assert ill["loss of D"] < 0 < right["loss of D"] and ill["D(x)"] < ill["D(G(z))"]
    both, _ = last("sign", "both signs turned")
    assert both["loss of D"] < 0 and both["D(x)"] < 0.1


def test_the_ranges_are_what_their_names_say():
    digits = clinic.small_digits()
    assert digits.shape == (10_000, 49) and digits.min() == 0 and digits.max() <= 1
    for name, low, least in (("data in [−1, 1], G ends in a sigmoid", -1, 0),
                             ("data in [0, 1], G ends in a tanh", 0, -1)):
        case = clinic.SYMPTOMS["range"].cases[name](0)
        wild = case.G(1e3 * case.G.noise(200)).detach()
        assert case.real.min() == low and case.real.max() > 0.9
        assert wild.min() == pytest.approx(least, abs=1e-3) and wild.max() == pytest.approx(1, abs=1e-3)
    seen = {name: last("range", name)[0] for name in clinic.SYMPTOMS["range"].cases}
    ill, cured, other = (seen[name]["D(G(z))"] for name in clinic.SYMPTOMS["range"].cases)
    assert ill < 0.2 < min(cured, other)


def test_noise_on_what_the_discriminator_sees_keeps_more_modes():
    """Over three seeds together: a single run of a GAN goes another way on another processor (here 2 or 4 of 8)."""
    ill, cured = (sum(last("collapse", case, steps=200, seed=seed)[0]["near"] for seed in (0, 1, 2))
                  for case in ill_and_cured("collapse"))
    assert cured >= ill + 4


# --- the vitals ------------------------------------------------------------------------------------------------------

def test_vitals_are_what_they_are_called():
    case = clinic.healthy(0)
    z, start = case.G.noise(500), [[p.detach().clone() for p in net.parameters()] for net in (case.G, case.D)]
    with torch.no_grad():
        for p in case.G.parameters():
            p.mul_(1.5)
    state = torch.get_rng_state()
    seen = clinic.vitals(case, z, start)
    assert torch.equal(state, torch.get_rng_state())
    assert seen["G moved"] == pytest.approx(0.5, abs=1e-6) and seen["D moved"] == 0
    x = case.G(z)
    assert seen["D(G(z))"] == pytest.approx(case.D(x).sigmoid().mean().item())
    assert seen["D(x)"] == pytest.approx(case.D(case.real).sigmoid().mean().item())
    assert seen["spread"] == pytest.approx(math.sqrt((x.var(0).sum() / case.real.var(0).sum()).item()))
    gans.non_saturating_generator_loss(case.D(x)).backward()
    assert seen["gradient"] == pytest.approx(sum(p.grad.square().sum().item() for p in case.G.parameters()) ** 0.5)
    assert seen["near"] == sum(n >= 8 for n in torch.cdist(x, toy.ring().means.float()).argmin(1).bincount(minlength=8))


def test_losses_are_means_since_the_last_look(monkeypatch):
    logs = [{"D": torch.tensor(float(i)), "G": torch.tensor(-float(i))} for i in range(1, 5)]
    monkeypatch.setattr(clinic, "train", lambda step, data, steps, progress: iter(enumerate(logs, 1)))
    seen = [(i, v["loss of D"], v["loss of G"]) for i, v, _ in clinic.play("rate", "0.001 and 0.004", steps=4, looks=2)]
    assert seen == [(2, 1.5, -1.5), (4, 3.5, -3.5)]


def test_what_cannot_be_played_is_refused():
    with pytest.raises(ValueError, match=r"symptom.*flu"):
        next(clinic.play("flu", "none"))
    with pytest.raises(ValueError, match=r"case.*nose"):
        next(clinic.play("rate", "nose"))
    with pytest.raises(ValueError, match=r"steps is 30 and looks 20.*multiple"):
        next(clinic.play("rate", "0.001 and 0.004", steps=30))


def test_rows_go_over_symptoms_cases_and_seeds(monkeypatch):
    monkeypatch.setattr(clinic, "play", lambda symptom, case, seed, looks: iter(
        (i, {"spread": 0.1 * seed + i}, None) for i in range(1, looks + 1)))
    rows = clinic.clinic_rows(symptoms=("rate", "sign"), seeds=(3, 4), looks=2)
    assert [(row["symptom"], row["seed"]) for row in rows] == [("rate", 3), ("rate", 4)] * 2 + [
        ("sign", 3), ("sign", 4)] * 3
    assert rows[0] == {"symptom": "rate", "case": "both learning rates 0.1", "seed": 3, "step": [1, 2],
                       "spread": pytest.approx([1.3, 2.3])}
    assert clinic.end(rows, "rate", "spread")["both learning rates 0.1"] == pytest.approx([2.3, 2.4])
    assert list(clinic.end(rows, "sign", "spread")) == list(clinic.SYMPTOMS["sign"].cases)


def test_the_stored_table_is_what_its_recipe_would_make():
    rows = recipes.table("gan-clinic")["rows"]
    assert [(row["symptom"], row["case"], row["seed"]) for row in rows] == [
        (symptom, case, seed) for symptom, spec in clinic.SYMPTOMS.items() for case in spec.cases
        for seed in clinic.SEEDS]
    _, seen, _ = next(clinic.play("optimizer", "it holds G's weights", 1))
    row = next(row for row in rows if (row["case"], row["seed"]) == ("it holds G's weights", 1))
    assert row["step"][0] == 40 and all(row[key][0] == pytest.approx(seen[key], rel=0.05) for key in seen)


def test_every_panel_names_vitals_that_are_taken():
    for symptom, case in (("rate", clinic.healthy(0)), ("range", clinic.ranged(0, 0.0, nn.Sigmoid))):
        start = [list(net.parameters()) for net in (case.G, case.D)]
        taken = {*clinic.vitals(case, case.G.noise(8), start), "loss of D", "loss of G"}
        for name, spec in clinic.SYMPTOMS.items():
            if (name == "range") == (symptom == "range"):
                assert {key for panel in spec.panels for key in panel} <= taken and set(spec.scales) <= taken
                assert len(spec.cases) >= 2 and spec.steps % 20 == 0
