"""The lifespan of an application: when its instance is registered, what it finds open, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgi_driver import Server, greet, until
from tenure_asgi import Lifespan, TenureMiddleware

import tenure
from tenure import ConfigError, StoreClosed, aio
from tenure.registry import Instance, Registry, Status, encode, key_of
from tenure_testkit.servers.ports import free_port


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with server:
        yield


def local(port: int, **fields: Any) -> Instance:
    return Instance("web", host="127.0.0.1", port=port, **fields)


def test_the_instance_is_registered_once_the_server_listens() -> None:
    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://listens", local(port))
        async with Server(TenureMiddleware(greet, lifespan)):
            await asyncio.sleep(0.1)  # long enough for several attempts to connect
            assert lifespan.registry.current() is None
            assert lifespan.not_ready() == [f"the server doesn't listen on port {port} yet"]
            async with listening(port):
                await until(lambda: lifespan.not_ready() == [], "ready")
                assert lifespan.registry.pick("web").port == port

    asyncio.run(main())


def test_a_server_that_never_listens_is_reported_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://late", local(port), listen_timeout=0.05)
        async with Server(TenureMiddleware(greet, lifespan)):
            await until(lambda: "doesn't listen on port" in caplog.text, "the error")
            async with listening(port):
                await until(lambda: lifespan.not_ready() == [], "ready")

    asyncio.run(main())


def test_a_server_on_the_loopback_alone_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        port = free_port()
        elsewhere = Instance("web", host="127.0.0.9", port=port)  # of this machine, and nothing listens there
        lifespan = Lifespan("memory://loopback", elsewhere)
        async with listening(port), Server(TenureMiddleware(greet, lifespan)):
            await until(lambda: lifespan.not_ready() == [], "ready")
        assert f"listens at 127.0.0.1:{port} and not at 127.0.0.9:{port}" in caplog.text

    asyncio.run(main())


def test_an_instance_of_a_crashed_process_with_the_same_id_is_waited_for() -> None:
    async def main() -> None:
        port = free_port()
        instance = local(port, id="fixed")
        async with aio.connect("memory://crashed") as store, listening(port):
            await store.put(key_of("/registry/default/", instance), encode(instance))
            lifespan = Lifespan("memory://crashed", instance)
            async with Server(TenureMiddleware(greet, lifespan)):
                await until(lambda: "exists already" in str(lifespan.not_ready()), "the first refusal")
                await store.delete(key_of("/registry/default/", instance))
                await until(lambda: lifespan.not_ready() == [], "ready")

    asyncio.run(main())


def test_the_shutdown_deregisters_and_closes_everything() -> None:
    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://shutdown", local(port))
        async with aio.connect("memory://shutdown") as store, listening(port):
            async with Server(TenureMiddleware(greet, lifespan)):
                await until(lambda: lifespan.not_ready() == [], "ready")
                registry, own = lifespan.registry, lifespan.store
            assert [item.key async for item in store.scan()] == []
            assert registry.status is Status.CLOSED
            assert own.closed
        with pytest.raises(StoreClosed):
            _ = lifespan.store
        with pytest.raises(StoreClosed):
            _ = lifespan.registry

    asyncio.run(main())


def test_it_can_be_opened_again_and_not_twice_at_a_time() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://again")
        for _ in range(2):
            async with lifespan:
                assert lifespan.not_ready() == []
                with pytest.raises(ConfigError, match="one server at a time"):
                    await lifespan.open()
            assert lifespan.not_ready() == ["not started"]
            await lifespan.close()

    asyncio.run(main())


def test_two_servers_that_open_it_at_the_same_time_do_not_share_it() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://both")
        opened = await asyncio.gather(lifespan.open(), lifespan.open(), return_exceptions=True)
        assert [type(each) for each in opened] == [type(None), ConfigError]
        await lifespan.close()

    asyncio.run(main())


def test_a_cancelled_close_goes_on() -> None:
    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://cut", local(port))
        async with listening(port):
            await lifespan.open()
            lifespan.register_soon()
            await until(lambda: lifespan.not_ready() == [], "ready")
            store = lifespan.store
            for _ in range(2):
                closing = asyncio.create_task(lifespan.close())
                await asyncio.sleep(0)
                closing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await closing
            await lifespan.close()
            with pytest.raises(StoreClosed):
                await store.get("a")
            await lifespan.open()
            assert not (await lifespan.store.list("/registry/")).keys
            await lifespan.close()

    asyncio.run(main())


def test_the_lifespan_inside_finds_the_store_open_from_its_startup_to_its_shutdown() -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await scope["state"]["tenure"].store.put("started", b"")
        scope["state"]["own"] = "state of the application"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        seen.append((await scope["state"]["tenure"].store.get("started")).key)
        seen.append(scope["state"]["tenure"].registry.current())
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://inside", local(port))
        async with listening(port), Server(TenureMiddleware(app, lifespan)) as server:
            assert server.state["own"] == "state of the application"
            await until(lambda: lifespan.not_ready() == [], "ready")
        assert seen == ["started", None], "the instance is deregistered before its application shuts down"

    asyncio.run(main())


def test_a_startup_inside_that_fails_is_told_and_leaves_nothing_open() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no licence"})
        raise RuntimeError("no licence")

    async def main() -> None:
        lifespan = Lifespan("memory://fails")
        failure = await Server(TenureMiddleware(app, lifespan)).start()
        assert failure == {"type": "lifespan.startup.failed", "message": "no licence"}
        with pytest.raises(StoreClosed):
            _ = lifespan.store

    asyncio.run(main())


def test_a_shutdown_inside_that_fails_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "left something"})

    async def main() -> None:
        server = Server(TenureMiddleware(app, Lifespan("memory://fails-late")))
        await server.start()
        assert await server.shut_down() == {"type": "lifespan.shutdown.failed", "message": "left something"}

    asyncio.run(main())


def test_a_shutdown_inside_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    cancelled = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        lifespan = Lifespan("memory://hangs", stop_timeout=0.4, drain_wait=0)
        async with Server(TenureMiddleware(app, lifespan)):
            pass
        assert cancelled == [True]
        assert "took longer than" in caplog.text

    asyncio.run(main())


def test_a_store_that_cannot_be_opened_fails_the_startup_with_the_reason(tmp_path: Path) -> None:
    async def main() -> None:
        lifespan = Lifespan(f"sqlite://{tmp_path}/no/such/folder/store.db")
        failure = await Server(TenureMiddleware(greet, lifespan)).start()
        assert failure["type"] == "lifespan.startup.failed"
        assert "no/such/folder" in failure["message"]

    asyncio.run(main())


def test_a_function_that_makes_no_instance_fails_the_startup_with_the_reason() -> None:
    def broken() -> Instance:
        raise KeyError("PORT")

    async def main() -> None:
        failure = await Server(TenureMiddleware(greet, Lifespan("memory://broken", broken))).start()
        assert failure == {"type": "lifespan.startup.failed", "message": "starting: KeyError('PORT')"}

    asyncio.run(main())


def test_an_instance_made_before_a_fork_gets_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        port = free_port()
        instance = local(port)
        monkeypatch.setattr(os, "getpid", lambda: -1)  # in the parent process
        forked, made_here = Lifespan("memory://forked", instance), Lifespan("memory://forked", lambda: instance)
        monkeypatch.undo()
        ids = []
        for lifespan in (forked, made_here):
            async with listening(port), lifespan:
                await until(lambda lifespan=lifespan: lifespan.not_ready() == [], "ready")
                ids.append(lifespan.registry.pick("web").id)
        assert ids[0] != instance.id
        assert ids[1] == instance.id

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong", [{"stop_timeout": 0}, {"listen_timeout": -1}, {"drain_wait": -1}, {"drain_wait": 3}, {"stop_timeout": 2}]
)
def test_times_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    if wrong == {"stop_timeout": 2}:
        wrong = {"stop_timeout": 2, "drain_wait": 0.5}
    with pytest.raises(ConfigError, match="making a lifespan"):
        Lifespan("memory://wrong", **wrong)


def test_a_store_that_does_not_answer_delays_the_end_by_no_more_than_the_stop_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"

    async def main() -> None:
        port = free_port()
        lifespan = Lifespan(f"sqlite://{path}", local(port), stop_timeout=2.0, drain_wait=0.2)
        async with listening(port):
            server = Server(TenureMiddleware(greet, lifespan))
            await server.start()
            await until(lambda: lifespan.not_ready() == [], "ready")
            frozen = sqlite3.connect(path, isolation_level=None)
            frozen.execute("BEGIN IMMEDIATE")  # no writer gets its turn until this one is done
            began = time.monotonic()
            await lifespan.drain()
            await server.shut_down()
            took = time.monotonic() - began
            frozen.close()
        assert 0.6 < took < 2.0, "two calls that had a fifth of the time each, or a little less"
        assert "draining the instance: not" in caplog.text
        assert "deregistering the instance: not" in caplog.text

    caplog.set_level(logging.DEBUG)
    asyncio.run(main())


def test_drain_is_seen_by_others_before_the_entry_goes() -> None:
    async def main() -> None:
        port = free_port()
        lifespan = Lifespan("memory://drain", local(port), drain_wait=0.2)
        with tenure.connect("memory://drain") as store, Registry(store) as others:
            seen: list[tuple[str, str]] = []
            others.add_handler(lambda event: seen.append((event.type, event.instance.status)))
            async with listening(port), Server(TenureMiddleware(greet, lifespan)):
                await until(lambda: lifespan.not_ready() == [], "ready")
                await asyncio.gather(lifespan.drain(), lifespan.drain())
                assert lifespan.not_ready() == ["stopping", "the instance is not registered: idle"]
            await until(lambda: len(seen) == 3, "three events")
            assert seen == [("create", "ready"), ("upsert", "draining"), ("delete", "draining")]

    asyncio.run(main())
