"""Reads: one key, a page of a prefix, a whole prefix at one revision.

All are linearizable. etcd limits a range by its number of keys only, and values may be large or small; so a
page starts with a few keys and asks for more at the same revision as long as what came is light.
"""

from __future__ import annotations

from dataclasses import dataclass

from tenure.errors import DeadlineExceeded
from tenure.plugin_kit import monotonic
from tenure.spi.types import KeyValue, Page, ReadResult
from tenure_etcd.connection import Connection
from tenure_etcd.encoding import item, items
from tenure_etcd.keys import prefix_range
from tenure_etcd.messages import MESSAGES

_RangeRequest = MESSAGES["RangeRequest"]

_FIRST_KEYS = 64
_PAGE_KEYS = 1000
_PAGE_BYTES = 4 << 20
_GROWTH = 8


def get(connection: Connection, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    answer = connection.call(
        "Range", _RangeRequest(key=key.encode()), timeout=timeout, write=False, action="reading a key"
    )
    kvs = answer.kvs
    return ReadResult(item(kvs[0]) if kvs else None, answer.header.revision)


def list_page(
    connection: Connection, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float
) -> Page:
    """``Backend.list``: at most ``limit`` keys, and no more than fit into a reasonable answer."""
    reading = _Reading(connection, prefix, after, revision, timeout)
    most = _PAGE_KEYS if limit is None else min(limit, _PAGE_KEYS)
    found = reading.take(most, _PAGE_BYTES)
    return Page(tuple(found), reading.more, reading.revision)


@dataclass(frozen=True, slots=True)
class History:
    """Which life of which cluster answered, as its headers tell: terms and revisions only grow within one."""

    cluster: int
    term: int
    revision: int


def read_all(connection: Connection, prefix: str, *, timeout: float) -> tuple[list[KeyValue], History]:
    """Everything under ``prefix`` at one revision, and the history it is part of."""
    reading = _Reading(connection, prefix, None, None, timeout)
    found = reading.take(None, None)
    return found, History(reading.cluster, reading.term, reading.revision)


def read_history(connection: Connection, prefix: str, *, timeout: float) -> History:
    """The present moment of the store's history: a linearizable read that needs no more rights than the prefix."""
    start, _ = prefix_range(prefix)
    request = _RangeRequest(key=start, count_only=True)
    header = connection.call("Range", request, timeout=timeout, write=False, action="reading the revision").header
    return History(header.cluster_id, header.raft_term, header.revision)


class _Reading:
    """A list in progress: where it stands, and the revision it is pinned to after its first answer."""

    def __init__(
        self, connection: Connection, prefix: str, after: str | None, revision: int | None, timeout: float
    ) -> None:
        self._connection = connection
        self._next, self._end = prefix_range(prefix)
        if after is not None:
            self._next = max(self._next, after.encode() + b"\0")
        self._until = monotonic() + timeout
        self._timeout = timeout
        self._weight = 0
        self.revision = revision or 0
        self.cluster = self.term = 0
        self.more = True

    def take(self, keys: int | None, weight: int | None) -> list[KeyValue]:
        """Read on until the end, or until so many ``keys`` or about so many bytes (``weight``) were taken."""
        found: list[KeyValue] = []
        size = _FIRST_KEYS
        while self.more and (keys is None or len(found) < keys) and (weight is None or self._weight < weight):
            before = self._weight
            wanted = size if keys is None else min(size, keys - len(found))
            found += self._range(wanted)
            grown = self._weight - before
            size = max(1, min(size * _GROWTH, _PAGE_KEYS, size * _PAGE_BYTES // max(grown, 1)))
            # A page without items claims to be the last, so keys that can't be shown must not end it.
            if not found and self.more:
                self._weight = 0
        return found

    def _range(self, count: int) -> list[KeyValue]:
        left = self._until - monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"listing keys: not all pages came within {self._timeout:.3g} s")
        request = _RangeRequest(key=self._next, range_end=self._end, limit=count, revision=self.revision)
        answer = self._connection.call("Range", request, timeout=left, write=False, action="listing keys")
        header, kvs = answer.header, answer.kvs
        self.revision = self.revision or header.revision
        self.cluster, self.term = header.cluster_id, header.raft_term
        self.more = answer.more
        if kvs:
            self._next = kvs[-1].key + b"\0"
            self._weight += sum(len(kv.key) + len(kv.value) for kv in kvs)
        return items(kvs)
