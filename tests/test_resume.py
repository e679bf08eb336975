"""Runs that are killed go on with the same bits; files that are killed while they are written are whole."""

import hashlib
import json
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import resume_worker
import torch
from resume_worker import KILLED, PLACES, RUNS
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_lib import recipes
from course_lib.recipes import store
from course_lib.recipes.store import Model
from course_lib.training import adam, resume, save, saving, seconds_of, train, update, write_atomically

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed processes are forks, and SIGKILL is POSIX")
WORKER, ROOT = Path(resume_worker.__file__), Path(__file__).resolve().parents[1]


def worker(*arguments):
    """What a command of resume_worker.py reports, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
                   "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    ended = subprocess.run([sys.executable, str(WORKER), *map(str, arguments)], env=environment, check=False,
                           capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


# --- runs that are killed --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Of the runs that were begun (whole, or killed), and of those that another process went on with."""
    folder = tmp_path_factory.mktemp("runs")
    return worker("begin", folder, "cpu"), worker("resume", folder, "cpu")


def differences(one, other):
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


def require_exact(begun, gone_on, kind, how):
    assert begun[f"{kind}, {how}"] == -9                              # killed
    whole, resumed = begun[kind], gone_on[f"{kind}, {how}"]
    assert list(whole["logs"]) == [str(i) for i in range(1, 201)]
    assert resumed["logs"] == {i: log for i, log in whole["logs"].items() if int(i) > 100}
    assert differences(resumed["end"], whole["end"]) == set()


@needs_fork
@pytest.mark.parametrize("how", KILLED)
@pytest.mark.parametrize("kind", RUNS)
def test_a_killed_run_goes_on_in_another_process_with_the_same_bits(kind, how, reports):
    require_exact(*reports, kind, how)


@needs_fork
def test_what_is_compared_is_all_that_a_run_consists_of(reports):
    of_all = {"random state", "random numbers", "on the device", "next batches"}
    one, two = (reports[0][kind]["end"] for kind in ("one optimizer", "two optimizers"))
    assert one.keys() == of_all | {"model", "opt", "ema", "schedule"}
    assert two.keys() == of_all | {"G", "D", "opt_G", "opt_D", "ema", "own", "own numbers"}
    assert one["ema"]["n_averaged"] != two["G"]["1.num_batches_tracked"] and one["schedule"]["last_epoch"] == "200"
    assert one["opt"]["state"]["0"].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert two["opt_D"]["state"]["0"].keys() == {"momentum_buffer"} and "1.running_mean" in two["G"]


@needs_fork
@pytest.mark.parametrize("kind", RUNS)
def test_a_run_that_is_over_gives_its_end_and_makes_no_step(kind, reports):
    over = reports[1][f"{kind}, whole"]
    assert over["logs"] == {} and differences(over["end"], reports[0][kind]["end"]) == set()


@needs_fork
@pytest.mark.parametrize("kind, part, seen_in", [
    ("one optimizer", "model", {"model", "opt", "ema"}), ("one optimizer", "opt", {"model", "opt", "ema"}),
    ("one optimizer", "ema", {"ema"}), ("one optimizer", "schedule", {"model", "opt", "ema", "schedule"}),
    ("one optimizer", "batches", {"model", "opt", "ema", "next batches"}),
    ("one optimizer", "random state", {"model", "opt", "ema", "random state", "random numbers", "on the device"}),
    ("two optimizers", "own", {"G", "D", "opt_G", "opt_D", "ema", "own", "own numbers"}),
    *[("two optimizers", part, {"G", "D", "opt_G", "opt_D", "ema"}) for part in ("opt_G", "opt_D")],
])
def test_without_any_part_of_the_saved_state_the_end_is_another(kind, part, seen_in, reports):
    # Else the comparison above could pass whatever was saved.
    whole, other = reports[0][kind]["end"], reports[1][f"{kind} without {part}"]
    assert differences(whole, other) >= seen_in


@needs_fork
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_killed_run_on_a_gpu_goes_on_with_the_same_bits(tmp_path):
    reports = worker("begin", tmp_path, "cuda"), worker("resume", tmp_path, "cuda")
    for kind in RUNS:
        for how in KILLED:
            require_exact(*reports, kind, how)
    assert "on the device" in differences(reports[0]["one optimizer"]["end"],
                                          reports[1]["one optimizer without random state"])


def test_batches_under_a_name_that_is_taken_are_refused(tmp_path):
    # Else their order would not be saved, and nobody would see it.
    data, other = (resume_worker.batches(torch.zeros(9, 2), 3, seed) for seed in (0, 1))
    step = lambda batches: {"loss": next(batches).mean()}
    with pytest.raises(ValueError, match=r"something else named 'batches'.*another name"):
        list(train(step, data, 2, state={"batches": other}, save_to=tmp_path / "run"))
    assert len(list(train(step, data, 2, state={"batches": data}, save_to=tmp_path / "run"))) == 2


def test_a_run_s_seconds_are_the_sum_over_its_pieces(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    def piece(began_at, until):
        clock[0] = began_at
        net = nn.Linear(1, 1)
        for i, _ in train(lambda batches: {}, iter([]), 9, state={"net": net}, save_to=tmp_path / "run", save_every=2):
            clock[0] += 10
            if i == until:
                return
    piece(1000, until=5)                                              # saved at 4; the fifth is lost
    assert seconds_of(tmp_path / "run") == 40
    piece(7, until=7)
    assert seconds_of(tmp_path / "run") == 60
    piece(-3, until=None)
    assert seconds_of(tmp_path / "run") == 90
    save(tmp_path / "by hand", 3, net=nn.Linear(1, 1))
    assert seconds_of(tmp_path / "by hand") == 0


# --- writes that are killed, and that fail ---------------------------------------------------------------------------

@needs_fork
def test_a_process_killed_at_any_moment_of_a_save_leaves_the_old_file_or_the_new(tmp_path):
    report = worker("write", tmp_path)
    kills, places = report["found"][:-len(PLACES)], report["found"][-len(PLACES):]
    assert len(kills) == 20 and {number for _, number, _, _ in kills} <= {1, 2}
    assert {ended for _, _, ended, _ in report["found"]} == {-9}
    # The old file, unless the new one already has its name; beside it lies one temporary at most, the last kill's.
    assert places == [[place, 3 if place == "after it has the name" else 1, -9, 1 if "after it" in place else 2]
                      for place in PLACES]
    assert max(files for _, _, _, files in kills) <= 2 and report["left"] == ["run"]


def dead_process():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_write_removes_what_dead_processes_left_of_this_file_and_nothing_else(tmp_path):
    dead, alive = dead_process(), os.getpid()
    gone = [f".run.{dead}-01234567.tmp", f".run.{dead}-89abcdef.tmp", f".run.{alive}-00000000.tmp"]
    kept = [f".run.{alive}-01234567.tmp", f".run.1.{dead}-01234567.tmp", f".other.{dead}-01234567.tmp", "run.1",
            f"run.{dead}-01234567.tmp", f".run.{dead}-01234567.tmp.bak", f".runs.{dead}-01234567.tmp", ".run.tmp"]
    for name in gone + kept:
        (tmp_path / name).write_bytes(b"x")
    an_hour_ago = time.time() - 3601
    os.utime(tmp_path / gone[-1], (an_hour_ago, an_hour_ago))         # the number was given to another process since
    write_atomically(tmp_path / "run", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "run"])
    write_atomically(tmp_path / "ot.er", b"new")                      # a name is no pattern
    assert (tmp_path / f".other.{dead}-01234567.tmp").exists()


def test_what_cannot_be_removed_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / f".run.{dead_process()}-01234567.tmp").mkdir()        # on Windows, a file that is open
    write_atomically(tmp_path / "run", b"new")
    assert (tmp_path / "run").read_bytes() == b"new"


def test_who_lives(monkeypatch):
    assert saving._lives(os.getpid())
    if os.name == "posix":
        assert not saving._lives(dead_process())
        def others(*arguments):
            raise PermissionError
        monkeypatch.setattr(os, "kill", others)
        assert saving._lives(1)
    ended = []                                                        # which is what os.kill does on Windows
    monkeypatch.setattr(os, "kill", lambda *arguments: ended.append(arguments))
    monkeypatch.setattr(os, "name", "nt")
    alive = saving._lives(1)
    monkeypatch.undo()                                                # before pytest asks which system this is
    assert alive and ended == []


def test_several_writers_of_one_file_leave_one_s_content(tmp_path):
    contents, errors = [bytes([k]) * 100_000 for k in range(4)], []
    def write(content):
        try:
            for _ in range(25):
                write_atomically(tmp_path / "run", content)
                assert (tmp_path / "run").read_bytes() in contents
        except BaseException as error:
            errors.append(error)
    threads = [Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("fails_in", ["replace", "fsync", "write", "open"])
def test_a_save_that_fails_leaves_the_old_file_and_no_other(fails_in, tmp_path, monkeypatch):
    path, net = tmp_path / "run", nn.Linear(100, 100)
    save(path, 1, net=net)
    before = path.read_bytes()
    nn.init.ones_(net.weight)
    def full(*arguments):
        raise OSError(28, "No space left on device")
    class Full:
        def __init__(self, *arguments): self.file = open(*arguments)  # noqa: SIM115
        def __enter__(self): return self
        def __exit__(self, *arguments): self.file.close()
        def write(self, content):
            self.file.write(content[:10_000])
            assert len(os.listdir(tmp_path)) == 2
            full()
    if fails_in in ("write", "open"):
        monkeypatch.setattr(saving, "open", Full if fails_in == "write" else full, raising=False)
    else:
        monkeypatch.setattr(saving.os, fails_in, full)
    with pytest.raises(OSError, match=r"run was not written, and is as it was before \(.*No space left") as raised:
        save(path, 2, net=net)
    monkeypatch.undo()
    assert raised.value.errno == 28
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run"]


def test_a_write_that_is_interrupted_leaves_nothing_of_it(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt
    write_atomically(tmp_path / "run", b"old")
    monkeypatch.setattr(saving.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "run", b"new")
    monkeypatch.undo()
    assert (tmp_path / "run").read_bytes() == b"old" and os.listdir(tmp_path) == ["run"]


def test_write_atomically_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(str(path), b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced elsewhere")
def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    def synced(number):
        what = os.fstat(number)
        done.append("folder" if stat.S_ISDIR(what.st_mode) else f"{what.st_size} bytes")
        fsync(number)
    monkeypatch.setattr(saving.os, "fsync", synced)
    monkeypatch.setattr(saving.os, "replace", lambda *names: done.append("name") or replace(*names))
    handles = len(os.listdir("/dev/fd"))
    write_atomically(tmp_path / "run", b"12345")
    assert len(os.listdir("/dev/fd")) == handles
    assert done == ["5 bytes", "name", "folder"]


# --- nothing is unpickled --------------------------------------------------------------------------------------------

def build_little():
    return nn.Linear(3, 2)


def fit_little(model, device=None, save_to=None, *, steps=2, seed=0):
    opt = adam(model)
    def step(batches):
        loss = model(torch.ones(1, 3)).square().mean()
        update(opt, loss)
        return {"loss": loss.detach()}
    for _ in train(step, iter([]), steps, state={"model": model, "opt": opt}, save_to=save_to):
        pass


LITTLE = Model("a little network", build_little, fit_little, lambda model: {}, lambda: torch.ones(1, 3), {})


@pytest.fixture
def little(tmp_path, monkeypatch):
    """A recipe, and a folder for its product."""
    monkeypatch.setattr(store, "DATA", tmp_path / "data")
    monkeypatch.setitem(recipes.MODELS, "little", LITTLE)
    return tmp_path / "data" / "checkpoints" / "little.safetensors"


@pytest.fixture
def no_pickle(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("pickle was used")
    adam(build_little())                                              # the first one imports what subclasses Pickler
    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(torch, "save", never)


def test_a_saved_run_is_safetensors_and_nothing_in_it_is_pickled(tmp_path, no_pickle):
    with pytest.raises(AssertionError, match="pickle was used"):
        torch.load("anything")
    net, path = build_little(), tmp_path / "run"
    save(path, 3, net=net, opt=adam(net), own=torch.Generator())
    assert resume(path, net=net, opt=adam(net), own=torch.Generator()) == 3
    with safe_open(path, framework="numpy") as file:                  # another reader than torch's
        assert (file.get_tensor("net.weight") == net.weight.detach().numpy()).all()
        assert file.metadata()["step"] == "3" and json.loads(file.metadata()["tree"]).keys() >= {"net", "opt"}


def test_recipes_pickle_nothing(little, no_pickle):
    recipes.train("little", "cpu")
    assert torch.isfinite(recipes.load("little").weight).all()
    for name in ("ae-digits-2", "digit-classifier"):                  # and so do those that the course stores
        store.load_model(name, recipes.MODELS[name], ROOT / "data" / "checkpoints")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def crafted(path, kind, trap):
    net = build_little()
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(trap)))
    elif kind == "torch.save":
        torch.save({"weight": net.weight, "trap": Trap(trap)}, path)
    else:
        code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
        parameter = {"dict": [["params", {"list": [{"value": 0}]}], ["lr", {"value": code}]]}
        tree = {"list": [code], "number": {"dict": 5}, "no tensor": {"tensor": code},
                "rate": {"dict": [["state", {"dict": []}], ["param_groups", {"list": [parameter]}]]}}
        meta = {} if kind == "no header" else {"step": "1", "tree": code if kind == "no JSON" else json.dumps(
            {"net": {"code": code}, "opt": tree.get(kind, {"code": code}), "random state": {"tensor": "random"}})}
        save_file({"random": torch.get_rng_state(), **net.state_dict()}, path, {"course_lib": "run", **meta})


@pytest.mark.parametrize("kind", ["pickle", "torch.save", "no header", "no JSON", "list", "number", "no tensor", "code",
                                  "rate"])
def test_no_file_can_run_code(kind, tmp_path, little):
    path, trap, net = tmp_path / "run", tmp_path / "trap", build_little()
    crafted(path, kind, trap)
    before = net.weight.detach().clone()
    with pytest.raises(ValueError, match=r"whole safetensors|not as save\(\) writes it|does not fit 'net'"):
        resume(path, net=net, opt=adam(net))
    assert torch.equal(net.weight, before) and not trap.exists()
    # The same bytes as a recipe's weights, with a card that vouches for them.
    recipes.train("little", "cpu")
    little.write_bytes(path.read_bytes())
    vouched = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    card = little.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | vouched))
    with pytest.raises((ValueError, SafetensorError), match=r"header|do not fit"):
        recipes.load("little")
    assert not trap.exists()
    if kind == "torch.save":
        torch.load(path, weights_only=False)
        assert trap.exists()                                          # it is a trap


def test_a_random_state_that_does_not_fit_changes_nothing(tmp_path, monkeypatch):
    path, net = tmp_path / "run", build_little()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_rng_state", lambda: torch.zeros(3, dtype=torch.uint8))
        save(path, 1, net=build_little())
    before, random_state = net.weight.detach().clone(), torch.get_rng_state()
    with pytest.raises(ValueError, match="does not fit 'random state'"):
        resume(path, net=net)
    assert torch.equal(net.weight, before) and torch.equal(torch.get_rng_state(), random_state)


def test_processes_that_share_a_file_are_refused(tmp_path, monkeypatch):
    # Else both would go on with the data order and the random state of the one that saved last.
    path, net = tmp_path / "run", build_little()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    save(path, 7, net=net)
    assert resume(path, net=net) == 7
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    with pytest.raises(ValueError, match=r"saved by process 1, and this is process 0.*its own file"):
        resume(path, net=net)
    monkeypatch.undo()
    assert resume(path, net=net) == 7                                 # to be looked at, by one process


@pytest.mark.parametrize("gpus", [0, 1, 2, 3])
def test_a_run_saved_beside_two_gpus_goes_on_beside_another_number(gpus, tmp_path, monkeypatch):
    states, was_set = [torch.full((16,), k, dtype=torch.uint8) for k in range(2)], {}
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        patched.setattr(torch.cuda, "get_rng_state_all", lambda: states)
        save(tmp_path / "run", 4, net=build_little())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, gpu: was_set.update({gpu: state}))
    assert resume(tmp_path / "run", net=build_little()) == 4
    assert was_set.keys() == set(range(min(gpus, 2))) and all(torch.equal(states[k], v) for k, v in was_set.items())
