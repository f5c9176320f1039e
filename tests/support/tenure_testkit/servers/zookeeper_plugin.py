"""The pytest plugin with the fixtures for ZooKeeper; `tests/conftest.py` loads it.

zookeeper_url        URL of a ZooKeeper with quick limits that all tests of the run share: a container, or
                     TENURE_ZOOKEEPER_URL
zookeeper_own_url    the same with a namespace that no other test uses
zookeeper_server     the shared `ZooKeeperServer`; don't stop or freeze it
zookeeper_default    URL of a shared ZooKeeper with its default limits
zookeeper_node       a `ZooKeeperServer` for one test alone, to do anything to
zookeeper_ensemble   three servers to do anything to; shared, and brought back after each test
"""

from collections.abc import Iterator

import pytest

from tenure_testkit.servers import require
from tenure_testkit.servers.group import Shared
from tenure_testkit.servers.namespace import own_namespace
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble

_shared_ensemble = Shared(ZooKeeperEnsemble)


def need_zookeeper() -> None:
    """Go on only where a ZooKeeper can be had as a container of our own."""
    require.need_module("zookeeper", "kazoo")
    need_container("zookeeper")


@pytest.fixture(scope="session")
def zookeeper_server() -> Iterator[ZooKeeperServer]:
    """The ZooKeeper that the whole run shares. Use a namespace of your own, and leave it running."""
    need_zookeeper()
    with ZooKeeperServer() as server:
        yield server


@pytest.fixture(scope="session")
def zookeeper_url(request: pytest.FixtureRequest) -> str:
    """The URL of the shared ZooKeeper."""
    given = require.given_url("zookeeper")
    if given is not None:
        require.need_module("zookeeper", "kazoo")
        return given
    server: ZooKeeperServer = request.getfixturevalue("zookeeper_server")
    return server.url


@pytest.fixture
def zookeeper_own_url(zookeeper_url: str) -> str:
    """The shared ZooKeeper with a namespace of the test's own."""
    return own_namespace(zookeeper_url)


@pytest.fixture(scope="session")
def zookeeper_default() -> Iterator[str]:
    """A ZooKeeper with the limits it has by default."""
    need_zookeeper()
    with ZooKeeperServer(quick=False, connections=60) as server:
        yield server.url


@pytest.fixture
def zookeeper_node() -> Iterator[ZooKeeperServer]:
    """A ZooKeeper of the test's own, empty at the start."""
    need_zookeeper()
    with ZooKeeperServer() as server:
        yield server


@pytest.fixture
def zookeeper_ensemble() -> Iterator[ZooKeeperEnsemble]:
    """Three servers, all well at the start of each test; what earlier tests wrote is still there."""
    need_zookeeper()
    with _shared_ensemble.lend() as ensemble:
        yield ensemble


def pytest_sessionfinish() -> None:
    """Remove what is left, also after an interrupt."""
    _shared_ensemble.drop()
