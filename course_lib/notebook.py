"""Two helpers for notebooks: the library's source shown in place, and a table of results as text."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence

from IPython.display import Markdown, display

from course_lib.checks import require


def show_source(*things: Callable) -> None:
    """Shows the very code that runs: the source of functions or classes of the library, one after the other."""
    source = "\n\n\n".join(textwrap.dedent(inspect.getsource(thing)).rstrip() for thing in things)
    display(Markdown(f"```python\n{source}\n```"))


def show_rows(rows: Sequence[dict], formats: dict[str, str] | None = None) -> None:
    """Shows rows (dicts with the same keys) as a table; formats: column → format such as ".0%"; a NaN is a dash.

    Raises ValueError where there are no rows.
    """
    require(len(rows) > 0, "there are no rows to show; a table needs at least one.")
    formats = formats or {}
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = ("–" if value != value else format(value, formats.get(key, "")) for key, value in row.items())
        lines.append("| " + " | ".join(cells) + " |")
    display(Markdown("\n".join(lines)))
