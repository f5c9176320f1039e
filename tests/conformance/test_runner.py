"""Running the catalogue without pytest: what each way to end a rule becomes, and that none is lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure.cli.ui.conformance import expected
from tenure.conformance.controls.controls import ServerControls
from tenure.conformance.harness.assertions import RuleInconclusive, RuleViolated
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.runner import runner
from tenure.conformance.runner.first_look import Pace, StoreFacts
from tenure.conformance.runner.rule_run import verdict_on
from tenure.conformance.runner.runner import Plan, Progress, Run, all_rules, run
from tenure.errors import ConfigError, OutcomeUnknown, PluginError, StoreClosed, Unavailable, Unsupported
from tenure.spi import Capabilities, CommitResult, LeaseId, ReadResult, Transaction

from .mutants import Faithful, installed
from .mutants.harness import DeclaresNothing, RefusesAll

KV = "kv.a_written_value_is_read_back"
MISSING = "kv.a_missing_key_reads_as_none"


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


def rule(name: str) -> Rule:
    return next(each for each in all_rules() if each.id == name)


def verdict_of(found: Run, name: str) -> Verdict:
    return next(result.verdict.verdict for result in found.results if result.rule.id == name)


def test_the_memory_store_keeps_everything_that_it_is_asked_for(url):
    server = tenure_memory.server(url.removeprefix("memory://"))
    controls = ServerControls(kill=server.pause, start=server.resume, cut=server.cut_watches, compact=server.compact)
    found = run(Plan(url=url, controls=controls, areas=("restarts", "namespaces")))
    assert [r.verdict for r in found.results if r.verdict.verdict not in (Verdict.PASS, Verdict.NOT_SUPPORTED)] == []
    assert found.conclusion is Conclusion.PARTIAL
    # Without a backup to restore, and with a store that other processes don't see.
    assert found.counts[Verdict.NOT_SUPPORTED] == 8
    assert len(found.results) == len(found.selected) == found.executed + 8
    assert not found.notes


def test_a_rule_tells_what_was_done(url):
    found = run(Plan(url=url, rules=(KV, "watches.*")))
    by_id = {result.rule.id: result for result in found.results}
    evidence = by_id[KV].evidence
    assert evidence is not None
    assert evidence.counts["commit"] >= 1
    shared = [result for result in found.results if result.shared_with]
    assert shared
    assert {result.shared_with for result in shared} <= set(by_id)


class RefusesToRefresh(Faithful):
    """Refuses every refresh, so that no run of leases comes to its end."""

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        raise Unsupported("this store can't refresh leases")


def test_a_shared_run_that_failed_condemns_one_rule_alone():
    with installed(RefusesToRefresh) as url:
        found = run(Plan(url=url, rules=("leases.never_end*", "leases.left_alone*", "leases.kept_alive*")))
    assert [result.verdict.verdict for result in found.results] == [
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.INCONCLUSIVE,
    ]
    assert "the run that leases.left_alone_end_in_time inspects failed" in found.results[1].verdict.reason
    assert found.conclusion is Conclusion.NOT_CONFORMANT


def test_a_run_needs_no_pytest():
    code = (
        "import sys\nsys.modules['pytest'] = None\n"
        "from tenure.conformance.runner.runner import Plan, run\n"
        f"print(run(Plan(url='memory://alone', rules=('{KV}',))).conclusion)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["partial"]


def test_what_is_missing_is_named_with_the_extra_that_brings_it():
    code = (
        "import sys\nsys.modules['hypothesis'] = None\n"
        "from tenure.conformance.runner.runner import all_rules\n"
        "from tenure.errors import ConfigError\n"
        "try: all_rules()\nexcept ConfigError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "hypothesis isn't installed; run: pip install 'tenure[conformance]'" in done.stdout


@pytest.mark.parametrize("given", [{"areas": ("nowhere",)}, {"rules": ("kv.nothing",)}])
def test_a_selection_that_names_nothing_is_refused(url, given):
    with pytest.raises(ConfigError, match=r"nowhere|kv\.nothing"):
        run(Plan(url=url, **given))


def test_a_store_that_cannot_be_opened_says_so_itself(tmp_path):
    with pytest.raises(tenure.TenureError, match="no/such"):
        run(Plan(url=f"sqlite://{tmp_path}/no/such/folder/x.db"))


# -- what an error becomes --


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (RuleViolated("the message"), Verdict.FAIL, "the message"),
        (RuleInconclusive("too little"), Verdict.INCONCLUSIVE, "too little"),
        (Unsupported("not here"), Verdict.FAIL, "declared guarantees cover"),
        (Unavailable("gone"), Verdict.FAIL, "Unavailable: gone"),
        (ValueError("odd"), Verdict.FAIL, "only the errors of tenure.errors"),
        (ExceptionGroup("two", [RuleInconclusive("thin"), RuleViolated("broken")]), Verdict.FAIL, "broken"),
        (ExceptionGroup("one", [ExceptionGroup("inner", [RuleInconclusive("thin")])]), Verdict.INCONCLUSIVE, "thin"),
        (SystemExit(3), Verdict.FAIL, "SystemExit"),
    ],
)
def test_each_error_has_its_verdict(error, verdict, words):
    found, trace = verdict_on(rule(KV), error, None)
    assert found.verdict is verdict
    assert words in found.reason
    assert type(error).__name__ in trace


def test_an_error_of_the_store_names_the_rule_and_its_promise():
    found, _ = verdict_on(rule(KV), ValueError("odd"), None)
    assert f"rule {KV} is violated" in found.reason
    assert rule(KV).guarantee in found.reason


def test_a_fault_without_effect_is_inconclusive():
    evidence = Evidence()
    with evidence.fault("cut"):
        pass
    with evidence.fault("black hole") as real:
        real.effects = 1
    found, _ = verdict_on(rule(KV), None, evidence)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "cut" in found.reason
    assert "black hole" not in found.reason
    with evidence.fault("cut") as second:
        second.effects = 3
    assert verdict_on(rule(KV), None, evidence)[0].verdict is Verdict.PASS


def test_a_failing_control_says_nothing_about_the_store(url):
    def broken() -> None:
        raise OSError("no such container")

    controls = ServerControls(kill=broken, start=lambda: None, cut=lambda: None)
    found = run(Plan(url=url, controls=controls, rules=("restarts.outages_are_told_in_time",)))
    assert found.conclusion is Conclusion.INCONCLUSIVE
    assert "the control 'kill' failed: OSError: no such container" in found.results[0].verdict.reason


# -- stores that break the harness instead of a guarantee --


class DeclaresLess(Faithful):
    """Declares one guarantee only in the first opening."""

    openings = itertools.count()

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.first = next(self.openings) == 0

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, consistent_pagination=self.first)


class Hangs(Faithful):
    """Answers no ``get``, whatever the timeout, until it is closed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.closed = threading.Event()

    def get(self, key: str, *, timeout: float) -> ReadResult:
        self.closed.wait(60)
        raise StoreClosed("closed meanwhile")

    def close(self) -> None:
        self.closed.set()
        super().close()


def test_a_store_that_refuses_everything_fails():
    with installed(RefusesAll) as url:
        found = run(Plan(url=url, areas=("kv", "transactions", "leases", "watches")))
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    # A refusal never counts as "not supported", and what is kept is only what a store may refuse.
    kept = {result.rule.id for result in found.results if result.verdict.verdict is Verdict.PASS}
    assert len(kept) < len(found.results) // 10
    aside = [result.verdict.reason for result in found.results if result.verdict.verdict is Verdict.NOT_SUPPORTED]
    declared = [reason for reason in aside if "the controls lack" not in reason]
    assert all("multi_process=False" in reason for reason in declared), declared  # what it declares is true
    assert "declared guarantees cover" in found.results[0].verdict.reason


def test_a_store_that_declares_nothing_is_caught_doing_what_it_does_not_declare():
    with installed(DeclaresNothing) as url:
        found = run(Plan(url=url))
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    failed = {result.rule.id for result in found.results if result.verdict.verdict is Verdict.FAIL}
    assert {name for name in failed if "work_or_are_refused" in name or "refused" in name}


def test_two_openings_that_declare_different_things_are_told():
    with installed(DeclaresLess) as url:
        found = run(Plan(url=url, rules=(KV,)))
    assert "consistent_pagination=True, then False" in "".join(found.notes)


def test_a_rule_that_hangs_is_unknown_and_the_others_go_on():
    before = set(threading.enumerate())  # threads of a rule that another test broke off end at their own deadlines
    with installed(Hangs) as url:
        found = run(Plan(url=url, rules=(KV, "kv.illegal_keys_are_refused"), rule_budget=0.5, timeout=0.5))
    assert verdict_of(found, KV) is Verdict.UNKNOWN
    assert verdict_of(found, "kv.illegal_keys_are_refused") is Verdict.PASS
    assert found.conclusion is Conclusion.UNKNOWN
    hung = found.results[0]
    assert "did not end: it took longer than the 0.5 s" in hung.verdict.reason
    assert "in get" in hung.trace, "the report shows where it hangs"
    # Closing the store wakes the thread of the rule that hung. Its end needs a turn of its own.
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), thread.name


def test_rules_that_inspect_a_shared_run_that_hung_are_unknown_too():
    with installed(Hangs) as url:
        found = run(Plan(url=url, rules=("leases.*",), rule_budget=0.5, timeout=0.5))
    unknown = [result for result in found.results if result.verdict.verdict is Verdict.UNKNOWN]
    assert any("longer than the 0.5 s" in result.verdict.reason and result.shared_with for result in unknown)
    assert verdict_of(found, unknown[0].rule.id) is Verdict.UNKNOWN


def test_rules_that_wait_wait_side_by_side(url):
    names = tuple(rule.id for rule in all_rules() if rule.parallel_safe and rule.core and not rule.required_controls)
    assert len(names) >= 4
    found = run(Plan(url=url, rules=(*names, KV)))
    assert {result.verdict.verdict for result in found.results} == {Verdict.PASS}
    waited = [result for result in found.results if result.rule.parallel_safe]
    assert len({result.seconds for result in waited}) == len(waited), "each has a time of its own"
    assert max(result.began for result in waited) < min(result.began + result.seconds for result in waited)
    (alone,) = (result for result in found.results if not result.rule.parallel_safe)
    assert all(alone.began + alone.seconds <= result.began or alone.began >= result.began for result in waited)


def test_one_of_those_that_wait_hangs_and_the_others_have_their_verdicts(url, monkeypatch):
    names = tuple(rule.id for rule in all_rules() if rule.parallel_safe and rule.core and not rule.required_controls)
    stuck = threading.Event()
    hung = replace(rule(names[1]), function=lambda *_: stuck.wait(60))
    monkeypatch.setattr(runner, "all_rules", lambda _: tuple(hung if r.id == hung.id else r for r in all_rules()))
    monkeypatch.setattr("tenure.conformance.runner.rule_run._STOP_TIMEOUT", 0.1)
    try:
        found = run(Plan(url=url, rules=names, rule_budget=15.0))
    finally:
        stuck.set()
    assert [result.rule.id for result in found.results if result.verdict.verdict is not Verdict.PASS] == [hung.id]
    assert verdict_of(found, hung.id) is Verdict.UNKNOWN
    assert found.conclusion is Conclusion.UNKNOWN


def test_interrupted_while_several_wait_none_is_accused(url):
    names = tuple(rule.id for rule in all_rules() if rule.parallel_safe and rule.core and not rule.required_controls)
    found = run(Plan(url=url, rules=(KV, *names)), _Interrupting(names[-1]))
    assert found.interrupted
    assert verdict_of(found, KV) is Verdict.PASS
    assert len(found.results) == len(names) + 1
    assert verdict_of(found, names[0]) is verdict_of(found, names[-1]) is Verdict.UNKNOWN
    # One may come to its end while another is stopped.
    assert {verdict_of(found, name) for name in names} <= {Verdict.UNKNOWN, Verdict.PASS}


def test_a_budget_that_is_used_up_leaves_the_rest_unknown(url):
    found = run(Plan(url=url, rules=("kv.*",), budget=1e-9))
    # What the store does not declare needs no time.
    assert {result.verdict.verdict for result in found.results} == {Verdict.UNKNOWN, Verdict.NOT_SUPPORTED}
    assert found.counts[Verdict.NOT_SUPPORTED] == 1
    assert len(found.results) == len(found.selected)
    assert found.conclusion is not Conclusion.PARTIAL


class _Interrupting(Progress):
    def __init__(self, at: str) -> None:
        self.at = at

    def began(self, rule: Rule) -> None:
        if rule.id == self.at:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_run_accounts_for_every_rule_and_cleans_up(url):
    with tenure.connect(url) as mine:
        mine.put("precious", b"1")
        found = run(Plan(url=url, rules=("kv.*",)), _Interrupting(MISSING))
        assert mine.list("").keys == ("precious",)
    assert found.interrupted
    assert len(found.results) == len(found.selected)
    assert verdict_of(found, KV) is Verdict.PASS
    assert verdict_of(found, MISSING) is Verdict.UNKNOWN
    assert {result.verdict.verdict for result in found.results[-3:]} == {Verdict.UNKNOWN, Verdict.NOT_SUPPORTED}


class Stuck(Faithful):
    """A call at the beginning of each run never returns."""

    call = ""
    go_on = threading.Event()

    def server_info(self, *, timeout: float) -> Any:
        if self.call == "server_info":
            self.go_on.wait()
        return self.inner.server_info(timeout=timeout)

    def close(self) -> None:
        if self.call == "close":
            self.go_on.wait()
        self.inner.close()


@pytest.mark.parametrize(("call", "what"), [("server_info", "asking the server"), ("close", "closing the store")])
def test_a_store_that_never_answers_the_first_look_is_told(call, what, monkeypatch):
    monkeypatch.setattr(Stuck, "call", call)
    monkeypatch.setattr(Stuck, "go_on", threading.Event())
    try:
        with installed(Stuck) as url, pytest.raises(PluginError, match=f"{what}.*: the plugin did not return within"):
            run(Plan(url=url, rules=(MISSING,), timeout=0.5))
    finally:
        Stuck.go_on.set()


# -- a store without answers, and how long a run takes --


class Silent(Faithful):
    """Can be opened, and then answers no call."""

    said = Unavailable

    def _keep_silent(self, *_: object, **__: object) -> Any:
        raise self.said("nobody answers")

    get = list = commit = grant = refresh = revoke = leases = watch = server_info = _keep_silent


@pytest.mark.parametrize("said", [Unavailable, OutcomeUnknown])
def test_a_store_that_answers_no_call_is_not_conformant_within_its_timeout(said, monkeypatch):
    monkeypatch.setattr(Silent, "said", said)
    with installed(Silent) as url:
        found = run(Plan(url=url, timeout=1.0))
    tried = [result for result in found.results if result.verdict.verdict is not Verdict.NOT_SUPPORTED]
    assert [result.verdict.verdict for result in tried] == [Verdict.FAIL] + [Verdict.INCONCLUSIVE] * (len(tried) - 1)
    assert len(tried) > 100
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    for result in tried[:2]:
        assert "answers no call: the first put raised" in result.verdict.reason
        assert "nobody answers" in result.verdict.reason
    assert found.seconds < len(tried) / 2, "each rule waited for its own timeout of a second"


class FallsSilent(Silent):
    """Answers until a rule has ended."""

    silent = threading.Event()

    def __getattribute__(self, name: str) -> Any:
        if name in {"get", "list", "commit"} and not FallsSilent.silent.is_set():
            return getattr(object.__getattribute__(self, "inner"), name)
        return object.__getattribute__(self, name)


def test_a_store_that_falls_silent_is_condemned_once(monkeypatch):
    class Falls(Progress):
        def ended(self, result: Any) -> None:
            FallsSilent.silent.set()

    monkeypatch.setattr(FallsSilent, "silent", threading.Event())
    monkeypatch.setattr("tenure.conformance.harness.context.TIMEOUT", 1.0)
    connect = RuleContext.connect
    monkeypatch.setattr(RuleContext, "connect", lambda self: connect(self, timeout=1.0))
    with installed(FallsSilent) as url:
        found = run(Plan(url=url, timeout=1.0, rules=("kv.a_*",)), Falls())
    verdicts = [result.verdict.verdict for result in found.results]
    assert verdicts[:2] == [Verdict.PASS, Verdict.FAIL]
    assert set(verdicts[2:]) <= {Verdict.INCONCLUSIVE, Verdict.NOT_SUPPORTED}


class Tired(Faithful):
    """Right; each call takes its time."""

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        time.sleep(0.3)
        return self.inner.commit(transaction, timeout=timeout)


def test_a_slow_store_is_told_how_long_its_run_will_take():
    told: list[StoreFacts] = []

    class Listens(Progress):
        def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
            told.append(store)
            told_texts.append(expected(store, selected))

    told_texts: list[str] = []
    with installed(Tired) as url:
        run(Plan(url=url, rules=(KV,)), Listens())
    (store,) = told
    assert store.pace is not None
    assert store.pace.write >= 0.3
    assert store.pace.estimate(200) > 5 * Pace(0.001, 0.001).estimate(200)
    assert told_texts[0].startswith("1 rules, about")
