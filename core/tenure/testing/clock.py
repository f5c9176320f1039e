"""Time that a test moves: at once, as for a process that was stopped meanwhile, or bit by bit, as for one that runs.

Threads that wait for a time tell the clock until when. So time can go from one such moment to the next, and wait at
each for the threads that it woke: heartbeats are sent and delays run out in their order, in no real time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from tenure._runtime.clock import ManualClock

_POLL = 0.0005
_OURS = "tenure"  # what the names of core's and plugins' own threads begin with
_TIMERS = ("tenure-leases", "tenure-registry")  # core's threads that live by time from their first moment on
# Seconds of real time to wait for a thread to go (back) to sleep, before time goes on without it:
_SURELY = 5.0  # one that comes back for certain, however busy the machine is
_PERHAPS = 0.25  # one that has slept on this clock, and may be in a callback that takes long
_HARDLY = 0.02  # one that never has: it may be new, but mostly it waits for something else than time


def wait_until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Return as soon as ``condition()`` is true; raise ``AssertionError`` after ``within`` seconds of real time.

    For what other threads do in no time, such as callbacks: a sleep would be too short or too long.
    """
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() >= ends:
            code = getattr(condition, "__code__", None)
            name = getattr(condition, "__name__", repr(condition))
            where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
            raise AssertionError(f"{name}{where} was still not true after {within:g} s")
        time.sleep(_POLL)


class VirtualClock(ManualClock):
    """Stands still until :meth:`jump` or :meth:`advance`. Thread-safe; one thread moves it at a time."""

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__(start)
        self._asleep: dict[threading.Thread, float] = {}
        self._resting: dict[threading.Thread, Callable[[], bool]] = {}
        self._known: set[threading.Thread] = set()
        self._strangers: set[threading.Thread] = set()
        self._book = threading.Lock()

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once, as for a process that was stopped for so long: leases that weren't
        refreshed meanwhile are lost."""
        super().jump(seconds)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass as for a process that runs: what is due meanwhile (refreshing leases, trying to register
        again) is done at its time.

        Takes a few milliseconds for each such moment. What callbacks do may still be going on when it returns.
        """
        if seconds < 0:
            raise ValueError(f"time can't go back: advance({seconds!r})")
        ends = self.now() + seconds
        woken: set[threading.Thread] = set()
        while True:
            self._settle(woken)
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

    def _settle(self, woken: set[threading.Thread]) -> None:
        """Wait until the threads that live by this clock sleep again, each till a time yet to come."""
        started = time.monotonic()
        while True:
            now = self.now()
            with self._book:
                asleep = {thread for thread, when in self._asleep.items() if when > now}
                asleep |= {thread for thread, idle in self._resting.items() if idle()}
                busy = {thread for thread in threading.enumerate() if self._concerns(thread)} - asleep
                sure = {thread for thread in busy if thread in woken or thread.name in _TIMERS}
                waited = time.monotonic() - started
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
