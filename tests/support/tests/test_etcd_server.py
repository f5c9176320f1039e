"""The test servers themselves: a fault that does nothing would make every test that uses it worthless."""

from collections.abc import Iterator

import pytest

from tenure_testkit.servers import Certificates, EtcdCluster, EtcdServer, Gateway, GatewayError, NotInTime, until
from tenure_testkit.servers.plugin import need_container


def test_a_kill_and_a_start_keep_data_revision_and_port(etcd_node: EtcdServer) -> None:
    url, written = etcd_node.url, etcd_node.gateway.put("kept", b"yes")
    etcd_node.kill()
    assert etcd_node.status == "exited"
    with pytest.raises(GatewayError):
        etcd_node.gateway.get("kept")
    etcd_node.start()
    assert (etcd_node.url, etcd_node.gateway.get("kept")) == (url, b"yes")
    assert etcd_node.gateway.revision() == written


def test_a_paused_server_is_silent_and_goes_on_afterwards(etcd_node: EtcdServer) -> None:
    etcd_node.gateway.put("kept", b"yes")
    etcd_node.pause()
    assert not etcd_node.gateway.healthy(timeout=0.5)
    with pytest.raises(GatewayError) as caught:
        Gateway(etcd_node.endpoint, timeout=0.5).get("kept")
    assert caught.value.status is None
    assert isinstance(caught.value.__cause__, TimeoutError)
    etcd_node.resume()
    etcd_node.wait_ready()
    assert etcd_node.gateway.get("kept") == b"yes"


def test_a_wipe_leaves_an_empty_server_on_the_same_port(etcd_node: EtcdServer) -> None:
    url = etcd_node.url
    etcd_node.gateway.put("gone", b"soon")
    etcd_node.stop()
    etcd_node.wipe()
    etcd_node.start()
    assert etcd_node.url == url
    assert etcd_node.gateway.items() == {}


def test_compaction_refuses_the_past(etcd_node: EtcdServer) -> None:
    first = etcd_node.gateway.put("key", b"1")
    etcd_node.gateway.put("key", b"2")
    etcd_node.gateway.compact()
    with pytest.raises(GatewayError, match="compacted"):
        etcd_node.gateway.call("/v3/kv/range", {"key": "a2V5", "revision": str(first)})


def test_a_password_is_demanded_also_after_a_restart() -> None:
    need_container("etcd")
    with EtcdServer(password="p@ss/w:rd") as server:
        assert server.url == f"etcd://root:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}"
        server.gateway.put("key", b"value")
        for _ in range(2):
            assert server.gateway.get("key") == b"value"
            with pytest.raises(GatewayError, match="user name is empty"):
                Gateway(server.endpoint).get("key")
            server.restart()
        assert "key" in server.etcdctl("get", "key")


@pytest.mark.parametrize("client_certs", [False, True])
def test_tls_refuses_plain_connections(certificates: Certificates, client_certs: bool) -> None:
    need_container("etcd")
    with EtcdServer(tls=certificates, client_certs=client_certs, password="secret") as server:
        assert server.url.startswith(f"etcd+tls://root:secret@127.0.0.1:{server.port}?ca=/")
        assert ("&cert=/" in server.url) is client_certs
        server.gateway.put("key", b"value")
        assert server.gateway.get("key") == b"value"
        with pytest.raises(GatewayError):
            Gateway(server.endpoint.replace("https", "http")).get("key")
        assert "value" in server.etcdctl("get", "key")


def test_a_cluster_outlives_its_leader(etcd_cluster: EtcdCluster) -> None:
    etcd_cluster.gateway.put("kept", b"yes")
    dead = etcd_cluster.kill_leader()
    leader = etcd_cluster.leader(other_than=dead)
    assert leader.gateway.get("kept") == b"yes"
    leader.gateway.put("later", b"too")
    dead.start()
    assert dead.gateway.get("later") == b"too"


def test_a_cluster_is_whole_again_after_the_test_before(etcd_cluster: EtcdCluster) -> None:
    assert [node.gateway.healthy() for node in etcd_cluster.nodes] == [True, True, True]
    assert etcd_cluster.url == "etcd://" + ",".join(f"127.0.0.1:{node.port}" for node in etcd_cluster.nodes)


def test_an_isolated_leader_answers_no_linearizable_read(etcd_cluster: EtcdCluster) -> None:
    old = etcd_cluster.leader()
    old.isolate()
    new = etcd_cluster.leader(other_than=old)
    new.gateway.put("written", b"elsewhere")
    with pytest.raises(GatewayError):
        old.gateway.get("written")
    # Its port still answers: only its peers are gone.
    assert old.gateway.version()
    old.heal()
    etcd_cluster.wait_ready()
    assert old.gateway.get("written") == b"elsewhere"


def test_a_cluster_restarts_and_starts_afresh() -> None:
    need_container("etcd")
    with EtcdCluster(password="secret") as cluster:
        url = cluster.url
        cluster.gateway.put("kept", b"yes")
        cluster.restart_all()
        assert cluster.gateway.get("kept") == b"yes"
        with pytest.raises(GatewayError, match="user name is empty"):
            Gateway(cluster.nodes[1].endpoint).get("kept")
        cluster.wipe_all()
        cluster.start()
        assert (cluster.url, cluster.gateway.items()) == (url, {})


def test_waiting_has_a_deadline() -> None:
    answers: Iterator[int] = iter([0, 0, 7])
    assert until(lambda: next(answers), 60.0, "a number") == 7
    with pytest.raises(NotInTime, match=r"not within 0\.05 s: never"):
        until(lambda: False, 0.05, "never")
