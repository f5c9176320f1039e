"""What the author of a store can let the suite do to the server, so that the rules about outages run too.

Optional: without it those rules are reported as not checked. Give what you have, as plain functions::

    @pytest.fixture
    def driver(self, server):
        return Driver(kill=server.kill, start=server.start)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure.conformance.network import Network

Control = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Controls over the server behind the URL. Each returns when its effect is there."""

    kill: Control | None = None
    """The server stops answering without warning, as by ``kill -9``. What a durable store acknowledged stays."""
    start: Control | None = None
    """After ``kill``: the server runs at the same address and answers."""
    wipe: Control | None = None
    """After ``kill``: what the server kept is thrown away. ``start`` brings up an empty one, same address."""
    cut: Control | None = None
    """Every connection to the server breaks; new ones can be made at once."""
    compact: Control | None = None
    """The server forgets its history up to the present: resuming a watch from before is no longer possible."""
    pause: Control | None = None
    """The server's process is frozen, as by ``kill -STOP``: connections stay, nothing is answered."""
    resume: Control | None = None
    """After ``pause``: it goes on as if nothing had been."""
    partition: Control | None = None
    """Clients can't reach the server any more, without any connection being closed."""
    heal: Control | None = None
    """After ``partition``: they can again."""
    kill_leader: Control | None = None
    """On a store of several servers: the one that leads is killed; the others go on. ``start`` brings it back."""
    fill_disk: Control | None = None
    """The server's disk has no room left."""
    free_disk: Control | None = None
    """After ``fill_disk``: there is room again and the server, restarted where it needs that, takes writes."""

    def offers(self, control: str) -> bool:
        """Whether the control of this name was given."""
        return getattr(self, control) is not None

    def do(self, control: str) -> None:
        """Use the control of this name, which has to be offered."""
        function: Control | None = getattr(self, control)
        if function is None:
            raise LookupError(f"the driver offers no {control!r}: the rule lacks @needs({control!r})")
        function()


CONTROLS = tuple(field.name for field in dataclasses.fields(Driver))


def with_network(driver: Driver, network: Network | None) -> Driver:
    """``driver``, with what it lacks and what can be done to the connections done by ``network``."""
    if network is None:
        return driver
    extended = driver
    if driver.cut is None:
        extended = dataclasses.replace(extended, cut=network.cut)
    if driver.partition is None and driver.heal is None:
        extended = dataclasses.replace(extended, partition=network.partition, heal=network.heal)
    return extended


NETWORK = "network"
"""What a rule needs that acts on the connection itself; given for every store that is reached by host and port."""
