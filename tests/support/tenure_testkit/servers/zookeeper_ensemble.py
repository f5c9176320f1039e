"""Three ZooKeeper servers. Clients reach each on a port of its own on 127.0.0.1; the servers have a network."""

from typing import Self

from tenure_testkit.servers.group import BridgedGroup
from tenure_testkit.servers.zookeeper import ZooKeeperServer, url_of
from tenure_testkit.waiting import PATIENCE, until


class EnsembleNode(ZooKeeperServer):
    """A server that joins the ensemble's network before it starts."""

    def __init__(self, ensemble: "ZooKeeperEnsemble", number: int, size: int) -> None:
        self.name = f"zk{number}"
        members = " ".join(
            f"server.{each}={'0.0.0.0' if each == number else f'zk{each}'}:2888:3888" for each in range(1, size + 1)
        )
        super().__init__(quick=ensemble.quick, env={"ZOO_MY_ID": str(number), "ZOO_SERVERS": members})
        self._ensemble = ensemble

    def created(self) -> None:
        self._ensemble.network.connect(self._get(), aliases=[self.name])


class ZooKeeperEnsemble(BridgedGroup[EnsembleNode]):
    """Three servers, started together and removed together."""

    def __init__(self, *, size: int = 3, quick: bool = True) -> None:
        self.quick = quick
        self.nodes = [EnsembleNode(self, number, size) for number in range(1, size + 1)]

    @property
    def url(self) -> str:
        """The URL for Tenure, naming all servers."""
        return url_of([node.port for node in self.nodes])

    def start(self, *, timeout: float = 90.0) -> Self:
        """Start all servers and wait until each serves."""
        self.make_network()
        self.recover(timeout=timeout)
        return self

    def recover(self, *, timeout: float = 90.0) -> None:
        """As for every group, with the time that an election takes."""
        super().recover(timeout=timeout)

    def leader(self, *, timeout: float = PATIENCE) -> EnsembleNode:
        """The server that leads, once there is one."""
        return until(self._leader, timeout, "the ensemble has a leader", interval=0.1)

    def _leader(self) -> EnsembleNode | None:
        running = (node for node in self.nodes if node.status == "running")
        return next((node for node in running if node.mode == "leader"), None)
