"""Recipes on a loop: order, loss that cancels the block, cancels that leave no ghost, and no worker that waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import aio
from tenure.aio._bridge import _CALLS_WITHOUT_A_BREATH
from tenure.errors import AlreadyHeld, Conflict, LeaseLost, WaitTimeout
from tenure_testkit.loops import face_of, run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import gated


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


async def no_keys(store: aio.Store) -> None:
    while (await store.list()).keys:
        await asyncio.sleep(0.01)


async def waiting(store: aio.Store, keys: int) -> None:
    while len((await store.list()).keys) < keys:
        await asyncio.sleep(0.001)


def test_a_lock_goes_in_the_order_of_asking_and_waiting_takes_no_worker(url: str) -> None:
    entered: list[int] = []

    async def work(store: aio.Store, number: int) -> None:
        async with aio.Lock(store, "l").hold(timeout=PATIENCE):
            entered.append(number)

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            lock = aio.Lock(store, "l")
            held = await lock.acquire()
            assert lock.held is held
            tasks = []
            for number in range(24):  # more than there are workers
                tasks.append(asyncio.create_task(work(store, number)))
                await waiting(store, number + 2)
            assert await aio.Lock(store, "l").try_acquire() is None
            with pytest.raises(WaitTimeout):
                await aio.Lock(store, "l").acquire(timeout=0.5)
            with pytest.raises(AlreadyHeld):
                await lock.acquire()
            assert await held.release()
            assert not await held.release()
            await asyncio.gather(*tasks)
            assert entered == list(range(24))
            await no_keys(store)

    run(main)


@pytest.mark.parametrize("fair", [True, False])
def test_a_lost_lock_cancels_the_block(url: str, fair: bool) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            session = await aio.Session.open(store, ttl=30)
            told: list[str] = []

            async def body() -> None:
                async with aio.Lock(store, "l", session=session, fair=fair).hold() as held:
                    held.on_lost(lambda: told.append("lost"))
                    try:
                        session.lease.mark_lost("the test says so")
                        await asyncio.sleep(PATIENCE)
                    finally:
                        told.append("cancelled")
                        assert held.lost
                        with pytest.raises(LeaseLost):
                            held.check()
                        assert await held.wait_until_lost(PATIENCE)

            with pytest.raises(LeaseLost, match="before the end of the block") as raised:
                await body()
            assert isinstance(raised.value.__cause__, asyncio.CancelledError)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await until_async(lambda: sorted(told) == ["cancelled", "lost"])

    run(main)


def test_leaving_a_block_that_gave_it_back_is_no_loss(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            async with aio.Lock(store, "l").hold() as held:
                assert await held.release()
            files = aio.ReadWriteLock(store, "l")
            async with files.write.hold():
                reading = await files.downgrade()
            assert await reading.release()
            await no_keys(store)

    run(main)


def test_other_ends_of_a_block_whose_lock_is_lost(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:

            async def block(end: Coroutine[Any, Any, None], wait: bool = True) -> None:
                session = await aio.Session.open(store, ttl=30)
                async with aio.Lock(store, "l", session=session).hold() as held:
                    session.lease.mark_lost("the test says so")
                    try:
                        if wait:
                            await asyncio.sleep(PATIENCE)
                    finally:
                        await end
                        assert held.lost

            async def nothing() -> None:
                """End the block as it is."""

            async def raises() -> None:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await block(raises())
            with pytest.raises(LeaseLost):
                await block(nothing(), wait=False)  # the loop has had no chance to cancel it
            await asyncio.sleep(0)  # and does not later
            holder = asyncio.create_task(block(asyncio.sleep(0.05)))
            await asyncio.sleep(0.02)
            holder.cancel()  # both are cancelled: the foreign one counts
            with pytest.raises(asyncio.CancelledError):
                await holder
            await no_keys_but_expired(store)

    run(main)


async def no_keys_but_expired(store: aio.Store) -> None:
    """What was lost by the test's word alone is on leases that the store still has."""
    for info in await store.leases():
        await store.revoke_lease(info.lease_id)
    await no_keys(store)


def test_a_foreign_cancel_passes_and_releases(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            inside = asyncio.Event()

            async def hold() -> None:
                async with aio.Lock(store, "l").hold():
                    inside.set()
                    await asyncio.sleep(PATIENCE)

            task = asyncio.create_task(hold())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            held = await aio.Lock(store, "l").try_acquire()
            assert held is not None
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await aio.Lock(store, "l").acquire()
            await held.release()
            await no_keys(store)

    run(main)


def test_a_release_that_is_cancelled_is_made() -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            held = await aio.Lock(store, "l").acquire()
            backend.gate.clear()
            releasing = asyncio.create_task(held.release())
            await asyncio.sleep(0)
            releasing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await releasing
            backend.gate.set()
            await no_keys(store)
            assert not held.held

    run(main)


def test_an_object_whose_acquisition_was_cancelled_can_acquire_at_once() -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            lock = aio.Lock(store, "l")
            for calls in range(1, 4):  # the session's lease, the ticket, the list
                backend.begun.clear()
                backend.gate.clear()
                acquiring = asyncio.create_task(lock.acquire())
                while len(backend.begun) < min(calls, 2):
                    await asyncio.sleep(0.001)
                    if calls > 1:
                        backend.gate.set()
                acquiring.cancel()
                await asyncio.wait([acquiring])
                backend.gate.set()
                if not acquiring.cancelled():
                    await acquiring.result().release()
                await (await lock.acquire(timeout=PATIENCE)).release()
                await no_keys(store)

    run(main)


@pytest.mark.parametrize("seed", range(2))
def test_random_cancellations_leave_no_ghost(url: str, seed: int) -> None:
    chance = random.Random(seed)
    inside = 0

    async def hold(lock: aio.Lock | aio.Semaphore, most: int) -> None:
        nonlocal inside
        async with lock.hold():
            inside += 1
            assert inside <= most
            try:
                await asyncio.sleep(chance.random() * 0.001)
            finally:
                inside -= 1

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            for most in (1, 2):
                tasks = []
                for _ in range(50):
                    lock = aio.Lock(store, "l") if most == 1 else aio.Semaphore(store, "s", limit=2)
                    tasks.append(asyncio.create_task(hold(lock, most)))
                    if chance.random() < 0.5:
                        await asyncio.sleep(chance.random() * 0.002)
                    chance.choice(tasks).cancel()
                for task in tasks:
                    if chance.random() < 0.6:
                        task.cancel()
                    await asyncio.sleep(0)
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                assert not [end for end in ends if isinstance(end, Exception)]
            async with aio.Lock(store, "l").hold(timeout=PATIENCE):
                pass
            await no_keys(store)

    run(main)


def test_readers_a_writer_and_a_downgrade(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            one, two = aio.ReadWriteLock(store, "rw"), aio.ReadWriteLock(store, "rw")
            async with one.read.hold(), two.read.hold():
                assert await aio.ReadWriteLock(store, "rw").write.try_acquire() is None
            written = await one.write.acquire()
            reading = await one.downgrade()
            assert one.read.held is reading
            assert not written.held
            async with two.read.hold():
                pass
            assert await reading.release()
            await no_keys(store)

    run(main)


def test_several_locks_are_held_together(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            both = aio.MultiLock(store, ["b", "a"])
            async with both.hold() as held:
                assert sorted(both.tokens) == sorted(both.names) == ["a", "b"]
                assert held.token in both.tokens.values()
                assert (await held.fence()).token == held.token
                with pytest.raises(WaitTimeout):
                    await aio.Lock(store, "a").acquire(timeout=0.5)
            assert not both.tokens
            await no_keys(store)

    run(main)


def test_a_semaphore_is_resized(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            one, two = (aio.Semaphore(store, "s", limit=1) for _ in range(2))
            async with one.hold():
                assert await two.try_acquire() is None
                await one.resize(2)
                async with two.hold(timeout=PATIENCE) as held:
                    assert held.name == two.name == "s"

    run(main)


def test_an_election_is_observed_and_handed_over(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store, aio.Election(store, "e").observe() as leaders:
            assert await leaders.next(PATIENCE) is None
            one, two = (aio.Election(store, "e", candidate=name) for name in "ab")
            async with one.lead() as term:
                leader = await leaders.next(PATIENCE)
                assert leader is not None
                assert (leader.candidate, leader.token) == ("a", term.token)
                assert one.term is term
                with pytest.raises(WaitTimeout):
                    await leaders.next(0.01)
            assert await leaders.next(PATIENCE) is None
            first = await one.campaign()
            campaigning = asyncio.create_task(two.campaign())
            await waiting(store, 2)
            assert not await one.hand_over("nobody")
            assert await one.hand_over("b")
            second = await campaigning
            assert second.token > first.token
            assert not first.held
            assert (await two.leader()).candidate == "b"  # type: ignore[union-attr]
            await second.release()
            assert "b" in [leader.candidate async for leader in until_none(leaders) if leader]

    run(main)


async def until_none(leaders: Any) -> Any:
    """The leaders that are told, to the last."""
    while True:
        try:
            yield await leaders.next(0.2)
        except WaitTimeout:
            return


def test_a_former_holder_is_refused_and_a_session_ends_what_it_holds(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            async with aio.Session.open(store, ttl=30) as session:
                held = await aio.Lock(store, "l", session=session).acquire()
                assert held.session.lease is session.lease
                assert session.alive
                before = session.remaining
                assert 0 < held.remaining <= before
                await held.guard(store.transaction().put("r", b"1")).commit()
                late = held.guard(store.transaction().put("r", b"2"))
            assert not session.alive
            with pytest.raises(Conflict):
                await late.commit()
            assert (await store.list()).keys == ("r",)

    run(main)


def test_threads_and_tasks_exclude_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            with tenure.connect(url, timeout=PATIENCE) as sync:
                with tenure.Lock(sync, "l").hold():
                    acquiring = asyncio.create_task(aio.Lock(store, "l").acquire(timeout=PATIENCE))
                    await waiting(store, 2)
                    assert not acquiring.done()
                async with aio.Lock(store, "other").hold():
                    pass
                await (await acquiring).release()
                await until_async(lambda: not sync.list().keys)

    run(main)


def test_a_release_is_made_although_its_task_is_cancelled_before_it_begins() -> None:
    async def main() -> None:
        async with aio.connect("memory://release", timeout=PATIENCE) as store:
            held = await aio.Lock(store, "l").acquire()
            store._bridge._breaths = _CALLS_WITHOUT_A_BREATH - 1  # the next call would let other tasks run first
            release = asyncio.create_task(held.release())
            await asyncio.sleep(0)
            release.cancel()
            await asyncio.gather(release, return_exceptions=True)
            assert not (await store.list()).keys

    run(main)
