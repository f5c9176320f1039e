"""Search for an order of operations that explains every result, if the results have no revisions.

This is the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory that Lowe added
("Testing for Linearizability", 2017). Beginnings and ends are a list in the order of time. An operation may come next
if no end comes before its beginning in the rest of the list. The search takes an operation that the model allows, and
continues; at an end it undoes the last one and tries another. It remembers (operations taken, state), since reaching
the same pair by another order is useless. An operation that returned and leaves the state unchanged, such as a read,
is taken as soon as it fits, and no other is tried instead: any order that has it later also allows it now.

Many histories fall into parts that share no key. Each part is searched separately, which is equivalent and much faster.

The time may be exponential, so there is a budget of steps; beyond it the result is UNKNOWN.

The search is one loop beyond the limit of complexity, as it is in the papers. Every step takes an operation, passes
over one, or undoes the last one. All three change the same position, path and state, so separate functions would pass
all of these to each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from tenure.conformance.checkers.linearizability.models import Model, Values
from tenure.conformance.checkers.linearizability.operations import Operation, Outcome, describe

S = TypeVar("S", bound=Hashable)

BUDGET = 500_000
"""Steps; some seconds."""


class Answer(StrEnum):
    """Whether there is such an order."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    answer: Answer
    steps: int
    problem: str = ""
    """For NO: the longest explained beginning, and the operations that can't come next."""


def check(
    operations: Sequence[Operation],
    model: Callable[[Sequence[Operation]], Model[S]] = Values,  # type: ignore[assignment] # its states are one such S
    *,
    budget: int = BUDGET,
    split: bool = True,
) -> Found:
    """Search each part of the history that shares no key with others; without ``split`` the whole at once."""
    steps = 0
    unknown = False
    for part in parts(operations) if split else [operations]:
        found = _search(part, model(part), budget - steps)
        steps += found.steps
        if found.answer is Answer.NO:
            return Found(Answer.NO, steps, found.problem)
        unknown = unknown or found.answer is Answer.UNKNOWN
    return Found(Answer.UNKNOWN if unknown else Answer.YES, steps)


def parts(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Operations grouped so that no two groups have a key in common."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = key = leader[leader[key]]
        return key

    for operation in operations:
        first, *rest = operation.keys or [""]
        for key in rest:
            leader[find(key)] = find(first)
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(find((operation.keys or [""])[0]), []).append(operation)
    return list(groups.values())


class _Node:
    """A beginning or an end in the list of the remaining operations."""

    __slots__ = ("before", "end", "next", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.end: _Node | None = None
        """Of a beginning whose operation was answered: the end."""
        self.before: _Node = self
        self.next: _Node | None = None


def _chain(operations: Sequence[Operation]) -> _Node:
    """The list of all beginnings and ends, behind a first node that is neither."""
    moments: list[tuple[float, int, _Node]] = []
    for number, operation in enumerate(operations):
        begin = _Node(number)
        moments.append((operation.invoked, 0, begin))  # at the same time they are beside each other
        if operation.returned < math.inf and operation.outcome is not Outcome.UNKNOWN:
            begin.end = _Node(number)
            moments.append((operation.returned, 1, begin.end))
    head = last = _Node(-1)
    for _, _, node in sorted(moments, key=lambda moment: moment[:2]):
        node.before, last.next = last, node
        last = node
    return head


def _lift(node: _Node) -> None:
    """Take an operation out of the list: its beginning, and its end if it has one."""
    _cut(node)
    if node.end is not None:
        _cut(node.end)


def _unlift(node: _Node) -> None:
    """Put the operation that was lifted last back into the list."""
    if node.end is not None:
        _mend(node.end)
    _mend(node)


def _cut(node: _Node) -> None:
    node.before.next = node.next
    if node.next is not None:
        node.next.before = node.before


def _mend(node: _Node) -> None:
    node.before.next = node
    if node.next is not None:
        node.next.before = node


@dataclass(slots=True)  # not frozen: the search makes one in every step, and these are made faster
class _Taken(Generic[S]):
    """An operation on the path, and how to undo it."""

    node: _Node
    before: S
    """The state before the operation."""
    replaceable: bool
    """Whether another operation might be tried in its place."""


@dataclass(frozen=True, slots=True)
class _Farthest(Generic[S]):
    """The longest explained beginning so far."""

    path: tuple[int, ...]
    state: S
    stuck: int | None
    """The operation whose end stopped the search; ``None`` if the list was at its end."""


def _search(operations: Sequence[Operation], model: Model[S], budget: int) -> Found:  # complexipy: ignore
    head = _chain(operations)
    left = sum(operation.outcome is not Outcome.UNKNOWN for operation in operations)
    state = model.initial
    taken = 0
    tried: set[tuple[int, S]] = {(0, state)}
    path: list[_Taken[S]] = []
    farthest: _Farthest[S] = _Farthest((), state, None)
    steps = 0
    node = head.next
    while left:
        if node is not None and (node.end is not None or operations[node.number].outcome is Outcome.UNKNOWN):
            steps += 1
            if steps > budget:
                return Found(Answer.UNKNOWN, steps)
            after = model.step(state, node.number)
            if after is not None and (key := (taken | 1 << node.number, after)) not in tried:
                tried.add(key)
                path.append(_Taken(node, state, replaceable=node.end is None or after != state))
                taken, state = key
                left -= node.end is not None
                _lift(node)
                node = head.next
            else:
                node = node.next
            continue
        if len(path) >= len(farthest.path):
            farthest = _Farthest(tuple(each.node.number for each in path), state, None if node is None else node.number)
        while True:
            if not path:
                return Found(Answer.NO, steps, _problem(operations, model, farthest))
            last = path.pop()
            state = last.before
            taken &= ~(1 << last.node.number)
            left += last.node.end is not None
            _unlift(last.node)
            if last.replaceable:
                break
        node = last.node.next
    return Found(Answer.YES, steps)


def _problem(operations: Sequence[Operation], model: Model[S], farthest: _Farthest[S]) -> str:
    path = farthest.path
    before = "at the beginning" if not path else f"the last of them {describe(operations[path[-1]])}"
    blamed = "the others" if farthest.stuck is None else describe(operations[farthest.stuck])
    return (
        f"no order explains the results of these {len(operations)} operations: {len(path)} can be explained, "
        f"{before}, then {model.show(farthest.state)}, and {blamed} can't be"
    )
