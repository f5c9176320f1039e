"""A console behind a real server, in this process."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn
from tenure_console import Console

import tenure


class Served:
    """Serves a console of ``store`` on a free port while it is open."""

    def __init__(self, store: tenure.Store, *, allow_writes: bool = False, title: str = "Tenure") -> None:
        self.console = Console(store, allow_writes=allow_writes, title=title)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.console, log_level="warning", lifespan="off", timeout_graceful_shutdown=3)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)

    @property
    def link(self) -> str:
        """The link that lets the next browser in."""
        return f"{self.base}/enter?token={self.console.token}"

    def __enter__(self) -> Self:
        self.console.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.console.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
