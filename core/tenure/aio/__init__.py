"""The asyncio face: the names, arguments and errors of the synchronous one, awaited. It runs on trio, too.

>>> import asyncio
>>> from tenure import aio
>>> async def main():
...     async with aio.connect("memory://") as store:
...         await store.put("greeting", b"hello")
...         return (await store.get("greeting")).value
>>> asyncio.run(main())
b'hello'
"""

from typing import TYPE_CHECKING

from tenure._later import imported
from tenure.aio._lease import Lease
from tenure.aio._store import Store, connect
from tenure.aio._transaction import TransactionBuilder
from tenure.aio._watch import Watch

if TYPE_CHECKING:
    from tenure.aio._registry import Registry
    from tenure.aio.recipes._bus import Bus
    from tenure.aio.recipes._election import Election
    from tenure.aio.recipes._groups import Group, Partitioner
    from tenure.aio.recipes._holding import Held
    from tenure.aio.recipes._locks import Gate, Lock, MultiLock, ReadWriteLock, Semaphore
    from tenure.aio.recipes._meet import Barrier, CountDownLatch, DoubleBarrier
    from tenure.aio.recipes._pace import RateLimiter, Schedule, once
    from tenure.aio.recipes._persistent_key import PersistentKey
    from tenure.aio.recipes._session import Session
    from tenure.aio.recipes._values import AtomicValue, Counter, IdBlock, transact
    from tenure.aio.recipes._views import CachedPrefix, CachedValue
    from tenure.aio.recipes._work import Claim, WorkQueue

__all__ = [
    "AtomicValue",
    "Barrier",
    "Bus",
    "CachedPrefix",
    "CachedValue",
    "Claim",
    "CountDownLatch",
    "Counter",
    "DoubleBarrier",
    "Election",
    "Gate",
    "Group",
    "Held",
    "IdBlock",
    "Lease",
    "Lock",
    "MultiLock",
    "Partitioner",
    "PersistentKey",
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
    "Bus": "tenure.aio.recipes._bus",
    "CachedPrefix": "tenure.aio.recipes._views",
    "CachedValue": "tenure.aio.recipes._views",
    "Claim": "tenure.aio.recipes._work",
    "CountDownLatch": "tenure.aio.recipes._meet",
    "Counter": "tenure.aio.recipes._values",
    "DoubleBarrier": "tenure.aio.recipes._meet",
    "Election": "tenure.aio.recipes._election",
    "Gate": "tenure.aio.recipes._locks",
    "Group": "tenure.aio.recipes._groups",
    "Held": "tenure.aio.recipes._holding",
    "IdBlock": "tenure.aio.recipes._values",
    "Lock": "tenure.aio.recipes._locks",
    "MultiLock": "tenure.aio.recipes._locks",
    "Partitioner": "tenure.aio.recipes._groups",
    "PersistentKey": "tenure.aio.recipes._persistent_key",
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
    return imported(__name__, name, _LATER)
