"""The asyncio interface: what is awaited has the types of the synchronous one."""

from __future__ import annotations

from typing import reveal_type

import tenure
from tenure import aio
from tenure.registry import Instance


async def calls(store: aio.Store) -> None:
    reveal_type((await store.list()).keys)  # reveals: tuple[str, ...]
    reveal_type((await store.put("a", b"1")).revision)  # reveals: int
    await store.put("a", "text")  # error: arg-type
    await store.get("a", 1.0)  # error: call-arg
    print(store.get("a").value)  # error: attr-defined
    async with store.lease(10) as lease:
        reveal_type(lease)  # reveals: tenure.aio._lease.Lease
        await store.put("a", b"1", lease=lease)
        await store.transaction().put("a", b"1", lease=lease).if_absent("b").commit()
    async for batch in store.watch("a"):
        reveal_type(batch.type)  # reveals: tenure.watch.events.BatchType


async def opened() -> None:
    store = await aio.connect("memory://", timeout=1.0)
    reveal_type(store)  # reveals: tenure.aio._store.Store
    aio.connect("memory://", nothing=1)  # error: call-arg


async def recipes(store: aio.Store, sync: tenure.Store) -> None:
    async with aio.Lock(store, "l").hold() as held:
        reveal_type(held.token)  # reveals: int
        await held.guard(store.transaction()).commit()
    aio.Lock(sync, "l")  # error: arg-type
    registry = aio.Registry(store)
    reveal_type(registry.pick("web"))  # reveals: tenure.registry.model.instance.Instance
    reveal_type(await registry.update(Instance("web")))  # reveals: tenure.registry.model.instance.Instance
