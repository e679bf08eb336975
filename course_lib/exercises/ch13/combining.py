"""A second look at answers that are a·(one tensor) + b·(another): which a and b they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch05.looking import ask_again
from course_lib.exercises.ch08.toy import shares


def say_weights(f: Callable, arguments: dict[str, Any], of: tuple[str, str], wanted: tuple[float, float], case: str,
                read: str, look: Callable[[Tensor], Tensor] = lambda x: x) -> None:
    """Raises NotYet with the weights that f's answer gives to two of its arguments, where it is such a sum.

    of: their names; wanted: the right weights; case: the other arguments in words; look: the part of the tensors that
    is looked at. An answer that is no such sum, or has the right weights in this part, is left to what is said else.
    """
    parts = [arguments[name] for name in of]
    found = shares(look(ask_again(f, arguments, tuple(parts[0].shape))), [look(part) for part in parts])
    if found is None or all(abs(a - b) < 1e-3 for a, b in zip(found, wanted, strict=True)):
        return
    yours, right = (" and ".join(f"{a + 0.0:.3g} times {name}" for a, name in zip(weights, of, strict=True))
                    for weights in (found, wanted))
    raise NotYet(f"at {case} your answer is {yours}. It must be {right}. Read {read} again.")
