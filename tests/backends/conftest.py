"""Fixtures for the tests of all plugins: sinks, a clock that the test sets, and a way to write."""

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
