"""Stores on which several processes meet: a file, and real servers where a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.registry import Registry
from tenure_testkit.servers.by_name import SERVERS


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/store.db"


@pytest.fixture(params=["redis", "etcd"])
def server(request: pytest.FixtureRequest) -> Iterator[object]:
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def registry(sqlite_url: str) -> Iterator[Registry]:
    """What an observer of the file sees."""
    with tenure.connect(sqlite_url) as store, Registry(store) as registry:
        yield registry
