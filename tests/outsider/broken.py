"""The outsider's store right, slow, and wrong in thirty ways, each with the rules that decide on it."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from tenure.errors import LeaseNotFound
from tenure.spi import (
    CommitResult,
    Delete,
    Feed,
    KeyValue,
    LeaseGrant,
    LeaseId,
    ListRequest,
    Operation,
    Page,
    PollingFeed,
    Precondition,
    Put,
    ReadResult,
    RevisionEquals,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)

from .ledger import _POLL, Ledger

_GAP = 0.004
"""Seconds that a step takes which ought to be one with the next."""


class Slow(Ledger):
    """Right, and a commit takes a tenth of a second."""

    commit_seconds = 0.1


class Slower(Ledger):
    """Right, and a commit takes half a second."""

    commit_seconds = 0.5


SOUND: tuple[type[Ledger], ...] = (Ledger, Slow, Slower)


class Broken(Ledger):
    """What the trial wants of a broken one."""

    rules: ClassVar[tuple[str, ...]] = ()
    """Ids of the rules each of which has to find it, every time."""


# -- clocks and leases --


class WallClock(Broken):
    """Leases end by the wall clock of whichever client looks."""

    rules = ("faults.a_client_whose_clock_is_ahead_ends_no_lease",)

    def _now(self) -> float:
        return time.time()


class EndsFew(Broken):
    """A call ends at most five leases."""

    rules = ("leases.ended_together_are_gone_at_the_first_look",)

    def _end_overdue(self, db: sqlite3.Connection) -> None:
        for lease_id in Ledger._overdue(self, db)[:5]:
            self._end(db, lease_id)
        self._looked = True

    def _overdue(self, db: sqlite3.Connection) -> Sequence[LeaseId]:
        looked, self._looked = getattr(self, "_looked", False), False
        return [] if looked else super()._overdue(db)


class RefreshRevives(Broken):
    """A refresh doesn't look whether the lease is over."""

    rules = ("leases.ended_together_are_gone_at_the_first_look",)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        with self._transaction("IMMEDIATE", timeout) as db:
            alive = self._alive(db, lease_ids)
            for lease_id, ttl in alive.items():
                db.execute("UPDATE leases SET deadline = ? WHERE id = ?", (self._now() + ttl, lease_id))
            return alive


class LeaseCheckedEarly(Broken):
    """A put looks for its lease in a transaction before its own."""

    rules = ("leases.take_keys_put_at_their_very_end", "leases.take_keys_put_during_a_revoke")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self._writer(timeout) as db:
            for operation in transaction.operations:
                if isinstance(operation, Put) and operation.lease_id is not None:
                    super()._require(db, operation.lease_id)
        time.sleep(_GAP)
        return super().commit(transaction, timeout=timeout)

    def _require(self, db: sqlite3.Connection, lease_id: LeaseId) -> None:
        return


class RevokeLeavesKeys(Broken):
    """A revoked lease leaves its keys."""

    rules = ("leases.revoked_take_their_keys_at_once", "leases.can_be_revoked_by_anyone")

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        with self._writer(timeout) as db:
            alive = self._alive(db, lease_ids)
            for lease_id in alive:
                db.execute("DELETE FROM leases WHERE id = ?", (lease_id,))
            return frozenset(alive)


class PutKeepsLease(Broken):
    """A put without a lease leaves the key on the one that it had."""

    rules = ("leases.list_their_keys", "leases.racing_for_a_key_leave_one_truth")

    def _put(self, db: sqlite3.Connection, put: Put, revision: int) -> None:
        before = self._find(db, put.key)
        if put.lease_id is None and before is not None:
            put = dataclasses.replace(put, lease_id=before.lease_id)
        super()._put(db, put, revision)


class MovesInTwoSteps(Broken):
    """A key that is put on another lease is deleted first, in a transaction of its own."""

    rules = ("leases.racing_for_a_key_leave_one_truth", "leases.racing_in_several_processes_leave_one_truth")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        for operation in transaction.operations:
            if isinstance(operation, Put):
                with self._writer(timeout) as db:
                    before = self._find(db, operation.key)
                    moves = before is not None and before.lease_id != operation.lease_id
                    if moves and not transaction.preconditions:
                        self._apply(db, [Delete(operation.key)])
                time.sleep(_GAP if moves else 0.0)
        return super().commit(transaction, timeout=timeout)


class RefreshAnswersAll(Broken):
    """A refresh answers for leases that have ended, too."""

    rules = ("leases.revoked_stay_dead", "leases.revoked_elsewhere_are_lost_without_a_call")

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return dict.fromkeys(lease_ids, 60.0) | super().refresh(lease_ids, timeout=timeout)


class LeasesEndEarly(Broken):
    """A lease ends after four fifths of its TTL."""

    rules = ("leases.never_end_before_their_ttl",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        granted = super().grant(ttl, timeout=timeout)
        with self._writer(timeout) as db:
            db.execute("UPDATE leases SET deadline = deadline - ttl / 5 WHERE id = ?", (granted.lease_id,))
        return granted


class LeasesEndLate(Broken):
    """A lease lives for three times its TTL and a second."""

    rules = ("leases.left_alone_end_in_time",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        granted = super().grant(ttl, timeout=timeout)
        with self._writer(timeout) as db:
            db.execute("UPDATE leases SET deadline = deadline + 2 * ttl + 1 WHERE id = ?", (granted.lease_id,))
        return granted


class DeadLeaseIsTaken(Broken):
    """A put on a lease that has ended is made without one."""

    rules = ("leases.revoked_stay_dead", "transactions.on_an_ended_lease_change_nothing")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except LeaseNotFound:
            free = tuple(
                dataclasses.replace(each, lease_id=None) if isinstance(each, Put) else each
                for each in transaction.operations
            )
            return super().commit(dataclasses.replace(transaction, operations=free), timeout=timeout)


# -- preconditions and revisions --


class GuardOnCreation(Broken):
    """A precondition compares the revision at which the key was made."""

    rules = ("kv.replace_needs_the_revision",)

    def _holds(self, db: sqlite3.Connection, precondition: Precondition) -> bool:
        item = self._find(db, precondition.key)
        if isinstance(precondition, RevisionEquals) and item is not None:
            return item.create_revision <= precondition.revision
        return super()._holds(db, precondition)


class GuardBefore(Broken):
    """Preconditions are checked in a transaction before the one that writes."""

    rules = ("transactions.racing_for_a_key_have_one_winner", "transactions.racing_on_a_revision_have_one_winner")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self._writer(timeout) as db:
            self._check(db, transaction)
        time.sleep(_GAP)
        return super().commit(Transaction((), transaction.operations), timeout=timeout)


class RevisionsRace(Broken):
    """The next revision is made before the transaction begins, so two clients may make the same."""

    rules = ("kv.identical_puts_of_several_processes_all_count",)

    def __init__(self, path: str, *, timeout: float = 10.0) -> None:
        self._made = threading.local()
        super().__init__(path, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self._reader(timeout) as db:
            self._made.revision = self._revision(db) + 1
        time.sleep(_GAP)
        try:
            return super().commit(transaction, timeout=timeout)
        finally:
            self._made.revision = None

    def _next(self, db: sqlite3.Connection) -> int:
        made: int | None = getattr(self._made, "revision", None)
        return super()._next(db) if made is None else made


class SkipsIdenticalPuts(Broken):
    """A put of the value that is there already changes nothing."""

    rules = ("kv.an_identical_put_is_a_change",)

    def _apply(self, db: sqlite3.Connection, operations: Sequence[Operation]) -> CommitResult:
        kept = []
        for each in operations:
            item = self._find(db, each.key)
            same = isinstance(each, Put) and item is not None
            if not (same and (item.value, item.lease_id) == (each.value, each.lease_id)):  # type: ignore[union-attr]
                kept.append(each)
        return super()._apply(db, kept)


class CountsRevisions(Broken):
    """Revisions are counted by one, so a restored backup uses them again."""

    rules = ("restarts.restored_data_refuse_later_revisions",)

    def _next(self, db: sqlite3.Connection) -> int:
        return self._revision(db) + 1


class RefusedMakesRevision(Broken):
    """A refused transaction makes a revision."""

    rules = ("transactions.refused_make_no_revision",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except BaseException:
            with self._writer(timeout) as db:
                db.execute("UPDATE meta SET revision = ?", (self._next(db),))
            raise


class DeletingNothingCounts(Broken):
    """A delete of a key that isn't there makes a revision."""

    rules = ("kv.deleting_nothing_changes_nothing",)

    def _apply(self, db: sqlite3.Connection, operations: Sequence[Operation]) -> CommitResult:
        done = super()._apply(db, operations)
        if operations and done.revision == self._revision(db) and not done.deleted:
            db.execute("UPDATE meta SET revision = ?", (self._next(db),))
            return CommitResult(self._revision(db))
        return done


class CreationIsLost(Broken):
    """A put forgets when its key was made."""

    rules = ("kv.put_replaces_and_keeps_the_create_revision",)

    def _put(self, db: sqlite3.Connection, put: Put, revision: int) -> None:
        db.execute("DELETE FROM keys WHERE key = ?", (put.key.encode(),))
        super()._put(db, put, revision)


# -- reads --


class EmptyIsMissing(Broken):
    """A key with an empty value reads as missing."""

    rules = ("kv.an_empty_value_is_not_a_missing_key",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = super().get(key, timeout=timeout)
        return found if found.item is not None and found.item.value else ReadResult(None, found.revision)


class CachesReads(Broken):
    """A connection answers from what it read within the last fifth of a second."""

    rules = ("kv.a_read_sees_every_acknowledged_write", "kv.is_linearizable")

    def get(self, key: str, *, timeout: float) -> ReadResult:
        cache: dict[str, tuple[float, ReadResult]] = self.__dict__.setdefault("_cache", {})
        at, found = cache.get(key, (-1.0, ReadResult(None, 0)))
        if time.monotonic() - at < 0.2 and found.item is not None:
            return found
        found = super().get(key, timeout=timeout)
        cache[key] = (time.monotonic(), found)
        return found


class LikeIsPrefix(Broken):
    """A prefix is a pattern of LIKE."""

    rules = ("lists.take_any_prefix_literally",)

    def _under(self, db: sqlite3.Connection, prefix: str, after: str | None, limit: int | None) -> list[KeyValue]:
        query = (
            "SELECT key, value, made, changed, lease FROM keys WHERE CAST(key AS TEXT) LIKE ? AND key > ? "
            "ORDER BY key LIMIT ?"
        )
        words = (f"{prefix}%", b"" if after is None else after.encode(), -1 if limit is None else limit)
        return [self._item(row) for row in db.execute(query, words)]


class ListsBackwards(Broken):
    """A list comes with the last key first."""

    rules = ("lists.are_in_byte_order",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = super().list(request, timeout=timeout)
        return dataclasses.replace(page, items=page.items[::-1])


class ListsInPages(Broken):
    """A list is read in pages of three, each in a transaction of its own."""

    rules = ("transactions.are_whole_in_every_list",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        items: list[KeyValue] = []
        after, more, revision = request.after, True, 0
        while more and (request.limit is None or len(items) < request.limit):
            size = 3 if request.limit is None else min(3, request.limit - len(items))
            page = super().list(dataclasses.replace(request, after=after, limit=size), timeout=timeout)
            items += page.items
            more, revision = page.has_more, page.revision
            after = items[-1].key if items else after
            time.sleep(_GAP / 4)
        return Page(tuple(items), more, revision)


class AlwaysMore(Broken):
    """A list that is exactly full says that there is more."""

    rules = ("lists.respect_the_limit",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = super().list(request, timeout=timeout)
        return dataclasses.replace(page, has_more=len(page.items) == request.limit)


class FoldsCase(Broken):
    """Keys that differ in case are one."""

    rules = ("kv.odd_keys_are_all_different",)

    def _find(self, db: sqlite3.Connection, key: str) -> KeyValue | None:
        return super()._find(db, key.lower())

    def _put(self, db: sqlite3.Connection, put: Put, revision: int) -> None:
        super()._put(db, dataclasses.replace(put, key=put.key.lower()), revision)


# -- writes and watches --


class WritesOneByOne(Broken):
    """Each operation of a transaction is committed on its own."""

    rules = ("transactions.are_whole_in_every_list", "transactions.apply_everything_at_one_revision")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        first = transaction.operations[:1]
        done = super().commit(dataclasses.replace(transaction, operations=first), timeout=timeout)
        deleted = done.deleted
        for each in transaction.operations[1:]:
            done = super().commit(Transaction((), (each,)), timeout=timeout)
            deleted += done.deleted
        return CommitResult(done.revision, deleted)


class CutsValues(Broken):
    """A value longer than 64 KB is cut."""

    rules = ("kv.the_largest_value_works_and_more_is_refused",)

    def _put(self, db: sqlite3.Connection, put: Put, revision: int) -> None:
        super()._put(db, dataclasses.replace(put, value=put.value[: 64 * 1024]), revision)


class WatchMissesDeletes(Broken):
    """A watch goes on showing keys that were deleted."""

    rules = ("watches.watchers_converge", "leases.ending_is_told_to_watchers")

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        known: dict[str, KeyValue] = {}

        def look() -> Snapshot:
            found = self._look(request.prefix)
            known.update((item.key, item) for item in found.items)
            return Snapshot(tuple(known[key] for key in sorted(known)), found.revision)

        feed = PollingFeed(look, sink, interval=_POLL, name="ledger")
        self._feeds.append(feed)
        return feed


class WatchMissesUpdates(Broken):
    """A watch looks at which keys there are, and not at what they hold."""

    rules = ("watches.watchers_converge",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        known: dict[str, KeyValue] = {}

        def look() -> Snapshot:
            found = self._look(request.prefix)
            present = {item.key: known.get(item.key, item) for item in found.items}
            known.clear()
            known.update(present)
            return Snapshot(tuple(present.values()), found.revision)

        feed = PollingFeed(look, sink, interval=_POLL, name="ledger")
        self._feeds.append(feed)
        return feed


BROKEN: tuple[type[Broken], ...] = tuple(
    each for each in list(vars().values()) if isinstance(each, type) and issubclass(each, Broken) and each is not Broken
)
ALL: dict[str, Any] = {each.__name__: each for each in (*SOUND, *BROKEN)}
