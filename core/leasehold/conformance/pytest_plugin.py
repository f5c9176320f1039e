"""The pytest plugin, loaded in every test run of an environment that has Leasehold: cheap, and silent elsewhere.

It adds the option ``--leasehold-url``, lets pytest explain the asserts of the rule modules, and counts at the end
of a run which rules of the suite were executed, so that none is left out in silence. It imports the suite never:
whoever subclasses it has.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

_MODULES = (
    "checks",
    "closing",
    "history",
    "kv",
    "lease_run",
    "leases",
    "lists",
    "lock_recipe",
    "lock_run",
    "locks",
    "model",
    "order",
    "order_run",
    "registry",
    "restarts",
    "spi",
    "transactions",
    "watch_run",
    "watches",
    "workload",
)
pytest.register_assert_rewrite(*(f"leasehold.conformance.{name}" for name in _MODULES))

_TALLY = pytest.StashKey["dict[str, dict[str, str]]"]()
"""Suite class to rule id to its outcome."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The URL for the quick check, and for subclasses that don't say one themselves."""
    group = parser.getgroup("leasehold")
    group.addoption(
        "--leasehold-url",
        metavar="URL",
        dest="leasehold_url",
        default=None,
        help="store for Leasehold's conformance suite (see leasehold.conformance.StoreConformance)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which rules there are, before anyone deselects some: what isn't run is to be told."""
    tally: dict[str, dict[str, str]] = {}
    for item in items:
        for rule in _rules(item).values():
            tally.setdefault(_suite(item), {}).setdefault(rule.id, "not run")
    if tally:
        config.stash[_TALLY] = tally


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Note a rule's outcome, and say which promise an unexpected error belongs to."""
    report: pytest.TestReport = yield
    tally = item.config.stash.get(_TALLY, None)
    rule = _rules(item).get(getattr(item, "originalname", None) or item.name) if tally is not None else None
    if tally is None or rule is None:
        return report
    outcomes = tally[_suite(item)]
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        outcomes[rule.id] = "not supported" if "not supported:" in reason else "not checked"
    elif report.failed:
        thin = report.when == "call" and call.excinfo is not None and call.excinfo.type.__name__ == "RuleVacuous"
        outcomes[rule.id] = "invalid" if thin and outcomes[rule.id] == "not run" else "fail"
        if call.excinfo is not None and _says_it_all(call.excinfo.value, item.config):
            report.longrepr = str(call.excinfo.value)
        else:
            report.sections.append((f"rule {rule.id}", rule.promise))
    elif report.when == "call":
        outcomes[rule.id] = "pass"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per store: the conclusion, how many rules have each verdict, and which were not executed."""
    for suite, outcomes in terminalreporter.config.stash.get(_TALLY, {}).items():
        counts = Counter(outcomes.values())
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind])
        terminalreporter.write_line(f"conformance of {suite}: {_conclusion(outcomes)}; {len(outcomes)} rules: {parts}")
        for kind in ("not supported", "not checked"):
            names = sorted(rule for rule, outcome in outcomes.items() if outcome == kind)
            # Where none of a store's rules ran, the count says it all.
            if names and len(names) < len(outcomes):
                terminalreporter.write_line(f"  {kind}: {', '.join(names)}")


_KINDS = ("pass", "fail", "invalid", "not supported", "not checked", "not run")
"""The words of the verdicts; *not checked* is not supported by the driver, *not run* was left out of this run."""


def _conclusion(outcomes: dict[str, str]) -> str:
    """As the command would conclude from the same verdicts."""
    from leasehold.conformance.verdicts import RuleVerdict, Verdict, conclude  # noqa: PLC0415 - only where rules ran

    words = {"not supported": Verdict.NOT_SUPPORTED, "not checked": Verdict.NOT_SUPPORTED}
    ran = {rule: outcome for rule, outcome in outcomes.items() if outcome != "not run"}
    verdicts = [RuleVerdict(rule, words.get(outcome) or Verdict(outcome)) for rule, outcome in ran.items()]
    return conclude(verdicts, outcomes, selected=ran).value.replace("_", " ")


def _says_it_all(error: BaseException, config: pytest.Config) -> bool:
    """Whether the error is one of a rule, in its own words: the suite's code would only bury them. What another error
    led to keeps its traceback, which is the plugin's; ``--tb=long`` (or whatever else is asked for) shows all."""
    own = type(error).__name__ in ("RuleBroken", "RuleVacuous") and error.__cause__ is None
    return own and config.getoption("tbstyle", "auto") == "auto"


def _rules(item: pytest.Item) -> dict[str, Any]:
    """The catalogue of the suite that a test belongs to; empty for everybody else's tests."""
    cls = getattr(item, "cls", None)
    known: dict[str, Any] = getattr(cls, "_leasehold_catalogue", None) or {}
    return known


def _suite(item: pytest.Item) -> str:
    return item.nodeid.rpartition("::")[0]
