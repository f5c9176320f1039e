"""One connection to one server: a request, its answer, and a deadline for both together.

redis-py makes the socket (addresses, TLS, unix sockets) and hiredis packs and parses; what lies between is done
here, for three reasons. redis-py's time limit is one for each piece of an answer, so that a server that trickles
is waited for without end. It repeats commands by itself, also scripts that were applied. And its answers differ in
shape by version and protocol, where these are RESP2 as the server sends them.

A connection that failed in any way but by an error reply is broken for good: an answer to the old request could
be taken for one to the next. Not thread-safe, except :meth:`Connection.interrupt`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Any

import hiredis
from redis import connection as redis_connection
from redis.exceptions import RedisError

from tenure.spi.plugin import Host, Secret, Tls
from tenure_redis.errors import ServerError, cannot_connect, refused

_READ_SIZE = 65_536
_MORE = object()
_drivers: Any = redis_connection  # its own types are incomplete


@dataclass(frozen=True, slots=True)
class Login:
    """How connections to a kind of server are made: who asks, in which database, and whether encrypted."""

    username: str | None
    password: Secret | None
    db: int
    tls: Tls | None


class ConnectionBroken(Exception):
    """The connection failed with a request under way, which the server may have got. ``late``: the time ran out."""

    def __init__(self, reason: str, *, late: bool = False) -> None:
        super().__init__(reason)
        self.late = late


class Connection:
    """A connection to ``where``, logged in. Raises ``Unavailable``, ``AuthenticationFailed`` and their like."""

    def __init__(self, where: Host | str, login: Login, *, timeout: float) -> None:
        self.where = where
        until = time.monotonic() + timeout
        self._driver = _make(where, login, timeout)
        self._interrupted = False
        try:
            self._driver.connect()
        except (RedisError, OSError) as exc:
            raise cannot_connect(exc, where, encrypted=login.tls is not None) from exc
        # The one thing taken from redis-py's inside.
        self._socket: socket.socket = self._driver._sock
        self._reader = hiredis.Reader(replyError=ServerError, protocolError=_Garbage, notEnoughData=_MORE)
        try:
            self._log_in(login, until)
        except BaseException:
            self.close()
            raise

    def call(self, *command: Any, timeout: float) -> Any:
        """Send one command and return its answer.

        Raises ``ServerError`` for an error reply (the connection is still good), ``ConnectionBroken`` otherwise.
        """
        return self.call_packed(hiredis.pack_command(command), timeout=timeout)

    def call_packed(self, request: bytes, *, timeout: float) -> Any:
        """:meth:`call` for a command that :func:`pack` has packed."""
        sock, reader = self._socket, self._reader
        try:
            sock.settimeout(timeout)
            sock.sendall(request)
            data = sock.recv(_READ_SIZE)
            if not data:
                raise ConnectionBroken("it closed the connection")
            reader.feed(data)
            answer = reader.gets()
            if answer is _MORE:
                answer = self._rest(time.monotonic() + timeout)
        except TimeoutError as exc:
            raise ConnectionBroken(f"no answer within {timeout:.3g} s", late=True) from exc
        except (OSError, ValueError) as exc:
            raise ConnectionBroken(f"the connection broke ({exc})") from exc
        except _Garbage as exc:
            raise ConnectionBroken(f"what it answered isn't Redis's protocol ({exc})") from exc
        if isinstance(answer, ServerError):
            raise answer
        return answer

    def _rest(self, until: float) -> Any:
        """The answer's remaining pieces."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_READ_SIZE)
            if not data:
                raise ConnectionBroken("it closed the connection")
            self._reader.feed(data)
            answer = self._reader.gets()
            if answer is not _MORE:
                return answer

    def interrupt(self) -> None:
        """Let a call that another thread has under way fail at once. The socket stays that thread's to close."""
        self._interrupted = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Idempotent; in a fork the parent's connection is left as it is."""
        self._driver.disconnect()

    def _log_in(self, login: Login, until: float) -> None:
        steps: list[tuple[str, ...]] = []
        if login.password is not None:
            user = (login.username,) if login.username else ()
            steps.append(("AUTH", *user, login.password.reveal()))
        if login.db:
            steps.append(("SELECT", str(login.db)))
        for step in steps:
            try:
                self.call(*step, timeout=max(until - time.monotonic(), 0.001))
            except ServerError as exc:
                raise refused(exc, action="logging in", where=str(self.where)) from exc
            except ConnectionBroken as exc:
                raise cannot_connect(exc, self.where, encrypted=login.tls is not None) from exc


class _Garbage(Exception):
    """What came isn't the protocol."""


def pack(*command: Any) -> bytes:
    """A command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(command)
    return packed


def _make(where: Host | str, login: Login, timeout: float) -> Any:
    # Logging in is done here, so that its answers are understood in the same place as all others.
    common: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "redis_connect_func": _nothing,
        "protocol": 2,
    }
    if isinstance(where, str):
        return _drivers.UnixDomainSocketConnection(path=where, **common)
    common |= {"host": where.name, "port": where.port, "socket_keepalive": True}
    if login.tls is None:
        return _drivers.Connection(**common)
    tls = login.tls
    return _drivers.SSLConnection(
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        ssl_ca_certs=tls.ca,
        ssl_certfile=tls.cert,
        ssl_keyfile=tls.key,
        **common,
    )


def _nothing(driver: object) -> None:
    """What redis-py does on a fresh connection: nothing."""
