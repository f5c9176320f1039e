"""What ``tenure doctor`` should know of an ensemble: its servers' certificates, and how many connections they take."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import Host, Tls
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.session import ask

_MANY = 0.8


def examine(
    connection: Connection, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline
) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    limit = _number(r"^maxClientCnxns=(\d+)", ask(connection.endpoints, "conf", deadline))
    open_now = _number(r"^Connections: *(\d+)", ask(connection.endpoints, "srvr", deadline))
    return (*_connections(limit, open_now), *examine_hosts(hosts, tls, deadline))


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None


def _connections(limit: int | None, open_now: int | None) -> Iterator[Finding]:
    """Each lease is a session of its own, and so a connection: the limit per address is soon reached."""
    if limit is None:
        yield Finding(
            "connections",
            Verdict.WARNING,
            "the limit of connections per client address isn't known (maxClientCnxns, 60 by default); each lease takes "
            "one",
            "allow the word conf (4lw.commands.whitelist=srvr,conf); set maxClientCnxns above a machine's leases",
        )
        return
    known = "" if open_now is None else f"{open_now:,} are open now; "
    most = f"{limit:,}" if limit else "any number of"
    text = f"{known}a server takes {most} connections from one address (maxClientCnxns); each lease takes one"
    if limit and open_now is not None and open_now > limit * _MANY:
        yield Finding("connections", Verdict.WARNING, text, "raise maxClientCnxns, or 0 for no limit")
    else:
        yield Finding("connections", Verdict.OK, text)
