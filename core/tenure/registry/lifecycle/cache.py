"""What the registry knows: every instance under its prefix, as the watch tells it.

Rules:

* One writer (the watch's thread). After each batch a new dictionary of immutable services takes the place of the
  old one, so a reader sees a batch whole or not at all, and needs no lock: it looks up one attribute.
* Only services that a batch touches are built anew, once per batch: the first snapshot of many instances
  costs one pass.
* An entry is what its key says. Entries that are no instance are kept by key in ``rejected``, told once, and
  hold up nobody; a delete of what isn't known does nothing.
* Frozen is final: nothing is taken in any more, everything stays readable.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from tenure._runtime.clock import Clock, SystemClock, TimeLimit
from tenure.errors import MalformedEntry
from tenure.registry.model.events import EventType, InstanceEvent
from tenure.registry.model.instance import Instance
from tenure.registry.model.service import Service
from tenure.registry.model.wire_format import decode, split_key
from tenure.watch.events import Batch, BatchType, Event

_log = logging.getLogger("tenure.registry")

_REAL_TIME = SystemClock()
Emit = Callable[[list[tuple[str, InstanceEvent]]], None]


class Cache:
    """The instances under ``prefix``. ``emit`` is called with each batch's changes, under the writer's lock."""

    def __init__(self, prefix: str, emit: Emit) -> None:
        self._prefix = prefix
        self._emit = emit
        self._entries: dict[str, Instance] = {}
        self._members: dict[str, dict[str, Instance]] = {}
        self.services: dict[str, Service] = {}
        """Never changed, only replaced: read it as often as needed, once for one consistent picture."""
        self.malformed: Mapping[str, str] = MappingProxyType({})
        self.in_sync = False
        self.frozen = False
        self.changed = threading.Condition()
        """Held by the writer while it works; notified after each batch."""

    # -- reading, beyond `services` ----------------------------------------------------------------

    def entry(self, key: str) -> Instance | None:
        """The instance stored at ``key``."""
        return self._entries.get(key)

    def present(self, key: str) -> bool:
        """Whether anything is stored at ``key``, an instance or not."""
        return key in self._entries or key in self.malformed

    def entries(self) -> Iterable[tuple[str, Instance]]:
        """Keys and instances; call it with :attr:`changed` held."""
        return self._entries.items()

    def wait(self, condition: Callable[[], bool], seconds: float, clock: Clock = _REAL_TIME) -> bool:
        """Wait until ``condition`` holds, at most ``seconds`` of ``clock``; whether it does. Ends early if frozen."""
        limit = TimeLimit(clock, seconds)
        with self.changed:
            while not condition():
                left = limit.left()
                if self.frozen or (left is not None and left <= 0):
                    return False
                clock.wait(self.changed, left)
            return True

    # -- writing -----------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Take in a batch of the watch."""
        with self.changed:
            if self.frozen:
                return
            self._take(batch.events)
            # The first snapshot is all there is: that it is in sync comes right after, without anything new.
            self.in_sync = self.in_sync or batch.type is not BatchType.CHANGES
            self.changed.notify_all()

    def freeze(self, *, without: str | None = None) -> None:
        """Take in nothing more. ``without`` is a key whose entry is known to have gone."""
        with self.changed:
            if without is not None and not self.frozen:
                touched: set[str] = set()
                self._publish(self._remove(without, touched), touched)
            self.frozen = True
            self.changed.notify_all()

    def wake(self) -> None:
        """Let those who wait look again."""
        with self.changed:
            self.changed.notify_all()

    # -- inside, with the lock ---------------------------------------------------------------------

    def _take(self, events: tuple[Event, ...]) -> None:
        touched: set[str] = set()
        told: list[tuple[str, InstanceEvent]] = []
        for event in events:
            if event.item is None:
                self._unreject(event.key)
                told += self._remove(event.key, touched)
                continue
            try:
                instance = decode(self._prefix, event.key, event.item.value)
            except MalformedEntry as exc:
                self._reject(event.key, str(exc))
                told += self._remove(event.key, touched)
                continue
            self._unreject(event.key)
            told += self._set(event.key, instance, touched)
        self._publish(told, touched)

    def _set(self, key: str, instance: Instance, touched: set[str]) -> list[tuple[str, InstanceEvent]]:
        before = self._entries.get(key)
        told = []
        if before is not None and before.service_name != instance.service_name:
            told = self._remove(key, touched)
            before = None
        if before is None:
            self._warn_about_disagreement(key, instance)
        self._entries[key] = instance
        self._members.setdefault(instance.service_name, {})[key] = instance
        touched.add(instance.service_name)
        kind = EventType.CREATE if before is None else EventType.UPSERT
        return [*told, (key, InstanceEvent(kind, instance, before))]

    def _remove(self, key: str, touched: set[str]) -> list[tuple[str, InstanceEvent]]:
        gone = self._entries.pop(key, None)
        if gone is None:
            return []
        members = self._members[gone.service_name]
        del members[key]
        if not members:
            del self._members[gone.service_name]
        touched.add(gone.service_name)
        return [(key, InstanceEvent(EventType.DELETE, gone, gone))]

    def _publish(self, told: list[tuple[str, InstanceEvent]], touched: set[str]) -> None:
        if not touched:
            return
        services = dict(self.services)
        for name in touched:
            members = self._members.get(name)
            if members is None:
                services.pop(name, None)
            else:
                services[name] = Service(name, tuple(members.values()))
        self.services = services
        self._emit(told)

    def _reject(self, key: str, reason: str) -> None:
        if key not in self.malformed:
            _log.warning("an entry is ignored, it isn't an instance: %s", reason)
        self.malformed = MappingProxyType({**self.malformed, key: reason})

    def _unreject(self, key: str) -> None:
        if key in self.malformed:
            self.malformed = MappingProxyType({known: why for known, why in self.malformed.items() if known != key})

    def _warn_about_disagreement(self, key: str, instance: Instance) -> None:
        named = split_key(self._prefix, key)
        told = (instance.service_name, instance.id, instance.host)
        if named != told:
            _log.warning("the entry at %r says that it is %r: it is listed as what it says", key, instance.identity())
