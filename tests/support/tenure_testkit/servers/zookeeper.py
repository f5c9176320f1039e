"""One ZooKeeper in a container, with quick or default limits, TLS, and servers of an ensemble."""

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.disk import WhenFull
from tenure_testkit.servers.tls import INNER, Certificates

QUICK_TICK = 250
_TLS_PORT = 2281


class ZooKeeperServer(ServerContainer):
    """A single server, or one of a `ZooKeeperEnsemble`.

    `quick`: leases from half a second instead of four, and empty folders go within seconds. `connections`: how many
    the server takes from one address, 0 for no limit. `tls`: clients must use TLS; with `client_certs` they must
    show a certificate, too. `sasl_users`: who may log in by SASL, with passwords; with `sasl_required` all others
    are served nothing. `env`: see `docker/zookeeper/tenure-zookeeper`.
    """

    image_folder = "zookeeper"
    inner_port = 2181
    data_folder = "/var/lib/tenure-zookeeper"
    when_full = WhenFull.ENDS

    def __init__(
        self,
        *,
        quick: bool = True,
        connections: int = 0,
        tls: Certificates | None = None,
        client_certs: bool = False,
        user: str | None = None,
        password: str = "",
        sasl_users: Mapping[str, str] | None = None,
        sasl_required: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.quick = quick
        self.connections = connections
        self.tls = tls
        self.client_certs = client_certs
        self.user = user
        self.password = password
        self.sasl_users = dict(sasl_users or {})
        self.sasl_required = sasl_required
        self._env = dict(env or {})
        if tls is not None:
            self.inner_port = _TLS_PORT

    @property
    def url(self) -> str:
        """The URL for Tenure, with everything that is needed to connect."""
        return url_of([self.port], self.tls, client_certs=self.client_certs, user=self.user, password=self.password)

    def url_as(self, user: str, password: str, options: str = "auth=sasl") -> str:
        """The URL of a user who logs in by SASL, or with other options."""
        return f"{url_of([self.port], user=user, password=password)}?{options}"

    def ask(self, word: str, *, timeout: float = 2.0) -> str:
        """What the server says to a four-letter word such as `srvr`. Raises `OSError`."""
        received = bytearray()
        with self._connect(timeout) as connection:
            connection.sendall(word.encode())
            while chunk := connection.recv(65_536):
                received += chunk
        return received.decode(errors="replace")

    def client(self, *, timeout: float = 10.0) -> Any:
        """A look into this server that does not use the code under test: a started `KazooClient`. Stop it after use."""
        from kazoo.client import KazooClient

        client = KazooClient(f"127.0.0.1:{self.port}", timeout=timeout)
        client.start(timeout)
        return client

    def environment(self) -> Mapping[str, str]:
        chosen = {"ZOO_MAX_CNXNS": str(self.connections)}
        # Tests end processes and never the machine, so what was written is kept without waiting for the disk.
        chosen["ZOO_JVMFLAGS"] = "-Dzookeeper.forceSync=no -XX:-UsePerfData"
        if self.quick:
            chosen |= {"ZOO_TICK_TIME": str(QUICK_TICK), "ZOO_CONTAINER_CHECK": "1000"}
            # Twenty ticks would be very short for the longest lease.
            chosen["ZOO_CFG"] = "maxSessionTimeout=60000"
        if self.tls is not None:
            lines = [
                f"secureClientPort={_TLS_PORT}",
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
                f"ssl.keyStore.location={INNER}/server.pem",
                "ssl.keyStore.type=PEM",
                f"ssl.trustStore.location={INNER}/ca.pem",
                "ssl.trustStore.type=PEM",
                "ssl.hostnameVerification=false",
                f"ssl.clientAuth={'need' if self.client_certs else 'none'}",
            ]
            chosen["ZOO_CFG"] = ";".join([*filter(None, [chosen.get("ZOO_CFG")]), *lines])
        if self.sasl_users:
            chosen["ZOO_SASL_USERS"] = "\n".join(f"{user}:{password}" for user, password in self.sasl_users.items())
        if self.sasl_required:
            chosen["ZOO_SASL_REQUIRED"] = "yes"
        return chosen | self._env

    def files(self) -> Mapping[str, bytes]:
        if self.tls is None:
            return {}
        # The server wants its key, as PKCS#8, and its certificate in one file.
        from cryptography.hazmat.primitives import serialization as formats

        key = formats.load_pem_private_key(self.tls.server_key.read_bytes(), password=None)
        pkcs8 = key.private_bytes(formats.Encoding.PEM, formats.PrivateFormat.PKCS8, formats.NoEncryption())
        both = pkcs8 + self.tls.server_cert.read_bytes()
        return {f"{INNER}/server.pem": both, f"{INNER}/ca.pem": self.tls.ca.read_bytes()}

    def is_ready(self) -> bool:
        try:
            return "Mode: " in self.ask("srvr", timeout=1.0)
        except OSError:
            return False

    @property
    def mode(self) -> str:
        """`standalone`, `leader` or `follower`; empty while it serves nobody."""
        try:
            said = self.ask("srvr", timeout=1.0)
        except OSError:
            return ""
        return said.partition("Mode: ")[2].partition("\n")[0].strip()

    def _connect(self, timeout: float) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout)
        if self.tls is None:
            return plain
        context = ssl.create_default_context(cafile=str(self.tls.ca))
        context.load_cert_chain(str(self.tls.client_cert), str(self.tls.client_key))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


def url_of(
    ports: list[int],
    tls: Certificates | None = None,
    *,
    client_certs: bool = False,
    user: str | None = None,
    password: str = "",
) -> str:
    """The URL that names the servers on these ports of 127.0.0.1."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user is not None else ""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    if tls is None:
        return f"zookeeper://{login}{hosts}"
    options = tls.url_options(client_certs=client_certs)
    return f"zookeeper+tls://{login}{hosts}?{urlencode(options, safe='/')}"


class OldZooKeeperServer(ZooKeeperServer):
    """A server from before persistent watches, reads of many nodes and containers."""

    image_folder = "zookeeper-old"

    def environment(self) -> Mapping[str, str]:
        return {}
