"""Stores whose calls take several requests, and that don't see what others write between two of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tenure.conformance import ServerControls
from tenure.errors import Conflict, TenureError
from tenure.spi import (
    Changes,
    CommitResult,
    Feed,
    FeedItem,
    KeyAbsent,
    ListRequest,
    Page,
    Put,
    RevisionEquals,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_testkit.tcp import TcpServer

from .base import Mutant
from .tcp import Networked


class GuardsAreJudgedByTheClient(Networked):
    """A guard on a revision is judged by what was read, and the write follows without it."""

    rules = ("faults.a_held_up_write_keeps_its_guard",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        for guard in transaction.preconditions:
            if not isinstance(guard, RevisionEquals):
                return super().commit(transaction, timeout=timeout)
            item = self.get(guard.key, timeout=timeout).item
            if item is None or item.mod_revision != guard.revision:
                raise Conflict(f"{guard.key} has changed", keys=[guard.key])
        return super().commit(Transaction((), transaction.operations), timeout=timeout)


class OvertakenPutsAreDropped(Networked):
    """A put that found its key absent and is overtaken by another one is dropped, and said to be done."""

    rules = ("faults.a_held_up_put_leaves_one_truth",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        if transaction.preconditions or len(transaction.operations) != 1:
            return super().commit(transaction, timeout=timeout)
        operation = transaction.operations[0]
        if not isinstance(operation, Put) or self.get(operation.key, timeout=timeout).item is not None:
            return super().commit(transaction, timeout=timeout)
        try:
            return super().commit(Transaction((KeyAbsent(operation.key),), (operation,)), timeout=timeout)
        except Conflict:
            return CommitResult(self.get(operation.key, timeout=timeout).revision)


class ChangedKeysAreLeftOut(Networked):
    """A list reads names and then items, and leaves out a key that was put in between."""

    rules = ("faults.a_held_up_list_shows_what_stays",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        names = {item.key: item.mod_revision for item in super().list(request, timeout=timeout).items}
        page = super().list(request, timeout=timeout)
        same = tuple(item for item in page.items if names.get(item.key) == item.mod_revision)
        return dataclasses.replace(page, items=same)


class _Beginning:
    """Puts another snapshot in the place of the first one."""

    def __init__(self, sink: Sink, snapshot: Snapshot) -> None:
        self._sink = sink
        self._snapshot: Snapshot | None = snapshot

    def deliver(self, item: FeedItem, /) -> None:
        if isinstance(item, Snapshot) and self._snapshot is not None:
            item, self._snapshot = self._snapshot, None
        self._sink.deliver(item)

    def fail(self, error: TenureError, /) -> None:
        self._sink.fail(error)


class WatchesAfterTheList(Networked):
    """A watch begins with a list that was read before it, and misses what was written in between."""

    rules = ("faults.a_held_up_watch_misses_nothing",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        if request.after is None:
            page = self.list(ListRequest(prefix=request.prefix), timeout=timeout)
            sink = _Beginning(sink, Snapshot(page.items, page.revision))
        return super().watch(request, sink=sink, timeout=timeout)


class ListIsToldAtALaterRevision(Networked):
    """A watch begins with a list that was read before, at the revision of a later moment."""

    rules = ("faults.a_held_up_watch_misses_nothing",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        if request.after is not None:
            return super().watch(request, sink=sink, timeout=timeout)
        page = self.list(ListRequest(prefix=request.prefix), timeout=timeout)
        revision = self.server_info(timeout=timeout).revision
        sink = _Beginning(sink, Snapshot(page.items, revision))
        return super().watch(dataclasses.replace(request, after=page.revision), sink=sink, timeout=timeout)


class DroppedHistoryIsNotTold(Networked):
    """A watch leaves out a change that arrives once the store has dropped it from its history."""

    rules = ("faults.a_held_up_watcher_learns_of_dropped_history",)
    dropped: ClassVar[int] = 0

    @classmethod
    def controls(cls, server: TcpServer) -> ServerControls:
        def compact() -> None:
            server.memory.compact()
            DroppedHistoryIsNotTold.dropped = server.backend.server_info(timeout=10.0).revision

        return dataclasses.replace(server.controls, compact=compact)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        class Present:
            def deliver(self, item: FeedItem, /) -> None:
                if not isinstance(item, Changes) or item.revision > DroppedHistoryIsNotTold.dropped:
                    sink.deliver(item)

            def fail(self, error: TenureError, /) -> None:
                sink.fail(error)

        return super().watch(request, sink=Present(), timeout=timeout)


MUTANTS: tuple[Mutant, ...] = (
    GuardsAreJudgedByTheClient,
    OvertakenPutsAreDropped,
    ChangedKeysAreLeftOut,
    WatchesAfterTheList,
    ListIsToldAtALaterRevision,
    DroppedHistoryIsNotTold,
)
