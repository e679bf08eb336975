"""What the checks of all chapters share: they say in words what is wrong with a learner's answer.

A check prints "passed", "not attempted yet", or "Not yet: …" with what is wrong and where to look. It does not raise,
whatever the function does or returns, and what it prints is the same on every machine.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.calling import BLANK, NotYet, ask, kind


@contextlib.contextmanager
def verdict() -> Iterator[None]:
    """Prints "passed" at the end of the block, or why not where the block raised NotYet."""
    try:
        yield
    except NotYet as why:
        print(BLANK if str(why) == BLANK else textwrap.fill(f"Not yet: {why}", 110, break_long_words=False))
    else:
        print("passed")


def compare(f: Callable, arguments: dict[str, Any], right: Callable, mistakes: Sequence[tuple[Callable, str]],
            small: tuple[str, dict[str, Any]], read: str, number: bool = False, trains: bool = False) -> None:
    """Raises NotYet unless f answers as ``right`` does, up to rounding.

    right and mistakes: functions of the same arguments, each mistake with its message; the arguments must be such that
    all of them differ. small: a case to be read, in words and as arguments, to show where no known mistake fits; read:
    the section to read again. number: a Python number will do; trains: a gradient must flow back from the answer.
    """
    words, small_arguments = small
    wanted, small_wanted = right(**arguments).detach().double(), right(**small_arguments).detach().double()
    known = [(mistake(**arguments).detach().double(), message) for mistake, message in mistakes]
    small_got = as_numbers(ask(f, small_arguments), number)
    answer = ask(f, arguments, echo=False)
    got = as_numbers(answer, number)
    if same(got, wanted) and same(small_got, small_wanted):
        if trains and not answer.requires_grad:
            raise NotYet("the number is right, but no gradient flows back from it, so nothing could be trained. Stay "
                         "with torch tensors: .detach(), .data, .item(), numpy and torch.no_grad() cut the gradient.")
        return
    for value, message in known:
        if same(got, value):
            raise NotYet(message)
    if not same(as_numbers(ask(f, arguments, seed=1, echo=False), number), got):
        raise NotYet("called twice with the same arguments, your function gives two answers. It draws random numbers "
                     "of its own; all that it needs comes in as arguments.")
    require_fit(answer, got, wanted, arguments)
    require_fit(answer, small_got, small_wanted, small_arguments)
    if not same(small_got, small_wanted):
        raise NotYet(f"for {words} the answer is {show(small_wanted)}, and yours is {show(small_got)}. Do this case by "
                     f"hand, step by step, and read {read} again.")
    raise NotYet(f"in a small case your function is right, but not for {shapes(arguments)}: over which dimensions does "
                 f"it sum or average? Read {read} again.")


def as_numbers(answer: Any, number: bool = False) -> Tensor:
    """An answer as a float64 tensor on the CPU; NotYet where it is no tensor (or number) of real numbers."""
    if number and isinstance(answer, Real):
        with contextlib.suppress(OverflowError):
            answer = torch.tensor(float(answer), dtype=torch.float64)
    if not isinstance(answer, Tensor):
        what, advice = kind(answer)
        wanted = "a tensor, or a number" if number else "a tensor"
        raise NotYet(f"your function returns {what}, where {wanted} is due{advice}.")
    if answer.is_complex():
        raise NotYet(f"your function returns complex numbers ({answer.dtype}); the answer is real.")
    if not answer.is_nested and answer.numel() > 1_000_000:
        raise NotYet(f"your answer has shape {tuple(answer.shape)}: that is more than a million numbers.")
    try:
        numbers = answer.detach().to_dense().to("cpu", torch.float64)
        return numbers.view(numbers.shape)
    except Exception as error:
        raise NotYet(f"your function returns a tensor that cannot be read ({type(error).__name__}): device "
                     f"{answer.device}, layout {answer.layout}. Return a plain one.") from None


def require_fit(answer: Any, got: Tensor, wanted: Tensor, arguments: dict[str, Any]) -> None:
    """Raises NotYet where shape, dtype or a NaN tells what is wrong with ``got``, which was read from ``answer``."""
    if got.shape != wanted.shape:
        right = got.numel() == wanted.numel() and same(got.reshape(wanted.shape), wanted)
        raise NotYet(f"{'the numbers are right, but ' if right else ''}for {shapes(arguments)} your answer has shape "
                     f"{tuple(got.shape)}; it must be {tuple(wanted.shape)}{'' if wanted.ndim else ', one number'}.")
    if isinstance(answer, Tensor) and answer.dtype not in (torch.float32, torch.float64):
        raise NotYet(f"your function returns numbers of dtype {str(answer.dtype).removeprefix('torch.')}, which rounds "
                     "them; compute in float32, as the arguments come.")
    for name, found in (("NaN", got.isnan()), ("inf", got.isinf())):
        if found.any():
            raise NotYet(f"your answer holds {name}. Look for a division by 0, for 0 · inf, and for a root or a "
                         "logarithm of a number that may be negative.")


def show(numbers: Tensor) -> str:
    """Numbers to be read, to four digits: [[1, 2.5], [0, -3]]."""
    if numbers.ndim:
        return f"[{', '.join(map(show, numbers))}]"
    return f"{numbers.item() + 0.0:.4g}"


def shapes(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in arguments.items() if isinstance(value, Tensor))


def same(a: Tensor, b: Tensor) -> bool:
    """Equal in shape, and in value up to the rounding of float32."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6, equal_nan=True)
