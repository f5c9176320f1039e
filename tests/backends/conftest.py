"""Fixtures for the tests of all plugins: sinks, a clock that the test sets, and a way to write.

A subclass of the conformance suite may say ``areas``: of its rules only those of these areas are run. So a store runs
the whole suite once, and on other servers what differs there.
"""

from collections.abc import Callable

import pytest

from tenure._runtime.clock import ManualClock
from tenure.conformance.catalogue import AllRules
from tenure.conformance.harness.rule import catalogue
from tenure_testkit.probes import Recorder
from tenure_testkit.probes import put as put_one


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def recorder() -> type[Recorder]:
    """Makes sinks."""
    return Recorder


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def put() -> Callable[..., int]:
    """Puts one key and answers the revision."""
    return put_one


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rules of other areas than a suite names."""
    rules = catalogue(AllRules)
    known = {rule.area for rule in rules.values()}
    left_out = []
    for item in items:
        areas = getattr(getattr(item, "cls", None), "areas", None)
        if areas is not None and item.name in rules:
            assert known.issuperset(areas), f"{item.nodeid}: there is no area {set(areas) - known}"
            if rules[item.name].area not in areas:
                left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
