"""How late this machine is: limits for calls grow by what a busy machine, or a suspended process, takes from them."""

from __future__ import annotations

import collections
import threading
import time

from tenure.plugin_kit import monotonic

_STEP = 0.02
_KEPT = 5_000
_LEAST = 1.5
"""Seconds that a call may exceed its deadline on a machine that is never late."""
_FACTOR = 4
"""A call waits for several threads, each of which may be late."""


class Lateness:
    """A thread that sleeps all the time, and notes by how much it woke too late."""

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, float]] = collections.deque(maxlen=_KEPT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lateness", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before = monotonic()
        while not self._ended.is_set():
            time.sleep(_STEP)
            now = monotonic()
            self._seen.append((now, now - before - _STEP))
            before = now

    def allowance(self, since: float) -> float:
        """Seconds that may be added to a limit for what took place since then. Waits until this thread has run."""
        asked = monotonic()
        while self._thread.is_alive() and (not self._seen or self._seen[-1][0] < asked):
            time.sleep(_STEP / 4)
        late = [lateness for at, lateness in list(self._seen) if at - lateness - _STEP >= since - 1 or at >= since]
        return _LEAST + _FACTOR * max(late, default=0.0)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
