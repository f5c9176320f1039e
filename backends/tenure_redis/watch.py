"""Opens feeds, and knows whether a revision still belongs to the history it came from.

A restart without persistence, a restored dump or a replica that took over with less than the old primary had all
leave a store that looks in order and isn't the one that was watched: XREAD would wait for a revision long past, or
skip what the other history has under the same numbers. So where the plugin knows which transaction made a revision, it
makes sure that the log still has that one before it goes on from there. It knows it of every revision at which a feed
of this backend ended. Any other revision is checked by being in the log at all, and refused if it is not beyond
what was seen before history was found to have been replaced.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from tenure.errors import Compacted, DeadlineExceeded, StoreClosed, TenureError
from tenure.spi.feed import Bookmark, Changes, Feed, Sink, Snapshot
from tenure_redis import scripts
from tenure_redis.connection import Link
from tenure_redis.encoding import Entry
from tenure_redis.log_reader import Position, Reader
from tenure_redis.pool import Pool
from tenure_redis.reads import entries, read_all

_REMEMBERED = 10_000
_CATCH_UP = 200
_PAUSE = 0.02


class RedisFeed(Feed):
    """One watch: what it wants, and how far it has been told. ``position`` moves under the reader's lock."""

    def __init__(self, watches: Watches, prefix: str, position: Position, sink: Sink) -> None:
        self._watches = watches
        self._prefix = prefix
        self._sink = sink
        self.position = position
        self._told = position.revision

    def offer(self, one: Entry) -> None:
        """Deliver what is new of the next transaction."""
        if one.revision <= self.position.revision:
            return
        changes = one.under(self._prefix)
        self.position = Position(self.position.identity, one.revision, one.op)
        if changes is not None:
            self._deliver(changes)

    def bookmark(self, *, apart: int = 1) -> None:
        """Say how far the feed is, if it is at least ``apart`` revisions further than it said."""
        if self.position.revision - self._told >= apart:
            self._deliver(Bookmark(self.position.revision))

    def start(self, item: Snapshot) -> None:
        """Deliver the state the feed begins with."""
        self._deliver(item)

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._watches.remember(self.position)
        self._sink.fail(error)

    def _deliver(self, item: Changes | Snapshot | Bookmark) -> None:
        self._told = item.revision
        self._sink.deliver(item)

    def close(self) -> None:
        self._watches.close_feed(self)


class Watches:
    """All feeds of one backend, and the reader they share. Thread-safe."""

    def __init__(self, pool: Pool, *, silence: float) -> None:
        self._pool = pool
        self._silence = silence
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._closed = False
        self._ends: OrderedDict[int, Position] = OrderedDict()
        self._doubtful = 0

    def open(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        """``Backend.watch``."""
        until = time.monotonic() + timeout
        if after is None:
            state = read_all(self._pool, prefix, after=None, timeout=timeout)
            feed = RedisFeed(self, prefix, Position(state.identity, state.revision, state.op), sink)
            feed.start(Snapshot(state.items, state.revision))
        else:
            position = self._verify(after, _left(until))
            feed = RedisFeed(self, prefix, position, sink)
        self._join(feed, until)
        return feed

    def remember(self, position: Position) -> None:
        """Keep which transaction made a revision at which a feed ended."""
        if position.op:
            with self._lock:
                self._ends[position.revision] = position
                self._ends.move_to_end(position.revision)
                while len(self._ends) > _REMEMBERED:
                    self._ends.popitem(last=False)

    def replaced(self, seen: int) -> None:
        """The history was found to be another one: revisions up to ``seen`` may be of either."""
        with self._lock:
            self._doubtful = max(self._doubtful, seen)

    def close_feed(self, feed: RedisFeed) -> None:
        """Take a feed off the reader, and end the reader with its last feed."""
        self.remember(feed.position)
        with self._lock:
            reader = self._reader
            idle = reader is not None and reader.remove(feed)
            if idle:
                self._reader = None
        if reader is not None and idle:
            reader.close()

    def close(self) -> None:
        """End the reader; feeds aren't told."""
        with self._lock:
            self._closed = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    # -- inside --

    def _verify(self, after: int, timeout: float) -> Position:
        """Where to go on from ``after``. Raises ``Compacted`` unless the log has it, and it is the same."""
        with self._lock:
            known = self._ends.get(after)
            doubtful = known is None and after <= self._doubtful
        identity, op = (known.identity, known.op) if known is not None else (b"", b"")
        verdict, now_identity, revision, oldest = self._pool.run(
            scripts.HISTORY, identity, after, op, timeout=timeout, action="watching"
        )
        if verdict == b"same" and not doubtful:
            return Position(now_identity, after, op)
        where = self._pool.locator.where
        if verdict == b"trimmed":
            raise Compacted(
                f"watching: revision {after} is no longer in the log of Redis at {where}, which begins at "
                f"{int(oldest)} (the option history says how many are kept)",
                oldest_revision=int(oldest),
            )
        if known is not None:
            self.replaced(after)
        raise Compacted(
            f"watching: revision {after} isn't in the history of Redis at {where}, now at {int(revision)}: its "
            "data was lost or replaced, by a restart without persistence or a replica that lagged behind",
            oldest_revision=int(oldest),
        )

    def _join(self, feed: RedisFeed, until: float) -> None:
        """Put the feed on the reader, after telling it what the reader has already seen."""
        while True:
            with self._lock:
                if self._closed:
                    raise StoreClosed("this store was closed")
                reader = self._reader
                if reader is None or reader.finished:
                    reader = self._reader = Reader(self._pool, self, feed, silence=self._silence)
                    reader.start()
                    return
                if reader.add(feed):
                    return
            before = feed.position.revision
            self._catch_up(feed, until)
            if feed.position.revision == before:
                # The reader is ahead of the log: of another history, as it will find out at its next tick.
                time.sleep(min(_PAUSE, _left(until)))

    def _catch_up(self, feed: RedisFeed, until: float) -> None:
        link, _ = self._pool.take(_left(until))
        with self._pool.using(link, "watching"):
            self._read_on(link, feed, until)

    def _read_on(self, link: Link, feed: RedisFeed, until: float) -> None:
        after = feed.position.revision
        for one in entries(self._pool, link, after, most=_CATCH_UP, timeout=_left(until)):
            if one.revision != feed.position.revision + 1:
                raise Compacted(
                    f"watching: the log of Redis at {self._pool.locator.where} no longer has revision "
                    f"{feed.position.revision + 1}",
                    oldest_revision=one.revision,
                )
            feed.offer(one)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("watching: catching up with the log took longer than the time allowed")
    return left
