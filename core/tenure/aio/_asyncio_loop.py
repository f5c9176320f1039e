"""A loop of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any

from tenure.aio._loop import Block, Event, Loop


class AsyncioLoop(Loop):
    """The loop that runs now."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, function: Callable[..., object], /, *arguments: Any) -> object:
        """Call it on the loop."""
        return self._loop.call_soon_threadsafe(function, *arguments)

    @property
    def ended(self) -> bool:
        """Whether the loop is closed."""
        return self._loop.is_closed()

    def runs_here(self) -> bool:
        """Whether it is the running one."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def waiter(self) -> asyncio.Future[None]:
        """Return a future."""
        return self._loop.create_future()

    def end(self, waiter: asyncio.Future[None]) -> None:
        """Set the future's result."""
        with suppress(asyncio.InvalidStateError):  # asked first, it could be cancelled before it is set: by Ctrl-C
            waiter.set_result(None)

    async def wait(self, waiter: asyncio.Future[None], seconds: float | None) -> None:
        """Wait for the future."""
        timer = None if seconds is None else self._loop.call_later(seconds, self.end, waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()

    def event(self) -> Event:
        """Return an event."""
        return asyncio.Event()

    def lock(self) -> asyncio.Lock:
        """Return a lock."""
        return asyncio.Lock()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, function: Callable[[], object]) -> object:
        """Call it later."""
        return self._loop.call_later(seconds, function)

    def keep(self, work: Coroutine[Any, Any, None], name: str) -> object:
        """Run it as a task. The loop itself refers to tasks weakly."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tidy(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do nothing: it doesn't warn."""

    def task(self) -> object:
        """Return the running task."""
        return asyncio.current_task()

    def block(self) -> Block:
        """Begin a body."""
        return AsyncioBlock()

    def shielded(self) -> AbstractContextManager[object]:
        """Return nothing: a loop that ends cancels tasks once, before it closes generators."""
        return nullcontext()


class AsyncioBlock(Block):
    """Its cancel is one of the task, which is taken back at the end, as :func:`asyncio.timeout` does."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = 0 if self._task is None else self._task.cancelling()
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the task."""
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> tuple[bool, BaseException | None]:
        """Take back the own cancel."""
        if not self._cancelled or self._task is None:
            return False, None
        alone = self._task.uncancel() <= self._before
        if isinstance(error, asyncio.CancelledError):
            return alone, None
        try:
            await asyncio.sleep(0)  # the block ended by itself: the cancel comes here
        except asyncio.CancelledError as exc:
            if self._task.cancelling() > self._before:
                return False, exc
        return False, None
