"""A user that may write some keys and not others: a transaction over both is refused as a whole, on every store that
has rights for keys. (Redis has them for a whole store at once, files for the whole file.)"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tenure import Store
from tenure.errors import PermissionDenied
from tenure_testkit.servers import EtcdServer
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.zookeeper import ZooKeeperServer

MINE, OTHERS = "mine/", "others/"


def etcd() -> Iterator[tuple[str, str]]:
    need_container("etcd")
    with EtcdServer(password="secret") as server:
        server.gateway.add_role("some", MINE)
        server.gateway.add_user("some", "secret", role="some")
        yield server.url, f"etcd://some:secret@127.0.0.1:{server.port}"


def zookeeper(server: ZooKeeperServer) -> Iterator[tuple[str, str]]:
    from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

    place = f"rights-{uuid.uuid4().hex}"
    native = server.client()
    try:
        for folder in ("", f"/{MINE}", f"/{OTHERS}"):
            native.create(f"/{place}{folder}".rstrip("/"), b"", acl=OPEN_ACL_UNSAFE)
        native.set_acls(f"/{place}/others", [make_digest_acl("admin", "secret", all=True)])
    finally:
        native.stop()
        native.close()
    base = f"127.0.0.1:{server.port}/{place}"
    yield f"zookeeper://admin:secret@{base}", f"zookeeper://{base}"


def consul(server: ConsulServer) -> Iterator[tuple[str, str]]:
    root = f"rights-{uuid.uuid4().hex}"
    everything = server.url_with(root=root)
    own = "".join(f'key_prefix "{root}/{part}" {{ policy = "write" }} ' for part in (f"kv/{MINE}", "revision"))
    yield everything, server.url_with(server.token(f'{own} key_prefix "{root}/" {{ policy = "read" }}'), root=root)


@pytest.fixture(params=["etcd", "zookeeper", "consul"])
def urls(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The same store as seen by a user who may do everything, and by one who may write only MINE."""
    if request.param == "etcd":
        yield from etcd()
    elif request.param == "zookeeper":
        yield from zookeeper(request.getfixturevalue("zookeeper_server"))
    else:
        yield from consul(request.getfixturevalue("consul_acl"))


def test_a_transaction_in_part_forbidden_is_refused_whole(urls: tuple[str, str], opened: Callable[..., Store]) -> None:
    everything, some = opened(urls[0]), opened(urls[1])
    everything.put(f"{MINE}there", b"1")
    before = everything.put(f"{OTHERS}there", b"1").revision
    some.put(f"{MINE}own", b"1")
    for transaction in (
        some.transaction().put(f"{MINE}there", b"2").put(f"{MINE}new", b"2").put(f"{OTHERS}new", b"2"),
        some.transaction().put(f"{OTHERS}there", b"2").put(f"{MINE}new", b"2"),
        some.transaction().put(f"{MINE}new", b"2").delete(f"{OTHERS}there"),
        some.transaction().delete(f"{MINE}there").put(f"{OTHERS}new", b"2").delete(f"{MINE}own"),
    ):
        with pytest.raises(PermissionDenied):
            transaction.commit()
    found = {item.key: item.value for item in everything.list("")}
    assert found == {f"{MINE}there": b"1", f"{MINE}own": b"1", f"{OTHERS}there": b"1"}
    item = everything.get(f"{OTHERS}there")
    assert item is not None
    assert item.mod_revision == before
