"""Reads: one key, several keys, and a page of a prefix, each at one revision.

A read that meets a lease whose time has come has it ended first, so that its keys go at a revision of their own.
Where nothing can be written now the read leaves those keys out of its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import TypeVar

from tenure.plugin_kit import Deadline, monotonic
from tenure.spi import KeyValue, ListRequest, MultiReadResult, Page, ReadResult
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.errors import described
from tenure_sqlite.keys import condition

_T = TypeVar("_T")

Reap = Callable[[float], bool]
"""Ends the leases whose time has come, within so many seconds; whether that could be done."""

# One statement for item, revision and the lease's deadline, because a read transaction costs more than a read.
_GET = (
    "SELECT value, created, modified, item.lease, revision, deadline FROM store "
    "LEFT JOIN item ON key = ? LEFT JOIN lease ON id = item.lease"
)
_PRESENT = "SELECT revision, (SELECT min(deadline) FROM lease) FROM store"
# The lease as text: a row is then an item but for its type.
_LIST = (
    "SELECT key, {}, created, modified, CASE WHEN lease IS NOT NULL THEN printf('%x', lease) END FROM item WHERE {} "
    "AND (lease IS NULL OR lease IN (SELECT id FROM lease WHERE deadline > ?)) ORDER BY key LIMIT ?"
)
_BATCH = 500  # parameters of one statement; SQLite takes at least 999
_ROWS = 1_000  # read between two looks at the deadline
_NEVER = float("-inf")
_new = tuple.__new__  # the classes themselves take twice as long


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
        row = database.run(lambda connection: described(connection.execute(_GET, (key,)).fetchone()), timeout=timeout)
    value, created, modified, lease, revision, deadline = row
    if value is None:
        return ReadResult(None, revision)
    if lease is None:
        return _new(ReadResult, (_new(KeyValue, (key, value, created, modified, None)), revision))
    if deadline is None:  # another program removed the lease: it has ended, and who held it will end its keys
        return ReadResult(None, revision)
    if deadline <= database.time.now():
        if reap(timeout):
            return get(database, key, reap=reap, timeout=timeout)
        return ReadResult(None, revision)
    return ReadResult(KeyValue(key, value, created, modified, format(lease, "x")), revision)


def get_many(database: Database, keys: Sequence[str], *, reap: Reap, timeout: float) -> MultiReadResult:
    """``Backend.get_many``."""

    def read(connection: Connection, present: int, hide: float) -> MultiReadResult:
        found: dict[str, KeyValue] = {}
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            query = _LIST.format("value", f"key IN ({','.join('?' * len(batch))})")
            rows = connection.execute(query, (*batch, hide, -1))
            found |= {item.key: item for item in _items(rows)}
        return MultiReadResult(tuple(map(found.get, keys)), present)

    return _without_ended(database, read, reap=reap, timeout=timeout)


def list_page(database: Database, request: ListRequest, *, reap: Reap, timeout: float) -> Page:
    """``Backend.list``, at one revision."""
    within, bounds = condition(request.prefix, request.after)
    limit = request.limit
    most = -1 if limit is None else limit + 1  # one more tells whether there are more
    query = _LIST.format("x''" if request.keys_only else "value", within)
    deadline = Deadline(timeout)

    def read(connection: Connection, present: int, hide: float) -> Page:
        rows = connection.execute(query, (*bounds, hide, most))
        found = list(_items(islice(rows, _ROWS)))
        while len(found) % _ROWS == 0 and (batch := list(_items(islice(rows, _ROWS)))):
            deadline.check(f"listing, {len(found)} keys had been read")
            found += batch
        items = tuple(found)
        if limit is not None and len(items) > limit:
            return Page(items[:limit], True, present)
        return Page(items, False, present)

    return _without_ended(database, read, reap=reap, timeout=timeout)


def _without_ended(
    database: Database, read: Callable[[Connection, int, float], _T], *, reap: Reap, timeout: float
) -> _T:
    """What ``read`` reads in one transaction, with no key of an ended lease in it.

    ``read`` gets the revision, and the time at which leases count as ended: long past if there are none.
    """
    deadline = monotonic() + timeout
    hiding = False

    def attempt(connection: Connection) -> _T | None:
        connection.execute("BEGIN")
        now = database.time.now()
        present, next_deadline = described(connection.execute(_PRESENT).fetchone())
        if not hiding and next_deadline is not None and next_deadline <= now:
            return None
        return read(connection, present, now if hiding else _NEVER)

    database.check_file(timeout=timeout)
    while (found := database.run(attempt, timeout=timeout)) is None:
        hiding = not reap(max(deadline - monotonic(), 0.001))
    return found


def _items(rows: Iterable[tuple[str, bytes, int, int, str | None]]) -> Iterator[KeyValue]:
    return map(_new, repeat(KeyValue), rows)  # no step of it in Python, for a list costs as much as its items
