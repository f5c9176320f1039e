"""Wakes one task from any thread. Wake-ups that come together are one.

The task looks at what it waits for and then waits, without a pause between. So a wake-up, which arrives by the loop, is
either before the look or finds the task waiting.
"""

from __future__ import annotations

from tenure.aio._calls import Calls
from tenure.aio._loop import Waiter


class Signal:
    """Ends the wait of a task. It holds nothing but the loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._coming = False
        self._waiter: Waiter | None = None

    def wake(self) -> None:
        """Wake the task if it waits. Never blocks, callable from any thread."""
        if not self._coming:
            self._coming = True
            self._calls.post(self._arrive)

    async def wait(self, seconds: float | None) -> None:
        """Wait for a wake-up, for at most ``seconds``."""
        waiter = self._waiter = self._calls.loop.waiter()
        try:
            await self._calls.loop.wait(waiter, seconds)
        finally:
            self._waiter = None

    def _arrive(self) -> None:
        self._coming = False
        if self._waiter is not None:
            self._calls.loop.end(self._waiter)
