"""The start of a registry goes on in the background: the store couldn't be reached, and the registry has its file.

A thread tries again, with the pauses of the registry's configuration, until the registry has everything or is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure._runtime.worker import Worker
from tenure.errors import OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.registry.lifecycle.backoff import FibonacciBackoff
from tenure.registry.model.config import RegistryConfig

_log = logging.getLogger("tenure.registry")
AWAY = (Unavailable, OutcomeUnknown)
"""What says that the store is away, and may be back at any moment."""


class LateStart:
    """Calls ``attempt`` until it returns.

    Args:
        attempt: one attempt to finish the start. It raises one of :data:`AWAY` to be called again.
        give_up: called with any other error, which no further attempt would change.
        config: the registry's configuration, which has the pauses.
        error: what the start has failed with.
    """

    def __init__(
        self,
        attempt: Callable[[], object],
        give_up: Callable[[TenureError], object],
        config: RegistryConfig,
        error: TenureError,
    ) -> None:
        self._attempt = attempt
        self._give_up = give_up
        self._backoff = FibonacciBackoff(first=config.retry_first, longest=config.retry_longest, jitter=config.jitter)
        self._changed = Monitor()
        self._stopped = False
        self._worker = Worker(self._run, name="tenure-registry-start")
        self.error: TenureError | None = error
        """Why the start isn't finished; ``None`` once it is."""

    def begin(self) -> None:
        """Start the thread. Raises ``Unavailable`` if there can't be one."""
        self._worker.start("starting the registry")

    def stop(self, deadline: Deadline) -> None:
        """End the attempts, and wait until ``deadline`` for one that is under way."""
        self._stopped = True
        with self._changed:
            self._changed.notify_all()
        self._worker.stop()
        self._worker.join(deadline.remaining())

    def _run(self) -> None:
        while not self._stopped:
            with self._changed:
                if not self._stopped:
                    self._changed.wait(self._backoff.delay())
            if self._stopped:
                return
            try:
                self._attempt()
            except StoreClosed as exc:
                self.error = exc
                return
            except AWAY as exc:
                self.error = exc
                _log.info("the registry can't start yet: %s", exc)
            except TenureError as exc:
                self.error = exc
                self._give_up(exc)
                return
            else:
                self.error = None
                return
