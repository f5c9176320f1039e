"""What a test can let go wrong, as the methods of one object."""

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
    """The faults of one sandbox. They hit every connection to it, and take effect when the method returns.

    Scripted ones wait for the call that they are meant for: :meth:`fail_calls`, :meth:`next_write_unknown`. Others happen
    at once (:meth:`expire_lease`, :meth:`cut_watches`, :meth:`compact`, :meth:`lose_data`) or last as long as a ``with``
    (:meth:`outage`, :meth:`hang`, :meth:`watches_disconnected`).
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
        """Refuse the next ``calls`` to the store by ``error``; nothing is applied.

        ``kinds`` names the kinds of calls that are meant: ``get``, ``list``, ``commit`` (every write), ``grant``,
        ``refresh`` (which leases do by themselves), ``revoke``, ``leases``, ``watch``, ``server_info``, ``open``; by
        default any. Core tries again after ``Unavailable``, and each try counts: one refusal is never seen.
        """
        chosen = frozenset([kinds] if isinstance(kinds, str) else kinds)
        if wrong := sorted(chosen.difference(OPERATIONS)):
            raise InvalidArgument(f"no call to a store is {wrong[0]!r}: there are {', '.join(OPERATIONS)}")
        if not isinstance(calls, int) or calls < 1:
            raise InvalidArgument(f"calls is a number of calls to refuse, at least 1, not {calls!r}")
        if isinstance(error, type) and issubclass(error, TenureError):
            error = error("the store refuses this call, as the test wants it")
        if not isinstance(error, TenureError):
            raise InvalidArgument(f"a store raises errors of tenure.errors alone, not {error!r}")
        entry = Refusal(error, chosen, calls)
        self._plan.script(entry)
        return entry

    def next_write_unknown(self, *, applied: bool) -> LostAnswer:
        """Let the next write (``put``, ``delete``, a transaction) end in ``OutcomeUnknown``, applied or not.

        Calling it again is for the write after. The answer tells whether it has happened, and can let a write that
        wasn't applied arrive late.
        """
        entry = LostAnswer(applied)
        self._plan.script(entry)
        return entry

    @property
    def unused(self) -> tuple[str, ...]:
        """What was scripted and hasn't happened: a test that ends so has tested less than it says."""
        return self._plan.unused()

    def clear(self) -> None:
        """Forget what is scripted, and end what lasts."""
        self._plan.clear()

    def count(self, operation: str) -> int:
        """How many calls of this kind have been made so far, refused ones included."""
        if operation not in OPERATIONS:
            raise InvalidArgument(f"no call to a store is {operation!r}: there are {', '.join(OPERATIONS)}")
        return self._plan.calls[operation]

    # -- at once --

    def expire_lease(self, lease: Lease | LeaseId, *, notify_holder: bool = True) -> None:
        """End a lease in the store, as if its time had run out: its keys go, watchers are told.

        Given the lease itself, its holder knows at once, too, and ``on_lost`` is called; with ``notify_holder=False``, or
        given its id, the holder finds out as in life, by its next refresh or write. Works during an outage. Raises
        ``LeaseNotFound`` if the lease isn't alive.
        """
        lease_id = lease.id if isinstance(lease, Lease) else lease
        if not self._backend.revoke([lease_id], timeout=_TIMEOUT):
            raise LeaseNotFound(f"no lease {lease_id!r} is alive in this store")
        if isinstance(lease, Lease) and notify_holder:
            lease.mark_lost("the store ended it, as the test wants it")

    def cut_watches(self, *, force_resync: bool = False) -> int:
        """Let every running watch lose its connection; answers how many there were. They resume by themselves.

        With ``force_resync`` the store has no history to resume from: a ``RESYNC`` batch tells the difference, and a watch that
        was opened with ``after`` ends by ``Compacted``.
        """
        return self._plan.cut(gap=force_resync)

    def compact(self) -> None:
        """Drop the store's history. Raises ``Unsupported`` where the store doesn't help."""
        self._helping("compact").compact()

    def lose_data(self) -> None:
        """Start over empty, as a server that lost its disk. Raises ``Unsupported`` where the store doesn't help."""
        self._helping("lose_data").lose_data()

    # -- for a while --

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nothing reaches the store: all calls raise ``Unavailable``, watches are cut. The data stays, time runs on."""
        self._plan.down = True
        self._plan.cut()
        try:
            yield
        finally:
            self._plan.down = False

    @contextmanager
    def hang(self) -> Iterator[None]:
        """The store takes requests and doesn't answer: reads end in ``DeadlineExceeded``, writes in ``OutcomeUnknown``
        (they weren't applied), watches say nothing until it is over. On a virtual clock no call really waits.

        A real connection would be given up after ``capabilities.max_watch_failure_detection`` seconds: :meth:`cut_watches` does it.
        """
        self._plan.freeze(True)
        try:
            yield
        finally:
            self._plan.freeze(False)

    @contextmanager
    def watches_disconnected(self, *, force_resync: bool = False) -> Iterator[None]:
        """Watches are cut and can't be opened, everything else works: what happens meanwhile they learn afterwards.

        With ``force_resync`` from a ``RESYNC`` batch, else one by one where the store keeps every revision.
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
                f"{what}() needs the help of the store, and this one was named by its URL: leave out the URL"
            )
        return self._embedded
