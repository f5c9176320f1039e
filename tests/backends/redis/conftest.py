"""Opens Redis backends without the Store above them, collects what feeds deliver, and breaks connections on purpose."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from leasehold import url as urls
from leasehold.clock import SystemClock
from leasehold.errors import LeaseholdError
from leasehold.spi import Backend, Changes, Deleted, FeedItem, KeyValue, Put, Snapshot, Transaction
from leasehold_redis.plugin import leasehold_backend

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

    def error(self, timeout: float = 10.0) -> LeaseholdError:
        """The error that ended the feed."""
        return self.wait(lambda r: r.errors, timeout)[0]

    @property
    def entries(self) -> list[KeyValue | Deleted]:
        """All changes, in order."""
        return [entry for item in list(self.items) if isinstance(item, Changes) for entry in item.entries]

    @property
    def snapshot(self) -> Snapshot:
        """The first item."""
        assert isinstance(self.items[0], Snapshot)
        return self.items[0]

    @property
    def last_revision(self) -> int:
        """Where a feed that takes over has to go on."""
        return self.items[-1].revision if self.items else 0


class Relay:
    """Stands between client and server on loopback, and loses answers or cuts connections when told to."""

    def __init__(self, port: int, *, path: Path | None = None) -> None:
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        self._target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lose = 0
        self.lost = 0
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def lose_answers(self, count: int) -> None:
        """Cut the connection in place of the next ``count`` answers; the server has got the requests."""
        with self._lock:
            self._lose = count

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
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self.connections += 1
            thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        try:
            while True:
                ready, _, _ = select.select(pair, (), ())
                for source in ready:
                    data = source.recv(65_536)
                    if not data or (source is server and self._is_to_be_lost()):
                        return
                    (server if source is client else client).sendall(data)
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._pairs.discard(pair)
            _shut(*pair)
            for end in pair:
                end.close()

    def _is_to_be_lost(self) -> bool:
        with self._lock:
            if self._lose <= 0:
                return False
            self._lose -= 1
            self.lost += 1
            return True


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Opener(Protocol):
    """``open_redis``: opens a backend from a URL and closes it after the test."""

    def __call__(self, url: str, *, timeout: float = 5.0) -> Any: ...


@pytest.fixture
def open_redis() -> Iterator[Opener]:
    opened: list[Backend] = []
    plugin = leasehold_backend()
    assert plugin is not None

    def open_one(url: str, *, timeout: float = 5.0) -> Any:
        backend = plugin.open(urls.parse(url, plugin, timeout=timeout, clock=SystemClock()))
        opened.append(backend)
        return backend

    yield open_one
    for backend in opened:
        backend.close()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("leasehold-redis")]
    assert not left, f"threads left behind: {left}"


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    """Makes relays, each to one port."""
    made: list[Relay] = []

    def make(port: int, *, path: Path | None = None) -> Relay:
        made.append(Relay(port, path=path))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def recorder() -> Callable[[], Recorder]:
    """Makes sinks."""
    return Recorder


@pytest.fixture
def put() -> Callable[..., int]:
    """Puts one key and answers the revision."""

    def put_one(backend: Backend, key: str, value: bytes = b"x", lease_id: str | None = None) -> int:
        return backend.commit(Transaction((), (Put(key, value, lease_id),)), timeout=5).revision

    return put_one


@pytest.fixture
def fresh(redis_url: str) -> str:
    """The shared Redis, with a store that no other test uses."""
    return f"{redis_url}{'&' if '?' in redis_url else '?'}store=t-{uuid.uuid4().hex}"
