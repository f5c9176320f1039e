"""Reads that go on through an outage, as long as the session lives and the time lasts. Steps, without I/O."""

from __future__ import annotations

import random
from typing import TypeVar

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Effect, Sleep, Steps
from tenure.errors import Unavailable
from tenure.recipes.session import Session

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


def patiently(effect: Effect[T], limit: TimeLimit, session: Session) -> Steps[T]:
    """Repeat a read while the store can't be reached. Raise ``Unavailable`` when the time is up, else ``LeaseLost``."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return (yield from effect)
        except Unavailable:
            if over(limit):
                raise
            session.check()
        yield from Sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads participants, no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def over(limit: TimeLimit) -> bool:
    """Return whether the time is up."""
    left = limit.left()
    return left is not None and left <= 0
