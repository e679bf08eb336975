"""Saving a run and resuming it with the same bits: one safetensors file, written atomically, nothing pickled."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import secrets
import time
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from course_lib.checks import require

RANDOM, RANDOM_ON_GPUS = "random state", "random state of the GPUs"  # their names in a saved run
FORGOTTEN_AFTER = 3600  # seconds after which a temporary file is nobody's, whoever has its process number now


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
    write_run(path, step, state)


def write_run(path: str | os.PathLike, step: int, state: dict, seconds: float = 0.0) -> None:
    """``save``, with the seconds that the run took up to here."""
    require_state(state)
    tensors: dict[str, Tensor] = {}
    for name, thing in state.items():
        if isinstance(thing, nn.Module):
            for key, weight in thing.state_dict().items():
                if not bool(torch.isfinite(weight).all()):
                    raise FloatingPointError(f"{name}.{key} is not finite after step {step}: {path} was left as it is.")
    tree = {name: _flatten(_state_of(thing), name, tensors) for name, thing in (state | _random_state()).items()}
    content = safetensors_bytes(tensors, {"course_lib": "run", "step": str(step), "seconds": repr(seconds),
                                          "rank": str(_rank() or 0), "tree": json.dumps(tree)})
    write_atomically(path, content)


def resume(path: str | os.PathLike, **state) -> int:
    """Sets everything in ``state`` (the same names as in ``save``) and torch's random state; returns the step.

    Raises FileNotFoundError where there is no file; ValueError where it is broken, is not a saved run, holds other
    names than asked for, does not fit (other shapes, another set), or is of another process of a run in several. Then
    all is as it was before.
    """
    require_state(state)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no saved run at {path}: save(path, step, …) or train(…, save_to=path) "
                                "makes one.")
    meta, tensors = _read(path)
    rank, saved_by = _rank(), meta.get("rank", "0")
    require(rank is None or str(rank) == saved_by,
            f"{path} was saved by process {saved_by}, and this is process {rank}: each has its own data order and "
            "random state, so give each its own file, as in f'run-{rank}.safetensors'.")
    try:
        step = int(meta["step"])
        loaded = {name: _unflatten(branch, tensors) for name, branch in json.loads(meta["tree"]).items()}
        random_state, on_gpus = loaded.pop(RANDOM), loaded.pop(RANDOM_ON_GPUS, [])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not as save() writes it ({error!r}): delete it and start again, or restore "
                         "it.") from error
    require(loaded.keys() == state.keys(),
            f"{path} holds {sorted(loaded)}, but {sorted(state)} was asked for: give the same names.")
    before = {name: copy.deepcopy(_state_of(thing)) for name, thing in state.items()}
    try:
        for name, thing in state.items():
            _set_state(thing, loaded[name])
        name = RANDOM
        torch.set_rng_state(random_state)
    except Exception as error:  # whatever a load_state_dict raises: what was set is taken back
        for other, old in before.items():
            _set_state(state[other], old)
        raise ValueError(f"{path} does not fit {name!r} ({error}): it was saved with other shapes or settings; "
                         "give the same ones, or delete the file to start anew.") from error
    if torch.cuda.is_available():
        for gpu, gpu_state in enumerate(on_gpus[:torch.cuda.device_count()]):  # there were more, or none, perhaps
            torch.cuda.set_rng_state(gpu_state, gpu)
    return step


def seconds_of(path: str | os.PathLike) -> float:
    """The seconds that a run of ``train`` took up to its save, all pieces of it together. Raises as ``resume`` does."""
    return float(_read(path)[0].get("seconds", 0.0))


def _read(path: str | os.PathLike) -> tuple[dict[str, str], dict[str, Tensor]]:
    """A saved run's header and its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): delete it and start again, or restore "
                         "it.") from error
    require(meta.get("course_lib") == "run",
            f"{path} is a safetensors file, but not a saved run: load weights alone with safetensors.torch.load_file.")
    return meta, tensors


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file so that whoever looks, even after a crash, finds the old content or the new, never a part.

    A process killed while it writes leaves a hidden temporary file, which the next write of the same file removes.
    Raises OSError where the file cannot be written (a full disk, say): the old one stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")  # no two writers share one
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name is
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"{path} was not written, and is as it was before ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # and so is the name
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_leftovers(path: Path) -> None:
    """Removes the temporaries of this file whose process has ended; a process that lives may be writing its own."""
    of_this_file = re.compile(rf"\.{re.escape(path.name)}\.(\d{{1,9}})-[0-9a-f]{{8}}\.tmp")
    for temporary in path.parent.iterdir():
        if match := of_this_file.fullmatch(temporary.name):
            with contextlib.suppress(OSError):  # it is gone, or (on Windows) open
                if not _lives(int(match[1])) or time.time() - temporary.stat().st_mtime > FORGOTTEN_AFTER:
                    temporary.unlink()


def _lives(process: int) -> bool:
    """Whether a process runs on this machine; on Windows, where asking would end it, always True."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # no signal: only whether one could be sent
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _rank() -> int | None:
    """This process's number, where torch.distributed runs."""
    dist = torch.distributed
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else None


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
