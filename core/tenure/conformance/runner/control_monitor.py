"""The server's controls as the runner uses them: a failing control isn't the store's fault, and faults are undone.

The monitor keeps the faults that are in effect, so undoing them never starts a server that wasn't killed:

    kill, kill_leader ── start        pause ── resume        partition ── heal        fill_disk ── free_disk
    restrict ── permit                advance_clock ── reset_clock

A fault counts as in effect as soon as its control is called, since a control that failed may have had its effect. It
counts as undone once the control that undoes it has returned.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from tenure.conformance.controls.controls import CONTROLS, Control, ServerControls

_UNDOES = {
    "free_disk": ("fill_disk",),
    "heal": ("partition",),
    "permit": ("restrict",),
    "reset_clock": ("advance_clock",),
    "resume": ("pause",),
    "start": ("kill", "kill_leader"),
}
"""In the order in which :meth:`ControlMonitor.restore` tries them."""


class ControlRaised(Exception):
    """A control raised: the fault that the rule wanted to inject didn't happen, or wasn't undone."""


class ControlMonitor:
    """Stands between the rules and the author's controls. Thread-safe."""

    def __init__(self, controls: ServerControls) -> None:
        given = {name: getattr(controls, name) for name in CONTROLS if controls.offers(name)}
        self.controls = dataclasses.replace(controls, **{name: self._monitored(name, given[name]) for name in given})
        """The author's controls; each raises :class:`ControlRaised` for whatever it raised itself."""
        self.last: str | None = None
        """Name of the control that was used last."""
        self._failure: ControlRaised | None = None
        self._in_effect: set[str] = set()
        self._lock = threading.Lock()

    def take_failure(self) -> ControlRaised | None:
        """Return the first failure of a control since the last call of this method."""
        with self._lock:
            failure, self._failure = self._failure, None
        return failure

    @property
    def degraded(self) -> bool:
        """Whether a fault is in effect that no control has undone."""
        with self._lock:
            return bool(self._in_effect)

    def restore(self, answers: Callable[[], bool]) -> None:
        """Undo the faults in effect, as far as the controls can, and raise nothing.

        ``answers`` tells whether the store answers: then its server runs, although it was to be killed, and isn't
        started a second time.
        """
        for name, undone in _UNDOES.items():
            with self._lock:
                needed = bool(self._in_effect.intersection(undone))
            if not needed or not self.controls.offers(name):
                continue
            if name == "start" and answers():
                with self._lock:
                    self._in_effect.difference_update(undone)
                continue
            try:
                self.controls.do(name)
            except ControlRaised:
                continue

    def _monitored(self, name: str, control: Control) -> Control:
        def do() -> object:
            with self._lock:
                self.last = name
                if any(name in faults for faults in _UNDOES.values()):
                    self._in_effect.add(name)
            try:
                result = control()
            except Exception as exc:
                failure = ControlRaised(f"the control {name!r} failed: {type(exc).__name__}: {exc}")
                with self._lock:
                    self._failure = self._failure or failure
                raise failure from exc
            with self._lock:
                self._in_effect.difference_update(_UNDOES.get(name, ()))
            return result

        return do
