"""Values, queues, meetings and schedules on a loop: the same results, and cancels that leave nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tenure import TransactView, aio
from tenure.errors import Conflict, InvalidArgument, LeaseLost, WaitTimeout
from tenure_testkit.loops import face_of, run
from tenure_testkit.waiting import PATIENCE

from .gates import gated


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_tasks_that_compete_change_values_exactly_once(url: str) -> None:
    def move(view: TransactView) -> int:
        left = int(view.get("a") or 0) - 1
        view.put("a", str(left).encode())
        view.put("b", str(int(view.get("b") or 0) + 1).encode())
        return left

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            counters = [aio.Counter(store, "c") for _ in range(10)]
            sums = await asyncio.gather(*(counter.add() for counter in counters))
            assert sorted(sums) == list(range(1, 11))
            assert await counters[0].value() == 10
            with pytest.raises(InvalidArgument):
                await counters[0].add("1")  # type: ignore[arg-type]

            value = aio.AtomicValue(store, "v")
            assert await value.get() is None
            await value.set(b"")
            await asyncio.gather(*(value.update(lambda old: (old or b"") + b"x") for _ in range(10)))
            assert await value.get() == b"x" * 10
            assert not await value.compare_and_set(None, b"y")
            assert await value.compare_and_set(b"x" * 10, b"y")

            blocks = [aio.IdBlock(store, "i", size=3) for _ in range(3)]
            ids = await asyncio.gather(*(block.next() for block in blocks for _ in range(5)))
            assert len(set(ids)) == 15

            left = await asyncio.gather(*(aio.transact(store, move) for _ in range(10)))
            assert sorted(left) == list(range(-10, 0))
            item = await store.get("b")
            assert item is not None
            assert item.value == b"10"

    run(main)


async def left_in(store: aio.Store, prefix: str, keys: int = 0) -> None:
    """Wait until so many keys are left."""
    while len((await store.list(prefix)).keys) != keys:
        await asyncio.sleep(0.005)


def test_items_are_done_with_what_is_written_or_come_back(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            queue = aio.WorkQueue(store, "q", max_attempts=2)
            claiming = [asyncio.create_task(queue.claim()) for _ in range(20)]  # more than there are workers
            await asyncio.sleep(0)
            put = [await queue.put(b"%d" % number) for number in range(20)]
            claims = [claim for claim in await asyncio.gather(*claiming) if claim]
            assert sorted(claim.id for claim in claims) == sorted(put)
            assert await queue.try_claim() is None
            first, second, *others = claims
            await first.ack(store.transaction().put("done", first.value))
            item = await store.get("done")
            assert item is not None
            assert item.value == first.value
            with pytest.raises(LeaseLost):
                await first.ack()
            with pytest.raises(Conflict):
                await second.ack(store.transaction().if_absent("done"))
            assert second.held
            assert await second.release()
            assert not await second.release()
            for claim in others:
                async with claim:
                    pass
            again = await queue.claim(timeout=PATIENCE)
            assert again is not None
            assert (again.id, again.attempts) == (second.id, 2)
            with pytest.raises(ZeroDivisionError):
                async with again:
                    raise ZeroDivisionError
            (letter,) = await queue.dead()
            assert letter.value == second.value
            assert await queue.retry_dead(letter)
            assert await queue.claim(timeout=PATIENCE)
            assert not await queue.drop_dead(letter)

    run(main)


def test_a_claim_that_is_cancelled_at_any_request_is_given_back() -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            queue = aio.WorkQueue(store, "q", max_attempts=99)
            await queue.put(b"item")
            for requests in range(1, 4):  # the list, the claim, the value
                backend.begun.clear()
                backend.gate.clear()
                claiming = asyncio.create_task(queue.claim())
                while len(backend.begun) < requests:
                    await asyncio.sleep(0.001)
                    if len(backend.begun) < requests:
                        backend.gate.set()
                claiming.cancel()
                await asyncio.wait([claiming])
                backend.gate.set()
                if not claiming.cancelled():
                    claim = claiming.result()
                    assert claim is not None
                    await claim.release()
                claim = await queue.claim(timeout=PATIENCE)
                assert claim is not None
                assert await claim.release()

    run(main)


@pytest.mark.parametrize("act", ["ack", "release"])
def test_what_ends_a_claim_is_made_although_its_task_is_cancelled(act: str) -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            queue = aio.WorkQueue(store, "q")
            await queue.put(b"item")
            claim = await queue.claim()
            assert claim is not None
            backend.gate.clear()
            ending = asyncio.create_task(claim.ack() if act == "ack" else claim.release())
            await asyncio.sleep(0)
            ending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ending
            backend.gate.set()
            await left_in(store, "tenure/queue/", 0 if act == "ack" else 2)

    run(main)


def test_an_item_whose_cancelled_acknowledgement_is_refused_comes_back() -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            await store.put("there", b"")
            queue = aio.WorkQueue(store, "q")
            await queue.put(b"item")
            claim = await queue.claim()
            assert claim is not None
            backend.gate.clear()
            ending = asyncio.create_task(claim.ack(store.transaction().if_absent("there")))
            await asyncio.sleep(0)
            ending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ending
            backend.gate.set()
            again = await queue.claim(timeout=PATIENCE)
            assert again is not None
            assert again.attempts == 2

    run(main)


def test_random_cancels_of_consumers_lose_no_item(url: str) -> None:
    chance = random.Random(3)

    async def consume(queue: aio.WorkQueue) -> None:
        claim = await queue.claim()
        assert claim is not None
        async with claim:
            await asyncio.sleep(chance.random() * 0.001)

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            queue = aio.WorkQueue(store, "q", max_attempts=1000)
            for _ in range(10):
                await queue.put(b"item")
            while (await store.list("tenure/queue/")).keys:
                task = asyncio.create_task(consume(queue))
                await asyncio.sleep(chance.random() * 0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    run(main)


def test_waiting_at_a_barrier_and_a_latch_takes_no_worker(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            barrier = aio.Barrier(store, "b")
            latch = aio.CountDownLatch(store, "l", count=2)
            await barrier.close()
            assert await barrier.is_closed()
            with pytest.raises(WaitTimeout):
                await barrier.wait(timeout=0.5)
            waits = [asyncio.create_task(one.wait()) for one in (barrier, latch) for _ in range(20)]
            await asyncio.sleep(0)
            assert await latch.count_down() == await latch.remaining() == latch.count - 1
            await barrier.open()
            assert await latch.count_down() == 0
            await asyncio.gather(*waits)
            await latch.reset()
            await left_in(store, "")

    run(main)


def test_members_begin_and_end_together(url: str) -> None:
    async def take_part(member: aio.DoubleBarrier, inside: list[aio.DoubleBarrier]) -> None:
        await member.enter(timeout=PATIENCE)
        assert member.inside
        inside.append(member)
        await member.leave(timeout=PATIENCE)
        assert len(inside) == 3  # each was inside before the first could leave

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            members = [aio.DoubleBarrier(store, "d", count=3) for _ in range(3)]
            with pytest.raises(WaitTimeout):
                await members[0].enter(timeout=0.5)
            for _ in range(2):
                inside: list[aio.DoubleBarrier] = []
                await asyncio.gather(*(take_part(member, inside) for member in members))
            await left_in(store, "tenure/double-barrier/")

    run(main)


def test_a_member_that_is_cancelled_has_left(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            one, two = (aio.DoubleBarrier(store, "d", count=2) for _ in range(2))
            entering = asyncio.create_task(one.enter())
            await left_in(store, "tenure/double-barrier/", 1)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            await left_in(store, "tenure/double-barrier/")
            await asyncio.gather(one.enter(), two.enter())
            leaving = asyncio.create_task(one.leave())
            await left_in(store, "tenure/double-barrier/", 1)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert not one.inside
            await two.leave(timeout=PATIENCE)
            await left_in(store, "tenure/double-barrier/")

    run(main)


def test_random_cancels_of_members_leave_no_key(url: str) -> None:
    chance = random.Random(5)

    async def take_part(member: aio.DoubleBarrier) -> None:
        await member.enter()
        try:
            await asyncio.sleep(chance.random() * 0.001)
        finally:
            await member.leave()

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            tasks = [asyncio.create_task(take_part(aio.DoubleBarrier(store, "d", count=2))) for _ in range(30)]
            for task in tasks:
                await asyncio.sleep(chance.random() * 0.005)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await left_in(store, "tenure/double-barrier/")

    run(main)


def test_permits_are_waited_for_in_order_on_the_loop(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            limiter = aio.RateLimiter(store, "r", rate=100, burst=1)
            assert limiter.name == "r"
            assert await limiter.try_acquire()
            begin = asyncio.get_running_loop().time()
            await asyncio.gather(*(limiter.acquire(timeout=PATIENCE) for _ in range(20)))
            assert asyncio.get_running_loop().time() - begin > 0.1  # 19 permits come one after the other
            with pytest.raises(InvalidArgument):
                await limiter.acquire(2)
            slow = aio.RateLimiter(store, "slow", rate=1, per=3600)
            assert await slow.try_acquire()
            assert not await slow.try_acquire()
            with pytest.raises(WaitTimeout):
                await slow.acquire(timeout=0.01)

    run(main)


def test_no_slot_is_taken_twice() -> None:
    async def main() -> None:
        async with aio.connect("memory://slots", timeout=PATIENCE) as store:
            schedules = [aio.Schedule(store, "s", 1, zone="Europe/Berlin") for _ in range(2)]
            slots = await asyncio.gather(*(one.take(timeout=PATIENCE) for one in schedules))
            assert len(set(slots)) == len(slots)
            assert str(slots[0].tzinfo) == "Europe/Berlin"
            with pytest.raises(WaitTimeout):
                await aio.Schedule(store, "later", 86_400).take(timeout=0.01)

    run(main)


def test_a_function_runs_once_whether_it_is_async_or_not(url: str) -> None:
    runs: list[str] = []

    async def slowly(held: aio.Held) -> bytes:
        runs.append("async")
        await asyncio.sleep(0.01)
        held.check()
        return b"1"

    def plainly(held: aio.Held) -> None:
        runs.append("plain")
        held.check()

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            found = await asyncio.gather(*(aio.once(store, "a", slowly) for _ in range(20)))
            assert found == [b"1"] * 20
            assert await aio.once(store, "b", plainly) == await aio.once(store, "b", slowly) == b""
            assert runs == ["async", "plain"]
            with pytest.raises(InvalidArgument):
                await aio.once(store, "c", lambda _held: "text")  # type: ignore[arg-type,return-value]
            assert await aio.once(store, "c", lambda _held: b"2") == b"2"
            await left_in(store, "tenure/once/", 3)

    run(main)


def test_a_run_that_is_cancelled_is_the_next_ones(url: str) -> None:
    begun = asyncio.Event()

    async def hangs(_held: aio.Held) -> bytes:
        begun.set()
        await asyncio.sleep(PATIENCE)
        return b"late"

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            first = asyncio.create_task(aio.once(store, "a", hangs))
            await begun.wait()
            given_up = asyncio.create_task(aio.once(store, "a", hangs))
            await left_in(store, "tenure/once/", 2)
            given_up.cancel()
            await left_in(store, "tenure/once/", 1)
            second = asyncio.create_task(aio.once(store, "a", lambda _held: b"done"))
            await left_in(store, "tenure/once/", 2)
            first.cancel()
            assert await second == b"done"
            await asyncio.gather(first, given_up, return_exceptions=True)
            assert first.cancelled()
            assert given_up.cancelled()
            await left_in(store, "tenure/once/", 1)

    run(main)
