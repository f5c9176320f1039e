"""How old a watch and a registry's cache say they are: counted from the server's last sign of life, on each store."""

from __future__ import annotations

import time
from collections.abc import Callable

from tenure import Store
from tenure.plugin_kit import monotonic
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.waiting import PATIENCE, until


def test_a_silent_break_counts_from_the_last_sign_of_life(node: ServerContainer, opened: Callable[..., Store]) -> None:
    store = opened(node.url, timeout=3.0)
    own = Registry(store, RegistryConfig(heartbeat=max(3.0, store.capabilities.min_ttl)), Instance("web", port=80))
    began = monotonic()
    watch = store.watch("/registry/")
    with own.start(), watch:
        while watch.next(0.1) is not None:
            pass
        store.put("elsewhere", b"")
        node.pause()
        frozen = monotonic()
        try:
            limit = store.capabilities.max_watch_failure_detection + PATIENCE
            for staleness in (lambda: own.staleness, lambda: _look(watch)):
                age, now = until(lambda look=staleness: _noticed(look), limit, "the break is noticed")
                # The last sign of life can't have come after the freeze.
                assert now - frozen <= age <= monotonic() - began
            until(lambda: own.status is Status.RECOVERING, PATIENCE, "the lease has ended")
        finally:
            node.resume()
        until(lambda: own.staleness == 0.0 and own.status is Status.REGISTERED, 2 * PATIENCE, "all is well again")


def test_a_connection_that_is_closed_counts_from_then(node: ServerContainer, opened: Callable[..., Store]) -> None:
    store = opened(node.url, timeout=3.0)
    own = Registry(store, instance=Instance("web", port=80)).start()
    time.sleep(min(2.0, store.capabilities.max_watch_failure_detection))  # a time that would be counted wrongly
    before = monotonic()
    node.stop()
    try:
        age, _ = until(lambda: _noticed(lambda: own.staleness), PATIENCE, "the break is noticed")
        assert age <= monotonic() - before + 0.5
    finally:
        own.close(timeout=0.5)


def _look(watch) -> float:  # type: ignore[no-untyped-def]
    watch.next(0.01)
    return watch.staleness


def _noticed(staleness: Callable[[], float]) -> tuple[float, float] | None:
    now = monotonic()
    age = staleness()
    return (age, now) if age else None
