"""Leases live by the server's clock; an id is made by the client, so that nobody else can have it."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence

from tenure.errors import DeadlineExceeded
from tenure.spi import LeaseGrant, LeaseId, LeaseInfo
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext

_BATCH = 500


def grant(context: BackendContext, ttl: float, *, timeout: float) -> LeaseGrant:
    """``Backend.grant``."""
    lease, milliseconds = uuid.uuid4().hex, math.ceil(round(ttl * 1000, 6))
    args = [encoding.text(lease), encoding.bigint(milliseconds)]
    context.pool.call(context.statements.grant, args, timeout=timeout, action="granting a lease", write=True)
    return LeaseGrant(lease, milliseconds / 1000)


def refresh(context: BackendContext, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
    """``Backend.refresh``."""
    action = "refreshing leases"
    ttls: dict[LeaseId, float] = {}
    for batch, left in _batches(lease_ids, timeout, action):
        rows = context.pool.call(
            context.statements.refresh, [encoding.texts(batch)], timeout=left, action=action, write=True
        )
        ttls |= {encoding.word(lease): encoding.number(ttl) / 1000 for lease, ttl in rows}
    return ttls


def revoke(context: BackendContext, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
    """``Backend.revoke``."""
    action = "revoking leases"
    ended: set[LeaseId] = set()
    for batch, left in _batches(lease_ids, timeout, action):
        args = [context.kept(), encoding.texts(batch)]
        rows = context.rows(context.statements.revoke, args, timeout=left, action=action, write=True, waits=True)
        ended.update(encoding.words(rows[0][0]))
    return frozenset(ended)


def describe(context: BackendContext, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
    """``Backend.leases``."""
    if lease_id is not None and not _possible(lease_id):
        return ()
    action = "listing leases"
    until = time.monotonic() + timeout
    args = [encoding.text(lease_id or "")]
    rows = context.pool.call(context.statements.leases, args, timeout=timeout, action=action)
    if rows and encoding.flag(rows[0][0]):
        context.tick(timeout=_left(until, action), action=action)
        rows = context.pool.call(context.statements.leases, args, timeout=_left(until, action), action=action)
    return tuple(
        LeaseInfo(
            encoding.word(lease),
            encoding.number(ttl) / 1000,
            max(0.0, encoding.number(left) / 1000),
            encoding.words(keys),
        )
        for _, lease, ttl, left, keys in rows
    )


def _batches(lease_ids: Sequence[LeaseId], timeout: float, action: str) -> Iterator[tuple[list[LeaseId], float]]:
    """A few at a time, each with the time that is left: one statement holds its locks until it ends."""
    until = time.monotonic() + timeout
    known = [lease_id for lease_id in dict.fromkeys(lease_ids) if _possible(lease_id)]
    for start in range(0, len(known), _BATCH):
        yield known[start : start + _BATCH], _left(until, action)


def _possible(lease_id: LeaseId) -> bool:
    """Whether it could be an id: PostgreSQL refuses text with a NUL in it, and the empty one asks for all."""
    return len(lease_id) == 32 and lease_id.isascii() and lease_id.isalnum()


def _left(until: float, action: str) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(f"{action}: the time was up")
    return left
