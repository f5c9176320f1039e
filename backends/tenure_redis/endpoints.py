"""Finding the server that takes writes: the one named, the one a Sentinel names, or the shard of a cluster.

The search is made for each connection. Connections are few and last long, and a caller that needs a new one has
most likely lost the old one because the primary has changed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline, Endpoints, monotonic
from tenure.spi.plugin import Host
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.errors import ERRORS, ServerError, refused
from tenure_redis.login import Login

_ROLE_SECONDS = 1.0
_SLOTS = 16384
"""The slot of a key in a Redis Cluster is its CRC-16/XMODEM modulo this."""


class Locator(ABC):
    """Opens connections to the primary."""

    def __init__(self, hosts: Sequence[Host], login: Login) -> None:
        """Ask ``hosts``, at least one; ``login`` is for the primary."""
        self._endpoints = Endpoints(hosts)
        self._login = login

    @property
    def failover(self) -> bool:
        """Whether another server may take over, with a copy of the data that lags behind."""
        return True

    @property
    def where(self) -> str:
        """The addresses, for messages."""
        return str(self._endpoints)

    def open(self, deadline: Deadline) -> Connection:
        """A fresh connection to a server that says it is a primary. Raises as ``Endpoints.connect`` says."""
        return self._endpoints.connect(deadline, self._open, action="connecting to Redis")

    @abstractmethod
    def _open(self, host: Host, deadline: Deadline) -> Connection:
        """A connection to the primary, found by one of the hosts."""


class Direct(Locator):
    """The servers of the URL: one, or several of which one is the primary."""

    @property
    def failover(self) -> bool:
        return self._endpoints.several

    def _open(self, host: Host, deadline: Deadline) -> Connection:
        return _primary(host, self._login, deadline)


class Sentinels(Locator):
    """A primary by its name, as Sentinels know it."""

    def __init__(self, hosts: Sequence[Host], master: str, login: Login, sentinel_login: Login) -> None:
        super().__init__(hosts, login)
        self._master = master
        self._sentinel_login = sentinel_login

    @property
    def where(self) -> str:
        return f"{self._master} (Sentinels {self._endpoints})"

    def _open(self, host: Host, deadline: Deadline) -> Connection:
        answer = _ask(host, self._sentinel_login, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master), deadline)
        if answer is None:
            raise Unavailable(
                f"the Sentinel at {host} knows no primary named {self._master!r}: check the option master"
            )
        name, port = answer
        return _primary(Host(name.decode(), int(port)), self._login, deadline)


class Cluster(Locator):
    """The shard of a Redis Cluster that owns a hash tag."""

    def __init__(self, hosts: Sequence[Host], tag: str, login: Login) -> None:
        super().__init__(hosts, login)
        # ``tag`` has its braces; the server takes what is between them.
        self._slot = crc_hqx(tag[1:-1].encode(), 0) % _SLOTS

    def _open(self, host: Host, deadline: Deadline) -> Connection:
        for first, last, primary, *_ in _ask(host, replace(self._login, db=0), ("CLUSTER", "SLOTS"), deadline):
            if first <= self._slot <= last:
                # A node that doesn't know its own name leaves it out: it is the one we asked.
                name = primary[0].decode() if primary[0] else host.name
                return _primary(Host(name, primary[1]), self._login, deadline)
        raise Unavailable(f"the Redis Cluster, says {host}, has no shard for slot {self._slot} now")


def confirm(connection: Connection, deadline: Deadline) -> None:
    """Raise ``Unavailable`` if the server of a connection is no primary any more, as far as it may be asked.

    A server that was demoted keeps its connections and goes on answering reads, with data that grow stale. It is asked
    at most once in ``_ROLE_SECONDS``. Also raises ``ConnectionBroken``.
    """
    if monotonic() >= connection.primary_until:
        _require_primary(connection, deadline)


def _primary(place: Host, login: Login, deadline: Deadline) -> Connection:
    """A connection to ``place`` if it takes writes, as far as it may be asked."""
    connection = login.connect(place, deadline)
    try:
        _check_role(connection, login, deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_role(connection: Connection, login: Login, deadline: Deadline) -> None:
    try:
        _require_primary(connection, deadline)
    except ConnectionBroken as exc:
        raise login.unreached(exc, connection.where, late=exc.late) from exc


def _require_primary(connection: Connection, deadline: Deadline) -> None:
    place, asked = connection.where, monotonic()
    try:
        role = connection.call("ROLE", deadline=deadline)[0]
    except ServerError as exc:
        if exc.word in {"NOAUTH", "LOADING", "BUSY"}:
            raise refused(exc, action="connecting", where=place, write=False) from exc
        connection.primary_until = math.inf  # Not allowed to ask: the first write will tell.
        return
    connection.primary_until = asked + _ROLE_SECONDS
    if role != b"master":
        said = "a read-only replica" if role == b"slave" else f"a {role.decode()}"
        hint = (
            "use redis+sentinel://" if role == b"sentinel" else "name the primary in the URL, or use redis+sentinel://"
        )
        raise Unavailable(f"Redis at {place} is {said}, and not the primary that takes writes: {hint}")


def _ask(place: Host, login: Login, command: tuple[str, ...], deadline: Deadline) -> Any:
    """One question on a connection of its own."""
    action = "looking for the primary"
    connection = login.connect(place, deadline)
    try:
        return connection.call(*command, deadline=deadline)
    except ServerError as exc:
        raise refused(exc, action=action, where=place, write=False) from exc
    except ConnectionBroken as exc:
        raise ERRORS.unanswered(str(exc), action=action, where=place, write=False, late=exc.late) from exc
    finally:
        connection.close()
