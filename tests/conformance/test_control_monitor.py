"""Controls that fail, and stores that go away without a fault: who is blamed, and for how many rules."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Callable

import pytest

import tenure
import tenure_memory
from tenure.conformance.controls.controls import ServerControls
from tenure.conformance.harness.assertions import RuleViolated
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.runner import runner
from tenure.conformance.runner.control_monitor import ControlMonitor, ControlRaised
from tenure.conformance.runner.rule_run import RuleRun, verdict_on
from tenure.conformance.runner.runner import Plan, Progress, Run, all_rules, run

DEGRADING = "restarts.outages_are_told_in_time"
PATIENCE = 1.0
"""Seconds; a store in this process is back at once or never."""


@pytest.fixture
def server() -> tenure_memory.MemoryServer:
    return tenure_memory.server(uuid.uuid4().hex)


@pytest.fixture
def names() -> tuple[str, ...]:
    """A rule that injects faults in the middle of others, as the catalogue has them."""
    before = next(rule for rule in all_rules() if rule.area == "registry")
    after = next(rule for rule in all_rules() if rule.area == "model")
    return before.id, DEGRADING, after.id


def tried(
    server: tenure_memory.MemoryServer,
    names: tuple[str, ...],
    controls: ServerControls,
    progress: Progress | None = None,
) -> Run:
    plan = Plan(url=f"memory://{server.name}", controls=controls, rules=names, timeout=PATIENCE)
    return run(plan, progress)


def broken() -> None:
    raise OSError("no such container")


def test_a_server_that_its_controls_cannot_start_again_is_not_the_stores_fault(server, names):
    found = tried(server, names, ServerControls(kill=server.pause, start=broken))
    verdicts = [result.verdict.verdict for result in found.results]
    assert verdicts == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE]
    assert found.conclusion is Conclusion.INCONCLUSIVE
    last = found.results[-1]
    assert not last.executed
    for words in (
        "the controls left the server down",
        DEGRADING,
        "the control 'start' failed: OSError: no such container",
        "paused",
    ):
        assert words in last.verdict.reason
    assert any("the controls left the server down" in note for note in found.notes)


def test_a_start_that_fails_once_is_undone_and_the_run_goes_on(server, names):
    failures = iter([broken])

    def start() -> None:
        next(failures, server.resume)()

    found = tried(server, names, ServerControls(kill=server.pause, start=start))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.PASS]
    assert found.conclusion is Conclusion.INCONCLUSIVE
    assert any("was restored and answers" in note for note in found.notes)
    with tenure.connect(f"memory://{server.name}") as store:
        assert store.list("").keys == (), "what could not be emptied during the outage is emptied afterwards"


def test_a_kill_that_fails_without_effect_starts_nothing_twice(server, names):
    def start() -> None:
        raise AssertionError("it runs")

    found = tried(server, names, ServerControls(kill=broken, start=start))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.PASS]


class _Degrading(Progress):
    """Takes the store away when a rule begins or has ended, without any control."""

    def __init__(self, *, began: str = "", ended: str = "", do: Callable[[], None]) -> None:
        self._began, self._ended, self._do = began, ended, do

    def began(self, rule: Rule) -> None:
        if rule.id == self._began:
            self._do()

    def ended(self, result: RuleRun) -> None:
        if result.rule.id == self._ended:
            self._do()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules give up opening a store that isn't there after a second."""
    connect = RuleContext.connect
    monkeypatch.setattr(
        RuleContext,
        "connect",
        lambda self, *given, timeout=PATIENCE, **more: connect(self, *given, timeout=timeout, **more),
    )


def test_a_store_that_goes_away_by_itself_is_broken_once_and_the_rest_is_not_tried(server, names, impatient):
    controls = ServerControls(kill=server.pause, start=server.resume)
    found = tried(server, names, controls, _Degrading(began=names[0], do=server.pause))
    assert [result.verdict.verdict for result in found.results] == [
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.INCONCLUSIVE,
    ]
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    assert "Unavailable" in found.results[0].verdict.reason
    reason = found.results[1].verdict.reason
    assert f"{names[0]} could not reach its store" in reason
    assert "control" not in reason


def test_controls_whose_start_did_not_last_is_named_where_the_store_is_blamed(server, names, impatient):
    found = tried(
        server,
        names,
        ServerControls(kill=server.pause, start=server.resume),
        _Degrading(ended=DEGRADING, do=server.pause),
    )
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert "The last control used was 'start'" in "".join(found.notes)


def test_faults_that_a_rule_left_behind_are_undone(server, names, monkeypatch):
    def half(self: object, context: RuleContext) -> None:
        context.controls.do("kill")
        raise context.check.fail("killed it", expected="nothing", seen="everything")

    catalogue = all_rules()
    changed = tuple(_replaced(rule, half) if rule.id == DEGRADING else rule for rule in catalogue)
    monkeypatch.setattr(runner, "all_rules", lambda _: changed)
    found = tried(server, names, ServerControls(kill=server.pause, start=server.resume))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    found = tried(server, names, ServerControls(kill=server.pause, start=lambda: None))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE]


def _replaced(rule: Rule, function: Callable[..., None]) -> Rule:
    return dataclasses.replace(rule, function=function)


# -- the pieces --


def test_a_promise_broken_before_a_control_failed_stays_broken():
    rule = next(each for each in all_rules() if each.id == DEGRADING)
    monitor = ControlMonitor(ServerControls(kill=broken, start=broken))

    def raised(act: Callable[[], None]) -> BaseException:
        with pytest.raises((RuleViolated, ControlRaised)) as caught:
            act()
        return caught.value

    def broken_then_failed() -> None:
        try:
            raise RuleViolated("the guarantee")
        finally:
            monitor.controls.do("start")

    def failed_then_broken_then_failed() -> None:
        try:
            try:
                monitor.controls.do("kill")
            except ControlRaised as exc:
                raise RuleViolated("of something that never happened") from exc
        finally:
            monitor.controls.do("start")

    verdict, _ = verdict_on(rule, raised(broken_then_failed), None)
    assert verdict.verdict is Verdict.FAIL
    assert verdict.reason.startswith("the guarantee")
    assert verdict_on(rule, raised(failed_then_broken_then_failed), None)[0].verdict is Verdict.INCONCLUSIVE


def test_only_what_was_done_is_undone():
    done: list[str] = []
    names = ("kill", "start", "pause", "resume", "partition", "heal", "fill_disk", "free_disk")
    names += ("restrict", "permit", "advance_clock", "reset_clock", "backup", "restore")
    monitor = ControlMonitor(ServerControls(**{name: (lambda name=name: done.append(name)) for name in names}))
    monitor.restore(lambda: False)
    assert done == []
    monitor.controls.do("pause")
    monitor.controls.do("kill")
    monitor.controls.do("start")
    assert monitor.degraded
    monitor.restore(lambda: False)
    assert done == ["pause", "kill", "start", "resume"]
    assert not monitor.degraded
    assert monitor.take_failure() is None


@pytest.mark.parametrize(("fault", "remedy"), [("restrict", "permit"), ("advance_clock", "reset_clock")])
def test_rights_and_clocks_are_put_right(fault, remedy):
    done: list[str] = []
    monitor = ControlMonitor(
        ServerControls(**{name: (lambda name=name: done.append(name)) for name in (fault, remedy, "backup", "restore")})
    )
    monitor.controls.do("backup")
    monitor.controls.do("restore")
    assert not monitor.degraded
    monitor.controls.do(fault)
    monitor.restore(lambda: False)
    assert done == ["backup", "restore", fault, remedy]
    assert not monitor.degraded


def test_a_control_with_a_late_effect_is_awaited(server):
    def kill() -> None:
        timer = threading.Timer(0.5, server.pause)
        timer.daemon = True
        timer.start()

    (result,) = tried(server, (DEGRADING,), ServerControls(kill=kill, start=server.resume)).results
    assert result.verdict.verdict is Verdict.PASS, result.verdict.reason


def test_the_first_failure_is_told_once():
    monitor = ControlMonitor(ServerControls(kill=broken, start=lambda: None))
    with pytest.raises(ControlRaised):
        monitor.controls.do("kill")
    monitor.controls.do("start")
    assert "the control 'kill' failed" in str(monitor.take_failure())
    assert monitor.take_failure() is None
