"""etcd keeps every rule, with the limits that it has by default; a server of our own is killed, restarted and
compacted, too."""

from collections.abc import Iterator

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers import EtcdServer, require
from tenure_testkit.servers.controls import controls
from tenure_testkit.servers.plugin import need_container


@pytest.fixture(scope="module")
def own_server() -> Iterator[EtcdServer | None]:
    if require.given_url("etcd"):
        yield None
        return
    need_container("etcd")
    with EtcdServer() as server:
        yield server


class TestEtcd(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: EtcdServer | None) -> str:
        return own_server.url if own_server else str(require.given_url("etcd"))

    @pytest.fixture
    def store_controls(self, own_server: EtcdServer | None) -> ServerControls:
        if own_server is None:
            return ServerControls()
        return controls(own_server, compact=own_server.gateway.compact)
