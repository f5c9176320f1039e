"""Broken reading and writing of single keys."""

from __future__ import annotations

import itertools
from typing import ClassVar

from tenure.errors import Conflict
from tenure.spi import (
    Backend,
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
    KeyValue,
    Operation,
    Put,
    ReadResult,
    RevisionEquals,
    Transaction,
)

from .base import BentItems, Faithful, Mutant
from .tcp import Networked


class LostUpdate(Faithful):
    """Every seventh write without a guard is acknowledged and forgotten."""

    rules = ("kv.writes_from_many_threads_all_arrive",)
    count = itertools.count(1)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if next(self.count) % 7 == 0 and not transaction.preconditions:
            return CommitResult(self.present + 1)
        return self.inner.commit(transaction, timeout=timeout)


class WrongAnswerToAWrite(Faithful):
    """A write is answered by the revision before its own."""

    rules = ("kv.a_written_value_is_read_back", "kv.put_replaces_and_keeps_the_create_revision")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        return CommitResult(committed.revision - 1, committed.deleted)


class MissingIsEmpty(Faithful):
    """A key that isn't there reads as an empty value."""

    rules = ("kv.a_missing_key_reads_as_none",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        return ReadResult(found.item or KeyValue(key, b"", 0, 0), found.revision)


class DeletedIsStillRead(Faithful):
    """The value that a connection read last is still read after a delete."""

    rules = ("kv.a_missing_key_reads_as_none",)
    last: ClassVar[dict[str, KeyValue]] = {}

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        return ReadResult(found.item or self.last.get(key), found.revision)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        for each in transaction.operations:
            if isinstance(each, Put):
                self.last[each.key] = KeyValue(each.key, each.value, committed.revision, committed.revision)
        return committed


class CreateRevisionMoves(BentItems):
    """The create revision is that of the last put."""

    rules = ("kv.put_replaces_and_keeps_the_create_revision",)

    def item(self, item: KeyValue) -> KeyValue | None:
        return item._replace(create_revision=item.mod_revision)


class CreateRevisionOutlivesTheKey(BentItems):
    """A key that was deleted and written again has the create revision of its first life."""

    rules = ("kv.a_deleted_key_begins_a_new_life",)
    first: ClassVar[dict[str, int]] = {}

    def item(self, item: KeyValue) -> KeyValue | None:
        return item._replace(create_revision=self.first.get(item.key, item.create_revision))

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        for each in transaction.operations:
            self.first.setdefault(each.key, committed.revision)
        return committed


class IdenticalPutIsSkipped(Faithful):
    """A put of the value that is there already is answered without being made."""

    rules = ("kv.an_identical_put_is_a_change",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if len(transaction.operations) == 1 and not transaction.preconditions:
            (operation,) = transaction.operations
            item = self.inner.get(operation.key, timeout=timeout).item
            if isinstance(operation, Put) and item is not None and item.value == operation.value:
                return CommitResult(item.mod_revision)
        return self.inner.commit(transaction, timeout=timeout)


class FirstPutsOfProcessesAreAlike(Networked):
    """The first put of each process looks like that of every other: where the value is there already, it is lost."""

    rules = ("kv.identical_puts_of_several_processes_all_count",)
    first: ClassVar[list[Transaction]] = []

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if not self.first:
            self.first.append(transaction)
            if len(transaction.operations) == 1 and isinstance(put := transaction.operations[0], Put):
                item = self.get(put.key, timeout=timeout).item
                if item is not None and item.value == put.value:
                    return CommitResult(item.mod_revision)
        return super().commit(transaction, timeout=timeout)


class ReadRevisionLags(Faithful):
    """A read tells a revision from before the last writes."""

    rules = ("kv.revisions_only_grow",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        return ReadResult(found.item, max(0, found.revision - 2))


class DeletingNothingIsAChange(Faithful):
    """A delete of a key that isn't there makes a revision."""

    rules = ("kv.deleting_nothing_changes_nothing",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        if transaction.operations and not committed.deleted and isinstance(transaction.operations[0], Delete):
            return self.write(Put("bump", b""))
        return committed


class AbsentIsIgnored(Faithful):
    """A put that needs the key's absence is made in any case."""

    rules = ("kv.put_if_absent_needs_absence",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = tuple(
            precondition for precondition in transaction.preconditions if not isinstance(precondition, KeyAbsent)
        )
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class UnchangedMeansExists(Faithful):
    """A guard on a revision asks only whether the key is there."""

    rules = ("kv.replace_needs_the_revision", "kv.delete_at_a_revision_needs_it")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = (
            KeyExists(precondition.key) if isinstance(precondition, RevisionEquals) else precondition
            for precondition in transaction.preconditions
        )
        return self.inner.commit(Transaction(tuple(preconditions), transaction.operations), timeout=timeout)


class UnchangedMeansNotLater(Faithful):
    """A guard on a revision holds too if the key was last put before it."""

    rules = ("kv.replace_needs_the_revision",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = []
        for precondition in transaction.preconditions:
            item = self.inner.get(precondition.key, timeout=timeout).item
            earlier = (
                isinstance(precondition, RevisionEquals)
                and item is not None
                and item.mod_revision < precondition.revision
            )
            preconditions.append(KeyExists(precondition.key) if earlier else precondition)
        return self.inner.commit(Transaction(tuple(preconditions), transaction.operations), timeout=timeout)


class DeleteForgetsItsGuard(Faithful):
    """A delete is made whatever its guard says."""

    rules = ("kv.delete_at_a_revision_needs_it",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        only_deletes = all(isinstance(each, Delete) for each in transaction.operations)
        preconditions = () if only_deletes and transaction.operations else transaction.preconditions
        return self.inner.commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class ConflictAfterTheWrite(Faithful):
    """A guard that fails is told, but after the puts were made."""

    rules = ("kv.put_if_absent_needs_absence", "kv.replace_needs_the_revision")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except Conflict:
            self.write(*(each for each in transaction.operations if isinstance(each, Put)))
            raise


class StaleReads(Faithful):
    """Declares linearizable, and answers a read from what the connection read before, until it writes itself."""

    rules = ("kv.a_read_sees_every_acknowledged_write",)

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.cache: dict[str, ReadResult] = {}

    def get(self, key: str, *, timeout: float) -> ReadResult:
        if key not in self.cache:
            self.cache[key] = self.inner.get(key, timeout=timeout)
        return self.cache[key]

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        self.cache.clear()
        return committed


class LaggingReplica(Faithful):
    """Every fifth read is answered by a replica that lacks the last put of the key."""

    rules = ("kv.concurrent_reads_never_go_back",)
    count = itertools.count(1)
    before: ClassVar[dict[str, ReadResult]] = {}

    def get(self, key: str, *, timeout: float) -> ReadResult:
        if next(self.count) % 5 == 0 and key in self.before:
            return self.before[key]
        return self.inner.get(key, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        operations: tuple[Operation, ...] = transaction.operations
        self.before.update({each.key: self.inner.get(each.key, timeout=timeout) for each in operations})
        return self.inner.commit(transaction, timeout=timeout)


MUTANTS: tuple[Mutant, ...] = (
    LostUpdate,
    WrongAnswerToAWrite,
    MissingIsEmpty,
    DeletedIsStillRead,
    CreateRevisionMoves,
    CreateRevisionOutlivesTheKey,
    IdenticalPutIsSkipped,
    FirstPutsOfProcessesAreAlike,
    ReadRevisionLags,
    DeletingNothingIsAChange,
    AbsentIsIgnored,
    UnchangedMeansExists,
    UnchangedMeansNotLater,
    DeleteForgetsItsGuard,
    ConflictAfterTheWrite,
    StaleReads,
    LaggingReplica,
)
