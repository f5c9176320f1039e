"""Between two rules: the next one finds a store that runs, or it is told why it can't and who is to blame.

Looked at after each rule that gave a reason to look:

* A control of the driver failed, or harm was left behind (a rule that was stopped, or failed, halfway): it is mended.
  If the store answers then, the run goes on. If not, that is the driver's doing and says nothing about the
  store: whatever comes after is INVALID.
* A rule could not open its store although no control failed: that rule is broken, since no promise allows a store
  that doesn't answer. If it doesn't come back, the rules after it weren't tried, so they are INVALID as well; the
  conclusion stays that of the broken one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tenure._client.opening import connect
from tenure.conformance.harness.context import in_namespace
from tenure.conformance.runner.control_monitor import ControlMonitor
from tenure.errors import OutcomeUnknown, StoreFull, TenureError, Unavailable

_LOOK = 2.0
"""Seconds for a store that is well to answer."""
_POLL = 0.05


class Recovery:
    """Looks after the store at ``url``; ``patience`` is the seconds that it may take to come back."""

    def __init__(self, url: str, monitor: ControlMonitor, patience: float) -> None:
        self.down: str | None = None
        """Why nothing can be tried any more; ``None`` while it can."""
        self._url = in_namespace(url, "conformance-look")
        self._monitor = monitor
        self._patience = patience

    def after(self, rule: str, empty: Callable[[], None], *, shut_out: bool = False) -> str | None:
        """Look after what the rule with this id left behind; answers what is worth a note.

        ``empty`` empties its namespaces; ``shut_out`` says that it found no store to open.
        """
        failure, harmed = self._monitor.take_failure(), self._monitor.harmed
        if failure is None and not harmed and not shut_out:
            return None
        self._monitor.mend(lambda: self._look(_LOOK) is None)
        mending = self._monitor.take_failure()
        failure = failure or mending
        error = self._coming_back()
        if error is None:
            # That could not be done before.
            empty()
            return None if failure is None else f"{failure} (in {rule}); the store was mended and answers"
        seen = f"the store can't be used any more ({type(error).__name__}: {error})"
        if failure is not None:
            self.down = f"the server was left down by its driver: in {rule}, {failure}; after that {seen}"
        elif harmed:
            self.down = f"the server was left down by its driver, which undid nothing of what {rule} had it do: {seen}"
        else:
            self.down = f"{rule} found no store to open, and it didn't come back within {self._patience:g} s: {seen}"
            if self._monitor.last is not None:
                self.down += (
                    f". The driver's last control was {self._monitor.last!r}; one that brings a server back has to "
                    "return when it answers"
                )
        return self.down

    def _coming_back(self) -> TenureError | None:
        deadline = time.monotonic() + self._patience
        while True:
            error = self._look(max(deadline - time.monotonic(), _LOOK))
            if error is None or time.monotonic() >= deadline:
                return error
            time.sleep(_POLL)

    def _look(self, timeout: float) -> TenureError | None:
        """What opening and using the store ends with; ``None`` if it answers."""
        try:
            with connect(self._url, timeout=timeout) as store:
                store.put("looked-for", b"", timeout=timeout)
                store.delete("looked-for", timeout=timeout)
        except (Unavailable, OutcomeUnknown, StoreFull) as exc:
            return exc
        except TenureError:
            # It answers, if not as it should: that is for the rules to find.
            return None
        return None
