"""Groups and partitioners on an event loop: who takes part, and who does which part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from tenure._client.keys import check_callback
from tenure.aio._faces import described, documented, passed_on
from tenure.aio._opening import Opening
from tenure.aio._store import Store
from tenure.aio.recipes._holding import Held
from tenure.aio.recipes._observing import Changes
from tenure.aio.recipes._session import Session, own
from tenure.aio.recipes._steps import ToTheEnd, driven, run
from tenure.errors import TenureError
from tenure.recipes import group as sync_group
from tenure.recipes import partitioner as sync_partitioner
from tenure.recipes._holding import Held as SyncHeld
from tenure.recipes.group import Member


@described(sync_group.Membership)
class Membership(Held):
    """For one event loop. In ``async with``, the member leaves at the end of the block.

    A loss doesn't cancel the block: call :meth:`check`, or :meth:`wait_until_lost`.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.release()
        except TenureError:
            if error is None:
                raise  # otherwise the error of the body tells more


@described(sync_group.Group)
class Group:
    """A group for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         group = aio.Group(store, "workers")
    ...         async with group.join(member="a", data="10.0.0.1:80"):
    ...             print([(member.name, member.data) for member in await group.members()])
    ...         print(await group.members())
    >>> asyncio.run(main())
    [('a', '10.0.0.1:80')]
    ()
    """

    def __init__(self, store: Store, name: str, *, session: Session | None = None) -> None:
        self._store = store
        self._sync = sync_group.Group(store._sync, name, session=own(session))
        self._last: Membership | None = None

    @property
    @documented(sync_group.Group.name)
    def name(self) -> str:
        return self._sync.name

    @property
    @documented(sync_group.Group.membership)
    def membership(self) -> Membership | None:
        membership = self._sync.membership
        return None if membership is None else self._face(membership)

    @documented(sync_group.Group.join)
    def join(self, *, member: str | None = None, data: str = "", timeout: float | None = None) -> Opening[Membership]:
        async def opened() -> Membership:
            return self._face(await run(self._store, self._sync._joining(member, data, timeout)))

        return Opening(opened)

    members = driven(sync_group.Group.members, sync_group.Group._reading_members)

    @documented(sync_group.Group.watch)
    def watch(self, *, timeout: float | None = None) -> Opening[Changes[tuple[Member, ...]]]:
        async def opened() -> Changes[tuple[Member, ...]]:
            watch = await self._store.watch(self._sync._folder, timeout=timeout)
            return Changes(watch, self._sync._read, what=f"the group {self.name!r}")

        return Opening(opened)

    def _face(self, membership: sync_group.Membership) -> Membership:
        if self._last is None or self._last._sync is not membership:
            self._last = Membership(self._store._bridge, membership)
        return self._last


@described(sync_partitioner.Partitioner)
class Partitioner:
    """A partitioner for one event loop. ``on_release`` may be a coroutine function: it is awaited.

    If :meth:`wait` or :meth:`update` is cancelled within ``on_release``, the partition stays with this member, and
    ``on_release`` is called again later. A :meth:`close` that is cancelled continues in the background.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store, aio.Partitioner(store, "users", partitions=4) as mine:
    ...         await mine.wait(timeout=10)
    ...         async with aio.Partitioner(store, "users", partitions=4) as other:
    ...             await other.update(), await mine.update(), await other.update()
    ...             return list(mine.owned), list(other.owned)
    >>> asyncio.run(main())
    ([0, 1], [2, 3])
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        partitions: int,
        member: str | None = None,
        on_release: Callable[[int, Held], Awaitable[object] | object] | None = None,
        session: Session | None = None,
    ) -> None:
        check_callback("on_release", on_release, awaited=True)
        self._store = store
        self._on_release = on_release
        self._faces: dict[int, Held] = {}
        self._leaving: ToTheEnd | None = None
        self._sync = sync_partitioner.Partitioner(
            store._sync,
            name,
            partitions=partitions,
            member=member,
            on_release=None if on_release is None else self._release,
            session=own(session),
        )

    @property
    @documented(sync_partitioner.Partitioner.name)
    def name(self) -> str:
        return self._sync.name

    @property
    @documented(sync_partitioner.Partitioner.owned)
    def owned(self) -> Mapping[int, Held]:
        owned = {number: self._face(number, held) for number, held in self._sync.owned.items()}
        self._faces = dict(owned)
        return owned

    guard = passed_on(sync_partitioner.Partitioner.guard)

    @documented(sync_partitioner.Partitioner.wait)
    async def wait(self, *, timeout: float | None = None) -> bool:
        await self._left()
        return await run(self._store, self._sync._waiting(timeout=timeout))

    @documented(sync_partitioner.Partitioner.update)
    async def update(self, *, timeout: float | None = None) -> bool:
        await self._left()
        return await run(self._store, self._sync._updating(timeout=timeout))

    @documented(sync_partitioner.Partitioner.close)
    async def close(self, *, timeout: float | None = None) -> None:
        if self._leaving is None or not self._leaving.runs_elsewhere:
            self._store._bridge.check()
            steps = self._sync._leaving(timeout=timeout)
            self._leaving = ToTheEnd(self._store, steps, f"leaving the partitions {self.name!r}")
        await self._leaving.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except TenureError:
            if error is None:
                raise  # otherwise the error of the body tells more

    async def _left(self) -> None:
        """Wait for the end of a close that was cancelled."""
        leaving = self._leaving
        if leaving is not None and leaving.cancelled and leaving.runs_elsewhere:
            with suppress(TenureError):
                await leaving.wait()

    def _release(self, number: int, held: SyncHeld) -> object:
        return self._on_release(number, self._face(number, held)) if self._on_release is not None else None

    def _face(self, number: int, held: SyncHeld) -> Held:
        face = self._faces.get(number)
        return face if face is not None and face._sync is held else Held(self._store._bridge, held)

    def __repr__(self) -> str:
        return repr(self._sync)
