"""A connection that is ready for use: connected, logged in, in its database."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from tenure.errors import AuthenticationFailed, TenureError
from tenure.plugin_kit import Deadline, Resolver, TlsContext, dial
from tenure.spi.credentials import Credentials
from tenure.spi.credentials import Login as User
from tenure.spi.plugin import Host
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.errors import ServerError, cannot_connect, refused

_FULL = "max number of clients"
_RUN_ID = re.compile(rb"^run_id:([0-9A-Za-z]+)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class UnixSocket(Host):
    """A socket of this machine. ``name`` is its path, and the port means nothing."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Login:
    """How connections to a kind of server are made: who asks, in which database, and whether encrypted."""

    credentials: Credentials
    db: int
    tls: TlsContext | None
    resolver: Resolver

    def connect(self, where: Host, deadline: Deadline) -> Connection:
        """A fresh connection to one server.

        Raises:
            Unavailable: it can't be reached, or what listens there isn't Redis.
            DeadlineExceeded: likewise, and the time was up.
            AuthenticationFailed: it doesn't accept user and password, or wants some.
            ConfigError: it has no database of this number.
        """
        user = self.credentials.current()
        try:
            return self._connect(where, user, deadline)
        except AuthenticationFailed:
            if not self.credentials.refused(user):
                raise
            return self._connect(where, self.credentials.current(), deadline)

    def _connect(self, where: Host, user: User, deadline: Deadline) -> Connection:
        try:
            connected = (
                _connect_unix(where, deadline)
                if isinstance(where, UnixSocket)
                else dial(where, deadline, resolver=self.resolver, tls=self.tls)
            )
        except OSError as exc:
            raise self.unreached(exc, where, late=isinstance(exc, TimeoutError)) from exc
        connection = Connection(where, connected)
        try:
            self._log_in(connection, user, deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def unreached(self, exc: Exception, where: Host, *, late: bool) -> TenureError:
        """The error for a connection that failed before anything but greetings was sent."""
        return cannot_connect(str(exc), where=where, encrypted=self.tls is not None, late=late)

    def _log_in(self, connection: Connection, user: User, deadline: Deadline) -> None:
        steps: list[tuple[str | int, ...]] = []
        if user.password is not None:
            name = (user.username,) if user.username else ()
            steps.append(("AUTH", *name, user.password.reveal()))
        if self.db:
            steps.append(("SELECT", self.db))
        for step in steps:
            try:
                connection.call(*step, deadline=deadline)
            except ServerError as exc:
                raise refused(exc, action="logging in", where=connection.where, write=False) from exc
            except ConnectionBroken as exc:
                raise self.unreached(exc, connection.where, late=exc.late) from exc
        self._name_server(connection, deadline)

    def _name_server(self, connection: Connection, deadline: Deadline) -> None:
        """Ask which process this is: what its clock says means nothing to another one."""
        try:
            answer = connection.call("INFO", "server", deadline=deadline)
        except ServerError as exc:
            if _FULL in str(exc):  # said to whoever connects, before the connection is closed
                raise refused(exc, action="connecting", where=connection.where, write=False) from exc
            return  # the user has no right to ask
        except ConnectionBroken as exc:
            raise self.unreached(exc, connection.where, late=exc.late) from exc
        found = _RUN_ID.search(answer) if isinstance(answer, bytes) else None
        if found is not None:
            connection.server = found[1].decode()


def _connect_unix(where: UnixSocket, deadline: Deadline) -> socket.socket:
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(deadline.remaining())
        plain.connect(where.name)
    except BaseException:
        plain.close()
        raise
    return plain
