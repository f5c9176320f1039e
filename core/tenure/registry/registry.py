"""The registry: keep one instance registered, and find the instances of all clients without asking the store.

A registry watches its prefix and keeps the entries in a cache, which is read without a lock and without a call. Its
own instance is registered under a lease that lives as long as the process, and comes back after an outage. A registry
has at most three threads: the watch's, one for handlers, one for its own registration.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from sys import is_finalizing
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, cast

from tenure._client.keys import check_callback
from tenure._client.observers import CacheAge
from tenure._client.opening import Opening, prepare
from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import after_interrupted_call
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.retry import check_timeout
from tenure.errors import (
    AlreadyRegistered,
    CallInterrupted,
    ConfigError,
    InvalidArgument,
    NoInstanceAvailable,
    ServiceNotFound,
    StoreClosed,
    TenureError,
    UsedAfterFork,
)
from tenure.leases.lease import Lease
from tenure.registry.choice.narrowing import nearest, without
from tenure.registry.choice.rendezvous import by_key, check_sticky
from tenure.registry.choice.rests import Rests
from tenure.registry.choice.strategies import Picker, Strategy
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.lifecycle.entry import CALLS
from tenure.registry.lifecycle.following import Following
from tenure.registry.lifecycle.handlers import Dispatcher
from tenure.registry.lifecycle.health import HealthMonitor
from tenure.registry.lifecycle.late_start import AWAY, LateStart
from tenure.registry.lifecycle.members import Membership
from tenure.registry.lifecycle.registration import Registration
from tenure.registry.lifecycle.unreached import unreached
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Handler, Part, Status, StatusChange, StatusHandler
from tenure.registry.model.filters import Filter, describe, select
from tenure.registry.model.instance import DEFAULT_SERVICE, Instance, InstanceStatus
from tenure.registry.model.service import Service
from tenure.registry.model.wire_format import key_of

if TYPE_CHECKING:
    from tenure.registry.warm.copy import WarmCopy

_log = logging.getLogger("tenure.registry")
_LOOK_AGAIN = 0.5
"""Seconds between attempts while waiting for another client's entry to disappear."""


class Registry:
    """A service registry in a store. Use it in ``with``, or call :meth:`start` and :meth:`close`.

    Thread-safe. Methods that write raise ``StoreClosed`` before the start and after the close, and ``UsedAfterFork`` in
    a forked child. They also raise the store's errors, besides the errors that they name. The cache can be read after
    the start, also after the close and in a forked child. :attr:`staleness` is its age in seconds.

    >>> import tenure
    >>> store = tenure.connect("memory://")
    >>> with Registry(store, instance=Instance("web", port=8080)) as registry:
    ...     registry.get_service("web")[0].port, str(registry.status)
    (8080, 'registered')
    >>> store.close()

    Args:
        store: an open store, from ``tenure.connect``, which the registry doesn't close. Or a URL, which the registry
            opens at its start and closes with itself.
        config: prefix, heartbeat and retries; default: ``RegistryConfig()``.
        instance: the instance to register at the start; default: that of ``config``, and none if it has none.

    Raises:
        ConfigError: ``store`` is neither an open store nor a URL that can be opened.
    """

    def __init__(
        self,
        store: Store | str | Opening,
        config: RegistryConfig | None = None,
        instance: Instance | None = None,
    ) -> None:
        opening = prepare(store) if isinstance(store, str) else store
        if not isinstance(opening, Store | Opening):
            raise ConfigError(
                f"making a registry: it needs an opened store, not {store!r:.80}; pass one from tenure.connect(url) "
                "or its URL"
            )
        self._opening = opening if isinstance(opening, Opening) else None
        self._stands_in = unreached(opening) if isinstance(opening, Opening) else None
        self._opened: Store | None = None
        self.store: Store = self._stands_in or cast("Store", opening)
        """The store. With a URL, until that has been reached, one that refuses every call."""
        self.config = config if config is not None else RegistryConfig()
        self._first = instance or self.config.instance
        self._fork_generation = fork_generation.value
        self._lifecycle = threading.RLock()
        self._dispatcher = Dispatcher(self.store._strand, observed=self.store._callbacks.observed)
        self._cache = Cache(self.config.key_prefix, self._dispatcher.dispatch, self._dispatcher.listening)
        observers = self.store._observers if self._opening is None else self._opening.observers
        if observers.of_registrations:
            self._dispatcher.add_status(self._tell_observers)
        self._service = "" if self._first is None else self._first.service_name
        """Of the instance that is or was registered, for observers."""
        self._start_choosing()
        self._cache_age: CacheAge | None = None
        self._frozen_at: float | None = None
        self._frozen_age = 0.0
        self._closing = False
        self._late: LateStart | None = None
        self._warm = self._warm_copy()
        self._bind(self.store)
        self._health = None
        if self.config.health is not None:
            self._health = HealthMonitor(
                self.config.health,
                clock=self.store.clock,
                current=self.current,
                change=lambda change: self._registration.update(change, Deadline(self.store.timeout)),
                report=self._dispatcher.dispatch_status,
            )

    def _warm_copy(self) -> WarmCopy | None:
        if self.config.warm_file is None:
            return None
        from tenure.registry.warm.copy import WarmCopy  # noqa: PLC0415 - most registries keep no file

        return WarmCopy(
            Path(self.config.warm_file),
            prefix=self.config.key_prefix,
            url=self.store.url,
            cache=self._cache,
            staleness=lambda: self._following.staleness,
            clock=self.store.clock,
        )

    def _bind(self, store: Store) -> None:
        """Use ``store`` from now on."""
        self.store = store
        self._catch_up_time = min(store.timeout, 0.5 + 4 * store.capabilities.max_watch_latency)
        self._registration = Registration(
            store,
            self.config,
            report=self._dispatcher.dispatch_status,
            offline=lambda: self._following.staleness,
            known=self._cache.size,
        )
        self._following = self._new_following(store)

    def _new_following(self, store: Store) -> Following:
        return Following(
            store,
            self._cache,
            prefix=self.config.key_prefix,
            services=self.config.services,
            own=self._first,
            observe=self._registration.observe,
            report=self._dispatcher.dispatch_status,
        )

    # -- starting and closing ----------------------------------------------------------------------

    def start(self, *, timeout: float | None = None) -> Self:
        """Fill the cache, then register the instance if there is one. A second call does nothing.

        When it returns, the cache is complete. When it raises, the registry is closed. If the store can't be reached
        and ``config.warm_file`` can be used, the cache is filled from that. The start then continues in the background,
        and :attr:`staleness` is the cache's age in seconds.

        Args:
            timeout: seconds for everything together; default: the store's timeout for the cache, and for each call of
                the registration.

        Returns:
            The registry itself.

        Raises:
            AlreadyRegistered: another registration holds the identity.
            DeadlineExceeded: the store did not deliver the entries in time.
            Unavailable: the store can't be reached.
            StoreClosed: the registry was closed.
            UsedAfterFork: the registry was made before this process forked.
        """
        with self._lifecycle:
            self._check_fork()
            if self._closing:
                raise StoreClosed("using the registry: it is closed; make a new one")
            if self._following.begun or self._late is not None:
                return self
            deadline = Deadline(self._seconds(timeout))
            try:
                try:
                    self._fill(deadline)
                except AWAY as exc:
                    if isinstance(exc, CallInterrupted) or self._warm is None or not self._warm.load():
                        raise
                    self._go_on_late(exc)
                    return self
                try:
                    if self._first is not None:
                        self._register_first(self._first, None if timeout is None else deadline)
                except AWAY as exc:
                    # An agent serves what it knew: the cache is there, and the store isn't.
                    if isinstance(exc, CallInterrupted) or self._warm is None or self._following.outage is None:
                        raise
                    self._go_on_late(exc)
                return self  # in here: an interrupt on this line, too, raises and so has to close
            except BaseException:
                self.close()
                raise

    def _register_first(self, instance: Instance, deadline: Deadline | None) -> None:
        if self._health is not None:
            self._health.admit(instance, None if deadline is None else deadline.remaining())
        self._register(
            instance,
            seconds=self.config.wait,
            take_over=False,
            timeout=None if deadline is None else deadline.remaining(),
        )

    def _stop_waiting_for_health(self) -> None:
        if self._health is not None:
            self._health.give_up()

    def _fill(self, deadline: Deadline) -> None:
        """Open the store if it isn't, and fill the cache from it. May be called again after an error."""
        store = self.store
        if self._opening is not None and self._opened is None:
            store = self._opening.once(deadline.remaining())
            with self._lifecycle:
                if self._closing:
                    store.close()
                    raise StoreClosed("starting the registry: it is closed")
                self._opened = store
                self._bind(store)
        following = self._following
        store._before_close.add(self._store_closes)
        try:
            if self._cache_age is None:
                self._cache_age = store._observers.cache_opened("registry", self.config.key_prefix, self)
            following.begin(deadline)
        except BaseException:
            following.close()
            self._following = self._new_following(store)
            raise
        if self._warm is not None:
            self._warm.follow(store)

    def _go_on_late(self, error: TenureError) -> None:
        """Serve what the file has, and finish the start in the background."""
        reason = f"the registry starts with what it knew {self.staleness:.0f} s ago: {error}"
        _log.warning("registry %s: %s", self.config.key_prefix, reason)
        self._dispatcher.dispatch_status(StatusChange(Part.CACHE, Status.RECOVERING, reason, error))
        self._late = LateStart(self._finish_start, self._give_up, self.config, error)
        self._late.begin()

    def _finish_start(self) -> None:
        if not self._following.begun:
            self._fill(Deadline(self.store.timeout))
            following = "the cache follows the store for the first time"
            self._dispatcher.dispatch_status(StatusChange(Part.CACHE, Status.FOLLOWING, following))
        if self._first is not None and self._registration.instance is None:
            self._register_first(self._first, None)

    def _give_up(self, error: TenureError) -> None:
        part = Part.REGISTRATION if self._cache.in_sync else Part.CACHE
        _log.error("registry %s: the start can't be finished: %s", self.config.key_prefix, error)
        reason = f"the start can't be finished: {error}"
        self._dispatcher.dispatch_status(StatusChange(part, Status.FAILED, reason, error))

    def _choose_after_fork(self) -> None:
        """In a forked child begin turns and rests again: another thread may have held their locks at the fork."""
        if self._choosing_since != fork_generation.value:
            self._start_choosing()

    def _start_choosing(self) -> None:
        self._picker = Picker()
        self._rests = Rests(self.store.clock, self.config.rest_first, self.config.rest_longest)
        self._choosing_since = fork_generation.value

    def close(self, *, timeout: float | None = None) -> None:
        """Deregister, stop watching, and end the threads. Idempotent. The cache stays readable.

        If the store is down, the call logs a warning and raises nothing; the entry is then removed when its lease
        expires. In a forked child the call does nothing. In a signal handler that interrupted a call of this registry,
        another thread does the rest, as soon as that call lets it.

        Args:
            timeout: seconds for everything together; default: the store's timeout.

        Raises:
            InvalidArgument: ``timeout`` is not a positive number of seconds.
        """
        if left_behind(self._fork_generation):
            return  # the parent process owns what this one inherited
        deadline = Deadline(self._seconds(timeout))
        if self._health is not None:
            self._health.close()  # a start that waits for a healthy instance has the lock
        if self._late is not None:
            self._late.stop(deadline)  # it may need the lock to end
        with self._lifecycle:
            if self._closing:
                return
            self._closing = True
            self.store._before_close.discard(self._store_closes)
            self._frozen_age = self.staleness
            self._following.close()
            try:
                self._end(deadline)
            except CallInterrupted:  # in the middle of a change that this thread makes
                after_interrupted_call(lambda: self._end(Deadline(deadline.seconds)), f"closing {self!r}")

    def _end(self, deadline: Deadline) -> None:
        key = self._registration.key
        try:
            deregistered = self._registration.deregister(deadline)
        except CallInterrupted:
            raise
        except StoreClosed:  # meanwhile, by the same handler: the close of the store revokes the lease
            deregistered = False
        except TenureError as exc:
            deregistered = False
            _log.warning("closed without confirmation that the instance is deregistered: %s", exc)
        self.store._observers.cache_closed("registry", self.config.key_prefix, self._cache_age)
        self._frozen_at = self.store.clock.now()
        self._cache.freeze(without=key if deregistered else None)
        self._registration.close(deadline)
        if self._warm is not None:
            self._warm.stop()
            self._warm.save()
        pool = self._stands_in or self.store
        self._dispatcher.close(deadline, here=lambda: pool.closed)
        for own in (self._opened, self._stands_in):
            if own is not None:
                own.close(timeout=deadline.remaining())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        own = self._registration.instance
        who = own.identity() if own else "observing"
        return f"<Registry {self.config.key_prefix} on {self.store.url}: {who}, {self.status}>"

    # -- the registry's own instance ---------------------------------------------------------------

    def register(
        self,
        instance: Instance | None = None,
        *,
        wait: float | None = None,
        take_over: bool = False,
        timeout: float | None = None,
    ) -> Instance:
        """Register an instance and keep its lease alive.

        When it returns, the entry exists, and this registry's cache has it unless the watch is behind. With a health
        check in the configuration, it first waits until the instance is healthy, for ``start_timeout`` at most.

        Args:
            instance: the instance; default: the one given to the registry, or one with every field filled in.
            wait: seconds to wait for an entry of the same identity to disappear. Needed with a fixed id whose last
                process died less than a heartbeat ago. Default: the configuration's.
            take_over: replace an entry of the same identity at once. The registry whose entry is replaced becomes
                FAILED.
            timeout: seconds for the calls to the store, without ``wait``; default: the store's timeout for each call.

        Returns:
            The instance as registered.

        Raises:
            AlreadyRegistered: another client's entry has the identity, or this registry has an instance registered.
            Unhealthy: the instance did not become healthy in time.
            OutcomeUnknown: the entry may still appear, for a heartbeat at most.
            InvalidArgument: ``instance`` is no instance, or ``wait`` is out of range.
            DeadlineExceeded: an earlier operation of this registry took until ``timeout``.
        """
        self._check()
        chosen = instance or self._first or Instance()
        if not isinstance(chosen, Instance):
            raise InvalidArgument(f"registering: register takes an Instance, not {type(chosen).__name__}: {chosen!r}")
        seconds = self.config.wait if wait is None else wait
        if not 0 <= seconds < float("inf"):
            raise InvalidArgument(f"registering: wait is a number of seconds, 0 or more, not {wait!r}")
        if self._health is not None and self._registration.instance is None:
            self._health.admit(chosen, None)
            self._check()
        return self._register(chosen, seconds=seconds, take_over=take_over, timeout=timeout)

    def _register(self, chosen: Instance, *, seconds: float, take_over: bool, timeout: float | None) -> Instance:
        limit = TimeLimit(self.store.clock, seconds)
        key = key_of(self.config.key_prefix, chosen)
        self._follow(chosen.service_name, timeout)
        while True:
            try:
                self._registration.register(chosen, self._deadline(timeout), take_over=take_over)
                break
            except AlreadyRegistered:
                left = limit.left() or 0.0
                if left <= 0 or self._registration.instance is not None:
                    raise
                # Wakes up when the entry disappears; also checks now and then, since the watch may be behind.
                self._cache.wait(lambda: not self._cache.present(key), min(left, _LOOK_AGAIN), self.store.clock)
                self._check()
        if self._health is not None:
            self._health.watch()
        self._wait_for_own(chosen, self._catch_up_time)
        return chosen

    def _follow(self, service: str, timeout: float | None) -> None:
        """Follow the service of the own instance, so that the registry notices what happens to its entry."""
        if not self._following.includes(service):
            with self._lifecycle:
                self._check()
                self._following.include(service, Deadline(self._seconds(timeout)))

    def update(self, instance: Instance, *, timeout: float | None = None) -> Instance:
        """Replace the registered instance by one of the same identity.

        Args:
            instance: the new instance; service, id and host stay the same.
            timeout: seconds for everything; default: the store's timeout.

        Returns:
            The instance as registered.

        Raises:
            RegistryError: nothing is registered.
            InvalidArgument: the identity differs.
            OutcomeUnknown: the store did not answer. The registry applies the update once the store answers again.
        """
        return self._update(lambda _present: instance, timeout)

    def drain(self, *, timeout: float | None = None) -> Instance:
        """Mark the registered instance as draining: it stays registered, and ``pick`` skips it.

        Args:
            timeout: seconds for everything; default: the store's timeout.

        Returns:
            The instance as registered.

        Raises:
            RegistryError: nothing is registered.
            OutcomeUnknown: as for :meth:`update`.
        """
        return self._update(lambda present: present.with_status(InstanceStatus.DRAINING), timeout)

    def undrain(self, *, timeout: float | None = None) -> Instance:
        """Mark the registered instance as ready again.

        Args:
            timeout: seconds for everything; default: the store's timeout.

        Returns:
            The instance as registered.

        Raises:
            RegistryError: nothing is registered.
            OutcomeUnknown: as for :meth:`update`.
        """
        return self._update(lambda present: present.with_status(InstanceStatus.READY), timeout)

    def _update(self, change: Callable[[Instance], Instance], timeout: float | None) -> Instance:
        self._check()
        deadline = Deadline(self._seconds(timeout))

        def decide(present: Instance) -> Instance:
            if self._health is not None:
                self._health.application_decides()
            return change(present)

        instance = self._registration.update(decide, deadline)
        self._wait_for_own(instance, deadline.within(self._catch_up_time))
        return instance

    def deregister(self, *, timeout: float | None = None) -> None:
        """End the registration: first the heartbeat, then the entry. It does nothing if nothing is registered.

        The entry never comes back, not even by a recovery that was under way.

        Args:
            timeout: seconds for everything; default: the store's timeout.

        Raises:
            Unavailable: the store did not confirm; the entry is removed when its lease expires.
            OutcomeUnknown: the same.
        """
        self._check()
        key = self._registration.key
        deadline = Deadline(self._seconds(timeout))
        if self._registration.deregister(deadline) and key is not None:
            self._cache.wait(lambda: not self._cache.present(key), deadline.within(self._catch_up_time))

    def current(self) -> Instance | None:
        """Return the registered instance.

        Returns:
            The instance as registered, or as it will be while the status is RECOVERING; ``None`` if there is none.
        """
        return self._registration.instance

    @property
    def key(self) -> str | None:
        """The key of the registered instance's entry; ``None`` if there is none."""
        return self._registration.key

    @property
    def lease(self) -> Lease | None:
        """The lease of the registered instance's entry; ``None`` if there is none."""
        return self._registration.lease

    @property
    def status(self) -> Status:
        """The status of this registry's registration. A forked child has inherited none: IDLE."""
        if self._fork_generation != fork_generation.value:
            return Status.IDLE
        return self._registration.status

    @property
    def error(self) -> TenureError | None:
        """The error behind the status of the registration, or of the cache; ``None`` if there is none.

        It is there while the registration is RECOVERING or FAILED, and while the cache's watch is without its store.
        """
        late = None if self._late is None else self._late.error
        return self._registration.error or self._following.error or self._following.outage or late

    # -- the instances of all clients: from the cache, no lock and no call ---------------------------------

    def get_service(self, name: str = DEFAULT_SERVICE, meta: Filter = None, *, ready_only: bool = False) -> Service:
        """Return a service with its known instances, draining ones included. Makes no call to the store.

        Args:
            name: the service.
            meta: only instances whose metadata have these items, or for which this function returns true.
            ready_only: leave out draining instances.

        Returns:
            The service with at least one instance. It never changes.

        Raises:
            ServiceNotFound: no instance of the service is known.
            NoInstanceAvailable: instances are known, and none passes the filter.
            StoreClosed: the registry has not started.
        """
        membership = self._cache.directory.get(name)
        if membership is None:
            self._not_found(name)
        if meta is None and not ready_only:
            return membership.service
        return Service(name, self._chosen(membership, meta, ready=ready_only))

    def _chosen(self, membership: Membership, meta: Filter, *, ready: bool) -> tuple[Instance, ...]:
        if meta is None:
            chosen = membership.ready if ready else membership.service.instances
        else:
            chosen = select(membership.service.instances, meta, ready=ready)
        if not chosen:
            raise NoInstanceAvailable(
                f"no instance of {membership.name!r}{describe(meta, ready=ready)} is available, {len(membership)} are "
                f"known{self._how_stale()}"
            )
        return chosen

    def get_services(self) -> Mapping[str, Service]:
        """Return all known services. Makes no call to the store.

        Returns:
            The services by name, of one moment; the mapping never changes.
        """
        return self._cache.services

    def pick(
        self,
        name: str = DEFAULT_SERVICE,
        strategy: Strategy | str = Strategy.ROUND_ROBIN,
        *,
        meta: Filter = None,
        include_draining: bool = False,
        exclude: Collection[Instance | str] = (),
        zones: Sequence[str] = (),
        sticky: str | bytes | None = None,
    ) -> Instance:
        """Choose one instance of a service to send work to. Makes no call to the store.

        Instances whose failure was reported rest and are passed over, see :meth:`report_failure`. If all that are left
        rest, the one whose rest ends first is returned. The property :attr:`resting` has it. A warning is logged, at
        most once in ``config.rest_longest`` seconds for a service.

        Args:
            name: the service.
            strategy: how to choose, see :class:`Strategy`.
            meta: only instances whose metadata have these items, or for which this function returns true.
            include_draining: choose among draining instances, too.
            exclude: instances, or their ids, to leave out: for example those that this call has tried.
            zones: names of zones in the order of preference, the caller's own first. Only instances of the first zone
                that has any are chosen from; if no zone has any, all are. An instance's zone is its ``zone`` metadata.
            sticky: a key, such as a user's id. Each registry with the same entries chooses the same instance for it,
                by :attr:`Instance.weight`. When an instance comes or leaves, only its own part of the keys moves.
                It takes the place of ``strategy``.

        Returns:
            One instance.

        Raises:
            ServiceNotFound: no instance of the service is known.
            NoInstanceAvailable: instances are known, but none passes the filter, or all are draining or excluded.
            InvalidArgument: there is no such strategy, a strategy is given beside ``sticky``, or ``exclude``,
                ``zones`` or ``sticky`` is of the wrong type.
            StoreClosed: the registry has not started.
        """
        self._choose_after_fork()
        membership = self._cache.directory.get(name)
        if membership is None:
            self._not_found(name)
        candidates = self._chosen(membership, meta, ready=not include_draining)
        if sticky is None and not exclude and not zones and not self._rests.remembered:
            return self._picker.pick(name, candidates, strategy, meta)
        key = None if sticky is None else check_sticky(name, sticky, strategy)
        left = without(name, candidates, exclude) if exclude else candidates
        if not left:
            described = describe(meta, ready=not include_draining)
            raise NoInstanceAvailable(
                f"no instance of {name!r}{described} is available, all {len(candidates)} are excluded"
                f"{self._how_stale()}"
            )
        awake = self._rests.awake(left) if self._rests.remembered else left
        if not awake:
            return self._least_bad(name, left)
        zone, near = nearest(name, awake, zones) if zones else ("", awake)
        if key is not None:
            return by_key(near, key)
        # An exclusion has turns of its own: in those of all, it would shift who is next.
        narrowed = (zone, "excluded" if exclude else "") if zone or exclude else ()
        return self._picker.pick(name, near, strategy, meta, narrowed)

    def _least_bad(self, name: str, candidates: Sequence[Instance]) -> Instance:
        chosen, due = self._rests.least_bad(name, candidates)
        if due:
            _log.warning(
                "picking an instance of %r: all that are left (%d) rest after failures that were reported; taking %s, "
                "whose rest ends first",
                name,
                len(candidates),
                chosen.identity(),
            )
        return chosen

    def report_failure(self, instance: Instance) -> float:
        """Report that an instance failed: :meth:`pick` of this registry passes it over for a while.

        The first rest takes ``config.rest_first`` seconds, and each further failure doubles it, up to
        ``config.rest_longest``. Failures of calls that began before the rest don't add to it. The failures are
        forgotten by :meth:`report_success`, or ``rest_longest`` seconds after the rest. Other clients don't learn of
        it.

        Args:
            instance: the instance, as ``pick`` returned it.

        Returns:
            Seconds for which the instance rests from now on.

        Raises:
            InvalidArgument: ``instance`` is no instance.
        """
        self._choose_after_fork()
        return self._rests.failed(_instance("reporting a failure", instance))

    def report_success(self, instance: Instance) -> None:
        """Report that an instance works: its rest ends, and its failures are forgotten.

        It costs nothing while no failure is remembered, so it can be called after each piece of work.

        Args:
            instance: the instance, as ``pick`` returned it.

        Raises:
            InvalidArgument: ``instance`` is no instance.
        """
        self._choose_after_fork()
        self._rests.succeeded(_instance("reporting a success", instance))

    @property
    def resting(self) -> Mapping[str, float]:
        """The identities of the instances that rest after reported failures, each with the seconds that are left."""
        self._choose_after_fork()
        return self._rests.left()

    def wait_for(
        self,
        name: str = DEFAULT_SERVICE,
        count: int = 1,
        timeout: float | None = None,
        *,
        meta: Filter = None,
        include_draining: bool = False,
    ) -> Service:
        """Block until at least ``count`` instances of a service pass the filter.

        Args:
            name: the service.
            count: number of instances to wait for, at least 1.
            timeout: seconds to wait at most; default: the store's timeout.
            meta: only instances whose metadata have these items, or for which this function returns true.
            include_draining: count draining instances, too.

        Returns:
            The service with at least ``count`` instances.

        Raises:
            ServiceNotFound: the time was up; the message says how many instances there were.
            InvalidArgument: ``count`` is out of range, or the service isn't among those that the registry follows.
            StoreClosed: the registry has not started, or was closed meanwhile.
        """
        wait = self._waiting_for(name, count, timeout, meta, ready=not include_draining)
        return wait.result(enough=self._cache.wait(wait.enough, wait.seconds, self.store.clock))

    def _waiting_for(self, name: str, count: int, timeout: float | None, meta: Filter, *, ready: bool) -> InstancesWait:
        self._check()
        if not isinstance(count, int) or count < 1:
            raise InvalidArgument(f"waiting for {name!r}: count is a number of instances, at least 1, not {count!r}")
        self._check_followed("waiting for", name)
        return InstancesWait(self, name, count, self._seconds(timeout), meta, ready=ready)

    @property
    def malformed_entries(self) -> Mapping[str, str]:
        """Keys under the prefix whose entries are no instance, each with the reason. It names at most 1,000."""
        return self._cache.malformed

    @property
    def staleness(self) -> float:
        """Seconds since the cache was last known to be up to date: 0.0 while the watch is connected.

        Before the start has filled the cache it is infinite; a cache from ``config.warm_file`` is as old as what the
        file says. Once a break is noticed, it counts from the connection's
        last sign of life. In a forked child the inherited cache ages from the fork on.

        A broken connection is noticed within ``store.capabilities.max_watch_failure_detection`` seconds.
        """
        if self._frozen_at is not None:
            return self._frozen_age + max(0.0, self.store.clock.now() - self._frozen_at)
        if self._cache.in_sync:
            return self._following.staleness
        return self._warm.age if self._warm is not None and self._warm.loaded else math.inf

    @property
    def closed(self) -> bool:
        """Whether the cache stopped following the store: by a fork, the close or its watch's :attr:`error`."""
        forked = self._fork_generation != fork_generation.value
        return forked or self._cache.frozen or self._following.error is not None

    # -- handlers ----------------------------------------------------------------------------------

    def add_handler(self, handler: Handler, *, service: str | None = None, replay: bool = False) -> None:
        """Call a handler with each :class:`InstanceEvent`, in order for each instance.

        The registry calls it on a thread of its own, so a handler may call the registry and the store. It logs what a
        handler raises. If handlers are so slow that 10,000 events wait, the events of one instance become one.

        Args:
            handler: the function to call; its result is ignored.
            service: deliver only events of this service; default: of all services.
            replay: first deliver a create for each instance that is known now; no event is lost in between.

        Raises:
            InvalidArgument: the service isn't among those that the registry follows, or ``handler`` is no function, or
                an async one.
            UsedAfterFork: the registry was made before this process forked.
        """
        check_callback("handler", handler)
        self._check_fork()
        if service is not None:
            self._check_followed("adding a handler of", service)
        with self._cache.changed:
            self._dispatcher.add(handler, service, self._cache.entries() if replay else ())

    def remove_handler(self, handler: Handler) -> None:
        """Stop calling a handler. Events that are already waiting may still be delivered.

        Args:
            handler: the function given to :meth:`add_handler`; an unknown one is ignored.

        Raises:
            UsedAfterFork: the registry was made before this process forked.
        """
        self._check_fork()
        self._dispatcher.remove(handler)

    def add_status_handler(self, handler: StatusHandler) -> None:
        """Call a handler with each :class:`StatusChange` of the registration and of the cache.

        Args:
            handler: the function to call, on the same thread as other handlers; its result is ignored.

        Raises:
            InvalidArgument: ``handler`` is no function, or an async one.
            UsedAfterFork: the registry was made before this process forked.
        """
        check_callback("handler", handler)
        self._check_fork()
        self._dispatcher.add_status(handler)

    # -- told by the store -------------------------------------------------------------------------

    def _store_closes(self) -> None:
        """The store is being closed before this registry: it revokes the lease and ends the watch."""
        error = StoreClosed(
            f"keeping {self.config.key_prefix!r}: the store {self.store.url} was closed; close the registry first"
        )
        self._frozen_age, self._frozen_at = self.staleness, self.store.clock.now()
        self.store._observers.cache_closed("registry", self.config.key_prefix, self._cache_age)
        self._registration.store_closed(error)
        self._following.store_closed(error)

    def _tell_observers(self, change: StatusChange) -> None:
        if change.part is Part.REGISTRATION:
            self._service = getattr(self._registration.instance, "service_name", self._service)
            self.store._observers.tell(
                "registration_changed",
                prefix=self.config.key_prefix,
                status=str(change.status),
                reason=change.reason,
                error=change.error,
                service=self._service,
            )

    # -- inside ------------------------------------------------------------------------------------

    def _wait_for_own(self, instance: Instance, seconds: float) -> None:
        """Let the cache catch up with this registry's own write, so that a client finds its instance.

        The wait is bounded: the write is done, even if the watch is behind.
        """
        key = key_of(self.config.key_prefix, instance)
        self._cache.wait(lambda: self._cache.entry(key) == instance, seconds)

    def _not_found(self, name: str) -> NoReturn:
        self._check_started()
        if not self._following.includes(name):
            raise ServiceNotFound(f"no instance of {name!r} is known: {self._only_followed()}")
        raise ServiceNotFound(f"no instance of {name!r} is known{self._how_stale()}")

    def _check_followed(self, action: str, name: str) -> None:
        if not self._following.includes(name):
            raise InvalidArgument(f"{action} {name!r}: {self._only_followed()}")

    def _only_followed(self) -> str:
        names = sorted(self._following.services or ())
        shown = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        return f"this registry follows {shown} alone; add the service to RegistryConfig.services"

    def _how_stale(self) -> str:
        age = self.staleness
        if age == math.inf:
            known = self._warm is not None and self._warm.loaded
            return " (the cache is of unknown age)" if known else " (the cache was never filled)"
        return f" (the cache is {age:.1f} s old)" if age else ""

    def _seconds(self, timeout: float | None) -> float:
        return self.store.timeout if timeout is None else check_timeout(timeout)

    def _deadline(self, timeout: float | None) -> Deadline:
        """Return the caller's deadline, or one for a few calls, each with the store's timeout."""
        return Deadline(CALLS * self.store.timeout if timeout is None else check_timeout(timeout))

    def _check(self) -> None:
        self._check_fork()
        if self._closing:
            raise StoreClosed("using the registry: it is closed; make a new one")
        if self.store.closed:
            raise StoreClosed("using the registry: its store was closed; connect, and make a new registry")
        self._check_started()

    def _check_started(self) -> None:
        if not self._following.begun and self._late is None:
            raise StoreClosed("using the registry: it hasn't started; call start(), or use it in 'with'")

    def _check_fork(self) -> None:
        if is_finalizing():
            raise StoreClosed("using the registry: the interpreter is ending, and has stopped its threads")
        if left_behind(self._fork_generation):
            raise UsedAfterFork(
                "using the registry: it was started before the process forked; its cache can be read, but to register, "
                "connect and make a new registry in the child"
            )


class InstancesWait:
    """A wait for instances, without the waiting: each face looks in its own way until there are enough."""

    def __init__(self, registry: Registry, name: str, count: int, seconds: float, meta: Filter, *, ready: bool) -> None:
        self.seconds = seconds
        self._registry = registry
        self._name = name
        self._count = count
        self._meta = meta
        self._ready = ready
        self._found: tuple[Instance, ...] = ()

    def enough(self) -> bool:
        """Look whether enough instances are there."""
        known = self._registry._cache.directory.get(self._name)
        self._found = () if known is None else select(known.service.instances, self._meta, ready=self._ready)
        return len(self._found) >= self._count

    def result(self, *, enough: bool) -> Service:
        """Return what the last look found if it was enough; raise ``ServiceNotFound`` otherwise."""
        if enough:
            return Service(self._name, self._found)
        self._registry._check()  # it may have been closed meanwhile
        filtered = describe(self._meta, ready=self._ready)
        raise ServiceNotFound(
            f"{len(self._found)} of {self._count} instances of {self._name!r}{filtered} were there after "
            f"{self.seconds:g} s{self._registry._how_stale()}"
        )


def _instance(action: str, instance: object) -> Instance:
    if not isinstance(instance, Instance):
        raise InvalidArgument(
            f"{action}: it takes an Instance, not {type(instance).__name__}: {instance!r:.80}; pass the one that pick "
            "returned"
        )
    return instance
