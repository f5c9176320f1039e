"""How costs grow with the number of keys: a list, a watch up to in sync, the start of a registry, and one change.

Each is measured at sizes that lie a factor of ten apart. The exponent says what follows: with 1.0 ten times the keys
cost ten times the time, with 0.0 they cost nothing more. Of several runs the shortest counts: other programs on the
machine make a run longer and never shorter.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_etcd
import bench_redis
from measure import Result
from server import with_server

import tenure
from tenure.registry import Instance, Registry, RegistryConfig, encode, key_of

SIZES, SIZES_QUICKLY = (1_000, 10_000, 100_000), (1_000, 10_000)
STEEPEST, STEEPEST_CHANGE = 1.1, 0.1
SERVICES = 1_000
CONFIG = RegistryConfig(prefix="benchmark/growth/")
CHANGES = 40


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
    curves: dict[str, list[float]] = {}
    present = 0
    for size in sizes:
        _fill(store, present, size)
        present = size
        for name, seconds in _at(store, size).items():
            curves.setdefault(name, []).append(seconds)
    store.delete_prefix(CONFIG.key_prefix, timeout=60.0)
    for name, curve in curves.items():
        steepest = STEEPEST_CHANGE if name == "one change" else STEEPEST
        exponent = math.log(curve[-1] / curve[0]) / math.log(sizes[-1] / sizes[0])
        times = ", ".join(f"{seconds * 1e3:.3g}" for seconds in curve)
        yield Result(
            f"growth {scheme} {name}",
            f"exponent {exponent:.2f}",
            f"<= {steepest:.1f}",
            exponent <= steepest,
            note=f"{times} ms at {', '.join(f'{size:,}' for size in sizes)} keys",
            numbers={"exponent": exponent, **{str(size): seconds for size, seconds in zip(sizes, curve, strict=True)}},
        )


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


def _at(store: tenure.Store, size: int) -> dict[str, float]:
    runs = 3 if size >= SIZES[-1] else 7

    def listed() -> float:
        started = time.perf_counter()
        found = len(store.list(CONFIG.key_prefix, timeout=60.0))
        took = time.perf_counter() - started
        assert found == size
        return took

    def watched() -> float:
        started, found = time.perf_counter(), 0
        with store.watch(CONFIG.key_prefix, timeout=60.0) as watch:
            for batch in watch:
                found += len(batch.events)
                if batch.type is tenure.BatchType.SYNCED:
                    break
            took = time.perf_counter() - started
        assert found == size
        return took

    def registry_started() -> float:
        registry = Registry(store, CONFIG)
        started = time.perf_counter()
        registry.start(timeout=60.0)
        took = time.perf_counter() - started
        registry.close()
        return took

    return {
        "list": min(listed() for _ in range(runs)),
        "watch": min(watched() for _ in range(runs)),
        "registry start": min(registry_started() for _ in range(runs)),
        "one change": _change(store),
    }


def _change(store: tenure.Store) -> float:
    """Seconds from a put to its handler, in a registry of all keys; the shortest of many."""
    own, told = _instance(0), threading.Event()
    times = []
    with Registry(store, CONFIG).start(timeout=60.0) as registry:
        registry.add_handler(lambda event: told.set())
        for _ in range(CHANGES):
            told.clear()
            started = time.perf_counter()
            store.put(key_of(CONFIG.key_prefix, own), encode(own))
            assert told.wait(30.0)
            times.append(time.perf_counter() - started)
    return min(times)
