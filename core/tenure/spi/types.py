"""What crosses the SPI: keys with their values, transactions, answers. Immutable, without behaviour.

Two answers of the hot path, :class:`KeyValue` and :class:`ReadResult`, are named tuples: building one costs a
third of a frozen dataclass with slots, and a store on the local disk is fast enough for that to show
(decision record 0002). Everything else is a frozen dataclass.

Revisions are opaque integers that only grow, one per committed transaction, store-wide. Outside a plugin
nobody does arithmetic on them; they are compared and handed back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

LeaseId = str
"""A lease's name in the store, opaque to everyone but the plugin."""


class KeyValue(NamedTuple):
    """One key as it was at one revision."""

    key: str
    value: bytes
    create_revision: int
    """Revision of the transaction that made the key come into being (a delete ends that life)."""
    mod_revision: int
    """Revision of the last transaction that put the key; equal to ``create_revision`` on its first put."""
    lease_id: LeaseId | None = None
    """The lease the key ends with, or ``None``."""


class ReadResult(NamedTuple):
    """Answer of ``get``: the item or ``None``, and a store revision at which that was true."""

    item: KeyValue | None
    revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """Answer of ``list``: items in UTF-8 byte order of their keys.

    ``has_more`` says that keys of the prefix follow after the last item; an empty page has ``has_more=False``.
    ``revision`` is the store revision the page shows; pages read at a revision given by the caller repeat it.
    """

    items: tuple[KeyValue, ...]
    has_more: bool
    revision: int


# -- transactions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyAbsent:
    """Guard: the key must not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class KeyExists:
    """Guard: the key must exist, with whatever value."""

    key: str


@dataclass(frozen=True, slots=True)
class RevisionEquals:
    """Guard: the key must exist and its ``mod_revision`` must still be ``revision``."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Operation: set the key. ``lease_id=None`` detaches it from any lease it had."""

    key: str
    value: bytes
    lease_id: LeaseId | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Operation: the key is gone afterwards. Deleting a key that isn't there changes nothing."""

    key: str


Precondition = KeyAbsent | KeyExists | RevisionEquals
Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """Preconditions, and operations on distinct keys that are applied together if and only if all of them hold.

    Core has validated keys, values, sizes and that no key is written twice before a plugin sees this.
    A key may have more than one precondition, also without being written. There may be no preconditions, or no
    operations (then it is a check).
    """

    preconditions: tuple[Precondition, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class CommitResult:
    """Answer of a transaction that was applied.

    ``revision`` is the transaction's own: every key put has it as ``mod_revision``, every delete event
    carries it. A transaction that changed nothing (no operations, or only deletes of keys that weren't
    there) makes no revision and answers the store's present one, which must not be later than the moment at
    which its preconditions held: who watches after it must miss nothing. ``deleted`` counts keys really deleted.
    """

    revision: int
    deleted: int = 0


# -- leases ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A fresh lease: its id and the ttl the store really gave, in seconds, counted from the grant."""

    lease_id: LeaseId
    ttl: float


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as the store describes it. ``remaining`` is in seconds, ``None`` where the store can't tell."""

    lease_id: LeaseId
    ttl: float
    remaining: float | None
    keys: tuple[str, ...]


# -- diagnosis -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself, for people: ``tenure doctor`` prints it.

    ``clock`` is the server's wall clock as seconds since the epoch, ``None`` where it doesn't tell.
    ``warnings`` are sentences about settings that weaken what the store promises (empty: none was found).
    ``details`` are further facts by name, such as members, sizes or modes.
    """

    product: str
    version: str
    revision: int
    clock: float | None = None
    warnings: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)
