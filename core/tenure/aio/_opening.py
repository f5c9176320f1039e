"""What is opened by ``await`` or by ``async with``, such as a store or a lease. Before that, nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar


class Closable(Protocol):
    """What ends in ``async with``."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


T = TypeVar("T", bound=Closable)


class Opening(Generic[T]):
    """``await`` it for what it opens, or use it in ``async with``, which also closes that at the end."""

    def __init__(self, opened: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._open = opened
        self._opened: list[T] = []

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()

    async def __aenter__(self) -> T:
        opened = await self
        self._opened.append(opened)
        return await opened.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._opened.pop().__aexit__(kind, error, tb)
