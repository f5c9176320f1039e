"""What the asyncio face needs of an event loop. All that knows which library runs the loop is behind this.

A loop of asyncio needs nothing installed (:mod:`tenure.aio._asyncio_loop`). One of trio needs trio, which is there when
its loop runs (:mod:`tenure.aio._trio_loop`). anyio runs on one of both.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

from tenure.errors import InvalidArgument

_LOOPS = {"asyncio": ("tenure.aio._asyncio_loop", "AsyncioLoop"), "trio": ("tenure.aio._trio_loop", "TrioLoop")}


class Waiter(Protocol):
    """One task awaits it, until the loop ends it by :meth:`Loop.end`."""

    def __await__(self) -> Generator[Any, Any, None]: ...


class Event(Protocol):
    """Tasks wait until it is set, on the loop."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...

    async def wait(self) -> Any: ...


class Block(ABC):
    """The body of an ``async with`` statement. Another task or callback of the loop can cancel it alone."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel the body where it stands. Not called after :meth:`leave`."""

    @abstractmethod
    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> tuple[bool, BaseException | None]:
        """End the body, which ended by ``error``.

        Returns:
            Whether :meth:`cancel` ended it, and what has to be raised in place of ``error``, if anything: such as
            another cancel that comes only now.
        """


class Loop(ABC):
    """The loop that runs now, and the library that runs it. All but :meth:`post` is for the loop's own thread."""

    @abstractmethod
    def post(self, function: Callable[..., object], /, *arguments: Any) -> object:
        """Call ``function`` on the loop soon, from any thread. Raises ``RuntimeError`` if the loop has ended."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the loop runs nothing any more. Callable from any thread."""

    @abstractmethod
    def runs_here(self) -> bool:
        """Whether the caller runs on this loop."""

    @abstractmethod
    def waiter(self) -> Waiter:
        """Return something to wait for."""

    @abstractmethod
    def end(self, waiter: Any) -> None:
        """Let the task go on that awaits ``waiter``. Does nothing if it was ended, or its task was cancelled."""

    @abstractmethod
    async def wait(self, waiter: Any, seconds: float | None) -> None:
        """Wait for ``waiter``, for at most ``seconds``."""

    @abstractmethod
    def event(self) -> Event:
        """Return an event that is not set."""

    @abstractmethod
    def lock(self) -> AbstractAsyncContextManager[object]:
        """Return a lock for tasks, to be used in ``async with``."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for so long, at least once."""

    @abstractmethod
    def call_later(self, seconds: float, function: Callable[[], object]) -> object:
        """Call ``function``, which raises nothing, after so many seconds."""

    @abstractmethod
    def keep(self, work: Coroutine[Any, Any, None], name: str) -> object:
        """Run ``work``, which raises nothing, as a task that ends with the loop. Returns the task."""

    @abstractmethod
    def tidy(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` in the background, if the library warns of generators that are dropped before their end."""

    @abstractmethod
    def task(self) -> object:
        """Return the task that runs now."""

    @abstractmethod
    def block(self) -> Block:
        """Begin a body in the task that runs now."""

    @abstractmethod
    def shielded(self) -> AbstractContextManager[object]:
        """Return what keeps the end of the loop from cancelling the ``with`` statement that it is used in."""


def running_loop() -> Loop:
    """Return the loop that the caller runs on.

    Raises:
        InvalidArgument: a library runs it that ``tenure.aio`` doesn't know.
    """
    library = _library()
    if library not in _LOOPS:
        raise InvalidArgument(
            f"connecting: tenure.aio runs on the event loops of {' and '.join(_LOOPS)}, and not on that of "
            f"{library or 'another library'}; connect in a task of one of them, or use tenure.connect in a thread"
        )
    module, name = _LOOPS[library]
    loop: Loop = getattr(import_module(module), name)()
    return loop


def _library() -> str | None:
    """Return the name of the library that runs the caller. Nothing is imported for that: who runs is there."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        try:
            return str(sniffio.current_async_library())
        except sniffio.AsyncLibraryNotFoundError:
            pass  # such as in a callback of asyncio
    trio = sys.modules.get("trio")
    if trio is not None:
        try:  # before asyncio: a loop of asyncio may be the host of trio's
            trio.lowlevel.current_task()
        except RuntimeError:
            pass
        else:
            return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio"
