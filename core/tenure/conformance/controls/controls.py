"""Controls over the server: the interface by which the suite kills, pauses or partitions it.

The author of a store gives these, so that the rules about outages run too. They are optional: the suite reports the
rules that lack a control as not checked. Give the controls that you have, as plain functions::

    @pytest.fixture
    def store_controls(self, server):
        return ServerControls(kill=server.kill, start=server.start)
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
class ServerControls:
    """Controls over the server behind the URL. Each is a function without arguments, or ``None`` if it is missing.

    A control returns once its effect is there. If it raises, the rule is inconclusive: a control that fails shows
    nothing about the store.

    Args:
        kill: the server stops answering without warning, as by ``kill -9``. A durable store keeps what it
            acknowledged.
        start: after ``kill``: the server runs at the same address and answers.
        wipe: after ``kill``: the server's data are removed. ``start`` then brings up an empty server at the same
            address.
        cut: every connection to the server breaks; clients can make new ones at once.
        compact: the server drops its history up to the present, so no watch can resume from before.
        pause: the server's process is frozen, as by ``kill -STOP``: connections stay, and no call is answered.
        resume: after ``pause``: the process continues.
        partition: clients can't reach the server, and no connection is closed.
        heal: after ``partition``: clients can reach the server again.
        kill_leader: on a store of several servers: the leader is killed and the others run on. ``start`` brings it
            back.
        fill_disk: the server's disk has no space left.
        free_disk: after ``fill_disk``: the disk has space again, and the server takes writes. It is restarted if it
            needs that.
        backup: the present data are kept aside, for ``restore``. The server may be restarted for that.
        restore: the data are those of the last ``backup`` again, and what was written since is gone. It is called
            between ``kill`` and ``start`` if these are given, and else on the running store.
        restrict: the user that the URL names may no longer read or write any key; connections stay.
        permit: after ``restrict``: the user may again.
        advance_clock: the wall clock of the server jumps two minutes ahead, in no other way than by an operator or a
            time server. A clock that counts the time since the start isn't concerned.
        reset_clock: after ``advance_clock``: the wall clock is right again.
    """

    kill: Control | None = None
    start: Control | None = None
    wipe: Control | None = None
    cut: Control | None = None
    compact: Control | None = None
    pause: Control | None = None
    resume: Control | None = None
    partition: Control | None = None
    heal: Control | None = None
    kill_leader: Control | None = None
    fill_disk: Control | None = None
    free_disk: Control | None = None
    backup: Control | None = None
    restore: Control | None = None
    restrict: Control | None = None
    permit: Control | None = None
    advance_clock: Control | None = None
    reset_clock: Control | None = None

    def offers(self, control: str) -> bool:
        """Return whether the control was given.

        Args:
            control: name of a control, such as ``"kill"``.

        Returns:
            Whether it is there. :meth:`do` raises if it isn't.

        Raises:
            AttributeError: there is no control of that name.
        """
        return getattr(self, control) is not None

    def do(self, control: str) -> None:
        """Use a control; its effect is there when this returns.

        Args:
            control: name of a control, such as ``"kill"``.

        Raises:
            LookupError: the control was not given.
        """
        function: Control | None = getattr(self, control)
        if function is None:
            raise LookupError(f"there is no control {control!r}: the rule lacks @requires_control({control!r})")
        function()


CONTROLS = tuple(field.name for field in dataclasses.fields(ServerControls))


def with_network(controls: ServerControls, network: Network | None) -> ServerControls:
    """Return ``controls``, with ``network`` in place of the missing ones that act on connections."""
    if network is None:
        return controls
    extended = controls
    if controls.cut is None:
        extended = dataclasses.replace(extended, cut=network.cut)
    if controls.partition is None and controls.heal is None:
        extended = dataclasses.replace(extended, partition=network.partition, heal=network.heal)
    return extended


def offered(controls: ServerControls) -> tuple[str, ...]:
    """Return the names of the controls that were given."""
    return tuple(name for name in CONTROLS if controls.offers(name))


NETWORK = "network"
"""Required by a rule that acts on the connection itself; there for every store whose URL names host and port."""
