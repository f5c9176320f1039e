"""The environment names an HTTP proxy, as many machines' does: no store is asked for through it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

_PROGRAM = """
import sys, tenure
with tenure.connect(sys.argv[1], timeout=20) as store:
    store.put("proxied", b"1")
    print(store.get("proxied").value.decode())
"""


@pytest.fixture
def proxy() -> Iterator[tuple[int, list[bytes]]]:
    """The port of a proxy that answers nothing, and what it was asked."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_variables_for_http_proxies_change_nothing(store_url, proxy) -> None:
    port, asked = proxy
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    words = dict.fromkeys(names, f"http://127.0.0.1:{port}")
    words |= {name.upper(): word for name, word in words.items()}
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    command = [sys.executable, "-c", _PROGRAM, store_url]
    done = subprocess.run(command, env=kept | words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), asked) == ("1", []), done.stderr
