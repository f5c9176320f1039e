"""One watch of one prefix: what it wants, and how far its sink has been served."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi.feed import Bookmark, Changes, Feed, Sink, Snapshot
from tenure_redis.encoding import Entry
from tenure_redis.history_position import HistoryPosition, HistoryPositions


class RedisFeed(Feed):
    """``position`` moves under the reader's lock."""

    def __init__(
        self,
        prefix: str,
        position: HistoryPosition,
        sink: Sink,
        *,
        positions: HistoryPositions,
        on_close: Callable[[RedisFeed], None],
    ) -> None:
        self._prefix = prefix
        self._sink = sink
        self._positions = positions
        self._on_close = on_close
        self.position = position
        self._delivered = position.revision

    def offer(self, entry: Entry) -> None:
        """Deliver what is new of the next transaction."""
        if entry.revision <= self.position.revision:
            return
        changes = entry.under(self._prefix)
        self.position = HistoryPosition(self.position.identity, entry.revision, entry.op)
        if changes is not None:
            self._deliver(changes)

    def bookmark(self, *, apart: int = 1) -> None:
        """Say how far the feed is, if it is at least ``apart`` revisions further than it said."""
        if self.position.revision - self._delivered >= apart:
            self._deliver(Bookmark(self.position.revision))

    def start(self, item: Snapshot) -> None:
        """Deliver the state the feed begins with."""
        self._deliver(item)

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._positions.remember(self.position)
        self._sink.fail(error)

    def _deliver(self, item: Changes | Snapshot | Bookmark) -> None:
        self._delivered = item.revision
        self._sink.deliver(item)

    def close(self) -> None:
        self._on_close(self)
