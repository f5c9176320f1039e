"""The table of instruments: what is measured, in which unit, with which labels. Each way to export follows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_STORE = ("db.system.name", "db.namespace", "server.address", "server.port")

CALLS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
)  # fmt: skip
"""Boundaries in seconds for calls: a call in memory takes some 10 us."""
WAITS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Boundaries in seconds for waits, tenures and outages."""
COUNTS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Boundaries for numbers of things that wait."""


class Kind(StrEnum):
    """What an instrument does with values.

    Attributes:
        COUNTER: adds them up; they are positive.
        UP_DOWN: adds them up; the sum is a number of things that are there now.
        HISTOGRAM: counts them by size.
        GAUGE: has one value, which is asked for when it is exported.
    """

    COUNTER = "counter"
    UP_DOWN = "up_down"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One metric. Each is an object of its own, so that looking it up is quick.

    Attributes:
        name: its name for OpenTelemetry.
        kind: what it does with values.
        unit: the unit, by UCUM; a word in braces names what is counted.
        description: what it shows.
        labels: its labels, those of the store included.
        boundaries: the upper limits of a histogram's buckets.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...]
    boundaries: tuple[float, ...] = ()


def _counter(name: str, unit: str, description: str, *labels: str) -> Instrument:
    return Instrument(name, Kind.COUNTER, unit, description, (*_STORE, *labels))


def _up_down(name: str, unit: str, description: str, *labels: str) -> Instrument:
    return Instrument(name, Kind.UP_DOWN, unit, description, (*_STORE, *labels))


def _histogram(
    name: str, description: str, *labels: str, boundaries: tuple[float, ...] = CALLS, unit: str = "s"
) -> Instrument:
    return Instrument(name, Kind.HISTOGRAM, unit, description, (*_STORE, *labels), boundaries)


OPERATIONS = _histogram(
    "db.client.operation.duration",
    "Duration of operations, retries included",
    "db.operation.name",
    "error.type",
    "tenure.outcome",
)
RETRIES = _counter("tenure.operation.retries", "{attempt}", "Attempts beyond the first", "db.operation.name")
UNKNOWN = _counter("tenure.operation.unknown", "{operation}", "Writes whose outcome is not known")
STORES = _up_down("tenure.stores.open", "{store}", "Stores that are open")
LEASES = _up_down("tenure.leases.held", "{lease}", "Leases that this process holds")
REFRESHES = _histogram("tenure.lease.refresh.duration", "Duration of refreshes of leases, for each lease")
REMAINING = _histogram(
    "tenure.lease.remaining", "Time that a lease had left when its refresh was confirmed", boundaries=WAITS
)
SUSPECTS = _counter("tenure.lease.suspects", "{lease}", "Leases without a refresh for two thirds of their TTL")
LOSSES = _counter("tenure.lease.losses", "{lease}", "Leases that were lost")
WATCHES = _up_down("tenure.watches.open", "{watch}", "Watches that are open", "tenure.prefix")
DISCONNECTED = _up_down("tenure.watches.disconnected", "{watch}", "Watches that are without the store", "tenure.prefix")
OUTAGES = _histogram(
    "tenure.watch.outage.duration", "Duration of outages of watches that are over", "tenure.prefix", boundaries=WAITS
)
LAG = _histogram("tenure.watch.lag", "Time that changes waited in this process for their consumer", "tenure.prefix")
CHANGES = _counter("tenure.watch.changes", "{change}", "Changes that consumers of watches took", "tenure.prefix")
PENDING = _histogram(
    "tenure.watch.pending",
    "Changes that wait behind those that the consumer takes",
    "tenure.prefix",
    boundaries=COUNTS,
    unit="{change}",
)
RESYNCS = _counter(
    "tenure.watch.resyncs", "{resync}", "Gaps that watches closed, by cause", "tenure.cause", "tenure.prefix"
)
CALLBACK_WAITS = _histogram(
    "tenure.callback.wait.duration", "Time that callbacks waited for a thread", "tenure.callback.pool"
)
CALLBACK_QUEUE = _histogram(
    "tenure.callback.queue.depth",
    "Callbacks that wait for a thread",
    "tenure.callback.pool",
    boundaries=COUNTS,
    unit="{callback}",
)
CALLBACKS = _histogram(
    "tenure.callback.duration", "Duration of the application's callbacks", "tenure.callback.source", "error.type"
)
SLOW_CALLBACKS = _counter(
    "tenure.callback.slow", "{callback}", "Callbacks that took a second or more", "tenure.callback.pool"
)
REGISTRATIONS = _up_down(
    "tenure.registrations", "{registration}", "Own registrations by status", "tenure.status", "tenure.service.name"
)
RECOVERIES = _histogram(
    "tenure.registration.recovery.duration",
    "Time from the loss of a registration to its recovery",
    "tenure.service.name",
    boundaries=WAITS,
)
CACHE_AGE = Instrument(
    "tenure.cache.age",
    Kind.GAUGE,
    "s",
    "Time for which a cache has not been up to date, of the oldest one",
    (*_STORE, "tenure.cache.kind", "tenure.prefix"),
)
LOCK_WAITS = _histogram(
    "tenure.lock.wait.duration",
    "Time until a lock or another recipe was held, or given up",
    "tenure.lock.kind",
    "tenure.outcome",
    "tenure.lock.name",
    boundaries=WAITS,
)
LOCK_HOLDS = _histogram(
    "tenure.lock.hold.duration",
    "Time for which a lock or another recipe was held",
    "tenure.lock.kind",
    "tenure.outcome",
    "tenure.lock.name",
    boundaries=WAITS,
)
LOCKS_WAITING = _up_down(
    "tenure.locks.waiting", "{participant}", "Objects of this process that wait", "tenure.lock.kind", "tenure.lock.name"
)
LOCKS_HELD = _up_down(
    "tenure.locks.held", "{lock}", "Locks and other recipes that this process holds", "tenure.lock.kind",
    "tenure.lock.name",
)  # fmt: skip
LOCK_LOSSES = _counter(
    "tenure.lock.losses", "{lock}", "Locks and other recipes that were lost", "tenure.lock.kind", "tenure.lock.name"
)
LOCK_WAITERS = _histogram(
    "tenure.lock.waiters",
    "Participants of a queue, of all processes, as one that waits sees them",
    "tenure.lock.kind",
    "tenure.lock.name",
    boundaries=COUNTS,
    unit="{participant}",
)

ALL = tuple(value for value in globals().values() if isinstance(value, Instrument))
"""Every instrument."""
