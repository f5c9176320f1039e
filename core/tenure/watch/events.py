"""What a watch delivers to the application: batches of events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenure.spi.types import KeyValue


class EventType(StrEnum):
    """What happened to a key, compared with what this watch has delivered before.

    Attributes:
        CREATE: the key exists, and the watch had not delivered it.
        UPDATE: the key has a new revision. If the store coalesces changes, the key may have been deleted and created
            again in between; ``item.create_revision`` shows that.
        DELETE: the key was deleted, or removed with its lease.
    """

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key.

    Attributes:
        type: what happened.
        key: the key, without the namespace.
        item: the key with its value after the change, ``None`` for a delete.
        revision: the revision of the change. For a delete found by comparing snapshots, the revision of the snapshot
            that no longer had the key. It is one more if the key was last put at that same revision.
        previous: the key with its value as this watch last delivered it. ``None`` unless the watch was opened with
            ``previous=True``, and for a create.
    """

    type: EventType
    key: str
    item: KeyValue | None
    revision: int
    previous: KeyValue | None = None


_set_type, _set_key, _set_item, _set_revision, _set_previous = (
    Event.__dict__[name].__set__ for name in ("type", "key", "item", "revision", "previous")
)


def new_event(kind: EventType, key: str, item: KeyValue | None, revision: int, previous: KeyValue | None) -> Event:
    """Return ``Event(...)``. A snapshot makes hundreds of thousands, and a frozen class is slow to fill as it is."""
    event = object.__new__(Event)
    _set_type(event, kind)
    _set_key(event, key)
    _set_item(event, item)
    _set_revision(event, revision)
    _set_previous(event, previous)
    return event


class BatchType(StrEnum):
    """Why a batch was delivered.

    Attributes:
        SNAPSHOT: the state at the beginning, as creates. The first batch, unless the watch was opened with ``after``.
        SYNCED: no events. Everything up to ``revision`` was delivered; changes follow.
        CHANGES: changes in order. Where the store declares ``lossless_watch``, a batch holds whole transactions.
        RESYNC: the watch had a gap, for the batch's ``reason``. The events are the difference between what was
            delivered before and the present state, deletes included; there may be none.
    """

    SNAPSHOT = "snapshot"
    SYNCED = "synced"
    CHANGES = "changes"
    RESYNC = "resync"


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that belong together.

    Attributes:
        type: why the batch was delivered.
        events: the changes, in order; deletes last in a RESYNC batch.
        revision: the store's revision after the events.
        reason: for a RESYNC batch, what caused the gap, as text; otherwise empty.
    """

    type: BatchType
    events: tuple[Event, ...]
    revision: int
    reason: str = ""
