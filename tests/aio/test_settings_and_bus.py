"""Settings that reload and messages to all, on a loop; and cancels that lose nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

import tenure
from tenure import aio
from tenure.errors import (
    Compacted,
    DeadlineExceeded,
    InvalidArgument,
    InvalidKey,
    StoreClosed,
    StoreCorrupted,
    WaitTimeout,
)
from tenure_testkit.loops import face_of, run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import cancelled_at_each_request, gated, on


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def limit_of(store: aio.Store) -> aio.CachedValue[int]:
    return aio.CachedValue(store, "s/limit", codec=tenure.JSON, default=10, validate=lambda number: number > 0)


def test_a_value_follows_the_store(url: str) -> None:
    async def body(store: aio.Store) -> None:
        told: list[int] = []
        async with limit_of(store) as limit:
            limit.on_change(told.append)
            assert (limit.key, limit.value, limit.problem, limit.staleness) == ("s/limit", 10, None, 0.0)
            await limit.set(20)
            assert limit.value == 20
            with pytest.raises(InvalidArgument):
                await limit.set(-1)
            waiting = asyncio.create_task(limit.wait_for(lambda number: number == 30, timeout=PATIENCE))
            await asyncio.sleep(0)
            await store.put("s/limit", b"30")
            assert await waiting == 30
            await store.put("s/limit", b"-1")
            await until_async(lambda: limit.problem)
            assert limit.value == 30
            with pytest.raises(WaitTimeout):
                await limit.wait_for(lambda number: number == 40, timeout=0.01)
            with pytest.raises(ZeroDivisionError):
                await limit.wait_for(lambda number: number / 0)
            await until_async(lambda: told[-1:] == [30])
            assert limit.outage is None
        assert limit.closed
        assert limit.value == 30
        with pytest.raises(StoreClosed):
            await limit.wait_for(lambda number: number == 40)
        await limit.close()

    on(url, body)


def test_a_prefix_is_a_mapping(url: str) -> None:
    async def body(store: aio.Store) -> None:
        await store.put("s/a", b"1")
        settings = await aio.CachedPrefix(store, "s/", codec=tenure.TEXT)
        told: set[str] = set()
        settings.on_change(told.update)
        assert (settings.prefix, dict(settings), len(settings)) == ("s/", {"a": "1"}, 1)
        await settings.set("b", "2")
        assert settings["b"] == "2"
        await settings.delete("a")
        assert settings.snapshot() == {"b": "2"}
        await store.put("s/c", b"\xff")
        await until_async(lambda: settings.problems)
        assert list(settings.problems) == ["c"]
        assert await settings.wait_for(lambda values: len(values) == 1) == {"b": "2"}
        await until_async(lambda: told == {"a", "b"})
        with pytest.raises(InvalidKey):
            await settings.set("x" * 5000, "")
        await settings.close()
        assert await settings is settings  # open once, and it keeps its last values
        assert settings["b"] == "2"

    on(url, body)


def test_a_view_that_is_not_open_cannot_be_read() -> None:
    async def body(store: aio.Store) -> None:
        limit = limit_of(store)
        settings = aio.CachedPrefix(store, "s/", codec=tenure.TEXT)
        for read in (lambda: limit.value, lambda: limit.staleness, lambda: settings["a"], lambda: len(settings)):
            with pytest.raises(InvalidArgument, match="isn't open"):
                read()
        with pytest.raises(InvalidArgument, match="isn't open"):
            await limit.set(1)
        assert "not open" in repr(limit) + repr(settings)
        await limit.close()
        one, other = await asyncio.gather(limit._open(), limit._open())
        assert one is other is limit

    on("memory://unopened", body)


def test_a_slow_callback_gets_the_last_value_and_one_call_at_a_time() -> None:
    async def body(store: aio.Store) -> None:
        goes_on, told, inside = asyncio.Event(), list[int](), 0

        async def changed(number: int) -> None:
            nonlocal inside
            inside += 1
            assert inside == 1
            told.append(number)
            await goes_on.wait()
            inside -= 1
            if number == 1:
                raise ZeroDivisionError  # which is logged

        async with limit_of(store) as limit:
            limit.on_change(changed)
            for number in range(1, 6):
                await limit.set(number)
                await until_async(lambda: told)
            goes_on.set()
            await until_async(lambda: told == [1, 5])

    on("memory://slow-callback", body)


def test_a_view_whose_opening_is_cancelled_leaves_no_watch() -> None:
    async def main() -> None:
        sync, _ = gated()
        async with await face_of(sync) as store:
            for _ in range(10):
                opening = asyncio.ensure_future(limit_of(store)._open())
                await asyncio.sleep(random.random() * 0.002)
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
                if not opening.cancelled():
                    await opening.result().close()
            await until_async(lambda: not [one for one in sync._open_watches.live if not one.closed])

    run(main)


def test_the_first_value_has_a_time_limit() -> None:
    async def main() -> None:
        sync, _ = gated()
        async with await face_of(sync) as store:
            view = aio.CachedValue(store, "a", codec=tenure.TEXT, timeout=1e-9)
            with pytest.raises(DeadlineExceeded):
                await view
            assert not [one for one in sync._open_watches.live if not one.closed]

    run(main)


def test_each_consumer_gets_each_message(url: str) -> None:
    async def consume(messages: aio.recipes._bus.Subscription[str]) -> list[str]:  # type: ignore[name-defined]
        return [message.value async for message in messages]

    async def body(store: aio.Store) -> None:
        bus = aio.Bus(store, "b", codec=tenure.TEXT, max_messages=100)
        assert bus.name == "b"
        subscriptions = [await bus.subscribe() for _ in range(3)]
        reading = [asyncio.create_task(consume(one)) for one in subscriptions]
        positions = await asyncio.gather(*(bus.publish(f"m{number}") for number in range(10)))
        await until_async(lambda: {one.position for one in subscriptions} <= {max(positions, key=number_of)})
        for one in subscriptions:
            await one.close()
        first, *others = await asyncio.gather(*reading)
        assert sorted(first) == sorted(f"m{number}" for number in range(10))
        assert others == [first, first]
        async with bus.subscribe(after=bus.BEGINNING) as again:
            assert [(await again.next(PATIENCE)).value for _ in first] == first
            with pytest.raises(WaitTimeout):
                await again.next(0.01)
        async with bus.subscribe(after=subscriptions[0].position) as rest:
            with pytest.raises(WaitTimeout):
                await rest.next(0.01)
        with pytest.raises(InvalidArgument):
            bus.subscribe(after="?")
        with pytest.raises(InvalidArgument):
            await bus.publish(1)  # type: ignore[arg-type]

    on(url, body)


def number_of(position: str) -> int:
    return int(position.partition("-")[0])


def test_a_consumer_that_fell_behind_is_told_and_goes_on() -> None:
    async def body(store: aio.Store) -> None:
        bus = aio.Bus(store, "b", codec=tenure.JSON, max_messages=2)
        position = await bus.publish(0)
        for number in range(1, 4):
            await bus.publish(number)
        await aio.Bus(store, "b", codec=tenure.TEXT, max_messages=3).publish("no json")
        await bus.publish(5)
        async with bus.subscribe(after=position) as messages:
            with pytest.raises(Compacted):
                await messages.next(PATIENCE)
            with pytest.raises(StoreCorrupted):
                await messages.next(PATIENCE)
            assert (await messages.next(PATIENCE)).value == 5

    on("memory://behind", body)


def test_consumers_that_are_cancelled_lose_no_message(url: str) -> None:
    chance = random.Random(2)

    async def body(store: aio.Store) -> None:
        bus = aio.Bus(store, "b", codec=tenure.JSON)
        seen: list[int] = []
        async with bus.subscribe() as messages:

            async def consume() -> None:
                while True:
                    seen.append((await messages.next()).value)

            publishing = asyncio.gather(*(bus.publish(number) for number in range(30)))
            while len(seen) < 30:
                task = asyncio.create_task(consume())
                await asyncio.sleep(chance.random() * 0.005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()
            await publishing
        assert sorted(seen) == list(range(30))

    on(url, body)


def test_a_publish_that_is_cancelled_is_done_once_or_not_at_all() -> None:
    async def main() -> None:
        made: list[int] = []

        async def publish(store: aio.Store) -> None:
            made.append(len(made))
            await aio.Bus(store, "b", codec=tenure.JSON).publish(made[-1])

        async def clean(store: aio.Store) -> None:
            bus = aio.Bus(store, "b", codec=tenure.JSON)
            await bus.publish("end")
            async with bus.subscribe(after=bus.BEGINNING) as messages:
                seen = []
                while (value := (await messages.next(PATIENCE)).value) != "end":
                    seen.append(value)
                assert seen in ([], made[-1:])

        assert await cancelled_at_each_request(publish, clean) == 3

    run(main)


def test_a_write_that_was_undone_is_told_although_nobody_reads() -> None:
    async def body() -> None:
        clock = tenure.ManualClock()
        async with (
            aio.connect("memory://", clock=clock) as store,
            aio.CachedPrefix(store, "v/", codec=tenure.TEXT) as settings,
        ):
            told: list[frozenset[str]] = []
            settings.on_change(told.append)
            settings._view._lossless = False
            settings._view._wrote("v/a", b"own", (await store.put("other", b"")).revision)  # another deletes it at once
            await until_async(lambda: told == [{"a"}])
            clock.jump(60)
            await until_async(lambda: told == [{"a"}, {"a"}])
            assert "a" not in settings

    asyncio.run(body())
