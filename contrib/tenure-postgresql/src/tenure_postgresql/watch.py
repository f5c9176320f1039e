"""Opens feeds. All feeds of a backend share one reader of the change log."""

from __future__ import annotations

import threading
import time

from tenure.errors import DeadlineExceeded, StoreClosed, TenureError
from tenure.spi import Bookmark, Changes, Deleted, Feed, KeyValue, Sink, Snapshot
from tenure_postgresql import encoding
from tenure_postgresql.context import Store
from tenure_postgresql.history_position import Origins, Position
from tenure_postgresql.log_reader import Reader, connect
from tenure_postgresql.reads import ask, end_of, items


class PostgresqlFeed(Feed):
    """One watch: what it wants, and how far it has been told. Told by the reader's thread only."""

    def __init__(
        self, watches: Watches, prefix: str, position: Position, sink: Sink, *, first: Snapshot | None = None
    ) -> None:
        self._watches = watches
        self._prefix = prefix
        self._sink = sink
        self._first = first
        self._told = -1
        self.position = position

    def begin(self) -> None:
        """Deliver the state it begins with, if that is still to be done."""
        first, self._first = self._first, None
        if first is not None:
            self._told = first.revision
            self._sink.deliver(first)

    def offer(self, op: bytes, revision: int, entries: list[KeyValue | Deleted]) -> None:
        """Deliver what is new of the next transaction."""
        self.position = Position(self.position.history, revision, op)
        mine = tuple(entry for entry in entries if entry.key.startswith(self._prefix))
        if mine:
            self._told = revision
            self._sink.deliver(Changes(mine, revision))

    def bookmark(self, *, apart: int = 1) -> None:
        """Say how far the feed is, if it is at least ``apart`` revisions further than it said."""
        if self._told < 0 or self.position.revision - self._told >= apart:
            self._told = self.position.revision
            self._sink.deliver(Bookmark(self._told))

    def fail(self, error: TenureError) -> None:
        """End the feed with what went wrong."""
        self._watches.origins.remember(self.position)
        self._sink.fail(error)

    def close(self) -> None:
        self._watches.discard(self)


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, store: Store, *, poll: float, silence: float) -> None:
        self._store = store
        self._poll = poll
        self._silence = silence
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._closed = False
        self.origins = Origins(store)

    def open(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        """``Backend.watch``."""
        until = time.monotonic() + timeout
        if after is not None:
            position = self.origins.verify(after, timeout=timeout)
            feed = PostgresqlFeed(self, prefix, position, sink)
        else:
            args = [encoding.text(prefix), encoding.text(end_of(prefix))]
            rows = ask(self._store, self._store.statements.begin, args, timeout=timeout, action="watching")
            position = Position(rows[0][7] or b"", encoding.number(rows[0][0]), rows[0][8] or b"")
            feed = PostgresqlFeed(self, prefix, position, sink, first=Snapshot(items(rows), position.revision))
        while not self._running(until).add(feed):
            pass  # it has retired meanwhile: the next one is another
        return feed

    def _running(self, until: float) -> Reader:
        """A reader that hasn't retired, with its connection."""
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise DeadlineExceeded("watching: another watch was connecting for the whole time")
        try:
            if self._closed:
                raise StoreClosed("this store was closed")
            if self._reader is None or self._reader.retired:
                link = connect(self._store, until, patience=self._silence, given_up=lambda: self._closed)
                self._reader = Reader(self._store, self.origins, link, poll=self._poll, silence=self._silence)
            return self._reader
        finally:
            self._lock.release()

    def discard(self, feed: PostgresqlFeed) -> None:
        """A feed was closed."""
        self.origins.remember(feed.position)
        reader = self._reader
        if reader is not None:
            reader.remove(feed)  # one that it doesn't serve is none of its business

    def close(self) -> None:
        """End all feeds without a word, and the reader."""
        self._closed = True  # ends connecting, so the lock is free soon
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
