"""Broken watches: what core makes of a sound store's feeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from unittest.mock import patch

from tenure._client.store import Store
from tenure.conformance.workloads import threads
from tenure.errors import Unavailable
from tenure.spi import Changes, CommitResult, FeedItem, KeyValue, ReadResult, Transaction
from tenure.watch import Batch, BatchType, Event, EventType, Watch, callbacks
from tenure.watch.buffer import FeedBuffer
from tenure.watch.diff import ClientState

from .base import BentFeed, BentWatch, Faithful


def batches_bent(bend: Callable[[Watch, Batch], Sequence[Batch]]) -> AbstractContextManager[object]:
    """Each batch of changes that a watch is about to tell becomes what ``bend`` makes of it."""
    sound = Watch._step

    def step(watch: Any, left: float | None) -> bool:
        happened = sound(watch, left)
        ready = watch._machine._batches
        if happened and ready and ready[0].type is BatchType.CHANGES:
            ready.extend(bend(watch, ready.popleft()))
        return happened

    return patch.object(Watch, "_step", step)


class ToldTwice(Faithful):
    """Every change is told twice."""

    rules = ("watches.revisions_only_grow_per_key",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return batches_bent(lambda watch, batch: [batch, batch])


class ToldBackwards(Faithful):
    """Changes that wait for the consumer are told the latest first."""

    rules = ("watches.revisions_only_grow_per_key",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        held: dict[Watch, Batch] = {}

        def swap(watch: Watch, batch: Batch) -> Sequence[Batch]:
            earlier = held.pop(watch, None)
            waiting = watch._buffer._items
            if earlier is None and waiting and isinstance(waiting[0][0], Changes):
                held[watch] = batch
                return []
            return [batch] if earlier is None else [batch, earlier]

        return batches_bent(swap)


class InSyncIsToldAgain(Faithful):
    """A watch says that it is in sync after every change."""

    rules = ("watches.a_gap_is_told",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return batches_bent(lambda watch, batch: [batch, Batch(BatchType.SYNCED, (), batch.revision)])


class UpdatesAreCreates(Faithful):
    """An update is told as a create."""

    rules = ("watches.events_know_what_they_are", "watches.tell_create_update_delete")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = ClientState._put
        return patch.object(ClientState, "_put", lambda view, item, known, before: sound(view, item, False, before))


class PreviousIsThePresent(Faithful):
    """The previous value of an event is its new one."""

    rules = ("watches.events_know_what_they_are", "watches.tell_create_update_delete")

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = ClientState._put

        def put(view: ClientState, item: KeyValue, known: bool, before: KeyValue | None) -> Event:
            event = sound(view, item, known, before)
            kind = EventType.UPDATE if known else EventType.CREATE
            return Event(kind, event.key, item, event.revision, item if known and event.previous else None)

        return patch.object(ClientState, "_put", put)


class AfterIsIgnored(Faithful):
    """A watch takes every revision to begin after, and begins with the present state."""

    rules = ("watches.after_a_revision_work_or_are_refused",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Store.watch

        def watch(store: Store, prefix: str = "", *, after: int | None = None, **arguments: Any) -> Watch:
            return sound(store, prefix, **arguments)

        return patch.object(Store, "watch", watch)


class OverflowIsSilent(Faithful):
    """What doesn't fit into the buffer of a slow consumer is dropped without a word."""

    rules = ("watches.a_slow_consumer_is_resynced",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = FeedBuffer.deliver

        def deliver(buffer: Any, item: FeedItem, /) -> None:
            full = isinstance(item, Changes) and buffer._entries + len(item.entries) > buffer._max_entries
            if not full:
                sound(buffer, item)

        return patch.object(FeedBuffer, "deliver", deliver)


class SlowConsumerStallsTheStore(Faithful):
    """A write waits until the slowest consumer has room."""

    rules = ("watches.a_slow_consumer_is_resynced",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = FeedBuffer.deliver
        patience = threading.Event()

        def deliver(buffer: Any, item: FeedItem, /) -> None:
            if isinstance(item, Changes) and buffer._entries + len(item.entries) > buffer._max_entries:
                patience.wait(1.5 * threads.DEADLINE)
            sound(buffer, item)

        return patch.object(FeedBuffer, "deliver", deliver)


class SlowConsumerJumpsAhead(Faithful):
    """A watch after a revision whose consumer was too slow goes on at the present."""

    rules = ("watches.a_slow_resumed_watch_misses_nothing",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Watch._drop_feed

        def drop(watch: Any) -> None:
            sound(watch)
            watch._machine.revision = watch._backend.server_info(timeout=10.0).revision

        return patch.object(Watch, "_drop_feed", drop)


class CallbackHoldsTheStore(Faithful):
    """While a callback runs, nothing can be written or read."""

    rules = ("watches.callbacks_may_use_the_store",)
    lock: ClassVar[Any] = threading.Lock()

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = callbacks.CallbackWatch._call

        def call(*arguments: Any) -> None:
            with cls.lock:
                sound(*arguments)

        return patch.object(callbacks.CallbackWatch, "_call", call)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        self._turn(timeout)
        return self.inner.get(key, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self._turn(timeout)
        return self.inner.commit(transaction, timeout=timeout)

    def _turn(self, timeout: float) -> None:
        if not self.lock.acquire(timeout=timeout):
            raise Unavailable("a callback is running")
        self.lock.release()


class CallbackHoldsOtherFeeds(BentWatch):
    """While a callback runs, no watch is told anything."""

    rules = ("watches.a_blocked_callback_stalls_no_one",)
    running: ClassVar[set[int]] = set()

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = callbacks.CallbackWatch._call

        def call(*arguments: Any) -> None:
            cls.running.add(threading.get_ident())
            try:
                sound(*arguments)
            finally:
                cls.running.discard(threading.get_ident())

        return patch.object(callbacks.CallbackWatch, "_call", call)

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        waiting: list[FeedItem] = feed.known.setdefault("waiting", [])
        waiting.append(item)
        if self.running:
            return []
        feed.known["waiting"] = []
        return waiting


class CloseWakesNobody(Faithful):
    """A thread that waits for a watch goes on waiting when the watch is closed."""

    rules = ("watches.close_wakes_a_blocked_reader",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(FeedBuffer, "wake", lambda buffer: None)


class StoreCloseLeavesWatches(Faithful):
    """Closing a store doesn't close its watches."""

    rules = ("watches.close_wakes_a_blocked_reader",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Store.close

        def close(store: Any) -> None:
            with store._lock:
                store._open_watches.live.clear()
            sound(store)

        return patch.object(Store, "close", close)


MUTANTS: tuple[type[Faithful], ...] = (
    ToldTwice,
    ToldBackwards,
    InSyncIsToldAgain,
    UpdatesAreCreates,
    PreviousIsThePresent,
    AfterIsIgnored,
    OverflowIsSilent,
    SlowConsumerStallsTheStore,
    SlowConsumerJumpsAhead,
    CallbackHoldsTheStore,
    CallbackHoldsOtherFeeds,
    CloseWakesNobody,
    StoreCloseLeavesWatches,
)
