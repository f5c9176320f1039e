"""Opening SQLite stores as core does, without core in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure._runtime.clock import Clock, SystemClock
from tenure.spi import Backend, OpenRequest
from tenure_sqlite.backend import open_backend
from tenure_testkit.probes import Recorder, closing_all

T = 10.0

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
def open_store(path: Path) -> Iterator[Open]:
    """Opens the test's file; everything is closed at the end, and neither thread nor open file is left."""

    def open_one(where: Path | str = path, **arguments: Any) -> Backend:
        return open_file(where, **arguments)

    with closing_all(open_one, threads="tenure-sqlite") as open_store:
        yield open_store
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
def another_sink() -> Recorder:
    return Recorder()
