"""Leases are sessions that take their keys with them when they end.

No health check counts for them (Consul's default one drops every lock of a node that is slow for a moment), and a
key is free again at once (by default Consul blocks it for 15 seconds). Consul ends a session that isn't renewed
after twice its ttl. There is no request for many sessions, so several are sent at a time.

A session belongs to a node, and ends when that leaves the catalog, whatever its ttl: so does the node of an agent that
is stopped in order, and that of a server a few seconds after it died. Its holder would hear of that only later. So
sessions are given to a node of their own, which no agent stands for and which therefore stays. It is registered when
first needed; a token that isn't allowed to (it takes node write for it) leaves its sessions with the agent's node.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tenure.errors import OutcomeUnknown
from tenure.plugin_kit import Deadline
from tenure.spi.types import LeaseGrant, LeaseId, LeaseInfo
from tenure_consul import reads
from tenure_consul.access import Access
from tenure_consul.connection import Answer
from tenure_consul.errors import refused
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.transactions import is_session, session_exists

T = TypeVar("T")

NODE = "leasehold"
_AT_A_TIME = 8
_FEW = 4
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def grant(pool: Pool, layout: Layout, ttl: float, *, timeout: float) -> LeaseGrant:
    """``Backend.grant``."""
    deadline = Deadline(timeout)
    milliseconds = math.ceil(round(ttl * 1000, 6))
    wanted: dict[str, Any] = {
        "Node": NODE,
        "Name": session_name(layout),
        "TTL": f"{milliseconds}ms",
        "Behavior": "delete",
        "LockDelay": "0s",
        "Checks": [],
        "NodeChecks": [],
    }
    answer = _create(pool, wanted, deadline, allow=(403, 500))
    if answer.status == 500 and b"Missing node registration" not in answer.body:
        raise refused(answer.status, answer.body, action="granting a lease", where=answer.where, write=True)
    if answer.status != 200:
        if answer.status == 403 or not _register(pool, deadline):
            del wanted["Node"]
        answer = _create(pool, wanted, deadline)
    try:
        return LeaseGrant(str(json.loads(answer.body)["ID"]), milliseconds / 1000)
    except (ValueError, KeyError, TypeError) as exc:
        raise OutcomeUnknown(f"granting a lease: Consul at {answer.where} answered without an id") from exc


def _create(pool: Pool, wanted: dict[str, Any], deadline: Deadline, *, allow: tuple[int, ...] = ()) -> Answer:
    target, body = pool.target("/v1/session/create"), json.dumps(wanted).encode()
    return pool.call(
        "PUT", target, body, timeout=deadline.remaining(), action="granting a lease", write=True, allow=allow
    )


def _register(pool: Pool, deadline: Deadline) -> bool:
    """Put the sessions' node into the catalog; whether that is allowed. Doing it twice does no harm."""
    body = json.dumps({"Node": NODE, "Address": "127.0.0.1"}).encode()
    target = pool.target("/v1/catalog/register")
    answer = pool.call("PUT", target, body, timeout=deadline.remaining(), action="granting a lease", allow=(403,))
    return answer.status == 200


def refresh(pool: Pool, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
    """``Backend.refresh``.

    A server that was just started renews before it has read all its data: sessions that it will have are missing. A
    consistent read is refused until it has. So one that is missing is asked for again after such a read.
    """

    def renew(lease_id: LeaseId, timeout: float) -> float | None:
        deadline, action = Deadline(timeout), "refreshing leases"
        target = pool.target(f"/v1/session/renew/{lease_id}")
        answer = pool.call("PUT", target, b"", timeout=timeout, action=action, allow=(404,))
        if answer.status == 404:
            there = pool.target(f"/v1/session/info/{lease_id}", "consistent")
            pool.call("GET", there, None, timeout=deadline.remaining(), action=action)
            answer = pool.call("PUT", target, b"", timeout=deadline.remaining(), action=action, allow=(404,))
        sessions = reads.entries(answer) if answer.status == 200 else []
        return seconds(sessions[0].get("TTL", "")) if sessions else None

    found = _for_each(renew, _known(lease_ids), timeout, "refreshing leases")
    return {lease_id: ttl for lease_id, ttl in found.items() if ttl is not None}


def revoke(pool: Pool, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
    """``Backend.revoke``."""

    def destroy(lease_id: LeaseId, timeout: float) -> bool:
        deadline = Deadline(timeout)
        # Consul destroys without saying whether there was anything.
        if not session_exists(pool, lease_id, timeout=timeout):
            return False
        target = pool.target(f"/v1/session/destroy/{lease_id}")
        pool.call("PUT", target, b"", timeout=deadline.remaining(), action="revoking leases", write=True)
        return True

    found = _for_each(destroy, _known(lease_ids), timeout, "revoking leases")
    return frozenset(lease_id for lease_id, alive in found.items() if alive)


def describe(
    pool: Pool, layout: Layout, access: Access, lease_id: LeaseId | None, *, timeout: float
) -> tuple[LeaseInfo, ...]:
    """``Backend.leases``: the sessions that this store's clients made, or the one asked for."""
    deadline = Deadline(timeout)
    if lease_id is not None and not is_session(lease_id):
        return ()
    path = "/v1/session/list" if lease_id is None else f"/v1/session/info/{lease_id}"
    action = "listing leases"
    found = pool.read(path, timeout=timeout, action=action)
    sessions = reads.entries(found)
    if lease_id is None or not sessions:
        access.check_sessions(pool, NODE, found, action=action, deadline=deadline)
    if lease_id is None:
        sessions = [session for session in sessions if session.get("Name") == session_name(layout)]
    if not sessions:
        return ()
    listed = pool.read(
        reads.list_path(layout, ""), "recurse", timeout=deadline.remaining(), action=action, allow=(404,)
    )
    access.check(pool, layout.path(""), listed, action=action, deadline=deadline)
    keys: dict[LeaseId, list[str]] = {}
    for item in reads.by_key(layout, listed).items(values=False):
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
    """``work(lease_id, timeout)`` for each, several at a time if they are many; the first error is raised."""
    deadline = Deadline(timeout)

    def one(lease_id: LeaseId) -> T:
        deadline.check(f"{action}, {len(lease_ids)} at once")
        return work(lease_id, deadline.remaining())

    if len(lease_ids) <= _FEW:
        return {lease_id: one(lease_id) for lease_id in lease_ids}
    # Not imported above: where the interpreter is ending it can't be imported, and a store can be opened without it.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(min(_AT_A_TIME, len(lease_ids)), thread_name_prefix="tenure-consul-leases") as executor:
        try:
            return dict(zip(lease_ids, executor.map(one, lease_ids), strict=True))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
