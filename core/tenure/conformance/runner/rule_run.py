"""Running one rule to an end: on a thread of its own, with a deadline, to a verdict and what it rests on.

The thread is what makes a rule that hangs harmless: it is left behind, its stores are closed under it (which ends
most calls), its namespaces are emptied, and the run goes on with the next rule. Whatever a rule raises ends here:

* ``RuleViolated``, and any error that no promise allows, ``Unsupported`` first of all: FAIL.
* ``RuleInconclusive``, a control of the driver that failed, a fault that had no effect: INVALID.
* no end in time: UNKNOWN.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tenure.conformance.harness.assertions import RuleInconclusive, RuleViolated
from tenure.conformance.harness.context import ExperimentFailed, ExperimentUnfinished, World
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import RuleVerdict, Verdict
from tenure.conformance.runner.control_monitor import DriverFailed
from tenure.errors import TenureError, Unavailable, Unsupported

_WINDING_UP = 15.0
"""Seconds that a rule which was stopped may take to give way."""


@dataclass(frozen=True, slots=True)
class RuleRun:
    """What became of one rule."""

    rule: Rule
    verdict: RuleVerdict
    began: float = 0.0
    """Seconds since the run began."""
    seconds: float = 0.0
    """How long it took; 0 for a rule that wasn't executed."""
    evidence: Evidence | None = None
    """``None`` for a rule that wasn't executed, or for which the store could not be opened."""
    trace: str = ""
    """The whole traceback of what it raised."""
    shared_with: str | None = None
    """The rule that made the experiment this one looks at; the evidence is there."""

    @property
    def executed(self) -> bool:
        """Whether it was begun at all."""
        return self.seconds > 0.0


class Trial:
    """One rule, running. ``open_world`` makes its world; ``act`` is the rule, applied to that."""

    def __init__(self, rule: Rule, open_world: Callable[[], World], act: Callable[[World], None]) -> None:
        self.rule = rule
        self.world: World | None = None
        self._open = open_world
        self._act = act
        self._error: BaseException | None = None
        self._started = time.monotonic()
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"conformance-{rule.id}", daemon=True)

    def start(self) -> None:
        """Begin; to be called once."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self.world = self._open()
            try:
                self._act(self.world)
            except BaseException as exc:  # noqa: BLE001 - becomes the verdict
                self._error = exc
            self.world.close()
        except BaseException as exc:  # noqa: BLE001 - becomes the verdict, unless the rule itself had raised
            self._error = self._error or exc
        self._ended = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Whether it came to its end within ``seconds``."""
        if self._thread.ident is not None:
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether it was begun and has come to its end."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def stop(self) -> bool:
        """Close its stores and empty its namespaces; answers whether the thread gave way."""
        if self.world is not None:
            closer = threading.Thread(target=self.world.close, name="conformance-winding-up", daemon=True)
            closer.start()
            closer.join(_WINDING_UP)
        return self.wait(_WINDING_UP)

    @property
    def shut_out(self) -> bool:
        """Whether it has ended because its store could not be reached, before the rule itself began."""
        return self.world is None and isinstance(self._error, Unavailable)

    def clean(self) -> None:
        """Empty its namespaces once more, now that the store answers again."""
        if self.world is not None:
            self.world.empty()

    def place(self) -> str:
        """Where it is now, for a rule that hangs."""
        frames = sys._current_frames()
        frame = frames.get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame)[-8:])

    def result(self, began: float) -> RuleRun:
        """The verdict, once it has ended."""
        verdict, trace = judge(self.rule, self._error, None if self.world is None else self.world.evidence)
        return self._made(began, verdict, trace)

    def unfinished(self, began: float, why: str, trace: str) -> RuleRun:
        """UNKNOWN, for one that was stopped."""
        reason = f"rule {self.rule.id} could not be judged: {why}\n  promise:  {self.rule.promise}"
        return self._made(began, RuleVerdict(self.rule.id, Verdict.UNKNOWN, reason), trace)

    def _made(self, began: float, verdict: RuleVerdict, trace: str) -> RuleRun:
        world = self.world
        return RuleRun(
            self.rule,
            verdict,
            began,
            max((self._ended or time.monotonic()) - self._started, 1e-6),
            None if world is None else world.evidence,
            trace,
            None if world is None else world.shared_with,
        )


def judge(rule: Rule, error: BaseException | None, evidence: Evidence | None) -> tuple[RuleVerdict, str]:
    """The verdict on a rule that ended with ``error`` (``None``: without one), and the traceback for a report."""
    if error is None:
        idle = idle_faults(evidence)
        if idle:
            reason = (
                f"rule {rule.id} could not be judged: the fault {', '.join(idle)} had no effect, "
                f"so nothing was tried\n  promise:  {rule.promise}"
            )
            return RuleVerdict(rule.id, Verdict.INVALID, reason), ""
        return RuleVerdict(rule.id, Verdict.PASS), ""
    decisive = _decisive(error)
    root = decisive.__cause__ if isinstance(decisive, ExperimentFailed) and decisive.__cause__ else decisive
    if isinstance(root, DriverFailed):
        # A promise that was broken before a control failed, in a block that undoes the harm, stays broken.
        decisive = root = _broken_before(root) or root
    if isinstance(root, ExperimentUnfinished):
        verdict = Verdict.UNKNOWN
    elif isinstance(root, RuleInconclusive | DriverFailed):
        verdict = Verdict.INVALID
    else:
        verdict = Verdict.FAIL
    return RuleVerdict(rule.id, verdict, _reason(rule, decisive)), "".join(traceback.format_exception(error))


def idle_faults(evidence: Evidence | None) -> list[str]:
    """The faults that were there and changed nothing, in any of their windows."""
    effects: dict[str, int] = {}
    for window in evidence.windows if evidence else ():
        effects[window.fault] = effects.get(window.fault, 0) + window.effects
    return [fault for fault, number in effects.items() if not number]


def _decisive(error: BaseException) -> BaseException:
    """Of several errors raised together, one that tells most: a broken promise before a run too thin."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_decisive(each) for each in error.exceptions]
    return next((each for each in leaves if not isinstance(each, RuleInconclusive | DriverFailed)), leaves[0])


def _broken_before(error: BaseException) -> RuleViolated | None:
    """The broken promise that was on its way out when ``error`` came up, unless a control had failed before that."""
    found: RuleViolated | None = None
    while True:
        earlier = error.__cause__ or error.__context__
        if earlier is None:
            return found
        if isinstance(earlier, DriverFailed):
            found = None
        elif isinstance(earlier, RuleViolated) and found is None:
            found = earlier
        error = earlier


def _reason(rule: Rule, error: BaseException) -> str:
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, RuleViolated | RuleInconclusive):
        return f"{error}{notes}"
    kind = type(error).__name__
    if isinstance(error, ExperimentFailed | ExperimentUnfinished | DriverFailed):
        return f"rule {rule.id} could not be judged: {error}\n  promise:  {rule.promise}{notes}"
    if isinstance(error, Unsupported):
        expected = "no operation that the store's declared promises cover is refused as unsupported"
    elif isinstance(error, TenureError):
        expected = "an answer, or an error that the promise allows"
    else:
        expected = "only errors of tenure.errors come out of a store"
    return (
        f"rule {rule.id} is broken\n"
        f"  promise:  {rule.promise}\n"
        f"  did:      what the traceback in the report shows, ending in {_where(error)}\n"
        f"  expected: {expected}\n"
        f"  seen:     {kind}: {error}{notes}"
    )


def _where(error: BaseException) -> str:
    """The rule's own last line before the error, or the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "conformance" in frame.filename and "runner" not in frame.filename]
    last = ours[-1] if ours else frames[-1] if frames else None
    return "no line of Python" if last is None else f"{last.name}: {last.line}"
