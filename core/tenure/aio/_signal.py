"""Wakes one task from any thread. Wake-ups that come together are one.

The task looks at what it waits for and then waits, without a pause between. So a wake-up, which arrives by the loop, is
either before the look or finds the task waiting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tenure.aio._calls import Calls


class Signal:
    """Ends the wait of a task. It holds nothing but the loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._coming = False
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Wake the task if it waits. Never blocks, callable from any thread."""
        if not self._coming:
            self._coming = True
            self._calls.post(self._arrive)

    async def wait(self, seconds: float | None) -> None:
        """Wait for a wake-up, for at most ``seconds``."""
        waiter = self._waiter = self._calls.loop.create_future()
        timer = None if seconds is None else self._calls.loop.call_later(seconds, _end, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _arrive(self) -> None:
        self._coming = False
        if self._waiter is not None:
            _end(self._waiter)


def _end(waiter: asyncio.Future[None]) -> None:
    with suppress(asyncio.InvalidStateError):  # asked first, it could be cancelled before it is set: by Ctrl-C
        waiter.set_result(None)
