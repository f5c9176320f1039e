"""SQLite keeps every rule, with default options and so its default limits. It has no server that could be killed, so
its controls only drop history."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tenure.conformance import ServerControls, StoreConformance


class TestSQLite(StoreConformance):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "store.db"

    @pytest.fixture
    def store_url(self, file: Path) -> str:
        return f"sqlite://{file}"

    @pytest.fixture
    def store_controls(self, file: Path) -> ServerControls:
        def compact() -> None:
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM log")
                connection.execute("UPDATE store SET log_start = revision, log_bytes = 0")

        return ServerControls(compact=compact)
