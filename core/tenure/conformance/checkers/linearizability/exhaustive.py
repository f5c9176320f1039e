"""Try every order, for histories of a few operations: as simple as possible, to check the other checkers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from tenure.conformance.checkers.linearizability.models import Model
from tenure.conformance.checkers.linearizability.operations import Operation, Outcome

S = TypeVar("S", bound=Hashable)

MOST = 10
"""Operations; there are more than three million orders of ten."""


def explained(operations: Sequence[Operation], model: Callable[[Sequence[Operation]], Model[S]]) -> bool:
    """Return whether an order explains every result; operations of unknown outcome may be left out."""
    if len(operations) > MOST:
        raise ValueError(f"{len(operations)} operations have too many orders to try them all, at most {MOST}")
    made = model(operations)

    def explain(state: S, left: frozenset[int]) -> bool:
        if all(operations[number].outcome is Outcome.UNKNOWN for number in left):
            return True
        for number in left:
            if any(operations[other].returned < operations[number].invoked for other in left):
                continue
            after = made.step(state, number)
            if after is not None and explain(after, left - {number}):
                return True
        return False

    return explain(made.initial, frozenset(range(len(operations))))
