"""Time, so that it can be replaced: the system's, or one that only moves when a test says so.

Leases are judged by a clock that goes on while the machine sleeps (``CLOCK_BOOTTIME`` where the system has
it): a laptop or a paused virtual machine must find its leases lost when it wakes up.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """Monotonic seconds, and waiting on a condition for some of them."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since some fixed point; never goes back."""

    @abstractmethod
    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on ``condition`` (held by the caller) until notified or ``seconds`` of this clock have passed.

        May return early; callers check their own state in a loop.
        """


class SystemClock(Clock):
    """The machine's own monotonic time, suspend included where the system tells it."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        return time.clock_gettime(self._source)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(seconds)


class ManualClock(Clock):
    """Time for tests: stands still until :meth:`advance`. Thread-safe.

    Share one between everything that takes part (``connect(..., clock=clock)``).
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._sleepers: set[threading.Condition] = set()

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once and wake everyone who waits on this clock."""
        if seconds < 0:
            raise ValueError(f"time can't go back: advance({seconds!r})")
        with self._lock:
            self._now += seconds
            sleepers = list(self._sleepers)
        for condition in sleepers:
            with condition:
                condition.notify_all()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            return
        with self._lock:
            self._sleepers.add(condition)
        # A waiter that read the time before advance() and gets here after it would miss the wake-up: it
        # holds the condition, so advance() either saw it among the sleepers or has moved the time already.
        # The short real timeout turns that second case into a delay instead of a hang.
        condition.wait(0.05 if seconds is not None else None)
        with self._lock:
            self._sleepers.discard(condition)
