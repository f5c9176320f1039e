"""Opens Consul backends without the Store above them, collects what feeds deliver, and stands in the middle."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

from leasehold import url as urls
from leasehold.clock import SystemClock
from leasehold.errors import LeaseholdError
from leasehold.spi import Changes, Deleted, FeedItem, KeyValue, Snapshot
from leasehold_consul.backend import ConsulBackend
from leasehold_consul.plugin import leasehold_backend

T = TypeVar("T")


class Recorder:
    """A sink that keeps everything with the time it ended."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.errors: list[LeaseholdError] = []
        self.failed_at = 0.0
        self._changed = threading.Condition()

    def deliver(self, item: FeedItem, /) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def fail(self, error: LeaseholdError, /) -> None:
        with self._changed:
            self.errors.append(error)
            self.failed_at = time.monotonic()
            self._changed.notify_all()

    def wait(self, probe: Callable[[Recorder], T], timeout: float = 10.0) -> T:
        """Wait until ``probe`` is true and return what it answered."""
        with self._changed:
            answer = self._changed.wait_for(lambda: probe(self), timeout)
        assert answer, f"not within {timeout} s; {len(self.items)} items, errors {self.errors}"
        return answer

    @property
    def entries(self) -> list[KeyValue | Deleted]:
        """All changes, in order."""
        return [entry for item in list(self.items) if isinstance(item, Changes) for entry in item.entries]

    def state(self) -> dict[str, int]:
        """Keys and revisions as the items so far add up."""
        known: dict[str, int] = {}
        for item in list(self.items):
            if isinstance(item, Snapshot):
                known = {one.key: one.mod_revision for one in item.items}
            elif isinstance(item, Changes):
                for entry in item.entries:
                    if isinstance(entry, Deleted):
                        known.pop(entry.key, None)
                    else:
                        known[entry.key] = entry.mod_revision
        return known


class Middle:
    """Stands between client and agent on loopback; cuts connections, and drops answers in place of passing them on."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lose = b""
        self.lost = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose_answer_to(self, request: bytes) -> None:
        """Cut the connection instead of answering the next request that begins so; the agent has got it."""
        with self._lock:
            self._lose = request

    def cut(self) -> int:
        """Break all connections now; answers how many."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _shut(*pair)
        return len(pairs)

    def close(self) -> None:
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                return
            thread = threading.Thread(target=self._pump, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        losing = False
        with contextlib.suppress(OSError), client, server:
            while True:
                for ready in select.select(pair, (), ())[0]:
                    data = ready.recv(65_536)
                    if not data:
                        return
                    if ready is client:
                        with self._lock:
                            if self._lose and data.startswith(self._lose):
                                losing, self._lose = True, b""
                        server.sendall(data)
                    elif losing:
                        self.lost += 1
                        return
                    else:
                        client.sendall(data)
        with self._lock:
            self._pairs.discard(pair)


def _shut(*sockets: socket.socket) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class Opener(Protocol):
    """``opened(url)``: a backend that is closed when the test ends."""

    def __call__(self, url: str) -> ConsulBackend: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    backends: list[ConsulBackend] = []

    def opener(url: str) -> ConsulBackend:
        backend = ConsulBackend.open(urls.parse(url, leasehold_backend(), timeout=5.0, clock=SystemClock()))
        backends.append(backend)
        return backend

    yield opener
    for backend in backends:
        backend.close()


@pytest.fixture
def middle(consul_node) -> Iterator[Middle]:
    """Between the test and a Consul of its own."""
    between = Middle(consul_node.port)
    yield between
    between.close()


@pytest.fixture
def prefix() -> str:
    """A prefix of keys that no other test uses."""
    return f"t-{uuid.uuid4().hex}/"


@pytest.fixture
def recorder() -> type[Recorder]:
    """Makes sinks."""
    return Recorder
