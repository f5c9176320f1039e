"""A session whose calls are awaited."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

from tenure._runtime.clock import TimeLimit
from tenure.aio._faces import described, documented, passed_on
from tenure.aio._lease import Lease
from tenure.aio._opening import Opening
from tenure.aio._store import Store
from tenure.aio.recipes._steps import run
from tenure.recipes import session as sync


@described(sync.Session)
class Session:
    """A session for one event loop. Reading its state is a plain call.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store, aio.Session.open(store, ttl=5) as session:
    ...         async with aio.Lock(store, "job", session=session).hold():
    ...             return session.alive
    >>> asyncio.run(main())
    True
    """

    def __init__(self, session: sync.Session) -> None:
        self._sync = session

    @classmethod
    @documented(sync.Session.open)
    def open(cls, store: Store, *, ttl: float = sync.DEFAULT_TTL, timeout: float | None = None) -> Opening[Session]:
        async def opened() -> Session:
            return cls(await run(store, sync.open_session(ttl, TimeLimit(store.clock, timeout))))

        return Opening(opened)

    @property
    @documented(sync.Session.lease)
    def lease(self) -> Lease:
        return cast("Lease", self._sync.lease)  # which performs the steps has taken it

    @property
    @documented(sync.Session.alive)
    def alive(self) -> bool:
        return self._sync.alive

    @property
    @documented(sync.Session.remaining)
    def remaining(self) -> float:
        return self._sync.remaining

    check = passed_on(sync.Session.check)

    @documented(sync.Session.close)
    async def close(self, *, timeout: float | None = None) -> None:
        await self.lease.revoke(timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._sync)


def own(session: Session | None) -> Any:
    """Return what the steps take for ``session``."""
    return None if session is None else session._sync
