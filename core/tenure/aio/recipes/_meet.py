"""Barriers and latches on an event loop."""

from __future__ import annotations

from tenure.aio._faces import awaited, described, documented
from tenure.aio._store import Store
from tenure.aio.recipes._session import Session, own
from tenure.aio.recipes._steps import driven
from tenure.recipes import barrier as sync_barrier
from tenure.recipes import count_down_latch as sync_count_down_latch
from tenure.recipes import double_barrier as sync_double_barrier


@described(sync_barrier.Barrier)
class Barrier:
    """A barrier for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         barrier = aio.Barrier(store, "migration")
    ...         await barrier.close()
    ...         print(await barrier.is_closed())
    ...         await barrier.open()
    ...         await barrier.wait(timeout=10)
    >>> asyncio.run(main())
    True
    """

    def __init__(self, store: Store, name: str, *, owner: str | None = None) -> None:
        self._store = store
        self._call = store._call
        self._sync = sync_barrier.Barrier(store._sync, name, owner=owner)
        self.name = name

    close = awaited(sync_barrier.Barrier.close)
    open = awaited(sync_barrier.Barrier.open)
    is_closed = awaited(sync_barrier.Barrier.is_closed)
    wait = driven(sync_barrier.Barrier.wait, sync_barrier.Barrier._waiting)

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_count_down_latch.CountDownLatch)
class CountDownLatch:
    """A latch for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         latch = aio.CountDownLatch(store, "shards-loaded", count=2)
    ...         print(await latch.count_down(), await latch.count_down())
    ...         await latch.wait(timeout=10)
    ...         await latch.reset()
    >>> asyncio.run(main())
    1 0
    """

    def __init__(self, store: Store, name: str, *, count: int, owner: str | None = None) -> None:
        self._store = store
        self._call = store._call
        self._sync = sync_count_down_latch.CountDownLatch(store._sync, name, count=count, owner=owner)

    @property
    @documented(sync_count_down_latch.CountDownLatch.name)
    def name(self) -> str:
        return self._sync.name

    @property
    @documented(sync_count_down_latch.CountDownLatch.count)
    def count(self) -> int:
        return self._sync.count

    count_down = driven(
        sync_count_down_latch.CountDownLatch.count_down, sync_count_down_latch.CountDownLatch._counting_down
    )
    remaining = driven(
        sync_count_down_latch.CountDownLatch.remaining, sync_count_down_latch.CountDownLatch._reading_remaining
    )
    wait = driven(sync_count_down_latch.CountDownLatch.wait, sync_count_down_latch.CountDownLatch._waiting)
    reset = awaited(sync_count_down_latch.CountDownLatch.reset)

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_double_barrier.DoubleBarrier)
class DoubleBarrier:
    """A double barrier for one event loop. A member whose :meth:`enter` or :meth:`leave` is cancelled has left.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         barrier = aio.DoubleBarrier(store, "load-test", count=1)
    ...         await barrier.enter(timeout=10)
    ...         print(barrier.inside)
    ...         await barrier.leave(timeout=10)
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self, store: Store, name: str, *, count: int, session: Session | None = None, owner: str | None = None
    ) -> None:
        self._store = store
        self._sync = sync_double_barrier.DoubleBarrier(
            store._sync, name, count=count, session=own(session), owner=owner
        )

    @property
    @documented(sync_double_barrier.DoubleBarrier.name)
    def name(self) -> str:
        return self._sync.name

    @property
    @documented(sync_double_barrier.DoubleBarrier.inside)
    def inside(self) -> bool:
        return self._sync.inside

    enter = driven(sync_double_barrier.DoubleBarrier.enter, sync_double_barrier.DoubleBarrier._entering)
    leave = driven(sync_double_barrier.DoubleBarrier.leave, sync_double_barrier.DoubleBarrier._leaving)

    def __repr__(self) -> str:
        return repr(self._sync)
