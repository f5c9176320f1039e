"""Leases live by the server's clock: each script compares it with when they end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenure.plugin_kit import Deadline
from tenure.spi.types import LeaseGrant, LeaseId, LeaseInfo
from tenure_redis import scripts
from tenure_redis.encoding import lease_of, new_id
from tenure_redis.pool import Pool

_BATCH = 500
_REVOKED = 100


def grant(pool: Pool, ttl: float, deadline: Deadline) -> LeaseGrant:
    """``Backend.grant``."""
    lease, milliseconds = new_id(), math.ceil(round(ttl * 1000, 6))
    pool.run(scripts.GRANT, lease, milliseconds, deadline=deadline, action="granting a lease", write=True)
    return LeaseGrant(lease, milliseconds / 1000)


def refresh(pool: Pool, lease_ids: Sequence[LeaseId], deadline: Deadline) -> dict[LeaseId, float]:
    """``Backend.refresh``."""
    known = [lease_id for lease_id in lease_ids if lease_of(lease_id) is not None]
    ttls: dict[LeaseId, float] = {}
    for start in range(0, len(known), _BATCH):
        batch = known[start : start + _BATCH]
        answer = pool.run(scripts.REFRESH, *batch, deadline=deadline, action="refreshing leases")
        ttls |= {lease_id: ttl / 1000 for lease_id, ttl in zip(batch, answer, strict=True) if ttl > 0}
    return ttls


def revoke(pool: Pool, lease_ids: Sequence[LeaseId], deadline: Deadline) -> frozenset[LeaseId]:
    """``Backend.revoke``, a few leases at a time: each takes its keys with it while the server waits."""
    known = [lease_id for lease_id in dict.fromkeys(lease_ids) if lease_of(lease_id) is not None]
    were: set[LeaseId] = set()
    for start in range(0, len(known), _REVOKED):
        batch = known[start : start + _REVOKED]
        answer = pool.run(scripts.REVOKE, *batch, deadline=deadline, action="revoking leases", write=True)
        were |= {lease_id for lease_id, alive in zip(batch, answer, strict=True) if alive}
    return frozenset(were)


def describe(pool: Pool, lease_id: LeaseId | None, deadline: Deadline) -> tuple[LeaseInfo, ...]:
    """``Backend.leases``."""
    if lease_id is not None and lease_of(lease_id) is None:
        return ()
    answer = pool.run(scripts.LEASES, lease_id or "", deadline=deadline, action="listing leases")
    return tuple(
        LeaseInfo(name.decode(), ttl / 1000, remaining / 1000, tuple(key.decode() for key in keys))
        for name, ttl, remaining, keys in answer
    )
