"""Deadlines and retrying, once for all stores.

Only what surely had no effect is tried again: reads, and writes whose error says that they weren't applied
(``Unavailable``). A write of unknown outcome is never repeated here. Delays grow from 20 ms to 1 s with full
jitter, so that many clients of a store that comes back don't arrive together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenure._runtime.clock import Clock
from tenure.errors import DeadlineExceeded, InvalidArgument, OutcomeUnknown, PluginError, TenureError, Unavailable

T = TypeVar("T")

FIRST_ATTEMPT = 2.0
"""Seconds given to the first try of a read. A server that has lost its leader, or a connection that leads
nowhere, hangs rather than answers, and the next try goes elsewhere; later tries get twice as long each."""

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 1.0


class Backoff:
    """Delays between tries: exponential, full jitter."""

    def __init__(self, *, first: float = _FIRST_DELAY, longest: float = _LONGEST_DELAY) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def delay(self) -> float:
        """The next delay in seconds."""
        delay = random.uniform(self._next / 2, self._next)  # noqa: S311 - spreads load, hides nothing
        self._next = min(self._next * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Start again at the first delay."""
        self._next = self._first


def check_timeout(timeout: float) -> float:
    """Return ``timeout`` in seconds, or raise ``InvalidArgument``."""
    if not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise InvalidArgument(f"a timeout is a positive, finite number of seconds, not {timeout!r}")
    return timeout


def read(call: Callable[[float], T], timeout: float, clock: Clock) -> T:
    """Run a call without side effects until it answers or ``timeout`` seconds have passed.

    ``call`` takes the seconds that one try may last. ``clock`` says how long pauses between tries really take.
    Raises what the last try raised.
    """
    try:
        return _repeat(call, timeout, clock, attempt=FIRST_ATTEMPT, again=(Unavailable, OutcomeUnknown))
    except TenureError:
        raise
    except Exception as exc:
        raise PluginError(
            f"the plugin failed with an untranslated {type(exc).__name__}: its author has to know"
        ) from exc


def write(call: Callable[[float], T], timeout: float, clock: Clock) -> T:
    """Run a write until it is done, refused, unknown, or the time is up without its having been applied.

    One try may use all the time there is: cutting it short would only turn answers into unknown outcomes.
    """
    try:
        return _repeat(call, timeout, clock, attempt=timeout, again=(Unavailable,))
    except TenureError:
        raise
    except Exception as exc:
        # Nobody knows how far the plugin got.
        raise OutcomeUnknown(f"the plugin failed with an untranslated {type(exc).__name__} during a write") from exc


def left(deadline: float, doing: str) -> float:
    """Seconds until ``deadline`` of ``time.monotonic``; raises ``DeadlineExceeded`` when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlineExceeded(f"the time was up while {doing}: give a longer timeout")
    return seconds


def _repeat(
    call: Callable[[float], T], timeout: float, clock: Clock, *, attempt: float, again: tuple[type[Exception], ...]
) -> T:
    attempt = min(attempt, timeout)
    started = time.monotonic()
    try:
        return call(attempt)
    except again as exc:
        last = exc
    deadline = started + timeout
    backoff = Backoff()
    while True:
        delay = backoff.delay()
        if time.monotonic() + delay >= deadline:
            raise last
        pause = clock.pause(delay)
        time.sleep(pause)
        deadline -= delay - pause
        attempt *= 2
        try:
            return call(max(min(attempt, deadline - time.monotonic()), 0.001))
        except again as exc:
            last = exc
