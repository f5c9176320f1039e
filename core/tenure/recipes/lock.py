"""A lock: of all who ask for a name, one holds it.

A fair lock is a queue of tickets (:mod:`tenure.recipes._queue`). With ``fair=False`` it is one key that all put if it
is absent (:mod:`tenure.recipes._single_key`): one round trip less, and in no order.
"""

from __future__ import annotations

from tenure._client.store import Store
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable, Contest
from tenure.recipes._holding import Acquires, Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Queue, Ticket, Turn, View
from tenure.recipes._single_key import SingleKey, refuse_unfair
from tenure.recipes.session import Session


class InOrder(Turn):
    """One at a time, in the order of the tickets."""

    part = True

    def together(self, value: bytes) -> int:
        """Return 1: the first one holds."""
        return 1

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the ticket before ``mine``."""
        refuse_unfair(view)
        index = view.tickets.index(mine)
        return view.tickets[index - 1] if index else None


class Lock(Acquires):
    """A lock with a fencing token, on any store. At most one holder relies on it at any time.

    * Fair: participants hold it in the order in which they asked. A waiter watches its predecessor's key alone.
    * The lock ends with its session. By its local clock, the holder knows of a loss before others can hold it.
    * The token grows with each holder. :meth:`Held.guard` lets the store refuse what a former holder writes.
    * A wait that is cancelled, interrupted or out of time leaves no key behind, whatever the outcome of its writes.

    All participants of a name use the same ``fair``; one that doesn't is refused. A fair lock and a
    :class:`ReadWriteLock` of the same name exclude each other, as if the lock were a writer. One object is one
    participant: a second acquire by it is an error.

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
            Queue(store, folder, what, InOrder(), janitor_of(store), session, "lock", name)
            if fair
            else SingleKey(store, folder, what, janitor_of(store), session)
        )
        super().__init__(
            Acquirable(store, contest, Held, kind="lock", name=name, reentrant=reentrant), owner_value(owner)
        )

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._steps.name

    def __repr__(self) -> str:
        return f"<Lock {self.name!r} {self.held or 'not held'}>"
