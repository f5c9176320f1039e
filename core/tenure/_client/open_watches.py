"""The watches that one store has open: opening one, forgetting one that ended, and closing those that nobody holds."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tenure._client.keys import check_key, check_prefix
from tenure._client.observers import ObservedWatch, Observers
from tenure._runtime.clock import Clock
from tenure._runtime.interruption import interruption
from tenure._runtime.makings import Makings
from tenure._runtime.monitor import Monitor
from tenure._runtime.spread import Spread
from tenure._runtime.worker import untranslated
from tenure._text import shown
from tenure.errors import InvalidArgument, TenureError, Unsupported
from tenure.spi.backend import Backend
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import WatchRequest
from tenure.watch.buffer import MAX_ENTRIES
from tenure.watch.callbacks import CallbackWatch, Driver
from tenure.watch.engine import Watch, close_quietly
from tenure.watch.machine import WatchSettings


@dataclass(frozen=True, slots=True)
class WatchArguments:
    """What the application asked :meth:`tenure.Store.watch` for."""

    prefix: str
    exact: bool
    previous: bool
    after: int | None
    max_pending: int

    def check(self, *, lossless: bool) -> None:
        """Raise ``InvalidKey``, ``InvalidArgument`` or ``Unsupported`` for what no store, or not this one, can do."""
        (check_key if self.exact else check_prefix)(self.prefix)
        if self.after is not None:
            self._check_after(self.after, lossless=lossless)
        if not isinstance(self.max_pending, int) or self.max_pending < 1:
            raise InvalidArgument(
                f"max_pending={shown(self.max_pending)}: max_pending is a number of changes, at least 1; leave it out "
                f"for {MAX_ENTRIES}"
            )

    def _check_after(self, after: int, *, lossless: bool) -> None:
        if not isinstance(after, int) or after < 0:
            raise InvalidArgument(
                f"after={shown(after)}: after is a revision of this store, an integer of at least 0; leave it out to "
                "begin with the present state"
            )
        if self.previous:
            raise InvalidArgument(
                "watching with after and previous: a watch after a revision doesn't know previous values; leave "
                "out one of the two"
            )
        if not lossless:
            raise Unsupported(
                "watching after a revision: this store doesn't keep every revision; watch without 'after'"
            )


class OpenWatches:
    """The watches of one store. Thread-safe.

    An application that drops a watch drops its memory, too: a watch without a callback is held weakly, and its feed is
    closed at a later call of the store. A callback holds its watch until it is closed.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        namespace_prefix: str,
        clock: Clock,
        observers: Observers,
        check_process: Callable[[], None],
        ends: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._prefix = namespace_prefix
        self._clock = clock
        self._observers = observers
        self._check_process = check_process
        self._ends = ends
        """Whether the store closes: a watch that is just being opened closes at once."""
        self._lock = Monitor()
        self._spread = Spread()
        self.live: weakref.WeakSet[Watch] = weakref.WeakSet()
        self.held: set[Watch] = set()
        """Those with a callback."""
        self.abandoned: deque[tuple[Sequence[Callable[[], None]], ObservedWatch]] = deque()
        """What closes the feeds of each watch that the application has dropped, and what tells observers of it."""
        self._closing_abandoned = False

    def open(self, arguments: WatchArguments, driver: Driver | None, *, timeout: float) -> Watch:
        """Open a watch within ``timeout`` seconds. Without a driver the application's thread drives it."""
        self.close_abandoned()
        observers = self._observers
        observed = ObservedWatch(observers, arguments.prefix)

        def outage(error: TenureError | None) -> None:
            observed.outage(error)
            if driver is not None:
                driver.outage(error)

        watch = Watch(
            self._backend,
            WatchSettings(
                self._prefix + arguments.prefix,
                arguments.exact,
                len(self._prefix),
                arguments.previous,
                arguments.after,
                arguments.max_pending,
            ),
            clock=self._clock,
            timeout=timeout,
            check_process=self._check_process,
            on_resync=observed.resynced,
            on_outage=outage,
            on_close=lambda watch: self._forget(watch, observed),
            on_abandon=lambda closers: self.abandoned.append((closers, observed)),
            on_ready=None if driver is None else driver.wake,
            on_taken=observed.delivered if observers.of_deliveries else None,
            spread=self._spread,
        )
        try:
            with self._lock:
                opened = not watch.closed
                if opened:
                    self.live.add(watch)
                    if isinstance(driver, CallbackWatch):
                        self.held.add(watch)
            if opened:
                observed.opened()
            if driver is not None:
                driver.start(watch)
            if self._ends():
                watch.close()
            return watch
        except BaseException:  # an interrupt: the caller doesn't get the watch, so its callback may not be called
            watch.close()
            raise

    def open_feed(self, prefix: str, sink: Sink, *, timeout: float) -> Feed:
        """Open a feed of the keys that start with ``prefix``, for those who bear no gap and open another one then.

        Its keys have the namespace in front. The caller closes it before the store is closed.
        """
        attempt = Makings()
        request = WatchRequest(prefix=self._prefix + prefix)
        try:
            return attempt.of(partial(self._backend.watch, request, sink=sink, timeout=timeout))
        except BaseException as exc:
            for made in attempt.made:
                if isinstance(made, Feed):
                    close_quietly(made)
            if isinstance(exc, TenureError) or not isinstance(exc, Exception) or interruption(exc) is not None:
                raise
            raise untranslated("opening a feed: the plugin's watch", exc) from exc

    def _forget(self, watch: Watch, observed: ObservedWatch) -> None:
        with self._lock:
            known = watch in self.live
            self.live.discard(watch)
            self.held.discard(watch)
        if known:
            observed.closed(watch.error)

    def close_abandoned(self) -> None:
        """Close the feeds of watches that were dropped, unless another thread does. May wait for the server."""
        if self._closing_abandoned:
            return
        self._closing_abandoned = True
        try:
            while self.abandoned:
                # Forgotten after it was closed: an interrupt in between leaves it to the next call.
                entry = self.abandoned[0]
                for close_feed in entry[0]:
                    close_feed()
                entry[1].closed(None)
                with contextlib.suppress(ValueError):
                    self.abandoned.remove(entry)
        finally:
            self._closing_abandoned = False

    def close(self) -> None:
        """Close every watch. May be called again after an interrupt."""
        with self._lock:
            watches = list(self.live)
        for watch in watches:
            watch.close()
        self.close_abandoned()
