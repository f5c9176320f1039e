"""All watches of one server: the thread that commits hands each commit to the sinks, inside the server's lock.

That makes order and completeness evident, and costs nothing because sinks never block.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tenure.errors import TenureError
from tenure.plugin_kit import FeedHub, HubFeed
from tenure.spi import Sink, WatchRequest
from tenure_memory.history import Change


class Watches:
    """The running feeds, a hub for each opener. All methods are called under the server's lock."""

    def __init__(self, bookmark_every: int) -> None:
        self.bookmark_every = bookmark_every
        self._hubs: dict[object, FeedHub] = {}

    def new(self, owner: object, request: WatchRequest, sink: Sink, *, position: int) -> HubFeed:
        """A feed that gets nothing before it is added."""
        hub = self._hubs.setdefault(owner, FeedHub(bookmark_every=self.bookmark_every))
        return HubFeed(request, sink, position=position, on_close=hub.remove)

    def add(self, owner: object, feed: HubFeed, revision: int) -> None:
        """Serve ``feed``, which has had everything up to the present ``revision``."""
        hub = self._hubs[owner]
        hub.add(feed)
        hub.admit()
        hub.reached(revision)

    def offer(self, change: Change) -> None:
        for hub in self._hubs.values():
            hub.admit()
            hub.offer(change.revision, change.entries)

    def fail(self, error: TenureError) -> None:
        """End all feeds."""
        for hub in self._hubs.values():
            hub.fail(error)

    def close(self, owner: object) -> None:
        """End one opener's feeds without a word."""
        self._hubs.pop(owner, FeedHub()).clear()

    def __len__(self) -> int:
        return sum(map(len, self._hubs.values()))

    def __iter__(self) -> Iterator[HubFeed]:
        return chain.from_iterable(tuple(self._hubs.values()))
