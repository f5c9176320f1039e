"""pgbouncer in a container, before a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
from postgresql_server import PASSWORD, PostgresqlServer

from tenure_testkit.servers.container import ServerContainer

FOLDER = str(Path(__file__).resolve().parents[2] / "docker-pgbouncer")


class Pgbouncer(ServerContainer):
    """One pooler in the given mode: session, transaction or statement."""

    image_folder = FOLDER
    inner_port = 6432
    data_folder = "/tmp"

    def __init__(self, server: PostgresqlServer, mode: str) -> None:
        super().__init__()
        self._server = server
        self._mode = mode

    def url(self, schema: str) -> str:
        """The URL for Tenure."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}?database=postgres&schema={schema}"

    def files(self) -> Mapping[str, bytes]:
        behind = f"host={self._server.inner_address} port={self._server.inner_port} user=postgres password={PASSWORD}"
        lines = [
            "[databases]",
            f"postgres = {behind}",
            "[pgbouncer]",
            "listen_addr = *",
            f"listen_port = {self.inner_port}",
            "auth_type = any",
            f"pool_mode = {self._mode}",
            "unix_socket_dir =",
        ]
        return {"/etc/tenure-tests/pgbouncer.ini": "\n".join(lines).encode()}

    def is_ready(self) -> bool:
        words = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": "postgres"}
        try:
            psycopg.connect(connect_timeout=5, autocommit=True, **words).close()
        except psycopg.OperationalError:
            return False
        return True
