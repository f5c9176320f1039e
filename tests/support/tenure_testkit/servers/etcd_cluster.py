"""Three etcd nodes. Clients reach each on a port of its own on 127.0.0.1; the nodes talk over a network of their own.

Every node hangs on two networks: the engine's default one, which publishes its port, and the cluster's. Taking a node
off the second cuts it from its peers while clients still reach it: the partition that matters for stale reads.
"""

from collections.abc import Mapping, Sequence
from typing import Self

from tenure_testkit.servers.etcd import EtcdServer, url_of
from tenure_testkit.servers.etcd_gateway import Gateway, GatewayError
from tenure_testkit.servers.group import BridgedGroup
from tenure_testkit.servers.tls import Certificates
from tenure_testkit.waiting import PATIENCE, until


class ClusterNode(EtcdServer):
    """A node that joins the cluster's network before it starts."""

    def __init__(self, cluster: "EtcdCluster", name: str, env: Mapping[str, str], args: Sequence[str]) -> None:
        # The password is the cluster's: it is set once for all nodes.
        super().__init__(tls=cluster.tls, client_certs=cluster.client_certs, env=env, args=args)
        self.name = name
        self._cluster = cluster
        self.isolated = False

    def created(self) -> None:
        self._cluster.network.connect(self._get(), aliases=[self.name])
        self.isolated = False

    def first_ready(self) -> None:
        """Nothing: the cluster turns authentication on when all nodes are ready."""

    def isolate(self) -> None:
        """Cut it from its peers; clients still reach it."""
        self._cluster.network.disconnect(self._get())
        self.isolated = True

    def heal(self) -> None:
        """End the isolation."""
        self._cluster.network.connect(self._get(), aliases=[self.name])
        self.isolated = False

    def revive(self) -> None:
        if self.status == "paused":
            self.resume()
        if self.isolated:
            self.heal()
        super().revive()


class EtcdCluster(BridgedGroup[ClusterNode]):
    """Three nodes (or as many as `size` says), started together and removed together."""

    def __init__(
        self,
        *,
        size: int = 3,
        password: str | None = None,
        tls: Certificates | None = None,
        client_certs: bool = False,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
    ) -> None:
        self.tls = tls
        self.client_certs = client_certs
        self.password = password
        names = [f"n{number}" for number in range(1, size + 1)]
        members = ",".join(f"{name}=http://{name}:2380" for name in names)
        self.nodes = [
            ClusterNode(
                self,
                name,
                {
                    "ETCD_NAME": name,
                    "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://{name}:2380",
                    "ETCD_INITIAL_CLUSTER": members,
                    **(env or {}),
                },
                args,
            )
            for name in names
        ]

    @property
    def url(self) -> str:
        """The URL for Tenure, naming all nodes."""
        ports = [node.port for node in self.nodes]
        return url_of(ports, self.password, self.tls, client_certs=self.client_certs)

    @property
    def gateway(self) -> Gateway:
        """A look into the store through a node that answers."""
        return self._any_healthy().gateway

    def start(self, *, timeout: float = PATIENCE) -> Self:
        """Start all nodes and wait until each answers."""
        self.make_network()
        fresh = all(node.status == "absent" for node in self.nodes)
        for node in self.nodes:
            if node.status != "running":
                node.start(wait=False)
        self.wait_ready(timeout)
        if fresh and self.password is not None:
            self.nodes[0].gateway.enable_auth(self.password)
        # From here on the nodes' own gateways must log in.
        for node in self.nodes:
            node.password = self.password
        return self

    def restart_all(self, *, timeout: float = PATIENCE) -> None:
        """Kill all nodes, so that there is a moment when none runs, and start them again."""
        for node in self.nodes:
            if node.status == "running":
                node.kill()
        self.recover(timeout=timeout)

    def wipe_all(self) -> None:
        """Kill all nodes and throw their data away; `start` begins an empty cluster on the same ports."""
        for node in self.nodes:
            if node.status in ("running", "paused"):
                node.kill()
            node.wipe()
            node.password = None

    def leader(self, *, timeout: float = PATIENCE, other_than: EtcdServer | None = None) -> ClusterNode:
        """The node that leads, once there is one that answers, is not `other_than`, and knows itself the leader."""
        return until(lambda: self._leader(other_than), timeout, "the cluster has a leader", interval=0.05)

    def kill_leader(self) -> ClusterNode:
        """Kill the leader, and return it as soon as it is down: a new one may not have been elected yet."""
        leader = self.leader()
        leader.kill()
        return leader

    def followers(self) -> list[ClusterNode]:
        """The other nodes."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def compact(self, revision: int | None = None) -> int:
        """Forget everything before `revision` (the present one by default); returns it."""
        return self.gateway.compact(revision)

    def _leader(self, other_than: EtcdServer | None) -> ClusterNode | None:
        for node in self.nodes:
            if node is other_than or node.status != "running":
                continue
            try:
                status = node.gateway.status()
            except GatewayError:
                continue
            if status.get("leader") == status["header"]["member_id"] and node.gateway.healthy():
                return node
        return None

    def _any_healthy(self) -> ClusterNode:
        def find() -> ClusterNode | None:
            running = (node for node in self.nodes if node.status == "running")
            return next((node for node in running if node.gateway.healthy()), None)

        return until(find, 60.0, "a node answers")
