"""A store, a console on it, and whoever looks at it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from console_testkit import Visitor
from tenure_console import Console

import tenure


@pytest.fixture
def store() -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{uuid.uuid4().hex}") as opened:
        yield opened


@pytest.fixture
def console(store: tenure.Store) -> Iterator[Console]:
    """A console that only looks."""
    made = Console(store)
    made.start()
    yield made
    made.close()


@pytest.fixture
def writable(store: tenure.Store) -> Iterator[Console]:
    """A console that may write."""
    made = Console(store, allow_writes=True)
    made.start()
    yield made
    made.close()


@pytest.fixture
def visitor(console: Console) -> Visitor:
    """Somebody who was let in by the read-only console."""
    came = Visitor(console)
    assert came.enter(console.token).status_code == 200
    return came


@pytest.fixture
def writer(writable: Console) -> Visitor:
    """Somebody who was let in by the console that may write."""
    came = Visitor(writable)
    assert came.enter(writable.token).status_code == 200
    return came
