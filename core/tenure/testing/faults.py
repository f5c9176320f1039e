"""The faults that a test can inject, as the methods of one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tenure.errors import InvalidArgument, LeaseNotFound, TenureError, Unavailable, Unsupported
from tenure.leases.lease import Lease
from tenure.spi.backend import Backend
from tenure.spi.types import LeaseId
from tenure.testing.embedded import EmbeddedStore
from tenure.testing.plan import OPERATIONS, LostAnswer, Plan, Refusal

_TIMEOUT = 5.0


class Faults:
    """The faults of one sandbox, from :attr:`Sandbox.faults`. They affect every connection to it.

    A scripted fault waits for the call that it is meant for: :meth:`fail_calls`, :meth:`next_write_unknown`. Other
    faults happen before the method returns (:meth:`expire_lease`, :meth:`cut_watches`, :meth:`compact`,
    :meth:`lose_data`) or last as long as a ``with`` block (:meth:`outage`, :meth:`hang`,
    :meth:`watches_disconnected`).
    """

    def __init__(self, plan: Plan, backend: Backend, embedded: EmbeddedStore | None) -> None:
        self._plan = plan
        self._backend = backend
        self._embedded = embedded

    # -- scripted --

    def fail_calls(
        self,
        calls: int = 1,
        *,
        error: TenureError | type[TenureError] = Unavailable,
        kinds: str | Iterable[str] = (),
    ) -> Refusal:
        """Let the next calls to the store fail; the store applies none of them.

        Core retries after ``Unavailable``, and each attempt counts as a call: the application never sees a single
        failure.

        Args:
            calls: number of calls that fail, at least 1.
            error: the error that they raise, or its class.
            kinds: the kinds of calls that fail: ``get``, ``list``, ``commit`` (every write), ``grant``, ``refresh``
                (which leases call automatically), ``revoke``, ``leases``, ``watch``, ``server_info``, ``open``;
                default: any.

        Returns:
            The scripted fault; its ``refused`` counts the calls that failed.

        Raises:
            InvalidArgument: a kind is unknown, ``calls`` is out of range, or ``error`` is no ``TenureError``.
        """
        chosen = frozenset([kinds] if isinstance(kinds, str) else kinds)
        if wrong := sorted(chosen.difference(OPERATIONS)):
            raise InvalidArgument(
                f"scripting a fault: no such kind of call: {wrong[0]!r}; choose from {', '.join(OPERATIONS)}"
            )
        if not isinstance(calls, int) or calls < 1:
            raise InvalidArgument(f"scripting a fault: calls is a number of calls, at least 1, not {calls!r}")
        if isinstance(error, type) and issubclass(error, TenureError):
            error = error("the store refuses this call, as scripted by the test")
        if not isinstance(error, TenureError):
            raise InvalidArgument(f"scripting a fault: a store raises only errors of tenure.errors, not {error!r}")
        entry = Refusal(error, chosen, calls)
        self._plan.script(entry)
        return entry

    def next_write_unknown(self, *, applied: bool) -> LostAnswer:
        """Let the next write (``put``, ``delete``, a transaction) end in ``OutcomeUnknown``.

        A second call is for the write after that.

        Args:
            applied: whether the store applies the write.

        Returns:
            The scripted fault; its ``happened`` says whether the write was made. Its ``deliver_late`` lets a write
            that wasn't applied arrive late.
        """
        entry = LostAnswer(applied)
        self._plan.script(entry)
        return entry

    @property
    def unused(self) -> tuple[str, ...]:
        """The scripted faults that haven't happened. A test that ends with some has tested less than it states."""
        return self._plan.unused()

    def clear(self) -> None:
        """Drop all scripted faults, and end the faults that last."""
        self._plan.clear()

    def count(self, operation: str) -> int:
        """Count the calls made so far, refused calls included.

        Args:
            operation: a kind of call, as for :meth:`fail_calls`.

        Returns:
            The number of calls of this kind.

        Raises:
            InvalidArgument: the kind is unknown.
        """
        if operation not in OPERATIONS:
            raise InvalidArgument(
                f"counting calls: no such kind of call: {operation!r}; choose from {', '.join(OPERATIONS)}"
            )
        return self._plan.calls[operation]

    # -- at once --

    def expire_lease(self, lease: Lease | LeaseId, *, notify_holder: bool = True) -> None:
        """End a lease in the store, as if its TTL had passed: its keys are removed, and watchers receive the deletes.

        It works during an outage, too.

        Args:
            lease: the lease, or its id.
            notify_holder: mark the lease as lost at once, so that another thread calls ``on_lost``. If false, or if
                ``lease`` is an id, the holder finds out as in production, by its next refresh or write.

        Raises:
            LeaseNotFound: the lease isn't alive.
        """
        lease_id = lease.id if isinstance(lease, Lease) else lease
        if not self._backend.revoke([lease_id], timeout=_TIMEOUT):
            raise LeaseNotFound(f"expiring a lease: no lease {lease_id!r} is alive in this store")
        if isinstance(lease, Lease) and notify_holder:
            lease.mark_lost("the store ended it, as scripted by the test")

    def cut_watches(self, *, force_resync: bool = False) -> int:
        """Break the connection of every running watch. Watches resume automatically.

        Args:
            force_resync: the store has no history to resume from. Each watch delivers the difference in a ``RESYNC``
                batch; a watch that was opened with ``after`` ends by ``Compacted``.

        Returns:
            The number of watches.
        """
        return self._plan.cut(gap=force_resync)

    def compact(self) -> None:
        """Drop the store's history, so that no watch can resume from before.

        Raises:
            Unsupported: the sandbox runs on a store named by its URL.
        """
        self._helping("compact").compact()

    def lose_data(self) -> None:
        """Remove all data, as a server that lost its disk.

        Raises:
            Unsupported: the sandbox runs on a store named by its URL.
        """
        self._helping("lose_data").lose_data()

    # -- for a while --

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Cut the store off while the block runs: all calls raise ``Unavailable``, and watches are cut.

        The data stay, and leases may expire.

        Returns:
            A context manager.
        """
        self._plan.down = True
        self._plan.cut()
        try:
            yield
        finally:
            self._plan.down = False

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Let the store accept calls and not answer them while the block runs.

        Reads end in ``DeadlineExceeded``, writes in ``OutcomeUnknown`` (the store doesn't apply them), and watches
        deliver nothing until the block ends. On a virtual clock no call takes real time. A real client drops such a
        connection after ``capabilities.max_watch_failure_detection`` seconds; :meth:`cut_watches` does that.

        Returns:
            A context manager.
        """
        self._plan.freeze(True)
        try:
            yield
        finally:
            self._plan.freeze(False)

    @contextmanager
    def watches_disconnected(self, *, force_resync: bool = False) -> Iterator[None]:
        """Keep watches disconnected while the block runs; all other calls work.

        Afterwards watches deliver what happened meanwhile: with ``force_resync`` in a ``RESYNC`` batch, otherwise one
        by one if the store keeps every revision.

        Args:
            force_resync: the store has no history to resume from.

        Returns:
            A context manager.
        """
        self._plan.deaf = True
        self._plan.cut(gap=force_resync)
        try:
            yield
        finally:
            self._plan.deaf = False

    def _helping(self, what: str) -> EmbeddedStore:
        if self._embedded is None:
            raise Unsupported(
                f"{what}(): it works only on the store inside the process, and the sandbox has a URL; leave out the URL"
            )
        return self._embedded
