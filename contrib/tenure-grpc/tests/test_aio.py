"""The channel for asyncio: the same rules, and what cancellation does."""

from __future__ import annotations

import asyncio
import threading

import grpc
import grpc.aio
import pytest
from shop_servers import COUNT, ECHO, GET, SUM, ShopServer
from tenure_grpc.aio import TenureChannel

import tenure
from tenure.registry import Registry
from tenure_testkit.waiting import PATIENCE

T = PATIENCE


async def until(probe: object, what: str) -> None:
    try:
        async with asyncio.timeout(T):
            while not probe():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {T:g} s: {what}") from None


def unavailable(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")


def run(body: object) -> None:
    asyncio.run(body())


async def crash(channel: TenureChannel, server: ShopServer) -> None:
    """End a server, and wait until the channel has noticed: a call meanwhile would be in doubt."""
    await asyncio.to_thread(server.crash)
    known = channel._connections._by_address[server.instance.address].channel
    await until(lambda: known.get_state() is not grpc.ChannelConnectivity.READY, "the broken connection is noticed")


def test_calls_of_each_kind_go_round_the_instances(registry: Registry, first: ShopServer, second: ShopServer) -> None:
    async def body() -> None:
        async with TenureChannel(registry, "shop") as channel:
            get, count = channel.unary_unary(GET), channel.unary_stream(COUNT)
            total, echo = channel.stream_unary(SUM), channel.stream_stream(ECHO)
            both = {first.name, second.name}
            assert {await get(b"", timeout=T) for _ in range(4)} == both
            assert {answer for _ in range(4) async for answer in count(b"2", timeout=T)} == both
            assert {await total(iter([b"1", b"2"]), timeout=T) for _ in range(4)} == both
            assert {answer for _ in range(4) async for answer in echo(iter([b"1"]), timeout=T)} == both
            call = echo(timeout=T)
            await call.write(b"1")
            assert await call.read() in both
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            assert call.done()
            assert not call.cancelled()
            assert len(await asyncio.gather(*(get(b"", timeout=T) for _ in range(50)))) == 50

    run(body)


def test_what_was_never_sent_goes_to_another_instance_whatever_its_kind(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    async def body() -> None:
        async with TenureChannel(registry, "shop") as channel:
            get, total = channel.unary_unary(GET), channel.stream_unary(SUM)
            count = channel.unary_stream(COUNT)
            assert {await get(b"", timeout=T) for _ in range(2)} == {first.name, second.name}
            await crash(channel, first)
            for _ in range(3):
                assert await get(b"", timeout=T) == second.name
                assert await total(iter([b"1"]), timeout=T) == second.name
                assert [answer async for answer in count(b"1", timeout=T)] == [second.name]
                registry.report_success(first.instance)

    run(body)


def test_what_a_server_may_have_seen_is_repeated_only_if_the_method_is_idempotent(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    async def body() -> None:
        first.answer = second.answer = unavailable
        async with TenureChannel(registry, "shop") as channel:
            call = channel.unary_unary(GET)(b"", timeout=T)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is await call.code() is grpc.StatusCode.UNAVAILABLE
            assert await call.details() == "failed to connect to all addresses"
            assert first.calls + second.calls == 1, "a server has seen it"
        second.answer = lambda context: None
        async with TenureChannel(registry, "shop", idempotent=[GET]) as channel:
            assert {await channel.unary_unary(GET)(b"", timeout=T) for _ in range(3)} == {second.name}
        assert not list(registry.resting)

    run(body)


def test_a_call_under_way_ends_before_the_connection_of_a_drained_instance_is_closed(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(_context: grpc.ServicerContext) -> None:
        entered.set()
        leave.wait(T)

    first.answer = wait

    async def body() -> None:
        async with TenureChannel(registry, "shop") as channel:
            get = channel.unary_unary(GET)
            calls = [get(b"", timeout=T) for _ in range(2)]
            await until(entered.is_set, "the call is under way")
            await asyncio.to_thread(first.registry.deregister)
            await until(lambda: len(registry.get_service("shop")) == 1, "the entry is gone")
            assert {await get(b"", timeout=T) for _ in range(4)} == {second.name}
            assert len(channel._connections) == 2, "the old one has a call"
            leave.set()
            assert {await call for call in calls} == {first.name, second.name}
            await until(lambda: len(channel._connections) == 1, "the connection is closed")

    run(body)


def test_a_cancelled_call_is_cancelled_on_its_instance(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    entered, ended = threading.Event(), threading.Event()

    def wait(context: grpc.ServicerContext) -> None:
        context.add_callback(ended.set)
        entered.set()
        ended.wait(T)

    first.answer = second.answer = wait

    async def body() -> None:
        async with TenureChannel(registry, "shop") as channel:
            call = channel.unary_unary(GET)(b"", timeout=T)
            told: list[object] = []
            call.add_done_callback(told.append)
            await until(entered.is_set, "the call is under way")
            assert call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert call.cancelled()
            await until(ended.is_set, "the server knows")
            assert told == [call]
            entered.clear()
            ended.clear()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await channel.unary_unary(GET)(b"", timeout=T)
            await until(lambda: ended.is_set() or not entered.is_set(), "the server knows")
            await until(lambda: all(not each.calls for each in channel._connections._by_address.values()), "no call")

    run(body)


def test_without_an_instance_a_call_says_why_or_waits(store: tenure.Store) -> None:
    async def body() -> None:
        with Registry(store) as registry:
            async with TenureChannel(registry, "shop") as channel:
                get, count = channel.unary_unary(GET), channel.unary_stream(COUNT)
                call = get(b"", timeout=T)
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
                assert "shop" in await call.details()
                with pytest.raises(grpc.aio.AioRpcError):
                    [answer async for answer in count(b"1")]
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await get(b"", timeout=0.2, wait_for_ready=True)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                assert channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
                waiting = asyncio.ensure_future(get(b"", timeout=T, wait_for_ready=True))
                with await asyncio.to_thread(ShopServer, store) as server:
                    assert await waiting == server.name
                    await channel.channel_ready()

    run(body)
