"""Stores that don't stand an outage, a cut connection or a history that was dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tenure_memory
from tenure.conformance import ServerControls
from tenure.errors import Compacted, TenureError, Unavailable
from tenure.spi import (
    CommitResult,
    Delete,
    Feed,
    KeyValue,
    LeaseId,
    ListRequest,
    Put,
    ReadResult,
    RevisionEquals,
    Sink,
    Transaction,
    WatchRequest,
)

from .base import BentFeed, BentItems, BentWatch, Faithful
from .controls import Durable

_TOO_LONG = 7.0


class RestartLosesTheLastWrites(Durable):
    """Declares durable, and has lost the last key that was put when it is started again."""

    rules = ("restarts.lose_no_acknowledged_write",)
    last: ClassVar[dict[str, str]] = {}

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        def start() -> None:
            server.resume()
            server.commit(Transaction((), (Delete(cls.last["key"]),)))

        return ServerControls(kill=server.pause, start=start)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        puts = [each.key for each in transaction.operations if isinstance(each, Put)]
        self.last["key"] = puts[-1] if puts else self.last["key"]
        return committed


class RestartLosesEverything(Durable):
    """Declares durable, and is empty when it is started again."""

    rules = ("restarts.lose_no_acknowledged_write",)

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        def kill() -> None:
            server.pause()
            server.lose_data()

        return ServerControls(kill=kill, start=server.resume)


class OutageHangs(Faithful):
    """While the server is down a read waits for seven seconds, whatever its timeout is."""

    rules = ("restarts.outages_are_told_in_time",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        try:
            return self.inner.get(key, timeout=timeout)
        except Unavailable:
            time.sleep(_TOO_LONG)
            raise


class OutageReadsAsMissing(Faithful):
    """While the server is down every key reads as missing."""

    rules = ("restarts.outages_are_told_in_time",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        try:
            return self.inner.get(key, timeout=timeout)
        except Unavailable:
            return ReadResult(None, 0)


class OutageIsAnsweredFromACache(Faithful):
    """While the server is down writes are answered as if they had been made."""

    rules = ("restarts.outages_are_told_in_time",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except Unavailable:
            return CommitResult(self.server._revision + 1)


class WatchDiesInSilence(BentWatch):
    """A watch whose server was restarted is told nothing any more, not even that."""

    rules = ("restarts.leave_watchers_with_the_truth",)

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        pass


class UnavailableIsAppliedLater(Faithful):
    """A write that was refused as Unavailable is applied when the server is there again."""

    rules = ("restarts.leave_watchers_with_the_truth",)
    waiting: ClassVar[list[Transaction]] = []
    lock = threading.Lock()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self.lock:
            try:
                while self.waiting:
                    self.inner.commit(self.waiting[0], timeout=timeout)
                    del self.waiting[0]
                return self.inner.commit(transaction, timeout=timeout)
            except Unavailable:
                self.waiting.append(transaction)
                raise


class ReconnectSkipsOne(Faithful):
    """A watch that has connected again misses the first change since."""

    rules = ("restarts.cut_connections_leave_watchers_with_the_truth",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        later = request.after + 1 if request.after is not None and request.after < self.present else request.after
        return self.inner.watch(WatchRequest(prefix=request.prefix, after=later), sink=sink, timeout=timeout)


class ReconnectGivesUp(BentWatch):
    """A watch whose connection has been cut a few times stays dead."""

    rules = ("restarts.cut_connections_leave_watchers_with_the_truth",)
    cuts: ClassVar[list[TenureError]] = []

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        self.cuts.append(error)
        if len(self.cuts) <= 4:
            feed.sink.fail(error)


class ForgottenChangesAreSkipped(Faithful):
    """A watch that was cut off while the history was dropped goes on at the present."""

    rules = ("restarts.a_watcher_left_behind_is_resynced",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        try:
            return self.inner.watch(request, sink=sink, timeout=timeout)
        except Compacted:
            return self.inner.watch(WatchRequest(prefix=request.prefix, after=self.present), sink=sink, timeout=timeout)


class RestartForgetsLeases(Durable):
    """Declares durable, and after a restart has the keys of leases but not the leases."""

    rules = ("restarts.leave_leases_truthful",)
    restarted: ClassVar[list[bool]] = []

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        def start() -> None:
            cls.restarted.append(True)
            server.resume()

        return ServerControls(kill=server.pause, start=start)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return {} if self.restarted else self.inner.refresh(lease_ids, timeout=timeout)


class RestartForgetsLeasedKeys(Durable):
    """Declares durable, and after a restart has the leases but not their keys."""

    rules = ("restarts.leave_leases_truthful",)

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        def start() -> None:
            server.resume()
            keys = [key for info in server.leases(None) for key in info.keys]
            server.commit(Transaction((), tuple(Delete(key) for key in keys)))

        return ServerControls(kill=server.pause, start=start)


class RevisionsStartAgain(BentItems):
    """Counts revisions by one, from one again after its data were lost, and says that none is used twice."""

    rules = ("restarts.repeat_no_revision",)
    counted: ClassVar[dict[int, int]] = {}

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        def wipe() -> None:
            server.lose_data()
            cls.counted.clear()

        return ServerControls(kill=server.pause, wipe=wipe, start=server.resume)

    def count(self, revision: int) -> int:
        return self.counted.setdefault(revision, len(self.counted) + 1)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        done = self.inner.commit(transaction, timeout=timeout)
        return CommitResult(self.count(done.revision), done.deleted)

    def item(self, item: KeyValue) -> KeyValue:
        return item._replace(mod_revision=self.count(item.mod_revision))


class OldRevisionsFitNewData(RevisionsStartAgain):
    """Counts revisions by one, from one again after its data were lost, and takes an old one for a new one."""

    rules = ("restarts.revisions_of_lost_data_count_no_more",)
    declares: ClassVar[Mapping[str, Any]] = {"unique_revisions": False}
    counted: ClassVar[dict[int, int]] = {}

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        real = {number: revision for revision, number in self.counted.items()}
        preconditions = tuple(
            RevisionEquals(each.key, real.get(each.revision, 0)) if isinstance(each, RevisionEquals) else each
            for each in transaction.preconditions
        )
        return super().commit(Transaction(preconditions, transaction.operations), timeout=timeout)


class QuietPrefixesAreNotTold(Faithful):
    """A watch of lost data goes on at the present if nothing is under its prefix now."""

    rules = ("restarts.lost_data_are_told_to_every_watch",)

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        return ServerControls(kill=server.pause, wipe=server.lose_data, start=server.resume)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        try:
            return self.inner.watch(request, sink=sink, timeout=timeout)
        except Compacted:
            if self.inner.list(ListRequest(prefix=request.prefix), timeout=timeout).items:
                raise
            present = WatchRequest(prefix=request.prefix, exact=request.exact, after=self.present)
            return self.inner.watch(present, sink=sink, timeout=timeout)


class LostRevisionsAreResumed(Faithful):
    """A watch after a revision of the lost data begins at the present."""

    rules = ("restarts.repeat_no_revision",)

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        return ServerControls(kill=server.pause, wipe=server.lose_data, start=server.resume)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        try:
            return self.inner.watch(request, sink=sink, timeout=timeout)
        except Compacted:
            present = WatchRequest(prefix=request.prefix, exact=request.exact, after=self.present)
            return self.inner.watch(present, sink=sink, timeout=timeout)


MUTANTS: tuple[type[Faithful], ...] = (
    RestartLosesTheLastWrites,
    RestartLosesEverything,
    OutageHangs,
    OutageReadsAsMissing,
    OutageIsAnsweredFromACache,
    WatchDiesInSilence,
    UnavailableIsAppliedLater,
    ReconnectSkipsOne,
    ReconnectGivesUp,
    ForgottenChangesAreSkipped,
    RestartForgetsLeases,
    RestartForgetsLeasedKeys,
    RevisionsStartAgain,
    OldRevisionsFitNewData,
    QuietPrefixesAreNotTold,
    LostRevisionsAreResumed,
)
