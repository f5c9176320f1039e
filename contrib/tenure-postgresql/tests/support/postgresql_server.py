"""PostgreSQL in a container for these tests, and everything that can happen to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import psycopg

from tenure.conformance import ServerControls
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.controls import controls
from tenure_testkit.servers.disk import SmallDisk, WhenFull
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE, until

FOLDER = str(Path(__file__).resolve().parents[2] / "docker")
PASSWORD = "tenure"
REPLICA = "/var/lib/postgresql/small"
TLS_FOLDER = "/etc/tenure-tests"
_REPLICA_PORT = 5433


class Disk(SmallDisk):
    """A disk for a server's data of so many bytes, which can be filled; best with ``max_wal_size`` far below them."""

    def __init__(self, size: int = 512 << 20) -> None:
        super().__init__(FOLDER, size)

    def start(self) -> Self:
        super().start()
        self.give_to("postgres", 0o700)
        return self


class PostgresqlServer(ServerContainer):
    """One server. ``settings`` are postgres's own; ``files`` go to ``/etc/tenure-tests``."""

    image_folder = FOLDER
    inner_port = 5432
    data_folder = "/var/lib/postgresql/data"
    when_full = WhenFull.ENDS

    def __init__(
        self,
        *settings: str,
        files: Mapping[str, bytes] | None = None,
        tmpfs: Mapping[str, str] | None = None,
        disk: Disk | None = None,
    ) -> None:
        super().__init__()
        self.tls_options: dict[str, str] = {}
        self.disk = disk
        self._settings = settings
        self._files = {f"{TLS_FOLDER}/{name}": content for name, content in (files or {}).items()}
        self._tmpfs = dict(tmpfs or {})

    def url(self, *, user: str = "postgres", password: str = PASSWORD, host: str = "127.0.0.1", **options: Any) -> str:
        """The URL for Tenure."""
        words = {"database": "postgres", **self.tls_options, **options}
        scheme = "postgresql+tls" if self.tls_options else "postgresql"
        return f"{scheme}://{user}:{password}@{host}:{self.port}?{urlencode(words, safe='/')}"

    def choose_ports(self) -> None:
        super().choose_ports()
        self.replica_port = free_port()

    def ports(self) -> Mapping[int, int]:
        return {self.inner_port: self.port, _REPLICA_PORT: self.replica_port}

    def command(self) -> Sequence[str]:
        return ["tenure-postgresql", *(word for one in self._settings for word in ("-c", one))]

    def files(self) -> Mapping[str, bytes]:
        return self._files

    def tmpfs(self) -> Mapping[str, str]:
        return self._tmpfs

    def is_ready(self) -> bool:
        try:
            return bool(self.sql("SELECT 1"))
        except psycopg.OperationalError:
            return False

    # -- what happens to it --

    def fill_disk(self) -> None:
        """Nothing can be written to its disk any more. It ends when it needs to write there and can't."""
        assert self.disk is not None
        self.disk.fill()

    def free_disk(self) -> None:
        """After ``fill_disk``: there is room again, and the server is back."""
        assert self.disk is not None
        self.disk.free()
        # It may end only now: recovery began when the disk was full, and finds no room for its own log.
        until(self._ready_or_started_again, PATIENCE, "the server has room again and answers")

    def _ready_or_started_again(self) -> bool:
        if self.is_ready():
            return True
        self.revive()
        return False

    def cut(self) -> None:
        """End every connection but this one."""
        self.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def compact(self, schema: str = "leasehold") -> None:
        """Forget all changes but the last."""
        self.sql(f"SELECT {schema}.trim_v1(1) FROM (SELECT {schema}.enter_v1(5000, 10000)) AS locked")

    def controls(self) -> ServerControls:
        """Everything of the above that the conformance suite can use."""
        disk = {"fill_disk": self.fill_disk, "free_disk": self.free_disk} if self.disk is not None else {}
        return controls(self, cut=self.cut, compact=self.compact, **disk)

    # -- a replica of it, in the same container --

    def start_replica(self) -> None:
        """Copy the server, and let the copy follow it on :attr:`replica_port`."""
        self.exec("pg_basebackup", "-h", "/tmp", "-D", REPLICA, "-R", "-c", "fast")
        self._pg_ctl("start")

    def leave_replica_behind(self) -> None:
        """From now on the replica gets no news."""
        self._pg_ctl("stop", "-m", "fast")
        self.exec("sh", "-c", f"echo \"primary_conninfo = ''\" >> {REPLICA}/postgresql.auto.conf")
        self._pg_ctl("start")

    def promote_replica(self) -> None:
        """The replica takes writes."""
        self._pg_ctl("promote")

    def _pg_ctl(self, verb: str, *words: str) -> None:
        options = f"-p {_REPLICA_PORT} -c listen_addresses=* -c unix_socket_directories=/tmp"
        started = ("-o", options, "-l", "/tmp/replica.log") if verb == "start" else ()
        self.exec("pg_ctl", "-D", REPLICA, "-w", *started, *words, verb)

    # -- a look into it without the code under test --

    def connect(self, database: str = "postgres", **words: Any) -> psycopg.Connection[Any]:
        options = {"user": "postgres", "password": PASSWORD, "connect_timeout": 5, **words}
        if self.tls_options:
            options |= {"sslmode": "require"}
        return psycopg.connect(host="127.0.0.1", port=self.port, dbname=database, autocommit=True, **options)

    def sql(self, query: str, *, database: str = "postgres") -> list[Any]:
        """The rows of one statement, or of the last of several."""
        with self.connect(database) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def exec(self, *command: str, user: str = "postgres") -> str:
        """Run a command in the container; PostgreSQL's own are on its path."""
        script = 'PATH=$PATH:$(dirname /usr/lib/postgresql/*/bin/postgres) exec "$@"'
        return super().exec("sh", "-c", script, "sh", *command, user=user)
