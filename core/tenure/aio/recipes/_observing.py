"""Follow what the keys of a recipe mean, on an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

from tenure._runtime.clock import TimeLimit
from tenure._steps.following import Differences
from tenure.aio._faces import described, documented
from tenure.aio._watch import Watch
from tenure.errors import StoreClosed
from tenure.recipes import _observing as sync
from tenure.spi.types import KeyValue

T = TypeVar("T")


@described(sync.Changes)
class Changes(Generic[T]):
    """For ``async for``, or to await :meth:`next`."""

    def __init__(self, watch: Watch, read: Callable[[Iterable[KeyValue]], T], *, what: str) -> None:
        self._watch = watch
        self._what = what
        self._differences = Differences(read)

    @documented(sync.Changes.next)
    async def next(self, timeout: float | None = None) -> T:
        limit = TimeLimit(self._watch._bridge.sync.clock, timeout)
        while True:
            batch = await self._watch.next(limit.left())
            if batch is None:
                raise sync.nothing_changed(self._what, timeout)
            for now in self._differences.take(batch):
                return now

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.next()
        except StoreClosed:
            if self._watch.closed:
                raise StopAsyncIteration from None
            raise

    @documented(sync.Changes.close)
    async def close(self) -> None:
        await self._watch.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
