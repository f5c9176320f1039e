"""Functions that run at a later time, on one thread for a whole store.

The thread starts with the first function and ends when none is waiting. A function must not block: it wakes a
strand or submits to a pool.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue

from tenure._runtime.deadline import monotonic
from tenure._runtime.worker import Worker

_log = logging.getLogger("tenure.timers")
_IDLE_SECONDS = 1.0
_Entry = tuple[float, int, Callable[[], object]]


class Timers:
    """Calls functions at moments of the monotonic clock. Thread-safe; never blocks."""

    def __init__(self, name: str) -> None:
        """``name`` begins the thread's name."""
        self._name = name
        self._worker = Worker(self._run, name=f"{name}-timers", lasting=True)
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._count = itertools.count()
        self._closed = False

    def call_at(self, when: float, function: Callable[[], object]) -> None:
        """Call ``function`` at ``when`` (of :func:`~tenure._runtime.deadline.monotonic`), or soon if that is past."""
        if self._closed:
            return
        self._queue.put((when, next(self._count), function))
        self.ensure()

    def ensure(self) -> None:
        """Start the thread if something waits and it doesn't run; a start that fails is tried again next time."""
        if self._queue.qsize():
            self._worker.request()

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

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException:  # noqa: BLE001 - one function must not end the thread that all others wait for
            _log.exception("%s: a timer's function raised", self._name)
