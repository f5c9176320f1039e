"""Run the catalogue on a store, without pytest: from a :class:`Plan` to a :class:`Run` with a conclusion.

Before the first rule runs, the runner decides which rules apply: from the capabilities that the store declares when
it is first opened, and from the controls offered. It never decides afterwards, from what went wrong. Then each rule
gets a context of its own and a deadline. Rules that mostly wait and inject no fault into the server run side by side.
A rule that hangs doesn't stop the run. A run that was interrupted, or whose budget is used up, still has a verdict on
every selected rule, and still empties the namespaces that it used.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial

from tenure._suggestions import meant
from tenure.conformance.controls.controls import NETWORK, ServerControls, offered, with_network
from tenure.conformance.harness.assertions import inconclusive_reason
from tenure.conformance.harness.context import (
    LEAST_TTL,
    TIMEOUT,
    RuleContext,
    SharedRun,
    SharedRunUnfinished,
)
from tenure.conformance.harness.face import FACES
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import SYNC, Rule
from tenure.conformance.harness.verdicts import Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.network import Network
from tenure.conformance.runner.control_monitor import ControlMonitor
from tenure.conformance.runner.first_look import StoreFacts, look
from tenure.conformance.runner.recovery import Recovery
from tenure.conformance.runner.rule_run import RuleExecution, RuleRun
from tenure.errors import ConfigError
from tenure.spi import Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, on which store, how thoroughly and for how long."""

    url: str = field(repr=False)
    controls: ServerControls = field(default_factory=ServerControls)
    profile: Profile = QUICK
    areas: tuple[str, ...] = ()
    """Run only rules of these areas; empty: of all areas."""
    rules: tuple[str, ...] = ()
    """Run only rules with these ids, or that match these patterns (``watches.*close*``); empty: all rules."""
    budget: float | None = None
    """Seconds for the whole run; rules that come too late are UNKNOWN. ``None``: no limit."""
    rule_budget: float | None = None
    """Seconds for one rule; ``None``: from what the store declares, see :func:`default_rule_budget`."""
    timeout: float = TIMEOUT
    """Seconds for the first opening of the store."""
    between: bool = True
    """Whether to run a proxy between client and server, if the URL names host and port."""
    face: str = SYNC
    """The interface through which the rules use the store, see :mod:`tenure.conformance.harness.face`."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run."""

    plan: Plan
    store: StoreFacts
    catalogue: tuple[Rule, ...]
    selected: tuple[Rule, ...]
    results: tuple[RuleRun, ...]
    """One for each selected rule, in the order of the catalogue."""
    began: datetime
    seconds: float
    rule_budget: float
    """Seconds that each rule had."""
    offered_controls: tuple[str, ...] = ()
    """Names of the controls over the server and the connections."""
    network: bool = False
    """Whether the suite could run a proxy between client and server."""
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def conclusion(self) -> Conclusion:
        """What the run shows about the store."""
        return conclude(
            [result.verdict for result in self.results],
            [rule.id for rule in self.catalogue],
            selected=[rule.id for rule in self.selected],
        )

    @property
    def counts(self) -> Counter[Verdict]:
        """The number of rules with each verdict."""
        return Counter(result.verdict.verdict for result in self.results)

    @property
    def executed(self) -> int:
        """The number of rules that were started and ended."""
        return sum(1 for result in self.results if result.executed and result.verdict.verdict is not Verdict.UNKNOWN)


class Progress:
    """Receives the progress of a run, in the thread that runs it. This class ignores it."""

    def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
        """The store was opened, and each of these rules will get a verdict."""

    def began(self, rule: Rule) -> None:
        """A rule starts."""

    def ended(self, result: RuleRun) -> None:
        """A rule has its verdict; called for rules that aren't executed, too."""


def all_rules(face: str = SYNC) -> tuple[Rule, ...]:
    """Return the catalogue of a face, area by area. Raises ``ConfigError`` if a package of the extra isn't installed.

    A rule that is about the asyncio interface alone is in its catalogue alone.
    """
    try:
        from tenure.conformance.catalogue import AllRules, FaceRules  # noqa: PLC0415 - needs the extra, see below
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("tenure"):
            raise
        raise ConfigError(
            f"loading the conformance suite: {exc.name} isn't installed; run: pip install 'tenure[conformance]'"
        ) from exc
    parts = AllRules.__bases__ if face == SYNC else (*AllRules.__bases__, *FaceRules.__bases__)
    return tuple(rule for part in parts for rule in vars(part).get("own_rules", ()))


def select(catalogue: Sequence[Rule], areas: Sequence[str], rules: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules asked for. Raises ``ConfigError`` for an area or a pattern that matches no rule."""
    known = dict.fromkeys(rule.area for rule in catalogue)
    for area in areas:
        if area not in known:
            raise ConfigError(f"no such area: {area!r}{meant(area, known) or ';'} choose from: {', '.join(known)}")
    for pattern in rules:
        if not any(fnmatchcase(rule.id, pattern) for rule in catalogue):
            hint = meant(pattern, (rule.id for rule in catalogue)) or ";"
            raise ConfigError(f"no such rule: {pattern!r}{hint} 'tenure conformance rules' lists all rules")
    return tuple(
        rule
        for rule in catalogue
        if (not areas or rule.area in areas) and (not rules or any(fnmatchcase(rule.id, each) for each in rules))
    )


def default_rule_budget(capabilities: Capabilities, profile: Profile) -> float:
    """Return more seconds than any rule needs on a store with these limits, even on a busy machine."""
    expiry = capabilities.max_lifetime_after_refresh(max(capabilities.min_ttl, LEAST_TTL))
    return profile.pick(quick=120.0, full=360.0) + profile.pick(quick=6, full=12) * expiry


def run(plan: Plan, progress: Progress | None = None) -> Run:
    """Open the store and run the selected rules. An error in a rule becomes its verdict, and is never raised.

    Raises ``ConfigError`` for a selection that matches no rule, and whatever opening the store raises. Ctrl-C ends the
    run: the result has ``interrupted`` set, and the rules that were left out are UNKNOWN.
    """
    catalogue = all_rules(plan.face)
    return _Runner(plan, catalogue, progress or Progress()).run()


class _Runner:
    def __init__(self, plan: Plan, catalogue: tuple[Rule, ...], progress: Progress) -> None:
        from tenure.conformance.catalogue import FaceRules  # noqa: PLC0415 - all_rules() has reported a missing package

        self._plan = plan
        self._catalogue = catalogue
        self._selected = select(catalogue, plan.areas, plan.rules)
        self._progress = progress
        self._suite = FaceRules()
        self._monitor = ControlMonitor(plan.controls)
        self._controls = self._monitor.controls
        self._recovery = Recovery(plan.url, self._monitor, plan.timeout)
        self._memo: dict[str, SharedRun] = {}
        self._notes: dict[str, None] = {}
        self._results: list[RuleRun] = []
        self._twins: list[Network] = []
        self._executions: dict[str, RuleExecution] = {}
        self._done: dict[str, RuleRun] = {}
        self._reasons: dict[str, str | None] = {}
        self._interrupted = False
        self._began = datetime.now(UTC)
        self._start = time.monotonic()
        self._deadline = None if plan.budget is None else self._start + plan.budget
        self._store = look(plan.url, plan.timeout)
        self._notes.update(dict.fromkeys(self._store.notes))
        self._network = Network.in_front_of(plan.url) if plan.between else None
        self._rule_budget = plan.rule_budget or default_rule_budget(self._store.capabilities, plan.profile)

    def run(self) -> Run:
        try:
            return self._run()
        finally:
            for network in (self._network, *self._twins):
                if network is not None:
                    network.close()

    def _run(self) -> Run:
        self._progress.planned(self._store, self._selected)
        controls, network = with_network(self._controls, self._network), self._network is not None
        self._reasons = {
            rule.id: rule.skip_reason(self._store.capabilities, controls, network=network, face=self._plan.face)
            for rule in self._selected
        }
        for rule in self._selected:
            try:
                result = self._one(rule, self._reasons[rule.id])
            except KeyboardInterrupt:
                self._interrupted = True
                result = self._left_out(rule, "the run was interrupted before the rule ended")
            self._results.append(result)
            with self._interruptible():
                self._progress.ended(result)
            with self._interruptible():
                self._look_after(rule)
        return Run(
            self._plan,
            self._store,
            self._catalogue,
            self._selected,
            tuple(self._results),
            self._began,
            time.monotonic() - self._start,
            self._rule_budget,
            offered_controls=offered(controls),
            network=network,
            notes=tuple(self._notes),
            interrupted=self._interrupted,
        )

    def _one(self, rule: Rule, reason: str | None) -> RuleRun:
        if reason is not None:
            return RuleRun(rule, RuleVerdict(rule.id, Verdict.NOT_SUPPORTED, reason), self._now)
        if rule.id in self._done:
            return self._done.pop(rule.id)
        if self._interrupted:
            return self._left_out(rule, "the run was interrupted before the rule started")
        if self._recovery.down is None and self._store.silence is not None:
            return self._silent(rule, self._store.silence)
        if self._recovery.down is not None:
            reason = inconclusive_reason(rule, self._recovery.down)
            return RuleRun(rule, RuleVerdict(rule.id, Verdict.INCONCLUSIVE, reason), self._now)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return self._left_out(
                rule, f"the budget of {self._plan.budget:g} s for the run was used up before the rule started"
            )
        return self._execute(rule)

    def _silent(self, rule: Rule, silence: str) -> RuleRun:
        """The verdict on the first rule that applies: no guarantee allows a store that answers no call."""
        self._recovery.down = silence
        self._notes[silence] = None
        reason = f"rule {rule.id} is violated: {silence}\n  guarantee: {rule.guarantee}"
        return RuleRun(rule, RuleVerdict(rule.id, Verdict.FAIL, reason), 0.0, max(self._now, 1e-6))

    def _execute(self, rule: Rule) -> RuleRun:
        """Run the rule, and beside it those that may be; keep the results of those until it is their turn."""
        together = [rule]
        if rule.parallel_safe:
            place = self._selected.index(rule)
            together += [
                each for each in self._selected[place + 1 :] if each.parallel_safe and not self._reasons[each.id]
            ]
        began, start = self._now, time.monotonic()
        left = self._rule_budget if self._deadline is None else self._deadline - start
        seconds = min(self._rule_budget, left)
        executions = [
            RuleExecution(each, partial(self._open_context, each), partial(each.function, self._suite))
            for each in together
        ]
        self._executions = {execution.rule.id: execution for execution in executions}
        whose = "the rule" if seconds == self._rule_budget else "the run"
        why = f"it took longer than the {seconds:.1f} s that {whose} had left"
        try:
            for execution in executions:
                self._progress.began(execution.rule)
                execution.start()
            for execution in executions:
                execution.wait(start + seconds - time.monotonic())
        except KeyboardInterrupt:
            self._interrupted = True
            why = "the run was interrupted while the rule ran"
        for execution in executions:
            self._done[execution.rule.id] = (
                execution.result(began) if execution.ended else self._abandon(execution, began, why)
            )
        return self._done.pop(rule.id)

    def _abandon(self, execution: RuleExecution, began: float, why: str) -> RuleRun:
        rule = execution.rule
        place = execution.place()
        ended = execution.stop()
        for shared in self._memo.values():
            if shared.made_by == rule.id and isinstance(shared.result, Exception):
                # The error came while the rule's stores were being closed, so it shows nothing.
                shared.result = SharedRunUnfinished(why)
        if not ended:
            self._notes[f"the thread of {rule.id} still hangs; it may have disturbed the rules after it"] = None
        return execution.unfinished(began, why, place)

    def _look_after(self, rule: Rule) -> None:
        """After each executed rule, make sure that the next one finds a running store."""
        execution = self._executions.pop(rule.id, None)
        if execution is not None:
            note = self._recovery.after(execution.rule.id, execution.clean, unreachable=execution.unreachable)
            if note is not None:
                self._notes[note] = None

    def _open_context(self, rule: Rule) -> RuleContext:
        plan, network = self._plan, self._network
        if rule.parallel_safe and NETWORK in rule.required_controls and network is not None:
            network = network.twin()
            self._twins.append(network)
        context = RuleContext(
            plan.url,
            rule,
            controls=self._controls,
            memo=self._memo,
            profile=plan.profile,
            network=network,
            face=FACES[plan.face],
        )
        declared, now = self._store.capabilities.as_dict(), context.capabilities.as_dict()
        changed = [f"{name}={value}, then {now[name]}" for name, value in declared.items() if value != now[name]]
        if changed:
            self._notes[f"two openings of the store declare different capabilities: {', '.join(changed)}"] = None
        return context

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._interrupted = True

    def _left_out(self, rule: Rule, why: str) -> RuleRun:
        return RuleRun(rule, RuleVerdict(rule.id, Verdict.UNKNOWN, why), self._now)

    @property
    def _now(self) -> float:
        return time.monotonic() - self._start
