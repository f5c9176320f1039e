"""Leases: grant, refresh many over one stream, revoke many at once, and what the store knows of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from tenure.errors import LeaseNotFound, PermissionDenied, TenureError
from tenure.plugin_kit import Deadline
from tenure.spi.types import LeaseGrant, LeaseId, LeaseInfo
from tenure_etcd.connection import Connection
from tenure_etcd.encoding import lease_name, lease_number
from tenure_etcd.keys import key_of
from tenure_etcd.messages import MESSAGES


def grant(connection: Connection, ttl: float, *, timeout: float) -> LeaseGrant:
    """``Backend.grant``. The server may raise the ttl; what it really gave is what counts."""
    request = MESSAGES["LeaseGrantRequest"](TTL=math.ceil(ttl))
    answer = connection.call("LeaseGrant", request, timeout=timeout, write=True, action="granting a lease")
    return LeaseGrant(lease_name(answer.ID), float(answer.TTL))


def refresh(connection: Connection, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
    """``Backend.refresh``: all requests go out on one stream, the answers come back on it in any order.

    A stream for each batch, since opening one costs about what two renewals do, and there is then nothing to
    keep, to repair or to close between batches.
    """
    deadline = Deadline(timeout)
    numbers = {number: lease_id for lease_id in lease_ids if (number := lease_number(lease_id)) is not None}
    ttls = _keep_alive(connection, tuple(numbers), timeout)
    # A server that was just started may answer before it has applied its log, without the leases in it: Consul was seen
    # to do so. A linearizable read waits for that. So one that is missing is asked for again after such a read.
    ended = tuple(number for number, ttl in ttls.items() if ttl <= 0)
    if ended:
        _catch_up(connection, deadline)
        ttls |= _keep_alive(connection, ended, deadline.remaining())
    return {lease_id: ttls[number] for number, lease_id in numbers.items() if ttls[number] > 0}


def _catch_up(connection: Connection, deadline: Deadline) -> None:
    """Wait until the server has applied its log. A read without the right to it is refused only after that."""
    request = MESSAGES["RangeRequest"](key=b"\0", count_only=True)
    with contextlib.suppress(PermissionDenied):
        connection.call("Range", request, timeout=deadline.remaining(), write=False, action="refreshing leases")


def _keep_alive(connection: Connection, numbers: Sequence[int], timeout: float) -> dict[int, float]:
    """The ttl of each lease, 0 for one that the server doesn't have."""
    if not numbers:
        return {}
    request = MESSAGES["LeaseKeepAliveRequest"]
    answers = connection.exchange(
        "LeaseKeepAlive", [request(ID=number) for number in numbers], timeout=timeout, action="refreshing leases"
    )
    # A lease that has ended is answered with a ttl of 0.
    ttls = {answer.ID: float(answer.TTL) for answer in answers}
    missing = set(numbers) - ttls.keys()
    if missing:
        raise connection.incomplete("refreshing leases", len(missing), len(numbers))
    return ttls


def revoke(connection: Connection, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
    """``Backend.revoke``."""
    known = [(lease_id, number) for lease_id in lease_ids if (number := lease_number(lease_id)) is not None]
    requests = [MESSAGES["LeaseRevokeRequest"](ID=number) for _, number in known]
    action = "revoking leases"
    if len(known) == 1:
        try:
            connection.call("LeaseRevoke", requests[0], timeout=timeout, write=True, action=action)
        except LeaseNotFound:
            return frozenset()
        return frozenset({known[0][0]})
    answers = connection.call_many("LeaseRevoke", requests, timeout=timeout, write=True, action=action)
    for answer in answers:
        if isinstance(answer, TenureError) and not isinstance(answer, LeaseNotFound):
            raise answer
    return frozenset(
        lease_id for (lease_id, _), answer in zip(known, answers, strict=True) if not isinstance(answer, LeaseNotFound)
    )


def describe(connection: Connection, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
    """``Backend.leases``. A lease that ends between the two questions to the store is left out."""
    action = "listing leases"
    if lease_id is None:
        listed = connection.call(
            "LeaseLeases", MESSAGES["LeaseLeasesRequest"](), timeout=timeout, write=False, action=action
        )
        numbers = [lease.ID for lease in listed.leases]
    else:
        number = lease_number(lease_id)
        numbers = [] if number is None else [number]
    requests = [MESSAGES["LeaseTimeToLiveRequest"](ID=number, keys=True) for number in numbers]
    answers = connection.call_many("LeaseTimeToLive", requests, timeout=timeout, write=False, action=action)
    for answer in answers:
        if isinstance(answer, TenureError) and not isinstance(answer, LeaseNotFound):
            raise answer
    # 0 is a lease about to end, -1 one that isn't there.
    alive = [answer for answer in answers if not isinstance(answer, TenureError) and answer.TTL >= 0]
    return tuple(
        LeaseInfo(
            lease_id=lease_name(answer.ID),
            ttl=float(answer.grantedTTL),
            remaining=float(answer.TTL),
            keys=tuple(key for raw in sorted(answer.keys) if (key := key_of(raw)) is not None),
        )
        for answer in alive
    )
