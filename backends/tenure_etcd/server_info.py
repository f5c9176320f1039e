"""What the servers say of themselves, and which of their settings weaken what the store promises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tenure.errors import AuthenticationFailed, PermissionDenied
from tenure.spi.types import ServerInfo
from tenure_etcd.connection import Connection
from tenure_etcd.endpoints import is_loopback
from tenure_etcd.members import Member, Version
from tenure_etcd.messages import ENUM_VALUES, MESSAGES
from tenure_etcd.reads import read_moment

_DEFAULT_QUOTA = 2 << 30
_QUOTA_WARNING = 0.8
_MIB = 1 << 20

_OLDEST: Version = (3, 4)
_SAFE_PROGRESS: tuple[Version, ...] = ((3, 4, 25), (3, 5, 8))


def parse_version(version: str) -> Version:
    """``"3.5.16"`` as numbers; what follows them (``-rc.1``) is left out."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0])[:3])


def supported(version: Version) -> bool:
    """Whether the plugin can work with this version at all: fragments and chosen watch ids came with 3.4."""
    return version >= _OLDEST


def progress_is_safe(version: Version) -> bool:
    """Whether a progress answer is never sent before the events it speaks of (etcd#15220)."""
    return any(version[:2] == first[:2] and version >= first for first in _SAFE_PROGRESS) or version >= (3, 6)


def introduce(connection: Connection, member: Member, *, timeout: float) -> int | None:
    """Learn a member's version, once for each connection to it. Returns its raft index if it was asked.

    A user without rights may not ask a later etcd; then the version is empty.
    """
    if member.version is not None:
        return None
    try:
        status = connection.status(member, timeout=timeout)
    except (AuthenticationFailed, PermissionDenied):
        member.version = ()
        return None
    member.version = parse_version(status.version)
    return int(status.raftIndex)


def describe(connection: Connection, *, encrypted: bool, timeout: float) -> ServerInfo:
    """``Backend.server_info``. What the user isn't allowed to ask for is said so in the details."""
    answer = connection.status(connection.connected(timeout, "asking for the server's state"), timeout=timeout)
    moment = read_moment(connection, "", timeout=timeout) if connection.user is None else None
    members = _ask(connection, "MemberList", MESSAGES["MemberListRequest"](), timeout)
    alarms = _ask(connection, "Alarm", MESSAGES["AlarmRequest"](), timeout)
    details = {
        "endpoints": connection.endpoints,
        "leader": f"{answer.leader:x}",
        "answering member": f"{answer.header.member_id:x}",
        "raft term": str(answer.raftTerm),
        "database": f"{answer.dbSize / _MIB:.1f} MiB, of it in use {answer.dbSizeInUse / _MIB:.1f} MiB",
        "members": "this user may not list them",
        "alarms": "this user may not list them",
    }
    if members is not None:
        details["members"] = ", ".join(_member(member) for member in members.members)
    if alarms is not None:
        details["alarms"] = ", ".join(_alarm(alarm) for alarm in alarms.alarms) or "none"
    return ServerInfo(
        product="etcd",
        version=answer.version,
        revision=moment.revision if moment is not None else answer.header.revision,
        warnings=tuple(_warnings(connection, answer, members, alarms, encrypted=encrypted)),
        details=details,
    )


def _ask(connection: Connection, method: str, request: Any, timeout: float) -> Any | None:
    """The answer of a call that only some users may make, or ``None``."""
    try:
        return connection.call(method, request, timeout=timeout, write=False, action="asking for the cluster's state")
    except PermissionDenied:
        return None


def _member(member: Any) -> str:
    learner = " (learner)" if member.isLearner else ""
    return f"{member.name or 'unnamed'} {', '.join(member.clientURLs) or 'not started'}{learner}"


def _alarm(alarm: Any) -> str:
    names = {number: name for name, number in ENUM_VALUES.items()}
    return f"{names.get(alarm.alarm, alarm.alarm)} on member {alarm.memberID:x}"


def _warnings(
    connection: Connection, answer: Any, members: Any | None, alarms: Any | None, *, encrypted: bool
) -> Iterable[str]:
    for alarm in alarms.alarms if alarms is not None else ():
        if alarm.alarm == ENUM_VALUES["NOSPACE"]:
            yield "The database has reached its quota: writes are refused until space is made and the alarm cleared."
        elif alarm.alarm == ENUM_VALUES["CORRUPT"]:
            yield "A member's data differs from the others': restore that member before you trust any answer."
    quota = answer.dbSizeQuota or _DEFAULT_QUOTA
    if answer.dbSize > quota * _QUOTA_WARNING:
        yield (
            f"The database has {answer.dbSize / _MIB:.0f} MiB; at its quota (by default {_DEFAULT_QUOTA // _MIB} MiB) "
            "writes are refused. Compact and defragment it."
        )
    version = parse_version(answer.version)
    if (3, 5, 0) <= version <= (3, 5, 2):
        yield f"etcd {answer.version} can corrupt its data when it crashes under load: upgrade to 3.5.3 or later."
    if not progress_is_safe(version):
        yield (
            f"etcd {answer.version} can't say safely how far watches are, so a quiet watch may need a resync "
            "after a compaction: upgrade to 3.5.8 or later."
        )
    if members is not None and answer.header.member_id not in {member.ID for member in members.members}:
        yield (
            "A proxy, such as etcd's grpc-proxy, answers for the members. When they are down behind it, a watch "
            "doesn't learn of it, and its staleness stays 0: give the URL the members' own addresses."
        )
    elif members is not None:
        yield from _cluster_warnings(connection, [member for member in members.members if not member.isLearner])
    if not encrypted and not all(is_loopback(host) for host in connection.hosts):
        yield "The connection isn't encrypted: anyone on the network between can read and change what is stored."
    if connection.user is None and not all(is_loopback(host) for host in connection.hosts):
        yield "No user was needed: any client that reaches the port may read, change and delete everything."


def _cluster_warnings(connection: Connection, voters: list[Any]) -> Iterable[str]:
    if len(voters) == 1:
        yield "There is one member only: when it is down the store is down, and its disk is the only copy."
    elif len(voters) % 2 == 0:
        yield f"There are {len(voters)} voting members: no more may fail than with {len(voters) - 1}."
    if len(voters) > len(connection.hosts) == 1:
        yield f"The URL names one of {len(voters)} members: when that one is down there is no failover. Name them all."
