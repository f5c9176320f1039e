"""Broken registries: on a store that is sound, but for two."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from tenure._runtime.deadline import Deadline
from tenure.registry import Instance
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.lifecycle.entry import OwnEntry
from tenure.registry.lifecycle.handlers import Dispatcher
from tenure.registry.lifecycle.recovery import Recovery
from tenure.registry.lifecycle.registration import Registration
from tenure.registry.model.wire_format import encode
from tenure.spi import LeaseGrant

from .base import Faithful

_MODULE = "tenure.registry.lifecycle.entry"


class UpdatesAreNotWritten(Faithful):
    """An update is answered and never written."""

    rules = ("registry.registers_updates_deregisters", "registry.handlers_are_called_in_order")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Registration, "update", lambda registration, change, *_: change(registration.instance))


class TheLastOneStays(Faithful):
    """The last instance of a service is never removed."""

    rules = ("registry.registers_updates_deregisters", "registry.clean_stop_is_seen_at_once")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Cache._remove

        def remove(cache: Any, key: str, changes: Any) -> None:
            gone = cache.entry(key)
            service = None if gone is None else cache.directory.get(gone.service_name)
            if service is None or len(service) > 1:
                sound(cache, key, changes)

        return patch.object(Cache, "_remove", remove)


class OtherFields(Faithful):
    """An entry's JSON has a field that no other program knows."""

    rules = ("registry.keeps_the_wire_format",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch(f"{_MODULE}.encode", lambda each: json.dumps({**json.loads(encode(each)), "region": ""}).encode())


class IdentityIsTakenOver(Faithful):
    """Who registers an identity that another one holds replaces it."""

    rules = ("registry.refuses_a_second_of_the_same_identity",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Registration.register

        def register(registration: Registration, instance: Instance, deadline: Deadline, *, take_over: bool) -> None:
            sound(registration, instance, deadline, take_over=True)

        return patch.object(Registration, "register", register)


class CloseLeavesTheInstance(Faithful):
    """Closing a registry leaves its instance to its lease."""

    rules = ("registry.clean_stop_is_seen_at_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(OwnEntry, "end", lambda entry, deadline: None)


class TheCrashedStay(Faithful):
    """A lease lives ten times as long as its ttl, and so does the instance of a process that is gone."""

    rules = ("registry.crash_is_seen_within_the_leases_time",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 10, timeout=timeout).lease_id, ttl)


class HeartbeatStops(Faithful):
    """A refresh is answered and has no effect, so that a registered instance goes for a while."""

    rules = ("registry.heartbeat_keeps_an_instance",)

    def refresh(self, lease_ids: Sequence[str], *, timeout: float) -> dict[str, float]:
        alive = {info.lease_id: info.ttl for info in self.inner.leases(None, timeout=timeout)}
        return {lease_id: alive[lease_id] for lease_id in lease_ids if lease_id in alive}


class GoneUntilRestart(Faithful):
    """An instance that has lost its lease isn't registered again."""

    rules = ("registry.heartbeat_keeps_an_instance",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def lease(entry: Any, deadline: Deadline) -> Any:
            entry.lease = entry._store.lease(entry._config.heartbeat, keep_alive=False)
            return entry.lease

        patches = ExitStack()
        patches.enter_context(patch.object(OwnEntry, "_ensure_lease", lease))
        patches.enter_context(patch.object(Recovery, "mark_suspect", lambda recovery, reason: None))
        return patches


class DeregisteredComesBack(Faithful):
    """A heartbeat that was under way puts a deregistered instance back."""

    rules = ("registry.deregistered_stays_away",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Registration.deregister

        def deregister(registration: Any, deadline: Deadline) -> bool:
            key, instance = registration.key, registration.instance
            done = sound(registration, deadline)
            if instance is not None:
                beat = threading.Timer(0.3, registration._entry._store.put, (key, encode(instance)))
                beat.daemon = True
                beat.start()
            return done

        return patch.object(Registration, "deregister", deregister)


class HandlersAreToldTwice(Faithful):
    """Handlers are told every event twice."""

    rules = ("registry.handlers_are_called_in_order",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Dispatcher.dispatch
        return patch.object(Dispatcher, "dispatch", lambda dispatcher, events: sound(dispatcher, [*events, *events]))


class HandlersAreToldBackwards(Faithful):
    """Events that wait for a handler are told the latest first."""

    rules = ("registry.handlers_are_called_in_order",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Dispatcher.dispatch
        held: list[Any] = []

        def dispatch(dispatcher: Dispatcher, events: Any) -> None:
            held[:0] = events
            if len(held) >= 2:
                sound(dispatcher, list(held))
                held.clear()

        return patch.object(Dispatcher, "dispatch", dispatch)


class ServicesAreMixedUp(Faithful):
    """Services whose names begin alike are one."""

    rules = ("registry.many_instances_are_all_found",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Cache._set

        def set_(cache: Cache, key: str, instance: Instance, touched: set[str]) -> Any:
            return sound(cache, key, instance.copy(service_name=instance.service_name[:3]), touched)

        return patch.object(Cache, "_set", set_)


class DeletedEntryIsNotMissed(Faithful):
    """A registry doesn't look at its own entry in what the watch delivers."""

    rules = ("registry.an_entry_deleted_by_others_comes_back",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Registration, "observe", lambda registration, batch: None)


MUTANTS: tuple[type[Faithful], ...] = (
    DeletedEntryIsNotMissed,
    UpdatesAreNotWritten,
    TheLastOneStays,
    OtherFields,
    IdentityIsTakenOver,
    CloseLeavesTheInstance,
    TheCrashedStay,
    HeartbeatStops,
    GoneUntilRestart,
    DeregisteredComesBack,
    HandlersAreToldTwice,
    HandlersAreToldBackwards,
    ServicesAreMixedUp,
)
