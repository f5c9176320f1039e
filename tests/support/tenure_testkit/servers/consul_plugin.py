"""The pytest plugin with the fixtures for Consul; `tests/conftest.py` loads it after `plugin`.

consul_url        URL of a Consul that all tests of the run share: a container, quick limits, or TENURE_CONSUL_URL
consul_own_url    the same Consul with a namespace that no other test uses
consul_server     the shared Consul as a `ConsulServer`; don't stop or freeze it
consul_default    URL of a Consul with the limits that it has by default, shared
consul_node       a `ConsulServer` for one test alone
consul_acl        a `ConsulServer` with ACLs, shared; make tokens, but leave it running
consul_cluster    three servers, for one test alone
"""

import uuid
from collections.abc import Iterator

import pytest

from tenure_testkit.servers import require
from tenure_testkit.servers.consul import ConsulCluster, ConsulServer
from tenure_testkit.servers.namespace import own_namespace
from tenure_testkit.servers.plugin import need_container


def need_consul() -> None:
    """Go on only where a Consul can be had as a container of our own."""
    require.need_module("consul", "consul")
    need_container("consul")


@pytest.fixture(scope="session")
def consul_server() -> Iterator[ConsulServer]:
    """The Consul that the whole run shares. Use a namespace of your own, and leave it running."""
    need_consul()
    with ConsulServer() as server:
        yield server


@pytest.fixture(scope="session")
def consul_url(request: pytest.FixtureRequest) -> str:
    """The URL of the shared Consul."""
    given = require.given_url("consul")
    if given is not None:
        require.need_module("consul", "consul")
        return given
    server: ConsulServer = request.getfixturevalue("consul_server")
    return server.url


@pytest.fixture
def consul_own_url(consul_url: str) -> str:
    """The shared Consul with a namespace of the test's own."""
    return own_namespace(consul_url)


@pytest.fixture(scope="session")
def consul_default() -> Iterator[str]:
    """The URL of a Consul whose leases last ten seconds at least."""
    need_consul()
    with ConsulServer(quick=False) as server:
        yield server.url


@pytest.fixture
def consul_node() -> Iterator[ConsulServer]:
    """A Consul of the test's own, empty at the start."""
    need_consul()
    with ConsulServer() as server:
        yield server


@pytest.fixture(scope="session")
def consul_acl() -> Iterator[ConsulServer]:
    """A Consul that denies what a token doesn't allow."""
    need_consul()
    with ConsulServer(management=str(uuid.uuid4())) as server:
        yield server


@pytest.fixture
def consul_cluster() -> Iterator[ConsulCluster]:
    """Three servers of the test's own."""
    need_consul()
    with ConsulCluster() as cluster:
        yield cluster
