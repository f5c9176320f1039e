"""The servers of the URL: which is asked first, and connecting a socket to one of them, with TLS where asked for.

The servers are equals, so each client asks them in an order of its own. One that hangs costs a share of the time that
opening a store may take, also when kazoo connects, whose own limit would be the whole session timeout.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import TypeVar

from tenure.errors import LeaseNotFound
from tenure.plugin_kit import DEFINITE, Deadline, Endpoints, Resolver, TlsContext, dial
from tenure.spi.plugin import Host, OpenRequest

T = TypeVar("T")


class Servers:
    """The hosts of a URL and how to connect to them. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        self.hosts, self.tls = request.hosts, request.tls
        self._endpoints = Endpoints(random.sample(request.hosts, len(request.hosts)))
        self._resolver = Resolver()
        self._tls = None if request.tls is None else TlsContext(request.tls)
        self.attempt = request.timeout / len(request.hosts)
        """Seconds that kazoo may try one server."""

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self._tls is not None

    def __str__(self) -> str:
        return ",".join(str(host) for host in self.hosts)

    def in_order(self) -> tuple[Host, ...]:
        """The hosts, the one that worked last first."""
        return self._endpoints.in_order()

    def first(self, deadline: Deadline, attempt: Callable[[Host, Deadline], T], *, action: str) -> T:
        """What ``attempt`` returns for the first server with which it works; see ``Endpoints.connect``."""
        return self._endpoints.connect(deadline, attempt, action=action, definite=(LeaseNotFound, *DEFINITE))

    def dial(self, host: Host, deadline: Deadline) -> socket.socket:
        """A connected socket. Raises ``OSError``, or ``Unavailable`` where the name can't be resolved."""
        return dial(host, deadline, resolver=self._resolver, tls=self._tls)
