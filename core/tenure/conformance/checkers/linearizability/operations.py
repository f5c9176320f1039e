"""One operation as a client saw it: the request and its time, the result and its time.

Reports contain histories, so an operation has a form in JSON's types, a short list. Values are text there, one
character for each byte, and so they are here: checkers only compare and show them.

A history has everything that happened to its keys. They didn't exist before, are on no lease, and no other client wrote
to them. The values of a key are unique, so a value identifies its write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

Condition = str | int
"""A precondition: :data:`ABSENT`, :data:`EXISTS`, or the revision at which the key was last put."""

ABSENT = "absent"
EXISTS = "exists"

Item = tuple[str, int, int]
"""Value, create revision and mod revision of a key that exists."""


class Kind(StrEnum):
    """What was called."""

    READ = "read"
    LIST = "list"
    PUT = "put"
    PUT_IF_ABSENT = "put-if-absent"
    COMPARE_AND_SET = "compare-and-set"
    DELETE = "delete"
    TRANSACTION = "transaction"
    ACQUIRE = "acquire"
    RELEASE = "release"


class Outcome(StrEnum):
    """What became of it."""

    DONE = "done"
    REFUSED = "refused"
    """A precondition failed, so nothing was changed."""
    UNKNOWN = "unknown"
    """No answer: it was applied once, perhaps after the caller gave up, or never."""


class Operation(NamedTuple):
    """One operation. A named tuple: histories have a million of them (decision record 0002)."""

    client: int
    kind: Kind
    invoked: float
    """Seconds on a clock that all clients share."""
    returned: float
    """``math.inf`` for an operation of unknown outcome."""
    outcome: Outcome
    revision: int | None = None
    """The revision in the result: for a read one at which it was true, for a write its own."""
    preconditions: tuple[tuple[str, Condition], ...] = ()
    puts: tuple[tuple[str, str], ...] = ()
    """Keys and values."""
    deletes: tuple[str, ...] = ()
    deleted: int = 0
    """How many keys were there to be deleted, as answered."""
    seen: tuple[tuple[str, Item | None], ...] = ()
    """For a read or list: keys and their items."""

    @property
    def keys(self) -> list[str]:
        """Every key it is about, perhaps more than once."""
        return [
            *(key for key, _ in self.preconditions),
            *(key for key, _ in self.puts),
            *self.deletes,
            *(key for key, _ in self.seen),
        ]

    @property
    def writes(self) -> bool:
        """Whether it changed something, by its result; then its revision is its own."""
        return self.outcome is Outcome.DONE and bool(self.puts or self.deleted)


def holds(condition: Condition, item: Item | None) -> bool:
    """Return whether a precondition holds for an item."""
    if condition == ABSENT:
        return item is None
    return item is not None and (condition == EXISTS or item[2] == condition)


# -- JSON ------------------------------------------------------------------------------------------


def text_of(value: bytes) -> str:
    """Return the text that represents a value."""
    return value.decode("latin-1")


def to_json(operations: Iterable[Operation]) -> list[Any]:
    """In JSON's types, a list of lists."""
    return [
        [
            operation.client,
            operation.kind.value,
            round(operation.invoked, 6),
            None if operation.returned == math.inf else round(operation.returned, 6),
            operation.outcome.value,
            {
                name: _listed(value)
                for name in ("revision", "preconditions", "puts", "deletes", "deleted", "seen")
                if (value := getattr(operation, name)) or (name == "revision" and value is not None)
            },
        ]
        for operation in operations
    ]


def from_json(data: Iterable[Sequence[Any]]) -> list[Operation]:
    """The reverse of :func:`to_json`."""
    kinds = {kind.value: kind for kind in Kind}
    outcomes = {outcome.value: outcome for outcome in Outcome}
    return [
        Operation(
            client,
            kinds[kind],
            invoked,
            math.inf if returned is None else returned,
            outcomes[outcome],
            rest.get("revision"),
            tuple([(key, condition) for key, condition in rest.get("preconditions", ())]),
            tuple([(key, value) for key, value in rest.get("puts", ())]),
            tuple(rest.get("deletes", ())),
            rest.get("deleted", 0),
            tuple([(key, item and tuple(item)) for key, item in rest.get("seen", ())]),
        )
        for client, kind, invoked, returned, outcome, rest in data
    ]


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


# -- parts -----------------------------------------------------------------------------------------


def beginning(operations: Iterable[Operation], count: int) -> list[Operation]:
    """Return the history up to the time when its operation number ``count`` began.

    Writes under way at that time are of unknown outcome, and other operations under way are left out. So if an order
    explains the whole history, one explains this part.
    """
    inorder = sorted(operations, key=lambda operation: operation.invoked)
    if len(inorder) <= count:
        return inorder
    end = inorder[count].invoked
    found = []
    for operation in inorder[:count]:
        if operation.returned < end:
            found.append(operation)
        elif (operation.puts or operation.deletes) and operation.outcome is not Outcome.REFUSED:
            found.append(operation._replace(outcome=Outcome.UNKNOWN, returned=math.inf, revision=None, deleted=0))
    return found


# -- for people ------------------------------------------------------------------------------------


def describe(operation: Operation) -> str:
    """Return the client, the operation, its result and its times, as text."""
    parts = [_condition(key, condition) for key, condition in operation.preconditions]
    what = f"client {operation.client}'s {operation.kind.value}"
    if operation.puts or operation.deletes:
        what += " of " + ", ".join(
            [*(f"{key!r} = {value[:40]!r}" for key, value in operation.puts), *map(repr, operation.deletes)]
        )
    elif operation.seen:
        what += " of " + ", ".join(repr(key) for key, _ in operation.seen)
    if parts and operation.kind is not Kind.PUT_IF_ABSENT:
        what += f" if {' and '.join(parts)}"
    return f"{what} ({_answer(operation)}, {_span(operation)})"


def show(item: Item | None) -> str:
    """Return the state of a key, as text."""
    return "nothing" if item is None else f"{item[0][:40]!r} put at revision {item[2]} (created at {item[1]})"


def _condition(key: str, condition: Condition) -> str:
    if isinstance(condition, int):
        return f"{key!r} is as put at {condition}"
    return f"{key!r} exists" if condition == EXISTS else f"{key!r} is absent"


def _answer(operation: Operation) -> str:
    if operation.outcome is not Outcome.DONE:
        return "refused" if operation.outcome is Outcome.REFUSED else "no answer"
    if operation.revision is None:
        return "done"
    if operation.puts or operation.deletes or not operation.seen:
        return f"acknowledged at revision {operation.revision}"
    return f"answered at revision {operation.revision}"


def _span(operation: Operation) -> str:
    end = "no one knows" if operation.returned == math.inf else f"{operation.returned:.6f}"
    return f"{operation.invoked:.6f} to {end} s"
