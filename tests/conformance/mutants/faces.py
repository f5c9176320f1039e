"""Broken asyncio interfaces over a sound store: what the suite has to find with ``--face aio``, and can't without."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from tenure import Batch, BatchType, aio
from tenure.aio import _watch
from tenure.aio._bridge import Bridge
from tenure.aio._transaction import TransactionBuilder
from tenure.aio.recipes import _pace, _steps
from tenure.aio.recipes._bus import Subscription
from tenure.aio.recipes._holding import Held, HeldState, Holding
from tenure.errors import Conflict
from tenure.spi import CommitResult

from .base import Faithful


class ABatchIsDroppedOnTheLoop(Faithful):
    """A watch drops each third batch of changes on its way to the task."""

    rules = ("watches.tell_create_update_delete",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound, counts = _watch.Watch._look, list[int]()

        def look(watch: _watch.Watch) -> Batch | None:
            batch = sound(watch)
            if batch is not None and batch.type is BatchType.CHANGES:
                counts.append(1)
                return None if len(counts) % 3 == 0 else batch
            return batch

        return patch.object(_watch.Watch, "_look", look)


class AnEventComesTwice(Faithful):
    """A watch gives each tenth batch of changes to the task twice."""

    rules = ("watches.revisions_only_grow_per_key",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound, counts, again = _watch.Watch._look, list[int](), dict[_watch.Watch, Batch]()

        def look(watch: _watch.Watch) -> Batch | None:
            if watch in again:
                return again.pop(watch)
            batch = sound(watch)
            if batch is not None and batch.type is BatchType.CHANGES:
                counts.append(1)
                if len(counts) % 10 == 0:
                    again[watch] = batch
            return batch

        return patch.object(_watch.Watch, "_look", look)


class ACancelTakesTheBatchWithIt(Faithful):
    """A task that is cancelled as its batch arrives loses that batch."""

    rules = ("asyncio.a_cancelled_wait_for_a_batch_loses_none",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = _watch.Watch.next

        async def following(watch: _watch.Watch, timeout: float | None = None) -> Batch | None:
            batch = await sound(watch, timeout)
            await asyncio.sleep(0.001)
            return batch

        return patch.object(_watch.Watch, "next", following)


class ACancelledPutComesLater(Faithful):
    """A put that was cancelled in the queue is made a moment later."""

    rules = ("asyncio.calls_cancelled_in_the_queue_are_never_made",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = aio.Store.put

        async def later(store: aio.Store, *args: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0.1)
            with contextlib.suppress(Exception):
                await sound(store, *args, **kwargs)

        async def put(store: aio.Store, *args: Any, **kwargs: Any) -> Any:
            try:
                return await sound(store, *args, **kwargs)
            except asyncio.CancelledError:
                store._bridge.keep(later(store, *args, **kwargs), "late put")
                raise

        return patch.object(aio.Store, "put", put)


class ACancelledGrantKeepsItsLease(Faithful):
    """A lease whose task was cancelled while it was granted stays."""

    rules = ("asyncio.a_cancelled_acquisition_leaves_no_ghost",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Bridge.call

        async def call(bridge: Bridge, function: Any, **options: Any) -> Any:
            options.pop("undo", None)
            return await sound(bridge, function, **options)

        return patch.object(Bridge, "call", call)


class ALostBlockGoesOn(Faithful):
    """The block of a lock that is lost isn't cancelled."""

    rules = ("asyncio.a_lost_lock_cancels_its_block",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Holding, "_cancel", lambda holding, held: None)


class CallbacksRunOnAThread(Faithful):
    """Callbacks of a watch run on a thread of their own."""

    rules = ("asyncio.callbacks_run_on_the_loop",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = _watch._call

        async def call(*args: Any) -> None:
            thread = threading.Thread(target=lambda: asyncio.run(sound(*args)))
            thread.start()
            thread.join()

        return patch.object(_watch, "_call", call)


class ARefusedTransactionSeemsDone(Faithful):
    """A transaction that was refused tells no conflict."""

    rules = ("transactions.with_a_precondition_that_fails_change_nothing",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = TransactionBuilder.commit

        async def commit(transaction: TransactionBuilder, **options: Any) -> Any:
            with contextlib.suppress(Conflict):
                return await sound(transaction, **options)

        return patch.object(TransactionBuilder, "commit", commit)


class AGuardIsForgotten(Faithful):
    """What a holder writes is sent without the guard of its lock."""

    rules = ("recipes.guards_refuse_stale_holders",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(HeldState, "guard", lambda held, transaction: transaction)


class AReleaseKeepsTheKey(Faithful):
    """A lock that is released says so, and stays where it is."""

    rules = ("recipes.locks_are_released_by_their_owner_alone",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        async def release(held: Held, *, timeout: float | None = None) -> bool:
            return True

        return patch.object(Held, "release", release)


class AConflictInARecipeSeemsDone(Faithful):
    """The driver of recipes takes a commit that was refused for one that was applied."""

    rules = ("recipes.numbers_are_given_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = _steps._perform

        async def perform(store: aio.Store, effect: Any) -> Any:
            try:
                return await sound(store, effect)
            except Conflict:
                return CommitResult(1)

        return patch.object(_steps, "_perform", perform)


class AMessageComesTwice(Faithful):
    """A consumer of a bus gets a message again instead of each fifth one."""

    rules = ("recipes.messages_reach_all_in_one_order",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound, got = Subscription.next, list[Any]()

        async def following(messages: Subscription[Any], timeout: float | None = None) -> Any:
            if len(got) % 5 == 4:
                got.append(got[-1])
            else:
                got.append(await sound(messages, timeout))
            return got[-1]

        return patch.object(Subscription, "next", following)


class AWaitEndsAtOnce(Faithful):
    """Who waits at a closed barrier goes on."""

    rules = ("recipes.waiters_go_on_together",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        async def wait(barrier: aio.Barrier, *, timeout: float | None = None) -> None:
            return

        return patch.object(aio.Barrier, "wait", wait)


class TwoRunAtATime(Faithful):
    """A function that is to run once is run by each client, without waiting for others."""

    rules = ("recipes.a_run_is_done_once",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound, numbers = _pace.one_run, itertools.count()

        def one_run(store: Any, name: str, session: Any) -> Any:
            return sound(store, f"{name}{next(numbers)}", session)

        return patch.object(_pace, "one_run", one_run)


MUTANTS = (
    ABatchIsDroppedOnTheLoop,
    AnEventComesTwice,
    ACancelTakesTheBatchWithIt,
    ACancelledPutComesLater,
    ACancelledGrantKeepsItsLease,
    ALostBlockGoesOn,
    CallbacksRunOnAThread,
    ARefusedTransactionSeemsDone,
    AGuardIsForgotten,
    AReleaseKeepsTheKey,
    AConflictInARecipeSeemsDone,
    AMessageComesTwice,
    AWaitEndsAtOnce,
    TwoRunAtATime,
)
