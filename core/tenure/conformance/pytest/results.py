"""Collect the results of a pytest run of the suite: verdicts like the runner's, the summary, and the report.

The plugin imports this module only if rules were collected. One :class:`SuiteResults` is for one subclass of the
suite, and for one set of parameters if its fixtures have parameters. Of several verdicts on one rule the worst counts:
repeating a test until it passes doesn't make the verdict PASS.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.conformance.controls.controls import offered, with_network
from tenure.conformance.harness.assertions import inconclusive_reason
from tenure.conformance.harness.context import RuleContext, in_namespace
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import SYNC, Rule
from tenure.conformance.harness.verdicts import Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.pytest.stash import OPENING, SKIP_REASON
from tenure.conformance.report import document as reports
from tenure.conformance.runner.first_look import StoreFacts
from tenure.conformance.runner.rule_run import RuleRun, verdict_on
from tenure.conformance.runner.runner import Plan, Run, all_rules, default_rule_budget
from tenure.errors import TenureError
from tenure.spi import ServerInfo

_BY_GRAVITY = (Verdict.PASS, Verdict.NOT_SUPPORTED, Verdict.UNKNOWN, Verdict.INCONCLUSIVE, Verdict.FAIL)
_KINDS = ("pass", "fail", "inconclusive", "unknown", "skipped", "not supported", "not checked", "not run")
"""The words of the verdicts, and three more. *not checked*: not supported, for lack of a control. *skipped*:
inconclusive, since something other than the suite skipped the test. *not run*: not selected."""


@dataclass(slots=True)
class SuiteResults:
    """Collected for one suite while pytest runs it."""

    name: str
    catalogue: tuple[Rule, ...]
    face: str = SYNC
    selected: set[str] = field(default_factory=set)
    """Ids of the rules that pytest selected."""
    results: dict[str, RuleRun] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    url: str = ""
    profile: Profile = QUICK
    facts: StoreFacts | None = None
    offered_controls: tuple[str, ...] = ()
    network: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    began: datetime | None = None
    _start: float = 0.0

    def note(self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None]) -> Verdict | None:
        """Record that a phase of a rule's test ended; return the verdict, ``None`` while there is none."""
        if self.began is None:
            self.began, self._start = datetime.now(UTC), time.monotonic() - call.duration
        before = self.results.get(rule.id)
        context = context_of(item)
        if call.when == "call" and context is not None:
            self._record_store(item, context)
        if call.when != "call" and call.excinfo is None:
            return None if before is None else before.verdict.verdict
        verdict, trace = self._verdict(item, rule, call, None if context is None else context.evidence)
        if before is not None and not _worse(verdict.verdict, before.verdict.verdict):
            return before.verdict.verdict
        if item.stash.get(OPENING, False) and verdict.verdict is not Verdict.NOT_SUPPORTED:
            took = max(call.duration + (0.0 if before is None else before.seconds), 1e-6)
        else:
            took = 0.0
        self.results[rule.id] = RuleRun(
            rule,
            verdict,
            max(time.monotonic() - self._start - took, 0.0),
            took,
            None if context is None or not took else context.evidence,
            trace,
            None if context is None else context.shared_with,
        )
        return verdict.verdict

    def _verdict(
        self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None], evidence: Evidence | None
    ) -> tuple[RuleVerdict, str]:
        error = None if call.excinfo is None else call.excinfo.value
        if isinstance(error, pytest.skip.Exception):
            skip_reason = item.stash.get(SKIP_REASON, None)
            if skip_reason is not None:
                return RuleVerdict(rule.id, Verdict.NOT_SUPPORTED, skip_reason), ""
            self.skipped.add(rule.id)
            return _inconclusive(rule, f"its test was skipped: {error}"), ""
        if error is not None and call.when == "setup" and not item.stash.get(OPENING, False):
            why = f"a fixture of its test failed before the store was opened: {type(error).__name__}: {error}"
            return _inconclusive(rule, why), ""
        return verdict_on(rule, error, evidence)

    def _record_store(self, item: pytest.Item, context: RuleContext) -> None:
        """Record what the report tells about the store, once the store is open."""
        fixtures = getattr(item, "funcargs", {})
        if self.facts is not None:
            now = context.capabilities
            if now != self.facts.capabilities:
                self.notes["two openings of the store declare different capabilities"] = None
            return
        info: ServerInfo | None = None
        try:
            info = context.store.server_info()
        except TenureError as exc:
            self.notes[f"asking the server for its description: {exc}"] = None
        self.url = str(fixtures["store_url"])
        scheme = urls.split(self.url).scheme
        shown = urls.parse(in_namespace(self.url, ""), discovery.find(scheme), timeout=1.0, clock=SystemClock()).url
        self.facts = StoreFacts(shown, scheme, info, context.capabilities)
        self.profile = context.profile
        network = fixtures.get("network")
        self.network = network is not None
        self.offered_controls = offered(with_network(fixtures["store_controls"], network))

    # -- when it is over --

    @property
    def verdicts(self) -> list[RuleVerdict]:
        """The verdict on each selected rule."""
        return [self._result(rule).verdict for rule in self._asked_for]

    @property
    def conclusion(self) -> Conclusion:
        """The conclusion that the command would draw from the same verdicts."""
        asked = [rule.id for rule in self._asked_for]
        return conclude(self.verdicts, [rule.id for rule in self.catalogue], selected=asked)

    @property
    def summary(self) -> list[str]:
        """Lines with the conclusion, the number of each verdict, and the rules that were not executed."""
        words = {rule.id: self._word(rule) for rule in self.catalogue}
        counts = Counter(words.values())
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
        conclusion = self.conclusion.value.replace("_", " ")
        lines = [f"conformance of {self.name}: {conclusion}; {len(words)} rules: {parts}"]
        for kind in ("not supported", "not checked", "skipped"):
            names = sorted(rule for rule, word in words.items() if word == kind)
            # If none of a store's rules ran, the count is enough.
            if names and len(names) < len(words):
                lines.append(f"  {kind}: {', '.join(names)}")
        return lines

    def run(self) -> Run | None:
        """Return the run as the runner would; ``None`` if no rule opened the store."""
        if self.facts is None or self.began is None:
            return None
        asked = self._asked_for
        rules = () if len(asked) == len(self.catalogue) else tuple(rule.id for rule in asked)
        return Run(
            Plan(url=self.url, profile=self.profile, rules=rules, face=self.face),
            self.facts,
            self.catalogue,
            asked,
            tuple(self._result(rule) for rule in asked),
            self.began,
            time.monotonic() - self._start,
            default_rule_budget(self.facts.capabilities, self.profile),
            offered_controls=self.offered_controls,
            network=self.network,
            notes=("run by pytest, which sets no time limit for a rule", *self.notes),
            interrupted=any(rule.id not in self.results for rule in asked),
        )

    @property
    def _asked_for(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.catalogue if rule.id in self.selected)

    def _result(self, rule: Rule) -> RuleRun:
        missing = RuleVerdict(rule.id, Verdict.UNKNOWN, "the run ended before the rule did")
        return self.results.get(rule.id) or RuleRun(rule, missing)

    def _word(self, rule: Rule) -> str:
        if rule.id not in self.selected:
            return "not run"
        if rule.id in self.skipped:
            return "skipped"
        verdict = self._result(rule).verdict
        if verdict.verdict is Verdict.NOT_SUPPORTED and verdict.reason.startswith("not checked"):
            return "not checked"
        return verdict.verdict.value.replace("_", " ")


def context_of(item: pytest.Item) -> RuleContext | None:
    """Return the context of the rule that this test is, if it was opened."""
    context = getattr(item, "funcargs", {}).get("context")
    return context if isinstance(context, RuleContext) else None


def in_order(rules: Iterable[Rule], face: str = SYNC) -> tuple[Rule, ...]:
    """Return the rules in the order in which the command reports them; rules outside the catalogue come last."""
    known = all_rules(face)
    return (*known, *(rule for rule in rules if rule not in known))


def write(suites: Sequence[SuiteResults], file: Path) -> list[str]:
    """Write a report for each suite with selected rules; return lines that name the files.

    A single report goes to ``file``. Several go beside it, each with the name of its suite's class in the file name.
    """
    asked = [suite for suite in suites if suite.selected]
    lines = []
    for path, suite in zip(_paths([suite.name for suite in asked], file), asked, strict=True):
        found = suite.run()
        if found is None:
            lines.append(f"conformance of {suite.name}: no report, since the store was never opened")
            continue
        path.write_text(reports.written(reports.document(found)), encoding="utf-8")
        lines.append(f"conformance of {suite.name}: report in {path}")
    return lines


def _paths(names: Sequence[str], file: Path) -> list[Path]:
    if len(names) == 1:
        return [file]
    found: list[Path] = []
    for name in names:
        word = "".join(letter if letter.isalnum() else "-" for letter in name.rpartition("::")[2]).strip("-")
        number, path = 1, file.with_stem(f"{file.stem}-{word}")
        while path in found:
            number += 1
            path = file.with_stem(f"{file.stem}-{word}-{number}")
        found.append(path)
    return found


def _inconclusive(rule: Rule, why: str) -> RuleVerdict:
    return RuleVerdict(rule.id, Verdict.INCONCLUSIVE, inconclusive_reason(rule, why))


def _worse(one: Verdict, other: Verdict) -> bool:
    """Return whether ``one`` replaces ``other``. A rule that isn't supported stays so, whatever its fixtures raise."""
    return other is not Verdict.NOT_SUPPORTED and _BY_GRAVITY.index(one) > _BY_GRAVITY.index(other)
