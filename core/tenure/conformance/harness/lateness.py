"""How late this process itself was: what a rule has to know before it blames the store for a delay.

A thread wakes at short intervals and records by how much it overslept. A machine that is overloaded, or a process that
was stopped, delays it as it delays the threads that look at the store.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

_EVERY = 0.02


class Lateness:
    """Measures while its block runs."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds by which the thread overslept at most, so far."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conformance-lateness", daemon=True)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._done.wait(_EVERY):
            now = time.monotonic()
            self.longest = max(self.longest, now - before - _EVERY)
            before = now
        self.longest = max(self.longest, time.monotonic() - before - _EVERY)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
