"""``tenure.aio`` on trio, on every store: calls, leases, watches, recipes, the registry, and cancel scopes."""

from __future__ import annotations

import pytest
import trio

import tenure
from tenure import aio
from tenure.errors import Conflict, LeaseLost
from tenure.registry import Instance
from tenure_testkit.loops import threads
from tenure_testkit.waiting import PATIENCE, until

TTL = 30.0


async def no_keys(store: aio.Store, prefix: str = "") -> None:
    while (await store.list(prefix)).keys:
        await trio.sleep(0.02)


async def call_lease_and_watch(store: aio.Store) -> None:
    async with store.watch("w/") as watch:
        written = await store.put("w/a", b"1")
        with pytest.raises(Conflict):
            await store.put_if_absent("w/a", b"2")
        await store.put_if_unchanged("w/a", b"2", revision=written.revision)
        await store.transaction().if_exists("w/a").put("w/b", b"").commit()
        async with store.lease(TTL) as lease:
            await store.put("w/c", b"", lease=lease)
            await lease.refresh()
        present: set[str] = set()
        async for batch in watch:
            for event in batch.events:
                (present.discard if event.item is None else present.add)(event.key)
            if present == {"w/a", "w/b"} and batch.type is tenure.BatchType.CHANGES:
                break
    await store.delete_prefix("w/")


async def hold_and_lose(store: aio.Store) -> None:
    async with (
        aio.Session.open(store, ttl=TTL) as session,
        aio.Lock(store, "l", session=session).hold(timeout=PATIENCE),
    ):
        await store.revoke_lease(session.lease.id)  # as another client would
        with pytest.raises(LeaseLost):
            await session.lease.refresh()
        await trio.sleep(PATIENCE)


async def use_recipes(store: aio.Store) -> None:
    with pytest.raises(LeaseLost, match="before the end of the block"):
        await hold_and_lose(store)
    async with aio.Election(store, "e", candidate="a").lead(timeout=PATIENCE) as term:
        assert term.held
    queue = aio.WorkQueue(store, "q")
    await queue.put(b"job")
    claim = await queue.claim(timeout=PATIENCE)
    assert claim is not None
    await claim.ack()
    assert await aio.Counter(store, "c").add() == 1
    await store.delete_prefix("tenure/counter/")
    async with aio.Registry(store, instance=Instance("web", port=80)) as registry:
        assert (await registry.wait_for("web", timeout=PATIENCE))[0].port == 80


async def cancel(store: aio.Store) -> None:
    """Scopes that end at any moment of an acquisition leave nothing that others would wait for."""

    async def hold() -> None:
        async with aio.Lock(store, "l").hold():
            await trio.sleep(0.002)

    for number in range(20):
        with trio.move_on_after(0.001 * number):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold)
                nursery.start_soon(hold)
                nursery.start_soon(store.put, f"k/{number}", b"")
    async with aio.Lock(store, "l").hold(timeout=PATIENCE):
        pass
    await store.delete_prefix("k/")


def test_trio_has_what_asyncio_has(store_url: str) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with aio.connect(store_url, timeout=PATIENCE) as store:
                await call_lease_and_watch(store)
                await use_recipes(store)
                await cancel(store)
                await no_keys(store, "tenure/lock/")

    trio.run(main)
    until(lambda: not threads(), what="no thread left")
