"""Opens feeds: those on one prefix, or on one key, share a poller, which is one thread and one long poll."""

from __future__ import annotations

from functools import partial

from tenure.errors import LimitExceeded, StoreClosed
from tenure.plugin_kit import HubFeed, Monitor
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import WatchRequest
from tenure_consul.access import Access
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.prefix_poller import PrefixPoller, Watched
from tenure_consul.revisions import Revisions


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(
        self, pool: Pool, layout: Layout, revisions: Revisions, access: Access, *, wait: float, most: int
    ) -> None:
        self._pool = pool
        self._layout = layout
        self._revisions = revisions
        self._access = access
        self._wait = wait
        self._most = most
        self._lock = Monitor()
        self._pollers: dict[Watched, PrefixPoller] = {}
        self._closed = False

    def open(self, request: WatchRequest, sink: Sink) -> Feed:
        """``Backend.watch``. Connecting and reading are left to the poller's thread."""
        watched = Watched(request.prefix, request.exact)
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            poller = self._pollers.get(watched)
            alive = sum(not other.ended for other in self._pollers.values())
            if (poller is None or poller.ended) and alive >= self._most:
                raise LimitExceeded(
                    f"watching {watched.prefix!r}: this store watches {self._most} prefixes already, each over a "
                    "connection of its own, and a Consul agent limits those from one address "
                    "(http_max_conns_per_client, by default 200): watch a prefix that they share, or raise that limit "
                    "and the option watches"
                )
            while True:
                if poller is None or poller.ended:
                    poller = PrefixPoller(
                        self._pool, self._layout, self._revisions, self._access, watched, wait=self._wait
                    )
                feed = HubFeed(request, sink, position=-1, on_close=partial(self._leave, poller))
                self._pollers[watched] = poller
                if poller.join(feed):
                    return feed

    def _leave(self, poller: PrefixPoller, feed: HubFeed) -> None:
        """Take a feed away, and end its poller without the last one."""
        with self._lock:
            last = poller.leave(feed)
            if last and self._pollers.get(poller.watched) is poller:
                del self._pollers[poller.watched]
        if last:
            poller.wait_ended()

    def close(self) -> None:
        """End all pollers; sinks get nothing more."""
        with self._lock:
            self._closed = True
            pollers, self._pollers = list(self._pollers.values()), {}
        for poller in pollers:
            poller.stop()
        for poller in pollers:
            poller.wait_ended()
