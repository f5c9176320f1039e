"""Three ZooKeeper servers keep the rules whose outcome depends on their number."""

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble


@pytest.mark.slow
class TestZooKeeperEnsemble(StoreConformance):
    """Two connections may speak to two servers, and a leader may be lost: rules about what one client sees of another.

    What one client does alone (``transactions``, ``namespaces``, ``lists``, ``closing``, ``spi``, ``model``) is the
    same code on the same messages, and the registry stands on leases and watches.
    """

    areas = ("kv", "leases", "recipes", "watches", "restarts", "faults")

    @pytest.fixture
    def store_url(self, zookeeper_ensemble: ZooKeeperEnsemble) -> str:
        return zookeeper_ensemble.url

    @pytest.fixture
    def store_controls(self, zookeeper_ensemble: ZooKeeperEnsemble) -> ServerControls:
        def kill() -> None:
            for node in zookeeper_ensemble.nodes:
                node.kill()

        return ServerControls(
            kill=kill, start=zookeeper_ensemble.recover, kill_leader=lambda: zookeeper_ensemble.leader().kill()
        )
