"""A lease whose calls are awaited."""

from __future__ import annotations

import logging
from functools import partial
from types import TracebackType
from typing import Any, Self

from tenure.aio._bridge import Bridge
from tenure.aio._faces import described, documented
from tenure.errors import TenureError
from tenure.leases import lease as sync
from tenure.spi.types import LeaseGrant

_log = logging.getLogger("tenure.leases")


@described(sync.Lease)
class Lease(sync.HeldLease):
    """A lease for one event loop. Reading its state is a plain call.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store, store.lease(10) as lease:
    ...         await store.put("worker/1", b"ready", lease=lease)
    ...         return lease.alive
    >>> asyncio.run(main())
    True
    """

    def __init__(self, bridge: Bridge, grant: LeaseGrant, **fields: Any) -> None:
        super().__init__(grant, **fields)
        self._bridge = bridge

    @documented(sync.Lease.refresh)
    async def refresh(self, *, timeout: float | None = None) -> None:
        await self._bridge.call(partial(self.refresh_now, timeout))

    @documented(sync.Lease.revoke)
    async def revoke(self, *, timeout: float | None = None) -> None:
        if self.mark_revoked():
            await self._bridge.call(partial(self._keeper.revoke, self, timeout), always=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.revoke()
        except TenureError as exc:
            if error is None:
                raise
            # The body's own error is what the caller has to see. The lease expires.
            _log.warning("lease %s could not be revoked after an error and will expire: %s", self.id, exc)
