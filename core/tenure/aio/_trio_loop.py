"""A loop of trio. A task of the store's own is one of trio's system tasks, which end with the loop.

trio cancels by level: within a cancelled scope, each wait raises again. So what has to be done all the same, such as a
release, is done in the background there, as it is for a task of asyncio that is cancelled twice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from contextvars import copy_context
from types import TracebackType
from typing import Any

import trio

from tenure.aio._loop import Block, Event, Loop

_log = logging.getLogger("tenure.aio")


class TrioLoop(Loop):
    """The loop that runs now."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def post(self, function: Callable[..., object], /, *arguments: Any) -> None:
        """Call it on the loop. trio would end the program for what it raises."""
        self._token.run_sync_soon(_called, function, *arguments)

    @property
    def ended(self) -> bool:
        """Whether the loop takes no call any more."""
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except trio.RunFinishedError:
            return True
        return False

    def runs_here(self) -> bool:
        """Whether it is the running one."""
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            return False

    def waiter(self) -> TrioWaiter:
        """Return a waiter."""
        return TrioWaiter()

    def end(self, waiter: TrioWaiter) -> None:
        """Let its task go on."""
        waiter.event.set()

    async def wait(self, waiter: TrioWaiter, seconds: float | None) -> None:
        """Wait for it."""
        with trio.move_on_after(math.inf if seconds is None else max(0.0, seconds)):
            await waiter.event.wait()

    def event(self) -> Event:
        """Return an event."""
        return trio.Event()

    def lock(self) -> trio.Lock:
        """Return a lock."""
        return trio.Lock()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(max(0.0, seconds))

    def call_later(self, seconds: float, function: Callable[[], object]) -> object:
        """Let a task call it."""

        async def call() -> None:
            await self.sleep(seconds)
            function()

        return self.keep(call(), "tenure: a call at a later time")

    def keep(self, work: Coroutine[Any, Any, None], name: str) -> object:
        """Run it as a system task."""

        async def run() -> None:
            try:
                await work
            except Exception:  # noqa: BLE001 - trio would end the program for it
                _log.exception("%s failed", name)

        return trio.lowlevel.spawn_system_task(run, name=name, context=copy_context())

    def tidy(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it, also while the loop ends."""

        async def run() -> None:
            with self.shielded():
                await work()

        self.keep(run(), "tenure: the end of a close")

    def task(self) -> object:
        """Return the running task."""
        return trio.lowlevel.current_task()

    def block(self) -> Block:
        """Begin a body."""
        return TrioBlock()

    def shielded(self) -> AbstractContextManager[object]:
        """Return a scope that a cancel from outside doesn't reach."""
        return trio.CancelScope(shield=True)


class TrioWaiter:
    """An event that one task awaits."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = trio.Event()

    def __await__(self) -> Generator[Any, Any, None]:
        return self.event.wait().__await__()


class TrioBlock(Block):
    """A cancel scope."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        """Cancel the scope."""
        self._scope.cancel()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> tuple[bool, BaseException | None]:
        """Leave the scope. Of several errors of the body, those remain that aren't cancels of it."""
        try:
            self._scope.__exit__(kind, error, tb)
        except BaseException as rest:  # noqa: BLE001 - raised by the caller
            return False, rest
        return self._scope.cancelled_caught, None


def _called(function: Callable[..., object], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001 - one callback must not end the program
        _log.exception("a callback on the event loop raised")


def _nothing() -> None:
    pass
