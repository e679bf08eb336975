"""Predict first: a question that holds its answer back until one has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as ipw

from course_lib.checks import require


class Predict(ipw.VBox):
    def __repr__(self) -> str:
        return f"Predict first: {self.children[0].value_text} ({' / '.join(self.children[1].options)})"


def predict(question: str, options: Sequence[str], right: int, because: str) -> Predict:
    """A question with a choice of answers; which one is right, and why, appears when one was chosen, not before.

    right: the index of the right option. Raises ValueError where there is no such option, or fewer than two.
    """
    require(len(options) >= 2 and 0 <= right < len(options),
            f"right is {right}, with {len(options)} options; there must be at least two options and right one of them.")
    head = ipw.HTML(f"<b>Before you run on.</b> {escape(question)}")
    head.value_text = question
    choice = ipw.RadioButtons(options=list(options), value=None, layout=ipw.Layout(width="auto"))
    verdict = ipw.HTML()

    def answer(change):
        first = "Yes." if change["new"] == options[right] else f"Not quite: {escape(options[right])}."
        verdict.value = f"<p style='max-width:45em'><b>{first}</b> {escape(because)}</p>"

    choice.observe(answer, "value")
    return Predict([head, choice, verdict])
