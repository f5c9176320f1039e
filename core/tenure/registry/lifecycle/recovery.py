"""Keep a registered instance registered: notice that its entry is gone, and write it again.

A hint at a loss, from the lease or the watch, only marks the registration as suspect. One thread reads the store and
acts on what it finds, so a false or late hint costs one read. The thread lives as long as an instance is registered.

The first attempt comes at once (with jitter: within a tenth of the heartbeat), the next ones after Fibonacci delays.
When the watch reconnects after a break, the next attempt comes earlier. In a registry of thousands of instances an
outage hits them all, so first attempts are spread over a time that grows with their number.

The limit of attempts counts those that the store refused. An outage of any length counts none, and neither does a
right or a login that is gone for a while: the instance comes back with the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenure._runtime.clock import Clock
from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import ending
from tenure._runtime.monitor import Monitor
from tenure._runtime.spread import of_registrations
from tenure._runtime.thread_start import start_thread
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    OutcomeUnknown,
    PermissionDenied,
    RegistrationReplaced,
    StoreClosed,
    TenureError,
    Unavailable,
)
from tenure.registry.lifecycle.backoff import FibonacciBackoff
from tenure.registry.lifecycle.entry import OwnEntry
from tenure.registry.lifecycle.state import RegistrationState
from tenure.registry.model.config import RegistryConfig
from tenure.registry.model.events import Status
from tenure.registry.model.instance import Instance

_SPREAD = 0.1
"""Part of a heartbeat over which first attempts are spread."""
_OUTAGE = (Unavailable, OutcomeUnknown, AuthenticationFailed, PermissionDenied, ConfigError)
"""Attempts that fail by these don't count: the store didn't judge the registration."""


class Recovery:
    """The thread that recovers the entry.

    ``operation`` is held during each attempt. ``offline`` returns the seconds for which the watch has been
    disconnected, 0.0 while it is connected. ``known`` returns the number of instances in the registry.
    """

    def __init__(
        self,
        state: RegistrationState,
        entry: OwnEntry,
        operation: Monitor,
        *,
        clock: Clock,
        config: RegistryConfig,
        offline: Callable[[], float],
        known: Callable[[], int],
    ) -> None:
        self._state = state
        self._entry = entry
        self._operation = operation
        self._clock = clock
        self._offline = offline
        self._known = known
        self._spread = config.heartbeat * _SPREAD
        self._longest_spread = max(self._spread, config.retry_longest)
        self._max_refusals = config.max_retry
        self._backoff = FibonacciBackoff(first=config.retry_first, longest=config.retry_longest, jitter=config.jitter)
        self._due = 0.0
        self._attempts = 0
        self._refusals = 0
        self._was_offline = False
        self._thread: threading.Thread | None = None

    def keep(self, generation: int, reason: str) -> None:
        """Keep what an operation has just written; undo the write if the registration ended meanwhile."""
        state, entry = self._state, self._entry
        with state.condition:
            current = generation == state.generation
            if current:
                self._attempts = self._refusals = 0
                self._backoff.reset()
                entry.forget_former_leases()
                if state.status is not Status.REGISTERED:
                    state.set_status(Status.REGISTERED, reason)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tenure-registry", daemon=True)
                    try:
                        start_thread(self._thread)
                    except BaseException as exc:
                        if self._thread.ident is None:
                            self._thread = None
                        if not isinstance(exc, RuntimeError) or not ending(exc):
                            raise
                if not entry.has_lease:
                    self.mark_suspect("its lease was lost right after the entry was written", lost=True)
        if not current:
            entry.end_quietly(entry.default_deadline())

    def mark_suspect(self, reason: str, *, lost: bool = False) -> None:
        """Have the thread check the entry soon, since ``reason`` hints that it is gone.

        ``lost`` says that it is no mere hint: the lease is gone, so the status is RECOVERING from now on. Any thread
        may call it; it never waits for the store.
        """
        state = self._state
        with state.condition:
            if state.wanted is None:
                return
            if lost and state.status is Status.REGISTERED:
                state.set_status(Status.RECOVERING, reason)
            if state.suspicion:
                return
            state.suspicion = reason
            self._due = self._clock.now() + self._first_delay()
            state.condition.notify_all()

    def _first_delay(self) -> float:
        whole = of_registrations(self._known(), shortest=self._spread, longest=self._longest_spread)
        return self._backoff.first(whole)

    def join(self, deadline: Deadline) -> None:
        """Wait until ``deadline`` for the thread, which ends because no instance is wanted any more."""
        with self._state.condition:
            self._state.condition.notify_all()
            thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while (generation := self._wait()) is not None:
            with self._operation:
                self._recover(generation)

    def _wait(self) -> int | None:
        """Wait until an attempt is due and return its generation; ``None`` if no instance is wanted any more."""
        state = self._state
        with state.condition:
            while state.wanted is not None:
                pause = self._pause()
                if pause is not None and pause <= 0:
                    return state.generation
                self._clock.wait(state.condition, pause)
            self._thread = None
            return None

    def _pause(self) -> float | None:
        """Return the seconds until the thread has to act; ``None`` if it need not."""
        if not self._state.suspicion:
            return None
        now = self._clock.now()
        if self._offline() > 0:
            self._was_offline = True
        elif self._was_offline:
            self._was_offline = False
            self._due = min(self._due, now + self._first_delay())
        left = self._due - now
        return min(left, self._spread) if left > 0 else 0.0

    def _recover(self, generation: int) -> None:
        state = self._state
        with state.condition:
            instance, reason = state.wanted, state.suspicion
            if generation != state.generation or instance is None:
                return
            state.suspicion = ""
        try:
            self._write_if_gone(generation, instance, reason)
        except (StoreClosed, RegistrationReplaced) as exc:
            self._fail(generation, str(exc), exc)
        except TenureError as exc:
            self._attempt_failed(generation, reason, exc)
        else:
            self.keep(generation, f"{instance.identity()} is registered again")

    def _write_if_gone(self, generation: int, instance: Instance, reason: str) -> None:
        state = self._state
        deadline = self._entry.default_deadline()
        if self._entry.intact(instance, deadline, registered=state.status is Status.REGISTERED):
            return
        with state.condition:
            if state.status is Status.REGISTERED and generation == state.generation:
                state.set_status(Status.RECOVERING, reason)
        # An entry without a lease was written by hand over ours, and would never expire.
        self._entry.create(instance, deadline, may_replace=lambda item: item.lease_id is None)

    def _attempt_failed(self, generation: int, reason: str, error: TenureError) -> None:
        state = self._state
        with state.condition:
            ended = generation != state.generation
            self._attempts += not ended
            refused = not isinstance(error, _OUTAGE)
            self._refusals += refused and not ended
            if not ended and (not refused or self._max_refusals is None or self._refusals < self._max_refusals):
                delay = self._backoff.delay()
                state.suspicion = reason
                self._due = self._clock.now() + delay
                self._was_offline = self._offline() > 0
                state.set_status(
                    Status.RECOVERING, f"{reason}; attempt {self._attempts} failed, next in {delay:.1f} s", error
                )
                return
        self._fail(generation, f"{reason}; gave up after {self._refusals} refusals: {error}", error)

    def _fail(self, generation: int, reason: str, error: TenureError) -> None:
        failed = self._state.end(generation)
        # Also if the registration ended meanwhile: a lease granted to this attempt must not be kept alive.
        self._entry.end_quietly(self._entry.default_deadline())
        if failed:
            with self._state.condition:
                self._state.set_status(Status.FAILED, reason, error)
