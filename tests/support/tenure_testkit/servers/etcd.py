"""One etcd node in a container, with or without TLS and a password."""

import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from tenure_testkit.servers import engine
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.disk import WhenFull
from tenure_testkit.servers.etcd_gateway import Gateway
from tenure_testkit.servers.tls import INNER, Certificates

_UNPACKED = "unpacked-backup"


class EtcdServer(ServerContainer):
    """A single node, or one node of an `EtcdCluster`.

    `password`: authentication is on, and this is the password of the user `root`.
    `tls`: clients must use TLS; with `client_certs` they must show a certificate, too.
    `env`: further `ETCD_*` variables; `args`: further command line options.
    """

    image_folder = "etcd"
    inner_port = 2379
    data_folder = "/var/lib/etcd"
    small_disk_bytes = 160 << 20  # two pieces of its log, of 64 MB each, are there from the start
    when_full = WhenFull.ENDS

    def __init__(
        self,
        *,
        password: str | None = None,
        tls: Certificates | None = None,
        client_certs: bool = False,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.password = password
        self.tls = tls
        self.client_certs = client_certs
        self._env = dict(env or {})
        self._args = list(args)

    @property
    def endpoint(self) -> str:
        """What etcd's own tools call it: `http://127.0.0.1:PORT`, or https."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL for Tenure, with everything that is needed to connect."""
        return url_of([self.port], self.password, self.tls, client_certs=self.client_certs)

    @property
    def gateway(self) -> Gateway:
        """A look into this node that does not use the code under test."""
        password = None if self._fresh else self.password
        return Gateway(self.endpoint, password=password, tls=self._tls_context())

    def etcdctl(self, *arguments: str) -> str:
        """Run etcdctl inside the container, with the address, certificates and password it needs."""
        options = [f"--endpoints={'https' if self.tls else 'http'}://127.0.0.1:{self.inner_port}"]
        if self.tls:
            options += [f"--cacert={INNER}/ca.pem", f"--cert={INNER}/client.pem", f"--key={INNER}/client.key"]
        if self.password is not None:
            options += [f"--user=root:{self.password}"]
        return self.exec("etcdctl", *options, *arguments)

    def make_room(self) -> None:
        """What an operator does about a quota that is used up: forget history, shrink the file, clear the alarm."""
        self.gateway.compact()
        self.etcdctl("defrag")
        self.etcdctl("alarm", "disarm")

    def back_up(self, *, token: str = "etcd-cluster") -> None:
        """Make a backup of the data as they are now, and unpack it beside them for a cluster with this token."""
        saved, peer = f"{self.data_folder}/backup.db", "http://127.0.0.1:2380"
        self.etcdctl("snapshot", "save", saved)
        self.exec("rm", "-rf", f"{self.data_folder}/{_UNPACKED}")
        self.exec(
            *("etcdctl", "snapshot", "restore", saved, f"--data-dir={self.data_folder}/{_UNPACKED}", "--name=single"),
            *(f"--initial-cluster=single={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster-token={token}",
        )

    def restore(self) -> None:
        """Replace the data of the server, which is down, by the last backup. `start` it afterwards."""
        swap = f"cd {self.data_folder} && rm -rf data && mv {_UNPACKED} data"
        engine.client().containers.run(
            engine.image("etcd"), ["sh", "-c", swap], volumes_from=[self._get().id], remove=True, labels=engine.labels()
        )

    def environment(self) -> Mapping[str, str]:
        scheme = "https" if self.tls else "http"
        return {
            "ETCD_LISTEN_CLIENT_URLS": f"{scheme}://0.0.0.0:{self.inner_port}",
            "ETCD_ADVERTISE_CLIENT_URLS": self.endpoint,
            # Tests end processes and never the machine, so what was written is kept without waiting for the disk.
            "ETCD_UNSAFE_NO_FSYNC": "true",
            **self._env,
        }

    def command(self) -> Sequence[str] | None:
        options = list(self._args)
        if self.tls:
            options += [f"--cert-file={INNER}/server.pem", f"--key-file={INNER}/server.key"]
            if self.client_certs:
                options += ["--client-cert-auth", f"--trusted-ca-file={INNER}/ca.pem"]
        return ["/usr/bin/etcd", *options] if options else None

    def files(self) -> Mapping[str, bytes]:
        return {} if self.tls is None else self.tls.files()

    def is_ready(self) -> bool:
        return self.gateway.healthy()

    def first_ready(self) -> None:
        if self.password is not None:
            Gateway(self.endpoint, tls=self._tls_context()).enable_auth(self.password)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.tls is None:
            return None
        context = ssl.create_default_context(cafile=str(self.tls.ca))
        # Not the client's: etcd refuses gateway calls with a certificate that has a common name.
        context.load_cert_chain(self.tls.server_cert, self.tls.server_key)
        return context


def url_of(ports: Sequence[int], password: str | None, tls: Certificates | None, *, client_certs: bool) -> str:
    """Tenure's URL for etcd nodes on these ports of 127.0.0.1."""
    login = f"root:{quote(password, safe='')}@" if password is not None else ""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    if tls is None:
        return f"etcd://{login}{hosts}"
    options = tls.url_options(client_certs=client_certs)
    return f"etcd+tls://{login}{hosts}?{urlencode(options, safe='/')}"
