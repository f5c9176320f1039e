"""The store of the asyncio face: it wraps a synchronous one, with its checks, retries and deadlines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tenure._client import opening as sync_opening
from tenure._client import store as sync
from tenure._client.keys import check_callback
from tenure._client.open_watches import WatchArguments
from tenure._runtime.clock import Clock, SystemClock
from tenure._runtime.deadline import Deadline
from tenure.aio._bridge import Bridge
from tenure.aio._calls import Calls
from tenure.aio._faces import awaited, described, documented
from tenure.aio._lease import Lease
from tenure.aio._opening import Opening
from tenure.aio._transaction import TransactionBuilder
from tenure.aio._watch import Watch, WatchDriver, WatchOpening, call_back
from tenure.errors import TenureError
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import KeyValue
from tenure.watch.buffer import MAX_ENTRIES
from tenure.watch.callbacks import ErrorCallback, OutageCallback, WatchCallback

P = ParamSpec("P")
T = TypeVar("T")

_MOMENT = 0.1
"""Seconds within which the thread of an attempt to connect ends that has failed."""


@described(sync.Store)
class Store:
    """A store for one event loop, opened by :func:`tenure.aio.connect`. No call blocks the loop.

    A task that is cancelled during a call gets ``CancelledError`` at once. A call that had not begun is never made. A
    write that had begun is finished in the background: it is done or refused, never half, and the next call works.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         first = await store.put("color", b"red")
    ...         await store.put_if_unchanged("color", b"blue", revision=first.revision)
    ...         return await store.get("color")
    >>> asyncio.run(main()).value
    b'blue'
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._sync = bridge.sync
        self._call = bridge.call

    # -- about the store --

    @property
    @documented(sync.Store.url)
    def url(self) -> str:
        return self._sync.url

    @property
    @documented(sync.Store.capabilities)
    def capabilities(self) -> Capabilities:
        return self._sync.capabilities

    @property
    @documented(sync.Store.clock)
    def clock(self) -> Clock:
        return self._sync.clock

    @property
    @documented(sync.Store.timeout)
    def timeout(self) -> float:
        return self._sync.timeout

    @property
    @documented(sync.Store.closed)
    def closed(self) -> bool:
        return self._sync.closed

    @property
    @documented(sync.Store.native)
    def native(self) -> object:
        return self._sync.native

    server_info = awaited(sync.Store.server_info)

    # -- reading and writing --

    get = awaited(sync.Store.get)
    get_with_revision = awaited(sync.Store.get_with_revision)
    get_many = awaited(sync.Store.get_many)
    list = awaited(sync.Store.list)
    put = awaited(sync.Store.put)
    put_if_absent = awaited(sync.Store.put_if_absent)
    put_if_unchanged = awaited(sync.Store.put_if_unchanged)
    delete = awaited(sync.Store.delete)
    delete_prefix = awaited(sync.Store.delete_prefix)

    @documented(sync.Store.scan)
    def scan(
        self, prefix: str = "", *, page_size: int = sync.SCAN_PAGE, timeout: float | None = None
    ) -> AsyncIterator[KeyValue]:
        return self._pages(self._sync.scan(prefix, page_size=page_size, timeout=timeout), page_size)

    async def _pages(self, items: Iterator[KeyValue], size: int) -> AsyncIterator[KeyValue]:
        while page := await self._call(lambda: tuple(islice(items, size))):
            for item in page:
                yield item

    @documented(sync.Store.transaction)
    def transaction(self) -> TransactionBuilder:
        self._bridge.check()
        return TransactionBuilder(self._bridge)

    # -- leases --

    @documented(sync.Store.lease)
    def lease(
        self,
        ttl: float,
        *,
        keep_alive: bool = True,
        margin: float = 0.0,
        on_lost: Callable[[Lease], object] | None = None,
        timeout: float | None = None,
    ) -> Opening[Lease]:
        check_callback("on_lost", on_lost, awaited=True)
        told = None if on_lost is None else partial(self._bridge.calls.tell, on_lost)
        return Opening(
            lambda: self._bridge.call(
                partial(
                    self._sync._take_lease,
                    partial(Lease, self._bridge),
                    ttl,
                    keep_alive=keep_alive,
                    margin=margin,
                    on_lost=told,
                    timeout=timeout,
                ),
                undo=lambda lease: lease.revoke_now(None),
            )
        )

    leases = awaited(sync.Store.leases)
    describe_lease = awaited(sync.Store.describe_lease)
    revoke_lease = awaited(sync.Store.revoke_lease)

    # -- watching --

    @documented(sync.Store.watch)
    def watch(
        self,
        prefix: str = "",
        *,
        exact: bool = False,
        previous: bool = False,
        after: int | None = None,
        callback: WatchCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_outage: OutageCallback | None = None,
        max_pending: int = MAX_ENTRIES,
        timeout: float | None = None,
    ) -> WatchOpening:
        for name, function in (("callback", callback), ("on_error", on_error), ("on_outage", on_outage)):
            check_callback(name, function, awaited=True)

        async def opened() -> Watch:
            driver = WatchDriver(self._bridge, on_outage if callback is not None else None)
            watch = await self._bridge.call(
                partial(
                    self._sync._open_watch,
                    WatchArguments(prefix, exact, previous, after, max_pending),
                    timeout,
                    driver,
                ),
                undo=lambda watch: watch.close(),
            )
            face = Watch(self._bridge, watch, driver)
            if callback is not None:
                self._bridge.keep(call_back(face, callback, on_error), f"watch of {prefix!r}")
            return face

        return WatchOpening(opened)

    # -- closing --

    @documented(sync.Store.close)
    async def close(self, *, timeout: float | None = None) -> None:
        await self._bridge.close(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio.{repr(self._sync)[1:]}"


def _opening(model: Callable[P, Any], opened: Callable[..., Coroutine[Any, Any, Store]]) -> Callable[P, Opening[Store]]:
    @documented(model)
    def connect(*args: P.args, **kwargs: P.kwargs) -> Opening[Store]:
        return Opening(lambda: opened(*args, **kwargs))

    connect.__wrapped__ = model  # type: ignore[attr-defined]  # for inspect.signature
    return connect


async def _connect(*args: Any, **kwargs: Any) -> Store:
    calls = Calls(kwargs.get("clock") or SystemClock())
    try:
        opened = await calls.run(partial(sync_opening.connect, *args, **kwargs), undo=lambda store: store.close())
    except Exception as exc:
        calls.close(Deadline(_MOMENT))
        if isinstance(exc, TenureError):
            sync_opening.shorten_traceback(exc)
        raise
    bridge = Bridge(opened, calls)
    await bridge.open()
    return Store(bridge)


connect = _opening(sync_opening.connect, _connect)
