"""What a watcher knows, and how feed items become events against it.

A :class:`View` remembers, for each key that the application was told of, its revision (and the whole item
where previous values are asked for). That is what turns a snapshot into a difference with its deletes, tells
create from update, and drops what was told already. A :class:`Relay` remembers nothing but the last
revision: for a watch that starts after a past revision, where the store itself shows every revision.
"""

from __future__ import annotations

from tenure.spi.feed import Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure.watch.events import Event, EventType


class View:
    """The watcher's knowledge of a prefix. Not thread-safe: it belongs to the consumer's thread.

    ``strip`` is the length of the namespace's prefix, taken off every key before anyone sees it. ``exact`` says
    that changes come in the order of their revisions over all keys, so that everything up to the last one is known.
    """

    def __init__(self, *, strip: int, previous: bool, exact: bool) -> None:
        self._strip = strip
        self._exact = exact
        self._previous = previous
        self._revisions: dict[str, int] = {}
        self._items: dict[str, KeyValue] = {}
        self._floor = 0

    def snapshot(self, snapshot: Snapshot) -> tuple[Event, ...]:
        """Replace the knowledge by ``snapshot``; the events are the difference, deletes last."""
        events = []
        unseen = dict(self._revisions)
        for physical in snapshot.items:
            item = local(physical, self._strip)
            known = unseen.pop(item.key, None)
            # Unequal rather than greater: a store that lost its data starts counting again.
            if known != item.mod_revision:
                events.append(self._put(item, known is not None))
        for key, known in unseen.items():
            # A list that takes a while may miss a key that was put at the list's own revision: it was deleted later.
            events.append(self._delete(key, snapshot.revision + (known == snapshot.revision)))
        self._floor = snapshot.revision
        return tuple(events)

    def changes(self, changes: Changes) -> tuple[Event, ...]:
        """Apply ``changes``; entries that were told already, or that the snapshot included, make no event."""
        events = []
        for entry in changes.entries:
            if isinstance(entry, Deleted):
                key = entry.key[self._strip :]
                known = self._revisions.get(key)
                if known is not None and entry.revision > known:
                    events.append(self._delete(key, entry.revision))
                continue
            item = local(entry, self._strip)
            known = self._revisions.get(item.key)
            if item.mod_revision > (self._floor if known is None else known):
                events.append(self._put(item, known is not None))
        if self._exact:
            # A key put and deleted since the snapshot is unknown again; hearing of that put once more is not news.
            self._floor = max(self._floor, changes.revision)
        return tuple(events)

    def _put(self, item: KeyValue, known: bool) -> Event:
        kind = EventType.UPDATE if known else EventType.CREATE
        self._revisions[item.key] = item.mod_revision
        before = None
        if self._previous:
            before = self._items.get(item.key)
            self._items[item.key] = item
        return Event(kind, item.key, item, item.mod_revision, before)

    def _delete(self, key: str, revision: int) -> Event:
        del self._revisions[key]
        return Event(EventType.DELETE, key, None, revision, self._items.pop(key, None))


class Relay:
    """Passes changes on, without a memory of keys: only for stores that show every revision."""

    def __init__(self, *, strip: int, after: int) -> None:
        self._strip = strip
        self._after = after

    def changes(self, changes: Changes) -> tuple[Event, ...]:
        """The events of what is newer than everything passed on before."""
        events = []
        for entry in changes.entries:
            if isinstance(entry, Deleted):
                if entry.revision > self._after:
                    events.append(Event(EventType.DELETE, entry.key[self._strip :], None, entry.revision))
            elif entry.mod_revision > self._after:
                item = local(entry, self._strip)
                kind = EventType.CREATE if item.create_revision == item.mod_revision else EventType.UPDATE
                events.append(Event(kind, item.key, item, item.mod_revision))
        self._after = max(self._after, changes.revision)
        return tuple(events)


def local(item: KeyValue, strip: int) -> KeyValue:
    """``item`` as the application names it: without the namespace's prefix of ``strip`` characters."""
    return item._replace(key=item.key[strip:]) if strip else item
