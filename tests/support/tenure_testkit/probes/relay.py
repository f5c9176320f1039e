"""Stands between client and server on loopback, and loses answers or cuts connections when told to."""

import contextlib
import select
import socket
import ssl
import threading
from pathlib import Path

RELAY_THREADS = "probe-relay"
"""How the names of its threads begin. One that carries a connection ends a moment after both sides have closed it."""


class Relay:
    """Listens on a `port` of its own, or on a unix socket at `path`, and passes on to `target` on 127.0.0.1."""

    def __init__(self, target: int, *, path: Path | None = None) -> None:
        self.port = 0
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        self._target = target
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._forgotten: set[tuple[socket.socket, socket.socket]] = set()
        self._lose = 0
        self._lose_to = b""
        self._counted = b""
        self._stops = False
        self.asked = 0
        self.lost = 0
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, name=f"{RELAY_THREADS}-accept", daemon=True)]
        self._threads[0].start()

    def lose_answers(self, count: int) -> None:
        """Cut the connection in place of the next `count` answers; the server has got the requests."""
        with self._lock:
            self._lose = count

    def lose_answer_to(self, request: bytes) -> None:
        """Cut the connection in place of the answer to the next request that begins so; the server has got it.

        `asked` counts the requests that begin so from now on, this one included.
        """
        with self._lock:
            self._lose_to = self._counted = request
            self.asked = 0

    def turn_to(self, target: int) -> None:
        """Pass new connections on to another port of 127.0.0.1. Those to a port without a listener are closed."""
        self._target = target

    def cut(self) -> int:
        """Break all connections now; answers how many."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _shut(*pair)
        return len(pairs)

    def forget(self) -> int:
        """Let all connections lead nowhere, as a NAT that lost its table; new ones work. Answers how many."""
        with self._lock:
            self._forgotten |= self._pairs
            return len(self._forgotten)

    def stop_after_a_byte(self, stops: bool) -> None:
        """Of the next answer of each connection pass on one byte, and nothing more on that connection."""
        self._stops = stops

    def close(self) -> None:
        """Break everything and stop listening."""
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(60.0)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self.connections += 1
            thread = threading.Thread(
                target=self._carry, name=f"{RELAY_THREADS}-carry", args=(client, server), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _welcome(self, client: socket.socket) -> socket.socket:
        """What the client is talked to by; raises `OSError` if there is nothing to talk about."""
        return client

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        try:
            client = self._welcome(client)
        except OSError:
            for end in (client, server):
                end.close()
            return
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        losing = False
        try:
            while True:
                for source in _readable(client, server):
                    data = source.recv(65_536)
                    if not data:
                        return
                    if pair in self._forgotten:
                        continue
                    if source is client:
                        losing = self._asks_to_lose(data) or losing
                        server.sendall(data)
                    elif self._is_to_be_lost(losing):
                        return
                    else:
                        client.sendall(self._shortened(data, pair))
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._pairs.discard(pair)
                self._forgotten.discard(pair)
            _shut(*pair)
            for end in pair:
                end.close()

    def _shortened(self, answer: bytes, pair: tuple[socket.socket, socket.socket]) -> bytes:
        if not self._stops:
            return answer
        with self._lock:
            self._forgotten.add(pair)
        return answer[:1]

    def _asks_to_lose(self, request: bytes) -> bool:
        with self._lock:
            if self._counted and request.startswith(self._counted):
                self.asked += 1
            if not self._lose_to or not request.startswith(self._lose_to):
                return False
            self._lose_to = b""
            return True

    def _is_to_be_lost(self, losing: bool) -> bool:
        with self._lock:
            if not losing:
                if self._lose <= 0:
                    return False
                self._lose -= 1
            self.lost += 1
            return True


class TlsRelay(Relay):
    """Talks TLS with its clients by `context`, which may be replaced for new connections, and plainly with `target`.

    A client that says `ask` first is told `answer`; then TLS begins.
    """

    def __init__(self, target: int, context: ssl.SSLContext, *, ask: bytes = b"", answer: bytes = b"") -> None:
        self.context = context
        self._ask = ask
        self._answer = answer
        super().__init__(target)

    def _welcome(self, client: socket.socket) -> socket.socket:
        client.settimeout(60.0)
        if self._ask:
            if client.recv(len(self._ask), socket.MSG_WAITALL) != self._ask:
                raise OSError("it wants no TLS")
            client.sendall(self._answer)
        return self.context.wrap_socket(client, server_side=True)


def _readable(client: socket.socket, server: socket.socket) -> list[socket.socket]:
    if isinstance(client, ssl.SSLSocket) and client.pending():
        return [client]  # what TLS has read already is no longer seen by select
    return select.select((client, server), (), ())[0]


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
