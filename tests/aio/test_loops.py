"""The asyncio face on each loop that it knows: asyncio's, uvloop's and trio's, by the same tests.

What a test itself needs of its loop it takes from anyio, which runs on all of them.
"""

from __future__ import annotations

import gc
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
import trio

import tenure
from tenure import aio
from tenure.errors import Conflict, InvalidArgument, LeaseLost, LeaseNotFound, StoreClosed, WaitTimeout
from tenure.registry import Instance
from tenure_testkit.loops import threads
from tenure_testkit.waiting import PATIENCE, until

Body = Callable[[aio.Store], Coroutine[Any, Any, None]]

LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def run(loop: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` within `PATIENCE`, and see that no thread of the face is left."""

    async def limited() -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    anyio.run(limited, **LOOPS[loop])
    until(lambda: not threads(), what="no thread left")


def on(loop: str, url: str, body: Body) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            await body(store)

    run(loop, main)


async def until_true(probe: Callable[[], Coroutine[Any, Any, object]]) -> None:
    while not await probe():
        await anyio.sleep(0.005)


async def no_keys(store: aio.Store, prefix: str = "") -> None:
    async def look() -> bool:
        return not (await store.list(prefix)).keys

    await until_true(look)


def test_calls_transactions_and_leases(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        first = await store.put("a", b"1")
        with pytest.raises(Conflict):
            await store.put_if_absent("a", b"2")
        await store.put_if_unchanged("a", b"2", revision=first.revision)
        values: list[bytes] = []

        async def get() -> None:
            item = await store.get("a")
            assert item is not None
            values.append(item.value)

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(get)
        assert values == [b"2"] * 50
        await store.transaction().if_exists("a").put("b", b"").commit()
        assert [item.key async for item in store.scan(page_size=1)] == ["a", "b"]
        async with store.lease(30) as lease:
            await store.put("c", b"", lease=lease)
            await lease.refresh()
            assert lease.alive
        assert (await store.list()).keys == ("a", "b")

    on(loop, url, body)


def test_watches(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        seen: list[str] = []
        called: list[str] = []

        async def follow() -> None:
            async with store.watch("w/") as watch:
                async for batch in watch:
                    seen.extend(event.key for event in batch.events)
                    if "w/9" in seen:
                        return

        async with store.watch("w/", callback=lambda batch: called.extend(event.key for event in batch.events)):
            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                for number in range(10):
                    await store.put(f"w/{number}", b"")
            keys = [f"w/{number}" for number in range(10)]
            assert seen == keys

            async def told() -> bool:
                return called == keys

            await until_true(told)
        async with store.watch("w/") as watch:
            while (batch := await watch.next(0.01)) is not None:
                assert batch.revision

    on(loop, url, body)


def test_a_wait_that_a_scope_ends_loses_no_batch(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        seen: list[str] = []
        async with store.watch("w/") as watch:
            for number in range(20):
                await store.put(f"w/{number:02}", b"")
                with anyio.move_on_after(0.001 * (number % 3)):
                    while True:
                        batch = await watch.next()
                        assert batch is not None
                        seen += [event.key for event in batch.events]
            while len(seen) < 20:
                batch = await watch.next()
                assert batch is not None
                seen += [event.key for event in batch.events]
        assert seen == [f"w/{number:02}" for number in range(20)]

    on(loop, url, body)


@pytest.mark.parametrize("fair", [True, False])
def test_locks_exclude_and_a_lost_one_cancels_its_block(loop: str, url: str, fair: bool) -> None:
    inside = 0

    async def work(store: aio.Store) -> None:
        nonlocal inside
        async with aio.Lock(store, "l", fair=fair).hold(timeout=PATIENCE):
            inside += 1
            assert inside == 1
            await anyio.sleep(0.001)
            inside -= 1

    async def lose(store: aio.Store) -> None:
        async with (
            aio.Session.open(store, ttl=30) as session,
            aio.Lock(store, "l", session=session, fair=fair).hold(),
        ):
            await store.revoke_lease(session.lease.id)
            with pytest.raises((LeaseLost, LeaseNotFound)):
                await session.lease.refresh()
            await anyio.sleep(PATIENCE)

    async def body(store: aio.Store) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(work, store)
        with pytest.raises(LeaseLost, match="before the end of the block"):
            await lose(store)
        async with aio.Lock(store, "l", fair=fair).hold(timeout=PATIENCE):
            with pytest.raises(WaitTimeout):
                await aio.Lock(store, "l", fair=fair).acquire(timeout=0.05)
        await no_keys(store)

    on(loop, url, body)


def test_the_errors_of_a_lost_block_are_raised_beside_its_cancel(loop: str, url: str) -> None:
    """A block with tasks of its own ends by several errors. Those that aren't cancels stay."""

    async def fail_when_cancelled() -> NoReturn:
        try:
            await anyio.sleep(PATIENCE)
        finally:
            raise KeyError("mine")

    async def hold(store: aio.Store) -> None:
        async with (
            aio.Session.open(store, ttl=30) as session,
            aio.Lock(store, "l", session=session).hold(),
            anyio.create_task_group() as group,
        ):
            group.start_soon(fail_when_cancelled)
            await anyio.sleep(0)
            session.lease.mark_lost("the test says so")
            await anyio.sleep(PATIENCE)

    async def body(store: aio.Store) -> None:
        with pytest.raises(BaseExceptionGroup) as raised:
            await hold(store)
        assert raised.group_contains(KeyError)

    on(loop, url, body)


def test_a_scope_that_ends_in_a_block_gives_back_the_lock(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        with anyio.CancelScope() as scope:
            async with aio.Lock(store, "l").hold():
                scope.cancel()
                await anyio.sleep(PATIENCE)
        assert scope.cancelled_caught
        async with aio.Lock(store, "l").hold(timeout=PATIENCE):
            pass
        with anyio.move_on_after(0.02) as scope:
            async with aio.Lock(store, "l").hold(), aio.Lock(store, "l").hold():
                raise AssertionError
        assert scope.cancelled_caught
        await no_keys(store)

    on(loop, url, body)


def test_cancelled_calls_leave_nothing(loop: str, url: str) -> None:
    async def leased(store: aio.Store, number: int) -> None:
        async with store.lease(30) as lease:
            await store.put(f"leased/{number}", b"", lease=lease)
            await anyio.sleep(PATIENCE)

    async def body(store: aio.Store) -> None:
        async with aio.Lock(store, "warm").hold():
            pass  # all recipes of a store share the lease that it has from now on
        before = len(await store.leases())
        for number in range(20):
            with anyio.move_on_after(0.0005 * number):
                async with anyio.create_task_group() as group:
                    group.start_soon(leased, store, number)
                    group.start_soon(aio.Lock(store, "l").acquire)
                    group.start_soon(aio.Election(store, "e", candidate="me").campaign)
        # What was acquired in time is held by the session of the store, until that ends.
        await store.delete_prefix("tenure/")
        await no_keys(store)

        async def look() -> bool:
            return len(await store.leases()) <= before

        await until_true(look)
        await store.put("next", b"1")

    on(loop, url, body)


def test_elections_queues_and_what_is_done_once(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        async with aio.Election(store, "e", candidate="a").observe() as leaders:
            assert await leaders.next(PATIENCE) is None
            async with aio.Election(store, "e", candidate="a").lead(timeout=PATIENCE) as term:
                leader = await leaders.next(PATIENCE)
                assert leader is not None
                assert leader.token == term.token
        queue = aio.WorkQueue(store, "q")
        await queue.put(b"job")
        claim = await queue.claim(timeout=PATIENCE)
        assert claim is not None
        await claim.ack()
        ran: list[int] = []
        results: list[bytes] = []

        async def migrate(held: aio.Held) -> bytes:
            await anyio.sleep(0.001)
            ran.append(held.token)
            return b"done"

        async def once() -> None:
            results.append(await aio.once(store, "o", migrate))
            await aio.Counter(store, "c").add()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(once)
        assert (len(ran), results) == (1, [b"done"] * 3)
        assert await aio.Counter(store, "c").value() == 3

    on(loop, url, body)


def test_members_meet_share_and_hear_of_each_other(loop: str, url: str) -> None:
    async def meet(store: aio.Store) -> None:
        member = aio.DoubleBarrier(store, "d", count=3)
        await member.enter(timeout=PATIENCE)
        await member.leave(timeout=PATIENCE)

    async def body(store: aio.Store) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(meet, store)
        crew = aio.Group(store, "g")
        async with crew.join(member="a"):
            assert [one.name for one in await crew.members()] == ["a"]
        stopped: list[int] = []

        async def stop(partition: int, held: aio.Held) -> None:
            await anyio.sleep(0)
            stopped.append(partition)

        async with aio.Partitioner(store, "p", partitions=2, on_release=stop) as mine:
            await mine.wait(timeout=PATIENCE)
            assert list(mine.owned) == [0, 1]
        assert stopped == [0, 1]
        bus = aio.Bus(store, "b", codec=tenure.TEXT)
        async with bus.subscribe() as messages:
            await bus.publish("hello")
            assert (await messages.next(PATIENCE)).value == "hello"

    on(loop, url, body)


def test_settings_reload_and_a_key_comes_back(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        told: list[int] = []
        async with aio.CachedValue(store, "s", codec=tenure.JSON, default=1) as limit:
            limit.on_change(told.append)
            await limit.set(2)
            assert limit.value == 2
            await store.put("s", b"3")
            assert await limit.wait_for(lambda number: number == 3, timeout=PATIENCE) == 3

            async def heard() -> bool:
                return told[-1:] == [3]

            await until_true(heard)
        async with aio.PersistentKey(store, "up", b"1", ttl=30) as key:
            item = await store.get("up")
            assert item is not None
            assert item.lease_id is not None
            await store.revoke_lease(item.lease_id)
            session = key._kept._session
            assert session is not None
            session.lease.mark_lost("as the next refresh would tell")

            async def back() -> bool:
                return key.present and await store.get("up") is not None

            await until_true(back)

    on(loop, url, body)


def test_a_registry(loop: str, url: str) -> None:
    async def body(store: aio.Store) -> None:
        events: list[str] = []
        async with aio.Registry(store) as watching:
            watching.add_handler(lambda event: events.append(type(event).__name__))
            async with aio.Registry(store, instance=Instance("web", port=80)) as registry:
                assert registry.pick("web").port == 80
                assert (await watching.wait_for("web", timeout=PATIENCE))[0].port == 80

                async def heard() -> bool:
                    return bool(events)

                await until_true(heard)
        await no_keys(store)

    on(loop, url, body)


def test_a_loop_that_ends_closes_its_store(loop: str, url: str) -> None:
    stores: list[aio.Store] = []

    async def main() -> None:
        store = await aio.connect(url)
        stores.append(store)
        lease = await store.lease(30)
        await store.put("leased", b"", lease=lease)
        await store.watch("", callback=lambda batch: None)

    run(loop, main)
    assert stores[0].closed
    with tenure.connect(url) as after:
        assert after.get("leased") is None


def test_a_loop_that_ends_by_an_error_closes_its_store(loop: str, url: str) -> None:
    stores: list[aio.Store] = []

    async def follow(store: aio.Store) -> None:
        async with store.watch("") as watch:
            async for _ in watch:
                await store.put("a", b"")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            store = await aio.connect(url)
            stores.append(store)
            group.start_soon(follow, store)
            await anyio.sleep(0.01)
            raise KeyError("the application fails")

    with pytest.raises(BaseExceptionGroup) as raised:
        run(loop, main)
    assert raised.group_contains(KeyError)
    until(lambda: not threads(), what="no thread left")
    assert stores[0].closed


@pytest.mark.filterwarnings("error")
def test_a_close_that_is_cancelled_leaves_nothing(loop: str, url: str) -> None:
    stores: list[tenure.Store] = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with aio.connect(url) as store:
                stores.append(store._sync)
                scope.cancel()
        del store
        while not stores[0].closed:
            await anyio.sleep(0.005)
        gc.collect()
        await anyio.sleep(0.01)

    run(loop, main)


def test_a_closed_store_and_other_loops_are_refused(loop: str, url: str) -> None:
    async def main() -> None:
        store = await aio.connect(url)
        errors: list[BaseException] = []

        def elsewhere() -> None:
            async def get() -> None:
                with pytest.raises(InvalidArgument, match="another event loop") as raised:
                    await store.get("a")
                errors.append(raised.value)

            anyio.run(get, **LOOPS["trio" if loop == "asyncio" else "asyncio"])

        other = threading.Thread(target=elsewhere)
        other.start()
        while other.is_alive():
            await anyio.sleep(0.005)
        assert len(errors) == 1
        await store.close()
        with pytest.raises(StoreClosed):
            await store.get("a")

    run(loop, main)


def test_a_callback_that_raises_ends_no_loop(loop: str, url: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> NoReturn:
        raise KeyError("a callback")

    async def body(store: aio.Store) -> None:
        lease = await store.lease(30, on_lost=fail)
        lease.mark_lost("the test says so")
        await store.watch("", callback=fail)
        await store.put("a", b"")

        async def logged() -> bool:
            return "the callback of a watch raised" in caplog.text and "KeyError: 'a callback'" in caplog.text

        await until_true(logged)
        assert (await store.get("a")) is not None

    on(loop, url, body)


def test_a_library_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sniffio:
        class AsyncLibraryNotFoundError(Exception): ...

        @staticmethod
        def current_async_library() -> str:
            return "curio"

    monkeypatch.setitem(__import__("sys").modules, "sniffio", Sniffio)
    with pytest.raises(InvalidArgument, match="asyncio and trio, and not on that of curio"):
        aio.connect("memory://x").__await__().send(None)


def test_trio_may_be_a_guest_of_asyncio() -> None:
    """Then both loops run in one thread, and the store belongs to trio's."""
    import asyncio

    async def main() -> None:
        async with aio.connect("memory://guest") as store:
            await store.put("a", b"1")
            with trio.move_on_after(0.01):
                async with store.watch("zz") as watch:
                    async for _ in watch:
                        pass

    async def host() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        outcomes: list[Any] = []

        def done(outcome: Any) -> None:
            outcomes.append(outcome)
            ended.set()

        trio.lowlevel.start_guest_run(main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done)
        await ended.wait()
        outcomes[0].unwrap()

    asyncio.run(asyncio.wait_for(host(), PATIENCE))
