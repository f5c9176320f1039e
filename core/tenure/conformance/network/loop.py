"""An asyncio loop on a thread of its own, for use from other threads; closing it ends the thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EVENT_TIMEOUT = 10.0
"""Seconds that a call on the loop may take; it takes a millisecond unless the machine is overloaded."""


class LoopThread:
    """Starts when made; :meth:`close` cancels its tasks and ends the thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result. Raises its errors; ``TimeoutError`` if it doesn't end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(EVENT_TIMEOUT)

    def close(self) -> None:
        """End every task, then the thread. Idempotent."""
        if self._thread.is_alive():
            self.call(self._cancel_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(EVENT_TIMEOUT)

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
