"""Stores on which recipes go wrong, and what core would let a holder know too late."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from unittest.mock import patch

from tenure.leases import Lease, LeaseState
from tenure.spi import (
    Changes,
    CommitResult,
    Delete,
    Deleted,
    Feed,
    FeedItem,
    KeyAbsent,
    KeyExists,
    KeyValue,
    LeaseGrant,
    LeaseId,
    Page,
    Put,
    RevisionEquals,
    Sink,
    Transaction,
    WatchRequest,
)

from .base import BentFeed, BentItems, BentPages, BentWatch, Faithful, Mutant
from .faults import RepeatsBlindly, UnknownIsToldAsRefused
from .lease_ids import DeadLeaseIsRefreshed
from .model import DeleteBesideAPutIsLost
from .one_key import OneKeyHasNoState
from .transactions import AppliedTwice, TwoWinners

_ALL = 1 << 60
"""Larger than any revision."""


class TwoInside(Faithful):
    """Every second put-if-absent of a key that exists is granted all the same."""

    rules = ("recipes.unfair_locks_exclude_each_other",)
    refused: ClassVar[Iterator[int]] = itertools.count(1)  # by all connections: one alone may meet few

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        guarded = {each.key for each in transaction.preconditions if isinstance(each, KeyAbsent)}
        held = any(self.inner.get(key, timeout=timeout).item is not None for key in guarded)
        if held and next(self.refused) % 2 == 0:
            transaction = Transaction((), transaction.operations)
        return self.inner.commit(transaction, timeout=timeout)


class TokenOfTheFirstLife(BentItems):
    """A key that was deleted and made again is shown with the create revision of its first life."""

    rules = ("recipes.tokens_grow",)
    first: ClassVar[dict[str, int]] = {}

    def item(self, item: KeyValue) -> KeyValue | None:
        return item._replace(create_revision=self.first.setdefault(item.key, item.create_revision))


class AnyLifeIsAsGood(Faithful):
    """A guard on a revision holds for every later life of the key."""

    rules = ("recipes.guards_refuse_stale_holders", "recipes.guards_refuse_expired_holders")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        puts = any(isinstance(each, Put) for each in transaction.operations)
        preconditions = tuple(
            KeyExists(each.key) if isinstance(each, RevisionEquals) and puts else each
            for each in transaction.preconditions
        )
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class AnyoneReleases(Faithful):
    """A delete at a revision deletes the key whatever it was last put at."""

    rules = ("recipes.locks_are_released_by_their_owner_alone",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if transaction.operations and all(isinstance(each, Delete) for each in transaction.operations):
            transaction = Transaction((), transaction.operations)
        return self.inner.commit(transaction, timeout=timeout)


class TheDeadKeepTheirPlace(Faithful):
    """A lease lives for twice its ttl and more, which isn't declared."""

    rules = ("recipes.a_dead_waiter_blocks_nobody",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        if ttl > 10:
            return self.inner.grant(ttl, timeout=timeout)
        return LeaseGrant(self.inner.grant(ttl * 2 + 0.7, timeout=timeout).lease_id, ttl)


class QueueJumper(Faithful):
    """Keys whose lease has passed half of its ttl are gone."""

    rules = (
        "recipes.a_dead_waiter_blocks_nobody",
        "recipes.loss_is_found_in_time",
        "recipes.leaders_follow_each_other",
    )

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 0.5, timeout=timeout).lease_id, ttl)


class LossIsNotNoticed(Faithful):
    """A holder that makes sure of its lease may count on it for twice its ttl and more."""

    rules = ("recipes.loss_is_found_in_time", "recipes.leaders_follow_each_other")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Lease.ensure_valid

        def ensure_valid(lease: Any, margin: float = 0.0) -> None:
            counted_on = lease._clock.now() < lease._refreshed + lease.ttl * 2.2
            if not counted_on or lease._end is LeaseState.REVOKED:
                sound(lease, margin)

        return patch.object(Lease, "ensure_valid", ensure_valid)


class TicketsAreReversed(BentPages):
    """Listed keys carry create revisions that fall, so that the last to come takes itself for the first."""

    rules = ("recipes.fair_locks_exclude_each_other",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return dataclasses.replace(
            page, items=tuple(item._replace(create_revision=_ALL - item.create_revision) for item in page.items)
        )


class ListsLagBehind(BentPages):
    """A list lacks keys that other connections have put in the last tenth of a second."""

    rules = ("recipes.fair_locks_exclude_each_other",)
    put: ClassVar[dict[int, tuple[float, int]]] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        before = self.present
        committed = self.inner.commit(transaction, timeout=timeout)
        self.put.update(
            {revision: (time.monotonic(), id(self)) for revision in range(before + 1, committed.revision + 1)}
        )
        return committed

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        now = time.monotonic()
        late = {revision for revision, (when, who) in list(self.put.items()) if now - when < 0.1 and who != id(self)}
        return dataclasses.replace(page, items=tuple(item for item in page.items if item.create_revision not in late))


class ListsHaveNoValues(BentPages):
    """A list shows every value empty."""

    rules = ("recipes.shared_holds_keep_their_limits", "recipes.a_run_is_done_once")

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return dataclasses.replace(page, items=tuple(item._replace(value=b"") for item in page.items))


class OneValueForAList(BentPages):
    """All keys of a list are shown with the value of its first one."""

    rules = ("recipes.shared_holds_keep_their_limits",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return dataclasses.replace(page, items=tuple(item._replace(value=page.items[0].value) for item in page.items))


class GoneKeysRefuseNothing(Faithful):
    """A guard on a revision holds where the key is gone."""

    rules = ("recipes.guards_refuse_stale_holders", "recipes.guards_refuse_expired_holders")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = tuple(
            each
            for each in transaction.preconditions
            if not isinstance(each, RevisionEquals) or self.inner.get(each.key, timeout=timeout).item is not None
        )
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class ListsShowTheFirstValue(BentPages):
    """A list shows each key with the value that it was created with."""

    rules = ("recipes.leaders_follow_each_other",)
    first: ClassVar[dict[int, bytes]] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        for each in transaction.operations:
            if isinstance(each, Put):
                self.first.setdefault(committed.revision, each.value)
        return committed

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        first = self.first
        return dataclasses.replace(
            page, items=tuple(item._replace(value=first.get(item.create_revision, item.value)) for item in page.items)
        )


class CountersLoseSteps(TwoWinners):
    """Guards are looked at first, and the operations applied a moment later: two clients count to the same number."""

    rules = ("recipes.numbers_are_given_once",)


class EachWriteGoesTwice(AppliedTwice):
    """Each write is sent twice, and its maker gets the second answer, which may be a refusal."""

    rules = ("recipes.messages_reach_all_in_one_order",)


class ReadKeysAreNotGuarded(Faithful):
    """Guards on keys that the transaction doesn't write are left out."""

    rules = ("recipes.numbers_are_given_once", "recipes.guards_refuse_stale_holders")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        written = {each.key for each in transaction.operations}
        guards = tuple(each for each in transaction.preconditions if each.key in written or not written)
        return self.inner.commit(Transaction(guards, transaction.operations), timeout=timeout)


class ResultsAreNotKept(Faithful):
    """A put in a transaction that also deletes is not made: the key of a run goes, and its result is not kept."""

    rules = ("recipes.a_run_is_done_once",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        deletes = tuple(each for each in transaction.operations if isinstance(each, Delete))
        kept = deletes or transaction.operations
        return self.inner.commit(Transaction(transaction.preconditions, kept), timeout=timeout)


class AcknowledgedItemsStay(DeleteBesideAPutIsLost):
    """A delete beside a put is not made: an item stays although its work was written."""

    rules = ("recipes.work_is_done_and_none_is_lost",)


class OneDeleteIsEnough(Faithful):
    """Of several deletes in a transaction the first is made."""

    rules = ("recipes.work_is_done_and_none_is_lost",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        first = next((each for each in transaction.operations if isinstance(each, Delete)), None)
        kept = tuple(each for each in transaction.operations if not isinstance(each, Delete) or each is first)
        return self.inner.commit(Transaction(transaction.preconditions, kept), timeout=timeout)


class RevokedKeysStay(Faithful):
    """A revoke ends a lease and leaves its keys."""

    rules = (
        "recipes.work_is_done_and_none_is_lost",
        "recipes.members_share_partitions",
        "recipes.leave_nothing_behind",
    )

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        for lease_id in lease_ids:
            for info in self.inner.leases(lease_id, timeout=timeout):
                for key in info.keys or ():
                    item = self.inner.get(key, timeout=timeout).item
                    if item is not None:
                        self.write(Put(key, item.value))
        return self.inner.revoke(lease_ids, timeout=timeout)


class LeavingIsNotTold(BentWatch):
    """The delete of a key that was on a lease is told to nobody."""

    rules = ("recipes.members_share_partitions",)
    leased: ClassVar[set[str]] = set()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        puts = (each for each in transaction.operations if isinstance(each, Put))
        self.leased.update(each.key for each in puts if each.lease_id is not None)
        return self.inner.commit(transaction, timeout=timeout)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        told = (each for each in item.entries if not (isinstance(each, Deleted) and each.key in self.leased))
        return [Changes(tuple(told), item.revision)]


class OpeningIsNotTold(BentWatch):
    """Who watches one key is not told of its delete."""

    rules = ("recipes.waiters_go_on_together",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        feed = BentFeed(self, sink)
        feed.known["exact"] = request.exact
        return self.inner.watch(request, sink=feed, timeout=timeout)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        told = (each for each in item.entries if not (isinstance(each, Deleted) and feed.known["exact"]))
        return [Changes(tuple(told), item.revision)]


class ClosedLooksOpen(OneKeyHasNoState):
    """Who begins to watch one key is not shown that it is there."""

    rules = ("recipes.waiters_go_on_together",)


class LostKeysStayAway(DeadLeaseIsRefreshed):
    """A lease that another client revoked is refreshed as if it lived, so that its holder never learns of the loss."""

    rules = ("recipes.views_follow_the_store",)


class OthersWritesAreNotTold(BentWatch):
    """Every fourth transaction is told to nobody."""

    rules = ("recipes.messages_reach_all_in_one_order",)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [] if next(feed.count) % 4 == 0 else [item]


class ChecksAlwaysHold(Faithful):
    """A transaction of preconditions alone is said to hold."""

    rules = ("recipes.a_long_queue_keeps_its_order",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if not transaction.operations:
            return CommitResult(self.present)
        return self.inner.commit(transaction, timeout=timeout)


class UnansweredIsRefused(UnknownIsToldAsRefused):
    """What got no answer is said to be not applied, so that its maker does it again."""

    rules = ("recipes.lost_answers_are_cleared_up",)


class UnansweredIsRepeated(RepeatsBlindly):
    """What got no answer is sent again, and the second answer may be a refusal."""

    rules = ("recipes.lost_answers_are_cleared_up",)


MUTANTS: tuple[Mutant, ...] = (
    TwoInside,
    TicketsAreReversed,
    ListsLagBehind,
    TokenOfTheFirstLife,
    ListsHaveNoValues,
    OneValueForAList,
    AnyLifeIsAsGood,
    GoneKeysRefuseNothing,
    ReadKeysAreNotGuarded,
    AnyoneReleases,
    TheDeadKeepTheirPlace,
    QueueJumper,
    LossIsNotNoticed,
    ListsShowTheFirstValue,
    CountersLoseSteps,
    EachWriteGoesTwice,
    ResultsAreNotKept,
    AcknowledgedItemsStay,
    OneDeleteIsEnough,
    RevokedKeysStay,
    LeavingIsNotTold,
    OpeningIsNotTold,
    ClosedLooksOpen,
    LostKeysStayAway,
    OthersWritesAreNotTold,
    ChecksAlwaysHold,
    UnansweredIsRefused,
    UnansweredIsRepeated,
)
