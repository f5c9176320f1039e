"""The registry's cache: every instance under its prefix, as the watch delivers it.

Rules:

* There is one writer at a time. After each batch it replaces the immutable directory of services by a new one. So a
  reader sees the whole batch or nothing of it, and needs no lock: it reads one attribute.
* A batch copies only the small pieces that it touches, so a change costs the same however large its service is. The
  first snapshot of many instances takes one pass. Readers that want all members have a tuple made when they ask.
* Events are made only if somebody listens.
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
from tenure.registry.lifecycle.members import Directory, Members
from tenure.registry.model.entry_reader import EntryReader
from tenure.registry.model.events import EventType, InstanceEvent
from tenure.registry.model.instance import Instance
from tenure.registry.model.service import Service
from tenure.registry.model.wire_format import split_key
from tenure.watch.events import Batch, BatchType, Event

_log = logging.getLogger("tenure.registry")

_REAL_TIME = SystemClock()
_MOST_NAMED = 1_000
_MOST_LOGGED = 10
_Changes = list[tuple[str, InstanceEvent]] | None
"""What a batch changes, to be emitted; ``None`` if nobody listens."""
Emit = Callable[[list[tuple[str, InstanceEvent]]], None]


class Cache:
    """The instances under ``prefix``. The writer calls ``emit`` with the changes of each batch, under its lock.

    ``listening`` returns whether anybody is interested in these changes.
    """

    def __init__(self, prefix: str, emit: Emit, listening: Callable[[], bool] = lambda: True) -> None:
        self._prefix = prefix
        self._emit = emit
        self._listening = listening
        self._reader = EntryReader(prefix)
        self._members = Members()
        self.directory = Directory()
        """Replaced, never changed. Read it once to get one consistent state."""
        self._reasons: dict[str, str] = {}
        self.malformed: Mapping[str, str] = MappingProxyType({})
        """Replaced, never changed, like ``directory``: the first bad entries, each with its reason."""
        self.in_sync = False
        """Whether all watches that were expected have delivered their first snapshot."""
        self.synced: set[str] = set()
        """The watches that have."""
        self._expected = {""}
        self._unconfirmed: set[str] = set()
        """Keys from a file that no watch has shown. They go when the cache is in sync."""
        self.frozen = False
        self.changed = Monitor()
        """The writer holds it while it applies a batch, and notifies it afterwards."""
        self.listeners: dict[object, Callable[[], object]] = {}
        """Called when :attr:`changed` is notified, for those who wait without a thread. They never block."""

    # -- reading, beyond `directory` ---------------------------------------------------------------

    @property
    def services(self) -> Mapping[str, Service]:
        """All services of one moment by name, read-only."""
        return self.directory.whole

    def entry(self, key: str) -> Instance | None:
        """Return the instance stored at ``key``."""
        return self._members.get(key)

    def present(self, key: str) -> bool:
        """Return whether ``key`` exists, whether it holds an instance or not."""
        return key in self._members or key in self._reasons

    def entries(self) -> Iterable[tuple[str, Instance]]:
        """Return keys and instances; the caller holds :attr:`changed`."""
        return self._members.items()

    def size(self) -> int:
        """Return the number of instances."""
        return len(self._members)

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

    def expect(self, watches: Iterable[str]) -> None:
        """Say which watches fill the cache before it is in sync; without this call one whose name is empty.

        What is there already may be gone from the store: only what these watches show stays.
        """
        with self.changed:
            self._expected = set(watches)
            self.synced.clear()
            if not self.in_sync:
                self._unconfirmed = {key for key, _ in self._members.items()}

    def load(self, entries: Iterable[tuple[str, Instance]]) -> None:
        """Begin with entries from elsewhere, until the cache is in sync."""
        with self.changed:
            changes: _Changes = [] if self._listening() else None
            for key, instance in entries:
                self._set(key, instance, changes, None)
                self._unconfirmed.add(key)
            self._publish(changes)
            self._notify()

    def apply(self, batch: Batch, watch: str = "") -> None:
        """Apply a batch of a watch."""
        with self.changed:
            if self.frozen:
                return
            # The first snapshot is the whole state: the SYNCED batch follows at once, without events.
            if batch.type is not BatchType.CHANGES:
                self.synced.add(watch)
            complete = not self.in_sync and self.synced >= self._expected
            self._take(batch.events, complete=complete)
            self.in_sync = self.in_sync or complete
            self._notify()

    def freeze(self, *, without: str | None = None) -> None:
        """Accept no further batch. ``without`` is a key whose entry is known to be removed."""
        with self.changed:
            if without is not None and not self.frozen:
                changes: _Changes = [] if self._listening() else None
                self._remove(without, changes)
                self._publish(changes)
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

    def _take(self, events: tuple[Event, ...], *, complete: bool) -> None:
        # Nobody begins to listen in the middle of a batch: that takes the lock, too.
        changes: _Changes = [] if self._listening() else None
        warnings = _Warnings()
        bad_entries_changed = False
        for event in events:
            earlier = self._reasons.pop(event.key, None)
            if event.item is None or not self._put(event.key, event.item.value, earlier, changes, warnings):
                self._remove(event.key, changes)
            bad_entries_changed |= earlier is not None or event.key in self._reasons
        if bad_entries_changed:
            self.malformed = MappingProxyType(dict(islice(self._reasons.items(), _MOST_NAMED)))
        if complete:
            for key in self._unconfirmed:
                self._remove(key, changes)
            self._unconfirmed = set()
        self._publish(changes)
        warnings.finish()

    def _put(self, key: str, value: bytes, earlier: str | None, changes: _Changes, warnings: _Warnings) -> bool:
        """Take an entry over; return whether it is an instance."""
        try:
            instance, agrees = self._reader.read(key, value)
        except MalformedEntry as exc:
            reason = str(exc)
        except Exception as exc:  # noqa: BLE001
            # An entry that nobody foresaw takes nothing away from the others.
            _log.exception("an entry can't be read: %.80r", key)
            reason = f"reading an entry: {key!r:.80} failed with {type(exc).__name__}: {exc!s:.200}"
        else:
            self._set(key, instance, changes, None if agrees else warnings)
            return True
        if earlier is None:
            warnings.add("an entry is ignored, since it is no instance: %s", reason)
        self._reasons[key] = reason
        return False

    def _set(self, key: str, instance: Instance, changes: _Changes, warnings: _Warnings | None) -> None:
        """Set an instance. ``warnings`` is given if its key and JSON may disagree."""
        before = self._members.get(key)
        if before is not None and before.service_name != instance.service_name:
            self._remove(key, changes)
            before = None
        if before is None and warnings is not None:
            self._warn_about_disagreement(key, instance, warnings)
        self._members.set(key, instance)
        if key in self._unconfirmed:
            self._unconfirmed.discard(key)
            if before == instance:
                return  # as the file has it
        if changes is not None:
            kind = EventType.CREATE if before is None else EventType.UPSERT
            changes.append((key, InstanceEvent(kind, instance, before)))

    def _remove(self, key: str, changes: _Changes) -> None:
        # Not out of the unconfirmed keys: that may be what is removed, and a key that is gone does no harm there.
        gone = self._members.remove(key)
        if gone is not None and changes is not None:
            changes.append((key, InstanceEvent(EventType.DELETE, gone, gone)))

    def _publish(self, changes: _Changes) -> None:
        self.directory = self._members.publish(self.directory)
        if changes:
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
