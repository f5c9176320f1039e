"""Requests: what they find, what a stop tells them, and when it cancels them. Probes, too."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgi_driver import Server, greet, until
from tenure_asgi import Lifespan, TenureMiddleware


def headers(sent: list[dict[str, Any]]) -> list[bytes]:
    return [value for name, value in sent[0]["headers"] if name == b"connection"]


def test_responses_of_a_stop_close_their_connections() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://close")
        async with Server(TenureMiddleware(greet, lifespan)) as server:
            assert headers(await server.request("/")) == [b"keep-alive"]
            await lifespan.drain()
            assert headers(await server.request("/")) == [b"close"]
            assert headers(await server.request("/", http_version="2")) == [b"keep-alive"], "HTTP/2 forbids the header"

    asyncio.run(main())


async def sleep_long(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/begun":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(3600)


@pytest.mark.parametrize(("path", "statuses"), [("/", [503]), ("/begun", [200])])
def test_requests_that_outlast_a_stop_are_cancelled(
    path: str, statuses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://cut", stop_timeout=0.2, drain_wait=0)
        async with Server(TenureMiddleware(sleep_long, lifespan)) as server:
            request = asyncio.create_task(server.request(path))
            await until(lambda: len(lifespan.requests) == 1)
            await lifespan.drain()
            sent = await request
            assert [each["status"] for each in sent if "status" in each] == statuses
            assert len(lifespan.requests) == 0
        assert "1 requests were cancelled" in caplog.text

    asyncio.run(main())


def test_a_websocket_that_outlasts_a_stop_ends() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://websocket", stop_timeout=0.2, drain_wait=0)
        app = TenureMiddleware(sleep_long, lifespan)
        async with Server(app):
            scope = {"type": "websocket", "path": "/"}
            socket = asyncio.create_task(app(scope, asyncio.Queue().get, asyncio.Queue().put))
            await until(lambda: len(lifespan.requests) == 1)
            await lifespan.drain()
            await socket

    asyncio.run(main())


def test_a_cancel_from_elsewhere_is_passed_on() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://cancelled")
        async with Server(TenureMiddleware(sleep_long, lifespan)) as server:
            request = asyncio.create_task(server.request("/"))
            await until(lambda: len(lifespan.requests) == 1)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(main())


async def probe(server: Server, path: str, **how: str) -> tuple[int, Any]:
    start, body = await server.request(path, **how)
    return start["status"], json.loads(body["body"])


def test_probes_tell_whether_it_lives_and_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://probes", stale_after=5.0)
        async with Server(TenureMiddleware(greet, lifespan)) as server:
            assert await probe(server, "/health/live") == (200, {"live": True})
            assert await probe(server, "/health/ready") == (200, {"ready": True, "reasons": []})
            assert (await probe(server, "/health/ready", method="POST"))[0] == 405
            monkeypatch.setattr(type(lifespan.registry), "staleness", 7.0)
            reason = "no sign of life of the store for 7.0 s"
            assert await probe(server, "/health/ready") == (503, {"ready": False, "reasons": [reason]})
            monkeypatch.undo()
            await lifespan.drain()
            assert await probe(server, "/health/ready") == (503, {"ready": False, "reasons": ["stopping"]})
            assert await probe(server, "/health/live") == (200, {"live": True})

    asyncio.run(main())


def test_probes_can_be_elsewhere_and_left_out() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://elsewhere")
        async with Server(TenureMiddleware(greet, lifespan, health="/probes")) as server:
            assert await probe(server, "/probes/ready") == (200, {"ready": True, "reasons": []})
            assert (await server.request("/health/ready"))[1]["body"] == b"hello"
        async with Server(TenureMiddleware(greet, lifespan, health=None)) as server:
            assert (await server.request("/health/ready"))[1]["body"] == b"hello"
        async with Server(lifespan_only(lifespan)) as server:
            assert await probe(server, "/mounted/live") == (200, {"live": True})
            assert (await probe(server, "/mounted/other"))[0] == 404

    asyncio.run(main())


def lifespan_only(lifespan: Lifespan) -> Any:
    """An application that serves the probes itself."""
    return TenureMiddleware(lifespan.health, lifespan, health=None)
