"""Waiting for a state, with a deadline: what tests do in place of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for what has to come: far more than it takes, so that a busy machine fails no test that is right."""


class NotInTime(AssertionError):
    """The state that was waited for did not come before the deadline."""


def until(
    probe: Callable[[], T | None], timeout: float = PATIENCE, what: str = "the awaited state", interval: float = 0.01
) -> T:
    """Call `probe` until its answer is true, and return that answer.

    An exception that `probe` lets through ends the waiting: probes catch what they expect. Raises `NotInTime`,
    naming `what`, after `timeout` seconds; the probe is always asked at least once.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise NotInTime(f"not within {timeout:g} s: {what}")
        time.sleep(interval)
