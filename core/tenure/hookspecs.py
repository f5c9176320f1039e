"""The hooks of Tenure: one for store plugins, the others for observers such as metrics and tracing.

An observer is any object or module with functions marked by :data:`hookimpl`. Pass observers to
``connect(url, observers=[...])``. A hook function may leave out parameters that it does not need. What an observer
raises is logged; it never breaks an operation. Where nobody implements a hook, it costs one look at a flag.

Later versions add hooks and parameters; a hook and a parameter that are here stay. The page
``core/docs/how-to/observe.md`` lists all hooks. They are the same for :mod:`tenure.aio`, whose stores are observed by
``aio.connect(url, observers=[...])``.

>>> import tenure
>>> from tenure.hookspecs import hookimpl
>>> class Counting:
...     operations = 0
...
...     @hookimpl
...     def tenure_operation_finished(self, operation, error):
...         self.operations += 1
>>> counting = Counting()
>>> with tenure.connect("memory://", observers=[counting]) as store:
...     item = store.get("key")
>>> counting.operations
1

Attributes:
    PROJECT: the project name that pluggy uses for all markers.
    hookspec: marks a function of this module as the specification of a hook.
    hookimpl: marks a function of a plugin module, or a method of an observer, as the implementation of a hook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

from tenure._observed import ObservedStore as ObservedStore  # noqa: PLC0414 - exported
from tenure._observed import Outcome as Outcome  # noqa: PLC0414 - exported

if TYPE_CHECKING:
    from tenure.errors import TenureError
    from tenure.spi.plugin import BackendPlugin

PROJECT = "tenure"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def tenure_backend() -> BackendPlugin | None:
    """Describe the store plugin. Called once, after the module that the entry point names was imported.

    Returns:
        The description: scheme, options and the function that opens a store.
    """


# -- stores and operations --------------------------------------------------------------------------


@hookspec
def tenure_store_opened(url: str, store: ObservedStore) -> None:
    """Observe that a store was opened. Called once per store, in the thread that opened the store.

    Args:
        url: the store's URL, any password replaced by ``***``.
        store: the same in parts.
    """


@hookspec
def tenure_store_closed(url: str, store: ObservedStore) -> None:
    """Observe that a store was closed. Called once per store, after its leases and watches have ended.

    Args:
        url: the store's URL, any password replaced by ``***``.
        store: the same in parts.
    """


@hookspec(firstresult=True)
def tenure_operation_started(url: str, operation: str, batch_size: int, store: ObservedStore) -> object:
    """Observe that an operation begins. Called in the thread that calls the plugin, right before it does.

    So a span that is made current here is the parent of the spans of the plugin's client library. On an event loop
    that thread is a worker, which runs in a copy of the calling task's context.

    Args:
        url: the store's URL, any password replaced by ``***``.
        operation: the kind of call, as for :func:`tenure_operation_finished`.
        batch_size: how many operations a commit has, keys a read of several, leases a refresh; otherwise 1.
        store: the store in parts.

    Returns:
        Anything. :func:`tenure_operation_finished` of the same observer gets it as ``context``.
    """


@hookspec
def tenure_operation_finished(
    url: str,
    operation: str,
    seconds: float,
    error: TenureError | None,
    outcome: Outcome,
    attempts: int,
    batch_size: int,
    context: object,
    store: ObservedStore,
) -> None:
    """Observe that an operation returned or raised. Called once per operation, in the thread that made it.

    That thread waits for the observer, so keep the function short. Refreshes and revocations of held leases are
    reported once per request, which may be for many leases.

    Args:
        url: the store's URL, any password replaced by ``***``.
        operation: the kind of call: ``"get"``, ``"get_many"``, ``"list"`` (each page), ``"commit"`` (every write),
            ``"delete_prefix"``, ``"grant"``, ``"refresh"``, ``"revoke"``, ``"leases"`` or ``"server_info"``.
        seconds: how long the operation took in seconds, retries included.
        error: what the operation raised, ``None`` if it returned or was interrupted.
        outcome: how the operation ended.
        attempts: how often the plugin was called.
        batch_size: how many operations a commit has, keys a read of several, leases a refresh; otherwise 1.
        context: what :func:`tenure_operation_started` of this observer returned, ``None`` without one.
        store: the store in parts.
    """


# -- leases -----------------------------------------------------------------------------------------


@hookspec
def tenure_lease_granted(url: str, lease_id: str, ttl: float, store: ObservedStore) -> None:
    """Observe that this process has taken a lease. Called once per lease, in the thread that took it.

    Each such lease is reported by :func:`tenure_lease_lost` or :func:`tenure_lease_revoked` when it ends.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        ttl: the TTL that the store gave, in seconds.
        store: the store in parts.
    """


@hookspec
def tenure_lease_refreshed(url: str, lease_id: str, seconds: float, remaining: float, store: ObservedStore) -> None:
    """Observe that the store has confirmed a refresh of a lease. Called once per lease and refresh.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        seconds: how long the request took, in seconds.
        remaining: seconds that the lease had left when the answer came, before it counted: how near its loss was.
        store: the store in parts.
    """


@hookspec
def tenure_lease_suspect(url: str, lease_id: str, remaining: float, store: ObservedStore) -> None:
    """Observe that no refresh of a lease has succeeded for two thirds of its TTL. Called once until one succeeds.

    Only for leases that are refreshed in the background.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        remaining: seconds until the holder counts the lease as lost.
        store: the store in parts.
    """


@hookspec
def tenure_lease_lost(url: str, lease_id: str, reason: str, store: ObservedStore) -> None:
    """Observe that a lease was lost. Called once per lost lease, on a thread for callbacks.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        reason: why the lease was lost, as text.
        store: the store in parts.
    """


@hookspec
def tenure_lease_revoked(url: str, lease_id: str, store: ObservedStore) -> None:
    """Observe that the holder has ended its lease: revoked, abandoned, or ended with its store. Called once per lease.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        store: the store in parts.
    """


# -- watches ----------------------------------------------------------------------------------------


@hookspec
def tenure_watch_opened(url: str, watch_id: int, prefix: str, store: ObservedStore) -> None:
    """Observe that a watch was opened and is connected. Called once per watch, in the thread that opened it.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        store: the store in parts.
    """


@hookspec
def tenure_watch_closed(url: str, watch_id: int, prefix: str, error: TenureError | None, store: ObservedStore) -> None:
    """Observe that a watch has ended. Called once per watch that was opened.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        error: what ended the watch, ``None`` if it was closed or dropped.
        store: the store in parts.
    """


@hookspec
def tenure_watch_delivered(
    url: str, watch_id: int, prefix: str, changes: int, lag: float, pending: int, store: ObservedStore
) -> None:
    """Observe that a watch's consumer takes changes. Called once for each batch of the plugin.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        changes: how many changes it takes.
        lag: seconds for which they have waited in this process for the consumer.
        pending: how many changes wait behind them.
        store: the store in parts.
    """


@hookspec
def tenure_watch_resynced(url: str, watch_id: int, prefix: str, reason: str, cause: str, store: ObservedStore) -> None:
    """Observe that a watch closes a gap. Called once per RESYNC batch, before the consumer receives the batch.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        reason: what caused the gap, as text.
        cause: the same in one word: ``"slow_consumer"``, ``"compacted"``, ``"history_replaced"`` or
            ``"connection_lost"``.
        store: the store in parts.
    """


@hookspec
def tenure_watch_disconnected(url: str, watch_id: int, prefix: str, error: TenureError, store: ObservedStore) -> None:
    """Observe that a watch is without its store. Called again when the class of the error changes.

    A refusal is reported at once, such as a right that was taken away; another break, once an attempt to connect again
    has failed. The watch keeps trying.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        error: the refusal, or what the attempt has failed with.
        store: the store in parts.
    """


@hookspec
def tenure_watch_reconnected(url: str, watch_id: int, prefix: str, seconds: float, store: ObservedStore) -> None:
    """Observe that a watch is connected again, after ``tenure_watch_disconnected``.

    Args:
        url: the store's URL, any password replaced by ``***``.
        watch_id: the number of the watch, of its own in this process.
        prefix: the prefix that the watch was opened with, without the namespace.
        seconds: seconds since the first ``tenure_watch_disconnected`` of this outage.
        store: the store in parts.
    """


# -- callbacks --------------------------------------------------------------------------------------


@hookspec
def tenure_callback_dequeued(url: str, pool: str, seconds: float, waiting: int, store: ObservedStore) -> None:
    """Observe that a thread for callbacks takes work from its queue. Called in that thread.

    Args:
        url: the store's URL, any password replaced by ``***``.
        pool: which threads: ``"callbacks"`` (watches, handlers, recipes), ``"connecting"`` or ``"losses"``.
        seconds: how long the work has waited in the queue, in seconds.
        waiting: how much work waits in the queue now.
        store: the store in parts.
    """


@hookspec
def tenure_callback_slow(url: str, pool: str, seconds: float, store: ObservedStore) -> None:
    """Observe that a thread for callbacks has been busy with one piece of work for a second or more, and still is.

    Called once for each such piece of work, from another thread.

    Args:
        url: the store's URL, any password replaced by ``***``.
        pool: which threads, as for :func:`tenure_callback_dequeued`.
        seconds: how long the work has run until now, in seconds.
        store: the store in parts.
    """


@hookspec
def tenure_callback_finished(
    url: str, source: str, seconds: float, error: BaseException | None, store: ObservedStore
) -> None:
    """Observe that a callback of the application returned or raised. Called in the thread that called it.

    Args:
        url: the store's URL, any password replaced by ``***``.
        source: whose callback: ``"watch"``, ``"lease"``, ``"registry"`` or ``"recipe"``.
        seconds: how long the callback ran, in seconds.
        error: what the callback raised, ``None`` if it returned.
        store: the store in parts.
    """


# -- registrations and caches -----------------------------------------------------------------------


@hookspec
def tenure_registration_changed(
    url: str, prefix: str, status: str, reason: str, error: TenureError | None, service: str, store: ObservedStore
) -> None:
    """Observe that a registry's own registration has another status, or that an attempt to register again failed.

    Called once per change, in order, on a thread for callbacks.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix of the registry's keys.
        status: the status now, such as ``"registered"`` or ``"recovering"`` (``tenure.registry.Status``).
        reason: why, for people.
        error: the error behind it, ``None`` if there is none.
        service: the service of the instance that is or was registered, empty if that isn't known.
        store: the store in parts.
    """


@hookspec
def tenure_cache_opened(
    url: str, prefix: str, kind: str, age: Callable[[], float | None], store: ObservedStore
) -> None:
    """Observe that something begins to keep keys of the store in memory: a registry, or a cached value or prefix.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix of the keys.
        kind: ``"registry"``, ``"value"`` or ``"prefix"``.
        age: tells, whenever it is called, for how many seconds the cache has not been up to date: 0.0 while it follows
            the store, ``None`` once it is gone. Never blocks. :func:`tenure_cache_closed` gets the same object.
        store: the store in parts.
    """


@hookspec
def tenure_cache_closed(
    url: str, prefix: str, kind: str, age: Callable[[], float | None], store: ObservedStore
) -> None:
    """Observe that a cache follows the store no longer. Not called for one that the application just drops.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix of the keys.
        kind: ``"registry"``, ``"value"`` or ``"prefix"``.
        age: the object that :func:`tenure_cache_opened` got.
        store: the store in parts.
    """


# -- recipes ----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def tenure_recipe_waiting(url: str, kind: str, name: str, store: ObservedStore) -> object:
    """Observe that an object begins to acquire a lock, a place in a semaphore, an election or another recipe.

    :func:`tenure_recipe_held` or :func:`tenure_recipe_given_up` follows.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: what is acquired: ``"lock"``, ``"read lock"``, ``"write lock"``, ``"locks"`` (several at once),
            ``"semaphore"``, ``"election"`` or ``"group"``.
        name: the name of what is acquired.
        store: the store in parts.

    Returns:
        Anything. :func:`tenure_recipe_held` or :func:`tenure_recipe_given_up` of the same observer gets it as
        ``context``.
    """


@hookspec
def tenure_recipe_queued(url: str, kind: str, name: str, ahead: int, waiters: int, store: ObservedStore) -> None:
    """Observe that a participant which has to wait has looked at its queue. Called at each look.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: whose queue: ``"lock"``, ``"read-write lock"``, ``"semaphore"``, ``"election"`` or ``"once"``.
        name: the name of what it waits for.
        ahead: how many other participants are before it, holders included.
        waiters: how many participants the queue has, holders included.
        store: the store in parts.
    """


@hookspec
def tenure_recipe_held(
    url: str, kind: str, name: str, token: int, seconds: float, context: object, store: ObservedStore
) -> None:
    """Observe that an object holds what it acquired.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: what is held, as for :func:`tenure_recipe_waiting`.
        name: the name of what is held.
        token: the fencing token.
        seconds: how long it took to acquire it, in seconds.
        context: what :func:`tenure_recipe_waiting` of this observer returned, ``None`` without one.
        store: the store in parts.
    """


@hookspec
def tenure_recipe_given_up(
    url: str, kind: str, name: str, seconds: float, error: TenureError | None, context: object, store: ObservedStore
) -> None:
    """Observe that an object has stopped to acquire without success.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: what it wanted, as for :func:`tenure_recipe_waiting`.
        name: the name of what it wanted.
        seconds: how long it tried, in seconds.
        error: why, such as ``WaitTimeout``; ``None`` if others held it and it was not to wait, or if the caller was
            interrupted.
        context: what :func:`tenure_recipe_waiting` of this observer returned, ``None`` without one.
        store: the store in parts.
    """


@hookspec
def tenure_recipe_released(url: str, kind: str, name: str, token: int, seconds: float, store: ObservedStore) -> None:
    """Observe that a holder has given back, or handed over, what it held. Called before the store is told.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: what was held, as for :func:`tenure_recipe_waiting`.
        name: the name of what was held.
        token: the fencing token.
        seconds: how long it was held, in seconds.
        store: the store in parts.
    """


@hookspec
def tenure_recipe_lost(url: str, kind: str, name: str, token: int, seconds: float, store: ObservedStore) -> None:
    """Observe that a holder has lost what it held: its session ended, or its key is gone. Called once.

    Args:
        url: the store's URL, any password replaced by ``***``.
        kind: what was held, as for :func:`tenure_recipe_waiting`.
        name: the name of what was held.
        token: the fencing token.
        seconds: how long it was held, in seconds.
        store: the store in parts.
    """
