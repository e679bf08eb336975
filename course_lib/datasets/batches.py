"""Endless shuffled batches of tensors that lie whole on one device: indexed there, with no worker process."""

from __future__ import annotations

import hashlib
from numbers import Integral

import torch
from torch import Tensor

from ..checks import require


def batches(x: Tensor | tuple[Tensor, ...], batch_size: int, seed: int = 0) -> Batches:
    """Endless batches of x, shuffled anew in each epoch, on x's device.

    x: a tensor (N, …), or a tuple of them (an ImageSet, say) with one N; a tuple gives tuples, in the same order.
    batch_size: 1 … N; every batch has exactly this many items: what an epoch leaves over begins the next epoch's first
    batch, so that each item comes exactly once an epoch.  seed: an integer; it fixes the order on every device.
    uint8 tensors (N, C, H, W) come out as float32 in [0, 1]; all others as they are.
    Raises ValueError for anything else.
    """
    return Batches(x, batch_size, seed)


class Batches:
    """The iterator that ``batches`` returns; ``state_dict`` and ``load_state_dict`` save and set where it stands."""

    def __init__(self, x: Tensor | tuple[Tensor, ...], batch_size: int, seed: int = 0):
        self._tuple = isinstance(x, (tuple, list))
        self._tensors = tuple(x) if self._tuple else (x,)
        _check(self._tensors, batch_size, seed)
        self.n, self.batch_size, self.seed = len(self._tensors[0]), int(batch_size), int(seed)
        self._seen = 0  # items given out since the start
        self._order = None  # (seed, epoch) and its permutation on the device

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Tensor | tuple[Tensor, ...]:
        epoch, start = divmod(self._seen, self.n)
        index = self._permutation(epoch)[start:start + self.batch_size]  # (batch_size,), or less at an epoch's end
        missing = self.batch_size - len(index)
        if missing:
            index = torch.cat([index, self._permutation(epoch + 1)[:missing]])
        batch = tuple(_take(tensor, index) for tensor in self._tensors)
        self._seen += self.batch_size
        return batch if self._tuple else batch[0]

    @property
    def epoch(self) -> float:
        """Epochs given out so far: 0.0 at the start, 1.5 in the middle of the second."""
        return self._seen / self.n

    def state_dict(self) -> dict[str, int]:
        """Where the iterator stands, as plain integers."""
        epoch, position = divmod(self._seen, self.n)
        return {"seed": self.seed, "epoch": epoch, "position": position, "n": self.n, "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on exactly where the state was taken, with its seed.

        Raises ValueError for the state of a set of another size or of another batch size, or where it is no such state.
        """
        wanted = self.state_dict().keys()
        whole = isinstance(state, dict) and state.keys() == wanted
        require(whole and all(isinstance(value, Integral) for value in state.values()),
                f"the state is {state!r}; it must have the integers {', '.join(wanted)}, as state_dict() gives them.")
        for name, what in [("n", "items"), ("batch_size", "items a batch")]:
            require(state[name] == getattr(self, name),
                    f"the state was saved with {name} = {state[name]} {what}, but here it is {getattr(self, name)}: "
                    "go on with the same set and batch size, or start anew without the state.")
        require(state["epoch"] >= 0 and 0 <= state["position"] < self.n,
                f"the state has epoch {state['epoch']} and position {state['position']}; the epoch must be 0 or more, "
                f"the position 0 … {self.n - 1}.")
        self.seed, self._seen = int(state["seed"]), int(state["epoch"]) * self.n + int(state["position"])

    def _permutation(self, epoch: int) -> Tensor:
        """The order of an epoch: int64 (n,) on the device; a function of seed and epoch only."""
        if self._order is None or self._order[0] != (self.seed, epoch):
            # Drawn on the CPU: the same on every device. Hashed: epoch 1 of seed 0 is not epoch 0 of seed 1.
            digest = hashlib.sha256(f"{self.seed} {epoch}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            order = torch.randperm(self.n, generator=generator, device="cpu").to(self._tensors[0].device)
            self._order = (self.seed, epoch), order
        return self._order[1]


class Binarised:
    """Batches of images whose pixels are drawn anew each time: 1 with the grey level as its probability, else 0.

    Salakhutdinov & Murray 2008 fixed one draw; drawing for each batch ("dynamic") is what Burda et al. 2016 did. Draws
    with torch's own random state; state_dict and load_state_dict are those of the batches.
    """

    def __init__(self, batches: Batches):
        self.batches = batches

    def __iter__(self) -> Binarised:
        return self

    def __next__(self) -> Tensor:
        return torch.bernoulli(next(self.batches))

    def state_dict(self) -> dict[str, int]:
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batches.load_state_dict(state)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """The rows of x at index; bytes of images as float32 in [0, 1]."""
    rows = x.index_select(0, index)  # bytes are gathered before they are converted: a quarter of the traffic
    return rows.to(torch.float32).div_(255) if x.dtype == torch.uint8 and x.ndim == 4 else rows


def _check(tensors: tuple, batch_size: int, seed: int) -> None:
    require(len(tensors) > 0, "x is an empty tuple; it must hold at least one tensor.")
    for tensor in tensors:
        require(isinstance(tensor, Tensor),
                f"x holds a {type(tensor).__name__}; it must be a tensor or a tuple of them: try torch.as_tensor.")
        require(tensor.ndim > 0, "x holds a tensor without dimensions; the first dimension must count the items.")
    lengths = [len(tensor) for tensor in tensors]
    require(len(set(lengths)) == 1, f"the tensors in x have {lengths} items; all must have the same number.")
    devices = [str(tensor.device) for tensor in tensors]
    require(len(set(devices)) == 1, f"the tensors in x lie on {devices}; move them to one device with .to(device).")
    require(lengths[0] > 0, "x has no items; it must have at least one.")
    require(isinstance(batch_size, Integral) and batch_size >= 1,
            f"batch_size is {batch_size!r}; it must be an integer of 1 or more.")
    require(batch_size <= lengths[0],
            f"batch_size is {batch_size}, but x has only {lengths[0]} items: take a batch of at most {lengths[0]}.")
    require(isinstance(seed, Integral), f"seed is {seed!r}; it must be an integer.")
