"""Broken locks and elections: of the store, and of what core lets a holder know."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from unittest.mock import patch

from tenure.leases import Lease, LeaseState
from tenure.spi import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    KeyValue,
    LeaseGrant,
    Put,
    RevisionEquals,
    Transaction,
)

from .base import BentItems, Faithful


class TwoInside(Faithful):
    """Every second put-if-absent of a key that exists is granted all the same."""

    rules = ("locks.exclude_each_other",)
    refused: ClassVar[Iterator[int]] = itertools.count(1)  # by all connections: one alone may meet few

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        guarded = {each.key for each in transaction.preconditions if isinstance(each, KeyAbsent)}
        held = any(self.inner.get(key, timeout=timeout).item is not None for key in guarded)
        if held and next(self.refused) % 2 == 0:
            transaction = Transaction((), transaction.operations)
        return self.inner.commit(transaction, timeout=timeout)


class TokenOfTheFirstLife(BentItems):
    """A key that was deleted and made again is shown with the create revision of its first life."""

    rules = ("locks.tokens_grow",)
    first: ClassVar[dict[str, int]] = {}

    def item(self, item: KeyValue) -> KeyValue | None:
        return item._replace(create_revision=self.first.setdefault(item.key, item.create_revision))


class AnyLifeIsAsGood(Faithful):
    """A guard on a revision holds for every later life of the key."""

    rules = ("locks.guard_against_stale_holders", "locks.guard_against_expired_holders")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        puts = any(isinstance(each, Put) for each in transaction.operations)
        preconditions = tuple(
            KeyExists(each.key) if isinstance(each, RevisionEquals) and puts else each
            for each in transaction.preconditions
        )
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class AnyoneReleases(Faithful):
    """A delete at a revision deletes the key whatever it was last put at."""

    rules = ("locks.are_released_by_their_owner_alone",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if transaction.operations and all(isinstance(each, Delete) for each in transaction.operations):
            transaction = Transaction((), transaction.operations)
        return self.inner.commit(transaction, timeout=timeout)


class TheDeadKeepTheirPlace(Faithful):
    """A lease lives for twice its ttl and more, which isn't declared."""

    rules = ("locks.a_dead_waiter_blocks_nobody",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        if ttl > 10:
            return self.inner.grant(ttl, timeout=timeout)
        return LeaseGrant(self.inner.grant(ttl * 2 + 0.7, timeout=timeout).lease_id, ttl)


class QueueJumper(Faithful):
    """Keys whose lease has passed half of its ttl are gone."""

    rules = ("locks.a_dead_waiter_blocks_nobody", "locks.loss_is_found_in_time", "locks.leaders_follow_each_other")

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 0.5, timeout=timeout).lease_id, ttl)


class LossIsNotNoticed(Faithful):
    """A holder that makes sure of its lease may count on it for twice its ttl and more."""

    rules = ("locks.loss_is_found_in_time", "locks.leaders_follow_each_other")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Lease.ensure_valid

        def ensure_valid(lease: Any, margin: float = 0.0) -> None:
            counted_on = lease._clock.now() < lease._refreshed + lease.ttl * 2.2
            if not counted_on or lease._end is LeaseState.REVOKED:
                sound(lease, margin)

        return patch.object(Lease, "ensure_valid", ensure_valid)


class TwoLeaders(Faithful):
    """A put-if-absent of a key that exists is granted where it names a lease, a moment after it was refused."""

    rules = ("locks.leaders_follow_each_other",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        leased = any(isinstance(each, Put) and each.lease_id is not None for each in transaction.operations)
        guarded = [each.key for each in transaction.preconditions if isinstance(each, KeyAbsent)]
        if leased and any(self.inner.get(key, timeout=timeout).item is not None for key in guarded):
            threading.Event().wait(0.3)
            transaction = Transaction((), transaction.operations)
        return self.inner.commit(transaction, timeout=timeout)


MUTANTS = (
    TwoInside,
    TokenOfTheFirstLife,
    AnyLifeIsAsGood,
    AnyoneReleases,
    TheDeadKeepTheirPlace,
    QueueJumper,
    LossIsNotNoticed,
    TwoLeaders,
)
