"""One watch of one prefix or key: over persistent watches of ZooKeeper's, on old servers over a list twice a second."""

from __future__ import annotations

from collections.abc import Callable

from tenure.plugin_kit import HubFeed
from tenure.spi.feed import PollingFeed, Sink, Snapshot
from tenure.spi.types import WatchRequest
from tenure_zookeeper import keys

POLL_INTERVAL = 0.5
"""Seconds between two lists of a feed on a server without persistent watches."""


class ZooKeeperFeed(HubFeed):
    """Guarded by the lock of the backend's ``Watches``; ``delivered`` belongs to the thread that reads stale keys."""

    def __init__(self, request: WatchRequest, sink: Sink, *, on_close: Callable[[HubFeed], object]) -> None:
        super().__init__(request, sink, position=-1, on_close=on_close)
        self.watched = keys.leaves(request.prefix) if request.exact else (_folder_of(request.prefix),)
        """Paths of the watches: the two leaves of the only key, or the folder with all that is in it."""
        self.stale: dict[str, None] = {}
        """Keys that changed and are to be read."""
        self.delivered: dict[str, int] = {}
        """The revision of each key that the sink knows."""
        self.live = False
        self.rules: dict[str, int | None] = {}
        """The counts of ``access_rules`` for each watched path."""


def _folder_of(prefix: str) -> str:
    above, slash, _ = prefix.rpartition("/")
    return keys.folder_path(above) if slash else "/"


class ZooKeeperPollingFeed(PollingFeed):
    """A feed of an old server; leaves the set of those to be closed with the store when it is closed itself."""

    def __init__(self, read: Callable[[], Snapshot], sink: Sink, siblings: set[ZooKeeperPollingFeed]) -> None:
        self._siblings = siblings
        super().__init__(read, sink, interval=POLL_INTERVAL, name="zookeeper")

    def close(self) -> None:
        super().close()
        self._siblings.discard(self)
