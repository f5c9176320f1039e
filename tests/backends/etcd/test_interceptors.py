"""Interceptors of gRPC, as tracing installs them, see each call in the context of who calls the store."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import grpc
import pytest

import tenure
from tenure import aio

caller = ContextVar("caller", default="nobody")


class Seen(grpc.UnaryUnaryClientInterceptor):
    """Records who makes which call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls.append((str(details.method).rpartition("/")[2], caller.get()))
        return continuation(details, request)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen, plain = Seen(), grpc.insecure_channel
    monkeypatch.setattr(
        grpc, "insecure_channel", lambda *args, **kwargs: grpc.intercept_channel(plain(*args, **kwargs), seen)
    )
    return seen


def test_the_context_of_the_caller_reaches_an_interceptor(etcd_url: str, seen: Seen) -> None:
    async def read(store: aio.Store, name: str) -> None:
        caller.set(name)
        await store.get("key")

    async def main() -> None:
        async with aio.connect(etcd_url) as store:
            await asyncio.gather(read(store, "one"), read(store, "two"))

    with tenure.connect(etcd_url) as store:  # also: the state of an intercepted channel's connection is known
        caller.set("main")
        store.put("key", b"")
        store.get("key")
    asyncio.run(main())
    assert [call for call in seen.calls if call[1] == "main"][:2] == [("Put", "main"), ("Range", "main")]
    assert {("Range", "one"), ("Range", "two")} <= set(seen.calls)
