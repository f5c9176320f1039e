"""When the leases of a store are refreshed, tried again and given up, without I/O, threads or a clock.

The driver asks :meth:`LeaseMachine.step` what to do at a moment, does it, and reports what came of it.

* A lease is refreshed a third of its TTL after its last refresh was sent, together with all others that are almost due.
* Where the time did not suffice, the next batches are half as large, and twice as large again after each success. So a
  slow server, or a machine that is short of processor time, refreshes some leases rather than none.
* A failed batch is tried again after a tenth of the TTL, at most a second, and by chance up to twice as soon.
* So is the refresh after the first success: an outage has brought the clients of a server together.
* An attempt lasts half of the time to the next deadline of any lease, so that there is time for another one.
* A lease whose deadline has passed is returned as overdue until the driver has ended it, and is never sent again.
* One that has ended is never sent either, also when an interrupt kept its holder from forgetting it.

The books are a table of leases and two heaps with the times at which to look at them. An entry of a heap may be stale:
it is compared with its lease when it comes up. So an interrupt at any line leaves an entry too many, never one too few.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tenure._runtime.spread import Chance, before_refresh_after_outage, before_refresh_again
from tenure.errors import DeadlineExceeded
from tenure.leases.lease import HeldLease
from tenure.spi.types import LeaseId

BATCH = 500
"""Leases in one call to the store."""
_SMALLEST_BATCH = 25
SHORTEST_ATTEMPT = 0.25
_LONGEST_ATTEMPT = 2.0
_EARLY = 0.1
"""Leases due within this fraction of their refresh interval join a batch that is sent anyway."""
_RETRY_AFTER = 1.0
_SPARE = 64
"""Stale entries that a heap may have in any case."""

_Heap = list[tuple[float, int, HeldLease]]


class Step(NamedTuple):
    """What to do now. ``wait``: seconds until the next step if there is nothing to do and nothing changes.

    ``attempt``: seconds that the refresh of ``batch`` may take.
    """

    overdue: tuple[HeldLease, ...]
    batch: tuple[HeldLease, ...]
    attempt: float
    wait: float


class LeaseMachine:
    """The leases of one store. Not thread-safe; times are seconds of the store's clock."""

    def __init__(self, chance: Chance = random.random) -> None:
        self._chance = chance
        self._failed: set[LeaseId] = set()
        """Leases whose last refresh brought no answer."""
        self._leases: dict[LeaseId, HeldLease] = {}
        self._due: _Heap = []
        self._deadlines: _Heap = []
        self._count = itertools.count()
        self._refreshing = False
        self._batch = BATCH
        """The number of leases that the next batch may have."""

    # -- the books --

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def entries(self) -> int:
        """The size of the larger heap."""
        return max(len(self._due), len(self._deadlines))

    def find(self, lease_id: LeaseId) -> HeldLease | None:
        """Return the lease with this id."""
        return self._leases.get(lease_id)

    def holds(self, lease: HeldLease) -> bool:
        """Whether ``lease`` is in the books."""
        return self._leases.get(lease.id) is lease

    def add(self, lease: HeldLease) -> float:
        """Keep ``lease`` from now on. Returns the moment at which there is something to do for it."""
        # The heaps first: an entry without its lease is dropped, a lease without its entries would be overlooked.
        first = deadline = lease.deadline
        heapq.heappush(self._deadlines, (deadline, next(self._count), lease))
        if lease.keep_alive:
            first = deadline - lease.ttl * 2 / 3
            heapq.heappush(self._due, (first, next(self._count), lease))
        self._leases[lease.id] = lease
        return first

    def forget(self, lease: HeldLease) -> None:
        """Drop ``lease``; nothing happens if it isn't there."""
        if self.holds(lease):
            del self._leases[lease.id]
            self._failed.discard(lease.id)
        for heap in (self._due, self._deadlines):
            if len(heap) > 2 * len(self._leases) + _SPARE:
                kept = [entry for entry in heap if self.holds(entry[2])]
                heapq.heapify(kept)  # before it is put in place: an interrupt in between would leave it in no order
                heap[:] = kept

    @property
    def leases(self) -> list[HeldLease]:
        """The leases in the books."""
        return list(self._leases.values())

    def clear(self) -> None:
        """Drop all leases."""
        self._leases.clear()
        self._failed.clear()

    # -- what to do --

    def step(self, now: float) -> Step:
        """Return what to do at ``now``. A batch counts as being refreshed until its outcome is reported."""
        next_deadline = self._next_deadline()
        overdue: tuple[HeldLease, ...] = ()
        if next_deadline <= now:
            overdue = self._pop_overdue(now)
            next_deadline = self._next_deadline()
            self._track(overdue)
        batch = () if self._refreshing else self._take_due(now)
        if batch:
            self._refreshing = True
        wait = 0.0 if overdue else next_deadline - now
        if self._due and not self._refreshing:
            wait = min(wait, self._due[0][0] - now)
        attempt = max(SHORTEST_ATTEMPT, min(_LONGEST_ATTEMPT, (next_deadline - now) / 2))
        return Step(overdue, batch, attempt, max(0.0, wait))

    def overdue(self, now: float) -> tuple[HeldLease, ...]:
        """Return the leases whose deadline has passed. The driver ends and forgets them."""
        overdue = self._pop_overdue(now)
        self._track(overdue)
        return overdue

    def _pop_overdue(self, now: float) -> tuple[HeldLease, ...]:
        overdue = []
        while self._next_deadline() <= now:
            overdue.append(heapq.heappop(self._deadlines)[2])
        return tuple(overdue)

    def _track(self, leases: Iterable[HeldLease]) -> None:
        for lease in leases:
            self._push(self._deadlines, lease.deadline, lease)

    def _next_deadline(self) -> float:
        """Return the earliest deadline of any lease. A refresh leaves heap entries stale; they are corrected here."""
        while self._deadlines:
            when, _, lease = self._deadlines[0]
            if self.holds(lease) and lease.deadline <= when:
                return when
            heapq.heappop(self._deadlines)
            if self.holds(lease):
                self._push(self._deadlines, lease.deadline, lease)
        return math.inf

    def _take_due(self, now: float) -> tuple[HeldLease, ...]:
        batch: list[HeldLease] = []
        while self._due and len(batch) < self._batch:
            when, _, lease = self._due[0]
            early = lease.ttl / 3 * _EARLY if batch else 0.0
            if when - early > now:
                break
            heapq.heappop(self._due)
            # Refreshing a lease that has ended would only keep its keys longer.
            if self.holds(lease) and not lease.ended and lease.deadline > now:
                batch.append(lease)
        return tuple(batch)

    # -- what came of it --

    def answered(
        self, batch: Iterable[HeldLease], ttls: Mapping[LeaseId, float], *, sent: float, now: float
    ) -> list[HeldLease]:
        """Record the answer, received at ``now``, to the refresh of ``batch``, sent at ``sent``.

        Returns the leases that the store no longer has. The driver ends them.
        """
        gone = []
        self._batch = min(BATCH, 2 * self._batch)
        # One number for all, so that they stay one batch.
        chance = self._chance()
        for lease in batch:
            ttl = ttls.get(lease.id)
            if ttl is None:
                gone.append(lease)
            else:
                lease.mark_refreshed(sent, ttl, now)
                self._schedule(lease, sent + self._interval(lease, chance))
        self._refreshing = False
        return gone

    def failed(self, batch: Collection[HeldLease], *, sent: float, error: BaseException | None = None) -> None:
        """Record that the refresh of ``batch``, sent at ``sent``, brought no answer, but ``error``."""
        chance = self._chance()
        if isinstance(error, DeadlineExceeded):
            self._batch = max(_SMALLEST_BATCH, len(batch) // 2)
        for lease in batch:
            if self.holds(lease):
                self._failed.add(lease.id)
            if error is not None:
                lease.mark_failed(error)
            longest = min(_RETRY_AFTER, lease.ttl / 10)
            self._schedule(lease, sent + before_refresh_again(longest, chance))
        self._refreshing = False

    def _interval(self, lease: HeldLease, chance: float) -> float:
        interval = lease.ttl / 3
        if lease.id not in self._failed:
            return interval
        self._failed.discard(lease.id)
        return before_refresh_after_outage(interval, chance)

    def _schedule(self, lease: HeldLease, when: float) -> None:
        if self.holds(lease):
            self._push(self._due, when, lease)

    def _push(self, heap: _Heap, when: float, lease: HeldLease) -> None:
        heapq.heappush(heap, (when, next(self._count), lease))
