"""Elections on an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tenure._runtime.clock import TimeLimit
from tenure._steps.following import Differences
from tenure.aio._faces import awaited, described, documented
from tenure.aio._opening import Opening
from tenure.aio._store import Store
from tenure.aio._watch import Watch
from tenure.aio.recipes._holding import Acquires, Held, Holding
from tenure.aio.recipes._session import Session, own
from tenure.errors import StoreClosed, WaitTimeout
from tenure.recipes import election as sync
from tenure.recipes._holding import Acquires as SyncAcquires
from tenure.recipes._queue import view_of
from tenure.recipes.election import Leader


@described(sync.Observation)
class Observation:
    """Who leads, for ``async for`` on one event loop."""

    def __init__(self, watch: Watch, folder: str) -> None:
        self._watch = watch
        self._folder = folder
        self._leaders = Differences(lambda present: sync.leader_of(view_of(folder, present)))

    @documented(sync.Observation.next)
    async def next(self, timeout: float | None = None) -> Leader | None:
        limit = TimeLimit(self._watch._bridge.sync.clock, timeout)
        while True:
            batch = await self._watch.next(limit.left())
            if batch is None:
                raise WaitTimeout(
                    f"observing {self._folder!r}: the leader did not change in {timeout:g} s; give a longer timeout"
                )
            for leader in self._leaders.take(batch):
                return leader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Leader | None:
        try:
            return await self.next()
        except StoreClosed:
            if self._watch.closed:
                raise StopAsyncIteration from None
            raise

    @documented(sync.Observation.close)
    async def close(self) -> None:
        await self._watch.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


@described(sync.Election)
class Election:
    """An election for one event loop. ``async with election.lead()`` cancels its block if the term is lost within.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         election = aio.Election(store, "scheduler", candidate="node-a")
    ...         async with election.lead():
    ...             return await election.leader()
    >>> asyncio.run(main()).candidate
    'node-a'
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        candidate: str | None = None,
        data: str = "",
        session: Session | None = None,
    ) -> None:
        self._store = store
        self._call = store._call
        self._sync = sync.Election(store._sync, name, candidate=candidate, data=data, session=own(session))
        self._terms = Acquires(store, SyncAcquires(self._sync._steps, self._sync._value))

    @property
    @documented(sync.Election.name)
    def name(self) -> str:
        return self._sync.name

    @property
    @documented(sync.Election.term)
    def term(self) -> Held | None:
        return self._terms.held

    @documented(sync.Election.campaign)
    async def campaign(self, *, timeout: float | None = None) -> Held:
        return await self._terms.acquire(timeout=timeout)

    @documented(sync.Election.lead)
    def lead(self, *, timeout: float | None = None) -> Holding:
        return self._terms.hold(timeout=timeout)

    hand_over = awaited(sync.Election.hand_over)
    leader = awaited(sync.Election.leader)

    @documented(sync.Election.observe)
    def observe(self) -> Opening[Observation]:
        folder = self._sync._folder

        async def opened() -> Observation:
            return Observation(await self._store.watch(folder), folder)

        return Opening(opened)

    def __repr__(self) -> str:
        return repr(self._sync)
