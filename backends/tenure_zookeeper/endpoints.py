"""The servers of the URL: connecting a socket to one of them, with TLS where asked for."""

from __future__ import annotations

import random
import socket
import ssl

from tenure.errors import ConfigError
from tenure.spi.plugin import Host, OpenRequest, Tls


class Endpoints:
    """The hosts of a URL and how to connect to them. Immutable, thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        self.hosts = request.hosts
        self._tls = None if request.tls is None else _context(request.tls)

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self._tls is not None

    def __str__(self) -> str:
        return ",".join(str(host) for host in self.hosts)

    def shuffled(self) -> list[Host]:
        """The hosts in the order in which this attempt should try them."""
        return random.sample(self.hosts, len(self.hosts))

    def dial(self, address: tuple[str, int], name: str, timeout: float) -> socket.socket:
        """A connected socket; raises ``OSError``. ``name`` is what the server's certificate has to show."""
        plain = socket.create_connection(address, timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return plain
            return self._tls.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(
            f"TLS can't be set up: {exc}: check the files that the URL names as ca, cert and key"
        ) from exc
    return context
