"""Names inside stores are those of before the project was renamed: under others, everything written so far would be
out of sight. PostgreSQL's are looked at where its other tests are."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import Store
from tenure.migration.mirror_lock import NOT_MIRRORED
from tenure.registry import RegistryConfig
from tenure.spi import BackendPlugin
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.zookeeper import ZooKeeperServer

Open = Callable[..., Store]


def default_of(scheme: str, option: str) -> Any:
    (point,) = importlib.metadata.entry_points(group="tenure.backends", name=scheme)
    plugin: BackendPlugin = point.load().tenure_backend()
    return next(each.default for each in plugin.options if each.name == option)


@pytest.mark.parametrize(("scheme", "option"), [("redis", "store"), ("consul", "root")])
def test_the_default_names_of_stores(scheme: str, option: str) -> None:
    assert default_of(scheme, option) == "leasehold"


def test_the_keys_of_copies_and_mirrors() -> None:
    assert {"leasehold-copy", "leasehold-mirror", "leasehold-mirror-lock"} == NOT_MIRRORED


def test_the_prefix_of_the_registry() -> None:
    assert RegistryConfig().key_prefix == "/registry/default/"


def test_the_header_of_a_sqlite_file(tmp_path: Path) -> None:
    with tenure.connect(f"sqlite://{tmp_path}/store.db"):
        pass
    header = (tmp_path / "store.db").read_bytes()[:100]
    assert header[68:72] == b"Lshd"  # application_id
    # user_version: a new file may hold prefixes that are deleted as one entry, which older programs can't read
    assert int.from_bytes(header[60:64], "big") == 2


def test_the_keys_in_redis(redis_server: RedisServer, redis_own_url: str, opened: Open) -> None:
    store = opened(redis_own_url)
    store.put("a", b"", lease=store.lease(10))
    parts = ("data", "keys", "log", "leases", "expiry", "held")
    assert [redis_server.ask("EXISTS", f"{{leasehold}}:{part}") for part in parts] == [1] * len(parts)


def test_the_session_and_the_key_in_consul(consul_server: ConsulServer, consul_own_url: str, opened: Open) -> None:
    store = opened(consul_own_url)
    lease = store.lease(10)
    store.put("a", b"", lease=lease)
    (session,) = consul_server.ask("GET", f"/v1/session/info/{lease.id}")
    assert (session["Node"], session["Name"]) == ("leasehold", "leasehold leasehold")
    namespace = consul_own_url.rpartition("/")[2]
    (entry,) = consul_server.ask("GET", f"/v1/kv/leasehold/kv/{namespace}/a")
    assert entry["Session"] == lease.id


def test_the_folder_of_leases_in_zookeeper(
    zookeeper_server: ZooKeeperServer, zookeeper_own_url: str, opened: Open
) -> None:
    lease = opened(zookeeper_own_url).lease(10)
    namespace = zookeeper_own_url.rpartition("/")[2]
    client = zookeeper_server.client()
    try:
        assert client.exists(f"/{namespace}/.leasehold/leases/{lease.id}")
    finally:
        client.stop()
        client.close()
