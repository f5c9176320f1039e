"""The end of a loop, with whatever is left, leaves no thread and no warning; other loops and processes are refused."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import tenure
from tenure import aio
from tenure.errors import ConfigError, InvalidArgument, StoreClosed, UsedAfterFork
from tenure_testkit.loops import face_of, run, threads
from tenure_testkit.probes import forked
from tenure_testkit.waiting import PATIENCE, until

from .gates import gated


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_a_loop_that_ends_with_tasks_left_closes_the_store(url: str) -> None:
    ended: list[str] = []

    async def forever(store: aio.Store) -> None:
        try:
            async with store.watch("") as watch:
                async for _ in watch:
                    await store.put("a", b"1")
        finally:
            ended.append("task")

    async def main() -> aio.Store:
        store = await aio.connect(url)
        lease = await store.lease(30)
        await store.put("leased", b"1", lease=lease)
        for _ in range(3):
            store._bridge.kept = asyncio.create_task(forever(store))  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
        return store

    store = run(main)
    assert ended == ["task"] * 3
    assert store.closed


def test_a_store_that_nobody_refers_to_is_closed() -> None:
    sync, _ = gated()

    async def main() -> None:
        await (await face_of(sync)).get("a")

    run(main)
    assert sync.closed


def test_a_call_after_the_close_has_begun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sync, backend = gated()
    gate, close = threading.Event(), tenure.Store.close

    def slowly(self: tenure.Store, *, timeout: float | None = None) -> None:
        assert gate.wait(PATIENCE)
        close(self, timeout=timeout)

    monkeypatch.setattr(tenure.Store, "close", slowly)

    async def main() -> None:
        store = await face_of(sync)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreClosed):
            await store.get("a")
        assert not backend.begun
        gate.set()
        await closing

    run(main)


def test_closing_waits_for_what_runs_and_refuses_what_comes() -> None:
    sync, backend = gated()

    async def main() -> None:
        store = await face_of(sync)
        backend.gate.clear()
        reading = asyncio.create_task(store.get("a"))
        while not backend.begun:
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreClosed):
            await store.get("b")
        backend.gate.set()
        await closing
        assert not threads()
        with pytest.raises(StoreClosed):
            await reading
        await store.close()  # once more
        with pytest.raises(StoreClosed):
            await store.put("a", b"1")
        with pytest.raises(StoreClosed):
            store.transaction()

    run(main)


def test_a_cancelled_close_goes_on() -> None:
    sync, backend = gated()

    async def main() -> None:
        store = await face_of(sync)
        backend.gate.clear()
        reading = asyncio.create_task(store.get("a"))
        while not backend.begun:
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        backend.gate.set()
        await store.close()
        assert sync.closed
        assert not threads()
        with pytest.raises(StoreClosed):
            await reading

    run(main)


def test_another_loop_and_another_thread_are_refused(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url) as store:
            watch = await store.watch("")
            errors: list[BaseException] = []

            async def elsewhere() -> None:
                calls: list[Callable[[], object]] = [
                    lambda: store.get("a"),
                    store.close,
                    lambda: watch.next(0),
                ]
                for call in calls:
                    with pytest.raises(InvalidArgument, match="another event loop") as raised:
                        await call()  # type: ignore[misc]
                    errors.append(raised.value)

            thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
            thread.start()
            thread.join(PATIENCE)
            assert len(errors) == 3
            with pytest.raises(InvalidArgument, match="another event loop"):
                await asyncio.to_thread(store.transaction)

    run(main)


def test_a_child_is_refused(url: str) -> None:
    store = None

    async def opened() -> None:
        nonlocal store
        store = await aio.connect(url)

        def ask() -> None:
            with pytest.raises(UsedAfterFork):
                store.get("a").send(None)

        assert forked(ask) == ""
        await store.close()

    run(opened)


def test_an_attempt_to_connect_that_fails_leaves_nothing() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError):
            await aio.connect("memory://x?nothing=1")
        with pytest.raises(ConfigError):
            async with aio.connect("nosuch://x"):
                pass
        assert not threads()

    run(main)


def test_a_cancelled_connect_closes_what_it_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, opened = threading.Event(), []
    connect = tenure.connect

    def slowly(*args: object, **kwargs: object) -> tenure.Store:
        assert gate.wait(PATIENCE)
        opened.append(connect(*args, **kwargs))  # type: ignore[arg-type]
        return opened[0]

    monkeypatch.setattr("tenure._client.opening.connect", slowly)

    async def main() -> None:
        connecting = asyncio.ensure_future(aio.connect(url).__aenter__())
        while not threads():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        gate.set()
        while not (opened and opened[0].closed):
            await asyncio.sleep(0.001)

    run(main)


def test_ctrl_c_leaves_no_thread_and_no_warning(url: str) -> None:
    program = textwrap.dedent(f"""
        import asyncio, threading
        from tenure import aio

        async def work(store):
            while True:
                await store.put("a", b"1")
                await asyncio.sleep(0)

        async def main():
            asyncio.get_running_loop().slow_callback_duration = {PATIENCE}  # the machine may be busy
            store = await aio.connect({url!r})
            lease = await store.lease(30)
            tasks = [asyncio.create_task(work(store)) for _ in range(3)]
            async with store.watch("") as watch:
                print("ready", flush=True)
                async for batch in watch:
                    pass

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print(sorted(t.name for t in threading.enumerate() if t.name.startswith("tenure-aio")), flush=True)
    """)
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert (out, err, child.returncode) == ("[]\n", "", 0)


@pytest.mark.filterwarnings("ignore:coroutine method 'aclose'")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_closed_before_its_store_leaves_no_lock_held(url: str) -> None:
    """Nothing is told to the store then, as ``asyncio.run`` would: it finds out as it refreshes its leases."""

    async def hold() -> aio.Store:
        store = await aio.connect(url, timeout=PATIENCE)
        session = await aio.Session.open(store, ttl=1.0)
        await aio.Lock(store, "l", session=session).acquire()
        return store

    with tenure.connect(url, timeout=PATIENCE) as other:
        loop = asyncio.new_event_loop()
        store = loop.run_until_complete(hold())
        loop.close()
        assert tenure.Lock(other, "l").acquire(timeout=PATIENCE).release()
        until(lambda: store.closed)
    until(lambda: not threads())


@pytest.mark.filterwarnings("ignore:coroutine method 'aclose'")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_closed_before_its_watch_leaves_no_thread(url: str) -> None:
    """It finds out as there is something to tell."""

    async def follow() -> tuple[aio.Store, aio.Watch]:
        store = await aio.connect(url, timeout=PATIENCE)
        watch = await store.watch("a")
        while (batch := await watch.next(PATIENCE)) is not None and batch.type != "synced":
            pass
        return store, watch

    with tenure.connect(url, timeout=PATIENCE) as other:
        loop = asyncio.new_event_loop()
        store, watch = loop.run_until_complete(follow())
        loop.close()
        until(lambda: other.put("a", b"1") and store.closed)
        assert watch.closed
    until(lambda: not threads())
