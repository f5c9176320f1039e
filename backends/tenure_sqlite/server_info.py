"""What the store says of itself to people: versions, sizes, an integrity check, risky settings."""

from __future__ import annotations

import os
import sqlite3

from tenure.plugin_kit import wall_clock
from tenure.spi import ServerInfo
from tenure_sqlite.database import WAL_KEPT, Connection, Database
from tenure_sqlite.errors import described
from tenure_sqlite.file_location import filesystem, is_network

_LONG_LOG = 2 * WAL_KEPT
_CHECKED_AT_MOST = 256 * 1024 * 1024  # bytes of a file that is checked within a call's time


def describe(connection: Connection, database: Database) -> ServerInfo:
    """``Backend.server_info``. Reads only. Raises SQLite's errors, a corrupt file's among them."""
    path = database.path
    revision, log_start, time_base = described(
        connection.execute("SELECT revision, log_start, time_base FROM store").fetchone()
    )
    size = os.path.getsize(path)
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = ("off", "normal", "full", "extra")[connection.execute("PRAGMA synchronous").fetchone()[0]]
    kind = filesystem(path)
    warnings = []
    if is_network(kind):
        warnings.append(f"the file lies on a network filesystem ({kind}), whose locks can't be relied on")
    if kind in ("tmpfs", "ramfs"):
        warnings.append(f"the file lies in memory ({kind}): it is gone after a reboot")
    if synchronous == "normal":
        warnings.append("a loss of power may take the last writes (synchronous=full prevents it, at a price per write)")
    if mode != "wal":
        warnings.append(f"the journal mode is {mode} instead of wal: readers and writers block each other")
    log = _size_of(path + "-wal")
    if log > _LONG_LOG:
        warnings.append(
            f"the write-ahead log has {log // (1 << 20)} MiB: a program keeps a transaction open, so that SQLite "
            "can't begin the log again; end that, then run PRAGMA wal_checkpoint(TRUNCATE)"
        )
    check = "skipped, the file is large"
    if size <= _CHECKED_AT_MOST:
        problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
        check = "; ".join(problems)
        if problems != ["ok"]:
            warnings.append(f"the file is damaged ({check}): bring back a backup")
    return ServerInfo(
        product="SQLite",
        version=sqlite3.sqlite_version,
        revision=revision,
        clock=wall_clock(),
        warnings=tuple(warnings),
        details={
            "file": path,
            "size": f"{size} bytes",
            "write-ahead log": f"{log} bytes",
            "filesystem": kind or "unknown",
            "journal mode": mode,
            "synchronous": synchronous,
            "integrity": check,
            "keys": str(connection.execute("SELECT count(*) FROM item").fetchone()[0]),
            "leases": str(connection.execute("SELECT count(*) FROM lease").fetchone()[0]),
            "oldest revision to resume from": str(log_start),
            "leases' time": time_base.partition(":")[0],
        },
    )


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
