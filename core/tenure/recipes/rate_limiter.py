"""A rate limiter: a token bucket in one key, which participants change by compare-and-set.

The bucket has a time of its own, to which it was filled. A participant that takes permits fills it to the present time
first. That is the later of two: the wall clock, and the bucket's time plus the seconds for which this participant has
seen it unchanged, by its monotonic clock. So the bucket's time is never later than the fastest wall clock, and never
goes back. All permits that are given between two moments were there, or came with the time between. A wall clock that
is ahead gives its lead away once, however often it is read. One that is behind holds nobody up.

Permits are taken in advance. A participant that has to wait for them leaves a debt in the bucket, and waits on its own.
So waiters are served in order, and none asks the store again.
"""

from __future__ import annotations

import json
import math
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import wall_clock
from tenure._steps.effects import Commit, Get, Sleep, Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import Conflict, InvalidArgument, OutcomeUnknown, StoreCorrupted, WaitTimeout
from tenure.recipes import _names
from tenure.recipes._owner import MOST, fields_of, finite
from tenure.recipes._patience import beside, over
from tenure.spi.types import KeyAbsent, KeyValue, Precondition, Put, RevisionEquals

_LATEST = 1e12
"""Seconds since 1970. No clock tells a later time, and a bucket that has one never fills: a second is lost in it."""
_PAUSE = 0.005
"""Seconds, on average, before the first repetition of a change that another participant was quicker with."""


@dataclass(slots=True)
class Bucket:
    """One bucket, as one participant sees it. Steps, without I/O.

    Attributes:
        store: the store.
        key: the bucket's key.
        what: the limiter, for messages.
        rate: permits that come each second.
        burst: permits that a full bucket has.
        wall: the wall clock, in seconds since the epoch.
    """

    store: Store
    key: str
    what: str
    rate: float
    burst: float
    wall: Callable[[], float] = wall_clock
    _seen: tuple[bytes, float] = field(default=(b"", 0.0))
    """The bucket that was seen last, and when it was seen first, by the store object's clock. A value has a mark of its
    own, and a revision may come again in a store that was restored."""

    def take(self, permits: float, limit: TimeLimit, *, wait: bool = True) -> Steps[bool]:
        """Steps that take permits and wait until they have come. Return ``False`` if ``wait`` forbids that.

        Raise ``WaitTimeout``, and take none, if they come too late.
        """
        pause, calls = _PAUSE, beside(self.store, limit)
        while True:
            item = yield from Get(self.key, calls)
            now, there = self._present(item)
            seconds = max(0.0, (permits - there) / self.rate)
            left = limit.left()
            if seconds and not wait:
                return False
            if left is not None and seconds > max(0.0, left):
                raise WaitTimeout(
                    f"acquiring {permits:g} of {self.what}: they come in {seconds:.3g} s only; give a longer timeout, "
                    "or try again"
                )
            if (yield from self._change(item, now, there - permits, calls)):
                if seconds:
                    yield from Sleep(seconds)
                return True
            yield from Sleep(2 * pause * random.random())  # noqa: S311 - spreads participants, no secret
            pause = min(2 * pause, 0.2)

    def _present(self, item: KeyValue | None) -> tuple[float, float]:
        """Return the time to which the bucket is filled now, and the permits in it; below 0 is a debt."""
        wall = self.wall()
        if item is None:
            return wall, self.burst
        clock, seen = self.store.clock.now(), self._seen  # which other threads may change meanwhile
        if seen[0] != item.value:
            seen = self._seen = item.value, clock
        fields = fields_of(item.value)
        filled, there = _number(fields, "time"), _number(fields, "permits")
        if filled > _LATEST or there == math.inf:
            raise StoreCorrupted(f"acquiring of {self.what}: {self.key!r} is no bucket; remove the key")
        now = max(wall, filled + clock - seen[1])
        return now, min(self.burst, there + (now - filled) * self.rate)

    def _change(self, item: KeyValue | None, now: float, there: float, limit: TimeLimit) -> Steps[bool]:
        """Change the bucket if it is still ``item``. An unknown outcome may cost permits, and gives none twice."""
        mark = secrets.token_hex(8)
        value = json.dumps({"time": now, "permits": there, "mark": mark}).encode()
        guard: Precondition = KeyAbsent(self.key) if item is None else RevisionEquals(self.key, item.mod_revision)
        try:
            yield from Commit((guard,), (Put(self.key, value),), limit)
        except Conflict:
            return False
        except OutcomeUnknown:
            if over(limit):
                raise
            found = yield from Get(self.key, limit)
            return found is not None and fields_of(found.value).get("mark") == mark
        return True


def _number(fields: Mapping[str, object], name: str) -> float:
    """Return a number of a bucket, an infinite one if it has none."""
    try:
        return finite(fields.get(name))
    except ValueError:
        return math.inf


class RateLimiter:
    """Lets participants together do something ``rate`` times in ``per`` seconds, with bursts of ``burst``.

    In any ``t`` seconds, at most ``burst + rate / per * (t + d)`` permits are given, where ``d`` is the largest
    difference between the wall clocks of the participants' machines. A clock that is wrong for long doesn't add to that
    with every permit, and one that is behind only delays. Clocks have to run at the same speed.

    A permit costs a read and a write, so that one limiter gives some hundred a second; take several at once for more.
    The store keeps one key for each name.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     calls = tenure.RateLimiter(store, "mail-api", rate=2, per=60)
    ...     [calls.try_acquire() for _ in range(3)]
    [True, True, False]

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        rate: permits in ``per`` seconds; the same at each participant.
        per: seconds; the same at each participant.
        burst: permits that may be taken at once after a quiet time; by default ``rate``, at least 1.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL; or a number is out of range.
    """

    def __init__(self, store: Store, name: str, *, rate: float, per: float = 1.0, burst: float | None = None) -> None:
        _check("rate", rate, above=0.0)
        _check("per", per, above=0.0)
        full = max(1.0, rate) if burst is None else burst
        _check("burst", full, above=0.0)
        if not rate / per:
            raise InvalidArgument(f"rate={rate!r} in per={per!r} seconds is none in any time; give a larger rate")
        self._store = store
        self._name = name
        key = _names.folder("rate", name) + "bucket"
        self._bucket = Bucket(store, key, f"the permits {name!r}", rate / per, full)

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._name

    def acquire(self, permits: float = 1.0, *, timeout: float | None = None) -> None:
        """Take permits, and wait until they may be used. Those who wait are served in order.

        An interrupt during the wait leaves the permits taken.

        Args:
            permits: how many, at most ``burst``.
            timeout: seconds to wait; ``None`` waits as long as it takes. Requests have the store's timeout beside.

        Raises:
            WaitTimeout: they don't come in that time. It is raised at once, and none is taken.
            InvalidArgument: ``permits`` is not positive, or more than ``burst``.
            OutcomeUnknown: the time ran out while a write had no answer. The permits may be taken without a user.
            StoreCorrupted: another program wrote the bucket's key.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._taking(permits, timeout, wait=True))

    def try_acquire(self, permits: float = 1.0, *, timeout: float | None = None) -> bool:
        """Take permits if they are there now.

        Args:
            permits: how many, at most ``burst``.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            Whether they were taken.

        Raises:
            InvalidArgument: ``permits`` is not positive, or more than ``burst``.
            OutcomeUnknown: the time ran out while a write had no answer. The permits may be taken without a user.
            StoreCorrupted: another program wrote the bucket's key.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._taking(permits, timeout, wait=False))

    def _taking(self, permits: float, timeout: float | None, *, wait: bool) -> Steps[bool]:
        _check("permits", permits, above=0.0)
        if permits > self._bucket.burst:
            raise InvalidArgument(
                f"permits={shown(permits)}: a full bucket has {self._bucket.burst:g}; ask for fewer at once"
            )
        return self._bucket.take(permits, TimeLimit(self._store.clock, timeout), wait=wait)

    def __repr__(self) -> str:
        return f"<RateLimiter {self._name!r} {self._bucket.rate:g}/s burst={self._bucket.burst:g}>"


def _check(name: str, value: float, *, above: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= MOST:
        raise InvalidArgument(f"{name}={shown(value)}: give a number greater than {above:g}")
