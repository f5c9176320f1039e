"""One watch of a prefix or of one key: what its sink has had, and what it still gets."""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Feed, Sink, WatchRequest
from tenure_memory.history import Change


class MemoryFeed(Feed):
    """Everything but ``close`` is called with the server's lock held."""

    def __init__(
        self, owner: object, request: WatchRequest, sink: Sink, *, number: int, on_close: Callable[[MemoryFeed], None]
    ) -> None:
        self._prefix = request.prefix
        self._exact = request.exact
        self._sink = sink
        self._on_close = on_close
        self._delivered = 0
        self.owner = owner
        self.number = number

    def offer(self, change: Change, *, bookmark_every: int) -> None:
        """Deliver what the change means to this prefix; now and then a bookmark if it means nothing."""
        entries = tuple(entry for entry in change.entries if self._watches(entry.key))
        if entries:
            self._delivered = change.revision
            self._sink.deliver(Changes(entries, change.revision))
        elif change.revision - self._delivered >= bookmark_every:
            self.bookmark(change.revision)

    def _watches(self, key: str) -> bool:
        return key == self._prefix if self._exact else key.startswith(self._prefix)

    def bookmark(self, revision: int) -> None:
        self._delivered = revision
        self._sink.deliver(Bookmark(revision))

    def fail(self, error: TenureError) -> None:
        self._sink.fail(error)

    def close(self) -> None:
        # Without the lock: the owner of the sink may hold a lock of its own here that delivering waits for.
        self._on_close(self)
