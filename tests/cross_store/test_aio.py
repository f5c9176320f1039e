"""The asyncio interface on every store: calls, leases, watches, locks, and cancels that leave no ghost."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import tenure
from tenure import BatchType, aio
from tenure.errors import Conflict, LeaseLost
from tenure.registry import Instance
from tenure_testkit.loops import run
from tenure_testkit.waiting import PATIENCE

TTL = 30.0


def on(url: str, body: Callable[[aio.Store], Coroutine[Any, Any, None]]) -> None:
    """Run ``body`` on a store of its own loop."""

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            await body(store)

    run(main)


async def no_keys(store: aio.Store) -> None:
    while (await store.list()).keys:
        await asyncio.sleep(0.02)


def test_calls_leases_and_watches(store_url: str) -> None:
    async def body(store: aio.Store) -> None:
        async with store.watch("w/") as watch:
            written = await store.put("w/a", b"1")
            with pytest.raises(Conflict):
                await store.put_if_absent("w/a", b"2")
            await store.put_if_unchanged("w/a", b"2", revision=written.revision)
            found = await asyncio.gather(*(store.get("w/a") for _ in range(50)))
            assert {item.value for item in found if item} == {b"2"}
            await store.transaction().if_exists("w/a").put("w/b", b"1").commit()
            assert [item.key async for item in store.scan("w/", page_size=1)] == ["w/a", "w/b"]
            async with store.lease(TTL) as lease:
                await store.put("w/c", b"1", lease=lease)
                await lease.refresh()
            assert (await store.delete("w/a")).deleted == 1
            present: set[str] = set()
            while present != {"w/b"}:
                batch = await watch.next(PATIENCE)
                assert batch is not None
                for event in batch.events:
                    (present.discard if event.item is None else present.add)(event.key)
        await store.delete_prefix("w/")

    on(store_url, body)


async def next_of(watch: aio.Watch, kind: BatchType) -> list[str]:
    """The keys of the next batch of this type."""
    async for batch in watch:
        if batch.type is kind:
            return [event.key for event in batch.events]
    raise AssertionError


def test_watches_that_wait_take_no_thread(store_url: str) -> None:
    async def body(store: aio.Store) -> None:
        watches = [await store.watch("w/") for _ in range(30)]
        await asyncio.gather(*(next_of(watch, BatchType.SYNCED) for watch in watches))
        reading = [asyncio.create_task(next_of(watch, BatchType.CHANGES)) for watch in watches]
        await store.put("w/1", b"")
        assert await asyncio.gather(*reading) == [["w/1"]] * len(watches)
        assert len([one for one in threading.enumerate() if one.name == "tenure-aio"]) <= 4
        await store.delete("w/1")

    on(store_url, body)


@pytest.mark.parametrize("fair", [True, False])
def test_locks_exclude_and_a_lost_one_cancels_its_block(store_url: str, fair: bool) -> None:
    inside = 0

    async def work(store: aio.Store) -> None:
        nonlocal inside
        async with aio.Lock(store, "l", fair=fair).hold(timeout=PATIENCE):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    async def lose(store: aio.Store) -> None:
        async with (
            aio.Session.open(store, ttl=TTL) as session,
            aio.Lock(store, "l", session=session, fair=fair).hold(),
        ):
            await store.revoke_lease(session.lease.id)  # as another client would
            with pytest.raises(LeaseLost):
                await session.lease.refresh()
            await asyncio.sleep(PATIENCE)

    async def body(store: aio.Store) -> None:
        await asyncio.gather(*(work(store) for _ in range(6)))
        with pytest.raises(LeaseLost, match="before the end of the block"):
            await lose(store)
        async with aio.Lock(store, "l", fair=fair).hold(timeout=PATIENCE):
            pass
        await no_keys(store)

    on(store_url, body)


def test_random_cancels_leave_no_ghost(store_url: str) -> None:
    chance = random.Random(7)

    async def hold(lock: aio.Lock) -> None:
        async with lock.hold():
            await asyncio.sleep(chance.random() * 0.005)

    async def leased(store: aio.Store) -> None:
        async with store.lease(TTL) as lease:
            await store.put("k/leased", b"", lease=lease)

    async def body(store: aio.Store) -> None:
        works: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: hold(aio.Lock(store, "l")),
            lambda: hold(aio.Lock(store, "u", fair=False)),
            lambda: leased(store),
            lambda: store.put("k/a", b"1"),
            lambda: store.get("k/a"),
        ]
        tasks = []
        for _ in range(200):
            tasks.append(asyncio.create_task(chance.choice(works)()))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.005)
            chance.choice(tasks).cancel()
        for task in tasks:
            if chance.random() < 0.8:
                task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [end for end in ends if isinstance(end, Exception)]
        for name, fair in (("l", True), ("u", False)):
            async with aio.Lock(store, name, fair=fair).hold(timeout=PATIENCE):
                pass
        await store.put("k/a", b"2")
        assert (await store.get("k/a")).value == b"2"  # type: ignore[union-attr]
        while (left := (await store.list()).keys) != ("k/a",):
            await asyncio.sleep(0.02)
        assert left
        await store.delete("k/a")

    on(store_url, body)


def test_an_election_and_a_registry(store_url: str) -> None:
    async def body(store: aio.Store) -> None:
        async with aio.Election(store, "e", candidate="a").observe() as leaders:
            assert await leaders.next(PATIENCE) is None
            async with aio.Election(store, "e", candidate="a").lead(timeout=PATIENCE) as term:
                leader = await leaders.next(PATIENCE)
                assert leader is not None
                assert leader.token == term.token
        async with aio.Registry(store) as watching, aio.Registry(store, instance=Instance("web", port=80)):
            assert (await watching.wait_for("web", timeout=PATIENCE))[0].port == 80
        await no_keys(store)

    on(store_url, body)
    with tenure.connect(store_url, timeout=PATIENCE) as after:
        assert not after.list().keys


def test_queues_meetings_and_what_is_done_exactly_once(store_url: str) -> None:
    async def consume(store: aio.Store, done: list[bytes]) -> None:
        while (claim := await aio.WorkQueue(store, "q").try_claim()) is not None:
            async with claim:
                done.append(claim.value)

    async def meet(member: aio.DoubleBarrier) -> None:
        await member.enter(timeout=PATIENCE)
        await member.leave(timeout=PATIENCE)

    async def migrate(held: aio.Held) -> bytes:
        await asyncio.sleep(0)
        held.check()
        return b"done"

    async def body(store: aio.Store) -> None:
        queue, meeting = aio.WorkQueue(store, "q"), "tenure/double-barrier/"
        claiming = asyncio.create_task(queue.claim())
        await asyncio.sleep(0.01)
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        for number in range(4):
            await queue.put(b"%d" % number)
        done: list[bytes] = []
        await asyncio.gather(*(consume(store, done) for _ in range(2)))
        while len(done) < 4:  # both were too late for an item
            await consume(store, done)
        assert sorted(done) == [b"0", b"1", b"2", b"3"]
        entering = asyncio.create_task(aio.DoubleBarrier(store, "d", count=3).enter())
        while not (await store.list(meeting)).keys:
            await asyncio.sleep(0.005)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        while (await store.list(meeting)).keys:  # or the round of the others might begin with it
            await asyncio.sleep(0.02)
        await asyncio.gather(*(meet(aio.DoubleBarrier(store, "d", count=3)) for _ in range(3)))
        latch = aio.CountDownLatch(store, "l", count=2)
        await asyncio.gather(latch.wait(timeout=PATIENCE), latch.count_down(), latch.count_down())
        await latch.reset()
        sums = await asyncio.gather(*(aio.Counter(store, "c").add() for _ in range(3)))
        assert sorted(sums) == [1, 2, 3]
        assert await asyncio.gather(*(aio.once(store, "o", migrate) for _ in range(3))) == [b"done"] * 3
        assert await aio.RateLimiter(store, "r", rate=1).try_acquire()
        for prefix in ("tenure/queue/", meeting, "tenure/latch/"):
            while (await store.list(prefix)).keys:
                await asyncio.sleep(0.02)

    on(store_url, body)


def test_members_share_partitions_and_a_cancelled_one_leaves(store_url: str) -> None:
    async def take_part(store: aio.Store, stopped: list[int]) -> None:
        async def stop(partition: int, held: aio.Held) -> None:
            await asyncio.sleep(0)
            held.check()
            stopped.append(partition)

        async with aio.Partitioner(store, "p", partitions=3, on_release=stop) as mine:
            while True:
                await mine.wait()

    async def body(store: aio.Store) -> None:
        group = aio.Group(store, "g")
        async with group.watch() as changes, group.join(member="a", data="x") as membership:
            while not (members := await changes.next(PATIENCE)):
                pass
            assert [(one.name, one.data, one.token) for one in members] == [("a", "x", membership.token)]
        first: list[int] = []
        one = asyncio.create_task(take_part(store, first))
        while len((await store.list("tenure/partitioner/")).keys) < 4:
            await asyncio.sleep(0.02)
        async with aio.Partitioner(store, "p", partitions=3) as other:
            while not other.owned:
                await other.wait(timeout=PATIENCE)
            assert first
            one.cancel()
            await asyncio.gather(one, return_exceptions=True)
            assert sorted(first) == [0, 1, 2]
            while len(other.owned) < 3:
                await other.wait(timeout=PATIENCE)
            await other.guard(store.transaction().put("done", b""), 2).commit()
        await store.delete("done")
        await no_keys(store)

    on(store_url, body)


def test_settings_reload_and_a_bus_reaches_all(store_url: str) -> None:
    async def body(store: aio.Store) -> None:
        told: list[int] = []
        bus = aio.Bus(store, "b", codec=tenure.TEXT)
        async with (
            aio.CachedValue(store, "s/limit", codec=tenure.JSON, default=10) as limit,
            aio.CachedPrefix(store, "s/", codec=tenure.JSON) as settings,
            bus.subscribe() as messages,
        ):
            limit.on_change(told.append)
            await limit.set(20)
            assert limit.value == 20
            assert await settings.wait_for(lambda values: values.get("limit") == 20, timeout=PATIENCE)
            await store.put("s/limit", b"30")
            assert await limit.wait_for(lambda number: number == 30, timeout=PATIENCE) == 30
            reading = asyncio.create_task(messages.next())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await asyncio.gather(*(bus.publish(text) for text in "abc"))
            assert sorted([(await messages.next(PATIENCE)).value for _ in "abc"]) == ["a", "b", "c"]
            while told[-1:] != [30]:
                await asyncio.sleep(0.01)

    on(store_url, body)


def test_a_key_comes_back_and_a_gate_refuses_an_earlier_holder(store_url: str) -> None:
    async def body(store: aio.Store) -> None:
        ghost = aio.PersistentKey(store, "up/ghost", b"", ttl=TTL)
        starting = asyncio.create_task(ghost.start())
        await asyncio.sleep(0.002)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await ghost.close()  # in case that it was quicker
        await no_keys(store)
        async with aio.PersistentKey(store, "up/a", b"1", ttl=TTL) as key:
            first = await store.get("up/a")
            assert first is not None
            assert first.lease_id is not None
            await store.revoke_lease(first.lease_id)  # as another client would
            session = key._kept._session
            assert session is not None
            session.lease.mark_lost("as the next refresh would tell")
            while not (key.present and await store.get("up/a")):
                await asyncio.sleep(0.02)
        assert await store.get("up/a") is None
        gate, lock = aio.Gate(store, "g"), aio.Lock(store, "g")
        async with lock.hold() as held:
            fence = await held.fence()
            await (await gate.guard(store.transaction().put("a", b"1"), fence)).commit()
        async with lock.hold() as held:
            await gate.admit(await held.fence())
        with pytest.raises(Conflict):
            await gate.guard(store.transaction().put("a", b"late"), fence)

    on(store_url, body)
