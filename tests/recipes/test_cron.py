"""When schedules fire: cron expressions against a plain search by minutes, and changes of the clocks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

import tenure
from tenure.errors import InvalidArgument
from tenure.recipes._cron import Cron, Every, Times

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _fires(times: Times, start: str, count: int) -> list[str]:
    """The next fire times, in UTC without the year."""
    moment, found = _utc(start), []
    for _ in range(count):
        moment = times.after(moment)
        assert times.last(moment) == moment
        found.append(f"{moment:%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("*/7 * * * *", lambda time: time.minute % 7 == 0),
        ("5,50-52 3-20/5 * * *", lambda time: time.minute in (5, 50, 51, 52) and time.hour in (3, 8, 13, 18)),
        ("0 12 * * MON-fri", lambda time: (time.hour, time.minute) == (12, 0) and time.isoweekday() <= 5),
        ("0 0 13 * 5", lambda time: time.hour + time.minute == 0 and (time.day == 13 or time.isoweekday() == 5)),
        ("0 0 */2 * 7", lambda time: time.hour + time.minute == 0 and time.day % 2 == 1 and time.isoweekday() == 7),
        ("30 6 1 jan,3 *", lambda time: (time.hour, time.minute, time.day) == (6, 30, 1) and time.month in (1, 3)),
    ],
)
def test_an_expression_means_what_a_search_by_minutes_finds(text: str, matches: object) -> None:
    assert callable(matches)
    times = Cron(text, UTC)
    minutes = [_utc("2026-01-01") + number * MINUTE for number in range(100 * 24 * 60)]
    fires = [time for time in minutes if matches(time)]
    source = random.Random(text)
    for _ in range(40):
        moment = source.choice(minutes[: len(minutes) // 2]) + timedelta(seconds=source.choice([0, 0, 30]))
        later = [time for time in fires if time > moment]
        earlier = [time for time in fires if time <= moment]
        assert not later or times.after(moment) == later[0]
        assert not earlier or times.last(moment) == earlier[-1]


def test_a_day_that_comes_every_eight_years() -> None:
    leap = Cron("0 0 29 2 *", UTC)
    assert leap.after(_utc("2096-03-01")) == _utc("2104-02-29")
    assert leap.last(_utc("2104-02-28")) == _utc("2096-02-29")


def test_a_local_time_that_is_left_out() -> None:
    # On 29 March 2026 the clocks of Berlin go from 02:00 (01:00 UTC) to 03:00.
    assert _fires(Cron("30 2 * * *", BERLIN), "2026-03-28T00:00", 3) == ["03-28 01:30", "03-29 01:30", "03-30 00:30"]
    assert _fires(Cron("0,30 2,3 * * *", BERLIN), "2026-03-29T00:00", 3) == [
        "03-29 01:00",
        "03-29 01:30",
        "03-30 00:00",
    ]
    assert _fires(Cron("30 * * * *", BERLIN), "2026-03-29T00:00", 3) == ["03-29 00:30", "03-29 01:30", "03-29 02:30"]


def test_a_local_time_that_is_repeated() -> None:
    # On 25 October 2026 the clocks of Berlin go from 03:00 (01:00 UTC) to 02:00.
    assert _fires(Cron("30 2 * * *", BERLIN), "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    assert _fires(Cron("30 */1 * * *", BERLIN), "2026-10-25T00:00", 3) == ["10-25 00:30", "10-25 01:30", "10-25 02:30"]


def test_seconds_are_counted_from_1970() -> None:
    assert _fires(Every(5400), "2026-01-01T00:10", 2) == ["01-01 01:30", "01-01 03:00"]
    for seconds in (1, 2.5, 7, 0.1 * 13):
        times, moment = Every(seconds), _utc("2026-01-01")
        following = times.after(moment)
        assert times.last(following) == following
        assert times.last(following - timedelta(microseconds=1)) <= moment
        assert times.after(following) > following


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("* * * *", "4 fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 5-3 * * *", "'5-3' is no hour"),
        ("*/0 * * * *", "no minute"),
        ("5/ * * * *", "no minute"),
        ("* * 0 * *", "no day of month"),
        ("* * * mon *", "no month"),
        ("* * * * -1", "no day of week"),
        ("0 0 31 2,4 *", "no such day"),
        (0.5, "at least|from 1"),
        (float("nan"), "from 1"),
        (True, "from 1"),
        (None, "from 1"),
    ],
)
def test_what_never_fires_is_refused(when: object, told: str) -> None:
    with tenure.connect("memory://") as store, pytest.raises(InvalidArgument, match=told):
        tenure.Schedule(store, "s", when)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"zone": "Nowhere/City"}, {"zone": ""}, {"zone": "/etc"}, {"missed": "all"}])
def test_wrong_words_are_refused(wrong: dict[str, str]) -> None:
    with tenure.connect("memory://") as store, pytest.raises(InvalidArgument, match="'s'"):
        tenure.Schedule(store, "s", 60, **wrong)
