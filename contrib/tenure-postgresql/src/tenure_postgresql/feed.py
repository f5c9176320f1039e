"""One watch of one prefix: what it wants, and how far its sink has been served."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Deleted, Feed, KeyValue, Sink, Snapshot
from tenure_postgresql.history_position import HistoryPosition, HistoryPositions


class PostgresqlFeed(Feed):
    """Only the reader's thread delivers. ``first``: the state it begins with, where it doesn't resume."""

    def __init__(
        self,
        prefix: str,
        position: HistoryPosition,
        sink: Sink,
        *,
        first: Snapshot | None,
        positions: HistoryPositions,
        on_close: Callable[[PostgresqlFeed], None],
    ) -> None:
        self._prefix = prefix
        self._sink = sink
        self._first = first
        self._positions = positions
        self._on_close = on_close
        self._delivered = -1
        self.position = position

    def begin(self) -> None:
        """Deliver the state it begins with, if that is still to be done."""
        first, self._first = self._first, None
        if first is not None:
            self._delivered = first.revision
            self._sink.deliver(first)

    def offer(self, op: bytes, revision: int, entries: list[KeyValue | Deleted]) -> None:
        """Deliver what is new of the next transaction."""
        self.position = HistoryPosition(self.position.history, revision, op)
        mine = tuple(entry for entry in entries if entry.key.startswith(self._prefix))
        if mine:
            self._delivered = revision
            self._sink.deliver(Changes(mine, revision))

    def bookmark(self, *, apart: int = 1) -> None:
        """Say how far the feed is, if it is at least ``apart`` revisions further than it said."""
        if self._delivered < 0 or self.position.revision - self._delivered >= apart:
            self._delivered = self.position.revision
            self._sink.deliver(Bookmark(self._delivered))

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._positions.remember(self.position)
        self._sink.fail(error)

    def close(self) -> None:
        self._on_close(self)
