"""A watch whose batches are awaited. It has no thread: the plugin's reader wakes the loop, and the loop takes them.

The buffer between the two is the synchronous watch's, with its bounds. A batch is taken out of it only when the task is
there to get it, so a task that is cancelled loses none. Only what waits for the store goes to a worker: closing a feed
that has failed, and opening another.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import monotonic
from tenure.aio._bridge import Bridge
from tenure.aio._calls import called_back
from tenure.aio._faces import described, documented
from tenure.aio._opening import Opening
from tenure.aio._signal import Signal
from tenure.errors import InvalidArgument, StoreClosed, TenureError, UsedAfterFork
from tenure.watch import engine as sync
from tenure.watch.callbacks import ErrorCallback, OutageCallback, WatchCallback
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.watch")
_SLICE = 0.25
"""Seconds after which a wait with a timeout looks at the store's clock, which a suspend moves and the loop's not."""
_AGAIN = 0.1


class WatchDriver(Signal):
    """What a plugin's reader wakes. It doesn't refer to the watch, which ends when the application drops it."""

    def __init__(self, bridge: Bridge, on_outage: OutageCallback | None) -> None:
        super().__init__(bridge.calls)
        self._on_outage = on_outage

    def start(self, watch: sync.Watch) -> None:
        """Look for the first batch."""
        self.wake()

    def outage(self, error: TenureError | None) -> None:
        """Report an outage on the loop."""
        if self._on_outage is not None:
            self._calls.tell(self._on_outage, error)


@described(sync.Watch)
class Watch:
    """A watch for one event loop. Iterate over it by ``async for``, or await :meth:`next`.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store, store.watch("jobs/") as watch:
    ...         await store.put("jobs/1", b"new")
    ...         async for batch in watch:
    ...             print(batch.type.value, [(event.type.value, event.key) for event in batch.events])
    ...             if batch.events:
    ...                 break
    >>> asyncio.run(main())
    snapshot []
    synced []
    changes [('create', 'jobs/1')]
    """

    def __init__(self, bridge: Bridge, watch: sync.Watch, signal: Signal) -> None:
        self._bridge = bridge
        self._sync = watch
        self._signal = signal
        self._reading = False
        self._mending = False
        self._again = 0.0

    @documented(sync.Watch.next)
    async def next(self, timeout: float | None = None) -> Batch | None:
        self._bridge.check_loop()
        if self._reading:
            raise InvalidArgument(
                f"reading the watch of {self._sync._prefix!r}: another task is reading it, and a watch has one "
                "consumer at a time; open one watch per task"
            )
        limit = TimeLimit(self._bridge.sync.clock, timeout)
        self._reading = True
        try:
            await self._bridge.breathe()
            while (batch := self._look()) is None:
                left = limit.left()
                if left is not None and left <= 0:
                    return None
                await self._signal.wait(self._pause(left))
            return batch
        finally:
            self._reading = False

    async def __anext__(self) -> Batch:
        try:
            batch = await self.next()
        except StoreClosed:
            if self._sync.closed and self.error is None:
                raise StopAsyncIteration from None
            raise
        assert batch is not None
        return batch

    def __aiter__(self) -> Self:
        return self

    @property
    @documented(sync.Watch.revision)
    def revision(self) -> int:
        return self._sync.revision

    @property
    @documented(sync.Watch.closed)
    def closed(self) -> bool:
        return self._sync.closed

    @property
    @documented(sync.Watch.error)
    def error(self) -> TenureError | None:
        return self._sync.error

    @property
    @documented(sync.Watch.outage)
    def outage(self) -> TenureError | None:
        return self._sync.outage

    @property
    @documented(sync.Watch.staleness)
    def staleness(self) -> float:
        return self._sync.staleness

    @documented(sync.Watch.close)
    async def close(self) -> None:
        if not self._sync.closed:
            with suppress(StoreClosed, UsedAfterFork):  # a store that closes ends its watches, and a child has none
                await self._bridge.call(self._sync.close, always=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def _look(self) -> Batch | None:
        """Take a batch that is there. Without a feed, let a worker open one when its time has come."""
        if self._mending:
            if self._sync.closed:
                self._sync._has_batch()  # raises
            return None
        batch = self._sync.poll(breaks=False)
        if batch is None and self._sync.broken and self._again <= monotonic():
            self._mending = True
            if self._bridge.immediate:
                self._mend()
            else:
                self._bridge.calls.submit(self._mend)
        return batch

    def _mend(self) -> None:
        self._again = monotonic() + _AGAIN
        try:
            self._again = self._sync.mend() or 0.0
        finally:
            self._mending = False
            self._signal.wake()

    def _pause(self, left: float | None) -> float | None:
        pause = None if left is None else self._bridge.sync.clock.pause(min(left, _SLICE))
        if self._again and not self._mending and self._sync.broken:
            until = max(0.0, self._again - monotonic())
            pause = until if pause is None else min(pause, until)
        return pause


class WatchOpening(Opening[Watch]):
    """What ``store.watch()`` returns: to be awaited, used in ``async with``, or iterated over by ``async for``."""

    async def __aiter__(self) -> AsyncIterator[Batch]:
        async with self as watch:
            async for batch in watch:
                yield batch


async def call_back(watch: Watch, callback: WatchCallback, on_error: ErrorCallback | None) -> None:
    """Call ``callback`` with each batch of ``watch`` until it ends; then ``on_error`` with its error."""
    try:
        async for batch in watch:
            await _call(watch, callback, batch, f"a {batch.type} batch at revision {batch.revision}")
    except TenureError as exc:
        if on_error is None:
            _log.error("a watch ended: %s", exc)
        else:
            await _call(watch, on_error, exc, "the error that ended the watch")


async def _call(watch: Watch, function: Callable[..., object], argument: object, description: str) -> None:
    observed = watch._bridge.sync._callbacks.observed
    raised = f"the callback of a watch raised on {description}"
    await called_back(partial(function, argument), "watch", observed, _log, raised)
