"""Reads: one key, a page, a whole prefix at one revision.

One key is one HMGET of the key and the revision: the hash is the whole truth, and Redis does one command at a time.
Only a key on a lease that may have ended since the last script ran is asked for by a script, which ends leases first.

A long list must not keep the server from everybody else, so it is read in pages, and the pages are brought to the
revision of the last one by what the log says happened meanwhile. The result is the prefix at one point in time,
without any moment of it having cost more than a page.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from tenure.errors import DeadlineExceeded, StoreCorrupted, Unavailable
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue, Page, ReadResult
from tenure_redis import scripts
from tenure_redis.connection import Connection
from tenure_redis.encoding import Entry, entry, is_leased, item
from tenure_redis.keys import REVISION
from tenure_redis.pool import Pool

FRESH = 0.25
"""Seconds since leases were last ended within which a key on a lease may be shown without looking again."""

_PAGE_KEYS = 1000
_PAGE_BYTES = 1 << 20
_ENTRIES = 200
_TRIES = 3


def get(pool: Pool, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    started = time.monotonic()
    record, revision = pool.read("HMGET", pool.names.data, key, REVISION, timeout=timeout, action="reading a key")
    if revision is None or (record is not None and started - pool.reaped > FRESH and is_leased(record)):
        left = max(timeout - (time.monotonic() - started), 0.001)
        record, revision = pool.run(scripts.READ, key, timeout=left, action="reading a key")
    return ReadResult(None if record is None else item(key, record), int(revision))


def list_page(pool: Pool, prefix: str, *, after: str | None, limit: int | None, timeout: float) -> Page:
    """``Backend.list``: with a limit one page, which may be short; without, everything at one revision."""
    if limit is None:
        found = read_all(pool, prefix, after=after, timeout=timeout)
        return Page(found.items, False, found.revision)
    connection, _ = pool.take(timeout)
    with pool.using(connection, "listing keys"):
        part = _part(pool, connection, prefix, after, most=min(limit, _PAGE_KEYS), timeout=timeout)
    return Page(tuple(part.items), part.more, part.revision)


@dataclass(frozen=True, slots=True)
class State:
    """A prefix at one point of one store's history: ``op`` made ``revision`` of the store ``identity``."""

    items: tuple[KeyValue, ...]
    revision: int
    identity: bytes
    op: bytes


@dataclass(frozen=True, slots=True)
class _Part:
    """One page."""

    items: list[KeyValue]
    more: bool
    revision: int
    identity: bytes
    op: bytes


def read_all(pool: Pool, prefix: str, *, after: str | None, timeout: float) -> State:
    """Everything under ``prefix``, at one revision."""
    until = time.monotonic() + timeout
    for _ in range(_TRIES):
        # One connection for all: the pages are of one server then.
        connection, _fresh = pool.take(_left(until))
        with pool.using(connection, "listing keys"):
            state = _read_all(pool, connection, prefix, after, until)
        if state is not None:
            return state
    raise Unavailable(
        f"listing keys: Redis at {pool.locator.where} changes faster than its log remembers: raise the option history"
    )


def _read_all(pool: Pool, connection: Connection, prefix: str, after: str | None, until: float) -> State | None:
    """The state, or ``None`` if the log no longer has what happened between the pages."""
    parts: list[_Part] = []
    while not parts or parts[-1].more:
        parts.append(_part(pool, connection, prefix, after, most=_PAGE_KEYS, timeout=_left(until)))
        if parts[-1].items:
            after = parts[-1].items[-1].key
        if parts[-1].identity != parts[0].identity:
            return None
    last = parts[-1]
    if len(parts) == 1:
        return State(tuple(last.items), last.revision, last.identity, last.op)
    found: dict[str, KeyValue] = {one.key: one for part in parts for one in part.items}
    if last.revision > parts[0].revision:
        meanwhile = _entries(pool, connection, parts[0].revision, last.revision, until)
        if meanwhile is None:
            return None
        # What lies beyond a page's last key was read later: each page has its own share of what happened since.
        ends = [part.items[-1].key.encode() for part in parts[:-1] if part.items]
        seen = [part.revision for part in parts]
        for one in meanwhile:
            for change in one.changes:
                if not change.key.startswith(prefix):
                    continue
                name = change.key.encode()
                page = next((number for number, end in enumerate(ends) if name <= end), len(parts) - 1)
                if one.revision <= seen[page]:
                    continue
                if isinstance(change, Deleted):
                    found.pop(change.key, None)
                else:
                    found[change.key] = change
    ordered = sorted(found.values(), key=lambda one: one.key.encode())
    return State(tuple(ordered), last.revision, last.identity, last.op)


def _part(pool: Pool, connection: Connection, prefix: str, after: str | None, *, most: int, timeout: float) -> _Part:
    low, high = _bounds(prefix, after)
    started = time.monotonic()
    answer = pool.evaluate(connection, scripts.PAGE, (low, high, most, _PAGE_BYTES), timeout=timeout)
    pool.reaped = max(pool.reaped, started)
    identity, revision, op, more, *rest = answer
    items = [_item(name, record) for name, record in zip(rest[::2], rest[1::2], strict=True)]
    return _Part(items, bool(more), int(revision), identity, op)


def _item(name: bytes, record: bytes | None) -> KeyValue:
    if record is None:
        raise StoreCorrupted(f"Redis lists the key {name!r} of this store but holds no value for it")
    return item(name.decode(), record)


def _bounds(prefix: str, after: str | None) -> tuple[bytes, bytes]:
    """The range as ZRANGEBYLEX takes it. No byte of UTF-8 is as high as 0xff, so that ends every prefix."""
    start = prefix.encode()
    low = b"[" + start if start else b"-"
    if after is not None and after.encode() >= start:
        low = b"(" + after.encode()
    return low, b"(" + start + b"\xff" if start else b"+"


def entries(pool: Pool, connection: Connection, after: int, *, most: int, timeout: float) -> list[Entry]:
    """Entries of the log that follow revision ``after``, at most so many."""
    raw = connection.call("XRANGE", pool.names.log, f"{after + 1}-0", "+", "COUNT", most, timeout=timeout)
    return [entry(one) for one in raw]


def _entries(pool: Pool, connection: Connection, after: int, last: int, until: float) -> Iterable[Entry] | None:
    """All entries beyond ``after`` up to ``last``, ``None`` if they aren't all there."""
    found: list[Entry] = []
    while after < last:
        some = entries(pool, connection, after, most=min(_ENTRIES, last - after), timeout=_left(until))
        if not some or some[0].revision != after + 1:
            return None
        found += some
        after = some[-1].revision
    return found


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("listing keys: not all pages came within the time allowed")
    return left
