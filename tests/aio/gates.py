"""A store in memory whose calls wait at a gate, as calls of a server do, and cancels of each of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tenure import Store, SystemClock, aio
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer
from tenure_testkit.loops import face_of, run
from tenure_testkit.waiting import PATIENCE

GATED = ("get", "commit", "grant", "list")


class Gate:
    """An event that can also let a number of calls pass while it is closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = True
        self._passes = 0

    def set(self) -> None:
        """Let every call pass from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self, passes: int = 0) -> None:
        """Let only so many calls pass from now on."""
        with self._changed:
            self._open, self._passes = False, passes
            self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until the call may pass."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open or self._passes > 0, timeout):
                return False
            self._passes -= not self._open
            return True


class GatedBackend(MemoryBackend):
    """Each call of `GATED` waits until its gate is open. It counts those that have begun, and fails as it is told."""

    immediate = False

    def __init__(self) -> None:
        super().__init__(MemoryServer("gated"), clock=SystemClock(), history=None)
        self.gate = Gate()
        self.begun: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _gated(self, name, found) if name in GATED else found


def _gated(backend: GatedBackend, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        backend.begun.append(name)
        assert backend.gate.wait(PATIENCE)
        return call(*args, **kwargs)

    return made


def gated() -> tuple[Store, GatedBackend]:
    """A store and its gates, which are open."""
    backend = GatedBackend()
    return Store.from_backend(backend, url="memory://gated", timeout=PATIENCE), backend


def on(url: str, body: Callable[[aio.Store], Coroutine[Any, Any, None]]) -> None:
    """Run ``body`` on a store of a loop of its own."""

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            await body(store)

    run(main)


async def left_in(store: aio.Store, prefix: str, keys: int = 0) -> None:
    """Wait until so many keys are left."""
    while len((await store.list(prefix)).keys) != keys:
        await asyncio.sleep(0.005)


async def cancelled_at_each_request(
    call: Callable[[aio.Store], Coroutine[Any, Any, object]], clean: Callable[[aio.Store], Coroutine[Any, Any, None]]
) -> int:
    """Cancel ``call`` while its first request is under way, then its second, and so on. Returns how many there were.

    ``clean`` waits until nothing is left of it.
    """
    sync, backend = gated()
    async with await face_of(sync) as store:
        requests = 0
        while True:
            requests += 1
            backend.begun.clear()
            backend.gate.clear(passes=requests - 1)
            task = asyncio.create_task(call(store))
            while len(backend.begun) < requests and not task.done():
                await asyncio.sleep(0.001)
            task.cancel()
            backend.gate.set()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(done, asyncio.CancelledError):
                assert not isinstance(done, BaseException), done
                return requests
            await clean(store)
