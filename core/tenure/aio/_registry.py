"""The registry on an event loop: what acts is awaited, and the cache is read by plain calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from tenure._client.keys import check_callback
from tenure._runtime.clock import TimeLimit
from tenure._runtime.fork import left_behind
from tenure.aio._faces import awaited, described, documented, passed_on
from tenure.aio._signal import Signal
from tenure.aio._store import Store
from tenure.errors import ConfigError, StoreClosed, TenureError
from tenure.leases.lease import HeldLease
from tenure.registry import registry as sync
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Handler, Status, StatusHandler
from tenure.registry.model.filters import Filter
from tenure.registry.model.instance import DEFAULT_SERVICE, Instance
from tenure.registry.model.service import Service

E = TypeVar("E")

_log = logging.getLogger("tenure.registry")
_SLICE = 0.25
"""Seconds after which a wait looks at the store's clock, which a suspend moves and the loop's not."""


@described(sync.Registry)
class Registry:
    """A registry for one event loop. Use it in ``async with``. Reading the cache, and ``pick``, are plain calls.

    >>> import asyncio
    >>> from tenure import aio
    >>> from tenure.registry import Instance
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         async with aio.Registry(store, instance=Instance("web", port=8080)) as registry:
    ...             return registry.pick("web").port
    >>> asyncio.run(main())
    8080
    """

    def __init__(self, store: Store, config: RegistryConfig | None = None, instance: Instance | None = None) -> None:
        if not isinstance(store, Store):
            raise ConfigError(
                f"making a registry: it needs an opened store of tenure.aio, not {store!r:.80}; pass one from "
                "tenure.aio.connect(url)"
            )
        self.store = store
        self._sync = sync.Registry(store._sync, config, instance)
        self.config = self._sync.config
        self._call = partial(store._bridge.call, waits=True)  # for the cache, and for handlers
        self._handlers: dict[Handler, Callable[[Any], None]] = {}

    # -- starting and closing --

    @documented(sync.Registry.start)
    async def start(self, *, timeout: float | None = None) -> Self:
        try:
            await self._call(partial(self._sync.start, timeout=timeout), undo=lambda registry: registry.close())
        except BaseException:
            self._sync._stop_waiting_for_health()
            raise
        return self

    @documented(sync.Registry.close)
    async def close(self, *, timeout: float | None = None) -> None:
        if left_behind(self._sync._fork_generation):
            return
        try:
            await self._call(partial(self._sync.close, timeout=timeout), always=True)
        except StoreClosed:
            self._sync.close()  # which asks nothing of a store that is closed

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio.{repr(self._sync)[1:]}"

    # -- the registry's own instance --

    @documented(sync.Registry.register)
    async def register(
        self,
        instance: Instance | None = None,
        *,
        wait: float | None = None,
        take_over: bool = False,
        timeout: float | None = None,
    ) -> Instance:
        call = partial(self._sync.register, instance, wait=wait, take_over=take_over, timeout=timeout)
        try:
            return await self._call(call, undo=lambda _: self._sync.deregister())
        except BaseException:
            self._sync._stop_waiting_for_health()  # if the task was cancelled, nobody waits for the thread's wait
            raise

    update = awaited(sync.Registry.update)
    drain = awaited(sync.Registry.drain)
    undrain = awaited(sync.Registry.undrain)
    deregister = awaited(sync.Registry.deregister)
    current = passed_on(sync.Registry.current)

    @property
    @documented(sync.Registry.key)
    def key(self) -> str | None:
        return self._sync.key

    @property
    @documented(sync.Registry.lease)
    def lease(self) -> HeldLease | None:
        return self._sync.lease

    @property
    @documented(sync.Registry.status)
    def status(self) -> Status:
        return self._sync.status

    @property
    @documented(sync.Registry.error)
    def error(self) -> TenureError | None:
        return self._sync.error

    # -- the instances of all clients --

    get_service = passed_on(sync.Registry.get_service)
    get_services = passed_on(sync.Registry.get_services)
    pick = passed_on(sync.Registry.pick)
    report_failure = passed_on(sync.Registry.report_failure)
    report_success = passed_on(sync.Registry.report_success)

    @property
    @documented(sync.Registry.resting)
    def resting(self) -> Mapping[str, float]:
        return self._sync.resting

    @documented(sync.Registry.wait_for)
    async def wait_for(
        self,
        name: str = DEFAULT_SERVICE,
        count: int = 1,
        timeout: float | None = None,
        *,
        meta: Filter = None,
        include_draining: bool = False,
    ) -> Service:
        self.store._bridge.check_loop()
        wait = self._sync._waiting_for(name, count, timeout, meta, ready=not include_draining)
        limit = TimeLimit(self.store.clock, wait.seconds)
        signal, cache = Signal(self.store._bridge.calls), self._sync._cache
        cache.listeners[signal] = signal.wake
        try:
            while not (enough := wait.enough()):
                left = limit.left() or 0.0
                if left <= 0 or cache.frozen:
                    break
                await signal.wait(self.store.clock.pause(min(left, _SLICE)))
            return wait.result(enough=enough)
        finally:
            del cache.listeners[signal]

    @property
    @documented(sync.Registry.malformed_entries)
    def malformed_entries(self) -> Mapping[str, str]:
        return self._sync.malformed_entries

    @property
    @documented(sync.Registry.staleness)
    def staleness(self) -> float:
        return self._sync.staleness

    @property
    @documented(sync.Registry.closed)
    def closed(self) -> bool:
        return self._sync.closed

    # -- handlers --

    @documented(sync.Registry.add_handler)
    def add_handler(self, handler: Handler, *, service: str | None = None, replay: bool = False) -> None:
        on_loop = self._handlers.setdefault(handler, self._on_loop(handler))
        self._sync.add_handler(on_loop, service=service, replay=replay)

    @documented(sync.Registry.remove_handler)
    def remove_handler(self, handler: Handler) -> None:
        self._sync.remove_handler(self._handlers.pop(handler, handler))

    @documented(sync.Registry.add_status_handler)
    def add_status_handler(self, handler: StatusHandler) -> None:
        self._sync.add_status_handler(self._on_loop(handler))

    def _on_loop(self, handler: Callable[[E], object]) -> Callable[[E], None]:
        check_callback("handler", handler, awaited=True)

        def call(event: E) -> object:
            try:
                return handler(event)
            except Exception:  # noqa: BLE001 - one handler must not keep others from their events
                _log.exception("a handler raised on %r", event)
                return None

        return partial(self.store._bridge.calls.tell_and_wait, call)
