"""One server in one container, and everything that can happen to it.

    absent ── start ──► running ── pause ──► paused ── resume ──► running
                          │ kill, stop
                          ▼
                        down ── start ──► running        same port, same data
                        down ── wipe ───► absent         same port, no data
                        down ── start_on ► running       same port, data that were saved earlier
    any state ── remove ──► absent                       also at the end of a `with` block

A method called in a state that it has no arrow from raises the engine's error: a fault that did not happen must not
look like one that did.
"""

import contextlib
import io
import itertools
import tarfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from tenure_testkit.servers import engine
from tenure_testkit.servers.disk import SmallDisk, WhenFull
from tenure_testkit.servers.lifetime import Lifetime
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE, until

if TYPE_CHECKING:
    from docker.models.containers import Container

_PORT_TRIES = 5

_LOOKS = 8
"""Looks at a server that starts for each question to the engine whether it has ended."""


class ServerContainer(Lifetime):
    """Base of the test servers: subclasses say which image, how it is configured, and when it is ready.

    The server is published on 127.0.0.1, on a `port` that is chosen once and kept over restarts and wipes.
    """

    image_folder: str
    """Its folder in `docker/`, or the path of another one."""
    inner_port: int
    data_folder: str
    """Where its data is inside the container."""
    small_disk_bytes = 32 << 20
    """A small disk, on which it can start and has some room."""
    when_full = WhenFull.REFUSES
    disk: SmallDisk | None = None
    """Where it has its data, if it is told so before it starts; else the engine keeps them."""

    def __init__(self) -> None:
        self.choose_ports()
        self._container: Container | None = None

    # What a subclass says.

    def environment(self) -> Mapping[str, str]:
        """Environment variables of the container."""
        return {}

    def command(self) -> Sequence[str] | None:
        """What runs in the container; None for what the image says."""
        return None

    def choose_ports(self) -> None:
        """Choose where it is published: the first time, and again if somebody else was quicker."""
        self.port = free_port()

    def ports(self) -> Mapping[int, int]:
        """Ports in the container, and where each is published."""
        return {self.inner_port: self.port}

    def tmpfs(self) -> Mapping[str, str]:
        """Folders of the container that are in memory, with their options."""
        return {}

    def files(self) -> Mapping[str, bytes]:
        """Files (absolute path, content) that are put into the container before it starts."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers now. Never raises for a server that does not answer, and never hangs."""

    def created(self) -> None:
        """Hook: the container exists and has not been started yet."""

    def first_ready(self) -> None:
        """Hook: a server without data has become ready for the first time."""

    # What happens to it.

    def start(self, *, wait: bool = True, timeout: float = PATIENCE) -> Self:
        """Start it, on the data it has. With `wait`, return when it is ready."""
        if self._container is None:
            self._create_and_start()
            self._fresh = True
        else:
            self._container.start()
        if wait:
            self.wait_ready(timeout)
        return self

    def kill(self) -> None:
        """SIGKILL, as by a crash. When it returns, the server is down."""
        self._get().kill()
        self._get().wait(timeout=60)

    def stop(self) -> None:
        """SIGTERM, as by an orderly shutdown; killed after ten seconds. When it returns, the server is down."""
        self._get().stop(timeout=10)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        until(self._froze, PATIENCE, f"{type(self).__name__} on port {self.port} is frozen")

    def _froze(self) -> bool:
        """Ask the engine, which gives up after a moment ("unable to freeze") on a machine too busy to be frozen."""
        from docker.errors import APIError

        try:
            self._get().pause()
        except APIError as exc:
            if "unable to freeze" not in str(exc):
                raise
            return False
        return True

    def resume(self) -> None:
        """Go on after `pause`."""
        self._get().unpause()

    def restart(self, *, timeout: float = PATIENCE) -> None:
        """Kill it, start it, and wait until it is ready."""
        self.kill()
        self.start(timeout=timeout)

    def wipe(self) -> None:
        """Throw its data away while it is down; the next start begins with none, on the same port."""
        container = self._get()
        if self.status in ("running", "paused"):
            raise engine.EngineError("stop or kill the server before wiping it")
        container.remove(v=True)
        self._container = None
        if self.disk is not None:
            self.disk.clear()

    def save_data(self, file: Path) -> None:
        """While it is down: copy its data into a file, for `start_on`."""
        chunks, _ = self._get().get_archive(self.data_folder)
        with file.open("wb") as saved:
            saved.writelines(chunks)

    def start_on(self, file: Path) -> None:
        """While it is down: start it with data that were saved, in place of those it has."""
        self.wipe()
        self._saved = file
        try:
            self._create_and_start()
        finally:
            self._saved = None
        self._fresh = False
        self.wait_ready()

    def wait_ready(self, timeout: float = PATIENCE) -> None:
        """Return when the server answers; raises with the end of its log when it does not in `timeout` seconds."""
        try:
            until(
                partial(self._ready_or_dead, itertools.count(1)),
                timeout,
                f"{type(self).__name__} on port {self.port} is ready",
            )
        except AssertionError as exc:
            exc.add_note(self.logs()[-2_000:])
            raise
        if self._fresh:
            self._fresh = False
            self.first_ready()

    def remove(self) -> None:
        """Remove container and data, whatever the state; no error when there is nothing to remove."""
        container, self._container = self._container, None
        if container is not None:
            from docker.errors import NotFound

            with contextlib.suppress(NotFound):
                container.remove(force=True, v=True)

    def recover(self, *, timeout: float = PATIENCE) -> None:
        """Bring it back from whatever a test did to it: resumed, started, ready."""
        self.revive()
        self.wait_ready(timeout)

    def revive(self) -> None:
        """The same without the waiting: several servers may need each other to become ready."""
        status = self.status
        if status == "paused":
            self.resume()
        elif status != "running":
            self.start(wait=False)

    # What can be asked.

    @property
    def status(self) -> str:
        """`absent`, or the engine's word: `created`, `running`, `paused`, `exited`."""
        if self._container is None:
            return "absent"
        self._container.reload()
        return str(self._container.status)

    @property
    def container_id(self) -> str:
        """The container's id, for the engine's own tools."""
        return str(self._get().id)

    @property
    def inner_address(self) -> str:
        """Where other containers reach it. It may change when the server starts again."""
        self._get().reload()
        networks = self._get().attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def logs(self) -> str:
        """What the server has written so far."""
        if self._container is None:
            return ""
        return b"".join(self._container.logs(stream=True, follow=False)).decode(errors="replace")

    def exec(self, *command: str, user: str = "") -> str:
        """Run a command inside the container and return what it printed; raises if it fails.

        `user`: who runs it, if not the one who runs the server.
        """
        result = self._get().exec_run(list(command), user=user)
        output = result.output
        said = output.decode(errors="replace") if isinstance(output, bytes) else ""
        if result.exit_code != 0:
            raise engine.EngineError(f"{command[0]} in the container ended with {result.exit_code}: {said}")
        return said

    _fresh = False
    _saved: Path | None = None

    def _get(self) -> "Container":
        if self._container is None:
            raise engine.EngineError("the server has no container: start it first")
        return self._container

    def _ready_or_dead(self, looks: Iterator[int]) -> bool:
        if self.is_ready():
            return True
        # An answer of the engine costs more than a look at the server.
        if next(looks) % _LOOKS == 0 and self.status == "exited":
            raise engine.EngineError(f"{type(self).__name__} ended while starting:\n{self.logs()[-2_000:]}")
        return False

    def _create_and_start(self) -> None:
        from docker.errors import APIError

        for left in reversed(range(_PORT_TRIES)):
            container = engine.client().containers.create(
                engine.image(self.image_folder),
                command=list(self.command() or ()) or None,
                environment=dict(self.environment()),
                ports={f"{inner}/tcp": ("127.0.0.1", outer) for inner, outer in self.ports().items()},
                tmpfs=dict(self.tmpfs()) or None,
                volumes=self.disk.mounted_at(self.data_folder) if self.disk is not None else None,
                labels=engine.labels(),
            )
            self._container = container
            try:
                files = self.files()
                if files:
                    container.put_archive("/", _tar(files))
                self.created()
                if self._saved is not None:
                    with self._saved.open("rb") as data:
                        container.put_archive(str(PurePosixPath(self.data_folder).parent), data)
                container.start()
            except APIError as exc:
                self.remove()
                # Between our look at the port and its use somebody else may have taken it.
                if left and "port" in str(exc) and "already" in str(exc):
                    self.choose_ports()
                    continue
                raise
            return


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
