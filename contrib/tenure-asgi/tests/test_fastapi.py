"""Dependencies of FastAPI, in requests and websockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from asgi_driver import Server
from fastapi import Depends, FastAPI, WebSocket
from tenure_asgi import Lifespan, TenureMiddleware
from tenure_asgi.fastapi import RegistryDependency, StoreDependency, get_lifespan

from tenure import ConfigError


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web")


def test_a_request_finds_store_registry_lifespan_and_settings() -> None:
    lifespan = Lifespan("memory://fastapi")
    limit = lifespan.setting("limit", default=3)
    app = FastAPI()
    app.add_middleware(TenureMiddleware, lifespan=lifespan)

    @app.get("/")
    async def look(
        store: StoreDependency,
        registry: RegistryDependency,
        found: Annotated[Lifespan, Depends(get_lifespan)],
        most: Annotated[int, Depends(limit)],
    ) -> list[object]:
        await store.put("seen", b"yes")
        return [most, found is lifespan, registry is lifespan.registry, store is lifespan.store]

    async def main() -> None:
        async with lifespan, client(app) as web:
            assert (await web.get("/")).json() == [3, True, True, True]
            assert (await lifespan.store.get("seen")).value == b"yes"

    asyncio.run(main())


def test_an_application_without_the_middleware_is_told_what_to_add() -> None:
    app = FastAPI()

    @app.get("/")
    async def look(store: StoreDependency) -> None:
        raise AssertionError("there is no store")

    async def main() -> None:
        async with client(app) as web:
            with pytest.raises(ConfigError, match="add_middleware"):
                await web.get("/")

    asyncio.run(main())


def test_a_lifespan_of_the_application_runs_within_and_a_websocket_finds_the_store() -> None:
    lifespan = Lifespan("memory://within")
    seen: list[object] = []

    @asynccontextmanager
    async def own(_app: FastAPI) -> AsyncIterator[None]:
        await lifespan.store.put("own", b"begun")
        yield
        seen.append((await lifespan.store.get("own")).value)

    app = FastAPI(lifespan=own)
    app.add_middleware(TenureMiddleware, lifespan=lifespan)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, store: StoreDependency) -> None:
        await websocket.accept()
        await websocket.send_text((await store.get("own")).value.decode())
        await websocket.close()

    async def main() -> None:
        async with Server(app) as server:
            to_app: asyncio.Queue[object] = asyncio.Queue()
            from_app: asyncio.Queue[dict[str, object]] = asyncio.Queue()
            await to_app.put({"type": "websocket.connect"})
            scope = {"type": "websocket", "path": "/socket", "headers": [], "query_string": b"", "state": server.state}
            await app(scope, to_app.get, from_app.put)
            assert [from_app.get_nowait().get("text") for _ in range(3)] == [None, "begun", None]
        assert seen == [b"begun"]

    asyncio.run(main())
