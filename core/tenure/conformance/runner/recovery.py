"""Between two rules: make sure that the next rule finds a running store, or record why it can't and what is to blame.

The runner checks after each rule that gives a reason to:

* A control failed, or a rule that was stopped or failed left a fault in effect. The faults are undone. If the store
  answers then, the run continues. If not, the controls are to blame, which shows nothing about the store: every
  later rule is INCONCLUSIVE.
* A rule could not open or use its store although no control failed. That rule is violated, since no guarantee allows
  a store that doesn't answer. If the store doesn't come back, the later rules weren't tried, so they are INCONCLUSIVE;
  the conclusion is still that of the violated rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tenure._client.opening import connect
from tenure.conformance.harness.context import in_namespace
from tenure.conformance.runner.control_monitor import ControlMonitor
from tenure.errors import OutcomeUnknown, StoreFull, TenureError, Unavailable

_PROBE = 2.0
"""Seconds in which a running store answers."""
_POLL = 0.05


class Recovery:
    """Brings the store at ``url`` back between rules; ``patience`` is the seconds that it may take to come back."""

    def __init__(self, url: str, monitor: ControlMonitor, patience: float) -> None:
        self.down: str | None = None
        """Why no further rule can be tried; ``None`` while rules can be."""
        self._url = in_namespace(url, "conformance-probe")
        self._monitor = monitor
        self._patience = patience

    def after(self, rule: str, empty: Callable[[], None], *, unreachable: bool = False) -> str | None:
        """Undo what the rule with this id left behind; return a note for the report if there is one.

        ``empty`` empties the rule's namespaces; ``unreachable`` tells that the rule could not open or use its store.
        """
        failure, degraded = self._monitor.take_failure(), self._monitor.degraded
        if failure is None and not degraded and not unreachable:
            return None
        self._monitor.restore(lambda: self._probe(_PROBE) is None)
        restoring = self._monitor.take_failure()
        failure = failure or restoring
        error = self._wait_until_back()
        if error is None:
            # The rule's own attempt may have failed, since the store didn't answer.
            empty()
            return None if failure is None else f"{failure} (in {rule}); the store was restored and answers"
        seen = f"the store doesn't answer ({type(error).__name__}: {error})"
        if failure is not None:
            self.down = f"the controls left the server down: in {rule}, {failure}; after that {seen}"
        elif degraded:
            self.down = f"the controls left the server down: they undid no fault that {rule} injected; {seen}"
        else:
            self.down = f"{rule} could not reach its store, which didn't come back within {self._patience:g} s: {seen}"
            if self._monitor.last is not None:
                self.down += (
                    f". The last control used was {self._monitor.last!r}; a control that brings a server back has to "
                    "return when the server answers"
                )
        return self.down

    def _wait_until_back(self) -> TenureError | None:
        deadline = time.monotonic() + self._patience
        while True:
            error = self._probe(max(deadline - time.monotonic(), _PROBE))
            if error is None or time.monotonic() >= deadline:
                return error
            time.sleep(_POLL)

    def _probe(self, timeout: float) -> TenureError | None:
        """Return the error that opening and using the store raises; ``None`` if the store answers."""
        try:
            with connect(self._url, timeout=timeout) as store:
                store.put("probe", b"", timeout=timeout)
                store.delete("probe", timeout=timeout)
        except (Unavailable, OutcomeUnknown, StoreFull) as exc:
            return exc
        except TenureError:
            # The store answers, though not as it should: the rules find that.
            return None
        return None
