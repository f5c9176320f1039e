"""Leases: rows with a deadline in the store's time base. Whoever writes ends those whose time has come."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from tenure.spi import LeaseId, LeaseInfo
from tenure_sqlite.database import Connection
from tenure_sqlite.transactions import Writer, parse_lease_id

_BATCH = 500  # parameters of one statement; SQLite takes at least 999


def reap(writer: Writer, now: float) -> None:
    """End every lease whose time has come, the earliest first, each in a revision of its own."""
    if writer.next_deadline is None or writer.next_deadline > now:
        return
    due = writer.connection.execute("SELECT id FROM lease WHERE deadline <= ? ORDER BY deadline", (now,)).fetchall()
    for (number,) in due:
        _end(writer, number)


def grant(writer: Writer, ttl: float, now: float) -> LeaseId:
    # Random, so that an id from before a restored backup never names another lease.
    number = secrets.randbits(62) | 1 << 61
    writer.connection.execute("INSERT INTO lease VALUES (?, ?, ?)", (number, ttl, now + ttl))
    return format(number, "x")


def refresh(writer: Writer, lease_ids: Sequence[LeaseId], now: float) -> dict[LeaseId, float]:
    alive = list(_alive(writer.connection, lease_ids))
    if len(alive) < len(lease_ids):  # keys of one that another program removed would stay for ever
        for number in {parse_lease_id(lease_id) for lease_id in lease_ids} - {number for number, _ in alive}:
            _end(writer, number)
    writer.connection.executemany(
        "UPDATE lease SET deadline = ? WHERE id = ?", [(now + ttl, number) for number, ttl in alive]
    )
    return {format(number, "x"): ttl for number, ttl in alive}


def revoke(writer: Writer, lease_ids: Sequence[LeaseId]) -> frozenset[LeaseId]:
    alive = [number for number, _ in _alive(writer.connection, lease_ids)]
    for number in alive:
        _end(writer, number)
    return frozenset(format(number, "x") for number in alive)


def listing(connection: Connection, lease_id: LeaseId | None, now: float) -> tuple[LeaseInfo, ...]:
    """The leases that are alive at ``now``; in a read transaction of the caller."""
    query, arguments = "SELECT id, ttl, deadline FROM lease WHERE deadline > ?", [now]
    if lease_id is not None:
        query, arguments = query + " AND id = ?", [now, parse_lease_id(lease_id)]
    return tuple(
        LeaseInfo(format(number, "x"), ttl, deadline - now, tuple(_keys(connection, number)))
        for number, ttl, deadline in connection.execute(query + " ORDER BY id", arguments).fetchall()
    )


def _end(writer: Writer, number: int) -> None:
    writer.connection.execute("DELETE FROM lease WHERE id = ?", (number,))
    writer.end_keys(number)


def _keys(connection: Connection, number: int) -> list[str]:
    rows = connection.execute("SELECT key FROM item WHERE lease = ? ORDER BY key", (number,))
    return [key for (key,) in rows]


def _alive(connection: Connection, lease_ids: Iterable[LeaseId]) -> Iterator[tuple[int, float]]:
    numbers = [parse_lease_id(lease_id) for lease_id in dict.fromkeys(lease_ids)]
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        marks = ",".join("?" * len(batch))
        yield from connection.execute(f"SELECT id, ttl FROM lease WHERE id IN ({marks})", batch).fetchall()  # noqa: S608 - question marks only
