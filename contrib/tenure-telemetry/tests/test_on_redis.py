"""A real Redis freezes under leases, a lock, a watch and a registry, and answers again: what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from tenure_telemetry import EventLog, PrometheusCollector

import tenure
from tenure.registry import Instance, Registry, RegistryConfig
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_a_freeze_is_told_in_metrics_and_events(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    collector = PrometheusCollector()

    def value(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in collector.families()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def events() -> list[str]:
        return [str(vars(record).get("event.name")) for record in caplog.records]

    caplog.set_level(logging.DEBUG, "tenure.events")
    with (
        tenure.connect(server.url, observers=[collector, EventLog()], timeout=1.0) as store,
        Registry(store, RegistryConfig("prod", heartbeat=6.0), Instance("web", port=80)),
        store.watch("jobs/", callback=lambda batch: None),
    ):
        lock = tenure.Lock(store, "job", session=tenure.Session.open(store, ttl=6.0)).acquire()
        until(lambda: value("tenure_lease_refresh_duration_seconds_count") > 0, what="a refresh")
        assert value("tenure_leases_held", db_system_name="redis", server_address="127.0.0.1") == 2
        server.pause()
        with pytest.raises(tenure.Unavailable):
            store.get("key")
        until(lambda: value("tenure_lease_suspects_total") >= 2, what="leases in doubt")
        until(lambda: value("tenure_lease_losses_total") >= 2, what="lost leases")
        until(lambda: value("tenure_lock_losses_total", tenure_lock_kind="lock") == 1, what="a lost lock")
        until(lambda: value("tenure_registrations", tenure_status="recovering") == 1, what="a recovering registration")
        until(lambda: value("tenure_watches_disconnected") >= 2, what="watches without their store")
        until(lambda: value("tenure_cache_age_seconds", tenure_cache_kind="registry") > 1, what="an old cache")
        assert value("db_client_operation_duration_seconds_count", error_type="DeadlineExceeded") > 0
        server.resume()
        until(lambda: value("tenure_registrations", tenure_status="registered") == 1, what="a registration")
        until(lambda: value("tenure_watches_disconnected") == 0, what="connected watches")
        until(lambda: value("tenure_cache_age_seconds") == 0, what="a fresh cache")
        assert value("tenure_watch_outage_duration_seconds_count") >= 2
        assert value("tenure_registration_recovery_duration_seconds_count") == 1
        lock.release()
    assert value("tenure_leases_held") == value("tenure_locks_held") == value("tenure_watches_open") == 0
    told = events()
    assert told.index("tenure.lease.suspect") < told.index("tenure.lease.lost")
    assert {"tenure.operation.failed", "tenure.lock.lost", "tenure.registration.failing"} <= set(told)
    assert told.count("tenure.watch.disconnected") >= 2
    assert told.count("tenure.watch.reconnected") >= 2
