"""Where the application's callbacks run: a few daemon threads, started when needed and ended by ``close``.

Callbacks never run on a thread that a store needs, so a callback may call the store, close it, or
block. A blocked callback only occupies one of these threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("tenure.callbacks")
_THREADS = 4
_JOIN_SECONDS = 5.0


class CallbackExecutor:
    """Runs submitted functions, each once, started in the order of submission; what they raise is logged."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._condition = threading.Condition()
        self._queue: deque[Callable[[], object]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` soon. ``close`` still runs what was submitted before; later functions are dropped."""
        with self._condition:
            if self._closed:
                _log.debug("%s: a callback came after close and was dropped", self._name)
                return
            self._queue.append(function)
            if self._idle >= len(self._queue) or len(self._threads) == _THREADS:
                self._condition.notify()
                return
            thread = threading.Thread(target=self._work, name=f"{self._name}-callbacks", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._queue:
                    if self._closed:
                        return
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                function = self._queue.popleft()
            try:
                function()
            except Exception:  # noqa: BLE001 - the application's own error, logged
                _log.exception("%s: a callback raised", self._name)

    def close(self) -> None:
        """Run what is queued, then end the threads. Waits at most 5 seconds for a callback that blocks."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    _log.warning("%s: a callback is still running %s s after close", self._name, _JOIN_SECONDS)
