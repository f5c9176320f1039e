"""What the cache costs: a lookup, the memory of an instance, a big snapshot."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial

import tenure
from tenure.registry import Instance, Registry, encode
from tenure.registry.lifecycle.cache import Cache
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType, Event, EventType
from tenure_testkit.counting import steps

MANY = 20_000


def test_a_lookup_costs_the_same_whatever_the_number_of_instances(registry, store):
    """And next to nothing: the benchmarks have its time."""
    for service, count in (("few", 1), ("many", 100)):
        for number in range(count):
            store.put(f"/registry/default/{service}/{number}@h", b"{}")
    own = registry()
    assert (len(own.get_service("few")), len(own.get_service("many"))) == (1, 100)
    few, many = (steps(partial(own.get_service, service)) for service in ("few", "many"))
    assert few == many < 40


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
    def cost(count: int) -> int:
        cache = Cache("/", lambda told: None)
        batch = Batch(BatchType.SNAPSHOT, tuple(put(f"/web/{number}@h", 1) for number in range(count)), 1)
        taken = steps(partial(cache.apply, batch))
        assert len(cache.services["web"]) == count
        return taken

    # Building the service anew for each of its instances would take a hundred times as many.
    assert cost(2_000) < 15 * cost(200)
