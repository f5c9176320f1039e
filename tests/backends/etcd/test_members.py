"""Members that differ: each with a certificate of its own name, and a learner among them."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.errors import OutcomeUnknown, Unavailable
from tenure.plugin_kit import Address
from tenure.spi import KeyAbsent, ListRequest, Put, Transaction, Verdict, WatchRequest
from tenure_testkit.servers import Certificates, EtcdCluster, EtcdServer, engine, until
from tenure_testkit.servers.etcd_cluster import ClusterNode
from tenure_testkit.servers.etcd_gateway import GatewayError
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.waiting import PATIENCE

pytestmark = pytest.mark.faults


def _own_certificates(folder: Path, names: list[str]) -> list[Certificates]:
    """One for each name, all of one authority."""
    import trustme

    authority, made = trustme.CA(), []
    ca = folder / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    for name in names:
        issued = authority.issue_cert(name)
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        made.append(
            Certificates(ca=ca, server_cert=cert, server_key=key, client_cert=cert, client_key=key, other_ca=ca)
        )
    return made


@pytest.fixture
def named_cluster(tmp_path: Path, monkeypatch) -> Iterator[tuple[EtcdCluster, str]]:
    """Three members, each with a certificate for its own name alone, and the URL that names them."""
    need_container("etcd")

    def any_name(server: EtcdServer) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        context.check_hostname = False
        return context

    monkeypatch.setattr(EtcdServer, "_tls_context", any_name)
    monkeypatch.setattr(
        "tenure.plugin_kit.resolver._ask_system", lambda host: (Address(socket.AF_INET, ("127.0.0.1", host.port)),)
    )
    names = [f"m{number}.example" for number in (1, 2, 3)]
    certificates = _own_certificates(tmp_path, names)
    cluster = EtcdCluster(tls=certificates[0])
    for node, own in zip(cluster.nodes, certificates, strict=True):
        node.tls = own
    with cluster:
        hosts = ",".join(f"{name}:{node.port}" for name, node in zip(names, cluster.nodes, strict=True))
        yield cluster, f"etcd+tls://{hosts}?ca={tmp_path / 'ca.pem'}"


def test_each_member_is_verified_by_its_own_name(open_etcd, named_cluster, put, recorder) -> None:
    cluster, url = named_cluster
    backend, seen = open_etcd(url), recorder()
    first = put(backend, "named/key")
    backend.watch(WatchRequest(prefix="named/"), sink=seen, timeout=5)
    for node in cluster.nodes:
        node.kill()

        def again():
            try:
                return put(backend, "named/key", b"after")
            except (Unavailable, OutcomeUnknown):  # the second while there is no leader
                return None

        revision = until(again, 60.0, f"a put without {node.name}")
        assert revision > first
        open_etcd(url).get("named/key", timeout=5)
        node.start()
    assert isinstance(seen.error(), Unavailable)


def test_a_certificate_of_another_member_is_refused(open_etcd, named_cluster) -> None:
    cluster, url = named_cluster
    options = url.partition("?")[2]
    with pytest.raises(Unavailable, match="certificate"):
        open_etcd(f"etcd+tls://m1.example:{cluster.nodes[1].port}?{options}")
    hosts = ",".join(f"m1.example:{node.port}" for node in cluster.nodes[:2])
    [found] = examine(prepare(f"etcd+tls://{hosts}?{options}", timeout=PATIENCE), samples=1).of(Verdict.FAILED)
    assert f"m1.example:{cluster.nodes[1].port}" in found.text
    assert "it names m2.example" in found.text


class Learner(ClusterNode):
    """A member that has no vote, and answers to little more than the question for its status."""

    def is_ready(self) -> bool:
        try:
            self.gateway.status()
        except GatewayError:
            return False
        return True


@pytest.fixture
def cluster_with_a_learner() -> Iterator[list[ClusterNode]]:
    """A learner, which serves hardly any call, and two voting members."""
    need_container("etcd")
    with EtcdCluster(size=2) as cluster:
        peer = "http://n3:2380"
        until(lambda: _add_learner(cluster.nodes[0], peer), 60.0, "the cluster takes a learner")
        members = ",".join([*(f"{node.name}=http://{node.name}:2380" for node in cluster.nodes), f"n3={peer}"])
        learner = Learner(
            cluster,
            "n3",
            {
                "ETCD_NAME": "n3",
                "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
                "ETCD_INITIAL_CLUSTER": members,
                "ETCD_INITIAL_CLUSTER_STATE": "existing",
            },
            (),
        )
        with learner:
            yield [learner, *cluster.nodes]


def _add_learner(node: ClusterNode, peer: str) -> bool:
    try:
        node.etcdctl("member", "add", "n3", "--learner", f"--peer-urls={peer}")
    except engine.EngineError:  # it isn't connected to all members yet
        return False
    return True


def test_a_learner_among_the_hosts_costs_no_call(open_etcd, cluster_with_a_learner, put, recorder) -> None:
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster_with_a_learner)
    for attempt in range(10):
        backend = open_etcd(f"etcd://{hosts}")
        key = f"learner/{attempt}"
        backend.commit(Transaction((KeyAbsent(key),), (Put(key, b""),)), timeout=5)
        assert backend.get(key, timeout=5).item
        assert len(backend.list(ListRequest(prefix="learner/"), timeout=5).items) == attempt + 1
        lease = backend.grant(10, timeout=5).lease_id
        assert backend.refresh([lease], timeout=5)
        assert backend.revoke([lease], timeout=5) == {lease}
        seen = recorder()
        backend.watch(WatchRequest(prefix="learner/"), sink=seen, timeout=5)
        put(backend, key)
        seen.wait(lambda r: r.entries)
        backend.close()
