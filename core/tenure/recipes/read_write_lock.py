"""A read-write lock: one writer, or any number of readers, in the order in which they asked.

It is a queue of tickets (:mod:`tenure.recipes._queue`) whose values say ``read`` or ``write``. A reader waits for the
last writer before it, a writer for the last ticket before it. Readers that come after a waiting writer wait, too, so
that no writer waits indefinitely.

Its folder is that of the lock of the same name (:mod:`tenure.recipes.lock`), whose tickets count as writers.
"""

from __future__ import annotations

from functools import partial

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import run
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._entered import EnteredByMethod
from tenure.recipes._holding import Acquires, Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import fields_of, owner_value
from tenure.recipes._queue import Queue, Ticket, Turn, View
from tenure.recipes._single_key import refuse_unfair
from tenure.recipes.session import Session

_READ, _WRITE = "read", "write"


class ReadersTogether(Turn):
    """Readers share a turn, a writer has one alone."""

    values = True
    part = True

    def together(self, value: bytes) -> int:
        """Return 1 for a writer, which waits for everybody before it. How many readers hold varies."""
        return 0 if fields_of(value).get("mode") == _READ else 1

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the last ticket before ``mine`` that can't be held together with it."""
        refuse_unfair(view)
        shared = is_reader(mine)
        for ticket in reversed(view.before(mine)):
            if not (shared and is_reader(ticket)):
                return ticket
        return None


def is_reader(ticket: Ticket) -> bool:
    """Whether the ticket is a reader's."""
    return fields_of(ticket.value).get("mode") == _READ


class Side(Acquires):
    """The read side or the write side of a :class:`ReadWriteLock`. One object holds a side once at a time."""


class ReadWriteLock(EnteredByMethod):
    """A lock that any number of readers hold together, or one writer alone, with a fencing token for each.

    Participants get their turn in the order in which they asked: a reader that comes after a waiting writer waits for
    it. One object holds one side at a time: :meth:`downgrade` turns a writer into a reader, and a reader that wants to
    write releases first.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     one, other = tenure.ReadWriteLock(store, "index"), tenure.ReadWriteLock(store, "index")
    ...     with one.read.hold(), other.read.hold():
    ...         print(tenure.ReadWriteLock(store, "index").write.try_acquire())
    None

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        session: a session of one's own; by default one that all recipes of the store object share.
        owner: a text for people who look who holds the lock; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.

    Attributes:
        read: the side for readers.
        write: the side for writers.
    """

    _block = "lock.read.hold(timeout=10) as held"

    def __init__(self, store: Store, name: str, *, session: Session | None = None, owner: str | None = None) -> None:
        what = f"the read-write lock {name!r}"
        queue = Queue(
            store,
            _names.folder("lock", name),
            what,
            ReadersTogether(),
            janitor_of(store),
            session,
            "read-write lock",
            name,
        )
        self.name = name
        self.read = Side(Acquirable(store, queue, Held, kind="read lock", name=name), owner_value(owner, mode=_READ))
        self.write = Side(Acquirable(store, queue, Held, kind="write lock", name=name), owner_value(owner, mode=_WRITE))
        self.read._steps.exclude(self.write._steps)
        self._store = store
        self._queue = queue

    def downgrade(self, *, timeout: float | None = None) -> Held:
        """Turn this object's write side into its read side, without a moment in which another writer could hold it.

        During the call neither side is held: other readers may hold theirs before the store's answer is here.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The read side, held, with a larger token. What held the write side counts as released.

        Raises:
            LeaseLost: this object doesn't hold the write side, or has lost it.
            OutcomeUnknown: no answer came. Neither side is held any more.
            Unavailable: the store can't be reached; the write side is still held. ``DeadlineExceeded`` if the time ran
                out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials. Neither side is held any more.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        limit = TimeLimit(self._store.clock, timeout)
        change = partial(self._queue.change, value=self.read._value, limit=limit)
        return run(self._store, self.read._steps.move(change), undo=Held.give_up)

    def __repr__(self) -> str:
        return f"<ReadWriteLock {self.name!r} read={self.read.held} write={self.write.held}>"
