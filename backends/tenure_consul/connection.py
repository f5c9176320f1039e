"""One HTTP connection to one agent: a request, its answer, and one deadline for both together.

Sockets and messages are the standard library's. Why neither the transport of python-consul nor urllib3: a time limit
there is one for each piece of an answer, so that a server that trickles is waited for without end; a blocking query
can't be ended from another thread, for the socket isn't to be had before the answer has begun; and they don't tell
whether a request that failed had been sent as a whole, which decides between refused and unknown.

A connection that failed in any way is broken for good. Not thread-safe, except :meth:`Connection.interrupt`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, cast

from tenure.spi.plugin import Host
from tenure_consul.errors import cannot_connect


class ConnectionBroken(Exception):
    """The exchange failed. ``sent``: the agent may have got the whole request. ``late``: the time ran out."""

    def __init__(self, reason: str, *, sent: bool, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    where: Host

    @property
    def index(self) -> int:
        """The revision in the header, 0 where there is none."""
        text = self.headers.get("X-Consul-Index", "")
        return int(text) if text.isdigit() else 0


class Connection:
    """A connection to ``where``. Raises ``Unavailable`` or ``ConfigError`` when it can't be made in ``timeout``."""

    def __init__(self, where: Host, tls: ssl.SSLContext | None, fixed: str, *, timeout: float) -> None:
        self.where = where
        self._head = f" HTTP/1.1\r\nHost: {where}\r\n{fixed}"
        self._interrupted = False
        try:
            self._socket = _connect(where, tls, time.monotonic() + timeout)
        except (OSError, ValueError) as exc:
            raise cannot_connect(exc, where, encrypted=tls is not None) from exc

    def exchange(self, method: str, target: str, body: bytes | None, *, timeout: float) -> Answer:
        """Send one request and return its answer. Raises :class:`ConnectionBroken`, after which only close is left."""
        until = time.monotonic() + timeout
        head = f"{method} {target}{self._head}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        request = head.encode("latin-1") + b"\r\n" + (body or b"")
        try:
            self._socket.settimeout(timeout)
            # All or nothing as far as the agent is concerned: a request cut short is never carried out.
            self._socket.sendall(request)
        except OSError as exc:
            raise ConnectionBroken(_reason(exc), sent=False, late=isinstance(exc, TimeoutError)) from exc
        try:
            answer = http.client.HTTPResponse(cast("Any", _Incoming(self._socket, until)), method=method)
            answer.begin()
            content = answer.read()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise ConnectionBroken(_reason(exc), sent=True, late=isinstance(exc, TimeoutError)) from exc
        if answer.will_close:
            self._interrupted = True
        return Answer(answer.status, answer.headers, content, self.where)

    @property
    def spent(self) -> bool:
        """Whether it was interrupted, or the agent said that it closes the connection."""
        return self._interrupted

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: not interrupted, not closed by the agent, no stray bytes."""
        if self._interrupted:
            return False
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):
            return False

    def interrupt(self) -> None:
        """Make an exchange under way in another thread fail at once. Callable from any thread."""
        self._interrupted = True
        with contextlib.suppress(OSError):
            # The plain socket's: that of a TLS socket would pull the rug from under its reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.close()


class _Incoming:
    """What :class:`http.client.HTTPResponse` takes for a socket: a file whose every read ends by the deadline."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._sock, self._until), 65_536)


class _Timed(io.RawIOBase):
    """The receiving side of a socket, with a deadline for everything that is read through it."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


def _connect(where: Host, tls: ssl.SSLContext | None, until: float) -> socket.socket:
    """A connected socket: the host's addresses in turn, all within the time."""
    last: OSError = OSError("it has no address")
    addresses = socket.getaddrinfo(where.name, where.port, type=socket.SOCK_STREAM)
    for remaining, (family, kind, protocol, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left / remaining)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                return sock
            return tls.wrap_socket(sock, server_hostname=where.name)
        except OSError as exc:
            sock.close()
            last = exc
    raise last


def left(until: float) -> float:
    """Seconds until ``until`` of ``time.monotonic``, as a timeout: never zero, which would mean none."""
    return max(until - time.monotonic(), 0.001)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, http.client.RemoteDisconnected | http.client.IncompleteRead | ConnectionError):
        return "it closed the connection"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed, check the options cert and key ({exc})"
    return str(exc) or type(exc).__name__
