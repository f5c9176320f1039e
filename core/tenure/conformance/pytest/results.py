"""What a pytest run of the suite found: verdicts as the runner's own, the lines at the end, and the report.

Imported only where rules are collected. One :class:`SuiteResults` stands for one subclass of the suite, and for one
set of parameters where its fixtures have some. Of several verdicts on one rule the worst counts: a test that is tried
again until it passes doesn't make a rule that is kept.
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
from tenure.conformance.controls.controls import with_network
from tenure.conformance.harness.context import World, in_namespace
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.pytest.stash import OPENING, WHY_NOT
from tenure.conformance.report import document as reports
from tenure.conformance.runner.control_monitor import controls
from tenure.conformance.runner.rule_run import RuleRun, judge
from tenure.conformance.runner.runner import Plan, Run, StoreFacts, all_rules, default_rule_budget
from tenure.errors import TenureError
from tenure.spi import ServerInfo

_BY_GRAVITY = (Verdict.PASS, Verdict.NOT_SUPPORTED, Verdict.UNKNOWN, Verdict.INVALID, Verdict.FAIL)
_KINDS = ("pass", "fail", "invalid", "unknown", "skipped", "not supported", "not checked", "not run")
"""The words of the verdicts, and three more: *not checked* is not supported by the driver, *skipped* is invalid because
somebody else than the suite left it out, *not run* wasn't asked for."""


@dataclass(slots=True)
class SuiteResults:
    """Collected for one suite while pytest runs it."""

    name: str
    catalogue: tuple[Rule, ...]
    selected: set[str] = field(default_factory=set)
    """Ids of the rules that pytest's own selection left."""
    results: dict[str, RuleRun] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    url: str = ""
    profile: Profile = QUICK
    facts: StoreFacts | None = None
    controls: tuple[str, ...] = ()
    network: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    began: datetime | None = None
    _start: float = 0.0

    def note(self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None]) -> Verdict | None:
        """One phase of a rule's test has ended; answers the verdict, ``None`` while there is none."""
        if self.began is None:
            self.began, self._start = datetime.now(UTC), time.monotonic() - call.duration
        before = self.results.get(rule.id)
        world = world_of(item)
        if call.when == "call" and world is not None:
            self._look(item, world)
        if call.when != "call" and call.excinfo is None:
            return None if before is None else before.verdict.verdict
        verdict, trace = self._judged(item, rule, call, None if world is None else world.evidence)
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
            None if world is None or not took else world.evidence,
            trace,
            None if world is None else world.shared_with,
        )
        return verdict.verdict

    def _judged(
        self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None], evidence: Evidence | None
    ) -> tuple[RuleVerdict, str]:
        error = None if call.excinfo is None else call.excinfo.value
        if isinstance(error, pytest.skip.Exception):
            why_not = item.stash.get(WHY_NOT, None)
            if why_not is not None:
                return RuleVerdict(rule.id, Verdict.NOT_SUPPORTED, why_not), ""
            self.skipped.add(rule.id)
            return _invalid(rule, f"its test was skipped: {error}"), ""
        if error is not None and call.when == "setup" and not item.stash.get(OPENING, False):
            why = f"a fixture of its test failed before the store was opened: {type(error).__name__}: {error}"
            return _invalid(rule, why), ""
        return judge(rule, error, evidence)

    def _look(self, item: pytest.Item, world: World) -> None:
        """Note what the report says of the store, once it can be asked."""
        fixtures = getattr(item, "funcargs", {})
        if self.facts is not None:
            now = world.capabilities
            if now != self.facts.capabilities:
                self.notes["two openings of the store declare different capabilities"] = None
            return
        info: ServerInfo | None = None
        try:
            info = world.store.server_info()
        except TenureError as exc:
            self.notes[f"the server could not be asked about itself: {exc}"] = None
        self.url = str(fixtures["store_url"])
        scheme = urls.split(self.url).scheme
        shown = urls.parse(in_namespace(self.url, ""), discovery.find(scheme), timeout=1.0, clock=SystemClock()).url
        self.facts = StoreFacts(shown, scheme, info, world.capabilities)
        self.profile = world.profile
        network = fixtures.get("network")
        self.network = network is not None
        self.controls = controls(with_network(fixtures["driver"], network))

    # -- when it is over --

    @property
    def verdicts(self) -> list[RuleVerdict]:
        """One on each rule that was asked for."""
        return [self._result(rule).verdict for rule in self._asked_for]

    @property
    def conclusion(self) -> Conclusion:
        """As the command would conclude from the same verdicts."""
        asked = [rule.id for rule in self._asked_for]
        return conclude(self.verdicts, [rule.id for rule in self.catalogue], selected=asked)

    @property
    def summary(self) -> list[str]:
        """The conclusion, how many rules have each verdict, and which were not executed by declaration."""
        words = {rule.id: self._word(rule) for rule in self.catalogue}
        counts = Counter(words.values())
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
        conclusion = self.conclusion.value.replace("_", " ")
        lines = [f"conformance of {self.name}: {conclusion}; {len(words)} rules: {parts}"]
        for kind in ("not supported", "not checked", "skipped"):
            names = sorted(rule for rule, word in words.items() if word == kind)
            # Where none of a store's rules ran, the count says it all.
            if names and len(names) < len(words):
                lines.append(f"  {kind}: {', '.join(names)}")
        return lines

    def run(self) -> Run | None:
        """As the runner would answer; ``None`` if no rule got as far as to open the store."""
        if self.facts is None or self.began is None:
            return None
        asked = self._asked_for
        rules = () if len(asked) == len(self.catalogue) else tuple(rule.id for rule in asked)
        return Run(
            Plan(url=self.url, profile=self.profile, rules=rules),
            self.facts,
            self.catalogue,
            asked,
            tuple(self._result(rule) for rule in asked),
            self.began,
            time.monotonic() - self._start,
            default_rule_budget(self.facts.capabilities, self.profile),
            controls=self.controls,
            network=self.network,
            notes=("run by pytest, which sets no limit of time for a rule", *self.notes),
            interrupted=any(rule.id not in self.results for rule in asked),
        )

    @property
    def _asked_for(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.catalogue if rule.id in self.selected)

    def _result(self, rule: Rule) -> RuleRun:
        missing = RuleVerdict(rule.id, Verdict.UNKNOWN, "the run ended before it came to an end")
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


def world_of(item: pytest.Item) -> World | None:
    """What the rule of this test acts in, if it is there yet."""
    world = getattr(item, "funcargs", {}).get("world")
    return world if isinstance(world, World) else None


def in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """As the command runs and reports them; what isn't of the catalogue last."""
    known = all_rules()
    return (*known, *(rule for rule in rules if rule not in known))


def write(suites: Sequence[SuiteResults], file: Path) -> list[str]:
    """Write a report for each suite of which rules were asked for; answers lines that say where to.

    One goes to ``file``, several beside it, each with the name of its suite's class in its own.
    """
    asked = [suite for suite in suites if suite.selected]
    lines = []
    for path, suite in zip(_paths([suite.name for suite in asked], file), asked, strict=True):
        found = suite.run()
        if found is None:
            lines.append(f"conformance of {suite.name}: no report, the store was never opened")
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


def _invalid(rule: Rule, why: str) -> RuleVerdict:
    reason = f"rule {rule.id} could not be judged: {why}\n  promise:  {rule.promise}"
    return RuleVerdict(rule.id, Verdict.INVALID, reason)


def _worse(one: Verdict, other: Verdict) -> bool:
    """Whether ``one`` counts instead of ``other``. What isn't supported stays so, whatever goes wrong around it."""
    return other is not Verdict.NOT_SUPPORTED and _BY_GRAVITY.index(one) > _BY_GRAVITY.index(other)
