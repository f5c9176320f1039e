"""Let work begin in a task of its own, and cancel it after a while: on asyncio, on uvloop and on trio."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import trio

from tenure_testkit.waiting import PATIENCE

Work: TypeAlias = Callable[[], Awaitable[object]]
CANCELLED = "cancelled"
DONE = "done"


class Canceller(ABC):
    """Cancels as programs of one library do."""

    def __init__(self) -> None:
        self.told: list[str] = []
        """What only the loop was told of."""

    @abstractmethod
    async def cancelled(self, work: Work, after: float, chance: random.Random) -> str | BaseException:
        """Run ``work``, and cancel it after so many seconds. Returns how it ended, or its error."""

    @abstractmethod
    def tasks(self) -> int:
        """Return the number of tasks that there are."""


class AsyncioCanceller(Canceller):
    """By ``task.cancel()``, once or twice, or by ``asyncio.timeout``."""

    def __init__(self) -> None:
        super().__init__()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.told.append(str(context)))

    async def cancelled(self, work: Work, after: float, chance: random.Random) -> str | BaseException:
        """Cancel the task."""
        how = chance.random()
        if how < 0.2:
            task = asyncio.ensure_future(_timed(work, after))
        else:
            task = asyncio.ensure_future(_awaited(work))
            for _ in range(chance.choice((0, 1, 2, 3)) if after == 0 else 0):
                await asyncio.sleep(0)
            if after:
                await asyncio.wait({task}, timeout=after)
            if not task.done():
                task.cancel()
                if how < 0.4:
                    await asyncio.sleep(0)
                    task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            return AssertionError(f"a task has not ended within {PATIENCE:g} s of its cancel: {task}")
        if task.cancelled():
            return CANCELLED
        error = task.exception()
        return CANCELLED if isinstance(error, TimeoutError) and how < 0.2 else error or DONE

    def tasks(self) -> int:
        """Count them."""
        return len(asyncio.all_tasks())


class TrioCanceller(Canceller):
    """By a cancel scope around the task, or by its deadline."""

    async def cancelled(self, work: Work, after: float, chance: random.Random) -> str | BaseException:
        """Cancel the scope."""
        ends: list[str | BaseException] = []

        async def run(scope: trio.CancelScope) -> None:
            with scope:
                try:
                    await work()
                    ends.append(DONE)
                except trio.Cancelled:
                    raise
                except BaseException as exc:  # noqa: BLE001 - the result
                    ends.append(exc)
            if scope.cancelled_caught:
                ends.append(CANCELLED)

        with trio.move_on_after(PATIENCE) as patience:
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                if chance.random() < 0.2 and after:
                    scope.deadline = trio.current_time() + after
                    nursery.start_soon(run, scope)
                else:
                    nursery.start_soon(run, scope)
                    if after:
                        with trio.move_on_after(after):
                            while not ends:
                                await trio.sleep(after / 4)
                    else:
                        for _ in range(chance.choice((0, 1, 2, 3))):
                            await trio.lowlevel.checkpoint()
                    scope.cancel()
        if patience.cancelled_caught or not ends:
            return AssertionError(f"a task has not ended within {PATIENCE:g} s of its cancel")
        return ends[0]

    def tasks(self) -> int:
        """Count them."""
        return trio.lowlevel.current_statistics().tasks_living


async def _awaited(work: Work) -> None:
    await work()


async def _timed(work: Work, after: float) -> None:
    async with asyncio.timeout(after):
        await work()


_LOOPS: dict[str, tuple[type[Canceller], dict[str, Any]]] = {
    "asyncio": (AsyncioCanceller, {"backend": "asyncio"}),
    "uvloop": (AsyncioCanceller, {"backend": "asyncio", "backend_options": {"use_uvloop": True}}),
    "trio": (TrioCanceller, {"backend": "trio"}),
}
LOOPS = tuple(_LOOPS)


def run(loop: str, main: Callable[[Canceller], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` on a loop by this name."""
    canceller, options = _LOOPS[loop]

    async def started() -> None:
        await main(canceller())

    anyio.run(started, **options)
