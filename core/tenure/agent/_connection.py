"""One program's connection, as the agent's thread sees it: nothing here waits, and what is held for it has a bound.

Changes that a program doesn't read wait here, up to ``most_waiting`` bytes. More are dropped, and its watches end by
``Compacted``: they begin again with the state, once the program reads. While an answer waits that the program asked
for itself, its next requests stay unread. A program that takes nothing for a while, or doesn't introduce itself, is cut
off.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tenure.agent import _wire
from tenure.agent._prefix import Encoded, Prefix
from tenure.errors import Compacted, TenureError

_READ = 64 * 1024
_ENOUGH = 256 * 1024
"""Bytes that wait to be sent, beyond which no further request is read."""
_MOST_BUFFERS = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has connected, as the system says: 0 for a process of which it tells nothing."""

    pid: int
    uid: int

    @classmethod
    def of(cls, sock: socket.socket) -> Peer:
        """Return the process at the other end."""
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return cls(pid, uid)


@dataclass(slots=True)
class _Frame:
    buffers: Sequence[bytes]
    size: int
    of_watches: bool
    keeps: Encoded | None = None
    """The snapshot whose bytes these are: it counts as held until they are sent."""


class Connection:
    """One program's connection."""

    def __init__(self, sock: socket.socket, peer: Peer, *, now: float, most_waiting: int) -> None:
        self.sock = sock
        self.peer = peer
        self.since = now
        self.introduced = False
        self.watches: dict[int, Delivery] = {}
        self.waiting_since: float | None = None
        """Since when something waits to be sent; ``None`` while nothing does."""
        self.progressed_at = now
        self.closed = False
        self.overflows = 0
        self._most_waiting = most_waiting
        self._splitter = _wire.Splitter(_wire.MAX_REQUEST)
        self._out: deque[_Frame] = deque()
        self._sent = 0
        self._bytes = 0
        self._changes = 0

    # -- requests --

    def receive(self) -> None:
        """Take what has arrived. Raises ``OSError`` and :class:`_wire.Broken`, also at the end."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        if not data:
            raise _wire.Broken("")
        self._splitter.add(data)

    def request(self) -> list[object] | None:
        """Return the next request, if there is one and the answers before it are on their way."""
        return None if self.full else self._splitter.next()

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that no request is read."""
        return self._bytes > _ENOUGH

    # -- sending --

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        return self._bytes

    def answer(self, *elements: object) -> None:
        """Send a message that isn't dropped."""
        self.put(_wire.message(*elements))

    def put(self, buffers: Sequence[bytes], *, of_watches: bool = False, keeps: Encoded | None = None) -> None:
        """Send a message. ``of_watches``: it is a change, which may be dropped if the program is too slow."""
        if self.closed:
            return
        size = sum(map(len, buffers))
        if of_watches and keeps is None:
            if self._changes + size > self._most_waiting and self._changes:
                self._overflow()
                return
            self._changes += size
        self._out.append(_Frame(buffers, size, of_watches, keeps))
        self._bytes += size

    def _overflow(self) -> None:
        """Drop what waits for the watches, and end them: each program begins again with the state."""
        self.overflows += 1
        kept: deque[_Frame] = deque()
        for number, frame in enumerate(self._out):
            if frame.of_watches and not (number == 0 and self._sent):
                self._bytes -= frame.size
            else:
                kept.append(frame)
        self._out = kept
        self._changes = 0
        for frame in kept:  # the one that is on its way
            if frame.of_watches and frame.keeps is None:
                self._changes += frame.size
        reason = f"the program read too slowly: more than {self._most_waiting} bytes of changes waited for it"
        for delivery in tuple(self.watches.values()):
            delivery.prefix.remove(delivery)
            delivery.fail(Compacted(reason))

    def flush(self, now: float) -> None:
        """Send what the socket takes. Raises ``OSError``."""
        while self._out:
            pieces = self._pieces()
            try:
                sent = self.sock.sendmsg(pieces, [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            self.progressed_at = now
            self._took(sent)
        if not self._out:
            self.waiting_since = None
            self.progressed_at = now
        elif self.waiting_since is None:
            self.waiting_since = self.progressed_at = now

    def _pieces(self) -> list[memoryview]:
        pieces: list[memoryview] = []
        skip = self._sent
        for frame in self._out:
            for buffer in frame.buffers:
                if skip >= len(buffer):
                    skip -= len(buffer)
                    continue
                pieces.append(memoryview(buffer)[skip:])
                skip = 0
                if len(pieces) >= _MOST_BUFFERS:
                    return pieces
        return pieces

    def _took(self, sent: int) -> None:
        self._sent += sent
        while self._out and self._sent >= self._out[0].size:
            frame = self._out.popleft()
            self._sent -= frame.size
            self._bytes -= frame.size
            if frame.of_watches and frame.keeps is None:
                self._changes -= frame.size

    def close(self) -> None:
        """Cut it off, and forget its watches."""
        self.closed = True
        for delivery in tuple(self.watches.values()):
            delivery.prefix.remove(delivery)
        self.watches.clear()
        self._out.clear()
        self._bytes = self._changes = 0
        with contextlib.suppress(OSError):
            self.sock.close()


class Delivery:
    """A program's watch: a listener of a prefix, and the number under which the program knows it."""

    def __init__(self, connection: Connection, number: int, prefix: Prefix, watched: tuple[str, bool], after: int):
        self.connection = connection
        self.number = number
        self.prefix = prefix
        self.watched = watched
        self.after = after
        self._start = b"[%d," % number

    def send(self, shared: Sequence[bytes]) -> None:
        """Send messages whose JSON follows the number of the watch."""
        for each in shared:
            self.connection.put(_wire.frame(self._start, each), of_watches=True)

    def send_part(self, part: bytes, encoded: Encoded) -> None:
        """Send a part of a snapshot, without copying it."""
        self.connection.put(_wire.frame(self._start, b'"part",', part, b"]"), of_watches=True, keeps=encoded)

    def fail(self, error: TenureError) -> None:
        """End the watch."""
        self.connection.watches.pop(self.number, None)
        self.connection.answer(self.number, "failed", *_wire.error_words(error))
