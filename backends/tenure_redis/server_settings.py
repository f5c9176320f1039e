"""What a server tells of itself by INFO and CONFIG, either of which its users may not be allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure.errors import PermissionDenied, Unsupported
from tenure.plugin_kit import Deadline
from tenure_redis.pool import Pool

_OLDEST = (7, 0)
_WANTED = (
    "appendfsync",
    "maxmemory-policy",
    "maxmemory",
    "min-replicas-to-write",
    "save",
    "proto-max-bulk-len",
    "bind",
    "protected-mode",
)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server's settings and state; ``None`` or empty where it may not be known."""

    info: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)

    @property
    def product(self) -> str:
        """Redis, or the fork of it that says so."""
        return "Valkey" if "valkey_version" in self.info else "Redis"

    @property
    def version(self) -> str:
        return self.info.get("valkey_version") or self.info.get("redis_version", "")

    @property
    def aof(self) -> bool | None:
        """Whether every write goes to the append-only file."""
        enabled = self.info.get("aof_enabled")
        return None if enabled is None else enabled == "1"

    @property
    def fsync(self) -> str:
        """When that file is flushed: ``always``, ``everysec``, ``no``."""
        return self.config.get("appendfsync", "")

    @property
    def largest_string(self) -> int:
        """Bytes of the largest argument it takes."""
        return int(self.config.get("proto-max-bulk-len") or 512 << 20)

    @property
    def replicas(self) -> int | None:
        """How many replicas are connected."""
        found = self.info.get("connected_slaves")
        return None if found is None else int(found)


def ask(pool: Pool, deadline: Deadline) -> ServerSettings:
    """Ask a server. Raises ``Unsupported`` for one that is too old."""
    info: dict[str, str] = {}
    config: dict[str, str] = {}
    try:
        text = pool.read("INFO", deadline=deadline, action="asking for the server's state")
        lines = (line.partition(":") for line in text.decode(errors="replace").splitlines() if ":" in line)
        info = {name: value for name, _, value in lines if not name.startswith("#")}
    except PermissionDenied:
        pass
    try:
        found = pool.read("CONFIG", "GET", *_WANTED, deadline=deadline, action="asking for the server's settings")
        words = [word.decode(errors="replace") for word in found]
        config = dict(zip(words[::2], words[1::2], strict=True))
    except (PermissionDenied, Unsupported):
        pass  # Unsupported: hosted Redis has no such command at all
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < _OLDEST:
        raise Unsupported(f"Redis {version} is too old: 7.0 or later is needed")
    return ServerSettings(info, config)
