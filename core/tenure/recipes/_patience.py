"""Reads and waits that go on through an outage, as long as the session and the time last. Steps, without I/O."""

from __future__ import annotations

import random
from typing import TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Effect, Sleep, Steps, WaitUntil
from tenure.errors import Unavailable, WaitTimeout
from tenure.recipes.session import Session

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_PAUSE = 0.2
"""Seconds, on average, before the next try of what the store could not do."""


def patiently(effect: Effect[T], limit: TimeLimit, session: Session | None) -> Steps[T]:
    """Repeat a read while the store can't be reached.

    Raise ``Unavailable`` when the time is up, or if there is neither a session nor an end, and ``LeaseLost`` when the
    session ends.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return (yield from effect)
        except Unavailable:
            if over(limit) or (session is None and limit.left() is None):
                raise
            if session is not None:
                session.check()
        yield from Sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads participants, no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def wait(effect: WaitUntil, timed_out: str, session: Session | None = None) -> Steps[None]:
    """Steps that wait until the condition of ``effect`` holds.

    Raise ``WaitTimeout`` with the message ``timed_out`` when the time is up, ``Unavailable`` if the store could not be
    reached then, ``LeaseLost`` when ``session`` ends.
    """
    while True:
        try:
            if (yield from effect):
                return
        except Unavailable:
            if over(effect.limit):
                raise
        if session is not None:
            session.check()
        if over(effect.limit):
            raise WaitTimeout(timed_out)
        yield from pause()


def pause() -> Steps[None]:
    """Steps that wait a moment, of another length for each participant."""
    yield from Sleep(_PAUSE * (0.5 + random.random()))  # noqa: S311 - spreads participants, no secret


def over(limit: TimeLimit) -> bool:
    """Return whether the time is up."""
    left = limit.left()
    return left is not None and left <= 0


def beside(store: Store, wait: TimeLimit) -> TimeLimit:
    """Return the limit of calls beside a wait: what comes at the end of the wait still has the store's timeout."""
    left = wait.left()
    return wait if left is None else TimeLimit(store.clock, max(0.0, left) + store.timeout)
