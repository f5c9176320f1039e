"""The results of an object, a store or a lock, if its operations come one after another.

A model is made for one history. Its states are immutable and hashable, and a step is possible in at most one way.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from tenure.conformance.checkers.linearizability.operations import (
    ABSENT,
    EXISTS,
    Condition,
    Item,
    Kind,
    Operation,
    Outcome,
)
from tenure.conformance.checkers.linearizability.timeline import locate

S = TypeVar("S", bound=Hashable)

_HIDDEN = -1
"""Create revision of a key that an unseen write created."""


class Model(Protocol[S]):
    """One object and how its operations act on it."""

    @property
    def initial(self) -> S:
        """The state before the first operation."""

    def step(self, state: S, number: int) -> S | None:
        """The state after operation ``number``; ``None`` if it can't have been answered like that in ``state``."""

    def show(self, state: S) -> str:
        """The state, for people."""


class Values:
    """Keys with values; revisions only identify the value that a precondition means."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._values: dict[tuple[str, int], str] = {}
        for operation in operations:
            if operation.writes and operation.revision is not None:
                self._values.update({(key, operation.revision): value for key, value in operation.puts})
            self._values.update({(key, item[2]): item[0] for key, item in operation.seen if item is not None})
        names = sorted({key for operation in operations for key in operation.keys})
        self._places = {key: place for place, key in enumerate(names)}
        self.initial: tuple[str | None, ...] = (None,) * len(names)

    def step(self, state: tuple[str | None, ...], number: int) -> tuple[str | None, ...] | None:
        operation = self._operations[number]
        places = self._places
        refused = operation.outcome is Outcome.REFUSED
        held = all(
            self._holds(key, condition, state[places[key]], refused) for key, condition in operation.preconditions
        )
        if held is refused:
            return None
        if not held:
            return state
        if operation.seen:
            fits = all(state[places[key]] == (item and item[0]) for key, item in operation.seen)
            return state if fits else None
        there = sum(state[places[key]] is not None for key in operation.deletes)
        if operation.outcome is Outcome.DONE and there != operation.deleted:
            return None
        after = list(state)
        for key in operation.deletes:
            after[places[key]] = None
        for key, value in operation.puts:
            after[places[key]] = value
        return tuple(after)

    def _holds(self, key: str, condition: Condition, value: str | None, refused: bool) -> bool:
        if condition == ABSENT or value is None:
            return condition == ABSENT and value is None
        if condition == EXISTS:
            return True
        wanted = self._values.get((key, int(condition)))
        # No client saw what was put at that revision, so the result is accepted.
        return not refused if wanted is None else wanted == value

    def show(self, state: tuple[str | None, ...]) -> str:
        return ", ".join(f"{key!r} is {state[place]!r}" for key, place in self._places.items())


class Entry(NamedTuple):
    """One key; ``changed`` is the revision of its last change, a delete included."""

    value: str | None = None
    created: int = 0
    changed: int = 0


RevisionState = tuple[int, tuple[Entry, ...]]
"""The highest revision of any result so far, and the entries of all keys."""


class Revisions:
    """Keys with values and revisions, as in every result: the whole guarantee.

    An unseen write has the least possible revision, and the create revision of its key is unknown.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._located = locate(operations)
        names = sorted({key for operation in operations for key in operation.keys})
        self._places = {key: place for place, key in enumerate(names)}
        self.initial: RevisionState = (0, (Entry(),) * len(names))

    def step(self, state: RevisionState, number: int) -> RevisionState | None:
        operation = self._operations[number]
        _, entries = state
        held = all(_holds(condition, entries[self._places[key]]) for key, condition in operation.preconditions)
        if held is (operation.outcome is Outcome.REFUSED):
            return None
        if not held:
            return state
        return self._read(state, operation) if operation.seen else self._write(state, operation, number)

    def _read(self, state: RevisionState, operation: Operation) -> RevisionState | None:
        highest, entries = state
        revision = operation.revision or 0
        fits = all(_fits(item, entries[self._places[key]], revision) for key, item in operation.seen)
        return (max(highest, revision), entries) if fits else None

    def _write(self, state: RevisionState, operation: Operation, number: int) -> RevisionState | None:
        highest, entries = state
        there = sum(entries[self._places[key]].value is not None for key in operation.deletes)
        if operation.outcome is Outcome.DONE and there != operation.deleted:
            return None
        if not operation.puts and not there:
            return max(highest, operation.revision or 0), entries
        hidden = operation.outcome is Outcome.UNKNOWN and number not in self._located
        revision = highest + 1 if hidden else self._located.get(number, operation.revision or 0)
        if revision <= highest:
            return None
        return revision, self._after(entries, operation, revision, hidden=hidden)

    def _after(
        self, entries: tuple[Entry, ...], operation: Operation, revision: int, *, hidden: bool
    ) -> tuple[Entry, ...]:
        """Return the entries with the operation's deletes and puts applied at ``revision``."""
        after = list(entries)
        for key in operation.deletes:
            if after[self._places[key]].value is not None:
                after[self._places[key]] = Entry(None, 0, revision)
        for key, value in operation.puts:
            before = after[self._places[key]]
            created = before.created if before.value is not None else _HIDDEN if hidden else revision
            after[self._places[key]] = Entry(value, created, revision)
        return tuple(after)

    def show(self, state: RevisionState) -> str:
        shown = [f"{key!r} is {state[1][place].value!r}" for key, place in self._places.items()]
        return f"at revision {state[0]} " + ", ".join(shown)


class Lock:
    """One lock: acquired when it is free, released by its holder."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self.initial: tuple[int | None] = (None,)

    def step(self, state: tuple[int | None], number: int) -> tuple[int | None] | None:
        operation = self._operations[number]
        if operation.kind is Kind.ACQUIRE:
            if operation.outcome is Outcome.REFUSED:
                return state if state[0] is not None else None
            return (operation.client,) if state[0] is None else None
        if operation.outcome is Outcome.REFUSED:
            return state if state[0] != operation.client else None
        return (None,) if state[0] == operation.client else None

    def show(self, state: tuple[int | None]) -> str:
        return "the lock is free" if state[0] is None else f"client {state[0]} holds the lock"


def _holds(condition: Condition, entry: Entry) -> bool:
    if condition == ABSENT:
        return entry.value is None
    return entry.value is not None and condition in (EXISTS, entry.changed)


def _fits(item: Item | None, entry: Entry, revision: int) -> bool:
    if revision < entry.changed:
        return False
    if item is None or entry.value is None:
        return item is None and entry.value is None
    created = item[1] if entry.created == _HIDDEN else entry.created
    return item == (entry.value, created, entry.changed)
