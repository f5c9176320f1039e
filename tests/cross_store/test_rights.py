"""Rights on every store that has them.

A user that may write some keys and not others: a transaction over both is refused as a whole. (Redis has rights for a
whole store at once, files for the whole file.) And rights that are taken away while a program runs, and come back.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tenure import Store
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.errors import PermissionDenied
from tenure.spi import Use, Verdict
from tenure_testkit.probes.rights import Rights, survives_the_loss_of_rights
from tenure_testkit.servers import EtcdServer
from tenure_testkit.servers.consul import AclToken, ConsulServer
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.waiting import PATIENCE

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


def etcd_rights() -> Iterator[Rights]:
    need_container("etcd")
    with EtcdServer(password="secret") as server:
        server.gateway.add_role("all", "")
        server.gateway.add_user("app", "secret", role="all")

        def restrict() -> None:
            server.gateway.revoke_role("app", "all")
            server.restart()  # etcd asks for the rights of a watch when it is opened, and not again

        app = f"etcd://app:secret@127.0.0.1:{server.port}"
        yield Rights(server.url, app, restrict, lambda: server.gateway.grant_role("app", "all"))


def redis_rights() -> Iterator[Rights]:
    need_redis()
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        app = f"redis://app:secret@127.0.0.1:{server.port}"
        may_not, may = ("-@read", "-@write"), ("+@all",)
        yield Rights(
            server.url,
            app,
            lambda: server.ask("ACL", "SETUSER", "app", *may_not),
            lambda: server.ask("ACL", "SETUSER", "app", *may),
        )


def redis_logins() -> Iterator[Rights]:
    """The user is switched off, and its connections are cut."""
    need_redis()
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        app = f"redis://app:secret@127.0.0.1:{server.port}"

        def restrict() -> None:
            server.ask("ACL", "SETUSER", "app", "off")
            server.drop_clients()

        yield Rights(server.url, app, restrict, lambda: server.ask("ACL", "SETUSER", "app", "on"))


def zookeeper_rights(server: ZooKeeperServer) -> Iterator[Rights]:
    from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

    place = f"rights-{uuid.uuid4().hex}"
    native = server.client()
    native.add_auth("digest", "admin:secret")
    native.create(f"/{place}", b"", acl=OPEN_ACL_UNSAFE)

    def below(path: str) -> Iterator[str]:
        yield path
        for name in native.get_children(path):
            yield from below(f"{path}/{name}")

    def allow(acl: object) -> None:
        for path in list(below(f"/{place}")):
            native.set_acls(path, acl)

    base = f"127.0.0.1:{server.port}/{place}"
    try:
        yield Rights(
            f"zookeeper://admin:secret@{base}",
            f"zookeeper://{base}",
            lambda: allow([make_digest_acl("admin", "secret", all=True)]),
            lambda: allow(OPEN_ACL_UNSAFE),
        )
    finally:
        native.stop()
        native.close()


def consul_rights(server: ConsulServer) -> Iterator[Rights]:
    root = f"rights-{uuid.uuid4().hex}"
    token = AclToken(server, CONSUL_RULES.format(root=root, policy="write"))
    yield Rights(
        server.url_with(root=root, wait="2"),
        server.url_with(token.secret, root=root, wait="2"),
        lambda: token.allow(CONSUL_RULES.format(root=root, policy="deny")),
        lambda: token.allow(CONSUL_RULES.format(root=root, policy="write")),
    )


def consul_tokens(server: ConsulServer) -> Iterator[Rights]:
    """The token is deleted, and made again."""
    root = f"rights-{uuid.uuid4().hex}"
    token = AclToken(server, CONSUL_RULES.format(root=root, policy="write"))
    yield Rights(
        server.url_with(root=root, wait="2"),
        server.url_with(token.secret, root=root, wait="2"),
        token.delete,
        token.make,
    )


CONSUL_RULES = """
key_prefix "{root}/" {{ policy = "{policy}" }}
session_prefix "" {{ policy = "{policy}" }}
"""


@pytest.fixture(params=["etcd", "redis", "redis-login", "zookeeper", "consul", "consul-token"])
def rights(request: pytest.FixtureRequest) -> Iterator[Rights]:
    if request.param == "etcd":
        yield from etcd_rights()
    elif request.param == "redis":
        yield from redis_rights()
    elif request.param == "redis-login":
        yield from redis_logins()
    elif request.param == "zookeeper":
        yield from zookeeper_rights(request.getfixturevalue("zookeeper_server"))
    elif request.param == "consul":
        yield from consul_rights(request.getfixturevalue("consul_acl"))
    else:
        yield from consul_tokens(request.getfixturevalue("consul_acl"))


def test_rights_that_go_and_come_back(rights: Rights) -> None:
    survives_the_loss_of_rights(rights)


def test_the_doctor_names_each_use_that_is_refused(urls: tuple[str, str]) -> None:
    """Its keys are outside of MINE. ZooKeeper's folder is open to all here."""
    expected: dict[str, dict[str, Use]] = {
        "etcd": {"read": Use.READ, "watch": Use.WATCH, "write": Use.WRITE},
        "zookeeper": {},
        "consul": {"write": Use.WRITE, "lease": Use.LEASE, "leases": Use.LIST_LEASES},
    }
    opening = prepare(urls[1], timeout=PATIENCE)
    found = examine(opening, samples=1).of(Verdict.FAILED)
    assert examine(opening, samples=1, prefix=MINE).of(Verdict.FAILED) == [] or opening.plugin.scheme == "consul"
    rights = {right.use: right.needed for right in opening.plugin.rights}
    missing = expected[opening.plugin.scheme]
    assert {finding.name for finding in found} == set(missing), found
    for finding in found:
        use = missing[finding.name]
        assert finding.advice == f"to {use}, the user needs: {rights[use]}"
