"""Runs a fleet through its outages, and says what each has cost."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

import tenure
from tenure_testkit.fleet.load import Gauge, Load, load_between
from tenure_testkit.fleet.outages import KINDS, Kind, mark, outage
from tenure_testkit.waiting import NotInTime, until

_MORE = 2.0
"""Seconds of load after the last client is back: a refresh that was put off belongs to the outage."""
_AT_A_TIME = 1_000
_QUIET = 5.0
_TIMES = 10
"""Refreshes and changes that are measured."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a fleet is, and for how long it may take.

    ``keys`` of ``value_bytes`` each are what every client watches. ``down`` and ``ttl`` are in seconds, and so is
    ``limit``, in which the fleet has to be there, and to be back after each outage.
    """

    clients: int
    processes: int
    keys: int
    value_bytes: int
    down: float
    ttl: float
    limit: float


@dataclass(frozen=True, slots=True)
class Rest:
    """What a fleet costs the server while nothing is wrong, each time of one client alone."""

    idle_cpu: float
    """Seconds of the server's processor in a second in which nothing happens."""
    refresh_cpu: float
    """Seconds of the server's processor for one refresh of a lease."""
    change_cpu: float
    """The same for one change that one client is told of."""
    change_bytes: float


@dataclass(frozen=True, slots=True)
class Return:
    """How a fleet came back after one outage. Times are seconds since the server was back."""

    outage: str
    spread: bool
    down: float
    half: float
    most: float
    last: float
    load: Load
    read_again: int
    lost: tuple[str, ...]
    missing: int

    @property
    def problems(self) -> list[str]:
        """What breaks a promise."""
        found = [f"a lease was lost: {reason}" for reason in self.lost]
        if self.missing:
            found.append(f"{self.missing} clients have lost their key")
        return found


@dataclass(frozen=True, slots=True)
class Running:
    """A server and its fleet."""

    kind: Kind
    server: Any
    processes: list[Process]
    gauge: Gauge


class Process:
    """A process with clients."""

    def __init__(self, config: dict[str, Any]) -> None:
        support = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tenure_testkit.fleet.worker", json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
        )

    def answer(self, limit: float) -> dict[str, Any]:
        """The next line that it prints."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, limit - time.monotonic())):
                raise NotInTime("a process of the fleet doesn't answer")
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"a process of the fleet ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, what: str) -> None:
        """Let it report, or refresh all leases and then report."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def fleet(
    store: str, outages: Sequence[str], size: Size, *, spread: bool, folder: Path, tell: Callable[[str], object]
) -> tuple[Rest, list[Return]]:
    """Run one fleet on a server of its own, and return what it costs, and how it came back after each outage."""
    kind = KINDS[store]
    with ExitStack() as ends:
        server = ends.enter_context(kind.make())
        fill(server.url, size)
        gauge = kind.gauge(server)
        ends.callback(gauge.stop)
        alone = in_quiet(gauge)
        share, more = divmod(size.clients, size.processes)
        config = {"url": server.url, "ttl": size.ttl, "spread": spread}
        processes = [
            ends.enter_context(Process({**config, "number": number, "clients": share + (number < more)}))
            for number in range(size.processes)
        ]
        limit = time.monotonic() + size.limit
        for process in processes:
            process.answer(limit)
        tell(f"{store}: {size.clients} clients are there")
        running = Running(kind, server, processes, gauge)
        rest = at_rest(running, size, alone)
        tell(f"{store}: {at_rest_described(rest)}")
        came = []
        for number, name in enumerate(outages, 1):
            found = one_return(running, size, name, number, spread=spread, folder=folder)
            came.append(found)
            tell(f"{store}: {described(found)}")
        return rest, came


def fill(url: str, size: Size) -> None:
    """Put what all clients watch."""
    with tenure.connect(url, timeout=size.limit) as store:
        value = b"x" * size.value_bytes
        most = min(_AT_A_TIME, store.capabilities.max_transaction_operations or _AT_A_TIME)
        for start in range(0, size.keys, most):
            transaction = store.transaction()
            for number in range(start, min(size.keys, start + most)):
                transaction.put(f"data/{number:08}", value)
            transaction.commit()
        store.put("data/marker", b"0")


def reports(processes: Sequence[Process], limit: float, *, after: str = "report") -> list[dict[str, Any]]:
    """What all processes have seen, after they have done what they are told."""
    for process in processes:
        process.ask(after)
    return [process.answer(limit) for process in processes]


def in_quiet(gauge: Gauge) -> float:
    """Seconds of the server's processor in a second in which nothing happens."""
    began = time.monotonic()
    time.sleep(_QUIET)
    ended = time.monotonic()
    return load_between(gauge.readings, began, ended).cpu_seconds / (ended - began)


def at_rest(running: Running, size: Size, alone: float) -> Rest:
    """Measure what refreshes and changes cost. What the server costs ``alone``, or its fleet anyway, is taken off."""
    idle = in_quiet(running.gauge)

    def cost(act: Callable[[], object]) -> tuple[float, float]:
        began = time.monotonic()
        act()
        time.sleep(1.0)  # until the counters have been read
        ended = time.monotonic()
        load = load_between(running.gauge.readings, began, ended)
        return max(0.0, load.cpu_seconds - idle * (ended - began)), load.sent_bytes

    def refresh() -> None:
        for _ in range(_TIMES):
            reports(running.processes, time.monotonic() + size.limit, after="refresh")

    def change() -> None:
        for number in range(-_TIMES, 0):
            mark(running.server.url, number, changes=0)
        until(lambda: in_sync(running.processes, -1, size), size.limit, "all clients know a change", interval=0.5)

    refresh_cpu, _ = cost(refresh)
    change_cpu, sent = cost(change)
    times = size.clients * _TIMES
    return Rest(max(0.0, idle - alone) / size.clients, refresh_cpu / times, change_cpu / times, sent / times)


def in_sync(processes: Sequence[Process], number: int, size: Size) -> list[float] | None:
    """When each client has seen the marker's value ``number``; ``None`` while one hasn't."""
    found = reports(processes, time.monotonic() + size.limit)
    seen = [client.get(str(number)) for one in found for client in one["seen"]]
    return None if None in seen else seen


def one_return(running: Running, size: Size, name: str, number: int, *, spread: bool, folder: Path) -> Return:
    """Make one outage, and wait until all clients know that it is over."""
    processes = running.processes
    before = resyncs(reports(processes, time.monotonic() + size.limit))
    went = time.monotonic()
    back = outage(running.kind, running.server, name, number, seconds=size.down, folder=folder)
    limit = back + size.limit
    seen = until(lambda: in_sync(processes, number, size), size.limit, "all clients are in sync", interval=0.5)
    times = [max(0.0, at - back) for at in seen]
    time.sleep(_MORE)
    found = reports(processes, limit)
    with tenure.connect(running.server.url, timeout=size.limit) as store:
        present = len(store.list("clients/"))
    cuts = quantiles(times, n=100) if len(times) > 1 else times * 99
    return Return(
        outage=name,
        spread=spread,
        down=back - went,
        half=cuts[49],
        most=cuts[98],
        last=max(times),
        load=load_between(running.gauge.readings, went, back + max(times)),
        read_again=resyncs(found) - before,
        lost=tuple(reason for one in found for reason in one["losses"]),
        missing=size.clients - present,
    )


def resyncs(found: Sequence[dict[str, Any]]) -> int:
    """How many times a client has read everything again."""
    return sum(one["batches"].get("resync", 0) for one in found)


def described(found: Return) -> str:
    """One line about a return."""
    load = found.load
    return (
        f"history {found.outage}, {'spread' if found.spread else 'not spread'}: away {found.down:.1f} s; in sync: half "
        f"{found.half:.1f}, 99 % {found.most:.1f}, all {found.last:.1f} s; {found.read_again} read again; most in a "
        f"second: {load.peak_requests:.0f} requests, {load.peak_connections:.0f} connections, "
        f"{load.peak_sent_bytes / 1e6:.1f} MB, {load.peak_cpu:.2f} s CPU; in all: {load.requests:.0f} requests, "
        f"{load.sent_bytes / 1e6:.1f} MB, {load.cpu_seconds:.2f} s CPU; {len(found.lost)} leases lost"
    )


def at_rest_described(rest: Rest) -> str:
    """One line about a fleet at rest."""
    return (
        f"at rest: {rest.idle_cpu * 1e6:.0f} us CPU for a client and second, {rest.refresh_cpu * 1e6:.0f} us for a "
        f"refresh, {rest.change_cpu * 1e6:.0f} us and {rest.change_bytes:.0f} bytes to tell one client of a change"
    )


def as_json(found: Rest | Return) -> dict[str, Any]:
    """A result for a file."""
    return dataclasses.asdict(found)
