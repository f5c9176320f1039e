"""One registry for the whole process, as in the Go package: call ``init`` once, and use it everywhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from tenure._client.opening import Opening, connect, prepare
from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure._runtime.retry import check_timeout
from tenure.errors import AlreadyRegistered, ConfigError, StoreClosed
from tenure.registry.choice.strategies import Strategy
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Handler, Status
from tenure.registry.model.filters import Filter
from tenure.registry.model.instance import DEFAULT_SERVICE, Instance
from tenure.registry.model.service import Service
from tenure.registry.registry import Registry


class _Process:
    """The registry of this process, and its store if ``init`` opened it."""

    def __init__(self) -> None:
        self.lock = Monitor()
        self.registry: Registry | None = None
        self.opened: Store | None = None
        self.inherited = False

    def after_fork(self) -> None:
        # A thread that the child doesn't have may have held the lock.
        self.lock = Monitor()
        self.inherited = self.registry is not None
        self.opened = None


_process = _Process()
os.register_at_fork(after_in_child=_process.after_fork)


def init(
    store_or_url: Store | str,
    config: RegistryConfig | None = None,
    instance: Instance | None = None,
    *,
    wait_for_store: float = 0.0,
    observers: Iterable[object] = (),
) -> Registry:
    """Start the registry of this process.

    >>> from tenure import registry
    >>> with registry.init("memory://", instance=Instance("web", port=8080)):
    ...     registry.current().port
    8080
    >>> registry.close()

    Args:
        store_or_url: a URL, which is opened here and closed by :func:`close`; or an open store, which the caller
            closes.
        config: prefix, heartbeat and retries; default: ``RegistryConfig()``.
        instance: the instance to register; default: that of ``config``, and none if it has none.
        wait_for_store: seconds to keep trying to open the URL while the store can't be reached, as for
            ``tenure.connect``. With ``config.warm_file`` the registry keeps trying in the background instead.
        observers: objects with observer hooks, as for ``tenure.connect``; only with a URL.

    Returns:
        The registry, started.

    Raises:
        AlreadyRegistered: this process has an open registry, or another registration holds the identity.
        ConfigError: the URL is wrong, ``store_or_url`` is neither a URL nor an open store, or observers were given for
            a store that is open already.
        Unavailable: the store can't be reached.
        DeadlineExceeded: the store did not deliver the entries in time.
    """
    with _process.lock:
        present = _process.registry
        if present is not None and not _process.inherited and present.status is not Status.CLOSED:
            raise AlreadyRegistered(
                f"starting the registry of this process: it has one already ({present!r}); close it first, or use "
                "Registry for another one"
            )
        _close_opened()
        opened: Store | None = None
        given: Store | Opening = store_or_url  # type: ignore[assignment]  # Registry refuses anything else
        if isinstance(store_or_url, str) and config is not None and config.warm_file is not None:
            given = prepare(store_or_url, observers=observers)  # the registry serves its file meanwhile
        elif isinstance(store_or_url, str):
            given = opened = connect(store_or_url, wait_for_store=wait_for_store, observers=observers)
        elif tuple(observers):
            raise ConfigError(
                "starting the registry of this process: observers belong to a store, and this one is open already; "
                "give them to tenure.connect"
            )
        registry = None
        try:
            registry = Registry(given, config, instance)
            registry.start()
            _process.registry, _process.opened, _process.inherited = registry, opened, False
            return registry
        except BaseException:  # also an interrupt after the start: the caller doesn't get the registry
            if registry is not None:
                registry.close()
            if opened is not None:
                opened.close()
            raise


def close(*, timeout: float | None = None) -> None:
    """Close the registry of this process, and its store if ``init`` opened it. The cache stays readable.

    Args:
        timeout: seconds for everything together; default: the store's timeout.

    Raises:
        InvalidArgument: ``timeout`` is not a positive number of seconds.
    """
    with _process.lock:
        registry = _process.registry
        if registry is None:
            return
        deadline = Deadline(registry.store.timeout if timeout is None else check_timeout(timeout))
        registry.close(timeout=deadline.remaining())
        _close_opened(deadline)


def _close_opened(deadline: Deadline | None = None) -> None:
    store, _process.opened = _process.opened, None
    if store is not None:
        store.close(timeout=None if deadline is None else deadline.remaining())


def get_registry() -> Registry:
    """Return the registry of this process, also after :func:`close`.

    Returns:
        The registry that ``init`` started last.

    Raises:
        StoreClosed: ``init`` was never called.
    """
    registry = _process.registry
    if registry is None:
        raise StoreClosed("using the registry of this process: there is none; call tenure.registry.init(url) first")
    return registry


def current() -> Instance | None:
    """Return the registered instance of this process's registry, as :meth:`Registry.current`.

    Returns:
        The instance; ``None`` if none is registered.

    Raises:
        StoreClosed: ``init`` was never called.
    """
    return get_registry().current()


def register(
    instance: Instance | None = None,
    *,
    wait: float | None = None,
    take_over: bool = False,
    timeout: float | None = None,
) -> Instance:
    """Register an instance in this process's registry, as :meth:`Registry.register`.

    Args:
        instance: the instance; default: the one given to ``init``, or one with every field filled in.
        wait: seconds to wait for an entry of the same identity to disappear; default: the configuration's.
        take_over: replace an entry of the same identity at once.
        timeout: seconds for the calls to the store, without ``wait``; default: the store's timeout for each call.

    Returns:
        The instance as registered.

    Raises:
        AlreadyRegistered: another client's entry has the identity, or this registry has an instance registered.
        OutcomeUnknown: the entry may still appear, for a heartbeat at most.
        InvalidArgument: ``instance`` is no instance, or ``wait`` is out of range.
        StoreClosed: there is no open registry.
    """
    return get_registry().register(instance, wait=wait, take_over=take_over, timeout=timeout)


def update(instance: Instance, *, timeout: float | None = None) -> Instance:
    """Replace the registered instance of this process's registry, as :meth:`Registry.update`.

    Args:
        instance: the new instance; service, id and host stay the same.
        timeout: seconds for everything; default: the store's timeout.

    Returns:
        The instance as registered.

    Raises:
        RegistryError: nothing is registered.
        InvalidArgument: the identity differs.
        OutcomeUnknown: the store did not answer. The registry applies the update once the store answers again.
        StoreClosed: there is no open registry.
    """
    return get_registry().update(instance, timeout=timeout)


def deregister(*, timeout: float | None = None) -> None:
    """End the registration of this process's registry, as :meth:`Registry.deregister`.

    Args:
        timeout: seconds for everything; default: the store's timeout.

    Raises:
        Unavailable: the store did not confirm; the entry is removed when its lease expires.
        OutcomeUnknown: the same.
        StoreClosed: there is no open registry.
    """
    get_registry().deregister(timeout=timeout)


def get_service(name: str = DEFAULT_SERVICE, meta: Filter = None, *, ready_only: bool = False) -> Service:
    """Return a service from this process's registry, as :meth:`Registry.get_service`.

    Args:
        name: the service.
        meta: only instances whose metadata have these items, or for which this function returns true.
        ready_only: leave out draining instances.

    Returns:
        The service with at least one instance. It never changes.

    Raises:
        ServiceNotFound: no instance of the service is known.
        NoInstanceAvailable: instances are known, and none passes the filter.
        StoreClosed: ``init`` was never called.
    """
    return get_registry().get_service(name, meta, ready_only=ready_only)


def get_services() -> Mapping[str, Service]:
    """Return all services that this process's registry knows, as :meth:`Registry.get_services`.

    Returns:
        The services by name, of one moment; the mapping never changes.

    Raises:
        StoreClosed: ``init`` was never called.
    """
    return get_registry().get_services()


def pick(
    name: str = DEFAULT_SERVICE,
    strategy: Strategy | str = Strategy.ROUND_ROBIN,
    *,
    meta: Filter = None,
    include_draining: bool = False,
    exclude: Collection[Instance | str] = (),
    zones: Sequence[str] = (),
    sticky: str | bytes | None = None,
) -> Instance:
    """Choose one instance of a service from this process's registry, as :meth:`Registry.pick`.

    Args:
        name: the service.
        strategy: how to choose, see :class:`Strategy`.
        meta: only instances whose metadata have these items, or for which this function returns true.
        include_draining: choose among draining instances, too.
        exclude: instances, or their ids, to leave out.
        zones: names of zones in the order of preference, the caller's own first.
        sticky: a key that gets the same instance each time; it takes the place of ``strategy``.

    Returns:
        One instance.

    Raises:
        ServiceNotFound: no instance of the service is known.
        NoInstanceAvailable: instances are known, but none passes the filter, or all are draining or excluded.
        InvalidArgument: there is no such strategy, a strategy is given beside ``sticky``, or ``exclude``, ``zones``
            or ``sticky`` is of the wrong type.
        StoreClosed: ``init`` was never called.
    """
    return get_registry().pick(
        name,
        strategy,
        meta=meta,
        include_draining=include_draining,
        exclude=exclude,
        zones=zones,
        sticky=sticky,
    )


def report_failure(instance: Instance) -> float:
    """Report to this process's registry that an instance failed, as :meth:`Registry.report_failure`.

    Args:
        instance: the instance, as ``pick`` returned it.

    Returns:
        Seconds for which ``pick`` passes it over from now on.

    Raises:
        InvalidArgument: ``instance`` is no instance.
        StoreClosed: ``init`` was never called.
    """
    return get_registry().report_failure(instance)


def report_success(instance: Instance) -> None:
    """Report to this process's registry that an instance works, as :meth:`Registry.report_success`.

    Args:
        instance: the instance, as ``pick`` returned it.

    Raises:
        InvalidArgument: ``instance`` is no instance.
        StoreClosed: ``init`` was never called.
    """
    get_registry().report_success(instance)


def wait_for(
    name: str = DEFAULT_SERVICE,
    count: int = 1,
    timeout: float | None = None,
    *,
    meta: Filter = None,
    include_draining: bool = False,
) -> Service:
    """Block until a service has enough instances, as :meth:`Registry.wait_for`.

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
        InvalidArgument: ``count`` is out of range.
        StoreClosed: there is no open registry.
    """
    return get_registry().wait_for(name, count, timeout, meta=meta, include_draining=include_draining)


def add_handler(handler: Handler, *, service: str | None = None, replay: bool = False) -> None:
    """Call a handler with each event of this process's registry, as :meth:`Registry.add_handler`.

    Args:
        handler: the function to call; its result is ignored.
        service: deliver only events of this service; default: of all services.
        replay: first deliver a create for each instance that is known now; no event is lost in between.

    Raises:
        StoreClosed: ``init`` was never called.
        UsedAfterFork: the registry was made before this process forked.
    """
    get_registry().add_handler(handler, service=service, replay=replay)
