"""A get on SQLite against the same row read by ``sqlite3`` from the same file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Result, calls, compare

import tenure

TARGET = 2.0


def run(quick: bool) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.db"
        with tenure.connect(f"sqlite://{path}") as store:
            for number in range(1000):
                store.put(f"key{number:04}", b"x" * 100)
            raw = sqlite3.connect(path, isolation_level=None)
            select = "SELECT value, created, modified, lease FROM item WHERE key = ?"
            found = store.get("key0500")
            assert found is not None
            assert raw.execute(select, ("key0500",)).fetchone()[0] == found.value
            yield compare(
                "sqlite get",
                calls(lambda: store.get("key0500")),
                calls(lambda: raw.execute(select, ("key0500",)).fetchone()),
                target=TARGET,
                seconds=1.0 if quick else 5.0,
            )
            raw.close()
