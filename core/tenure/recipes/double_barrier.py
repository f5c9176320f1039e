"""A double barrier: members begin together once enough of them are there, and end together.

How they find each other is in :mod:`tenure.recipes._meeting`.
"""

from __future__ import annotations

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import InvalidArgument, TenureError
from tenure.recipes import _names
from tenure.recipes._janitor import janitor_of
from tenure.recipes._meeting import Gathering, Meeting
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Queue
from tenure.recipes.session import Session


class DoubleBarrier:
    """A barrier at which ``count`` members begin together and end together. One object is one member.

    * :meth:`enter` returns once ``count`` members have entered. More than that wait for the next round.
    * :meth:`leave` returns once all members of the round have left. A member that dies has left when its session ends.
    * A member that has entered does not leave before each living member of its round has entered, too.

    A member can enter again after it has left.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     barrier = tenure.DoubleBarrier(store, "load-test", count=1)
    ...     barrier.enter(timeout=10)
    ...     print(barrier.inside)
    ...     barrier.leave(timeout=10)
    True

    Args:
        store: the store.
        name: the name that members share, at most 400 bytes.
        count: the number of members of a round. All give the same number; one that gives another is refused. It is
            less than ``capabilities.max_transaction_operations``.
        session: a session of one's own; by default one that all recipes of the store object share.
        owner: a text for people who look who is there; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL, or ``count`` is not in its range.
    """

    def __init__(
        self, store: Store, name: str, *, count: int, session: Session | None = None, owner: str | None = None
    ) -> None:
        most = store.capabilities.max_transaction_operations - 1
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= most:
            raise InvalidArgument(
                f"the double barrier {name!r}: count={shown(count)} is no number from 1 to {most}, which is what the "
                "store can check in one transaction; give such a number"
            )
        what = f"the double barrier {name!r}"
        gathering = Gathering(what, count)
        queue = Queue(store, _names.folder("double-barrier", name), what, gathering, janitor_of(store), session)
        self._store = store
        self._name = name
        self._value = owner_value(owner, count=count)
        self._steps = Meeting(queue, gathering)

    @property
    def name(self) -> str:
        """The name that members share."""
        return self._name

    @property
    def inside(self) -> bool:
        """Whether this member has entered and not left. Turns false before others take it for dead."""
        return self._steps.inside

    def enter(self, *, timeout: float | None = None) -> None:
        """Wait until ``count`` members have entered.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives. To leave when the time is up may take
                the store's timeout longer.

        Raises:
            WaitTimeout: not enough members came. This one has left.
            AlreadyHeld: this object has entered, or is entering.
            InvalidArgument: another member was made with another ``count``.
            LeaseLost: the session ended during the wait.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._entering(timeout=timeout), undo=lambda _: self._steps.give_up())

    def leave(self, *, timeout: float | None = None) -> None:
        """Leave, and wait until all members of the round have left. This member has left even if the call fails.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Raises:
            WaitTimeout: others have not left in that time.
            LeaseLost: this object has not entered, or its session has ended, so others may have left before it.
            Unavailable: the time ran out while the store could not be reached.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        try:
            run(self._store, self._leaving(timeout=timeout))
        except TenureError:
            raise
        except BaseException:  # an interrupt, maybe before the steps began
            self._steps.give_up()
            raise

    def _entering(self, *, timeout: float | None = None) -> Steps[None]:
        return self._steps.enter(self._value, TimeLimit(self._store.clock, timeout))

    def _leaving(self, *, timeout: float | None = None) -> Steps[None]:
        return self._steps.leave(TimeLimit(self._store.clock, timeout))

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.name!r} {'inside' if self.inside else 'outside'}>"
