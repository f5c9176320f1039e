"""One lease, and how its holder knows that it may be lost before anyone tells it.

States::

    ALIVE --no refresh for 2/3 of the ttl--> AT_RISK --ttl since the last good refresh began--> LOST
      ^                                        |                                              (final)
      '------------- refreshed ----------------'
    ALIVE, AT_RISK --revoke()--> REVOKED (final);    ALIVE, AT_RISK --the store says it is gone--> LOST

The deadline runs on the local clock from the moment the last successful refresh was *sent*: the store counts
from when it received it, which is later, so the holder gives up first. A process that was paused or cut
off therefore finds its lease LOST by looking at the clock. LOST is final even if an answer comes late.

A child that forked off doesn't hold its parent's leases: there they are LOST, and revoking them does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from tenure._runtime import fork
from tenure._runtime.clock import Clock
from tenure.errors import LeaseLost, UsedAfterFork
from tenure.spi.types import LeaseGrant, LeaseId

_AT_RISK_AFTER = 2 / 3


class LeaseState(StrEnum):
    """Where a lease is in its life; LOST and REVOKED are final."""

    ALIVE = "alive"
    AT_RISK = "at_risk"
    LOST = "lost"
    REVOKED = "revoked"


class Keeper(Protocol):
    """What a lease asks of the one who keeps it."""

    def refresh_now(self, lease: Lease, timeout: float | None) -> None: ...

    def revoke(self, lease: Lease, timeout: float | None) -> None: ...

    def lost(self, lease: Lease) -> None: ...

    def forget(self, lease: Lease) -> None: ...


class Lease:
    """A lease held by this process. Made by ``store.lease(ttl)``; in a ``with`` it is revoked at the end.

    Thread-safe. All times are seconds.
    """

    def __init__(
        self,
        grant: LeaseGrant,
        *,
        requested_ttl: float,
        max_lifetime_after_refresh: float,
        keep_alive: bool,
        started: float,
        clock: Clock,
        keeper: Keeper,
        on_lost: Callable[[Lease], object] | None,
    ) -> None:
        self.id: LeaseId = grant.lease_id
        self.requested_ttl = requested_ttl
        self.ttl = grant.ttl
        """The ttl that the store really gave."""
        self.max_lifetime_after_refresh = max_lifetime_after_refresh
        """The keys are gone at most this long after the last refresh, if nobody revokes the lease."""
        self.keep_alive = keep_alive
        self.on_lost = on_lost
        self._clock = clock
        self._keeper = keeper
        self._lock = threading.Lock()
        self._end: LeaseState | None = None
        self._reason = ""
        self._refreshed = started
        self._epoch = fork.epoch.value

    # -- looking --

    @property
    def deadline(self) -> float:
        """The moment, on the store's clock object, from which the lease counts as lost."""
        return self._refreshed + self.ttl

    @property
    def remaining(self) -> float:
        """Seconds the holder can still count on; 0.0 once the lease has ended."""
        if self._end is not None or self._epoch != fork.epoch.value:
            return 0.0
        return max(0.0, self.deadline - self._clock.now())

    @property
    def state(self) -> LeaseState:
        """The present state. Looking is enough to turn an overdue lease LOST."""
        if self._end is not None:
            return self._end
        if self._epoch != fork.epoch.value:
            return LeaseState.LOST  # without the lock and the callback, which are the parent's
        now = self._clock.now()
        if now >= self.deadline:  # the very comparison that the keeper makes: "age >= ttl" rounds differently
            self.mark_lost(f"it was not refreshed for {now - self._refreshed:.3f} s, its ttl is {self.ttl:g} s")
            return self._end or LeaseState.LOST
        return LeaseState.AT_RISK if now - self._refreshed >= self.ttl * _AT_RISK_AFTER else LeaseState.ALIVE

    @property
    def alive(self) -> bool:
        """Whether the holder can still count on it: ALIVE or AT_RISK."""
        return self.state in (LeaseState.ALIVE, LeaseState.AT_RISK)

    @property
    def reason(self) -> str:
        """Why the lease was lost; empty while it isn't."""
        return self._reason

    def ensure_valid(self, min_remaining: float = 0.0) -> None:
        """Raise ``LeaseLost`` unless the lease will be valid for at least ``min_remaining`` seconds more.

        Costs a look at the clock, no call to the store. Raises ``UsedAfterFork`` in a child of the holder.
        """
        if self._epoch != fork.epoch.value:
            raise UsedAfterFork(f"lease {self.id} is held by the process that this one was forked from")
        if self.state in (LeaseState.LOST, LeaseState.REVOKED):
            raise LeaseLost(f"lease {self.id} is {self._end}{': ' + self._reason if self._reason else ''}")
        if self.remaining < min_remaining:
            raise LeaseLost(
                f"lease {self.id} is valid for {self.remaining:.3f} s more only, {min_remaining:g} s were asked for"
            )

    # -- acting --

    def refresh(self, *, timeout: float | None = None) -> None:
        """Refresh now, besides what is done automatically. Raises ``LeaseLost`` when the lease has ended."""
        self.ensure_valid()
        self._keeper.refresh_now(self, timeout)

    def revoke(self, *, timeout: float | None = None) -> None:
        """End the lease: its keys are deleted. It isn't refreshed again, whatever comes of the call.

        Does nothing on a lease that has ended. Raises ``Unavailable`` or ``OutcomeUnknown`` when the store
        doesn't confirm; the lease then ends by itself within ``max_lifetime_after_refresh`` seconds.
        """
        if self.mark_revoked():
            self._keeper.revoke(self, timeout)

    def abandon(self) -> None:
        """Stop refreshing without a call to the store: the holder can't count on the lease from now on, and its keys
        are removed when it expires, within ``max_lifetime_after_refresh`` seconds. Does nothing on an ended lease."""
        if self.mark_revoked():
            self._keeper.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.revoke()

    def __repr__(self) -> str:
        return f"<Lease {self.id} {self.state} ttl={self.ttl:g}s remaining={self.remaining:.1f}s>"

    # -- for the keeper --

    def mark_refreshed(self, started: float, ttl: float) -> None:
        """A refresh sent at ``started`` was answered with ``ttl``; too late is too late."""
        with self._lock:
            if self._end is None and self._clock.now() < self.deadline and started >= self._refreshed:
                self._refreshed = started
                self.ttl = ttl

    def mark_revoked(self) -> bool:
        """From now on the holder can't count on it; whether that is news."""
        if self._epoch != fork.epoch.value:
            return False
        with self._lock:
            if self._end is not None:
                return False
            self._end = LeaseState.REVOKED
            return True

    def mark_lost(self, reason: str) -> None:
        """The lease has ended without our doing. Only the first call counts, and none after a revoke."""
        with self._lock:
            if self._end is not None:
                return
            self._end = LeaseState.LOST
            self._reason = reason
        self._keeper.lost(self)
