"""Opens feeds. All feeds of a backend share one reader of the change log."""

from __future__ import annotations

from tenure.errors import DeadlineExceeded, StoreClosed
from tenure.plugin_kit import Deadline, HubFeed, Monitor
from tenure.spi import Feed, Sink, WatchRequest
from tenure_postgresql import log_position, reads
from tenure_postgresql.context import BackendContext
from tenure_postgresql.log_reader import LogReader, connect


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, context: BackendContext, *, poll: float, silence: float) -> None:
        self._context = context
        self._poll = poll
        self._silence = silence
        self._lock = Monitor()
        self._reader: LogReader | None = None
        self._closed = False

    def open(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        """``Backend.watch``."""
        deadline = Deadline(timeout)
        if request.after is not None:
            log_position.verify(self._context, request.after, timeout=timeout)
            feed = HubFeed(request, sink, position=request.after, on_close=self._discard)
        else:
            first = reads.snapshot(self._context, request, timeout=timeout)
            feed = HubFeed(request, sink, position=first.revision, on_close=self._discard)
            feed.deliver(first)
        while not self._running(deadline).add(feed):
            pass  # it has retired meanwhile: the next one is another
        return feed

    def _running(self, deadline: Deadline) -> LogReader:
        """A reader that hasn't retired, with its connection."""
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise DeadlineExceeded("watching: another watch was connecting for the whole time")
        try:
            if self._closed:
                raise StoreClosed("this store was closed")
            if self._reader is None or self._reader.retired:
                connection = connect(self._context, deadline, patience=self._silence, given_up=lambda: self._closed)
                self._reader = LogReader(self._context, connection, poll=self._poll, silence=self._silence)
            return self._reader
        finally:
            self._lock.release()

    def _discard(self, feed: HubFeed) -> None:
        """A feed was closed."""
        reader = self._reader
        if reader is not None:
            reader.remove(feed)  # without a feed it retires, also where opening one was interrupted before it joined

    def close(self) -> None:
        """End all feeds without a word, and the reader."""
        self._closed = True  # ends connecting, so the lock is free soon
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
