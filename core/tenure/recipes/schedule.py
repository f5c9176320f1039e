"""A schedule that several processes share: at each fire time, one of them is told to act.

One key has the last slot that was taken. Taking a slot puts its fire time there, guarded by what was there, so each
slot is taken once, and no keys accumulate. The id beside it tells who took it after a lost answer. If a later slot was
taken before that could be read, the slot counts as another process's: at most once.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import Conflict, InvalidArgument, OutcomeUnknown, StoreCorrupted, Unavailable, WaitTimeout
from tenure.recipes import _names
from tenure.recipes._cron import Cron, Every, Times
from tenure.recipes._patience import beside, over
from tenure.recipes.transact import unchanged
from tenure.spi.types import Put

_log = logging.getLogger("tenure.recipes")
_LATE = timedelta(seconds=60)
"""A slot that was not taken so long after its time is missed."""
_MOST = 366 * 86_400
"""Seconds from slot to slot."""
_LONGEST_SLEEP = 1.0
"""Seconds after which a wait looks at the wall clock again, which may have been set or suspended."""


class Slots:
    """The slots of one schedule. Steps, without I/O; ``now`` is the wall clock."""

    def __init__(self, store: Store, key: str, times: Times, *, catch_up: bool, now: Callable[[], datetime]) -> None:
        self._store = store
        self._key = key
        self._times = times
        self._catch_up = catch_up
        self._now = now
        self._ahead: datetime | None = None
        self._told: datetime | None = None

    def take(self, limit: TimeLimit) -> Steps[datetime]:
        """Steps that wait for the next slot that nobody else takes."""
        me = secrets.token_hex(8)
        known = None if self._catch_up else self._times.last(self._now())
        while True:
            now = self._now()
            slot, calls = self._times.last(now), beside(self._store, limit)
            try:
                if known is None:
                    known = yield from self._begin(slot, calls)
                    self._look_ahead(known)
                if slot > known and (self._catch_up or now - slot <= _LATE):
                    if (yield from self._claim(slot, me, calls)):
                        return slot
                    known = slot
                seconds = (self._times.after(now) - now).total_seconds()
            except (Unavailable, OutcomeUnknown):
                seconds = _LONGEST_SLEEP
            yield from self._pause(seconds, limit)

    def _begin(self, present: datetime, limit: TimeLimit) -> Steps[datetime]:
        """Return the last slot that was taken. In a schedule that is new, all slots so far count as taken."""
        item = yield from Get(self._key, limit)
        if item is not None:
            return self._slot(item.value)
        with suppress(Conflict, OutcomeUnknown):  # another process did so, or the next call will
            yield from Commit((unchanged(self._key, None),), (Put(self._key, present.isoformat().encode()),), limit)
        return present

    def _claim(self, slot: datetime, me: str, limit: TimeLimit) -> Steps[bool]:
        mine = f"{slot.isoformat()} {me}".encode()
        while True:
            item = yield from Get(self._key, limit)
            if item is not None and (taken := self._slot(item.value)) >= slot:
                self._look_ahead(taken)
                return item.value == mine
            try:
                yield from Commit((unchanged(self._key, item),), (Put(self._key, mine),), limit)
            except Conflict:
                continue
            return True

    def _look_ahead(self, taken: datetime) -> None:
        """Tell, once for each, of a slot that was taken long before its time by this clock: none comes until then."""
        now = self._now()
        self._ahead = taken if taken - now > _LATE else None
        if self._ahead is not None and taken != self._told:
            self._told = taken
            _log.warning(
                "the schedule in %r: a slot of %s was taken, and it is %s by this clock, so none comes until then; set "
                "the clocks right, and delete the key if it was that process's clock that was wrong",
                self._key,
                taken.isoformat(),
                now.isoformat(timespec="seconds"),
            )

    def _slot(self, value: bytes) -> datetime:
        try:
            return datetime.fromisoformat(value.decode().partition(" ")[0]).astimezone(UTC)
        except (ValueError, OverflowError) as exc:
            raise StoreCorrupted(
                f"reading the schedule in {self._key!r}: {value!r} is no fire time, so another program wrote it; "
                "delete the key"
            ) from exc

    def _pause(self, seconds: float, limit: TimeLimit) -> Steps[None]:
        """Wait until the wall clock has advanced by ``seconds``."""
        ends = self._now() + timedelta(seconds=seconds)
        while (rest := (ends - self._now()).total_seconds()) > 0:
            if over(limit):
                why = "none was free; give a longer timeout"
                if self._ahead is not None:
                    why = f"one of {self._ahead.isoformat()} was taken already; set the clocks right, or delete the key"
                raise WaitTimeout(f"waiting for a slot in {self._key!r}: {why}")
            left = limit.left()
            yield from Sleep(min(rest, _LONGEST_SLEEP, rest if left is None else left))
            self._store._check_process()


class Schedule:
    """Fire times that several processes share. Each is returned to at most one of them, once.

    * A slot is taken before its work begins. If the process then dies, or the work fails, that slot is not repeated.
    * Fire times follow the wall clock of each process. The first whose clock gets there takes the slot. If that clock
      was far ahead, no slot comes until all others get there: a warning says so, and :attr:`key` can be deleted.
    * Work may take longer than the next slot needs to come, and another process may take that one. Hold a
      :class:`Lock` if two must not run at the same time.

    A slot that no process was waiting for is *missed*: all were down or busy, or the store could not be reached for a
    minute. ``missed="skip"`` leaves it out. ``missed="last"`` lets the next call of :meth:`take` have the last of all
    that were missed, at once. Slots before the schedule was first used are not missed.

    A cron expression has five fields: minute, hour, day of month, month, day of week. Each may have ``*``, lists,
    ranges and steps. Of the days 0 and 7 are Sunday, and ``mon`` is Monday. If both days are given, either counts. When
    the clocks are changed, an hour field of ``*`` follows the time that passes. With certain hours, a time that is left
    out fires later, by as much as the clocks are put forward. One that is repeated fires the first time. Seconds are
    counted from 1970 in UTC.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     nightly = tenure.Schedule(store, "report", "30 2 * * mon-fri", zone="Europe/Berlin")
    ...     soon = tenure.Schedule(store, "cleanup", 1)
    ...     soon.take(timeout=10).microsecond
    0

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        when: a cron expression, or a number of seconds, at least 1. All participants give the same.
        zone: the IANA time zone of a cron expression.
        missed: what becomes of missed slots, ``"skip"`` or ``"last"``.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL; ``when`` can't be read or never comes. Or
            the zone is unknown, or ``missed`` is another word.

    Attributes:
        name: the name that participants share.
        key: the key of the last slot that was taken. Deleting it makes the schedule new.
    """

    def __init__(self, store: Store, name: str, when: str | float, *, zone: str = "UTC", missed: str = "skip") -> None:
        if missed not in ("skip", "last"):
            raise InvalidArgument(f"the schedule {name!r}: missed={shown(missed)}; choose 'skip' or 'last'")
        self.name = name
        self.key = f"{_names.folder('schedule', name)}last"
        self._store = store
        self._zone = _zone(name, zone)
        self._when = when
        self._steps = Slots(
            store, self.key, _times(name, when, self._zone), catch_up=missed == "last", now=lambda: datetime.now(UTC)
        )

    def take(self, *, timeout: float | None = None) -> datetime:
        """Wait for the next slot that no other process takes.

        An outage of the store is waited out.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The slot's fire time, in the schedule's zone. It is this call's alone.

        Raises:
            WaitTimeout: no slot came, or others took them, or the store could not be reached.
            StoreCorrupted: the key holds no fire time.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._taking(timeout=timeout))

    def _taking(self, *, timeout: float | None = None) -> Steps[datetime]:
        slot = yield from self._steps.take(TimeLimit(self._store.clock, timeout))
        return slot.astimezone(self._zone)

    def __repr__(self) -> str:
        return f"<Schedule {self.name!r} {self._when!r}>"


def _zone(name: str, zone: str) -> tzinfo:
    try:
        return ZoneInfo(zone)
    except (ValueError, OSError, KeyError, TypeError) as exc:
        raise InvalidArgument(
            f"the schedule {name!r}: zone={shown(zone)}: there is no such time zone; give an IANA name, such as "
            "'Europe/Berlin', and install the package tzdata if the system has none"
        ) from exc


def _times(name: str, when: str | float, zone: tzinfo) -> Times:
    if isinstance(when, str):
        return Cron(when, zone)
    if not isinstance(when, int | float) or isinstance(when, bool) or not 1 <= when <= _MOST:
        raise InvalidArgument(
            f"the schedule {name!r}: when={shown(when)}; give a cron expression, or a number of seconds from 1 to "
            f"{_MOST}"
        )
    return Every(when)
