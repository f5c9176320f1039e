"""Run a test's coroutine on an event loop of its own, and see that nothing is left of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tenure import Store, aio
from tenure.aio._bridge import Bridge
from tenure.aio._calls import Calls
from tenure_testkit.waiting import PATIENCE, until

T = TypeVar("T")


def threads() -> list[str]:
    """The names of the threads that the asyncio face has made."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tenure-aio")]


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` within `PATIENCE`. Fails if the loop was told of an error, or a thread is left."""
    told: list[dict[str, Any]] = []

    async def limited() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        return await asyncio.wait_for(main(), PATIENCE)

    result = asyncio.run(limited())
    assert not told
    until(lambda: not threads(), what="no thread left")
    return result


async def face_of(store: Store) -> aio.Store:
    """The asyncio face of a store that is open already. Closing it closes the store."""
    bridge = Bridge(store, Calls(store.clock))
    await bridge.open()
    return aio.Store(bridge)


async def until_async(probe: Callable[[], object], what: str = "the awaited state") -> None:
    """Wait for a state on the loop, which goes on meanwhile."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not probe():
        assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.002)
