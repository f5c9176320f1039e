"""Opens feeds: each begins with a snapshot or where its caller left off, and then shares one reader of the log."""

from __future__ import annotations

import time

from tenure.errors import StoreClosed
from tenure.plugin_kit import Deadline, HubFeed, Monitor
from tenure.spi.feed import Feed, Sink, Snapshot
from tenure.spi.types import WatchRequest
from tenure_redis import history_position
from tenure_redis.log_reader import LogReader
from tenure_redis.pool import Pool
from tenure_redis.reads import entries, get, read_all

_ACTION = "watching"
_CATCH_UP = 200
_PAUSE = 0.02


class Watches:
    """All feeds of one backend, and the reader they share. Thread-safe."""

    def __init__(self, pool: Pool, *, silence: float) -> None:
        self._pool = pool
        self._silence = silence
        self._lock = Monitor()
        self._reader: LogReader | None = None

    def open(self, request: WatchRequest, *, sink: Sink, deadline: Deadline) -> Feed:
        """``Backend.watch``."""
        if request.after is None:
            snapshot = self._snapshot(request, deadline)
            feed = HubFeed(request, sink, position=snapshot.revision, on_close=self._close_feed)
            feed.deliver(snapshot)
        else:
            history_position.require(self._pool, request.after, deadline)
            feed = HubFeed(request, sink, position=request.after, on_close=self._close_feed)
        self._join(feed, deadline)
        return feed

    def _snapshot(self, request: WatchRequest, deadline: Deadline) -> Snapshot:
        if request.exact:
            item, revision = get(self._pool, request.prefix, deadline)
            return Snapshot(() if item is None else (item,), revision)
        state = read_all(self._pool, request.prefix, after=None, deadline=deadline)
        return Snapshot(state.items, state.revision)

    def _close_feed(self, feed: HubFeed) -> None:
        """Take a feed off the reader, and end the reader with its last feed."""
        with self._lock:
            reader = self._reader
            idle = reader is not None and reader.leave(feed)
        if reader is not None and idle:
            reader.close()

    def close(self) -> None:
        """End the reader, after the pool was closed; feeds aren't told."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _join(self, feed: HubFeed, deadline: Deadline) -> None:
        """Put the feed on the reader, after telling it what the reader has already seen."""
        while True:
            with self._lock:
                if self._pool.closed:
                    raise StoreClosed("watching: this store was closed")
                reader = self._reader
                if reader is None or reader.finished:
                    reader = self._reader = LogReader(self._pool, feed.position, silence=self._silence)
                if reader.add(feed):
                    return
            before = feed.position
            self._catch_up(feed, deadline)
            if feed.position == before:
                # The reader is ahead of the log: of another history, as it will find out at its next tick.
                time.sleep(deadline.within(_PAUSE))

    def _catch_up(self, feed: HubFeed, deadline: Deadline) -> None:
        """Deliver some of what follows the feed's position."""
        deadline.check(_ACTION)
        with self._pool.session(deadline, _ACTION) as connection:
            for entry in entries(self._pool, connection, feed.position, most=_CATCH_UP, deadline=deadline):
                if entry.follows != feed.position:
                    raise history_position.cut_off(self._pool, connection, feed.position, deadline)
                feed.offer(entry.revision, entry.changes)
