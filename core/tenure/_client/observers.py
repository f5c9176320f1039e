"""Notify observers (metrics, tracing). Without observers the cost is one flag check."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tenure._plugins import discovery
from tenure._runtime.deadline import monotonic
from tenure._runtime.interruption import interruption
from tenure.errors import ConfigError, TenureError
from tenure.spi.backend import Backend
from tenure.spi.types import LeaseId

if TYPE_CHECKING:
    import pluggy

_log = logging.getLogger("tenure._client.observers")


class Observers:
    """The observer hooks of one store. What an observer raises is logged and never breaks an operation."""

    def __init__(self, observers: Iterable[object], url: str) -> None:
        # One manager per observer: pluggy doesn't call the next observer once one has raised.
        self._hooks = [_hooks_of(observer) for observer in observers]
        self.url = url
        self.of_registrations = any(hooks.tenure_registration_changed.get_hookimpls() for hooks in self._hooks)
        self.active = any(hooks.tenure_operation_finished.get_hookimpls() for hooks in self._hooks)

    def store_opened(self) -> None:
        self._call(lambda hooks: hooks.tenure_store_opened(url=self.url))

    def store_closed(self) -> None:
        self._call(lambda hooks: hooks.tenure_store_closed(url=self.url))

    def operation_finished(self, operation: str, seconds: float, error: TenureError | None) -> None:
        self._call(
            lambda hooks: hooks.tenure_operation_finished(
                url=self.url, operation=operation, seconds=seconds, error=error
            )
        )

    def lease_lost(self, lease_id: str, reason: str) -> None:
        self._call(lambda hooks: hooks.tenure_lease_lost(url=self.url, lease_id=lease_id, reason=reason))

    def watch_resynced(self, prefix: str, reason: str) -> None:
        self._call(lambda hooks: hooks.tenure_watch_resynced(url=self.url, prefix=prefix, reason=reason))

    def registration_changed(self, prefix: str, status: str, reason: str, error: TenureError | None) -> None:
        self._call(
            lambda hooks: hooks.tenure_registration_changed(
                url=self.url, prefix=prefix, status=status, reason=reason, error=error
            )
        )

    def watch_outage(self, prefix: str, error: TenureError | None) -> None:
        """``error`` keeps a watch from its store; ``None``: it is connected again."""
        if error is None:
            self._call(lambda hooks: hooks.tenure_watch_reconnected(url=self.url, prefix=prefix))
        else:
            self._call(lambda hooks: hooks.tenure_watch_disconnected(url=self.url, prefix=prefix, error=error))

    def _call(self, call: Callable[[pluggy.HookRelay], object]) -> None:
        for hooks in self._hooks:
            try:
                call(hooks)
            except Exception as exc:
                if interruption(exc) is not None:
                    raise
                _log.exception("an observer of %s raised", self.url)


class ObservedLeases:
    """What keeps leases alive sees of a backend; observers hear of each refresh."""

    def __init__(self, backend: Backend, observers: Observers) -> None:
        self._observers = observers
        self._refresh = backend.refresh
        self.revoke = backend.revoke

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> Mapping[LeaseId, float]:
        """Refresh leases by the backend. Raises what it raises."""
        started = monotonic()
        error: TenureError | None = None
        try:
            return self._refresh(lease_ids, timeout=timeout)
        except TenureError as exc:
            error = exc
            raise
        finally:
            self._observers.operation_finished("refresh", monotonic() - started, error)


def _hooks_of(observer: object) -> pluggy.HookRelay:
    manager = discovery.new_manager()
    try:
        manager.register(observer)
        manager.check_pending()
    except Exception as exc:
        if interruption(exc) is not None:
            raise
        raise ConfigError(
            f"registering the observer {observer!r}: one of its hooks doesn't exist: {exc}; use the hooks and "
            "parameters of tenure.hookspecs"
        ) from exc
    if not manager.get_hookcallers(observer):
        raise ConfigError(
            f"registering the observer {observer!r}: the observer has no hook; mark its methods with "
            "tenure.hookspecs.hookimpl"
        )
    return manager.hook
