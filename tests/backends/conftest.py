"""Fixtures for the tests of all plugins: sinks, a clock that the test sets, and a way to write.

A subclass of the conformance suite may say ``areas``: of its rules only those of these areas are run. So a store runs
the whole suite once, and on other servers what differs there.
"""

from collections.abc import Callable

import pytest

from tenure._runtime.clock import ManualClock
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
    chosen = [item for item in items if getattr(getattr(item, "cls", None), "areas", None) is not None]
    if not chosen:
        return
    # Imported by then, and costly: a run of anything else is to begin at once.
    from tenure.conformance.catalogue import AllRules
    from tenure.conformance.harness.rule import catalogue

    rules = catalogue(AllRules)
    known = {rule.area for rule in rules.values()}
    left_out = set()
    for item in chosen:
        areas = item.cls.areas  # type: ignore[attr-defined]  # it is a method's
        assert known.issuperset(areas), f"{item.nodeid}: there is no area {set(areas) - known}"
        if item.name in rules and rules[item.name].area not in areas:
            left_out.add(item)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
