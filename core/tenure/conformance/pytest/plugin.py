"""The pytest plugin, loaded in every test run of an environment that has Tenure: cheap, and silent elsewhere.

It adds two options, lets pytest explain the asserts of the rule modules, and tells at the end of a run what became of
each rule of the suite, so that none is left out in silence. It imports nothing of the suite unless there are rules
among the tests; then whoever subclassed it has done so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tenure.errors import TenureError

if TYPE_CHECKING:
    from tenure.conformance.harness.rule import Rule
    from tenure.conformance.pytest.results import SuiteResults

_REWRITTEN = ("rules", "workloads", "harness.assertions", "pytest.quick")
pytest.register_assert_rewrite(*(f"tenure.conformance.{name}" for name in _REWRITTEN))

_SUITES = pytest.StashKey["dict[str, SuiteResults]"]()
_TOLD = pytest.StashKey["list[str]"]()
_UNOPENED = pytest.StashKey["set[str]"]()
"""Why stores couldn't be opened: each reason is told once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The URL for the quick check, and for subclasses that don't say one themselves; where the report goes to."""
    group = parser.getgroup("tenure")
    group.addoption(
        "--tenure-url",
        metavar="URL",
        dest="tenure_url",
        default=None,
        help="store for Tenure's conformance suite (see tenure.conformance.StoreConformance)",
    )
    group.addoption(
        "--tenure-report",
        metavar="FILE",
        dest="tenure_report",
        default=None,
        help="write the conformance suite's report as JSON, as 'tenure conformance URL --report FILE' does; "
        "of several suites in one run each gets a file with its name in it; not with pytest-xdist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report that could not be written, before anything runs."""
    report = config.getoption("tenure_report", default=None)
    if report is None:
        return
    if config.getoption("numprocesses", default=None) or hasattr(config, "workerinput"):
        raise pytest.UsageError(
            "--tenure-report needs the whole suite in one process, and pytest-xdist spreads it: leave out -n"
        )
    if not Path(report).parent.is_dir():
        raise pytest.UsageError(f"--tenure-report {report}: there is no folder {Path(report).parent}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which rules there are, before anyone deselects some: what isn't run is to be told."""
    suites: dict[str, SuiteResults] = {}
    for item in items:
        rules = _rules(item)
        if rules and _suite(item) not in suites:
            from tenure.conformance.pytest.results import SuiteResults, in_order  # noqa: PLC0415 - only where needed

            suites[_suite(item)] = SuiteResults(_suite(item), in_order(rules.values()))
    if suites:
        config.stash[_SUITES] = suites


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which rules are left to be run."""
    suites = session.config.stash.get(_SUITES, None)
    if suites is None:
        return
    for item in session.items:
        rule = _rule(item)
        if rule is not None:
            suites[_suite(item)].selected.add(rule.id)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """A rule whose fault did nothing has tried nothing, and doesn't pass."""
    done = yield
    rule = _rule(pyfuncitem)
    if rule is not None:
        from tenure.conformance.harness.assertions import RuleInconclusive  # noqa: PLC0415 - only where rules are run
        from tenure.conformance.pytest.results import world_of  # noqa: PLC0415
        from tenure.conformance.runner.rule_run import judge  # noqa: PLC0415

        world = world_of(pyfuncitem)
        verdict, _ = judge(rule, None, None if world is None else world.evidence)
        if verdict.reason:
            raise RuleInconclusive(verdict.reason)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Note a rule's verdict, and say which promise an unexpected error belongs to."""
    report: pytest.TestReport = yield
    rule = _rule(item)
    suites = item.config.stash.get(_SUITES, None)
    if rule is None or suites is None:
        return report
    suites[_suite(item)].note(item, rule, call)
    if report.failed:
        said = None if call.excinfo is None else _in_its_own_words(call.excinfo.value, item.config, report.when)
        if said is not None:
            report.longrepr = said
        if said is None or report.when == "setup":
            report.sections.append((f"rule {rule.id}", rule.promise))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports that were asked for."""
    report = session.config.getoption("tenure_report", default=None)
    suites = session.config.stash.get(_SUITES, {})
    if report is None or session.config.getoption("collectonly", default=False):
        return
    told = session.config.stash.setdefault(_TOLD, [])
    if not suites:
        told.append("--tenure-report: no rule of the conformance suite was collected, so there is no report")
        return
    from tenure.conformance.pytest.results import write  # noqa: PLC0415 - only where rules were run

    told += write(list(suites.values()), Path(report))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each store: the conclusion, how many rules have each verdict; and which were not executed."""
    config = terminalreporter.config
    if not config.getoption("collectonly", default=False):
        for suite in config.stash.get(_SUITES, {}).values():
            for line in suite.summary:
                terminalreporter.write_line(line)
    for line in config.stash.get(_TOLD, []):
        terminalreporter.write_line(line)


def _in_its_own_words(error: BaseException, config: pytest.Config, when: str | None) -> str | None:
    """The message alone, where it says all there is to say: the suite's code would only bury it. What another error
    led to keeps its traceback, which is the plugin's; ``--tb=long`` (or whatever else is asked for) shows all."""
    if error.__cause__ is not None or config.getoption("tbstyle", "auto") != "auto":
        return None
    if type(error).__name__ in ("RuleViolated", "RuleInconclusive"):
        return str(error)
    if when == "setup" and isinstance(error, TenureError):
        told = config.stash.setdefault(_UNOPENED, set())
        if str(error) in told:
            return f"the store can't be opened, as above: {type(error).__name__}"
        told.add(str(error))
        return f"the store can't be opened: {type(error).__name__}: {error}"
    return None


def _rules(item: pytest.Item) -> dict[str, Rule]:
    """The catalogue of the suite that a test belongs to; empty for everybody else's tests."""
    cls = getattr(item, "cls", None)
    known: dict[str, Rule] = getattr(cls, "_tenure_catalogue", None) or {}
    return known


def _rule(item: pytest.Item) -> Rule | None:
    """The rule that a test is."""
    return _rules(item).get(getattr(item, "originalname", None) or item.name)


def _suite(item: pytest.Item) -> str:
    """The suite that a test belongs to; one for each set of parameters."""
    name, parameters = item.nodeid.rpartition("::")[0], getattr(item, "callspec", None)
    return name if parameters is None else f"{name}[{parameters.id}]"
