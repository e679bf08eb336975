"""How the checks of exercises call a learner's function: on copies, under a time limit, surviving what it does."""

from __future__ import annotations

import _thread
import contextlib
import copy
import ctypes
import dis
import inspect
import io
import linecache
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LIMIT, GRACE = 5.0, 1.0     # s that a call may take, and s in which it is then told to stop, again and again
STACK = 64 * 2**20          # bytes: threads of macOS have too little for a recursion without end
MOST_PRINTED = 25           # lines of what a learner's function prints
BLANK = "not attempted yet"
NOTHING = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}      # what `...` compiles to


class NotYet(Exception):
    """Why an answer does not pass, in words for the learner."""


def ask(f: Callable, arguments: dict[str, Any], seed: int = 0, echo: bool = True) -> Any:
    """What f answers to copies of the arguments, given in order; NotYet where there is no answer that can be judged.

    The random state is left as it was; f draws from ``seed`` on. With ``echo`` its prints appear, up to a limit.
    """
    require_function(f, arguments)
    copies: dict[str, Any] = {}

    def call() -> Any:
        copies.update({name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
                       for name, value in arguments.items()})
        return f(*copies.values())

    printed = io.StringIO()
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.default_generator.manual_seed(seed)
        with contextlib.redirect_stdout(printed):
            try:
                answer, problem = in_time(call, f)
            except NotYet as why:
                answer, problem = None, str(why)
    words = "" if printed.closed or not echo else printed.getvalue()
    if words:
        few = "".join(words.splitlines(keepends=True)[:MOST_PRINTED])[:80 * MOST_PRINTED]
        print(few if few == words else few.rstrip() + "\n… and more\n", end="")
    if problem:
        raise NotYet(problem)
    if answer is ...:
        raise NotYet(BLANK)
    if answer is None:
        raise NotYet("your function returns None: is the `return` missing?")
    for name, value in arguments.items():
        if isinstance(value, Tensor) and not unchanged(copies[name], value):
            raise NotYet(f"your function changes its argument {name} in place, so whoever calls it finds other numbers "
                         f"there afterwards. Work on a new tensor: a + b instead of a += b, no [...] = and no method "
                         "whose name ends in _.")
    return answer


def in_time(call: Callable[[], Any], f: Callable) -> tuple[Any, str]:
    """(what call() returns, "") or (None, what went wrong in f). Raises NotYet where it takes longer than LIMIT.

    The call runs in a thread of its own, for only a thread can be told to stop on every system and in a notebook. The
    thread is a bare one: it ends in silence when the SystemExit that stops it escapes, and it ends with the kernel.
    C code that keeps Python's lock for itself, as 9**9**9 does, holds up this function too.
    """
    outcome, running = [], _thread.allocate_lock()
    running.acquire()

    def work():
        try:
            outcome.append((call(), ""))
        except BaseException as error:              # SystemExit and KeyboardInterrupt of the learner's too
            outcome.append((None, describe(error, f)))
        finally:
            running.release()

    before = _thread.stack_size(STACK)
    try:
        thread = _thread.start_new_thread(work, ())
    finally:
        _thread.stack_size(before)
    ended = False
    try:
        ended = running.acquire(timeout=LIMIT)
    finally:                                        # also where the reader interrupts the kernel
        stopped = ended or stop(thread)
    if not ended:
        restart = "" if stopped else (" It could not be stopped and goes on in the background: restart the kernel "
                                      "(menu Kernel, Restart) once you have changed it.")
        raise NotYet(f"your function did not come to an end within {LIMIT:g} seconds. Does it hold a loop that never "
                     f"ends, or does it wait for something?{restart}")
    return outcome[0] if outcome else (None, "your function stops with an error that cannot be put into words.")


def stop(thread: int) -> bool:
    """Raises SystemExit in a thread until it ends, for GRACE seconds; False where it goes on, in C code for instance.

    Raised again and again, because a loop may hold `except:`; an exception that comes while it jumps back gets out.
    """
    interval, end = sys.getswitchinterval(), time.monotonic() + GRACE
    sys.setswitchinterval(1e-6)                     # s: so that the second one comes while the first is being caught
    try:
        while ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SystemExit)):
            if time.monotonic() > end:
                return False
            time.sleep(0)
        return True
    finally:
        sys.setswitchinterval(interval)


# --- what is wrong, in words ---------------------------------------------------------------------------------------

def require_function(f: Any, arguments: dict[str, Any]) -> None:
    """Raises NotYet unless f is a function of so many arguments that does more than nothing."""
    names = ", ".join(arguments)
    if isinstance(f, type):
        raise NotYet(f"the check was given the class {f.__name__}; give it a function of ({names}).")
    if not callable(f):
        raise NotYet(f"the check was given {kind(f)[0]}; give it the function itself, by its name and without brackets "
                     f"behind it: a function of ({names}).")
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):                 # some functions written in C do not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise NotYet(f"your function takes ({', '.join(signature.parameters)}), and the check gives it "
                     f"{len(arguments)}: ({names}).") from None
    code = getattr(f, "__code__", None)
    if code and all(step.opname in NOTHING and (step.opcode not in dis.hasconst or step.argval is None)
                    for step in dis.get_instructions(code)):
        raise NotYet(BLANK)


def describe(error: BaseException, f: Callable) -> str:
    """An exception in words: type, message, line of the learner's code. BLANK for a bare NotImplementedError."""
    if isinstance(error, NotImplementedError) and not error.args:       # torch raises it too, and says what is missing
        return BLANK
    if isinstance(error, RecursionError):
        what = "RecursionError: a function calls itself again and again, without end"
    else:
        try:
            message = str(error).strip().splitlines()
        except Exception:                           # of an exception class of the learner's own
            message = []
        what = type(error).__name__ + (f": {tidy(message[0])}" if message else "")
    file, where, trace = getattr(getattr(f, "__code__", None), "co_filename", None), "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            line = linecache.getline(file, trace.tb_lineno).strip()
            where = f" (line {trace.tb_lineno} of your cell{f': `{line}`' if line else ''})"
        trace = trace.tb_next
    return f"your function stops with {what.rstrip('.')}{where}."


def kind(thing: Any) -> tuple[str, str]:
    """(what a thing is, what to do if a tensor is due)."""
    name = type(thing).__name__
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}", ""
    if inspect.isgenerator(thing):
        return "a generator", ": write `return`, not `yield`"
    if inspect.iscoroutine(thing):
        thing.close()
        return "a coroutine", ": leave out `async`"
    if isinstance(thing, int | float):
        return f"a Python number ({name})", ": leave out .item(), float() and the like, which cut the gradient"
    if type(thing).__module__ == "numpy":
        return "a numpy array", ": stay with torch, whose tensors carry gradients"
    if isinstance(thing, list | tuple):
        return f"a {name} of {len(thing)}", ": return one tensor (and mind a comma at the end of the line)"
    if isinstance(thing, str):
        return "a string", ""
    return f"an object of type {name}", ": call it first" if callable(thing) else ""


def tidy(words: str) -> str:
    """Words with no addresses in memory, cut where they get long."""
    words = re.sub(r"0x[0-9a-fA-F]+", "0x…", words)
    return words if len(words) <= 200 else words[:200] + " …"


def unchanged(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.detach().cpu(), b.detach().cpu())
