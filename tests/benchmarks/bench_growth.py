"""How costs grow with the number of keys: a list, a watch up to in sync, the start of a registry, and one change.

Each is measured at sizes that lie a factor of ten apart. The exponent says what follows: with 1.0 ten times the keys
cost ten times the time, with 0.0 they cost nothing more. The client's processor time is judged; the time on the wall,
in which the server's part is, is shown beside it. Of several runs the shortest counts: other programs on the machine
make a run longer and never shorter.

A step is to be expected between 10,000 and 100,000 keys: Python's collector then makes passes over all objects. They
are in the exponent all the same. Beside it is the exponent of what is left without them, which no client can save that
makes an object of each key.
"""

from __future__ import annotations

import contextlib
import gc
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bench_etcd
import bench_redis
from measure import Result
from server import with_server

import tenure
from tenure.registry import Instance, Registry, RegistryConfig, encode, key_of

SIZES, SIZES_QUICKLY = (1_000, 10_000, 100_000), (1_000, 10_000)
STEEPEST, STEEPEST_CHANGE = 1.1, 0.1
WHY_STEEPER = {"redis list": "items cost so little else that the collector is half of 100,000"}
"""What has been seen to grow faster, and why."""
START_CPU, START_WALL = 1.0, 1.5
"""Seconds in which a registry of 100,000 instances starts."""
SERVICES = 1_000
CONFIG = RegistryConfig(prefix="benchmark/growth/")
CHANGES = 40


class Took(NamedTuple):
    """Seconds on the wall, of this process's processor time, and of that those in the collector."""

    wall: float
    cpu: float
    collector: float


def run(quick: bool) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder, tenure.connect(f"sqlite://{Path(folder) / 'growth.db'}") as store:
        yield from _measured("sqlite", store, quick=quick)


def run_etcd(quick: bool) -> Iterator[Result]:
    yield from _on_server("etcd", bench_etcd.container, quick=quick)


def run_redis(quick: bool) -> Iterator[Result]:
    yield from _on_server("redis", bench_redis.container, quick=quick)


def _on_server(scheme: str, container: Callable[..., Any], *, quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        return _measured(scheme, store, quick=quick)

    return with_server(scheme, container, measure)


def _measured(scheme: str, store: tenure.Store, *, quick: bool) -> Iterator[Result]:
    sizes = SIZES_QUICKLY if quick else SIZES
    curves: dict[str, list[Took]] = {}
    present = 0
    for size in sizes:
        _fill(store, present, size)
        present = size
        for name, took in _at(store, size).items():
            curves.setdefault(name, []).append(took)
    store.delete_prefix(CONFIG.key_prefix, timeout=60.0)
    yield _start(scheme, sizes[-1], curves["registry start"][-1])
    for name, curve in curves.items():
        steepest, reason = STEEPEST_CHANGE if name == "one change" else STEEPEST, WHY_STEEPER.get(f"{scheme} {name}")
        cpu, wall = [took.cpu for took in curve], [took.wall for took in curve]
        exponent, on_the_wall = _exponent(sizes, cpu), _exponent(sizes, wall)
        without = _exponent(sizes, [took.cpu - took.collector for took in curve])
        yield Result(
            f"growth {scheme} {name}",
            f"exponent {exponent:.2f}",
            f"<= {steepest:.4g}",
            exponent <= steepest,
            control=f"wall {on_the_wall:.2f}",
            note=f"without the collector {without:.2f}; cpu {_shown(cpu)}, wall {_shown(wall)} ms at "
            f"{', '.join(f'{size:,}' for size in sizes)} keys{'; ' + reason if reason else ''}",
            numbers={
                "exponent": exponent,
                "exponent_without_collector": without,
                "wall_exponent": on_the_wall,
                **{str(size): seconds for size, seconds in zip(sizes, cpu, strict=True)},
                **{f"wall_{size}": seconds for size, seconds in zip(sizes, wall, strict=True)},
            },
        )


def _start(scheme: str, size: int, took: Took) -> Result:
    part = size / SIZES[-1]
    return Result(
        f"registry start {scheme}, {size} instances",
        f"{took.wall:.2f} s, cpu {took.cpu:.2f}",
        f"<= {START_WALL * part:.2f}, {START_CPU * part:.2f}",
        took.wall <= START_WALL * part and took.cpu <= START_CPU * part,
        note="shortest of several; the wall has the server's part in it",
        numbers={"seconds": took.wall, "cpu_seconds": took.cpu},
    )


def _exponent(sizes: Sequence[int], curve: Sequence[float]) -> float:
    return math.log(curve[-1] / curve[0]) / math.log(sizes[-1] / sizes[0])


def _shown(curve: Sequence[float]) -> str:
    return " / ".join(f"{seconds * 1e3:.3g}" for seconds in curve)


def _fill(store: tenure.Store, start: int, end: int) -> None:
    step = min(100, store.capabilities.max_transaction_operations)
    for first in range(start, end, step):
        transaction = store.transaction()
        for number in range(first, min(first + step, end)):
            transaction.put(key_of(CONFIG.key_prefix, _instance(number)), encode(_instance(number)))
        transaction.commit(timeout=60.0)


def _instance(number: int) -> Instance:
    return Instance(
        f"service-{number % SERVICES}",
        id=f"{number:08}",
        host=f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}",
        host_name=f"node-{number % 5_000}",
        port=8000,
        meta={"zone": "a", "version": "1.2.3"},
    )


def _at(store: tenure.Store, size: int) -> dict[str, Took]:
    def listed() -> None:
        assert len(store.list(CONFIG.key_prefix, timeout=60.0)) == size

    def watched() -> None:
        found = 0
        with store.watch(CONFIG.key_prefix, timeout=60.0) as watch:
            for batch in watch:
                found += len(batch.events)
                if batch.type is tenure.BatchType.SYNCED:
                    break
        assert found == size

    def registry_started() -> None:
        Registry(store, CONFIG).start(timeout=60.0).close()

    runs = 5 if size >= SIZES[-1] else 9
    return {
        "list": _shortest(listed, runs),
        "watch": _shortest(watched, runs),
        "registry start": _shortest(registry_started, runs),
        "one change": _change(store),
    }


def _change(store: tenure.Store) -> Took:
    """From a put to its handler, in a registry of all keys."""
    own, told = _instance(0), threading.Event()

    def change() -> None:
        told.clear()
        store.put(key_of(CONFIG.key_prefix, own), encode(own))
        assert told.wait(30.0)

    with Registry(store, CONFIG).start(timeout=60.0) as registry:
        registry.add_handler(lambda event: told.set())
        return _shortest(change, CHANGES)


def _shortest(call: Callable[[], None], runs: int) -> Took:
    found = []
    collector = _Collector()
    for _ in range(runs):
        with collector:
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            found.append(Took(time.perf_counter() - wall, time.process_time() - cpu, collector.seconds))
    least = min(found, key=lambda took: took.cpu)
    return Took(min(took.wall for took in found), least.cpu, least.collector)


class _Collector:
    """Counts the seconds of processor time that Python's collector takes meanwhile."""

    def __enter__(self) -> None:
        self.seconds = self._began = 0.0
        gc.callbacks.append(self._told)

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._told)

    def _told(self, phase: str, _info: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "start":
            self._began = now
        else:
            self.seconds += now - self._began
