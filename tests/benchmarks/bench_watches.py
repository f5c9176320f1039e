"""A thousand watches in one process: how long they take to open, how many threads they need, and how soon each is told.

* Opening: one thread opens watches with callbacks on prefixes of their own. The time ends when all are in sync.
* All told: one put that all of them watch, from before the put to the last callback.
* One told: a put that one of a thousand watches sees, beside the same in a store that has that watch alone.

etcd misses two aims, and its raw client beside it shows the bound. It sends a message for each watch of a stream, and
gRPC needs 30 to 70 us of processor time to receive one: 1,000 of them can't come in 20 ms. Opening takes a read of the
present state and a request on the stream, for one watch after the other: 0.4 s without anything of ours.
"""

from __future__ import annotations

import contextlib
import os
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_etcd
import bench_redis
from measure import Result, Slice, compare
from server import VALUE, with_server

import tenure

MANY = 1_000
THREADS = 32
TOLD_MS = 20.0
OPENED_SECONDS = {"etcd": 0.4}
ONE_OF_MANY = 1.5
ROOT = "benchmark/watches/"


def run(quick: bool) -> Iterator[Result]:
    with tenure.connect("memory://benchmark-watches") as store:
        yield from _measured("memory", store, quick=quick)
    with tempfile.TemporaryDirectory() as folder, tenure.connect(f"sqlite://{Path(folder) / 'watches.db'}") as store:
        yield from _measured("sqlite", store, quick=quick)


def run_etcd(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        backend: Any = store._backend
        raw = bench_etcd.Raw(next(iter(backend._connection.hosts)))
        stack.callback(raw.close)
        opened, told = _raw_watches(raw, puts=10)
        yield Result(
            f"watches etcd {MANY} on a raw stream", f"{opened:.2f} s, {told:.1f} ms", note="opened; told of a put"
        )
        yield from _measured("etcd", store, quick=quick)

    yield from with_server("etcd", bench_etcd.container, measure)


def run_redis(quick: bool) -> Iterator[Result]:
    yield from _on_server("redis", bench_redis.container, quick=quick)


def _raw_watches(raw: bench_etcd.Raw, *, puts: int) -> tuple[float, float]:
    """Seconds in which the stubs read a key and begin a watch of it, 1,000 times; ms in which all are told of a put."""
    key, requests, message = f"{ROOT}raw".encode(), queue.SimpleQueue[Any](), raw.messages
    raw.put(key)
    began = time.perf_counter()
    answers = raw._watch(iter(requests.get, None), metadata=bench_etcd.METADATA)
    for _ in range(MANY):
        raw.get(key)
        requests.put(message["WatchRequest"](create_request=message["WatchCreateRequest"](key=key)))
        assert next(answers).created
    opened, took = time.perf_counter() - began, []
    for _ in range(puts):
        began = time.perf_counter()
        raw.put(key)
        for _ in range(MANY):
            next(answers)
        took.append((time.perf_counter() - began) * 1e3)
    answers.cancel()
    requests.put(None)
    return opened, statistics.median(took)


def _on_server(scheme: str, container: Callable[..., Any], *, quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        return _measured(scheme, store, quick=quick)

    return with_server(scheme, container, measure)


def _measured(scheme: str, store: tenure.Store, *, quick: bool) -> Iterator[Result]:
    yield _opened(scheme, store, rounds=3 if quick else 7)
    yield _all_told(scheme, store, puts=10 if quick else 40)
    with tenure.connect(store.url) as one, tenure.connect(store.url) as many:
        yield _one_told(scheme, one, many, store, quick=quick)


class Told:
    """Counts what callbacks are told, and lets one thread wait for so many."""

    def __init__(self) -> None:
        self._left = 0
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self.last = 0.0

    def expect(self, number: int) -> None:
        with self._lock:
            self._left = number
            self._enough.clear()

    def __call__(self) -> None:
        now = time.perf_counter()
        with self._lock:
            self._left -= 1
            if not self._left:
                self.last = now
                self._enough.set()

    def wait(self) -> float:
        assert self._enough.wait(60.0), f"{self._left} callbacks were not called"
        return self.last


def _open(store: tenure.Store, prefixes: list[str], told: Told, kind: tenure.BatchType) -> list[tenure.Watch]:
    def callback(batch: tenure.Batch) -> None:
        if batch.type is kind:
            told()

    return [store.watch(prefix, callback=callback) for prefix in prefixes]


def _close(watches: list[tenure.Watch]) -> None:
    for watch in watches:
        watch.close()


def _opened(scheme: str, store: tenure.Store, *, rounds: int) -> Result:
    told, walls, cpus, threads = Told(), [], [], 0
    for number in range(rounds):
        told.expect(MANY)
        wall, cpu = time.perf_counter(), time.process_time()
        watches = _open(store, [f"{ROOT}{number}/{one}/" for one in range(MANY)], told, tenure.BatchType.SYNCED)
        walls.append(told.wait() - wall)
        cpus.append(time.process_time() - cpu)
        threads = max(threads, len(os.listdir("/proc/self/task")))
        _close(watches)
    target = OPENED_SECONDS.get(scheme)
    return Result(
        f"watches {scheme} {MANY} opened",
        f"{min(walls):.2f} s, {threads} threads",
        f"{f'<= {target:.1f} s, ' if target else ''}<= {THREADS}",
        threads <= THREADS and (target is None or min(walls) <= target),
        note=f"shortest of {rounds}, median {statistics.median(walls):.2f} s; cpu {min(cpus):.2f} s",
        numbers={"seconds": min(walls), "cpu_seconds": min(cpus), "threads": threads},
    )


def _all_told(scheme: str, store: tenure.Store, *, puts: int) -> Result:
    told, took = Told(), []
    told.expect(MANY)
    synced = _open(store, [ROOT] * MANY, told, tenure.BatchType.SYNCED)
    told.wait()
    _close(synced)
    watches = _open(store, [ROOT] * MANY, told, tenure.BatchType.CHANGES)
    for _ in range(puts):
        told.expect(MANY)
        began = time.perf_counter()
        store.put(f"{ROOT}key", VALUE)
        took.append((told.wait() - began) * 1e3)
    _close(watches)
    middle = statistics.median(took)
    return Result(
        f"watches {scheme} {MANY} told of a put",
        f"{middle:.1f} ms",
        f"<= {TOLD_MS:.0f} ms",
        middle <= TOLD_MS,
        note=f"from before the put to the last callback, median of {puts}; shortest {min(took):.1f} ms",
        numbers={"ms": middle, "shortest_ms": min(took)},
    )


def _one_told(scheme: str, one: tenure.Store, many: tenure.Store, writer: tenure.Store, *, quick: bool) -> Result:
    slices: dict[str, Slice] = {}
    for name, store, watches in (("one", one, 1), ("many", many, MANY)):
        told = Told()
        _open(store, [f"{ROOT}{name}/{number}/" for number in range(watches)], told, tenure.BatchType.CHANGES)
        slices[name] = _puts(writer, f"{ROOT}{name}/0/key", told)
    return compare(
        f"watches {scheme} one of {MANY} told",
        slices["many"],
        slices["one"],
        target=ONE_OF_MANY,
        seconds=2.0 if quick else 8.0,
        note="put to callback, beside a store with one watch",
    )


def _puts(writer: tenure.Store, key: str, told: Told) -> Slice:
    def run(number: int) -> float:
        took = 0.0
        for _ in range(number):
            told.expect(1)
            began = time.perf_counter()
            writer.put(key, VALUE)
            took += told.wait() - began
        return took

    return run
