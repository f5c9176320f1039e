"""What the cache costs: time of a lookup, memory of an instance, time of a big snapshot and of a change in it."""

from __future__ import annotations

import gc
import time
import timeit
import tracemalloc

import tenure
from tenure.registry import Instance, Registry, encode
from tenure.registry.lifecycle.cache import Cache
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType, Event, EventType

MANY = 20_000


def test_a_lookup_takes_at_most_two_microseconds(registry, store):
    for number in range(10):
        store.put(f"/registry/default/web/{number}@h", b"{}")
    own = registry()
    assert len(own.get_service("web")) == 10
    best = min(timeit.repeat(lambda: own.get_service("web"), number=20_000, repeat=5)) / 20_000
    assert best < 2e-6


def test_memory_of_cached_instances_is_at_most_two_kibibytes_each():
    # In a namespace, so that the keys the registry holds are its own and not shared with the store under test.
    with tenure.connect("memory://cost/n", timeout=60.0) as store:
        for start in range(0, MANY, 2000):
            transaction = store.transaction()
            for number in range(start, start + 2000):
                one = Instance(
                    f"service-{number % 100}",
                    host=f"10.0.{number % 250}.{number % 200}",
                    host_name=f"host-{number % 500}",
                    meta={"zone": f"zone-{number % 3}", "version": "1.2.3", "weight": number % 10},
                )
                transaction.put(f"/registry/default/{one.identity()}", encode(one))
            transaction.commit()
        gc.collect()
        tracemalloc.start()
        try:
            own = Registry(store).start()
            gc.collect()
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert sum(map(len, own.get_services().values())) == MANY
        own.close()
    assert used / MANY < 2048


def put(key: str, revision: int) -> Event:
    return Event(EventType.CREATE, key, KeyValue(key, b"{}", revision, revision), revision)


def test_a_big_snapshot_of_one_service_is_one_pass():
    cache = Cache("/", lambda told: None)
    started = time.perf_counter()
    cache.apply(Batch(BatchType.SNAPSHOT, tuple(put(f"/web/{number}@h", 1) for number in range(MANY)), 1))
    assert len(cache.services["web"]) == MANY
    # Building the service anew for each of its instances would take minutes.
    assert time.perf_counter() - started < 10.0
