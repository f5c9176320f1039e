"""One Consul server in a container, or three of them: with quick or default limits, TLS and ACLs."""

import json
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlencode

from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.disk import WhenFull
from tenure_testkit.servers.group import LoopbackGroup, LoopbackNode
from tenure_testkit.servers.ports import free_port
from tenure_testkit.servers.tls import INNER, Certificates
from tenure_testkit.waiting import PATIENCE, until

_QUICK = 'session_ttl_min = "1s"'


class ConsulServer(ServerContainer):
    """A single server, or one of a `ConsulCluster`.

    `quick`: leases from one second on; else Consul's own limits. `management`: ACLs deny what isn't allowed, and
    this token may do everything. `tls`: HTTPS only; with `client_certs` clients must show a certificate. `settings`:
    further configuration, in HCL.
    """

    image_folder = "consul"
    inner_port = 8500
    data_folder = "/var/lib/consul"
    when_full = WhenFull.FALTERS

    def __init__(
        self,
        *,
        quick: bool = True,
        management: str | None = None,
        tls: Certificates | None = None,
        client_certs: bool = False,
        settings: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.management = management
        self.tls = tls
        self.client_certs = client_certs
        self._quick = quick
        self._settings = list(settings)

    def url_with(self, token: str | None = None, **options: str) -> str:
        """The URL for Tenure with this token; the management one where there is none."""
        token = token or self.management
        login = f":{token}@" if token else ""
        if self.tls is not None:
            options |= self.tls.url_options(client_certs=self.client_certs)
        scheme = "consul" if self.tls is None else "consul+tls"
        query = f"?{urlencode(options, safe='/')}" if options else ""
        return f"{scheme}://{login}127.0.0.1:{self.port}{query}"

    @property
    def url(self) -> str:
        """The URL for Tenure, with everything that is needed to connect."""
        return self.url_with()

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 2.0) -> Any:
        """One request that does not use the code under test; None for what isn't there."""
        context = None
        if self.tls is not None:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            context.load_cert_chain(self.tls.client_cert, self.tls.client_key)
        scheme = "http" if context is None else "https"
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{self.port}{path}", method=method)
        if self.management is not None:
            request.add_header("X-Consul-Token", self.management)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=timeout, context=context) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as exc:
            with exc:
                if exc.code == 404:
                    return None
                raise

    def token(self, rules: str) -> str:
        """A new ACL token with these rules."""
        name = f"policy-{free_port()}"
        policy = self.ask("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        made = self.ask("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
        return str(made["SecretID"])

    def command(self) -> Sequence[str]:
        command = ["tenure-consul", *self.membership()]
        for line in self.settings():
            command += ["-hcl", line]
        return command

    def membership(self) -> Sequence[str]:
        """Options that say which servers belong together."""
        return ["-bootstrap-expect=1"]

    def settings(self) -> list[str]:
        """Lines of configuration."""
        lines = list(self._settings)
        if self._quick:
            lines.append(_QUICK)
        if self.management is not None:
            lines.append('acl { enabled = true, default_policy = "deny" }')
            lines.append(f'acl {{ tokens {{ master = "{self.management}", agent = "{self.management}" }} }}')
        if self.tls is not None:
            lines.append("ports { http = -1, https = 8500 }")
            lines.append(f'ca_file = "{INNER}/ca.pem"')
            lines.append(f'cert_file = "{INNER}/server.pem"')
            lines.append(f'key_file = "{INNER}/server.key"')
            lines.append(f"verify_incoming_https = {'true' if self.client_certs else 'false'}")
        return lines

    def files(self) -> Mapping[str, bytes]:
        return {} if self.tls is None else self.tls.files()

    def is_ready(self) -> bool:
        """It leads or follows, and has registered its node, without which there are no sessions."""
        try:
            self.ask("GET", "/v1/kv/ready?consistent")
            return bool(self.ask("GET", "/v1/catalog/nodes?consistent"))
        except (OSError, ValueError):
            return False


class AclToken:
    """A token whose rules change, and that is deleted and made again."""

    def __init__(self, server: ConsulServer, rules: str) -> None:
        self._server = server
        self._name = f"policy-{uuid.uuid4().hex}"
        self._policy = server.ask("PUT", "/v1/acl/policy", {"Name": self._name, "Rules": rules})["ID"]
        self._accessor = ""
        self.secret = str(uuid.uuid4())
        self.make()

    def make(self) -> None:
        """Make the token, with the secret and the rules that it has."""
        made = {"SecretID": self.secret, "Policies": [{"ID": self._policy}]}
        self._accessor = str(self._server.ask("PUT", "/v1/acl/token", made)["AccessorID"])

    def delete(self) -> None:
        """Delete the token: Consul doesn't know it any more."""
        self._server.ask("DELETE", f"/v1/acl/token/{self._accessor}")

    def allow(self, rules: str) -> None:
        """Give the token these rules instead."""
        policy = {"ID": self._policy, "Name": self._name, "Rules": rules}
        self._server.ask("PUT", f"/v1/acl/policy/{self._policy}", policy)


class ClusterNode(LoopbackNode, ConsulServer):
    """A server of a cluster, with ports of its own for everything."""

    def __init__(self, cluster: "ConsulCluster", *, quick: bool) -> None:
        super().__init__(quick=quick)
        self.inner_port = self.port
        self.rpc, self.lan, self.wan = free_port(), free_port(), free_port()
        self._group: ConsulCluster = cluster

    def membership(self) -> Sequence[str]:
        joined = [f"-retry-join=127.0.0.1:{node.lan}" for node in self._group.nodes]
        return [f"-bootstrap-expect={len(joined)}", f"-node=node{self.port}", "-retry-interval=1s", *joined]

    def settings(self) -> list[str]:
        ports = f"http = {self.port}, server = {self.rpc}, serf_lan = {self.lan}, serf_wan = {self.wan}, dns = -1"
        return [*super().settings(), f"ports {{ {ports} }}"]


class ConsulCluster(LoopbackGroup[ClusterNode]):
    """Three servers that share a network."""

    image_folder = ConsulServer.image_folder

    def __init__(self, *, quick: bool = True) -> None:
        self.nodes = [ClusterNode(self, quick=quick) for _ in range(3)]

    @property
    def url(self) -> str:
        """The URL for Tenure, naming all three."""
        return "consul://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start everything and wait until it works."""
        self.make_network()
        for node in self.nodes:
            node.start(wait=False)
        self.wait_ready()
        return self

    def leader(self, *, other_than: ConsulServer | None = None, timeout: float = PATIENCE) -> ClusterNode:
        """The server that leads, once there is one that is not `other_than`."""
        return until(lambda: self._leader(other_than), timeout, "the cluster has a leader", interval=0.05)

    def _leader(self, other_than: ConsulServer | None) -> ClusterNode | None:
        for asked in self.nodes:
            if asked is other_than or asked.status != "running":
                continue
            try:
                address = asked.ask("GET", "/v1/status/leader")
            except (OSError, ValueError):
                continue
            for node in self.nodes:
                if node is not other_than and address == f"127.0.0.1:{node.rpc}" and node.is_ready():
                    return node
        return None
