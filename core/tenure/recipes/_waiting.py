"""Waits that go on through an outage, as long as the time and the session last. Steps, without I/O."""

from __future__ import annotations

import random

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Sleep, Steps, WaitUntil
from tenure.errors import Unavailable, WaitTimeout
from tenure.recipes.session import Session

_PAUSE = 0.2
"""Seconds, on average, before the next try of what the store could not do."""


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
