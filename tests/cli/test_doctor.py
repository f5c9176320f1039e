"""`tenure doctor`: what it finds, what it leaves behind (nothing), and its exit code."""

from __future__ import annotations

from typing import Any

import pytest

import tenure
from tenure.spi.capabilities import field_notes

from .conftest import Run

CHECKS = ("open", "clock", "read", "write", "watch", "lease", "leases", "silence", "server")


def test_a_healthy_store(run: Run, run_json: Any, url: str, store: tenure.Store) -> None:
    found = run_json("doctor", url)
    assert found["reachable"] is True
    assert found["capabilities"].keys() == field_notes().keys()
    assert found["caveats"]
    assert found["caveats"][0]["title"] in run("doctor", url).stdout
    assert found["latency_p50_seconds"]["put"] > 0
    assert abs(found["clock_difference_seconds"]) < 1
    assert {check["name"] for check in found["checks"]} >= {
        "open",
        "read",
        "write",
        "watch",
        "lease",
        "clock",
        "silence",
    }
    assert store.list().keys == ()
    assert store.leases() == ()


def test_risks_are_warnings_and_strict_makes_them_failures(run: Run) -> None:
    relaxed, strict = run("doctor"), run("doctor", "--strict")
    assert relaxed.exit_code == 0
    assert "warning" in relaxed.stdout
    assert strict.exit_code == 1


def test_the_verdict_column_has_three_words(run: Run) -> None:
    lines = [line.split("\t")[0] for line in run("doctor").stdout.splitlines()]
    verdicts = [line.split()[0] for line in lines if line.split()[1:2] and line.split()[1] in CHECKS]
    assert verdicts == ["ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "warning"]


def test_facts_are_words_of_an_operator(run: Run) -> None:
    assert "SystemClock" not in run("doctor").stdout


def test_guarantees_are_declared_or_not(run: Run, store: tenure.Store) -> None:
    rows = [line.split("\t") for line in run("doctor").stdout.splitlines()]
    declared = {row[0]: row[1] for row in rows if len(row) == 3 and row[1] in ("yes", "no")}
    given = {name: value for name, value in store.capabilities.as_dict().items() if isinstance(value, bool)}
    assert declared == {name: "yes" if value else "no" for name, value in given.items()}


def test_read_only_writes_nothing(run_json: Any, store: tenure.Store) -> None:
    before = store.get_with_revision("x").revision
    assert run_json("doctor", "--read-only")["latency_p50_seconds"]["put"] is None
    assert store.get_with_revision("x").revision == before


def test_a_store_that_forbids_writing_fails_the_check(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise tenure.PermissionDenied("this user may only read")

    monkeypatch.setattr(tenure.Store, "put", refuse)
    result = run("doctor")
    assert result.exit_code == 1
    assert "this user may only read" in result.stderr


def test_a_store_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenure_memory import plugin

    def gone(request: object) -> None:
        raise tenure.Unavailable("connection refused by 192.0.2.1:1")

    found = plugin.tenure_backend()
    import dataclasses

    from tenure._plugins import discovery

    monkeypatch.setitem(discovery._found, found.scheme, dataclasses.replace(found, open=gone))
    result = run("doctor")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "trying again is safe" in result.stderr


def test_what_to_do_is_said(run: Run, run_json: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = next(each for each in run_json("doctor", "--heartbeat", "0.05")["checks"] if each["name"] == "silence")
    assert silence["verdict"] == "warning"
    assert silence["advice"].startswith("set a longer heartbeat")
    assert f"-> {silence['advice']}" in run("doctor", "--heartbeat", "0.05").stdout
