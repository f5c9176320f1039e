"""The hooks: one for store plugins, five for observers such as metrics and tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from tenure.errors import TenureError
    from tenure.spi.plugin import BackendPlugin

PROJECT = "tenure"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin module, or a method of an observer, as the implementation of a hook."""


@hookspec(firstresult=True)
def tenure_backend() -> BackendPlugin | None:
    """Describe the store plugin. Called once, after the module named by the entry point was imported."""


@hookspec
def tenure_store_opened(url: str) -> None:
    """A store was opened; ``url`` shows no password."""


@hookspec
def tenure_store_closed(url: str) -> None:
    """A store was closed."""


@hookspec
def tenure_operation_finished(url: str, operation: str, seconds: float, error: TenureError | None) -> None:
    """An operation such as ``"get"`` or ``"commit"`` took ``seconds`` and returned, or raised ``error``.

    Called in the caller's thread, retries included in the time; keep it short.
    """


@hookspec
def tenure_lease_lost(url: str, lease_id: str, reason: str) -> None:
    """A lease went to LOST. Called once per lease."""


@hookspec
def tenure_watch_resynced(url: str, prefix: str, reason: str) -> None:
    """A watch had a gap and closed it by a RESYNC batch."""
