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
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from tenure._runtime.deadline import Deadline
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
    """The hosts of one URL. Thread-safe."""

    def __init__(self, hosts: Sequence[Host], *, shuffle: bool = False) -> None:
        """Keep ``hosts``, at least one; ``shuffle`` asks them in random order, the one that worked last included."""
        self.hosts = tuple(hosts)
        self._shuffle = shuffle
        self._lock = threading.Lock()
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
        """The hosts in the order in which the next connection tries them."""
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
        """What ``connect`` returns for the first host with which it works.

        Args:
            deadline: for all hosts together.
            connect: tries one host within its own deadline; raises errors of ``tenure.errors``.
            action: what is being done, for the message.
            definite: errors that another host would give as well, so that they are raised at once.

        Raises:
            Unavailable: no host could be used; the message has each one's reason. Nothing was sent.
            DeadlineExceeded: likewise, and the time was up.
            AuthenticationFailed: and other errors that every host would give, from the first that gave one.
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
        """Ask another host first from now on, unless that was decided already."""
        with self._lock:
            if self._best == host:
                self._best = self.hosts[(self.hosts.index(host) + 1) % len(self.hosts)]


def dial(host: Host, deadline: Deadline, *, resolver: Resolver, tls: TlsContext | None = None) -> socket.socket:
    """Connect a TCP socket to ``host``, encrypted if ``tls`` is given.

    The host's addresses are tried in turn, each with an equal share of the time. The certificate has to be for
    ``host.name``. ``TCP_NODELAY`` and keep-alive are on.

    Args:
        host: where to.
        deadline: for look-up, connection and handshake together.
        resolver: of this backend.
        tls: the backend's context, or ``None`` for a plain connection.

    Returns:
        A connected socket with what is left of the deadline as its time limit.

    Raises:
        OSError: no address could be connected to (``TimeoutError``, ``ssl.SSLError`` and so on): translate it.
        Unavailable: the host's name can't be resolved.
        DeadlineExceeded: it can't be resolved in time.
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
