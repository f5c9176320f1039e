"""Several locks at once: all of them or none, in one order for all participants, so that no two wait for each other.

Each is the queue of the fair :class:`~tenure.Lock` of the same name, so the two exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import cast

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure.errors import InvalidArgument
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._held_state import D
from tenure.recipes._holding import Acquires, Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Acquired, Queue
from tenure.recipes.lock import InOrder
from tenure.recipes.session import Session, session_for


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in the order in which all participants acquire locks."""
    return tuple(sorted(names, key=str.encode))


@dataclass(frozen=True, slots=True)
class AcquiredAll(Acquired):
    """All locks. The ticket is that of the last one.

    Attributes:
        parts: what was acquired of each lock, in their order.
    """

    parts: tuple[Acquired, ...]


class AllInOrder:
    """Competes for several queues, one after the other."""

    def __init__(self, queues: tuple[Queue, ...]) -> None:
        self.queues = queues

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[AcquiredAll]:
        """Steps that wait until all are acquired."""
        return cast("Steps[AcquiredAll]", self._collect(Queue.acquire, value, limit))

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[AcquiredAll | None]:
        """Steps that acquire all if that is possible now, and none otherwise."""
        return (yield from self._collect(Queue.try_acquire, value, limit))

    def release(self, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        """Steps that give all back. Return whether all were still held."""
        assert isinstance(held, AcquiredAll)
        return (yield from self._release(list(held.parts), limit))

    def give_up(self, held: Acquired) -> None:
        """Let the janitor give all back. Never blocks or raises."""
        assert isinstance(held, AcquiredAll)
        self._leave(held.parts)

    def _collect(
        self,
        acquire: Callable[[Queue, bytes, TimeLimit], Steps[Acquired] | Steps[Acquired | None]],
        value: bytes,
        limit: TimeLimit,
    ) -> Steps[AcquiredAll | None]:
        first = self.queues[0]
        session = yield from session_for(first.store, first.session, limit)
        parts: list[Acquired] = []
        part: Acquired | None = None
        try:
            for queue in self.queues:
                part = yield from acquire(replace(queue, session=session), value, limit)
                if part is None:
                    break
                parts.append(part)
            else:
                return AcquiredAll(parts[-1].ticket, session, any(part.uncertain for part in parts), tuple(parts))
        except BaseException:  # an interrupt may come before what was acquired is among the parts
            self._leave(parts if part is None or part in parts else [*parts, part])
            raise
        yield from self._release(parts, limit)
        return None

    def _release(self, parts: list[Acquired], limit: TimeLimit) -> Steps[bool]:
        """The last one first: who waits for several gets the first one once the others are free."""
        held = True
        try:
            while parts:
                held = (yield from self.queues[len(parts) - 1].release(parts[-1], limit)) and held
                parts.pop()
        finally:
            self._leave(parts)
        return held

    def _leave(self, parts: Iterable[Acquired]) -> None:
        for part in parts:
            self.queues[0].give_up(part)


class AllHeld(Held):
    """All locks, lost together, as they are on one session."""

    parts: tuple[Acquired, ...] = ()

    @property
    def _revisions(self) -> Iterable[tuple[str, int]]:
        return tuple((part.ticket.key, part.ticket.revision) for part in self.parts)

    def guard(self, transaction: D) -> D:
        self._admit(transaction)
        for part in self.parts:
            transaction.if_unchanged(part.ticket.key, revision=part.ticket.revision)
        return transaction


class AcquirableAll(Acquirable[Held]):
    """Gives what it holds the tickets of all locks."""

    def _face(self, acquired: Acquired) -> Held:
        held = super()._face(acquired)
        assert isinstance(held, AllHeld)
        assert isinstance(acquired, AcquiredAll)
        held.parts = acquired.parts
        return held


class MultiLock(Acquires):
    """Several locks that are held together: all or none. Participants with overlapping names never deadlock.

    It excludes each :class:`Lock` with ``fair=True`` and each other ``MultiLock`` that has one of its names. Locks are
    acquired in one order, whatever the order of ``names``; a participant that waits for one holds those before it.

    They are held as one: the guard of :class:`Held` covers all, and its token is that of the last name. A resource that
    one of the locks protects compares that lock's token, see :attr:`tokens`.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     accounts = tenure.MultiLock(store, ["account-7", "account-3"])
    ...     with accounts.hold(timeout=10) as held:
    ...         print(sorted(accounts.tokens), tenure.Lock(store, "account-3").try_acquire())
    ...         written = held.guard(store.transaction().put("transfers/1", b"7 to 3")).commit()
    ['account-3', 'account-7'] None

    Args:
        store: the store.
        names: the names of the locks, each once. Each needs one precondition in guarded transactions.
        session: a session of one's own; by default one that all recipes of the store object share.
        owner: a text for people who look who holds the locks; by default host and process id.

    Raises:
        InvalidArgument: no name is given, one of them twice, or one is empty, too long, or no text without NUL.
    """

    def __init__(
        self, store: Store, names: Iterable[str], *, session: Session | None = None, owner: str | None = None
    ) -> None:
        given = [names] if isinstance(names, str) else list(names)
        folders = {name: _names.folder("lock", name) for name in given}
        if not given or len(folders) < len(given):
            raise InvalidArgument(f"locking {given!r}: these are no distinct names; give each lock's name once")
        self._names = in_order(given)
        queues = tuple(
            Queue(store, folders[name], f"the lock {name!r}", InOrder(), janitor_of(store), session, "lock", name)
            for name in self._names
        )
        super().__init__(
            AcquirableAll(store, AllInOrder(queues), AllHeld, kind="locks", name=", ".join(self._names)),
            owner_value(owner),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the locks, in the order in which they are acquired."""
        return self._names

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each lock, by name, while this object holds them. Each grows with the lock's holders."""
        held = self.held
        parts = held.parts if isinstance(held, AllHeld) else ()
        return {name: part.ticket.revision for name, part in zip(self._names, parts, strict=bool(parts))}

    def __repr__(self) -> str:
        return f"<MultiLock {self.names!r} {self.held or 'not held'}>"
