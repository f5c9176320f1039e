"""Elections on an event loop."""

from __future__ import annotations

from tenure.aio._faces import awaited, described, documented
from tenure.aio._opening import Opening
from tenure.aio._store import Store
from tenure.aio.recipes._holding import Acquires, Held, Holding
from tenure.aio.recipes._observing import Changes
from tenure.aio.recipes._session import Session, own
from tenure.recipes import election as sync
from tenure.recipes._entered import EnteredByMethod
from tenure.recipes._holding import Acquires as SyncAcquires
from tenure.recipes.election import Leader


@described(sync.Election)
class Election(EnteredByMethod):
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

    _block = sync.Election._block

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
    def observe(self) -> Opening[Changes[Leader | None]]:
        async def opened() -> Changes[Leader | None]:
            watch = await self._store.watch(self._sync._folder)
            return Changes(watch, self._sync._read, what=f"the election {self.name!r}")

        return Opening(opened)

    def __repr__(self) -> str:
        return repr(self._sync)
