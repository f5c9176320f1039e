"""One connection through a proxy: two streams, each passed on piece by piece through the toxics of its direction.

A piece goes through three stages. It is inspected (cut points), shaped (latency, bandwidth, slices, limits), and waits
at the gate while nothing may pass (black hole, timeout). Everything here runs on the proxy's loop. It counts an effect
before it takes place, so the count includes every effect that a rule can see.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenure.conformance.network.applied import Applied
from tenure.conformance.network.toxics import (
    Bandwidth,
    BlackHole,
    Cut,
    CutPoint,
    Direction,
    Late,
    Latency,
    LimitData,
    ResetPeer,
    Sight,
    Slicer,
    Timeout,
)

_PIECE = 65_536
_CONNECT = 10.0
_SETTLE = 0.05
"""Seconds of silence after which an answer counts as complete."""
_SERVED = 5.0
"""Seconds for a server to answer a request whose client was cut off; longer, and it is cut off too."""


@dataclass(slots=True)
class Traffic:
    """The traffic of a proxy."""

    connections: int = 0
    broken: int = 0
    """Connections that the proxy broke."""
    up: int = 0
    """Bytes passed on to the server."""
    down: int = 0
    """Bytes passed on to the client."""

    def count(self, direction: Direction, number: int) -> None:
        """Count bytes that were passed on."""
        if direction is Direction.UP:
            self.up += number
        else:
            self.down += number


class Connection:
    """One client's connection. ``toxics`` returns the present toxics; ``changed`` wakes waits for their removal."""

    def __init__(
        self,
        client: socket.socket,
        traffic: Traffic,
        toxics: Callable[[Direction], Sequence[Applied]],
        changed: asyncio.Condition,
    ) -> None:
        self._socket = client
        self._client: asyncio.StreamWriter | None = None
        self._server: asyncio.StreamWriter | None = None
        self._traffic = traffic
        self._toxics = toxics
        self._changed = changed
        self._tail = b""
        self._passed = dict.fromkeys(Direction, 0)
        self._cut: Applied | None = None
        self._late: Applied | None = None
        self._heard = asyncio.Event()
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []
        self._random = random.Random(0)  # noqa: S311 - repeatable, hides nothing

    async def run(self, host: str, port: int) -> None:
        """Connect to the server and pass on all bytes, both ways, until both sides have ended."""
        try:
            client_reader, client = await asyncio.open_connection(sock=self._socket)
            self._client = client
            await self._open_gates(1)
            async with asyncio.timeout(_CONNECT):
                server_reader, server = await asyncio.open_connection(host, port)
            self._server = server
            if self._ended:  # it was cut while it connected
                _reset(server)
                return
            self._tasks = [
                asyncio.ensure_future(self._pump(Direction.UP, client_reader, server)),
                asyncio.ensure_future(self._pump(Direction.DOWN, server_reader, client)),
            ]
            await asyncio.gather(*self._tasks)
        except (OSError, TimeoutError):
            await self._open_gates(0)  # the end of one side is held back like any other piece
        finally:
            self.abort(count=False)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open_gates(self, size: int) -> None:
        for direction in Direction:
            await self._gate(direction, size)

    def discard(self) -> None:
        """Close a connection whose :meth:`run` was cancelled before it began. Else does nothing."""
        if self._client is None:
            self._socket.close()

    def abort(self, *, count: bool = True) -> bool:
        """Break both sides now, without an orderly end; whether they weren't yet."""
        if self._ended:
            return False
        self._ended = True
        if count:
            self._traffic.broken += 1
        _reset(self._client)
        _reset(self._server)
        return True

    def _break(self, by: Applied) -> None:
        """Break both sides, unless they are broken, as an effect of this fault."""
        by.effects += not self._ended
        self.abort()

    # -- one direction --

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE):
            if direction is Direction.UP and not self._look(data):
                return
            if direction is Direction.DOWN and self._cut is not None:
                self._heard.set()  # the answer that gets lost
                continue
            if direction is Direction.DOWN and self._late is not None:
                self._late.effects += 1
                continue
            await self._shape(direction, data, writer)
        self._heard.set()
        await self._gate(direction, 0)
        if self._cut is None:
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def _write(self, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._gate(direction, len(data))
        if self._ended:
            return
        self._traffic.count(direction, len(data))
        writer.write(data)
        await writer.drain()

    async def _gate(self, direction: Direction, size: int) -> None:
        """Wait while nothing may pass."""
        open_to_it = [a for a in self._toxics(direction) if size and _lets_through(a)]
        while not self._ended:
            closed = [
                a for a in self._toxics(direction) if isinstance(a.toxic, BlackHole | Timeout) and a not in open_to_it
            ]
            if not closed:
                return
            held = closed[0]
            held.effects += size
            size = 0
            limit = held.toxic.timeout if isinstance(held.toxic, Timeout) else None
            try:
                await asyncio.wait_for(self._released(held, direction), limit or None)
            except TimeoutError:
                self.abort()

    async def _released(self, held: Applied, direction: Direction) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or held not in self._toxics(direction))

    # -- shaping --

    async def _shape(self, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        size, delay, sliced = len(data), 0.0, None
        for applied in self._toxics(direction):
            toxic = applied.toxic
            if isinstance(toxic, Latency):
                applied.effects += 1
                await asyncio.sleep(max(0.0, toxic.latency + self._random.uniform(-toxic.jitter, toxic.jitter)))
            elif isinstance(toxic, Bandwidth):
                applied.effects += len(data)
                await asyncio.sleep(len(data) / toxic.rate)
            elif isinstance(toxic, Slicer):
                size, delay, sliced = toxic.size, toxic.delay, applied
            elif isinstance(toxic, ResetPeer):
                await asyncio.sleep(toxic.timeout)
                self._break(applied)
                return
            elif isinstance(toxic, LimitData):
                left = max(0, toxic.bytes - self._passed[direction])
                if len(data) >= left:
                    applied.effects += 1
                    await self._write(direction, data[:left], writer)
                    await asyncio.sleep(_SETTLE)  # an abort would overtake the last bytes written
                    self.abort()
                    return
        self._passed[direction] += len(data)
        for start in range(0, len(data), size):
            if sliced is not None:
                sliced.effects += 1
                if start:
                    await asyncio.sleep(delay)
            await self._write(direction, data[start : start + size], writer)

    # -- cut points --

    def _look(self, data: bytes) -> bool:
        """Find the requests that are looked for; whether the piece is still to be passed on."""
        seen = self._tail + data
        longest = 0
        found = False
        for applied in self._toxics(Direction.UP):
            if not isinstance(applied.toxic, Cut | Late | Sight):
                continue
            longest = max(longest, *(len(spelling) for spelling in applied.spellings))
            if not any(spelling in seen for spelling in applied.spellings):
                continue
            found = True
            if isinstance(applied.toxic, Sight):
                applied.effects += 1
            elif isinstance(applied.toxic, Late):
                if applied.left > 0:
                    applied.left -= 1
                    self._keep(applied, data)
                    return False
            elif applied.left > 0 and self._cut is None:
                applied.left -= 1
                if applied.toxic.point is CutPoint.BEFORE_REQUEST:
                    self._break(applied)
                    return False
                self._cut = applied
                self._heard.clear()
                self._tasks.append(asyncio.ensure_future(self._finish(applied, applied.toxic.point)))
        self._tail = b"" if found or longest < 2 else seen[1 - longest :]
        return True

    def _keep(self, by: Applied, request: bytes) -> None:
        """Take the client away, and let the server have the request once the fault is removed."""
        self._late = by
        by.effects += 1
        self._traffic.broken += 1
        _reset(self._client)
        self._tasks.append(asyncio.ensure_future(self._deliver(by, request)))

    async def _deliver(self, by: Applied, request: bytes) -> None:
        await self._released(by, Direction.UP)
        if self._server is not None and not self._ended:
            self._server.write(request)
            await self._server.drain()
            await asyncio.sleep(_SERVED)
        self.abort(count=False)

    async def _finish(self, cut: Applied, point: CutPoint) -> None:
        """Let the server have the whole request; take the client away now, or when the answer is complete."""
        if point is CutPoint.AFTER_REQUEST:
            await asyncio.sleep(_SETTLE)
            cut.effects += 1
            self._traffic.broken += 1
            _reset(self._client)
        try:
            await asyncio.wait_for(self._heard.wait(), _SERVED)
            while True:
                self._heard.clear()
                await asyncio.wait_for(self._heard.wait(), _SETTLE)
        except TimeoutError:
            if point is CutPoint.AFTER_REPLY:
                self._break(cut)
            self.abort(count=False)


def _lets_through(applied: Applied) -> bool:
    """Whether a black hole still lets pieces through; then there is one fewer."""
    if not isinstance(applied.toxic, BlackHole) or not applied.left:
        return False
    applied.left -= 1
    return True


def _reset(writer: asyncio.StreamWriter | None) -> None:
    if writer is None:
        return
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
