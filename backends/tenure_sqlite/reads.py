"""Reads: one key, and a page of a prefix, each by one statement that also shows whether a lease has ended.

A read that meets a lease whose time has come has it ended first, so that its keys go at a revision of their own.
Where nothing can be written now the read leaves those keys out of its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tenure.plugin_kit import monotonic
from tenure.spi import KeyValue, Page, ReadResult
from tenure_sqlite import leases
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.keys import condition

Reap = Callable[[float], bool]
"""Ends the leases whose time has come, within so many seconds; whether that could be done."""

# One statement for item, revision and the lease's deadline, because a read transaction costs more than a read.
_GET = (
    "SELECT value, created, modified, item.lease, revision, deadline FROM store "
    "LEFT JOIN item ON key = ? LEFT JOIN lease ON id = item.lease"
)
_LIST = (
    "SELECT key, value, created, modified, lease FROM item WHERE {} "
    "AND (lease IS NULL OR lease NOT IN (SELECT id FROM lease WHERE deadline <= ?)) ORDER BY key LIMIT ?"
)
_NEVER = float("-inf")


def get(database: Database, key: str, *, reap: Reap, timeout: float) -> ReadResult:
    """``Backend.get``."""
    connection = database.take()
    try:
        row = connection.execute(_GET, (key,)).fetchone()
    except sqlite3.Error:
        row = None
    finally:
        database.give(connection)
    if row is None:  # locked, broken or closed: the patient way raises the reason
        row = database.run(lambda connection: connection.execute(_GET, (key,)).fetchone(), timeout=timeout)
    value, created, modified, lease, revision, deadline = row
    if value is None:
        return ReadResult(None, revision)
    if lease is None:
        return ReadResult(KeyValue(key, value, created, modified), revision)
    if deadline <= database.time.now():
        if reap(timeout):
            return get(database, key, reap=reap, timeout=timeout)
        return ReadResult(None, revision)
    return ReadResult(KeyValue(key, value, created, modified, format(lease, "x")), revision)


def list_page(
    database: Database, prefix: str, *, after: str | None, limit: int | None, reap: Reap, timeout: float
) -> Page:
    """``Backend.list``, at one revision."""
    deadline = monotonic() + timeout
    within, bounds = condition(prefix, after)
    most = -1 if limit is None else limit + 1  # one more tells whether there are more
    hiding = False

    def read(connection: Connection) -> Page | None:
        connection.execute("BEGIN")
        now = database.time.now()
        if not hiding and leases.is_due(connection, now):
            return None
        (present,) = connection.execute("SELECT revision FROM store").fetchone()
        rows = connection.execute(_LIST.format(within), (*bounds, now if hiding else _NEVER, most))
        items = tuple(
            KeyValue(key, value, created, modified, None if lease is None else format(lease, "x"))
            for key, value, created, modified, lease in rows
        )
        if limit is not None and len(items) > limit:
            return Page(items[:limit], True, present)
        return Page(items, False, present)

    database.check_file(timeout=timeout)
    while (page := database.run(read, timeout=timeout)) is None:
        hiding = not reap(max(deadline - monotonic(), 0.001))
    return page
