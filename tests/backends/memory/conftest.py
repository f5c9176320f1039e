"""Opening the memory store as core does, without core in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from leasehold.clock import Clock, ManualClock
from leasehold.errors import LeaseholdError
from leasehold.spi import Backend, FeedItem, OpenRequest
from leasehold_memory.connection import open_backend


class Recorder:
    """A sink that keeps everything and can be waited on."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.error: LeaseholdError | None = None
        self._changed = threading.Condition()

    def deliver(self, item: FeedItem, /) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def fail(self, error: LeaseholdError, /) -> None:
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[list[FeedItem]], bool], timeout: float = 10.0) -> list[FeedItem]:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self.items), timeout), self.items
            return list(self.items)


Open = Callable[..., Backend]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(clock: ManualClock) -> Iterator[Open]:
    """Opens ``memory://name`` on the test's clock; everything is closed at the end, and no thread is left."""
    opened: list[Backend] = []

    def open_store(name: str = "", *, clock: Clock = clock, history: int | None = None) -> Backend:
        backend = open_backend(
            OpenRequest(
                url=f"memory://{name}",
                variants=frozenset(),
                path=name,
                options={"history": history},
                timeout=5.0,
                clock=clock,
            )
        )
        opened.append(backend)
        return backend

    yield open_store
    for backend in opened:
        backend.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("leasehold-memory")]


@pytest.fixture
def sink() -> Recorder:
    return Recorder()
