"""The driver as the runner uses it: a control that fails says nothing about the store, and what it broke is mended.

What was done and not undone yet is kept, so that mending never starts a server that wasn't killed:

    kill, kill_leader ── start        pause ── resume        partition ── heal        fill_disk ── free_disk

A control counts as done as soon as it is called, since one that failed may have had its effect all the same; what
undoes it counts once it has returned.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from tenure.conformance.controls.controls import CONTROLS, Control, Driver

_UNDOES = {
    "free_disk": ("fill_disk",),
    "heal": ("partition",),
    "resume": ("pause",),
    "start": ("kill", "kill_leader"),
}
"""In the order in which mending tries them."""


class DriverFailed(Exception):
    """A control of the driver raised: what the rule wanted to try didn't happen."""


class ControlMonitor:
    """Between the rules and the author's driver. Thread-safe."""

    def __init__(self, driver: Driver) -> None:
        given = {name: getattr(driver, name) for name in CONTROLS if driver.offers(name)}
        self.driver = dataclasses.replace(driver, **{name: self._guarded(name, given[name]) for name in given})
        """``driver``, whose controls raise :class:`DriverFailed` whatever they raise themselves."""
        self.last: str | None = None
        """Name of the control that was used last."""
        self._failure: DriverFailed | None = None
        self._harm: set[str] = set()
        self._lock = threading.Lock()

    def take_failure(self) -> DriverFailed | None:
        """The first failure of a control since this was asked last."""
        with self._lock:
            failure, self._failure = self._failure, None
        return failure

    @property
    def harmed(self) -> bool:
        """Whether something was done that nothing has undone."""
        with self._lock:
            return bool(self._harm)

    def mend(self, well: Callable[[], bool]) -> None:
        """Undo what was done, as far as the driver can, and raise nothing.

        ``well`` says whether the store answers: then a server that was to be killed runs, and isn't started twice.
        """
        for name, undone in _UNDOES.items():
            with self._lock:
                needed = bool(self._harm.intersection(undone))
            if not needed or not self.driver.offers(name):
                continue
            if name == "start" and well():
                with self._lock:
                    self._harm.difference_update(undone)
                continue
            try:
                self.driver.do(name)
            except DriverFailed:
                continue

    def _guarded(self, name: str, control: Control) -> Control:
        def do() -> object:
            with self._lock:
                self.last = name
                if any(name in harm for harm in _UNDOES.values()):
                    self._harm.add(name)
            try:
                answer = control()
            except Exception as exc:
                failure = DriverFailed(f"the driver's {name} failed: {type(exc).__name__}: {exc}")
                with self._lock:
                    self._failure = self._failure or failure
                raise failure from exc
            with self._lock:
                self._harm.difference_update(_UNDOES.get(name, ()))
            return answer

        return do


def controls(driver: Driver) -> tuple[str, ...]:
    """Names of the controls that ``driver`` offers."""
    return tuple(name for name in CONTROLS if driver.offers(name))
