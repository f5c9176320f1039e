"""The registry: one's own instance kept registered, everybody's instances found without asking the store.

It watches its prefix and keeps what it is told in a cache that is read without a lock and without a call. Its
own instance stands under a lease that lives as long as the process does, and comes back after an outage. Three
threads at most: the watch's, one for handlers, one for the own registration.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import NoReturn, Self

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import Deadline
from tenure._runtime.fork import fork_generation
from tenure._runtime.retry import check_timeout
from tenure.errors import (
    AlreadyRegistered,
    ConfigError,
    DeadlineExceeded,
    InvalidArgument,
    NoInstanceAvailable,
    ServiceNotFound,
    StoreClosed,
    TenureError,
    UsedAfterFork,
)
from tenure.leases.lease import Lease
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.lifecycle.handlers import Dispatcher
from tenure.registry.lifecycle.registration import CALLS, Registration
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Handler, Part, Status, StatusChange, StatusHandler
from tenure.registry.model.filters import Filter, describe, select
from tenure.registry.model.instance import DEFAULT_SERVICE, Instance, InstanceStatus
from tenure.registry.model.selection import Picker, Strategy
from tenure.registry.model.service import Service
from tenure.registry.model.wire_format import key_of
from tenure.watch.engine import Watch
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.registry")
_LOOK_AGAIN = 0.5
"""Seconds between attempts while waiting for another's entry to go."""


class Registry:
    """A registry in ``store``, and ``instance`` registered in it if one is given. Use it in ``with``, or call
    :meth:`start` and :meth:`close`.

    Thread-safe. Methods that act raise, besides what they name, ``StoreClosed`` before the start and after the close,
    ``UsedAfterFork`` in a forked child, and the store's errors. Reading the cache works at all times after the start,
    also after the close and in a forked child: :attr:`staleness` tells how old it is. The store stays the caller's.
    """

    def __init__(self, store: Store, config: RegistryConfig | None = None, instance: Instance | None = None) -> None:
        if not isinstance(store, Store):
            raise ConfigError(f"a registry needs an opened store, from tenure.connect(url), not {store!r:.80}")
        self.store = store
        self.config = config if config is not None else RegistryConfig()
        self._first = instance or self.config.instance
        self._fork_generation = fork_generation.value
        self._lifecycle = threading.RLock()
        self._dispatcher = Dispatcher()
        self._cache = Cache(self.config.key_prefix, self._dispatcher.tell)
        self._picker = Picker()
        self._patience = min(store.timeout, 0.5 + 4 * store.capabilities.max_watch_latency)
        self._watch: Watch | None = None
        self._watch_error: TenureError | None = None
        self._proof = 0.0
        self._frozen_at: float | None = None
        self._frozen_age = 0.0
        self._closing = False
        self._registration = Registration(
            store, self.config, tell=self._dispatcher.tell_status, offline=self._disconnected_for
        )

    # -- starting and closing ----------------------------------------------------------------------

    def start(self, *, timeout: float | None = None) -> Self:
        """Fill the cache, then register the instance if one was given. Does nothing if it has started.

        When it returns, the cache is complete. When it raises, the registry is closed.

        Args:
            timeout: seconds for the cache, and as long again for the registration; default: the store's timeout for
                the cache, and the store's timeout for each call of the registration.

        Raises:
            AlreadyRegistered: another registration holds the identity.
            DeadlineExceeded: the store didn't deliver in time.
            Unavailable: the store can't be reached.
        """
        with self._lifecycle:
            self._check_fork()
            if self._closing:
                raise StoreClosed("the registry is closed: make a new one")
            if self._watch is not None:
                return self
            try:
                self._open_watch(Deadline(self._seconds(timeout)))
                if self._first is not None:
                    self.register(self._first, timeout=timeout)
            except BaseException:
                self.close()
                raise
            return self

    def _open_watch(self, deadline: Deadline) -> None:
        self._watch = self.store.watch(
            self.config.key_prefix, callback=self._take, on_error=self._watch_ended, timeout=deadline.remaining()
        )
        self._cache.wait(lambda: self._cache.in_sync or self._watch_error is not None, deadline.remaining())
        if self._watch_error is not None:
            raise self._watch_error
        if not self._cache.in_sync:
            raise DeadlineExceeded(
                f"{self.store.url} didn't deliver {self.config.key_prefix!r} within {deadline.seconds:g} s"
            )

    def close(self, *, timeout: float | None = None) -> None:
        """Deregister, stop, end the threads. Idempotent. What the cache knows stays readable.

        A store that is down is no error: the entry is then removed when its lease expires.

        Args:
            timeout: seconds for all of it together; default: the store's timeout.
        """
        if self._fork_generation != fork_generation.value:
            return  # what was inherited belongs to the parent
        with self._lifecycle:
            if self._closing:
                return
            deadline = Deadline(self._seconds(timeout))
            self._closing = True
            key = self._registration.key
            self._frozen_age = self.staleness
            if self._watch is not None:
                self._watch.close()
            try:
                deregistered = self._registration.deregister(deadline)
            except TenureError as exc:
                deregistered = False
                _log.warning("closing without being sure to be deregistered: %s", exc)
            self._frozen_at = self.store.clock.now()
            self._cache.freeze(without=key if deregistered else None)
            self._registration.close(deadline)
            self._dispatcher.close(deadline)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        own = self._registration.instance
        who = own.identity() if own else "observing"
        return f"<Registry {self.config.key_prefix} on {self.store.url}: {who}, {self.status}>"

    # -- the own instance --------------------------------------------------------------------------

    def register(
        self,
        instance: Instance | None = None,
        *,
        wait: float | None = None,
        take_over: bool = False,
        timeout: float | None = None,
    ) -> Instance:
        """Register ``instance`` (default: the one given to the registry, else one with everything filled in).

        An entry of the same identity under another's lease raises ``AlreadyRegistered``. ``wait`` (default: the
        configuration's) is how many seconds to wait for it to go, for a fixed id whose last process died less than a
        heartbeat ago. ``take_over`` replaces it at once; a registry whose entry is replaced becomes FAILED.
        ``timeout`` is for the calls to the store, in seconds, without ``wait`` (default: the store's, for each call).
        Raises ``OutcomeUnknown`` when the entry may yet appear, for a heartbeat at most.
        """
        self._check()
        chosen = instance or self._first or Instance()
        if not isinstance(chosen, Instance):
            raise InvalidArgument(f"register takes an Instance, not {type(chosen).__name__}: {chosen!r}")
        seconds = self.config.wait if wait is None else wait
        if not 0 <= seconds < float("inf"):
            raise InvalidArgument(f"wait is a number of seconds, not {wait!r}")
        limit = TimeLimit(self.store.clock, seconds)
        key = key_of(self.config.key_prefix, chosen)
        while True:
            try:
                self._registration.register(chosen, self._deadline(timeout), take_over=take_over)
                break
            except AlreadyRegistered:
                left = limit.left() or 0.0
                if left <= 0 or self._registration.instance is not None:
                    raise
                # Woken when the entry goes; otherwise looks again now and then, should the watch be behind.
                self._cache.wait(lambda: not self._cache.present(key), min(left, _LOOK_AGAIN), self.store.clock)
                self._check()
        self._await_own(chosen)
        return chosen

    def update(self, instance: Instance, *, timeout: float | None = None) -> Instance:
        """Replace the own entry by ``instance``, of the same identity (else ``InvalidArgument``).

        ``timeout`` is for all of it, in seconds (default: the store's, for each call).

        Raises ``RegistryError`` if nothing is registered; ``OutcomeUnknown`` if it isn't known whether it was applied:
        it will be, once the store answers again.
        """
        return self._update(lambda _present: instance, timeout)

    def drain(self, *, timeout: float | None = None) -> Instance:
        """Mark the own instance as draining: it stays registered, and ``pick`` passes it over. As :meth:`update`."""
        return self._update(lambda present: present.with_status(InstanceStatus.DRAINING), timeout)

    def undrain(self, *, timeout: float | None = None) -> Instance:
        """Mark the own instance as ready again. As :meth:`update`."""
        return self._update(lambda present: present.with_status(InstanceStatus.READY), timeout)

    def _update(self, change: Callable[[Instance], Instance], timeout: float | None) -> Instance:
        self._check()
        instance = self._registration.update(change, self._deadline(timeout))
        self._await_own(instance)
        return instance

    def deregister(self, *, timeout: float | None = None) -> None:
        """End the own registration: the heartbeat first, then the entry. Nothing brings it back, not even a recovery
        that was under way. Does nothing if nothing is registered.

        ``timeout`` is for all of it, in seconds (default: the store's, for each call). Raises ``Unavailable`` or
        ``OutcomeUnknown`` if the store doesn't confirm: the entry is then removed when its lease expires.
        """
        self._check()
        key = self._registration.key
        if self._registration.deregister(self._deadline(timeout)) and key is not None:
            self._cache.wait(lambda: not self._cache.present(key), self._patience)

    def current(self) -> Instance | None:
        """The own instance as registered (or as it will be, while RECOVERING); ``None`` if there is none."""
        return self._registration.instance

    @property
    def key(self) -> str | None:
        """The own entry's key."""
        return self._registration.key

    @property
    def lease(self) -> Lease | None:
        """The lease that the own entry stands under."""
        return self._registration.lease

    @property
    def status(self) -> Status:
        """What became of the own registration."""
        return self._registration.status

    @property
    def error(self) -> TenureError | None:
        """What lies behind RECOVERING or FAILED, or what ended the watch; ``None`` while all is well."""
        return self._registration.error or self._watch_error

    # -- everybody's instances: the cache, no lock and no call ---------------------------------------------

    def get_service(self, name: str = DEFAULT_SERVICE, meta: Filter = None, *, ready_only: bool = False) -> Service:
        """The service as far as it is known: all its instances, draining ones included, unless filtered.

        Args:
            name: the service.
            meta: only instances whose metadata have these items, or for which this function returns true.
            ready_only: leave out instances that are draining.

        Returns:
            The service with at least one instance. It never changes.

        Raises:
            ServiceNotFound: no instance of the service is known.
            NoInstanceAvailable: instances are known, and none passes the filter.
        """
        service = self._cache.services.get(name)
        if service is None:
            self._not_found(name)
        if meta is None and not ready_only:
            return service
        chosen = select(service.instances, meta, ready=ready_only)
        if not chosen:
            raise NoInstanceAvailable(
                f"no instance of {name!r}{describe(meta, ready=ready_only)} is available, {len(service)} are known"
                f"{self._how_stale()}"
            )
        return Service(name, chosen)

    def get_services(self) -> Mapping[str, Service]:
        """All services by name: one consistent picture, which doesn't change any more."""
        return MappingProxyType(self._cache.services)

    def pick(
        self,
        name: str = DEFAULT_SERVICE,
        strategy: Strategy | str = Strategy.ROUND_ROBIN,
        *,
        meta: Filter = None,
        include_draining: bool = False,
    ) -> Instance:
        """Choose one instance of the service to send work to.

        Args:
            name: the service.
            strategy: how to choose, see :class:`Strategy`.
            meta: only instances whose metadata have these items, or for which this function returns true.
            include_draining: choose among draining instances, too.

        Raises:
            ServiceNotFound: no instance of the service is known.
            NoInstanceAvailable: instances are known, and none passes the filter or all are draining.
            InvalidArgument: there is no such strategy.
        """
        service = self.get_service(name, meta, ready_only=not include_draining)
        return self._picker.pick(name, service.instances, strategy, meta)

    def wait_for(
        self,
        name: str = DEFAULT_SERVICE,
        count: int = 1,
        timeout: float | None = None,
        *,
        meta: Filter = None,
        include_draining: bool = False,
    ) -> Service:
        """Block until at least ``count`` instances are there that pass the filter.

        Args:
            name: the service.
            count: how many instances to wait for.
            timeout: seconds to wait at most; default: the store's timeout.
            meta: only instances whose metadata have these items, or for which this function returns true.
            include_draining: count draining instances, too.

        Raises:
            ServiceNotFound: the time was up; the message says how many instances there were.
        """
        self._check()
        if not isinstance(count, int) or count < 1:
            raise InvalidArgument(f"count is a number of instances, at least 1, not {count!r}")
        seconds = self._seconds(timeout)
        found: tuple[Instance, ...] = ()

        def enough() -> bool:
            nonlocal found
            service = self._cache.services.get(name)
            found = () if service is None else select(service.instances, meta, ready=not include_draining)
            return len(found) >= count

        if self._cache.wait(enough, seconds, self.store.clock):
            return Service(name, found)
        self._check()  # it may have been closed meanwhile
        raise ServiceNotFound(
            f"{len(found)} of {count} instances of {name!r}{describe(meta, ready=not include_draining)} were there after {seconds:g} s"
            f"{self._how_stale()}"
        )

    @property
    def malformed_entries(self) -> Mapping[str, str]:
        """Keys under the prefix that hold no instance, each with the reason."""
        return self._cache.malformed

    @property
    def staleness(self) -> float:
        """How many seconds ago the cache was last surely up to date: 0.0 while connected.

        A silent break shows within ``store.capabilities.max_watch_failure_detection`` seconds.
        """
        if self._frozen_at is not None:
            return self._frozen_age + max(0.0, self.store.clock.now() - self._frozen_at)
        return self._disconnected_for()

    @property
    def closed(self) -> bool:
        """Whether the cache has stopped following the store: by the close, or by the :attr:`error` of its watch."""
        return self._cache.frozen or self._watch_error is not None

    # -- being told --------------------------------------------------------------------------------

    def add_handler(self, handler: Handler, *, service: str | None = None, replay: bool = False) -> None:
        """Call ``handler`` with each :class:`InstanceEvent`, of one service if named, in order for each instance.

        On a thread of the registry's own: a handler may call the registry and the store. What it raises is logged.
        With ``replay`` it first gets a create for each instance that is known now, and misses nothing in between.
        If handlers are so slow that 10,000 events wait, those of one instance become one.
        """
        self._check_fork()
        with self._cache.changed:
            self._dispatcher.add(handler, service, self._cache.entries() if replay else ())

    def remove_handler(self, handler: Handler) -> None:
        """Stop calling ``handler``; events that wait already may still come."""
        self._check_fork()
        self._dispatcher.remove(handler)

    def add_status_handler(self, handler: StatusHandler) -> None:
        """Call ``handler`` with each :class:`StatusChange`: of the own registration, or that the watch ended."""
        self._check_fork()
        self._dispatcher.add_status(handler)

    # -- the watch's thread ------------------------------------------------------------------------

    def _take(self, batch: Batch) -> None:
        self._cache.apply(batch)
        self._proof = self.store.clock.now()
        self._registration.observe(batch)

    def _watch_ended(self, error: TenureError) -> None:
        self._watch_error = error
        reason = f"the cache doesn't follow the store any more: {error}"
        _log.error("registry %s: %s", self.config.key_prefix, reason)
        self._dispatcher.tell_status(StatusChange(Part.CACHE, Status.FAILED, reason, error))
        self._cache.wake()

    # -- inside ------------------------------------------------------------------------------------

    def _disconnected_for(self) -> float:
        if (watch := self._watch) is None:
            return 0.0
        if watch.closed and watch.error is None:
            # The store was closed under the registry: the last batch is the last that is known to be true.
            return max(watch.staleness, self.store.clock.now() - self._proof)
        return watch.staleness

    def _await_own(self, instance: Instance) -> None:
        """Let the cache catch up with an own write, so that whoever registers finds itself. Not for ever: the write
        is done, whatever the watch does."""
        key = key_of(self.config.key_prefix, instance)
        self._cache.wait(lambda: self._cache.entry(key) == instance, self._patience)

    def _not_found(self, name: str) -> NoReturn:
        self._check_started()
        raise ServiceNotFound(f"no instance of {name!r} is known{self._how_stale()}")

    def _how_stale(self) -> str:
        return f" (the cache is {age:.1f} s old)" if (age := self.staleness) else ""

    def _seconds(self, timeout: float | None) -> float:
        return self.store.timeout if timeout is None else check_timeout(timeout)

    def _deadline(self, timeout: float | None) -> Deadline:
        """What the caller gave, or time for the few calls of an operation, each with the store's timeout."""
        return Deadline(CALLS * self.store.timeout if timeout is None else check_timeout(timeout))

    def _check(self) -> None:
        self._check_fork()
        if self._closing:
            raise StoreClosed("the registry is closed: make a new one")
        self._check_started()

    def _check_started(self) -> None:
        if self._watch is None:
            raise StoreClosed("the registry hasn't started: call start(), or use it in 'with'")

    def _check_fork(self) -> None:
        if self._fork_generation != fork_generation.value:
            raise UsedAfterFork(
                "this registry was started before the process forked: its cache can be read, but to act, connect and "
                "make another one in the child"
            )
