"""Log records with stable names and fields: one for each thing that an operator may want to read about.

Each record has the field ``event.name`` and the fields of its event, all by ``extra``, so that a formatter or a handler
for JSON has them apart from the text. :data:`EVENTS` is the table.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from tenure.errors import TenureError
from tenure.hookspecs import ObservedStore, Outcome, hookimpl
from tenure_telemetry.labels import of_store
from tenure_telemetry.measures import error_type, why_given_up

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of record.

    Attributes:
        name: its name, which stays.
        level: the level that it is logged at.
        text: the message, by the fields.
        fields: the fields that each such record has, beside those of the store.
    """

    name: str
    level: int
    text: str
    fields: tuple[str, ...] = ()


COMMON = ("event.name", "tenure.store.url", "db.system.name")
"""Fields of every record. ``db.namespace``, ``server.address`` and ``server.port`` are added if they are known."""

EVENTS = {
    event.name: event
    for event in (
        Event("tenure.store.opened", INFO, "the store {tenure.store.url} is open"),
        Event("tenure.store.closed", INFO, "the store {tenure.store.url} is closed"),
        Event(
            "tenure.operation.failed",
            WARNING,
            "{db.operation.name} failed after {tenure.attempts} attempts and {tenure.seconds:.3f} s: {error.message}",
            ("db.operation.name", "tenure.seconds", "tenure.attempts", "error.type", "error.message"),
        ),
        Event(
            "tenure.operation.unknown",
            WARNING,
            "{db.operation.name} may or may not have been applied: {error.message}",
            ("db.operation.name", "tenure.seconds", "tenure.attempts", "error.type", "error.message"),
        ),
        Event(
            "tenure.operation.slow",
            WARNING,
            "{db.operation.name} took {tenure.seconds:.3f} s and {tenure.attempts} attempts",
            ("db.operation.name", "tenure.seconds", "tenure.attempts"),
        ),
        Event(
            "tenure.lease.granted",
            DEBUG,
            "lease {tenure.lease.id} for {tenure.lease.ttl:g} s",
            ("tenure.lease.id", "tenure.lease.ttl"),
        ),
        Event(
            "tenure.lease.refreshed",
            DEBUG,
            "lease {tenure.lease.id} refreshed with {tenure.lease.remaining:.3f} s left",
            ("tenure.lease.id", "tenure.seconds", "tenure.lease.remaining"),
        ),
        Event(
            "tenure.lease.suspect",
            WARNING,
            "lease {tenure.lease.id} is lost in {tenure.lease.remaining:.3f} s unless a refresh succeeds",
            ("tenure.lease.id", "tenure.lease.remaining"),
        ),
        Event(
            "tenure.lease.lost",
            ERROR,
            "lease {tenure.lease.id} is lost: {tenure.reason}",
            ("tenure.lease.id", "tenure.reason"),
        ),
        Event("tenure.lease.revoked", DEBUG, "lease {tenure.lease.id} has ended", ("tenure.lease.id",)),
        Event("tenure.watch.opened", DEBUG, "a watch of {tenure.prefix!r} is open", ("tenure.prefix",)),
        Event("tenure.watch.closed", DEBUG, "a watch of {tenure.prefix!r} is closed", ("tenure.prefix",)),
        Event(
            "tenure.watch.failed",
            ERROR,
            "a watch of {tenure.prefix!r} has ended: {error.message}",
            ("tenure.prefix", "error.type", "error.message"),
        ),
        Event(
            "tenure.watch.lagging",
            WARNING,
            "the consumer of a watch of {tenure.prefix!r} is {tenure.watch.lag:.3f} s late, {tenure.watch.pending} "
            "changes wait",
            ("tenure.prefix", "tenure.watch.lag", "tenure.watch.pending"),
        ),
        Event(
            "tenure.watch.resynced",
            WARNING,
            "a watch of {tenure.prefix!r} closes a gap: {tenure.reason}",
            ("tenure.prefix", "tenure.cause", "tenure.reason"),
        ),
        Event(
            "tenure.watch.disconnected",
            WARNING,
            "a watch of {tenure.prefix!r} is without the store: {error.message}",
            ("tenure.prefix", "error.type", "error.message"),
        ),
        Event(
            "tenure.watch.reconnected",
            INFO,
            "a watch of {tenure.prefix!r} is connected again after {tenure.seconds:.3f} s",
            ("tenure.prefix", "tenure.seconds"),
        ),
        Event(
            "tenure.callback.slow",
            WARNING,
            "a callback has run for {tenure.seconds:.1f} s and continues",
            ("tenure.callback.pool", "tenure.seconds"),
        ),
        Event(
            "tenure.callback.failed",
            ERROR,
            "a callback of a {tenure.callback.source} raised {error.type}",
            ("tenure.callback.source", "tenure.seconds", "error.type"),
        ),
        Event(
            "tenure.registration.changed",
            INFO,
            "the registration of {tenure.service.name!r} is {tenure.status}: {tenure.reason}",
            ("tenure.prefix", "tenure.service.name", "tenure.status", "tenure.reason"),
        ),
        Event(
            "tenure.registration.failing",
            WARNING,
            "the registration of {tenure.service.name!r} is {tenure.status}: {tenure.reason}",
            ("tenure.prefix", "tenure.service.name", "tenure.status", "tenure.reason"),
        ),
        Event(
            "tenure.cache.opened",
            DEBUG,
            "a {tenure.cache.kind} follows {tenure.prefix!r}",
            ("tenure.cache.kind", "tenure.prefix"),
        ),
        Event(
            "tenure.cache.closed",
            DEBUG,
            "a {tenure.cache.kind} follows {tenure.prefix!r} no longer",
            ("tenure.cache.kind", "tenure.prefix"),
        ),
        Event(
            "tenure.lock.waiting",
            DEBUG,
            "waiting for the {tenure.lock.kind} {tenure.lock.name!r}",
            ("tenure.lock.kind", "tenure.lock.name"),
        ),
        Event(
            "tenure.lock.held",
            INFO,
            "holding the {tenure.lock.kind} {tenure.lock.name!r} after {tenure.seconds:.3f} s",
            ("tenure.lock.kind", "tenure.lock.name", "tenure.lock.token", "tenure.seconds"),
        ),
        Event(
            "tenure.lock.given_up",
            INFO,
            "gave up the {tenure.lock.kind} {tenure.lock.name!r} after {tenure.seconds:.3f} s: {tenure.outcome}",
            ("tenure.lock.kind", "tenure.lock.name", "tenure.seconds", "tenure.outcome"),
        ),
        Event(
            "tenure.lock.released",
            INFO,
            "released the {tenure.lock.kind} {tenure.lock.name!r} after {tenure.seconds:.3f} s",
            ("tenure.lock.kind", "tenure.lock.name", "tenure.lock.token", "tenure.seconds"),
        ),
        Event(
            "tenure.lock.lost",
            ERROR,
            "lost the {tenure.lock.kind} {tenure.lock.name!r} after {tenure.seconds:.3f} s",
            ("tenure.lock.kind", "tenure.lock.name", "tenure.lock.token", "tenure.seconds"),
        ),
    )
}
"""All kinds of records, by name."""


class EventLog:
    """The observer. It logs one record for each event of the table.

    Args:
        logger: gets the records; default: ``tenure.events``.
        slow: seconds from which an operation, or the lag of a watch, is worth a record.
    """

    def __init__(self, logger: logging.Logger | None = None, *, slow: float = 1.0) -> None:
        self._logger = logger or logging.getLogger("tenure.events")
        self._slow = slow

    def _log(self, name: str, store: ObservedStore, /, **fields: object) -> None:
        event = EVENTS[name]
        if self._logger.isEnabledFor(event.level):
            extra: dict[str, object] = {"event.name": name, "tenure.store.url": store.url, **of_store(store), **fields}
            self._logger.log(event.level, "%s", _Text(event.text, extra), extra=extra)

    # -- stores and operations --

    @hookimpl
    def tenure_store_opened(self, store: ObservedStore) -> None:
        """Log ``tenure.store.opened`` at INFO."""
        self._log("tenure.store.opened", store)

    @hookimpl
    def tenure_store_closed(self, store: ObservedStore) -> None:
        """Log ``tenure.store.closed`` at INFO."""
        self._log("tenure.store.closed", store)

    @hookimpl
    def tenure_operation_finished(
        self,
        store: ObservedStore,
        operation: str,
        seconds: float,
        outcome: Outcome,
        error: TenureError | None,
        attempts: int,
    ) -> None:
        """Log at WARNING that an operation failed, may have been applied, or took ``slow`` seconds or longer.

        The events are ``tenure.operation.failed``, ``tenure.operation.unknown`` and ``tenure.operation.slow``. Other
        operations leave no record.
        """
        kind = error_type(outcome, error)
        if kind is None and seconds < self._slow:
            return
        fields: dict[str, object] = {
            "db.operation.name": operation,
            "tenure.seconds": seconds,
            "tenure.attempts": attempts,
        }
        if kind is None:
            self._log("tenure.operation.slow", store, **fields)
            return
        name = "tenure.operation.unknown" if outcome is Outcome.UNKNOWN else "tenure.operation.failed"
        self._log(name, store, **fields, **{"error.type": kind, "error.message": str(error or outcome)})

    # -- leases --

    @hookimpl
    def tenure_lease_granted(self, store: ObservedStore, lease_id: str, ttl: float) -> None:
        """Log ``tenure.lease.granted`` at DEBUG, with the TTL in seconds."""
        self._log("tenure.lease.granted", store, **{"tenure.lease.id": lease_id, "tenure.lease.ttl": ttl})

    @hookimpl
    def tenure_lease_refreshed(self, store: ObservedStore, lease_id: str, seconds: float, remaining: float) -> None:
        """Log ``tenure.lease.refreshed`` at DEBUG, with the seconds that the lease had left."""
        fields = {"tenure.lease.id": lease_id, "tenure.seconds": seconds, "tenure.lease.remaining": remaining}
        self._log("tenure.lease.refreshed", store, **fields)

    @hookimpl
    def tenure_lease_suspect(self, store: ObservedStore, lease_id: str, remaining: float) -> None:
        """Log ``tenure.lease.suspect`` at WARNING, with the seconds until the holder counts the lease as lost."""
        fields = {"tenure.lease.id": lease_id, "tenure.lease.remaining": remaining}
        self._log("tenure.lease.suspect", store, **fields)

    @hookimpl
    def tenure_lease_lost(self, store: ObservedStore, lease_id: str, reason: str) -> None:
        """Log ``tenure.lease.lost`` at ERROR, with the reason."""
        self._log("tenure.lease.lost", store, **{"tenure.lease.id": lease_id, "tenure.reason": reason})

    @hookimpl
    def tenure_lease_revoked(self, store: ObservedStore, lease_id: str) -> None:
        """Log ``tenure.lease.revoked`` at DEBUG."""
        self._log("tenure.lease.revoked", store, **{"tenure.lease.id": lease_id})

    # -- watches --

    @hookimpl
    def tenure_watch_opened(self, store: ObservedStore, prefix: str) -> None:
        """Log ``tenure.watch.opened`` at DEBUG."""
        self._log("tenure.watch.opened", store, **{"tenure.prefix": prefix})

    @hookimpl
    def tenure_watch_closed(self, store: ObservedStore, prefix: str, error: TenureError | None) -> None:
        """Log ``tenure.watch.closed`` at DEBUG, or ``tenure.watch.failed`` at ERROR if an error ended the watch."""
        if error is None:
            self._log("tenure.watch.closed", store, **{"tenure.prefix": prefix})
        else:
            self._log("tenure.watch.failed", store, **{"tenure.prefix": prefix, **_of_error(error)})

    @hookimpl
    def tenure_watch_delivered(self, store: ObservedStore, prefix: str, lag: float, pending: int) -> None:
        """Log ``tenure.watch.lagging`` at WARNING if the lag is at least ``slow`` seconds."""
        if lag >= self._slow:
            fields = {"tenure.prefix": prefix, "tenure.watch.lag": lag, "tenure.watch.pending": pending}
            self._log("tenure.watch.lagging", store, **fields)

    @hookimpl
    def tenure_watch_resynced(self, store: ObservedStore, prefix: str, reason: str, cause: str) -> None:
        """Log ``tenure.watch.resynced`` at WARNING, with the reason."""
        fields = {"tenure.prefix": prefix, "tenure.reason": reason, "tenure.cause": cause}
        self._log("tenure.watch.resynced", store, **fields)

    @hookimpl
    def tenure_watch_disconnected(self, store: ObservedStore, prefix: str, error: TenureError) -> None:
        """Log ``tenure.watch.disconnected`` at WARNING, with the error."""
        self._log("tenure.watch.disconnected", store, **{"tenure.prefix": prefix, **_of_error(error)})

    @hookimpl
    def tenure_watch_reconnected(self, store: ObservedStore, prefix: str, seconds: float) -> None:
        """Log ``tenure.watch.reconnected`` at INFO, with the seconds of the outage."""
        self._log("tenure.watch.reconnected", store, **{"tenure.prefix": prefix, "tenure.seconds": seconds})

    # -- callbacks --

    @hookimpl
    def tenure_callback_slow(self, store: ObservedStore, pool: str, seconds: float) -> None:
        """Log ``tenure.callback.slow`` at WARNING, with the seconds that the callback has run."""
        self._log("tenure.callback.slow", store, **{"tenure.callback.pool": pool, "tenure.seconds": seconds})

    @hookimpl
    def tenure_callback_finished(
        self, store: ObservedStore, source: str, seconds: float, error: BaseException | None
    ) -> None:
        """Log ``tenure.callback.failed`` at ERROR if the callback raised. Otherwise leave no record."""
        if error is not None:
            fields = {"tenure.callback.source": source, "tenure.seconds": seconds, "error.type": type(error).__name__}
            self._log("tenure.callback.failed", store, **fields)

    # -- registrations and caches --

    @hookimpl
    def tenure_registration_changed(
        self, store: ObservedStore, prefix: str, status: str, reason: str, service: str
    ) -> None:
        """Log the new status of a registration.

        The event is ``tenure.registration.failing`` at WARNING while it is recovering or failed. Otherwise it is
        ``tenure.registration.changed`` at INFO.
        """
        name = "tenure.registration." + ("failing" if status in ("recovering", "failed") else "changed")
        fields = {"tenure.service.name": service, "tenure.status": status, "tenure.reason": reason}
        self._log(name, store, **{"tenure.prefix": prefix, **fields})

    @hookimpl
    def tenure_cache_opened(self, store: ObservedStore, prefix: str, kind: str) -> None:
        """Log ``tenure.cache.opened`` at DEBUG."""
        self._log("tenure.cache.opened", store, **{"tenure.prefix": prefix, "tenure.cache.kind": kind})

    @hookimpl
    def tenure_cache_closed(self, store: ObservedStore, prefix: str, kind: str) -> None:
        """Log ``tenure.cache.closed`` at DEBUG."""
        self._log("tenure.cache.closed", store, **{"tenure.prefix": prefix, "tenure.cache.kind": kind})

    # -- recipes --

    @hookimpl
    def tenure_recipe_waiting(self, store: ObservedStore, kind: str, name: str) -> None:
        """Log ``tenure.lock.waiting`` at DEBUG."""
        self._log("tenure.lock.waiting", store, **{"tenure.lock.kind": kind, "tenure.lock.name": name})

    @hookimpl
    def tenure_recipe_held(self, store: ObservedStore, kind: str, name: str, token: int, seconds: float) -> None:
        """Log ``tenure.lock.held`` at INFO, with the token and the seconds of the wait."""
        self._log("tenure.lock.held", store, **_of_lock(kind, name, seconds), **{"tenure.lock.token": token})

    @hookimpl
    def tenure_recipe_given_up(
        self, store: ObservedStore, kind: str, name: str, seconds: float, error: TenureError | None
    ) -> None:
        """Log ``tenure.lock.given_up`` at INFO, with the seconds of the wait and why it ended."""
        fields = {**_of_lock(kind, name, seconds), "tenure.outcome": why_given_up(error)}
        self._log("tenure.lock.given_up", store, **fields, **({} if error is None else _of_error(error)))

    @hookimpl
    def tenure_recipe_released(self, store: ObservedStore, kind: str, name: str, token: int, seconds: float) -> None:
        """Log ``tenure.lock.released`` at INFO, with the token and the seconds for which it was held."""
        self._log("tenure.lock.released", store, **_of_lock(kind, name, seconds), **{"tenure.lock.token": token})

    @hookimpl
    def tenure_recipe_lost(self, store: ObservedStore, kind: str, name: str, token: int, seconds: float) -> None:
        """Log ``tenure.lock.lost`` at ERROR, with the token and the seconds for which it was held."""
        self._log("tenure.lock.lost", store, **_of_lock(kind, name, seconds), **{"tenure.lock.token": token})


class _Text:
    """A message that is made when a handler wants it. Fields have dots in their names, which ``format`` takes apart."""

    def __init__(self, text: str, fields: dict[str, object]) -> None:
        self._text = text
        self._fields = fields

    def __str__(self) -> str:
        return _FIELD.sub(lambda found: f"{{0[{found[1]}]", self._text).format(self._fields)


_FIELD = re.compile(r"\{([a-z_.]+)")


def _of_error(error: TenureError) -> dict[str, object]:
    return {"error.type": type(error).__name__, "error.message": str(error)}


def _of_lock(kind: str, name: str, seconds: float) -> dict[str, object]:
    return {"tenure.lock.kind": kind, "tenure.lock.name": name, "tenure.seconds": seconds}
