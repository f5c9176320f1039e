"""One watch of one prefix or key: what it wants, and how far its sink has been served."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Deleted, Feed, KeyValue, Sink, Snapshot, WatchRequest

_BOOKMARK_EVERY = 500


class PostgresqlFeed(Feed):
    """Only the reader's thread delivers.

    Attributes:
        position: the last revision that was read for this feed. Everything after it is still to be delivered.
    """

    def __init__(
        self,
        request: WatchRequest,
        position: int,
        sink: Sink,
        *,
        first: Snapshot | None,
        on_close: Callable[[PostgresqlFeed], None],
    ) -> None:
        self._prefix = request.prefix
        self._exact = request.exact
        self._sink = sink
        self._first = first
        self._on_close = on_close
        # Transactions read since the sink last heard of a revision. A feed that resumes says that it has begun.
        self._unsaid = 1 if first is None else 0
        self.position = position

    def begin(self) -> None:
        """Deliver the state that the feed begins with, if that is still to be done."""
        first, self._first = self._first, None
        if first is not None:
            self._sink.deliver(first)

    def offer(self, revision: int, entries: list[KeyValue | Deleted]) -> None:
        """Deliver what belongs to this feed of the next transaction."""
        self.position = revision
        mine = tuple(entry for entry in entries if self._wants(entry.key))
        if mine:
            self._unsaid = 0
            self._sink.deliver(Changes(mine, revision))
            return
        self._unsaid += 1
        if self._unsaid >= _BOOKMARK_EVERY:
            self.bookmark()

    def bookmark(self) -> None:
        """Say how far the feed is, if it is further than it said."""
        if self._unsaid:
            self._unsaid = 0
            self._sink.deliver(Bookmark(self.position))

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._sink.fail(error)

    def close(self) -> None:
        self._on_close(self)

    def _wants(self, key: str) -> bool:
        return key == self._prefix if self._exact else key.startswith(self._prefix)
