"""The page of the benchmarks shows the records that are there, and what is slower than a record is seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    import draw
    import measure
    import record

    return draw, measure, record


def test_the_page_shows_the_records_that_are_there(modules):
    draw, _, record = modules
    records = record.load()
    assert records
    assert (FOLDER / "results" / "index.html").read_text() == draw.page(records), "run tests/benchmarks/draw.py"


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        ({"ratio": 1.0, "low": 0.9, "high": 1.1}, {"ratio": 1.2, "low": 1.2, "high": 1.3}, ""),
        ({"ratio": 1.0, "low": 0.9, "high": 1.1}, {"ratio": 1.5, "low": 1.3, "high": 1.6}, "1.50 against 1.00"),
        ({"ratio": 2.0, "low": 1.9, "high": 2.1}, {"ratio": 1.0, "low": 0.9, "high": 1.1}, ""),
        ({"exponent": 1.0}, {"exponent": 1.1}, ""),
        ({"exponent": 1.0}, {"exponent": 1.3}, "1.30 against 1.00"),
        ({"exponent": 1.0, "1000": 1.0}, {"exponent": 1.3, "1000": 1.0, "10000": 9.0}, ""),
        ({}, {"ratio": 1.5, "low": 1.3, "high": 1.6}, ""),
    ],
)
def test_only_what_is_slower_beyond_the_noise_is_called_slower(modules, before, now, says):
    _, measure, record = modules
    last = record.Record("c", "s", "2026-01-01", {}, {"it": before} if before else {})
    told = record.slower(measure.Result("it", "", numbers=now), last)
    assert says in told
    assert bool(told) == bool(says)


def test_a_result_is_compared_with_the_last_record_that_has_it(modules):
    _, _, record = modules
    older = record.Record("a", "s", "2026-01-01", {}, {"it": {}, "other": {}})
    newer = record.Record("b", "s", "2026-01-02", {}, {"it": {}})
    assert record.newest([older, newer], "it") is newer
    assert record.newest([older, newer], "other") is older
    assert record.newest([older, newer], "none") is None


def test_a_page_of_several_records_has_each_benchmark_and_commit(modules):
    draw, _, record = modules
    machine = {"python": "3.11", "loop_ms": 50.0, "load": 1.0}
    one = {"a <b>": {"ratio": 1.0}, "growth": {"exponent": 1.0, "1000": 0.001, "10000": 0.01}}
    two = {"a <b>": {"ratio": 2.0, "low": 1.9, "high": 2.1}, "growth": {"exponent": 1.1, "1000": 0.001, "10000": 0.012}}
    shown = draw.page(
        [record.Record(f"{n}" * 40, "s", f"2026-01-0{n}", machine, kept) for n, kept in ((1, one), (2, two))]
    )
    assert "a &lt;b&gt;: 2.00" in shown
    assert "growth: exponent 1.10" in shown
    assert shown.count("<polyline") == 3
    assert "1111111111" in shown
