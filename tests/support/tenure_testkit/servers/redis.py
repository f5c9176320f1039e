"""One Redis in a container, with or without persistence, TLS and a password."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.disk import WhenFull
from tenure_testkit.servers.tls import INNER, Certificates


class RedisServer(ServerContainer):
    """A single server, or one of a `RedisGroup`.

    `persistent`: every write is on its disk before it is acknowledged; else a restart forgets everything. `lazily`:
    that is so a second later, and a full disk doesn't end the process. `defaults`: it is set up as Debian's package
    leaves it, which keeps snapshots; else by `docker/redis/tenure.conf`.
    `password`: the one of the default user. `tls`: clients must use TLS; with `client_certs` they must show a
    certificate, too. `args`: further settings, as redis-server takes them.
    """

    image_folder = "redis"
    inner_port = 6379
    data_folder = "/var/lib/redis/data"

    def __init__(
        self,
        *,
        persistent: bool = True,
        lazily: bool = False,
        defaults: bool = False,
        password: str | None = None,
        tls: Certificates | None = None,
        client_certs: bool = False,
        args: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.persistent = persistent and not defaults
        self.lazily = lazily
        self._defaults = defaults
        if self.persistent and not lazily:
            self.when_full = WhenFull.ENDS
        self.password = password
        self.tls = tls
        self.client_certs = client_certs
        self._args = list(args)

    @property
    def url(self) -> str:
        """The URL for Tenure, with everything that is needed to connect."""
        login = f":{quote(self.password, safe='')}@" if self.password is not None else ""
        if self.tls is None:
            return f"redis://{login}127.0.0.1:{self.port}"
        options = self.tls.url_options(client_certs=self.client_certs)
        return f"redis+tls://{login}127.0.0.1:{self.port}?{urlencode(options, safe='/')}"

    def client(self, *, timeout: float = 2.0) -> Any:
        """A look into this server that does not use the code under test: a `redis.Redis`. Close it after use."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options: dict[str, Any] = {"password": self.password, "socket_timeout": timeout}
        options |= {"socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
        if self.tls is not None:
            options |= {"ssl": True, "ssl_ca_certs": str(self.tls.ca)}
            options |= {"ssl_certfile": str(self.tls.client_cert), "ssl_keyfile": str(self.tls.client_key)}
        return redis.Redis("127.0.0.1", self.port, **options)

    def ask(self, *command: str) -> Any:
        """One command's answer."""
        client = self.client()
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def info(self, section: str = "everything") -> dict[str, Any]:
        """What the server says of itself."""
        client = self.client()
        try:
            found: dict[str, Any] = client.info(section)
            return found
        finally:
            client.close()

    def drop_clients(self) -> None:
        """Close the connections of all clients."""
        self.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def trim(self, store: str = "leasehold") -> None:
        """Forget all changes of a store but the last one."""
        self.ask("XTRIM", f"{{{store}}}:log", "MAXLEN", "=", "1")

    def command(self) -> Sequence[str] | None:
        if self._defaults:
            # As a container needs it, and the tests' clients: everything else is Debian's.
            options = ["redis-server", "/etc/redis/redis.conf", "--dir", "/var/lib/redis/data", "--daemonize", "no"]
            options += ["--bind", "0.0.0.0", "--protected-mode", "no", "--logfile", "", "--pidfile", ""]
        else:
            options = ["redis-server", "/etc/redis/tenure.conf"]
        if not self.persistent and not self._defaults:
            options += ["--appendonly", "no"]
        if self.lazily:
            options += ["--appendfsync", "everysec"]
        if self.password is not None:
            options += ["--requirepass", self.password, "--masterauth", self.password]
        if self.tls is not None:
            options += ["--port", "0", "--tls-port", str(self.inner_port), "--tls-ca-cert-file", f"{INNER}/ca.pem"]
            options += ["--tls-cert-file", f"{INNER}/server.pem", "--tls-key-file", f"{INNER}/server.key"]
            options += ["--tls-auth-clients", "yes" if self.client_certs else "no"]
        else:
            options += ["--port", str(self.inner_port)]
        return options + self._args

    def files(self) -> Mapping[str, bytes]:
        return {} if self.tls is None else self.tls.files()

    def is_ready(self) -> bool:
        from redis.exceptions import RedisError

        try:
            client = self.client(timeout=1.0)
            try:
                return bool(client.ping())
            finally:
                client.close()
        except (RedisError, OSError):
            return False
