"""Reads: one key, a page, a whole prefix at one revision.

One key is one HMGET of the key and the revision: the hash is the whole truth, and Redis does one command at a time.
Only a key on a lease that may have ended since the last script ran is asked for by a script, which ends leases first.

A long list must not keep the server from everybody else, so it is read in pages, and the pages are brought to the
revision of the last one by what the log says happened meanwhile. The result is the prefix at one point in time,
without any moment of it having cost more than a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenure.errors import StoreCorrupted, Unavailable
from tenure.plugin_kit import Deadline, monotonic
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue, Page, ReadResult
from tenure_redis import scripts
from tenure_redis.connection import Connection
from tenure_redis.encoding import Entry, entry, is_leased, item
from tenure_redis.keys import REVISION
from tenure_redis.pool import Pool

FRESH = 0.25
"""Seconds since leases were last ended within which a key on a lease may be shown without looking again."""

_LISTING = "listing keys"
_PAGE_KEYS = 1000
_PAGE_BYTES = 1 << 20
_ENTRIES = 200
_TRIES = 3


def get(pool: Pool, key: str, deadline: Deadline) -> ReadResult:
    """``Backend.get``."""
    record, revision = pool.read("HMGET", pool.names.data, key, REVISION, deadline=deadline, action="reading a key")
    if revision is None or (record is not None and is_leased(record) and monotonic() - pool.reaped > FRESH):
        record, revision = pool.run(scripts.READ, key, deadline=deadline, action="reading a key")
    return ReadResult(None if record is None else item(key, record), int(revision))


def list_page(pool: Pool, prefix: str, *, after: str | None, limit: int | None, deadline: Deadline) -> Page:
    """``Backend.list``: with a limit one page, which may be short; without, everything at one revision."""
    if limit is None:
        found = read_all(pool, prefix, after=after, deadline=deadline)
        return Page(found.items, False, found.revision)
    with pool.session(deadline, _LISTING) as connection:
        part = _part(pool, connection, prefix, after, most=min(limit, _PAGE_KEYS), deadline=deadline)
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


def read_all(pool: Pool, prefix: str, *, after: str | None, deadline: Deadline) -> State:
    """Everything under ``prefix``, at one revision."""
    for _ in range(_TRIES):
        # One connection for all: the pages are of one server then.
        with pool.session(deadline, _LISTING) as connection:
            state = _read_all(pool, connection, prefix, after, deadline)
        if state is not None:
            return state
    raise Unavailable(
        f"listing keys: Redis at {pool.locator.where} changes faster than its log remembers: raise the option history"
    )


def _read_all(pool: Pool, connection: Connection, prefix: str, after: str | None, deadline: Deadline) -> State | None:
    """The state, or ``None`` if the log no longer has what happened between the pages."""
    parts: list[_Part] = []
    while not parts or parts[-1].more:
        deadline.check(_LISTING)
        parts.append(_part(pool, connection, prefix, after, most=_PAGE_KEYS, deadline=deadline))
        if parts[-1].items:
            after = parts[-1].items[-1].key
        if parts[-1].identity != parts[0].identity:
            return None
    last = parts[-1]
    if len(parts) == 1:
        return State(tuple(last.items), last.revision, last.identity, last.op)
    found: dict[str, KeyValue] = {one.key: one for part in parts for one in part.items}
    if last.revision > parts[0].revision:
        meanwhile = _entries(pool, connection, parts[0].revision, last.revision, deadline)
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


def _part(
    pool: Pool, connection: Connection, prefix: str, after: str | None, *, most: int, deadline: Deadline
) -> _Part:
    low, high = _bounds(prefix, after)
    started = monotonic()
    answer = pool.evaluate(connection, scripts.PAGE, (low, high, most, _PAGE_BYTES), deadline)
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


def entries(pool: Pool, connection: Connection, after: int, *, most: int, deadline: Deadline) -> list[Entry]:
    """Entries of the log that follow revision ``after``, at most so many."""
    raw = connection.call("XRANGE", pool.names.log, f"{after + 1}-0", "+", "COUNT", most, deadline=deadline)
    return [entry(one) for one in raw]


def _entries(pool: Pool, connection: Connection, after: int, last: int, deadline: Deadline) -> Iterable[Entry] | None:
    """All entries beyond ``after`` up to ``last``, ``None`` if they aren't all there."""
    found: list[Entry] = []
    while after < last:
        deadline.check(_LISTING)
        some = entries(pool, connection, after, most=min(_ENTRIES, last - after), deadline=deadline)
        if not some or some[0].revision != after + 1:
            return None
        found += some
        after = some[-1].revision
    return found
