"""What the servers say of themselves: at the opening, to know what they can, and for ``doctor``."""

from __future__ import annotations

import re

from tenure.plugin_kit import Deadline
from tenure.spi.types import ServerInfo
from tenure_zookeeper import encoding
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.session import ask

Version = tuple[int, ...]

MODERN: Version = (3, 6)
"""First version with multi-reads and persistent watches."""

_FORGETFUL: Version = (3, 9, 3)
"""Servers that have fallen behind and catch up may lose writes, and hand the gap on as leaders (ZOOKEEPER-4925)."""


def parse_version(srvr: str) -> Version:
    """The version in the answer to ``srvr``; empty where the server doesn't answer that."""
    match = re.search(r"version: (\d+)\.(\d+)\.(\d+)", srvr)
    return tuple(int(part) for part in match.groups()) if match else ()


def is_ensemble(connection: Connection, srvr: str, *, deadline: Deadline) -> bool:
    """Whether the server is one of several; when in doubt it is."""
    match = re.search(r"Mode: (\w+)", srvr)
    if match:
        return match[1] != "standalone"
    answer = connection.call(
        encoding.get_data("/zookeeper/config"), deadline=deadline, action="reading the configuration"
    )
    return bool(answer.error) or b"server." in encoding.read_node(answer).data


def describe(connection: Connection, *, deadline: Deadline) -> ServerInfo:
    """``Backend.server_info``."""
    root = connection.read([encoding.exists("/")], deadline=deadline, action="reading the revision")[0]
    srvr = ask(connection.endpoints, "srvr", deadline)
    version = parse_version(srvr)
    details = {
        name.lower(): value.strip()
        for name, value in re.findall(r"^(Mode|Connections|Node count|Latency[^:]*): *(.*)$", srvr, re.MULTILINE)
    }
    details["hosts"] = str(connection.endpoints)
    warnings = []
    if not srvr:
        warnings.append("the server doesn't answer 'srvr' (4lw.commands.whitelist): its version and mode are unknown")
    if details.get("mode") == "standalone":
        warnings.append("a single server: while it is down nothing works, and its disk holds the only copy")
    if connection.may_lag:
        warnings.append(
            "several servers and reads=sync: a read may miss what another server acknowledged, for as long as a leader "
            "doesn't notice that it was replaced"
        )
    if connection.ensemble and version == _FORGETFUL:
        warnings.append(
            "several servers of version 3.9.3: one that was down for a while may lose acknowledged writes for all "
            "(ZOOKEEPER-4925); 3.9.4 mends that"
        )
    if not connection.modern:
        warnings.append("a server before 3.6: watches list everything twice a second, and empty folders stay")
    if connection.login.user is None:
        warnings.append("no user in the URL: any client that reaches the server may read and write everything")
    elif not connection.endpoints.encrypted:
        what = "what is read and written goes" if connection.login.sasl else "user and password go"
        warnings.append(f"{what} over the network in plain text: use +tls after the URL's scheme")
    return ServerInfo("ZooKeeper", ".".join(map(str, version)) or "unknown", root.zxid, None, tuple(warnings), details)
