"""Probes of a service: over TCP, over HTTP, or by a command. Each takes an instance and seconds, and raises why not.

A probe is any function of an instance and a number of seconds. The instance is healthy if it returns. These three are
ready-made; each may leave out what the instance itself says: its host and its port.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import ssl
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from tenure._runtime.deadline import Deadline
from tenure._text import visible
from tenure.errors import ConfigError, Unhealthy
from tenure.registry.model.instance import Instance

_SHOWN = 200
_MOST_BYTES = 8192


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Healthy if a connection is accepted.

    Attributes:
        host: the host; empty for the instance's own.
        port: the port, ``None`` for the instance's own.
    """

    host: str = ""
    port: int | None = None

    def __call__(self, instance: Instance, timeout: float, /) -> None:
        """Connect, and close the connection."""
        _connected(self.host or instance.host, self.port or instance.port, timeout).close()


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Healthy if a GET is answered by a status from 200 to 399. Redirects aren't followed.

    Attributes:
        url: ``http://host:port/path`` or ``https://...``, or a path alone on the instance's own host and port.
    """

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            wrong = not self.url.startswith("/") and (parts.scheme not in ("http", "https") or not parts.hostname)
            _ = parts.port
        except ValueError:
            wrong = True
        if wrong or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise ConfigError(
                f"making an HTTP probe: {self.url[:_SHOWN]!r} is neither http://host:port/path, https://... nor a path "
                "that begins with '/'"
            )

    def __call__(self, instance: Instance, timeout: float, /) -> None:
        """Send a GET, and read the status."""
        deadline = Deadline(timeout)
        parts = urlsplit(self.url)
        host = parts.hostname or instance.host
        secure = parts.scheme == "https"
        port = parts.port or (instance.port if not parts.hostname else 443 if secure else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = _connected(host, port, deadline.remaining())
        try:
            if secure:
                connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            shown = f"[{host}]" if ":" in host else host
            request = f"GET {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nUser-Agent: tenure\r\nConnection: close\r\n\r\n"
            connection.settimeout(deadline.remaining())
            connection.sendall(request.encode("ascii"))
            status = _status(connection, deadline)
        except OSError as exc:
            raise Unhealthy(f"GET {path} of {host}:{port}: {_why(exc)}") from exc
        finally:
            connection.close()
        if not 200 <= status < 400:
            raise Unhealthy(f"GET {path} of {host}:{port}: status {status}")


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """Healthy if a command ends with exit code 0. No shell reads it; what it prints at last is the reason if not.

    The command gets ``TENURE_PROBE_HOST`` and ``TENURE_PROBE_PORT`` of the instance. If it takes longer than the
    timeout, its process group is killed.

    Attributes:
        arguments: the program and its arguments.
    """

    arguments: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.arguments or isinstance(self.arguments, str):
            raise ConfigError(
                f"making a command probe: its arguments are a tuple such as ('curl', '-f', url), not {self.arguments!r}"
            )

    def __call__(self, instance: Instance, timeout: float, /) -> None:
        """Run the command."""
        name = self.arguments[0]
        place = {"TENURE_PROBE_HOST": instance.host, "TENURE_PROBE_PORT": str(instance.port)}
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                self.arguments,
                env={**os.environ, **place},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise Unhealthy(f"the command {name!r} can't be started: {exc}") from exc
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as exc:
            raise Unhealthy(f"the command {name!r} had not ended after {timeout:g} s") from exc
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode:
            lines = printed.decode(errors="replace").strip().splitlines()
            said = f": {visible(lines[-1])[:_SHOWN]}" if lines else ""
            raise Unhealthy(f"the command {name!r} ended with exit code {process.returncode}{said}")


def parse_probe(text: str) -> TcpProbe | HttpProbe | CommandProbe:
    """Return the probe that ``text`` describes.

    Args:
        text: ``tcp`` or ``tcp://host:port``; ``http:/path`` on the instance's own address, or ``http://host:port/path``
            or ``https://...``; ``exec:command line``.

    Raises:
        ConfigError: ``text`` is none of these.
    """
    if text == "tcp":
        return TcpProbe()
    kind, colon, rest = text.partition(":")
    if colon and kind == "exec":
        return CommandProbe(_words(rest, text))
    if colon and kind == "tcp" and rest.startswith("//"):
        return _tcp(text)
    if colon and kind in ("http", "https"):
        return HttpProbe(text if rest.startswith("//") else rest)
    raise ConfigError(
        f"the probe {text[:_SHOWN]!r} is none of tcp, tcp://HOST:PORT, http:/PATH, http://HOST:PORT/PATH, "
        "https://HOST/PATH and exec:COMMAND"
    )


def _tcp(text: str) -> TcpProbe:
    try:
        parts = urlsplit(text)
        if parts.hostname and parts.port:
            return TcpProbe(parts.hostname, parts.port)
    except ValueError:
        pass
    raise ConfigError(f"the probe {text[:_SHOWN]!r}: write tcp://HOST:PORT")


def _words(command: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as exc:
        raise ConfigError(f"the probe {text[:_SHOWN]!r}: {exc}; close the quotation") from exc


def _connected(host: str, port: int, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout)
    except OSError as exc:
        raise Unhealthy(f"connecting to {host}:{port}: {_why(exc)}") from exc


def _status(connection: socket.socket, deadline: Deadline) -> int:
    """Read the first line of the answer: a server that sends it byte by byte doesn't get more time."""
    received = b""
    while b"\n" not in received and len(received) < _MOST_BYTES:
        connection.settimeout(deadline.remaining())
        part = connection.recv(_MOST_BYTES)
        if not part:
            break
        received += part
        if deadline.expired:
            raise TimeoutError
    words = received.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OSError(f"the answer is no HTTP: {received[:40]!r}")
    return int(words[1])


def _why(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else visible(error.strerror or str(error))
