"""One lease, and how its holder detects a loss from the local clock, before the store reports it.

States::

    ALIVE --no refresh for 2/3 of the TTL--> AT_RISK --TTL since the last good refresh began--> LOST
      ^                                        |                                              (final)
      '------------- refreshed ----------------'
    ALIVE, AT_RISK --revoke()--> REVOKED (final);    ALIVE, AT_RISK --the store no longer has it--> LOST

The deadline runs on the local clock from the moment at which the last successful refresh was *sent*. The store counts
from when it received the refresh, which is later, so the holder gives up first. A process that was paused or cut
off therefore finds its lease LOST from the clock alone. LOST is final even if an answer arrives late.

A forked child doesn't hold its parent's leases: in the child they are LOST, and revoking them does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from sys import is_finalizing
from types import TracebackType
from typing import Any, Protocol, Self

from tenure._runtime.clock import Clock, is_number
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.monitor import Monitor
from tenure.errors import InvalidArgument, LeaseLost, TenureError, UsedAfterFork
from tenure.spi.types import LeaseGrant, LeaseId

_log = logging.getLogger("tenure.leases")
_AT_RISK_AFTER = 2 / 3
_DID_NOT_RUN = "this process did not run (stopped, frozen, suspended or without CPU time)"


class LeaseState(StrEnum):
    """The state of a lease. LOST and REVOKED are final.

    Attributes:
        ALIVE: the holder can rely on the lease, and its refreshes succeed.
        AT_RISK: the holder can still rely on the lease, but no refresh has succeeded for two thirds of the TTL.
        LOST: the holder can no longer rely on the lease: its TTL passed, or the store no longer has it.
        REVOKED: this process ended the lease.
    """

    ALIVE = "alive"
    AT_RISK = "at_risk"
    LOST = "lost"
    REVOKED = "revoked"


class Keeper(Protocol):
    """What a lease needs from the store's keep-alive."""

    def refresh_now(self, lease: HeldLease, timeout: float | None) -> None: ...

    def revoke(self, lease: HeldLease, timeout: float | None) -> None: ...

    def lost(self, lease: HeldLease) -> None: ...

    def busy_since(self) -> float | None:
        """When the refresh that is under way was sent, of any lease; ``None`` if none is."""

    def forget(self, lease: HeldLease) -> None: ...


class HeldLease:
    """A lease held by this process: its state, by the local clock. Reading it makes no call to the store. Thread-safe.

    While :attr:`alive` is true, the lease has not expired in the store: the holder's deadline passes first, also after
    a pause or without a connection. A lease that is LOST or REVOKED never becomes alive again.

    Attributes:
        id: the lease's id in the store.
        requested_ttl: the TTL that the program asked for, in seconds.
        ttl: the TTL that the store really gave, in seconds.
        max_lifetime_after_refresh: seconds after the last refresh within which the store removes the keys, if the
            lease is not revoked.
        keep_alive: whether the lease is refreshed in the background.
        margin: seconds before the end of the TTL from which the holder counts the lease as lost.
        on_lost: called once with the lease if it is lost.
    """

    def __init__(
        self,
        grant: LeaseGrant,
        *,
        requested_ttl: float,
        max_lifetime_after_refresh: float,
        keep_alive: bool,
        started: float,
        margin: float,
        clock: Clock,
        keeper: Keeper,
        on_lost: Callable[[Any], object] | None,
    ) -> None:
        self.id: LeaseId = grant.lease_id
        self.requested_ttl = requested_ttl
        self.ttl = grant.ttl
        self.max_lifetime_after_refresh = max_lifetime_after_refresh
        self.keep_alive = keep_alive
        self.margin = margin
        self.on_lost = on_lost
        self._clock = clock
        self._keeper = keeper
        self._lock = Monitor()
        self._on_revoked: Callable[[HeldLease], object] | None = None
        self._on_refreshed: Callable[[], object] | None = None
        self._end: LeaseState | None = None
        self._reason = ""
        self._refreshed = started
        self._tried = started
        self._kept = clock.now()
        self._failures = 0
        self._failed_at = started
        self._failure = ""
        self._fork_generation = fork_generation.value

    # -- reading the state: no call to the store --

    @property
    def deadline(self) -> float:
        """The moment, in seconds of the store's ``clock``, from which the lease counts as lost."""
        return self._refreshed + self.ttl - self.margin

    @property
    def last_refreshed(self) -> float:
        """When the last refresh that succeeded was sent, or else the grant, in seconds of the store's ``clock``."""
        return self._refreshed

    @property
    def remaining(self) -> float:
        """Seconds for which the holder can still rely on the lease; 0.0 once it has ended."""
        if self._end is not None or left_behind(self._fork_generation):
            return 0.0
        return max(0.0, self.deadline - self._clock.now())

    @property
    def state(self) -> LeaseState:
        """The present state. Reading it turns an overdue lease LOST; it makes no call to the store."""
        if self._end is not None:
            return self._end
        if left_behind(self._fork_generation):
            return LeaseState.LOST  # without the lock and the callback, which are the parent's
        now = self._clock.now()
        if now >= self.deadline:  # the same comparison as in the keep-alive: "age >= ttl" rounds differently
            self.mark_lost(self._why(now))
            return self._end or LeaseState.LOST
        return LeaseState.AT_RISK if now - self._refreshed >= self.ttl * _AT_RISK_AFTER else LeaseState.ALIVE

    def _why(self, now: float) -> str:
        """Say why the deadline has passed: the tries since the last success tell a pause from a store that is away."""
        said = f"no refresh succeeded for {now - self._refreshed:.3f} s, the TTL is {self.ttl:g} s"
        if not self.keep_alive:
            return said
        since = now - self._tried
        paused = since >= self.ttl * _AT_RISK_AFTER  # longer than an attempt and the pause after it
        failed = f"; {self._failures} failed before, the last with {self._failure}" if self._failures else ""
        busy = self._keeper.busy_since()
        if busy is not None and self._tried < busy:
            return f"{said}: a refresh of other leases has been under way for {now - busy:.1f} s{failed}"
        if self._failed_at < self._tried != self._refreshed:
            hint = f"; {_DID_NOT_RUN}, or the client overran its time" if paused else ""
            return f"{said}: the one that was sent {since:.1f} s ago had no answer in time{hint}{failed}"
        if self._failures:
            tries = "the one that was tried" if self._failures == 1 else f"the {self._failures} that were tried"
            pause = f"; none was tried in the last {since:.1f} s: {_DID_NOT_RUN}" if paused else ""
            return f"{said}: {tries} failed, the last with {self._failure}{pause}"
        if self._kept - self._refreshed >= self.ttl - self.margin - self.ttl * _AT_RISK_AFTER:
            return f"{said}: the answer to its grant took {self._kept - self._refreshed:.1f} s"
        return (
            f"no refresh was tried for {since:.3f} s, the TTL is {self.ttl:g} s: {_DID_NOT_RUN}; "
            "the store is not the cause"
        )

    @property
    def alive(self) -> bool:
        """Whether the holder can still rely on the lease: ALIVE or AT_RISK."""
        return self.state in (LeaseState.ALIVE, LeaseState.AT_RISK)

    @property
    def reason(self) -> str:
        """Why the lease was lost; empty in any other state."""
        return self._reason

    def ensure_valid(self, min_remaining: float = 0.0) -> None:
        """Raise unless the holder can rely on the lease for at least ``min_remaining`` seconds from now.

        Reads the local clock and makes no call to the store.

        Args:
            min_remaining: seconds for which the lease has to remain valid.

        Raises:
            LeaseLost: the lease has ended, or less time is left.
            InvalidArgument: ``min_remaining`` is not a number.
            UsedAfterFork: the lease is held by the parent of this process.
        """
        if is_finalizing():
            raise LeaseLost(f"using lease {self.id}: the interpreter is ending, and refreshes no lease any more")
        if left_behind(self._fork_generation):
            raise UsedAfterFork(
                f"using lease {self.id}: the lease is held by the parent of this process; take a new lease in the child"
            )
        if not is_number(min_remaining):  # no time is less than NaN
            raise InvalidArgument(f"using lease {self.id}: {min_remaining!r} is no number of seconds; give one")
        if self.state in (LeaseState.LOST, LeaseState.REVOKED):
            reason = f" ({self._reason})" if self._reason else ""
            raise LeaseLost(f"using lease {self.id}: the lease is {self._end}{reason}; take a new lease")
        if self.remaining < min_remaining:
            raise LeaseLost(
                f"using lease {self.id}: the lease is valid for {self.remaining:.3f} s more only, {min_remaining:g} s "
                "are required; wait for its next refresh, or take a new lease"
            )

    def abandon(self) -> None:
        """Stop refreshing, without a call to the store. From now on the holder can't rely on the lease.

        The store removes the keys when the lease expires, within ``max_lifetime_after_refresh`` seconds. Does nothing
        if the lease has ended, or in a forked child.
        """
        if self.mark_revoked():
            self._keeper.forget(self)

    def __repr__(self) -> str:
        return f"<Lease {self.id} {self.state} ttl={self.ttl:g}s remaining={self.remaining:.1f}s>"

    # -- for the faces --

    def refresh_now(self, timeout: float | None) -> None:
        """Refresh the lease, on the calling thread.

        Args:
            timeout: seconds that the call may take; ``None`` for the store's timeout.

        Raises:
            LeaseLost: the lease has ended. Other errors are those of :meth:`Lease.refresh`.
        """
        self.ensure_valid()
        self._keeper.refresh_now(self, timeout)

    def revoke_now(self, timeout: float | None) -> None:
        """End the lease, on the calling thread.

        Args:
            timeout: seconds that the call may take; ``None`` for the store's timeout.

        Raises:
            OutcomeUnknown: no answer came. Other errors are those of :meth:`Lease.revoke`.
        """
        # Reading the state of an overdue lease records its loss. A forked child records none.
        late = not self.ended and self.state is LeaseState.LOST and self.ended
        if late or self.mark_revoked():
            self._keeper.revoke(self, timeout)

    # -- for the keep-alive --

    @property
    def ended(self) -> bool:
        """Whether the lease is recorded as LOST or REVOKED. Unlike :attr:`state`, this reads no clock."""
        return self._end is not None

    def tells(self, receiver: str) -> bool:
        """Claim the right to inform ``receiver`` of the loss. Any thread may ask.

        Args:
            receiver: who is informed, such as ``"on_lost"``.

        Returns:
            Whether the caller is the first to ask.
        """
        mine = object()
        return (
            self.__dict__.setdefault(f"_told_{receiver}", mine) is mine
        )  # atomic, and costs a lease that lives nothing

    def mark_tried(self, started: float) -> None:
        """Record that a refresh was sent. An answer or a failure follows.

        Args:
            started: when it was sent, on the store's clock.
        """
        self._tried = started

    def mark_failed(self, error: BaseException) -> None:
        """Record that the refresh that was sent last has failed.

        Args:
            error: what it failed with.
        """
        with self._lock:
            self._failures += 1
            self._failed_at = self._tried
            self._failure = f"{type(error).__name__}: {error}"

    def mark_refreshed(self, started: float, ttl: float, now: float) -> None:
        """Record that a refresh sent at ``started`` was answered with ``ttl``, both in seconds.

        An answer received after the deadline is ignored, and so is one that is older than another answer.

        Args:
            started: when the refresh was sent, on the store's clock.
            ttl: the TTL that the store gave, in seconds.
            now: when the answer was received, on the store's clock.
        """
        with self._lock:
            if self._end is None and now < self.deadline and started >= self._refreshed:
                self._refreshed = started
                self._failures = 0
                self.ttl = ttl

    def _tell_refreshed(self) -> None:
        """Call who waits for a refresh: something that does not block. Never raises."""
        if self._on_refreshed is not None and not self.ended:
            self._on_refreshed()

    def mark_revoked(self) -> bool:
        """Record that the holder has ended the lease.

        Returns:
            Whether the lease was ALIVE or AT_RISK before.
        """
        if left_behind(self._fork_generation):
            return False
        with self._lock:
            if self._end is not None:
                return False
            self._end = LeaseState.REVOKED
        if self._on_revoked is not None:
            self._on_revoked(self)
        return True

    def mark_lost(self, reason: str) -> None:
        """Record that the lease has ended without the holder's doing. Ignored if the lease has ended already.

        Args:
            reason: why, as text for logs and errors.
        """
        with self._lock:
            if self._end is not None:
                return
            self._end = LeaseState.LOST
            self._reason = reason
        self._keeper.lost(self)


class Lease(HeldLease):
    """A lease held by this process, made by ``store.lease(ttl)``. In ``with`` it is revoked at the end. Thread-safe.

    If the block raises, that error is raised, also if the lease can't be revoked.

    While :attr:`alive` is true, the lease has not expired in the store: the holder's deadline passes first, also after
    a pause or without a connection. A lease that is LOST or REVOKED never becomes alive again.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     with store.lease(10) as lease:
    ...         written = store.put("worker/1", b"ready", lease=lease)
    ...         lease.state.value
    ...     print(store.get("worker/1"))
    'alive'
    None

    :class:`HeldLease` has its fields and its state.
    """

    def refresh(self, *, timeout: float | None = None) -> None:
        """Refresh the lease now. When this returns, the holder has the full TTL again, counted from the call.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            LeaseLost: the lease has ended.
            OutcomeUnknown: no answer came; the deadline is unchanged. Refreshing again is safe.
            Unavailable: the store can't be reached; the deadline is unchanged. ``DeadlineExceeded`` if the time ran
                out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            InvalidArgument: ``timeout`` is not a positive number.
            UsedAfterFork: the lease is held by the parent of this process.
        """
        self.refresh_now(timeout)

    def revoke(self, *, timeout: float | None = None) -> None:
        """End the lease now: the store deletes its keys in one transaction.

        The lease isn't refreshed again, whatever the outcome. If the store doesn't confirm, the lease expires within
        ``max_lifetime_after_refresh`` seconds. Does nothing if the lease has ended, or in a forked child.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            OutcomeUnknown: no answer came; the lease may have ended, or will expire.
            Unavailable: the store can't be reached; the lease will expire. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; the lease will expire. ``AuthenticationFailed`` if the store
                no longer accepts the credentials.
            InvalidArgument: ``timeout`` is not a positive number; the lease will expire.
        """
        self.revoke_now(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.revoke()
        except TenureError as exc:
            if error is None:
                raise
            # The body's own error is what the caller has to see. The lease expires.
            _log.warning("lease %s could not be revoked after an error and will expire: %s", self.id, exc)
