"""Each instrument is exported by both ways, with the same names and labels, after what it measures has happened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from everything import NAMES, happen
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tenure_telemetry import AllowList, PrometheusCollector
from tenure_telemetry.instruments import ALL, CALLS, Kind
from tenure_telemetry.opentelemetry import OpenTelemetry
from tenure_telemetry.prometheus import exported_labels, exported_name

import tenure
from tenure.errors import Conflict

SCOPE = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Read Prometheus' text: values by name and labels, without what OpenTelemetry says of itself.

    To Prometheus an empty label is no label.
    """
    return {
        (
            sample.name,
            frozenset((name, value) for name, value in sample.labels.items() if value and name not in SCOPE),
        ): (sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name != "target_info"
    }


class Both:
    """The same events, exported by both ways, while they happen and afterwards."""

    def __init__(self, allow: AllowList | None = None) -> None:
        reader = PrometheusMetricReader()
        self._provider = MeterProvider([reader])
        registry = CollectorRegistry()
        registry.register(reader._collector)
        collector = PrometheusCollector(allow)
        observer = OpenTelemetry(meter_provider=self._provider, allow=allow)

        def look() -> tuple[Samples, Samples, Samples]:
            client = CollectorRegistry()
            client.register(collector)
            return (
                samples(generate_latest(registry).decode()),
                samples(collector.render()),
                samples(generate_latest(client).decode()),
            )

        self.during: list[tuple[Samples, Samples, Samples]] = []
        happen(observer, collector, look=lambda: self.during.append(look()))
        self.after = look()
        self._provider.shutdown()


@pytest.fixture(scope="module")
def both() -> Both:
    return Both()


def test_all_ways_export_the_same(both: Both) -> None:
    for other in (both.after[0], both.after[2]):
        assert {key for key in other if not key[0].endswith("_created")} == both.after[1].keys()
        counts = [key for key in other if key[0].endswith(("_total", "_count"))]
        assert counts
        assert {key: other[key] for key in counts} == {key: both.after[1][key] for key in counts}
    for way in both.during[0]:
        levels = {key: value for key, value in way.items() if key[0].startswith("tenure_watches")}
        assert levels == {key: value for key, value in both.during[0][1].items() if key in levels}


def test_each_instrument_was_caused_and_has_no_other_label(both: Both) -> None:
    exported = {**both.during[0][1], **both.after[1]}
    for one in ALL:
        name = exported_name(one)
        ends = ("_bucket", "_count", "_sum") if one.kind is Kind.HISTOGRAM else ("",)
        found = [labels for key, labels in exported if key in {f"{name}{end}" for end in ends}]
        assert found, f"{name} was never exported"
        assert {label for labels in found for label, _ in labels} <= exported_labels(one)


def test_what_goes_up_comes_down(both: Both) -> None:
    (_, during, _), (_, after, _) = both.during[0], both.after
    levels = {exported_name(one) for one in ALL if one.kind is Kind.UP_DOWN}
    assert {key[0] for key, value in during.items() if key[0] in levels and value > 0} == levels - {
        "tenure_locks_waiting"
    }
    assert {key: value for key, value in after.items() if key[0] in levels and value} == {}


def test_values(both: Both) -> None:
    _, exported, _ = both.after
    total = {name: sum(value for key, value in exported.items() if key[0] == name) for name, _ in exported}
    assert total["tenure_operation_retries_total"] >= 2
    assert total["tenure_watch_resyncs_total"] == 1
    assert total["tenure_lease_suspects_total"] >= 1
    assert total["tenure_lease_losses_total"] == 3  # the last lease, the session that locks share, and the election's
    assert total["tenure_callback_slow_total"] >= 1
    assert total["tenure_registration_recovery_duration_seconds_count"] == 1
    ages = [value for (name, _), value in both.during[0][1].items() if name == "tenure_cache_age_seconds"]
    assert ages
    assert min(ages) >= 1.0


def test_a_conflict_is_no_error(both: Both) -> None:
    _, exported, _ = both.after
    found = [dict(labels) for name, labels in exported if name == "db_client_operation_duration_seconds_count"]
    outcomes = {labels["tenure_outcome"]: labels.get("error_type") for labels in found}
    assert outcomes["conflict"] is None
    assert outcomes["done"] is None
    assert {outcomes["unknown"]} == {"OutcomeUnknown"}
    assert outcomes["failed"] is not None


def test_no_name_is_a_label_unless_it_is_allowed(both: Both) -> None:
    exported = {value for _, labels in (*both.during[0][1], *both.after[1]) for _, value in labels}
    assert not [value for value in exported for name in NAMES if name in value]
    allowed = Both(AllowList(locks=["secret-*"], services=["secret-service"], prefixes=["secret-prefix/"]))
    for ways in (allowed.during[0], allowed.after):
        for way in ways:
            found = {(name, value) for _, labels in way for name, value in labels}
            assert found >= {("tenure_lock_name", "secret-job"), ("tenure_prefix", "secret-prefix/")}
    assert any(("tenure_service_name", "secret-service") in labels for _, labels in allowed.during[0][0])
    assert allowed.after[0].keys() == allowed.after[1].keys()


def test_an_allow_list_is_no_text() -> None:
    with pytest.raises(TypeError, match="write \\['job'\\]"):
        AllowList(locks="job")


def test_boundaries_begin_at_ten_microseconds(both: Both) -> None:
    opentelemetry, collector, _ = both.after
    for exported in (opentelemetry, collector):
        found = {
            float(dict(labels)["le"])
            for name, labels in exported
            if name == "db_client_operation_duration_seconds_bucket"
        }
        assert sorted(found) == [*CALLS, float("inf")]
        assert min(found) == 0.00001


def test_hostile_values_stay_within_their_label() -> None:
    collector = PrometheusCollector(AllowList(prefixes=["*"]))
    prefix = 'a"} 1\nb{c="\\'
    with tenure.connect("memory://", observers=[collector]) as store, store.watch(prefix):
        exported = samples(collector.render())
    assert ("tenure_watches_open", frozenset({("db_system_name", "memory"), ("tenure_prefix", prefix)})) in exported


def test_one_observer_counts_several_stores(tmp_path: Path) -> None:
    collector = PrometheusCollector()
    with (
        tenure.connect("memory://", observers=[collector]) as first,
        tenure.connect(f"sqlite:///{tmp_path}/store.db?namespace=prod", observers=[collector]) as second,
    ):
        for store in (first, second, second):
            store.put("key", b"")
        with pytest.raises(Conflict):
            second.put_if_absent("key", b"")
        exported = samples(collector.render())
    name = "db_client_operation_duration_seconds_count"
    labels = {"db_operation_name": "commit", "tenure_outcome": "done"}
    sqlite = {"db_system_name": "sqlite", "db_namespace": "prod"}
    assert exported[name, frozenset({**labels, "db_system_name": "memory"}.items())] == 1
    assert exported[name, frozenset({**labels, **sqlite}.items())] == 2
    assert exported[name, frozenset({**labels, **sqlite, "tenure_outcome": "conflict"}.items())] == 1


def test_the_page_has_the_table_of_metrics() -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    kinds = {Kind.COUNTER: "counter", Kind.UP_DOWN: "level", Kind.HISTOGRAM: "histogram", Kind.GAUGE: "gauge"}
    found = re.findall(r"^\| `([\w.]+)` \| (\w+), (\w+) \| ([^|]+) \|([^|]*)\|$", page, re.MULTILINE)
    store = {"db.system.name", "db.namespace", "server.address", "server.port"}
    table = {
        (name, kind, unit, text, *sorted(re.findall(r"`([\w.]+)`", labels))) for name, kind, unit, text, labels in found
    }
    assert table == {
        (one.name, kinds[one.kind], one.unit.strip("{}"), one.description, *sorted(set(one.labels) - store))
        for one in ALL
    }


def test_counters_that_rules_watch_begin_at_zero() -> None:
    collector = PrometheusCollector()
    with (
        tenure.connect("memory://", observers=[collector]) as store,
        store.watch("p/"),
        tenure.Lock(store, "job").hold(),
    ):
        exported = samples(collector.render())
    watched = ("operation_unknown", "lease_suspects", "lease_losses", "lock_losses", "callback_slow", "watch_resyncs")
    for name in watched:
        values = [value for (found, _), value in exported.items() if found == f"tenure_{name}_total"]
        assert values
        assert set(values) == {0}
