"""The board and the rules ask for metrics, labels and values that are exported, and no metric is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tenure_telemetry.events import EVENTS
from tenure_telemetry.instruments import ALL, Kind
from tenure_telemetry.prometheus import exported_labels, exported_name

HERE = Path(__file__).parents[1]
BOARD = json.loads((HERE / "grafana/tenure.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((HERE / "prometheus/tenure.rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
SERIES = {
    f"{exported_name(one)}{end}": one
    for one in ALL
    for end in (("_bucket", "_count", "_sum") if one.kind is Kind.HISTOGRAM else ("",))
}
TARGET = {"job", "instance"}
"""Labels that Prometheus adds."""
_METRIC = re.compile(r"\b(?:tenure|db_client)_\w+(?=[\[{()\s/]|$)")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_VALUES = {
    "tenure_cause": {"slow_consumer"},
    "tenure_status": {"registered", "recovering", "failed"},
}


def board_queries() -> list[str]:
    targets = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    return [*targets, BOARD["templating"]["list"][1]["query"]["query"]]


QUERIES = [*board_queries(), *(rule["expr"] for rule in RULES)]


def metrics(query: str) -> list[str]:
    grouped = re.sub(r"\bby \([^)]*\)|\{[^}]*\}|, \w+\)$", "", query)
    return _METRIC.findall(grouped)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_exported(query: str) -> None:
    named = metrics(query)
    assert named
    assert set(named) <= SERIES.keys()
    labels = set().union(*(exported_labels(SERIES[name]) for name in named)) | TARGET
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        assert {label.strip() for label in group.split(",")} <= labels
    for label, value in _MATCHER.findall(query):
        assert label in labels
        assert set(value.split("|")) <= _VALUES.get(label, {value})


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_has_its_brackets_in_pairs(query: str) -> None:
    closing = {")": "(", "]": "[", "}": "{"}
    open_ones: list[str] = []
    for character in query:
        if character in closing.values():
            open_ones.append(character)
        elif character in closing:
            assert open_ones.pop() == closing[character]
    assert open_ones == []


def test_the_board_shows_every_metric() -> None:
    shown = {SERIES[name] for query in board_queries() for name in metrics(query)}
    assert set(ALL) - shown == set()


def test_quantiles_are_of_histograms_and_rates_of_counters() -> None:
    for query in QUERIES:
        for name in re.findall(r"(?:rate|increase)\((\w+)", query):
            assert SERIES[name].kind in (Kind.COUNTER, Kind.HISTOGRAM), query
        for name in re.findall(r"histogram_quantile\(.*?(\w+_bucket)", query):
            assert SERIES[name].kind is Kind.HISTOGRAM, query


def test_a_rule_says_what_to_do_and_names_events_that_exist() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        named = set(re.findall(r"tenure(?:\.\w+)+", rule["annotations"]["action"]))
        assert {name.rstrip(".") for name in named} <= EVENTS.keys()


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & own, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own


def test_legends_name_labels_of_their_query() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), panel["title"]


def test_the_rules_own_test_has_every_rule() -> None:
    text = (HERE / "prometheus/tenure.rules.test.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'alertname="(\w+)"', text)) == {rule["alert"] for rule in RULES}
    for series in re.findall(r"series: (\w+)", text):
        assert series in SERIES
