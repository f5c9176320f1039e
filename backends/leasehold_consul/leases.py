"""Leases are sessions that take their keys with them when they end.

No health check counts for them (Consul's default one drops every lock of a node that is slow for a moment), and a
key is free again at once (by default Consul blocks it for 15 seconds). Consul ends a session that isn't renewed
after twice its ttl. There is no request for many sessions, so several are sent at a time.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from leasehold.errors import DeadlineExceeded, OutcomeUnknown
from leasehold.spi.values import LeaseGrant, LeaseId, LeaseInfo
from leasehold_consul import reads
from leasehold_consul.layout import Layout
from leasehold_consul.pool import Pool
from leasehold_consul.transactions import is_session, session_exists

T = TypeVar("T")

_AT_A_TIME = 8
_FEW = 4
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def grant(pool: Pool, layout: Layout, ttl: float, *, timeout: float) -> LeaseGrant:
    """``Backend.grant``."""
    milliseconds = math.ceil(round(ttl * 1000, 6))
    wanted = {
        "Name": session_name(layout),
        "TTL": f"{milliseconds}ms",
        "Behavior": "delete",
        "LockDelay": "0s",
        "Checks": [],
        "NodeChecks": [],
    }
    answer = pool.call(
        "PUT",
        pool.target("/v1/session/create"),
        json.dumps(wanted).encode(),
        timeout=timeout,
        action="granting a lease",
        write=True,
    )
    try:
        return LeaseGrant(str(json.loads(answer.body)["ID"]), milliseconds / 1000)
    except (ValueError, KeyError, TypeError) as exc:
        raise OutcomeUnknown(f"granting a lease: Consul at {answer.where} answered without an id") from exc


def refresh(pool: Pool, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
    """``Backend.refresh``."""

    def renew(lease_id: LeaseId, left: float) -> float | None:
        target = pool.target(f"/v1/session/renew/{lease_id}")
        answer = pool.call("PUT", target, b"", timeout=left, action="refreshing leases", allow=(404,))
        sessions = reads.entries(answer) if answer.status == 200 else []
        return seconds(sessions[0].get("TTL", "")) if sessions else None

    found = _for_each(renew, _known(lease_ids), timeout, "refreshing leases")
    return {lease_id: ttl for lease_id, ttl in found.items() if ttl is not None}


def revoke(pool: Pool, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
    """``Backend.revoke``."""

    def destroy(lease_id: LeaseId, left: float) -> bool:
        until = time.monotonic() + left
        # Consul destroys without saying whether there was anything.
        if not session_exists(pool, lease_id, timeout=left):
            return False
        target = pool.target(f"/v1/session/destroy/{lease_id}")
        left = max(until - time.monotonic(), 0.001)
        pool.call("PUT", target, b"", timeout=left, action="revoking leases", write=True)
        return True

    found = _for_each(destroy, _known(lease_ids), timeout, "revoking leases")
    return frozenset(lease_id for lease_id, alive in found.items() if alive)


def describe(pool: Pool, layout: Layout, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
    """``Backend.leases``: the sessions that this store's clients made, or the one asked for."""
    until = time.monotonic() + timeout
    if lease_id is not None and not is_session(lease_id):
        return ()
    path = "/v1/session/list" if lease_id is None else f"/v1/session/info/{lease_id}"
    sessions = reads.entries(pool.read(path, timeout=timeout, action="listing leases"))
    if lease_id is None:
        sessions = [session for session in sessions if session.get("Name") == session_name(layout)]
    if not sessions:
        return ()
    left = max(until - time.monotonic(), 0.001)
    listed = pool.read(reads.list_path(layout, ""), "recurse", timeout=left, action="listing leases", allow=(404,))
    keys: dict[LeaseId, list[str]] = {}
    for item in reads.items_of(layout, listed):
        if item.lease_id is not None:
            keys.setdefault(item.lease_id, []).append(item.key)
    return tuple(_info(session, keys.get(session["ID"], [])) for session in sessions)


def session_name(layout: Layout) -> str:
    """What Consul's own tools show as the session's name; tells the leases of one store from other sessions."""
    return f"leasehold {layout.root}"


def seconds(text: str) -> float:
    """A duration as Go writes it, such as ``1m30s``; 0.0 for an empty one."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|us|µs|ns|m|s)", text))


def _info(session: dict[str, Any], keys: list[str]) -> LeaseInfo:
    return LeaseInfo(session["ID"], seconds(session.get("TTL", "")), None, tuple(keys))


def _known(lease_ids: Sequence[LeaseId]) -> list[LeaseId]:
    return [lease_id for lease_id in dict.fromkeys(lease_ids) if is_session(lease_id)]


def _for_each(
    work: Callable[[LeaseId, float], T], lease_ids: list[LeaseId], timeout: float, action: str
) -> dict[LeaseId, T]:
    """``work(lease_id, seconds left)`` for each, several at a time if they are many; the first error is raised."""
    until = time.monotonic() + timeout

    def one(lease_id: LeaseId) -> T:
        left = until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{action}: the time was up before all {len(lease_ids)} were done")
        return work(lease_id, left)

    if len(lease_ids) <= _FEW:
        return {lease_id: one(lease_id) for lease_id in lease_ids}
    with ThreadPoolExecutor(min(_AT_A_TIME, len(lease_ids)), thread_name_prefix="leasehold-consul-leases") as executor:
        try:
            return dict(zip(lease_ids, executor.map(one, lease_ids), strict=True))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
