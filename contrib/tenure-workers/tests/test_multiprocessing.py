"""Workers of ``multiprocessing`` in real processes: each has its own store, and leaves in time."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from worker_programs import Program

import tenure
from tenure.registry import Registry
from tenure_testkit.waiting import until


def entries(registry: Registry) -> set[str]:
    return {each.id for each in registry.get_services().get("crawlers", ())}


@pytest.mark.parametrize(
    ("method", "opened"),
    [
        ("fork", "yes"),
        pytest.param("spawn", "", marks=pytest.mark.slow),
        pytest.param("forkserver", "", marks=pytest.mark.slow),
    ],
)
def test_each_worker_has_its_own_and_leaves_on_sigterm(
    sqlite_url: str, tmp_path: Path, registry: Registry, method: str, opened: str
) -> None:
    with Program(tmp_path / "log", "crawlers.py", STORE=sqlite_url, START_METHOD=method, OPEN_FIRST=opened) as program:
        until(lambda: len(entries(registry)) == 2, what="two workers")
        with tenure.connect(sqlite_url) as store:
            until(lambda: tenure.Counter(store, "pages").value() > 5, what="work is done")
            program.terminate()
            assert program.wait() == 0, program.log
            assert entries(registry) == set()
            assert not [item.key for item in store.scan() if item.lease_id], "no lease is left"
            if opened:
                assert store.get("parent").value == b"is untouched"
        assert "Traceback" not in program.log


def test_a_worker_ends_in_time_while_its_store_is_locked(sqlite_url: str, tmp_path: Path, registry: Registry) -> None:
    limit = 3.0
    with Program(
        tmp_path / "log",
        "crawlers.py",
        STORE=sqlite_url,
        STOP_TIMEOUT=str(limit),
        DRAIN_WAIT="0.5",
        START_METHOD="fork",
    ) as it:
        until(lambda: len(entries(registry)) == 2, what="two workers")
        margin = 2.0 + it.booted()
        connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        it.terminate()
        it.wait()
        took = time.monotonic() - began
        connection.close()
        assert took < limit + margin, it.log
