"""One key as the console remembers it, and what of a registration a list of instances needs."""

from __future__ import annotations

from dataclasses import dataclass

from tenure import KeyValue, MalformedEntry
from tenure.registry import decode

REGISTRIES = "/registry/"
"""What the keys of all registries start with; the name of one follows."""
_KEPT = 16 * 1024
"""Bytes of a value that are kept in memory. A page reads a larger one from the store when it is asked for."""
_LONGEST = 300
"""Characters of a field that a list needs."""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """What a list shows of an instance. Texts are shortened; the page of one instance reads its entry again.

    Attributes:
        registry: the name of the registry.
        service: the service.
        problem: why the entry is no instance; empty for an instance, and with it the fields below are empty.
        meta: the number of entries of its metadata.
    """

    registry: str
    service: str
    id: str
    address: str = ""
    host_name: str = ""
    status: str = ""
    ready: bool = False
    weight: float = 1.0
    zone: str = ""
    version: str = ""
    meta: int = 0
    problem: str = ""


@dataclass(slots=True)
class Entry:
    """One key.

    Attributes:
        key: the key.
        value: the value; ``None`` if it is too large to keep.
        size: bytes of the value.
        create_revision: the revision that created the key.
        mod_revision: the revision of its last put.
        lease_id: its lease.
        since: when the console saw its creation, in seconds since 1970; ``None`` if it was there before.
        changed: when the console saw its last put; ``None`` if that was before.
        instance: what a list of instances shows, for an entry of a registry.
    """

    key: str
    value: bytes | None
    size: int
    create_revision: int
    mod_revision: int
    lease_id: str | None
    since: float | None
    changed: float | None
    instance: InstanceRow | None

    @property
    def item(self) -> KeyValue:
        """The key as the store's API has it; an empty value stands for one that isn't kept."""
        return KeyValue(self.key, self.value or b"", self.create_revision, self.mod_revision, self.lease_id)


def make_entry(item: KeyValue, *, since: float | None, changed: float | None) -> Entry:
    """Return what is remembered of ``item``."""
    return Entry(
        item.key,
        item.value if len(item.value) <= _KEPT else None,
        len(item.value),
        item.create_revision,
        item.mod_revision,
        item.lease_id,
        since,
        changed,
        _instance(item),
    )


def registry_prefix(key: str) -> str | None:
    """Return the prefix of the registry that ``key`` belongs to; ``None`` if it belongs to none."""
    if not key.startswith(REGISTRIES):
        return None
    end = key.find("/", len(REGISTRIES))
    return key[: end + 1] if end > len(REGISTRIES) else None


def _instance(item: KeyValue) -> InstanceRow | None:
    prefix = registry_prefix(item.key)
    if prefix is None:
        return None
    registry = prefix[len(REGISTRIES) : -1]
    service, _, id_ = item.key[len(prefix) :].rpartition("/")
    try:
        found = decode(prefix, item.key, item.value)
    except MalformedEntry as exc:
        return InstanceRow(registry, service or "?", id_[:_LONGEST], problem=str(exc)[:_LONGEST])
    version = found.meta.get("version", "")
    return InstanceRow(
        registry,
        # The key counts, not the JSON: the entry is listed where its delete will be seen.
        service or "?",
        found.id[:_LONGEST],
        found.address[:_LONGEST],
        found.host_name[:_LONGEST],
        found.status[:_LONGEST],
        found.ready,
        found.weight,
        found.zone[:_LONGEST],
        version[:_LONGEST] if isinstance(version, str) else "",
        len(found.meta),
    )
