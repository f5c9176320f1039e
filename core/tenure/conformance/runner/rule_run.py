"""Run one rule: on a thread of its own, with a deadline, until there is a verdict and its evidence.

The thread makes a hanging rule harmless. The runner abandons the thread, closes the rule's stores (which ends most
calls), empties its namespaces, and continues with the next rule. Whatever a rule raises ends here:

* ``RuleViolated``, and any error that no guarantee allows, such as ``Unsupported``: FAIL.
* ``RuleInconclusive``, a control that failed, a fault that had no effect, a shared run that failed for another rule:
  INCONCLUSIVE.
* no end in time: UNKNOWN.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tenure.conformance.harness.assertions import RuleInconclusive, RuleViolated, inconclusive_reason
from tenure.conformance.harness.context import RuleContext, SharedRunFailed, SharedRunUnfinished
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import RuleVerdict, Verdict
from tenure.conformance.runner.control_monitor import ControlRaised
from tenure.errors import TenureError, Unavailable, Unsupported

_STOP_TIMEOUT = 15.0
"""Seconds that a stopped rule may take to end."""


@dataclass(frozen=True, slots=True)
class RuleRun:
    """The result of one rule."""

    rule: Rule
    verdict: RuleVerdict
    began: float = 0.0
    """Seconds since the run began."""
    seconds: float = 0.0
    """Duration; 0 for a rule that wasn't executed."""
    evidence: Evidence | None = None
    """``None`` for a rule that wasn't executed, or for which the store could not be opened."""
    trace: str = ""
    """The whole traceback of the error that it raised."""
    shared_with: str | None = None
    """Id of the rule that made the shared run which this rule inspects; that rule has the evidence."""

    @property
    def executed(self) -> bool:
        """Whether the rule was started at all."""
        return self.seconds > 0.0


class RuleExecution:
    """One execution of a rule. ``open_context`` makes its context; ``act`` is the rule, called with that."""

    def __init__(self, rule: Rule, open_context: Callable[[], RuleContext], act: Callable[[RuleContext], None]) -> None:
        self.rule = rule
        self.context: RuleContext | None = None
        self._open = open_context
        self._act = act
        self._error: BaseException | None = None
        self._started = time.monotonic()
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"conformance-{rule.id}", daemon=True)

    def start(self) -> None:
        """Start the thread; call it once."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self.context = self._open()
            try:
                self._act(self.context)
            except BaseException as exc:  # noqa: BLE001 - becomes the verdict
                self._error = exc
            self.context.close()
        except BaseException as exc:  # noqa: BLE001 - becomes the verdict, unless the rule itself had raised
            self._error = self._error or exc
        self._ended = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Return whether the rule ended within ``seconds``."""
        if self._thread.ident is not None:
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the rule was started and has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def stop(self) -> bool:
        """Close the rule's stores and empty its namespaces; return whether its thread ended."""
        if self.context is not None:
            closer = threading.Thread(target=self.context.close, name="conformance-stop", daemon=True)
            closer.start()
            closer.join(_STOP_TIMEOUT)
        return self.wait(_STOP_TIMEOUT)

    @property
    def unreachable(self) -> bool:
        """Whether it ended because its store could not be reached: opened, or used."""
        return isinstance(self._error, Unavailable)

    def clean(self) -> None:
        """Empty the rule's namespaces again, now that the store answers."""
        if self.context is not None:
            self.context.empty()

    def place(self) -> str:
        """Return the stack of the rule's thread, for a rule that hangs."""
        frames = sys._current_frames()
        frame = frames.get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame)[-8:])

    def result(self, began: float) -> RuleRun:
        """Return the result, once the rule has ended."""
        verdict, trace = verdict_on(self.rule, self._error, None if self.context is None else self.context.evidence)
        return self._result(began, verdict, trace)

    def unfinished(self, began: float, why: str, trace: str) -> RuleRun:
        """Return UNKNOWN, for a rule that was stopped."""
        reason = f"rule {self.rule.id} did not end: {why}\n  guarantee: {self.rule.guarantee}"
        return self._result(began, RuleVerdict(self.rule.id, Verdict.UNKNOWN, reason), trace)

    def _result(self, began: float, verdict: RuleVerdict, trace: str) -> RuleRun:
        context = self.context
        return RuleRun(
            self.rule,
            verdict,
            began,
            max((self._ended or time.monotonic()) - self._started, 1e-6),
            None if context is None else context.evidence,
            trace,
            None if context is None else context.shared_with,
        )


def verdict_on(rule: Rule, error: BaseException | None, evidence: Evidence | None) -> tuple[RuleVerdict, str]:
    """Return the verdict on a rule that raised ``error`` (``None``: nothing), and the traceback for a report."""
    if error is None:
        idle = idle_faults(evidence)
        if idle:
            reason = f"the fault {', '.join(idle)} had no effect, so nothing was tried"
            return RuleVerdict(rule.id, Verdict.INCONCLUSIVE, inconclusive_reason(rule, reason)), ""
        return RuleVerdict(rule.id, Verdict.PASS), ""
    decisive = _decisive(error)
    root = decisive.__cause__ if isinstance(decisive, SharedRunFailed) and decisive.__cause__ else decisive
    if isinstance(root, ControlRaised):
        # The rule was violated before a control failed, in a block that undoes the fault: it stays violated.
        decisive = root = _violated_before(root) or root
    if isinstance(root, SharedRunUnfinished):
        verdict = Verdict.UNKNOWN
    elif isinstance(root, RuleInconclusive | ControlRaised) or isinstance(decisive, SharedRunFailed):
        # What broke a shared run is the verdict on the rule that made the run. The others could not be judged.
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.FAIL
    return RuleVerdict(rule.id, verdict, _reason(rule, decisive)), "".join(traceback.format_exception(error))


def idle_faults(evidence: Evidence | None) -> list[str]:
    """Return the faults that had no effect in any of their windows."""
    effects: dict[str, int] = {}
    for window in evidence.windows if evidence else ():
        effects[window.fault] = effects.get(window.fault, 0) + window.effects
    return [fault for fault, number in effects.items() if not number]


def _decisive(error: BaseException) -> BaseException:
    """Return the most telling of several errors raised together: a violated rule before an inconclusive one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_decisive(each) for each in error.exceptions]
    return next((each for each in leaves if not isinstance(each, RuleInconclusive | ControlRaised)), leaves[0])


def _violated_before(error: BaseException) -> RuleViolated | None:
    """Return the violation that was being raised when ``error`` was, unless a control had failed before that."""
    found: RuleViolated | None = None
    while True:
        earlier = error.__cause__ or error.__context__
        if earlier is None:
            return found
        if isinstance(earlier, ControlRaised):
            found = None
        elif isinstance(earlier, RuleViolated) and found is None:
            found = earlier
        error = earlier


def _reason(rule: Rule, error: BaseException) -> str:
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, RuleViolated | RuleInconclusive):
        return f"{error}{notes}"
    kind = type(error).__name__
    if isinstance(error, SharedRunFailed | SharedRunUnfinished | ControlRaised):
        return f"{inconclusive_reason(rule, str(error))}{notes}"
    if isinstance(error, Unsupported):
        expected = "no operation that the store's declared guarantees cover is refused as unsupported"
    elif isinstance(error, TenureError):
        expected = "a result, or an error that the guarantee allows"
    else:
        expected = "a store raises only the errors of tenure.errors"
    return (
        f"rule {rule.id} is violated\n"
        f"  guarantee: {rule.guarantee}\n"
        f"  did:       what the traceback in the report shows, ending in {_where(error)}\n"
        f"  expected:  {expected}\n"
        f"  seen:      {kind}: {error}{notes}"
    )


def _where(error: BaseException) -> str:
    """Return the rule's own last line before the error, or the innermost line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "conformance" in frame.filename and "runner" not in frame.filename]
    last = ours[-1] if ours else frames[-1] if frames else None
    return "no line of Python" if last is None else f"{last.name}: {last.line}"
