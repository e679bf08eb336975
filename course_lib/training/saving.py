"""Saving a run and resuming it with the same bits: one safetensors file, written atomically, nothing pickled."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from course_lib.checks import require

RANDOM, RANDOM_ON_GPUS = "random state", "random state of the GPUs"  # their names in a saved run


def laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    """value, in p's order in memory: a fused optimizer walks through both as they lie, whatever their strides say."""
    same = value.layout != torch.strided or value.stride() == p.stride()
    return value if same else torch.empty_like(p, dtype=value.dtype).copy_(value)


def save(path: str | os.PathLike, step: int, **state) -> None:
    """Writes a run's state after ``step`` updates, with torch's random state, atomically.

    state: by name, anything with ``state_dict``, or a ``torch.Generator``. The file is one safetensors file (tensors as
    they are, everything else as JSON in its header; nothing is pickled). Killed at any moment, it leaves the old file
    or the new one. Raises FloatingPointError where a weight is NaN or infinite: the old file stays; ValueError where a
    thing has no ``state_dict``, or one that JSON cannot hold.
    """
    require_state(state)
    tensors: dict[str, Tensor] = {}
    for name, thing in state.items():
        if isinstance(thing, nn.Module):
            for key, weight in thing.state_dict().items():
                if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
                    raise FloatingPointError(f"{name}.{key} is not finite after step {step}: {path} was left as it is.")
    tree = {name: _flatten(_state_of(thing), name, tensors) for name, thing in (state | _random_state()).items()}
    content = safetensors_bytes(tensors, {"course_lib": "run", "step": str(step), "tree": json.dumps(tree)})
    write_atomically(path, content)


def resume(path: str | os.PathLike, **state) -> int:
    """Sets everything in ``state`` (the same names as in ``save``) and torch's random state; returns the step.

    Raises FileNotFoundError where there is no file; ValueError where it is broken, is not a saved run, holds other
    names than asked for, or does not fit (other shapes, another set). Then all is as it was before.
    """
    require_state(state)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no saved run at {path}: save(path, step, …) or train(…, save_to=path) "
                                "makes one.")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): delete it and start again, or restore "
                         "it.") from error
    require(meta.get("course_lib") == "run",
            f"{path} is a safetensors file, but not a saved run: load weights alone with safetensors.torch.load_file.")
    tree = json.loads(meta["tree"])
    names, wanted = set(tree) - {RANDOM, RANDOM_ON_GPUS}, set(state)
    require(names == wanted, f"{path} holds {sorted(names)}, but {sorted(wanted)} was asked for: give the same names.")
    loaded = {name: _unflatten(branch, tensors) for name, branch in tree.items()}
    before = {name: copy.deepcopy(_state_of(thing)) for name, thing in state.items()}
    for name, thing in state.items():
        try:
            _set_state(thing, loaded[name])
        except Exception as error:  # whatever a load_state_dict raises: what was set is taken back
            for other, old in before.items():
                _set_state(state[other], old)
            raise ValueError(f"{path} does not fit {name!r} ({error}): it was saved with other shapes or settings; "
                             "give the same ones, or delete the file to start anew.") from error
    torch.set_rng_state(loaded[RANDOM])
    if torch.cuda.is_available() and RANDOM_ON_GPUS in loaded:
        torch.cuda.set_rng_state_all(loaded[RANDOM_ON_GPUS])
    return int(meta["step"])


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file so that whoever looks, even after a crash, finds the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name is
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # and so is the name
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _random_state() -> dict:
    state = {RANDOM: torch.get_rng_state()}
    if torch.cuda.is_available():
        state[RANDOM_ON_GPUS] = torch.cuda.get_rng_state_all()
    return state


def require_state(state):
    for name, thing in state.items():
        known = hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")
        require(known or isinstance(thing, torch.Generator),
                f"{name} is a {type(thing).__name__}, which has no state_dict and load_state_dict; give modules, "
                "optimizers, schedules, batches or torch.Generators.")
        require(name not in (RANDOM, RANDOM_ON_GPUS), f"{name!r} is torch's own random state; take another name.")


def _set_state(thing, value):
    if isinstance(thing, torch.Generator):
        thing.set_state(value)
    else:
        thing.load_state_dict(value)
        lay_out_averages(thing)


def lay_out_averages(thing):
    """An optimizer's averages as its parameters lie in memory: a file keeps no strides, and see laid_out_as."""
    for p, averages in (thing.state if isinstance(thing, torch.optim.Optimizer) else {}).items():
        for name, value in averages.items():
            if isinstance(value, Tensor) and value.shape == p.shape:
                averages[name] = laid_out_as(p, value)


def _state_of(thing):
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    return thing.state_dict() if hasattr(thing, "state_dict") else thing


def _flatten(value, name: str, tensors: dict[str, Tensor]):
    """A nest of dicts, lists and tuples as JSON; its tensors go into ``tensors`` under the path that leads to them."""
    if isinstance(value, Tensor):
        while name in tensors:
            name += "'"  # the keys 1 and "1", or "a.b" and "b" under "a", lead to one path
        tensors[name] = value.detach().clone().contiguous()  # a copy: tied weights may not share memory in the file
        return {"tensor": name}
    if isinstance(value, dict):
        require(all(isinstance(key, str | int | float | None) for key in value),
                f"{name} has a key that is neither a string nor a number, which JSON cannot hold.")
        return {"dict": [[key, _flatten(v, f"{name}.{key}", tensors)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_flatten(v, f"{name}.{k}", tensors) for k, v in enumerate(value)]}
    require(value is None or isinstance(value, bool | int | float | str),
            f"{name} is a {type(value).__name__}; a saved state holds tensors, numbers, strings, dicts, lists and "
            "tuples.")
    return {"value": value}


def _unflatten(branch: dict, tensors: dict[str, Tensor]):
    (kind, value), = branch.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _unflatten(v, tensors) for key, v in value}
    if kind in ("list", "tuple"):
        items = [_unflatten(v, tensors) for v in value]
        return tuple(items) if kind == "tuple" else items
    return value
