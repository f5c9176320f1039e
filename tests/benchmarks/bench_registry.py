"""The registry's cache: lookups and choices, the memory and the start of many instances, and what one change costs."""

from __future__ import annotations

import gc
import statistics
import time
import timeit
import tracemalloc
from collections.abc import Iterator
from typing import Any

from measure import Result

import tenure
from tenure.registry import Instance, Registry, RegistryConfig, encode, key_of
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType, Event, EventType

LOOKUP_US = 2.0
BYTES_EACH = 1024
START_SECONDS_FOR_100_000 = 1.0
CHANGE_US = 40.0
SERVICES = 1_000
PICK_US = 100.0
PICKS: dict[str, dict[str, Any]] = {
    "": {},
    " by weight": {"strategy": "weighted"},
    " by a key": {"sticky": "user-1"},
    " in a zone": {"zones": ["b", "a"]},
    " beside one tried": {"exclude": ["1"]},
}


def _fill(store: tenure.Store, config: RegistryConfig, number: int, service: str) -> None:
    for index in range(number):
        instance = Instance(
            service, host=f"10.0.{index // 250 % 250}.{index % 250}", port=8000, meta={"zone": "a", "version": "1.2.3"}
        )
        store.put(key_of(config.key_prefix, instance), encode(instance))


def _pick(registry: Registry, options: dict[str, Any], repeat: int) -> float:
    number = 2_000
    times = timeit.repeat(lambda: registry.pick("web", **options), number=number, repeat=repeat)
    return statistics.median(times) / number * 1e6


def run(quick: bool) -> Iterator[Result]:
    config = RegistryConfig(name="benchmark")
    with tenure.connect("memory://benchmark-lookup") as store:
        _fill(store, config, 10, "web")
        with Registry(store, config) as registry:
            assert len(registry.get_service("web")) == 10
            number = 20_000
            times = timeit.repeat(lambda: registry.get_service("web"), number=number, repeat=5 if quick else 15)
            best = statistics.median(times) / number * 1e6
            picks = {name: _pick(registry, options, 5 if quick else 15) for name, options in PICKS.items()}
            registry.report_failure(registry.pick("web"))
            picks[" while one rests"] = _pick(registry, {}, 5 if quick else 15)
    yield Result(
        "registry lookup, 10 instances",
        f"{best:.2f} us",
        f"<= {LOOKUP_US:.0f} us",
        best <= LOOKUP_US,
        note="median of repeated runs",
        numbers={"us": best},
    )
    for name, each in picks.items():
        yield Result(
            f"registry pick{name}, 10 instances",
            f"{each:.1f} us",
            f"<= {PICK_US:.0f} us",
            each <= PICK_US,
            note="median of repeated runs",
            numbers={"us": each},
        )
    yield from _large(config, 10_000 if quick else 100_000)
    instances = 10_000 if quick else 100_000
    with tenure.connect("memory://benchmark-memory") as store:
        _fill(store, config, instances, "web")
        gc.collect()
        tracemalloc.start()
        with Registry(store, config) as registry:
            known = len(registry.get_service("web"))
            gc.collect()
            size = tracemalloc.get_traced_memory()[0] / instances
            tracemalloc.stop()
    yield Result(
        f"registry memory, {instances} instances",
        f"{size:.0f} B each",
        f"<= {BYTES_EACH} B each",
        size <= BYTES_EACH and known == instances,
        note="cache and watch, without the store's own data",
        numbers={"bytes": size},
    )


def _large(config: RegistryConfig, instances: int) -> Iterator[Result]:
    """Many services, and one large service: processor time of the start and of one change."""
    for services in (SERVICES, 1):
        with tenure.connect("memory://", timeout=60.0) as store:
            some = [
                Instance(
                    f"service-{index % services}",
                    id=f"{index:032x}",
                    host=f"10.{index // 62_500}.{index // 250 % 250}.{index % 250}",
                    host_name=f"node-{index % 5_000}",
                    meta={"zone": "a", "version": "1.2.3"},
                )
                for index in range(instances)
            ]
            for start in range(0, instances, 100):
                transaction = store.transaction()
                for one in some[start : start + 100]:
                    transaction.put(key_of(config.key_prefix, one), encode(one))
                transaction.commit()
            starts = []
            for _ in range(3):
                gc.collect()  # of what was measured before
                began = time.process_time()
                registry = Registry(store, config).start(timeout=60.0)
                starts.append(time.process_time() - began)
                change = _change(registry, config, some[0])
                registry.close()
        yield Result(
            f"registry start, {instances} in {services} services",
            f"{min(starts):.2f} s cpu",
            f"<= {START_SECONDS_FOR_100_000 * instances / 100_000:.2f} s",
            min(starts) <= START_SECONDS_FOR_100_000 * instances / 100_000,
            note="shortest of three, with the standard library's json",
            numbers={"cpu_seconds": min(starts)},
        )
        yield Result(
            f"registry change, {instances} in {services} services",
            f"{change:.1f} us cpu",
            f"<= {CHANGE_US:.0f} us",
            change <= CHANGE_US,
            note="a put applied to the cache, the median of many",
            numbers={"us": change},
        )


def _change(registry: Registry, config: RegistryConfig, one: Instance) -> float:
    key, value, times = key_of(config.key_prefix, one), encode(one), []
    for index in range(500):
        revision = 10**18 + index
        event = Event(EventType.UPDATE, key, KeyValue(key, value, revision, revision), revision)
        batch = Batch(BatchType.CHANGES, (event,), revision)
        began = time.thread_time()
        registry._cache.apply(batch)
        times.append(time.thread_time() - began)
    return statistics.median(times) * 1e6
