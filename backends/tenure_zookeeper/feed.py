"""One watch of one prefix: over a persistent watch of ZooKeeper's, or on old servers over a list twice a second."""

from __future__ import annotations

from collections.abc import Callable

from tenure.spi.feed import Feed, PollingFeed, Sink, Snapshot
from tenure_zookeeper import keys

POLL_INTERVAL = 0.5
"""Seconds between two lists of a feed on a server without persistent watches."""


class ZooKeeperFeed(Feed):
    """Guarded by the lock of the backend's ``Watches``; ``delivered`` belongs to the thread that reads stale keys."""

    def __init__(self, prefix: str, sink: Sink, *, on_close: Callable[[ZooKeeperFeed], object]) -> None:
        self.prefix = prefix
        above, slash, _ = prefix.rpartition("/")
        self.root = keys.folder_path(above) if slash else "/"
        self.sink = sink
        self.stale: dict[str, None] = {}
        """Keys that changed and are to be read."""
        self.delivered: dict[str, int] = {}
        """The revision of each key that the sink knows."""
        self.live = False
        self._on_close = on_close

    def close(self) -> None:
        self._on_close(self)


class ZooKeeperPollingFeed(PollingFeed):
    """A feed of an old server; leaves the set of those to be closed with the store when it is closed itself."""

    def __init__(self, read: Callable[[], Snapshot], sink: Sink, siblings: set[ZooKeeperPollingFeed]) -> None:
        self._siblings = siblings
        super().__init__(read, sink, interval=POLL_INTERVAL, name="zookeeper")

    def close(self) -> None:
        super().close()
        self._siblings.discard(self)
