"""A transaction over what a function reads: it is applied only if all that was read is still so, and tried again.

The function makes no call to the store. When it asks for a key that was not read yet, it is stopped, the key is read,
and the function is called anew. So the same steps serve every face, and the function sees each key once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tenure._client.keys import check_key
from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import run
from tenure.errors import Conflict, DeadlineExceeded, OutcomeUnknown
from tenure.recipes._marks import MarkedCommits, marked_commits
from tenure.recipes._patience import over
from tenure.spi.types import Delete, KeyAbsent, KeyValue, Operation, Precondition, Put, RevisionEquals

T = TypeVar("T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.2


class _NotRead(BaseException):
    """Stops a function that asks for a key that was not read yet. Its ``except Exception`` must not see it."""


class TransactView:
    """What the function given to :func:`transact` reads and writes. Valid during that call."""

    def __init__(self, read: Mapping[str, KeyValue | None]) -> None:
        self._read = read
        self._written: dict[str, Operation] = {}
        self._missing: str | None = None

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, as this transaction leaves it so far.

        Args:
            key: the key.

        Returns:
            The value; ``None`` if the key does not exist.

        Raises:
            InvalidKey: the key is empty, too long or not valid text.
        """
        check_key(key)
        operation = self._written.get(key)
        if operation is not None:
            return operation.value if isinstance(operation, Put) else None
        if key not in self._read:
            self._missing = key
            raise _NotRead
        item = self._read[key]
        return None if item is None else item.value

    def put(self, key: str, value: bytes) -> None:
        """Set a key when the transaction is applied. The key is then on no lease.

        Args:
            key: the key.
            value: the new value, possibly empty.

        Raises:
            InvalidKey: the key is empty, too long or not valid text.
        """
        check_key(key)
        self._written[key] = Put(key, value)

    def delete(self, key: str) -> None:
        """Delete a key when the transaction is applied. Deleting a missing key changes nothing.

        Args:
            key: the key.

        Raises:
            InvalidKey: the key is empty, too long or not valid text.
        """
        check_key(key)
        self._written[key] = Delete(key)


@dataclass(frozen=True, slots=True)
class Optimistic:
    """Transactions over what functions read. Steps, without I/O."""

    marks: MarkedCommits

    def transact(self, function: Callable[[TransactView], T], limit: TimeLimit) -> Steps[T]:
        """Steps that call ``function`` until what it wrote is applied to exactly what it read."""
        pause = _FIRST_PAUSE
        read: dict[str, KeyValue | None] = {}
        while True:
            view, failed = TransactView(read), None
            try:
                result = function(view)
            except _NotRead:
                pass
            except Exception as exc:  # noqa: BLE001 - raised below, if what the function read was true
                failed = exc
                view._written.clear()
            if view._missing is not None:
                read[view._missing] = yield from Get(view._missing, limit)
            elif (yield from self._apply(read, tuple(view._written.values()), limit)):
                if failed is not None:
                    raise failed
                return result
            else:
                read.clear()
                if over(limit):
                    raise DeadlineExceeded("transact: others changed the keys all the time; give a longer timeout")
                yield from Sleep(pause * random.random())  # noqa: S311 - spreads participants, no secret
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _apply(
        self, read: Mapping[str, KeyValue | None], operations: tuple[Operation, ...], limit: TimeLimit
    ) -> Steps[bool]:
        """Apply ``operations`` if all that was read is still so. Without any, find out whether it was so at once."""
        guards = tuple(unchanged(key, item) for key, item in read.items())
        if operations:
            return (yield from self.marks.commit(guards, operations, limit))
        if len(guards) > 1:
            try:
                yield from Commit(guards, (), limit)
            except (Conflict, OutcomeUnknown):
                return False
        return True


def unchanged(key: str, item: KeyValue | None) -> Precondition:
    """Return the precondition that a key is still as it was read."""
    return KeyAbsent(key) if item is None else RevisionEquals(key, item.mod_revision)


def optimistic(store: Store) -> Optimistic:
    """Return what transacts on ``store``."""
    return Optimistic(marked_commits(store))


def transact(store: Store, function: Callable[[TransactView], T], *, timeout: float | None = None) -> T:
    """Apply what ``function`` writes, all or nothing, and only if all that it read is still so at that moment.

    If another client changed a key meanwhile, ``function`` is called again with what is there now. It is applied
    exactly once, also if an answer is lost: a mark in the same transaction shows whether it was.

    ``function`` is called several times, at least once for each key that it reads. It must have no effects but those on
    its view. If it raises, that error is raised and nothing is applied, provided that what it read was so at one
    moment. Otherwise it is called again.

    >>> import tenure
    >>> def move(view):
    ...     left = int(view.get("a")) - 5
    ...     view.put("a", str(left).encode())
    ...     view.put("b", str(int(view.get("b") or 0) + 5).encode())
    ...     return left
    >>> with tenure.connect("memory://") as store:
    ...     written = store.put("a", b"20")
    ...     tenure.transact(store, move), store.get("b").value
    (15, b'5')

    Args:
        store: the store.
        function: called with a :class:`TransactView`, from which it reads and to which it writes.
        timeout: seconds that the whole call may take; by default the store's timeout.

    Returns:
        What ``function`` returned in the call that was applied.

    Raises:
        OutcomeUnknown: an answer was lost, and the time was up or the session had ended before the mark could be read.
        DeadlineExceeded: the time ran out, also because others kept changing the keys; nothing was applied.
        Unavailable: the store can't be reached; nothing was applied.
        InvalidKey: a key is empty, too long or not valid text; nothing was applied.
        InvalidArgument: ``timeout`` is not a positive number, or a value has the wrong type; nothing was applied.
        LimitExceeded: the transaction is larger than the store takes; nothing was applied. Each key that was read is a
            precondition, each that is written an operation, and the mark is one of both.
        PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
            accepts the credentials.
        StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
    """
    return run(store, transacting(store, function, timeout))


def transacting(store: Store, function: Callable[[TransactView], T], timeout: float | None) -> Steps[T]:
    """Steps that transact once."""
    return optimistic(store).transact(function, TimeLimit(store.clock, store._seconds(timeout)))
