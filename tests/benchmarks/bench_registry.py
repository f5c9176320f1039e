"""The registry's cache: the time of a lookup and of a choice, and the memory of many instances."""

from __future__ import annotations

import gc
import statistics
import timeit
import tracemalloc
from collections.abc import Iterator
from typing import Any

from measure import Result

import tenure
from tenure.registry import Instance, Registry, RegistryConfig, encode, key_of

LOOKUP_US = 2.0
BYTES_EACH = 2048
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
