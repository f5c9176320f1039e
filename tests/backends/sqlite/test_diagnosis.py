"""What the diagnosis finds on a file: the write-ahead log, the disk, and what to do."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.spi import Finding, Verdict
from tenure_sqlite import diagnosis, server_info


def found(path: Path, options: str = "") -> dict[str, Finding]:
    checks = examine(prepare(f"sqlite://{path}{options}"), samples=1).checks
    return {check.name: check for check in checks if check.name != "server"}


def test_a_file_that_is_well(tmp_path: Path) -> None:
    checks = found(tmp_path / "x.db", "?synchronous=full")
    assert (checks["wal"].verdict, checks["disk"].verdict) == (Verdict.OK, Verdict.OK)


def test_a_log_that_grows_and_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_info, "_LONG_LOG", -1)
    monkeypatch.setattr(diagnosis, "_LITTLE", 1 << 60)
    checks = found(tmp_path / "x.db", "?synchronous=normal")
    assert {name: checks[name].verdict for name in ("wal", "disk", "persistence")} == dict.fromkeys(
        ("wal", "disk", "persistence"), Verdict.WARNING
    )
    assert "wal_checkpoint" in checks["wal"].advice
    assert "synchronous=full" in checks["persistence"].advice


def test_warnings_that_get_a_name_are_warnings_of_the_server() -> None:
    source = inspect.getsource(server_info)
    assert [begin for begin, _name, _advice in diagnosis._NAMES if begin not in source] == []
