"""What an application has while it serves: a store, a registry, its registration, settings; and how all of it ends.

::

    startup:   store and registry are opened --> the server listens --> the instance is registered
    SIGTERM:   drained --> clients see it --> deregistered --> the server's own handler: it closes its listeners
    shutdown:  requests have ended, or were cut --> registry and store are closed
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar
from uuid import uuid4

import tenure
from tenure import Codec, ConfigError, StoreClosed, TenureError, aio
from tenure.plugin_kit import Deadline
from tenure.registry import Instance, RegistryConfig, Status
from tenure_asgi.health import HealthEndpoint
from tenure_asgi.listening import first_listening
from tenure_asgi.requests import Requests
from tenure_asgi.settings import Setting
from tenure_asgi.signals import SignalChain

T = TypeVar("T")

_log = logging.getLogger("tenure.asgi")
_LOOPBACK = ("127.0.0.1", "::1")
_CALL_SHARE = 0.2
"""Part of the stop time that one call to the store may take: draining, deregistering. The wait has as much at most."""
_CUT_SHARE = 0.6
"""Part of the stop time after which requests that are still under way are cancelled."""
_SHUTDOWN_SHARE = 0.75
"""Part of the stop time after which the application's own shutdown is cancelled."""
_CLOSE_SHARE = 0.875
"""Part of the stop time after which registry and store are closed. The rest is for the process to end."""
_LEAST_SHARE = 0.05
"""Part of the stop time that each of the last two steps has if the server has used up theirs."""
_MARGIN = 0.1
"""Seconds after which a call that has overrun its own timeout is left."""
_RETRY = (0.5, 10.0)
"""Seconds between attempts to register: the first, which doubles, and the longest."""


class _Call(Protocol):
    def __call__(self, *, timeout: float | None) -> Awaitable[object]: ...


class Lifespan:
    """What an application has while it serves. Pass it to :class:`~tenure_asgi.TenureMiddleware`.

    One object serves one process and one event loop at a time. It can be opened again after it was closed.

    >>> import asyncio
    >>> from tenure_asgi import Lifespan
    >>> async def main():
    ...     lifespan = Lifespan("memory://")
    ...     async with lifespan:
    ...         await lifespan.store.put("color", b"red")
    ...         return (await lifespan.store.get("color")).value
    >>> asyncio.run(main())
    b'red'

    Args:
        store_url: the store, as for ``tenure.connect``.
        instance: the instance to register once the server listens, or a function that makes it in the process that
            serves. ``None`` registers none. An instance that was made in another process, before a fork, gets a new
            random id, because each worker is an instance of its own.
        config: settings of the registry.
        drain_wait: seconds between draining and deregistering, in which clients see that the instance drains. At most a
            fifth of ``stop_timeout``.
        stop_timeout: seconds from the signal until everything is closed, also if the store is frozen.
        listen_timeout: seconds after which an error is logged if the server doesn't listen. The wait continues.
        stale_after: seconds without a sign of life of the store after which the application isn't ready.
        handle_signals: drain on SIGTERM and SIGINT before the server's own handler is called.
        options: further arguments of ``tenure.aio.connect``, such as ``wait_for_store``.

    Raises:
        ConfigError: a time is out of range.
    """

    def __init__(
        self,
        store_url: str,
        instance: Instance | Callable[[], Instance] | None = None,
        *,
        config: RegistryConfig | None = None,
        drain_wait: float = 1.0,
        stop_timeout: float = 8.0,
        listen_timeout: float = 30.0,
        stale_after: float = 10.0,
        handle_signals: bool = True,
        **options: Any,
    ) -> None:
        for name, value in (("stop_timeout", stop_timeout), ("listen_timeout", listen_timeout)):
            if not value > 0:
                raise ConfigError(f"making a lifespan: {name} is a positive number of seconds, not {value!r}")
        if not 0 <= drain_wait <= stop_timeout * _CALL_SHARE:
            raise ConfigError(
                f"making a lifespan: drain_wait is a number of seconds from 0 to a fifth of stop_timeout "
                f"({stop_timeout * _CALL_SHARE:g}), not {drain_wait!r}; give a longer stop_timeout"
            )
        self.store_url = store_url
        self.config = config or RegistryConfig()
        self.drain_wait = drain_wait
        self.stop_timeout = stop_timeout
        self.listen_timeout = listen_timeout
        self.stale_after = stale_after
        self.requests = Requests()
        """The requests under way. The middleware counts them."""
        self.health = HealthEndpoint(self.not_ready)
        """An ASGI application that answers ``/live`` and ``/ready``. The middleware serves it under ``/health``."""
        self._given = instance or self.config.instance
        self._made_in = os.getpid()
        self._handle_signals = handle_signals
        self._options = options
        self._open = False
        self._closing: asyncio.Task[None] | None = None
        self._settings: list[Setting[Any]] = []
        self._store: aio.Store | None = None
        self._registry: aio.Registry | None = None
        self._chain: SignalChain | None = None
        self._reset()

    def _reset(self) -> None:
        self._registering: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._cutting: asyncio.TimerHandle | None = None
        self._stop: Deadline | None = None
        self._instance: Instance | None = None
        self._problem: str | None = None
        self._asking = False  # a registration is under way

    # -- what the application uses --

    @property
    def store(self) -> aio.Store:
        """The open store. Raises ``StoreClosed`` before the startup and after the shutdown."""
        if self._store is None:
            raise StoreClosed("using the lifespan's store: the lifespan isn't open; let the server run the lifespan")
        return self._store

    @property
    def registry(self) -> aio.Registry:
        """The started registry. Raises ``StoreClosed`` before the startup and after the shutdown."""
        if self._registry is None:
            raise StoreClosed("using the lifespan's registry: the lifespan isn't open; let the server run the lifespan")
        return self._registry

    def setting(
        self,
        key: str,
        *,
        default: T,
        codec: Codec[T] = tenure.JSON,
        validate: Callable[[T], object] | None = None,
    ) -> Setting[T]:
        """Return a setting that is read at the startup and followed from then on.

        Args:
            key: the key.
            default: the value while the key doesn't exist.
            codec: how the value is written.
            validate: called with each value that is read. A value for which it raises or returns ``False`` is not
                valid.

        Returns:
            The setting. It has a value once the lifespan is open.

        Raises:
            ConfigError: the lifespan is open already.
        """
        if self._store is not None:
            raise ConfigError(f"making the setting {key!r}: the lifespan is open; make settings before it starts")
        setting = Setting(key, codec, default, validate)
        self._settings.append(setting)
        return setting

    # -- state --

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun, by a signal, :meth:`drain` or the shutdown."""
        return self._stop is not None

    def not_ready(self) -> list[str]:
        """Return why the application isn't ready for requests; nothing if it is. Makes no call to the store.

        It is ready while its instance is registered (if it has one) and it is not stopping. The store has to have given
        a sign of life within ``stale_after`` seconds, too.

        Returns:
            A sentence for each reason; empty if the application is ready.
        """
        if self._registry is None:
            return ["not started"]
        reasons = ["stopping"] if self.stopping else []
        registered = self._problem is None and self._registry.status is Status.REGISTERED
        if self._given is not None and not registered:
            reasons.append(self._problem or f"the instance is not registered: {self._registry.status}")
        if (age := self._registry.staleness) > self.stale_after:
            reasons.append(f"no sign of life of the store for {age:.1f} s")
        return reasons

    # -- the way in --

    async def open(self) -> None:
        """Open the store and the registry, and read the settings. The instance isn't registered yet.

        Raises:
            TenureError: as ``tenure.aio.connect`` and the start of a registry. Then nothing is left open, and neither
                if the function that makes the instance raises.
        """
        if self._open:
            raise ConfigError("opening the lifespan: it is open; one object serves one server at a time")
        self._open = True  # before anything is waited for: another server may open it meanwhile
        try:
            await self._open_all()
        except BaseException:
            self._open = False
            raise

    async def _open_all(self) -> None:
        self._reset()
        self._loop = asyncio.get_running_loop()
        self._instance = self._own_instance()
        self._store = await aio.connect(self.store_url, **self._options)
        try:
            self._registry = await aio.Registry(self._store, replace(self.config, instance=None)).start()
            for setting in self._settings:
                await setting.follow(self._store)
        except BaseException:
            await self._close_all(Deadline(self.stop_timeout * _CALL_SHARE))
            raise
        if self._handle_signals:
            self._chain = SignalChain(self._signalled)
            self._chain.install()

    def register_soon(self) -> None:
        """Register the instance as soon as the server listens. Returns at once."""
        instance = self._instance
        if instance is not None and not self.stopping:
            self._problem = f"the server doesn't listen on port {instance.port} yet"
            self._registering = self._loop.create_task(self._register(instance), name=f"register {instance.identity()}")

    def _own_instance(self) -> Instance | None:
        given = self._given
        if given is None:
            return None
        if not isinstance(given, Instance):
            return given()
        return given if self._made_in == os.getpid() else given.copy(id=str(uuid4()))

    async def _register(self, instance: Instance) -> None:
        hosts = (instance.host, *_LOOPBACK)
        try:
            async with asyncio.timeout(self.listen_timeout):
                host = await first_listening(hosts, instance.port)
        except TimeoutError:
            _log.error("not registering %s: %s", instance.identity(), self._problem)
            host = await first_listening(hosts, instance.port)
        if host != instance.host:
            _log.warning(
                "the server listens at %s and not at %s, where clients will look for it; let it listen there, too, or "
                "give the instance another host",
                instance.with_address(host).address,
                instance.address,
            )
        self._problem = "the instance is being registered"
        await self._register_at_last(instance)

    async def _register_at_last(self, instance: Instance) -> None:
        pause, longest = _RETRY
        while True:
            self._asking = True
            try:
                await self.registry.register(instance)
            except TenureError as exc:
                self._problem = f"the instance is not registered: {exc}"
                self._asking = False
                _log.warning("trying again in %g s: %s", pause, exc)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                self._problem = None
                return

    # -- the way out --

    def _signalled(self) -> None:
        self._loop.call_soon_threadsafe(self._leave_first)

    def _leave_first(self) -> None:
        chain = self._chain
        if chain is not None:
            self._begin_to_leave(self.drain_wait).add_done_callback(lambda _task: chain.pass_on())

    async def drain(self) -> None:
        """Drain the instance, wait ``drain_wait`` seconds, and deregister it: it begins the stop.

        A signal does the same. Call it where a signal is not the way to stop a server. A second call waits for the
        first. If the store doesn't answer, a warning is logged, and the entry disappears when its lease expires.
        """
        await asyncio.shield(self._begin_to_leave(self.drain_wait))

    def _begin_to_leave(self, wait: float) -> asyncio.Task[None]:
        if self._leaving is None:
            self._stop = Deadline(self.stop_timeout)
            self._cutting = self._loop.call_later(self.stop_timeout * _CUT_SHARE, self._cut)
            self._leaving = self._loop.create_task(self._leave(wait))
        return self._leaving

    async def _leave(self, wait: float) -> None:
        registry, share = self._registry, self.stop_timeout * _CALL_SHARE
        if self._registering is not None:
            # A registration that is cancelled is undone in the background. Better to know how it ended.
            _, unfinished = await asyncio.wait([self._registering], timeout=share if self._asking else 0)
            if unfinished:
                wait = 0.0  # nobody has seen the instance
                self._registering.cancel()
                await asyncio.wait([self._registering])
        if registry is None or registry.current() is None:
            return
        if wait > 0:
            await _attempt("draining the instance", registry.drain, share)
            await asyncio.sleep(wait)
        await _attempt("deregistering the instance", registry.deregister, share)

    def _cut(self) -> None:
        if number := self.requests.cut():
            _log.warning("%d requests were cancelled: they took longer than the time to stop allows", number)

    def time_for_shutdown(self) -> float:
        """Return how long the application's own shutdown may take.

        Returns:
            A positive number of seconds from now.
        """
        return self._time_until(_SHUTDOWN_SHARE)

    def _time_until(self, share: float) -> float:
        """Seconds from now until ``share`` of the stop time is over, and a little where the server was slow."""
        left = self.stop_timeout if self._stop is None else self._stop.remaining()
        return max(left - self.stop_timeout * (1 - share), self.stop_timeout * _LEAST_SHARE)

    async def leave(self) -> None:
        """Deregister the instance, unless a signal or :meth:`drain` did. For a server that no longer listens."""
        await asyncio.shield(self._begin_to_leave(0.0))

    async def close(self) -> None:
        """Deregister the instance if it still is registered, and close the registry and the store. Idempotent.

        If the store doesn't answer, warnings are logged. Nothing is raised. A caller that is cancelled leaves the rest
        to the background.
        """
        if self._closing is None:
            if self._store is None:
                return
            self._closing = self._loop.create_task(self._close(), name="close the lifespan")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self.leave()
            if self._cutting is not None:
                self._cutting.cancel()
            await self._close_all(Deadline(self._time_until(_CLOSE_SHARE)))
        finally:
            self._open, self._closing = False, None

    async def _close_all(self, deadline: Deadline) -> None:
        if self._chain is not None:
            self._chain.restore()
            self._chain = None
        registry, self._registry = self._registry, None
        store, self._store = self._store, None
        if registry is not None:
            await _attempt("closing the registry", registry.close, deadline.remaining() / 2)
        if store is not None:
            await _attempt("closing the store", store.close, deadline.remaining())

    async def __aenter__(self) -> Self:
        await self.open()
        self.register_soon()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


async def _attempt(what: str, call: _Call, seconds: float) -> None:
    """Make a call that must not keep a stop from going on."""
    with contextlib.suppress(asyncio.TimeoutError):
        async with asyncio.timeout(seconds + _MARGIN):
            try:
                await call(timeout=seconds)
            except TenureError as exc:
                _log.warning("%s: not confirmed by the store: %s", what, exc)
            return
    _log.warning("%s: not done within %g s", what, seconds)
