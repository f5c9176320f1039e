"""Servers in this process on the memory store, and real stores where a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop_servers import ShopServer

import tenure
from tenure.registry import Registry
from tenure_testkit.servers.by_name import SERVERS


@pytest.fixture(params=["redis", "etcd"])
def server(request: pytest.FixtureRequest) -> Iterator[object]:
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def store() -> Iterator[tenure.Store]:
    with tenure.connect("memory://") as store:
        yield store


@pytest.fixture
def first(store: tenure.Store) -> Iterator[ShopServer]:
    with ShopServer(store) as server:
        yield server


@pytest.fixture
def second(store: tenure.Store) -> Iterator[ShopServer]:
    with ShopServer(store) as server:
        yield server


@pytest.fixture
def registry(store: tenure.Store, first: ShopServer, second: ShopServer) -> Iterator[Registry]:
    """What a client sees: both servers."""
    with Registry(store) as registry:
        registry.wait_for("shop", 2)
        yield registry
