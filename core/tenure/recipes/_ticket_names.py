"""The names of tickets: nearly in the order in which participants ask, so that a part of a list often tells enough.

A name is a time and a number of the process's own. The order of a queue is that of create revisions, never that of
names: clocks differ, and writes overtake each other. A wrong clock makes participants read more, and nothing else.
"""

from __future__ import annotations

import itertools
import os
import secrets

from tenure._runtime.deadline import wall_clock

DIGITS = 16
"""Length of a name. The names of settings in the same folder have another length."""
_TICKS = 256
"""Parts of a second that names tell apart."""
_OWN_BITS = 26
_TIME_BITS = 4 * DIGITS - _OWN_BITS
"""The time begins anew after 34 years."""

_own = [itertools.count(secrets.randbits(_OWN_BITS))]


def _begin_anew() -> None:
    """Let a forked child count from elsewhere."""
    _own[:] = [itertools.count(secrets.randbits(_OWN_BITS))]


os.register_at_fork(after_in_child=_begin_anew)


def new_name() -> str:
    """Return a name that this process has not used before. One of another process may be equal, which is unlikely."""
    return _name(int(wall_clock() * _TICKS), next(_own[0]))


def earlier(name: str, seconds: float) -> str:
    """Return a name that sorts before all those that were made within ``seconds`` before ``name``."""
    made = int(name, 16) >> _OWN_BITS
    return _name(max(0, made - int(seconds * _TICKS)), 0)


def _name(time: int, own: int) -> str:
    time, own = time % (1 << _TIME_BITS), own % (1 << _OWN_BITS)
    return f"{time << _OWN_BITS | own:0{DIGITS}x}"
