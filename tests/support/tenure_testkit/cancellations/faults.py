"""Faults that come and go while tasks are cancelled: of the network, of the memory store, of a file that is locked."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import tenure_memory
from tenure.conformance.network import Cut, CutPoint, Direction, Latency, Network, Toxic

_LONG = 0.5
"""The longest fault, in seconds."""
_PAUSE = 0.2
"""The longest time between two, in seconds."""

Fault: TypeAlias = Callable[[random.Random], object]


class Weather:
    """Makes one fault after the other on a thread, until it is calm."""

    def __init__(self, faults: dict[str, Fault], seed: str, *, ports: tuple[int, ...] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.ports = ports
        """Those of proxies in this process, whose sockets are none of the store's."""
        self._faults = faults
        self._chance = random.Random(f"{seed}/weather")
        self._calm = threading.Event()
        self._thread: threading.Thread | None = None

    def blow(self) -> None:
        """Begin."""
        self._calm.clear()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)
        self._thread.start()

    def calm(self) -> None:
        """End the present fault, and make no more."""
        self._calm.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._calm.wait(self._chance.random() * _PAUSE):
            name = self._chance.choice(sorted(self._faults))
            self._faults[name](self._chance)
            self.counts[name] += 1


def _for_a_while(chance: random.Random) -> None:
    time.sleep(chance.random() * _LONG)


def network_faults(network: Network) -> dict[str, Fault]:
    """Connections that break, at once or under a request, that are slow, silent or refused."""

    def add(toxic: Toxic, *directions: Direction) -> Fault:
        def fault(chance: random.Random) -> None:
            with network.add(toxic, *directions):
                _for_a_while(chance)

        return fault

    def cut_under(chance: random.Random) -> None:
        point = chance.choice((CutPoint.AFTER_REQUEST, CutPoint.AFTER_REPLY, CutPoint.BEFORE_REQUEST))
        with network.add(Cut(point=point, times=chance.randrange(1, 4)), Direction.UP):
            _for_a_while(chance)

    def refuse(chance: random.Random) -> None:
        with network.down():
            _for_a_while(chance)

    def silence(chance: random.Random) -> None:
        with network.black_hole():
            _for_a_while(chance)

    return {
        "connections cut": lambda _: network.cut(),
        "answers lost": cut_under,
        "slow": add(Latency(latency=0.02, jitter=0.02), Direction.UP, Direction.DOWN),
        "silent": silence,
        "refused": refuse,
    }


def memory_faults(name: str) -> dict[str, Fault]:
    """An outage, lost answers, watches that break, and a history that is gone."""
    server = tenure_memory.server(name)

    def outage(chance: random.Random) -> None:
        with server.outage():
            time.sleep(chance.random() * 0.05)

    def lose(chance: random.Random) -> None:
        server.make_next_write_unknown(applied=chance.random() < 0.5)

    return {
        "outage": outage,
        "answer lost": lose,
        "watches cut": lambda _: server.cut_watches(),
        "compacted": lambda _: server.compact(),
    }


def sqlite_faults(path: Path) -> dict[str, Fault]:
    """Another process writes for a while."""

    def lock(chance: random.Random) -> None:
        other = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            _for_a_while(chance)
        finally:
            other.rollback()
            other.close()

    return {"file locked": lock}
