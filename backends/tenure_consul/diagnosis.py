"""What ``tenure doctor`` should know of an agent: its certificate, and how many connections it takes."""

from __future__ import annotations

from collections.abc import Iterator

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import Host, Tls
from tenure_consul import server_settings
from tenure_consul.pool import Pool
from tenure_consul.server_info import ACLS_OFF
from tenure_consul.server_settings import ServerSettings

_FEW = 100
_SAFE = 1000


def examine(pool: Pool, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    settings = server_settings.ask(pool, timeout=deadline.remaining())
    return (*_access(settings), *_connections(settings.most_connections), *examine_hosts(hosts, tls, deadline))


def _access(settings: ServerSettings) -> Iterator[Finding]:
    """Whether any client that reaches an agent may do everything."""
    if not settings.known:
        return
    if settings.acls:
        yield Finding("access", Verdict.OK, "ACLs are on")
    else:
        advice = "enable ACLs with the default policy deny: see the page 'TLS and rights'"
        yield Finding("access", Verdict.WARNING, ACLS_OFF, advice)


def _connections(most: int | None) -> Iterator[Finding]:
    """A watched prefix holds a connection for as long as it is watched."""
    if most is None:
        return
    text = f"the agent takes {most} connections from one address (http_max_conns_per_client)"
    text += "; each watched prefix holds one"
    if 0 < most < _FEW:
        advice = f"set limits.http_max_conns_per_client to {_SAFE}, above the prefixes that one machine watches"
        yield Finding("connections", Verdict.WARNING, text, advice)
    else:
        yield Finding("connections", Verdict.OK, text)
