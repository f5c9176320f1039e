"""Servers that belong together, and the network that they share.

There are two kinds, by what the servers tell clients of each other. Where that doesn't matter, each hangs on a network
between them beside the engine's default one, which publishes its port (`BridgedGroup`). Where clients are told the
others' addresses, all live in one network in which each is 127.0.0.1 with a port of its own, and the same ports are
published on the 127.0.0.1 outside, so what they tell is good for both (`LoopbackGroup`).
"""

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tenure_testkit.servers import engine
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.lifetime import Lifetime
from tenure_testkit.waiting import PATIENCE

if TYPE_CHECKING:
    from docker.models.networks import Network

S = TypeVar("S", bound=ServerContainer)


class ServerGroup(Lifetime, Generic[S]):
    """Several servers, started together and removed together."""

    nodes: Sequence[S]

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for Tenure."""

    @abstractmethod
    def remove_network(self) -> None:
        """Remove what the servers shared, if there is any; they are gone already."""

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        """Return when every server answers."""
        for node in self.nodes:
            node.wait_ready(timeout)

    def recover(self, *, timeout: float = PATIENCE) -> None:
        """Bring the group back from whatever a test did to it: every server running and ready."""
        for node in self.nodes:
            node.revive()
        self.wait_ready(timeout)

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()
        self.remove_network()


class BridgedGroup(ServerGroup[S]):
    """Servers with a network between them, on which they have names."""

    _network: "Network | None" = None

    @property
    def network(self) -> "Network":
        """The network between the servers."""
        if self._network is None:
            raise engine.EngineError(f"{type(self).__name__} was not started")
        return self._network

    def make_network(self) -> None:
        """Make the network, if there is none yet."""
        if self._network is None:
            # Internal: no way out, so that the engine never moves the published ports to it.
            self._network = engine.client().networks.create(
                f"tenure-{uuid.uuid4().hex[:12]}", driver="bridge", internal=True, labels=engine.labels()
            )

    def remove_network(self) -> None:
        network, self._network = self._network, None
        if network is not None:
            network.remove()


class LoopbackGroup(ServerGroup[S]):
    """Servers in one network, which belongs to a container that does nothing else: they come and go without it."""

    image_folder: str
    _network: str | None = None

    @property
    def network_id(self) -> str:
        """The container whose network it is."""
        if self._network is None:
            raise engine.EngineError(f"{type(self).__name__} was not started")
        return self._network

    def make_network(self) -> None:
        """Make the network, if there is none yet, and publish the servers' ports."""
        if self._network is None:
            container = engine.client().containers.create(
                engine.image(self.image_folder),
                command=["sleep", "infinity"],
                ports={f"{node.port}/tcp": ("127.0.0.1", node.port) for node in self.nodes},
                labels=engine.labels(),
            )
            self._network = str(container.id)
            container.start()

    def remove_network(self) -> None:
        network, self._network = self._network, None
        if network is not None:
            engine.client().containers.get(network).remove(force=True, v=True)


class LoopbackNode(ServerContainer):
    """A server of a `LoopbackGroup`, in a container of its own that uses the group's network."""

    _group: LoopbackGroup[Any]

    def _create_and_start(self) -> None:
        container = engine.client().containers.create(
            engine.image(self.image_folder),
            command=list(self.command() or ()) or None,
            network_mode=f"container:{self._group.network_id}",
            labels=engine.labels(),
        )
        self._container = container
        container.start()


G = TypeVar("G", bound=ServerGroup[Any])


class Shared(Generic[G]):
    """One group for all tests of a run, brought back after each; started for the first that wants it."""

    def __init__(self, make: Callable[[], G]) -> None:
        self._make = make
        self._group: G | None = None

    @contextmanager
    def lend(self) -> Iterator[G]:
        """The group, well at the start of the block; what earlier tests wrote is still there."""
        if self._group is None:
            self._group = self._make().__enter__()
        yield self._group
        try:
            self._group.recover()
        except BaseException:
            # The next test gets a new one, not a broken one.
            self.drop()
            raise

    def drop(self) -> None:
        """Remove the group, if it was started."""
        group, self._group = self._group, None
        if group is not None:
            group.remove()
