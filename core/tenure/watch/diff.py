"""What a watch has delivered, and how feed items become events compared with that.

A :class:`ClientState` remembers the revision of each key that was delivered to the application, and the whole item if
previous values are requested. From that it turns a snapshot into a difference with its deletes, distinguishes create
from update, and drops what was delivered already. A :class:`PassThrough` remembers only the last revision. It serves a
watch that starts after a past revision, on a store that shows every revision.
"""

from __future__ import annotations

from tenure.spi.feed import Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure.watch.events import Event, EventType

_CONTENT_BITS = 64
_CONTENT_MASK = (1 << _CONTENT_BITS) - 1


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

    def snapshot(self, snapshot: Snapshot) -> tuple[Event, ...]:
        """Replace the state by ``snapshot`` and return the difference, deletes last."""
        events = []
        unseen = dict(self._known)
        for physical in snapshot.items:
            item = strip_namespace(physical, self._strip)
            known = unseen.pop(item.key, None)
            # Unequal rather than greater: revisions start again in a store that lost its data.
            if known != self._identity(item):
                events.append(self._put(item, known is not None))
        for key, known in unseen.items():
            # A list that is not one point in time may miss a key put at the list's own revision: it was deleted later.
            events.append(self._delete(key, snapshot.revision + (known >> self._shift == snapshot.revision)))
        self._floor = snapshot.revision
        return tuple(events)

    def changes(self, changes: Changes) -> tuple[Event, ...]:
        """Apply ``changes`` and return their events. Entries delivered before, or in the snapshot, make no event."""
        events = []
        for entry in changes.entries:
            if isinstance(entry, Deleted):
                key = entry.key[self._strip :]
                known = self._known.get(key)
                if known is not None and entry.revision > known >> self._shift:
                    events.append(self._delete(key, entry.revision))
                continue
            item = strip_namespace(entry, self._strip)
            known = self._known.get(item.key)
            if item.mod_revision > (self._floor if known is None else known >> self._shift):
                events.append(self._put(item, known is not None))
        if self._lossless:
            # A key put and deleted since the snapshot is unknown again; receiving that put again makes no event.
            self._floor = max(self._floor, changes.revision)
        return tuple(events)

    def _identity(self, item: KeyValue) -> int:
        if not self._shift:
            return item.mod_revision
        content = hash((item.value, item.create_revision, item.lease_id))
        return item.mod_revision << _CONTENT_BITS | content & _CONTENT_MASK

    def _put(self, item: KeyValue, known: bool) -> Event:
        kind = EventType.UPDATE if known else EventType.CREATE
        self._known[item.key] = self._identity(item)
        before = None
        if self._previous:
            before = self._items.get(item.key)
            self._items[item.key] = item
        return Event(kind, item.key, item, item.mod_revision, before)

    def _delete(self, key: str, revision: int) -> Event:
        del self._known[key]
        return Event(EventType.DELETE, key, None, revision, self._items.pop(key, None))


class PassThrough:
    """Turns changes into events without remembering keys. Only for stores that show every revision."""

    def __init__(self, *, strip: int, after: int) -> None:
        self._strip = strip
        self._after = after

    def changes(self, changes: Changes) -> tuple[Event, ...]:
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
        self._after = max(self._after, changes.revision)
        return tuple(events)


def strip_namespace(item: KeyValue, strip: int) -> KeyValue:
    """Return ``item`` without the namespace's prefix of ``strip`` characters in its key."""
    return item._replace(key=item.key[strip:]) if strip else item
