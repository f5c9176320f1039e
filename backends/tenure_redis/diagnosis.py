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
from tenure_redis.server_info import NEAR_LIMIT, access_warnings, is_local, memory_warnings, persistence_warnings
from tenure_redis.server_settings import ServerSettings

_MIB = 1 << 20
_MANY = 0.8
_LARGE_HISTORY = 128 * _MIB
_ACCESS = "ask for a password and TLS: see the page 'TLS and rights'"


def examine(
    pool: Pool, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline, *, login: bool
) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    settings = server_settings.ask(pool, deadline)
    found = [
        *_access(pool, settings, hosts, tls, deadline, login=login),
        *_eviction(settings),
        *_memory(settings),
        *_persistence(settings),
        *_replicas(settings),
        *_connections(settings),
        *_history(pool, deadline),
    ]
    if not any(isinstance(host, UnixSocket) for host in hosts):
        found += examine_hosts(hosts, tls, deadline)
    return tuple(found)


def _access(
    pool: Pool, settings: ServerSettings, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline, *, login: bool
) -> Iterator[Finding]:
    """Who else may use this server. A loopback address in the URL says nothing of where it listens."""
    is_open = _default_is_open(pool, deadline) if login else True
    needed = "the password was accepted; this user may not ask whether one is needed"
    if is_open is False:
        needed = "the default user has not every right without a password"
    if not all(is_local(host) for host in hosts):
        for text in access_warnings(encrypted=tls is not None, login=not is_open):
            yield Finding("access", Verdict.WARNING, text, _ACCESS)
        if not is_open and tls is not None:
            yield Finding("access", Verdict.OK, f"{needed}; the connection is encrypted")
    elif not is_open:
        yield Finding("access", Verdict.OK, needed)
    elif _listens_beyond(settings):
        yield Finding(
            "access",
            Verdict.WARNING,
            "any client that reaches this server from another machine has every right: it asks for no password, "
            f"protected-mode is no, and it listens on {settings.config['bind'].strip() or 'every address'}",
            _ACCESS,
        )
    else:
        text = "no password is needed: every program of this machine has every right"
        known = "" if settings.config.get("bind") is not None else "; whether others reach the server isn't known here"
        yield Finding("access", Verdict.OK, text + known)


def _default_is_open(pool: Pool, deadline: Deadline) -> bool | None:
    """Whether the user of connections without a login may do everything; ``None`` if that may not be asked."""
    try:
        answer = pool.read("ACL", "GETUSER", "default", deadline=deadline, action="asking for the default user")
    except TenureError:
        return None
    words = answer if isinstance(answer, list) else []
    user = dict(zip(words[::2], words[1::2], strict=False))
    return {b"on", b"nopass"} <= set(user.get(b"flags", ())) and b"+@all" in user.get(b"commands", b"").split()


def _listens_beyond(settings: ServerSettings) -> bool:
    """Whether it takes connections from other machines without a password."""
    bind = settings.config.get("bind")
    if bind is None or settings.config.get("protected-mode") != "no":
        return False
    addresses = [word.removeprefix("-") for word in bind.split()]
    return not addresses or not all(is_local(Host(address, 0)) for address in addresses)


def _eviction(settings: ServerSettings) -> Iterator[Finding]:
    for text in memory_warnings(settings):
        evicts = text.startswith("maxmemory-policy")
        advice = "CONFIG SET maxmemory-policy noeviction" if evicts else "give it more memory"
        yield Finding("eviction" if evicts else "memory", Verdict.WARNING, text, advice)
    policy = settings.config.get("maxmemory-policy", settings.info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        yield Finding("eviction", Verdict.OK, "maxmemory-policy is noeviction: no key is thrown away")


def _memory(settings: ServerSettings) -> Iterator[Finding]:
    used, limit = (int(settings.info.get(name) or 0) for name in ("used_memory", "maxmemory"))
    if not used or (limit and used > limit * NEAR_LIMIT):
        return
    text = f"{used / _MIB:.1f} MiB are in use"
    if limit:
        yield Finding("memory", Verdict.OK, f"{text} of {limit / _MIB:.0f} MiB (maxmemory)")
    else:
        yield Finding("memory", Verdict.OK, f"{text}; maxmemory 0 is no limit: it may take all that the machine has")


def _replicas(settings: ServerSettings) -> Iterator[Finding]:
    if settings.info.get("role") != "master" or settings.replicas is None:
        return
    if not settings.replicas:
        text = "none: one machine has the only copy, and while it is down the store is down"
    elif settings.config.get("min-replicas-to-write") == "0":
        return  # a warning of the server
    else:
        text = f"{settings.replicas} connected"
    yield Finding("replicas", Verdict.OK, text)


def _persistence(settings: ServerSettings) -> Iterable[Finding]:
    warnings = persistence_warnings(settings)
    found = [Finding("persistence", Verdict.WARNING, text, _persistence_advice(text)) for text in warnings]
    if not found and settings.aof:
        snapshots = "; save is empty: no snapshots beside it" if settings.config.get("save") == "" else ""
        text = f"append-only file, appendfsync {settings.fsync or 'unknown'}{snapshots}"
        found = [Finding("persistence", Verdict.OK, text)]
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
