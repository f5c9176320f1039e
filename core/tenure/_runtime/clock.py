"""Time, so that it can be replaced: the system's, or one that only moves when a test says so.

Leases are judged by a clock that goes on while the machine sleeps (``CLOCK_BOOTTIME`` where the system has
it): a laptop or a paused virtual machine must find its leases lost when it wakes up.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

_NOTHING = nullcontext()


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

    def pause(self, seconds: float) -> float:
        """How many seconds of real time to leave between two tries of a call where ``seconds`` are due.

        Where time stands still nobody but another thread can change what the next try finds: there the pause is cut
        short, and whoever tries again counts it against the call's limit as if it had been made.
        """
        return seconds

    def wait_for_real(self, condition: threading.Condition, seconds: float) -> None:
        """Wait on ``condition`` like :meth:`wait`, for what :meth:`pause` answered: seconds of real time."""
        condition.wait(seconds)

    def resting(self, idle: Callable[[], bool]) -> AbstractContextManager[object]:
        """For a thread that waits for work, not for time; ``idle`` says whether there still is none.

        A clock that tests move has to know which threads are done; others needn't.
        """
        return _NOTHING


class SystemClock(Clock):
    """The machine's own monotonic time, suspend included where the system tells it."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        return time.clock_gettime(self._source)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))


class ManualClock(Clock):
    """Time for tests: stands still until :meth:`jump`. Thread-safe.

    Share one between everything that takes part (``connect(..., clock=clock)``).
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._sleepers: Counter[threading.Condition] = Counter()
        self._read = threading.local()

    def now(self) -> float:
        now = self._read.now = self._now
        return now

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once and wake everyone who waits on this clock."""
        if seconds < 0:
            raise ValueError(f"time can't go back: jump({seconds!r})")
        with self._lock:
            self._now += seconds
            sleepers = list(+self._sleepers)
        for condition in sleepers:
            with condition:
                condition.notify_all()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            return
        with self._lock:
            # Who read the time before jump() and gets here after it has to look again: nobody would wake it.
            if seconds is not None and getattr(self._read, "now", self._now) != self._now:
                return
            self._sleepers[condition] += 1
        # The waiter holds the condition: an jump() from here on wakes it. The short real timeout is for one
        # whose time was read by another thread, and for a TimeLimit: a delay instead of a hang.
        condition.wait(None if seconds is None else max(0.001, min(seconds, 0.05)))
        with self._lock:
            self._sleepers[condition] -= 1
            if not self._sleepers[condition]:
                del self._sleepers[condition]

    def pause(self, seconds: float) -> float:
        return min(seconds, 0.001 + seconds / 500)


class TimeLimit:
    """Up when ``seconds`` (``None``: never) have passed on ``clock`` or for real, whichever is first.

    For a wait that the application asked for: a test ends it by moving the clock, and none lasts for ever because
    time stands still.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._ends = None if seconds is None else (clock.now() + seconds, time.monotonic() + seconds)

    def left(self) -> float | None:
        """Seconds until it is up, negative once it is; ``None`` if it never is."""
        if self._ends is None:
            return None
        ours, real = self._ends
        return min(ours - self._clock.now(), real - time.monotonic())
