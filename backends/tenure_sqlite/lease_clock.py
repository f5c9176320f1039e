"""The clock that leases live by: one that all processes of the machine read alike, and never the wall clock.

The system counts seconds since boot, suspend included where it can. A deadline is a number of such seconds and means
something only within its boot. The store remembers which one, as its *time base*. Linux names each boot; a sandbox may
hide the name, and other systems have none. A clock that a test gives is a base of its own.

Two programs that have the file open run in one boot, since SQLite's write-ahead log is shared memory of one kernel. So
a boot needs its name only when no program has the file open. Then the one that opens it gives every lease its full TTL
again, unless the name is the same. See ``Database``.

In a time namespace Linux shifts these seconds. The shift is taken out again, so that the containers of one machine
agree.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.spi import Clock, SystemClock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/time")
_CHILDREN = Path("/proc/self/ns/time_for_children")
_OFFSETS = Path("/proc/self/timens_offsets")
"""Those of the namespace in which children are born: usually the process's own."""

_BOOT = "boot:"
_UNNAMED = "boot:unknown"
_manual_bases: weakref.WeakKeyDictionary[Clock, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class LeaseTime:
    """``now`` in seconds of the time base called ``base``."""

    now: Callable[[], float]
    base: str

    def continues(self, recorded: str) -> bool:
        """Whether deadlines of the base ``recorded`` mean the same here, also if no program has the file open."""
        return recorded == self.base != _UNNAMED

    def counts_with(self, recorded: str) -> bool:
        """Whether they mean the same here if a program of that base has the file open."""
        named = {self.base, recorded} - {_UNNAMED}
        return all(base.startswith(_BOOT) for base in named) and len(named) <= 1


def lease_time(clock: Clock) -> LeaseTime:
    """Return the time of a store that was opened with ``clock``."""
    if not isinstance(clock, SystemClock):
        return LeaseTime(clock.now, _manual_bases.setdefault(clock, f"given:{uuid.uuid4().hex}"))
    try:
        base = _BOOT + _BOOT_ID.read_text("ascii").strip()
    except OSError:
        base = _UNNAMED
    shift = _namespace_shift()
    if shift is None:
        return LeaseTime(clock.now, f"namespace:{os.stat(_NAMESPACE).st_ino}")
    return LeaseTime(clock.now if not shift else lambda: clock.now() - shift, base)


def _namespace_shift() -> float | None:
    """Seconds that this process's time namespace adds to the time since boot; ``None`` if nothing tells."""
    try:
        if os.stat(_NAMESPACE).st_ino != os.stat(_CHILDREN).st_ino:
            return None  # the process has left its namespace for its children, and only theirs is described
        lines = _OFFSETS.read_text("ascii").splitlines()
    except OSError:
        return 0.0  # a system without such namespaces, or without /proc
    shifts = {name: int(seconds) + int(nanoseconds) / 1e9 for name, seconds, nanoseconds in map(str.split, lines)}
    return shifts.get("boottime", 0.0)
