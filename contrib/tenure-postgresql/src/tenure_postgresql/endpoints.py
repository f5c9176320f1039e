"""Finding the server that takes writes, among the hosts of the URL, and connecting to it.

Each host is tried in turn, beginning with the one that worked last; libpq checks that the server isn't read-only
(``target_session_attrs=read-write``). libpq can go through several hosts by itself, but has no time limit for each
when it doesn't block: one that is frozen would keep the others from being asked.

Names are resolved by the kit, too, with a deadline: libpq would ask for their addresses without one.
"""

from __future__ import annotations

import getpass
import ssl
from collections.abc import Callable

from psycopg.conninfo import make_conninfo

from tenure.errors import AuthenticationFailed, ConfigError
from tenure.plugin_kit import Deadline, Endpoints, Resolver, interruption
from tenure.spi import Host, Login, OpenRequest
from tenure_postgresql import session
from tenure_postgresql.connection import CannotConnect, Connection, ConnectionBroken, ServerError
from tenure_postgresql.errors import broken, cannot_connect, refused


class PrimaryFinder:
    """The hosts of one URL, how to log in, and which of them takes writes. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        self._endpoints = Endpoints(request.hosts)
        self._resolver = Resolver()
        self._request = request
        self._credentials = request.login_source()
        self.user = self._credentials.current().username or _this_user(request)
        self.database: str = request.options["database"] or self.user
        self._conninfo(request.hosts[0], self._credentials.current())  # what is wrong with it is told at once

    @property
    def several(self) -> bool:
        """Whether another server may take over."""
        return self._endpoints.several

    @property
    def where(self) -> str:
        """The hosts, for messages."""
        return str(self._endpoints)

    @property
    def conninfo(self) -> str:
        """libpq's connection string for the host that worked last, with the server's own settings for its session.

        Has the password in it.
        """
        return self._conninfo(self._endpoints.best, self._credentials.current())

    def _conninfo(self, host: Host, login: Login) -> str:
        return _conninfo(self._request, host, login, user=login.username or self.user, database=self.database)

    def connect(self, deadline: Deadline, *, given_up: Callable[[], bool]) -> Connection:
        """A connection to the first host that takes writes. Raises ``Unavailable`` and what ``errors`` makes."""

        def connect_to(host: Host, share: Deadline) -> Connection:
            login = self._credentials.current()
            try:
                return self._connect(host, login, share, given_up)
            except AuthenticationFailed:
                if not self._credentials.refused(login):
                    raise
                return self._connect(host, self._credentials.current(), share, given_up)

        return self._endpoints.connect(deadline, connect_to, action="looking for a host that takes writes")

    def _connect(self, host: Host, login: Login, deadline: Deadline, given_up: Callable[[], bool]) -> Connection:
        conninfo = self._conninfo(host, login)
        if not host.name.startswith("/"):  # a path is that of a socket
            found = [address.text for address in self._resolver.addresses(host, deadline)]
            # The name stays, for the server's certificate; libpq takes lists of the same length.
            words = {"host": [host.name] * len(found), "hostaddr": found, "port": [str(host.port)] * len(found)}
            conninfo = make_conninfo(conninfo, **{word: ",".join(parts) for word, parts in words.items()})
        where = f"{host}/{self.database}"
        try:
            connection = Connection.connect(conninfo.encode(), where, deadline=deadline, given_up=given_up)
        except CannotConnect as exc:
            raise cannot_connect(exc, where=where, user=login.username or self.user, database=self.database) from exc
        try:
            session.settle(connection, deadline)
        except ConnectionBroken as exc:
            connection.close()
            raise broken(exc, action="connecting", where=where, write=False) from exc
        except ServerError as exc:
            connection.close()
            raise refused(exc, action="connecting", where=where, write=False) from exc
        except BaseException:
            connection.close()
            raise
        return connection


def _this_user(request: OpenRequest) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as exc:
        raise ConfigError(f"{request.url} names no user, and this process has none: write user:password@host") from exc


def _conninfo(request: OpenRequest, host: Host, login: Login, *, user: str, database: str) -> str:
    words: dict[str, str | int | None] = {
        "host": host.name,
        "port": host.port,
        "user": user,
        "dbname": database,
        "application_name": "tenure",
        "target_session_attrs": "read-write",
        "gssencmode": "disable",
        "sslmode": "disable",
    }
    if login.password is not None:
        words["password"] = login.password.reveal()
    if request.tls is not None:
        roots = request.tls.ca or ssl.get_default_verify_paths().cafile or "system"
        words |= {"sslmode": "verify-full", "sslrootcert": roots, "sslcert": request.tls.cert or ""}
        words |= {"sslkey": request.tls.key or ""}
    try:
        return make_conninfo("", **words)
    except Exception as exc:
        if interruption(exc) is not None:
            raise
        # libpq's own message might quote what it was given, password included.
        raise ConfigError(f"{request.url} can't be turned into a connection string of libpq") from exc
