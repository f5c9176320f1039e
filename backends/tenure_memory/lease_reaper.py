"""The thread that ends leases when their time comes, so that watchers see it without any call."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenure.plugin_kit import Monitor, start_thread
from tenure.spi import Clock


class LeaseReaper:
    """One daemon thread, alive only while there is a lease to wait for.

    ``step`` ends what is due and answers the next deadline, or ``None`` to let the thread finish. It and all
    methods are called with ``condition`` held, except that threads are joined without it.
    """

    def __init__(self, condition: Monitor, clock: Clock, step: Callable[[], float | None], *, name: str) -> None:
        self._condition = condition
        self._clock = clock
        self._step = step
        self._name = name
        self._shift: object | None = None  # identity of the run on duty; a retired run sees that it isn't its own
        self._until = float("inf")
        self._threads: list[threading.Thread] = []

    def ensure(self, deadline: float) -> None:
        """See to it that someone wakes up at ``deadline``."""
        if self._shift is None:
            self._shift = shift = object()
            thread = threading.Thread(target=self._run, args=(shift,), name=self._name, daemon=True)
            self._threads = [*(old for old in self._threads if old.is_alive()), thread]
            try:
                start_thread(thread)
            except BaseException as exc:
                if thread.ident is None:
                    self._shift = None  # the next lease tries again, and every call ends what is due
                if not isinstance(exc, RuntimeError):
                    raise
        elif deadline < self._until:
            self._condition.notify_all()

    def stop(self) -> list[threading.Thread]:
        """Send the thread home. Answers what the caller has to join once it doesn't hold the condition."""
        self._shift = None
        self._condition.notify_all()
        threads, self._threads = self._threads, []
        return threads

    def _run(self, shift: object) -> None:
        with self._condition:
            while self._shift is shift:
                deadline = self._step()
                if deadline is None:
                    self._shift = None
                    return
                self._until = deadline
                self._clock.wait(self._condition, deadline - self._clock.now())
