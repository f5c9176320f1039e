"""Reads: one key, several keys, a page, a whole prefix, each at one revision.

Some keys are one HMGET of them and the revision: the hash is the whole truth, and Redis does one command at a time.
Only where one is on a lease that may have ended since the last script ran, a script ends leases and reads them. It also
does so while the store is late: more leases have ended together than one script ends.

A long list must not keep the server from everybody else, so it is read in pages, and the pages are brought to the
revision of the last one by what the log says happened meanwhile. The result is the prefix at one point in time,
without any moment of it having cost more than a page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline, monotonic
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue, ListRequest, MultiReadResult, Page, ReadResult
from tenure_redis import scripts
from tenure_redis.connection import Connection
from tenure_redis.encoding import Entry, entry, is_leased, item, items
from tenure_redis.keys import LATE, REVISION, bounds
from tenure_redis.pool import Pool

FRESH = 0.25
"""Seconds since leases were last ended within which a key on a lease may be shown without looking again."""

_KEY = itemgetter(0)
_LISTING = "listing keys"
_PAGE_KEYS = 1000
_PAGE_BYTES = 1 << 20
_ENTRIES = 200
_TRIES = 3


def get(pool: Pool, key: str, deadline: Deadline) -> ReadResult:
    """``Backend.get``."""
    action = "reading a key"
    record, revision, late = pool.read("HMGET", pool.names.data, key, REVISION, LATE, deadline=deadline, action=action)
    stale = late is not None or monotonic() - pool.reaped > FRESH
    if revision is None or (stale and record is not None and is_leased(record)):
        record, revision = pool.run(scripts.READ, key, deadline=deadline, action=action)
    return ReadResult(None if record is None else item(key, record), int(revision))


def get_many(pool: Pool, keys: Sequence[str], deadline: Deadline) -> MultiReadResult:
    """``Backend.get_many``."""
    action = f"reading {len(keys)} keys"
    fields = (*keys, REVISION, LATE)
    *records, revision, late = pool.read("HMGET", pool.names.data, *fields, deadline=deadline, action=action)
    stale = late is not None or monotonic() - pool.reaped > FRESH
    if revision is None or (stale and any(record is not None and is_leased(record) for record in records)):
        *records, revision = pool.run(scripts.READ, *keys, deadline=deadline, action=action)
    found = zip(keys, records, strict=True)
    return MultiReadResult(tuple(None if record is None else item(key, record) for key, record in found), int(revision))


def list_page(pool: Pool, request: ListRequest, deadline: Deadline) -> Page:
    """``Backend.list``: with a limit one page, which may be short; without, everything at one revision."""
    if request.limit is None:
        found = read_all(pool, request.prefix, after=request.after, keys_only=request.keys_only, deadline=deadline)
        return Page(found.items, False, found.revision)
    with pool.session(deadline, _LISTING) as connection:
        pages = _Pages(pool, connection, request.prefix, deadline, keys_only=request.keys_only)
        part = pages.read(request.after, most=min(request.limit, _PAGE_KEYS))
    return Page(tuple(part.items), part.more, part.revision)


@dataclass(frozen=True, slots=True)
class State:
    """A prefix at one revision."""

    items: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Part:
    """One page."""

    items: list[KeyValue]
    more: bool
    revision: int


def read_all(pool: Pool, prefix: str, *, after: str | None, deadline: Deadline, keys_only: bool = False) -> State:
    """Everything under ``prefix``, at one revision."""
    for _ in range(_TRIES):
        # One connection for all: the pages are of one server then.
        with pool.session(deadline, _LISTING) as connection:
            pages = _Pages(pool, connection, prefix, deadline, keys_only=keys_only)
            parts = pages.read_on(after)
            meanwhile = pages.entries_between(parts[0].revision, parts[-1].revision)
        if {part.revision for part in parts} <= {parts[0].revision, *(one.revision for one in meanwhile)}:
            return merge(parts, meanwhile, prefix, keys_only=keys_only)
    raise Unavailable(
        f"listing keys: Redis at {pool.locator.where} changes faster than its log remembers: raise the option history"
    )


def entries(pool: Pool, connection: Connection, after: int, *, most: int, deadline: Deadline) -> list[Entry]:
    """Entries of the log that follow revision ``after``, at most so many."""
    raw = connection.call("XRANGE", pool.names.log, f"{after + 1}-0", "+", "COUNT", most, deadline=deadline)
    return [entry(one) for one in raw]


class _Asked(NamedTuple):
    """A page that was asked for: by which command, and when."""

    command: tuple[Any, ...]
    at: float


class _Raw(NamedTuple):
    """A page as Redis answers it."""

    names: Sequence[bytes]
    records: Sequence[bytes | None]
    more: bool
    revision: int

    def part(self) -> Part:
        return Part(items(self.names, self.records), self.more, self.revision)


class _Pages:
    """Reads one prefix on one connection."""

    def __init__(self, pool: Pool, connection: Connection, prefix: str, deadline: Deadline, *, keys_only: bool) -> None:
        self._pool = pool
        self._connection = connection
        self._prefix = prefix
        self._deadline = deadline
        self._keys_only = keys_only

    def read_on(self, after: str | None) -> list[Part]:
        """All pages, each as it was when it was read. The server works on the next one while this one is taken in."""
        parts: list[Part] = []
        asked = self._ask(after, most=_PAGE_KEYS)
        while True:
            raw = self._answer(asked)
            if raw.more and raw.names:
                self._deadline.check(_LISTING)
                asked = self._ask(raw.names[-1].decode(), most=_PAGE_KEYS)
            parts.append(raw.part())
            if not raw.more or not raw.names:
                return parts

    def read(self, after: str | None, *, most: int) -> Part:
        """One page."""
        return self._answer(self._ask(after, most=most)).part()

    def _ask(self, after: str | None, *, most: int) -> _Asked:
        low, high = bounds(self._prefix, after)
        args = (low, high, most, _PAGE_BYTES, int(self._keys_only))
        started = monotonic()
        return _Asked(self._pool.begin(self._connection, scripts.PAGE, args, self._deadline), started)

    def _answer(self, asked: _Asked) -> _Raw:
        answer = self._pool.finish(self._connection, scripts.PAGE, asked.command, self._deadline)
        self._pool.reaped = max(self._pool.reaped, asked.at)
        revision, more, names, *records = answer
        return _Raw(names, list(chain.from_iterable(records)), bool(more), int(revision))

    def entries_between(self, after: int, last: int) -> list[Entry]:
        """The entries beyond ``after`` up to ``last``, or fewer if the log doesn't have them all."""
        found: list[Entry] = []
        while after < last:
            self._deadline.check(_LISTING)
            some = entries(self._pool, self._connection, after, most=_ENTRIES, deadline=self._deadline)
            if not some or some[0].follows != after:
                break
            found += [one for one in some if one.revision <= last]
            after = some[-1].revision
        return found


def merge(parts: Sequence[Part], meanwhile: Iterable[Entry], prefix: str, *, keys_only: bool = False) -> State:
    """The pages as they would all be at the revision of the last one, by what happened meanwhile."""
    found = list(chain.from_iterable(part.items for part in parts))
    changed = changes_of(parts, meanwhile, prefix)
    if changed:
        there = [one for one in changed.values() if one is not None]
        found = [one for one in found if one.key not in changed]
        found += [one._replace(value=b"") for one in there] if keys_only else there
        found.sort(key=_KEY)  # code points sort like UTF-8 does
    return State(tuple(found), parts[-1].revision)


def changes_of(parts: Sequence[Part], meanwhile: Iterable[Entry], prefix: str) -> dict[str, KeyValue | None]:
    """What became of the keys that have changed since their page was read; ``None`` for those that are gone."""
    changed: dict[str, KeyValue | None] = {}
    owner: Owner | None = None
    for one in meanwhile:
        owner = owner or Owner(parts)
        for change in one.changes:
            if change.key.startswith(prefix) and one.revision > owner.of(change.key).revision:
                changed[change.key] = None if isinstance(change, Deleted) else change
    return changed


class Owner:
    """Tells which page had to show a key: the first that ends with it or after it, and the last for the rest."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [part for part in parts[:-1] if part.items] + [parts[-1]]
        self._ends = [part.items[-1].key.encode() for part in self._parts[:-1]]

    def of(self, key: str) -> Part:
        """The page that showed ``key``, or would have if there had been such a key."""
        return self._parts[bisect_left(self._ends, key.encode())]
