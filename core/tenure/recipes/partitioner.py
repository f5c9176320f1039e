"""A partitioner: members share numbered partitions, each at one member, with a fencing token of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from tenure._client.keys import check_callback
from tenure._client.store import Store
from tenure._client.transaction import TransactionDraft, check_draft
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import InvalidArgument, LeaseLost, TenureError
from tenure.recipes import _names
from tenure.recipes._holding import Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import owner_value
from tenure.recipes._shares import PARTITIONS, Share
from tenure.recipes.session import Session

D = TypeVar("D", bound=TransactionDraft)

_MOST = 10_000


class Partitioner:
    """Shares the partitions 0 to N-1 of some work among the members that are there, as evenly as possible.

    * No two members rely on a partition at the same time. One that is given back is free only after ``on_release`` has
      returned. That of a member that dies is free when its session ends, and the member knows it before.
    * Each owner of a partition has a token, which grows with each owner, and :meth:`guard` for what it writes.
    * All happens in :meth:`wait` and :meth:`update`, on the caller's thread. A member that calls neither keeps what it
      owns, and takes nothing. So call one of them more often than the others may have to wait for their share.

    One object is one member, whose thread calls :meth:`wait`; others may read :attr:`owned` and call :meth:`guard`. In
    ``with``, it leaves at the end of the block.

    >>> import tenure
    >>> with tenure.connect("memory://") as store, tenure.Partitioner(store, "users", partitions=4) as mine:
    ...     mine.wait(timeout=10)
    ...     list(mine.owned)
    ...     with tenure.Partitioner(store, "users", partitions=4) as other:
    ...         other.update(), mine.update(), other.update()
    ...         list(mine.owned), list(other.owned)
    True
    [0, 1, 2, 3]
    (False, True, True)
    ([0, 1], [2, 3])

    Args:
        store: the store.
        name: the name that members share, at most 400 bytes.
        partitions: the number of partitions, 1 to 10,000; the same at each member.
        member: a name of this member for observers; by default host and process id.
        on_release: called with a partition and what is held of it, before it is given back, in :meth:`wait`,
            :meth:`update` or :meth:`close`. It returns when the work on that partition has stopped. It isn't called for
            what was lost.
        session: a session of one's own; by default one that all recipes of the store object share.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL; or ``partitions`` is out of range.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        partitions: int,
        member: str | None = None,
        on_release: Callable[[int, Held], object] | None = None,
        session: Session | None = None,
    ) -> None:
        check_callback("on_release", on_release)
        if isinstance(partitions, bool) or not isinstance(partitions, int) or not 1 <= partitions <= _MOST:
            raise InvalidArgument(f"partitions={shown(partitions)}: give a number of partitions from 1 to {_MOST}")
        self._store = store
        self._name = name
        self._share: Share[Held] = Share(
            store,
            _names.folder("partitioner", name),
            name,
            partitions,
            value=owner_value(member, **{PARTITIONS: partitions}),
            make=Held,
            janitor=janitor_of(store),
            session=session,
            on_release=on_release,
        )

    @property
    def name(self) -> str:
        """The name that members share."""
        return self._name

    @property
    def owned(self) -> Mapping[int, Held]:
        """The partitions that this member can rely on now. Reads the local clock and makes no call to the store."""
        return self._share.owned

    def guard(self, transaction: D, partition: int) -> D:
        """Add the precondition that this member still owns the partition.

        Args:
            transaction: a transaction of the same store.
            partition: the partition's number.

        Returns:
            The same builder. Its ``commit`` raises ``Conflict`` if another member may own the partition.

        Raises:
            LeaseLost: this member doesn't own the partition.
            UsedAfterFork: it is owned by the parent of this process.
        """
        check_draft(transaction, f"guarding by a partition of {self._name!r}")
        held = self.owned.get(partition)
        if held is None:
            transaction._refused()
            raise LeaseLost(f"guarding by partition {partition} of {self._name!r}: this member doesn't own it")
        return held.guard(transaction)

    def wait(self, *, timeout: float | None = None) -> bool:
        """Give back and take partitions until what this member owns has changed.

        Joins, the first time, and after a loss.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives. Requests have the store's timeout
                beside.

        Returns:
            Whether it has changed; ``False`` if the time is up.

        Raises:
            InvalidArgument: another member has another number of partitions.
            AlreadyHeld: another thread is in this or another call of this object that gives and takes.
            LeaseLost: the session of its own has ended.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._waiting(timeout=timeout))

    def update(self, *, timeout: float | None = None) -> bool:
        """Give back and take what is possible now, without waiting.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            Whether what this member owns has changed since the last call of this or :meth:`wait`.

        Raises:
            InvalidArgument: another member has another number of partitions.
            AlreadyHeld: another thread is in this or another call of this object that gives and takes.
            LeaseLost: the session of its own has ended.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._updating(timeout=timeout))

    def close(self, *, timeout: float | None = None) -> None:
        """Give everything back and leave. Idempotent; :meth:`wait` and :meth:`update` join again.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Raises:
            AlreadyHeld: another thread is giving and taking for this object.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._leaving(timeout=timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except TenureError:
            if error is None:
                raise
            return  # the error of the body tells more
        except BaseException:  # an interrupt, maybe before anything was given back
            self._share.give_up()
            raise

    def _waiting(self, *, timeout: float | None = None) -> Steps[bool]:
        return self._share.wait(TimeLimit(self._store.clock, timeout))

    def _updating(self, *, timeout: float | None = None) -> Steps[bool]:
        return self._share.update(TimeLimit(self._store.clock, timeout))

    def _leaving(self, *, timeout: float | None = None) -> Steps[None]:
        return self._share.leave(TimeLimit(self._store.clock, timeout))

    def __repr__(self) -> str:
        return f"<Partitioner {self._name!r} owns {len(self.owned)}>"
