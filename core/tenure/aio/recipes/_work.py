"""Work queues on an event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from tenure.aio._bridge import Bridge
from tenure.aio._faces import described, documented
from tenure.aio._store import Store
from tenure.aio._transaction import TransactionBuilder
from tenure.aio.recipes._holding import HeldState
from tenure.aio.recipes._session import Session, own
from tenure.aio.recipes._steps import driven, run
from tenure.errors import TenureError
from tenure.recipes import work_queue as sync


@described(sync.Claim)
class Claim(HeldState):
    """An item, for one event loop. ``async with claim`` needs no call of :meth:`ack`.

    An acknowledgement or a release is made even if its task is cancelled meanwhile. If it then fails, the item is given
    back. A loss doesn't cancel the block: the acknowledgement at its end raises ``LeaseLost``.
    """

    _sync: sync.Claim

    def __init__(self, bridge: Bridge, claim: sync.Claim) -> None:
        super().__init__(bridge, claim)
        self.id = claim.id
        self.value = claim.value
        self.attempts = claim.attempts

    @documented(sync.Claim.ack)
    async def ack(self, transaction: TransactionBuilder | None = None, *, timeout: float | None = None) -> None:
        error = await self._bridge.call(
            partial(_error_of, partial(self._sync._acknowledge, transaction, timeout)),
            undo=self._come_back,
            always=True,
        )
        if error is not None:
            try:
                raise error
            finally:
                del error  # or its traceback would hold itself

    def _come_back(self, error: TenureError | None) -> None:
        """Give the item back if a cancelled acknowledgement failed: no task is left that could try again."""
        if error is not None:
            self._sync.give_up()

    @documented(sync.Claim.release)
    async def release(self, *, delay: float = 0.0, timeout: float | None = None) -> bool:
        return await self._bridge.call(partial(self._sync.release, delay=delay, timeout=timeout), always=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if error is None and not self._sync._released:
                await self.ack()
            elif error is not None:
                await self.release()
        except BaseException as exc:
            self._sync.give_up()
            if error is None or not isinstance(exc, TenureError):
                raise
            return  # the error of the body tells more


@described(sync.WorkQueue)
class WorkQueue:
    """A work queue for one event loop. A consumer that waits for an item takes no thread.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         queue = aio.WorkQueue(store, "mails")
    ...         put = await queue.put(b"to: ann"), await queue.put(b"to: bob", priority=1)
    ...         while claim := await queue.try_claim():
    ...             async with claim:
    ...                 print(claim.value.decode(), claim.attempts)
    >>> asyncio.run(main())
    to: bob 1
    to: ann 1
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        max_items: int = 1000,
        max_attempts: int = 5,
        owner: str | None = None,
        session: Session | None = None,
    ) -> None:
        self._store = store
        self._sync = sync.WorkQueue(
            store._sync, name, max_items=max_items, max_attempts=max_attempts, owner=owner, session=own(session)
        )

    @property
    @documented(sync.WorkQueue.name)
    def name(self) -> str:
        return self._sync.name

    put = driven(sync.WorkQueue.put, sync.WorkQueue._putting)
    dead = driven(sync.WorkQueue.dead, sync.WorkQueue._reading_dead)
    retry_dead = driven(sync.WorkQueue.retry_dead, sync.WorkQueue._retrying_dead)
    drop_dead = driven(sync.WorkQueue.drop_dead, sync.WorkQueue._dropping_dead)

    @documented(sync.WorkQueue.claim)
    async def claim(self, *, timeout: float | None = None) -> Claim | None:
        return self._face(await run(self._store, self._sync._claiming(timeout, wait=True)))

    @documented(sync.WorkQueue.try_claim)
    async def try_claim(self, *, timeout: float | None = None) -> Claim | None:
        return self._face(await run(self._store, self._sync._claiming(timeout, wait=False)))

    def _face(self, claim: sync.Claim | None) -> Claim | None:
        return None if claim is None else Claim(self._store._bridge, claim)

    def __repr__(self) -> str:
        return repr(self._sync)


def _error_of(call: Callable[[], None]) -> TenureError | None:
    try:
        call()
    except TenureError as exc:
        return exc
    return None
