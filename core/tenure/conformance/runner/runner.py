"""Runs the catalogue on a store, without pytest: from a :class:`Plan` to a :class:`Run` with a conclusion.

What applies is decided before the first rule runs, from what the store declares when it is opened first, and from
what the driver offers; never afterwards, from what went wrong. Then each rule gets a world of its own and a
deadline; those that mostly wait and harm nobody wait side by side. A rule that hangs doesn't stop the run; a run
whose budget is used up, or that is interrupted, still accounts for every rule it was asked for, and still empties
the namespaces it used.
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

from tenure._client.opening import connect
from tenure._plugins import url as urls
from tenure.conformance.controls.controls import NETWORK, Driver, with_network
from tenure.conformance.harness.context import LEAST_TTL, TIMEOUT, Experiment, ExperimentUnfinished, World, in_namespace
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.network import Network
from tenure.conformance.runner.control_monitor import ControlMonitor, controls
from tenure.conformance.runner.recovery import Recovery
from tenure.conformance.runner.rule_run import RuleRun, Trial
from tenure.errors import ConfigError, TenureError
from tenure.spi import Capabilities, ServerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, on what, how thoroughly and for how long."""

    url: str = field(repr=False)
    driver: Driver = field(default_factory=Driver)
    profile: Profile = QUICK
    areas: tuple[str, ...] = ()
    """Only rules of these areas; empty: of all."""
    rules: tuple[str, ...] = ()
    """Only rules with these ids, or that match these patterns (``watches.*close*``); empty: all."""
    budget: float | None = None
    """Seconds for the whole run; rules that come too late are UNKNOWN. ``None``: as long as it takes."""
    rule_budget: float | None = None
    """Seconds for one rule; ``None``: from what the store declares, see :func:`default_rule_budget`."""
    timeout: float = TIMEOUT
    """Seconds for the first opening of the store."""
    between: bool = True
    """Whether to stand between client and server, where the store is reached by host and port."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The store as it was found before the first rule."""

    url: str
    """Shows no password."""
    scheme: str
    server: ServerInfo | None
    """``None`` where it could not be asked."""
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Run:
    """What came out."""

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
    controls: tuple[str, ...] = ()
    """What could be done to the server and the way there."""
    network: bool = False
    """Whether the suite could stand between client and server."""
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def conclusion(self) -> Conclusion:
        """What is known of the store."""
        return conclude(
            [result.verdict for result in self.results],
            [rule.id for rule in self.catalogue],
            selected=[rule.id for rule in self.selected],
        )

    @property
    def counts(self) -> Counter[Verdict]:
        """How many rules have each verdict."""
        return Counter(result.verdict.verdict for result in self.results)

    @property
    def executed(self) -> int:
        """Number of rules that were begun and came to an end."""
        return sum(1 for result in self.results if result.executed and result.verdict.verdict is not Verdict.UNKNOWN)


class Progress:
    """Told about a run as it goes; this one doesn't care. Called in the thread that runs it."""

    def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
        """The store was opened, and these rules will be accounted for."""

    def began(self, rule: Rule) -> None:
        """A rule is executed now."""

    def ended(self, result: RuleRun) -> None:
        """There is a verdict, also on rules that aren't executed."""


def all_rules() -> tuple[Rule, ...]:
    """The catalogue, area by area. Raises ``ConfigError`` where what the extra brings isn't installed."""
    try:
        from tenure.conformance.catalogue import AllRules  # noqa: PLC0415 - needs the extra, see below
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("tenure"):
            raise
        raise ConfigError(
            f"the conformance suite needs {exc.name}, which isn't installed: pip install 'tenure[conformance]'"
        ) from exc
    return tuple(rule for part in AllRules.__bases__ for rule in vars(part).get("own_rules", ()))


def select(catalogue: Sequence[Rule], areas: Sequence[str], rules: Sequence[str]) -> tuple[Rule, ...]:
    """The rules asked for. Raises ``ConfigError`` for an area or a pattern that there is nothing for."""
    known = dict.fromkeys(rule.area for rule in catalogue)
    for area in areas:
        if area not in known:
            raise ConfigError(f"there is no area {area!r}, there are: {', '.join(known)}")
    for pattern in rules:
        if not any(fnmatchcase(rule.id, pattern) for rule in catalogue):
            raise ConfigError(f"there is no rule {pattern!r}; 'tenure conformance rules' lists them all")
    return tuple(
        rule
        for rule in catalogue
        if (not areas or rule.area in areas) and (not rules or any(fnmatchcase(rule.id, each) for each in rules))
    )


def default_rule_budget(capabilities: Capabilities, profile: Profile) -> float:
    """Seconds that no rule of a store with these limits should need, even on a busy machine."""
    expiry = capabilities.max_lifetime_after_refresh(max(capabilities.min_ttl, LEAST_TTL))
    return profile.pick(quick=120.0, full=360.0) + profile.pick(quick=6, full=12) * expiry


def run(plan: Plan, progress: Progress | None = None) -> Run:
    """Open the store and run the selected rules. Never raises for what a rule meets.

    Raises ``ConfigError`` for a selection that names nothing, and whatever opening the store raises: then nothing
    is known of it. Ctrl-C ends the run; the answer says so, and the rules that were left out are UNKNOWN.
    """
    catalogue = all_rules()
    return _Runner(plan, catalogue, progress or Progress()).run()


class _Runner:
    def __init__(self, plan: Plan, catalogue: tuple[Rule, ...], progress: Progress) -> None:
        from tenure.conformance.catalogue import AllRules  # noqa: PLC0415 - all_rules() has said what is missing

        self._plan = plan
        self._catalogue = catalogue
        self._selected = select(catalogue, plan.areas, plan.rules)
        self._progress = progress
        self._suite = AllRules()
        self._monitor = ControlMonitor(plan.driver)
        self._driver = self._monitor.driver
        self._recovery = Recovery(plan.url, self._monitor, plan.timeout)
        self._memo: dict[str, Experiment] = {}
        self._notes: dict[str, None] = {}
        self._results: list[RuleRun] = []
        self._twins: list[Network] = []
        self._trials: dict[str, Trial] = {}
        self._done: dict[str, RuleRun] = {}
        self._reasons: dict[str, str | None] = {}
        self._interrupted = False
        self._began = datetime.now(UTC)
        self._start = time.monotonic()
        self._deadline = None if plan.budget is None else self._start + plan.budget
        self._store = self._look()
        self._network = Network.in_front_of(plan.url) if plan.between else None
        self._rule_budget = plan.rule_budget or default_rule_budget(self._store.capabilities, plan.profile)

    def _look(self) -> StoreFacts:
        url = in_namespace(self._plan.url, "")
        with connect(url, timeout=self._plan.timeout) as store:
            info = None
            try:
                info = store.server_info()
            except TenureError as exc:
                self._notes[f"the server could not be asked about itself: {exc}"] = None
            return StoreFacts(store.url, urls.split(url).scheme, info, store.capabilities)

    def run(self) -> Run:
        try:
            return self._run()
        finally:
            for network in (self._network, *self._twins):
                if network is not None:
                    network.close()

    def _run(self) -> Run:
        self._progress.planned(self._store, self._selected)
        driver, network = with_network(self._driver, self._network), self._network is not None
        self._reasons = {
            rule.id: rule.why_not(self._store.capabilities, driver, network=network) for rule in self._selected
        }
        for rule in self._selected:
            try:
                result = self._one(rule, self._reasons[rule.id])
            except KeyboardInterrupt:
                self._interrupted = True
                result = self._left_out(rule, "the run was interrupted before it came to an end")
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
            controls=controls(driver),
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
            return self._left_out(rule, "the run was interrupted before it")
        if self._recovery.down is not None:
            reason = f"rule {rule.id} could not be judged: {self._recovery.down}\n  promise:  {rule.promise}"
            return RuleRun(rule, RuleVerdict(rule.id, Verdict.INVALID, reason), self._now)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return self._left_out(rule, f"the budget of {self._plan.budget:g} s for the run was used up before it")
        return self._execute(rule)

    def _execute(self, rule: Rule) -> RuleRun:
        """Run it, and those beside it that can be; the results of those are kept until it is their turn."""
        together = [rule]
        if rule.patient:
            place = self._selected.index(rule)
            together += [each for each in self._selected[place + 1 :] if each.patient and not self._reasons[each.id]]
        began, start = self._now, time.monotonic()
        left = self._rule_budget if self._deadline is None else self._deadline - start
        seconds = min(self._rule_budget, left)
        trials = [Trial(each, partial(self._world, each), partial(each.function, self._suite)) for each in together]
        self._trials = {trial.rule.id: trial for trial in trials}
        whose = "the rule" if seconds == self._rule_budget else "the run"
        why = f"it did not come to an end within the {seconds:.1f} s that {whose} had left"
        try:
            for trial in trials:
                self._progress.began(trial.rule)
                trial.start()
            for trial in trials:
                trial.wait(start + seconds - time.monotonic())
        except KeyboardInterrupt:
            self._interrupted = True
            why = "the run was interrupted while it ran"
        for trial in trials:
            self._done[trial.rule.id] = trial.result(began) if trial.ended else self._given_up(trial, began, why)
        return self._done.pop(rule.id)

    def _given_up(self, trial: Trial, began: float, why: str) -> RuleRun:
        rule = trial.rule
        place = trial.place()
        gave_way = trial.stop()
        for experiment in self._memo.values():
            if experiment.made_by == rule.id and isinstance(experiment.result, Exception):
                # What it met while its stores were closed under it says nothing.
                experiment.result = ExperimentUnfinished(why)
        if not gave_way:
            self._notes[f"the thread of {rule.id} hangs for good; what ran after it may have been disturbed"] = None
        return trial.unfinished(began, why, place)

    def _look_after(self, rule: Rule) -> None:
        """After each rule that was executed: see that the next one finds a store."""
        trial = self._trials.pop(rule.id, None)
        if trial is not None:
            note = self._recovery.after(trial.rule.id, trial.clean, shut_out=trial.shut_out)
            if note is not None:
                self._notes[note] = None

    def _world(self, rule: Rule) -> World:
        plan, network = self._plan, self._network
        if rule.patient and NETWORK in rule.needs and network is not None:
            network = network.twin()
            self._twins.append(network)
        world = World(plan.url, rule, driver=self._driver, memo=self._memo, profile=plan.profile, network=network)
        declared, now = self._store.capabilities.as_dict(), world.capabilities.as_dict()
        changed = [f"{name}={value}, then {now[name]}" for name, value in declared.items() if value != now[name]]
        if changed:
            self._notes[f"two openings of the store declare different capabilities: {', '.join(changed)}"] = None
        return world

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
