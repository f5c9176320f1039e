"""The fixtures. A pytest plugin that is loaded wherever Tenure is installed: it imports nothing before it is used.

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
    """The store that tests run on; by default (``None``) one inside the process, new for each test."""
    return None


@pytest.fixture
def tenure_sandbox(request: pytest.FixtureRequest, tenure_sandbox_url: str | None) -> Iterator[Sandbox]:
    """A store for this test alone, with its faults and its clock. A scripted fault that never happened is an error."""
    from tenure.testing.sandbox import Sandbox  # noqa: PLC0415 - only who uses a fixture pays for it

    failed = request.session.testsfailed
    box = Sandbox(tenure_sandbox_url)
    try:
        yield box
        if request.session.testsfailed == failed:  # what a failed test didn't come to isn't worth a second message
            box.check_faults()
    finally:
        box.close()


@pytest.fixture
def tenure_store(tenure_sandbox: Sandbox) -> Store:
    """An open store on the sandbox."""
    return tenure_sandbox.connect()


@pytest.fixture
def tenure_connect(tenure_sandbox: Sandbox) -> Callable[..., Store]:
    """Opens more connections to the same store: other processes of the application, as it were."""
    return tenure_sandbox.connect


@pytest.fixture
def tenure_url(tenure_sandbox: Sandbox) -> str:
    """The URL of the same store, for code that opens it by itself, with ``tenure.connect`` or ``registry.init``."""
    return tenure_sandbox.url


@pytest.fixture
def tenure_faults(tenure_sandbox: Sandbox) -> Faults:
    """What can go wrong: see ``tenure.testing.Faults``."""
    return tenure_sandbox.faults


@pytest.fixture
def tenure_clock(tenure_sandbox: Sandbox) -> VirtualClock:
    """The time of the store and everything on it: ``advance(seconds)``, or ``advance(seconds)`` at one blow."""
    return tenure_sandbox.clock
