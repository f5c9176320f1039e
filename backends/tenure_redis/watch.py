"""Opens feeds: each begins with a snapshot or where its caller left off, and then shares one reader of the log."""

from __future__ import annotations

import time

from tenure.errors import Compacted, StoreClosed
from tenure.plugin_kit import Deadline, Monitor
from tenure.spi.feed import Feed, Sink, Snapshot
from tenure_redis.connection import Connection
from tenure_redis.feed import RedisFeed
from tenure_redis.history_position import HistoryPosition, HistoryPositions
from tenure_redis.log_reader import LogReader
from tenure_redis.pool import Pool
from tenure_redis.reads import entries, read_all

_CATCH_UP = 200
_PAUSE = 0.02


class Watches:
    """All feeds of one backend, and the reader they share. Thread-safe."""

    def __init__(self, pool: Pool, *, silence: float) -> None:
        self._pool = pool
        self._silence = silence
        self._lock = Monitor()
        self._reader: LogReader | None = None
        self._positions = HistoryPositions(pool)

    def open(self, prefix: str, *, after: int | None, sink: Sink, deadline: Deadline) -> Feed:
        """``Backend.watch``."""
        if after is None:
            state = read_all(self._pool, prefix, after=None, deadline=deadline)
            feed = self._feed(prefix, HistoryPosition(state.identity, state.revision, state.op), sink)
            feed.start(Snapshot(state.items, state.revision))
        else:
            feed = self._feed(prefix, self._positions.verify(after, deadline), sink)
        self._join(feed, deadline)
        return feed

    def _feed(self, prefix: str, position: HistoryPosition, sink: Sink) -> RedisFeed:
        return RedisFeed(prefix, position, sink, positions=self._positions, on_close=self._close_feed)

    def _close_feed(self, feed: RedisFeed) -> None:
        """Take a feed off the reader, and end the reader with its last feed."""
        self._positions.remember(feed.position)
        with self._lock:
            reader = self._reader
            idle = reader is not None and reader.remove(feed)
            if idle:
                self._reader = None
        if reader is not None and idle:
            reader.close()

    def close(self) -> None:
        """End the reader, after the pool was closed; feeds aren't told."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _join(self, feed: RedisFeed, deadline: Deadline) -> None:
        """Put the feed on the reader, after telling it what the reader has already seen."""
        while True:
            with self._lock:
                if self._pool.closed:
                    raise StoreClosed("watching: this store was closed")
                reader = self._reader
                if reader is None or reader.finished:
                    reader = self._reader = LogReader(self._pool, self._positions, feed, silence=self._silence)
                    reader.start()
                    return
                if reader.add(feed):
                    return
            before = feed.position.revision
            self._catch_up(feed, deadline)
            if feed.position.revision == before:
                # The reader is ahead of the log: of another history, as it will find out at its next tick.
                time.sleep(deadline.within(_PAUSE))

    def _catch_up(self, feed: RedisFeed, deadline: Deadline) -> None:
        deadline.check("watching")
        with self._pool.session(deadline, "watching") as connection:
            self._read_on(connection, feed, deadline)

    def _read_on(self, connection: Connection, feed: RedisFeed, deadline: Deadline) -> None:
        after = feed.position.revision
        for one in entries(self._pool, connection, after, most=_CATCH_UP, deadline=deadline):
            if one.revision != feed.position.revision + 1:
                raise Compacted(
                    f"watching: the log of Redis at {self._pool.locator.where} no longer has revision "
                    f"{feed.position.revision + 1}",
                    oldest_revision=one.revision,
                )
            feed.offer(one)
