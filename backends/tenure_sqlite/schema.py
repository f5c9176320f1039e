"""The file: what is in it, how it is made, and how a file that isn't ours is recognised without touching it.

``store`` has one row. ``item`` are the keys as they are now; ``log`` the last transactions, entry by entry
(a null value is a delete), which watches read; ``change_log`` describes its positions. A lease's keys are found by a
partial index.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from urllib.parse import quote

from tenure.errors import ConfigError
from tenure.plugin_kit import next_revision
from tenure_sqlite.errors import corrupted

APPLICATION_ID = 0x4C736864  # "Lshd", in the file's header
VERSION = 2
"""From 2 on the log may tell the deletes of a prefix by one entry, which older programs would take for a put."""

_HEADER = 100  # bytes

_TABLES = """
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
    history_id TEXT NOT NULL,        -- names this history: another file has another one
    revision INTEGER NOT NULL,       -- of the last transaction
    log_start INTEGER NOT NULL,      -- changes after this revision are in the log
    log_bytes INTEGER NOT NULL,      -- of keys and values in the log
    time_base TEXT NOT NULL          -- what the leases' deadlines count from
);
CREATE TABLE item (
    key TEXT PRIMARY KEY NOT NULL,   -- compared bytewise
    value BLOB NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    lease INTEGER
) WITHOUT ROWID;
CREATE INDEX item_by_lease ON item (lease) WHERE lease IS NOT NULL;
CREATE TABLE log (
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    created INTEGER,
    lease INTEGER,
    PRIMARY KEY (revision, position)
) WITHOUT ROWID;
CREATE TABLE lease (
    id INTEGER PRIMARY KEY,
    ttl REAL NOT NULL,
    deadline REAL NOT NULL
);
CREATE INDEX lease_by_deadline ON lease (deadline);
"""


def refuse_foreign_file(path: str) -> None:
    """Look at the header alone: opened for use, SQLite would replay a foreign file's journal.

    SQLite reads it too, as ``immutable``, and so takes no lock and opens no journal. Python's ``open`` would do harm:
    when a process closes any descriptor of a file, the kernel drops all locks of the process on that file. Another
    process would then take a store that is open here for unused, and delete its write-ahead log.

    Raises ``StoreCorrupted`` for what isn't a Tenure store, ``ConfigError`` for one of a newer version.
    A file that doesn't exist or is empty will be made into a store.
    """
    if is_empty(path):
        return
    try:
        if os.path.getsize(path) < _HEADER:  # SQLite takes a file of one byte for an empty one
            raise corrupted(path, "it isn't a SQLite database")
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)) as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
    except FileNotFoundError:
        return
    except sqlite3.Error as exc:
        if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise corrupted(path, "it isn't a SQLite database") from exc
        return  # not readable, or damaged: opening it tells which
    if application != APPLICATION_ID:
        raise corrupted(path, "it is a SQLite database of another application")
    _check_version(path, version)


def _check_version(path: str, version: int) -> None:
    if version > VERSION:
        raise ConfigError(
            f"{path} was made by a newer Tenure (format {version}, this one knows {VERSION}): "
            "upgrade this installation, or name another file"
        )


def create_if_empty(connection: sqlite3.Connection, time_base: str) -> None:
    """Make the tables if the file has none. Called inside a write transaction in SQLite's classic journal mode.

    So the application's id is in the file's header from the moment there is one, and a crash leaves an empty file.
    """
    if not is_without_tables(connection):
        return
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)
    start = next_revision(0)
    connection.execute("INSERT INTO store VALUES (0, ?, ?, ?, 0, ?)", (uuid.uuid4().hex, start, start, time_base))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def adopt_version(connection: sqlite3.Connection) -> None:
    """Keep older programs from opening the file from now on. Called inside a write transaction."""
    if connection.execute("PRAGMA user_version").fetchone()[0] < VERSION:
        connection.execute(f"PRAGMA user_version = {VERSION}")


def verify(connection: sqlite3.Connection, path: str) -> str:
    """The history's id of a file that is a store of a known version."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise corrupted(path, "it is a SQLite database of another application")
    _check_version(path, connection.execute("PRAGMA user_version").fetchone()[0])
    row = connection.execute("SELECT history_id FROM store").fetchone()
    if row is None:
        raise corrupted(path, "its description of itself is missing")
    return str(row[0])


def is_without_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def is_empty(path: str) -> bool:
    try:
        return os.path.getsize(path) == 0
    except FileNotFoundError:
        return True
