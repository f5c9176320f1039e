"""The stores of the soak: where each is, what can happen to it, and how its data are replaced by an older state."""

from __future__ import annotations

import contextlib
import importlib
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tenure
from tenure.conformance.network import (
    BOTH,
    Bandwidth,
    BlackHole,
    Cut,
    CutPoint,
    Direction,
    Down,
    Latency,
    LimitData,
    Network,
    ResetPeer,
    Slicer,
    Toxic,
)
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.soak.weather import Fault
from tenure_testkit.waiting import until

Compact = Callable[[], object]


def _nothing() -> None:
    pass


class Target:
    """One store. ``url`` is what applications open, ``direct`` goes around all faults of the network."""

    name: str
    url: str
    direct: str
    shared = True
    """Whether several processes can use it."""

    @property
    def faults(self) -> list[Fault]:
        """What can happen to it."""
        return []

    def recover(self) -> None:
        """Undo whatever is left, and wait until the store answers."""

    def keep(self) -> None:
        """At a quiet moment: keep the data as they are now."""

    def replace(self) -> None:
        """At a quiet moment: the data are again as they were when they were kept."""

    def close(self) -> None:
        """End it."""


class MemoryTarget(Target):
    """The memory store of this process. It has nothing to keep: its data are lost instead."""

    name = "memory"
    shared = False

    def __init__(self, url: str) -> None:
        import tenure_memory

        self.url = self.direct = url
        self._server = tenure_memory.server(url.removeprefix("memory://"))

    @property
    def faults(self) -> list[Fault]:
        return [
            Fault("pause", lambda _: self._during(self._server.pause, self._server.resume)),
            Fault("cut watches", lambda _: self._during(self._server.cut_watches, _nothing)),
            Fault("compact", lambda _: self._during(self._server.compact, _nothing)),
        ]

    def _during(self, begin: Callable[[], object], end: Callable[[], object]) -> Callable[[], object]:
        begin()
        return end

    def replace(self) -> None:
        self._server.lose_data()


class SqliteTarget(Target):
    """A file. Another program may hold its lock, and a backup may be copied back into it."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "soak.db"
        self._backup = folder / "soak.backup"
        self.url = self.direct = f"sqlite://{self._path}"

    @property
    def faults(self) -> list[Fault]:
        return [Fault("locked by another program", lambda _: self._lock())]

    def _lock(self) -> Callable[[], object]:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")

        def end() -> None:
            connection.execute("ROLLBACK")
            connection.close()

        return end

    def keep(self) -> None:
        self._copy(self._path, self._backup)

    def replace(self) -> None:
        self._copy(self._backup, self._path)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=30)) as old,
            contextlib.closing(sqlite3.connect(target, timeout=30)) as new,
        ):
            old.backup(new)


class ServerTarget(Target):
    """A server in a container, behind proxies."""

    def __init__(self, name: str, server: ServerContainer, url: str, folder: Path, compact: Compact | None) -> None:
        self.name = name
        self.server = server
        self.direct = url
        self._compact = compact
        self._kept = folder / f"{name}.data"
        self.network = self._in_front()
        self.url = self.network.url

    def _in_front(self) -> Network:
        network = Network.in_front_of(self.direct)
        assert network is not None
        return network

    @property
    def faults(self) -> list[Fault]:
        found = [
            Fault("kill", lambda _: self._kill(), 1),
            Fault("pause", lambda _: self._pause(), 2),
            Fault("cut", lambda _: self._cut(), 3),
            Fault("lost requests and answers", self._lose, 5),
            Fault("partition", self._partition, 3),
            Fault("slow", self._slow, 3),
            Fault("refused", lambda _: self.network.add(Down()).remove, 1),
        ]
        if self._compact is not None:
            found.append(Fault("compact", lambda _: self._compacted(), 2))
        return found

    def _kill(self) -> Callable[[], object]:
        self.server.kill()
        return self.server.start

    def _pause(self) -> Callable[[], object]:
        self.server.pause()
        return self.server.resume

    def _cut(self) -> Callable[[], object]:
        self.network.cut()
        return _nothing

    def _lose(self, chance: random.Random) -> Callable[[], object]:
        cut = Cut(point=chance.choice(list(CutPoint)), times=chance.choice((1, 1, 3, 10)))
        return self.network.add(cut, Direction.UP).remove

    def _partition(self, chance: random.Random) -> Callable[[], object]:
        directions = chance.choice(((Direction.UP,), (Direction.DOWN,), BOTH))
        return self.network.add(BlackHole(), *directions).remove

    def _slow(self, chance: random.Random) -> Callable[[], object]:
        toxics: tuple[Toxic, ...] = (
            Latency(latency=0.2, jitter=0.2),
            Bandwidth(rate=50_000),
            Slicer(size=50, delay=0.001),
            LimitData(bytes=20_000),
            ResetPeer(timeout=0.05),
        )
        return self.network.add(chance.choice(toxics), chance.choice(list(Direction))).remove

    def _compacted(self) -> Callable[[], object]:
        assert self._compact is not None
        self._compact()
        return _nothing

    def recover(self) -> None:
        self.network.reset()
        self.server.recover()
        until(self._answers, what=f"{self.name} answers")

    def _answers(self) -> bool:
        try:
            with tenure.connect(self.direct, timeout=5.0) as store:
                store.put("answers", b"")
        except tenure.Unavailable:
            return False
        except tenure.OutcomeUnknown:
            return False
        return True

    def keep(self) -> None:
        self.server.kill()
        self.server.save_data(self._kept)
        self.server.start()
        self.recover()

    def replace(self) -> None:
        self.server.kill()
        self.server.start_on(self._kept)
        self.recover()

    def close(self) -> None:
        self.network.close()
        self.server.remove()


def _server(name: str) -> tuple[ServerContainer, Callable[[], str], Compact | None]:
    if name == "postgresql":
        # Its tests bring their server: their folder has to be importable.
        postgresql: Any = importlib.import_module("postgresql_server").PostgresqlServer()
        return postgresql, postgresql.url, postgresql.compact
    from tenure_testkit.servers.by_name import SERVERS

    server: Any = SERVERS[name]()
    compacts = {"etcd": lambda: server.gateway.compact(), "redis": lambda: server.trim()}  # noqa: PLW0108 - one has it
    return server, lambda: str(server.url), compacts.get(name)


STORES = ("memory", "sqlite", "etcd", "redis", "zookeeper", "consul", "postgresql")


def start(name: str, folder: Path) -> Target:
    """Start a store of its own for this soak."""
    if name == "memory":
        return MemoryTarget(f"memory://soak-{Path(tempfile.mktemp()).name}")
    if name == "sqlite":
        return SqliteTarget(folder)
    server, url, compact = _server(name)
    server.start()
    return ServerTarget(name, server, url(), folder, compact)
