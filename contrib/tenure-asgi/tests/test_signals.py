"""A signal: what comes before the server's own handler, and when the chain stays out of the way."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from asgi_driver import Server, greet, until
from tenure_asgi import Lifespan, TenureMiddleware

from tenure import aio
from tenure.registry import Instance
from tenure_testkit.servers.ports import free_port


@pytest.fixture
def passed_on() -> Iterator[list[int]]:
    """What a server's own handler of SIGTERM and SIGINT was called with."""
    numbers: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def run(url: str, body: object, **times: float) -> None:
    async def main() -> None:
        port = free_port()
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        lifespan = Lifespan(url, Instance("web", host="127.0.0.1", port=port), **times)
        async with server, Server(TenureMiddleware(greet, lifespan)):
            await until(lambda: lifespan.not_ready() == [], "ready")
            await body(lifespan)

    asyncio.run(main())


def test_the_servers_handler_is_called_once_the_entry_is_gone(passed_on: list[int]) -> None:
    async def body(lifespan: Lifespan) -> None:
        async with aio.connect("memory://before") as store:
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: "draining" in str(lifespan.registry.get_services()), "draining")
            assert passed_on == []
            await until(lambda: passed_on, "the server's handler")
            assert passed_on == [signal.SIGTERM]
            assert [item.key async for item in store.scan()] == []

    run("memory://before", body, drain_wait=0.1)
    assert passed_on == [signal.SIGTERM], "and not again at the shutdown"


def test_a_second_sigint_is_passed_on_at_once_and_a_second_sigterm_is_not(passed_on: list[int]) -> None:
    async def body(lifespan: Lifespan) -> None:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert passed_on == [signal.SIGINT]
        await until(lambda: len(passed_on) > 1, "the first signal")
        assert passed_on == [signal.SIGINT, signal.SIGTERM]

    run("memory://twice", body, drain_wait=0.1)


def test_the_servers_handlers_are_put_back(passed_on: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def body(_lifespan: Lifespan) -> None:
        assert signal.getsignal(signal.SIGTERM) != before

    run("memory://back", body, drain_wait=0)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_handler_that_was_set_later_stays(passed_on: list[int]) -> None:
    async def body(_lifespan: Lifespan) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    run("memory://stays", body, drain_wait=0)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_handlers_of_the_loop_are_left_alone_and_the_limit_is_told(
    passed_on: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        told = []
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.append, "the loop's")
        async with Lifespan("memory://loop"):
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: told)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    asyncio.run(main())
    assert "on its event loop" in caplog.text


def test_without_a_server_no_signal_is_handled() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert before[0] == signal.SIG_DFL

    async def main() -> None:
        interrupt = signal.getsignal(signal.SIGINT)
        async with Lifespan("memory://none"):
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == (before[0], interrupt)

    asyncio.run(main())


def test_on_a_thread_and_on_request_no_signal_is_handled(passed_on: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    async def main(**options: bool) -> None:
        async with Lifespan("memory://thread", **options):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    asyncio.run(main(handle_signals=False))
    assert seen == [before, before]
