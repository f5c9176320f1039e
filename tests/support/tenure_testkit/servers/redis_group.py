"""Several Redis processes that share one network: a primary with replica and Sentinel, or a Redis Cluster.

Sentinels and cluster nodes tell clients the addresses of the others; see `group`.
"""

from collections.abc import Sequence
from typing import Self

from tenure_testkit.servers.group import LoopbackGroup, LoopbackNode
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import PATIENCE, until


class GroupNode(LoopbackNode, RedisServer):
    """A process of a group."""

    def __init__(
        self, group: "RedisGroup", *, password: str | None = None, args: Sequence[str] = (), persistent: bool = True
    ) -> None:
        super().__init__(persistent=persistent, password=password, args=args)
        self.inner_port = self.port
        self._group: RedisGroup = group

    @property
    def role(self) -> str:
        """`master` or `slave`, by what it says itself; empty while it doesn't answer, as in the middle of a change."""
        from redis.exceptions import RedisError

        try:
            return str(self.info("replication").get("role", ""))
        except (RedisError, OSError):
            return ""


class SentinelNode(GroupNode):
    """A Sentinel of a group that knows its primary as `mymaster`."""

    primary_port = 0

    def command(self) -> Sequence[str]:
        lines = [f"sentinel auth-pass mymaster {self._group.password}"] if self._group.password else []
        return ["tenure-sentinel", str(self.port), "127.0.0.1", str(self.primary_port), *lines]

    def first_ready(self) -> None:
        until(self._knows_the_replica, 60.0, "the Sentinel knows the replica")

    def _knows_the_replica(self) -> bool:
        client = self.client()
        try:
            return bool(client.sentinel_slaves("mymaster"))
        finally:
            client.close()


class RedisGroup(LoopbackGroup[GroupNode]):
    """The network and its nodes."""

    image_folder = RedisServer.image_folder

    def __init__(self, *, password: str | None = None) -> None:
        self.password = password

    def start(self) -> Self:
        """Start everything and wait until it works."""
        self.make_network()
        for node in self.nodes:
            node.start()
        return self


class RedisSentinelGroup(RedisGroup):
    """A primary, a replica and a Sentinel that swaps them a second or two after the primary is gone."""

    def __init__(self, *, password: str | None = None) -> None:
        super().__init__(password=password)
        first = GroupNode(self, password=password)
        second = GroupNode(self, password=password, args=["--replicaof", f"127.0.0.1 {first.port}"])
        self.sentinel = SentinelNode(self)
        self.sentinel.primary_port = first.port
        self.servers = (first, second)
        self.nodes = [first, second, self.sentinel]

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis+sentinel://{login}127.0.0.1:{self.sentinel.port}?master=mymaster"

    def start(self) -> Self:
        super().start()
        until(self._in_step, 60.0, "the replica follows the primary")
        return self

    def primary(self, *, other_than: RedisServer | None = None, timeout: float = PATIENCE) -> GroupNode:
        """The server that the Sentinel calls the primary and that agrees, once that is not `other_than`."""
        return until(lambda: self._primary(other_than), timeout, "there is a primary", interval=0.05)

    def replica(self) -> GroupNode:
        """The other server."""
        primary = self.primary()
        return next(node for node in self.servers if node is not primary)

    def _primary(self, other_than: RedisServer | None) -> GroupNode | None:
        client = self.sentinel.client()
        try:
            _, port = client.sentinel_get_master_addr_by_name("mymaster")
        finally:
            client.close()
        for node in self.servers:
            if node.port == port and node is not other_than and node.status == "running" and node.role == "master":
                return node
        return None

    def _in_step(self) -> bool:
        return self.servers[1].info("replication").get("master_link_status") == "up"


class RedisCluster(RedisGroup):
    """Three primaries with a third of the slots each."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = [
            GroupNode(self, args=["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]) for _ in range(3)
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        super().start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.nodes[0].exec("redis-cli", "--cluster", "create", *addresses, "--cluster-yes")
        until(self._is_whole, 60.0, "the cluster serves all slots")
        return self

    def _is_whole(self) -> bool:
        return all(
            "cluster_state:ok" in node.exec("redis-cli", "-p", str(node.port), "cluster", "info") for node in self.nodes
        )
