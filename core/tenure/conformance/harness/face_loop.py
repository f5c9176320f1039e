"""An event loop on a thread of its own, for rules, which are written for threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tenure.errors import StoreClosed

T = TypeVar("T")

_ENDS = 10.0
"""Seconds that the loop may take to end: asyncio cancels what is left, and closes stores."""


class LoopThread:
    """Runs coroutines of other threads. What the loop is told of as an error, since no task raised it, is kept."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="conformance-loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop, and return its result on this thread."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback waits on the event loop for itself; mark the rule by of_face()")
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise StoreClosed("using a store of a rule: the rule's event loop has ended")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the loop as ``asyncio.run`` does. Idempotent."""
        if self._thread.is_alive() and self._loop is not None and self._ends is not None:
            self._loop.call_soon_threadsafe(self._ends.set)
            self._thread.join(_ENDS)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _loop, context: self.told.append(_words(context)))
        self._ends = asyncio.Event()
        self._ready.set()
        await self._ends.wait()


def _words(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context['message']}" + ("" if error is None else f": {type(error).__name__}: {error}")
