"""Opens feeds: where they start, on which stream, and the proof that the store's history is still theirs.

A server whose data were lost or replaced by a backup starts again at a lower revision under the same cluster id, and
would let a watch from an old revision wait in silence for years. So resuming begins with a proof, see ``proof``; what
is left to one member's being replaced in that very moment is noticed when the stream says that it was created.
"""

from __future__ import annotations

from tenure.errors import StoreClosed, Unavailable
from tenure.plugin_kit import Deadline, Monitor, ProgressDeadline
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import WatchRequest
from tenure_etcd.connection import Connection
from tenure_etcd.feed import EtcdFeed
from tenure_etcd.keys import watched_range
from tenure_etcd.members import Member
from tenure_etcd.proof import prove_feed
from tenure_etcd.reads import read_all
from tenure_etcd.server_info import introduce
from tenure_etcd.watch_stream import WatchStream


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Monitor()
        self._streams: list[WatchStream] = []
        self._closed = False
        self._count = 0

    def open(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        """``Backend.watch``."""
        deadline = ProgressDeadline.of_request(timeout, request.patience)
        start, end = watched_range(request)
        connection = self._connection
        member = connection.connected(timeout, "watching")
        breaks = member.breaks
        index = introduce(connection, member, timeout=deadline.remaining())
        if request.after is None:
            found, moment = read_all(connection, start, end, deadline=deadline)
            if index is not None:
                connection.history.learn_surplus(index - moment.revision, moment.generation)
            feed = EtcdFeed(start, end, moment.revision, sink, moment, connection.history.surplus)
            sink.deliver(feed.snapshot(found))
        else:
            moment, mark = prove_feed(connection, member, request, timeout=deadline.remaining())
            feed = EtcdFeed(start, end, request.after, sink, moment, connection.history.surplus)
            feed.resume(mark)
        connection.ensure_token(timeout=deadline.remaining())
        self._place(feed, member, breaks, deadline)
        return feed

    def close(self) -> None:
        """End all streams and their threads; feeds aren't told."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()

    def _place(self, feed: EtcdFeed, member: Member, breaks: int, deadline: Deadline) -> None:
        """Put ``feed`` on the newest stream, or on a new one if that takes no more.

        A new one has to be on the connection that showed where the feed begins: on another one the server may be
        another one, too.
        """
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            self._streams = [stream for stream in self._streams if not stream.finished]
            if self._streams and self._streams[-1].add(feed):
                return
            while True:
                self._count += 1
                name = f"etcd-watch-{self._count}"
                stream = WatchStream(self._connection, name=name)
                feed.on_close = stream.remove  # an interrupt may come at any moment from here on
                self._streams.append(stream)
                if stream.start(deadline.remaining()) is not member or member.breaks != breaks:
                    stream.close()
                    raise Unavailable("watching: the connection to etcd was just being replaced; try again")
                if stream.add(feed):
                    return
                stream.close()
