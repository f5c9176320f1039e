"""Replaceable time: the system's clock, or a clock that only a test moves.

Leases use a clock that also counts while the machine sleeps (``CLOCK_BOOTTIME`` where the system has it): a laptop
or a paused virtual machine must find its leases lost when it wakes up.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tenure._runtime.deadline import monotonic
from tenure._text import shown
from tenure.errors import InvalidArgument

_NOTHING = nullcontext()
_SLICE = 0.25
"""Seconds after a suspend within which a waiter notices what has passed."""


class Clock(ABC):
    """Monotonic seconds, and waits measured in them. All methods are thread-safe."""

    @abstractmethod
    def now(self) -> float:
        """Return the time, which never goes back.

        Returns:
            Seconds since an arbitrary fixed point; only differences mean something.
        """

    @abstractmethod
    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on ``condition`` until notified or until ``seconds`` of this clock have passed.

        May return early; callers check their own state in a loop.

        Args:
            condition: the condition, held by the caller.
            seconds: seconds of this clock; ``None`` for no limit.
        """

    def pause(self, seconds: float) -> float:
        """Return how many seconds of real time to wait between two tries of a call if ``seconds`` are due.

        If time stands still, only another thread can change what the next try finds. Such a clock shortens the pause,
        and the caller counts the whole pause against the call's timeout.

        Args:
            seconds: the pause that is due, in seconds.

        Returns:
            Seconds of real time, at most ``seconds``.
        """
        return seconds

    def wait_for_real(self, condition: threading.Condition, seconds: float) -> None:
        """Wait on ``condition`` like :meth:`wait`, for real time as :meth:`pause` returns it.

        Args:
            condition: the condition, held by the caller.
            seconds: seconds of real time.
        """
        condition.wait(seconds)

    def resting(self, idle: Callable[[], bool]) -> AbstractContextManager[object]:
        """Mark the time in which the calling thread waits for work, and not for time.

        A clock that tests move has to know which threads have nothing left to do. Other clocks ignore the call.

        Args:
            idle: returns whether the thread still has no work. Any thread may call it.

        Returns:
            A context manager. The thread waits inside its ``with`` block.
        """
        return _NOTHING


class SystemClock(Clock):
    """The machine's own monotonic time, suspended time included if the system reports it."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        return time.clock_gettime(self._source)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        # A condition waits by a clock that stands still while the machine sleeps. In slices, so that a waiter looks at
        # this clock soon after the machine wakes up.
        condition.wait(None if seconds is None else min(seconds, _SLICE))


class ManualClock(Clock):
    """Time for tests: it stands still until :meth:`jump`. Thread-safe.

    Share one clock between all stores and registries of a test (``connect(..., clock=clock)``).

    >>> import tenure
    >>> clock = tenure.ManualClock()
    >>> with tenure.connect("memory://", clock=clock) as store:
    ...     lease = store.lease(10, keep_alive=False)
    ...     clock.jump(11)
    ...     lease.state.value
    'lost'

    Args:
        start: the first time that :meth:`now` returns, in seconds.
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
        """Let ``seconds`` pass at once and wake all threads that wait on this clock.

        Timers between the old and the new time see only the new time, as after the process was suspended.

        Args:
            seconds: seconds to add, zero or more.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"jump({seconds!r}): time can't go back; give zero seconds or more")
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
            # A thread that read the time before jump() and gets here after it must not wait: nothing would wake it.
            if seconds is not None and getattr(self._read, "now", self._now) != self._now:
                return
            self._sleepers[condition] += 1
        # The waiter holds the condition: a jump() from here on wakes it. The short real timeout is for a waiter
        # whose time was read by another thread, and for a TimeLimit: a delay instead of a hang.
        condition.wait(None if seconds is None else max(0.001, min(seconds, 0.05)))
        with self._lock:
            self._sleepers[condition] -= 1
            if not self._sleepers[condition]:
                del self._sleepers[condition]

    def pause(self, seconds: float) -> float:
        return min(seconds, 0.001 + seconds / 500)


def is_number(value: object) -> bool:
    """Return whether it is a number, maybe an infinite one: no NaN, and no integer that is too large for a float."""
    try:
        return isinstance(value, int | float) and not math.isnan(value)
    except OverflowError:
        return False


class TimeLimit:
    """A limit that ends after ``seconds`` (``None``: never) of ``clock`` or of real time, whichever is first.

    For a wait that the application requested: a test ends it by moving the clock, and a clock that stands still
    does not make it wait indefinitely.

    Raises:
        InvalidArgument: ``seconds`` is no number.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        if seconds is not None and not is_number(seconds):
            raise InvalidArgument(f"timeout={shown(seconds)}: give a number of seconds, or None")
        self._clock = clock
        self._ends = None if seconds is None else (clock.now() + seconds, monotonic() + seconds)

    def left(self) -> float | None:
        """Return the seconds until the limit ends, negative afterwards; ``None`` if it never ends."""
        if self._ends is None:
            return None
        ours, real = self._ends
        return min(ours - self._clock.now(), real - monotonic())
