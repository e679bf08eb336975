"""What stands behind chapter 04's tables and models: the runs on toys against a textbook's loop, and the DCGANs'."""

import copy
import json
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib import metrics, networks, recipes
from course_lib.datasets import batches, mnist
from course_lib.datasets.toy import grid, ring
from course_lib.gans import HINGE, LEAST_SQUARES, MINIMAX, NON_SATURATING, ModesHit, gan_step, modes_hit
from course_lib.recipes import faces, gan_failures, gans
from course_lib.recipes.gan_failures import BALANCE, LOSSES, SETS, as_lists, gradient_history, history, toy_run
from course_lib.recipes.store import settings_of
from course_lib.training import train

exactly = {"rtol": 0, "atol": 0}
SMALL = {"steps": 4, "every": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bits(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def judged(monkeypatch):
    """What modes_hit was given, each time."""
    calls = []

    def recording(samples, modes, sigma, needed=20):
        calls.append((samples.clone(), modes, sigma, needed))
        return modes_hit(samples, modes, sigma, needed)

    monkeypatch.setattr(gan_failures.gans, "modes_hit", recording)
    return calls


# --- the runs on toys ------------------------------------------------------------------------------------------------

# Written out with torch's own functions: D's loss on real and fake logits, G's on fake ones.
ONE, NONE = torch.ones_like, torch.zeros_like
BCE = F.binary_cross_entropy_with_logits
TEXTBOOK = {
    "minimax": (lambda r, f: BCE(r, ONE(r)) + BCE(f, NONE(f)), lambda f: -BCE(f, NONE(f))),
    "non-saturating": (lambda r, f: BCE(r, ONE(r)) + BCE(f, NONE(f)), lambda f: BCE(f, ONE(f))),
    "least squares": (lambda r, f: (F.mse_loss(r, ONE(r)) + F.mse_loss(f, NONE(f))) / 2,
                      lambda f: F.mse_loss(f, ONE(f)) / 2),
    "hinge": (lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lambda f: -f.mean()),
}


def layers(sizes, activation):
    built = [nn.Sequential(nn.Linear(a, b), activation()) for a, b in zip(sizes[:-2], sizes[1:-1], strict=True)]
    return nn.Sequential(*built, nn.Linear(*sizes[-2:]))


def textbook(density, losses, seed, steps, *, k=1, lr=1e-3, lr_D=1e-3, batch=256, width_D=128, prior="normal"):
    """Goodfellow et al. 2014, Algorithm 1, in a loop with backward(); G's samples for one noise after each step."""
    loss_of_D, loss_of_G = TEXTBOOK[losses]
    torch.manual_seed(seed)
    G = layers((2, 128, 128, 2), nn.ReLU)
    D = nn.Sequential(layers((2, width_D, width_D, 1), partial(nn.LeakyReLU, 0.2)), nn.Flatten(0))
    opt_G = torch.optim.Adam(G.parameters(), lr, (0.5, 0.999))
    opt_D = torch.optim.Adam(D.parameters(), lr_D, (0.5, 0.999))
    noise = {"normal": torch.randn, "uniform": lambda *n, **g: 2 * torch.rand(*n, **g) - 1}[prior]
    z, data, ends = noise(2_500, 2, generator=seeded(seed)), seeded(1_000 + seed), []
    for _ in range(steps):
        for _ in range(k):
            x, fake = density.sample(batch, data), G(noise(batch, 2)).detach()
            opt_D.zero_grad()
            loss_of_D(D(x), D(fake)).backward()
            opt_D.step()
        opt_G.zero_grad()
        loss_of_G(D(G(noise(batch, 2)))).backward()
        opt_G.step()
        ends.append(G(z).detach())
    return ends


@pytest.mark.parametrize("data, losses, seed, settings", [
    ("ring of 8", "non-saturating", 0, {}),
    ("ring of 8", "minimax", 1, {"lr": 3e-3, "batch": 50}),
    ("grid of 25", "least squares", 2, {"lr_D": 4e-3, "prior": "uniform"}),
    ("grid of 25", "hinge", 3, {"k": 2, "width_D": 20, "batch": 30}),
])
def test_a_run_is_the_textbook_s_loop(data, losses, seed, settings, judged):
    density = {"ring of 8": ring(), "grid of 25": grid()}[data]
    looks = list(toy_run(data, losses, seed, steps=5, every=2, **settings))
    wanted = textbook(density, losses, seed, 5, **settings)
    assert [i for i, *_ in looks] == [2, 4] and len(judged) == 2
    for (i, given, found), (samples, modes, sigma, needed) in zip(looks, judged, strict=True):
        assert samples.shape == (2_500, 2) and torch.equal(given, samples) and not given.requires_grad
        assert_close(samples, wanted[i - 1], rtol=0, atol=2e-5)         # 5 steps move a sample by 0.01 and more
        assert torch.equal(modes, density.means) and sigma == density.stds[0].item() and needed == 20
        counted = modes_hit(samples, density.means, sigma)
        assert isinstance(found, ModesHit) and (found.hit, found.good) == (counted.hit, counted.good)
    assert (wanted[3] - wanted[0]).abs().mean() > 1e-3


def test_a_run_is_the_same_for_a_seed_and_another_for_another(judged):
    for seed in (0, 0, 1):
        torch.manual_seed(77)
        rows = history("ring of 8", "hinge", seed, **SMALL)
    first, again, other = judged[1][0], judged[3][0], judged[5][0]
    assert torch.equal(first, again) and not torch.isclose(first, other).any()
    assert [row.keys() for row in rows] == [{"step", "hit", "good", "near"}] * 2
    assert [row["step"] for row in rows] == [2, 4]


def test_a_mode_is_near_where_20_samples_have_it_as_their_nearest(monkeypatch):
    found = ModesHit(2, 0.25, torch.tensor([25, 30, 0, 0]), torch.tensor([25, 2_436, 19, 20]))
    monkeypatch.setattr(gan_failures.gans, "modes_hit", lambda *given: found)
    rows = history("ring of 8", "hinge", 0, steps=1, every=1)
    assert rows == [{"step": 1, "hit": 2, "good": 0.25, "near": 3}]


def test_by_default_a_run_is_the_ring_without_saturation_looked_at_ten_times(monkeypatch):
    asked = {}

    def taken(step, data, steps, **options):
        asked.update(step=step, steps=steps, batch=next(iter(data)))
        return ((i, {}) for i in range(1, steps + 1))

    monkeypatch.setattr(gan_failures, "train", taken)
    looks = [i for i, _, _ in toy_run()]
    assert looks == list(range(500, 5_001, 500)) and asked["batch"].shape == (256, 2)
    given = asked["step"].keywords
    assert given["losses"] is NON_SATURATING and given["k"] == 1
    assert [given[opt].param_groups[0][name] for opt in ("opt_G", "opt_D") for name in ("lr", "betas")] == [
        1e-3, (0.5, 0.999)] * 2
    assert asked["batch"].norm(dim=1).sub(1).abs().max() < 0.1


def test_a_run_learns():
    """300 steps bring the samples from the origin to the ring, though not yet to its modes."""
    found = {}
    for i, samples, _ in toy_run(seed=0, steps=300, every=299, batch=64):
        found[i] = samples.norm(dim=1).mean().item()
    assert list(found) == [299] and 0.6 < found[299] < 1.4
    torch.manual_seed(0)
    assert networks.mlp_generator(2, 2).sample(500, seeded()).norm(dim=1).mean() < 0.4


def test_what_the_names_stand_for():
    assert LOSSES == {"minimax": MINIMAX, "non-saturating": NON_SATURATING, "least squares": LEAST_SQUARES,
                      "hinge": HINGE}
    assert {name: len(make().means) for name, (make, _) in SETS.items()} == {"ring of 8": 8, "grid of 25": 25}
    for make, sigma in SETS.values():
        assert make().stds.tolist() == [sigma] * len(make().means)


def test_every_setting_of_the_balance_changes_the_run(judged):
    ends = {}
    for name, changed in BALANCE.items():
        changed = changed | ({"steps": 2 * changed["steps"] // 10_000} if "steps" in changed else {})
        rows = history("ring of 8", "non-saturating", 0, **{"steps": 2, "every": 1} | changed)
        assert [row["step"] for row in rows] == list(range(1, changed.get("steps", 2) + 1))
        ends[name] = judged[-1][0]
    reference = ends.pop("as it is")
    assert all((end - reference).abs().mean() > 1e-5 for end in ends.values())
    assert len(ends) == len({round(end.double().sum().item(), 9) for end in ends.values()}) == 9


def test_the_balance_s_settings_are_what_their_names_say():
    reference = {"lr_D": 1e-3, "width_D": 128, "k": 1, "batch": 256, "prior": "normal", "steps": 5_000}
    defaults = settings_of(toy_run)
    assert {key: defaults[key] for key in reference} == reference
    by_name = {
        "as it is": {}, "D slower: lr / 10": {"lr_D": reference["lr_D"] / 10},
        "D faster: lr · 10": {"lr_D": reference["lr_D"] * 10}, "D narrow: 16 units": {"width_D": 16},
        "D wide: 512 units": {"width_D": 512}, "k = 5 steps of D": {"k": 5}, "batches of 32": {"batch": 32},
        "batches of 1,024": {"batch": 1_024}, "uniform noise": {"prior": "uniform"},
        "four times the steps": {"steps": 4 * reference["steps"]}}
    assert by_name == BALANCE


# --- a generator that stands still -----------------------------------------------------------------------------------

def test_the_gradient_s_history_is_the_textbook_s():
    """D alone learns; what backward() leaves on G's weights, at each look."""
    looks, seed = (0, 1, 4), 3
    rows = gradient_history(seed, looks=looks, lr=2e-3, batch=40)
    torch.manual_seed(seed)
    G = layers((2, 128, 128, 2), nn.ReLU)
    D = nn.Sequential(layers((2, 128, 128, 1), partial(nn.LeakyReLU, 0.2)), nn.Flatten(0))
    opt = torch.optim.Adam(D.parameters(), 2e-3, (0.5, 0.999))
    z, data, wanted = torch.randn(2_500, 2, generator=seeded(seed)), seeded(1_000 + seed), []
    for i in range(max(looks) + 1):
        if i:
            x, fake = ring().sample(40, data), G(torch.randn(40, 2)).detach()
            opt.zero_grad()
            TEXTBOOK["minimax"][0](D(x), D(fake)).backward()
            opt.step()
        if i in looks:
            row = {"seed": seed, "steps of D": i, "D on samples": D(G(z)).sigmoid().mean().item()}
            for name, losses in (("saturating", "minimax"), ("non-saturating", "non-saturating")):
                G.zero_grad()
                TEXTBOOK[losses][1](D(G(z))).backward()
                row[name] = torch.cat([p.grad.flatten() for p in G.parameters()]).norm().item()
            wanted.append(row)
    assert [row.keys() for row in rows] == [row.keys() for row in wanted]
    assert [list(row.values()) for row in rows] == [pytest.approx(list(row.values()), rel=1e-3) for row in wanted]
    assert rows[0]["D on samples"] == pytest.approx(0.5, abs=0.1) and rows[0] != rows[2]
    assert gradient_history(seed, looks=looks, lr=2e-3, batch=40) == rows


def test_a_discriminator_that_learns_on_starves_the_saturating_loss():
    first, *_, last = gradient_history(0, looks=(0, 20, 120), batch=64)
    assert last["D on samples"] < 0.15 < first["D on samples"]
    assert last["saturating"] < 0.5 * last["non-saturating"]


def test_by_default_the_looks_are_spread_over_3_000_steps():
    settings = settings_of(gradient_history)
    assert settings["looks"] == [0, 10, 30, 100, 300, 1_000, 3_000] and settings["lr"] == 1e-3


# --- the tables' rows ------------------------------------------------------------------------------------------------

def test_modes_rows_are_runs_by_set_losses_and_seed(judged):
    rows = gan_failures.modes_rows(losses=("hinge", "minimax"), seeds=(1, 0), steps=2, every=1)
    assert [(row["set"], row["losses"], row["seed"]) for row in rows] == [
        (data, losses, seed) for data in SETS for losses in ("hinge", "minimax", "D slower") for seed in (1, 0)]
    assert all(list(row) == ["set", "losses", "seed", "step", "hit", "good", "near"] for row in rows)
    for k, row in enumerate(rows):                                      # each judged twice
        assert len(judged[2 * k][1]) == {"ring of 8": 8, "grid of 25": 25}[row["set"]]
    assert len({round(judged[2 * k + 1][0].double().sum().item(), 9) for k in range(12)}) == 12
    for row in (rows[1], rows[5], rows[-3]):
        slower = row["losses"] == "D slower"
        alone = history(row["set"], "non-saturating" if slower else row["losses"], row["seed"], steps=2, every=1,
                        **({"lr_D": 1e-4} if slower else {}))
        assert {key: row[key] for key in alone[0]} == as_lists(alone) and row["step"] == [1, 2]
        assert torch.equal(judged[-1][0], judged[2 * rows.index(row) + 1][0])
    json.dumps(rows)


@pytest.fixture
def asked(monkeypatch):
    """The runs that are asked for, none of which is made."""
    calls = []

    def recorded(data, losses, seed, **settings):
        calls.append((data, losses, seed, settings))
        return [{"step": 1, "hit": seed, "good": 0.5}, {"step": 2, "hit": 7, "good": 0.25}]

    monkeypatch.setattr(gan_failures, "history", recorded)
    return calls


def test_balance_rows_change_one_setting_at_a_time(asked):
    rows = gan_failures.balance_rows(seeds=(0, 3), steps=40, every=10)
    assert [(row["setting"], row["seed"]) for row in rows] == [(name, seed) for name in BALANCE for seed in (0, 3)]
    assert asked == [("ring of 8", "non-saturating", seed, {"steps": 40, "every": 10} | changed)
                     for changed in BALANCE.values() for seed in (0, 3)]
    assert rows[1] == {"setting": "as it is", "seed": 3, "step": [1, 2], "hit": [3, 7], "good": [0.5, 0.25]}
    assert len(gan_failures.balance_rows(settings=("uniform noise",), seeds=(1,))) == 1
    assert asked[-1] == ("ring of 8", "non-saturating", 1, {"steps": 5_000, "every": 250, "prior": "uniform"})


def test_by_default_the_tables_are_whole_and_of_five_seeds(asked, monkeypatch):
    monkeypatch.setattr(gan_failures, "gradient_history", lambda seed: [{"seed": seed, "at": k} for k in (0, 1)])
    assert len(gan_failures.modes_rows()) == 2 * 5 * 5 and asked[0][2:] == (0, {"steps": 5_000, "every": 250})
    assert asked[-1] == ("grid of 25", "non-saturating", 4, {"steps": 5_000, "every": 250, "lr_D": 1e-4})
    assert len(gan_failures.balance_rows()) == 10 * 5
    rows = gan_failures.gradient_rows()
    assert rows == [{"seed": seed, "at": at} for seed in range(5) for at in (0, 1)]
    assert gan_failures.gradient_rows(seeds=(4,)) == rows[-2:]


def test_rows_become_one_row_of_lists():
    assert as_lists([{"a": 1, "b": 2.0}, {"a": 3, "b": None}]) == {"a": [1, 3], "b": [2.0, None]}


def test_the_recipes_are_registered_under_their_names():
    rows = {"gan-gradients": gan_failures.gradient_rows, "gan-modes": gan_failures.modes_rows,
            "gan-balance": gan_failures.balance_rows}
    assert {name: recipes.TABLES[name].rows for name in rows} == rows
    assert recipes.MODELS["gan-digits"].fit is gans.fit_digits and recipes.MODELS["gan-faces"].fit is gans.fit_faces
    assert recipes.MODELS["gan-digits"].figures is gans.digit_figures
    assert recipes.MODELS["gan-faces"].figures is gans.face_figures


# --- DCGANs ----------------------------------------------------------------------------------------------------------

class Stopped(Exception):
    """A run was cut short."""


IMAGES = torch.randint(256, (24, 1, 28, 28), generator=seeded(1), dtype=torch.uint8)
FIT = {"image": networks.DIGIT, "device": None, "save_to": None, "steps": 4, "batch_size": 6, "lr": 1e-3, "beta1": 0.5,
       "channels": 4, "seed": 0, "ema_decay": 0.999, "bf16": False}


def fit(begun=0, **settings):
    torch.manual_seed(begun)
    G = gans.generator(networks.DIGIT, 4)
    gans.fit_dcgan(G, IMAGES, **{**FIT, **settings})
    return G


def test_fit_dcgan_is_the_textbook_s_loop_and_ends_with_the_average():
    torch.manual_seed(0)
    nets = G, D = (networks.dcgan_generator(64, 4, norm=nn.BatchNorm2d),
                   networks.dcgan_discriminator(4, norm=nn.BatchNorm2d))
    opt_G, opt_D = (torch.optim.Adam(net.to(memory_format=torch.channels_last).parameters(), betas=(0.5, 0.999))
                    for net in nets)
    data, path = batches(IMAGES, 6, 0), []
    for i in range(4):
        lr = 1e-3 * (1 + math.cos(math.pi * i / 4)) / 2                 # half a cosine, to 0 at the end
        x, fake = next(data), G(torch.randn(6, 64))
        descend(opt_D, lr, F.softplus(-D(x)).mean() + F.softplus(D(fake.detach())).mean())
        descend(opt_G, lr, F.softplus(-D(G(torch.randn(6, 64)))).mean())
        path.append([p.detach().clone() for p in G.parameters()])
    average = path[0]
    for i, now in enumerate(path[1:], start=1):
        d = min(0.999, (1 + i) / (10 + i))
        average = [d * a + (1 - d) * b for a, b in zip(average, now, strict=True)]
    found, kept = fit(), []
    for (name, p), wanted, last in zip(found.named_parameters(), average, path[-1], strict=True):
        if "weight" in name:                            # biases before batch norm: their gradient is 0 but for rounding
            off, of = ((q - wanted).abs().mean().item() for q in (p.detach(), last))
            assert off < 0.05 * of, name                # the average, and not the last
            kept.append(of)
    assert len(kept) == 5 and min(kept) > 1e-5
    for a, b in zip(found.buffers(), G.buffers(), strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-3)        # batch norm's statistics are the last


def descend(opt, lr, loss):
    for group in opt.param_groups:
        group["lr"] = lr
    opt.zero_grad()
    loss.backward()
    opt.step()


@pytest.mark.parametrize("bf16", [False, True])
def test_a_dcgan_s_run_cut_short_goes_on_with_the_same_bits(bf16, tmp_path, monkeypatch):
    whole = fit(bf16=bf16)

    def cut_short(*args, **options):
        for i, log in train(*args, **options, save_every=1):
            if i == 3:                                  # two steps are saved, the third is not
                raise Stopped
            yield i, log

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(gans, "train", cut_short)
        fit(bf16=bf16, save_to=tmp_path / "run")
    resumed = fit(begun=9, bf16=bf16, save_to=tmp_path / "run")
    assert_close(bits(resumed), bits(whole), **exactly)
    assert not torch.equal(fit(begun=9, bf16=bf16).body[0].weight, whole.body[0].weight)


def test_half_the_bits_are_for_the_computations_only():
    with_it, without = fit(bf16=True), fit(bf16=False)
    assert {p.dtype for p in with_it.state_dict().values()} == {torch.float32, torch.int64}
    assert all(p.isfinite().all() for p in with_it.parameters())
    assert not torch.equal(with_it.body[0].weight, without.body[0].weight)
    assert_close(with_it.body[0].weight, without.body[0].weight, rtol=0, atol=5e-3)     # 4 steps of 1e-3 at most


def test_in_bf16_wraps_the_step_and_nothing_else():
    seen = []

    def step(data, G):
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), next(data),
                     G(torch.ones(1, 2)).dtype))
        return {"loss": torch.zeros(())}

    stepped = gans.in_bf16(partial(step, G=nn.Linear(2, 1)))
    assert stepped(iter([5])) == {"loss": torch.zeros(())} and not torch.is_autocast_enabled("cpu")
    assert seen == [(True, torch.bfloat16, 5, torch.bfloat16)]


def test_in_bf16_the_generator_meets_the_discriminator_as_updated():
    """Algorithm 1: D first, then G against the new D. Autocast's cache of casts would hand G the old one."""
    torch.manual_seed(0)
    G, D = networks.mlp_generator(2, 3, (16,)), networks.mlp_discriminator(3, (16,))
    old_G, old_D = copy.deepcopy(G), copy.deepcopy(D)
    opt_G, opt_D = torch.optim.SGD(G.parameters(), 0.1), torch.optim.SGD(D.parameters(), 5.0)
    x, state = 2 + torch.randn(64, 3), torch.get_rng_state()
    log = gans.in_bf16(partial(gan_step, G=G, D=D, opt_G=opt_G, opt_D=opt_D))(iter([x]))
    torch.set_rng_state(state)
    torch.randn(64, 2)                                  # D's noise
    fake = old_G(torch.randn(64, 2))
    new, old = (F.softplus(-judge(fake)).mean().item() for judge in (D, old_D))
    assert abs(new - old) > 0.1 and log["G"].item() == pytest.approx(new, abs=0.02)     # bfloat16 has 3 digits


def test_settings_of_a_dcgan_reach_its_players(monkeypatch):
    made, adam = [], gans.adam
    monkeypatch.setattr(gans, "adam", lambda *given: made.append(adam(*given)) or made[-1])
    reference = fit(steps=2)
    assert [opt.param_groups[0]["betas"] for opt in made] == [(0.5, 0.999)] * 2
    assert [opt.param_groups[0]["initial_lr"] for opt in made] == [1e-3] * 2
    assert [opt.param_groups[0]["lr"] for opt in made] == pytest.approx([0, 0], abs=1e-12)     # both end at 0
    sizes = [sum(p.numel() for group in opt.param_groups for p in group["params"]) for opt in made]
    D = networks.dcgan_discriminator(4, norm=nn.BatchNorm2d)
    assert sizes == [sum(p.numel() for p in reference.parameters()), sum(p.numel() for p in D.parameters())]
    for change in ({"beta1": 0.9}, {"lr": 2e-3}, {"seed": 1}, {"batch_size": 5}, {"steps": 3}, {"ema_decay": 0.0},
                   {"channels": 5}, {"bf16": True}):
        assert not torch.equal(fit(**{"steps": 2} | change).body[0].weight, reference.body[0].weight), change
    assert torch.equal(fit(steps=2).body[0].weight, reference.body[0].weight)


def test_each_recipe_fits_its_own_images(monkeypatch):
    calls = []
    monkeypatch.setattr(gans, "fit_dcgan", lambda *given: calls.append(given))
    monkeypatch.setattr(faces, "people", lambda split, device: Painted(split))
    recipes.MODELS["gan-digits"].fit("G", "cpu", "a file", steps=7, lr=0.1, channels=3, seed=2, bf16=False)
    recipes.MODELS["gan-faces"].fit("G")
    (G, digits, *rest), (_, painted, *defaults) = calls
    assert G == "G" and digits.shape == (60_000, 1, 28, 28) and torch.equal(digits, mnist("train").images)
    assert rest == [networks.DIGIT, "cpu", "a file", 7, 64, 0.1, 0.5, 3, 2, 0.999, False]
    assert painted == "images of train" and defaults == [networks.FACE, None, None, 20_000, 64, 2e-4, 0.5, 32, 0, 0.999,
                                                         True]


class Painted:
    def __init__(self, split):
        self.images = f"images of {split}"


@pytest.mark.parametrize("name, image", [("gan-digits", networks.DIGIT), ("gan-faces", networks.FACE)])
def test_the_stored_networks_are_dcgan_generators_with_batch_norm(name, image):
    G = recipes.MODELS[name].build()
    assert (G.latents, G.prior) == (64, "normal") and any(isinstance(m, nn.BatchNorm2d) for m in G.modules())
    probe = recipes.MODELS[name].probe()
    assert torch.equal(probe, torch.randn(8, 64, generator=seeded()))
    with torch.no_grad():
        assert G.eval()(probe).shape == (8, *image)
    assert sum(p.numel() for p in G.parameters()) == sum(p.numel() for p in networks.dcgan_generator(
        64, 32, image, norm=nn.BatchNorm2d).parameters())


def test_samples_are_those_of_noise_drawn_with_a_seed():
    torch.manual_seed(0)
    G, state = networks.mlp_generator(3, 4, (5,)), torch.get_rng_state()
    x = gans.samples(G, 2_001, seed=6)                                  # more than one block
    assert x.shape == (2_001, 4) and not x.requires_grad and torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        assert_close(x, G(torch.randn(2_001, 3, generator=seeded(6))))
    assert len(gans.samples(G)) == 2_000 and torch.equal(gans.samples(G, 9), gans.samples(G, 9, seed=0))
    G.noise = lambda n, generator: torch.zeros(n, 3)                    # the generator knows its own noise
    assert_close(gans.samples(G, 3), gans.samples(G, 1).expand(3, 4))


# --- their figures ---------------------------------------------------------------------------------------------------

def test_the_digits_figures_are_the_classifier_s(monkeypatch):
    """Of real digits: a tenth each, of a few of which chapter 1's test is unsure."""
    x, labels = mnist("test").floats()[0][:300], mnist("test").labels[:300]
    x = torch.cat([x, torch.rand(20, 1, 28, 28, generator=seeded())])   # and some noise
    monkeypatch.setattr(gans, "samples", lambda G: x)
    figures = gans.digit_figures(networks.mlp_generator(2, 2))
    classifier = recipes.load("digit-classifier")
    with torch.no_grad():
        p = classifier(x).softmax(1)
    counts = p.argmax(1).bincount(minlength=10)
    limit = recipes.table("hole-limits-digits")["rows"][0]["unsure_below"]
    assert figures == pytest.approx({"unsure": sum(row.max() < limit for row in p).item() / 320,
                                     "rarest class": counts.min().item() / 320,
                                     "commonest class": counts.max().item() / 320})
    assert 0 < figures["unsure"] < 0.1 and (counts - labels.bincount(minlength=10)).abs().sum() <= 24
    monkeypatch.setattr(gans, "samples", lambda G: x[:300][labels == 0][:1].expand(10, -1, -1, -1))
    figures = gans.digit_figures(networks.mlp_generator(2, 2))
    assert (figures["rarest class"], figures["commonest class"]) == (0, 1)              # a dropped class has share 0


def test_the_faces_figures_are_the_shares_of_their_attributes(monkeypatch):
    people = faces.people("test")
    monkeypatch.setattr(gans, "samples", lambda G: people.floats()[:300])
    seen = gans.face_figures(networks.mlp_generator(2, 2))
    true = {key: (people.attribute(name)[:300] != 0).float().mean().item()
            for key, name in (("smiling", "smile"), ("with glasses", "glasses"), ("with a beard", "beard"))}
    assert seen == pytest.approx(true, abs=0.03)
    shares = [(people.attribute(name) != 0).double().mean().item() for name in ("smile", "glasses", "beard")]
    assert shares == pytest.approx([1 / 2, 1 / 2, 2 / 5], abs=0.04)     # what the data have
    assert metrics.in_blocks(recipes.load("face-classifier"), people.floats()[:2]).shape == (2, sum(faces.SIZES))
