"""Several servers of one store: which is asked first, how long each may take, and when another one's turn comes.

The policy, the same for every store:

* The host that worked last is asked first, then the others in the order of the URL (or shuffled, where the servers
  are equals and load should spread).
* Each host gets an equal share of the time that is left: ``remaining / hosts still to be asked``. A dead or hanging
  host costs its share and never the whole deadline.
* An error that every host would give (a wrong password, a wrong option) is raised at once.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    PermissionDenied,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit.resolver import Resolver
from tenure.plugin_kit.tls import TlsContext
from tenure.spi.plugin import Host

C = TypeVar("C")

DEFINITE = (AuthenticationFailed, ConfigError, PermissionDenied)
"""Errors that another host of the same store would give as well."""


class Endpoints:
    """The hosts of one URL. Thread-safe.

    >>> from tenure.errors import Unavailable
    >>> endpoints = Endpoints([Host("192.0.2.1", 7000), Host("192.0.2.2", 7000)])
    >>> def connect(host, deadline):
    ...     if host.name == "192.0.2.1":
    ...         raise Unavailable(f"connecting to {host}: the server is down")
    ...     return f"a connection to {host}, made within {deadline.seconds:.0f} s"
    >>> endpoints.connect(Deadline(10), connect, action="connecting")
    'a connection to 192.0.2.2:7000, made within 10 s'
    >>> str(endpoints.best)
    '192.0.2.2:7000'

    Args:
        hosts: the hosts in the order of the URL, at least one.
        shuffle: whether each new connection asks the hosts in random order. The host that worked last then comes
            first no more often than the others.

    Attributes:
        hosts: the hosts in the order of the URL.
    """

    def __init__(self, hosts: Sequence[Host], *, shuffle: bool = False) -> None:
        self.hosts = tuple(hosts)
        self._shuffle = shuffle
        self._lock = Monitor()
        self._best = self.hosts[0]

    @property
    def several(self) -> bool:
        """Whether another server may take over."""
        return len(self.hosts) > 1

    @property
    def best(self) -> Host:
        """The host that is asked first."""
        return self._best

    def __str__(self) -> str:
        """The hosts with commas between, for messages."""
        return ",".join(map(str, self.hosts))

    def in_order(self) -> tuple[Host, ...]:
        """Return the hosts in the order in which the next connection tries them.

        Returns:
            Every host once: the best one first and then the others as the URL has them, or shuffled.
        """
        if self._shuffle:
            return tuple(random.sample(self.hosts, len(self.hosts)))
        start = self.hosts.index(self._best)
        return self.hosts[start:] + self.hosts[:start]

    def connect(
        self,
        deadline: Deadline,
        connect: Callable[[Host, Deadline], C],
        *,
        action: str,
        definite: tuple[type[TenureError], ...] = DEFINITE,
    ) -> C:
        """Try the hosts in order until ``connect`` returns for one, and ask that host first from now on.

        Args:
            deadline: the deadline for all hosts together.
            connect: tries one host within a deadline of its own. It raises errors of :mod:`tenure.errors`.
            action: what is being done, for the message.
            definite: errors that another host would give as well. They are raised at once.

        Returns:
            What ``connect`` returned for the first host that could be used.

        Raises:
            Unavailable: no host could be used. The message has the reason of each. No connection was made.
            DeadlineExceeded: no host could be used before the deadline. No connection was made.
            AuthenticationFailed: the first host that answered refused the credentials. It and each other error of
                ``definite`` is raised as ``connect`` raised it, and no further host is asked.
        """
        hosts = self.in_order()
        failures: list[TenureError] = []
        for position, host in enumerate(hosts):
            share = deadline.remaining() / (len(hosts) - position)
            try:
                found = connect(host, Deadline(share))
            except definite:
                raise
            except TenureError as exc:
                if len(hosts) == 1:
                    raise
                failures.append(exc)
                if deadline.expired:
                    break
            else:
                self._best = host
                return found
        kind = DeadlineExceeded if deadline.expired else Unavailable
        raise kind(f"{action}: none of {self} can be used: " + "; ".join(map(str, failures))) from failures[-1]

    def report_failure(self, host: Host) -> None:
        """Ask the next host first from now on, if ``host`` is the one that is asked first today.

        Several threads may report the same failure: the first report decides, and later ones change nothing.

        Args:
            host: the host whose connection failed.
        """
        with self._lock:
            if self._best == host:
                self._best = self.hosts[(self.hosts.index(host) + 1) % len(self.hosts)]


def dial(host: Host, deadline: Deadline, *, resolver: Resolver, tls: TlsContext | None = None) -> socket.socket:
    """Connect a TCP socket to ``host``, encrypted if ``tls`` is given.

    The host's addresses are tried in turn, each with an equal share of the time that is left. The server's
    certificate has to name ``host.name``. ``TCP_NODELAY`` and keep-alive are on.

    Args:
        host: the server.
        deadline: the deadline for look-up, connection and handshake together.
        resolver: the backend's resolver.
        tls: the backend's context, ``None`` for a plain connection.

    Returns:
        A connected socket whose time limit is the rest of the deadline or less. Set one with ``settimeout`` before
        each use.

    Raises:
        OSError: no address could be connected to; also as ``TimeoutError`` or ``ssl.SSLError``. No request was sent.
            The caller translates it, as with :meth:`ErrorTable.cannot_connect`.
        Unavailable: the host's name can't be resolved. Nothing was sent.
        DeadlineExceeded: the host's name can't be resolved before the deadline. Nothing was sent.
    """
    addresses = resolver.addresses(host, deadline)
    last: OSError = OSError("it has no address")
    for position, address in enumerate(addresses):
        limit = Deadline(deadline.remaining() / (len(addresses) - position))
        plain = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            plain.settimeout(limit.remaining())
            plain.connect(address.sockaddr)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is None:
                return plain
            # The handshake may use what is left for all addresses: this one has answered.
            plain.settimeout(deadline.remaining())
            return tls.current().wrap_socket(plain, server_hostname=host.name)
        except OSError as exc:
            plain.close()
            last = exc
            if deadline.expired:
                break
        except BaseException:
            plain.close()
            raise
    raise last
