"""Opens ZooKeeper backends without the Store above them, and collects what their feeds deliver."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

from leasehold import url as urls
from leasehold.clock import SystemClock
from leasehold.errors import LeaseholdError
from leasehold.spi import Changes, Deleted, FeedItem, KeyValue, Put, Transaction
from leasehold_zookeeper.backend import ZooKeeperBackend
from leasehold_zookeeper.plugin import leasehold_backend

T = TypeVar("T")


class Recorder:
    """A sink that keeps everything."""

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

    def wait(self, probe: Callable[["Recorder"], T], timeout: float = 10.0) -> T:
        """Wait until ``probe`` is true and return what it answered."""
        with self._changed:
            answer = self._changed.wait_for(lambda: probe(self), timeout)
        assert answer, f"not within {timeout} s; {len(self.items)} items, errors {self.errors}"
        return answer

    @property
    def entries(self) -> list[KeyValue | Deleted]:
        """All changes, in order."""
        return [entry for item in list(self.items) if isinstance(item, Changes) for entry in item.entries]


class Opener(Protocol):
    """``open_zookeeper``: opens a backend from a URL and closes it after the test."""

    def __call__(self, url: str, *, timeout: float = 5.0) -> ZooKeeperBackend: ...


@pytest.fixture
def open_zookeeper() -> Iterator[Opener]:
    before = set(threading.enumerate())
    opened: list[ZooKeeperBackend] = []
    plugin = leasehold_backend()
    assert plugin is not None

    def open_one(url: str, *, timeout: float = 5.0) -> ZooKeeperBackend:
        backend = plugin.open(urls.parse(url, plugin, timeout=timeout, clock=SystemClock()))
        assert isinstance(backend, ZooKeeperBackend)
        opened.append(backend)
        return backend

    yield open_one
    for backend in opened:
        backend.close()
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not left, f"threads left behind: {left}"


@pytest.fixture
def recorder() -> Callable[[], Recorder]:
    """Makes sinks."""
    return Recorder


@pytest.fixture
def put() -> Callable[..., int]:
    """Puts one key and answers the revision."""

    def put_one(backend: ZooKeeperBackend, key: str, value: bytes = b"x", lease_id: str | None = None) -> int:
        return backend.commit(Transaction((), (Put(key, value, lease_id),)), timeout=5).revision

    return put_one
