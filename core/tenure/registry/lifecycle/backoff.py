"""Delays between attempts to register again: Fibonacci steps with jitter."""

from __future__ import annotations

import random


class FibonacciBackoff:
    """Delays of 3, 6, 9, 15, 24, 30, 30, ... seconds for ``first=3, longest=30``, each less up to ``jitter`` of it."""

    def __init__(self, *, first: float, longest: float, jitter: float) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._steps = (0.0, first)

    def delay(self) -> float:
        """Return the next delay in seconds."""
        before, last = self._steps
        step = before + last
        self._steps = (last, min(step, self._longest))
        delay = min(step, self._longest)
        return random.uniform(delay * (1 - self._jitter), delay)  # noqa: S311 - spreads load, hides nothing

    def first(self, within: float) -> float:
        """Return the delay of a first attempt: none without jitter, else up to that part of ``within`` seconds."""
        return random.uniform(0.0, within * self._jitter)  # noqa: S311 - spreads load, hides nothing

    def reset(self) -> None:
        """Start again at the first delay."""
        self._steps = (0.0, self._first)
