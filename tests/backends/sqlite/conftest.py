"""Opening SQLite stores as core does, without core in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.clock import Clock, ManualClock, SystemClock
from leasehold.errors import LeaseholdError
from leasehold.spi import Backend, FeedItem, OpenRequest
from leasehold_sqlite.backend import open_backend

T = 10.0


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

    def wait_for(self, predicate: Callable[[list[FeedItem]], bool]) -> list[FeedItem]:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self.items), T), (self.items, self.error)
            return list(self.items)

    def wait_for_failure(self) -> LeaseholdError:
        with self._changed:
            assert self._changed.wait_for(lambda: self.error is not None, T), self.items
            assert self.error is not None
            return self.error


Open = Callable[..., Any]


def open_file(path: Path | str, *, clock: Clock | None = None, timeout: float = T, **options: Any) -> Backend:
    return open_backend(
        OpenRequest(
            url=f"sqlite://{path}",
            variants=frozenset(),
            path=str(path),
            options={"history": 10_000, "poll": 0.005, "synchronous": "normal", **options},
            timeout=timeout,
            clock=clock or SystemClock(),
        )
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(path: Path) -> Iterator[Open]:
    """Opens the test's file; everything is closed at the end, and neither thread nor open file is left."""
    opened: list[Backend] = []

    def open_store(where: Path | str = path, **arguments: Any) -> Backend:
        backend = open_file(where, **arguments)
        opened.append(backend)
        return backend

    yield open_store
    for backend in opened:
        backend.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("leasehold-sqlite")]
    assert not [name for name in _open_files() if name.startswith(str(path))]


def _open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    names = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            names.append(os.readlink(entry))
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return names


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def another_sink() -> Recorder:
    return Recorder()
