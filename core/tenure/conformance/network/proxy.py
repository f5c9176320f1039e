"""A proxy in front of one host: a port on loopback that passes connections on, through the present toxics.

Any thread may call the methods, which have taken effect when they return; the work is done on the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial

from tenure.conformance.network.applied import Applied
from tenure.conformance.network.connection import Connection, Traffic
from tenure.conformance.network.loop import LoopThread
from tenure.conformance.network.toxics import Direction, Down, Toxic
from tenure.spi import Host

_LOOPBACK = "127.0.0.1"
_BACKLOG = 256


class Proxy:
    """A proxy in front of ``target``. If it isn't ``enabled``, it passes everything on without faults."""

    def __init__(self, target: Host, loop: LoopThread, *, enabled: bool = True) -> None:
        self.target = target
        self.traffic = Traffic()
        self._loop = loop
        self._enabled = enabled
        self._toxics: list[Applied] = []
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        # Bound and never listening: it keeps the port while connections are to be refused.
        self._holder = _bind(0)
        self.port: int = self._holder.getsockname()[1]
        """The port on 127.0.0.1 that clients connect to."""
        try:
            loop.call(self._start())
        except BaseException:
            self._holder.close()
            raise

    async def _start(self) -> None:
        self._changed = asyncio.Condition()
        self._listen()

    # Not by asyncio's server: that one loses a connection which it accepts while it is closed.
    def _listen(self) -> None:
        self._listener = _bind(self.port)
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    # -- toxics --

    def add(self, toxic: Toxic, direction: Direction = Direction.DOWN) -> Applied:
        """From now on ``toxic`` acts on this direction of every connection."""
        applied = Applied(toxic, direction, self)
        if self._enabled:
            self._loop.call(self._add(applied))
        return applied

    async def _add(self, applied: Applied) -> None:
        self._toxics.append(applied)
        if isinstance(applied.toxic, Down):
            self._shut()
            applied.effects += 1 + await self._cut()

    def take_away(self, toxics: Sequence[Applied]) -> None:
        """Remove these toxics, all at once. Idempotent."""
        if any(applied in self._toxics for applied in toxics):
            self._loop.call(self._take_away(toxics))

    async def _take_away(self, toxics: Sequence[Applied]) -> None:
        self._toxics = [applied for applied in self._toxics if applied not in toxics]
        if self._listener is None and not any(isinstance(other.toxic, Down) for other in self._toxics):
            self._listen()
        async with self._changed:
            self._changed.notify_all()

    def reset(self) -> None:
        """Take every toxic away."""
        self.take_away(self._toxics)

    def _acting(self, direction: Direction) -> Sequence[Applied]:
        return [applied for applied in self._toxics if applied.direction is direction]

    # -- connections --

    @property
    def open_connections(self) -> int:
        """Connections there are right now."""
        return len(self._connections)

    def cut(self) -> int:
        """Break every connection (RST), and return the number. Clients can make new ones at once."""
        return self._loop.call(self._cut()) if self._enabled else 0

    async def _cut(self) -> int:
        broken = [(connection, task) for connection, task in self._connections.items() if connection.abort()]
        for _, task in broken:
            task.cancel()
        await asyncio.gather(*(task for _, task in broken), return_exceptions=True)
        async with self._changed:
            self._changed.notify_all()
        return len(broken)

    def _accept(self, listener: socket.socket) -> None:
        """Take all connections that clients have made."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # there is none, or it is broken already
                return
            client.setblocking(False)
            self.traffic.connections += 1
            connection = Connection(client, self.traffic, self._acting, self._changed)
            task = asyncio.ensure_future(connection.run(self.target.name, self.target.port))
            self._connections[connection] = task
            task.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: Connection, _task: asyncio.Task[None]) -> None:
        connection.discard()
        self._connections.pop(connection, None)

    # -- the end --

    def close(self) -> None:
        """Stop listening, and break the remaining connections."""
        try:
            self._loop.call(self._close())
        finally:
            self._holder.close()

    async def _close(self) -> None:
        self._shut()
        await self._cut()

    def _shut(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((_LOOPBACK, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
