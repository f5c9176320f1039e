"""Through etcd's own grpc-proxy, which chooses the ids of watches and drops what a closing stream has not been told."""

from collections.abc import Iterator

import pytest

from tenure.spi import WatchRequest
from tenure_testkit.servers import EtcdServer
from tenure_testkit.servers.etcd_proxy import EtcdGrpcProxy
from tenure_testkit.servers.plugin import need_container

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[EtcdServer, EtcdGrpcProxy]]:
    need_container("etcd")
    with EtcdServer() as server, EtcdGrpcProxy(server) as proxy:
        yield server, proxy


def test_each_feed_is_told_its_own_changes(behind, open_etcd, put, recorder) -> None:
    server, proxy = behind
    direct, backend = open_etcd(server.url), open_etcd(proxy.url)
    seen = {name: recorder() for name in "abcdefgh"}
    feeds = [backend.watch(WatchRequest(prefix=f"{name}/"), sink=sink, timeout=10) for name, sink in seen.items()]
    feeds[0].close()
    for name in seen:
        put(direct, f"{name}/1")
    for name, sink in list(seen.items())[1:]:
        told = sink.wait(lambda seen: seen.entries)
        assert [entry.key for entry in told] == [f"{name}/1"]


def test_leases_are_refreshed(behind, open_etcd) -> None:
    _, proxy = behind
    backend = open_etcd(proxy.url)
    held = [backend.grant(60, timeout=10).lease_id for _ in range(20)]
    ended = backend.grant(60, timeout=10).lease_id
    backend.revoke([ended], timeout=10)
    assert set(backend.refresh([*held, ended], timeout=30)) == set(held)


def test_the_server_info_names_the_proxy(behind, open_etcd) -> None:
    server, proxy = behind
    said = open_etcd(proxy.url).server_info(timeout=10).warnings
    assert any("grpc-proxy" in warning for warning in said)
    assert not any("grpc-proxy" in warning for warning in open_etcd(server.url).server_info(timeout=10).warnings)
