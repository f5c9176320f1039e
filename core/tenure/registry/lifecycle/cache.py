"""The registry's cache: every instance under its prefix, as the watch delivers it.

Rules:

* There is one writer, the watch's thread. After each batch it replaces the dictionary of immutable services by a new
  one. So a reader sees the whole batch or nothing of it, and needs no lock: it reads one attribute.
* A batch rebuilds only the services that it touches, once each. The first snapshot of many instances takes one pass.
* The key identifies an entry. Entries that are no instance are kept by key in ``malformed`` and logged once; they
  delay no other entry. A delete of an unknown key does nothing.
* Anybody may write under the prefix, so every entry costs time by its size alone, whatever it holds. A batch logs a few
  bad entries by name and the others by number, and ``malformed`` names at most 1,000.
* A frozen cache stays frozen: it accepts no further batch, and stays readable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType

from tenure._runtime.clock import Clock, SystemClock, TimeLimit
from tenure._runtime.monitor import Monitor
from tenure.errors import MalformedEntry
from tenure.registry.model.events import EventType, InstanceEvent
from tenure.registry.model.instance import Instance
from tenure.registry.model.service import Service
from tenure.registry.model.wire_format import decode, split_key
from tenure.watch.events import Batch, BatchType, Event

_log = logging.getLogger("tenure.registry")

_REAL_TIME = SystemClock()
_MOST_NAMED = 1_000
_MOST_LOGGED = 10
Emit = Callable[[list[tuple[str, InstanceEvent]]], None]


class Cache:
    """The instances under ``prefix``. The writer calls ``emit`` with the changes of each batch, under its lock."""

    def __init__(self, prefix: str, emit: Emit) -> None:
        self._prefix = prefix
        self._emit = emit
        self._entries: dict[str, Instance] = {}
        self._members: dict[str, dict[str, Instance]] = {}
        self.services: dict[str, Service] = {}
        """Replaced, never changed. Read it once to get one consistent state."""
        self._reasons: dict[str, str] = {}
        self.malformed: Mapping[str, str] = MappingProxyType({})
        """Replaced, never changed, like ``services``: the first bad entries, each with its reason."""
        self.in_sync = False
        self.frozen = False
        self.changed = Monitor()
        """The writer holds it while it applies a batch, and notifies it afterwards."""
        self.listeners: dict[object, Callable[[], object]] = {}
        """Called when :attr:`changed` is notified, for those who wait without a thread. They never block."""

    # -- reading, beyond `services` ----------------------------------------------------------------

    def entry(self, key: str) -> Instance | None:
        """Return the instance stored at ``key``."""
        return self._entries.get(key)

    def present(self, key: str) -> bool:
        """Return whether ``key`` exists, whether it holds an instance or not."""
        return key in self._entries or key in self._reasons

    def entries(self) -> Iterable[tuple[str, Instance]]:
        """Return keys and instances; the caller holds :attr:`changed`."""
        return self._entries.items()

    def size(self) -> int:
        """Return the number of instances."""
        return len(self._entries)

    def wait(self, condition: Callable[[], bool], seconds: float, clock: Clock = _REAL_TIME) -> bool:
        """Wait at most ``seconds`` of ``clock`` for ``condition``; return whether it holds. Ends early if frozen."""
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
        """Apply a batch of the watch."""
        with self.changed:
            if self.frozen:
                return
            self._take(batch.events)
            # The first snapshot is the whole state: the SYNCED batch follows at once, without events.
            self.in_sync = self.in_sync or batch.type is not BatchType.CHANGES
            self._notify()

    def freeze(self, *, without: str | None = None) -> None:
        """Accept no further batch. ``without`` is a key whose entry is known to be removed."""
        with self.changed:
            if without is not None and not self.frozen:
                touched: set[str] = set()
                self._publish(self._remove(without, touched), touched)
            self.frozen = True
            self._notify()

    def wake(self) -> None:
        """Let all who wait check their condition again."""
        with self.changed:
            self._notify()

    def _notify(self) -> None:
        self.changed.notify_all()
        for listener in tuple(self.listeners.values()):
            listener()

    # -- inside, with the lock ---------------------------------------------------------------------

    def _take(self, events: tuple[Event, ...]) -> None:
        touched: set[str] = set()
        changes: list[tuple[str, InstanceEvent]] = []
        warnings = _Warnings()
        bad_entries_changed = False
        for event in events:
            earlier = self._reasons.pop(event.key, None)
            instance = None if event.item is None else self._read(event.key, event.item.value, earlier, warnings)
            bad_entries_changed |= earlier is not None or event.key in self._reasons
            if instance is None:
                changes += self._remove(event.key, touched)
            else:
                changes += self._set(event.key, instance, touched, warnings)
        if bad_entries_changed:
            self.malformed = MappingProxyType(dict(islice(self._reasons.items(), _MOST_NAMED)))
        self._publish(changes, touched)
        warnings.finish()

    def _read(self, key: str, value: bytes, earlier: str | None, warnings: _Warnings) -> Instance | None:
        """Return the instance; ``None`` for an entry that is none."""
        try:
            return decode(self._prefix, key, value)
        except MalformedEntry as exc:
            reason = str(exc)
        except Exception as exc:  # noqa: BLE001
            # An entry that nobody foresaw takes nothing away from the others.
            _log.exception("an entry can't be read: %.80r", key)
            reason = f"reading an entry: {key!r:.80} failed with {type(exc).__name__}: {exc!s:.200}"
        if earlier is None:
            warnings.add("an entry is ignored, since it is no instance: %s", reason)
        self._reasons[key] = reason
        return None

    def _set(
        self, key: str, instance: Instance, touched: set[str], warnings: _Warnings
    ) -> list[tuple[str, InstanceEvent]]:
        before = self._entries.get(key)
        changes = []
        if before is not None and before.service_name != instance.service_name:
            changes = self._remove(key, touched)
            before = None
        if before is None:
            self._warn_about_disagreement(key, instance, warnings)
        self._entries[key] = instance
        self._members.setdefault(instance.service_name, {})[key] = instance
        touched.add(instance.service_name)
        kind = EventType.CREATE if before is None else EventType.UPSERT
        return [*changes, (key, InstanceEvent(kind, instance, before))]

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

    def _publish(self, changes: list[tuple[str, InstanceEvent]], touched: set[str]) -> None:
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
        self._emit(changes)

    def _warn_about_disagreement(self, key: str, instance: Instance, warnings: _Warnings) -> None:
        named = split_key(self._prefix, key)
        own = (instance.service_name, instance.id, instance.host)
        if named != own:
            message = "the entry at %.200r names itself %.200r: it is listed under that name"
            warnings.add(message, key, instance.identity())


class _Warnings:
    """What one batch logs about its entries: a few by name, the others by number."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, message: str, *arguments: object) -> None:
        self._count += 1
        if self._count <= _MOST_LOGGED:
            _log.warning(message, *arguments)

    def finish(self) -> None:
        if self._count > _MOST_LOGGED:
            _log.warning("%d more entries of the same batch are ignored or misnamed", self._count - _MOST_LOGGED)
