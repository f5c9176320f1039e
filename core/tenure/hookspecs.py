"""The hooks of Tenure: one for store plugins, the others for observers such as metrics and tracing.

An observer is any object or module with functions marked by :data:`hookimpl`. Pass observers to
``connect(url, observers=[...])``. A hook function may leave out parameters that it does not need. What an observer
raises is logged; it never breaks an operation.

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

from typing import TYPE_CHECKING

import pluggy

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


@hookspec
def tenure_store_opened(url: str) -> None:
    """Observe that a store was opened. Called once per store, in the thread that opened the store.

    Args:
        url: the store's URL, any password replaced by ``***``.
    """


@hookspec
def tenure_store_closed(url: str) -> None:
    """Observe that a store was closed. Called once per store, after its leases and watches have ended.

    Args:
        url: the store's URL, any password replaced by ``***``.
    """


@hookspec
def tenure_operation_finished(url: str, operation: str, seconds: float, error: TenureError | None) -> None:
    """Observe that an operation returned or raised. Called once per operation, in the thread that made it.

    That thread waits for the observer, so keep the function short. Refreshes of leases in the background are reported
    too, once per request, which may be for many leases.

    Args:
        url: the store's URL, any password replaced by ``***``.
        operation: the kind of call: ``"get"``, ``"list"``, ``"commit"`` (every write), ``"grant"``, ``"refresh"``,
            ``"revoke"``, ``"leases"`` or ``"server_info"``.
        seconds: how long the operation took in seconds, retries included.
        error: what the operation raised, ``None`` if it returned.
    """


@hookspec
def tenure_lease_lost(url: str, lease_id: str, reason: str) -> None:
    """Observe that a lease was lost. Called once per lost lease, on a thread for callbacks.

    Args:
        url: the store's URL, any password replaced by ``***``.
        lease_id: the lease's id.
        reason: why the lease was lost, as text.
    """


@hookspec
def tenure_watch_resynced(url: str, prefix: str, reason: str) -> None:
    """Observe that a watch closes a gap. Called once per RESYNC batch, before the consumer receives the batch.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix that the watch was opened with, without the namespace.
        reason: what caused the gap, as text.
    """


@hookspec
def tenure_registration_changed(url: str, prefix: str, status: str, reason: str, error: TenureError | None) -> None:
    """Observe that a registry's own registration has another status, or that an attempt to register again failed.

    Called once per change, in order, on a thread for callbacks.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix of the registry's keys.
        status: the status now, such as ``"registered"`` or ``"recovering"`` (``tenure.registry.Status``).
        reason: why, for people.
        error: the error behind it, ``None`` if there is none.
    """


@hookspec
def tenure_watch_disconnected(url: str, prefix: str, error: TenureError) -> None:
    """Observe that a watch is without its store. Called again when the class of the error changes.

    A refusal is reported at once, such as a right that was taken away; another break, once an attempt to connect again
    has failed. The watch keeps trying.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix that the watch was opened with, without the namespace.
        error: the refusal, or what the attempt has failed with.
    """


@hookspec
def tenure_watch_reconnected(url: str, prefix: str) -> None:
    """Observe that a watch is connected again, after ``tenure_watch_disconnected``.

    Args:
        url: the store's URL, any password replaced by ``***``.
        prefix: the prefix that the watch was opened with, without the namespace.
    """
