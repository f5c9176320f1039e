"""Telling observers (metrics, tracing) what a store does; costs one look at a flag where nobody listens."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pluggy

from leasehold.errors import LeaseholdError

_log = logging.getLogger("leasehold.observers")


class Observers:
    """The observer hooks of one store. What an observer raises is logged: it can't break an operation."""

    def __init__(self, manager: pluggy.PluginManager, url: str) -> None:
        self._hooks = manager.hook
        self._url = url
        self.active = bool(manager.hook.leasehold_operation_finished.get_hookimpls())

    def store_opened(self) -> None:
        self._call(lambda: self._hooks.leasehold_store_opened(url=self._url))

    def store_closed(self) -> None:
        self._call(lambda: self._hooks.leasehold_store_closed(url=self._url))

    def operation_finished(self, operation: str, seconds: float, error: LeaseholdError | None) -> None:
        self._call(
            lambda: self._hooks.leasehold_operation_finished(
                url=self._url, operation=operation, seconds=seconds, error=error
            )
        )

    def lease_lost(self, lease_id: str, reason: str) -> None:
        self._call(lambda: self._hooks.leasehold_lease_lost(url=self._url, lease_id=lease_id, reason=reason))

    def watch_resynced(self, prefix: str, reason: str) -> None:
        self._call(lambda: self._hooks.leasehold_watch_resynced(url=self._url, prefix=prefix, reason=reason))

    def _call(self, hook: Callable[[], object]) -> None:
        try:
            hook()
        except Exception:  # noqa: BLE001 - an observer's own error, logged
            _log.exception("an observer of %s raised", self._url)
