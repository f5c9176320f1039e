"""The pytest plugin. Every test run of an environment that has Tenure loads it, so it is cheap and prints nothing.

It adds three options and lets pytest explain the asserts of the rule modules. At the end of a run it reports the result
of each rule of the suite, so no rule is silently left out. It imports the suite only if there are rules among the
tests; then a test module has imported it already.
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
_MESSAGES = pytest.StashKey["list[str]"]()
_UNOPENED = pytest.StashKey["set[str]"]()
"""Why stores couldn't be opened; each reason is printed once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the URL, for the quick check and for subclasses without one of their own, and the report's file."""
    group = parser.getgroup("tenure")
    group.addoption(
        "--tenure-url",
        metavar="URL",
        dest="tenure_url",
        default=None,
        help="store for Tenure's conformance suite (see tenure.conformance.StoreConformance)",
    )
    group.addoption(
        "--tenure-face",
        choices=("sync", "aio"),
        dest="tenure_face",
        default="sync",
        help="interface through which the conformance suite uses the store: the synchronous one, or asyncio",
    )
    group.addoption(
        "--tenure-report",
        metavar="FILE",
        dest="tenure_report",
        default=None,
        help="write the conformance suite's report as JSON, as 'tenure conformance URL --report FILE' does; "
        "if a run has several suites, each gets a file with its name in it; not with pytest-xdist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report that couldn't be written, before any test runs."""
    report = config.getoption("tenure_report", default=None)
    if report is None:
        return
    if config.getoption("numprocesses", default=None) or hasattr(config, "workerinput"):
        raise pytest.UsageError("--tenure-report: pytest-xdist spreads the suite over processes; leave out -n")
    if not Path(report).parent.is_dir():
        raise pytest.UsageError(f"--tenure-report {report}: no such folder: {Path(report).parent}; create it first")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Record the rules before any is deselected: the summary names those that don't run."""
    suites: dict[str, SuiteResults] = {}
    face = config.getoption("tenure_face", default="sync")
    if face == "sync":  # the catalogue of this face has no rules about the other one alone
        items[:] = [item for item in items if (rule := _rule(item)) is None or rule.face != "aio"]
    for item in items:
        rules = [rule for rule in _rules(item).values() if face != "sync" or rule.face != "aio"]
        if rules and _suite(item) not in suites:
            from tenure.conformance.pytest.results import SuiteResults, in_order  # noqa: PLC0415 - only where needed

            suites[_suite(item)] = SuiteResults(_suite(item), in_order(rules, face), face=face)
    if suites:
        config.stash[_SUITES] = suites


def pytest_collection_finish(session: pytest.Session) -> None:
    """Record the rules that were selected."""
    suites = session.config.stash.get(_SUITES, None)
    if suites is None:
        return
    for item in session.items:
        rule = _rule(item)
        if rule is not None:
            suites[_suite(item)].selected.add(rule.id)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Fail a rule whose fault had no effect: it tried nothing."""
    result = yield
    rule = _rule(pyfuncitem)
    if rule is not None:
        from tenure.conformance.harness.assertions import RuleInconclusive  # noqa: PLC0415 - only where rules are run
        from tenure.conformance.pytest.results import context_of  # noqa: PLC0415
        from tenure.conformance.runner.rule_run import verdict_on  # noqa: PLC0415

        context = context_of(pyfuncitem)
        verdict, _ = verdict_on(rule, None, None if context is None else context.evidence)
        if verdict.reason:
            raise RuleInconclusive(verdict.reason)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Record a rule's verdict, and name the guarantee that an unexpected error belongs to."""
    report: pytest.TestReport = yield
    rule = _rule(item)
    suites = item.config.stash.get(_SUITES, None)
    if rule is None or suites is None:
        return report
    suites[_suite(item)].note(item, rule, call)
    if report.failed:
        message = None if call.excinfo is None else _message_alone(call.excinfo.value, item.config, report.when)
        if message is not None:
            report.longrepr = message
        if message is None or report.when == "setup":
            report.sections.append((f"rule {rule.id}", rule.guarantee))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports that were asked for."""
    report = session.config.getoption("tenure_report", default=None)
    suites = session.config.stash.get(_SUITES, {})
    if report is None or session.config.getoption("collectonly", default=False):
        return
    messages = session.config.stash.setdefault(_MESSAGES, [])
    if not any(suite.selected for suite in suites.values()):
        found = "selected" if suites else "collected"
        messages.append(f"--tenure-report: no report, since no rule of the conformance suite was {found}")
        return
    from tenure.conformance.pytest.results import write  # noqa: PLC0415 - only where rules were run

    messages += write(list(suites.values()), Path(report))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print for each store its conclusion, the number of each verdict, and the rules that did not run.

    A store of which no rule was selected has no conclusion: pytest itself counts deselected tests.
    """
    config = terminalreporter.config
    if not config.getoption("collectonly", default=False):
        for suite in config.stash.get(_SUITES, {}).values():
            for line in suite.summary if suite.selected else ():
                terminalreporter.write_line(line)
    for line in config.stash.get(_MESSAGES, []):
        terminalreporter.write_line(line)


def _message_alone(error: BaseException, config: pytest.Config, when: str | None) -> str | None:
    """Return the message to show instead of a traceback, or ``None``.

    The suite's own code would bury a message that is complete. An error with a cause keeps its traceback, since that
    leads into the plugin. With an explicit ``--tb`` pytest shows every traceback.
    """
    if error.__cause__ is not None or config.getoption("tbstyle", "auto") != "auto":
        return None
    if type(error).__name__ in ("RuleViolated", "RuleInconclusive"):
        return str(error)
    if when == "setup" and isinstance(error, TenureError):
        known = config.stash.setdefault(_UNOPENED, set())
        if str(error) in known:
            return f"opening the store: {type(error).__name__}, as above"
        known.add(str(error))
        return f"opening the store: {type(error).__name__}: {error}"
    return None


def _rules(item: pytest.Item) -> dict[str, Rule]:
    """Return the catalogue of the suite that a test belongs to; empty for other tests."""
    cls = getattr(item, "cls", None)
    known: dict[str, Rule] = getattr(cls, "_tenure_catalogue", None) or {}
    return known


def _rule(item: pytest.Item) -> Rule | None:
    """Return the rule that a test is, if it is one."""
    return _rules(item).get(getattr(item, "originalname", None) or item.name)


def _suite(item: pytest.Item) -> str:
    """Return the name of the suite that a test belongs to; one for each set of parameters."""
    name, parameters = item.nodeid.rpartition("::")[0], getattr(item, "callspec", None)
    return name if parameters is None else f"{name}[{parameters.id}]"
