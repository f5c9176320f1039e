"""Finding the server that takes writes: the one named, the one a Sentinel names, or the shard of a cluster.

Asked anew for each connection that is made. Connections are few and last long, and whoever needs a new one has
most likely lost the old one because the primary has changed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from redis.crc import key_slot

from tenure.errors import TenureError, Unavailable
from tenure.spi.plugin import Host
from tenure_redis.connection import Connection, ConnectionBroken, Login
from tenure_redis.errors import ServerError, broken, refused

T = TypeVar("T")

_SHARE = 0.6
"""Part of the time left that one of several hosts may take, so that a silent one leaves some for the next."""


class Locator(ABC):
    """Opens connections to the primary."""

    failover: bool = True
    """Whether another server may take over, with a copy of the data that lags behind."""

    @abstractmethod
    def open(self, *, timeout: float) -> Connection:
        """A fresh connection to a server that says it is a primary. Raises ``Unavailable`` and its like."""

    @property
    @abstractmethod
    def where(self) -> str:
        """The addresses, for messages."""


class Direct(Locator):
    """The servers of the URL: one, or several of which one is the primary."""

    def __init__(self, places: Sequence[Host | str], login: Login) -> None:
        self._places = tuple(places)
        self._login = login
        self.failover = len(places) > 1

    @property
    def where(self) -> str:
        return ",".join(map(str, self._places))

    def open(self, *, timeout: float) -> Connection:
        return _first(self._places, timeout, lambda place, left: _primary(place, self._login, left))


class Sentinels(Locator):
    """A primary by its name, as Sentinels know it."""

    def __init__(self, hosts: Sequence[Host], master: str, login: Login, sentinel_login: Login) -> None:
        self._hosts = tuple(hosts)
        self._master = master
        self._login = login
        self._sentinel_login = sentinel_login

    @property
    def where(self) -> str:
        return f"{self._master} (Sentinels {','.join(map(str, self._hosts))})"

    def open(self, *, timeout: float) -> Connection:
        def by_sentinel(sentinel: Host, left: float) -> Connection:
            until = time.monotonic() + left
            asked = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
            answer = _ask(sentinel, self._sentinel_login, asked, left)
            if answer is None:
                raise Unavailable(
                    f"the Sentinel at {sentinel} knows no primary named {self._master!r}: check the option master"
                )
            name, port = answer
            return _primary(Host(name.decode(), int(port)), self._login, max(until - time.monotonic(), 0.001))

        return _first(self._hosts, timeout, by_sentinel)


class Cluster(Locator):
    """The shard of a Redis Cluster that owns a hash tag."""

    def __init__(self, hosts: Sequence[Host], tag: str, login: Login) -> None:
        self._hosts = tuple(hosts)
        self._slot = key_slot(tag.encode())
        self._login = login

    @property
    def where(self) -> str:
        return ",".join(map(str, self._hosts))

    def open(self, *, timeout: float) -> Connection:
        def by_node(node: Host, left: float) -> Connection:
            until = time.monotonic() + left
            for first, last, primary, *_ in _ask(node, self._login, ("CLUSTER", "SLOTS"), left):
                if first <= self._slot <= last:
                    # A node that doesn't know its own name leaves it out: it is the one we asked.
                    name = primary[0].decode() if primary[0] else node.name
                    return _primary(Host(name, primary[1]), self._login, max(until - time.monotonic(), 0.001))
            raise Unavailable(f"the Redis Cluster, says {node}, has no shard for slot {self._slot} now")

        return _first(self._hosts, timeout, by_node)


def _first(places: Sequence[T], timeout: float, attempt: Callable[[T, float], Connection]) -> Connection:
    """The first place that works, else the error of the last one."""
    until = time.monotonic() + timeout
    last: TenureError | None = None
    for number, place in enumerate(places, 1):
        left = max(until - time.monotonic(), 0.001)
        try:
            return attempt(place, left if number == len(places) else left * _SHARE)
        except TenureError as exc:
            # A server that is reached but refuses the password says more than one that isn't reached.
            if last is None or isinstance(last, Unavailable):
                last = exc
    assert last is not None
    raise last


def _primary(place: Host | str, login: Login, timeout: float) -> Connection:
    """A connection to ``place`` if it takes writes, as far as it may be asked."""
    until = time.monotonic() + timeout
    connection = Connection(place, login, timeout=timeout)
    try:
        role = connection.call("ROLE", timeout=max(until - time.monotonic(), 0.001))[0]
    except ServerError as exc:
        if exc.word in {"NOAUTH", "LOADING", "BUSY"}:
            connection.close()
            raise refused(exc, action="connecting", where=str(place)) from exc
        # Not allowed to ask: the first write will tell.
        return connection
    except ConnectionBroken as exc:
        connection.close()
        raise broken(str(exc), action="connecting", where=str(place), write=False, late=exc.late) from exc
    if role != b"master":
        connection.close()
        said = "a read-only replica" if role == b"slave" else f"a {role.decode()}"
        hint = (
            "use redis+sentinel://" if role == b"sentinel" else "name the primary in the URL, or use redis+sentinel://"
        )
        raise Unavailable(f"Redis at {place} is {said}, and not the primary that takes writes: {hint}")
    return connection


def _ask(place: Host, login: Login, command: tuple[str, ...], timeout: float) -> list[Any]:
    """One question on a connection of its own."""
    until = time.monotonic() + timeout
    connection = Connection(place, replace(login, db=0), timeout=timeout)
    try:
        answer: list[Any] = connection.call(*command, timeout=max(until - time.monotonic(), 0.001))
        return answer
    except ServerError as exc:
        raise refused(exc, action="looking for the primary", where=str(place)) from exc
    except ConnectionBroken as exc:
        error = broken(str(exc), action="looking for the primary", where=str(place), write=False, late=exc.late)
        raise error from exc
    finally:
        connection.close()
