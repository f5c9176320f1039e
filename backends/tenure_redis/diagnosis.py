"""What ``tenure doctor`` should know of a Redis: eviction, persistence, connections, the size of the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tenure.errors import TenureError
from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import Host, Tls
from tenure_redis import server_settings
from tenure_redis.login import UnixSocket
from tenure_redis.pool import Pool
from tenure_redis.server_info import memory_warnings, persistence_warnings
from tenure_redis.server_settings import ServerSettings

_MIB = 1 << 20
_MANY = 0.8
_LARGE_HISTORY = 128 * _MIB


def examine(pool: Pool, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    settings = server_settings.ask(pool, deadline)
    found = [*_eviction(settings), *_persistence(settings), *_connections(settings), *_history(pool, deadline)]
    if not any(isinstance(host, UnixSocket) for host in hosts):
        found += examine_hosts(hosts, tls, deadline)
    return tuple(found)


def _eviction(settings: ServerSettings) -> Iterator[Finding]:
    for text in memory_warnings(settings):
        evicts = text.startswith("maxmemory-policy")
        advice = "CONFIG SET maxmemory-policy noeviction" if evicts else "give it more memory"
        yield Finding("eviction" if evicts else "memory", Verdict.WARNING, text, advice)
    policy = settings.config.get("maxmemory-policy", settings.info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        yield Finding("eviction", Verdict.OK, "maxmemory-policy is noeviction: no key is thrown away")


def _persistence(settings: ServerSettings) -> Iterable[Finding]:
    warnings = persistence_warnings(settings)
    found = [Finding("persistence", Verdict.WARNING, text, _persistence_advice(text)) for text in warnings]
    if not found and settings.aof:
        found = [Finding("persistence", Verdict.OK, f"append-only file, appendfsync {settings.fsync or 'unknown'}")]
    return found


def _persistence_advice(text: str) -> str:
    if "append-only file is off" in text:
        return "CONFIG SET appendonly yes, and the same in the configuration file"
    if text.startswith("appendfsync"):
        return "CONFIG SET appendfsync always, if locks and elections rest on this store"
    return "free its disk, then see INFO persistence"


def _connections(settings: ServerSettings) -> Iterator[Finding]:
    used, most = (int(settings.info.get(name) or 0) for name in ("connected_clients", "maxclients"))
    if not most:
        return
    text = f"{used:,} of {most:,} connections are in use (maxclients)"
    if used > most * _MANY:
        advice = "raise maxclients and the server's limit of open files, or close what isn't needed"
        yield Finding("connections", Verdict.WARNING, f"{text}: at the limit Redis refuses new ones", advice)
    else:
        yield Finding("connections", Verdict.OK, text)


def _history(pool: Pool, deadline: Deadline) -> Iterator[Finding]:
    try:
        kept = pool.read("XLEN", pool.names.log, deadline=deadline, action="counting revisions")
        size = pool.read("MEMORY", "USAGE", pool.names.log, deadline=deadline, action="measuring the history")
    except TenureError:  # a right that nothing else needs
        return
    text = f"{kept:,} revisions are kept for watches that resume, in {(size or 0) / _MIB:.1f} MiB"
    if (size or 0) > _LARGE_HISTORY:
        yield Finding(
            "history", Verdict.WARNING, text, "give all clients a smaller option history, or write smaller values"
        )
    else:
        yield Finding("history", Verdict.OK, text)
