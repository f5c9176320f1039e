"""One Watch stream that carries many feeds.

etcd answers many watches on a single stream, so that feeds cost neither threads nor connections. Rules:

* A watch is named by the id in the answer to its create. One create is under way at a time, so the answer is its
  own: etcd's grpc-proxy chooses ids itself and doesn't answer in the order of the requests.
* Large answers come in fragments. They are put together before anything is delivered, so that a transaction
  stays whole.
* An answer says ``canceled`` when a watch has ended by itself: mostly since its revision was compacted. One that only
  wanted to see more than it has to is begun again, later.
* An event from before what was delivered already can't be: the history was replaced.
* A progress answer (id -1, no events) tells for all watches of the stream that everything up to its revision
  was sent. Asking for it keeps quiet watches from falling behind compaction. Servers before 3.4.25 and 3.5.8
  may answer too early, so they aren't asked.
* When the stream breaks every feed on it fails, once; nothing here reconnects. A stream ends when its last
  feed has left. One that is ``retired`` takes no new feeds.

Threads: one of ours reads, one of gRPC's takes requests from the queue; both end with the stream.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterator
from typing import Any

from tenure.errors import Compacted, HistoryReplaced, TenureError, Unavailable
from tenure.plugin_kit import Monitor, Worker
from tenure_etcd.connection import Connection, Metadata, grpc
from tenure_etcd.errors import is_stale_token, refusal
from tenure_etcd.feed import EtcdFeed
from tenure_etcd.members import Member
from tenure_etcd.messages import MESSAGES
from tenure_etcd.server_info import progress_is_safe

_WatchRequest = MESSAGES["WatchRequest"]
_PROGRESS = _WatchRequest(progress_request=MESSAGES["WatchProgressRequest"]())

_NEXT = object()
"""In place of a request: look whether another watch can be created."""

_PROGRESS_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_FRESH_TOKEN_SECONDS = 30.0
"""So soon after a login missing rights are believed."""


class WatchStream:
    """One Watch call and the feeds on it, from its first feed to its last."""

    def __init__(self, connection: Connection, *, name: str) -> None:
        self._connection = connection
        self._lock = Monitor()
        self._members: set[EtcdFeed] = set()
        self._pending: deque[EtcdFeed] = deque()
        self._creating: EtcdFeed | None = None
        self._feeds: dict[int, EtcdFeed] = {}
        """Those that were created, by the id that the server gave."""
        self._ended = self._retired = self._closing = False
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._progress = False
        self._call: Any = None
        self._metadata: Metadata | None = None
        self._worker = Worker(self._read, name=name, on_error=self._end)

    # -- called by users of feeds ---------------------------------------------------------------------

    def start(self, timeout: float) -> Member:
        """Open the call, and answer the member that has it. The feed that closes the stream exists by then."""
        self._call, self._metadata, member = self._connection.open_stream("Watch", self._outgoing(), timeout=timeout)
        self._member = member
        self._progress = progress_is_safe(member.version or ())
        self._worker.start("watching")
        return member

    def add(self, feed: EtcdFeed) -> bool:
        """Start ``feed`` here. Answers ``False`` where this stream takes no more: open another one."""
        with self._lock:
            if self._ended or self._retired or self._metadata is not self._connection.metadata:
                return False
            feed.on_close = self.remove
            self._members.add(feed)
            self._begin(feed)
            return True

    def _begin(self, feed: EtcdFeed) -> None:
        self._pending.append(feed)
        if self._creating is None:  # else the answer to that create sees to it
            self._requests.put(_NEXT)

    def remove(self, feed: EtcdFeed) -> None:
        """End ``feed``; the last one ends the stream."""
        with self._lock:
            feed.closed = True
            if not self._ended:
                self._members.discard(feed)
                if self._members:
                    if self._feeds.get(feed.watch_id) is feed:
                        self._forget(feed)
                    return
                self._ended = self._closing = True
                self._feeds.clear()
                self._pending.clear()
                self._creating = None
        if self._closing:
            self._stop()

    def _forget(self, feed: EtcdFeed) -> None:
        """Take a created watch off the stream."""
        del self._feeds[feed.watch_id]
        self._cancel(feed.watch_id)

    def _cancel(self, watch_id: int) -> None:
        self._requests.put(_WatchRequest(cancel_request=MESSAGES["WatchCancelRequest"](watch_id=watch_id)))

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and its thread with it."""
        return not self._worker.running

    def close(self) -> None:
        """End the stream and its feeds, without telling them, and wait for its thread."""
        with self._lock:
            self._closing = self._ended = True
            self._members.clear()
            self._feeds.clear()
        self._stop()
        self._worker.stop()
        self._worker.join(_JOIN_SECONDS)

    def _stop(self) -> None:
        self._requests.put(None)
        if self._call is not None:
            self._call.cancel()

    # -- gRPC's thread --------------------------------------------------------------------------------

    def _outgoing(self) -> Iterator[Any]:
        while True:
            try:
                request = self._requests.get(timeout=_PROGRESS_SECONDS)
            except queue.Empty:
                if self._progress:
                    yield _PROGRESS
                continue
            if request is None:
                return
            if request is not _NEXT:
                yield request
            elif (create := self._next_create()) is not None:
                yield create

    def _next_create(self) -> Any | None:
        """The request for the next watch, if none is under way. No interrupt reaches this thread."""
        with self._lock:
            while self._creating is None and self._pending:
                feed = self._pending.popleft()
                if not feed.closed:
                    self._creating = feed
                    create = MESSAGES["WatchCreateRequest"](
                        key=feed.start,
                        range_end=feed.end,
                        start_revision=feed.begin,
                        fragment=True,
                    )
                    return _WatchRequest(create_request=create)
        return None

    # -- the reader thread ----------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for response in self._call:
                self._handle(response)
        except grpc.RpcError as exc:
            raise self._connection.stream_failed(self._member, exc, "watching") from exc
        raise Unavailable(f"watching: etcd at {self._connection.endpoints} ended the stream")

    def _end(self, error: TenureError) -> None:
        with self._lock:
            self._ended = True
            feeds, self._members, self._feeds = list(self._members), set(), {}
            silent = self._closing
        self._stop()
        if not silent:
            for feed in feeds:
                feed.sink.fail(error)

    def _handle(self, response: Any) -> None:
        if response.created:
            self._on_created(response)
            return
        if response.watch_id == -1:
            self._on_progress(response.header.revision)
            return
        feed = self._feeds.get(response.watch_id)
        if feed is None:  # closed meanwhile
            return
        if response.canceled:
            if not self._begins_later(feed, response.compact_revision):
                self._fail(feed, self._why_canceled(feed, response))
        elif response.events:
            feed.parts.extend(response.events)
            if not response.fragment:
                parts, feed.parts = feed.parts, []
                self._deliver(feed, parts, response.header)

    def _begins_later(self, feed: EtcdFeed, compacted: int) -> bool:
        """Where only the overlap of a resumed feed was compacted, begin again with what is left of it."""
        if not feed.begin < compacted <= feed.after + 1:
            return False
        with self._lock:
            if self._feeds.pop(feed.watch_id, None) is None or self._ended or feed.closed:
                return True
            feed.begin, feed.created = compacted, False
            self._begin(feed)
        return True

    def _on_created(self, response: Any) -> None:
        refused = response.watch_id == -1 or response.canceled
        with self._lock:
            feed, self._creating = self._creating, None
            if feed is not None and not refused:
                feed.watch_id = response.watch_id
                if feed.closed:
                    self._cancel(feed.watch_id)
                else:
                    self._feeds[feed.watch_id] = feed
            if self._pending:  # each request wakes a thread
                self._requests.put(_NEXT)
        if feed is None or feed.closed:
            return
        if refused:
            self._fail(feed, self._why_refused(response.cancel_reason))
            return
        header, known = response.header, feed.moment
        feed.created = True
        if (
            header.revision < feed.after
            or header.cluster_id not in {known.cluster, 0}
            or 0 < header.raft_term < known.term
        ):
            # The history was proven by a read just before: this member is behind, or its data was replaced in this
            # moment. Either way the next attempt will know.
            behind = f"is at revision {header.revision}, and {feed.after} was expected"
            self._fail(feed, Unavailable(f"watching: the etcd member that answered {behind}; it may be catching up"))

    def _deliver(self, feed: EtcdFeed, events: list[Any], header: Any) -> None:
        first = events[0].kv.mod_revision
        if first > feed.after:
            feed.sink.deliver(feed.changes(events, header.raft_term))
            return
        reason = f"revision {first} holds a change that wasn't there"
        known = feed.moment
        self._connection.history.replace(known, known._replace(revision=header.revision), reason)
        message = f"watching: the data of etcd were lost or replaced by a backup ({reason}); read the present state"
        self._fail(feed, HistoryReplaced(message))

    def _on_progress(self, revision: int) -> None:
        if not self._progress:
            return
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            if feed.created and not feed.parts and revision > feed.after:
                feed.sink.deliver(feed.bookmark(revision))

    def _fail(self, feed: EtcdFeed, error: TenureError) -> None:
        """End one feed with ``error``."""
        if not feed.closed:
            self.remove(feed)
            feed.sink.fail(error)

    def _why_canceled(self, feed: EtcdFeed, response: Any) -> TenureError:
        if response.compact_revision:
            oldest = response.compact_revision
            return Compacted(
                f"watching: etcd's history begins at revision {oldest}, after revision {feed.after + 1}",
                oldest_revision=oldest,
            )
        return self._why_refused(response.cancel_reason)

    def _why_refused(self, reason: str) -> TenureError:
        """A watch isn't refused with an error code but with words, and an old token may look like missing rights."""
        connection = self._connection
        doubtful = "permission denied" in reason and connection.token_age > _FRESH_TOKEN_SECONDS
        if connection.user is not None and (doubtful or is_stale_token(reason)):
            with self._lock:
                self._retired = True
            connection.distrust_token(self._metadata or ())
            return Unavailable(f"watching: etcd refused the login's token ({reason}); the next attempt logs in again")
        known = refusal(reason, action="watching")
        return known or Unavailable(f"watching: etcd ended the watch: {reason or 'it gave no reason'}")
