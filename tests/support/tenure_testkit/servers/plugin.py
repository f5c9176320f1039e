"""The pytest plugin with the fixtures for real servers; `tests/conftest.py` loads it.

etcd_url        URL of an etcd that all tests of the run share: a container, or TENURE_ETCD_URL
etcd_own_url    the same etcd with a namespace that no other test uses
etcd_server     the shared etcd as an `EtcdServer`; don't stop it, freeze it or compact it
etcd_node       an `EtcdServer` for one test alone, to do anything to
etcd_cluster    three nodes to do anything to but wiping; shared, and brought back after each test
certificates    PEM files for servers and clients with TLS
"""

import importlib.util
from collections.abc import Generator, Iterator

import pytest

from tenure_testkit.servers import engine, require
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.etcd_cluster import EtcdCluster
from tenure_testkit.servers.group import Shared
from tenure_testkit.servers.namespace import own_namespace
from tenure_testkit.servers.tls import Certificates

_shared_cluster = Shared(EtcdCluster)


def need_container(database: str) -> None:
    """Go on only where this database can be had as a container of our own."""
    if require.given_url(database) is not None:
        require.not_tested(database, f"TENURE_{database.upper()}_URL is set, and only a container can be killed")
    reason = engine.skip_reason()
    if reason is not None:
        require.not_tested(database, reason)
    try:
        engine.image(database)
    except engine.EngineError as exc:
        require.not_tested(database, str(exc))


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[EtcdServer]:
    """The etcd that the whole run shares. Use keys or a namespace of your own, and leave it running."""
    need_container("etcd")
    with EtcdServer() as server:
        yield server


@pytest.fixture(scope="session")
def etcd_url(request: pytest.FixtureRequest) -> str:
    """The URL of the shared etcd."""
    given = require.given_url("etcd")
    if given is not None:
        return given
    server: EtcdServer = request.getfixturevalue("etcd_server")
    return server.url


@pytest.fixture
def etcd_own_url(etcd_url: str) -> str:
    """The shared etcd with a namespace of the test's own."""
    return own_namespace(etcd_url)


@pytest.fixture
def etcd_node() -> Iterator[EtcdServer]:
    """An etcd of the test's own, empty at the start."""
    need_container("etcd")
    with EtcdServer() as server:
        yield server


@pytest.fixture
def etcd_cluster() -> Iterator[EtcdCluster]:
    """Three nodes, all well at the start of each test; what earlier tests wrote is still there."""
    need_container("etcd")
    with _shared_cluster.lend() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server's certificate and a client's, as PEM files."""
    need_container("etcd")
    if importlib.util.find_spec("trustme") is None:
        require.not_tested("etcd", "the package trustme is not installed, which makes certificates")
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


def pytest_sessionfinish() -> None:
    """Remove what is left, also after an interrupt."""
    _shared_cluster.drop()
    engine.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say in one line, after everything else but the counts, what was not tested."""
    yield
    line = require.summary()
    if line is not None:
        terminalreporter.write_line(line, yellow=True, bold=True)
