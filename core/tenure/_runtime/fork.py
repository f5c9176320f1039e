"""Detect that this process is a fork of the process that opened a store.

Connections, locks and threads don't survive a fork. Using an inherited store therefore raises at once instead of
hanging. ``fork_generation`` counts the forks between the interpreter's start and this process; comparing two
integers is cheaper than asking for the process id on each call.
"""

from __future__ import annotations

import os
from sys import is_finalizing

from tenure._runtime.clock import SystemClock

_CLOCK = SystemClock()


class _ForkGeneration:
    """The process's fork count, as an attribute so that readers always see the present one."""

    __slots__ = ("_times", "value")

    def __init__(self) -> None:
        self.value = 0
        self._times: list[float] = []

    def advance(self) -> None:
        self._times.append(_CLOCK.now())
        self.value += 1

    def seconds_since(self, generation: int) -> float:
        """Return how long ago what was made in ``generation`` was inherited; 0.0 in the process that made it."""
        return 0.0 if generation == self.value else _CLOCK.now() - self._times[generation]


fork_generation = _ForkGeneration()
os.register_at_fork(after_in_child=fork_generation.advance)


def left_behind(generation: int) -> bool:
    """Whether the threads are gone that serve what was made in ``generation``: by a fork, or by the interpreter's end.

    When the interpreter ends, after the functions of ``atexit``, it stops each daemon thread where it is, with the
    locks that it holds. Finalizers run after that, and whatever they would wait for never comes.
    """
    return generation != fork_generation.value or is_finalizing()
