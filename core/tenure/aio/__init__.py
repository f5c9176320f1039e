"""The asyncio face: the names, arguments and errors of the synchronous one, awaited.

>>> import asyncio
>>> from tenure import aio
>>> async def main():
...     async with aio.connect("memory://") as store:
...         await store.put("greeting", b"hello")
...         return (await store.get("greeting")).value
>>> asyncio.run(main())
b'hello'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tenure.aio._lease import Lease
from tenure.aio._store import Store, connect
from tenure.aio._transaction import TransactionBuilder
from tenure.aio._watch import Watch

if TYPE_CHECKING:
    from tenure.aio._registry import Registry
    from tenure.aio.recipes._election import Election
    from tenure.aio.recipes._holding import Held
    from tenure.aio.recipes._locks import Lock, MultiLock, ReadWriteLock, Semaphore
    from tenure.aio.recipes._meet import Barrier, CountDownLatch, DoubleBarrier
    from tenure.aio.recipes._pace import RateLimiter, Schedule, once
    from tenure.aio.recipes._session import Session
    from tenure.aio.recipes._values import AtomicValue, Counter, IdBlock, transact
    from tenure.aio.recipes._work import Claim, WorkQueue

__all__ = [
    "AtomicValue",
    "Barrier",
    "Claim",
    "CountDownLatch",
    "Counter",
    "DoubleBarrier",
    "Election",
    "Held",
    "IdBlock",
    "Lease",
    "Lock",
    "MultiLock",
    "RateLimiter",
    "ReadWriteLock",
    "Registry",
    "Schedule",
    "Semaphore",
    "Session",
    "Store",
    "TransactionBuilder",
    "Watch",
    "WorkQueue",
    "connect",
    "once",
    "transact",
]

_LATER = {
    "AtomicValue": "tenure.aio.recipes._values",
    "Barrier": "tenure.aio.recipes._meet",
    "Claim": "tenure.aio.recipes._work",
    "CountDownLatch": "tenure.aio.recipes._meet",
    "Counter": "tenure.aio.recipes._values",
    "DoubleBarrier": "tenure.aio.recipes._meet",
    "Election": "tenure.aio.recipes._election",
    "Held": "tenure.aio.recipes._holding",
    "IdBlock": "tenure.aio.recipes._values",
    "Lock": "tenure.aio.recipes._locks",
    "MultiLock": "tenure.aio.recipes._locks",
    "RateLimiter": "tenure.aio.recipes._pace",
    "ReadWriteLock": "tenure.aio.recipes._locks",
    "Registry": "tenure.aio._registry",
    "Schedule": "tenure.aio.recipes._pace",
    "Semaphore": "tenure.aio.recipes._locks",
    "Session": "tenure.aio.recipes._session",
    "WorkQueue": "tenure.aio.recipes._work",
    "once": "tenure.aio.recipes._pace",
    "transact": "tenure.aio.recipes._values",
}
"""Where the recipes and the registry are. A program that uses none imports none."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found
