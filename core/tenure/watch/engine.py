"""A watch that doesn't die: the state, then changes, over reconnects, restarts and compactions.

States of the connection to the store::

    CONNECTED --feed fails / consumer too slow--> DISCONNECTED --reopened--> CONNECTED
         \\--------------close() or an error that can't pass-------> CLOSED

How the feed is opened again decides what the application is told:

* after the last revision it was told, on a store that shows every revision: nothing was missed, the next
  batch is CHANGES as if there had been no break;
* otherwise, or when that revision is gone from the store's history, or when the consumer was too slow: from a
  fresh snapshot; the difference to what was told before is one RESYNC batch that says why.

There is no thread of its own in here: the consumer's thread does the work inside :meth:`Watch.next`; callbacks
get a thread in ``tenure.watch.callbacks``. What a watch has told is recorded when it hands out a batch,
so nothing counts as told that was only buffered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tenure._runtime import fork
from tenure._runtime.clock import Clock, TimeLimit
from tenure._runtime.retry import FIRST_ATTEMPT, Backoff
from tenure.errors import (
    Compacted,
    InvalidArgument,
    OutcomeUnknown,
    PluginError,
    StoreClosed,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.spi.backend import Backend
from tenure.spi.feed import Bookmark, Changes, Feed, Snapshot
from tenure.watch.buffer import Failed, FeedBuffer, Overflowed
from tenure.watch.diff import Relay, View
from tenure.watch.events import Batch, BatchType

_log = logging.getLogger("tenure.watch")
_PASSING = (Unavailable, OutcomeUnknown, StoreFull)
_LONGEST_ATTEMPT = 30.0


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What a watch was asked for. ``prefix`` is complete: the namespace is in front."""

    prefix: str
    strip: int
    previous: bool
    after: int | None
    max_pending: int


class Watch:
    """An open watch: iterate over it, or call :meth:`next`. Close it when done, or use it in ``with``.

    One consumer at a time; ``close`` and the properties may be used from any thread.
    """

    def __init__(
        self,
        backend: Backend,
        settings: WatchSettings,
        *,
        clock: Clock,
        timeout: float,
        check_process: Callable[[], None],
        on_resync: Callable[[str], None],
        on_close: Callable[[Watch], None],
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._clock = clock
        self._check_process = check_process
        self._on_resync = on_resync
        self._on_close = on_close
        self._exact = backend.capabilities.lossless_watch
        self._view = View(strip=settings.strip, previous=settings.previous, exact=self._exact)
        self._relay = None
        if settings.after is not None:
            self._relay = Relay(strip=settings.strip, after=settings.after)
        self._revision = settings.after or 0
        self._told_snapshot = False
        self._gap = ""
        self._ready: deque[Batch] = deque()
        self._consumer = threading.Lock()
        self._state = threading.Lock()
        self._feed: Feed | None = None
        self._buffer = self._new_buffer()
        self._closed = False
        self._error: TenureError | None = None
        self._disconnected_at: float | None = None
        self._outage_since: float | None = None
        self._opened_at = 0.0
        self._backoff = Backoff()
        self._not_before = 0.0
        self._attempt = FIRST_ATTEMPT
        self._epoch = fork.epoch.value
        self._open_first(timeout)

    # -- for the application --

    def next(self, timeout: float | None = None) -> Batch | None:
        """The next batch, or ``None`` when ``timeout`` seconds have passed (``None``: wait for ever), on the store's
        clock or for real.

        While the connection is being made again a call may take up to one attempt (2 s, later more) longer.
        Raises ``StoreClosed`` once the watch is closed, and the error that ended it if it can't go on:
        ``AuthenticationFailed``, ``PermissionDenied``, or ``Compacted`` for a watch opened with ``after``.
        Raises ``InvalidArgument`` while another thread is in this method: a watch has one consumer at a time.
        """
        self._check_process()  # before the locks: in a forked child they may be held for ever
        limit = TimeLimit(self._clock, timeout)
        if not self._consumer.acquire(blocking=False):
            raise InvalidArgument(
                "this watch is being read by another thread: a watch has one consumer at a time; open one for each"
            )
        try:
            while True:
                if self._closed and self._error is None:
                    raise StoreClosed("the watch is closed")
                if self._ready:
                    break
                if self._error is not None:
                    raise self._error
                left = limit.left()
                if not self._step(left) and left is not None and left <= 0:
                    return None
            batch = self._ready.popleft()
        finally:
            self._consumer.release()
        if batch.type is BatchType.RESYNC:
            self._on_resync(batch.reason)
        return batch

    def __iter__(self) -> Iterator[Batch]:
        """Batches until the watch is closed; raises like :meth:`next` when it can't go on."""
        while True:
            try:
                batch = self.next()
            except StoreClosed:
                if self._closed and self._error is None:
                    return
                raise
            if batch is not None:
                yield batch

    @property
    def revision(self) -> int:
        """The store's revision up to which everything has been told."""
        return self._revision

    @property
    def closed(self) -> bool:
        """Whether the watch has ended, by ``close`` or by an error."""
        return self._closed or self._error is not None

    @property
    def error(self) -> TenureError | None:
        """What ended the watch, if it wasn't ``close``."""
        return self._error

    @property
    def staleness(self) -> float:
        """Seconds since the connection was seen to break; 0.0 while it stands.

        A silent break is seen within ``capabilities.max_watch_failure_detection`` seconds. Where changes can't be resumed, it
        stands again when the new state has come.
        """
        since = self._disconnected_at
        if since is None:
            since = self._buffer.failed_at
        return 0.0 if since is None else max(0.0, self._clock.now() - since)

    def close(self) -> None:
        """End the watch and wake its consumer. Idempotent, callable from anywhere, callbacks included.

        Does nothing in a forked child: the watch is the parent's.
        """
        if self._epoch != fork.epoch.value:
            return
        with self._state:
            if self._closed:
                return
            self._closed = True
            feed, self._feed = self._feed, None
            buffer = self._buffer
        buffer.wake()
        if feed is not None:
            _end(feed)
        self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- taking one step: the consumer's thread, under self._consumer --

    def _step(self, left: float | None) -> bool:
        """Open the feed or take one item from it; whether anything happened."""
        if self._feed is None:
            return self._reopen(left)
        item = self._buffer.take(left)
        if item is None:
            return False
        if isinstance(item, Failed):
            self._disconnect(item.error)
            return True
        # Only an item proves the feed good: one that opens and fails at once has to be slowed down.
        self._backoff.reset()
        self._outage_since = self._disconnected_at = None
        if isinstance(item, Overflowed):
            self._overflow(item)
        elif isinstance(item, Bookmark):
            self._revision = max(self._revision, item.revision)
        elif isinstance(item, Snapshot):
            self._take_snapshot(item)
        else:
            self._take_changes(item)
        return True

    def _take_snapshot(self, item: Snapshot) -> None:
        events = self._view.snapshot(item)
        self._revision = item.revision
        if not self._told_snapshot:
            self._told_snapshot = True
            self._gap = ""
            self._ready.append(Batch(BatchType.SNAPSHOT, events, item.revision))
            self._ready.append(Batch(BatchType.SYNCED, (), item.revision))
        elif self._gap:
            self._ready.append(Batch(BatchType.RESYNC, events, item.revision, self._gap))
            self._gap = ""
        elif events:
            self._ready.append(Batch(BatchType.CHANGES, events, item.revision))

    def _take_changes(self, item: Changes) -> None:
        events = (self._relay or self._view).changes(item)
        self._revision = max(self._revision, item.revision)
        if events:
            self._ready.append(Batch(BatchType.CHANGES, events, item.revision))

    def _overflow(self, item: Overflowed) -> None:
        reason = f"the consumer was too slow: {item.entries} changes waited, the bound is {self._settings.max_pending}"
        self._drop_feed()
        self._disconnected_at = self._clock.now()
        if self._relay is None:
            # Resuming in the history would make a slow consumer fall behind for ever; the difference is short.
            self._gap = reason
        _log.info("watch of %r: %s", self._settings.prefix, reason)

    def _disconnect(self, error: TenureError) -> None:
        failed_at = self._clock.now() if self._buffer.failed_at is None else self._buffer.failed_at
        self._drop_feed()
        if (
            self._outage_since is None
            or failed_at - self._opened_at > self._backend.capabilities.max_watch_failure_detection
        ):
            self._outage_since = failed_at
        # A feed that was opened and failed before it delivered anything has not ended the outage.
        self._disconnected_at = self._outage_since
        self._put_off()
        self._judge(error)

    def _judge(self, error: TenureError) -> None:
        """Decide what an error means: try again, start afresh, or end."""
        if isinstance(error, Compacted) and self._relay is None:
            self._gap = f"the store no longer has the changes after revision {self._revision}: {error}"
        elif isinstance(error, _PASSING):
            if not self._exact:
                self._gap = self._gap or f"the connection was lost: {error}"
            _log.info(
                "watch of %r lost its connection at revision %s: %s", self._settings.prefix, self._revision, error
            )
        else:
            with self._state:
                if self._closed:
                    return  # what a closing store answers is no error of the watch
                self._error = error
            self._on_close(self)

    # -- opening the feed --

    def _open_first(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            error = self._try_open(max(0.001, min(self._attempt, deadline - time.monotonic())))
            if error is None:
                return
            self._judge(error)
            delay = self._backoff.delay()
            if self._error is not None or time.monotonic() + delay >= deadline:
                self._closed = True
                raise error
            pause = self._clock.pause(delay)
            time.sleep(pause)
            deadline -= delay - pause

    def _put_off(self) -> None:
        self._not_before = time.monotonic() + self._clock.pause(self._backoff.delay())

    def _reopen(self, left: float | None) -> bool:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            self._buffer.rest(pause if left is None else max(0.0, min(pause, left)))
            return False
        error = self._try_open(self._attempt)
        if error is not None:
            self._judge(error)
            self._put_off()
            self._attempt = min(self._attempt * 2, _LONGEST_ATTEMPT)
        return error is None

    def _try_open(self, timeout: float) -> TenureError | None:
        with self._state:
            if self._closed:
                return None
            buffer = self._buffer = self._new_buffer()
        resume = self._exact and not self._gap and (self._told_snapshot or self._relay is not None)
        try:
            feed = self._backend.watch(
                self._settings.prefix, after=self._revision if resume else None, sink=buffer, timeout=timeout
            )
        except TenureError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - a plugin's bug must end the watch loudly, whatever it raised
            error = PluginError(f"the plugin's watch failed with an untranslated {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            return error
        with self._state:
            closed = self._closed
            if not closed:
                self._feed = feed
                if resume:
                    self._disconnected_at = None  # else only the snapshot shows that the server is really there
                self._opened_at = self._clock.now()
        if closed:
            _end(feed)
        self._attempt = FIRST_ATTEMPT
        return None

    def _drop_feed(self) -> None:
        with self._state:
            feed, self._feed = self._feed, None
            if not self._closed:
                self._buffer = self._new_buffer()
        if feed is not None:
            _end(feed)

    def _new_buffer(self) -> FeedBuffer:
        return FeedBuffer(self._clock, max_entries=self._settings.max_pending, keep=self._relay is not None)


def _end(feed: Feed) -> None:
    """Close a feed that nobody listens to any more; whether that works out matters to nobody but the log."""
    try:
        feed.close()
    except Exception:  # noqa: BLE001 - a plugin's bug must not keep a watch or a store from closing
        _log.exception("the plugin failed to close a feed")
