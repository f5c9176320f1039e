"""Groups, partitioners, keys that come back, and gates on a loop; and cancels that leave nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

import tenure
from tenure import aio
from tenure.errors import AlreadyHeld, Conflict, InvalidArgument, LeaseLost, StoreClosed, WaitTimeout
from tenure_testkit.loops import run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import cancelled_at_each_request, left_in, on


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_members_know_of_each_other(url: str) -> None:
    async def body(store: aio.Store) -> None:
        one, two = aio.Group(store, "g"), aio.Group(store, "g")
        assert one.name == "g"
        async with one.watch() as changes:
            assert await changes.next(PATIENCE) == ()
            first = await one.join(member="a", data="x")
            assert one.membership is first
            assert first.held
            with pytest.raises(AlreadyHeld):
                await one.join()
            async with two.join(member="b") as second:
                while len(members := await changes.next(PATIENCE)) < 2:
                    pass
                assert [(member.name, member.data, member.token) for member in members] == [
                    ("a", "x", first.token),
                    ("b", "", second.token),
                ]
                assert await two.members() == members
            assert two.membership is None
            assert await first.release()
            assert not await first.release()
            while await changes.next(PATIENCE):
                pass
            with pytest.raises(WaitTimeout):
                await changes.next(0.01)
        await left_in(store, "tenure/group/")

    on(url, body)


def test_a_member_that_is_lost_can_join_again() -> None:
    async def body(store: aio.Store) -> None:
        async with aio.Session.open(store, ttl=30) as session:
            group = aio.Group(store, "g", session=session)
            membership = await group.join()
            session.lease.mark_lost("as a refresh would tell")
            assert await membership.wait_until_lost(PATIENCE)
            assert group.membership is None
            with pytest.raises(LeaseLost):
                await group.join()

    on("memory://lost-member", body)


def test_a_join_that_is_cancelled_leaves_no_member() -> None:
    async def main() -> None:
        async def join(store: aio.Store) -> None:
            async with aio.Group(store, "g").join():
                pass

        async def clean(store: aio.Store) -> None:
            while await aio.Group(store, "g").members():
                await asyncio.sleep(0.001)

        assert await cancelled_at_each_request(join, clean) > 3

    run(main)


def test_members_share_partitions(url: str) -> None:
    async def body(store: aio.Store) -> None:
        stopped: list[int] = []
        busy = {0, 1, 2, 3}

        async def stop(partition: int, held: aio.Held) -> None:
            assert mine.owned[partition] is held
            assert held.held
            await asyncio.sleep(0)
            for call in (mine.update, mine.close):
                with pytest.raises(AlreadyHeld):
                    await call()
            busy.discard(partition)
            stopped.append(partition)

        async with aio.Partitioner(store, "p", partitions=4, member="a", on_release=stop) as mine:
            assert mine.name == "p"
            assert await mine.wait(timeout=PATIENCE)
            assert not await mine.update()
            assert not await mine.wait(timeout=0.01)
            assert list(mine.owned) == [0, 1, 2, 3]
            assert await mine.guard(store.transaction().put("done/0", b""), 0).commit()
            async with aio.Partitioner(store, "p", partitions=4) as other:
                waits = [asyncio.create_task(one.wait(timeout=PATIENCE)) for one in (other, mine)]
                assert await asyncio.gather(*waits) == [True, True]
                assert busy.isdisjoint(other.owned)
                while len(other.owned) < 2:
                    await other.update()
                with pytest.raises(LeaseLost):
                    mine.guard(store.transaction(), min(other.owned))
                assert sorted([*mine.owned, *other.owned]) == [0, 1, 2, 3]
            assert not other.owned
            async with aio.Partitioner(store, "p", partitions=5) as wrong:
                with pytest.raises(InvalidArgument):
                    await wrong.update()
        assert sorted(stopped) == [0, 1, 2, 3]
        await left_in(store, "tenure/partitioner/")

    on(url, body)


def test_a_plain_function_may_stop_the_work_and_its_error_keeps_the_partition() -> None:
    async def body(store: aio.Store) -> None:
        failing = True

        def stop(_partition: int, _held: aio.Held) -> None:
            if failing:
                raise ZeroDivisionError

        mine = aio.Partitioner(store, "p", partitions=2, on_release=stop)
        await mine.update()
        other = aio.Partitioner(store, "p", partitions=2)
        await other.update()
        with pytest.raises(ZeroDivisionError):
            await mine.update()
        assert list(mine.owned) == [0, 1]
        failing = False
        await mine.update()
        assert list(mine.owned) == [0]
        await mine.close()
        await other.close()

    on("memory://plain-stop", body)


def test_an_update_that_is_cancelled_within_on_release_keeps_the_partition() -> None:
    async def body(store: aio.Store) -> None:
        hangs, called = asyncio.Event(), 0

        async def stop(_partition: int, _held: aio.Held) -> None:
            nonlocal called
            called += 1
            await hangs.wait()

        mine = aio.Partitioner(store, "p", partitions=2, on_release=stop)
        await mine.update()
        other = aio.Partitioner(store, "p", partitions=2)
        await other.update()
        updating = asyncio.create_task(mine.update())
        await until_async(lambda: called)
        updating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await updating
        assert list(mine.owned) == [0, 1]
        assert await other.update() is False
        hangs.set()
        assert await mine.update()
        assert called == 2
        assert await other.update()
        await mine.close()
        await other.close()

    on("memory://cancelled-stop", body)


def test_a_close_that_is_cancelled_stops_the_work_on_each_partition_first() -> None:
    async def body(store: aio.Store) -> None:
        begun, hangs, stopped = asyncio.Event(), asyncio.Event(), list[int]()

        async def stop(partition: int, _held: aio.Held) -> None:
            begun.set()
            await hangs.wait()
            assert len((await store.list("tenure/partitioner/")).keys) == 3 - len(stopped)
            stopped.append(partition)

        mine = aio.Partitioner(store, "p", partitions=2, on_release=stop)
        await mine.update()
        closing = asyncio.create_task(mine.close())
        await begun.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert list(mine.owned) == [0, 1]
        hangs.set()
        await left_in(store, "tenure/partitioner/")
        assert stopped == [0, 1]

    on("memory://cancelled-close", body)


def test_a_partitioner_that_is_cancelled_at_any_request_keeps_no_partition_that_it_does_not_know() -> None:
    async def main() -> None:
        made: list[aio.Partitioner] = []

        async def share(store: aio.Store) -> None:
            made.append(aio.Partitioner(store, "p", partitions=2))
            assert await made[-1].wait(timeout=PATIENCE)
            assert list(made[-1].owned) == [0, 1]
            await made[-1].close()

        async def clean(store: aio.Store) -> None:
            await made[-1].close()
            await left_in(store, "tenure/partitioner/")

        assert await cancelled_at_each_request(share, clean) > 6

    run(main)


def test_random_cancels_of_partitioners_leave_no_key(url: str) -> None:
    chance = random.Random(11)

    async def take_part(store: aio.Store) -> None:
        async with aio.Partitioner(store, "p", partitions=3) as mine:
            while True:
                await mine.wait()

    async def body(store: aio.Store) -> None:
        tasks = [asyncio.create_task(take_part(store)) for _ in range(6)]
        for task in tasks:
            await asyncio.sleep(chance.random() * 0.01)
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        await left_in(store, "tenure/partitioner/")

    on(url, body)


def test_a_key_comes_back_after_a_loss(url: str) -> None:
    async def body(store: aio.Store) -> None:
        async with aio.PersistentKey(store, "up/a", b"1", ttl=30) as key:
            assert key.key == "up/a"
            assert key.present
            with pytest.raises(AlreadyHeld):
                await key.start()
            with pytest.raises(Conflict):
                await aio.PersistentKey(store, "up/a", b"2").start()
            for _ in range(2):
                first = await store.get("up/a")
                assert first is not None
                assert first.lease_id is not None
                session = key._kept._session
                assert session is not None
                await store.revoke_lease(first.lease_id)
                session.lease.mark_lost("as the next refresh would tell")
                while (item := await store.get("up/a")) is None or not key.present:
                    await asyncio.sleep(0.005)
                assert (item.value, item.lease_id != first.lease_id) == (b"1", True)
        assert not key.present
        assert await store.get("up/a") is None
        await key.close()
        await key.start()
        await key.close()

    on(url, body)


def test_a_start_that_is_cancelled_leaves_no_key_and_no_lease() -> None:
    async def main() -> None:
        async def start(store: aio.Store) -> None:
            async with aio.PersistentKey(store, "up/a", b"1"):
                pass

        async def clean(store: aio.Store) -> None:
            await left_in(store, "up/")
            while await store.leases():
                await asyncio.sleep(0.001)

        assert await cancelled_at_each_request(start, clean) == 3

    run(main)


def test_a_key_that_is_closed_while_it_comes_back_stays_away() -> None:
    async def body(store: aio.Store) -> None:
        key = aio.PersistentKey(store, "up/a", b"1", ttl=30)
        await key.start()
        item = await store.get("up/a")
        assert item is not None
        await store.revoke_lease(item.lease_id)  # type: ignore[arg-type]
        await store.put("up/a", b"another client's")
        session = key._kept._session
        assert session is not None
        session.lease.mark_lost("as the next refresh would tell")
        await asyncio.sleep(0)
        await key.close()
        await store.delete("up/a")
        await until_async(lambda: not store._bridge.calls.loop._tasks, "the task that puts it again has ended")
        assert await store.get("up/a") is None

    on("memory://closed-key", body)


def test_a_fence_passes_a_gate_until_a_later_one_has(url: str) -> None:
    async def body(store: aio.Store) -> None:
        gate, lock = aio.Gate(store, "g"), aio.Lock(store, "g")
        assert gate.name == "g"
        async with lock.hold() as held:
            first = await held.fence()
            assert await held.fence() == first
            await (await gate.guard(store.transaction().put("a", b"1"), first)).commit()
        async with lock.hold() as held:
            second = await held.fence()
            assert first < second
            await gate.admit(second)
        with pytest.raises(Conflict):
            await gate.guard(store.transaction().put("a", b"late"), first)
        with pytest.raises(Conflict):
            await gate.admit(first)

    on(url, body)


def test_a_cancelled_fence_and_gate_can_be_asked_again() -> None:
    async def main() -> None:
        async def pass_through(store: aio.Store) -> None:
            async with aio.Lock(store, "g").hold() as held:
                fence = await held.fence()
                gate = aio.Gate(store, "g")
                await gate.admit(fence)
                await (await gate.guard(store.transaction().put("a", b"1"), fence)).commit()

        async def clean(store: aio.Store) -> None:
            await left_in(store, "tenure/lock/")

        assert await cancelled_at_each_request(pass_through, clean) > 6

    run(main)


def test_what_waits_ends_with_the_store() -> None:
    async def main() -> None:
        store = await aio.connect("memory://ends")
        mine = aio.Partitioner(store, "p", partitions=1)
        await mine.wait()
        waits = [asyncio.create_task(mine.wait())]
        await asyncio.sleep(0.01)
        await store.close()
        for ended in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(ended, StoreClosed)

    run(main)


def test_the_synchronous_face_takes_part(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"

    async def body(store: aio.Store) -> None:
        with tenure.connect(url) as other:
            tenure.Group(other, "g").join(member="thread")
            async with aio.Group(store, "g").join(member="task"):
                assert [member.name for member in tenure.Group(other, "g").members()] == ["thread", "task"]

    on(url, body)
