"""Deadlines and retries, once for all stores.

Only a call that certainly had no effect is tried again: a read, or a write whose error says that it wasn't applied
(``Unavailable``). A write of unknown outcome is never repeated here. Delays grow from 20 ms to 1 s with
jitter, so that the clients of a store that comes back don't arrive together.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tenure._runtime.clock import Clock
from tenure._runtime.deadline import monotonic
from tenure._runtime.exits import no_threads
from tenure._runtime.interruption import interruption
from tenure._text import shown
from tenure.errors import CallInterrupted, InvalidArgument, OutcomeUnknown, PluginError, TenureError, Unavailable

T = TypeVar("T")

FIRST_ATTEMPT = 2.0
"""Seconds that the first try of a read may take. A server without a leader, or a black-holed connection,
hangs instead of answering; the next try uses another server. Each later try may take twice as long."""

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 1.0
_LONGEST = 1e6
"""Seconds, some eleven days, that drivers and locks can wait. A longer timeout is as good as none, and means this."""


class Backoff:
    """Delays between tries: they double up to a limit, each with jitter."""

    def __init__(self, *, first: float = _FIRST_DELAY, longest: float = _LONGEST_DELAY) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def delay(self) -> float:
        """Return the next delay in seconds."""
        delay = random.uniform(self._next / 2, self._next)  # noqa: S311 - spreads load, hides nothing
        self._next = min(self._next * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Start again at the first delay."""
        self._next = self._first


def check_timeout(timeout: float) -> float:
    """Return ``timeout`` in seconds, no more than drivers and locks take, or raise ``InvalidArgument``."""
    if not isinstance(timeout, int | float) or not 0 < timeout <= sys.float_info.max:
        raise InvalidArgument(
            f"timeout={shown(timeout)}: a timeout is a positive, finite number of seconds; leave it out for the default"
        )
    return min(timeout, _LONGEST)


def read(call: Callable[[float], T], timeout: float, clock: Clock) -> T:
    """Run a call without side effects until it returns or ``timeout`` seconds have passed.

    ``call`` receives the seconds that one try may last. ``clock`` shortens the pauses between tries if time stands
    still. Raises what the last try raised.
    """
    try:
        return _repeat(call, timeout, clock, attempt=FIRST_ATTEMPT, again=(Unavailable, OutcomeUnknown))
    except Exception as exc:
        _pass_on(exc)
        if (at_the_end := no_threads("reading", exc)) is not None:
            raise at_the_end from exc
        raise PluginError(
            f"reading: the plugin failed with an untranslated {type(exc).__name__}; report the traceback to its author"
        ) from exc


def write(call: Callable[[float], T], timeout: float, clock: Clock) -> T:
    """Run a write until it is done, refused or unknown, or until the time is up and it was certainly not applied.

    One try may use all the time that is left: a shorter limit would only turn answers into unknown outcomes.
    """
    try:
        return _repeat(call, timeout, clock, attempt=timeout, again=(Unavailable,))
    except Exception as exc:
        _pass_on(exc)
        # The plugin may have sent the write before it failed.
        raise OutcomeUnknown(
            f"writing: the plugin failed with an untranslated {type(exc).__name__}, and the write may be applied; read "
            "before trying again, and report the traceback to the plugin's author"
        ) from exc


def _pass_on(error: Exception) -> None:
    """Raise ``error`` unless it has to be translated: as it is, or as what a signal handler raised it is."""
    raised = interruption(error)
    if raised is not None and raised is not error:
        raise raised
    if raised is not None or isinstance(error, TenureError):
        raise error


def _repeat(
    call: Callable[[float], T], timeout: float, clock: Clock, *, attempt: float, again: tuple[type[Exception], ...]
) -> T:
    attempt = min(attempt, timeout)
    started = monotonic()
    try:
        return call(attempt)
    except again as exc:
        last = _worth_repeating(exc)
    deadline = started + timeout
    backoff = Backoff()
    while True:
        delay = backoff.delay()
        if monotonic() + delay >= deadline:
            raise last
        pause = clock.pause(delay)
        time.sleep(pause)
        deadline -= delay - pause
        attempt = longer_attempt(attempt, deadline - monotonic(), timeout)
        try:
            return call(max(min(attempt, deadline - monotonic()), 0.001))
        except again as exc:
            last = _worth_repeating(exc)


def longer_attempt(last: float, left: float, timeout: float) -> float:
    """Return how long the attempt after one of ``last`` seconds may take, with ``left`` of ``timeout`` seconds to go.

    It may take twice as long, but leaves half of ``timeout`` to a last attempt. So an answer that needs half of the
    time, over a slow link, still comes; and servers that elect a leader within the other half are asked after that.
    """
    spare = left - timeout / 2
    return left if spare < last else min(2 * last, spare)


def _worth_repeating(error: Exception) -> Exception:
    """Return ``error``, or raise it: what a signal handler raised or did can't be helped by trying again."""
    if isinstance(error, CallInterrupted) or interruption(error) is not None:
        raise error
    return error
