"""The changes of each key, from the revisions in the results of writes.

A write of unknown outcome was applied if a client read its value, at the revision read with it. A write that no client
saw may have been applied, too. A result that needs such a hidden write is doubtful instead of wrong, and a search has
to decide; see :mod:`.checkers`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tenure.conformance.checkers.linearizability.operations import (
    Condition,
    Item,
    Operation,
    Outcome,
    describe,
    holds,
    show,
)


@dataclass(slots=True)
class KeyChanges:
    """One key's changes in order; lists of the same length."""

    revisions: list[int] = field(default_factory=list)
    items: list[Item | None] = field(default_factory=list)

    def at(self, revision: int) -> Item | None:
        """Return the item at ``revision``."""
        number = bisect_right(self.revisions, revision)
        return self.items[number - 1] if number else None

    def until(self, revision: int) -> float:
        """The revision of the next change after ``revision``; infinite if there is none."""
        number = bisect_right(self.revisions, revision)
        return self.revisions[number] if number < len(self.revisions) else math.inf

    def first(self, condition: Condition, wanted: bool, start: int) -> int | None:
        """The first revision, ``start`` or later, at which a precondition holds or (``wanted`` is false) doesn't."""
        number = bisect_right(self.revisions, start)
        if holds(condition, self.items[number - 1] if number else None) is wanted:
            return start
        for later in range(number, len(self.revisions)):
            if holds(condition, self.items[later]) is wanted:
                return self.revisions[later]
        return None


NO_CHANGES = KeyChanges()


@dataclass(slots=True)
class Findings:
    """Problems, and problems unless a hidden write explains them; sentences for people."""

    problems: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    lenient: bool = False
    """Whether an operation was given the benefit of a hidden write: then something may have been overlooked."""


@dataclass(slots=True)
class Timeline:
    """Every change, by key."""

    findings: Findings
    changes: dict[str, KeyChanges] = field(default_factory=dict)
    by_revision: dict[int, int] = field(default_factory=dict)
    """Revision to the number of the operation that made it."""
    located: dict[int, int] = field(default_factory=dict)
    """Number of an operation of unknown outcome to the revision it was found at."""
    hidden: dict[str, float] = field(default_factory=dict)
    """Keys that an unseen write may have changed, and since when."""

    def hides(self, keys: Iterable[str], until: float) -> bool:
        """Return whether a hidden write may have changed one of the keys before ``until``."""
        return bool(self.hidden) and any(self.hidden.get(key, math.inf) < until for key in keys)

    def complain(self, keys: Iterable[str], until: float, sentence: str) -> None:
        """Something known by ``until`` doesn't fit; perhaps for a hidden write."""
        (self.findings.doubtful if self.hides(keys, until) else self.findings.problems).append(sentence)


def build(operations: Sequence[Operation]) -> Timeline:
    """Apply every write known to have happened, in the order of revisions, to an empty store."""
    timeline = Timeline(Findings())
    timeline.located = locate(operations, timeline.findings.problems)
    writes = [(operation.revision or 0, number) for number, operation in enumerate(operations) if operation.writes]
    writes += [(revision, number) for number, revision in timeline.located.items()]
    for number, operation in enumerate(operations):
        if operation.outcome is Outcome.UNKNOWN and number not in timeline.located:
            for key in (*(key for key, _ in operation.puts), *operation.deletes):
                timeline.hidden[key] = min(operation.invoked, timeline.hidden.get(key, math.inf))
    writes.sort()
    state: dict[str, Item] = {}
    for revision, number in writes:
        operation = operations[number]
        if timeline.by_revision.setdefault(revision, number) != number:
            other = describe(operations[timeline.by_revision[revision]])
            timeline.findings.problems.append(
                f"two writes have one revision: {describe(operation)} is at {revision}, as is {other}"
            )
        _apply(timeline, state, operation, revision)
    return timeline


def locate(operations: Sequence[Operation], problems: list[str] | None = None) -> dict[int, int]:
    """Return the revisions of writes of unknown outcome that a client saw, by the number of the operation."""
    doubtful = {
        (key, value): number
        for number, operation in enumerate(operations)
        if operation.outcome is Outcome.UNKNOWN
        for key, value in operation.puts
    }
    located: dict[int, int] = {}
    if not doubtful:
        return located
    for operation in operations:
        for key, item in operation.seen:
            if item is None or (key, item[0]) not in doubtful:
                continue
            number = doubtful[key, item[0]]
            if located.setdefault(number, item[2]) != item[2] and problems is not None:
                problems.append(
                    f"{describe(operations[number])} was applied more than once: it was seen as put at revision "
                    f"{located[number]} and, by {describe(operation)}, at {item[2]}"
                )
    return located


def _apply(timeline: Timeline, state: dict[str, Item], operation: Operation, revision: int) -> None:
    for key, condition in operation.preconditions:
        item = state.get(key)
        if not holds(condition, item):
            timeline.complain(
                (key,),
                operation.returned,
                f"{describe(operation)} was applied at revision {revision} although a precondition on {key!r} failed: "
                f"there was {show(item)}",
            )
    if operation.deletes:
        _delete(timeline, state, operation, revision)
    changes = timeline.changes
    for key, value in operation.puts:
        before = state.get(key)
        state[key] = item = (value, revision if before is None else before[1], revision)
        if key not in changes:
            changes[key] = KeyChanges()
        changes[key].revisions.append(revision)
        changes[key].items.append(item)


def _delete(timeline: Timeline, state: dict[str, Item], operation: Operation, revision: int) -> None:
    there = [key for key in operation.deletes if key in state]
    gone = there
    if operation.outcome is Outcome.DONE and len(there) != operation.deleted:
        timeline.complain(
            operation.deletes,
            operation.returned,
            f"{describe(operation)} returned that it deleted {operation.deleted}, at revision {revision} there were "
            f"{len(there)} of its keys",
        )
        gone = list(operation.deletes)
    for key in gone:
        state.pop(key, None)
        changes = timeline.changes.setdefault(key, KeyChanges())
        changes.revisions.append(revision)
        changes.items.append(None)
