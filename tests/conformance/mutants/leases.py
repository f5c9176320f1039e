"""Broken leases: of the store, and of what core does to keep them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from tenure._client.store import Store
from tenure.leases import Lease
from tenure.leases.keepalive import LeaseKeepAlive
from tenure.leases.machine import LeaseMachine
from tenure.spi import (
    Backend,
    Changes,
    CommitResult,
    Delete,
    Deleted,
    FeedItem,
    KeyValue,
    LeaseGrant,
    LeaseId,
    Put,
    Transaction,
)
from tenure_memory import MemoryServer
from tenure_memory.history import Change

from .base import BentFeed, BentItems, BentWatch, Faithful


class LeaseNeverEnds(Faithful):
    """A lease lives a hundred times as long as its ttl."""

    rules = ("leases.left_alone_end_in_time",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 100, timeout=timeout).lease_id, ttl)


class LeaseEndsLate(Faithful):
    """A lease lives for twice its ttl and more, which isn't declared."""

    rules = ("leases.left_alone_end_in_time",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 2 + 1, timeout=timeout).lease_id, ttl)


class LeaseEndsEarly(Faithful):
    """A lease ends when four fifths of its ttl have passed."""

    rules = ("leases.never_end_before_their_ttl",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 0.8, timeout=timeout).lease_id, ttl)


class EndingIsNotTold(BentWatch):
    """The deletes of keys whose lease ends are told to nobody."""

    rules = ("leases.ending_is_told_to_watchers",)
    committing = threading.local()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self.committing.now = True
        try:
            return self.inner.commit(transaction, timeout=timeout)
        finally:
            self.committing.now = False

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [item] if getattr(self.committing, "now", False) else []


class EndingLacksTheOldValue(BentWatch):
    """A key with a lease is told with an empty value, so that its ending shows that."""

    rules = ("leases.ending_is_told_to_watchers",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        entries = (
            entry if isinstance(entry, Deleted) or entry.lease_id is None else entry._replace(value=b"")
            for entry in item.entries
        )
        return [Changes(tuple(entries), item.revision)]


class EndingTakesOneKey(Faithful):
    """Of several keys of a lease that runs out the first alone goes."""

    rules = ("leases.ending_is_told_to_watchers",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def end(server: Any, lease: Any) -> None:
            server._leases.end(lease)
            server._write([Delete(key) for key in sorted(lease.keys)[:1]])

        return patch.object(MemoryServer, "_end", end)


class RefreshDoesNothing(Faithful):
    """A refresh is answered, and that is all."""

    rules = ("leases.are_extended_by_refreshing", "leases.kept_alive_live_on")

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        alive = {info.lease_id: info.ttl for info in self.inner.leases(None, timeout=timeout)}
        return {lease_id: alive[lease_id] for lease_id in lease_ids if lease_id in alive}


class NobodyKeepsLeases(Faithful):
    """Leases are refreshed when their holder asks for it, and never by themselves."""

    rules = ("leases.kept_alive_live_on",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(LeaseMachine, "_take_due", lambda machine, now: ())


class EndTakesFormerKeys(Faithful):
    """With a lease goes every key that was ever put on it."""

    rules = ("leases.leave_what_is_not_theirs", "leases.deleted_keys_do_not_come_back")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def move(server: Any, change: Change) -> None:
            for entry in change.entries:
                if isinstance(entry, KeyValue) and entry.lease_id is not None:
                    server._leases.require(entry.lease_id).keys.add(entry.key)

        return patch.object(MemoryServer, "_move_between_leases", move)


class EndTakesKeysBelow(Faithful):
    """With a key whose lease ends goes all that is below it."""

    rules = ("leases.leave_what_is_not_theirs",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def end(server: Any, lease: Any) -> None:
            server._leases.end(lease)
            below = {item.key for key in lease.keys for item in server._state.under(key + "/")}
            server._write([Delete(key) for key in sorted(lease.keys | below)])

        return patch.object(MemoryServer, "_end", end)


class LossIsNotTold(Faithful):
    """Nobody calls the on_lost of a lease that has ended."""

    rules = ("leases.lost_are_told_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(LeaseKeepAlive, "lost", LeaseKeepAlive.forget)


class LossIsToldTwice(Faithful):
    """The on_lost of a lease is called twice."""

    rules = ("leases.lost_are_told_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        once = LeaseKeepAlive.lost

        def twice(keeper: LeaseKeepAlive, lease: Lease) -> None:
            once(keeper, lease)
            once(keeper, lease)

        stack = ExitStack()
        stack.enter_context(patch.object(LeaseKeepAlive, "lost", twice))
        stack.enter_context(patch.object(Lease, "tells", lambda lease, what: True))
        return stack


class TtlIsDoubled(Faithful):
    """A lease gets twice the ttl that was asked for, which isn't declared."""

    rules = ("leases.have_a_truthful_ttl",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self.inner.grant(2 * ttl, timeout=timeout)


class TtlIsShortened(Faithful):
    """A lease gets less than the ttl that was asked for."""

    rules = ("leases.have_a_truthful_ttl",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        grant = self.inner.grant(ttl, timeout=timeout)
        return LeaseGrant(grant.lease_id, grant.ttl * 0.9)


class AnyTtlIsTaken(Faithful):
    """A ttl beyond the declared one is shortened to it in silence."""

    rules = ("leases.have_limits",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Store.lease

        def lease(store: Store, ttl: float, **arguments: Any) -> Lease:
            longest = store.capabilities.max_ttl
            return sound(store, longest if longest < ttl < float("inf") else ttl, **arguments)

        return patch.object(Store, "lease", lease)


class RevokeLeavesKeys(Faithful):
    """A revoked lease is gone and its keys stay."""

    rules = ("leases.revoked_take_their_keys_at_once", "leases.can_be_revoked_by_anyone")

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        for lease_id in lease_ids:
            for info in self.inner.leases(lease_id, timeout=timeout):
                for key in info.keys:
                    item = self.inner.get(key, timeout=timeout).item
                    if item is not None:
                        self.write(Put(key, item.value))
        return self.inner.revoke(lease_ids, timeout=timeout)


class KeysGoOneByOne(Faithful):
    """The keys of a revoked lease go in a transaction each."""

    rules = ("leases.revoked_take_their_keys_at_once",)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        for lease_id in lease_ids:
            for info in self.inner.leases(lease_id, timeout=timeout):
                for key in info.keys:
                    self.write(Delete(key))
        return self.inner.revoke(lease_ids, timeout=timeout)


class RevokedIsRefreshed(Faithful):
    """A refresh of a lease that was revoked is answered as if it were alive."""

    rules = ("leases.revoked_elsewhere_are_lost_without_a_call",)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return dict.fromkeys(lease_ids, 9.0) | self.inner.refresh(lease_ids, timeout=timeout)


class LeasesEndWhenTheyAreWatched(Faithful):
    """A lease ends on the clock of its backend alone: where that is closed, nothing ends it."""

    rules = ("leases.ended_together_are_gone_at_the_first_look",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.granted: list[tuple[LeaseId, float]] = []

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        lease_id = self.inner.grant(ttl, timeout=timeout).lease_id
        self.granted.append((lease_id, ttl))
        return LeaseGrant(lease_id, ttl)

    def close(self) -> None:
        for lease_id, ttl in self.granted:
            for lease in self.server._leases:
                if lease.lease_id == lease_id:
                    self.server._leases.refresh(lease, self.server._clock.now() + 60.0 - ttl)
        super().close()


class LeasedKeysBeginAnew(BentItems):
    """A key that is put on a lease looks as if it had been deleted and made again."""

    rules = ("leases.changing_keeps_the_create_revision",)

    def item(self, item: KeyValue) -> KeyValue:
        return item if item.lease_id is None else item._replace(create_revision=item.mod_revision)


MUTANTS: tuple[type[Faithful], ...] = (
    LeasedKeysBeginAnew,
    RevokedIsRefreshed,
    LeasesEndWhenTheyAreWatched,
    LeaseNeverEnds,
    LeaseEndsLate,
    LeaseEndsEarly,
    EndingIsNotTold,
    EndingLacksTheOldValue,
    EndingTakesOneKey,
    RefreshDoesNothing,
    NobodyKeepsLeases,
    EndTakesFormerKeys,
    EndTakesKeysBelow,
    LossIsNotTold,
    LossIsToldTwice,
    TtlIsDoubled,
    TtlIsShortened,
    AnyTtlIsTaken,
    RevokeLeavesKeys,
    KeysGoOneByOne,
)
