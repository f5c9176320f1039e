"""All watches of one server: the thread that commits hands each commit to the sinks, inside the server's lock.

That makes order and completeness evident, and costs nothing because sinks never block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from tenure.errors import TenureError
from tenure.spi import Sink, WatchRequest
from tenure_memory.feed import MemoryFeed
from tenure_memory.history import Change


class Watches:
    """The running feeds. Adding and delivering happen under the server's lock; leaving is one dictionary
    operation, which needs none."""

    def __init__(self, bookmark_every: int) -> None:
        self.bookmark_every = bookmark_every
        self._numbers = itertools.count()
        self._feeds: dict[int, MemoryFeed] = {}

    def new(self, owner: object, request: WatchRequest, sink: Sink) -> MemoryFeed:
        """A feed that gets nothing before it is added."""
        return MemoryFeed(owner, request, sink, number=next(self._numbers), on_close=self.discard)

    def add(self, feed: MemoryFeed) -> None:
        self._feeds[feed.number] = feed

    def discard(self, feed: MemoryFeed) -> None:
        self._feeds.pop(feed.number, None)

    def offer(self, change: Change) -> None:
        for feed in self._present():
            feed.offer(change, bookmark_every=self.bookmark_every)

    def fail(self, error: TenureError) -> None:
        """End all feeds."""
        for feed in self._present():
            self.discard(feed)
            feed.fail(error)

    def close(self, owner: object) -> None:
        """End one opener's feeds without a word."""
        for feed in self._present():
            if feed.owner is owner:
                self.discard(feed)

    def _present(self) -> Iterable[MemoryFeed]:
        return list(self._feeds.values())
