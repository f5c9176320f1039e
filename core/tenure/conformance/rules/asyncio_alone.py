"""Rules about what only the asyncio interface has: tasks that are cancelled, and callbacks on the loop.

They run with that interface alone, so that a run through the synchronous one doesn't list them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenure import aio
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import AIO, Rules
from tenure.errors import LeaseLost, LeaseNotFound, TenureError
from tenure.watch import Batch, BatchType, EventType

T = TypeVar("T")

_UNDER_WAY = 16
"""Calls that one store has under way at a time at most."""
_QUIET = 0.5
"""Seconds in which a call that was only late would have been made."""


class AsyncioRules(Rules, area="asyncio", face=(AIO, "the rule is about tasks")):
    """Tasks and their end."""

    def test_asyncio_calls_cancelled_in_the_queue_are_never_made(self, context: RuleContext) -> None:
        """Of calls that are cancelled together, at most those under way are made after that; the next call works."""

        async def body(store: aio.Store) -> tuple[list[str], int]:
            tasks = {f"c/{number:03}": asyncio.create_task(store.put(f"c/{number:03}", b"")) for number in range(300)}
            await asyncio.sleep(0)
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            after = (await store.put("after", b"")).revision
            while True:
                before = (await store.list("c/")).keys
                await asyncio.sleep(_QUIET)
                now = await store.list("c/")
                if now.keys == before:
                    break
            lost = [key for key, task in tasks.items() if not task.cancelled() and key not in now.keys]
            return lost, sum(item.mod_revision > after for item in now.items)

        lost, late = context.face.run(body, context.store)
        context.check.equal(lost, [], "300 puts cancelled: keys of those that had returned, and are not there")
        context.check.true(
            late <= _UNDER_WAY,
            "300 puts cancelled, and then another put",
            expected=f"at most {_UNDER_WAY} made after that one",
            seen=late,
        )

    def test_asyncio_a_cancelled_wait_for_a_batch_loses_none(self, context: RuleContext) -> None:
        """A task that is cancelled in next() of a watch loses no event, and gets none twice."""
        chance = random.Random(context.profile.seed)  # noqa: S311 - no secret
        keys = [f"w/{number:03}" for number in range(60)]

        async def body(store: aio.Store) -> tuple[list[str], bool]:
            seen, resynced = list[str](), False
            async with store.watch("w/") as watch:

                async def read() -> None:
                    nonlocal resynced
                    while True:
                        batch = await watch.next()
                        assert batch is not None
                        resynced = resynced or batch.type is BatchType.RESYNC
                        seen.extend(event.key for event in batch.events)

                async def write() -> None:
                    for key in keys:
                        await store.put(key, b"")
                        await asyncio.sleep(0)

                writing = asyncio.create_task(write())
                deadline = asyncio.get_running_loop().time() + EVENT_TIMEOUT
                while len(set(seen)) < len(keys) and asyncio.get_running_loop().time() < deadline:
                    task = asyncio.create_task(read())
                    await asyncio.sleep(chance.random() * 0.003)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                await writing
            return seen, resynced

        seen, resynced = context.face.run(body, context.store)
        did = f"read the events of {len(keys)} puts by tasks that were cancelled at random"
        context.check.equal(sorted(set(seen)), keys, did)
        if not resynced:
            context.check.equal(len(seen), len(keys), f"{did}: the number of events")

    def test_asyncio_a_cancelled_acquisition_leaves_no_ghost(self, context: RuleContext) -> None:
        """Tasks cancelled while they take a lock or a lease leave nothing that others would wait for."""
        chance = random.Random(context.profile.seed)  # noqa: S311 - no secret

        async def body(store: aio.Store) -> list[str]:
            listed = store.capabilities.list_leases
            before = len(await store.leases()) if listed else 0
            tasks = [*await _cancelled_holders(store, chance), *await _cancelled_grants(store, context.long_ttl)]
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            problems = [f"{type(end).__name__}: {end}" for end in ends if isinstance(end, Exception)]
            try:
                async with aio.Lock(store, "l").hold(timeout=EVENT_TIMEOUT):
                    pass
            except TenureError as exc:
                problems.append(f"the lock can't be taken: {exc}")
            left = await _until(lambda: _keys(store), lambda keys: not keys)
            problems += [f"the key {key!r} is left" for key in left]
            if listed:  # the recipes of a store share one
                leases = await _until(store.leases, lambda found: len(found) <= before + 1)
                problems += [f"{len(leases)} leases are there, and {before} were before"] * (len(leases) > before + 1)
            return problems

        problems = context.face.run(body, context.store)
        context.check.no_problems(
            problems, "cancelled 60 tasks that take a lock or a lease", expected="no key, no lease and no error is left"
        )

    def test_asyncio_a_lost_lock_cancels_its_block(self, context: RuleContext) -> None:
        """When a lock is lost, the block of its holder is cancelled, and leaving it raises LeaseLost."""

        async def body(store: aio.Store) -> list[str]:
            happened: list[str] = []
            async with aio.Session.open(store, ttl=context.long_ttl) as session:
                try:
                    async with aio.Lock(store, "l", session=session).hold():
                        await store.revoke_lease(session.lease.id)
                        with contextlib.suppress(LeaseLost, LeaseNotFound):
                            await session.lease.refresh()
                        try:
                            await asyncio.sleep(EVENT_TIMEOUT)
                        except asyncio.CancelledError:
                            happened.append("the block is cancelled")
                            raise
                except LeaseLost:
                    happened.append("LeaseLost")
            return happened

        happened = context.face.run(body, context.store)
        context.check.equal(happened, ["the block is cancelled", "LeaseLost"], "lost a lock within its block")

    def test_asyncio_callbacks_run_on_the_loop(self, context: RuleContext) -> None:
        """Callbacks of watches run on the event loop, each event once and in order."""

        async def body(store: aio.Store) -> tuple[list[str], int]:
            seen: list[str] = []
            elsewhere = 0
            loop = asyncio.get_running_loop()

            def callback(batch: Batch) -> None:
                nonlocal elsewhere
                try:
                    elsewhere += asyncio.get_running_loop() is not loop
                except RuntimeError:
                    elsewhere += 1
                seen.extend(event.key for event in batch.events if event.type is EventType.CREATE)

            async with store.watch("w/", callback=callback):
                for number in range(20):
                    await store.put(f"w/{number:02}", b"")
                await _until(lambda: _value(len(seen)), lambda count: count >= 20)
            return seen, elsewhere

        seen, elsewhere = context.face.run(body, context.store)
        context.check.equal(seen, [f"w/{number:02}" for number in range(20)], "watch(callback=...) and 20 puts")
        context.check.equal(elsewhere, 0, "callbacks that ran elsewhere")


async def _keys(store: aio.Store) -> tuple[str, ...]:
    return (await store.list("")).keys


async def _cancelled_holders(store: aio.Store, chance: random.Random) -> list[asyncio.Task[None]]:
    """Tasks that take a lock, and are cancelled at random."""

    async def hold() -> None:
        async with aio.Lock(store, "l").hold():
            await asyncio.sleep(chance.random() * 0.003)

    tasks = []
    for _ in range(30):
        tasks.append(asyncio.create_task(hold()))
        await asyncio.sleep(chance.random() * 0.003)
        chance.choice(tasks).cancel()
    for task in tasks:
        task.cancel()
    return tasks


async def _cancelled_grants(store: aio.Store, ttl: float) -> list[asyncio.Task[None]]:
    """Tasks that take a lease, and are cancelled together, so early that calls are under way."""

    async def leased(number: int) -> None:
        async with store.lease(ttl) as lease:
            await store.put(f"leased/{number}", b"", lease=lease)

    tasks = []
    for turns in (1, 2, 3):
        begun = [asyncio.create_task(leased(number)) for number in range(10)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in begun:
            task.cancel()
        tasks += begun
    return tasks


async def _value(value: T) -> T:
    return value


async def _until(look: Callable[[], Awaitable[T]], accept: Callable[[T], bool]) -> T:
    """Look until the result is acceptable, or the time for an event is over; return the last result."""
    deadline = asyncio.get_running_loop().time() + EVENT_TIMEOUT
    while not accept(seen := await look()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    return seen
