"""What crosses the SPI: keys with their values, transactions, results. Immutable, without behaviour.

Two results of the hot path, :class:`KeyValue` and :class:`ReadResult`, are named tuples: building one costs a
third of a frozen dataclass with slots, and a store on the local disk is fast enough for that to show
(decision record 0002). Everything else is a frozen dataclass.

Revisions are opaque integers that only grow, one per committed transaction, store-wide. Code outside a plugin
compares revisions and passes them back; it does no arithmetic on them.

A revision means something only within one history of the store. A restored backup or lost data replace the history,
and the new one may use revisions of the old one again, for other changes. A store that declares ``unique_revisions``
never does: there a revision alone tells its history. On other stores the plugin tells it by ``Backend.history``, by the
marks of feed items and by ``HistoryReplaced``; what follows is decided in core, once for all stores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

LeaseId = str


class KeyValue(NamedTuple):
    """One key as it was at one revision.

    Attributes:
        key: the key. Plugins see the namespace in front; applications see the key without the namespace.
        value: the value, possibly empty.
        create_revision: the revision of the transaction that created the key. A delete ends that life, and the next
            put creates the key again.
        mod_revision: the revision of the last transaction that put the key; on the first put it equals
            ``create_revision``.
        lease_id: the lease that the key is removed with, ``None`` for a key without a lease.
    """

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease_id: LeaseId | None = None


class ReadResult(NamedTuple):
    """What a key was, and a store revision at which that was true.

    Attributes:
        item: the key with its value, ``None`` if the key does not exist.
        revision: the store revision that the answer belongs to. A watch after this revision misses nothing.
    """

    item: KeyValue | None
    revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """One part of a list, in UTF-8 byte order of the keys.

    Attributes:
        items: the keys with their values.
        has_more: whether keys of the prefix follow after the last item; ``False`` for an empty page.
        revision: the store revision that the page shows. A page read at a given revision repeats that revision.
    """

    items: tuple[KeyValue, ...]
    has_more: bool
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """What ``Backend.list`` reads. Later versions may add fields; a plugin ignores those that it doesn't know.

    Attributes:
        prefix: the string that the keys start with; ``""`` for all keys.
        after: return only keys greater than this one; ``None`` to begin at the first.
        limit: the largest number of items; ``None`` lets the plugin choose, up to all of them.
        revision: read the state at this revision, which an earlier page of the list returned; ``None`` for the
            present state. Only given where ``consistent_pagination`` is declared.
        keys_only: the caller wants no values. A plugin that can leave them out returns ``b""`` in their place and saves
            the bytes. One that can't may return them, and core drops them.
        patience: seconds that the whole may take as long as parts of it keep arriving; ``timeout`` is then the longest
            time without one. A long state needs no second attempt by that. ``None``, or a plugin that doesn't know the
            field: ``timeout`` is for everything.
    """

    prefix: str
    after: str | None = None
    limit: int | None = None
    revision: int | None = None
    keys_only: bool = False
    patience: float | None = field(default=None, compare=False)


class MultiReadResult(NamedTuple):
    """Several keys as they were at one revision.

    Attributes:
        items: one entry for each key that was asked for, in that order: the key with its value, ``None`` if the key
            does not exist.
        revision: the store revision that all entries belong to.
    """

    items: tuple[KeyValue | None, ...]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """What ``Backend.watch`` delivers. Later versions may add fields; a plugin ignores those that it doesn't know.

    Attributes:
        prefix: the string that the keys start with; ``""`` for all keys. With ``exact`` the only key.
        exact: whether only the key that equals ``prefix`` is watched. A feed may deliver more; core drops it.
        after: resume after this revision; ``None`` to begin with a snapshot of the present state.
        mark: the ``mark`` of the item that core took last from the feed before. With it the plugin proves that the
            store still has the history that the watch has seen. Empty for an application's own ``after``.
        patience: seconds that opening may take as long as parts of it keep arriving; ``timeout`` is then the longest
            time without one. A long snapshot needs no second attempt by that. ``None``, or a plugin that doesn't know
            the field: ``timeout`` is for everything.
        begun: whether the watch has delivered a state before. A source that may know an older one, such as an agent
            that reads its file, then serves no snapshot of it.
    """

    prefix: str
    exact: bool = False
    after: int | None = None
    mark: str = ""
    patience: float | None = field(default=None, compare=False)
    begun: bool = field(default=False, compare=False)


# -- transactions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyAbsent:
    """Precondition: the key does not exist.

    Attributes:
        key: the key to check.
    """

    key: str


@dataclass(frozen=True, slots=True)
class KeyExists:
    """Precondition: the key exists, with any value.

    Attributes:
        key: the key to check.
    """

    key: str


@dataclass(frozen=True, slots=True)
class RevisionEquals:
    """Precondition: the key exists and was last put at ``revision``.

    Attributes:
        key: the key to check.
        revision: the ``mod_revision`` that the key must have.
    """

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Operation: set the key, whether or not it exists.

    Attributes:
        key: the key to set.
        value: the new value. A value identical to the present one is a change too.
        lease_id: the lease that the key is removed with. ``None`` detaches the key from any lease.
    """

    key: str
    value: bytes
    lease_id: LeaseId | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Operation: delete the key. Deleting a missing key changes nothing.

    Attributes:
        key: the key to delete.
    """

    key: str


Precondition = KeyAbsent | KeyExists | RevisionEquals
Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations on distinct keys that are applied together if and only if all preconditions hold.

    Before a plugin sees a transaction, core has validated keys, values and sizes, and that each key is written once.
    A key may have several preconditions, and preconditions without being written. Either tuple may be empty; without
    operations the transaction is a check.

    Attributes:
        preconditions: what must hold, in any order.
        operations: what to put and delete, in any order.
    """

    preconditions: tuple[Precondition, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The result of a transaction that was applied.

    Attributes:
        revision: the transaction's own revision: every key put has it as ``mod_revision``, and every delete event
            carries it. A transaction that changed nothing makes no revision and returns the store's present one. That
            one is not later than the moment at which the preconditions held, so a watch after it misses nothing.
        deleted: the number of keys that existed and were deleted.
    """

    revision: int
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixDeletion:
    """The result of one transaction that deleted keys of a prefix.

    Attributes:
        deleted: the number of keys that existed and were deleted.
        revision: the transaction's revision; the store's present one if there was nothing to delete.
        has_more: whether keys of the prefix may be left, so that core calls again.
    """

    deleted: int
    revision: int
    has_more: bool = False


# -- leases ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A fresh lease, counted from the grant.

    Attributes:
        lease_id: the id of the new lease, unlike that of any lease alive.
        ttl: the TTL that the store really gave, in seconds.
    """

    lease_id: LeaseId
    ttl: float


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as the store sees it.

    Attributes:
        lease_id: the lease's id.
        ttl: the effective TTL in seconds.
        remaining: seconds until the lease expires, ``None`` if the store does not report it.
        keys: the keys that are removed with the lease. ``Store`` leaves out keys of other namespaces.
    """

    lease_id: LeaseId
    ttl: float
    remaining: float | None
    keys: tuple[str, ...]


# -- diagnosis -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server reports about itself. ``tenure doctor`` prints it.

    Attributes:
        product: the server's name.
        version: the server's version.
        revision: the store's present revision.
        clock: the server's wall clock as seconds since the epoch, ``None`` if the server does not report it.
        warnings: sentences about settings that weaken the store's guarantees; empty if none was found.
        details: further facts by name, such as members, sizes or modes.
    """

    product: str
    version: str
    revision: int
    clock: float | None = None
    warnings: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)
