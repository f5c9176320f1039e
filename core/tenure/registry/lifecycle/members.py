"""Who belongs to each service, in pieces: one change costs the same in a service of ten instances and of a million.

The writer keeps the instances of a service in chunks of at most 256, in the order in which they became known. A chunk
that has been published is never changed: the writer copies it, once for each batch. What it publishes after a batch is
one :class:`Directory`, a tuple of small dictionaries. It shares everything but the copied pieces with the one before.
So a reader that holds a directory has the state of one moment, and needs no lock.

Nobody pays for a tuple of all members until somebody asks for it: a :class:`Membership` builds it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tenure.registry.model.instance import Instance
from tenure.registry.model.service import Service

_CHUNK = 256
"""Instances, or services, of one piece. A copy of so many costs about a microsecond."""
_FEW_CHUNKS = 8
_Published = tuple[dict[str, Instance], ...]


class Membership:
    """One service as it was after one batch. Immutable; what readers ask for is built when they do.

    Two readers may build the same at once: they get equal tuples, and one of them is kept.
    """

    __slots__ = ("_chunks", "_count", "_ready", "_service", "name")

    def __init__(self, name: str, chunks: _Published, count: int) -> None:
        self.name = name
        self._chunks = chunks
        self._count = count
        self._service: Service | None = None
        self._ready: tuple[Instance, ...] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def service(self) -> Service:
        """The service with all its instances."""
        service = self._service
        if service is None:
            members = tuple(instance for chunk in self._chunks for instance in chunk.values())
            service = self._service = Service(self.name, members)
        return service

    @property
    def ready(self) -> tuple[Instance, ...]:
        """The instances that accept new work."""
        ready = self._ready
        if ready is None:
            ready = self._ready = self.service.ready
        return ready


class Directory:
    """All services as they were after one batch. Immutable."""

    __slots__ = ("_buckets", "_whole")

    def __init__(self, buckets: tuple[dict[str, Membership], ...] = ({},)) -> None:
        self._buckets = buckets
        self._whole: Mapping[str, Service] | None = None

    def get(self, name: str) -> Membership | None:
        """Return a service; ``None`` if no instance of it is known."""
        buckets = self._buckets
        return buckets[hash(name) % len(buckets)].get(name)

    @property
    def whole(self) -> Mapping[str, Service]:
        """All services by name, read-only; in the order of their names if there are many."""
        whole = self._whole
        if whole is None:
            found = {name: each.service for bucket in self._buckets for name, each in bucket.items()}
            ordered = found if len(self._buckets) == 1 else dict(sorted(found.items()))
            whole = self._whole = MappingProxyType(ordered)
        return whole

    def replaced(self, changed: Mapping[str, Membership | None]) -> Directory:
        """Return a directory with these services in place of the present ones; ``None`` for one that is gone."""
        buckets = list(self._buckets)
        copied: set[int] = set()
        for name, membership in changed.items():
            number = hash(name) % len(buckets)
            if number not in copied:
                copied.add(number)
                buckets[number] = dict(buckets[number])
            if membership is None:
                buckets[number].pop(name, None)
            else:
                buckets[number][name] = membership
        # Buckets fill evenly, so the copied ones tell whether all are full.
        if any(len(buckets[number]) > 2 * _CHUNK for number in copied):
            buckets = _spread(buckets)
        return Directory(tuple(buckets))


def _spread(buckets: list[dict[str, Membership]]) -> list[dict[str, Membership]]:
    services = {name: each for bucket in buckets for name, each in bucket.items()}
    number = max(2 * len(buckets), 4 * len(services) // _CHUNK)
    spread: list[dict[str, Membership]] = [{} for _ in range(number)]
    for name, each in services.items():
        spread[hash(name) % number][name] = each
    return spread


class _Chunk:
    """Some instances of one service. Only in ``batch``, in which they were made, may ``entries`` be changed."""

    __slots__ = ("batch", "entries", "home", "number")

    def __init__(self, home: _Members, number: int, batch: int) -> None:
        self.home = home
        self.number = number
        self.batch = batch
        self.entries: dict[str, Instance] = {}

    def opened(self, batch: int) -> dict[str, Instance]:
        """Return the entries to be changed in ``batch``."""
        if self.batch != batch:
            self.batch = batch
            self.entries = dict(self.entries)
            self.home.published[self.number] = self.entries
        return self.entries


class _Members:
    """The instances of one service, for the writer."""

    __slots__ = ("chunks", "count", "name", "published")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.chunks: list[_Chunk] = []
        self.published: list[dict[str, Instance]] = []

    def last(self, batch: int) -> _Chunk:
        """Return a chunk that takes one more instance."""
        if not self.chunks or len(self.chunks[-1].entries) >= _CHUNK:
            chunk = _Chunk(self, len(self.chunks), batch)
            self.chunks.append(chunk)
            self.published.append(chunk.entries)
        return self.chunks[-1]

    def drop_empty(self, number: int) -> None:
        """Forget a chunk that has become empty."""
        del self.chunks[number]
        del self.published[number]
        for later in range(number, len(self.chunks)):
            self.chunks[later].number = later

    @property
    def sparse(self) -> bool:
        """Whether the chunks hold a quarter of what they could, or less."""
        return len(self.chunks) > _FEW_CHUNKS and 4 * self.count < len(self.chunks) * _CHUNK


class Members:
    """All instances by their keys, and by service. For one writer; readers take what :meth:`publish` returns."""

    def __init__(self) -> None:
        self._places: dict[str, _Chunk] = {}
        self._services: dict[str, _Members] = {}
        self._touched: dict[str, _Members] = {}
        self._batch = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> Instance | None:
        """Return the instance of this key. Any thread may ask; a change that is under way may show or not."""
        place = self._places.get(key)
        return None if place is None else place.entries.get(key)

    def items(self) -> list[tuple[str, Instance]]:
        """Return keys and instances, in the order in which they became known."""
        return [(key, place.entries[key]) for key, place in self._places.items()]

    def set(self, key: str, instance: Instance) -> None:
        """Add the instance of a key, or replace one of the same service."""
        place = self._places.get(key)
        if place is None:
            home = self._services.get(instance.service_name)
            if home is None:
                home = self._services[instance.service_name] = _Members(instance.service_name)
            place = self._places[key] = home.last(self._batch)
            home.count += 1
        place.opened(self._batch)[key] = instance
        self._touched[place.home.name] = place.home

    def remove(self, key: str) -> Instance | None:
        """Remove the instance of a key, if there is one, and return it."""
        place = self._places.pop(key, None)
        if place is None:
            return None
        home = place.home
        entries = place.opened(self._batch)
        gone = entries.pop(key)
        home.count -= 1
        if not entries:
            home.drop_empty(place.number)
        if not home.count:
            del self._services[home.name]
        elif home.sparse:
            self._gather(home)
        self._touched[home.name] = home
        return gone

    def publish(self, directory: Directory) -> Directory:
        """End the batch: return ``directory`` with the services that it has touched."""
        if not self._touched:
            return directory
        changed = {
            name: Membership(name, tuple(home.published), home.count) if home.count else None
            for name, home in self._touched.items()
        }
        self._touched = {}
        self._batch += 1
        return directory.replaced(changed)

    def _gather(self, home: _Members) -> None:
        """Fill the chunks of a service again: long-lived instances would keep one each, however few they are."""
        former = home.chunks
        home.chunks, home.published = [], []
        for chunk in former:
            for key, instance in chunk.entries.items():
                place = self._places[key] = home.last(self._batch)
                place.entries[key] = instance
