"""What an agent and its cluster say of themselves, and which of their settings weaken what the store promises."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any

from tenure.plugin_kit import Deadline
from tenure.spi.types import ServerInfo
from tenure_consul import reads, server_settings
from tenure_consul.connection import Answer
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions
from tenure_consul.server_settings import ServerSettings

ACLS_OFF = "ACLs are off: any client that reaches an agent may read and change everything"


def describe(
    pool: Pool, layout: Layout, revisions: Revisions, *, encrypted: bool, token: bool, consistency: str, timeout: float
) -> ServerInfo:
    """``Backend.server_info``."""
    deadline = Deadline(timeout)
    settings = server_settings.ask(pool, timeout=timeout)
    asked = pool.call(
        "GET", pool.target("/v1/status/leader"), None, timeout=deadline.remaining(), action="asking for the leader"
    )
    leader = _parsed(asked)
    peers = pool.call(
        "GET", pool.target("/v1/status/peers"), None, timeout=deadline.remaining(), action="asking for the servers"
    )
    servers = [str(peer) for peer in _parsed(peers) or ()]
    revision = reads.present(pool, layout, revisions, timeout=deadline.remaining())
    details = {
        "agent": str(asked.where),
        "node": settings.node,
        "datacenter": settings.datacenter,
        "leader": str(leader or "none"),
        "servers": ", ".join(servers),
        "session_ttl_min": f"{settings.min_ttl:g} s",
        "root": layout.root,
    }
    return ServerInfo(
        product="Consul",
        version=settings.version,
        revision=revision,
        clock=_clock(asked),
        warnings=tuple(_warnings(settings, len(servers), encrypted=encrypted, token=token, consistency=consistency)),
        details={name: value for name, value in details.items() if value},
    )


def _warnings(settings: ServerSettings, servers: int, *, encrypted: bool, token: bool, consistency: str) -> list[str]:
    warnings = []
    if settings.dev:
        warnings.append("the agent runs in development mode: everything is lost when it stops")
    if servers == 1:
        warnings.append("there is one server: while it is down nothing works, and with its disk everything is lost")
    elif servers == 2:
        warnings.append("there are two servers: when either is down nothing works; three bear the loss of one")
    if settings.known and not settings.acls:
        warnings.append(ACLS_OFF)
    if token and not encrypted:
        warnings.append("the ACL token goes over the network unencrypted: use consul+tls://")
    if not settings.known:
        warnings.append("this token may not ask the agent for its settings (agent read): Consul's defaults are assumed")
    if consistency != "consistent":
        warnings.append(f"reads may be stale (option consistency={consistency})")
    return warnings


def _parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _clock(answer: Answer) -> float | None:
    """The agent's wall clock, to the second, from a header that every answer has."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
