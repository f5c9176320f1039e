"""Drives an ASGI application as a server does: its lifespan, and single requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from tenure_testkit.waiting import PATIENCE

Message = dict[str, Any]


async def until(probe: Callable[[], object], what: str = "the awaited state") -> None:
    """Let the loop run until ``probe`` returns something true."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not probe():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what}") from None


class Server:
    """The lifespan of an application. In ``async with`` it is started, and shut down at the end."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> Message:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        self._task = asyncio.create_task(self.app(scope, self._to_app.get, self._from_app.put))
        return await self._tell("lifespan.startup")

    async def shut_down(self) -> Message:
        answer = await self._tell("lifespan.shutdown")
        await self._task
        return answer

    async def _tell(self, what: str) -> Message:
        await self._to_app.put({"type": what})
        async with asyncio.timeout(PATIENCE):
            return await self._from_app.get()

    async def __aenter__(self) -> Self:
        assert await self.start() == {"type": "lifespan.startup.complete"}
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert await self.shut_down() == {"type": "lifespan.shutdown.complete"}
        else:
            await self.shut_down()

    async def request(self, path: str, *, method: str = "GET", http_version: str = "1.1") -> list[Message]:
        """Return what the application sends for a request without a body."""
        sent: list[Message] = []
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "http_version": http_version,
            "headers": [],
            "state": dict(self.state),
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(dict(message))

        await self.app(scope, receive, send)
        return sent


async def greet(scope: Any, receive: Any, send: Any) -> None:
    """A small application without a lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"keep-alive")]})
    await send({"type": "http.response.body", "body": b"hello"})
