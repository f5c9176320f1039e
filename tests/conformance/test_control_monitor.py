"""A driver whose controls fail, and stores that go away by themselves: who is blamed, and for how many rules."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable

import pytest

import tenure
import tenure_memory
from tenure.conformance.controls.controls import Driver
from tenure.conformance.harness.assertions import RuleViolated
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.runner import runner
from tenure.conformance.runner.control_monitor import ControlMonitor, DriverFailed
from tenure.conformance.runner.rule_run import RuleRun, judge
from tenure.conformance.runner.runner import Plan, Progress, Run, all_rules, run

HARM = "restarts.outages_are_told_in_time"
PATIENCE = 1.0
"""Seconds; a store in this process is back at once or never."""


@pytest.fixture
def server() -> tenure_memory.MemoryServer:
    return tenure_memory.server(uuid.uuid4().hex)


@pytest.fixture
def names() -> tuple[str, ...]:
    """A rule that does harm in the middle of others, as the catalogue has them."""
    before = next(rule for rule in all_rules() if rule.area == "registry")
    after = next(rule for rule in all_rules() if rule.area == "model")
    return before.id, HARM, after.id


def tried(
    server: tenure_memory.MemoryServer, names: tuple[str, ...], driver: Driver, progress: Progress | None = None
) -> Run:
    plan = Plan(url=f"memory://{server.name}", driver=driver, rules=names, timeout=PATIENCE)
    return run(plan, progress)


def broken() -> None:
    raise OSError("no such container")


def test_a_server_that_its_driver_cannot_start_again_is_not_the_stores_fault(server, names):
    found = tried(server, names, Driver(kill=server.pause, start=broken))
    verdicts = [result.verdict.verdict for result in found.results]
    assert verdicts == [Verdict.PASS, Verdict.INVALID, Verdict.INVALID]
    assert found.conclusion is Conclusion.INVALID
    last = found.results[-1]
    assert not last.executed
    for words in ("left down by its driver", HARM, "the driver's start failed: OSError: no such container", "paused"):
        assert words in last.verdict.reason
    assert any("left down by its driver" in note for note in found.notes)


def test_a_start_that_fails_once_is_mended_and_the_run_goes_on(server, names):
    failures = iter([broken])

    def start() -> None:
        next(failures, server.resume)()

    found = tried(server, names, Driver(kill=server.pause, start=start))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.INVALID, Verdict.PASS]
    assert found.conclusion is Conclusion.INVALID
    assert any("was mended and answers" in note for note in found.notes)
    with tenure.connect(f"memory://{server.name}") as store:
        assert store.list("").keys == (), "what could not be emptied during the outage is emptied afterwards"


def test_a_kill_that_fails_without_effect_starts_nothing_twice(server, names):
    def start() -> None:
        raise AssertionError("it runs")

    found = tried(server, names, Driver(kill=broken, start=start))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.INVALID, Verdict.PASS]


class _Harming(Progress):
    """Takes the store away when a rule begins or has ended, as nobody's driver would."""

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
    connect = World.connect
    monkeypatch.setattr(
        World, "connect", lambda self, *given, timeout=PATIENCE, **more: connect(self, *given, timeout=timeout, **more)
    )


def test_a_store_that_goes_away_by_itself_is_broken_once_and_the_rest_is_not_tried(server, names, impatient):
    driver = Driver(kill=server.pause, start=server.resume)
    found = tried(server, names, driver, _Harming(began=names[0], do=server.pause))
    assert [result.verdict.verdict for result in found.results] == [Verdict.FAIL, Verdict.INVALID, Verdict.INVALID]
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    assert "Unavailable" in found.results[0].verdict.reason
    reason = found.results[1].verdict.reason
    assert f"{names[0]} found no store to open" in reason
    assert "driver" not in reason


def test_a_driver_whose_start_did_not_last_is_named_where_the_store_is_blamed(server, names, impatient):
    found = tried(server, names, Driver(kill=server.pause, start=server.resume), _Harming(ended=HARM, do=server.pause))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert "The driver's last control was 'start'" in "".join(found.notes)


def test_harm_that_a_rule_left_behind_is_undone(server, names, monkeypatch):
    def half(self: object, world: World) -> None:
        world.driver.do("kill")
        raise world.check.fail("killed it", expected="nothing", seen="everything")

    catalogue = all_rules()
    changed = tuple(_replaced(rule, half) if rule.id == HARM else rule for rule in catalogue)
    monkeypatch.setattr(runner, "all_rules", lambda: changed)
    found = tried(server, names, Driver(kill=server.pause, start=server.resume))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    found = tried(server, names, Driver(kill=server.pause, start=lambda: None))
    assert [result.verdict.verdict for result in found.results] == [Verdict.PASS, Verdict.FAIL, Verdict.INVALID]


def _replaced(rule: Rule, function: Callable[..., None]) -> Rule:
    return dataclasses.replace(rule, function=function)


# -- the pieces --


def test_a_promise_broken_before_a_control_failed_stays_broken():
    rule = next(each for each in all_rules() if each.id == HARM)
    monitor = ControlMonitor(Driver(kill=broken, start=broken))

    def raised(act: Callable[[], None]) -> BaseException:
        with pytest.raises((RuleViolated, DriverFailed)) as caught:
            act()
        return caught.value

    def broken_then_failed() -> None:
        try:
            raise RuleViolated("the promise")
        finally:
            monitor.driver.do("start")

    def failed_then_broken_then_failed() -> None:
        try:
            try:
                monitor.driver.do("kill")
            except DriverFailed as exc:
                raise RuleViolated("of something that never happened") from exc
        finally:
            monitor.driver.do("start")

    verdict, _ = judge(rule, raised(broken_then_failed), None)
    assert verdict.verdict is Verdict.FAIL
    assert verdict.reason.startswith("the promise")
    assert judge(rule, raised(failed_then_broken_then_failed), None)[0].verdict is Verdict.INVALID


def test_only_what_was_done_is_undone():
    done: list[str] = []
    names = ("kill", "start", "pause", "resume", "partition", "heal", "fill_disk", "free_disk")
    monitor = ControlMonitor(Driver(**{name: (lambda name=name: done.append(name)) for name in names}))
    monitor.mend(lambda: False)
    assert done == []
    monitor.driver.do("pause")
    monitor.driver.do("kill")
    monitor.driver.do("start")
    assert monitor.harmed
    monitor.mend(lambda: False)
    assert done == ["pause", "kill", "start", "resume"]
    assert not monitor.harmed
    assert monitor.take_failure() is None


def test_the_first_failure_is_told_once():
    monitor = ControlMonitor(Driver(kill=broken, start=lambda: None))
    with pytest.raises(DriverFailed):
        monitor.driver.do("kill")
    monitor.driver.do("start")
    assert "the driver's kill failed" in str(monitor.take_failure())
    assert monitor.take_failure() is None
