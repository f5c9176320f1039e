"""The agent's thread for all programs: one loop over their connections, which no program can hold up.

What a connection may cost has bounds: the number of connections of all, of one user and of one process; the bytes that
wait for it (:mod:`tenure.agent._connection`); the snapshots that are held for all together; and the time in which it
has to introduce itself and to take what it is sent.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenure._runtime.deadline import monotonic
from tenure._runtime.worker import Worker
from tenure.agent import _wire
from tenure.agent._connection import Connection, Peer
from tenure.agent._prefix import Held

_log = logging.getLogger("tenure.agent")
_TICK = 0.5
_AT_ONCE = 16
"""Requests of one program before the next one has its turn."""
_ACCEPTED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What programs may cost.

    Attributes:
        connections: most connections at once. One user has three quarters of them at most.
        per_process: most connections of one process.
        watches: most watches of one connection.
        waiting: bytes of changes that may wait for one program.
        snapshots: bytes of snapshots that may wait for all programs together.
        introduction: seconds in which a program has to introduce itself.
        stuck: seconds in which a program has to take at least something of what waits for it.
        ping: seconds between two signs of life.
    """

    connections: int = 4096
    per_process: int = 64
    watches: int = 4096
    waiting: int = 8 * 1024 * 1024
    snapshots: int = 512 * 1024 * 1024
    introduction: float = 5.0
    stuck: float = 30.0
    ping: float = 3.0


class Desk(Protocol):
    """Answers requests, on the loop's thread."""

    def introduced(self, connection: Connection, hello: list[object]) -> None:
        """Answer the first message of a program. Raises :class:`_wire.Broken` for one that isn't a program."""

    def asked(self, connection: Connection, request: list[object]) -> None:
        """Answer a request. Raises :class:`_wire.Broken` for one that can't be one."""

    def ticked(self) -> None:
        """Half a second has passed."""


class Server:
    """The loop.

    Args:
        listen: makes a socket that listens.
        in_place: returns whether programs still find that socket.
        desk: answers.
        limits: what programs may cost.
        held: the snapshots that wait.
    """

    def __init__(
        self,
        listen: Callable[[], socket.socket],
        in_place: Callable[[], bool],
        desk: Desk,
        limits: Limits,
        held: Held,
    ) -> None:
        self._listen = listen
        self._in_place = in_place
        self._desk = desk
        self._limits = limits
        self._held = held
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], object]] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._woken)
        self._listener = listen()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._accepting = True
        self._deferred: dict[Connection, None] = {}
        self._of_user: Counter[int] = Counter()
        self._of_process: Counter[int] = Counter()
        self._next_tick = self._next_ping = 0.0
        self._stopping = False
        self.connections: dict[Connection, None] = {}
        self.refused = 0
        self.cut_off = 0
        self.overflows = 0
        self._worker = Worker(self._run, name="tenure-agent", lasting=True)

    def start(self) -> None:
        """Begin to serve. Raises ``Unavailable`` if no thread can be started."""
        self._worker.start("serving the host's programs")

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called on the loop's thread, soon and in order. Any thread may call this."""
        self._calls.append(function)
        with contextlib.suppress(OSError):  # full: it is about to wake
            self._wake_in.send(b"\0")

    def stop(self, seconds: float) -> None:
        """End the loop, and cut all programs off."""
        self._stopping = True
        self.call(lambda: None)
        self._worker.stop()
        self._worker.join(seconds)
        for connection in tuple(self.connections):
            self._drop(connection)
        for sock in (self._listener, self._wake_in, self._wake_out):
            sock.close()
        self._selector.close()

    # -- the loop --

    def _run(self) -> None:
        while not self._stopping:
            for key, mask in self._selector.select(0.0 if self._deferred else _TICK):
                key.data(mask)
            for connection in tuple(self._deferred):
                self._serve(connection)
            while self._calls:
                self._calls.popleft()()
            for connection in tuple(self.connections):
                if connection.waiting and connection.waiting_since is None:
                    self._flush(connection)
            if monotonic() >= self._next_tick:
                self._tick()

    def _woken(self, _mask: int) -> None:
        with contextlib.suppress(OSError):
            while self._wake_out.recv(4096):
                pass

    def _tick(self) -> None:
        now = monotonic()
        self._next_tick = now + _TICK
        self._desk.ticked()
        if now >= self._next_ping:
            self._next_ping = now + self._limits.ping
            ping = _wire.message(0, "ping")
            for connection in tuple(self.connections):
                if connection.introduced and not connection.waiting:
                    connection.put(ping)
                    self._flush(connection)
        for connection in tuple(self.connections):
            if not connection.introduced and now - connection.since > self._limits.introduction:
                self._cut(connection, "it didn't introduce itself")
            elif connection.waiting_since is not None and now - connection.progressed_at > self._limits.stuck:
                self._cut(connection, f"it took nothing for {self._limits.stuck:g} s")
        self._make_room()
        if not self._accepting:
            self._accepting = True
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if not self._in_place():
            self._listen_again()

    def _make_room(self) -> None:
        """Cut off who has kept others from their snapshots for longest, until what is held is within the bound."""
        while self._held.bytes > self._held.most:
            slow = [each for each in self.connections if each.waiting_since is not None]
            if not slow:
                return
            self._cut(min(slow, key=lambda each: each.waiting_since or 0.0), "too many snapshots wait to be read")

    def _listen_again(self) -> None:
        _log.warning("the socket was removed or replaced: making it again")
        try:
            listener = self._listen()
        except Exception as exc:  # noqa: BLE001 - the programs that are connected are served meanwhile
            _log.warning("the socket can't be made again: %s", exc)
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    # -- connections --

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                _log.warning("no connection can be taken now: %s", exc)
                self._selector.unregister(self._listener)  # until the next tick: otherwise this loop would spin
                self._accepting = False
                return
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        limits = self._limits
        try:
            peer = Peer.of(sock)
        except OSError:
            sock.close()
            return
        if len(self.connections) >= limits.connections or self._of_user[peer.uid] >= limits.connections * 3 // 4:
            why = "the agent has as many connections as it takes; close some, or raise --max-connections"
        elif peer.pid and self._of_process[peer.pid] >= limits.per_process:
            why = f"this process has {limits.per_process} connections already; share a store in it"
        else:
            connection = Connection(sock, peer, now=monotonic(), most_waiting=limits.waiting)
            self.connections[connection] = None
            self._of_user[peer.uid] += 1
            self._of_process[peer.pid] += 1
            self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._ready(connection, mask))
            return
        self.refused += 1
        with contextlib.suppress(OSError):
            sock.sendmsg(_wire.message(0, "refused", "Unavailable", why), [], socket.MSG_NOSIGNAL)
        sock.close()

    def _ready(self, connection: Connection, mask: int) -> None:
        if connection.closed:
            return
        if mask & selectors.EVENT_WRITE:
            self._flush(connection)
        if mask & selectors.EVENT_READ and not connection.closed:
            try:
                connection.receive()
            except OSError:
                self._drop(connection)
            except _wire.Broken:
                self._drop(connection)
            else:
                self._serve(connection)

    def _serve(self, connection: Connection) -> None:
        """Answer some requests of a program; the others after those of the next ones."""
        self._deferred.pop(connection, None)
        try:
            for _ in range(_AT_ONCE):
                request = None if connection.closed else connection.request()
                if request is None:
                    break
                if connection.introduced:
                    self._desk.asked(connection, request)
                else:
                    self._desk.introduced(connection, request)
            else:
                self._deferred[connection] = None
        except _wire.Broken as exc:
            _log.info("process %d sent no request: %s", connection.peer.pid, exc)
            connection.answer(0, "refused", "InvalidArgument", f"the agent can't read what it was sent: {exc}")
            self._flush(connection)
            self._drop(connection)
        except Exception:  # noqa: BLE001
            # Whatever one program brings about, the others are served.
            _log.exception("answering process %d failed", connection.peer.pid)
            self._drop(connection)
        else:
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        if connection.closed:
            return
        before = connection.full
        try:
            connection.flush(monotonic())
        except OSError:
            self._drop(connection)
            return
        wanted = 0 if connection.full else selectors.EVENT_READ
        wanted |= selectors.EVENT_WRITE if connection.waiting else 0
        key = self._selector.get_key(connection.sock)
        if key.events != wanted:
            self._selector.modify(connection.sock, wanted, key.data)
        if before and not connection.full:
            self._deferred[connection] = None  # requests that have arrived and weren't read

    def _cut(self, connection: Connection, why: str) -> None:
        _log.warning("process %d is cut off: %s", connection.peer.pid, why)
        self.cut_off += 1
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if self.connections.pop(connection, connection) is connection:
            return
        self._deferred.pop(connection, None)
        self.overflows += connection.overflows
        for counter, name in ((self._of_user, connection.peer.uid), (self._of_process, connection.peer.pid)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(connection.sock)
        connection.close()

    def broadcast(self, buffers: tuple[bytes, ...]) -> None:
        """Send a message to all programs that have introduced themselves."""
        for connection in tuple(self.connections):
            if connection.introduced:
                connection.put(buffers)
                self._flush(connection)
