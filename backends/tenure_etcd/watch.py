"""Opens feeds: where they start, on which stream, and whether the store's history is still the same.

A server whose data directory was wiped starts again at revision 1 under the same cluster id, and would let a
watch from an old revision wait in silence for years. So resuming begins with a linearizable read, which must
show the same cluster, no smaller term and no smaller revision. (Undetectable: a wiped store that has
overtaken the old revision and the old term before anyone looked.)
"""

from __future__ import annotations

from tenure.errors import Compacted, StoreClosed
from tenure.plugin_kit import Monitor, monotonic
from tenure.spi.feed import Feed, Sink, Snapshot
from tenure_etcd.connection import Connection
from tenure_etcd.feed import EtcdFeed
from tenure_etcd.keys import prefix_range
from tenure_etcd.reads import History, read_all, read_history
from tenure_etcd.watch_stream import WatchStream


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, connection: Connection, *, progress: bool) -> None:
        self._connection = connection
        self._progress = progress
        self._lock = Monitor()
        self._streams: list[WatchStream] = []
        self._closed = False
        self._history: History | None = None
        self._count = 0

    def open(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        """``Backend.watch``."""
        until = monotonic() + timeout
        if after is None:
            found, history = read_all(self._connection, prefix, timeout=timeout)
            self._history = history
            sink.deliver(Snapshot(tuple(found), history.revision))
            after = history.revision
        else:
            self._check_history(prefix, after, timeout=timeout)
        start, end = prefix_range(prefix)
        feed = EtcdFeed(start, end, after, sink)
        self._connection.ensure_token(timeout=max(until - monotonic(), 0.001))
        self._place(feed)
        return feed

    def close(self) -> None:
        """End all streams and their threads; feeds aren't told."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()

    def _place(self, feed: EtcdFeed) -> None:
        """Put ``feed`` on the newest stream, or on a new one if that takes no more."""
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            self._streams = [stream for stream in self._streams if not stream.finished]
            if self._streams and self._streams[-1].add(feed):
                return
            while True:
                self._count += 1
                stream = WatchStream(self._connection, progress=self._progress, name=f"etcd-watch-{self._count}")
                self._streams.append(stream)
                if stream.add(feed):
                    return

    def _check_history(self, prefix: str, after: int, *, timeout: float) -> None:
        now = read_history(self._connection, prefix, timeout=timeout)
        earlier = self._history or now
        if now.revision < after or now.cluster != earlier.cluster or now.term < earlier.term:
            raise Compacted(
                f"watching: revision {after} isn't in the history of etcd at {self._connection.endpoints}, "
                f"which is at revision {now.revision}: its data was replaced"
            )
        self._history = now
