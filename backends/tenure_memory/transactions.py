"""What a transaction means: preconditions against the present state, then all operations at one revision."""

from __future__ import annotations

from collections.abc import Iterable

from tenure.errors import Conflict
from tenure.spi import Delete, Deleted, KeyAbsent, KeyExists, KeyValue, Operation, Precondition, Put, RevisionEquals
from tenure_memory.history import Change
from tenure_memory.state import State

_MANY = 100
"""Deletes of one transaction from which on they are made in one pass."""


def check(preconditions: Iterable[Precondition], state: State, revision: int) -> None:
    """Raise ``Conflict`` for the first precondition that doesn't hold."""
    for precondition in preconditions:
        item = state.get(precondition.key)
        match precondition:
            case KeyAbsent() if item is not None:
                found = f"exists (revision {item.mod_revision}) and should not"
            case KeyExists() | RevisionEquals() if item is None:
                found = "doesn't exist"
            case RevisionEquals() if item is not None and item.mod_revision != precondition.revision:
                found = f"is at revision {item.mod_revision}, not {precondition.revision}"
            case _:
                continue
        raise Conflict(f"{found}; nothing was changed", keys=[precondition.key], revision=revision)


def plan(operations: Iterable[Operation], state: State, revision: int) -> Change | None:
    """What the operations do to ``state`` as the transaction ``revision``; ``None`` if they change nothing."""
    entries: list[KeyValue | Deleted] = []
    before: list[KeyValue | None] = []
    for operation in operations:
        old = state.get(operation.key)
        match operation:
            case Put():
                created = revision if old is None else old.create_revision
                entries.append(KeyValue(operation.key, operation.value, created, revision, operation.lease_id))
            case Delete():
                if old is None:
                    continue
                entries.append(Deleted(operation.key, revision))
        before.append(old)
    return Change(revision, tuple(entries), tuple(before)) if entries else None


def apply(change: Change, state: State) -> None:
    """Bring ``state`` to what ``change`` has made of it. Doing it twice is the same as once."""
    gone = {entry.key for entry in change.entries if not isinstance(entry, KeyValue)}
    if len(gone) > _MANY:
        state.remove_many(gone)
    else:
        for key in gone:
            state.remove(key)
    for entry in change.entries:
        if isinstance(entry, KeyValue):
            state.set(entry)
