"""What ``tenure doctor`` should know of an etcd cluster: members and their certificates, the history, the quota."""

from __future__ import annotations

from collections.abc import Iterator

from tenure.errors import Compacted, TenureError
from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict, named_warnings
from tenure.spi.plugin import Tls
from tenure.spi.types import ServerInfo
from tenure_etcd.connection import Connection
from tenure_etcd.endpoints import is_loopback
from tenure_etcd.keys import prefix_range
from tenure_etcd.messages import MESSAGES

_YOUNG = 100_000
"""Revisions that nobody has to compact yet."""

_ACCESS = "enable authentication and TLS: see the page 'TLS and rights'"

_NAMES = (
    ("A proxy", "proxy", "write the members' own addresses into the URL"),
    ("The database has reached", "quota", "etcdctl compact REVISION, etcdctl defrag, etcdctl alarm disarm"),
    ("The database has", "quota", "set --auto-compaction-retention=1h, and etcdctl defrag"),
    ("A member's data", "corruption", "restore that member from the others"),
    ("The URL names one", "failover", "name all members in the URL, with commas in between"),
    ("There is one member", "persistence", "run three members"),
    ("The connection isn't encrypted", "access", _ACCESS),
    ("No user was needed", "access", _ACCESS),
)
"""How warnings of ``server_info`` begin, what doctor calls them, and what to do."""


def examine(
    connection: Connection, server: ServerInfo, prefix: str, tls: Tls | None, *, timeout: float
) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    deadline = Deadline(timeout)
    return (
        *named_warnings(server.warnings, _NAMES),
        *_access(connection),
        *examine_hosts(connection.hosts, tls, deadline),
        *_history(connection, server.revision, prefix, deadline),
    )


def _access(connection: Connection) -> Iterator[Finding]:
    """Who else may use a server of this machine; of others the warnings tell."""
    if connection.user is None and all(is_loopback(host) for host in connection.hosts):
        text = "no user is needed: every program of this machine has every right"
        yield Finding("access", Verdict.OK, f"{text}, and any client that reaches its addresses from elsewhere")


def _history(connection: Connection, revision: int, prefix: str, deadline: Deadline) -> Iterator[Finding]:
    """See whether the first revisions can still be read: then nobody has ever compacted the history."""
    start, _ = prefix_range(prefix)
    request = MESSAGES["RangeRequest"](key=start, revision=1, count_only=True)
    try:
        connection.call(
            "Range", request, timeout=deadline.remaining(), write=False, action="looking for the oldest revision"
        )
    except Compacted:
        yield Finding("history", Verdict.OK, "old revisions are compacted")
        return
    except TenureError:  # a right that is missing is named elsewhere
        return
    text = f"all {revision:,} revisions are kept: the history was never compacted"
    if revision < _YOUNG:
        yield Finding("history", Verdict.OK, f"{text}, and it is short")
    else:
        yield Finding(
            "history",
            Verdict.WARNING,
            f"{text}, and the database grows with every write until its quota is reached",
            "start the members with --auto-compaction-retention=1h, and defragment once",
        )
