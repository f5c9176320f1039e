"""Buses on an event loop. A consumer that waits takes no thread."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self, TypeVar

from tenure._runtime.clock import TimeLimit
from tenure.aio._faces import described, documented
from tenure.aio._opening import Opening
from tenure.aio._store import Store
from tenure.aio._watch import Watch
from tenure.aio.recipes._steps import driven, read
from tenure.errors import StoreClosed
from tenure.recipes import bus as sync
from tenure.recipes.bus import Message
from tenure.recipes.codec import Codec

T = TypeVar("T")


@described(sync.Subscription)
class Subscription(Generic[T]):
    """For ``async for``, or to await :meth:`next`. A task that is cancelled while it waits loses no message."""

    def __init__(self, watch: Watch, inbox: sync.Inbox[T]) -> None:
        self._watch = watch
        self._inbox = inbox

    @property
    @documented(sync.Subscription.position)
    def position(self) -> str:
        return self._inbox.position

    @documented(sync.Subscription.next)
    async def next(self, timeout: float | None = None) -> Message[T]:
        return await read(self._watch, self._inbox.next(TimeLimit(self._watch._bridge.sync.clock, timeout)))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[T]:
        try:
            return await self.next()
        except StoreClosed:
            if self._watch.closed:
                raise StopAsyncIteration from None
            raise

    @documented(sync.Subscription.close)
    async def close(self) -> None:
        await self._watch.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


@described(sync.Bus)
class Bus(Generic[T]):
    """A bus for one event loop.

    >>> import asyncio, tenure
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         bus = aio.Bus(store, "deployments", codec=tenure.TEXT)
    ...         async with bus.subscribe() as messages:
    ...             await bus.publish("web 1.2")
    ...             return (await messages.next(timeout=10)).value
    >>> asyncio.run(main())
    'web 1.2'
    """

    BEGINNING = sync.Bus.BEGINNING
    """The position before the first message ever: a consumer that begins after it gets all that are kept."""

    def __init__(
        self, store: Store, name: str, *, codec: Codec[T], max_messages: int = 1000, max_age: float | None = None
    ) -> None:
        self._store = store
        self._sync = sync.Bus(store._sync, name, codec=codec, max_messages=max_messages, max_age=max_age)

    @property
    @documented(sync.Bus.name)
    def name(self) -> str:
        return self._sync.name

    publish = driven(sync.Bus.publish, sync.Bus._publishing)

    @documented(sync.Bus.subscribe)
    def subscribe(self, *, after: str | None = None, timeout: float | None = None) -> Opening[Subscription[T]]:
        inbox = self._sync._inbox(after)

        async def opened() -> Subscription[T]:
            clock = self._store.clock
            limit = TimeLimit(clock, self._store.timeout if timeout is None else timeout)
            watch = await self._store.watch(self._sync._messages.folder, timeout=timeout)
            inbox.follows = lambda: watch.staleness == 0
            try:
                await read(watch, inbox.begin(limit))
            except BaseException:
                await watch.close()
                raise
            return Subscription(watch, inbox)

        return Opening(opened)

    def __repr__(self) -> str:
        return repr(self._sync)
