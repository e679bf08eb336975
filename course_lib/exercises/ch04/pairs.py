"""How the checks of chapter 04 read and judge an answer of two tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from course_lib.exercises.calling import NotYet, ask, kind
from course_lib.exercises.checking import as_numbers, require_fit, same, shapes, show


def compare_pair(f: Callable, arguments: dict[str, Any], right: Callable, mistakes: Sequence[tuple[Callable, str]],
                 small: tuple[str, dict[str, Any]], names: tuple[str, str], read: str, echo: bool = True) -> None:
    """Raises NotYet unless f answers with the pair that ``right`` does, up to rounding.

    right: a function of the same arguments, to two tensors; mistakes: such functions, each with its message, and None
    in place of a part that may be anything; the first that fits is told. names: what the two parts are called in
    messages; echo: show what f prints. The rest as in ``checking.compare``.
    """
    words, small_arguments = small
    wanted, small_wanted = _numbers(right(**arguments)), _numbers(right(**small_arguments))
    known = [(_numbers(mistake(**arguments)), message) for mistake, message in mistakes]
    small_parts, small_got = read_pair(ask(f, small_arguments, echo=echo), names)
    parts, got = read_pair(ask(f, arguments, echo=False), names)
    if _all_same(got, wanted) and _all_same(small_got, small_wanted):
        return
    for values, message in known:
        if _all_same(got, values):
            raise NotYet(message)
    if not _all_same(read_pair(ask(f, arguments, seed=1, echo=False), names)[1], got):
        raise NotYet("called twice with the same arguments, your function gives two answers. It draws random numbers "
                     "of its own; all that it needs comes in as arguments.")
    _require_fits(parts, got, wanted, arguments, names)
    _require_fits(small_parts, small_got, small_wanted, small_arguments, names)
    if not _all_same(small_got, small_wanted):
        raise NotYet(f"for {words} the answer is {_show(names, small_wanted)}, and yours is {_show(names, small_got)}. "
                     f"Do this case by hand, step by step, and read {read} again.")
    numbers = [f"{name} = {show(value)}" for name, value in arguments.items()
               if isinstance(value, Tensor) and value.ndim == 0]
    raise NotYet(f"in a simple case your function is right, but for {', '.join(numbers) or shapes(arguments)} the "
                 f"answer is {_show(names, wanted)}, and yours is {_show(names, got)}. Read {read} again.")


def read_pair(answer: Any, names: tuple[str, str]) -> tuple[list[Tensor], list[Tensor]]:
    """(the two parts as they came, the same in float64); NotYet where it is no pair of tensors of real numbers.

    A pair is a tuple or a list of two, or one tensor of two rows.
    """
    wanted = f"where two tensors are due, {names[0]} and {names[1]}"
    if isinstance(answer, Tensor):
        if as_numbers(answer).shape[:1] != (2,):
            raise NotYet(f"your answer has shape {tuple(answer.shape)}, one tensor, {wanted}.")
        return list(answer.to_dense()), list(as_numbers(answer))
    a_few = isinstance(answer, list | tuple)
    what, advice = kind(answer)
    if not a_few or len(answer) != 2:
        raise NotYet(f"your function returns {what}, {wanted}{'' if a_few else advice}.")
    numbers = []
    for part, name in zip(answer, names, strict=True):
        part_is, advice = kind(part)
        if not isinstance(part, Tensor):
            raise NotYet(f"your function returns {what}, and its {name} is {part_is}, where a tensor is due{advice}.")
        try:
            numbers.append(as_numbers(part))
        except NotYet as why:
            raise NotYet(f"{name}: {why}") from None
    return list(answer), numbers


def _numbers(pair: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if part is None else part.detach().double() for part in pair]


def _all_same(got: Sequence[Tensor], wanted: Sequence[Tensor | None]) -> bool:
    return all(b is None or same(a, b) for a, b in zip(got, wanted, strict=True))


def _require_fits(parts: list, got: list[Tensor], wanted: list, arguments: dict[str, Any], names: tuple) -> None:
    for part, *numbers, name in zip(parts, got, wanted, names, strict=True):
        try:
            require_fit(part, *numbers, arguments)
        except NotYet as why:
            raise NotYet(f"{name}: {why}") from None


def _show(names: tuple[str, str], pair: list[Tensor]) -> str:
    return " and ".join(f"{name} = {show(part)}" for name, part in zip(names, pair, strict=True))
