"""One watch of one prefix or one key: what it wants, and how far its sink has been served."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi.feed import Bookmark, Changes, Feed, Sink, Snapshot
from tenure.spi.types import WatchRequest


class RedisFeed(Feed):
    """A sink with the revision that it has been told of. Delivers under the reader's lock, once it is on one."""

    def __init__(self, request: WatchRequest, sink: Sink, *, told: int, on_close: Callable[[RedisFeed], None]) -> None:
        self.request = request
        self._sink = sink
        self._told = told
        self._on_close = on_close

    def deliver(self, item: Changes | Snapshot) -> None:
        """Deliver the state that the feed begins with, or what it watches of the next transaction."""
        self._told = item.revision
        self._sink.deliver(item)

    def bookmark(self, revision: int) -> None:
        """Say that all up to ``revision`` was delivered, if the sink doesn't know."""
        if revision > self._told:
            self._told = revision
            self._sink.deliver(Bookmark(revision))

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._sink.fail(error)

    def close(self) -> None:
        self._on_close(self)
