"""The six stores as parameters: one URL each for a test, and servers to do harm to.

With TENURE_TEST_STORE_URL, the store at this URL takes the place of the six. ``{}`` in it is where a name of each
test's own goes: so a store of another distribution is held to the same tests.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tenure
import tenure_memory
from tenure import Store
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.waiting import PATIENCE

SERVERS = ("etcd", "redis", "zookeeper", "consul")
GIVEN = os.environ.get("TENURE_TEST_STORE_URL")


@pytest.fixture(params=["given"] if GIVEN else ["memory", "sqlite", *SERVERS])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where this test's part of the store is; every opener within the test sees the same."""
    if GIVEN:
        yield GIVEN.format(f"t_{uuid.uuid4().hex[:12]}")
    elif request.param == "memory":
        name = f"stores-{uuid.uuid4().hex}"
        yield f"memory://{name}"
        tenure_memory.forget(name)
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
    else:
        yield request.getfixturevalue(f"{request.param}_own_url")


@pytest.fixture
def short(store_url: str) -> float:
    """Seconds in which the store answers the calls of one wait, measured, so that only the wait itself is cut short."""
    with tenure.connect(store_url, timeout=PATIENCE) as store:
        began = time.monotonic()
        for _ in range(3):
            store.put("short", b"")
            store.list("short")
            store.delete("short")
        return max(0.1, 10 * (time.monotonic() - began))


@pytest.fixture(params=SERVERS)
def node(request: pytest.FixtureRequest) -> Iterator[ServerContainer]:
    """A server of the test's own."""
    server: ServerContainer = request.getfixturevalue(f"{request.param}_node")
    yield server
    if server.status == "paused":
        server.resume()


@pytest.fixture
def opened() -> Iterator[Callable[..., Store]]:
    """Opens stores that are closed after the test; closing one earlier is fine."""
    stores: list[Store] = []

    def opener(url: str, timeout: float = 5.0) -> Store:
        stores.append(tenure.connect(url, timeout=timeout))
        return stores[-1]

    yield opener
    for store in stores:
        store.close()
