"""Real servers for the tests, and the rule for where there is none.

TENURE_POSTGRESQL_URL   tests that only need a server use this one; those that must kill, freeze or configure it
                           have no way to, and count as not tested
TENURE_REQUIRE          ``all``, or names with commas between (``postgresql``): a missing engine is a failure
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from postgresql_server import PostgresqlServer
from tenure_postgresql.plugin import tenure_backend

import tenure
from tenure._plugins.url import parse
from tenure.spi import Backend, SystemClock
from tenure_testkit.probes import Recorder
from tenure_testkit.servers import engine, require


def not_tested(why: str) -> NoReturn:
    """End the calling fixture: a skip that the run's last line tells of, or a failure if a test was demanded."""
    require.not_tested("postgresql", why)


def pytest_sessionfinish() -> None:
    """Remove what is left, also after an interrupt."""
    engine.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    line = require.summary()
    if line is not None:
        terminalreporter.write_line(line, red=True)


@pytest.fixture
def recorder() -> type[Recorder]:
    """Makes sinks that keep what they are given."""
    return Recorder


@pytest.fixture(scope="session")
def need_engine() -> None:
    """Ends the test where there is no Docker engine."""
    reason = engine.skip_reason()
    if reason is not None:
        not_tested(reason)
    if require.given_url("postgresql"):
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
