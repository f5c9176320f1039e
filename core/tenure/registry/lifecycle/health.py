"""Health of the registry's own instance: it is registered once it is healthy, and drains while it isn't.

States of the monitor::

    WAITING --`rise` good probes--> HEALTHY --`fall` bad probes--> UNHEALTHY (draining) --`rise` good probes--> HEALTHY
       | start_timeout, close: the registration fails

The first part runs in the thread that calls ``register``, the rest in a thread that lives as long as the registration.
Each probe runs in a thread of its own: one that hangs beyond its time counts as failed, again and again, and holds up
nothing. While the store can't be reached, the status is written at a later probe.

What the application itself says stays: an instance that it drained isn't marked as ready by a good probe.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from tenure._runtime.clock import Clock, TimeLimit
from tenure._runtime.thread_start import start_thread
from tenure.errors import StoreClosed, TenureError, Unhealthy
from tenure.registry.model.events import Part, Status, StatusChange
from tenure.registry.model.health import HealthCheck, Tally
from tenure.registry.model.instance import Instance, InstanceStatus

_log = logging.getLogger("tenure.registry")
_SHOWN = 300


class HealthMonitor:
    """Probes one registry's instance.

    ``current`` returns the registered instance, ``change`` applies a function to it in the store, ``report`` tells the
    status handlers.
    """

    def __init__(
        self,
        check: HealthCheck,
        *,
        clock: Clock,
        current: Callable[[], Instance | None],
        change: Callable[[Callable[[Instance], Instance]], object],
        report: Callable[[StatusChange], None],
    ) -> None:
        self._check = check
        self._clock = clock
        self._current = current
        self._change = change
        self._report = report
        self._condition = threading.Condition()
        self._closed = False
        self._turn = 0
        """Which wait in :meth:`admit` is the present one: a later one takes its place."""
        self._thread: threading.Thread | None = None
        self._running: queue.SimpleQueue[Exception | None] | None = None
        self._tally = Tally(check)
        self._drained = False
        """Whether it was this monitor that marked the instance as draining."""

    def close(self) -> None:
        """Stop probing, and end a wait in :meth:`admit`. Idempotent, and callable from any thread."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def give_up(self) -> None:
        """End a wait in :meth:`admit`, whose caller has gone. Callable from any thread."""
        with self._condition:
            self._turn += 1
            self._condition.notify_all()

    def application_decides(self) -> None:
        """The application sets the status itself: the monitor doesn't undo that. Called while it is written."""
        self._drained = False

    # -- before the registration --

    def admit(self, instance: Instance, seconds: float | None) -> None:
        """Wait until ``instance`` is healthy.

        Raises ``Unhealthy`` after ``seconds``, or ``start_timeout`` if that is less, or when it was given up, and
        ``StoreClosed`` when closed.
        """
        with self._condition:
            self._turn += 1
            turn = self._turn
            self._condition.notify_all()
        limits = [each for each in (seconds, self._check.start_timeout) if each is not None]
        limit = TimeLimit(self._clock, min(limits) if limits else None)
        self._tally, self._drained = Tally(self._check), False
        reason = ""
        while True:
            problem = self._probe(instance)
            self._check_turn(turn, instance)
            if self._tally.note(good=problem is None) and problem is None:
                self._tell(Status.HEALTHY, "its probe succeeded", None)
                return
            if problem is not None and str(problem) != reason:
                reason = str(problem)
                self._tell(Status.UNHEALTHY, f"not registered yet: {reason}", problem)
            left = limit.left()
            if left is not None and left <= 0:
                why = reason or "too few successes in a row"
                raise Unhealthy(f"registering {instance.identity()!r}: its probe did not succeed in time: {why}")
            self._pause(self._check.interval if left is None else min(self._check.interval, left), turn)
            self._check_turn(turn, instance)

    def _check_turn(self, turn: int, instance: Instance) -> None:
        if self._closed:
            raise StoreClosed(f"registering {instance.identity()!r}: the registry was closed before it was healthy")
        if turn != self._turn:
            raise Unhealthy(f"registering {instance.identity()!r}: given up before it was healthy")

    # -- while it is registered --

    def watch(self) -> None:
        """Start the thread, unless it runs."""
        with self._condition:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="tenure-health", daemon=True)
            start_thread(self._thread)

    def _run(self) -> None:
        while self._pause(self._check.interval):
            instance = self._current()
            if instance is None:
                return
            problem = self._probe(instance)
            if self._tally.note(good=problem is None):
                if problem is None:
                    self._tell(Status.HEALTHY, "its probe succeeds again", None)
                else:
                    self._tell(Status.UNHEALTHY, f"it drains: {problem}", problem)
            try:
                self._apply(instance)
            except StoreClosed:
                return
            except TenureError as exc:
                _log.warning("the health of %s can't be written for others now: %s", instance.identity(), exc)
            except Exception:  # noqa: BLE001 - the thread goes on: the next probe tries again
                _log.exception("the health of %s can't be written for others", instance.identity())

    def _apply(self, instance: Instance) -> None:
        if self._tally.healthy is False and instance.ready:
            self._change(self._drain)
        elif self._tally.healthy and self._drained:
            self._change(self._undrain)

    def _drain(self, present: Instance) -> Instance:
        if present.ready:
            self._drained = True
            return present.with_status(InstanceStatus.DRAINING)
        return present

    def _undrain(self, present: Instance) -> Instance:
        if not self._drained:  # meanwhile the application has decided
            return present
        self._drained = False
        return present.with_status(InstanceStatus.READY)

    # -- both --

    def _probe(self, instance: Instance) -> Unhealthy | None:
        """Return why the instance isn't healthy, ``None`` if it is. Takes little more than the probe's time."""
        answer = self._running
        if answer is None:
            answer = self._running = queue.SimpleQueue()
            try:
                start_thread(
                    threading.Thread(target=self._ask, args=(instance, answer), name="tenure-probe", daemon=True)
                )
            except RuntimeError as exc:
                self._running = None
                return Unhealthy(f"the probe can't be started: {exc}")
        try:
            problem = answer.get(timeout=self._check.timeout)
        except queue.Empty:
            return Unhealthy(f"the probe had not ended after {self._check.timeout:g} s")
        self._running = None
        if problem is None or isinstance(problem, Unhealthy):
            return problem
        return Unhealthy(f"the probe raised {type(problem).__name__}: {problem!s:.{_SHOWN}}")

    def _ask(self, instance: Instance, answer: queue.SimpleQueue[Exception | None]) -> None:
        try:
            self._check.probe(instance, self._check.timeout)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the instance isn't healthy
            answer.put(exc)
        except BaseException as exc:  # noqa: BLE001 - such as SystemExit: it must not end in silence
            answer.put(Unhealthy(f"the probe raised {type(exc).__name__}"))
        else:
            answer.put(None)

    def _pause(self, seconds: float, turn: int | None = None) -> bool:
        """Wait by the store's clock, as long as it is the turn of this wait; return whether to go on."""
        limit = TimeLimit(self._clock, seconds)
        with self._condition:
            while not self._closed and turn in (None, self._turn) and (left := limit.left() or 0.0) > 0:
                self._clock.wait(self._condition, left)
            return not self._closed

    def _tell(self, status: Status, reason: str, error: Unhealthy | None) -> None:
        (_log.info if error is None else _log.warning)("health of the own instance: %s", reason)
        self._report(StatusChange(Part.HEALTH, status, reason, error))
