"""Servers before 3.6: the same contract, by polling and by reading one node after the other."""

from collections.abc import Iterator

import pytest

from tenure import connect
from tenure.conformance import StoreConformance
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.zookeeper import OldZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper


@pytest.fixture(scope="module")
def old_server() -> Iterator[OldZooKeeperServer]:
    need_zookeeper()
    need_container("zookeeper-old")
    with OldZooKeeperServer() as server:
        yield server


@pytest.mark.variant
class TestOldZooKeeper(StoreConformance):
    """Rules about what is done in another way there: reading many nodes, and watching.

    Writes, sessions and single reads are the same messages as on later servers, and the registry stands on watches.
    """

    areas = ("lists", "watches", "spi", "faults")

    @pytest.fixture
    def store_url(self, old_server: OldZooKeeperServer) -> str:
        return old_server.url


def test_it_says_what_it_lacks(old_server: OldZooKeeperServer) -> None:
    with connect(old_server.url) as store:
        info = store.server_info()
        assert info.version.startswith("3.4.")
        assert any("before 3.6" in risk for risk in info.warnings)
        assert store.capabilities.max_watch_latency >= 1.0
