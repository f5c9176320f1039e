"""One run of several leases side by side, which the rules about time share: they wait for the longest only once.

Times are seconds of ``time.monotonic``. A lease's time counts from when the store received the request, which is
between ``sent`` and ``answered``. So the lease must not expire before ``sent + ttl``, and has to expire by
``answered`` plus the declared worst case.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tenure.conformance.harness.assertions import EVENT_TIMEOUT, RuleViolated
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.leases import Lease
from tenure.spi import KeyValue
from tenure.watch import Event, EventType

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


def recorded(endings: Iterable[Ending], **limits: object) -> dict[str, object]:
    """Return what was seen of these leases, as data for :mod:`tenure.conformance.checkers.leases`, with ``limits``."""
    found = list(endings)
    began = min(ending.sent for ending in found)
    moments = ("sent", "answered", "notified", "missed")
    shown: list[dict[str, object]] = []
    for ending in found:
        times = {name: getattr(ending, name) for name in moments}
        since = {name: None if moment is None else round(moment - began, 6) for name, moment in times.items()}
        shown.append({"name": ending.name, "ttl": ending.ttl, "worst": ending.worst, **since})
    return {"endings": shown, **limits}


def observe(context: RuleContext) -> LeaseRun:
    """Observe leases left alone, refreshed once, kept alive; keys detached, moved, in groups, with children."""
    store, holder = context.store, context.connect()
    ttl = context.short_ttl
    lost: list[Lease] = []
    leases: dict[str, Lease] = {}
    endings: dict[str, Ending] = {}

    def grant(name: str, *, keep_alive: bool = False) -> Lease:
        sent = time.monotonic()
        lease = holder.lease(ttl, keep_alive=keep_alive, on_lost=lost.append if name == "alone/0" else None)
        leases[name] = lease
        if not keep_alive:
            endings[name] = Ending(name, lease.ttl, lease.max_lifetime_after_refresh, sent, time.monotonic())
        return lease

    with Follower(context.check, store.watch("lease/", previous=True)) as follower:
        follower.wait_in_sync()
        kept = grant("kept", keep_alive=True)
        holder.put("lease/kept", b"kept", lease=kept)
        for name in ("alone/0", "alone/1", "refreshed", "group", "parent", "left", "detached"):
            holder.put(f"lease/{name}", name.encode(), lease=grant(name))
        for child in ("group/1", "group/2"):
            holder.put(f"lease/{child}", b"", lease=leases["group"])
        holder.put("lease/parent/child", b"child")
        holder.put("lease/detached/key", b"", lease=leases["detached"])
        holder.put("lease/detached/key", b"free")
        holder.put("lease/left/key", b"", lease=leases["left"])
        holder.put("lease/left/key", b"moved", lease=kept)
        _refresh_once(leases["refreshed"], endings["refreshed"])
        _watch_them_end(context, follower, endings)
        context.check.eventually(
            lambda: time.monotonic() - endings["alone/0"].answered,
            lambda age: age > kept.max_lifetime_after_refresh + context.capabilities.max_watch_latency,
            "kept a lease",
            expected=f"more than {kept.max_lifetime_after_refresh:g} s",
            within=kept.max_lifetime_after_refresh * 2 + EVENT_TIMEOUT,
        )
        listed = {item.key: item for item in store.list("lease/")}
        run = LeaseRun(
            endings,
            [event for batch in follower.batches for event in batch.events],
            kept,
            listed.get("lease/kept"),
            dict(listed),
        )
        run.states = {name: lease.state.value for name, lease in leases.items()}
        with contextlib.suppress(RuleViolated):  # one rule checks whether it is called, not all of them
            context.check.eventually(
                lambda: len(lost), lambda count: count >= 1, "let a lease end", expected="its on_lost is called"
            )
        run.lost_calls = len(lost)
        return run


def _refresh_once(lease: Lease, ending: Ending) -> None:
    """Refresh when more than half of the TTL has passed; the lease's time counts from then."""
    while time.monotonic() < ending.sent + 0.6 * lease.ttl:
        time.sleep(0.01)
    ending.sent = time.monotonic()
    lease.refresh()
    ending.answered = time.monotonic()


def _watch_them_end(context: RuleContext, follower: Follower, endings: dict[str, Ending]) -> None:
    latency = context.capabilities.max_watch_latency
    deadline = (
        max(each.answered + each.worst for each in endings.values()) + latency + CLOCK_TOLERANCE + EVENT_TIMEOUT / 3
    )
    while time.monotonic() < deadline:
        for ending in endings.values():
            key = f"lease/{ending.name}"
            if ending.missed is None and context.store.get(key) is None:
                ending.missed = time.monotonic()
            if ending.notified is None:
                found = follower.event(key, lambda event: event.type is EventType.DELETE)
                if found is not None:
                    ending.event, ending.notified = found
        if all(each.missed is not None and each.notified is not None for each in endings.values()):
            return
        time.sleep(0.02)
