"""What version 0.1 under the name Leasehold wrote, and how it gets back into a store.

The files in ``written_before_the_rename/`` are what was found in each store, by the store's own means, after a process
of that version had filled it and had been killed: a dump of the SQLite file, Redis's DUMP of each of its keys, paths
and data of ZooKeeper's nodes, the entries of Consul and etcd. ``listed.json`` is what that version itself listed.

=======================  ============================================================================================
``NAMESPACES``           keys of every kind, in no namespace and in one
``on a lasting lease``   in both of them, under leases of an hour
``on a short lease``     under one of five seconds
``/registry/default/``   an instance of the service ``shop``, registered for an hour
``copied``               a namespace with an unfinished copy of ``SOURCE``, which had the keys k/001 to k/020
``mirrored``             a namespace with a mirror of ``SOURCE`` whose process was killed
=======================  ============================================================================================

Leases of SQLite and Redis are data, and come back; there the lasting ones go on as if no time had passed. Those of
the other three are sessions of a server that is gone. Of the keys under them only the instance's entry is in the files.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from tenure import KeyValue
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.zookeeper import ZooKeeperServer

FOLDER = Path(__file__).with_name("written_before_the_rename")
NAMESPACES = ("", "team/orders")
SOURCE = "sqlite://?namespace=source"
"""The default store, so that one URL means the same in every test: in the state folder that the test chooses."""

Server = EtcdServer | RedisServer | ZooKeeperServer | ConsulServer

_HOUR = 3600.0
_ENDED = ("on a short lease", "mirrored/leasehold-mirror-lock")


@dataclass(frozen=True)
class OldData:
    """A store with what the old version wrote.

    ``exact``: its revisions and leases came back, too. ``ended``: the short leases have ended long ago.
    """

    url: Callable[[str], str]
    seen: dict[str, Any]
    exact: bool
    ended: bool

    def expected(self, namespace: str) -> list[KeyValue]:
        """What the old version listed there, as far as it came back."""
        rows = [KeyValue(key, bytes.fromhex(value), *more) for key, value, *more in self.seen[f"listed {namespace}"]]
        if not self.exact:
            return [item for item in rows if item.lease_id is None or item.key == self.entry_key]
        return [item for item in rows if not self.ended or item.key not in _ENDED]

    @property
    def entry_key(self) -> str:
        """The key of the registered instance."""
        return str(self.seen["registered"][0])

    @property
    def entry(self) -> bytes:
        """The value of the registered instance."""
        return str(self.seen["registered"][1]).encode()

    @property
    def lasting(self) -> str:
        """The lease of ``on a lasting lease`` in no namespace."""
        return str(self.seen["leases"][0])

    @property
    def short(self) -> str:
        """The lease of ``on a short lease``."""
        return str(self.seen["leases"][2])


def load(kind: str, server: Server | None, folder: Path) -> OldData:
    """Empty the server, and fill it with what the old version wrote; SQLite's file is made in ``folder``."""
    seen = json.loads((FOLDER / "listed.json").read_text())[kind]
    if server is None:
        url = f"sqlite://{folder / 'store.db'}"
        load_sqlite(folder / "store.db")
        return OldData(lambda name: f"{url}?namespace={name}" if name else url, seen, exact=True, ended=False)
    if isinstance(server, RedisServer):
        load_redis(server)
        url, query = server.url, "" if kind == "redis" else "?store=captured"
        return OldData(lambda name: f"{url}/{name}{query}", seen, exact=True, ended=True)
    if isinstance(server, EtcdServer):
        load_etcd(server)
    elif isinstance(server, ZooKeeperServer):
        load_zookeeper(server)
    else:
        load_consul(server)
    url = server.url
    return OldData(lambda name: f"{url}/{name}", seen, exact=False, ended=False)


def _rows(name: str) -> list[Any]:
    return cast("list[Any]", json.loads((FOLDER / name).read_text()))


def load_sqlite(path: Path) -> None:
    """Make the file. The leases' deadlines count from another boot of the machine."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / "sqlite.sql").read_text())


def load_redis(server: RedisServer) -> None:
    """Both of the stores: neither may show the other's keys."""
    with contextlib.closing(server.client()) as client:
        client.flushall()
        for name in ("redis.json", "redis-named.json"):
            rows = _rows(name)
            for key, dump in rows:
                client.restore(key, 0, bytes.fromhex(dump))
            tag = rows[0][0].partition(":")[0]
            now = client.time()[0] * 1000
            for lease, ttl in client.hgetall(f"{tag}:leases").items():
                if int(ttl) >= _HOUR * 1000:
                    client.zadd(f"{tag}:expiry", {lease: now + int(ttl)})


def load_etcd(server: EtcdServer) -> None:
    everything = {"key": "AA==", "range_end": "AA=="}
    server.gateway.call("/v3/kv/deleterange", everything)
    for key, value in _rows("etcd.json"):
        server.gateway.put(key, bytes.fromhex(value))


def load_zookeeper(server: ZooKeeperServer) -> None:
    client = server.client()
    try:
        for name in client.get_children("/"):
            if name != "zookeeper":
                client.delete(f"/{name}", recursive=True)
        for path, data in _rows("zookeeper.json"):
            client.create(path, bytes.fromhex(data))
    finally:
        client.stop()
        client.close()


def load_consul(server: ConsulServer) -> None:
    server.ask("DELETE", "/v1/kv/?recurse")
    for key, value, flags in _rows("consul.json"):
        assert server.ask("PUT", f"/v1/kv/{quote(key)}?flags={flags}", bytes.fromhex(value))
