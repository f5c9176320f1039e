"""What a watch has delivered, and how feed items become events compared with that.

A :class:`ClientState` remembers the revision of each key that was delivered to the application, and the whole item if
previous values are requested. From that it turns a snapshot into a difference with its deletes, distinguishes create
from update, and drops what was delivered already. A :class:`PassThrough` remembers only the last revision. It serves a
watch that starts after a past revision, on a store that shows every revision.

Both work in two steps: a :class:`Difference` is worked out without changing anything, then recorded. Recording it twice
is the same as once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tenure.spi.feed import Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure.watch.events import Event, EventType, new_event

_CONTENT_BITS = 64
_CONTENT_MASK = (1 << _CONTENT_BITS) - 1
_new = tuple.__new__  # ``_replace`` and the class itself take twice as long
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Difference(NamedTuple):
    """What an item changes: the events, and the state after them.

    ``known`` and ``items`` hold the keys that change, ``None`` for one that goes. ``floor`` is the revision up to which
    everything is known.
    """

    events: tuple[Event, ...]
    floor: int
    known: Mapping[str, int | None] = _NOTHING
    items: Mapping[str, KeyValue | None] = _NOTHING


class ClientState:
    """The state of a prefix as delivered to the client. Not thread-safe: it belongs to the consumer's thread.

    ``strip`` is the length of the namespace's prefix, which is removed from every key. ``lossless`` says that changes
    come in the order of their revisions over all keys, so that everything up to the last one is known. ``unique`` says
    that no revision is used twice. Elsewhere a replaced history may show another value at the revision that was
    delivered, so a snapshot is compared by content too.
    """

    def __init__(self, *, strip: int, previous: bool, lossless: bool, unique: bool) -> None:
        self._strip = strip
        self._lossless = lossless
        self._previous = previous
        self._shift = 0 if unique else _CONTENT_BITS
        # One number for each key: its revision, followed by the hash of its content where revisions repeat.
        self._known: dict[str, int] = {}
        self._items: dict[str, KeyValue] = {}
        self._floor = 0

    def __len__(self) -> int:
        return len(self._known)

    def snapshot(self, snapshot: Snapshot) -> Difference:
        """Return the difference between the state and ``snapshot``, deletes last."""
        present = strip_all(snapshot.items, self._strip)
        if not self._known:
            return self._first(present, snapshot.revision)
        events: list[Event] = []
        known: dict[str, int | None] = {}
        items: dict[str, KeyValue | None] = {}
        unseen = dict(self._known)
        for item in present:
            before = unseen.pop(item.key, None)
            identity = self._identity(item)
            # Unequal rather than greater: revisions start again in a store that lost its data.
            if before != identity:
                events.append(self._put(item, before is not None, self._items.get(item.key)))
                known[item.key] = identity
                if self._previous:
                    items[item.key] = item
        for key, before in unseen.items():
            # A list that is not one point in time may miss a key put at the list's own revision: it was deleted later.
            revision = snapshot.revision + (before >> self._shift == snapshot.revision)
            events.append(Event(EventType.DELETE, key, None, revision, self._items.get(key)))
            known[key] = items[key] = None
        return Difference(tuple(events), snapshot.revision, known, items)

    def _first(self, present: Iterable[KeyValue], revision: int) -> Difference:
        """Return all as creates. The first snapshot is often the largest, and compared with nothing."""
        known = {item.key: self._identity(item) for item in present} if self._shift else _revisions(present)
        items = {item.key: item for item in present} if self._previous else _NOTHING
        return Difference(_creates(present), revision, known, items)

    def changes(self, changes: Changes) -> Difference:
        """Return what ``changes`` add to the state. Entries delivered before, or in the snapshot, make no event."""
        events: list[Event] = []
        known: dict[str, int | None] = {}
        items: dict[str, KeyValue | None] = {}
        shift = self._shift
        for entry in changes.entries:
            key = entry.key[self._strip :] if self._strip else entry.key
            before = known[key] if key in known else self._known.get(key)
            if isinstance(entry, Deleted):
                if before is not None and entry.revision > before >> shift:
                    events.append(Event(EventType.DELETE, key, None, entry.revision, self._present(items, key)))
                    known[key] = items[key] = None
            elif entry.mod_revision > (self._floor if before is None else before >> shift):
                item = strip_namespace(entry, self._strip)
                events.append(self._put(item, before is not None, self._present(items, key)))
                known[key] = self._identity(item)
                if self._previous:
                    items[key] = item
        # A key put and deleted since the snapshot is unknown again; receiving that put again makes no event.
        floor = max(self._floor, changes.revision) if self._lossless else self._floor
        return Difference(tuple(events), floor, known, items)

    def record(self, difference: Difference) -> None:
        """Make ``difference`` part of the state."""
        known = difference.known
        if not self._known:
            self._known = {key: identity for key, identity in known.items() if identity is not None}
            known = _NOTHING
        for key, identity in known.items():
            if identity is None:
                self._known.pop(key, None)
            else:
                self._known[key] = identity
        if self._previous:
            for key, item in difference.items.items():
                if item is None:
                    self._items.pop(key, None)
                else:
                    self._items[key] = item
        self._floor = difference.floor

    def _present(self, changed: dict[str, KeyValue | None], key: str) -> KeyValue | None:
        if not self._previous:
            return None
        return changed[key] if key in changed else self._items.get(key)

    def _identity(self, item: KeyValue) -> int:
        if not self._shift:
            return item.mod_revision
        content = hash((item.value, item.create_revision, item.lease_id))
        return item.mod_revision << _CONTENT_BITS | content & _CONTENT_MASK

    def _put(self, item: KeyValue, known: bool, before: KeyValue | None) -> Event:
        kind = EventType.UPDATE if known else EventType.CREATE
        return new_event(kind, item.key, item, item.mod_revision, before)


class PassThrough:
    """Turns changes into events without remembering keys. Only for stores that show every revision."""

    def __init__(self, *, strip: int, after: int) -> None:
        self._strip = strip
        self._after = after

    def __len__(self) -> int:
        return 0  # it never reads the state again

    def snapshot(self, snapshot: Snapshot) -> Difference:
        """Return all items as creates: there is no state to compare them with."""
        return Difference(_creates(strip_all(snapshot.items, self._strip)), snapshot.revision)

    def changes(self, changes: Changes) -> Difference:
        """Return the events of the changes that are newer than all delivered before."""
        events = []
        for entry in changes.entries:
            if isinstance(entry, Deleted):
                if entry.revision > self._after:
                    events.append(Event(EventType.DELETE, entry.key[self._strip :], None, entry.revision))
            elif entry.mod_revision > self._after:
                item = strip_namespace(entry, self._strip)
                kind = EventType.CREATE if item.create_revision == item.mod_revision else EventType.UPDATE
                events.append(Event(kind, item.key, item, item.mod_revision))
        return Difference(tuple(events), max(self._after, changes.revision))

    def record(self, difference: Difference) -> None:
        """Remember up to which revision all is delivered."""
        self._after = difference.floor


def _creates(items: Iterable[KeyValue]) -> tuple[Event, ...]:
    create = EventType.CREATE
    return tuple([new_event(create, item.key, item, item.mod_revision, None) for item in items])


def _revisions(items: Iterable[KeyValue]) -> dict[str, int]:
    return {key: modified for key, _, _, modified, _ in items}


def strip_namespace(item: KeyValue, strip: int) -> KeyValue:
    """Return ``item`` without the namespace's prefix of ``strip`` characters in its key."""
    if not strip:
        return item
    key, value, created, modified, lease = item
    return _new(KeyValue, (key[strip:], value, created, modified, lease))


def strip_all(items: Iterable[KeyValue], strip: int) -> Iterable[KeyValue]:
    """Do the same with many items."""
    if not strip:
        return items
    return [
        _new(KeyValue, (key[strip:], value, created, modified, lease)) for key, value, created, modified, lease in items
    ]
