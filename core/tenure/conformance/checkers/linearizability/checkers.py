"""The checkers of histories of operations: ``linearizability``, ``search`` and ``locks``.

The main checker finds a history doubtful if a write of unknown outcome, which no client saw, might explain it. Then a
search looks for an order of the operations; the history is wrong only if there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tenure.conformance.checkers.linearizability import by_revision, search
from tenure.conformance.checkers.linearizability.models import Lock, Revisions, Values
from tenure.conformance.checkers.linearizability.operations import Operation, from_json

MOST_SEARCHED = 2_000
"""Operations; a search of more takes too long to be worth beginning."""


def revisions_explain(data: Mapping[str, Any]) -> list[str]:
    """``linearizability``: of ``operations``, and of ``order``, see :mod:`.by_revision`."""
    return problems(from_json(data["operations"]), order=data.get("order", by_revision.EVERYONE))


def problems(operations: Sequence[Operation], *, order: str = by_revision.EVERYONE) -> list[str]:
    """Return the problems of a history whose results have revisions."""
    found = by_revision.check(operations, order=order)
    doubt = (found.doubtful or found.lenient) and not found.problems
    if doubt and order == by_revision.EVERYONE and len(operations) <= MOST_SEARCHED:
        searched = search.check(operations, Revisions, split=False)
        if searched.answer is search.Answer.NO:
            return found.doubtful or [searched.problem]
    return found.problems


def an_order_explains(data: Mapping[str, Any]) -> list[str]:
    """``search``: of ``operations``, by their values alone; an answer that takes more than the budget is no problem."""
    found = search.check(from_json(data["operations"]), Values, budget=data.get("budget", search.BUDGET))
    return [found.problem] if found.answer is search.Answer.NO else []


def a_lock_explains(data: Mapping[str, Any]) -> list[str]:
    """``locks``: of ``operations`` that acquire and release one lock."""
    found = search.check(from_json(data["operations"]), Lock, budget=data.get("budget", search.BUDGET))
    return [found.problem] if found.answer is search.Answer.NO else []
