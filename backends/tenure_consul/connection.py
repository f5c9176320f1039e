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
from dataclasses import dataclass
from typing import Any, cast

from tenure.plugin_kit import Deadline
from tenure.spi.credentials import Login
from tenure.spi.plugin import Host

_HIGHEST, _DIGITS = (1 << 63) - 1, 20
_CLOSED = "it closed the connection"
_LIMIT_HINT = "see http_max_conns_per_client (by default 200) in its configuration, and watch fewer prefixes"


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
    def index(self) -> int | None:
        """The revision in the header; ``None`` if there is none that Consul can have."""
        text = self.headers.get("X-Consul-Index", "")
        index = int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None
        return None if index is None or index > _HIGHEST else index


class Connection:
    """A connection to ``where``, over a connected socket. ``fixed`` are header lines that every request has,
    with the token of ``login`` among them."""

    def __init__(self, where: Host, connected: socket.socket, fixed: str, login: Login) -> None:
        self.where = where
        self.login = login
        self._head = f" HTTP/1.1\r\nHost: {where}\r\n{fixed}"
        self._interrupted = False
        self._fresh = True
        self._socket = connected

    def exchange(self, method: str, target: str, body: bytes | None, deadline: Deadline) -> Answer:
        """Send one request and return its answer. Raises :class:`ConnectionBroken`, after which only close is left."""
        head = f"{method} {target}{self._head}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        request = head.encode("latin-1") + b"\r\n" + (body or b"")
        try:
            self._socket.settimeout(deadline.remaining())
            # All or nothing as far as the agent is concerned: a request cut short is never carried out.
            self._socket.sendall(request)
        except OSError as exc:
            raise ConnectionBroken(_reason(exc), sent=False, late=isinstance(exc, TimeoutError)) from exc
        answer = http.client.HTTPResponse(cast("Any", _Incoming(self._socket, deadline)), method=method)
        try:
            with contextlib.closing(answer):  # a finalizer would do it, and drop what a signal handler raises meanwhile
                answer.begin()
                content = answer.read()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            reason = _reason(exc)
            if reason == _CLOSED and self._fresh:
                reason = f"{_CLOSED} at once, perhaps for its limit of connections from one address; {_LIMIT_HINT}"
            raise ConnectionBroken(reason, sent=True, late=isinstance(exc, TimeoutError)) from exc
        self._fresh = False
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

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._sock, self._deadline), 65_536)


class _Timed(io.RawIOBase):
    """The receiving side of a socket, with a deadline for everything that is read through it."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._deadline.expired:
            raise TimeoutError("timed out")
        self._sock.settimeout(self._deadline.remaining())
        received = self._sock.recv_into(buffer)
        self._deadline.progressed()
        return received


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, http.client.RemoteDisconnected | http.client.IncompleteRead | ConnectionError):
        return _CLOSED
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed, check the options cert and key ({exc})"
    return str(exc) or type(exc).__name__
