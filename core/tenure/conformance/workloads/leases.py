"""One run of several leases side by side, which the rules about time share: they wait for the longest only once.

Times are seconds of ``time.monotonic``. A lease's time counts from when the store received the request, which is
between ``sent`` and ``answered``. So the lease must not expire before ``sent + ttl``, and has to expire by
``answered`` plus the declared worst case.

The run measures its own delays. If a lease ended while its keys were still being put, or if the run looked too seldom
to know when a key went, then the run itself was late. It is repeated with a longer TTL, and in the end inconclusive.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tenure.conformance.harness.assertions import EVENT_TIMEOUT, RuleViolated, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.lateness import Lateness
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import Running
from tenure.errors import LeaseLost, LeaseNotFound
from tenure.leases import Lease, LeaseState
from tenure.spi import KeyValue
from tenure.watch import Event, EventType

T = TypeVar("T")

CLOCK_TOLERANCE = 1.0
"""Seconds by which this machine may be late, in addition to what the store declares."""


@dataclass(slots=True)
class Ending:
    """What the run saw of one lease that was not kept alive."""

    name: str
    ttl: float
    worst: float
    sent: float
    answered: float
    event: Event | None = None
    notified: float | None = None
    """When a watcher received the delete of its key."""
    missed: float | None = None
    """When a reader first found its key missing."""
    present: float | None = None
    """When the last read that found its key was sent."""

    @property
    def seen(self) -> bool:
        """Whether reader and watcher know of its end."""
        return self.missed is not None and self.notified is not None


@dataclass(slots=True)
class LeaseRun:
    """Everything that the run saw."""

    endings: dict[str, Ending]
    events: list[Event]
    kept: Lease
    kept_item: KeyValue | None
    after: dict[str, KeyValue | None] = field(default_factory=dict)
    """Keys under ``lease/`` when every lease but the kept one had ended."""
    lost_calls: int = 0
    states: dict[str, str] = field(default_factory=dict)
    late: float = 0.0
    """Seconds by which the run itself, or the slowest call of the store, may have delayed what was seen."""

    @property
    def tolerance(self) -> float:
        """Seconds by which the end of a lease may be seen late."""
        return CLOCK_TOLERANCE + self.late


class _TooLate(Exception):
    """The run itself was late, so it shows nothing."""


_ATTEMPTS = 4
_CALLS = 4
"""Calls that put the keys of one lease, at most."""
_TIMES = 3.0
"""So many times as long as these calls took before, a lease lives at least."""
_BETWEEN = 0.02


def recorded(endings: Iterable[Ending], **limits: object) -> dict[str, object]:
    """Return what was seen of these leases, as data for :mod:`tenure.conformance.checkers.leases`, with ``limits``."""
    found = list(endings)
    began = min(ending.sent for ending in found)
    moments = ("sent", "answered", "notified", "missed", "present")
    shown: list[dict[str, object]] = []
    for ending in found:
        times = {name: getattr(ending, name) for name in moments}
        since = {name: None if moment is None else round(moment - began, 6) for name, moment in times.items()}
        shown.append({"name": ending.name, "ttl": ending.ttl, "worst": ending.worst, **since})
    return {"endings": shown, **limits}


def observe(context: RuleContext) -> LeaseRun:
    """Observe leases left alone, refreshed once, kept alive; keys detached, moved, in groups, with children."""
    ttl = context.short_ttl
    why = ""
    for attempt in range(_ATTEMPTS):
        ttl = min(max(ttl * (1 + attempt), paced_ttl(context)), context.capabilities.max_ttl)
        with Lateness() as lateness:
            observation = _Observation(context, ttl, lateness)
            try:
                return observation.run()
            except _TooLate as late:
                why = str(late)
            finally:
                observation.end()
    raise inconclusive(
        context.rule,
        f"{_ATTEMPTS} runs were late themselves: {why}. They show nothing about the guarantee; the store may be too "
        "slow, or the machine overloaded",
    )


def paced_ttl(context: RuleContext) -> float:
    """Return the shortest TTL in which a few calls can be made, however slow the store is."""
    return max(context.short_ttl, _TIMES * _CALLS * seconds_of_a_put(context))


def seconds_of_a_put(context: RuleContext) -> float:
    """Measure how long a put takes; it leaves a key."""
    started = time.monotonic()
    for _ in range(2):
        context.store.put("before", b"")
    return (time.monotonic() - started) / 2


class _Observation:
    """One run. A thread looks at the keys from the moment that each has been put."""

    def __init__(self, context: RuleContext, ttl: float, lateness: Lateness) -> None:
        self._context = context
        self._ttl = ttl
        self._lateness = lateness
        self._holder = context.connect()
        self._leases: dict[str, Lease] = {}
        self._endings: dict[str, Ending] = {}
        self._placed: dict[str, Ending] = {}
        self._lost: list[Lease] = []
        self._slowest = 0.0
        self._stopped = False

    def run(self) -> LeaseRun:
        """Do everything; raises :class:`_TooLate`."""
        context = self._context
        with Follower(context.check, context.store.watch("lease/", previous=True)) as follower:
            follower.wait_in_sync()
            looking = Running(context.check, [lambda: self._look(follower)], "looked at keys of leases")
            try:
                kept = self._place()
                self._refresh_once("refreshed")
                self._wait_for_ends(looking)
            finally:
                self._stopped = True
                looking.join()
            longest = kept.max_lifetime_after_refresh
            context.check.eventually(
                lambda: time.monotonic() - self._endings["alone/0"].answered,
                lambda age: age > longest + context.capabilities.max_watch_latency,
                "kept a lease",
                expected=f"more than {longest:g} s",
                within=longest * 2 + EVENT_TIMEOUT,
            )
            return self._result(kept, follower)

    def end(self) -> None:
        """Close what the run opened, which revokes its leases, and remove the other keys."""
        self._holder.close()
        self._context.store.delete_prefix("lease/")

    # -- putting --

    def _grant(self, name: str, *, keep_alive: bool = False) -> Lease:
        sent = time.monotonic()
        on_lost = self._lost.append if name == "alone/0" else None
        lease = self._timed(lambda: self._holder.lease(self._ttl, keep_alive=keep_alive, on_lost=on_lost))
        self._leases[name] = lease
        if not keep_alive:
            ending = Ending(name, lease.ttl, lease.max_lifetime_after_refresh, sent, time.monotonic())
            self._endings[name] = ending
        return lease

    def _place(self) -> Lease:
        """Put all keys, those of one lease directly after its grant; return the lease that is kept alive."""
        kept = self._grant("kept", keep_alive=True)
        self._put("kept", b"kept", kept)
        for name in ("alone/0", "alone/1", "group", "parent", "left", "detached", "refreshed"):
            lease = self._grant(name)
            self._put(name, name.encode(), lease)
            if name == "group":
                self._put("group/1", b"", lease)
                self._put("group/2", b"", lease)
            elif name == "parent":
                self._put("parent/child", b"child", None)
            elif name == "detached":
                self._put("detached/key", b"", lease)
                self._put("detached/key", b"free", None)
            elif name == "left":
                self._put("left/key", b"", lease)
                self._put("left/key", b"moved", kept)
            self._in_time(self._endings[name], f"put the keys of the lease {name!r}")
            self._placed[name] = self._endings[name]
        return kept

    def _put(self, key: str, value: bytes, lease: Lease | None) -> None:
        try:
            self._timed(lambda: self._holder.put(f"lease/{key}", value, lease=lease))
        except (LeaseLost, LeaseNotFound):
            for name, ending in self._endings.items():
                if self._leases[name] is lease:
                    self._in_time(ending, f"put {key!r}")
            if lease is self._leases["kept"]:
                self._kept_in_time()
            raise

    def _refresh_once(self, name: str) -> None:
        """Refresh when more than half of the TTL has passed; the lease's time counts from then."""
        lease, ending = self._leases[name], self._endings[name]
        while time.monotonic() < ending.sent + 0.6 * lease.ttl:
            time.sleep(0.01)
        sent = time.monotonic()
        try:
            self._timed(lease.refresh)
        except LeaseLost:
            self._in_time(ending, "refreshed a lease")
            raise
        self._in_time(ending, "refreshed a lease")
        ending.sent, ending.answered = sent, time.monotonic()

    def _timed(self, call: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return call()
        finally:
            self._slowest = max(self._slowest, time.monotonic() - started)

    # -- judging itself --

    def _in_time(self, ending: Ending, did: str) -> None:
        """Raise if the TTL has passed, so that the lease may have ended although the store is right."""
        late = time.monotonic() - ending.sent - ending.ttl
        if late >= 0.0:
            raise _TooLate(f"it {did} {late:.2f} s after the TTL of {ending.ttl:g} s")

    def _kept_in_time(self) -> None:
        """Raise if the lease that is kept alive may have been lost since its refreshes came too late."""
        if self._late > self._ttl / 6:
            raise _TooLate(f"the lease that is kept alive was lost, and threads or calls took {self._late:.2f} s")

    @property
    def _late(self) -> float:
        return self._lateness.longest + self._slowest

    # -- looking --

    def _look(self, follower: Follower) -> None:
        while not self._stopped:
            for ending in list(self._placed.values()):
                key = f"lease/{ending.name}"
                if ending.missed is None:
                    sent = time.monotonic()
                    if self._context.store.get(key) is None:
                        ending.missed = time.monotonic()
                    else:
                        ending.present = sent
                if ending.notified is None:
                    found = follower.event(key, lambda event: event.type is EventType.DELETE)
                    if found is not None:
                        ending.event, ending.notified = found
            time.sleep(_BETWEEN)

    def _wait_for_ends(self, looking: Running) -> None:
        """Wait until every end was seen, or ought to have been seen long ago."""
        latency = self._context.capabilities.max_watch_latency
        last = max(each.answered + each.worst for each in self._endings.values())
        deadline = last + latency + CLOCK_TOLERANCE + EVENT_TIMEOUT / 3
        while time.monotonic() < deadline + self._late and not looking.failed:
            if all(each.seen for each in self._endings.values()):
                return
            time.sleep(_BETWEEN)

    def _result(self, kept: Lease, follower: Follower) -> LeaseRun:
        context = self._context
        listed = {item.key: item for item in context.store.list("lease/")}
        if kept.state is LeaseState.LOST or "lease/kept" not in listed:
            self._kept_in_time()
        run = LeaseRun(
            self._endings,
            [event for batch in follower.batches for event in batch.events],
            kept,
            listed.get("lease/kept"),
            dict(listed),
            late=self._late,
        )
        self._looked_in_time(run.tolerance)
        run.states = {name: lease.state.value for name, lease in self._leases.items()}
        with contextlib.suppress(RuleViolated):  # one rule checks whether it is called, not all of them
            context.check.eventually(
                lambda: len(self._lost), lambda count: count >= 1, "let a lease end", expected="its on_lost is called"
            )
        run.lost_calls = len(self._lost)
        return run

    def _looked_in_time(self, tolerance: float) -> None:
        """Raise if a key may have gone in time although its absence was seen too late."""
        for ending in self._endings.values():
            limit = ending.answered + ending.worst + tolerance
            seen_after = ending.present is not None and ending.present > limit
            if ending.missed is not None and ending.missed > limit and not seen_after:
                raise _TooLate(f"it looked for the key of {ending.name!r} {ending.missed - limit:.2f} s too late")
