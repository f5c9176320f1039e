"""The store's namespace as the watch has shown it: keys, services, leases, and the last changes.

One lock guards everything; whoever reads gets copies or immutable data. Memory is bounded: large values aren't kept,
the timeline has a size, and keys above a number are counted and otherwise left out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from tenure import Batch, BatchType, Event, EventType, KeyValue
from tenure.plugin_kit import wall_clock
from tenure.recipes.survey import KINDS, Place, places_of, prefix_of
from tenure_console.following.entries import REGISTRIES, Entry, make_entry
from tenure_console.following.timeline import Change, Timeline
from tenure_console.following.tree import Folder, Tree

MOST_KEYS = 200_000
_MOST_OWN = 256
TOPICS = ("services", "keys", "timeline", "locks")
RECIPES = "tenure/"
"""What the keys of recipes start with."""

K = TypeVar("K")
Service = tuple[str, str]
"""A registry's name, and the name of a service in it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is.

    Attributes:
        left_out: keys above the number that is kept.
        locks: names of locks, semaphores and elections that a client holds or waits for.
        holders: those who hold one of them.
    """

    keys: int
    left_out: int
    services: int
    instances: int
    locks: int
    holders: int
    changes: int
    forgotten: int
    leases: int
    revision: int


class Picture:
    """What the console knows. All methods are thread-safe."""

    def __init__(self, *, most_keys: int = MOST_KEYS) -> None:
        self._lock = threading.Lock()
        self._most = most_keys
        self._entries: dict[str, Entry] = {}
        self._tree = Tree()
        self._left_out = 0
        self._services: dict[Service, dict[str, Entry]] = {}
        self._leases: dict[str, dict[str, Entry]] = {}
        self._timeline = Timeline()
        self._own: OrderedDict[int, str] = OrderedDict()
        self._places: list[Place] | None = None
        self._revision = 0
        self.began = wall_clock()
        """When the first snapshot came, in seconds since 1970: what isn't known to be newer was there then."""
        self._filled = False

    # -- taking in ---------------------------------------------------------------------------------

    def take(self, batch: Batch) -> frozenset[str]:
        """Take in a batch of the watch. Return the topics that changed."""
        now = wall_clock()
        with self._lock:
            self._revision = batch.revision
            if batch.type is BatchType.SNAPSHOT:
                if self._filled:
                    self._gap(now, batch.revision, "the watch ended, and another one was opened")
                else:
                    self.began = now
                self._fill((event.item for event in batch.events if event.item is not None), now)
                self._filled = True
                return frozenset(TOPICS)
            if batch.type is BatchType.RESYNC:
                self._gap(now, batch.revision, batch.reason or "unknown")
            changed: set[str] = set()
            for event in batch.events:
                changed |= self._event(event, now)
            if batch.type is BatchType.RESYNC:
                changed.add("timeline")
            return frozenset(changed)

    def note_own(self, revision: int, who: str) -> None:
        """Remember that the transaction of ``revision`` was the console's, for ``who``."""
        with self._lock:
            self._own[revision] = who
            while len(self._own) > _MOST_OWN:
                self._own.popitem(last=False)
            for change in reversed(self._timeline):
                if change.revision == revision:
                    # The watch may be quicker than the answer to the write.
                    self._timeline.amend(change, replace(change, who=who))
                elif change.revision < revision:
                    break

    def _gap(self, now: float, revision: int, reason: str) -> None:
        self._timeline.add(Change(self._timeline.next_number(), now, revision, "gap", reason))

    def _fill(self, items: Iterable[KeyValue], now: float) -> None:
        before, self._entries = self._entries, {}
        self._services.clear()
        self._leases.clear()
        self._left_out = 0
        self._places = None
        for item in items:
            if len(self._entries) >= self._most:
                self._left_out += 1
                continue
            since, changed = self._moments(before.get(item.key), item, now)
            self._store(make_entry(item, since=since, changed=changed))
        self._tree.fill(self._entries)

    def _moments(self, before: Entry | None, item: KeyValue, now: float) -> tuple[float | None, float | None]:
        """Return when a key of a snapshot was created and changed, as far as the console saw it."""
        if not self._filled:
            return None, None
        if before is None or before.create_revision != item.create_revision:
            return now, now
        return before.since, before.changed if before.mod_revision == item.mod_revision else now

    def _event(self, event: Event, now: float) -> set[str]:
        before = self._entries.get(event.key)
        if event.item is None:
            if before is None:  # one that was left out
                self._left_out = max(0, self._left_out - 1)
                return {"keys"}
            self._forget(before)
            self._tree.remove(event.key)
            after = None
        else:
            if before is None and len(self._entries) >= self._most:
                self._left_out += event.type is EventType.CREATE
                return {"keys"}
            if before is None and event.type is EventType.UPDATE:  # one that was left out, and has room now
                self._left_out = max(0, self._left_out - 1)
            # A key that was deleted and created again in between is a new one.
            same = before is not None and before.create_revision == event.item.create_revision
            after = make_entry(event.item, since=before.since if before is not None and same else now, changed=now)
            if before is None:
                self._tree.add(event.key)
            else:
                self._forget(before)
            self._store(after)
        self._timeline.add(self._change(event, before, after, now))
        changed = {"keys", "timeline"}
        if event.key.startswith(REGISTRIES):
            changed.add("services")
        if event.key.startswith(RECIPES):
            self._places = None
            changed.add("locks")
        return changed

    def _change(self, event: Event, before: Entry | None, after: Entry | None, now: float) -> Change:
        entry = after or before
        assert entry is not None
        owner = self._owner(entry)
        return Change(
            self._timeline.next_number(),
            now,
            event.revision,
            str(EventType.CREATE if before is None else event.type if after is None else EventType.UPDATE),
            event.key,
            None if before is None else before.value,
            None if after is None else after.value,
            None if before is None else before.size,
            None if after is None else after.size,
            entry.lease_id,
            # Whoever had the lease didn't delete the key if the lease expired, and the store doesn't say which it was.
            self._own.get(event.revision) or ("" if after is None else owner),
            owner if after is None else "",
        )

    def _owner(self, entry: Entry) -> str:
        """Return whom the entry belongs to: its own instance, or what else is under its lease."""
        if entry.instance is not None and not entry.instance.problem:
            return f"{entry.instance.service}/{entry.instance.id}"
        if entry.lease_id is None:
            return ""
        for other in self._leases.get(entry.lease_id, {}).values():
            if other.instance is not None and not other.instance.problem:
                return f"{other.instance.service}/{other.instance.id}"
        return self._participant(entry)

    def _participant(self, entry: Entry) -> str:
        for kind in KINDS:
            if entry.key.startswith(prefix_of(kind)):
                return next((place.owner for place in places_of(kind, [entry.item])), "")
        return ""

    def _store(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.instance is not None:
            service = (entry.instance.registry, entry.instance.service)
            self._services.setdefault(service, {})[entry.key] = entry
        if entry.lease_id is not None:
            self._leases.setdefault(entry.lease_id, {})[entry.key] = entry

    def _forget(self, entry: Entry) -> None:
        del self._entries[entry.key]
        if entry.instance is not None:
            _drop(self._services, (entry.instance.registry, entry.instance.service), entry.key)
        if entry.lease_id is not None:
            _drop(self._leases, entry.lease_id, entry.key)

    # -- looking -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The revision that the picture shows."""
        return self._revision

    def totals(self) -> Totals:
        """Return how much there is."""
        places = self.places()
        holders = sum(place.holds for place in places)
        locks = len({lock_of(place) for place in places})
        with self._lock:
            return Totals(
                len(self._entries),
                self._left_out,
                len(self._services),
                sum(map(len, self._services.values())),
                locks,
                holders,
                self._timeline.seen,
                self._timeline.forgotten,
                len(self._leases),
                self._revision,
            )

    def entry(self, key: str) -> Entry | None:
        """Return what is known of a key."""
        with self._lock:
            return self._entries.get(key)

    def services(self) -> dict[Service, list[Entry]]:
        """Return the services with their entries."""
        with self._lock:
            return {service: list(entries.values()) for service, entries in self._services.items()}

    def service(self, service: Service) -> list[Entry]:
        """Return the entries of one service, sorted by key."""
        with self._lock:
            return [entry for _, entry in sorted(self._services.get(service, {}).items())]

    def children(self, prefix: str, *, most: int) -> tuple[list[Folder | Entry], bool]:
        """Return the folders and keys directly below ``prefix``, and whether there are more than ``most``."""
        with self._lock:
            found, more = self._tree.children(prefix, most=most)
            return [self._entries[child] if isinstance(child, str) else child for child in found], more

    def search(self, text: str, *, most: int, prefix: str = "") -> tuple[list[Entry], int]:
        """Return the first keys that contain ``text``, in any case, and how many do in all."""
        wanted = text.casefold()
        with self._lock:
            keys = [key for key in self._tree.starting_with(prefix) if wanted in key.casefold()]
            return [self._entries[key] for key in keys[:most]], len(keys)

    def leases(self) -> dict[str, list[Entry]]:
        """Return the leases that keys are under, with the keys."""
        with self._lock:
            return {lease: list(entries.values()) for lease, entries in self._leases.items()}

    def lease(self, lease_id: str) -> list[Entry]:
        """Return the keys under a lease, sorted."""
        with self._lock:
            return [entry for _, entry in sorted(self._leases.get(lease_id, {}).items())]

    def owner_of_lease(self, lease_id: str) -> str:
        """Return who has the lease, as far as its keys show."""
        with self._lock:
            return next((who for entry in self._leases.get(lease_id, {}).values() if (who := self._owner(entry))), "")

    def places(self) -> list[Place]:
        """Return who holds and who waits for locks, permits and terms."""
        with self._lock:
            if self._places is None:
                self._places = [
                    place
                    for kind in KINDS
                    for place in places_of(
                        kind, [self._entries[key].item for key in self._tree.starting_with(prefix_of(kind))]
                    )
                ]
            return list(self._places)

    def changes(self, *, prefix: str = "", text: str = "", most: int = 100) -> list[Change]:
        """Return the last changes, the newest first, of keys that start with ``prefix`` and contain ``text``."""
        wanted, found = text.casefold(), []
        with self._lock:
            for change in reversed(self._timeline):
                if change.key.startswith(prefix) and wanted in change.key.casefold():
                    found.append(change)
                    if len(found) == most:
                        break
        return found

    def history(self, key: str, *, most: int = 20) -> list[Change]:
        """Return the last changes of one key, the newest first."""
        return [change for change in self.changes(prefix=key, most=10 * most) if change.key == key][:most]


def lock_of(place: Place) -> str:
    """Return what the keys of all who take part in the same lock, semaphore or election start with."""
    return place.key.rpartition("/")[0]


def _drop(index: dict[K, dict[str, Entry]], name: K, key: str) -> None:
    entries = index.get(name, {})
    entries.pop(key, None)
    if not entries:
        index.pop(name, None)
