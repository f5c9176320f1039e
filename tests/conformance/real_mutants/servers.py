"""The servers that real mutants are tried on: one of each store for each worker, reused over all its mutants."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .model import ROOT

for _folder in (ROOT / "tests/support", ROOT / "contrib/tenure-postgresql/tests/support"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

from tenure.conformance.controls.controls import ServerControls  # noqa: E402 - the path has to be set first
from tenure_testkit.servers.controls import controls  # noqa: E402

_SNAPSHOT_SECONDS = 30.0

EMBEDDED = ("memory", "sqlite")
"""Stores without a server: a trial makes one of its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A server for trials."""

    url: Callable[[], str]
    """A URL for the next trial; of a store whose functions live in the server, one with functions of its own."""
    controls: Callable[[str], ServerControls]
    """Controls for the trial with this URL."""
    recover: Callable[[], None]
    """Bring it back from whatever the trial before did to it."""


def start(store: str, stack: ExitStack) -> Running:
    """Start a server of a store, until the stack is closed."""
    server: Any
    if store == "postgresql":
        return _postgresql(stack)
    if store == "etcd":
        from tenure_testkit.servers import EtcdServer

        server = stack.enter_context(EtcdServer())
        return _running(server, stack, compact=server.gateway.compact)
    if store == "redis":
        from tenure_testkit.servers.redis import RedisServer

        server = stack.enter_context(RedisServer())
        return _running(server, stack, compact=server.trim)
    if store == "zookeeper":
        from tenure_testkit.servers.zookeeper import ZooKeeperServer

        return _running(stack.enter_context(ZooKeeperServer()), stack)
    if store == "consul":
        from tenure_testkit.servers.consul import ConsulServer

        return _running(stack.enter_context(ConsulServer()), stack)
    if store == "consul-running":
        from tenure_testkit.servers.consul import ConsulServer

        return _restored_running(stack.enter_context(ConsulServer()))
    raise ValueError(f"there is no server of {store!r}")


def _running(server: Any, stack: ExitStack, **others: Any) -> Running:
    others |= _backup(server, stack)
    return Running(lambda: str(server.url), lambda url: controls(server, **others), server.recover)


def _backup(server: Any, stack: ExitStack) -> dict[str, Callable[[], None]]:
    """Keep the files of a server aside, and bring them back while it is down, as from a snapshot of its disk."""
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data.tar"

    def back_up() -> None:
        server.kill()
        try:
            server.save_data(file)
        finally:
            server.start()

    return {"backup": back_up, "restore": lambda: server.start_on(file)}


def _restored_running(server: Any) -> Running:
    """Its operator saves snapshots and restores them while it runs, so that connections stay."""
    saved: list[bytes] = []

    def snapshot(method: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_SNAPSHOT_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, "/v1/snapshot", body)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} /v1/snapshot: {answer.status} {content[:200]!r}")
        return content

    only = ServerControls(
        backup=lambda: saved.append(snapshot("GET")),
        restore=lambda: snapshot("PUT", saved[-1]),
    )
    return Running(lambda: str(server.url), lambda url: only, server.recover)


def _postgresql(stack: ExitStack) -> Running:
    from postgresql_server import PostgresqlServer

    server = stack.enter_context(PostgresqlServer())
    backup = _backup(server, stack)

    def with_functions(url: str) -> ServerControls:
        schema = url.rpartition("schema=")[2]
        return dataclasses.replace(server.controls(), compact=lambda: server.compact(schema), **backup)

    return Running(lambda: server.url(schema=f"m_{uuid.uuid4().hex[:12]}"), with_functions, server.recover)


def embedded_url(store: str, folder: Path) -> str:
    """The URL of a new store without a server."""
    return f"memory://{uuid.uuid4().hex}" if store == "memory" else f"sqlite://{folder}/tried.db"
