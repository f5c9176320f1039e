"""ZooKeeper keeps every rule on a server with quick limits that is killed and restarted.

With its default limits the rules are tried whose outcome depends on them.
"""

from collections.abc import Iterator

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers import require
from tenure_testkit.servers.controls import controls
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper


@pytest.fixture(scope="module")
def own_server() -> Iterator[ZooKeeperServer | None]:
    if require.given_url("zookeeper"):
        yield None
        return
    need_zookeeper()
    with ZooKeeperServer() as server:
        yield server


class TestZooKeeper(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: ZooKeeperServer | None) -> str:
        return own_server.url if own_server else str(require.given_url("zookeeper"))

    @pytest.fixture
    def store_controls(self, own_server: ZooKeeperServer | None) -> ServerControls:
        return controls(own_server)


@pytest.mark.variant
class TestZooKeeperDefaults(StoreConformance):
    """Sessions of four seconds and more: rules that wait for a lease to end, or for a lost connection to be noticed.

    Nothing else depends on these limits. Recipes and the registry wait for nothing but ends of leases.
    """

    areas = ("leases", "faults")

    @pytest.fixture
    def store_url(self, zookeeper_default: str) -> str:
        return zookeeper_default
