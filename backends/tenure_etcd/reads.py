"""Reads: one key, several keys, a page of a prefix, a whole prefix at one revision.

All are linearizable. etcd limits a range by its number of keys only, and values may be large or small; so a
list starts with some keys, and asks for more at the same revision as long as what came is light. It asks for as many
as it can: for each limited range the server counts all keys up to the range's end. The next list of the same range
starts with as many keys as fitted into an answer this time, so that an ordinary list is one call.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenure.errors import DeadlineExceeded
from tenure.plugin_kit import Deadline, ProgressDeadline
from tenure.spi.types import KeyValue, ListRequest, MultiReadResult, Page, ReadResult
from tenure_etcd.connection import Connection
from tenure_etcd.encoding import item, items
from tenure_etcd.history import Moment
from tenure_etcd.keys import prefix_range
from tenure_etcd.messages import MESSAGES

_RangeRequest = MESSAGES["RangeRequest"]
_RequestOp = MESSAGES["RequestOp"]

_FIRST_KEYS = 128
_MOST_KEYS = 16_384
_GROWTH = 32
_REMEMBERED = 1000
"""Ranges whose sizes are remembered."""
_RANGE_BYTES = 4 << 20
"""What one answer should have."""
_PAGE_BYTES = 16 << 20
"""What one page should have."""


def get(connection: Connection, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    answer = connection.call(
        "Range", _RangeRequest(key=key.encode()), timeout=timeout, write=False, action="reading a key"
    )
    kvs = answer.kvs
    if not kvs:
        return ReadResult(None, answer.header.revision)
    found = item(kvs[0])
    connection.history.see(found)
    return ReadResult(found, answer.header.revision)


def get_many(connection: Connection, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
    """``Backend.get_many``: a transaction that only reads."""
    reads = [_RequestOp(request_range=_RangeRequest(key=key.encode())) for key in keys]
    request = MESSAGES["TxnRequest"](success=reads)
    answer = connection.call("Txn", request, timeout=timeout, write=False, action="reading keys")
    found = (response.response_range.kvs for response in answer.responses)
    return MultiReadResult(tuple(item(kvs[0]) if kvs else None for kvs in found), answer.header.revision)


def list_page(connection: Connection, request: ListRequest, *, timeout: float) -> Page:
    """``Backend.list``: at most ``request.limit`` keys, and no more than fit into a reasonable answer."""
    start, end = prefix_range(request.prefix)
    if request.after is not None:
        start = max(start, request.after.encode() + b"\0")
    deadline = ProgressDeadline.of_request(timeout, request.patience)
    reading = _Reading(connection, start, end, request.revision, deadline, keys_only=request.keys_only)
    found = reading.take(request.limit, _PAGE_BYTES)
    return Page(tuple(found), reading.more, reading.moment.revision)


def read_all(connection: Connection, start: bytes, end: bytes, *, deadline: Deadline) -> tuple[list[KeyValue], Moment]:
    """Everything in a range at one revision, and the moment of the history that it is."""
    reading = _Reading(connection, start, end, None, deadline)
    return reading.take(None, None), reading.moment


def read_moment(connection: Connection, prefix: str, *, timeout: float) -> Moment:
    """The present moment of the store's history: a linearizable read that needs no more rights than the prefix."""
    start, _ = prefix_range(prefix)
    request = _RangeRequest(key=start, count_only=True)
    generation = connection.history.latest.generation
    header = connection.call("Range", request, timeout=timeout, write=False, action="reading the revision").header
    return Moment(generation, header.cluster_id, header.raft_term, header.revision)


class _Reading:
    """A list in progress: where it stands, and the moment that it is pinned to after its first answer."""

    def __init__(
        self,
        connection: Connection,
        start: bytes,
        end: bytes,
        revision: int | None,
        deadline: Deadline,
        *,
        keys_only: bool = False,
    ) -> None:
        self._connection = connection
        self._next, self._end = start, end
        self._keys_only = keys_only
        self._deadline = deadline
        self._weight = 0
        self.moment = Moment(connection.history.latest.generation, 0, 0, revision or 0)
        self.more = True

    def take(self, keys: int | None, weight: int | None) -> list[KeyValue]:
        """Read on until the end, or until so many ``keys`` or about so many bytes (``weight``) were taken."""
        found: list[KeyValue] = []
        size = self._connection.first_keys.get(self._end, _FIRST_KEYS)
        while self.more and (keys is None or len(found) < keys) and (weight is None or self._weight < weight):
            before = self._weight
            wanted = size if keys is None else min(size, keys - len(found))
            found += self._range(wanted)
            if not self.more:
                break
            grown = self._weight - before
            size = max(1, min(size * _GROWTH, _MOST_KEYS, wanted * _RANGE_BYTES // max(grown, 1)))
            self._remember(size)
            # A page without items claims to be the last, so keys that can't be shown must not end it.
            if not found:
                self._weight = 0
        return found

    def _remember(self, size: int) -> None:
        remembered = self._connection.first_keys
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        remembered[self._end] = min(size, _FIRST_KEYS * _GROWTH)

    def _range(self, count: int) -> list[KeyValue]:
        if self._deadline.expired:
            raise DeadlineExceeded(f"listing keys: not all pages came within {self._deadline.seconds:.3g} s")
        left = self._deadline.remaining()
        request = _RangeRequest(
            key=self._next,
            range_end=self._end,
            limit=count,
            revision=self.moment.revision,
            keys_only=self._keys_only,
        )
        answer = self._connection.call("Range", request, timeout=left, write=False, action="listing keys")
        self._deadline.progressed()
        header, kvs = answer.header, answer.kvs
        generation, _, _, revision = self.moment
        self.moment = Moment(generation, header.cluster_id, header.raft_term, revision or header.revision)
        self.more = answer.more
        if kvs:
            self._next = kvs[-1].key + b"\0"
            if self.more:  # weighing takes as long as reading
                self._weight += answer.ByteSize()
        return items(kvs)
