"""With https, an instance's certificate is checked for the service's name, not for its address."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import trustme
from tenure_asgi.httpx import TenureTransport

import tenure
from tenure.registry import Instance, Registry

AUTHORITY = trustme.CA()


class Greeting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["host"].encode())

    def log_message(self, *_arguments: object) -> None:
        pass


class QuietServer(HTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """A handshake that the client refused is what a test wants."""


@contextmanager
def serving(name: str) -> Iterator[int]:
    """A server whose certificate is for ``name``. Gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    with QuietServer(("127.0.0.1", 0), Greeting) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port: int) -> str:
    trust = ssl.create_default_context()
    AUTHORITY.configure_trust(trust)
    with (
        tenure.connect(f"memory://tls-{port}") as store,
        Registry(store, instance=Instance("web", host="127.0.0.1", port=port)) as registry,
        httpx.Client(transport=TenureTransport(registry, httpx.HTTPTransport(verify=trust))) as client,
    ):
        return client.get("https://web.tenure/").text


def test_a_certificate_for_the_services_name_is_accepted() -> None:
    with serving("web.tenure") as port:
        assert get(port) == "web.tenure"


def test_a_certificate_for_the_address_is_refused() -> None:
    with serving("127.0.0.1") as port, pytest.raises(httpx.ConnectError, match=r"web\.tenure"):
        get(port)
