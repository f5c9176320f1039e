"""A FastAPI service: registration, settings that reload, a leader's job, a stop that loses no request.

    STORE=sqlite:///tmp/shop.db PORT=8001 uvicorn service:app --port 8001

Run it several times with other ports. ``client.py`` calls them by the service's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from tenure_asgi import Lifespan, TenureMiddleware
from tenure_asgi.fastapi import RegistryDependency, StoreDependency

from tenure import TenureError, aio
from tenure.registry import Instance

PORT = int(os.environ.get("PORT", "8000"))
JOB_PAUSE = 0.5  # seconds between two runs of the leader's job

lifespan = Lifespan(
    os.environ.get("STORE", "memory://"),
    lambda: Instance("shop", host="127.0.0.1", port=PORT),
    drain_wait=float(os.environ.get("DRAIN_WAIT", "1")),
    stop_timeout=float(os.environ.get("STOP_TIMEOUT", "8")),
)
greeting = lifespan.setting("settings/greeting", default="hello")


async def lead() -> None:
    """Do the job while this instance leads; another one takes over when it stops."""
    while True:
        try:
            async with aio.Election(lifespan.store, "job", candidate=str(PORT)).lead() as term:
                while True:
                    await term.guard(lifespan.store.transaction().put("job/leader", str(PORT).encode())).commit()
                    await asyncio.sleep(JOB_PAUSE)
        except TenureError:  # the term was lost, or the store is away
            await asyncio.sleep(JOB_PAUSE)


@asynccontextmanager
async def jobs(_app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(lead())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


app = FastAPI(lifespan=jobs)
app.add_middleware(TenureMiddleware, lifespan=lifespan)


@app.get("/greet/{name}")
async def greet(name: str, text: Annotated[str, Depends(greeting)]) -> dict[str, object]:
    return {"text": f"{text} {name}", "port": PORT}


@app.get("/slow")
async def slow(seconds: float) -> dict[str, int]:
    await asyncio.sleep(seconds)
    return {"port": PORT}


@app.post("/orders")
async def order(store: StoreDependency) -> dict[str, int]:
    return {"number": await aio.Counter(store, "orders").add(), "port": PORT}


@app.post("/orders/none")
async def order_nothing() -> dict[str, int]:
    return {"port": PORT}


@app.get("/instances")
async def instances(registry: RegistryDependency) -> list[str]:
    return [each.address for each in registry.get_service("shop")]
