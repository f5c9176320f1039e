"""Opens feeds: those on one prefix share a follower, which is one thread and one long poll."""

from __future__ import annotations

import threading

from tenure.errors import StoreClosed
from tenure.spi.feed import Feed, Sink
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.prefix_poller import ConsulFeed, Follower
from tenure_consul.revisions import Revisions


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, pool: Pool, layout: Layout, revisions: Revisions, *, wait: float) -> None:
        self._pool = pool
        self._layout = layout
        self._revisions = revisions
        self._wait = wait
        self._lock = threading.Lock()
        self._followers: dict[str, Follower] = {}
        self._closed = False

    def open(self, prefix: str, sink: Sink) -> Feed:
        """``Backend.watch``. Connecting and reading are left to the follower's thread."""
        feed = ConsulFeed(self, sink)
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            follower = self._followers.get(prefix)
            if follower is None or not follower.join(feed):
                follower = self._followers[prefix] = Follower(
                    self._pool, self._layout, self._revisions, prefix, wait=self._wait
                )
                follower.join(feed)
        return feed

    def leave(self, feed: ConsulFeed) -> None:
        """Take a feed away, and end its follower if it was the last one."""
        follower = feed.follower
        if follower is None:
            return
        with self._lock:
            last = follower.leave(feed)
            if last and self._followers.get(follower.prefix) is follower:
                del self._followers[follower.prefix]
        if last:
            follower.wait_ended()

    def close(self) -> None:
        """End all followers; feeds aren't told."""
        with self._lock:
            self._closed = True
            followers, self._followers = list(self._followers.values()), {}
        for follower in followers:
            follower.stop()
        for follower in followers:
            follower.wait_ended()
