"""Broken transactions."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import ClassVar
from unittest.mock import patch

from tenure.errors import Conflict, LeaseNotFound
from tenure.spi import (
    Backend,
    CommitResult,
    Delete,
    KeyExists,
    Operation,
    Page,
    Put,
    RevisionEquals,
    Transaction,
)

from .base import BentPages, Faithful

ROUND_TRIP = 0.001
"""Seconds: the way to a server and back."""


class HalfApplied(Faithful):
    """The operations of a transaction go one by one."""

    rules = ("transactions.apply_everything_at_one_revision", "transactions.are_whole_in_every_list")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self.inner.commit(Transaction(transaction.preconditions, ()), timeout=timeout)
        committed = CommitResult(self.present)
        for operation in transaction.operations:
            committed = self.write(operation)
        return committed


class OnlyTheFirstGuardCounts(Faithful):
    """Of several guards the first decides."""

    rules = ("transactions.with_a_precondition_that_fails_change_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self.inner.commit(Transaction(transaction.preconditions[:1], transaction.operations), timeout=timeout)


class RefusedIsHalfDone(Faithful):
    """A transaction whose guard fails is refused after its first put was made."""

    rules = ("transactions.with_a_precondition_that_fails_change_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except Conflict:
            self.write(*transaction.operations[:1])
            raise


class ZeroMeansAbsent(Faithful):
    """A guard on revision 0 holds where the key is missing."""

    rules = ("transactions.with_a_precondition_that_fails_change_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = (
            each for each in transaction.preconditions if not (isinstance(each, RevisionEquals) and each.revision == 0)
        )
        return self.inner.commit(Transaction(tuple(preconditions), transaction.operations), timeout=timeout)


class OneGuardForEachKey(Faithful):
    """A key that is guarded twice counts as a conflict."""

    rules = ("transactions.with_preconditions_that_hold_are_applied",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if len({precondition.key for precondition in transaction.preconditions}) < len(transaction.preconditions):
            raise Conflict("a key is guarded twice", revision=self.present)
        return self.inner.commit(transaction, timeout=timeout)


class RefusedBumps(Faithful):
    """A refused transaction makes a revision."""

    rules = ("transactions.refused_make_no_revision", "transactions.without_operations_are_checks")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except Conflict:
            self.write(Put("bump", b""))
            raise


class ComparesValues(Faithful):
    """A guard on a revision holds whenever the key has the value that it had then."""

    rules = ("transactions.notice_delete_and_recreate",)
    values: ClassVar[dict[tuple[str, int], bytes]] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = []
        for precondition in transaction.preconditions:
            item = self.inner.get(precondition.key, timeout=timeout).item
            same = (
                isinstance(precondition, RevisionEquals)
                and item
                and self.values.get((precondition.key, precondition.revision)) == item.value
            )
            preconditions.append(KeyExists(precondition.key) if same else precondition)
        committed = self.inner.commit(Transaction(tuple(preconditions), transaction.operations), timeout=timeout)
        for each in transaction.operations:
            if isinstance(each, Put):
                self.values[each.key, committed.revision] = each.value
        return committed


class TrustsItsOwnPuts(Faithful):
    """A connection that has put a key compares the number of its puts, which begins again with each life."""

    rules = ("transactions.notice_what_others_delete_and_recreate",)
    puts: ClassVar[dict[str, int]] = {}

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.mine: dict[tuple[str, int], int] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = tuple(
            KeyExists(each.key)
            if isinstance(each, RevisionEquals)
            and self.mine.get((each.key, each.revision), 0) == self.puts.get(each.key, -1)
            else each
            for each in transaction.preconditions
        )
        committed = self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)
        for each in transaction.operations:
            if isinstance(each, Put):
                self.puts[each.key] = self.puts.get(each.key, 0) + 1
                self.mine[each.key, committed.revision] = self.puts[each.key]
            else:
                self.puts.pop(each.key, None)
        return committed


class ChecksAlwaysHold(Faithful):
    """A transaction without operations is answered without looking at its guards."""

    rules = ("transactions.without_operations_are_checks",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if not transaction.operations:
            return CommitResult(self.present)
        return self.inner.commit(transaction, timeout=timeout)


class DeleteCountsMissing(Faithful):
    """The answer counts deletes of keys that weren't there."""

    rules = ("transactions.count_only_what_they_deleted",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        return CommitResult(committed.revision, sum(isinstance(each, Delete) for each in transaction.operations))


class KeysMayBeWrittenTwice(Faithful):
    """A transaction may write a key twice; the last write stays."""

    rules = ("transactions.write_each_key_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch("tenure._client.store.check_unique_keys", lambda operations: None)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        last = {operation.key: operation for operation in transaction.operations}
        return self.inner.commit(Transaction(transaction.preconditions, tuple(last.values())), timeout=timeout)


class LargeTransactionsAreCut(Faithful):
    """Declares ten thousand operations, and does the first thousand."""

    rules = ("transactions.up_to_the_declared_size_work",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self.inner.commit(Transaction(transaction.preconditions, transaction.operations[:1000]), timeout=timeout)


class ManyBytesAreLost(Faithful):
    """Declares transactions of 64 MiB, and leaves out what is beyond 20."""

    rules = ("transactions.up_to_the_declared_bytes_work",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        kept: list[Operation] = []
        room = 20 * 1024 * 1024
        for each in transaction.operations:
            room -= len(each.value) if isinstance(each, Put) else 0
            if room > 0:
                kept.append(each)
        return self.inner.commit(Transaction(transaction.preconditions, tuple(kept)), timeout=timeout)


class OneLeaseForATransaction(Faithful):
    """All keys of a transaction go on the lease of the first."""

    rules = ("transactions.take_the_declared_number_of_leases",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        leases = [each.lease_id for each in transaction.operations if isinstance(each, Put) and each.lease_id]
        operations = (
            Put(each.key, each.value, leases[0]) if isinstance(each, Put) and each.lease_id else each
            for each in transaction.operations
        )
        return self.inner.commit(Transaction(transaction.preconditions, tuple(operations)), timeout=timeout)


class DeadLeaseNoticedHalfway(Faithful):
    """A put on a dead lease is refused after the operations before it were applied."""

    rules = ("transactions.on_an_ended_lease_change_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except LeaseNotFound:
            self.write(*transaction.operations[:1])
            raise


class DeadLeaseIsNoLease(Faithful):
    """A key put on a dead lease is put without a lease."""

    rules = ("transactions.on_an_ended_lease_change_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except LeaseNotFound:
            operations = (
                Put(each.key, each.value) if isinstance(each, Put) else each for each in transaction.operations
            )
            return self.inner.commit(Transaction(transaction.preconditions, tuple(operations)), timeout=timeout)


class TwoWinners(Faithful):
    """Guards are checked first, and then the operations applied: others may come in between."""

    rules = (
        "transactions.racing_for_a_key_have_one_winner",
        "transactions.racing_on_a_revision_have_one_winner",
        "transactions.count_exactly",
    )

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self.inner.commit(Transaction(transaction.preconditions, ()), timeout=timeout)
        time.sleep(ROUND_TRIP)
        return self.write(*transaction.operations)


class AppliedTwice(Faithful):
    """Each write is sent twice, and the second answer is the one that counts."""

    rules = ("transactions.racing_for_a_key_have_one_winner", "transactions.count_only_what_they_deleted")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self.inner.commit(transaction, timeout=timeout)
        return self.inner.commit(transaction, timeout=timeout)


class ListedInTwoHalves(BentPages):
    """Declares consistent_list, and puts a list together from two halves, the second read a moment later."""

    rules = ("transactions.are_whole_in_every_list",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        half = len(page.items) // 2
        time.sleep(ROUND_TRIP)
        later = (self.inner.get(item.key, timeout=10.0).item for item in page.items[half:])
        read = page.items[:half] + tuple(item for item in later if item is not None)
        return Page(read, page.has_more, page.revision)


MUTANTS: tuple[type[Faithful], ...] = (
    HalfApplied,
    OnlyTheFirstGuardCounts,
    RefusedIsHalfDone,
    ZeroMeansAbsent,
    OneGuardForEachKey,
    RefusedBumps,
    ComparesValues,
    TrustsItsOwnPuts,
    ChecksAlwaysHold,
    DeleteCountsMissing,
    KeysMayBeWrittenTwice,
    LargeTransactionsAreCut,
    ManyBytesAreLost,
    OneLeaseForATransaction,
    DeadLeaseNoticedHalfway,
    DeadLeaseIsNoLease,
    TwoWinners,
    AppliedTwice,
    ListedInTwoHalves,
)
