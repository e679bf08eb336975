"""Chapter 05, exercise 3: the transport plan on a line."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, show, verdict

ROUNDING = 1e-5                         # of sums of float32 masses, with room


def check_plan(my_plan: Callable) -> None:
    """my_plan(a, b) → (n, m), the plan that keeps the order; a: (n,) and b: (m,), masses of sum 1, of points in order.

    All masses are whole numbers of 1/64, so that a learner's loop meets no rounding. What is not a known mistake is
    looked at as a plan: is anything negative, which sum is off, which loads cross?
    """
    arguments = {"a": torch.tensor([10, 23, 7, 5, 19]) / 64, "b": torch.tensor([21, 4, 28, 11]) / 64}
    small = {"a": torch.tensor([0.5, 0.25, 0.25]), "b": torch.tensor([0.25, 0.75])}
    with verdict(), closer(lambda: _look(my_plan, small, arguments)):
        compare(my_plan, arguments, _plan, PLAN_MISTAKES, read="section 5.2",
                small=("a = (0.5, 0.25, 0.25) and b = (0.25, 0.75)", small))


def _look(my_plan: Callable, *cases: dict[str, Tensor]) -> None:
    for case in cases:
        a, b = (mass.double() for mass in case.values())
        plan = ask_again(my_plan, case, (len(a), len(b)))
        given = f"for a = {show(a)} and b = {show(b)},"
        if plan.min() < -ROUNDING:
            i, j = divmod(int(plan.argmin()), len(b))
            raise NotYet(f"{given} plan[{i}, {j}] is {show(plan[i, j])}. There is no negative earth: all of a plan is "
                         "0 or more.")
        for name, kept, row, sums, masses in (("a", "is lying at", "plan[{}]", plan.sum(1), a),
                                              ("b", "is wanted at", "plan[:, {}]", plan.sum(0), b)):
            off = sums - masses
            if off.abs().max() > ROUNDING:
                i = int(off.abs().argmax())
                raise NotYet(f"{given} {row.format(i)} sums to {show(sums[i])}, and {show(masses[i])} {kept} "
                             f"{name}[{i}]: {show(off[i].abs())} too {'much' if off[i] > 0 else 'little'}. Rows must "
                             "sum to a and columns to b (section 5.2).")
        crossing = _crossing(plan)
        if crossing:
            i, j, k, h = crossing
            raise NotYet(f"{given} your sums are right, but two loads cross: a[{i}] sends to b[{j}], and a[{k}], "
                         f"which lies after it, to b[{h}], which lies before. Exchanged, they never cost more, and "
                         "often less. Fill the plan in order: first to first (section 5.2).")


def _crossing(plan: Tensor) -> tuple[int, int, int, int] | None:
    """(i, j, k, h) with mass from i to j and from k to h, i < k and j > h: there is one unless the plan is in order."""
    used = (plan > ROUNDING).nonzero().tolist()
    return next(((i, j, k, h) for i, j in used for k, h in used if i < k and j > h), None)


def _ends(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Where the masses end, laid one after the other: (n, 1), (1, m)."""
    return a.cumsum(0)[:, None], b.cumsum(0)[None]


def _overlaps(a: Tensor, b: Tensor) -> Tensor:
    """min of the ends − max of the beginnings: below 0 where two intervals lie apart."""
    end_a, end_b = _ends(a, b)
    return torch.minimum(end_a, end_b) - torch.maximum(end_a - a[:, None], end_b - b)


def _plan(a: Tensor, b: Tensor) -> Tensor:
    return _overlaps(a, b).clamp_min(0)


def _diagonal(a: Tensor, b: Tensor) -> Tensor:
    plan = torch.zeros(len(a), len(b))
    k = min(plan.shape)
    plan[range(k), range(k)] = torch.minimum(a[:k], b[:k])
    return plan


def _by_views(a: Tensor, b: Tensor, demand_first: bool) -> Tensor:
    """The corner rule where load = min(supply[i], demand[j]) is no copy, and is 0 once it is taken from its own."""
    supply, demand, i, j = a.tolist(), b.tolist(), 0, 0
    plan = torch.zeros(len(a), len(b))
    while i < len(a) and j < len(b):
        load = min(supply[i], demand[j])
        of_supply = supply[i] <= demand[j]
        plan[i, j] = load
        if of_supply or not demand_first:
            supply[i] -= load
        if demand_first:                # otherwise 0 is taken, or nothing more will be
            demand[j] -= load
        i, j = (i + 1, j) if supply[i] == 0 else (i, j + 1)
    return plan


NOT_A_SHARE = "A plan holds masses, so its rows sum to a and its columns to b."
SORTED = ("you sort the masses. It is the *points* that must stand in order, and they do already: a[0] is the mass of "
          "the first point, however much it is.")
VIEW = ("your load is a *view*: min(supply[i], demand[j]) of two tensors is one of their own entries. Taken from "
        "itself it becomes 0, and then 0 is taken from the other. Copy it first: min(…).clone().")
PLAN_MISTAKES = [
    (lambda a, b: a[:, None] * b,
     "this is a bᵀ: each point sends to all, as if distance cost nothing. The sums are right, but not the cost. Take "
     "½, ½ at the points 0 and 1 for both: nothing need move, the cost is 0, and a bᵀ pays ½. Keep the order (section "
     "5.2)."),
    (lambda a, b: _plan(a, b).T,
     "your plan is transposed. Rows belong to a, columns to b: plan[i, j] goes from a[i] to b[j], shape (n, m)."),
    (lambda a, b: _plan(a, b) / a[:, None],
     f"each of your rows sums to 1: it holds which *share* of a[i] goes where. {NOT_A_SHARE} Multiply row i by a[i]."),
    (lambda a, b: _plan(a, b) / b,
     f"each of your columns sums to 1: it holds which *share* of b[j] comes from where. {NOT_A_SHARE}"),
    (lambda a, b: _by_views(a, b, demand_first=False), VIEW), (lambda a, b: _by_views(a, b, demand_first=True), VIEW),
    (_diagonal,
     "you fill the diagonal only, with min(a_i, b_i). What then is left at a point must go to the next: nothing may be "
     "left behind (section 5.2)."),
    (lambda a, b: torch.minimum(a[:, None], b),
     "you take min(a_i, b_j) for every pair, so the same earth is sent several times. Once a load is sent, less is "
     f"left. {NOT_A_SHARE}"),
    (lambda a, b: _plan(a.flip(0), b).flip(0),
     "you fill the plan from the wrong corner: the first point of a sends to the last of b. All loads cross, so of "
     "all plans this is the dearest. First to first (section 5.2)."),
    (lambda a, b: _plan(a.sort().values, b.sort().values), SORTED),
    (lambda a, b: _plan(a.sort(descending=True).values, b.sort(descending=True).values), SORTED),
    (lambda a, b: torch.minimum(*_ends(a, b)),
     "you return min(A_i, B_j), with A and B the cumulated masses: that is all that goes from the first i points to "
     "the first j. Take differences, along rows *and* columns."),
    (lambda a, b: torch.minimum(*_ends(a, b)).diff(dim=0, prepend=torch.zeros(1, len(b))),
     "your rows are cumulated over j. Take the differences of min(A_i, B_j) along the rows, too, not only from "
     "row to row."),
    (lambda a, b: torch.minimum(*_ends(a, b)).diff(dim=1, prepend=torch.zeros(len(a), 1)),
     "your columns are cumulated over i. Take the differences of min(A_i, B_j) down the columns, too, not only from "
     "column to column."),
    (_overlaps,
     "your plan is negative where two intervals lie apart: there the overlap is 0. Clamp: .clamp(min=0)."),
    (lambda a, b: _overlaps(a, b).abs(),
     "where two intervals lie apart, you take the gap between them for an overlap. There it is 0: .clamp(min=0) in "
     "place of .abs()."),
    (lambda a, b: (_plan(a, b) > 0).float(),
     "you say which routes are used, 1 or 0. That is right; asked is how much goes along each of them."),
    (lambda a, b: -_plan(a, b), "the sign is turned: there is no negative earth."),
]
