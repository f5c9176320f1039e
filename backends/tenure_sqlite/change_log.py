"""The change log: a window of the last transactions, in the file, for watches to read from their positions.

It is trimmed by writers in small steps, as revisions and as bytes, so that no write pays for many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from tenure.spi import Deleted, KeyValue

MAX_BYTES = 64 * 1024 * 1024
_STEP = 256  # revisions removed at once, at most

Row = tuple[int, int, str, bytes | None, int | None, int | None]
"""Revision, position in the transaction, key, value (``None``: a delete), revision of creation, lease."""

_APPEND = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
_READ = "SELECT revision, key, value, created, lease FROM log WHERE revision > ? ORDER BY revision, position"
_SIZE = "SELECT total(length(key) + ifnull(length(value), 0)) FROM log WHERE revision <= ?"
_TRIM = "DELETE FROM log WHERE revision <= ?"


def append(connection: sqlite3.Connection, entries: list[Row]) -> int:
    """Add entries; answers how many bytes they count for."""
    connection.executemany(_APPEND, entries)
    return sum(len(entry[2]) + len(entry[3] or b"") for entry in entries)


def trim(connection: sqlite3.Connection, *, start: int, revision: int, size: int, history: int) -> tuple[int, int]:
    """Remove some of what is beyond ``history`` revisions or ``MAX_BYTES``; answers the new start and size.

    The last transaction always stays: watchers that keep up must not lose it to its own size.
    """
    excess = revision - start - history
    if excess >= max(1, min(64, history // 4)):
        upto = start + min(excess, _STEP)
    elif size > MAX_BYTES:
        upto = min(start + 64, revision - 1)
    else:
        return start, size
    if upto <= start:
        return start, size
    removed = int(connection.execute(_SIZE, (upto,)).fetchone()[0])
    connection.execute(_TRIM, (upto,))
    return upto, size - removed


def read(connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, list[KeyValue | Deleted]]]:
    """The transactions after revision ``after``, each with its entries, as they are read."""
    for revision, rows in groupby(connection.execute(_READ, (after,)), key=itemgetter(0)):
        yield revision, [_entry(*row) for row in rows]


def _entry(revision: int, key: str, value: bytes | None, created: int, lease: int | None) -> KeyValue | Deleted:
    if value is None:
        return Deleted(key, revision)
    return KeyValue(key, value, created, revision, None if lease is None else format(lease, "x"))
