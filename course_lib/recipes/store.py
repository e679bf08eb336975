"""How a recipe's product is kept: weights with a card and a probe, or a table; made, listed and loaded by name."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from course_lib import __version__
from course_lib.checks import require
from course_lib.training import best_device, seconds_of, write_atomically

DATA = Path(__file__).resolve().parents[2] / "data"
PROBE_NUMBERS = 64
PROBE_TOLERANCE = 5e-3  # of the largest output: kernels of other machines differ by 1e-6, TF32 by up to 1e-3


class Model(NamedTuple):
    """How a trained model of the course is made."""

    about: str                          # one line
    build: Callable[[], nn.Module]      # the network, untrained
    fit: Callable[..., None]            # fit(model, device=…, save_to=…, **settings): trains it in place
    figures: Callable[[nn.Module], dict[str, float]]   # what it reaches, measured on its stored weights
    probe: Callable[[], Tensor | tuple[Tensor, ...]]   # fixed inputs
    data: dict[str, str]                # the files it learns from and is measured on: name → SHA-256


class Table(NamedTuple):
    """How a table over variants and seeds is made."""

    about: str
    rows: Callable[..., list[dict]]     # rows(device=…, **settings)
    data: dict[str, str]                # the files it is made from: name → SHA-256


def settings_of(make: Callable) -> dict:
    """The arguments that a recipe's function will be called with: its keywords' values, but for device and save_to."""
    return {name: plain(p.default) for name, p in inspect.signature(make).parameters.items()
            if p.default is not p.empty and name not in ("device", "save_to")}


def plain(value):
    """What a card says of an argument: functions by their names, with what they are given."""
    if isinstance(value, partial):
        arguments = {"arguments": [plain(v) for v in value.args]} if value.args else {}
        return {"function": value.func.__name__} | arguments | {k: plain(v) for k, v in value.keywords.items()}
    if callable(value):
        return value.__name__
    return list(value) if isinstance(value, tuple) else value


def train_model(name: str, recipe: Model, folder: Path, device=None, save_to=None) -> dict:
    """Trains a model by its recipe, writes weights (half precision) and card into ``folder``; returns the card."""
    device = _chosen(device)
    settings = settings_of(recipe.fit)
    torch.manual_seed(settings["seed"])
    model = recipe.build().to(device)
    resumed = save_to is not None and Path(save_to).exists()
    start = time.perf_counter() - (seconds_of(save_to) if resumed else 0.0)
    recipe.fit(model, device=device, save_to=save_to)
    seconds = time.perf_counter() - start
    model.half().float().eval()  # what is measured is what is stored
    for key, value in model.state_dict().items():
        require(bool(torch.isfinite(value).all()), f"{name}: {key} is not finite in half precision: nothing is stored.")
    content = safetensors_bytes({k: (v.half() if v.is_floating_point() else v).cpu().contiguous()
                                 for k, v in model.state_dict().items()})
    card = {"recipe": name, "about": recipe.about, "made by": f"python -m course_lib train {name}",
            "network": plain(recipe.build), "settings": settings, "data": recipe.data,
            **_circumstances(device, seconds),
            **({"resumed": "seconds are the sum over its pieces, each up to its last save"} if resumed else {}),
            "figures": _rounded(recipe.figures(model)),
            "parameters": sum(p.numel() for p in model.parameters()), "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "probe": {"inputs": recipe.probe.__doc__, "outputs": _probe(model, recipe), "tolerance": PROBE_TOLERANCE}}
    # Stopped between the two, the weights do not fit the card: load_model says so, and the unfinished run, which is
    # still there, makes both in a moment when it is started again.
    write_atomically(folder / f"{name}.safetensors", content)
    write_atomically(folder / f"{name}.json", _json(card))
    return card


def unfinished_run(name: str, recipe: Model, device=None) -> Path:
    """The file that a run is kept in until it is over: one with other settings, data, torch or device has another."""
    what = {"network": plain(recipe.build), "settings": settings_of(recipe.fit), "data": recipe.data,
            "torch": torch.__version__, "device": _name_of(_chosen(device))}
    return DATA.parent / "build" / "runs" / f"{name}-{hashlib.sha256(_json(what)).hexdigest()[:8]}.safetensors"


def run_table(name: str, recipe: Table, folder: Path, device=None) -> dict:
    """Makes a table by its recipe and writes it into ``folder``; returns it."""
    device = _chosen(device)
    start = time.perf_counter()
    rows = recipe.rows(device=device)
    seconds = time.perf_counter() - start
    table = {"recipe": name, "about": recipe.about, "made by": f"python -m course_lib run {name}",
             "settings": settings_of(recipe.rows), "data": recipe.data, **_circumstances(device, seconds),
             "rows": [_rounded(row) for row in rows]}
    write_atomically(folder / f"{name}.json", _json(table))
    return table


def load_model(name: str, recipe: Model, folder: Path, device=None) -> nn.Module:
    """The trained model, in float32 and eval mode, its file and its outputs checked against the card."""
    card = read_card(name, folder)
    path = folder / f"{name}.safetensors"
    require(path.exists(), f"{path} is missing: restore it (git checkout), or make it: {card['made by']}")
    content = path.read_bytes()
    require(hashlib.sha256(content).hexdigest() == card["sha256"],
            f"{path} is not the file that its card describes (SHA-256 differs): restore both (git checkout), or make "
            f"them anew: {card['made by']}")
    model = recipe.build()
    weights = {k: v.float() if v.is_floating_point() else v for k, v in load_safetensors(content).items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{name}'s weights do not fit its network ({error}): the network's code has changed since; "
                         f"make it anew: {card['made by']}") from error
    model = model.to(device or "cpu").eval()
    expected, got = torch.tensor(card["probe"]["outputs"]), torch.tensor(_probe(model, recipe))
    same = got.shape == expected.shape
    worst = ((got - expected).abs().max() / expected.abs().max()).item() if same else float("inf")
    require(worst <= card["probe"]["tolerance"],
            f"{name} gives other outputs than when it was made (off by {worst:.1e} of the largest; "
            f"{card['probe']['tolerance']:.0e} allowed): the network's code has changed since; make it anew: "
            f"{card['made by']}")
    return model


def read_card(name: str, folder: Path) -> dict:
    path = folder / f"{name}.json"
    if not path.exists():
        verb = "train" if folder.name == "checkpoints" else "run"
        raise FileNotFoundError(f"{path} is missing: restore it (git checkout), or make it: "
                                f"python -m course_lib {verb} {name}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): restore it (git checkout).") from error


@torch.no_grad()
def _probe(model: nn.Module, recipe: Model) -> list[float]:
    device = next(model.parameters()).device
    inputs = recipe.probe()
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    outputs = model(*(x.to(device) for x in inputs)).flatten().cpu()
    return [round(v, 6) for v in outputs[:: max(1, len(outputs) // PROBE_NUMBERS)][:PROBE_NUMBERS].tolist()]


def _chosen(device) -> torch.device:
    return torch.device(device) if device is not None else best_device()


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, " + (
        "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads")


def _circumstances(device: torch.device, seconds: float) -> dict:
    return {"device": _name_of(device), "seconds": round(seconds, 1),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "course_lib": __version__}}


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def mean_over_seeds(rows: list[dict], by: Sequence[str]) -> list[dict]:
    """A table's rows with the same values in the columns ``by`` as one row: the mean of each column of numbers."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [dict(zip(by, values, strict=True)) |
            {key: mean(row[key] for row in group) for key in group[0]
             if key not in (*by, "seed") and isinstance(group[0][key], int | float)}
            for values, group in groups.items()]
