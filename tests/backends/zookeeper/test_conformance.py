"""ZooKeeper keeps every rule: with quick limits on a server that is killed and restarted, with its default ones, and on
three servers."""

from collections.abc import Iterator

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers import require
from tenure_testkit.servers.controls import controls
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble
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


@pytest.mark.slow
class TestZooKeeperDefaults(StoreConformance):
    @pytest.fixture
    def store_url(self, zookeeper_default: str) -> str:
        return zookeeper_default


@pytest.mark.slow
class TestZooKeeperEnsemble(StoreConformance):
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
