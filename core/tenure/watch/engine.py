"""A watch for applications that use threads: it drives :mod:`tenure.watch.machine`, which decides everything.

The engine has no thread: the consumer's thread does the work inside :meth:`Watch.next`; callbacks get a thread in
``tenure.watch.callbacks``. Progress is recorded when an item is taken from the buffer, not when it is buffered, so a
change counts as delivered only once its batch is ready for the consumer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from tenure._runtime.clock import Clock, TimeLimit
from tenure._runtime.deadline import monotonic
from tenure._runtime.exits import no_threads
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.interruption import interruption
from tenure._runtime.makings import Makings
from tenure._runtime.monitor import Monitor
from tenure._runtime.retry import longer_attempt
from tenure._runtime.spread import Spread
from tenure.errors import InvalidArgument, PluginError, StoreClosed, TenureError
from tenure.spi.backend import Backend
from tenure.spi.feed import Feed
from tenure.spi.types import WatchRequest
from tenure.watch.buffer import Failed, FeedBuffer, Overflowed
from tenure.watch.consumer import SingleConsumer
from tenure.watch.events import Batch, BatchType
from tenure.watch.machine import WatchMachine, WatchSettings

_log = logging.getLogger("tenure.watch")
_HALF_MADE = logging.DEBUG
"""How loud it is that closing a feed failed whose making was interrupted: it may lack what closing needs."""


class Taken(Protocol):
    """Hears that the consumer takes changes which have waited for ``lag`` seconds, with ``pending`` behind them."""

    def __call__(self, *, changes: int, lag: float, pending: int) -> object: ...


class Watch:
    """An open watch, made by ``store.watch(prefix)``. Iterate over it, or call :meth:`next`.

    The first batches are the present state (SNAPSHOT) and SYNCED, then changes follow in the order of their revisions.
    No change is lost silently: after a gap a RESYNC batch delivers the difference, deletes included. One consumer at a
    time; ``close`` and the properties may be used from any thread. Close the watch when done, or use it in ``with``.

    >>> import tenure
    >>> with tenure.connect("memory://") as store, store.watch("jobs/") as watch:
    ...     written = store.put("jobs/1", b"new")
    ...     for batch in watch:
    ...         print(batch.type.value, [(event.type.value, event.key) for event in batch.events])
    ...         if batch.type is tenure.BatchType.CHANGES:
    ...             break
    snapshot []
    synced []
    changes [('create', 'jobs/1')]

    A watch without a callback ends when the application drops it; one with a callback ends when it or its store is
    closed.
    """

    def __init__(
        self,
        backend: Backend,
        settings: WatchSettings,
        *,
        clock: Clock,
        timeout: float,
        check_process: Callable[[], None],
        on_resync: Callable[[str, str], None],
        on_outage: Callable[[TenureError | None], None],
        on_close: Callable[[Watch], None],
        on_abandon: Callable[[Sequence[Callable[[], None]]], None],
        on_ready: Callable[[], None] | None = None,
        on_taken: Taken | None = None,
        spread: Spread | None = None,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._prefix = settings.prefix[settings.strip :]
        self._clock = clock
        self._check_process = check_process
        self._on_resync = on_resync
        self._on_outage = on_outage
        self._on_close = on_close
        self._on_abandon = on_abandon
        self._on_ready = on_ready
        self._on_taken = on_taken
        self._machine = WatchMachine(settings, backend.capabilities, spread)
        self._consumer = SingleConsumer()
        self._state = Monitor()
        self._fork_generation = fork_generation.value
        self._feed: Feed | None = None
        self._attempt = Makings()
        """The last call of the plugin's watch; what it has made is closed here, unless it is ``_feed``."""
        self._buffer = self._new_buffer()
        self._closed = False
        self._told: type[TenureError] | None = None
        self._not_before = 0.0
        self._open_first(timeout)

    # -- for the application --

    def next(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch, in order, each exactly once. Waits until there is one.

        While the watch reconnects, a call may take up to one attempt (2 s, later up to 30 s) longer than ``timeout``.

        Args:
            timeout: seconds to wait, on the store's clock or in real time, whichever ends first; ``None`` to wait
                indefinitely.

        Returns:
            The next batch, or ``None`` if the time is up.

        Raises:
            StoreClosed: the watch or the store was closed.
            UsedAfterFork: the watch belongs to the parent of this process.
            InvalidArgument: another thread is in this method; a watch has one consumer at a time.
            AuthenticationFailed: the store refused the credentials before the first batch; the watch has ended.
            PermissionDenied: the store forbade the watch before the first batch; the watch has ended.
            Compacted: the watch was opened with ``after``, and the store's history no longer reaches back; the watch
                has ended.
            PluginError: the plugin is broken; the watch has ended.
        """
        self._check_process()  # before the locks: in a forked child another thread's lock is never released
        if not self._wait(timeout):
            return None
        return self._machine.deliver()

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over batches until the watch is closed. Raises like :meth:`next` if an error ends the watch."""
        while True:
            try:
                self._check_process()
                self._wait(None)
            except StoreClosed:
                if self._closed and self.error is None:
                    return
                raise
            yield self._machine.deliver()

    @property
    def revision(self) -> int:
        """The store's revision up to which all changes are delivered, or ready for the next calls of :meth:`next`."""
        return self._machine.revision

    @property
    def closed(self) -> bool:
        """Whether the watch has ended, by ``close`` or by an error."""
        return self._closed or self._machine.error is not None

    @property
    def error(self) -> TenureError | None:
        """The error that ended the watch; ``None`` while the watch is open, and after ``close``."""
        return self._machine.error

    @property
    def outage(self) -> TenureError | None:
        """Why the watch has no connection at present; ``None`` while it is connected.

        A refusal by the store is here at once, such as ``PermissionDenied`` for a right that was taken away. Another
        break is here once an attempt to connect again has failed. The watch keeps trying.
        """
        return self._machine.outage

    @property
    def staleness(self) -> float:
        """Seconds since the connection's last sign of life, once a break is noticed; 0.0 while it is connected.

        In a forked child the inherited watch counts from the fork.

        A silent break is noticed within ``capabilities.max_watch_failure_detection`` seconds. If the store can't resume
        changes, the watch counts as connected once the new state has arrived.
        """
        since = self._machine.disconnected_at
        if since is None and (failure := self._buffer.failure) is not None:
            since = self._machine.broken_since(*failure)
        if since is None:  # in a forked child nothing arrives any more
            return fork_generation.seconds_since(self._fork_generation)
        return max(0.0, self._clock.now() - since)

    def close(self) -> None:
        """End the watch and wake its consumer. Idempotent, callable from any thread and from callbacks; never raises.

        Does nothing in a forked child: the watch belongs to the parent.
        """
        if left_behind(self._fork_generation):
            return
        with self._state:
            self._closed = True
            buffer = self._buffer
        # Doing all this twice does no harm: an interrupt may have kept an earlier call from its end.
        self._machine.ended()
        buffer.wake()
        self._close_feeds()
        self._on_close(self)

    def __del__(self) -> None:
        # A watch that nobody holds delivers to nobody. Its feed is closed elsewhere: the garbage collector may run this
        # in the middle of any call, also one that holds the locks that closing needs.
        attempt = getattr(self, "_attempt", None)
        if attempt is None or not (attempt.made or self._feed) or left_behind(self._fork_generation):
            return
        closers = [partial(close_quietly, made, level=_HALF_MADE) for made in attempt.made if isinstance(made, Feed)]
        if self._feed is not None:
            closers.append(partial(close_quietly, self._feed))
        self._on_abandon(closers)
        attempt.made.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- for callbacks and event loops (see tenure.watch.callbacks): these wait for nothing but the store --

    def poll(self, *, breaks: bool = True) -> Batch | None:
        """Return the next batch if it has arrived already.

        Args:
            breaks: whether to close a feed that has failed, too, which may wait for the store.

        Returns:
            The next batch, ``None`` if none has arrived, or if the watch has no feed.

        Raises:
            StoreClosed: the watch or the store was closed.
            InvalidArgument: another thread reads the watch.
            TenureError: what ended the watch, as for :meth:`next`.
        """
        self._enter()
        try:
            while not self._has_batch():
                if self._feed is None or (not breaks and self.broken) or not self._step(0.0):
                    return None
        finally:
            self._consumer.leave()
        return self._machine.deliver()

    @property
    def broken(self) -> bool:
        """Whether nothing arrives until :meth:`mend` was called: all is taken, and the feed has failed or is gone."""
        return self._feed is None or isinstance(self._buffer.first(0.0), Failed | Overflowed)

    def mend(self) -> float | None:
        """Close a feed that has failed, and try once to open another, if its time has come. Takes no batch.

        Returns:
            As for :meth:`reconnect`.

        Raises:
            InvalidArgument: another thread reads the watch.
        """
        self._enter()
        try:
            if self._feed is not None and self.broken and not self.closed:
                self._step(0.0)
        finally:
            self._consumer.leave()
        return self.reconnect()

    @property
    def connected(self) -> bool:
        """Whether there is a feed: without one nothing arrives until :meth:`reconnect` has opened another."""
        return self._feed is not None

    def reconnect(self) -> float | None:
        """Try once to open the feed, if its time has come.

        Returns:
            The moment, of the monotonic clock, before which it is no use to try again; ``None`` once there is a feed.

        Raises:
            InvalidArgument: another thread reads the watch.
        """
        self._enter()
        try:
            if self.closed or self._feed is not None:
                return None
            if self._not_before <= monotonic():
                self._reopen(0.0)
            return None if self._feed is not None or self.closed else self._not_before
        finally:
            self._consumer.leave()

    def _enter(self) -> None:
        # An interrupt between this and the ``try`` that leaves again does no harm: the thread is let in again.
        if not self._consumer.enter():
            raise InvalidArgument(
                f"reading the watch of {self._prefix!r}: another thread is reading "
                "it, and a watch has one consumer at a time; open one watch per thread"
            )

    def _has_batch(self) -> bool:
        """Whether a batch is ready. Raises what ended the watch, after the last one."""
        error = self._machine.error
        if self._closed and error is None:
            raise StoreClosed(f"reading the watch of {self._prefix!r}: the watch is closed; open another one")
        batch = self._machine.first_batch()
        if batch is not None:
            if batch.type is BatchType.RESYNC:
                self._on_resync(batch.reason, self._machine.resync_cause)
            return True
        if error is not None:
            raise error
        return False

    def _wait(self, timeout: float | None) -> bool:
        """Wait for a batch. The caller takes it out and returns it in one line: an interrupt before loses nothing."""
        limit = TimeLimit(self._clock, timeout)
        self._enter()
        try:
            while not self._has_batch():
                left = limit.left()
                if not self._step(left) and left is not None and left <= 0:
                    return False
        finally:
            self._consumer.leave()
        return True

    # -- taking one step: the consumer's thread, under self._consumer --

    def _step(self, left: float | None) -> bool:
        """Open the feed or take one item from it. Returns whether anything happened."""
        if self._feed is None:
            return self._reopen(left)
        buffer = self._buffer
        item = buffer.first(left)
        if item is None:
            return False
        if isinstance(item, Failed):
            self._disconnect(item.error)
        elif isinstance(item, Overflowed):
            self._drop_feed()
            reason = self._machine.overflowed(item.entries, self._clock.now())
            _log.info("watch of %r: %s", self._settings.prefix, reason)
        else:
            self._machine.take(item, self._clock.now())
            if self._on_taken is not None and (backlog := buffer.backlog(item)) is not None:
                self._on_taken(
                    changes=backlog.changes, lag=self._clock.now() - backlog.arrived, pending=backlog.pending
                )
            buffer.remove(item)
            self._tell()
        return True

    def _disconnect(self, error: TenureError) -> None:
        buffer = self._buffer
        failed_at = self._clock.now() if buffer.failed_at is None else buffer.failed_at
        self._drop_feed()
        self._machine.failed(error, failed_at, buffer.alive_at)
        self._delay_reopen()
        self._after_error(error)

    def _after_error(self, error: TenureError) -> None:
        if self._machine.error is None:
            _log.info("watch of %r lost its connection at revision %s: %s", self._settings.prefix, self.revision, error)
            self._tell()
            return
        with self._state:
            if self._closed:
                self._machine.error = None  # an error of a store that is being closed is no error of the watch
                return
        self._machine.ended()
        self._on_close(self)

    def _tell(self) -> None:
        """Report an outage that has begun, has got another cause, or is over."""
        outage = self._machine.outage
        kind = None if outage is None else type(outage)
        if kind is not self._told and not self._closed:
            self._told = kind
            self._on_outage(outage)

    # -- opening the feed --

    def _open_first(self, timeout: float) -> None:
        deadline = monotonic() + timeout
        attempt = self._machine.attempt
        while True:
            left = max(0.001, deadline - monotonic())
            error = self._try_open(min(attempt, left), self._machine.request(left))
            if error is None:
                return
            self._machine.not_opened(error)
            self._after_error(error)
            delay = self._machine.backoff.delay()
            if self._machine.error is not None or monotonic() + delay >= deadline:
                self._closed = True
                raise error
            pause = self._clock.pause(delay)
            time.sleep(pause)
            deadline -= delay - pause
            attempt = longer_attempt(attempt, deadline - monotonic(), timeout)

    def _delay_reopen(self) -> None:
        self._not_before = monotonic() + self._clock.pause(self._machine.pause(self._clock.now()))

    def _reopen(self, left: float | None) -> bool:
        pause = self._not_before - monotonic()
        if pause > 0:
            self._buffer.pause(pause if left is None else max(0.0, min(pause, left)))
            return False
        error = self._try_open(self._machine.attempt, self._machine.request())
        if error is not None:
            self._machine.not_opened(error)
            self._after_error(error)
            self._delay_reopen()
        else:
            self._tell()
        return error is None

    def _try_open(self, timeout: float, request: WatchRequest) -> TenureError | None:
        with self._state:
            if self._closed:
                return None
            buffer = self._buffer = self._new_buffer()
        if self._attempt.made or self._feed is not None:
            self._close_feeds()  # of an attempt that an interrupt ended
        attempt = self._attempt = Makings()
        try:
            feed = attempt.of(partial(self._backend.watch, request, sink=buffer, timeout=timeout))
        except TenureError as exc:
            if (raised := interruption(exc)) is not None:
                raise raised  # noqa: B904 - what a signal handler raised is no failure of the watch
            self._close_feeds()
            return exc
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            at_the_end = no_threads("opening a watch", exc)
            error = at_the_end or PluginError(
                f"opening a watch: the plugin failed with an untranslated {type(exc).__name__}: {exc}; report the "
                "traceback to its author"
            )
            error.__cause__ = exc
            self._close_feeds()
            return error
        if not isinstance(feed, Feed):  # without one, the watch would open again and again
            return PluginError(
                f"opening a watch: the plugin's watch returned {type(feed).__name__}, not a Feed; report it to "
                "its author"
            )
        with self._state:
            closed = self._closed
            if not closed:
                self._feed = feed
                self._machine.opened(request, self._clock.now())
        if closed:
            close_quietly(feed)
        attempt.made.clear()
        return None

    def _drop_feed(self) -> None:
        self._close_feeds()
        with self._state:
            if not self._closed:
                self._buffer = self._new_buffer()

    def _close_feeds(self) -> None:
        """Close the feed, and those of an attempt that was interrupted. Forgotten after that, never before."""
        attempt = self._attempt
        if not attempt.running:
            for made in tuple(attempt.made):
                if isinstance(made, Feed) and made is not self._feed:
                    close_quietly(made, level=_HALF_MADE)
            attempt.made.clear()
        feed = self._feed
        if feed is not None:
            close_quietly(feed)
            self._feed = None

    def _new_buffer(self) -> FeedBuffer:
        return FeedBuffer(
            self._clock,
            max_entries=self._settings.max_pending,
            keep=self._settings.after is not None,
            on_ready=self._on_ready,
        )


def close_quietly(feed: Feed, *, level: int = logging.ERROR) -> None:
    """Close a feed that is no longer needed. A failure is logged and has no other effect."""
    try:
        feed.close()
    except Exception as exc:
        if interruption(exc) is not None:
            raise
        _log.log(level, "the plugin failed to close a feed", exc_info=exc)
