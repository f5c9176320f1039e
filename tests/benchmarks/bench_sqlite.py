"""SQLite against ``sqlite3`` on a file of its own, with the same items and a revision, and without all the rest.

The raw client has the same tables but no log, no leases and no look at the path: another process's watch, an ended
lease and a file that somebody replaced are what ours pays for.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from measure import Result
from server import KEY, MANY_ROOT, VALUE, ManyTargets, Targets, compare_calls, compare_many

import tenure
from tenure.spi import KeyValue, ReadResult

TARGETS = Targets(get=1.4, put=1.7, replace=1.7)
MANY_TARGETS = ManyTargets(listed=1.4)


def run(quick: bool) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        store = stack.enter_context(tenure.connect(f"sqlite://{Path(folder) / 'ours.db'}"))
        raw = Raw(Path(folder) / "raw.db")
        stack.callback(raw.close)
        notes = {
            "get": "the rest are deadlines, retries and checks in Python",
            "put": "the bound has the log that watches read, and looks whether the files were replaced",
            "compare-and-set": "as for put",
        }
        careful = Careful(Path(folder) / "careful.db")
        stack.callback(careful.close)
        bounds = {"get": careful.get, "put": careful.put, "compare-and-set": careful.replace}
        yield from compare_calls(
            "sqlite", store, raw, TARGETS, seconds=1.0 if quick else 5.0, notes=notes, bounds=bounds
        )
        notes = {"listed": "the bound makes items of rows, and leaves those of ended leases out"}

        def fill(keys: list[str]) -> None:
            raw.fill(keys)
            careful.fill(keys)

        yield from compare_many(
            "sqlite",
            store,
            raw,
            quick=quick,
            fill=fill,
            targets=MANY_TARGETS,
            notes=notes,
            list_bound=careful.list,
        )


class Raw:
    """One connection, and statements in the transactions that they need."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._revision = 0
        execute = self._execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = normal")
        execute("CREATE TABLE store (revision INTEGER NOT NULL, log_start INTEGER, log_bytes INTEGER)")
        # Revisions like ours: small numbers are read quicker.
        execute("INSERT INTO store VALUES (?, 0, 0)", (int(time.time() * 1e6),))
        execute(
            "CREATE TABLE item (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, created INTEGER NOT NULL, "
            "modified INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID"
        )
        execute(
            "CREATE TABLE log (revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, "
            "created INTEGER, lease INTEGER, PRIMARY KEY (revision, position)) WITHOUT ROWID"
        )
        execute("CREATE TABLE lease (id INTEGER PRIMARY KEY, deadline REAL NOT NULL)")
        execute("CREATE INDEX lease_by_deadline ON lease (deadline)")
        self.put()

    def fill(self, keys: list[str]) -> None:
        at = self._revision
        self._execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, NULL)", [(key, VALUE, at, at) for key in keys]
        )
        self._execute("COMMIT")

    def get(self) -> object:
        row = self._execute(
            "SELECT value, created, modified, revision FROM store LEFT JOIN item ON key = ?", (KEY,)
        ).fetchone()
        assert row[0]
        return row

    def put(self) -> object:
        execute = self._execute
        execute("BEGIN IMMEDIATE")
        (revision,) = execute("UPDATE store SET revision = revision + 1 RETURNING revision").fetchone()
        execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, NULL) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified = excluded.modified",
            (KEY, VALUE, revision, revision),
        )
        execute("COMMIT")
        self._revision = revision
        return revision

    def replace(self) -> object:
        execute = self._execute
        execute("BEGIN IMMEDIATE")
        (revision,) = execute("UPDATE store SET revision = revision + 1 RETURNING revision").fetchone()
        changed = execute(
            "UPDATE item SET value = ?, modified = ? WHERE key = ? AND modified = ?",
            (VALUE, revision, KEY, self._revision),
        )
        assert changed.rowcount == 1
        execute("COMMIT")
        self._revision = revision
        return revision

    def list(self) -> int:
        execute = self._execute
        execute("BEGIN")
        execute("SELECT revision FROM store").fetchone()
        rows = execute(
            "SELECT key, value, created, modified FROM item WHERE key >= ? AND key < ? ORDER BY key",
            (MANY_ROOT, MANY_ROOT + "\U0010ffff"),
        ).fetchall()
        execute("COMMIT")
        return len(rows)

    def watch(self) -> int:
        return self.list()

    def close(self) -> None:
        self._connection.close()


class Careful(Raw):
    """The least for what ours promises: a log of changes, leases that may have ended, files that are still there."""

    def __init__(self, path: Path) -> None:
        self._files = [f"{path}{suffix}" for suffix in ("", "-wal", "-shm")]
        super().__init__(path)

    def get(self) -> object:
        row = self._execute(
            "SELECT value, created, modified, item.lease, revision, deadline FROM store "
            "LEFT JOIN item ON key = ? LEFT JOIN lease ON id = item.lease",
            (KEY,),
        ).fetchone()
        return ReadResult(KeyValue(KEY, row[0], row[1], row[2]), row[4])

    def list(self) -> int:
        execute = self._execute
        for path in self._files:
            os.stat(path)
        execute("BEGIN")
        execute("SELECT revision, (SELECT min(deadline) FROM lease) FROM store").fetchone()
        rows = execute(
            "SELECT key, value, created, modified, lease FROM item WHERE key >= ? AND key < ? "
            "AND (lease IS NULL OR lease IN (SELECT id FROM lease)) ORDER BY key",
            (MANY_ROOT, MANY_ROOT + "\U0010ffff"),
        )
        items = tuple(map(tuple.__new__, repeat(KeyValue), rows))
        execute("COMMIT")
        return len(items)

    def put(self) -> object:
        return self._write(None)

    def replace(self) -> object:
        return self._write(self._revision)

    def _write(self, expected: int | None) -> object:
        execute = self._execute
        for path in self._files:
            os.stat(path)
        execute("BEGIN IMMEDIATE")
        last, start, size, _deadline = execute(
            "SELECT revision, log_start, log_bytes, (SELECT min(deadline) FROM lease) FROM store"
        ).fetchone()
        if expected is not None:
            assert execute("SELECT modified FROM item WHERE key = ?", (KEY,)).fetchone() == (expected,)
        revision = max(last + 1, int(time.time() * 1e6))
        execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, NULL) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified = excluded.modified",
            (KEY, VALUE, revision, revision),
        )
        execute("INSERT INTO log SELECT modified, 0, key, value, created, lease FROM item WHERE key = ?", (KEY,))
        execute("UPDATE store SET revision = ?, log_start = ?, log_bytes = ?", (revision, start, size + len(VALUE)))
        execute("COMMIT")
        self._revision = revision
        return revision
