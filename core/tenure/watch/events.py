"""What a watch tells the application: batches of events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenure.spi.types import KeyValue


class EventType(StrEnum):
    """What happened to a key, seen from what this watch has told before."""

    CREATE = "create"
    """The watcher didn't know the key."""

    UPDATE = "update"
    """The watcher knew the key. Where a store coalesces, a delete and a new create in between may hide here;
    ``item.create_revision`` tells."""

    DELETE = "delete"
    """The key is gone: deleted, or its lease ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key.

    ``item`` is the key as it is now, ``None`` for a delete. ``previous`` is the key as this watcher last saw
    it, only where the watch was opened with ``previous=True``. ``revision`` is that of the change; for a
    delete found by comparing snapshots it is the revision of the snapshot that no longer had the key.
    """

    type: EventType
    key: str
    item: KeyValue | None
    revision: int
    previous: KeyValue | None = None


class BatchType(StrEnum):
    """Why a batch was sent."""

    SNAPSHOT = "snapshot"
    """The state at the beginning, as creates. Always the first batch (unless the watch resumes after a revision)."""

    SYNCED = "synced"
    """No events: everything up to ``revision`` has been told, from here on come changes."""

    CHANGES = "changes"
    """Changes as they happened; never a part of a transaction where the store declares ``lossless_watch``."""

    RESYNC = "resync"
    """There was a gap, for the ``reason`` given. The events are the difference between what was told before and
    what is true now, deletes included (perhaps none)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that belong together; ``revision`` is the store's revision after them."""

    type: BatchType
    events: tuple[Event, ...]
    revision: int
    reason: str = ""
