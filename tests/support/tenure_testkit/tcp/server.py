"""The server: a memory server's backend, called by one thread for each connection, and what can be done to it.

A server that is killed closes its connections and its port, and keeps its data; a frozen one keeps its connections and
answers nothing; a full one refuses writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import socket
import threading
import time
from typing import Any

import tenure_memory
from tenure.conformance import ServerControls
from tenure.errors import PermissionDenied, StoreFull, TenureError
from tenure.spi import Feed, FeedItem, OpenRequest, Put, SystemClock
from tenure_memory.servers import open_backend
from tenure_testkit.servers.controls import MemoryBackup
from tenure_testkit.tcp import wire

_FOR_EVER = 3600.0
_FAILOVER = 0.3
"""Seconds without a leader."""
_JUMP = 120.0
"""Seconds that the wall clock jumps ahead."""


class TcpServer:
    """Serves ``tenure_memory.server(name)`` on a free port of 127.0.0.1, from the start until :meth:`close`."""

    def __init__(self, name: str) -> None:
        request = OpenRequest(
            url=f"memory://{name}",
            variants=frozenset(),
            path=name,
            options={"history": None},
            timeout=5.0,
            clock=SystemClock(),
        )
        self.backend = open_backend(request)
        self.memory = tenure_memory.server(name)
        self._thawed = threading.Event()
        self._thawed.set()
        self._full = False
        self._ahead = 0.0
        self._backup = MemoryBackup(self.memory)
        self._restricted = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.start()

    # -- controls --

    @property
    def controls(self) -> ServerControls:
        """All of them, but for those that the suite's own network gives."""
        return ServerControls(
            kill=self.kill,
            start=self.start,
            wipe=self.memory.lose_data,
            compact=self.memory.compact,
            pause=self._thawed.clear,
            resume=self._thawed.set,
            kill_leader=self.kill_leader,
            fill_disk=self.fill,
            free_disk=self.free,
            backup=self._backup.back_up,
            restore=self._backup.restore,
            restrict=self._restricted.set,
            permit=self._restricted.clear,
            advance_clock=self.advance_clock,
            reset_clock=self.reset_clock,
        )

    def start(self) -> None:
        """Listen, at the same port as before."""
        with self._lock:
            if self._listener is not None:
                return
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
            self.port = self._listener.getsockname()[1]
            listener = self._listener
        threading.Thread(target=self._accept, args=(listener,), name="tcp-accept", daemon=True).start()

    def kill(self) -> None:
        """Close everything and keep the data."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            connections = list(self._connections)
        for sock in connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def kill_leader(self) -> None:
        """Gone, and a moment later there is another one at the same address."""
        self.kill()
        timer = threading.Timer(_FAILOVER, self.start)
        timer.daemon = True
        timer.start()

    def fill(self) -> None:
        """No room for another write."""
        self._full = True

    def free(self) -> None:
        """There is room again."""
        self._full = False

    def advance_clock(self) -> None:
        """Its wall clock jumps, which it reports, and by which it ends no lease."""
        self._ahead = _JUMP

    def reset_clock(self) -> None:
        """Its wall clock is right again."""
        self._ahead = 0.0

    def close(self) -> None:
        """The end: nothing runs any more."""
        self.kill()
        self._thawed.set()
        self.backend.close()

    # -- serving --

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(sock)
            threading.Thread(target=self._serve, args=(sock,), name="tcp-connection", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            while True:
                method, arguments = wire.receive(sock, time.monotonic() + _FOR_EVER)
                self._thawed.wait()
                if self._restricted.is_set():
                    wire.send(sock, wire.packed(self.denied(method)), time.monotonic() + _FOR_EVER)
                    continue
                if method == "watch":
                    self._tell(sock, **arguments)
                    return
                try:
                    answer: tuple[Any, ...] = ("answer", self.do(method, arguments))
                except TenureError as exc:
                    answer = wire.packed(exc)
                self._thawed.wait()
                wire.send(sock, answer, time.monotonic() + _FOR_EVER)
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(sock)
            sock.close()

    def denied(self, method: str) -> TenureError:
        """The answer to a user without rights."""
        return PermissionDenied(f"the user may not {method}: ask for the right")

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        if self._full and method == "commit":
            operations = arguments["transaction"].operations
            if any(isinstance(each, Put) for each in operations):
                raise StoreFull("there is no room left on the disk: nothing was written")
        answer = getattr(self.backend, method)(**arguments)
        if method == "server_info" and answer.clock is not None:
            return dataclasses.replace(answer, clock=answer.clock + self._ahead)
        return answer

    def _tell(self, sock: socket.socket, **arguments: Any) -> None:
        sink = _Queue()
        feed: Feed | None = None
        try:
            try:
                feed = self.backend.watch(sink=sink, **arguments)
            except TenureError as exc:
                sink.fail(exc)
            while True:
                message = sink.next()
                self._thawed.wait()
                wire.send(sock, message, time.monotonic() + _FOR_EVER)
                if message[0] == "error":
                    return
        finally:
            if feed is not None:
                feed.close()


class _Queue:
    """A sink whose items another thread sends."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def deliver(self, item: FeedItem, /) -> None:
        self._messages.put(("item", item))

    def fail(self, error: TenureError, /) -> None:
        self._messages.put(wire.packed(error))

    def next(self) -> tuple[Any, ...]:
        try:
            return self._messages.get(timeout=wire.PING_EVERY)
        except queue.Empty:
            return ("ping",)
