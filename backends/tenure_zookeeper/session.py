"""A ZooKeeper session without a client of its own: a number and a password, and sometimes a connection.

A session lives on the server, for its timeout since it was last heard of; connections to it may come and go.
Connecting to it ("attaching") is what keeps it alive: the leader itself answers that, so an attach that was
answered gives the whole timeout again, whichever server is asked and whatever happens to that server next. A ping
on a standing connection would only be known to the server that took it, until that reports to the leader.

So a lease costs no thread, and no connection while nothing is put on it. Not thread-safe: the owner has a lock.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl

from tenure.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    LeaseNotFound,
    OutcomeUnknown,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit import Deadline
from tenure.spi.plugin import Host
from tenure_zookeeper import encoding, sasl
from tenure_zookeeper.auth import Login, Logins
from tenure_zookeeper.endpoints import Servers
from tenure_zookeeper.errors import translate

_FRAME = 4
_LATE = "; check the addresses, the network and whether the servers have a leader"
_SILENT = (
    "; one that closes a connection without a word isn't serving yet, has lost its ensemble, wants TLS (+tls after the "
    "URL's scheme), or has as many from this address as it takes (maxClientCnxns, 60 by default)"
)
_NOBODY = "; nothing listens there: is ZooKeeper running, and is the port right (usually 2181)?"
_HINTS = ((ConnectionResetError, _SILENT), (ConnectionRefusedError, _NOBODY))
_LARGEST_FIRST_ANSWER = 1024
"""Bytes; the answer to a connect is some fifty. Whoever sends more doesn't speak this protocol."""


class Session:
    """One session. ``number`` is 0 until it was opened."""

    def __init__(self, endpoints: Servers, logins: Logins, *, number: int = 0, password: bytes = b"") -> None:
        self._endpoints = endpoints
        self._logins = logins
        self._socket: socket.socket | None = None
        self._xid = 0
        self.number = number
        self.password = password or bytes(16)
        self.timeout = 0.0
        """Seconds, as the server has granted them."""
        self.zxid = 0
        """How far the server was with the last answer."""

    def attach(self, timeout: float, deadline: Deadline) -> None:
        """Connect to the session, or open it with a timeout of ``timeout`` seconds: it has its full time again.

        Raises ``LeaseNotFound`` if the session has ended, ``AuthenticationFailed``, ``Unavailable`` or
        ``DeadlineExceeded``.
        """
        self.detach()
        self._endpoints.first(
            deadline, lambda host, share: self._attach_to(host, timeout, share), action="connecting to ZooKeeper"
        )

    def detach(self) -> None:
        """Drop the connection; the session lives on until its timeout."""
        found, self._socket = self._socket, None
        if found is not None:
            found.close()

    @property
    def attached(self) -> bool:
        """Whether there is a connection that the server hasn't closed."""
        if self._socket is None:
            return False
        readable, _, _ = select.select([self._socket], [], [], 0)
        return not readable  # nothing is due to be read between requests but the end

    def request(self, request: encoding.Request, deadline: Deadline) -> encoding.Reply:
        """Send on the standing connection and wait for the answer.

        Raises ``OutcomeUnknown`` if none comes, ``Unavailable`` if nothing was sent.
        """
        if self._socket is None:
            raise Unavailable("the session isn't attached")
        self._xid += 1
        try:
            self._send(encoding.INT.pack(self._xid) + encoding.INT.pack(request.op) + request.body, deadline)
            while True:
                xid, answer = encoding.reply(self._receive(deadline))
                if xid == self._xid:
                    self.zxid = answer.zxid
                    return answer
        except (OSError, ssl.SSLError) as exc:
            self.detach()
            raise OutcomeUnknown(f"no answer from ZooKeeper: {_words(exc)}") from exc
        except BaseException:  # an interrupt: what comes next on it would be the answer to this
            self.detach()
            raise

    def close(self, deadline: Deadline) -> bool:
        """End the session now: its ephemeral nodes are deleted. Answers whether it was alive.

        Raises ``Unavailable``, ``DeadlineExceeded``, ``AuthenticationFailed`` or ``OutcomeUnknown``.
        """
        try:
            if not self.attached:
                self.attach(self.timeout, deadline)
            answer = self.request(encoding.Request(encoding.CLOSE, b""), deadline)
            if answer.error == encoding.Code.REQUIRES_SASL:
                raise translate(answer.error, action="ending a session", write=False)
        except LeaseNotFound:
            return False
        finally:
            self.detach()
        return True

    # -- inside --

    def _attach_to(self, host: Host, timeout: float, deadline: Deadline) -> None:
        login = self._logins.current()
        try:
            try:
                self._try_to_attach(host, timeout, login, deadline)
            except (AuthenticationFailed, ConnectionResetError):
                self.detach()
                if not login.sasl or not self._logins.refused(login):
                    raise
                self._try_to_attach(host, timeout, self._logins.current(), deadline)
        except (ssl.SSLError, OSError) as exc:
            self.detach()
            late = isinstance(exc, TimeoutError)
            hint = _LATE if late else next((hint for kind, hint in _HINTS if isinstance(exc, kind)), "")
            kind = DeadlineExceeded if late else Unavailable
            raise kind(f"connecting to ZooKeeper at {host}: {_words(exc)}{hint}") from exc
        except BaseException:
            self.detach()
            raise

    def _try_to_attach(self, host: Host, timeout: float, login: Login, deadline: Deadline) -> None:
        self._socket = self._endpoints.dial(host, deadline)
        self._xid = 0
        self._send(encoding.connect(max(1, round(timeout * 1000)), self.number, self.password), deadline)
        granted_ms, number, password = encoding.connected(self._receive(deadline, _LARGEST_FIRST_ANSWER))
        if granted_ms <= 0:
            self.detach()
            raise LeaseNotFound(f"ZooKeeper knows no session {self.number:#x}: it has ended")
        if self.number not in (0, number):
            # A compatible server did this in place of saying that the session has ended. The new one has no use.
            self._end_new_session(deadline)
            raise LeaseNotFound(f"the server opened a new session in place of {self.number:#x}, which has ended")
        self.number, self.password, self.timeout = number, password, granted_ms / 1000
        self._log_in(login, deadline)

    def _end_new_session(self, deadline: Deadline) -> None:
        """Spare the server the wait for its timeout; if that fails, the session ends all the same."""
        with contextlib.suppress(OSError, TenureError):
            self.request(encoding.Request(encoding.CLOSE, b""), deadline)
        self.detach()

    def _log_in(self, login: Login, deadline: Deadline) -> None:
        for scheme, credential in login.packets:
            request = encoding.auth(scheme, credential)
            self._send(encoding.INT.pack(encoding.AUTH_XID) + encoding.INT.pack(request.op) + request.body, deadline)
            xid, answer = encoding.reply(self._receive(deadline))
            if xid == encoding.AUTH_XID and answer.error:
                raise AuthenticationFailed("ZooKeeper doesn't accept the user name and password of the URL")
        if login.sasl:
            try:
                sasl.log_in(login, lambda token: self._step(token, deadline))
            except ConnectionResetError as exc:
                reason = "it closed the connection during the login; old servers do so if the password is wrong"
                raise ConnectionResetError(reason) from exc

    def _step(self, token: bytes, deadline: Deadline) -> encoding.Reply:
        self._xid += 1
        request = encoding.sasl(token)
        self._send(encoding.INT.pack(self._xid) + encoding.INT.pack(request.op) + request.body, deadline)
        xid, answer = encoding.reply(self._receive(deadline))
        if xid != self._xid:
            raise ConnectionError("it answered something else than the login")
        return answer

    def _send(self, packet: bytes, deadline: Deadline) -> None:
        assert self._socket is not None
        _set_limit(self._socket, deadline)
        self._socket.sendall(encoding.INT.pack(len(packet)) + packet)

    def _receive(self, deadline: Deadline, largest: int = 1 << 31) -> bytes:
        length = encoding.INT.unpack(self._read(_FRAME, deadline))[0]
        if not 0 < length <= largest:
            raise ConnectionError("it answers in another protocol than ZooKeeper's; is the port right?")
        return self._read(length, deadline)

    def _read(self, length: int, deadline: Deadline) -> bytes:
        assert self._socket is not None
        received = bytearray()
        while len(received) < length:
            _set_limit(self._socket, deadline)
            chunk = self._socket.recv(min(length - len(received), 1 << 16))
            if not chunk:
                raise ConnectionResetError("it closed the connection")
            received += chunk
        return bytes(received)


def ask(endpoints: Servers, word: str, deadline: Deadline) -> str:
    """What the first server that answers says to a four-letter word such as ``srvr``; empty if none does."""

    def ask_one(host: Host, share: Deadline) -> str:
        with contextlib.suppress(OSError):
            if answer := ask_server(endpoints, host, word, share):
                return answer
        raise Unavailable(f"{host} doesn't answer {word}")

    with contextlib.suppress(TenureError):
        return endpoints.first(deadline, ask_one, action=f"asking for {word}")
    return ""


def ask_server(endpoints: Servers, host: Host, word: str, deadline: Deadline) -> str:
    """What one server says to a four-letter word, empty for nothing. Raises ``OSError`` or ``Unavailable``."""
    answer = bytearray()
    with endpoints.dial(host, deadline) as connection:
        _set_limit(connection, deadline)
        connection.sendall(word.encode())
        while chunk := connection.recv(1 << 16):
            answer += chunk
            _set_limit(connection, deadline)
    return answer.decode(errors="replace")


def _set_limit(connection: socket.socket, deadline: Deadline) -> None:
    if deadline.expired:
        raise TimeoutError("no answer in time")
    connection.settimeout(deadline.remaining())


def _words(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate isn't accepted ({exc.verify_message})"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed ({exc.reason or exc})"
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
