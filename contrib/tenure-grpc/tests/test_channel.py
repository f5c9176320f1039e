"""The channel for threads: which instance a call gets, what is repeated, and when a connection is closed."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import grpc
import pytest
from shop_servers import COUNT, ECHO, GET, SUM, ShopServer
from tenure_grpc import TenureChannel
from tenure_grpc.links import Link

import tenure
from tenure.registry import Instance, Registry
from tenure_testkit.waiting import PATIENCE, until

T = PATIENCE
LIKE_NEVER_SENT = "failed to connect to all addresses; last error: another server's"
"""What a server may answer that was itself a client in vain."""


def crash(channel: TenureChannel, server: ShopServer) -> None:
    """End a server, and wait until the channel has noticed: a call meanwhile would be in doubt."""
    server.crash()
    links = channel._connections._by_address
    until(lambda: not links[server.instance.address].channel.connected, what="the broken connection is noticed")


def unavailable(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, LIKE_NEVER_SENT)


def test_calls_of_each_kind_go_round_the_instances(registry: Registry, first: ShopServer, second: ShopServer) -> None:
    with TenureChannel(registry, "shop") as channel:
        get, count = channel.unary_unary(GET), channel.unary_stream(COUNT)
        total, echo = channel.stream_unary(SUM), channel.stream_stream(ECHO)
        both = {first.name, second.name}
        assert {get(b"", timeout=T) for _ in range(4)} == both
        assert {get.with_call(b"", timeout=T)[0] for _ in range(4)} == both
        assert {get.future(b"", timeout=T).result() for _ in range(4)} == both
        assert {answer for _ in range(4) for answer in count(b"2", timeout=T)} == both
        assert {total(iter([b"1", b"2"]), timeout=T) for _ in range(4)} == both
        assert {answer for _ in range(4) for answer in echo(iter([b"1"]), timeout=T)} == both


def test_an_instance_that_comes_gets_calls_and_one_that_drains_gets_none(
    store: tenure.Store, registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    with TenureChannel(registry, "shop") as channel:
        get = channel.unary_unary(GET)
        with ShopServer(store) as third:
            until(lambda: get(b"", timeout=T) == third.name, what="an answer of the new one")
            first.registry.drain()
            second.registry.drain()
            until(lambda: len(registry.get_service("shop").ready) == 1, what="two drain")
            assert {get(b"", timeout=T) for _ in range(6)} == {third.name}


def test_a_call_under_way_ends_before_the_connection_of_a_drained_instance_is_closed(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(_context: grpc.ServicerContext) -> None:
        entered.set()
        leave.wait(T)

    first.answer = wait
    with TenureChannel(registry, "shop") as channel, ThreadPoolExecutor() as pool:
        get = channel.unary_unary(GET)
        calls = [pool.submit(get, b"", timeout=T) for _ in range(2)]
        assert entered.wait(T)
        first.registry.deregister()
        until(lambda: len(registry.get_service("shop")) == 1, what="the entry is gone")
        assert {get(b"", timeout=T) for _ in range(4)} == {second.name}
        assert len(channel._connections) == 2, "the old one has a call"
        leave.set()
        assert {call.result(T) for call in calls} == {first.name, second.name}
        assert len(channel._connections) == 1


def test_a_connection_is_closed_on_no_thread_of_grpcs(
    registry: Registry, first: ShopServer, second: ShopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close on the thread that reports the end of a call waits for that thread."""
    closing: list[str] = []

    def close(link: Link, close: Callable[[Link], None] = Link.close) -> None:
        closing.append(threading.current_thread().name)
        close(link)

    monkeypatch.setattr(Link, "close", close)
    with TenureChannel(registry, "shop") as channel:
        requests: SimpleQueue[bytes | None] = SimpleQueue()
        answers = channel.stream_stream(ECHO)(iter(requests.get, None), timeout=T)
        requests.put(b"1")
        server = first if next(answers) == first.name else second
        server.registry.drain()
        until(lambda: len(registry.get_service("shop").ready) == 1, what="one drains")
        channel.unary_unary(GET)(b"", timeout=T)  # which finds that the other is not to be used any more
        assert closing == []
        requests.put(None)
        assert list(answers) == []
        until(lambda: closing, what="the connection is closed")
    assert set(closing) == {"tenure-grpc-close"}


def test_what_was_never_sent_goes_to_another_instance_whatever_its_kind(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    with TenureChannel(registry, "shop") as channel:
        get, total = channel.unary_unary(GET), channel.stream_unary(SUM)
        assert {get(b"", timeout=T) for _ in range(2)} == {first.name, second.name}
        crash(channel, first)
        assert {get(b"", timeout=T) for _ in range(4)} == {second.name}
        assert list(registry.resting) == [first.instance.identity()]
    with TenureChannel(registry, "shop") as channel:
        total, count = channel.stream_unary(SUM), channel.unary_stream(COUNT)
        registry.report_success(first.instance)  # it is picked again
        for _ in range(3):
            assert total(iter([b"1"]), timeout=T) == second.name
            assert list(count(b"1", timeout=T)) == [second.name]
            registry.report_success(first.instance)


def test_what_a_server_may_have_seen_is_repeated_only_if_the_method_is_idempotent(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    first.answer = second.answer = unavailable
    with TenureChannel(registry, "shop") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(GET)(b"", timeout=T)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == LIKE_NEVER_SENT
        assert first.calls + second.calls == 1, "a server has seen it"
    with TenureChannel(registry, "shop", idempotent=[GET]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(GET)(b"", timeout=T)
        assert caught.value.details() == LIKE_NEVER_SENT, "the last server's words"
        assert first.calls + second.calls == 3, "each was tried"
        second.answer = lambda context: None
        assert {channel.unary_unary(GET)(b"", timeout=T) for _ in range(3)} == {second.name}
    assert not list(registry.resting), "both answer"


def test_a_connection_that_breaks_under_a_call_is_the_callers_unless_idempotent(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    def break_off(_context: grpc.ServicerContext) -> None:
        threading.Thread(target=first.crash).start()
        threading.Event().wait(0.5)

    second.registry.drain()
    until(lambda: len(registry.get_service("shop").ready) == 1, what="one drains")
    first.answer = break_off
    with TenureChannel(registry, "shop") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(GET)(b"", timeout=T)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert (first.calls, second.calls) == (1, 0)


def test_other_errors_are_the_callers_and_rest_nobody(
    registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    first.answer = second.answer = lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no such shop")
    with TenureChannel(registry, "shop", idempotent=lambda method: True) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(GET)(b"", timeout=T)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such shop")
    assert first.calls + second.calls == 1
    assert not list(registry.resting)


def test_without_an_instance_a_call_says_why(store: tenure.Store) -> None:
    with Registry(store) as registry, TenureChannel(registry, "nowhere") as channel:
        get = channel.unary_unary(GET)
        with pytest.raises(grpc.RpcError) as caught:
            get(b"", timeout=T)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "nowhere" in caught.value.details()
        with pytest.raises(grpc.RpcError) as caught:
            get(b"", timeout=0.2, wait_for_ready=True)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_wait_for_ready_waits_for_an_instance(store: tenure.Store) -> None:
    with Registry(store) as registry, TenureChannel(registry, "shop") as channel, ThreadPoolExecutor() as pool:
        waiting = pool.submit(channel.unary_unary(GET), b"", timeout=T, wait_for_ready=True)
        with ShopServer(store) as server:
            assert waiting.result(T) == server.name


def test_an_address_that_takes_no_connection_leaves_time_for_another(
    store: tenure.Store, registry: Registry, first: ShopServer, second: ShopServer
) -> None:
    # Not routed anywhere: connecting there gets no answer.
    with Registry(store, instance=Instance("shop", host="192.0.2.1", port=9)):
        registry.wait_for("shop", 3)
        with TenureChannel(registry, "shop", connect_timeout=0.3) as channel:
            get = channel.unary_unary(GET)
            assert {get(b"", timeout=T) for _ in range(6)} == {first.name, second.name}


def test_sticky_calls_get_the_same_instance(registry: Registry, first: ShopServer, second: ShopServer) -> None:
    with TenureChannel(registry, "shop", sticky=lambda _method, metadata: dict(metadata).get("user")) as channel:
        get = channel.unary_unary(GET)
        for user in ("ann", "bob", "cat"):
            assert len({get(b"", timeout=T, metadata=[("user", user)]) for _ in range(4)}) == 1
    assert Counter([first.calls + second.calls]) == {12: 1}


def test_a_forked_child_is_told_to_make_its_own(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with TenureChannel(registry, "shop") as channel:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(tenure.UsedAfterFork, match="after the fork"):
            channel.unary_unary(GET)(b"", timeout=T)
        monkeypatch.undo()
    with pytest.raises(tenure.StoreClosed, match="was closed"):
        channel.unary_unary(GET)(b"", timeout=T)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ({"attempts": 0}, "at least 1"),
        ({"strategy": "best"}, "strategy is one of"),
        ({"connect_timeout": 0}, "positive number of seconds"),
        ({"idempotent": GET}, "write idempotent="),
    ],
)
def test_a_wrong_argument_is_refused(registry: Registry, argument: dict[str, object], says: str) -> None:
    with pytest.raises(tenure.ConfigError, match=says):
        TenureChannel(registry, "shop", **argument)
