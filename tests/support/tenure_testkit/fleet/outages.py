"""How a server goes, and with what it comes back. Clients lose it by a kill, as by a crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenure
from tenure_testkit.fleet.load import ContainerGauge, EtcdGauge, Gauge, RedisGauge
from tenure_testkit.fleet.worker import MARKER
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of servers: how to make one, how to read its counters, and how to make it forget its history."""

    make: Callable[[], Any]
    gauge: Callable[[Any], Gauge]
    forget: Callable[[Any], object] | None
    """``None``: the store keeps no history for watches."""


KINDS = {
    "etcd": Kind(EtcdServer, EtcdGauge, lambda server: server.gateway.compact()),
    "redis": Kind(RedisServer, RedisGauge, lambda server: server.trim()),
    "zookeeper": Kind(ZooKeeperServer, ContainerGauge, None),
    "consul": Kind(ConsulServer, ContainerGauge, None),
}
USUAL = ("etcd", "redis")
OUTAGES = ("kept", "forgotten")
"""``kept``: the server still has its history, so watches resume. ``forgotten``: all clients read everything again.

On a store that keeps no history for watches, all read everything again in any case."""


_CHANGES = 10
"""Changes that come before the last one, which no store forgets."""


def mark(url: str, number: int, *, changes: int = _CHANGES) -> None:
    """Tell all clients that an outage is over, after so many other changes."""
    with tenure.connect(url, timeout=PATIENCE, wait_for_store=PATIENCE) as store:
        for _ in range(changes):
            store.put("data/changed", b"%d" % number)
        store.put(MARKER, b"%d" % number)


def outage(kind: Kind, server: Any, name: str, number: int, *, seconds: float, folder: Path) -> float:
    """Take ``server`` away for at least ``seconds``, and bring it back. Returns when it was back."""
    began = time.monotonic()
    server.kill()
    if kind.forget is None:
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        server.start()
        back = time.monotonic()
        mark(server.url, number)
        return back
    # Nobody but us reaches the server meanwhile, since it runs at another port. So clients find the marker when they
    # come, and no call of ours delays it.
    saved = folder / "data.tar"
    server.save_data(saved)
    with kind.make() as other:
        other.kill()
        other.start_on(saved)
        mark(other.url, number)
        if name == "forgotten":
            kind.forget(other)
        other.stop()
        other.save_data(saved)
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    server.start_on(saved)
    return time.monotonic()
