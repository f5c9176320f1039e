"""What an agent says of its settings. A token may not be allowed to ask: then Consul's defaults are assumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tenure_consul.leases import seconds
from tenure_consul.pool import Pool

_DEFAULT_SIZE = 512 * 1024
_DEFAULT_TTL = 10.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of an agent; ``known`` says whether it told them."""

    known: bool
    version: str
    server: bool
    dev: bool
    acls: bool
    datacenter: str
    node: str
    min_ttl: float
    """Seconds; the servers decide, an agent that is none of them only knows its own setting."""
    largest_value: int
    largest_request: int
    most_connections: int | None = None
    """From one address; ``None`` if the agent didn't say."""


def ask(pool: Pool, *, timeout: float) -> ServerSettings:
    """Ask the agent that is in use now."""
    # The agent answers by itself, whatever the datacenter.
    answer = pool.call("GET", "/v1/agent/self", None, timeout=timeout, action="asking the agent", allow=(403,))
    try:
        found = json.loads(answer.body) if answer.status == 200 else {}
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    config: dict[str, Any] = found.get("Config") or {}
    debug: dict[str, Any] = found.get("DebugConfig") or {}
    return ServerSettings(
        known=bool(config),
        version=str(config.get("Version") or "unknown"),
        server=bool(config.get("Server", True)),
        dev=bool(debug.get("DevMode", False)),
        acls=bool(debug.get("ACLsEnabled", answer.status == 403)),
        datacenter=str(config.get("Datacenter") or ""),
        node=str(config.get("NodeName") or ""),
        min_ttl=seconds(str(debug.get("SessionTTLMin") or "")) or _DEFAULT_TTL,
        largest_value=int(debug.get("KVMaxValueSize") or _DEFAULT_SIZE),
        largest_request=int(debug.get("TxnMaxReqLen") or _DEFAULT_SIZE),
        most_connections=debug.get("HTTPMaxConnsPerClient"),
    )
