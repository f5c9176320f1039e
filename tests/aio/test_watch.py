"""Watches on a loop: no thread for each, no batch lost by a cancel, the bound of the buffer, breaks that heal."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from tenure import Batch, BatchType, aio
from tenure.errors import InvalidArgument, InvalidKey, StoreClosed, TenureError, Unavailable
from tenure_testkit.loops import face_of, run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import GatedBackend, gated


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


async def changes(watch: aio.Watch, count: int) -> list[str]:
    """The keys of the next changes."""
    keys: list[str] = []
    while len(keys) < count:
        batch = await watch.next(PATIENCE)
        assert batch is not None
        if batch.type is BatchType.CHANGES:
            keys += [event.key for event in batch.events]
    return keys


def test_changes_come_in_order_and_a_timeout_is_none(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store, store.watch("w/") as watch:
            assert [(await watch.next(PATIENCE)).type for _ in range(2)] == [  # type: ignore[union-attr]
                BatchType.SNAPSHOT,
                BatchType.SYNCED,
            ]
            assert await watch.next(0.01) is None
            for number in range(50):
                await store.put(f"w/{number}", b"")
            assert await changes(watch, 50) == [f"w/{number}" for number in range(50)]
            assert watch.staleness == 0.0
            assert watch.outage is None

    run(main)


def test_a_thousand_watches_add_no_thread(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store:
            first = await store.watch("w/")
            await changes_begin(first)
            before = threading.active_count()
            watches = [await store.watch("w/") for _ in range(200 if url.startswith("sqlite") else 999)]
            reading = [asyncio.create_task(changes(watch, 1)) for watch in watches]
            await store.put("w/1", b"")
            assert await asyncio.gather(*reading) == [["w/1"]] * len(watches)
            assert threading.active_count() <= before + 1

    run(main)


async def changes_begin(watch: aio.Watch) -> None:
    while (batch := await watch.next(PATIENCE)) is not None and batch.type is not BatchType.SYNCED:
        pass


def test_a_cancelled_reader_loses_no_batch(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store, store.watch("w/") as watch:
            seen: list[str] = []
            for number in range(100):
                reading = asyncio.create_task(changes(watch, 1))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                writing = asyncio.create_task(store.put(f"w/{number}", b""))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                if reading.cancel():
                    await asyncio.wait([reading])
                else:
                    seen += reading.result()
                await writing
            seen += await changes(watch, 100 - len(seen))
            assert seen == [f"w/{number}" for number in range(100)]

    run(main)


def test_a_slow_reader_is_resynced() -> None:
    sync, _ = gated()

    async def main() -> None:
        async with await face_of(sync) as store, store.watch("w/", max_pending=5) as watch:
            await changes_begin(watch)
            for number in range(20):
                await store.put(f"w/{number}", b"")
            batch = await watch.next(PATIENCE)
            assert batch is not None
            assert batch.type is BatchType.RESYNC
            assert len(batch.events) == 20

    run(main)


def failing_feeds(backend: GatedBackend, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[TenureError]]:
    """Keep the sinks of feeds. Each error in the second list is raised instead of opening a feed."""
    sinks: list[Any] = []
    errors: list[TenureError] = []
    watch = backend.watch

    def opened(request: Any, *, sink: Any, timeout: float) -> Any:
        if errors:
            raise errors.pop()
        sinks.append(sink)
        return watch(request, sink=sink, timeout=timeout)

    monkeypatch.setattr(backend, "watch", opened)
    return sinks, errors


@pytest.mark.parametrize("immediate", [False, True])
def test_a_break_heals_and_nothing_is_skipped(monkeypatch: pytest.MonkeyPatch, immediate: bool) -> None:
    sync, backend = gated()
    sinks, errors = failing_feeds(backend, monkeypatch)
    outages: list[TenureError | None] = []
    told: list[str] = []
    monkeypatch.setattr(GatedBackend, "immediate", immediate)

    async def main() -> None:
        async with await face_of(sync) as store, store.watch("w/") as watch:
            await changes_begin(watch)
            errors.extend([Unavailable("the server is away")] * 2)
            sinks[0].fail(Unavailable("the connection broke"))
            reading = asyncio.create_task(changes(watch, 1))
            await until_async(lambda: len(sinks) == 2)
            await store.put("w/1", b"")
            assert await reading == ["w/1"]
            assert watch.outage is None
            await store.watch(
                "w/",
                callback=lambda batch: told.extend(event.key for event in batch.events),
                on_outage=outages.append,
            )
            await until_async(lambda: told)
            errors.append(Unavailable("the server is away"))
            sinks[2].fail(Unavailable("the connection broke"))
            await until_async(lambda: len(sinks) == 4)
            await store.put("w/2", b"")
            await until_async(lambda: told == ["w/1", "w/2"])

    run(main)
    assert [None if error is None else type(error) for error in outages] == [Unavailable, None]


def test_a_reader_that_is_cancelled_while_the_watch_connects_can_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sync, backend = gated()
    sinks, _ = failing_feeds(backend, monkeypatch)
    gate, opened = threading.Event(), backend.watch

    def slowly(request: Any, *, sink: Any, timeout: float) -> Any:
        if sinks:
            assert gate.wait(PATIENCE)
        return opened(request, sink=sink, timeout=timeout)

    monkeypatch.setattr(backend, "watch", slowly)

    async def main() -> None:
        async with await face_of(sync) as store, store.watch("w/") as watch:
            await changes_begin(watch)
            sinks[0].fail(Unavailable("the connection broke"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await watch.next()
            assert watch._mending
            assert await watch.next(0.01) is None
            gate.set()
            await store.put("w/1", b"")
            batch = await watch.next(PATIENCE)
            assert batch is not None
            assert [event.key for event in batch.events] == ["w/1"]

    run(main)


def test_closing_ends_the_iteration(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store:
            watch = await store.watch("w/")
            types: list[BatchType] = []

            async def read() -> None:
                types.extend([batch.type async for batch in watch])

            reading = asyncio.create_task(read())
            await asyncio.sleep(0.01)
            await watch.close()
            await watch.close()
            await reading
            assert watch.closed
            assert types == [BatchType.SNAPSHOT, BatchType.SYNCED]
            with pytest.raises(StoreClosed):
                await watch.next()
            last = await store.watch("w/")
        with pytest.raises(StoreClosed):
            await last.next()
        await last.close()

    run(main)


def test_a_watch_that_is_dropped_ends() -> None:
    sync, _ = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            async for batch in store.watch("w/"):
                assert batch.type is BatchType.SNAPSHOT
                break
            await store.watch("w/")
            await asyncio.sleep(0)
            gc.collect()
            await until_async(lambda: not list(sync._open_watches.live))

    run(main)


def test_one_task_reads_at_a_time(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store, store.watch("w/") as watch:
            await changes_begin(watch)
            reading = asyncio.create_task(watch.next())
            await asyncio.sleep(0)
            with pytest.raises(InvalidArgument, match="another task"):
                await watch.next()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await watch.next(0.01) is None

    run(main)


def test_callbacks_run_on_the_loop_and_what_they_raise_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, threading.Thread]] = []
    lost: list[tuple[aio.Lease, threading.Thread]] = []

    def callback(batch: Batch) -> None:
        seen.extend((event.key, threading.current_thread()) for event in batch.events)
        raise ZeroDivisionError

    async def main() -> None:
        async with aio.connect(url) as store:
            await store.watch("w/", callback=callback)
            gc.collect()
            await store.put("w/1", b"")
            await until_async(lambda: seen)
            await store.put("w/2", b"")
            await until_async(lambda: len(seen) == 2)
            lease = await store.lease(30, on_lost=lambda lease: lost.append((lease, threading.current_thread())))
            lease.mark_lost("the test says so")
            await until_async(lambda: lost == [(lease, threading.main_thread())])

    run(main)
    assert seen == [("w/1", threading.main_thread()), ("w/2", threading.main_thread())]
    assert "ZeroDivisionError" in caplog.text


def test_async_callbacks_are_awaited(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """In order, and one at a time; what they raise is logged."""
    told: list[str] = []

    async def callback(batch: Batch) -> None:
        for event in batch.events:
            told.append(f"begin {event.key}")
            await asyncio.sleep(0)
            told.append(f"end {event.key}")
            raise ZeroDivisionError

    async def outage(error: TenureError | None) -> None:
        await asyncio.sleep(0)
        told.append(f"outage {error}")

    async def lost(*_lease: aio.Lease) -> None:
        await asyncio.sleep(0)
        told.append("lost")

    async def main() -> None:
        async with aio.connect(url) as store:
            watch = await store.watch("w/", callback=callback, on_outage=outage)
            await store.put("w/1", b"")
            await store.put("w/2", b"")
            await until_async(lambda: len(told) == 4)
            watch._signal.outage(None)
            await until_async(lambda: len(told) == 5)
            lease = await store.lease(30, on_lost=lost)
            lease.mark_lost("the test says so")
            await until_async(lambda: len(told) == 6)
            held = await aio.Lock(store, "l").acquire()
            held.on_lost(lost)
            held.session.lease.mark_lost("the test says so")
            await until_async(lambda: len(told) == 7)

    run(main)
    assert told == ["begin w/1", "end w/1", "begin w/2", "end w/2", "outage None", "lost", "lost"]
    assert caplog.text.count("ZeroDivisionError") >= 2


def test_bad_arguments_are_refused(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store:
            with pytest.raises(InvalidKey):
                await store.watch("\0")
            with pytest.raises(InvalidArgument):
                await store.lease(-1)
            with pytest.raises(InvalidArgument):
                store.scan(page_size=0)
            with pytest.raises(InvalidArgument):
                store.lease(30, on_lost="text")  # type: ignore[arg-type]
            with pytest.raises(InvalidArgument):
                store.watch("", callback="text")  # type: ignore[arg-type]

    run(main)
