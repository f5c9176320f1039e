"""The fixtures: a pytest plugin that every test run loads. It imports the rest of the package only when used.

Override ``tenure_sandbox_url`` to run the same tests on another store, in a conftest::

    @pytest.fixture(params=[None, "jsonfile:///tmp/tests.json"])
    def tenure_sandbox_url(request):
        return request.param
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenure._client.store import Store
    from tenure.testing.clock import VirtualClock
    from tenure.testing.faults import Faults
    from tenure.testing.sandbox import Sandbox


@pytest.fixture
def tenure_sandbox_url() -> str | None:
    """Return the URL of the store for tests; ``None`` (the default): one inside the process, new for each test."""
    return None


@pytest.fixture
def tenure_sandbox(request: pytest.FixtureRequest, tenure_sandbox_url: str | None) -> Iterator[Sandbox]:
    """Give a store for this test alone, with its faults and its clock.

    Args:
        request: pytest's own fixture.
        tenure_sandbox_url: the fixture of this module.

    Raises:
        UnusedFault: at the end of a test that passed, if a scripted fault never happened.
    """
    from tenure.testing.sandbox import Sandbox  # noqa: PLC0415 - only tests that use the fixture import it

    failed = request.session.testsfailed
    box = Sandbox(tenure_sandbox_url)
    try:
        yield box
        if request.session.testsfailed == failed:  # a failed test needs no second message
            box.check_faults()
    finally:
        box.close()


@pytest.fixture
def tenure_store(tenure_sandbox: Sandbox) -> Store:
    """Return an open store on the sandbox.

    Args:
        tenure_sandbox: the fixture of this module.
    """
    return tenure_sandbox.connect()


@pytest.fixture
def tenure_connect(tenure_sandbox: Sandbox) -> Callable[..., Store]:
    """Return a function that opens more connections to the same store, like other processes of the application.

    Args:
        tenure_sandbox: the fixture of this module.
    """
    return tenure_sandbox.connect


@pytest.fixture
def tenure_url(tenure_sandbox: Sandbox) -> str:
    """Return the URL of the same store, for code that opens it with ``tenure.connect`` or ``registry.init``.

    Args:
        tenure_sandbox: the fixture of this module.
    """
    return tenure_sandbox.url


@pytest.fixture
def tenure_faults(tenure_sandbox: Sandbox) -> Faults:
    """Return the faults of the sandbox: see ``tenure.testing.Faults``.

    Args:
        tenure_sandbox: the fixture of this module.
    """
    return tenure_sandbox.faults


@pytest.fixture
def tenure_clock(tenure_sandbox: Sandbox) -> VirtualClock:
    """Return the clock of the store: ``advance(seconds)`` as for a running process, ``jump(seconds)`` at once.

    Args:
        tenure_sandbox: the fixture of this module.
    """
    return tenure_sandbox.clock
