"""Real servers for the tests, and the rule for where there is none.

TENURE_POSTGRESQL_URL   tests that only need a server use this one; those that must kill, freeze or configure it
                           have no way to, and count as not tested
TENURE_REQUIRE          ``all``, or names with commas between (``postgresql``): a missing engine is a failure
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from postgresql_server import PostgresqlServer, engine
from tenure_postgresql.plugin import tenure_backend

import tenure
from tenure._plugins.url import parse
from tenure.errors import TenureError
from tenure.spi import Backend, FeedItem, SystemClock

GIVEN = os.environ.get("TENURE_POSTGRESQL_URL")
_missing: dict[str, None] = {}


def not_tested(why: str) -> NoReturn:
    """End the calling fixture: a skip that the run's last line tells of, or a failure if a test was demanded."""
    if {name.strip() for name in os.environ.get("TENURE_REQUIRE", "").split(",")} & {"all", "postgresql"}:
        pytest.fail(f"postgresql must be tested (TENURE_REQUIRE), but {why}", pytrace=False)
    _missing[why] = None
    pytest.skip(f"postgresql is not tested: {why}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _missing:
        terminalreporter.write_line(
            f"NOT FULLY TESTED: postgresql ({'; '.join(_missing)}). To test it: install Docker, or set "
            "TENURE_POSTGRESQL_URL; TENURE_REQUIRE=all makes this a failure.",
            red=True,
        )


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.errors: list[TenureError] = []

    def deliver(self, item: FeedItem, /) -> None:
        self.items.append(item)

    def fail(self, error: TenureError, /) -> None:
        self.errors.append(error)


@pytest.fixture
def recorder() -> type[Recorder]:
    """Makes sinks that keep what they are given."""
    return Recorder


@pytest.fixture(scope="session")
def need_engine() -> None:
    """Ends the test where there is no Docker engine."""
    found = engine()
    if isinstance(found, str):
        not_tested(found)
    if GIVEN:
        not_tested("a running server was given, and this test needs one of its own")


@pytest.fixture(scope="session")
def shared_server(need_engine: None) -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture
def server(shared_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server that the test may kill and freeze: it is brought back afterwards."""
    yield shared_server
    shared_server.recover()


@pytest.fixture
def schema() -> str:
    """The name of a store that no other test uses."""
    return f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def url(server: PostgresqlServer, schema: str) -> str:
    """A store of the test's own."""
    return server.url(schema=schema)


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[..., tenure.Store]]:
    """Opens stores on :func:`url`, and sees that closing them leaves no thread."""
    before = set(threading.enumerate())
    stores: list[tenure.Store] = []

    def open_one(extra: str = "", **arguments: Any) -> tenure.Store:
        stores.append(tenure.connect(url + extra, **arguments))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60.0)
        assert not thread.is_alive(), f"closing left a thread: {thread.name}"


@pytest.fixture
def store(open_store: Callable[..., tenure.Store]) -> tenure.Store:
    return open_store(timeout=10.0)  # as the shared suite has it


@pytest.fixture
def open_backend(url: str) -> Iterator[Callable[..., Backend]]:
    """Opens backends on :func:`url`, without the store above them."""
    backends: list[Backend] = []

    def open_one(extra: str = "", *, timeout: float = 10.0) -> Backend:
        plugin = tenure_backend()
        backends.append(plugin.open(parse(url + extra, plugin, timeout=timeout, clock=SystemClock())))
        return backends[-1]

    yield open_one
    for backend in backends:
        backend.close()


@pytest.fixture
def backend(open_backend: Callable[..., Backend]) -> Backend:
    return open_backend()
