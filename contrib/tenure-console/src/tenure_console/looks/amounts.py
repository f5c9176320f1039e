"""Durations, sizes, counts and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Return a duration in at most two units: ``0.4 s``, ``12 s``, ``4 min``, ``3 h 20 min``, ``5 days``."""
    if seconds < 1:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < _DAY:
        hours, rest = divmod(int(seconds), _HOUR)
        return f"{hours} h {rest // _MINUTE} min" if rest >= _MINUTE else f"{hours} h"
    days = int(seconds // _DAY)
    return "1 day" if days == 1 else f"{days:,} days"


def latency(seconds: float) -> str:
    """Return the time that a call took: ``0.42 ms``, ``87 ms``, ``1.3 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.2f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Return a number of bytes: ``512 B``, ``1.5 KiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return a count with its noun: ``1 key``, ``2,000 keys``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def clock(moment: float) -> str:
    """Return the time of day of a moment in seconds since 1970, in this machine's time zone."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%H:%M:%S")


def iso(moment: float) -> str:
    """Return a moment in ISO 8601, for the attribute of ``<time>``."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
