"""A cancelled call: nothing is half, nothing comes later, and the next call works."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import Store, aio
from tenure.aio import _calls
from tenure.errors import Unavailable
from tenure_testkit.loops import face_of, run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import GatedBackend, gated

Body = Callable[[aio.Store, GatedBackend], Coroutine[Any, Any, None]]


def on_gates(body: Body) -> None:
    """Run ``body`` on a store with gates."""
    sync, backend = gated()

    async def main() -> None:
        try:
            async with await face_of(sync) as store:
                await body(store, backend)
        finally:
            backend.gate.set()

    run(main)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def begun(backend: GatedBackend, calls: int = 1) -> None:
    await until_async(lambda: len(backend.begun) >= calls, "the call has begun")


def test_what_is_queued_is_never_run() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        busy = [asyncio.create_task(store.get("a")) for _ in range(_calls._MOST_THREADS)]
        await begun(backend, len(busy))
        queued = asyncio.create_task(store.put("a", b"1"))
        await asyncio.sleep(0)
        await cancelled(queued)
        backend.gate.set()
        assert await asyncio.gather(*busy) == [None] * len(busy)
        assert await store.get("a") is None
        assert "commit" not in backend.begun

    on_gates(body)


def test_a_write_under_way_is_finished() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        writing = asyncio.create_task(store.put("a", b"1"))
        await begun(backend)
        await cancelled(writing)
        backend.gate.set()
        while (item := await store.get("a")) is None:
            await asyncio.sleep(0.001)
        assert item.value == b"1"

    on_gates(body)


def test_a_timeout_of_asyncio_leaves_the_store_usable() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await store.get("a")
        backend.gate.set()
        assert await store.get("a") is None

    on_gates(body)


def test_the_loop_goes_on_while_all_workers_wait_for_the_store() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        stuck = [asyncio.create_task(store.get("a")) for _ in range(100)]
        await begun(backend, _calls._MOST_THREADS)
        for _ in range(50):  # the gate opens after this, so a loop that waited would never get there
            await asyncio.sleep(0.001)
        assert len(backend.begun) == _calls._MOST_THREADS
        assert not any(task.done() for task in stuck)
        backend.gate.set()
        assert await asyncio.gather(*stuck) == [None] * 100

    on_gates(body)


def test_a_lease_that_nobody_gets_is_revoked() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        taking = asyncio.create_task(store.lease(30).__aenter__())
        await begun(backend)
        await cancelled(taking)
        backend.gate.set()
        await until_async(lambda: not backend.leases(None, timeout=1.0) and len(backend.begun) == 1)

    on_gates(body)


def test_a_lease_that_comes_together_with_the_cancel_is_revoked() -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        calls = store._bridge.calls
        deliver = calls._deliver

        def delivered() -> None:
            deliver()
            taking.cancel()  # its result is there, and the task has not seen it

        calls._deliver = delivered  # type: ignore[method-assign]
        taking = asyncio.ensure_future(store.lease(30).__aenter__())
        with pytest.raises(asyncio.CancelledError):
            await taking
        calls._deliver = deliver  # type: ignore[method-assign]
        assert backend.begun == ["grant"]
        await until_async(lambda: not backend.leases(None, timeout=1.0))

    on_gates(body)


def test_an_error_that_nobody_waits_for_is_no_error_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        reading = asyncio.create_task(store.get("a"))
        await begun(backend)
        await cancelled(reading)
        backend.close()
        with caplog.at_level("INFO", logger="tenure.aio"):
            backend.gate.set()
            await until_async(lambda: "failed in the background" in caplog.text)

    on_gates(body)


def test_the_error_of_a_call_arrives_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    error = Unavailable("the server is away")

    def failing(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(Store, "delete", failing)
    sync, _ = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            with pytest.raises(Unavailable) as raised:
                await store._call(lambda: sync.delete("a"))
            assert raised.value is error

    run(main)


@pytest.mark.parametrize("seed", range(2))
def test_random_cancellations_leave_nothing(tmp_path: Path, seed: int) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    chance = random.Random(seed)

    async def leased(store: aio.Store) -> None:
        async with store.lease(30) as lease:
            await store.put("leased", b"1", lease=lease)

    async def watched(store: aio.Store) -> None:
        async with store.watch("") as watch:
            for _ in range(3):
                await watch.next(0.01)

    async def main() -> None:
        async with aio.connect(url) as store:
            works: list[Callable[[], Coroutine[Any, Any, object]]] = [
                lambda: store.get("a"),
                lambda: store.put("a", b"1"),
                store.list,
                lambda: leased(store),
                lambda: watched(store),
                lambda: store.transaction().put("b", b"1").commit(),
            ]
            tasks = []
            for _ in range(100):
                tasks.append(asyncio.create_task(chance.choice(works)()))
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.random() * 0.003)
                chance.choice(tasks).cancel()
            for task in tasks:
                if chance.random() < 0.7:
                    task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [end for end in ends if isinstance(end, Exception)]
            assert (await store.put("a", b"2")).revision
            assert (await store.get("a")).value == b"2"  # type: ignore[union-attr]
        with tenure.connect(url) as after:
            assert not after.leases()
            assert after.get("leased") is None

    run(main)


def test_a_cancel_that_comes_as_the_result_is_delivered_keeps_no_other_task_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio cancels the main task of a program in the handler of Ctrl-C: between any two instructions of the loop."""

    class Interrupted(asyncio.Future[None]):
        def set_result(self, result: None) -> None:
            if armed:
                armed.pop()
                self.cancel()
            super().set_result(result)

    armed: list[None] = []

    async def body(store: aio.Store, backend: GatedBackend) -> None:
        backend.gate.clear()
        with monkeypatch.context() as patch:
            patch.setattr(store._bridge.calls.loop, "waiter", Interrupted)
            reading = [asyncio.create_task(store.get("a")) for _ in range(2)]
            await asyncio.sleep(0)
        await begun(backend, 2)
        armed.append(None)
        calls = store._bridge.calls
        calls._told = True  # both results are delivered at once
        backend.gate.set()
        await until_async(lambda: len(calls._finished) == 2)
        calls._deliver()
        ends = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), PATIENCE)
        assert [type(end) for end in ends].count(asyncio.CancelledError) == 1
        assert None in ends

    on_gates(body)
