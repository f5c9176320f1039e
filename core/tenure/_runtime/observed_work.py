"""Tell observers of work on the pools for callbacks: how long it waits, whether it is slow, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tenure._runtime.deadline import monotonic
from tenure._runtime.timers import Timers

SLOW_SECONDS = 1.0
"""Work that takes longer is slow: observers hear of it while it still runs."""


class Tell(Protocol):
    """Tells observers: calls a hook, named without ``tenure_``. Raises nothing but what a signal handler raised."""

    def __call__(self, hook: str, /, **arguments: object) -> None: ...


class ObservedWork:
    """The work of one pool, as observers hear of it.

    Args:
        pool: the pool's name for observers.
        tell: tells observers.
        timers: look for slow work, as long as there is work.
    """

    def __init__(self, pool: str, tell: Tell, timers: Timers) -> None:
        self.tell = tell
        self._pool = pool
        self._timers = timers
        self._busy: dict[object, float] = {}
        self._looking: dict[None, object] = {}

    def wrap(self, function: Callable[[], object], waiting: Callable[[], int]) -> Callable[[], object]:
        """Return ``function``, submitted now, such that observers hear of it. ``waiting`` is the queue's size."""
        submitted = monotonic()

        def run() -> None:
            started, work = monotonic(), object()
            self._busy[work] = started
            try:
                self.tell("callback_dequeued", pool=self._pool, seconds=started - submitted, waiting=waiting())
                self._look_later(frozenset())
                function()
            finally:
                del self._busy[work]

        return run

    def _look_later(self, known: frozenset[object]) -> None:
        """Let a timer look for slow work, one timer at a time. Observers have heard of ``known``."""
        mine = object()
        if self._looking.setdefault(None, mine) is mine:
            self._timers.call_at(monotonic() + SLOW_SECONDS, lambda: self._look(known))

    def _look(self, known: frozenset[object]) -> None:
        now = monotonic()
        slow = {work: now - started for work, started in self._busy.copy().items() if now - started >= SLOW_SECONDS}
        for work in slow.keys() - known:
            self.tell("callback_slow", pool=self._pool, seconds=slow[work])
        self._looking.clear()
        if self._busy:
            self._look_later(frozenset(slow))


def told(function: Callable[[], object], source: str, observed: ObservedWork | None) -> None:
    """Call a callback of the application, and tell observers how it went. Raises what it raises."""
    if observed is None:
        function()
        return
    started = monotonic()
    error: BaseException | None = None
    try:
        function()
    except BaseException as exc:
        error = exc
        raise
    finally:
        observed.tell("callback_finished", source=source, seconds=monotonic() - started, error=error)
