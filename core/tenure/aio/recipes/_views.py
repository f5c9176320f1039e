"""Settings that reload, on an event loop: views of one key or a prefix. Reading them is a plain call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast, overload

from tenure._client.keys import check_callback
from tenure._runtime.clock import TimeLimit
from tenure.aio._bridge import Bridge
from tenure.aio._calls import called_back
from tenure.aio._faces import described, documented
from tenure.aio._signal import Signal
from tenure.aio._store import Store
from tenure.aio._watch import Watch
from tenure.aio.recipes._steps import run
from tenure.errors import InvalidArgument
from tenure.recipes import cached_prefix as sync_cached_prefix
from tenure.recipes import cached_value as sync_cached_value
from tenure.recipes._cached import not_in_time, was_closed
from tenure.recipes._cached_state import CachedState, Follows, PrefixState, ValueState
from tenure.recipes._view import Subscriber, View
from tenure.recipes.codec import Codec

T = TypeVar("T")
V = TypeVar("V")

_log = logging.getLogger("tenure.recipes")
_LOOK_AT_STORE = 0.25
"""A wait looks so often, in seconds, whether the store was closed."""


class _Strand:
    """Runs a function as a task whenever it is woken: never twice at a time, and once more after the last wake-up."""

    def __init__(self, bridge: Bridge, function: Callable[[], object], name: str) -> None:
        self._bridge = bridge
        self._function = function
        self._name = name
        self._woken = False
        self._running = False

    def wake(self) -> None:
        self._woken = True
        if not self._running:
            self._running = True
            self._bridge.keep(self._run(), self._name)

    async def _run(self) -> None:
        try:
            while self._woken:
                self._woken = False
                observed = self._bridge.sync._callbacks.observed
                await called_back(self._function, "recipe", observed, _log, f"a callback raised ({self._name})")
        finally:
            self._running = False


class _Closed:
    """In place of what is there only once a view is open."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise InvalidArgument(f"reading the view of {self._what!r}: it isn't open; await it, or use it in 'async with'")


class Cached(CachedState[T]):
    """A view that a watch keeps up to date on the loop."""

    def __init__(
        self,
        store: Store,
        codec: Codec[T],
        validate: Callable[[T], object] | None,
        prefix: str,
        *,
        exact: bool,
        timeout: float | None,
    ) -> None:
        self._store = store
        self._stored = store._sync
        self._codec = codec
        self._validate = validate
        self._prefix = prefix
        self._exact = exact
        self._timeout = timeout
        self._opening = store._bridge.calls.loop.lock()
        self._opened = False
        self._view = cast("View[T]", _Closed(prefix))
        self._watch = cast("Watch", self._view)

    async def _open(self) -> Self:
        async with self._opening:
            if not self._opened:
                limit = self._limit(self._store.timeout if self._timeout is None else self._timeout)
                view = View(self._stored, self._codec, self._validate)
                watch = await self._store.watch(
                    self._prefix,
                    exact=self._exact,
                    callback=view.apply,
                    on_error=lambda error: view.wake(),
                    timeout=self._timeout,
                )
                view.follows = lambda: watch.staleness == 0
                view.remind = self._reminding(view, watch)
                arrived = False
                try:
                    arrived = await self._arrive(view, watch, lambda: view.in_sync, limit)
                finally:
                    if not arrived:
                        await watch.close()
                if not arrived:
                    raise not_in_time(self._prefix)
                self._view, self._watch, self._opened = view, watch, True
                self._age = self._stored._observers.cache_opened(self._kind, self._prefix, self)
        return self

    def _reminding(self, view: View[T], watch: Watch) -> Callable[[float], object]:
        loop, clock = self._store._bridge.calls.loop, self._stored.clock

        def settle() -> None:
            if not watch.closed:
                view.settle()

        return lambda seconds: loop.call_later(clock.pause(seconds), settle)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @documented(sync_cached_value.CachedValue.close)
    async def close(self) -> None:
        if self._opened:
            await self._watch.close()
            self._stored._observers.cache_closed(self._kind, self._prefix, self._age)
            self._view.wake()

    @property
    def _follower(self) -> Follows:
        return self._watch

    def _subscribe(self, callback: Callable[[frozenset[str]], object]) -> None:
        self._stored._check_fork()
        name = f"callback of the view of {self._prefix!r}"
        self._view.subscribe(Subscriber(lambda function: _Strand(self._store._bridge, function, name), callback))

    async def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        await self._arrive(self._view, self._watch, ready, self._limit(timeout))

    async def _arrive(self, view: View[T], watch: Watch, ready: Callable[[], bool], limit: TimeLimit) -> bool:
        """Wait until ``ready``, which is called after each batch. ``False``: the time is up."""
        bridge = self._store._bridge
        signal = Signal(bridge.calls)
        view.waiters.add(signal.wake)
        try:
            while not ready():
                left = limit.left()
                if left is not None and left <= 0:
                    return False
                bridge.check()
                if watch.closed:
                    raise watch.error or was_closed(self._prefix)
                await signal.wait(
                    self._stored.clock.pause(_LOOK_AT_STORE if left is None else min(left, _LOOK_AT_STORE))
                )
            return True
        finally:
            view.waiters.discard(signal.wake)


@described(sync_cached_value.CachedValue)
class CachedValue(Cached[T], ValueState[T]):
    """A setting for one event loop. ``await`` it to open it, or use it in ``async with``, which also closes it.

    >>> import asyncio, tenure
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         async with aio.CachedValue(store, "settings/limit", codec=tenure.JSON, default=10) as limit:
    ...             print(limit.value)
    ...             await limit.set(20)
    ...             print(limit.value)
    >>> asyncio.run(main())
    10
    20
    """

    @overload
    def __init__(
        self: CachedValue[V],
        store: Store,
        key: str,
        *,
        codec: Codec[V],
        default: V,
        validate: Callable[[V], object] | None = None,
        timeout: float | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: CachedValue[V | None],
        store: Store,
        key: str,
        *,
        codec: Codec[V],
        default: None = None,
        validate: Callable[[V], object] | None = None,
        timeout: float | None = None,
    ) -> None: ...

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        codec: Codec[Any],
        default: Any = None,
        validate: Callable[[Any], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._default: T = default
        super().__init__(store, codec, validate, key, exact=True, timeout=timeout)

    @documented(sync_cached_value.CachedValue.set)
    async def set(self, value: T, *, timeout: float | None = None) -> None:
        await run(self._store, self._setting(value, timeout=timeout))

    @documented(sync_cached_value.CachedValue.on_change)
    def on_change(self, callback: Callable[[T], object]) -> None:
        check_callback("callback", callback, awaited=True)
        self._subscribe(self._telling(callback))

    @documented(sync_cached_value.CachedValue.wait_for)
    async def wait_for(self, predicate: Callable[[T], object], *, timeout: float | None = None) -> T:
        wanted = self._wanted(predicate)
        await self._wait(wanted.look, timeout)
        return wanted.result(f"{self._prefix!r}: the value")

    def __repr__(self) -> str:
        if not self._opened:
            return f"<CachedValue {self._prefix!r} not open>"
        return f"<CachedValue {self._prefix!r} value={self.value!r} staleness={self.staleness:.1f}s>"


@described(sync_cached_prefix.CachedPrefix)
class CachedPrefix(Cached[T], PrefixState[T]):
    """Settings for one event loop. ``await`` it to open it, or use it in ``async with``, which also closes it.

    >>> import asyncio, tenure
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         settings = await aio.CachedPrefix(store, "settings/", codec=tenure.TEXT)
    ...         await settings.set("color", "red")
    ...         return settings["color"], dict(settings)
    >>> asyncio.run(main())
    ('red', {'color': 'red'})
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        *,
        codec: Codec[T],
        validate: Callable[[T], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(store, codec, validate, prefix, exact=False, timeout=timeout)

    @documented(sync_cached_prefix.CachedPrefix.set)
    async def set(self, key: str, value: T, *, timeout: float | None = None) -> None:
        await run(self._store, self._setting(key, value, timeout=timeout))

    @documented(sync_cached_prefix.CachedPrefix.delete)
    async def delete(self, key: str, *, timeout: float | None = None) -> None:
        await run(self._store, self._deleting(key, timeout=timeout))

    @documented(sync_cached_prefix.CachedPrefix.on_change)
    def on_change(self, callback: Callable[[frozenset[str]], object]) -> None:
        check_callback("callback", callback, awaited=True)
        self._subscribe(self._telling(callback))

    @documented(sync_cached_prefix.CachedPrefix.wait_for)
    async def wait_for(
        self, predicate: Callable[[Mapping[str, T]], object], *, timeout: float | None = None
    ) -> dict[str, T]:
        wanted = self._wanted(predicate)
        await self._wait(wanted.look, timeout)
        return wanted.result(f"{self._prefix!r}: the values")

    def __repr__(self) -> str:
        if not self._opened:
            return f"<CachedPrefix {self._prefix!r} not open>"
        return f"<CachedPrefix {self._prefix!r} {len(self)} keys staleness={self.staleness:.1f}s>"
