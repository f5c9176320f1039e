"""A lock: of all who ask for a name, one holds it.

A fair lock is a queue of tickets (:mod:`tenure.recipes._queue`). With ``fair=False`` it is one key that all put if it
is absent (:mod:`tenure.recipes._single_key`): one round trip less, and in no order.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import run
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable, Contest
from tenure.recipes._holding import Held, Holding
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Queue, Ticket
from tenure.recipes._single_key import SingleKey
from tenure.recipes.session import Session

_EXCLUSIVE = "x"


class InOrder:
    """One at a time, in the order of the tickets."""

    whole_folder = False

    def blocker(self, tickets: Sequence[Ticket], mine: Ticket) -> Ticket | None:
        """Return the ticket before ``mine``."""
        index = tickets.index(mine)
        return tickets[index - 1] if index else None


class Lock:
    """A lock with a fencing token, on any store. At most one holder relies on it at any time.

    * Fair: participants hold it in the order in which they asked. A waiter watches its predecessor's key alone.
    * The lock ends with its session. By its local clock, the holder knows of a loss before others can hold it.
    * The token grows with each holder. :meth:`Held.guard` lets the store refuse what a former holder writes.
    * A wait that is cancelled, interrupted or out of time leaves no key behind, whatever the outcome of its writes.

    All participants of a name use the same ``fair``. One object is one participant: a second acquire by it is an error.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     lock = tenure.Lock(store, "report")
    ...     with lock.hold(timeout=10) as held:
    ...         change = store.transaction().put("report/last", b"today")
    ...         written = held.guard(change).commit()
    ...     lock.held is None
    True

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        session: a session of one's own; by default one that all recipes of the store object share.
        fair: whether participants hold the lock in order. ``False`` saves a round trip.
        reentrant: whether a second acquire by this object counts instead of raising ``AlreadyHeld``.
        owner: a text for people who look who holds the lock; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        session: Session | None = None,
        fair: bool = True,
        reentrant: bool = False,
        owner: str | None = None,
    ) -> None:
        folder = _names.folder("lock", name)
        what = f"the lock {name!r}"
        contest: Contest = (
            Queue(store, folder, what, InOrder(), janitor_of(store), session)
            if fair
            else SingleKey(store, f"{folder}holder", what, janitor_of(store), session)
        )
        self._steps = Acquirable(store, contest, Held, kind="lock", name=name, reentrant=reentrant)
        self._value = owner_value(owner)

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._steps.name

    @property
    def held(self) -> Held | None:
        """What this object holds now; ``None`` if nothing. Reads the local clock and makes no call to the store."""
        return self._steps.held

    def acquire(self, *, timeout: float | None = None) -> Held:
        """Wait for the lock.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Returns:
            The lock, held. Release it when done.

        Raises:
            WaitTimeout: others held the lock all the time.
            AlreadyHeld: this object holds the lock, or is acquiring it.
            LeaseLost: the session ended during the wait.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        store = self._steps.store
        return run(store, self._steps.acquire(_EXCLUSIVE, self._value, TimeLimit(store.clock, timeout)))

    def try_acquire(self, *, timeout: float | None = None) -> Held | None:
        """Take the lock if it is free and nobody waits for it.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The lock, held; ``None`` if another participant holds it or waits for it.

        Raises:
            AlreadyHeld: this object holds the lock, or is acquiring it.
            LeaseLost: the session ended meanwhile.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        store = self._steps.store
        return run(store, self._steps.try_acquire(_EXCLUSIVE, self._value, TimeLimit(store.clock, timeout)))

    def hold(self, *, timeout: float | None = None) -> Holding:
        """Hold the lock for the block of ``with``.

        At the end of the block the lock is released. If it was lost before, and the block raised nothing, leaving the
        block raises ``LeaseLost``.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Returns:
            A context manager that gives the :class:`Held`. Entering it raises like :meth:`acquire`.
        """
        return Holding(lambda: self.acquire(timeout=timeout))

    def __repr__(self) -> str:
        return f"<Lock {self.name!r} {self._steps.held or 'not held'}>"
