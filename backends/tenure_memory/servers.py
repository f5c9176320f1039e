"""Servers by name, one set per process, and opening a backend on one of them."""

from __future__ import annotations

import os
import threading

from tenure.errors import InvalidArgument
from tenure.spi import Backend, OpenRequest
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer


class _Servers:
    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Also in a forked child: another process has other servers, and the parent's lock may be held for ever."""
        self._lock = threading.Lock()
        self._by_name: dict[str, MemoryServer] = {}

    def get(self, name: str) -> MemoryServer:
        with self._lock:
            return self._by_name.setdefault(name, MemoryServer(name))

    def forget(self, name: str) -> None:
        with self._lock:
            self._by_name.pop(name, None)


_servers = _Servers()
os.register_at_fork(after_in_child=_servers.start_over)


def server(name: str) -> MemoryServer:
    """The server that ``memory://name`` opens in this process; made on first use.

    Raises ``InvalidArgument`` for an empty name: a ``memory://`` without one is private to its opener.
    """
    if not name:
        raise InvalidArgument("memory:// without a name is private to its opener: open memory://NAME and ask for NAME")
    return _servers.get(name)


def forget(name: str) -> None:
    """Let the next opener of ``memory://name`` find a new, empty server; who has the old one open keeps it."""
    _servers.forget(name)


def open_backend(request: OpenRequest) -> Backend:
    """A backend on the server named by the URL. Raises ``ConfigError`` where its first opener set things otherwise."""
    target = _servers.get(request.path) if request.path else MemoryServer("")
    return MemoryBackend(target, clock=request.clock, history=request.options.get("history"))
