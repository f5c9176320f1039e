"""What the server says of itself to people, and which of its settings weaken what the store promises."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from tenure.plugin_kit import Deadline
from tenure.spi.plugin import Host
from tenure.spi.types import ServerInfo
from tenure_redis import scripts, server_settings
from tenure_redis.login import UnixSocket
from tenure_redis.pool import Pool
from tenure_redis.server_settings import ServerSettings

_MIB = 1 << 20
NEAR_LIMIT = 0.8
"""Part of the memory limit from which it is near."""
_DETAILS = (
    ("role", "role"),
    ("connected_slaves", "replicas"),
    ("used_memory_human", "memory in use"),
    ("maxmemory_human", "memory limit"),
    ("aof_enabled", "append-only file"),
    ("rdb_last_bgsave_status", "last snapshot"),
    ("aof_last_write_status", "last write of the append-only file"),
    ("redis_mode", "mode"),
)


def describe(pool: Pool, hosts: Iterable[Host], deadline: Deadline, *, encrypted: bool, login: bool) -> ServerInfo:
    """``Backend.server_info``."""
    settings = server_settings.ask(pool, deadline)
    _, revision = pool.run(scripts.READ, "", deadline=deadline, action="asking for the revision")
    keys = pool.read("ZCARD", pool.names.all[1], deadline=deadline, action="counting keys")
    kept = pool.read("XLEN", pool.names.log, deadline=deadline, action="counting revisions")
    seconds, micros = pool.read("TIME", deadline=deadline, action="asking for the clock")
    details = {name: settings.info[field] for field, name in _DETAILS if field in settings.info}
    details |= {f"setting {name}": value or "(empty)" for name, value in settings.config.items()}
    details |= {
        "addresses": pool.locator.where,
        "hash tag": pool.names.tag,
        "keys": str(keys),
        "revisions kept": str(kept),
    }
    return ServerInfo(
        product=settings.product,
        version=settings.version or "unknown (this user may not use INFO)",
        revision=int(revision),
        clock=int(seconds) + int(micros) / 1e6,
        warnings=tuple(_warnings(settings, hosts, failover=pool.locator.failover, encrypted=encrypted, login=login)),
        details=details,
    )


def _warnings(
    settings: ServerSettings, hosts: Iterable[Host], *, failover: bool, encrypted: bool, login: bool
) -> Iterable[str]:
    yield from persistence_warnings(settings)
    yield from memory_warnings(settings)
    replicas = settings.replicas
    if failover or replicas:
        count = f"{replicas} connected" if replicas else "none connected now"
        yield (
            f"Replication is asynchronous (replicas: {count}): when a replica takes over, writes that were "
            "acknowledged just before may be gone. Tenure notices and resyncs its watches, but a lock or election "
            "that rests on such a write may have two holders. For those use a store that is durable and linearizable."
        )
        if settings.config.get("min-replicas-to-write") == "0":
            yield (
                "min-replicas-to-write is 0: a primary that is cut off continues to take writes that will be lost. "
                "Set it to 1 or more, with min-replicas-max-lag."
            )
    if not settings.info:
        yield "This user may not use INFO, so persistence and replicas aren't known: allow it by ACL SETUSER ... +info."
    if not settings.config:
        yield (
            "CONFIG GET isn't allowed here, so the store declares itself not durable, and its eviction policy isn't "
            "known: allow it by ACL SETUSER ... +config|get, or look yourself that it is noeviction."
        )
    if not all(is_local(host) for host in hosts):
        yield from access_warnings(encrypted=encrypted, login=login)


def access_warnings(*, encrypted: bool, login: bool) -> Iterable[str]:
    """Who else may use a server of another machine."""
    if not encrypted:
        yield "The connection isn't encrypted: anyone on the network between can read and change what is stored."
    if not login:
        yield "No password was needed: any client that reaches the port may read, change and delete everything."


def persistence_warnings(settings: ServerSettings) -> Iterable[str]:
    """What may be lost when the server stops."""
    if settings.aof is False:
        saved = settings.config.get("save")
        what = (
            f"only snapshots are written (save {saved}): a crash loses everything since the last one"
            if saved
            else "nothing is written to disk: a restart loses everything"
        )
        yield f"The append-only file is off, and {what}. Set appendonly yes."
    elif settings.fsync == "no":
        yield "appendfsync is no: a power failure loses what the system had not written, half a minute or so."
    elif settings.fsync == "everysec":
        yield (
            "appendfsync is everysec: a crash may lose the last second or two of acknowledged writes, so the store "
            "isn't declared durable. appendfsync always is, at the price of one flush for each write."
        )
    for name, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only file")):
        if settings.info.get(name, "ok") != "ok":
            yield f"Redis failed to write its {what}: see its log, the disk may be full. It may refuse all writes."


def memory_warnings(settings: ServerSettings) -> Iterable[str]:
    """What happens when memory runs out, and whether that is near."""
    policy = settings.config.get("maxmemory-policy", settings.info.get("maxmemory_policy", ""))
    limit = int(settings.info.get("maxmemory", "0") or 0)
    if policy not in ("", "noeviction"):
        yield (
            f"maxmemory-policy is {policy}: when memory runs out Redis throws away keys, and Tenure's are few and "
            "large, so a whole namespace may go at once. Set it to noeviction."
        )
    used = int(settings.info.get("used_memory", "0") or 0)
    if limit and used > limit * NEAR_LIMIT:
        yield f"Redis uses {used // _MIB} of {limit // _MIB} MiB: at the limit it refuses writes."


def is_local(host: Host) -> bool:
    """Whether nobody outside this machine can listen on the way."""
    if isinstance(host, UnixSocket) or host.name == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.name).is_loopback
    except ValueError:
        return False
