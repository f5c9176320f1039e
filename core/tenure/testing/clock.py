"""A clock that a test moves: at once, as for a suspended process, or step by step, as for a running one.

A thread that waits for a time tells the clock until when. So the clock can move from one such time to the next, and
let the threads that it wakes finish: heartbeats are sent and delays end in their order, in hardly any real time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from tenure._runtime.clock import ManualClock
from tenure._runtime.deadline import monotonic

_POLL = 0.0005
_OURS = "tenure"  # prefix of the names of core's and the plugins' threads
_TIMERS = ("tenure-leases", "tenure-registry")  # core's threads that wait on the clock from their start
# Seconds of real time to wait for a thread to sleep again, before the clock moves without it:
_SURELY = 5.0  # a thread that is sure to sleep again, however busy the machine is
_PERHAPS = 0.25  # a thread that has slept on this clock, and may run a long callback
_HARDLY = 0.02  # a thread that never has: it may be new, but mostly it waits for something other than time


def wait_until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait until a condition holds.

    Use it for what another thread does soon, such as a callback: a sleep would be too short or too long.

    >>> wait_until(lambda: 1 + 1 == 2)

    Args:
        condition: function without arguments; its result counts as true or false.
        within: seconds of real time to wait at most.

    Raises:
        AssertionError: the condition was still not true after ``within`` seconds.
    """
    ends = monotonic() + within
    while not condition():
        if monotonic() >= ends:
            code = getattr(condition, "__code__", None)
            name = getattr(condition, "__name__", repr(condition))
            where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
            raise AssertionError(f"{name}{where} was still not true after {within:g} s")
        time.sleep(_POLL)


class VirtualClock(ManualClock):
    """A clock that stands still until :meth:`jump` or :meth:`advance`. Thread-safe; one thread moves it at a time.

    >>> clock = VirtualClock()
    >>> clock.advance(2.5)
    >>> clock.now()
    1002.5

    Args:
        start: the time at first, in seconds.
    """

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__(start)
        self._asleep: dict[threading.Thread, float] = {}
        self._resting: dict[threading.Thread, Callable[[], bool]] = {}
        self._known: set[threading.Thread] = set()
        self._strangers: set[threading.Thread] = set()
        self._book = threading.Lock()

    def jump(self, seconds: float) -> None:
        """Let time pass at once, as for a process that was suspended: leases not refreshed meanwhile are lost.

        Args:
            seconds: how much time passes, in seconds, 0 or more.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        super().jump(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass as for a running process: what is due meanwhile, such as a refresh, happens at its time.

        It takes a few milliseconds of real time for each such event. Callbacks may still be running when it returns.

        Args:
            seconds: how much time passes, in seconds, 0 or more.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"moving the clock: time can't go back: advance({seconds!r})")
        ends = self.now() + seconds
        woken: set[threading.Thread] = set()
        while True:
            self._wait_until_asleep(woken)
            now = self.now()
            if now >= ends:
                return
            with self._book:
                then = min([ends, *(when for when in self._asleep.values() if when > now)])
                woken = {thread for thread, when in self._asleep.items() if when <= then}
            self.jump(then - now)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        with self._sleeping(inf if seconds is None else self.now() + seconds):
            super().wait(condition, seconds)

    def wait_for_real(self, condition: threading.Condition, seconds: float) -> None:
        with self._sleeping(inf):
            super().wait_for_real(condition, seconds)

    @contextmanager
    def resting(self, idle: Callable[[], bool]) -> Iterator[None]:
        me = threading.current_thread()
        with self._book:
            self._resting[me] = idle
            self._known.add(me)
            self._strangers.discard(me)
        try:
            yield
        finally:
            with self._book:
                self._resting.pop(me, None)

    @contextmanager
    def _sleeping(self, until: float) -> Iterator[None]:
        me = threading.current_thread()
        with self._book:
            self._asleep[me] = until
            self._known.add(me)
            self._strangers.discard(me)
        try:
            yield
        finally:
            with self._book:
                self._asleep.pop(me, None)

    def _wait_until_asleep(self, woken: set[threading.Thread]) -> None:
        """Wait until the threads that use this clock sleep again, each until a later time."""
        started = monotonic()
        while True:
            now = self.now()
            with self._book:
                asleep = {thread for thread, when in self._asleep.items() if when > now}
                asleep |= {thread for thread, idle in self._resting.items() if idle()}
                busy = {thread for thread in threading.enumerate() if self._concerns(thread)} - asleep
                sure = {thread for thread in busy if thread in woken or thread.name in _TIMERS}
                waited = monotonic() - started
                if waited >= _HARDLY:
                    self._strangers |= busy - sure - self._known
                if waited >= _PERHAPS:
                    self._strangers |= busy - sure
                busy -= self._strangers
            if not busy or waited >= _SURELY:
                return
            time.sleep(_POLL)

    def _concerns(self, thread: threading.Thread) -> bool:
        return (
            thread.name.startswith(_OURS) and thread is not threading.current_thread() and thread not in self._strangers
        )
