"""The fixtures. A pytest plugin that is loaded wherever Leasehold is installed: it imports nothing before it is used.

Override ``leasehold_sandbox_url`` to run the same tests on another store, in a conftest::

    @pytest.fixture(params=[None, "jsonfile:///tmp/tests.json"])
    def leasehold_sandbox_url(request):
        return request.param
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leasehold.store import Store
    from leasehold.testing.clock import VirtualClock
    from leasehold.testing.faults import Faults
    from leasehold.testing.sandbox import Sandbox


@pytest.fixture
def leasehold_sandbox_url() -> str | None:
    """The store that tests run on; by default (``None``) one inside the process, new for each test."""
    return None


@pytest.fixture
def leasehold_sandbox(request: pytest.FixtureRequest, leasehold_sandbox_url: str | None) -> Iterator[Sandbox]:
    """A store for this test alone, with its faults and its clock. A scripted fault that never happened is an error."""
    from leasehold.testing.sandbox import Sandbox  # noqa: PLC0415 - only who uses a fixture pays for it

    failed = request.session.testsfailed
    box = Sandbox(leasehold_sandbox_url)
    try:
        yield box
        if request.session.testsfailed == failed:  # what a failed test didn't come to isn't worth a second message
            box.check_faults()
    finally:
        box.close()


@pytest.fixture
def leasehold_store(leasehold_sandbox: Sandbox) -> Store:
    """An open store on the sandbox."""
    return leasehold_sandbox.connect()


@pytest.fixture
def leasehold_connect(leasehold_sandbox: Sandbox) -> Callable[..., Store]:
    """Opens more connections to the same store: other processes of the application, as it were."""
    return leasehold_sandbox.connect


@pytest.fixture
def leasehold_url(leasehold_sandbox: Sandbox) -> str:
    """The URL of the same store, for code that opens it by itself, with ``leasehold.connect`` or ``registry.init``."""
    return leasehold_sandbox.url


@pytest.fixture
def leasehold_faults(leasehold_sandbox: Sandbox) -> Faults:
    """What can go wrong: see ``leasehold.testing.Faults``."""
    return leasehold_sandbox.faults


@pytest.fixture
def leasehold_clock(leasehold_sandbox: Sandbox) -> VirtualClock:
    """The time of the store and everything on it: ``elapse(seconds)``, or ``advance(seconds)`` at one blow."""
    return leasehold_sandbox.clock
