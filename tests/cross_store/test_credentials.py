"""Passwords and tokens that are rotated while a store is open: from a file or a function, read again when refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tenure
from tenure import BatchType, Store
from tenure.errors import AuthenticationFailed
from tenure_testkit.servers import EtcdServer
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis

OLD, NEW = "old-password", "new-password"


@dataclass
class Rotation:
    """A server with a user: the URL without the password, the old and the new one, and how the old one ends."""

    url: str
    username: str | None
    old: str
    new: str
    retire: Callable[[], None]


def etcd() -> Iterator[Rotation]:
    need_container("etcd")
    with EtcdServer(password="secret") as server:
        server.gateway.add_role("all", "")
        server.gateway.add_user("app", OLD, role="all")
        url = f"etcd://app@127.0.0.1:{server.port}"
        yield Rotation(url, "app", OLD, NEW, lambda: server.gateway.change_password("app", NEW))


def redis() -> Iterator[Rotation]:
    need_redis()
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "app", "on", f">{OLD}", f">{NEW}", "~*", "&*", "+@all")

        def retire() -> None:
            server.ask("ACL", "SETUSER", "app", f"<{OLD}")
            server.drop_clients()

        yield Rotation(f"redis://app@127.0.0.1:{server.port}", "app", OLD, NEW, retire)


def consul(server: ConsulServer) -> Iterator[Rotation]:
    everything = ("key_prefix", "write"), ("session_prefix", "write"), ("agent_prefix", "read")
    rules = " ".join(f'{kind} "" {{ policy = "{policy}" }}' for kind, policy in everything)
    old = server.token(rules)

    def retire() -> None:
        accessors = [token["AccessorID"] for token in server.ask("GET", "/v1/acl/tokens")]
        of_old = [it for it in accessors if server.ask("GET", f"/v1/acl/token/{it}")["SecretID"] == old]
        server.ask("DELETE", f"/v1/acl/token/{of_old[0]}")

    yield Rotation(f"consul://127.0.0.1:{server.port}", None, old, server.token(rules), retire)


@pytest.fixture(params=["etcd", "redis", "consul"])
def rotation(request: pytest.FixtureRequest) -> Iterator[Rotation]:
    if request.param == "etcd":
        yield from etcd()
    elif request.param == "redis":
        yield from redis()
    else:
        yield from consul(request.getfixturevalue("consul_acl"))


def works_before_and_after(store: Store, change: Callable[[], object]) -> None:
    """With a watch and a lease that live through it."""
    with store.watch("a") as watch:
        assert watch.next(60.0).type is BatchType.SNAPSHOT  # type: ignore[union-attr]
        assert watch.next(60.0).type is BatchType.SYNCED  # type: ignore[union-attr]
        lease = store.lease(20.0)
        store.put("leased", b"", lease=lease)
        store.put("a", b"1")
        change()
        revision = store.put("a", b"2", timeout=30.0).revision
        lease.refresh(timeout=30.0)
        item = store.get("a")
        assert item is not None
        assert item.value == b"2"
        while watch.revision < revision:
            assert watch.next(60.0) is not None
        assert lease.alive


def test_a_file_is_read_again(rotation: Rotation, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{rotation.old}\n")
    with tenure.connect(f"{rotation.url}?password_file={file}", timeout=20.0) as store:

        def change() -> None:
            file.write_text(f"{rotation.new}\n")
            rotation.retire()

        works_before_and_after(store, change)


def test_a_function_is_called_again(rotation: Rotation) -> None:
    password = [rotation.old]
    url = rotation.url.replace("app@", "")
    with tenure.connect(url, timeout=20.0, credentials=lambda: (rotation.username, password[-1])) as store:

        def change() -> None:
            password.append(rotation.new)
            rotation.retire()

        works_before_and_after(store, change)


def test_a_password_that_is_refused_and_stays_is_an_error(rotation: Rotation, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("ffffffff-0000-0000-0000-000000000000")
    with pytest.raises(AuthenticationFailed) as caught:
        tenure.connect(f"{rotation.url}?password_file={file}", timeout=20.0)
    assert "ffffffff" not in str(caught.value)
