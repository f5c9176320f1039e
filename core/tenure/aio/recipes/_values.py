"""Counters, values, unique numbers and transactions on an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenure.aio._faces import described, documented
from tenure.aio._store import Store
from tenure.aio.recipes._steps import driven, run
from tenure.recipes import atomic_value as sync_atomic_value
from tenure.recipes import counter as sync_counter
from tenure.recipes import id_block as sync_id_block
from tenure.recipes.transact import TransactView, transacting
from tenure.recipes.transact import transact as sync_transact

T = TypeVar("T")


@described(sync_counter.Counter)
class Counter:
    """A counter for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         visits = aio.Counter(store, "visits")
    ...         return await visits.add(), await visits.add(5), await visits.value()
    >>> asyncio.run(main())
    (1, 6, 6)
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._sync = sync_counter.Counter(store._sync, name)
        self.name = name
        self.key = self._sync.key

    add = driven(sync_counter.Counter.add, sync_counter.Counter._adding)
    value = driven(sync_counter.Counter.value, sync_counter.Counter._reading)

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_atomic_value.AtomicValue)
class AtomicValue:
    """A value for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         color = aio.AtomicValue(store, "color")
    ...         await color.set(b"red")
    ...         return await color.update(bytes.upper)
    >>> asyncio.run(main())
    b'RED'
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._sync = sync_atomic_value.AtomicValue(store._sync, name)
        self.name = name
        self.key = self._sync.key

    get = driven(sync_atomic_value.AtomicValue.get, sync_atomic_value.AtomicValue._getting)
    set = driven(sync_atomic_value.AtomicValue.set, sync_atomic_value.AtomicValue._setting)
    compare_and_set = driven(
        sync_atomic_value.AtomicValue.compare_and_set, sync_atomic_value.AtomicValue._comparing_and_setting
    )
    update = driven(sync_atomic_value.AtomicValue.update, sync_atomic_value.AtomicValue._updating)

    def __repr__(self) -> str:
        return repr(self._sync)


@described(sync_id_block.IdBlock)
class IdBlock:
    """Unique numbers for one event loop.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         one, other = aio.IdBlock(store, "orders", size=50), aio.IdBlock(store, "orders", size=50)
    ...         return await one.next(), await other.next(), await one.next()
    >>> asyncio.run(main())
    (1, 51, 2)
    """

    def __init__(self, store: Store, name: str, *, size: int = 100) -> None:
        self._store = store
        self._sync = sync_id_block.IdBlock(store._sync, name, size=size)
        self.name = name
        self.key = self._sync.key

    next = driven(sync_id_block.IdBlock.next, sync_id_block.IdBlock._next)

    def __repr__(self) -> str:
        return repr(self._sync)


@documented(sync_transact)
async def transact(store: Store, function: Callable[[TransactView], T], *, timeout: float | None = None) -> T:
    return await run(store, transacting(store._sync, function, timeout))
