"""Watches with a callback, on the store's pools of threads: thousands of watches need no thread of their own.

A strand drives each watch, so that its batches come in order and one at a time::

    the plugin delivers --> strand wakes --> batches that are there --> callback for each
    the feed has failed --> strand wakes, on the pool for connecting --> one attempt --> a timer for the next one

Connecting may take as long as a server hangs, so it has threads of its own: callbacks of other watches, and those of
leases that are lost, never wait for it. A callback may call the store, open and close watches, or close its own watch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from tenure._runtime.callback_pool import CallbackPool, Strand
from tenure._runtime.observed_work import told
from tenure._runtime.timers import Timers
from tenure.errors import StoreClosed, TenureError
from tenure.watch.engine import Watch
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.watch")

T = TypeVar("T")
WatchCallback = Callable[[Batch], object]
ErrorCallback = Callable[[TenureError], object]
OutageCallback = Callable[[TenureError | None], object]


@dataclass(frozen=True, slots=True)
class Threads:
    """Where the watches of one store run."""

    callbacks: CallbackPool
    """Calls the application."""
    connecting: CallbackPool
    """Opens feeds that have failed."""
    timers: Timers
    """Wakes watches whose next attempt to connect is due."""


class Driver(Protocol):
    """What drives a watch in place of a thread in :meth:`Watch.next`. No method may block or raise."""

    def start(self, watch: Watch) -> None:
        """Begin to drive ``watch``, which has just been opened."""

    def wake(self) -> None:
        """Look for batches soon. Called from any thread, also before the start."""

    def outage(self, error: TenureError | None) -> None:
        """Hear what keeps the watch from the store; ``None``: it is connected again."""


class CallbackWatch:
    """Calls ``callback`` with each batch of a watch, in order, until the watch ends; then ``on_error`` with its error.

    What a callback raises is logged, and the watch continues. Without ``on_error`` the watch's error is logged.
    ``on_outage`` has a strand of its own: an outage is reported while a batch's callback still runs, and by a thread
    that connects nothing.
    """

    def __init__(
        self,
        callback: WatchCallback,
        on_error: ErrorCallback | None,
        on_outage: OutageCallback | None,
        threads: Threads,
    ) -> None:
        self._callback = callback
        self._on_error = on_error
        self._on_outage = on_outage
        self._outages: deque[TenureError | None] = deque()
        self._outage_strand = Strand(threads.callbacks.submit, self._report_outages)
        self._threads = threads
        self._watch: Watch | None = None
        self._ended = False
        self._strand = Strand(self._submit, self._run)

    def wake(self) -> None:
        """Look for batches soon. Never blocks; the buffer of the watch calls it for each item."""
        self._strand.wake()

    def outage(self, error: TenureError | None) -> None:
        """Report what keeps the watch from the store; ``None``: it is connected again. Never blocks."""
        if self._on_outage is not None:
            self._outages.append(error)
            self._outage_strand.wake()

    def _report_outages(self) -> None:
        while self._outages and self._on_outage is not None:
            self._call(self._on_outage, self._outages.popleft(), "an outage")

    def start(self, watch: Watch) -> None:
        """Begin to call back; ``watch`` has :meth:`wake` as its ``on_ready``."""
        self._watch = watch
        self.wake()

    def _submit(self, run: Callable[[], object]) -> None:
        watch = self._watch
        lost = watch is not None and not watch.connected and not watch.closed
        (self._threads.connecting if lost else self._threads.callbacks).submit(run)

    def _run(self) -> None:
        watch = self._watch
        if watch is None or self._ended:  # woken before the start, or after the end
            return
        if not watch.connected and not watch.closed:
            again = watch.reconnect()
            if again is not None:
                self._threads.timers.call_at(again, self.wake)
            else:
                self.wake()  # on the other pool: what has come meanwhile
            return
        try:
            while (batch := watch.poll()) is not None:
                self._call(self._callback, batch, "a batch")
        except StoreClosed:
            self._ended = True
        except TenureError as exc:
            self._ended = True
            if self._on_error is None:
                _log.error("a watch ended: %s", exc)
            else:
                self._call(self._on_error, exc, "the error that ended the watch")
        else:
            if not watch.connected:
                self.wake()  # this run has found that the feed failed

    def _call(self, function: Callable[[T], object], argument: T, description: str) -> None:
        observed = self._threads.callbacks.observed
        try:
            if observed is None:
                function(argument)
            else:
                told(partial(function, argument), "watch", observed)
        except BaseException:  # noqa: BLE001 - also SystemExit: one callback must not end the watch of an application
            if isinstance(argument, Batch):
                description = f"a {argument.type} batch at revision {argument.revision}"
            _log.exception("the callback of a watch raised on %s", description)
