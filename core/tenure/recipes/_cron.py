"""When a schedule fires: a cron expression of five fields, or every so many seconds. No I/O, and no clock.

A local time that a change of the clocks leaves out or repeats is treated by what the hour field says:

* ``*`` or ``*/2``: the schedule follows the time that passes. A time that is left out doesn't fire, and one that is
  repeated fires twice.
* certain hours: it fires once a day. A time that is left out fires as much later as the clocks are put forward, and one
  that is repeated fires the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol

from tenure.errors import InvalidArgument

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_NAMES = {
    "month": {name: number for number, name in enumerate(_MONTHS, 1)},
    "day of week": {name: number for number, name in enumerate(_DAYS)},
}
_DAY = timedelta(days=1)
_MOST_DAYS = 30 * 366
"""Within so many days, each expression that ever fires does so."""


class Times(Protocol):
    """The fire times of a schedule. All moments are in UTC."""

    def after(self, moment: datetime) -> datetime:
        """Return the first fire time after ``moment``."""
        ...

    def last(self, moment: datetime) -> datetime:
        """Return the last fire time that is not after ``moment``."""
        ...


class Every:
    """Every so many seconds, counted from 1970, so that all processes agree."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def after(self, moment: datetime) -> datetime:
        return self._at(self._number(moment) + 1)

    def last(self, moment: datetime) -> datetime:
        return self._at(self._number(moment))

    def _number(self, moment: datetime) -> int:
        number = round(moment.timestamp() / self._seconds)
        return number if self._at(number) <= moment else number - 1

    def _at(self, number: int) -> datetime:
        return datetime.fromtimestamp(number * self._seconds, UTC)


class Cron:
    """A cron expression: minute, hour, day of month, month, day of week; in a time zone."""

    def __init__(self, text: str, zone: tzinfo) -> None:
        fields = text.lower().split()
        if len(fields) != len(_FIELDS):
            raise InvalidArgument(
                f"reading the schedule {text!r}: it has {len(fields)} fields; give five: minute, hour, day of month, "
                "month, day of week"
            )
        parsed = [_values(text, field, *about) for field, about in zip(fields, _FIELDS, strict=True)]
        self._times = [(hour, minute) for hour in sorted(parsed[1]) for minute in sorted(parsed[0])]
        self._days, self._months, self._weekdays = parsed[2], parsed[3], {day % 7 for day in parsed[4]}
        self._either = not (fields[2].startswith("*") or fields[4].startswith("*"))
        self._follows_time = fields[1].startswith("*")
        self._zone = zone
        if not any(self._fires_on(date(2000, 1, 1) + days * _DAY) for days in range(_MOST_DAYS)):
            raise InvalidArgument(f"reading the schedule {text!r}: there is no such day; give one that comes")

    def after(self, moment: datetime) -> datetime:
        day = moment.astimezone(self._zone).date()
        return min(self._nearest(day - _DAY, _DAY, lambda time: time > moment))

    def last(self, moment: datetime) -> datetime:
        day = moment.astimezone(self._zone).date()
        return max(self._nearest(day + _DAY, -_DAY, lambda time: time <= moment))

    def _nearest(self, day: date, step: timedelta, wanted: Callable[[datetime], bool]) -> list[datetime]:
        """Return the wanted times of the first day that has one, and of the next, into which a time may be moved."""
        for _ in range(_MOST_DAYS):
            found = [time for time in self._of(day) if wanted(time)]
            if found:
                return found + [time for time in self._of(day + step) if wanted(time)]
            day += step
        raise AssertionError

    def _fires_on(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return (of_month or of_week) if self._either else (of_month and of_week)

    def _of(self, day: date) -> set[datetime]:
        """Return the fire times of a local day."""
        found = set()
        for hour, minute in self._times if self._fires_on(day) else ():
            local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)
            for fold in (0, 1) if self._follows_time else (0,):
                moment = local.replace(fold=fold).astimezone(UTC)
                there = moment.astimezone(self._zone).replace(tzinfo=None) == local.replace(tzinfo=None)
                if there or not self._follows_time:
                    found.add(moment)
        return found


def _values(text: str, field: str, name: str, least: int, most: int) -> set[int]:
    """Return the numbers that a field means."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = least, most
        else:
            low = _number(first, name)
            high = _number(last, name) if dash else most if step else low
        width = _number(step, "") if "/" in part else 1
        if not least <= low <= high <= most or width < 1:
            raise InvalidArgument(
                f"reading the schedule {text!r}: {part!r} is no {name}; give numbers from {least} to {most}, such as "
                f"{least}, {least}-{most}, */2 or a list of these"
            )
        found.update(range(low, high + 1, width))
    return found


def _number(text: str, name: str) -> int:
    """Return a number or the number of a name; -1 if it is neither."""
    named = _NAMES.get(name, {}).get(text)
    return named if named is not None else int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else -1
