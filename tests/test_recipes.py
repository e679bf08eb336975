"""Recipes: what is stored is what its recipe made, says where it comes from, and is not believed unless it fits."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from course_lib import __main__ as command
from course_lib import recipes
from course_lib.classifiers import accuracy, few_label_accuracy
from course_lib.datasets import batches, faces, mnist
from course_lib.datasets.digits import FILES
from course_lib.metrics import in_blocks
from course_lib.networks import Constant
from course_lib.recipes import digits, mean_over_seeds, store
from course_lib.recipes.store import Model, Table, plain, settings_of
from course_lib.training import EMA, adam, train, update

STORED = Path(recipes.store.DATA)  # before any test points it elsewhere


# --- a small recipe of each kind -------------------------------------------------------------------------------------

def points():
    return torch.randn(64, 3, generator=torch.Generator().manual_seed(5))


def build_tiny(width=6):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.1), nn.ReLU(), nn.Linear(width, 2))


def noisy(x):
    return x + torch.randn_like(x)


class Stopped(Exception):
    """A run was cut short."""


STOP_AT = None  # the step after which it is


def fit_tiny(model, device=None, save_to=None, *, steps=20, lr=0.05, seed=0, spoil=noisy):
    opt, ema = adam(model, lr), EMA(model, 0.9)
    def step(batches):
        x = next(batches)
        loss = (model(spoil(x)) - x[:, :2]).square().mean()
        update(opt, loss)
        return {"loss": loss.detach()}
    state = {"model": model, "opt": opt, "ema": ema}
    for i, _ in train(step, batches(points().to(device), 16, seed), steps, state=state, save_to=save_to, save_every=5):
        ema.update(model)
        if i == STOP_AT:
            raise Stopped
    model.load_state_dict(ema.module.state_dict())


def tiny_figures(model):
    assert not model.training
    error = (model(points()) - points()[:, :2]).square().mean().item()
    return {"error": error, "a third": 1 / 3, "weight": model[0].weight[0, 0].item()}


def tiny_probe():
    """the first 8 points"""
    return points()[:8]


def tiny_rows(device=None, *, sizes=(1, 2), seeds=(0, 1)):
    return [{"size": n, "seed": s, "sum": n + s + 1 / 3} for n in sizes for s in seeds]


TINY = Model("a tiny network", build_tiny, fit_tiny, tiny_figures, tiny_probe, {"points": "0" * 64})
SUMS = Table("a tiny table", tiny_rows, {"points": "0" * 64})


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The recipes `tiny` and `sums` beside those of the course, and an empty data folder for them to write to."""
    monkeypatch.setattr(store, "DATA", tmp_path / "data")
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY)
    monkeypatch.setitem(recipes.TABLES, "sums", SUMS)
    monkeypatch.setattr(__import__(__name__), "STOP_AT", None)
    return tmp_path / "data"


def read(data, name="checkpoints/tiny.json"):
    return json.loads((data / name).read_text(encoding="utf-8"))


def change(data, **entries):
    path = data / "checkpoints" / "tiny.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


# --- making a model --------------------------------------------------------------------------------------------------

def test_train_writes_weights_in_half_precision_and_a_card(data):
    made = recipes.train("tiny", "cpu")
    assert sorted(p.name for p in (data / "checkpoints").iterdir()) == ["tiny.json", "tiny.safetensors"]
    card, path = read(data), data / "checkpoints" / "tiny.safetensors"
    assert card == made == recipes.card("tiny")
    assert card["recipe"] == "tiny" and card["about"] == "a tiny network"
    assert card["made by"] == "python -m course_lib train tiny"
    assert card["settings"] == {"steps": 20, "lr": 0.05, "seed": 0, "spoil": "noisy"}  # all as used
    assert card["network"] == plain(recipes.MODELS["tiny"].build) == "build_tiny"
    assert card["data"] == {"points": "0" * 64}
    assert re.fullmatch(r"CPU, \d+ threads?", card["device"]) and 0 < card["seconds"] + 0.1 < 60
    assert card["versions"].keys() == {"python", "torch", "course_lib"}
    assert card["versions"]["torch"] == torch.__version__
    assert card["figures"].keys() == {"error", "a third", "weight"} and card["figures"]["a third"] == 0.333333
    assert card["parameters"] == 3 * 6 + 6 + 12 + 12 + 2 and card["bytes"] == path.stat().st_size
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["probe"]["inputs"] == "the first 8 points" and len(card["probe"]["outputs"]) == 16
    stored = load_file(path)
    assert {str(v.dtype) for v in stored.values() if v.is_floating_point()} == {"torch.float16"}
    assert stored["1.num_batches_tracked"] == 20 and stored["1.num_batches_tracked"].dtype == torch.int64


def test_what_is_loaded_are_the_trained_weights_rounded_to_half(data):
    torch.manual_seed(0)
    model = build_tiny()
    fit_tiny(model)  # by hand, as the recipe does it
    recipes.train("tiny", "cpu")
    loaded = recipes.load("tiny")
    assert not loaded.training and {p.dtype for p in loaded.parameters()} == {torch.float32}
    for (key, mine), theirs in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        rounded = mine.half().float() if mine.is_floating_point() else mine
        assert torch.equal(theirs, rounded), key
    assert not torch.equal(model[0].weight, loaded[0].weight)  # rounding is seen


def test_figures_and_probe_are_measured_on_the_stored_weights(data):
    card = recipes.train("tiny", "cpu")
    with torch.no_grad():
        model = recipes.load("tiny")
        assert card["figures"] == pytest.approx(tiny_figures(model), rel=1e-5)
        assert_close(torch.tensor(card["probe"]["outputs"]), model(points()[:8]).flatten(), rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_file_and_another_seed_another(data, monkeypatch):
    first = recipes.train("tiny", "cpu")["sha256"]
    torch.manual_seed(123)
    assert recipes.train("tiny", "cpu")["sha256"] == first
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=partial(fit_tiny, seed=1)))
    card = recipes.train("tiny", "cpu")
    assert card["sha256"] != first and card["settings"]["seed"] == 1


def test_the_seed_fixes_the_network_s_first_weights_too(data, monkeypatch):
    def fit(model, device=None, save_to=None, *, seed=0):
        """Nothing."""
    shas = []
    for seed in (0, 1, 0):
        monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=partial(fit, seed=seed)))
        shas.append(recipes.train("tiny", "cpu")["sha256"])
    assert shas[0] == shas[2] != shas[1]


def test_settings_say_what_a_partial_was_given():
    def fit(model, device=None, save_to=None, *, steps=10, spoil=None, sizes=(1, 2), weight=None):
        """Nothing."""
    assert settings_of(partial(fit, spoil=noisy, steps=7, weight=partial(noisy, x=3))) == {
        "steps": 7, "spoil": "noisy", "sizes": [1, 2], "weight": {"function": "noisy", "x": 3}}
    json.dumps(settings_of(fit))
    assert plain(partial(build_tiny, 3)) == {"function": "build_tiny", "arguments": [3]}
    assert plain(partial(build_tiny, width=3)) == {"function": "build_tiny", "width": 3}


def test_a_run_cut_short_goes_on_and_ends_in_the_same_file(data, monkeypatch):
    whole = recipes.train("tiny", "cpu", into=data / "whole")["sha256"]
    runs = data.parent / "build" / "runs"
    assert list(runs.iterdir()) == []  # a run that is over leaves nothing there
    monkeypatch.setattr(__import__(__name__), "STOP_AT", 13)
    with pytest.raises(Stopped):
        recipes.train("tiny", "cpu")
    assert not (data / "checkpoints").exists() and len(list(runs.iterdir())) == 1
    monkeypatch.setattr(__import__(__name__), "STOP_AT", 9)  # it goes on from step 10 and meets 9 no more
    torch.manual_seed(77)
    card = recipes.train("tiny", "cpu")
    assert card["sha256"] == whole and "resumed" in card and "resumed" not in read(data, "whole/tiny.json")
    assert list(runs.iterdir()) == []


KILLER = """
import os, runpy, signal, sys
from pathlib import Path
import test_recipes
from course_lib import recipes
from course_lib.recipes import store

def main(data, kill_at=None):
    # python -m course_lib train tiny: whole, killed in a step, or killed between weights and card
    store.DATA, recipes.MODELS["tiny"] = Path(data), test_recipes.TINY
    spoil, write, calls = test_recipes.noisy, store.write_atomically, []
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    def noisy(x):
        calls.append(None)
        return die() if len(calls) == kill_at else spoil(x)
    def write_and_be_killed(path, content):
        write(path, content)
        die()
    test_recipes.fit_tiny.__kwdefaults__["spoil"] = noisy
    if kill_at == "card":
        store.write_atomically = write_and_be_killed
    sys.argv = ["course_lib", "train", "tiny", "--device", "cpu"]
    runpy.run_module("course_lib", run_name="__main__")

def ended(*arguments):
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        try:
            main(*arguments)
        except SystemExit as end:
            os._exit(end.code)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

if __name__ == "__main__":
    folder, again = sys.argv[1:]
    test_recipes.adam(test_recipes.build_tiny())  # the first optimizer imports half of torch: once, before the forks
    if again == "again":
        print(ended(folder + "/step/data"), ended(folder + "/card/data"))
    else:
        print(ended(folder + "/whole/data"), ended(folder + "/step/data", 13), ended(folder + "/card/data", "card"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no SIGKILL")
def test_the_command_killed_and_started_again_ends_in_the_same_bytes(tmp_path, monkeypatch):
    tests = Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]), "OMP_NUM_THREADS": "1"}
    def start(again):
        return subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), again], env=environment, check=True,
                              capture_output=True, text=True).stdout.split()
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY)
    assert start("") == ["0", "-9", "-9"]
    # In a step: nothing is stored yet. Between weights and card: what is there is not believed.
    assert not (tmp_path / "step/data").exists()
    assert os.listdir(tmp_path / "card/data/checkpoints") == ["tiny.safetensors"]
    monkeypatch.setattr(store, "DATA", tmp_path / "card/data")
    with pytest.raises(FileNotFoundError, match=r"tiny\.json is missing.*course_lib train tiny"):
        recipes.load("tiny")
    (tmp_path / "card/data/checkpoints/tiny.json").write_text(json.dumps(
        read(tmp_path / "whole/data") | {"sha256": "that of the weights before"}))
    with pytest.raises(ValueError, match=r"not the file that its card describes.*course_lib train tiny"):
        recipes.load("tiny")
    assert start("again") == ["0", "0"]
    whole = read(tmp_path / "whole/data")
    for run in ("step", "card"):
        card, weights = read(tmp_path / run / "data"), tmp_path / run / "data/checkpoints/tiny.safetensors"
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == card["sha256"] == whole["sha256"]
        assert "resumed" in card and "resumed" not in whole
        assert {**card, "seconds": 0, "resumed": 0} == {**whole, "seconds": 0, "resumed": 0}
        assert os.listdir(tmp_path / run / "build/runs") == [] and len(os.listdir(weights.parent)) == 2
    assert recipes.load("tiny") is not None


def test_the_seconds_of_a_run_cut_short_are_the_sum_over_its_pieces(data, monkeypatch):
    clock = [0.0]
    def slow(x):
        clock[0] += 10
        return noisy(x)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=partial(fit_tiny, spoil=slow)))
    assert recipes.train("tiny", "cpu")["seconds"] == 200
    for at in (8, 17):
        monkeypatch.setattr(__import__(__name__), "STOP_AT", at)
        with pytest.raises(Stopped):
            recipes.train("tiny", "cpu")
        clock[0] = -1000.0 * at                                  # another process, with another clock
    monkeypatch.setattr(__import__(__name__), "STOP_AT", None)
    card = recipes.train("tiny", "cpu")
    assert card["seconds"] == 200 and "sum over its pieces" in card["resumed"]


def test_a_run_cut_short_does_not_go_on_on_another_device(data, monkeypatch):
    # Else the card would say that all of it ran there.
    here = store.unfinished_run("tiny", TINY, "cpu")
    assert here == store.unfinished_run("tiny", TINY, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert store.unfinished_run("tiny", TINY, "cuda") != here
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert store.unfinished_run("tiny", TINY, "cpu") != here     # threads: sums in another order


def test_a_run_cut_short_does_not_go_on_under_other_settings(data, monkeypatch):
    # Else the card would name a learning rate, or a number of steps, by which the weights were not made.
    other = TINY._replace(fit=partial(fit_tiny, lr=0.5, steps=12))
    monkeypatch.setitem(recipes.MODELS, "tiny", other)
    fresh = recipes.train("tiny", "cpu", into=data / "fresh")["sha256"]
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY)
    monkeypatch.setattr(__import__(__name__), "STOP_AT", 18)
    with pytest.raises(Stopped):
        recipes.train("tiny", "cpu")
    monkeypatch.setitem(recipes.MODELS, "tiny", other)
    card = recipes.train("tiny", "cpu")
    assert card["sha256"] == fresh and "resumed" not in card


def test_weights_that_half_precision_cannot_hold_are_not_stored(data, monkeypatch):
    def fit(model, device=None, save_to=None, *, seed=0):
        nn.init.constant_(model[4].bias, 1e6)  # half precision ends at 65,504
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=fit))
    with pytest.raises(ValueError, match=r"tiny: 4\.bias is not finite in half precision"):
        recipes.train("tiny", "cpu")
    assert not (data / "checkpoints").exists()


# --- loading a model -------------------------------------------------------------------------------------------------

def wider(data):
    recipes.MODELS["tiny"] = TINY._replace(build=partial(build_tiny, 7))


def deeper(data):
    recipes.MODELS["tiny"] = TINY._replace(build=lambda: nn.Sequential(*build_tiny(), nn.Linear(2, 2)))


def another_activation(data):
    def build():
        model = build_tiny()
        model[3] = nn.Tanh()
        return model
    recipes.MODELS["tiny"] = TINY._replace(build=build)


def nan_outputs(data):
    def build():
        model = build_tiny()
        model.register_forward_hook(lambda module, inputs, output: output * float("nan"))
        return model
    recipes.MODELS["tiny"] = TINY._replace(build=build)


def flip_a_byte(data):
    path = data / "checkpoints" / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil, error, message", [
    (flip_a_byte, ValueError, r"tiny\.safetensors is not the file that its card describes.*restore both"),
    (lambda data: (data / "checkpoints/tiny.safetensors").write_bytes(b"x"), ValueError, "SHA-256 differs"),
    (lambda data: (data / "checkpoints/tiny.safetensors").unlink(), ValueError, r"tiny\.safetensors is missing"),
    (lambda data: (data / "checkpoints/tiny.json").unlink(), FileNotFoundError, r"tiny\.json is missing"),
    (lambda data: (data / "checkpoints/tiny.json").write_text("{"), ValueError, r"tiny\.json is not valid JSON"),
    (another_activation, ValueError, r"(?s)tiny gives other outputs.*off by \d.*code has changed"),
    (nan_outputs, ValueError, "gives other outputs"),
    (wider, ValueError, r"(?s)tiny's weights do not fit its network.*code has changed"),
    (deeper, ValueError, r"(?s)tiny's weights do not fit its network.*code has changed"),
    (lambda data: change(data, probe={"outputs": [1.0], "tolerance": 0.005}), ValueError, "gives other outputs"),
])
def test_what_does_not_fit_is_refused_with_a_remedy(data, spoil, error, message, monkeypatch):
    recipes.train("tiny", "cpu")
    assert recipes.load("tiny") is not None
    spoil(data)
    with pytest.raises(error, match=message) as raised:
        recipes.load("tiny")
    remedy = "git checkout" if "JSON" in message else "python -m course_lib train tiny"
    assert remedy in str(raised.value)


def test_the_probe_takes_what_another_machine_rounds_differently(data):
    outputs = torch.tensor(recipes.train("tiny", "cpu")["probe"]["outputs"])
    for off, fits in ((1e-3, True), (2e-2, False)):
        others = (outputs + off * outputs.abs().max()).tolist()
        change(data, probe={"outputs": others, "tolerance": store.PROBE_TOLERANCE})
        if fits:
            recipes.load("tiny")
        else:
            with pytest.raises(ValueError, match="gives other outputs"):
                recipes.load("tiny")


# --- tables ----------------------------------------------------------------------------------------------------------

def test_run_writes_rows_with_what_made_them(data):
    made = recipes.run("sums", "cpu")
    table = read(data, "results/sums.json")
    assert table == made == recipes.table("sums")
    assert table["made by"] == "python -m course_lib run sums" and table["about"] == "a tiny table"
    assert table["settings"] == {"sizes": [1, 2], "seeds": [0, 1]} and table["data"] == {"points": "0" * 64}
    assert table.keys() >= {"device", "seconds", "versions"}
    assert table["rows"][1] == {"size": 1, "seed": 1, "sum": 2.33333} and len(table["rows"]) == 4  # six digits


def test_mean_over_seeds_is_one_row_for_each_group():
    rows = [{"size": n, "rule": r, "seed": s, "share": n + s, "of words": "no number"}
            for n in (1, 2) for r in "ab" for s in (0, 1, 5)]
    means = mean_over_seeds(rows, ["size", "rule"])
    assert means == [{"size": n, "rule": r, "share": n + 2} for n in (1, 2) for r in "ab"]
    assert mean_over_seeds(rows, ["rule"])[0] == {"rule": "a", "size": 1.5, "share": 3.5}


@pytest.mark.parametrize("call, message", [
    (lambda: recipes.load("nope"), r"no recipe 'nope'; there are .*ae-digits-2.*digit-classifier.*sums.*tiny"),
    (lambda: recipes.table("nope"), "no recipe 'nope'"),
    (lambda: recipes.card("nope"), "no recipe 'nope'"),
    (lambda: recipes.train("nope"), "no recipe 'nope'"),
    (lambda: recipes.run("nope"), "no recipe 'nope'"),
    (lambda: recipes.load("sums"), r"sums is a table, not a model.*recipes\.table\('sums'\).*course_lib run sums"),
    (lambda: recipes.train("sums"), "sums is a table, not a model"),
    (lambda: recipes.table("tiny"), r"tiny is a model, not a table.*recipes\.load\('tiny'\).*course_lib train tiny"),
    (lambda: recipes.run("tiny"), "tiny is a model, not a table"),
])
def test_another_name_is_refused(data, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_table_that_is_not_there_says_how_it_is_made(data):
    with pytest.raises(FileNotFoundError, match=r"sums\.json is missing: .*python -m course_lib run sums"):
        recipes.table("sums")


def test_origin_is_one_line(data):
    recipes.train("tiny", "cpu")
    recipes.run("sums", "cpu")
    of_model, of_table = recipes.origin("tiny"), recipes.origin("sums")
    made = r"tiny: 50 weights, 20 steps, made by `python -m course_lib train tiny` in \d+ s on CPU.*error"
    assert re.match(made, of_model)
    assert of_table.startswith("sums: 4 rows, made by `python -m course_lib run sums` in ")
    assert "\n" not in of_model + of_table


@pytest.mark.parametrize("seconds, words", [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (3600, "60 min")])
def test_durations(seconds, words):
    assert recipes._duration(seconds) == words


# --- python -m course_lib --------------------------------------------------------------------------------------------

def run(capsys, *arguments):
    try:
        code = command.main(list(arguments))
    except SystemExit as stopped:  # argparse
        code = stopped.code
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_trains_runs_and_lists(data, capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0 and "tiny: a tiny network; not made yet: python -m course_lib train tiny" in out
    assert "sums: a tiny table; not made yet: python -m course_lib run sums" in out
    code, out, err = run(capsys, "train", "tiny", "--device", "cpu")
    assert code == 0 and err == "" and recipes.origin("tiny") in out.splitlines()
    code, out, err = run(capsys, "run", "sums", "--device", "cpu")
    assert code == 0 and recipes.origin("sums") in out.splitlines()
    code, out, _ = run(capsys, "list")
    assert code == 0 and recipes.origin("tiny") in out and recipes.origin("sums") in out
    assert all(name in out for name in [*recipes.MODELS, *recipes.TABLES])


def test_all_makes_models_before_the_tables_that_are_measured_with_them(data, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(recipes, "train", lambda name, device: made.append(name))
    monkeypatch.setattr(recipes, "run", lambda name, device: made.append(name))
    monkeypatch.setattr(recipes, "origin", lambda name: name)
    assert run(capsys, "run", "--all")[0] == 0 and made == [*recipes.MODELS, *recipes.TABLES]
    made.clear()
    assert run(capsys, "train", "--all")[0] == 0 and made == list(recipes.MODELS)


@pytest.mark.parametrize("arguments, code, message", [
    (["train", "nope"], 1, "error: there is no recipe 'nope'; there are "),
    (["train", "sums"], 1, "error: sums is a table, not a model"),
    (["run", "tiny"], 1, "error: tiny is a model, not a table"),
    (["run", "sums", "nope"], 1, "error: there is no recipe 'nope'"),
    (["train", "tiny", "--device", "toaster"], 1, "error: device 'toaster' cannot be used here: "),
    (["train", "tiny", "--device", "cuda:99"], 1, "error: device 'cuda:99' cannot be used here: "),
    (["train"], 2, "train takes names or --all"),
    (["train", "tiny", "--all"], 2, "train takes names or --all"),
    (["run"], 2, "run takes names or --all"),
    (["bake"], 2, "invalid choice: 'bake'"),
    ([], 2, "COMMAND"),
])
def test_the_command_refuses_with_a_message(data, arguments, code, message, capsys):
    got, out, err = run(capsys, *arguments)
    assert got == code and message in err and "Traceback" not in err and out == ""
    assert not data.exists()  # and nothing is made, not even what came before the wrong name


def test_a_device_without_support_in_this_pytorch_gives_a_message(data, capsys, monkeypatch):
    def no_cuda(*args, **kwargs):
        raise AssertionError("Torch not compiled with CUDA enabled")
    monkeypatch.setattr(torch, "empty", no_cuda)
    code, _, err = run(capsys, "train", "tiny", "--device", "cuda")
    assert code == 1 and "device 'cuda' cannot be used here: Torch not compiled with CUDA enabled" in err


def test_the_command_says_what_went_wrong_in_a_run(data, capsys, monkeypatch):
    def diverges(model, device=None, save_to=None, *, steps=3, seed=0):
        list(train(lambda batches: {"loss": torch.tensor(float("nan"))}, iter([]), steps))
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=diverges))
    code, _, err = run(capsys, "train", "tiny")
    assert code == 1 and err.startswith("error: loss became NaN at step 1")
    (data / "results").mkdir(parents=True)
    (data / "results" / "sums.json").write_text("{")
    code, _, err = run(capsys, "list")
    assert code == 1 and "sums.json is not valid JSON" in err


def test_the_command_does_not_hide_faults_of_the_code(data, capsys, monkeypatch):
    def broken(model, device=None, save_to=None, *, seed=0):
        raise RuntimeError("Expected all tensors to be on the same device")
    monkeypatch.setitem(recipes.MODELS, "tiny", TINY._replace(fit=broken))
    with pytest.raises(RuntimeError, match="same device"):
        command.main(["train", "tiny"])


# --- what the course stores ------------------------------------------------------------------------------------------

CHECKPOINTS, RESULTS = (sorted((STORED / kind).glob("*.json")) for kind in ("checkpoints", "results"))
each_checkpoint = pytest.mark.parametrize("name", [path.stem for path in CHECKPOINTS])
each_result = pytest.mark.parametrize("name", [path.stem for path in RESULTS])


@each_checkpoint
def test_a_stored_checkpoint_loads_and_was_made_by_the_recipe_as_it_is_now(name):
    recipes.load(name)
    card, recipe = recipes.card(name), recipes.MODELS[name]
    assert card["recipe"] == name and card["settings"] == settings_of(recipe.fit), f"make it anew: {card['made by']}"
    assert card.get("network") == plain(recipe.build), f"make it anew: {card['made by']}"
    assert card.get("data") == recipe.data, f"make it anew: {card['made by']}"
    assert card.keys() >= {"about", "device", "seconds", "versions", "figures", "parameters", "bytes", "probe"}
    weights = load_file(STORED / "checkpoints" / f"{name}.safetensors")
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float16}
    assert all(v.isfinite().all() for v in weights.values())


@each_result
def test_a_stored_table_was_made_by_the_recipe_as_it_is_now(name):
    table, recipe = recipes.table(name), recipes.TABLES[name]
    assert table["recipe"] == name and table["settings"] == json.loads(json.dumps(settings_of(recipe.rows)))
    assert table.get("data") == recipe.data, f"make it anew: {table['made by']}"
    assert table["rows"] and len({tuple(row) for row in table["rows"]}) <= 2  # columns: the same, but for one kind


def test_stored_files_are_pairs_and_20_mb_at_most():
    files = [path for path in (STORED / "checkpoints").iterdir() if not path.name.startswith(".")]
    assert {p.stem for p in files if p.suffix == ".json"} == {p.stem for p in files if p.suffix == ".safetensors"}
    assert all(path.suffix in (".json", ".safetensors") for path in files)
    assert sum(path.stat().st_size for path in files) <= 20e6


def test_every_recipe_of_the_course_has_its_product():
    missing = [name for name in [*recipes.MODELS, *recipes.TABLES]
               if not any((STORED / kind / f"{name}.json").exists() for kind in ("checkpoints", "results"))]
    assert missing == []


def test_the_measuring_instrument_is_as_good_as_its_card_says():
    model, (x, y) = recipes.load("digit-classifier"), digits.digits("test")
    claimed = recipes.card("digit-classifier")["figures"]["test accuracy"]
    assert len(x) == 10_000 and claimed >= 0.992
    # Machines round differently: a few digits that lie on the border may change sides.
    assert accuracy(model.to(memory_format=torch.channels_last), x, y) == pytest.approx(claimed, abs=3e-4)


def test_cards_name_the_very_files_of_mnist():
    named = {name: sha for split in FILES.values() for name, sha in (split["images"], split["labels"])}
    assert len(named) == 4
    assert all(recipe.data == named for recipe in [*digits.MODELS.values(), *digits.TABLES.values()])


def test_the_course_s_runs_end_with_the_averaged_weights_and_a_rate_of_0():
    torch.manual_seed(0)
    model = Constant((2,))
    opt, path, averages = adam(model, 0.1), [], []
    def step(batches):
        loss = (model(next(batches)) - 3.0).square().mean()
        update(opt, loss)
        path.append(model.output.detach().clone())
        return {"loss": loss.detach()}
    digits.to_the_end(step, batches(torch.zeros(8, 1), 4), model, opt, steps=30)
    for n, w in enumerate(path):
        d = min(0.999, (1 + n) / (10 + n))
        averages.append(w if n == 0 else d * averages[-1] + (1 - d) * w)
    assert_close(model.output.detach(), averages[-1])
    assert opt.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12) and not torch.equal(path[-1], averages[-1])


def test_figures_of_mending_are_the_same_each_time_and_leave_the_random_state_alone():
    model = Constant((1, 28, 28))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    figures = digits.mending_figures(model, digits.noise_of_any_level)
    assert torch.equal(before, torch.get_rng_state())
    assert figures == digits.mending_figures(model, digits.noise_of_any_level)
    # 784 pixels of variance E[σ²] = 1/3: 261.3. A digit's σ² spreads by 0.3: the mean of 10,000 by 784·0.3/100 = 2.4.
    assert abs(figures["test error of the spoilt images"] - 784 / 3) < 12  # 5σ: 6e-7 of seeds


def test_a_full_disk_is_an_error_in_words(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(recipes, "train", full)
    assert command.main(["train", next(iter(recipes.MODELS)), "--device", "cpu"]) == 1
    assert "error: " in (said := capsys.readouterr().err) and "No space left on device" in said


@pytest.mark.parametrize(("name", "x", "labels"), [
    ("digit-classifier", lambda: mnist("test").floats()[0], lambda: mnist("test").labels),
    ("face-classifier", lambda: faces("test").floats(), lambda: faces("test").attribute("hair")),
])
def test_classifier_features_tell_classes_apart(name, x, labels):
    """What Fréchet distances will be taken of: logistic regression on them, fitted to one half, reads the other."""
    classifier, x, y = recipes.load(name), x()[:2_000], labels()[:2_000]
    features = in_blocks(classifier.features, x)
    assert features.shape == (2_000, 128) and torch.isfinite(features).all()
    assert_close(classifier.head(features[:10]), classifier(x[:10]))
    assert few_label_accuracy(features[:1_000], y[:1_000], features[1_000:], y[1_000:], n=60) > 0.97
