"""Locks, semaphores and gates on an event loop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from tenure.aio._faces import awaited, described, documented
from tenure.aio._store import Store
from tenure.aio._transaction import TransactionBuilder
from tenure.aio.recipes._holding import Acquires, Held
from tenure.aio.recipes._session import Session, own
from tenure.aio.recipes._steps import driven, run
from tenure.recipes import fencing as sync_fencing
from tenure.recipes import lock as sync_lock
from tenure.recipes import multi_lock as sync_multi_lock
from tenure.recipes import read_write_lock as sync_read_write_lock
from tenure.recipes import semaphore as sync_semaphore
from tenure.recipes._entered import EnteredByMethod


@described(sync_lock.Lock)
class Lock(Acquires):
    """A lock for one event loop. ``async with lock.hold()`` cancels its block if the lock is lost within.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store, aio.Lock(store, "report").hold(timeout=10) as held:
    ...         change = store.transaction().put("report/last", b"today")
    ...         await held.guard(change).commit()
    ...         return await store.get("report/last")
    >>> asyncio.run(main()).value
    b'today'
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        session: Session | None = None,
        fair: bool = True,
        reentrant: bool = False,
        owner: str | None = None,
    ) -> None:
        super().__init__(
            store,
            sync_lock.Lock(store._sync, name, session=own(session), fair=fair, reentrant=reentrant, owner=owner),
        )

    @property
    @documented(sync_lock.Lock.name)
    def name(self) -> str:
        return self._sync._steps.name


@described(sync_multi_lock.MultiLock)
class MultiLock(Acquires):
    """Several locks for one event loop, held together.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         async with aio.MultiLock(store, ["account-7", "account-3"]).hold():
    ...             return await aio.Lock(store, "account-3").try_acquire()
    >>> print(asyncio.run(main()))
    None
    """

    _sync: sync_multi_lock.MultiLock

    def __init__(
        self, store: Store, names: Iterable[str], *, session: Session | None = None, owner: str | None = None
    ) -> None:
        super().__init__(store, sync_multi_lock.MultiLock(store._sync, names, session=own(session), owner=owner))

    @property
    @documented(sync_multi_lock.MultiLock.names)
    def names(self) -> tuple[str, ...]:
        return self._sync.names

    @property
    @documented(sync_multi_lock.MultiLock.tokens)
    def tokens(self) -> dict[str, int]:
        return self._sync.tokens


class Side(Acquires):
    """The read side or the write side of a :class:`ReadWriteLock`. One object holds a side once at a time."""


@described(sync_read_write_lock.ReadWriteLock)
class ReadWriteLock(EnteredByMethod):
    """A read-write lock for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         one, other = aio.ReadWriteLock(store, "index"), aio.ReadWriteLock(store, "index")
    ...         async with one.read.hold(), other.read.hold():
    ...             return await aio.ReadWriteLock(store, "index").write.try_acquire()
    >>> print(asyncio.run(main()))
    None
    """

    _block = sync_read_write_lock.ReadWriteLock._block

    def __init__(self, store: Store, name: str, *, session: Session | None = None, owner: str | None = None) -> None:
        self._store = store
        self._sync = sync_read_write_lock.ReadWriteLock(store._sync, name, session=own(session), owner=owner)
        self.name = name
        self.read = Side(store, self._sync.read)
        self.write = Side(store, self._sync.write)

    @documented(sync_read_write_lock.ReadWriteLock.downgrade)
    async def downgrade(self, *, timeout: float | None = None) -> Held:
        held = await self._store._bridge.call(
            partial(self._sync.downgrade, timeout=timeout), undo=lambda held: held.give_up()
        )
        return self.read._face(held)

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_semaphore.Semaphore)
class Semaphore(Acquires):
    """A semaphore for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         one, two, three = (aio.Semaphore(store, "uploads", limit=2) for _ in range(3))
    ...         async with one.hold(), two.hold():
    ...             return await three.try_acquire()
    >>> print(asyncio.run(main()))
    None
    """

    def __init__(
        self, store: Store, name: str, *, limit: int, session: Session | None = None, owner: str | None = None
    ) -> None:
        super().__init__(
            store, sync_semaphore.Semaphore(store._sync, name, limit=limit, session=own(session), owner=owner)
        )
        self._call = store._call

    @property
    @documented(sync_semaphore.Semaphore.name)
    def name(self) -> str:
        return self._sync._steps.name

    resize = awaited(sync_semaphore.Semaphore.resize)


@described(sync_fencing.Gate)
class Gate:
    """A gate for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         gate, lock = aio.Gate(store, "report"), aio.Lock(store, "report")
    ...         async with lock.hold() as held:
    ...             fence = await held.fence()
    ...             await (await gate.guard(store.transaction().put("report", b"1"), fence)).commit()
    ...         async with lock.hold() as held:
    ...             await gate.admit(await held.fence())
    ...             return fence < await held.fence()
    >>> asyncio.run(main())
    True
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._sync = sync_fencing.Gate(store._sync, name)

    @property
    @documented(sync_fencing.Gate.name)
    def name(self) -> str:
        return self._sync.name

    admit = driven(sync_fencing.Gate.admit, sync_fencing.Gate._admitting)

    @documented(sync_fencing.Gate.guard)
    async def guard(
        self, transaction: TransactionBuilder, fence: sync_fencing.Fence, *, timeout: float | None = None
    ) -> TransactionBuilder:
        return await run(self._store, self._sync._guarding(transaction, fence, timeout=timeout))

    def __repr__(self) -> str:
        return repr(self._sync)
