"""The main checker: sort operations by their revisions, and check that this order explains every result.

1. Every write is applied at its revision: its preconditions have to hold there, and a delete has to find as many keys
   as its result says.
2. A read has to return the state at the revision of its result. A store may know only a lower bound of the present
   revision, so the read may have been made at that revision, or at any later one up to the next change of its key.
3. A refused write has to meet a state in which one of its preconditions fails. A write that returned but changed
   nothing has to meet a state in which they hold. Both may be at any revision.
4. Real time: an operation that began after another had ended comes after it, or beside it if neither is a write.

Each operation gets the earliest place that all operations before it in real time allow. If that is too late for one,
there is no solution. So the result is exact, at the cost of sorting: about a second for 100,000 operations.

A write of unknown outcome may be anywhere after its beginning, or nowhere; see :mod:`.timeline` for unseen ones.

With ``order=CLIENT`` reads are compared only with what their own client did and saw before, which every store
guarantees. Writes are still compared with all writes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenure.conformance.checkers.linearizability import timeline as timelines
from tenure.conformance.checkers.linearizability.operations import (
    ABSENT,
    Item,
    Operation,
    Outcome,
    describe,
    show,
)
from tenure.conformance.checkers.linearizability.timeline import NO_CHANGES, Findings, Timeline

EVERYONE = "everyone"
CLIENT = "client"

_NOWHERE = -1


def check(operations: Sequence[Operation], *, order: str = EVERYONE) -> Findings:
    """Return the problems of a history whose results have revisions."""
    timeline = timelines.build(operations)
    _RealTime(operations, timeline, everyone=order == EVERYONE).sweep()
    return timeline.findings


class _EveryonesEnds:
    """The latest place among the operations that have ended, and which operation has it."""

    def __init__(self) -> None:
        self._latest = (_NOWHERE, _NOWHERE)

    def add(self, operation: Operation, number: int, place: int) -> None:
        if place > self._latest[0]:
            self._latest = (place, number)

    def latest_for(self, operation: Operation) -> tuple[int, int]:
        """Return the place after which ``operation`` has to be, and the number of the operation that has it."""
        return self._latest


class _ClientsEnds:
    """The same if reads are compared only with their own client's operations, and writes with all writes."""

    def __init__(self) -> None:
        self._writes = (_NOWHERE, _NOWHERE)
        self._own: dict[int, tuple[int, int]] = {}

    def add(self, operation: Operation, number: int, place: int) -> None:
        if place > self._own.get(operation.client, (_NOWHERE, _NOWHERE))[0]:
            self._own[operation.client] = (place, number)
        if operation.writes and place > self._writes[0]:
            self._writes = (place, number)

    def latest_for(self, operation: Operation) -> tuple[int, int]:
        own = self._own.get(operation.client, (_NOWHERE, _NOWHERE))
        return own if operation.seen or own[0] > self._writes[0] else self._writes


class _RealTime:
    """A sweep over all beginnings and ends in the order of time."""

    def __init__(self, operations: Sequence[Operation], timeline: Timeline, *, everyone: bool) -> None:
        self._operations = operations
        self._timeline = timeline
        self._everyone = everyone
        self._writers: dict[tuple[str, str], Operation] = {}
        """Key and value to who wrote it; made when the first wrong answer has to be explained."""

    def sweep(self) -> None:
        operations = self._operations
        begun = sorted(range(len(operations)), key=[each.invoked for each in operations].__getitem__)
        answered = [number for number, each in enumerate(operations) if each.returned < math.inf]
        answered.sort(key=[each.returned for each in operations].__getitem__)
        places = [_NOWHERE] * len(operations)
        ends = _EveryonesEnds() if self._everyone else _ClientsEnds()
        ended = 0
        for number in begun:
            operation = operations[number]
            while ended < len(answered) and operations[answered[ended]].returned < operation.invoked:
                other = answered[ended]
                ends.add(operations[other], other, places[other])
                ended += 1
            places[number] = self._place(number, operation, *ends.latest_for(operation))

    def _place(self, number: int, operation: Operation, after: int, by: int) -> int:
        """Return the earliest revision possible for the operation, not before ``after``, that of operation ``by``."""
        if operation.seen:
            return self._read(operation, after, by)
        if operation.outcome is Outcome.UNKNOWN:
            revision = self._timeline.located.get(number)
            if revision is None:
                return _NOWHERE
        elif operation.writes:
            revision = operation.revision or 0
        elif operation.outcome is Outcome.REFUSED:
            return self._refused(operation, after)
        else:
            return self._changed_nothing(operation, after)
        if after >= revision:
            self._timeline.findings.problems.append(
                f"{describe(operation)} is at revision {revision}, but it began after the end of "
                f"{describe(self._operations[by])}, which was at revision {after}"
            )
        return revision

    def _read(self, operation: Operation, after: int, by: int) -> int:
        changes = self._timeline.changes
        revision = operation.revision or 0
        place = max(revision, after)
        for key, seen in operation.seen:
            known = changes.get(key, NO_CHANGES)
            item = known.at(revision)
            if seen != item:
                self._timeline.complain(
                    (key,), operation.returned, f"{describe(operation)} shows {show(seen)}{self._why(key, seen, item)}"
                )
            elif place > revision and known.until(revision) <= place:
                self._timeline.findings.problems.append(
                    f"{describe(operation)} shows {show(seen)}, which was out of date: before it began "
                    f"{describe(self._operations[by])} had ended, and at revision {after} there was "
                    f"{show(known.at(after))}"
                )
                place = revision
        return place

    def _why(self, key: str, seen: Item | None, expected: Item | None) -> str:
        """Return where a wrong result may come from."""
        text = f" of {key!r}, at that revision there was {show(expected)}"
        if seen is None:
            return text
        if not self._writers:
            self._writers = {put: other for other in self._operations for put in other.puts}
        writer = self._writers.get((key, seen[0]))
        if writer is None:
            return f"{text}; no client wrote that value"
        if writer.outcome is Outcome.REFUSED:
            return f"{text}; that value is of {describe(writer)}"
        if writer.writes and writer.revision != seen[2]:
            return f"{text}; that value is of {describe(writer)}, it must not be applied again"
        return text

    def _refused(self, operation: Operation, after: int) -> int:
        changes = self._timeline.changes
        start = max(after, 0)
        found = [
            changes.get(key, NO_CHANGES).first(condition, False, start) for key, condition in operation.preconditions
        ]
        place = min((each for each in found if each is not None), default=None)
        if place is None or not self._begun(place, operation, start):
            keys = [key for key, _ in operation.preconditions]
            there = ", ".join(f"of {key!r} {show(changes.get(key, NO_CHANGES).at(start))}" for key in keys)
            self._timeline.complain(
                keys,
                operation.returned,
                f"{describe(operation)}, but its preconditions held all the time: the store had {there}",
            )
            return after
        return self._earliest(operation, start, place)

    def _changed_nothing(self, operation: Operation, after: int) -> int:
        changes = self._timeline.changes
        start = place = max(after, operation.revision or 0)
        wanted = [*operation.preconditions, *((key, ABSENT) for key in operation.deletes)]
        settled = False
        while not settled:
            settled = True
            for key, condition in wanted:
                found = changes.get(key, NO_CHANGES).first(condition, True, place)
                if found is None or not self._begun(found, operation, start):
                    item = changes.get(key, NO_CHANGES).at(start)
                    what = "it found nothing to delete" if operation.deletes else "its preconditions held"
                    self._timeline.complain(
                        [key for key, _ in wanted],
                        operation.returned,
                        f"{describe(operation)}, so {what}, but the store had {show(item)} of {key!r}",
                    )
                    return start
                settled = settled and found == place
                place = found
        return self._earliest(operation, start, place)

    def _earliest(self, operation: Operation, start: int, place: int) -> int:
        """Return ``start`` instead of ``place`` if a hidden write may have made an earlier place fit."""
        if place > start and self._timeline.hides(operation.keys, operation.returned):
            self._timeline.findings.lenient = True
            return start
        return place

    def _begun(self, revision: int, operation: Operation, start: int) -> bool:
        """Return whether the operation at ``revision`` had begun when ``operation`` ended."""
        if revision == start:
            return True
        return self._operations[self._timeline.by_revision[revision]].invoked <= operation.returned
