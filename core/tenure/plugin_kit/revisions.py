"""Revisions that no restored backup repeats: a counter that never falls behind the clock.

A plain counter continues after a restored backup where the backup was taken, so it uses revisions of the lost history
again: a compare-and-set on one of them would succeed on a value that its caller never read, and a watch would resume in
a history that it has not seen. A counter that also follows the wall clock is beyond every revision of the lost
history as soon as the next transaction commits. This is the idea of hybrid logical clocks (Kulkarni and others, 2014).

The clock decides nothing else. Within one history revisions grow by at least one, whatever the clock does. If the clock
was set back before the restored store is written to, a revision repeats only if both fall on the same microsecond.
"""

from __future__ import annotations

import time

_PER_SECOND = 1_000_000
LARGEST_BY_CLOCK = 2**52
"""Revisions follow the clock up to here, the year 2112, so that a wrong clock leaves room below 2**53, the largest
integer that JSON readers and Lua keep exactly."""


def next_revision(last: int, *, now: float | None = None) -> int:
    """Return the revision of the next transaction: microseconds since the epoch, and in any case above ``last``.

    Args:
        last: the store's present revision.
        now: seconds since the epoch by the clock of the process that commits; by default this process's clock.

    Returns:
        The larger of ``last + 1`` and the clock's microseconds. A clock beyond the year 2112 is ignored.

    >>> next_revision(53, now=1_700_000_000.25)
    1700000000250000
    >>> next_revision(1_800_000_000_000_000, now=1_700_000_000.0)
    1800000000000001
    """
    seconds = time.clock_gettime(time.CLOCK_REALTIME) if now is None else now
    by_clock = int(seconds * _PER_SECOND)
    return max(last + 1, by_clock if by_clock < LARGEST_BY_CLOCK else 0)
