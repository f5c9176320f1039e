"""Functions that run at a later time, on one thread for a whole store.

The thread starts with the first function and ends when none is waiting. A function must not block: it wakes a
strand or submits to a pool.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from tenure._runtime.deadline import monotonic
from tenure._runtime.exits import ending
from tenure._runtime.interruption import interruption
from tenure._runtime.thread_start import start_thread

_log = logging.getLogger("tenure.timers")
_IDLE_SECONDS = 1.0
_Entry = tuple[float, int, Callable[[], object]]


class Timers:
    """Calls functions at moments of the monotonic clock. Thread-safe; never blocks."""

    def __init__(self, name: str) -> None:
        """``name`` begins the thread's name."""
        self._name = name
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._count = itertools.count()
        self._running: dict[None, threading.Thread] = {}
        self._closed = False

    def call_at(self, when: float, function: Callable[[], object]) -> None:
        """Call ``function`` at ``when`` (of :func:`~tenure._runtime.deadline.monotonic`), or soon if that is past."""
        if self._closed:
            return
        self._queue.put((when, next(self._count), function))
        self.ensure()

    def ensure(self) -> None:
        """Start the thread if something waits and it doesn't run; a start that fails is tried again next time."""
        if not self._queue.qsize() or self._running:
            return
        thread = threading.Thread(target=self._run, name=f"{self._name}-timers", daemon=True)
        try:
            if self._running.setdefault(None, thread) is thread:
                start_thread(thread)
        except BaseException as exc:
            if thread.ident is None and self._running.get(None) is thread:
                self._running.clear()
            if not isinstance(exc, RuntimeError) or interruption(exc) is not None:
                raise
            _log.log(
                logging.DEBUG if ending(exc) else logging.WARNING,
                "%s: the thread for timers can't be started now, trying again: %s",
                self._name,
                exc,
            )

    def close(self) -> None:
        """Call nothing any more, and let the thread end."""
        self._closed = True
        self._queue.put(None)

    def _run(self) -> None:
        waiting: list[_Entry] = []
        while not self._closed:
            now = monotonic()
            while waiting and waiting[0][0] <= now:
                self._call(heapq.heappop(waiting)[2])
            try:
                entry = self._queue.get(timeout=max(0.0, waiting[0][0] - monotonic()) if waiting else _IDLE_SECONDS)
            except Empty:
                if waiting:
                    continue
                break
            if entry is not None:
                heapq.heappush(waiting, entry)
        self._running.clear()
        if not self._closed:
            self.ensure()  # something came while the thread was leaving

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException:  # noqa: BLE001 - one function must not end the thread that all others wait for
            _log.exception("%s: a timer's function raised", self._name)
