"""When and how often something is done, on an event loop: rate limiters, schedules, and what runs once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tenure._runtime.clock import TimeLimit
from tenure.aio._faces import described, documented
from tenure.aio._store import Store
from tenure.aio.recipes._holding import Held
from tenure.aio.recipes._session import Session, own
from tenure.aio.recipes._steps import driven, run
from tenure.errors import TenureError
from tenure.recipes import rate_limiter as sync_rate_limiter
from tenure.recipes import schedule as sync_schedule
from tenure.recipes.once import checked, one_run
from tenure.recipes.once import once as sync_once


@described(sync_rate_limiter.RateLimiter)
class RateLimiter:
    """A rate limiter for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         calls = aio.RateLimiter(store, "mail-api", rate=2, per=60)
    ...         return [await calls.try_acquire() for _ in range(3)]
    >>> asyncio.run(main())
    [True, True, False]
    """

    def __init__(self, store: Store, name: str, *, rate: float, per: float = 1.0, burst: float | None = None) -> None:
        self._store = store
        self._sync = sync_rate_limiter.RateLimiter(store._sync, name, rate=rate, per=per, burst=burst)

    @property
    @documented(sync_rate_limiter.RateLimiter.name)
    def name(self) -> str:
        return self._sync.name

    @documented(sync_rate_limiter.RateLimiter.acquire)
    async def acquire(self, permits: float = 1.0, *, timeout: float | None = None) -> None:
        await run(self._store, self._sync._taking(permits, timeout, wait=True))

    @documented(sync_rate_limiter.RateLimiter.try_acquire)
    async def try_acquire(self, permits: float = 1.0, *, timeout: float | None = None) -> bool:
        return await run(self._store, self._sync._taking(permits, timeout, wait=False))

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_schedule.Schedule)
class Schedule:
    """A schedule for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         return await aio.Schedule(store, "cleanup", 1).take(timeout=10)
    >>> asyncio.run(main()).microsecond
    0
    """

    def __init__(self, store: Store, name: str, when: str | float, *, zone: str = "UTC", missed: str = "skip") -> None:
        self._store = store
        self._sync = sync_schedule.Schedule(store._sync, name, when, zone=zone, missed=missed)
        self.name = name
        self.key = self._sync.key

    take = driven(sync_schedule.Schedule.take, sync_schedule.Schedule._taking)

    def __repr__(self) -> str:
        return repr(self._sync)


@documented(sync_once)
async def once(
    store: Store,
    name: str,
    function: Callable[[Held], Awaitable[bytes | None] | bytes | None],
    *,
    timeout: float | None = None,
    session: Session | None = None,
) -> bytes:
    steps = one_run(store._sync, name, own(session))
    found = await run(store, steps.enter(TimeLimit(store.clock, timeout)))
    if isinstance(found, bytes):
        return found
    held = Held(store._bridge, found)
    try:
        returned = function(held)
        result = checked(name, await returned if inspect.isawaitable(returned) else returned)
    except BaseException:
        with suppress(TenureError):  # the error that is raised tells more
            await held.release()
        raise
    await run(store, steps.finish(found, result))
    return result
