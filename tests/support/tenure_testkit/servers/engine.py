"""The Docker engine: is there one, and the images and clean-up that every test server needs.

Images are built from the Dockerfiles in `docker/`, and tagged with a digest of what they were built from: a changed
Dockerfile is built anew, an unchanged one never twice. Containers, networks and volumes carry the name of the process
that made them, so that the ones of a killed test run are found and removed by the next run.
"""

import gc
import hashlib
import os
import re
import socket
import subprocess
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

# Read by testcontainers when it is imported. Its clean-up container is an image that can't be pulled everywhere;
# and the tests' clients talk to loopback, whatever address it would find for the engine.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")

if TYPE_CHECKING:
    from docker.client import DockerClient

DOCKER_FOLDER = Path(__file__).resolve().parents[4] / "docker"
OWNER_LABEL = "tenure.tests.owner"
HOW_TO_GET_ONE = "run docker/engine (Debian, as root), install Docker"

_lock = threading.Lock()
_client: "DockerClient | None" = None
_skip_reason: str | None = None


class EngineError(RuntimeError):
    """The engine is missing, or refused to do what a test server needs; the message says what to do."""


def skip_reason() -> str | None:
    """None when an engine answers, else the reason in words. Asked once for each process."""
    global _client, _skip_reason  # noqa: PLW0603 - one engine for a process, found once
    with _lock:
        if _client is None and _skip_reason is None:
            try:
                _client = _connect()
            except EngineError as exc:
                _skip_reason = str(exc)
        return _skip_reason


def client() -> "DockerClient":
    """The Docker SDK's client, shared by the process. Raises `EngineError` when there is no engine."""
    reason = skip_reason()
    if reason is not None or _client is None:
        raise EngineError(reason or "the engine's client was closed")
    return _client


def close() -> None:
    """Remove whatever this process left behind and close the client; a later use connects again."""
    global _client  # noqa: PLW0603 - see skip_reason
    with _lock:
        if _client is not None:
            _remove(_client, lambda owner: owner == _me())
            _client.close()
            _client = None


def labels() -> dict[str, str]:
    """What marks containers, networks and volumes as this process's own."""
    return {OWNER_LABEL: _me()}


@cache
def image(name: str) -> str:
    """The tag of the image made from `docker/<name>/`, which is built first unless it is there.

    A plugin of another distribution has the folder elsewhere: then `name` is its whole path, `.../<plugin>/docker`.
    """
    from docker.errors import BuildError, DockerException, ImageNotFound
    from testcontainers.core.image import DockerImage

    folder = DOCKER_FOLDER / name
    short = name if folder.parent == DOCKER_FOLDER else folder.parent.name.removeprefix("tenure-")
    tag = f"tenure/{short}:{_digest(folder)}"
    try:
        client().images.get(tag)
    except ImageNotFound:
        _have_base_image(folder / "Dockerfile")
        try:
            with DockerImage(path=folder, tag=tag, clean_up=False, buildargs=_proxies()):
                pass
        except BuildError as exc:
            said = "".join(str(line.get("stream", "")) for line in exc.build_log if isinstance(line, dict))
            raise EngineError(f"the image {tag} does not build: {exc}\n{said[-2_000:]}") from exc
        except DockerException as exc:
            raise EngineError(f"the image {tag} does not build: {exc}") from exc
    return tag


def _connect() -> "DockerClient":
    try:
        from docker.errors import DockerException
        from testcontainers.core.docker_client import DockerClient as Connection
    except ImportError as exc:
        raise EngineError("the package testcontainers is not installed") from exc
    found: DockerClient | None = None
    try:
        found = Connection().client
        found.ping()
    except (DockerException, OSError):
        if found is not None:
            found.close()
            found = None
    if found is None:
        # A failed connect leaves its socket to the garbage collector: collected here, it can't become a warning
        # (and so an error) in the middle of some test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        raise EngineError("no Docker engine answers")
    _remove(found, _is_dead)
    return found


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_dead(owner: str) -> bool:
    host, _, pid = owner.rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and not Path("/proc", pid).exists()


def _remove(engine: "DockerClient", unwanted: Callable[[str], bool]) -> None:
    from docker.errors import APIError

    for container in engine.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
        if unwanted(str(container.labels.get(OWNER_LABEL, ""))):
            try:
                container.remove(force=True, v=True)
            except APIError:  # another run is removing it at this moment
                continue
    shared = [
        *engine.networks.list(filters={"label": OWNER_LABEL}),
        *engine.volumes.list(filters={"label": OWNER_LABEL}),
    ]
    for one in shared:
        marks = (one.attrs or {}).get("Labels") or {}
        if unwanted(str(marks.get(OWNER_LABEL, ""))):
            try:
                one.remove()
            except APIError:  # as above
                continue


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _have_base_image(dockerfile: Path) -> None:
    """Pull or make the image that the Dockerfile starts from; the script knows both ways."""
    from docker.errors import ImageNotFound

    base = re.search(r"^FROM\s+(debian:([a-z]+)-slim)\s*$", dockerfile.read_text(), re.MULTILINE)
    if base is None:
        return
    try:
        client().images.get(base[1])
    except ImageNotFound:
        script = DOCKER_FOLDER / "base-images"
        done = subprocess.run([script, base[2]], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise EngineError(f"{script} could not provide {base[1]}:\n{done.stderr[-2_000:]}") from None


def _proxies() -> dict[str, str]:
    """Builds reach the packages' mirror the way this process would."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    return {n: os.environ[n] for name in names for n in (name, name.upper()) if n in os.environ}
