"""Waiting for a state, with a deadline: what tests do in place of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHARE = 0.05
_LONGEST_PAUSE = 0.1
"""A pause is this share of the time waited so far, and at most so many seconds: a hundred looks in each second of a
long wait cost more than the test itself."""

PATIENCE = 60.0
"""Seconds for what has to come: far more than it takes, so that a busy machine fails no test that is right."""


class NotInTime(AssertionError):
    """The state that was waited for did not come before the deadline."""


def until(
    probe: Callable[[], T | None], timeout: float = PATIENCE, what: str = "the awaited state", interval: float = 0.01
) -> T:
    """Call `probe` until its answer is true, and return that answer. `interval`: the shortest pause, in seconds.

    An exception that `probe` lets through ends the waiting: probes catch what they expect. Raises `NotInTime`,
    naming `what`, after `timeout` seconds; the probe is always asked at least once.
    """
    began = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer
        waited = time.monotonic() - began
        if waited >= timeout:
            raise NotInTime(f"not within {timeout:g} s: {what}")
        time.sleep(max(interval, min(_SHARE * waited, _LONGEST_PAUSE)))
