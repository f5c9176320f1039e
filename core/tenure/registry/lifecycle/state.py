"""What a registration has to keep registered, and what it reports about that.

``TRANSITIONS`` has the states and what leads from one to another; the tests hold every change of a status to it.

``condition`` guards the fields; no thread holds it during a call to the store. ``generation`` grows when the
registration ends. An operation under way then finds it changed and undoes its own write, so no entry comes back after a
deregister.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from tenure._runtime.monitor import Monitor
from tenure.errors import TenureError
from tenure.registry.model.events import Part, Status, StatusChange
from tenure.registry.model.instance import Instance

_log = logging.getLogger("tenure.registry")

TRANSITIONS: Mapping[Status, Mapping[Status, str]] = {
    Status.IDLE: {
        Status.REGISTERED: "register()",
        Status.FAILED: "the store was closed during register()",
        Status.CLOSED: "close()",
    },
    Status.REGISTERED: {
        Status.RECOVERING: "lease lost, entry gone or overwritten",
        Status.IDLE: "deregister() or close()",
        Status.FAILED: "another client took it over, or the store was closed",
    },
    Status.RECOVERING: {
        Status.REGISTERED: "registered again",
        Status.RECOVERING: "an attempt failed",
        Status.IDLE: "deregister() or close()",
        Status.FAILED: "gave up after too many refusals",
    },
    Status.FAILED: {
        Status.REGISTERED: "register()",
        Status.IDLE: "deregister() or close()",
    },
    Status.CLOSED: {},
}
"""Status -> status that may follow -> what causes the change."""


class RegistrationState:
    """The wanted instance, its generation, the hint that it is gone, and the status; ``report`` receives changes."""

    def __init__(self, report: Callable[[StatusChange], None]) -> None:
        self._report = report
        self.condition = Monitor()
        self.generation = 0
        self.wanted: Instance | None = None
        """The instance that is registered, or is to be registered again."""
        self.suspicion = ""
        """Why the entry may be gone; empty if nothing hints at that."""
        self.status = Status.IDLE
        self.error: TenureError | None = None

    def begin(self, instance: Instance) -> int:
        """Want ``instance`` from now on; return the generation of its registration."""
        with self.condition:
            self.wanted = instance
            self.suspicion = ""
            return self.generation

    def replace(self, generation: int, instance: Instance) -> None:
        """Want ``instance`` instead of the present one, if the registration of ``generation`` hasn't ended."""
        with self.condition:
            if generation == self.generation:
                self.wanted = instance

    def end(self, generation: int) -> bool:
        """End the registration of ``generation``; return whether it hadn't ended before."""
        with self.condition:
            if generation != self.generation:
                return False
            self.generation += 1
            self.wanted = None
            self.suspicion = ""
            self.condition.notify_all()
            return True

    def set_status(self, status: Status, reason: str, error: TenureError | None = None) -> None:
        """Change the status and report it; with ``condition`` held."""
        level = {Status.RECOVERING: logging.WARNING, Status.FAILED: logging.ERROR}.get(status, logging.INFO)
        _log.log(level, "registration is %s: %s%s", status, reason, f" ({error})" if error else "")
        self.status, self.error = status, error
        self._report(StatusChange(Part.REGISTRATION, status, reason, error))
