"""What a server is asked for: its own counters, read ten times a second by a thread, and rates between two readings."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import NamedTuple

from tenure_testkit.servers import engine
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.redis import RedisServer

_EVERY = 0.1
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a server since it started, and the moment of the monotonic clock at which they were read."""

    at: float
    requests: float
    connections: float
    sent_bytes: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did in a time, and the most in one second of it."""

    requests: float
    connections: float
    sent_bytes: float
    cpu_seconds: float
    peak_requests: float
    peak_connections: float
    peak_sent_bytes: float
    peak_cpu: float


class _Step(NamedTuple):
    """How the counters grew between two readings: the time, and requests, connections, bytes and CPU seconds."""

    began: float
    ended: float
    growth: tuple[float, ...]


def _counters(reading: Reading) -> tuple[float, ...]:
    return reading.requests, reading.connections, reading.sent_bytes, reading.cpu_seconds


def _step(before: Reading, after: Reading) -> _Step:
    if after.cpu_seconds < before.cpu_seconds:  # it has started again, and counts from nothing
        return _Step(after.at - _EVERY, after.at, _counters(after))
    growth = zip(_counters(before), _counters(after), strict=True)
    return _Step(before.at, after.at, tuple(max(0.0, new - old) for old, new in growth))


def load_between(readings: Sequence[Reading], began: float, ended: float) -> Load:
    """What the server did from ``began`` to ``ended``. A peak is over a second, or until an answer."""
    steps = [step for pair in pairwise(readings) if began <= (step := _step(*pair)).ended <= ended]
    totals = _sum(steps)
    peaks = [0.0] * len(totals)
    for last, step in enumerate(steps):
        first = last
        while first and steps[first - 1].began >= step.ended - 1.0:
            first -= 1
        seconds = max(1.0, step.ended - steps[first].began)
        peaks = [max(most, sum_ / seconds) for most, sum_ in zip(peaks, _sum(steps[first : last + 1]), strict=True)]
    return Load(*totals, *peaks)


def _sum(steps: Sequence[_Step]) -> list[float]:
    return [sum(step.growth[number] for step in steps) for number in range(len(fields(Load)) // 2)]


class Gauge(ABC):
    """Reads the counters of one server on a thread. One that doesn't answer is asked again."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)
        self._thread.start()

    @abstractmethod
    def read(self) -> Reading:
        """Read once; raises anything if the server doesn't answer."""

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(2 * _TIMEOUT)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            with contextlib.suppress(Exception):  # down at present
                self.readings.append(self.read())


class EtcdGauge(Gauge):
    """A request is a message that etcd received, a connection one by HTTP/2."""

    def __init__(self, server: EtcdServer) -> None:
        self._url = f"{server.endpoint}/metrics"
        super().__init__()

    def read(self) -> Reading:
        with urllib.request.urlopen(self._url, timeout=_TIMEOUT) as answer:
            lines = answer.read().decode().splitlines()
        at = time.monotonic()
        return Reading(
            at,
            requests=_total(lines, "grpc_server_msg_received_total"),
            connections=_total(lines, "process_open_fds"),
            sent_bytes=_total(lines, "etcd_network_client_grpc_sent_bytes_total"),
            cpu_seconds=_total(lines, "process_cpu_seconds_total"),
        )


class RedisGauge(Gauge):
    """A request is a command."""

    def __init__(self, server: RedisServer) -> None:
        self._client = server.client(timeout=_TIMEOUT)
        super().__init__()

    def read(self) -> Reading:
        info = self._client.info("all")
        return Reading(
            time.monotonic(),
            requests=info["total_commands_processed"],
            connections=info["total_connections_received"],
            sent_bytes=info["total_net_output_bytes"],
            cpu_seconds=info["used_cpu_user"] + info["used_cpu_sys"],
        )

    def stop(self) -> None:
        super().stop()
        self._client.close()


class ContainerGauge(Gauge):
    """What the engine knows of any server's container: processor time and bytes. It counts no requests."""

    def __init__(self, server: ServerContainer) -> None:
        self._container = engine.client().containers.get(server.container_id)
        super().__init__()

    def read(self) -> Reading:
        found = self._container.stats(stream=False, one_shot=True)
        sent = sum(network["tx_bytes"] for network in found["networks"].values())
        used = found["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        return Reading(time.monotonic(), requests=0.0, connections=0.0, sent_bytes=sent, cpu_seconds=used)


def _total(lines: Iterable[str], name: str) -> float:
    """The sum of a metric over all its labels."""
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))
