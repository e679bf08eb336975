"""What test_resume.py runs in processes of their own, to kill them: each command prints a report as JSON.

    python resume_worker.py begin FOLDER DEVICE     whole runs, and runs that are killed
    python resume_worker.py resume FOLDER DEVICE    the latter to their end; also with parts of their state withheld
    python resume_worker.py write FOLDER            processes that write one file again and again, and are killed

``begin`` and ``write`` fork for each piece before torch has computed anything: a process of its own that does not
import torch anew. ``resume`` is another interpreter.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from itertools import count, islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.autoencoders import ae_step, noise_of_any_level
from course_lib.datasets import batches
from course_lib.networks import conv_autoencoder, mlp_autoencoder
from course_lib.training import EMA, adam, resume, save, saving, train, update

STEPS, SAVE_EVERY = 200, 50
KILLED = {"at the save": 101, "between saves": 137}  # both have the save of step 100, and not this step


# --- runs that are killed and resumed --------------------------------------------------------------------------------

def autoencoder(seed, device, memory_format=None):
    """One optimizer: dropout, noise from torch's random state, a schedule, an EMA."""
    torch.manual_seed(seed)
    net = (mlp_autoencoder(4, (16, 8), (1, 8, 8)) if memory_format is None else
           conv_autoencoder(8, channels=4, image=(1, 8, 8)))
    model = nn.Sequential(nn.Dropout(0.1), net).to(device)
    opt, ema = adam(model, 1e-2), EMA(model, 0.99)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, STEPS)
    def after():
        ema.update(model)
        schedule.step()
    step = partial(ae_step, model=model, opt=opt, spoil=noise_of_any_level)
    return step, after, dict(model=model, opt=opt, ema=ema, schedule=schedule), memory_format


def gan_step(batches, G, D, opt_G, opt_D, noise, k=2):                  # Goodfellow et al. 2014, Algorithm 1
    for _ in range(k):
        x = next(batches); z = noise(len(x))
        loss_D = F.softplus(-D(x)).mean() + F.softplus(D(G(z).detach())).mean()
        update(opt_D, loss_D)
    loss_G = F.softplus(-D(G(noise(len(x))))).mean()
    update(opt_G, loss_G)
    return {"D": loss_D.detach(), "G": loss_G.detach()}


def gan(seed, device):
    """Two optimizers: batch norm in G, dropout in D, noise from a generator of its own, an EMA of G."""
    torch.manual_seed(seed)
    G = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64)).to(device)
    D = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(16, 1)).to(device)
    opt_G, opt_D = adam(G, 1e-3, betas=(0.5, 0.9)), torch.optim.SGD(D.parameters(), lr=0.02, momentum=0.5)
    ema, own = EMA(G, 0.99), torch.Generator(device).manual_seed(seed)
    step = partial(gan_step, G=G, D=D, opt_G=opt_G, opt_D=opt_D,
                   noise=lambda n: torch.randn(n, 4, generator=own, device=device))
    return step, lambda: ema.update(G), dict(G=G, D=D, opt_G=opt_G, opt_D=opt_D, ema=ema, own=own), None


RUNS = {"one optimizer": autoencoder, "two optimizers": gan,
        "channels last": partial(autoencoder, memory_format=torch.channels_last)}


WITHHELD = {"one optimizer": ("model", "opt", "ema", "schedule", "batches"),
            "two optimizers": ("opt_G", "opt_D", "own")}


class Withheld:
    """A part of a run that is not set when the run is resumed."""

    def __init__(self, thing):
        self.thing = thing

    def state_dict(self):
        return saving._state_of(self.thing)

    def load_state_dict(self, state):
        pass


def run(kind, path, device, seed, killed_in=None, withheld=None):
    """A run to its end, or to the step in which it is killed: each step's log, and all that its end state is."""
    step, after, state, memory_format = RUNS[kind](seed, device)
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    data = batches((255 * x).to(torch.uint8).to(device), 16, seed)  # 100 / 16: epochs end inside a batch
    calls = count(1)
    if withheld == "batches":
        data.load_state_dict = lambda state: None
    def mortal_step(batches):
        if killed_in is not None and next(calls) == killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batches)
    logs = {}
    saved = {name: Withheld(thing) if name == withheld else thing for name, thing in state.items()}
    for i, log in train(mortal_step, data, STEPS, state=saved, save_to=path, save_every=SAVE_EVERY,
                        memory_format=memory_format):
        after()
        logs[i] = bits(log)
    end = {name: bits(saving._state_of(thing)) for name, thing in state.items()}
    end |= {"random state": bits(torch.get_rng_state()), "random numbers": bits([torch.randn(5), torch.rand(3)]),
            "on the device": bits(torch.randn(5, device=device)), "next batches": bits(list(islice(data, 10)))}
    if "own" in state:
        end["own numbers"] = bits(torch.randn(5, generator=state["own"], device=device))
    return {"logs": logs, "end": end}


def bits(value):
    """A nest of tensors and plain values as text: of a tensor its type, its strides and a hash of its bytes."""
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {list(value.shape)} {value.stride()} {hashlib.sha256(content).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): bits(v) for key, v in value.items()}
    return [bits(v) for v in value] if isinstance(value, list | tuple) else repr(value)


def in_a_process(work, kill_after=None):
    """work() in a process of its own, which the parent kills after so many seconds, if any: what it gave back, or the
    signal that ended it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                json.dump(work(), pipe)
            os._exit(0)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    os.close(write)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(text) if status == 0 else os.waitstatus_to_exitcode(status)


def begin(folder, device):
    adam(nn.Linear(1, 1))  # the first optimizer imports half of torch: once, before the forks
    return {kind: in_a_process(partial(run, kind, folder / f"{kind}, whole", device, seed=0)) for kind in RUNS} | {
        f"{kind}, {how}": in_a_process(partial(run, kind, folder / f"{kind}, {how}", device, seed=0, killed_in=step))
        for kind in RUNS for how, step in KILLED.items()}


def go_on(folder, device):
    def resumed(kind, how, withheld=None):
        torch.manual_seed(999); torch.rand(17)  # begun anew it would have other weights, another order, other noise
        shutil.copy(folder / f"{kind}, {how}", folder / "copy")
        return run(kind, folder / "copy", device, seed=1, withheld=withheld)
    report = {f"{kind}, {how}": resumed(kind, how) for kind in RUNS for how in ("whole", *KILLED)}
    report |= {f"{kind} without {part}": resumed(kind, "at the save", part)["end"]
               for kind, parts in WITHHELD.items() for part in parts}
    torch.set_rng_state = torch.cuda.set_rng_state = lambda *state: None
    report["one optimizer without random state"] = resumed("one optimizer", "at the save")["end"]
    return report


# --- writes that are killed ------------------------------------------------------------------------------------------

MEGABYTES = 20


class Filled:
    """A state that says which one it is in each of its numbers."""

    def __init__(self, number=0.0):
        self.number = number

    def state_dict(self):
        return {"first": self.number, "all": torch.full((MEGABYTES * 250_000,), self.number), "last": self.number}

    def load_state_dict(self, state):
        assert (state["all"] == state["first"]).all() and state["first"] == state["last"], "parts of two states"
        self.number = state["first"]


def save_for_ever(path):
    for i in count():
        save(path, i, filled=Filled(float(i % 2 + 1)))


def save_and_be_killed(path, where):
    """One save of the state 3, killed at a chosen place in it."""
    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)
    if where == "after half the bytes":
        class Half:
            def __init__(self, *args): self.file = open(*args)  # noqa: SIM115
            def __enter__(self): return self
            def __exit__(self, *args): pass
            def write(self, content):
                self.file.write(content[:len(content) // 2])
                self.file.flush()
                die()
        saving.open = Half
    elif where == "before the bytes are on the disk":
        saving.os.fsync = die
    elif where == "before it has the name":
        saving.os.replace = die
    elif where == "after it has the name":
        replace = saving.os.replace
        saving.os.replace = lambda *names: die(replace(*names))
    save(path, 1, filled=Filled(3.0))


PLACES = ("after half the bytes", "before the bytes are on the disk", "before it has the name",
          "after it has the name")


def write(folder, kills=20):
    """After each kill: the number of the state that the file holds, how the process ended, how many files lie there."""
    path, found, moments = folder / "run", [], random.Random(0)
    save(path, 0, filled=Filled(1.0))
    for k in range(kills):
        work = partial(save_for_ever, path)
        ended = in_a_process(work, kill_after=0.02 + 0.2 * moments.random())
        found.append([f"kill {k}", number_in(path), ended, len(os.listdir(folder))])
    for place in PLACES:
        save(path, 0, filled=Filled(1.0))
        ended = in_a_process(partial(save_and_be_killed, path, place))
        found.append([place, number_in(path), ended, len(os.listdir(folder))])
    save(path, 0, filled=Filled(1.0))
    return {"found": found, "left": os.listdir(folder)}


def number_in(path):
    filled = Filled()
    resume(path, filled=filled)
    return filled.number


if __name__ == "__main__":
    command, folder, *device = sys.argv[1:]
    if device == ["cuda"]:
        torch.use_deterministic_algorithms(True)
    print(json.dumps({"begin": begin, "resume": go_on, "write": write}[command](Path(folder), *device)))
