"""Finding the server that takes writes, among the hosts of the URL, and connecting to it.

Each host is tried in turn, beginning with the one that worked last; libpq checks that the server isn't read-only
(``target_session_attrs=read-write``). libpq can go through several hosts by itself, but has no time limit for each
when it doesn't block: one that is frozen would keep the others from being asked.

Names are looked up here, too, with a deadline: libpq would ask for their addresses without one, as the system's
resolver does. The resolver can't be interrupted, so it is asked in a thread, which is left behind if it takes too long;
it ends by itself when the resolver gives up. Literal addresses and paths of sockets need none of that.
"""

from __future__ import annotations

import getpass
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable

from psycopg.conninfo import make_conninfo

from tenure.errors import ConfigError, DeadlineExceeded, TenureError, Unavailable
from tenure.spi import Host, OpenRequest
from tenure_postgresql.connection import CannotConnect, Connection
from tenure_postgresql.errors import DEFINITE, cannot_connect

_SLICE = 0.1  # seconds between two looks whether somebody has given up
_SHARE = 0.5  # of the time left that one host may take while there are others

# What statements rely on. Plans are made once per connection, before there is any data to judge by: so they must not
# count on tables being small. Keepalives are the server's, so that it notices when a client's machine has gone.
_SESSION = (
    r"-c default_transaction_isolation=read\ committed "
    "-c search_path= -c client_encoding=UTF8 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 "
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off "
    "-c jit=off -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)


class Endpoints:
    """The hosts of one URL, and how to log in. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        self._hosts = request.hosts
        self.user = request.username or _this_user(request)
        self.database: str = request.options["database"] or self.user
        self._conninfos = [_conninfo(request, host, self.user, self.database) for host in request.hosts]
        self._best = 0

    @property
    def several(self) -> bool:
        """Whether another server may take over."""
        return len(self._hosts) > 1

    @property
    def where(self) -> str:
        """The hosts, for messages."""
        return ",".join(str(host) for host in self._hosts)

    @property
    def conninfo(self) -> str:
        """libpq's connection string for the host that worked last, with the server's own settings for its session.

        Has the password in it.
        """
        return make_conninfo(self._conninfos[self._best], options="")

    def connect(self, *, until: float, given_up: Callable[[], bool]) -> Connection:
        """A connection to the first host that takes writes. Raises ``Unavailable`` and what ``errors`` makes."""
        begin = self._best
        failures: list[TenureError] = []
        for step in range(len(self._hosts)):
            number = (begin + step) % len(self._hosts)
            now = time.monotonic()
            last = step == len(self._hosts) - 1
            at_most = until if last else now + (until - now) * _SHARE
            where = f"{self._hosts[number]}/{self.database}"
            try:
                connection = self._connect(number, where, until=at_most, given_up=given_up)
            except CannotConnect as exc:
                error = cannot_connect(exc, where=where, user=self.user, database=self.database)
                if isinstance(error, DEFINITE) or not self.several:
                    raise error from exc
                error.__cause__ = exc
                failures.append(error)
            else:
                self._best = number
                return connection
        kind = DeadlineExceeded if time.monotonic() >= until else Unavailable
        raise kind("no host takes writes: " + "; ".join(str(failure) for failure in failures)) from failures[-1]

    def _connect(self, number: int, where: str, *, until: float, given_up: Callable[[], bool]) -> Connection:
        conninfo, host = self._conninfos[number], self._hosts[number]
        found = _addresses(host.name, until=until, given_up=given_up)
        if found:
            # The name stays, for the server's certificate; libpq takes lists of the same length.
            words = {"host": [host.name] * len(found), "hostaddr": found, "port": [str(host.port)] * len(found)}
            conninfo = make_conninfo(conninfo, **{word: ",".join(parts) for word, parts in words.items()})
        return Connection.connect(conninfo.encode(), where, until=until, given_up=given_up)


def _this_user(request: OpenRequest) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as exc:
        raise ConfigError(f"{request.url} names no user, and this process has none: write user:password@host") from exc


def _conninfo(request: OpenRequest, host: Host, user: str, database: str) -> str:
    words: dict[str, str | int | None] = {
        "host": host.name,
        "port": host.port,
        "user": user,
        "dbname": database,
        "application_name": "tenure",
        "target_session_attrs": "read-write",
        "gssencmode": "disable",
        "options": _SESSION,
        "sslmode": "disable",
    }
    if request.password is not None:
        words["password"] = request.password.reveal()
    if request.tls is not None:
        roots = request.tls.ca or ssl.get_default_verify_paths().cafile or "system"
        words |= {"sslmode": "verify-full", "sslrootcert": roots, "sslcert": request.tls.cert or ""}
        words |= {"sslkey": request.tls.key or ""}
    try:
        return make_conninfo("", **words)
    except Exception as exc:
        # libpq's own message might quote what it was given, password included.
        raise ConfigError(f"{request.url} can't be turned into a connection string of libpq") from exc


def _addresses(name: str, *, until: float, given_up: Callable[[], bool]) -> tuple[str, ...]:
    """Numeric addresses of ``name``; none if it doesn't have to be looked up. Raises ``CannotConnect``."""
    if name.startswith("/") or _is_literal(name):
        return ()
    answer: list[tuple[str, ...] | OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            answer.append(exc)
        else:
            answer.append(tuple(dict.fromkeys(str(one[4][0]) for one in found)))

    thread = threading.Thread(target=look_up, name="tenure-postgresql-resolve", daemon=True)
    thread.start()
    while not answer:
        thread.join(max(0.0, min(_SLICE, until - time.monotonic())))
        if given_up():
            raise CannotConnect("the store was closed meanwhile")
        if not answer and time.monotonic() >= until:
            raise CannotConnect(f"looking up the address of {name!r}: no answer in time", late=True)
    if isinstance(answer[0], OSError | UnicodeError):
        raise CannotConnect(f"could not translate host name {name!r}: {answer[0]}") from answer[0]
    return answer[0]


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
