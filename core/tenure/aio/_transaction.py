"""A transaction whose commit is awaited."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from tenure._client import transaction as sync
from tenure.aio._bridge import Bridge
from tenure.aio._faces import described, documented
from tenure.spi.types import CommitResult, Transaction


@described(sync.TransactionBuilder)
class TransactionBuilder(sync.TransactionDraft):
    """A transaction for one event loop. Only :meth:`commit` is awaited.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         await store.transaction().if_absent("lock").put("lock", b"me").commit()
    ...         return await store.get("lock")
    >>> asyncio.run(main()).value
    b'me'
    """

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    @documented(sync.TransactionBuilder.commit)
    def commit(self, *, timeout: float | None = None) -> Coroutine[Any, Any, CommitResult]:
        # Taken now, so that a task that is cancelled before it begins is no reason to warn of a dropped transaction.
        preconditions, operations, leases = self._take()
        transaction = Transaction(preconditions, operations)
        return self._bridge.call(partial(self._bridge.sync._commit_built, transaction, leases, timeout))
