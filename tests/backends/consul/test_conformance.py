"""Consul keeps every rule on a server with quick limits that is killed and restarted.

With its default limits the rules are tried whose outcome depends on them.
"""

from collections.abc import Iterator

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers import require
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.consul_plugin import need_consul
from tenure_testkit.servers.controls import controls


@pytest.fixture(scope="module")
def own_server() -> Iterator[ConsulServer | None]:
    if require.given_url("consul"):
        yield None
        return
    need_consul()
    with ConsulServer() as server:
        yield server


class TestConsul(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: ConsulServer | None) -> str:
        return own_server.url if own_server else str(require.given_url("consul"))

    @pytest.fixture
    def store_controls(self, own_server: ConsulServer | None) -> ServerControls:
        return controls(own_server)


@pytest.mark.variant
class TestConsulDefaults(StoreConformance):
    """Sessions of ten seconds and more: rules that wait for a lease to end. Nothing else depends on these limits.

    Locks and the registry wait for nothing but ends of leases.
    """

    areas = ("leases", "faults")

    @pytest.fixture
    def store_url(self, consul_default: str) -> str:
        return consul_default
