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

from tenure.aio._lease import Lease
from tenure.aio._store import Store, connect
from tenure.aio._transaction import TransactionBuilder
from tenure.aio._watch import Watch

__all__ = [
    "Lease",
    "Store",
    "TransactionBuilder",
    "Watch",
    "connect",
]
