"""The change log: a window of the last transactions, in the file, for watches to read from their positions.

It is trimmed by writers in small steps, as revisions and as bytes, so that no write pays for many. Revisions follow the
clock and so don't count transactions. The high bits of an entry's position do: the number of its transaction, one more
than that of the transaction before. Entries that an older version wrote have the number zero.

A prefix is deleted by one entry, however many keys it has: its value is their names, and it has no lease nor revision
of creation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from tenure.spi import Deleted, KeyValue

MAX_BYTES = 64 * 1024 * 1024
_STEP = 256  # transactions removed at once, at most
_NUMBER_SHIFT = 24  # bits of a position below the transaction's number

Row = tuple[int, int, str, bytes | None, int | None, int | None]
"""Revision, position, key, value (``None``: a delete), revision of creation, lease."""

_BETWEEN_KEYS = "\0"  # in no key

_APPEND = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
_APPEND_PUT = "INSERT INTO log SELECT modified, ?, key, value, created, lease FROM item WHERE key = ?"
_NAMES = "SELECT CAST(group_concat(key, char(0)) AS BLOB) FROM item WHERE {}"
_READ = "SELECT revision, key, value, created, lease FROM log WHERE revision > ? ORDER BY revision, position"
_SIZE = "SELECT total(length(key) + ifnull(length(value), 0)) FROM log WHERE revision <= ?"
_HAS = "SELECT 1 FROM log WHERE revision = ? LIMIT 1"
_FIRST = "SELECT position FROM log ORDER BY revision, position LIMIT 1"
_LAST_OF_FIRST = (
    "SELECT max(revision) FROM (SELECT DISTINCT revision FROM log WHERE revision < ? ORDER BY revision LIMIT ?)"
)
_TRIM = "DELETE FROM log WHERE revision <= ?"
_POSITION = "SELECT position FROM log WHERE revision = ? LIMIT 1"


def number_of(connection: sqlite3.Connection, revision: int) -> int:
    """The number of the transaction at ``revision``; zero if the log doesn't have it."""
    row = connection.execute(_POSITION, (revision,)).fetchone()
    return 0 if row is None else row[0] >> _NUMBER_SHIFT


def first_position(number: int) -> int:
    """The position of the first entry of transaction ``number``."""
    return number << _NUMBER_SHIFT


def append(connection: sqlite3.Connection, entries: Iterable[Row]) -> None:
    """Add entries."""
    connection.executemany(_APPEND, entries)


def append_puts(connection: sqlite3.Connection, entries: Iterable[tuple[int, str]]) -> None:
    """Add entries of puts, each given by its position and the key of the item, which was put."""
    connection.executemany(_APPEND_PUT, entries)


def append_deletes(
    connection: sqlite3.Connection, within: str, bounds: tuple[str, ...], *, revision: int, position: int
) -> int:
    """Add the deletes of the keys that the condition ``within`` names; answers how many bytes they count for."""
    (names,) = connection.execute(_NAMES.format(within), bounds).fetchone()
    if names is None:
        return 0
    append(connection, [(revision, position, "", names, None, None)])
    return len(names)


def has(connection: sqlite3.Connection, revision: int, *, start: int, present: int) -> bool:
    """Whether the log has all changes after ``revision``: it has that revision, or begins with the next one.

    Revisions are unique, so one that is here belongs to this history.
    """
    if revision in (start, present):
        return True
    return start < revision < present and connection.execute(_HAS, (revision,)).fetchone() is not None


def trim(
    connection: sqlite3.Connection, *, start: int, present: int, numbers: range, size: int, history: int
) -> tuple[int, int]:
    """Remove some of what is beyond ``history`` transactions or ``MAX_BYTES``; answers the new start and size.

    ``numbers`` are those of the transactions that were added since the last look. The last transaction always stays:
    watchers that keep up must not lose it to its own size.
    """
    step = max(1, min(64, history // 4))
    count = 0
    if numbers.start // step != numbers.stop // step:
        excess = numbers.stop - (connection.execute(_FIRST).fetchone()[0] >> _NUMBER_SHIFT) - history
        count = min(excess, _STEP) if excess >= step else 0
    if count <= 0 and size > MAX_BYTES:
        count = 64
    if count <= 0:
        return start, size
    (upto,) = connection.execute(_LAST_OF_FIRST, (present, count)).fetchone()
    if upto is None:
        return start, size
    removed = int(connection.execute(_SIZE, (upto,)).fetchone()[0])
    connection.execute(_TRIM, (upto,))
    return upto, size - removed


def read(connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, list[KeyValue | Deleted]]]:
    """The transactions after revision ``after``, each with its entries, as they are read."""
    for revision, rows in groupby(connection.execute(_READ, (after,)), key=itemgetter(0)):
        yield revision, [entry for row in rows for entry in _entries(*row)]


def _entries(
    revision: int, key: str, value: bytes | None, created: int | None, lease: int | None
) -> Iterator[KeyValue | Deleted]:
    if value is None:
        yield Deleted(key, revision)
    elif created is None:
        yield from (Deleted(name, revision) for name in value.decode().split(_BETWEEN_KEYS))
    else:
        yield KeyValue(key, value, created, revision, None if lease is None else format(lease, "x"))
