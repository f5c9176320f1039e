"""PostgreSQL in a container for these tests, and everything that can happen to it.

The image is built from ``docker/`` and tagged with a digest of it, so a changed Dockerfile is built anew. Containers
carry the name of the process that made them; whoever finds one of a process that is gone may remove it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import random
import socket
import tarfile
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import psycopg

# Read by testcontainers when it is imported: its clean-up container is an image that can't be pulled everywhere.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

if TYPE_CHECKING:
    from docker.client import DockerClient
    from docker.models.containers import Container

    from tenure.conformance import ServerControls

FOLDER = Path(__file__).resolve().parents[2] / "docker"
LABEL = "tenure.tests.owner"
PASSWORD = "tenure"
DATA = "/var/lib/postgresql/data"
REPLICA = "/var/lib/postgresql/small"
TLS_FOLDER = "/etc/tenure-tests"


def until(probe: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """Ask until the answer is true and return it; ``AssertionError`` when it isn't in time."""
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)
    return answer


@cache
def engine() -> DockerClient | str:
    """The Docker engine's client, or in words why there is none."""
    try:
        from docker.errors import DockerException
        from testcontainers.core.docker_client import DockerClient as Connection
    except ImportError:
        return "the package testcontainers is not installed"
    found: DockerClient | None = None
    try:
        found = Connection().client
        found.ping()
    except (DockerException, OSError):
        if found is not None:
            found.close()
            found = None
    if found is None:
        # A failed connect leaves its socket to the garbage collector: collected here, it can't become a warning (and
        # so an error) in the middle of some test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        return "no Docker engine answers"
    _remove_orphans(found)
    return found


def owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _remove_orphans(found: DockerClient) -> None:
    from docker.errors import APIError

    for container in found.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if _is_orphan(container.labels):
            with contextlib.suppress(APIError):  # another run may be removing it at this moment
                container.remove(force=True, v=True)
    for volume in found.volumes.list(filters={"label": LABEL}):
        if _is_orphan(volume.attrs["Labels"]):
            with contextlib.suppress(APIError):
                volume.remove()


def _is_orphan(labels: Mapping[str, str]) -> bool:
    host, _, pid = labels.get(LABEL, "").rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and not Path("/proc", pid).exists()


def _client() -> DockerClient:
    found = engine()
    assert not isinstance(found, str), found
    return found


@cache
def _image() -> str:
    from docker.errors import ImageNotFound
    from testcontainers.core.image import DockerImage

    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(FOLDER.iterdir()))).hexdigest()[:12]
    tag = f"tenure/postgresql:{digest}"
    try:
        _client().images.get(tag)
    except ImageNotFound:
        names = ("http_proxy", "https_proxy", "no_proxy")
        proxies = {n: os.environ[n] for name in names for n in (name, name.upper()) if n in os.environ}
        with DockerImage(path=FOLDER, tag=tag, clean_up=False, buildargs=proxies):
            pass
    return tag


def _free_port() -> int:
    """Below the kernel's range for outgoing connections, so that nothing takes it while the server is down."""
    while True:
        port = random.SystemRandom().randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Disk:
    """A disk for a server's data of so many bytes, which can be filled; best with ``max_wal_size`` far below them.

    It is a volume in memory. A container that does nothing else holds it, since the engine forgets such a volume with
    the last container that uses it; and fills it.
    """

    def __init__(self, size: int = 512 << 20) -> None:
        self._volume = _client().volumes.create(
            f"tenure-{uuid.uuid4().hex[:12]}",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={size}"},
            labels={LABEL: owner()},
        )
        self._holder: Container = _client().containers.create(
            _image(),
            command=["sleep", "infinity"],
            user="root",
            volumes=self.mounted_at(DATA),
            labels={LABEL: owner()},
        )

    def __enter__(self) -> Self:
        self._holder.start()
        self._run(f"chown postgres:postgres {DATA} && chmod 0700 {DATA}")
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.remove(force=True)
        self._volume.remove()

    def mounted_at(self, folder: str) -> dict[str, dict[str, str]]:
        """What tells the engine to mount it there."""
        return {str(self._volume.name): {"bind": folder, "mode": "rw,nocopy"}}

    def fill(self) -> None:
        """Take all the room that is left."""
        # What it wrote before the error that says that the disk is full stays.
        self._run(f"cat /dev/zero >{DATA}/filler; test $(df --output=avail -B1 {DATA} | tail -1) -lt 8192")

    def free(self) -> None:
        """Give back what :meth:`fill` took."""
        self._run(f"rm -f {DATA}/filler")

    def clear(self) -> None:
        """Throw away everything that is on it."""
        self._run(f"find {DATA} -mindepth 1 -delete")

    def _run(self, script: str) -> None:
        done = self._holder.exec_run(["sh", "-c", script])
        assert done.exit_code == 0, done.output


class PostgresqlServer:
    """One server. ``settings`` are postgres's own; ``files`` go to ``/etc/tenure-tests``."""

    def __init__(
        self,
        *settings: str,
        files: Mapping[str, bytes] | None = None,
        tmpfs: Mapping[str, str] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.port = _free_port()
        self.replica_port = _free_port()
        self.tls_options: dict[str, str] = {}
        self._command = ["tenure-postgresql", *(word for one in settings for word in ("-c", one))]
        self._files = files
        self._tmpfs = dict(tmpfs or {})
        self._disk = disk
        self._container = self._create()

    def _create(self) -> Container:
        container: Container = _client().containers.create(
            _image(),
            command=list(self._command),
            ports={"5432/tcp": ("127.0.0.1", self.port), "5433/tcp": ("127.0.0.1", self.replica_port)},
            labels={LABEL: owner()},
            tmpfs=self._tmpfs,
            volumes=self._disk.mounted_at(DATA) if self._disk is not None else None,
        )
        if self._files:
            container.put_archive("/", _tar(self._files))
        return container

    def url(self, *, user: str = "postgres", password: str = PASSWORD, host: str = "127.0.0.1", **options: Any) -> str:
        """The URL for Tenure."""
        words = {"database": "postgres", **self.tls_options, **options}
        scheme = "postgresql+tls" if self.tls_options else "postgresql"
        return f"{scheme}://{user}:{password}@{host}:{self.port}?{urlencode(words, safe='/')}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- what happens to it --

    def start(self) -> None:
        self._container.start()
        try:
            until(self._is_ready, "PostgreSQL is ready", 60.0)
        except AssertionError as exc:
            exc.add_note(self._container.logs().decode(errors="replace")[-2000:])
            raise

    def kill(self) -> None:
        self._container.kill()
        self._container.wait(timeout=30)

    def wipe(self) -> None:
        """After ``kill``: its data are gone; the next ``start`` begins with none, at the same port."""
        self._container.remove(v=True)
        if self._disk is not None:
            self._disk.clear()
        self._container = self._create()

    def fill_disk(self) -> None:
        """Nothing can be written to its disk any more. It ends when it needs to write there and can't."""
        assert self._disk is not None
        self._disk.fill()

    def free_disk(self) -> None:
        """After ``fill_disk``: there is room again, and the server is back."""
        assert self._disk is not None
        self._disk.free()
        self.recover()

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def recover(self) -> None:
        """Bring it back from whatever a test did to it."""
        self._container.reload()
        if self._container.status == "paused":
            self.resume()
        self.start()

    def cut(self) -> None:
        """End every connection but this one."""
        self.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def compact(self, schema: str = "tenure") -> None:
        """Forget all changes but the last."""
        self.sql(f"SELECT {schema}.trim_v1(1) FROM (SELECT {schema}.enter_v1(5000, 10000)) AS locked")

    def controls(self) -> ServerControls:
        """Everything of the above that the conformance suite can use."""
        from tenure.conformance import ServerControls

        disk = {"fill_disk": self.fill_disk, "free_disk": self.free_disk} if self._disk is not None else {}
        return ServerControls(
            kill=self.kill,
            start=self.start,
            wipe=self.wipe,
            cut=self.cut,
            compact=self.compact,
            pause=self.pause,
            resume=self.resume,
            **disk,
        )

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
        options = "-p 5433 -c listen_addresses=* -c unix_socket_directories=/tmp"
        started = ("-o", options, "-l", "/tmp/replica.log") if verb == "start" else ()
        self.exec("pg_ctl", "-D", REPLICA, "-w", *started, *words, verb)

    def remove(self) -> None:
        self._container.remove(force=True, v=True)

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

    def exec(self, *command: str, user: str = "postgres") -> None:
        """Run a command in the container; PostgreSQL's own are on its path."""
        script = 'PATH=$PATH:$(dirname /usr/lib/postgresql/*/bin/postgres) exec "$@"'
        result = self._container.exec_run(["sh", "-c", script, "sh", *command], user=user)
        assert result.exit_code == 0, result.output

    def _is_ready(self) -> bool:
        try:
            return bool(self.sql("SELECT 1"))
        except psycopg.OperationalError:
            self._container.reload()
            assert self._container.status != "exited", self._container.logs().decode(errors="replace")[-2000:]
            return False


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{TLS_FOLDER.lstrip('/')}/{name}")
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
