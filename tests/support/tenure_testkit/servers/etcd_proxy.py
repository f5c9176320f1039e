"""`etcd grpc-proxy` in front of an etcd server."""

from collections.abc import Sequence

from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.etcd_gateway import Gateway


class EtcdGrpcProxy(ServerContainer):
    """It speaks etcd's protocol, and answers for the `server`, which is running, over connections of its own."""

    image_folder = "etcd"
    inner_port = 23790
    data_folder = "/var/lib/etcd"

    def __init__(self, server: EtcdServer) -> None:
        super().__init__()
        self._server = server

    @property
    def url(self) -> str:
        """The URL for Tenure."""
        return f"etcd://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        behind = f"{self._server.inner_address}:{self._server.inner_port}"
        listen = f"0.0.0.0:{self.inner_port}"
        return ["/usr/bin/etcd", "grpc-proxy", "start", f"--endpoints={behind}", f"--listen-addr={listen}"]

    def is_ready(self) -> bool:
        return Gateway(f"http://127.0.0.1:{self.port}").healthy()
