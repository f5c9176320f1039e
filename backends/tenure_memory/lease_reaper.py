"""The thread that ends leases when their time comes, so that watchers see it without any call."""

from __future__ import annotations

from collections.abc import Callable

from tenure.plugin_kit import Monitor, Worker
from tenure.spi import Clock

_JOIN = 5.0


class LeaseReaper:
    """One thread, alive only while there is a lease to wait for.

    ``step`` ends what is due and answers the next deadline, or ``None`` to let the thread finish. It and all
    methods are called with ``condition`` held, except for :meth:`join`.
    """

    def __init__(self, condition: Monitor, clock: Clock, step: Callable[[], float | None], *, name: str) -> None:
        self._condition = condition
        self._clock = clock
        self._step = step
        self._until = float("inf")
        self._worker = Worker(self._run, name=name, lasting=True)

    def ensure(self, deadline: float) -> None:
        """See to it that someone wakes up at ``deadline``. Without a thread every call ends what is due."""
        self._worker.request()
        if deadline < self._until:
            self._condition.notify_all()

    def stop(self) -> None:
        """Send the thread home."""
        self._worker.stop()
        self._condition.notify_all()

    def join(self) -> None:
        """Wait for threads that were sent home."""
        self._worker.join(_JOIN)

    def _run(self) -> None:
        with self._condition:
            while self._worker.on_duty and (deadline := self._step()) is not None:
                self._until = deadline
                self._clock.wait(self._condition, deadline - self._clock.now())
            self._until = float("inf")
