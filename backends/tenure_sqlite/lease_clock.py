"""The clock that leases live by: one that all processes of the machine read alike.

Linux counts seconds since boot, suspend included, and names each boot. A deadline is a number of such seconds
and means something only within its boot; the store remembers which one (its *time base*), and whoever opens it
under another one gives every lease its full ttl again. Elsewhere it is the wall clock, and a clock given by a
test is a base of its own.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.plugin_kit import wall_clock
from tenure.spi import Clock, SystemClock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_manual_bases: weakref.WeakKeyDictionary[Clock, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class LeaseTime:
    """``now`` in seconds of the time base called ``base``."""

    now: Callable[[], float]
    base: str


def lease_time(clock: Clock) -> LeaseTime:
    if not isinstance(clock, SystemClock):
        return LeaseTime(clock.now, _manual_bases.setdefault(clock, f"given:{uuid.uuid4().hex}"))
    if hasattr(time, "CLOCK_BOOTTIME"):
        try:
            return LeaseTime(clock.now, f"boot:{_BOOT_ID.read_text('ascii').strip()}")
        except OSError:
            pass  # a sandbox without /proc: no telling one boot from the next
    return LeaseTime(wall_clock, "wall")
