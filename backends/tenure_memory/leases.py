"""The living leases: until when each is alive, and which keys end with it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from tenure.errors import LeaseNotFound
from tenure.spi import LeaseId


@dataclass(slots=True)
class Lease:
    lease_id: LeaseId
    ttl: float
    deadline: float
    keys: set[str] = field(default_factory=set)


class LeaseTable:
    """The living leases. Not thread-safe: the server's lock guards it.

    A lease that isn't in the table has ended, for good: ids are never given twice, not even by a server that
    lost its data.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._leases: dict[LeaseId, Lease] = {}
        # Deadlines as they were when set; one that was moved since is recognised and skipped when it comes up.
        self._deadlines: list[tuple[float, LeaseId]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def grant(self, ttl: float, now: float) -> Lease:
        lease = Lease(f"m{next(self._numbers)}", ttl, now + ttl)
        # In this order, here and below: an interrupt between the two lines must not leave a lease without an end.
        heapq.heappush(self._deadlines, (lease.deadline, lease.lease_id))
        self._leases[lease.lease_id] = lease
        return lease

    def find(self, lease_id: LeaseId) -> Lease | None:
        return self._leases.get(lease_id)

    def require(self, lease_id: LeaseId) -> Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFound(f"the lease {lease_id!r} isn't alive: it ended, was revoked or never was")
        return lease

    def refresh(self, lease: Lease, now: float) -> None:
        heapq.heappush(self._deadlines, (now + lease.ttl, lease.lease_id))
        lease.deadline = now + lease.ttl

    def end(self, lease: Lease) -> None:
        self._leases.pop(lease.lease_id, None)

    def due(self, now: float) -> Lease | None:
        """A lease whose deadline has come, the earliest first."""
        deadline = self.next_deadline()
        return None if deadline is None or deadline > now else self._leases[self._deadlines[0][1]]

    def next_deadline(self) -> float | None:
        while self._deadlines:
            deadline, lease_id = self._deadlines[0]
            lease = self._leases.get(lease_id)
            if lease is not None and lease.deadline == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None
