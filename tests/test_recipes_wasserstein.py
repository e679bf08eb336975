"""What stands behind chapter 06's tables: the variants, the search, the two budgets, and the digits' runs."""

import inspect
import math
from statistics import mean, stdev

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib import gans, metrics, networks, recipes
from course_lib.datasets import ring, toy
from course_lib.recipes import wasserstein, wasserstein_digits
from course_lib.recipes.store import settings_of
from course_lib.recipes.wasserstein import VARIANTS, best_rate, cut, equal_seconds, fading, history, summary, toy_run

exactly = {"rtol": 0, "atol": 0}
NAMES = ("minimax", "non-saturating", "least squares", "WGAN, clipped", "WGAN-GP", "SN, hinge", "the best found")


def run_of(variant="a", lr=1e-3, hit=(1, 2), good=(0.1, 0.2), role="search", seed=0, **more):
    return {"role": role, "variant": variant, "seed": seed, "lr": lr, "gradients": [10, 20], "seconds": [1.0, 2.0],
            "hit": list(hit), "good": list(good), "near": [3, 4]} | more


# --- the variants -----------------------------------------------------------------------------------------------------

def test_the_variants_are_the_issue_s():
    assert tuple(VARIANTS) == NAMES
    losses = {name: VARIANTS[name].players(1e-3)[2].keywords.get("losses") for name in VARIANTS}
    assert losses["minimax"] is gans.MINIMAX and losses["non-saturating"] is gans.NON_SATURATING
    assert losses["least squares"] is gans.LEAST_SQUARES and losses["SN, hinge"] is gans.HINGE


@pytest.mark.parametrize("name", NAMES)
def test_each_variant_has_the_same_networks_its_rate_and_three_rates(name):
    torch.manual_seed(0)
    G, D, step = VARIANTS[name].players(3e-4)
    rates = VARIANTS[name].rates
    assert len(set(rates)) == 3 and list(rates) == sorted(rates)
    for opt in (value for key, value in step.keywords.items() if key.startswith("opt_")):
        assert opt.param_groups[0]["lr"] == 3e-4
    widths = [[m.out_features for m in net.modules() if isinstance(m, nn.Linear)] for net in (G, D)]
    assert widths == [[128, 128, 2], [128, 128, 1]]


@pytest.mark.parametrize("name", NAMES)
def test_the_gradients_of_a_round_are_counted(name, monkeypatch):
    """One for each gradient of a value over a batch: autograd's calls, and no others."""
    torch.manual_seed(0)
    _, _, step = VARIANTS[name].players(1e-3)
    calls, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: (calls.append(1), real(*a, **k))[1])
    step(toy.draws(ring(), 16))
    assert len(calls) == VARIANTS[name].gradients


def test_clipped_and_penalised_are_the_papers_but_for_what_their_docstrings_say():
    _, f, step = VARIANTS["WGAN, clipped"].players(5e-5)
    assert step.func is gans.wgan_step and set(step.keywords) == {"G", "f", "opt_G", "opt_f"}    # n_critic 5, c 0.01
    assert isinstance(step.keywords["opt_f"], torch.optim.RMSprop)
    _, f, step = VARIANTS["WGAN-GP"].players(1e-4)
    assert step.func is gans.wgan_gp_step and step.keywords["penalty"] == 0.1
    assert step.keywords["opt_G"].param_groups[0]["betas"] == (0.0, 0.9) and step.keywords["f"] is f


def test_only_sn_is_normalised_and_only_the_best_has_coins_waves_and_noise():
    for name in NAMES:
        G, D, _ = VARIANTS[name].players(1e-3)
        normalised = any(nn.utils.parametrize.is_parametrized(m) for m in D.modules())
        assert normalised == (name == "SN, hinge")
        assert (G.coins == 8) == isinstance(D, gans.InstanceNoise) == (name == "the best found")
        waves = [m for m in D.modules() if isinstance(m, networks.FourierFeatures)]
        assert len(waves) == (name == "the best found")


def test_noise_fades_on_a_log_scale_and_ends_before_the_run_does():
    assert fading(0.0, 1.0, 0.01) == 1.0
    assert fading(0.4, 1.0, 0.01) == pytest.approx(0.1)
    assert fading(0.79999, 1.0, 0.01) == pytest.approx(0.01, rel=1e-3)
    assert fading(0.8, 1.0, 0.01) == fading(1.0, 1.0, 0.01) == 0.0
    assert fading(0.25, 2.0, 0.5, until=0.5) == pytest.approx(1.0)


def test_the_best_run_s_noise_and_rates_fall_as_it_goes_on(monkeypatch):
    kept = {}
    real = wasserstein.best
    def keeping(lr, **changed):
        kept["G"], kept["D"], kept["step"] = real(lr, **changed)
        return kept["G"], kept["D"], kept["step"]
    monkeypatch.setitem(VARIANTS, "the best found", VARIANTS["the best found"]._replace(players=keeping))
    seen = []
    for i, _, _ in toy_run("the best found", "ring of 8", 0, 1e-3, steps=10, every=1):
        seen.append((kept["D"].std, kept["step"].keywords["opt_G"].param_groups[0]["lr"],
                     kept["step"].keywords["opt_D"].param_groups[0]["lr"]))
        std, lr, lr_D = seen[-1]
        assert std == pytest.approx(0.01 ** (i / 8) if i < 8 else 0.0)
        assert lr == lr_D == pytest.approx(1e-3 * (1 + math.cos(math.pi * i / 10)) / 2, abs=1e-9)
    assert len(seen) == 10


def test_noise_begins_and_fades_as_asked(monkeypatch):
    seen = []
    real = gans.InstanceNoise.forward
    monkeypatch.setattr(gans.InstanceNoise, "forward", lambda self, x: (seen.append(self.std), real(self, x))[1])
    list(toy_run("the best found", "ring of 8", 0, 1e-3, steps=5, every=5, fade=(2.0, 0.5)))
    assert seen[0] == 2.0 and seen[3] == pytest.approx(2.0 * 0.25 ** 0.25) and seen[-1] == 0.0


def test_other_variants_keep_their_rate():
    _, _, step = VARIANTS["minimax"].players(1e-3)
    before = step.keywords["opt_G"].param_groups[0]["lr"]
    list(toy_run("minimax", "ring of 8", 0, 1e-3, steps=2, every=1))
    assert before == 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_the_same_for_a_seed_and_judged_on_2_500_samples(name):
    runs = [[samples for _, samples, _ in toy_run(name, "grid of 25", seed, 1e-3, steps=2, every=1)]
            for seed in (0, 0, 1)]
    assert [len(run) for run in runs] == [2, 2, 2] and runs[0][0].shape == (2_500, 2)
    assert_close(runs[0][1], runs[1][1], **exactly)
    assert (runs[0][1] - runs[2][1]).abs().max() > 1e-3


def test_a_run_without_a_look_is_refused():
    with pytest.raises(ValueError, match="every is 5, but there are 2"):
        next(toy_run("minimax", "ring of 8", 0, 1e-3, steps=2, every=5))


def test_the_best_found_finds_modes_in_a_twentieth_of_its_rounds():
    *_, (_, _, found) = toy_run("the best found", "ring of 8", 0, 1e-3, steps=300, every=300)
    assert found.hit >= 2 and found.good > 0.1


# --- rows -------------------------------------------------------------------------------------------------------------

def test_history_counts_gradients_and_seconds(monkeypatch):
    asked = []
    def running(variant, data, seed, lr, steps, every, **changed):
        asked.append((variant, data, seed, lr, steps, every, changed))
        for i in range(every, steps + 1, every):
            yield i, None, gans.ModesHit(i % 8, i / 1_000, torch.zeros(8), torch.tensor([19, 20, 21, 0, 0, 0, 0, 0]))
    monkeypatch.setattr(wasserstein, "toy_run", running)
    row = history("WGAN-GP", "ring of 8", 3, 1e-4, budget=110, looks=5, ms=20.0, penalty=1.0)
    assert asked == [("WGAN-GP", "ring of 8", 3, 1e-4, 10, 2, {"penalty": 1.0})]
    assert row["gradients"] == [22, 44, 66, 88, 110]
    assert row["seconds"] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert row["hit"] == [2, 4, 6, 0, 2] and row["near"] == [2] * 5
    assert (row["variant"], row["seed"], row["lr"]) == ("WGAN-GP", 3, 1e-4)


def test_the_best_rate_has_the_largest_mean_of_hit_and_good_shares():
    rows = [run_of(lr=1e-4, hit=(8, 4), good=(1, 0.5)), run_of(lr=1e-4, hit=(8, 4), good=(1, 0.5), seed=1),
            run_of(lr=1e-3, hit=(0, 8), good=(0, 0.9)), run_of(lr=1e-3, hit=(0, 0), good=(0, 0.0), seed=1),
            run_of(lr=1e-2, hit=(0, 8), good=(0, 1.0), variant="b")]
    assert best_rate(rows, "a", 8) == 1e-4                      # 1.0 against (1.9 + 0)/2, at the end, not at the best
    rows.append(run_of(lr=1e-3, hit=(0, 8), good=(0, 0.9), seed=2))
    assert best_rate(rows, "a", 8) == 1e-3                      # (1.9 + 0 + 1.9)/3
    equal = [run_of(lr=lr) for lr in (1e-3, 1e-4)]
    assert best_rate(equal, "a", 8) == 1e-3


def test_modes_rows_search_then_judge_on_other_seeds(monkeypatch):
    asked = []
    def fake(variant, data, seed, lr, budget, looks, ms):
        asked.append((variant, data, seed, lr, budget))
        row = run_of(variant, lr, hit=(0, 8 if lr == VARIANTS[variant].rates[1] else 0), seed=seed)
        return {key: value for key, value in row.items() if key != "role"}
    monkeypatch.setattr(wasserstein, "history", fake)
    monkeypatch.setattr(wasserstein, "milliseconds", lambda names: {"minimax": 2.0, "the best found": 3.0})
    rows = wasserstein.modes_rows(data="ring of 8", variants=("minimax", "the best found"), seeds=(0, 1),
                                  search_seeds=(5, 6), budget=100)
    for name, budget in (("minimax", 100), ("the best found", 66)):       # 50 rounds take 100 ms; in those 33 of 3 ms
        mine = [call for call in asked if call[0] == name]
        rates = VARIANTS[name].rates
        assert mine == ([(name, "ring of 8", seed, lr, budget) for lr in rates for seed in (5, 6)] +
                        [(name, "ring of 8", seed, rates[1], budget) for seed in (0, 1)])
    assert [row["role"] for row in rows] == (["search"] * 6 + ["result"] * 2) * 2


def test_by_default_the_tables_are_whole():
    for short, data in (("ring", "ring of 8"), ("grid", "grid of 25")):
        settings = settings_of(recipes.TABLES[f"wgan-modes-{short}"].rows)
        assert settings["data"] == data and settings["variants"] == list(NAMES)
        assert settings["seeds"] == [0, 1, 2, 3, 4] and not set(settings["seeds"]) & set(settings["search_seeds"])
    assert inspect.signature(wasserstein.ablation_rows).parameters["settings"].default == tuple(
        wasserstein.ABLATIONS)


def test_milliseconds_are_medians_of_turns(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(wasserstein, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setitem(VARIANTS, "a", wasserstein.Variant(lambda lr: (None, None, lambda data: None), (1, 2, 3), 2))
    assert wasserstein.milliseconds(("a",), rounds=4, turns=3) == {"a": 250.0}


def test_a_run_is_cut_where_its_cost_has_reached_the_budget():
    row = run_of(gradients=[10, 20, 30], seconds=[1.0, 2.0, 3.0], hit=(1, 2, 3), good=(0.1, 0.2, 0.3), near=[1, 2, 3])
    assert cut(row, "gradients", 25)["hit"] == [1, 2]
    assert cut(row, "seconds", 2.0)["good"] == [0.1, 0.2]       # what costs just so much is kept
    assert cut(row, "seconds", 99.0) == row and row["hit"] == [1, 2, 3]
    with pytest.raises(ValueError, match=r"at is 0.5 seconds, but the first look came at 1.0"):
        cut(row, "seconds", 0.5)


def test_equal_seconds_are_those_of_the_run_that_ends_first():
    assert equal_seconds([run_of(seconds=[1.0, 9.0]), run_of(seconds=[2.0, 4.0])]) == 4.0


def test_summary_is_mean_spread_and_worst_of_the_ends():
    rows = [run_of(good=(0.9, g), hit=(8, h), seed=k) for k, (g, h) in enumerate([(0.5, 4), (0.7, 6), (0.9, 5)])]
    rows.append(run_of("b", 1e-2)); rows.append(run_of("b", 1e-2))
    first, second = summary(rows)
    assert first["variant"] == "a" and first["good, mean"] == pytest.approx(0.7)
    assert first["good, sd"] == pytest.approx(stdev([0.5, 0.7, 0.9])) and first["good, worst"] == 0.5
    assert first["hit, mean"] == mean([4, 6, 5]) and first["hit, worst"] == 4 and second["lr"] == 1e-2


def test_ablations_leave_one_part_out():
    def parts(changed):
        G, D, _ = wasserstein.best(1e-3, **changed)
        return (G.coins, any(isinstance(m, networks.FourierFeatures) for m in D.modules()),
                isinstance(D, gans.InstanceNoise))
    assert {name: parts(changed) for name, changed in wasserstein.ABLATIONS.items()} == {
        "no coins": (0, True, True), "no Fourier features": (8, False, True),
        "no instance noise": (8, True, False)}


def test_ablation_rows_are_by_set_setting_and_seed(monkeypatch):
    monkeypatch.setattr(wasserstein, "history", lambda *a, **k: {"given": (a[1], a[2], k)})
    rows = wasserstein.ablation_rows(seeds=(0, 1))
    assert len(rows) == 2 * 3 * 2
    assert rows[1] == {"set": "ring of 8", "setting": "no coins", "given": ("ring of 8", 1, {"coins": 0})}


def test_best_rows_give_it_more_rounds_and_slower_noise(monkeypatch):
    asked = []
    def running(*given, **keywords):
        asked.append((given, keywords))
        yield given[4], None, gans.ModesHit(8, 0.98, torch.zeros(8), torch.full((8,), 300))
    monkeypatch.setattr(wasserstein, "toy_run", running)
    row, = wasserstein.best_rows(data="grid of 25", lr=5e-4, seeds=(3,), rounds=100, looks=10)
    (given, keywords), = asked
    assert given == ("the best found", "grid of 25", 3, 5e-4, 100, 10) and keywords == {"fade": (1.0, 0.02)}
    assert row["gradients"] == [200] and row["good"] == [0.98] and "seconds" not in row


# --- digits -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("variant", "func", "betas"), [("GAN", gans.gan_step, (0.5, 0.999)),
                                                        ("WGAN-GP", gans.wgan_gp_step, (0.0, 0.9))])
def test_both_ways_play_with_one_architecture_without_batch_norm(variant, func, betas):
    G, D, step = wasserstein_digits.players(variant, 3e-4)
    assert step.func is func
    for opt in (value for key, value in step.keywords.items() if key.startswith("opt_")):
        assert opt.param_groups[0]["betas"] == betas and opt.param_groups[0]["lr"] == 3e-4
    assert not any(isinstance(m, nn.BatchNorm2d) for net in (G, D) for m in net.modules())
    same = networks.dcgan_generator(64, 16), networks.dcgan_discriminator(16)
    for mine, other in zip((G, D), same, strict=True):
        assert {k: v.shape for k, v in mine.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}


@pytest.mark.parametrize("variant", ["GAN", "WGAN-GP"])
def test_a_digit_run_yields_the_mean_loss_since_the_last_look_and_samples(variant, monkeypatch):
    values = iter([1.0, 3.0, 10.0, 20.0])
    monkeypatch.setattr(wasserstein_digits, "train", lambda step, data, rounds, **k: (
        (i, {wasserstein_digits.WATCHED[variant]: torch.tensor(next(values))}) for i in range(1, rounds + 1)))
    looks = list(wasserstein_digits.digit_run(variant, 0, 1e-4, rounds=4, every=2))
    assert [(i, loss) for i, loss, _ in looks] == [(2, 2.0), (4, 15.0)]
    assert looks[0][2].shape == (2_000, 1, 28, 28)


def test_a_digit_run_trains():
    torch.manual_seed(0)
    (_, loss, x), = wasserstein_digits.digit_run("WGAN-GP", 1, 1e-3, rounds=1, every=1, batch=4)
    torch.manual_seed(1)
    G, _, _ = wasserstein_digits.players("WGAN-GP", 1e-3)
    z = G.noise(2_000, torch.Generator().manual_seed(1))
    assert math.isfinite(loss) and (x - metrics.in_blocks(G, z)).abs().max() > 1e-4


def test_the_judge_s_floor_and_a_blank_image(monkeypatch):
    from course_lib.recipes.digits import digits
    x, labels = digits("test")
    real = metrics.feature_statistics(recipes.load("digit-classifier").features, x[1_000:2_000])
    monkeypatch.setattr(wasserstein_digits, "real_statistics", lambda device: real)
    few = wasserstein_digits.judge(x[:1_000])
    assert few["fréchet"] < 40 and few["unsure"] < 0.03 and 0.05 < few["rarest class"] < 0.1
    assert few["rarest class"] == pytest.approx(labels[:1_000].bincount().min().item() / 1_000, abs=0.01)
    blank = wasserstein_digits.judge(torch.zeros(50, 1, 28, 28))
    assert blank["fréchet"] > 10 * few["fréchet"] and blank["rarest class"] == 0


def test_digit_rows_spend_one_budget(monkeypatch):
    asked = []
    def run(variant, seed, lr, rounds, every, device=None):
        asked.append((variant, seed, lr, rounds, every))
        yield from ((i, 0.5, None) for i in range(every, rounds + 1, every))
    monkeypatch.setattr(wasserstein_digits, "digit_run", run)
    monkeypatch.setattr(wasserstein_digits, "judge", lambda x: {"fréchet": 1.0, "unsure": 0.1, "rarest class": 0.05})
    rows = wasserstein_digits.digit_rows(seeds=(0, 1), budget=2_200, looks=10)
    assert [call[:2] for call in asked] == [("GAN", 0), ("GAN", 1), ("WGAN-GP", 0), ("WGAN-GP", 1)]
    assert [call[3:] for call in asked] == [(1_100, 110)] * 2 + [(200, 20)] * 2
    assert rows[0]["gradients"] == [220 * k for k in range(1, 11)] == rows[2]["gradients"]
    assert rows[3]["fréchet"] == [1.0] * 10 and rows[3]["variant"] == "WGAN-GP"


def test_the_stored_wgan_gp_is_a_generator_without_batch_norm():
    G = recipes.MODELS["wgan-gp-digits"].build()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in G.modules()) and G.sample(2).shape == (2, 1, 28, 28)


def test_the_stored_tables_are_what_their_recipes_would_make():
    """Rows of seed 0 again, shortened to the first look: the stored figure is the code's."""
    stored = recipes.table("wgan-modes-ring")["rows"]
    row = next(row for row in stored if (row["role"], row["variant"], row["seed"]) == ("result", "minimax", 0))
    rounds = row["gradients"][0] // 2
    (_, _, found), = toy_run("minimax", "ring of 8", 0, row["lr"], rounds, rounds)
    assert found.hit == row["hit"][0] and found.good == pytest.approx(row["good"][0], abs=0.02)
