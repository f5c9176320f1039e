"""From hooks to measurements, once for all ways to export: a :class:`Sink` gets them."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from weakref import WeakSet

from tenure.errors import TenureError, WaitTimeout
from tenure.hookspecs import ObservedStore, Outcome, hookimpl
from tenure.plugin_kit import monotonic
from tenure_telemetry import instruments as of
from tenure_telemetry.instruments import Instrument
from tenure_telemetry.labels import AllowList, Labels, of_store

Age = Callable[[], float | None]
_OPERATIONS = of.OPERATIONS
_UNKNOWN = Outcome.UNKNOWN
"""By its name it would be looked up by code in Python 3.11."""
_POOLS = ("callbacks", "connecting", "losses")
_CAUSES = ("slow_consumer", "compacted", "history_replaced", "connection_lost")
_GONE = frozenset({"idle", "closed"})
"""Statuses of a registration that is no longer wanted."""


class Sink(ABC):
    """Where measurements go. Every method may be called by any thread, and is quick."""

    @abstractmethod
    def add(self, instrument: Instrument, value: int, labels: Mapping[str, str | int]) -> None:
        """Add to a counter, or to an instrument that goes up and down.

        Args:
            instrument: one of the table.
            value: what is added.
            labels: some of the instrument's labels.
        """

    @abstractmethod
    def record(self, instrument: Instrument, value: float, labels: Mapping[str, str | int]) -> None:
        """Count a value in a histogram.

        Args:
            instrument: one of the table.
            value: the value.
            labels: some of the instrument's labels.
        """


class Forgets(Protocol):
    """What begins again in a forked child."""

    def _forget(self) -> None: ...


_FORGETTING: WeakSet[Forgets] = WeakSet()


def after_fork(one: Forgets) -> None:
    """Let ``one`` begin again in each forked child. Another thread may have had its lock at the fork.

    Args:
        one: what begins again.
    """
    _FORGETTING.add(one)


def _forget_all() -> None:
    for one in tuple(_FORGETTING):
        one._forget()


os.register_at_fork(after_in_child=_forget_all)


class Measures:
    """The observer. A subclass or the caller exports what the sink has got.

    Args:
        sink: gets the measurements.
        allow: names that may become labels.
    """

    def __init__(self, sink: Sink, allow: AllowList | None = None) -> None:
        self._sink = sink
        self._allow = allow or AllowList()
        self._forget()
        after_fork(self)

    def _forget(self) -> None:
        """Begin again: at the start, and in a forked child, which has none of its parent's stores."""
        # Reentrant: a signal handler that calls the store may interrupt a method that has it.
        self._lock = threading.RLock()
        self._operations: dict[int, tuple[ObservedStore, dict[tuple[str, int, type], Labels]]] = {}
        self._disconnected: set[int] = set()
        self._statuses: dict[tuple[int, str, str], tuple[str, Labels]] = {}
        self._recovering: dict[tuple[int, str, str], float] = {}
        self._caches: dict[Age, Labels] = {}

    # -- stores and operations --

    @hookimpl
    def tenure_store_opened(self, store: ObservedStore) -> None:
        """Add one to ``tenure.stores.open``, and let the store's counters begin with zero."""
        labels = of_store(store)
        self._sink.add(of.STORES, 1, labels)
        # Prometheus sees no increase in a counter that begins with 1, and would not alert.
        for counter in (of.UNKNOWN, of.SUSPECTS, of.LOSSES):
            self._sink.add(counter, 0, labels)
        for pool in _POOLS:
            self._sink.add(of.SLOW_CALLBACKS, 0, {**labels, "tenure.callback.pool": pool})

    @hookimpl
    def tenure_store_closed(self, store: ObservedStore) -> None:
        """Take one from ``tenure.stores.open``."""
        self._operations.pop(id(store), None)
        self._sink.add(of.STORES, -1, of_store(store))

    @hookimpl
    def tenure_operation_finished(
        self,
        store: ObservedStore,
        operation: str,
        seconds: float,
        outcome: Outcome,
        error: TenureError | None,
        attempts: int,
        context: object,
    ) -> None:
        """Record ``db.client.operation.duration`` in seconds, and count retries and unknown outcomes.

        The counters are ``tenure.operation.retries`` and ``tenure.operation.unknown``.
        """
        labels = self._labels(store, operation, outcome, error)
        self._sink.record(_OPERATIONS, seconds, labels)
        if outcome is _UNKNOWN:
            self._sink.add(of.UNKNOWN, 1, of_store(store))
        if attempts > 1:
            self._sink.add(of.RETRIES, attempts - 1, {**of_store(store), "db.operation.name": operation})

    def _labels(self, store: ObservedStore, operation: str, outcome: Outcome, error: TenureError | None) -> Labels:
        """Return the labels of an operation: always the same object, since most calls are like an earlier one."""
        known = self._operations.get(id(store))
        if known is None or known[0] is not store:
            known = self._operations[id(store)] = (store, {})
        key = (operation, id(outcome), type(error))  # a member of an enum is hashed by Python code
        labels = known[1].get(key)
        if labels is None:
            labels = {**of_store(store), "db.operation.name": operation, "tenure.outcome": outcome.value}
            if (kind := error_type(outcome, error)) is not None:
                labels["error.type"] = kind
            known[1][key] = labels
        return labels

    # -- leases --

    @hookimpl
    def tenure_lease_granted(self, store: ObservedStore) -> None:
        """Add one to ``tenure.leases.held``."""
        self._sink.add(of.LEASES, 1, of_store(store))

    @hookimpl
    def tenure_lease_refreshed(self, store: ObservedStore, seconds: float, remaining: float) -> None:
        """Record ``tenure.lease.refresh.duration`` and ``tenure.lease.remaining``, both in seconds."""
        labels = of_store(store)
        self._sink.record(of.REFRESHES, seconds, labels)
        self._sink.record(of.REMAINING, remaining, labels)

    @hookimpl
    def tenure_lease_suspect(self, store: ObservedStore) -> None:
        """Add one to ``tenure.lease.suspects``."""
        self._sink.add(of.SUSPECTS, 1, of_store(store))

    @hookimpl
    def tenure_lease_lost(self, store: ObservedStore) -> None:
        """Add one to ``tenure.lease.losses``, and take one from ``tenure.leases.held``."""
        self._sink.add(of.LOSSES, 1, of_store(store))
        self._sink.add(of.LEASES, -1, of_store(store))

    @hookimpl
    def tenure_lease_revoked(self, store: ObservedStore) -> None:
        """Take one from ``tenure.leases.held``."""
        self._sink.add(of.LEASES, -1, of_store(store))

    # -- watches --

    @hookimpl
    def tenure_watch_opened(self, store: ObservedStore, prefix: str) -> None:
        """Add one to ``tenure.watches.open``, and let the watch's counters begin with zero."""
        labels = self._watch(store, prefix)
        self._sink.add(of.WATCHES, 1, labels)
        for cause in _CAUSES:
            self._sink.add(of.RESYNCS, 0, {**labels, "tenure.cause": cause})

    @hookimpl
    def tenure_watch_closed(self, store: ObservedStore, watch_id: int, prefix: str) -> None:
        """Take one from ``tenure.watches.open``, and end the watch's outage if there is one."""
        self._connected(store, watch_id, prefix)
        self._sink.add(of.WATCHES, -1, self._watch(store, prefix))

    @hookimpl
    def tenure_watch_delivered(self, store: ObservedStore, prefix: str, changes: int, lag: float, pending: int) -> None:
        """Count ``tenure.watch.changes``, and record ``tenure.watch.lag`` in seconds and ``tenure.watch.pending``."""
        labels = self._watch(store, prefix)
        self._sink.add(of.CHANGES, changes, labels)
        self._sink.record(of.LAG, lag, labels)
        self._sink.record(of.PENDING, pending, labels)

    @hookimpl
    def tenure_watch_resynced(self, store: ObservedStore, prefix: str, cause: str) -> None:
        """Add one to ``tenure.watch.resyncs`` of this cause."""
        self._sink.add(of.RESYNCS, 1, {**self._watch(store, prefix), "tenure.cause": cause})

    @hookimpl
    def tenure_watch_disconnected(self, store: ObservedStore, watch_id: int, prefix: str) -> None:
        """Add one to ``tenure.watches.disconnected``, once for an outage."""
        with self._lock:
            if watch_id in self._disconnected:
                return
            self._disconnected.add(watch_id)
        self._sink.add(of.DISCONNECTED, 1, self._watch(store, prefix))

    @hookimpl
    def tenure_watch_reconnected(self, store: ObservedStore, watch_id: int, prefix: str, seconds: float) -> None:
        """Record ``tenure.watch.outage.duration`` in seconds, and end the outage."""
        self._connected(store, watch_id, prefix)
        self._sink.record(of.OUTAGES, seconds, self._watch(store, prefix))

    def _connected(self, store: ObservedStore, watch_id: int, prefix: str) -> None:
        with self._lock:
            if watch_id not in self._disconnected:
                return
            self._disconnected.remove(watch_id)
        self._sink.add(of.DISCONNECTED, -1, self._watch(store, prefix))

    def _watch(self, store: ObservedStore, prefix: str) -> Labels:
        return of_store(store) | self._allow.prefix(prefix)

    # -- callbacks --

    @hookimpl
    def tenure_callback_dequeued(self, store: ObservedStore, pool: str, seconds: float, waiting: int) -> None:
        """Record ``tenure.callback.wait.duration`` in seconds, and ``tenure.callback.queue.depth``."""
        labels = {**of_store(store), "tenure.callback.pool": pool}
        self._sink.record(of.CALLBACK_WAITS, seconds, labels)
        self._sink.record(of.CALLBACK_QUEUE, waiting, labels)

    @hookimpl
    def tenure_callback_slow(self, store: ObservedStore, pool: str) -> None:
        """Add one to ``tenure.callback.slow``."""
        self._sink.add(of.SLOW_CALLBACKS, 1, {**of_store(store), "tenure.callback.pool": pool})

    @hookimpl
    def tenure_callback_finished(
        self, store: ObservedStore, source: str, seconds: float, error: BaseException | None
    ) -> None:
        """Record ``tenure.callback.duration`` in seconds."""
        labels = {**of_store(store), "tenure.callback.source": source}
        if error is not None:
            labels["error.type"] = type(error).__name__
        self._sink.record(of.CALLBACKS, seconds, labels)

    # -- registrations and caches --

    @hookimpl
    def tenure_registration_changed(self, store: ObservedStore, prefix: str, status: str, service: str) -> None:
        """Move the registration within ``tenure.registrations`` to its new status.

        If it is registered again, ``tenure.registration.recovery.duration`` is recorded in seconds.
        """
        labels = of_store(store) | self._allow.service(service)
        registry = (id(store), prefix, service)
        recovered: float | None = None
        with self._lock:
            before = self._statuses.pop(registry, None)
            if status not in _GONE:
                self._statuses[registry] = (status, labels)
            if status == "recovering":
                self._recovering.setdefault(registry, monotonic())
            elif (since := self._recovering.pop(registry, None)) is not None and status == "registered":
                recovered = monotonic() - since
        if before is not None:
            self._sink.add(of.REGISTRATIONS, -1, {**before[1], "tenure.status": before[0]})
        if status not in _GONE:
            self._sink.add(of.REGISTRATIONS, 1, {**labels, "tenure.status": status})
        if recovered is not None:
            self._sink.record(of.RECOVERIES, recovered, labels)

    @hookimpl
    def tenure_cache_opened(self, store: ObservedStore, prefix: str, kind: str, age: Age) -> None:
        """Let ``tenure.cache.age``, in seconds, include this cache."""
        with self._lock:
            self._caches[age] = {**of_store(store), "tenure.cache.kind": kind, **self._allow.prefix(prefix)}

    @hookimpl
    def tenure_cache_closed(self, age: Age) -> None:
        """Leave this cache out of ``tenure.cache.age``."""
        with self._lock:
            self._caches.pop(age, None)

    def cache_ages(self) -> Iterable[tuple[float, Labels]]:
        """Return how old the caches are now.

        Returns:
            For each set of labels the age of the oldest cache, in seconds.
        """
        with self._lock:
            caches = list(self._caches.items())
        oldest: dict[tuple[tuple[str, str | int], ...], float] = {}
        for age, labels in caches:
            seconds = age()
            if seconds is None:  # the application has dropped it
                with self._lock:
                    self._caches.pop(age, None)
                continue
            key = tuple(labels.items())
            oldest[key] = max(seconds, oldest.get(key, 0.0))
        return [(seconds, dict(key)) for key, seconds in oldest.items()]

    # -- recipes --

    @hookimpl
    def tenure_recipe_waiting(self, store: ObservedStore, kind: str, name: str) -> object:
        """Add one to ``tenure.locks.waiting``."""
        self._sink.add(of.LOCKS_WAITING, 1, self._lock_labels(store, kind, name))
        return None

    @hookimpl
    def tenure_recipe_queued(self, store: ObservedStore, kind: str, name: str, waiters: int) -> None:
        """Record ``tenure.lock.waiters``."""
        self._sink.record(of.LOCK_WAITERS, waiters, self._lock_labels(store, kind, name))

    @hookimpl
    def tenure_recipe_held(
        self, store: ObservedStore, kind: str, name: str, token: int, seconds: float, context: object
    ) -> None:
        """Record ``tenure.lock.wait.duration`` in seconds, and move one from waiting to ``tenure.locks.held``."""
        labels = self._waited(store, kind, name, seconds, "held")
        self._sink.add(of.LOCKS_HELD, 1, labels)
        self._sink.add(of.LOCK_LOSSES, 0, labels)

    @hookimpl
    def tenure_recipe_given_up(
        self, store: ObservedStore, kind: str, name: str, seconds: float, error: TenureError | None, context: object
    ) -> None:
        """Record ``tenure.lock.wait.duration`` in seconds, and take one from ``tenure.locks.waiting``."""
        self._waited(store, kind, name, seconds, why_given_up(error))

    @hookimpl
    def tenure_recipe_released(self, store: ObservedStore, kind: str, name: str, seconds: float) -> None:
        """Record ``tenure.lock.hold.duration`` in seconds, and take one from ``tenure.locks.held``."""
        self._ended(store, kind, name, seconds, "released")

    @hookimpl
    def tenure_recipe_lost(self, store: ObservedStore, kind: str, name: str, seconds: float) -> None:
        """Do what a release does, and add one to ``tenure.lock.losses``."""
        self._ended(store, kind, name, seconds, "lost")
        self._sink.add(of.LOCK_LOSSES, 1, self._lock_labels(store, kind, name))

    def _waited(self, store: ObservedStore, kind: str, name: str, seconds: float, outcome: str) -> Labels:
        labels = self._lock_labels(store, kind, name)
        self._sink.add(of.LOCKS_WAITING, -1, labels)
        self._sink.record(of.LOCK_WAITS, seconds, {**labels, "tenure.outcome": outcome})
        return labels

    def _ended(self, store: ObservedStore, kind: str, name: str, seconds: float, outcome: str) -> None:
        labels = self._lock_labels(store, kind, name)
        self._sink.add(of.LOCKS_HELD, -1, labels)
        self._sink.record(of.LOCK_HOLDS, seconds, {**labels, "tenure.outcome": outcome})

    def _lock_labels(self, store: ObservedStore, kind: str, name: str) -> Labels:
        return {**of_store(store), "tenure.lock.kind": kind, **self._allow.lock(name)}


def error_type(outcome: Outcome, error: TenureError | None) -> str | None:
    """Return what ``error.type`` is for the end of an operation.

    Args:
        outcome: how it ended.
        error: what it raised.

    Returns:
        The error's class, or ``"interrupted"``. ``None`` if it is no error: a conflict is an answer.
    """
    if outcome is Outcome.INTERRUPTED:
        return outcome.value
    return None if error is None or outcome is Outcome.CONFLICT else type(error).__name__


def why_given_up(error: TenureError | None) -> str:
    """Return the outcome of an acquisition that did not succeed.

    Args:
        error: what it raised; ``None`` for one that was not to wait, or was interrupted.

    Returns:
        ``"busy"``, ``"timeout"`` or ``"error"``.
    """
    if error is None:
        return "busy"
    return "timeout" if isinstance(error, WaitTimeout) else "error"
