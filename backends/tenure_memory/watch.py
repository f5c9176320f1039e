"""Watches: each commit is handed to the sinks by the thread that commits, inside the server's lock.

That makes order and completeness evident, and costs nothing because sinks never block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from tenure.errors import TenureError
from tenure.spi import Bookmark, Changes, Feed, Sink
from tenure_memory.history import Change


class MemoryFeed(Feed):
    """One watcher's subscription. Everything but ``close`` is called with the server's lock held."""

    def __init__(self, feeds: Feeds, owner: object, prefix: str, sink: Sink, number: int) -> None:
        self._feeds = feeds
        self._prefix = prefix
        self._sink = sink
        self._told = 0
        self.owner = owner
        self.number = number

    def offer(self, change: Change) -> None:
        """Deliver what the change means to this prefix; now and then a bookmark if it means nothing."""
        entries = tuple(entry for entry in change.entries if entry.key.startswith(self._prefix))
        if entries:
            self._told = change.revision
            self._sink.deliver(Changes(entries, change.revision))
        elif change.revision - self._told >= self._feeds.bookmark_every:
            self.bookmark(change.revision)

    def bookmark(self, revision: int) -> None:
        self._told = revision
        self._sink.deliver(Bookmark(revision))

    def fail(self, error: TenureError) -> None:
        self._sink.fail(error)

    def close(self) -> None:
        # Without the lock: the owner of the sink may hold a lock of its own here that delivering waits for.
        self._feeds.discard(self)


class Feeds:
    """The running feeds. Adding and delivering happen under the server's lock; leaving is one dictionary
    operation, which needs none."""

    def __init__(self, bookmark_every: int) -> None:
        self.bookmark_every = bookmark_every
        self._numbers = itertools.count()
        self._feeds: dict[int, MemoryFeed] = {}

    def new(self, owner: object, prefix: str, sink: Sink) -> MemoryFeed:
        """A feed that gets nothing before it is added."""
        return MemoryFeed(self, owner, prefix, sink, next(self._numbers))

    def add(self, feed: MemoryFeed) -> None:
        self._feeds[feed.number] = feed

    def discard(self, feed: MemoryFeed) -> None:
        self._feeds.pop(feed.number, None)

    def offer(self, change: Change) -> None:
        for feed in self._present():
            feed.offer(change)

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
