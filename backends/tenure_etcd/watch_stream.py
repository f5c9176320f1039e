"""One Watch stream that carries many feeds.

etcd answers many watches on a single stream, so that feeds cost neither threads nor connections. Rules:

* A watch is named by an id of our choice, unique on its stream. Only a refused create comes back without it
  (id -1); creates are answered in the order they were sent, so the oldest unanswered one is meant.
* Large answers come in fragments. They are put together before anything is delivered, so that a transaction
  stays whole.
* An answer says ``canceled`` when a watch has ended by itself: mostly since its revision was compacted.
* A progress answer (id -1, no events) tells for all watches of the stream that everything up to its revision
  was sent. Asking for it keeps quiet watches from falling behind compaction. Servers before 3.4.25 and 3.5.8
  may answer too early, so they aren't asked.
* When the stream breaks every feed on it fails, once; nothing here reconnects. A stream ends when its last
  feed has left. One that is ``retired`` takes no new feeds.

Threads: one of ours reads, one of gRPC's takes requests from the queue; both end with the stream.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from tenure.errors import Compacted, PluginError, TenureError, Unavailable
from tenure.plugin_kit import Monitor, monotonic
from tenure.spi.feed import Bookmark, Changes, Deleted
from tenure.spi.types import KeyValue
from tenure_etcd.connection import Connection, grpc
from tenure_etcd.encoding import item
from tenure_etcd.errors import is_stale_token, refusal
from tenure_etcd.feed import EtcdFeed
from tenure_etcd.keys import key_of
from tenure_etcd.messages import MESSAGES

_WatchRequest = MESSAGES["WatchRequest"]
_PROGRESS = _WatchRequest(progress_request=MESSAGES["WatchProgressRequest"]())
_DELETE = MESSAGES["Event"].DELETE

_PROGRESS_SECONDS = 60.0
_JOIN_SECONDS = 5.0
_FRESH_TOKEN_SECONDS = 30.0
"""So soon after a login missing rights are believed."""


class WatchStream:
    """One Watch call and the feeds on it, from its first feed to its last."""

    def __init__(self, connection: Connection, *, progress: bool, name: str) -> None:
        self._connection = connection
        self._progress = progress
        self._lock = Monitor()
        self._feeds: dict[int, EtcdFeed] = {}
        self._pending: deque[EtcdFeed] = deque()
        self._next_id = 1
        self._ended = self._retired = self._closing = False
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call, self._metadata = connection.open_stream("Watch", self._outgoing())
        self._opened = monotonic()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    # -- called by users of feeds ---------------------------------------------------------------------

    def add(self, feed: EtcdFeed) -> bool:
        """Start ``feed`` here. Answers ``False`` where this stream takes no more: open another one."""
        with self._lock:
            if self._ended or self._retired or self._metadata is not self._connection.metadata:
                return False
            feed.on_close, feed.watch_id = self.remove, self._next_id
            self._next_id += 1
            self._feeds[feed.watch_id] = feed
            self._pending.append(feed)
            create = MESSAGES["WatchCreateRequest"](
                key=feed.start,
                range_end=feed.end,
                start_revision=feed.after + 1,
                watch_id=feed.watch_id,
                fragment=True,
            )
            self._requests.put(_WatchRequest(create_request=create))
            return True

    def remove(self, feed: EtcdFeed) -> None:
        """End ``feed``; the last one ends the stream."""
        with self._lock:
            if self._feeds.pop(feed.watch_id, None) is None or self._ended:
                return
            if self._feeds:
                cancel = MESSAGES["WatchCancelRequest"](watch_id=feed.watch_id)
                self._requests.put(_WatchRequest(cancel_request=cancel))
                return
            self._ended = self._closing = True
        self._stop()

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and its thread with it."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the stream and its feeds, without telling them, and wait for its thread."""
        with self._lock:
            self._closing = self._ended = True
            self._feeds.clear()
        self._stop()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _stop(self) -> None:
        self._requests.put(None)
        self._call.cancel()

    # -- gRPC's thread --------------------------------------------------------------------------------

    def _outgoing(self) -> Iterator[Any]:
        while True:
            try:
                request = self._requests.get(timeout=_PROGRESS_SECONDS if self._progress else None)
            except queue.Empty:
                yield _PROGRESS
                continue
            if request is None:
                return
            yield request

    # -- the reader thread ----------------------------------------------------------------------------

    def _read(self) -> None:
        error: TenureError
        try:
            for response in self._call:
                self._handle(response)
            error = Unavailable(f"watching: etcd at {self._connection.endpoints} ended the stream")
        except grpc.RpcError as exc:
            error = self._connection.translate_stream(exc, "watching")
            error.__cause__ = exc
        except Exception as exc:  # noqa: BLE001 - a bug here must end the feeds loudly, or they would wait for ever
            error = PluginError(f"watching: the plugin failed with {type(exc).__name__}: {exc}")
            error.__cause__ = exc
        with self._lock:
            self._ended = True
            feeds, self._feeds = list(self._feeds.values()), {}
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
            self._fail(feed, self._why_canceled(feed, response))
        elif response.events:
            feed.parts.extend(response.events)
            if not response.fragment:
                parts, feed.parts = feed.parts, []
                self._deliver(feed, parts)

    def _on_created(self, response: Any) -> None:
        with self._lock:
            feed = self._pending.popleft()
        if response.watch_id == -1 or response.canceled:
            self._fail(feed, self._why_refused(response.cancel_reason))
            return
        feed.created = True
        if response.header.revision < feed.after:
            # The revision was confirmed by a read just before: this member is behind, or its data was replaced
            # in this moment. Either way the next attempt will know.
            behind = f"is at revision {response.header.revision}, before {feed.after}"
            self._fail(feed, Unavailable(f"watching: the etcd member that answered {behind}; it may be catching up"))

    def _deliver(self, feed: EtcdFeed, events: list[Any]) -> None:
        revision = events[-1].kv.mod_revision
        if revision <= feed.after:
            return
        try:
            entries = tuple(_entry(event) for event in events)
        except UnicodeDecodeError:
            entries = tuple(_entry(event) for event in events if key_of(event.kv.key) is not None)
        feed.after = revision
        feed.sink.deliver(Changes(entries, revision) if entries else Bookmark(revision))

    def _on_progress(self, revision: int) -> None:
        if not self._progress:
            return
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            if feed.created and not feed.parts and revision > feed.after:
                feed.after = revision
                feed.sink.deliver(Bookmark(revision))

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
            connection.distrust_token(self._metadata)
            return Unavailable(f"watching: etcd refused the login's token ({reason}); the next attempt logs in again")
        known = refusal(reason, action="watching")
        return known or Unavailable(f"watching: etcd ended the watch: {reason or 'it gave no reason'}")


def _entry(event: Any) -> KeyValue | Deleted:
    kv = event.kv
    return Deleted(kv.key.decode(), kv.mod_revision) if event.type == _DELETE else item(kv)
