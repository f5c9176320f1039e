"""Each hook, each metric and each kind of event is caused on a real Redis."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from tenure_telemetry import EventLog, PrometheusCollector
from tenure_telemetry.events import EVENTS
from tenure_telemetry.instruments import ALL
from tenure_telemetry.prometheus import exported_name

import tenure
from tenure import hookspecs
from tenure.errors import Compacted, DeadlineExceeded, OutcomeUnknown, Unavailable, WaitTimeout
from tenure.registry import Instance, Registry, RegistryConfig
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import PATIENCE, until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

HOOKS = {
    name
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(function, f"{hookspecs.PROJECT}_spec")
} - {"tenure_backend"}
"""All hooks of observers."""


def hearing() -> tuple[object, list[str]]:
    """Return an observer of every hook, and the names of those that were called."""
    heard: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        def hear(self: object) -> None:
            heard.append(name)

        hear.__name__ = name
        return hookspecs.hookimpl(hear)

    return type("Hears", (), {name: hook(name) for name in HOOKS})(), heard


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_everything_happens_on_a_real_store(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tenure.events")
    collector = PrometheusCollector()
    observer, heard = hearing()

    def missing() -> set[str]:
        exported = {sample.name for family in collector.families() for sample in family.samples}
        names = {exported_name(one) for one in ALL}
        return {name for name in names if not {name, f"{name}_count", f"{name}_total"} & exported}

    with tenure.connect(server.url, observers=[collector, EventLog(), observer], timeout=1.0) as store:
        locks(store)
        watches(server, store)
        callbacks(store, heard)
        with Registry(store, RegistryConfig("prod", heartbeat=6.0), Instance("web", port=80)):
            freeze(server, store, heard)
            go_away(server, store)
            until(lambda: not missing(), what="every metric")
    assert set(heard) == HOOKS
    assert {vars(record)["event.name"] for record in caplog.records if record.name == "tenure.events"} == set(EVENTS)


def locks(store: tenure.Store) -> None:
    """One is held, one is busy, one is waited for in vain."""
    with tenure.Lock(store, "job").hold():
        assert not tenure.Lock(store, "job").try_acquire()
        with pytest.raises(WaitTimeout):
            tenure.Lock(store, "job").acquire(timeout=0.5)


def watches(server: RedisServer, store: tenure.Store) -> None:
    """The consumer of one is late, and the history of another one is gone."""
    first = store.put("jobs/1", b"").revision
    with store.watch("jobs/") as watch:
        until(lambda: watch.next(1.0), what="the state")
        store.put("jobs/2", b"")
        threading.Event().wait(1.2)  # longer than what EventLog calls slow
        until(lambda: (batch := watch.next(1.0)) is not None and batch.events, what="a late change")
    with store.watch("jobs/", max_pending=1) as late:
        until(lambda: late.next(1.0), what="the state")
        for number in range(20):
            store.put(f"jobs/{number}", b"")
        until(lambda: (batch := late.next(1.0)) is not None and batch.type is tenure.BatchType.RESYNC, what="a gap")
    with store.watch("jobs/", after=first, max_pending=1) as ended:
        for number in range(20):
            store.put(f"jobs/{number}", b"")
        server.trim()
        with pytest.raises(Compacted):
            until(lambda: ended.next(1.0) and None, what="the end of the watch")


def callbacks(store: tenure.Store, heard: list[str]) -> None:
    """One is slow, and raises."""

    def fails(batch: object) -> None:
        until(lambda: "tenure_callback_slow" in heard, what="the callback counts as slow")
        raise ValueError("a bug")

    with store.watch("jobs/", callback=fails):
        until(lambda: "tenure_callback_finished" in heard, what="the callback has raised")


def freeze(server: RedisServer, store: tenure.Store, heard: list[str]) -> None:
    """The server answers nobody: leases are in doubt and lost, and a write's outcome is unknown."""
    lock = tenure.Lock(store, "frozen", session=tenure.Session.open(store, ttl=6.0)).acquire()
    until(lambda: "tenure_lease_refreshed" in heard, what="a refresh")
    server.pause()
    try:
        with pytest.raises(OutcomeUnknown):
            store.put("key", b"value")
        with pytest.raises((Unavailable, DeadlineExceeded)):
            store.get("key")
        until(lambda: "tenure_recipe_lost" in heard, what="a lost lock")
        until(lambda: heard.count("tenure_lease_lost") >= 2, what="a lost registration")
    finally:
        server.resume()
    lock.release()


def go_away(server: RedisServer, store: tenure.Store) -> None:
    """The server is down for longer than what EventLog calls slow. A read is tried again until it is back."""
    server.kill()
    back = threading.Timer(1.5, server.start)
    back.start()
    store.get("key", timeout=PATIENCE)
    back.join()
