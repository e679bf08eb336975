"""The update, the average of the weights, and the loop.

Nothing here knows a model. A model's algorithm is its *step* (see ``autoencoders.ae_step``); ``train`` runs it and
offers services only. Pictures, logs and the EMA's update are lines in the caller's own ``for``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from course_lib.checks import require
from course_lib.training.saving import laid_out_as, lay_out_averages, require_state, resume, seconds_of, write_run

CHECK_EVERY = 50  # steps between two looks at whether the logged values are finite: each look waits for the device


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def adam(module: nn.Module, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Adam over a module's parameters, in its fused form (one kernel for all of them). Kingma & Ba 2015."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=betas, fused=True)


def rmsprop(module: nn.Module, lr: float = 5e-5) -> torch.optim.RMSprop:
    """RMSProp over a module's parameters: each step divided by a running root mean square of the gradient, α = 0.99.

    Without momentum, which Arjovsky et al. 2017 found to make a clipped critic's training unstable. Hinton 2012.
    """
    return torch.optim.RMSprop(module.parameters(), lr=lr)


def full_precision(x: Tensor) -> Tensor:
    """bfloat16 and half as float32, all else as it is: where a step runs under autocast, a network's output before a
    KL, a likelihood or a log sigmoid is taken of it. Any shape → the same."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def update(opt: torch.optim.Optimizer, loss: Tensor) -> None:
    """One update: the gradient of ``loss``, for the parameters of ``opt`` and for nothing else, and a step of ``opt``.

    loss: a scalar that depends on at least one of the parameters. Parameters of other networks that the loss passed
    through get no ``.grad``, so nothing is left over for a later step; what a ``backward`` has left on the optimizer's
    own is dropped. Where torch.distributed is running, gradients are averaged over the processes first; a missing one
    counts as 0.
    Raises ValueError where the loss is no scalar or depends on none of the optimizer's parameters.
    """
    _apply(opt, _gradients(opt, loss))


def update_together(*updates: tuple[torch.optim.Optimizer, Tensor]) -> None:
    """Several updates from one forward: all gradients first, at the same weights, and only then every step.

    updates: pairs (optimizer, its loss). Each is what ``update`` does: a loss's gradient goes to its own optimizer's
    parameters and to nothing else, whatever other networks the loss passed through. One ``update`` after the other
    would not do: the first moves weights that the next one's backward pass still needs.
    Raises ValueError as ``update`` does; then no optimizer has moved.
    """
    require(len(updates) >= 1, "there is nothing to update; give pairs (optimizer, loss).")
    gradients = [_gradients(opt, loss, retain=i + 1 < len(updates)) for i, (opt, loss) in enumerate(updates)]
    for (opt, _), mine in zip(updates, gradients, strict=True):
        _apply(opt, mine)


def _parameters(opt: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in opt.param_groups for p in group["params"] if p.requires_grad]


def _gradients(opt: torch.optim.Optimizer, loss: Tensor, retain: bool = False) -> Sequence[Tensor | None]:
    require(loss.ndim == 0, f"the loss has shape {tuple(loss.shape)}; it must be a scalar: take its mean or sum.")
    parameters = _parameters(opt)
    gradients = (torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=retain)
                 if loss.requires_grad and parameters else [None] * len(parameters))
    require(any(g is not None for g in gradients),
            "the loss depends on none of this optimizer's parameters: is something detached, or is it the wrong "
            "optimizer?")
    return gradients


def _apply(opt: torch.optim.Optimizer, gradients: Sequence[Tensor | None]) -> None:
    parameters = _parameters(opt)
    gradients = _average_over_processes(parameters, gradients)
    opt.zero_grad(set_to_none=True)  # also of frozen parameters, which the optimizer would still move
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = None if g is None else laid_out_as(p, g)
    opt.step()
    opt.zero_grad(set_to_none=True)


def _average_over_processes(parameters: list[Tensor], gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized()):
        return gradients
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    flat = torch.cat([g.flatten() for g in gradients])  # one message, not one for each tensor; as long in each process
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    return [mean.view(g.shape).to(g.dtype)
            for g, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True)]


class EMA(AveragedModel):
    """An exponential moving average of a model's weights: w̄ ← d · w̄ + (1 − d) · w.

    ``ema.update(model)`` after each step; ``ema(x)`` or ``ema.module`` uses the averaged weights. The first update
    copies the weights; after n updates d = min(decay, (1 + n)/(10 + n)), so that a short run forgets its start too.
    Buffers (batch norm's statistics) are copied each time. Raises ValueError unless 0 <= decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999):
        require(0 <= decay < 1, f"decay is {decay}; it must be at least 0 and below 1, such as 0.999.")
        super().__init__(model)
        self.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        n = int(self.n_averaged)  # on the CPU, wherever the model is: AveragedModel's own update waits for the GPU
        d = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), 1 - d)
        for averaged, current in zip(self.module.buffers(), model.buffers(), strict=True):
            averaged.copy_(current)
        self.n_averaged += 1

    update_parameters = update  # AveragedModel's name for it


def train(step: Callable[[Iterator], dict[str, Tensor]], batches: Iterable, steps: int, *,
          state: dict | None = None, save_to: str | os.PathLike | None = None, save_every: int = 1_000,
          memory_format: torch.memory_format | None = None, progress: bool | None = None,
          ) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Runs ``log = step(batches)`` and yields ``(i, log)`` for i = 1 … steps, after the i-th update.

    step:     a model's algorithm with its networks and optimizers bound (``partial(ae_step, model=…, opt=…)``).
    batches:  an endless iterator, such as ``datasets.batches(x, 256)``.
    state:    what a run consists of, by name: ``dict(model=model, opt=opt, ema=ema)``. Anything with ``state_dict``
              and ``load_state_dict``, or a ``torch.Generator``. The batches' order and torch's random state go along;
              batches without a ``state_dict`` begin anew in a run that is resumed, so let them draw from these.
    save_to:  a file. Where it exists, the run goes on from it, with the same bits as if it had never stopped (same
              machine, threads and versions); every ``save_every`` steps and at the end it is written, atomically.
              Where torch.distributed is running, each process needs a file of its own.
    memory_format: ``torch.channels_last`` turns the modules in ``state`` and every batch of images.
    progress: a bar for runs that take more than two seconds; by default where a person is watching.

    Raises FloatingPointError at the first NaN or infinity, naming step and term (looked for every 50 steps and before
    each save, so that the last good save stays). Raises ValueError for steps or save_every below 1, for ``save_to`` or
    ``memory_format`` without ``state``, and for a save that does not fit or is of more steps than asked for.
    """
    require(steps >= 1 and save_every >= 1,
            f"steps is {steps} and save_every is {save_every}; both must be at least 1.")
    require(state is not None or (save_to is None and memory_format is None),
            "save_to and memory_format need state: the modules and optimizers by name, as in "
            "state=dict(model=model, opt=opt).")
    require_state(state or {})
    return _train(step, batches, steps, dict(state or {}), save_to, save_every, memory_format, progress)


def _train(step, batches, steps, state, save_to, save_every, memory_format, progress):
    batches = iter(batches)
    if hasattr(batches, "load_state_dict"):
        require(state.setdefault("batches", batches) is batches,
                "state has something else named 'batches' than the batches given, whose order is kept under that name: "
                "take another name.")
    if memory_format is not None:
        for module in [m for m in state.values() if isinstance(m, nn.Module)]:
            module.to(memory_format=memory_format)
        for thing in state.values():
            lay_out_averages(thing)
        batches = _formatted(batches, memory_format)
    start, began = 0, time.perf_counter()
    if save_to is not None and Path(save_to).exists():
        start, began = resume(save_to, **state), began - seconds_of(save_to)
    require(start <= steps, f"{save_to} is of step {start}, but steps is {steps}: ask for {start} or more, or delete "
                            "the file to start anew.")
    unchecked: list[tuple[int, dict[str, Tensor]]] = []
    with _bar(start, steps, progress) as bar:
        for i in range(start + 1, steps + 1):
            log = step(batches)
            _require_detached(log)
            unchecked.append((i, log))
            if i % CHECK_EVERY == 0:
                _stop_if_not_finite(unchecked, save_to)
            yield i, log
            if save_to is not None and (i % save_every == 0 or i == steps):
                _stop_if_not_finite(unchecked, save_to)
                write_run(save_to, i, state, time.perf_counter() - began)
            bar.update()
        _stop_if_not_finite(unchecked, save_to)


def _formatted(batches, memory_format):
    for batch in batches:
        if isinstance(batch, Tensor):
            yield batch.contiguous(memory_format=memory_format) if batch.ndim == 4 else batch
        else:
            yield tuple(b.contiguous(memory_format=memory_format) if b.ndim == 4 else b for b in batch)


def _require_detached(log):
    for name, value in log.items():
        require(isinstance(value, Tensor) and not value.requires_grad,
                f"the step's log has {name!r}, which is not a detached tensor; return {name}.detach(), which costs "
                "nothing and waits for nothing.")


def _stop_if_not_finite(unchecked, save_to):
    """Reads all values logged since the last look; empties the list."""
    for i, log in unchecked:
        for name, value in log.items():
            if not bool(torch.isfinite(value).all()):
                kept = f"The last good save is {save_to}. " if save_to is not None and Path(save_to).exists() else ""
                raise FloatingPointError(
                    f"{name} became {'NaN' if bool(torch.isnan(value).any()) else 'infinite'} at step {i}. {kept}"
                    "Usual causes: a learning rate too high, the log of 0, a division by a variance near 0.")
    unchecked.clear()


def _bar(start, steps, progress):
    from tqdm.auto import tqdm
    if progress is None:  # a test or a stored notebook must print the same each time
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        progress = watched and "PYTEST_VERSION" not in os.environ and "COURSE_QUIET" not in os.environ
    return tqdm(total=steps, initial=start, delay=2, leave=False, disable=not progress, unit="step")
