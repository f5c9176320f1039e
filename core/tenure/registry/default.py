"""One registry for the whole process, as the original package has it: ``init`` once, use it everywhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from tenure._client.opening import connect
from tenure._client.store import Store
from tenure.errors import AlreadyRegistered, StoreClosed
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Handler, Status
from tenure.registry.model.filters import Filter
from tenure.registry.model.instance import DEFAULT_SERVICE, Instance
from tenure.registry.model.selection import Strategy
from tenure.registry.model.service import Service
from tenure.registry.registry import Registry


class _Process:
    """The registry of this process, and the store if it was opened for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.registry: Registry | None = None
        self.opened: Store | None = None
        self.inherited = False

    def after_fork(self) -> None:
        # The lock may have been held by a thread that the child doesn't have.
        self.lock = threading.Lock()
        self.inherited = self.registry is not None
        self.opened = None


_process = _Process()
os.register_at_fork(after_in_child=_process.after_fork)


def init(store_or_url: Store | str, config: RegistryConfig | None = None, instance: Instance | None = None) -> Registry:
    """Start the registry of this process. A URL is opened here, and closed by :func:`close`; a store is the caller's.

    Raises ``AlreadyRegistered`` while one is open, and what ``connect`` and ``Registry.start`` raise.
    """
    with _process.lock:
        present = _process.registry
        if present is not None and not _process.inherited and present.status is not Status.CLOSED:
            raise AlreadyRegistered(
                f"this process has a registry already ({present!r}): close it first, or use Registry for another one"
            )
        _close_opened()
        opened = connect(store_or_url) if isinstance(store_or_url, str) else None
        try:
            registry = Registry(opened or store_or_url, config, instance).start()  # type: ignore[arg-type]  # Registry says what is wrong with anything but a store
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        _process.registry, _process.opened, _process.inherited = registry, opened, False
        return registry


def close(*, timeout: float | None = None) -> None:
    """Close the registry of this process, and its store if ``init`` opened it. What is cached stays readable.

    ``timeout`` is for the registry, in seconds (default: the store's).
    """
    with _process.lock:
        if _process.registry is not None:
            _process.registry.close(timeout=timeout)
        _close_opened()


def _close_opened() -> None:
    store, _process.opened = _process.opened, None
    if store is not None:
        store.close()


def get_registry() -> Registry:
    """The registry of this process, also after :func:`close`. Raises ``StoreClosed`` before the first ``init``."""
    registry = _process.registry
    if registry is None:
        raise StoreClosed("this process has no registry: call tenure.registry.init(url) first")
    return registry


def current() -> Instance | None:
    """This process's own instance as registered; ``None`` if there is none."""
    return get_registry().current()


def register(
    instance: Instance | None = None,
    *,
    wait: float | None = None,
    take_over: bool = False,
    timeout: float | None = None,
) -> Instance:
    """:meth:`Registry.register` of this process."""
    return get_registry().register(instance, wait=wait, take_over=take_over, timeout=timeout)


def update(instance: Instance, *, timeout: float | None = None) -> Instance:
    """:meth:`Registry.update` of this process."""
    return get_registry().update(instance, timeout=timeout)


def deregister(*, timeout: float | None = None) -> None:
    """:meth:`Registry.deregister` of this process."""
    get_registry().deregister(timeout=timeout)


def get_service(name: str = DEFAULT_SERVICE, meta: Filter = None, *, ready_only: bool = False) -> Service:
    """:meth:`Registry.get_service` of this process."""
    return get_registry().get_service(name, meta, ready_only=ready_only)


def get_services() -> Mapping[str, Service]:
    """:meth:`Registry.get_services` of this process."""
    return get_registry().get_services()


def pick(
    name: str = DEFAULT_SERVICE,
    strategy: Strategy | str = Strategy.ROUND_ROBIN,
    *,
    meta: Filter = None,
    include_draining: bool = False,
) -> Instance:
    """:meth:`Registry.pick` of this process."""
    return get_registry().pick(name, strategy, meta=meta, include_draining=include_draining)


def wait_for(
    name: str = DEFAULT_SERVICE,
    count: int = 1,
    timeout: float | None = None,
    *,
    meta: Filter = None,
    include_draining: bool = False,
) -> Service:
    """:meth:`Registry.wait_for` of this process."""
    return get_registry().wait_for(name, count, timeout, meta=meta, include_draining=include_draining)


def add_handler(handler: Handler, *, service: str | None = None, replay: bool = False) -> None:
    """:meth:`Registry.add_handler` of this process."""
    get_registry().add_handler(handler, service=service, replay=replay)
