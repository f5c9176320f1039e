"""Stores that mix up leases: whose keys are whose, who lives, what is listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tenure.spi import (
    Backend,
    CommitResult,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    Put,
    Transaction,
)

from .base import BentItems, Faithful


class ItemsHideTheirLease(BentItems):
    """No item says which lease it is on."""

    rules = ("leases.list_their_keys",)

    def item(self, item: KeyValue) -> KeyValue | None:
        return item._replace(lease_id=None)


class PutKeepsTheLease(Faithful):
    """A put without a lease leaves the key on the one it had."""

    rules = ("leases.list_their_keys", "leases.leave_what_is_not_theirs")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        operations = []
        for each in transaction.operations:
            item = self.inner.get(each.key, timeout=timeout).item
            keep = isinstance(each, Put) and each.lease_id is None and item is not None
            operations.append(Put(each.key, each.value, item.lease_id) if keep else each)  # type: ignore[union-attr]
        return self.inner.commit(Transaction(transaction.preconditions, tuple(operations)), timeout=timeout)


class DeadLeaseIsRefreshed(Faithful):
    """A refresh of a lease that has ended is answered as if it lived."""

    rules = (
        "leases.revoked_stay_dead",
        "leases.are_refreshed_and_revoked_in_batches",
        "leases.revoked_elsewhere_are_lost_without_a_call",
    )

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return dict.fromkeys(lease_ids, 60.0) | self.inner.refresh(lease_ids, timeout=timeout)


class DeadLeaseTakesKeys(Faithful):
    """A key put on a lease that has ended is put without one."""

    rules = ("leases.revoked_stay_dead",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        alive = {info.lease_id for info in self.inner.leases(None, timeout=timeout)}
        operations = (
            Put(each.key, each.value) if isinstance(each, Put) and each.lease_id not in alive else each
            for each in transaction.operations
        )
        return self.inner.commit(Transaction(transaction.preconditions, tuple(operations)), timeout=timeout)


class OnlyTheHolderRevokes(Faithful):
    """A revoke by another connection than the holder's is answered and has no effect."""

    rules = ("leases.can_be_revoked_by_anyone",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.own: set[LeaseId] = set()

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        grant = self.inner.grant(ttl, timeout=timeout)
        self.own.add(grant.lease_id)
        return grant

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self.inner.revoke([each for each in lease_ids if each in self.own], timeout=timeout) | (
            frozenset(lease_ids) - self.own
        )


class BatchEndsAtTheDead(Faithful):
    """A refresh of many stops at the first lease that has ended."""

    rules = ("leases.are_refreshed_and_revoked_in_batches",)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        refreshed: dict[LeaseId, float] = {}
        for lease_id in lease_ids:
            answer = self.inner.refresh([lease_id], timeout=timeout)
            if not answer:
                break
            refreshed |= answer
        return refreshed


class IdsAreReused(Faithful):
    """The ids of leases repeat."""

    rules = ("leases.are_refreshed_and_revoked_in_batches",)
    grants: ClassVar[list[LeaseGrant]] = []

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        grant = self.inner.grant(ttl, timeout=timeout)
        self.grants.append(grant)
        return self.grants[-2] if len(self.grants) % 8 == 0 else grant


class ListingIsEmpty(Faithful):
    """Declares list_leases, and lists nothing."""

    rules = ("leases.listing_works_or_is_refused",)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return () if lease_id is None else self.inner.leases(lease_id, timeout=timeout)


class ListingIsHalfDone(Faithful):
    """Doesn't declare list_leases, and answers with a part of them instead of refusing."""

    rules = ("leases.listing_works_or_is_refused",)
    declares: ClassVar = {"list_leases": False}

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self.inner.leases(lease_id, timeout=timeout)[:1]


class DescribedWithFormerKeys(Faithful):
    """A lease is described with keys that have left it."""

    rules = ("leases.are_described",)
    put: ClassVar[dict[str, LeaseId]] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self.put.update(
            {each.key: each.lease_id for each in transaction.operations if isinstance(each, Put) and each.lease_id}
        )
        return self.inner.commit(transaction, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return tuple(
            LeaseInfo(
                info.lease_id,
                info.ttl,
                info.remaining,
                tuple(key for key, on in self.put.items() if on == info.lease_id),
            )
            for info in self.inner.leases(lease_id, timeout=timeout)
        )


class RemainingIsElapsed(Faithful):
    """A lease is described with the time that has passed instead of the time that is left."""

    rules = ("leases.are_described",)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return tuple(
            LeaseInfo(info.lease_id, info.ttl, info.ttl - (info.remaining or 0.0), info.keys)
            for info in self.inner.leases(lease_id, timeout=timeout)
        )


MUTANTS: tuple[type[Faithful], ...] = (
    ItemsHideTheirLease,
    PutKeepsTheLease,
    DeadLeaseIsRefreshed,
    DeadLeaseTakesKeys,
    OnlyTheHolderRevokes,
    BatchEndsAtTheDead,
    IdsAreReused,
    ListingIsEmpty,
    ListingIsHalfDone,
    DescribedWithFormerKeys,
    RemainingIsElapsed,
)
