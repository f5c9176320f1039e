"""A service behind a proxy: its instances, and clients that call the proxy all the time."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import tenure
from tenure.registry import Instance, Registry
from tenure_testkit.waiting import until

_PAUSE = 0.01
"""Seconds between two requests of a thread, so that the load leaves the machine to what is tested."""
_ENOUGH = 40
"""Answers of others after which an instance is out of the rotation."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    """Answers its port to every request. ``close`` finishes the requests that are under way."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_port
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Stop to listen, and wait for what is under way."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class LocalInstance:
    """An instance of the service ``web`` in this process."""

    def __init__(self, store: tenure.Store) -> None:
        self._server = HttpServer()
        self.port = self._server.port
        self.registry = Registry(store, instance=Instance("web", host="127.0.0.1", port=self.port)).start()

    def stop(self, out_of_rotation: Callable[[int], object]) -> None:
        """Drain, wait until nobody is sent here, deregister, and stop to listen."""
        self.registry.drain()
        out_of_rotation(self.port)
        self.close()

    def close(self) -> None:
        """Deregister, and stop to listen."""
        self.registry.close()
        self._server.close()


class Load:
    """Threads that call 127.0.0.1 at a port, each request on a connection of its own, until the end of ``with``."""

    def __init__(self, port: int, *, threads: int = 2) -> None:
        self._port = port
        self.answered: Counter[int] = Counter()
        """Answers by the port of the instance."""
        self.failures: list[str] = []
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._enough.wait(_PAUSE):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    self.answered[int(body)] += 1
                else:
                    self.failures.append(f"{answer.status}: {body[:80]!r}")
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(repr(exc))
            finally:
                connection.close()

    def wait_answered(self, *ports: int) -> None:
        """Wait until each of the ports has answered."""
        until(lambda: all(self.answered[port] for port in ports), what=f"answers of {ports}")

    def wait_out_of_rotation(self, port: int) -> None:
        """Wait until so many requests went to others that none goes to this port any more."""

        def quiet() -> bool:
            before, total = self.answered[port], sum(self.answered.values())
            until(lambda: sum(self.answered.values()) >= total + _ENOUGH, what="answers of others")
            return self.answered[port] == before

        until(quiet, what=f"{port} is out of the rotation")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)
