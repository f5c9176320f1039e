"""Opening: what is asked of the server, and what users are told when something is wrong. Access lists and TLS."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tenure import connect
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    LimitExceeded,
    PermissionDenied,
    PluginError,
    Unavailable,
)
from tenure.spi import Verdict
from tenure_testkit.servers import Certificates, until
from tenure_testkit.servers.ports import free_port
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper
from tenure_testkit.waiting import PATIENCE


@pytest.fixture(scope="module")
def tls_server(certificates: Certificates) -> Iterator[ZooKeeperServer]:
    need_zookeeper()
    with ZooKeeperServer(tls=certificates, client_certs=True) as server:
        yield server


def test_limits_are_the_servers(zookeeper_own_url: str, zookeeper_default: str) -> None:
    with connect(zookeeper_own_url) as store:
        assert (store.capabilities.min_ttl, store.capabilities.max_ttl) == (0.5, 60.0)
    with connect(zookeeper_default) as store:
        assert (store.capabilities.min_ttl, store.capabilities.max_ttl) == (4.0, 40.0)
        with pytest.raises(LimitExceeded, match="at most 40 s"):
            store.lease(41.0)


def test_nothing_listens() -> None:
    with pytest.raises(Unavailable, match="refused"):
        connect(f"zookeeper://127.0.0.1:{free_port()}", timeout=1.0)


def test_one_host_of_several_is_enough(zookeeper_url: str) -> None:
    with connect(zookeeper_url.replace("127.0.0.1", f"127.0.0.1:{free_port()},127.0.0.1")) as store:
        store.put("several/a", b"")
        with store.lease(1.0) as lease:
            store.put("several/a", b"", lease=lease)


def test_another_protocol() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unavailable, match="is the port right"):
            connect(f"zookeeper://127.0.0.1:{server.getsockname()[1]}", timeout=2.0)
        thread.join()


def test_a_silent_server_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="check the addresses"):
            connect(f"zookeeper://127.0.0.1:{server.getsockname()[1]}", timeout=1.0)
        assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("options", ["acl=mine", "max_packet_bytes=1", "session_timeout=x", "tick=2"])
def test_bad_options(options: str) -> None:
    with pytest.raises(ConfigError):
        connect(f"zookeeper://127.0.0.1:{free_port()}?{options}")


def test_acl_needs_a_user(zookeeper_url: str) -> None:
    with pytest.raises(ConfigError, match="user:password@"):
        connect(f"{zookeeper_url}?acl=creator")


def test_too_large_is_refused_before_it_is_sent(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store, store.watch("") as watch:
        limit = store.capabilities.max_value_bytes
        store.put("full", b"x" * limit)
        with store.lease(5.0) as lease:
            store.put("full", b"y" * limit, lease=lease)
        store.put("k" * 1024, b"x" * limit)
        with pytest.raises(LimitExceeded):
            store.put("full", b"x" * (limit + 1))
        many = store.transaction()
        for number in range(300):
            many.put(f"{number:03}" + "\x01" * 1000, b"x" * 500)
        with pytest.raises(LimitExceeded):
            many.commit()
        while batch := watch.next(0.5):
            assert not batch.reason  # the connection has stood all the while


def test_access_lists(zookeeper_server: ZooKeeperServer) -> None:
    base = f"127.0.0.1:{zookeeper_server.port}/acl-{free_port()}"
    with (
        connect(f"zookeeper://me:se%3Acret@{base}?acl=creator") as mine,
        connect(f"zookeeper://me:se%3Acret@{base}") as again,
        connect(f"zookeeper://me:wrong@{base}") as wrong,
        connect(f"zookeeper://{base}") as nobody,
    ):
        mine.put("a/b", b"1")
        lease = mine.lease(5.0)
        mine.put("a/c", b"2", lease=lease)
        assert again.list("").keys == ("a/b", "a/c")
        again.put("a/b", b"3")
        for other in (wrong, nobody):
            for call in (
                lambda s=other: s.get("a/b"),
                lambda s=other: s.list(""),
                lambda s=other: s.put("a/b", b"4"),
                lambda s=other: s.put("a/new", b"4"),
                lambda s=other: s.delete("a/b"),
                lambda s=other: s.put("a/c", b"4", lease=lease.id),
                lambda s=other: s.watch(""),
            ):
                with pytest.raises(PermissionDenied) as caught:
                    call()
                assert "cret" not in str(caught.value)
        item = mine.get("a/b")
        assert item is not None
        assert item.value == b"3"


def test_readers_may_read(zookeeper_server: ZooKeeperServer) -> None:
    base = f"127.0.0.1:{zookeeper_server.port}/read-{free_port()}"
    with connect(f"zookeeper://me:secret@{base}?acl=read") as mine, connect(f"zookeeper://{base}") as nobody:
        mine.put("a/b", b"1")
        lease = mine.lease(5.0)
        mine.put("a/c", b"1", lease=lease)
        assert nobody.list("").keys == ("a/b", "a/c")
        with nobody.watch("") as watch:
            assert watch.next(5.0) is not None
        for call in (lambda: nobody.put("a/b", b"2"), lambda: nobody.revoke_lease(lease.id)):
            with pytest.raises(PermissionDenied):
                call()


def test_rights_on_the_own_folder_are_enough(zookeeper_node: ZooKeeperServer) -> None:
    from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

    native = zookeeper_node.client()
    try:
        native.create("/mine", b"", acl=OPEN_ACL_UNSAFE)
        native.set_acls("/", [make_digest_acl("admin", "secret", all=True)])
        with connect(f"{zookeeper_node.url}/mine") as store, store.watch("") as watch:
            revision = store.put("a/b", b"1").revision
            store.put_if_unchanged("a/b", b"2", revision=revision)
            store.put_if_absent("c", b"1")
            many = store.transaction()
            for number in range(8):
                many.if_absent(f"d/{number}").put(f"d/{number}", b"", lease=store.lease(5.0) if not number else None)
            many.commit()
            assert len(store.list("")) == 10
            assert watch.next(5.0) is not None
        with connect(zookeeper_node.url) as root, pytest.raises(PermissionDenied):
            root.put("x", b"")
    finally:
        native.stop()
        native.close()


def test_the_doctor_tries_each_right_and_changes_nothing(zookeeper_server: ZooKeeperServer) -> None:
    from kazoo.security import make_acl

    native = zookeeper_server.client()
    place = f"/letters-{free_port()}"
    try:
        native.create(place, b"", acl=[make_acl("world", "anyone", all=True)])
        for missing in ("", "create", "write", "delete"):  # without "read" the store can't be opened
            given = {right: right != missing for right in ("create", "read", "write", "delete", "admin")}
            native.set_acls(place, [make_acl("world", "anyone", **given)])
            with connect(f"{zookeeper_server.url}{place}") as store:
                [found] = [each for each in store._backend.diagnose(timeout=PATIENCE) if each.name == "rights"]
            native.set_acls(place, [make_acl("world", "anyone", all=True)])
            assert (found.verdict is Verdict.OK) == (not missing)
            assert not missing or f"lacks {missing[0]} (" in found.text
            assert native.get_children(place) == []
    finally:
        native.stop()
        native.close()


def test_the_doctor_says_who_else_may_use_the_folder(zookeeper_server: ZooKeeperServer) -> None:
    from kazoo.security import make_acl, make_digest_acl

    native = zookeeper_server.client()
    place = f"/access-{free_port()}"
    url = f"zookeeper://me:secret@127.0.0.1:{zookeeper_server.port}{place}"

    def access(url: str) -> list[tuple[Verdict, str]]:
        with connect(url) as store:
            found = store._backend.diagnose(timeout=PATIENCE)
        return [(each.verdict, each.text) for each in found if each.name == "access" and "plain text" not in each.text]

    try:
        assert access(f"{url}?acl=creator") == [], "nobody has made the folder, and this client would protect it"
        [(verdict, text)] = access(url)
        assert (verdict, "the option acl=open" in text) == (Verdict.WARNING, True)
        native.create(place, b"", acl=[make_acl("world", "anyone", all=True)])
        [(verdict, text)] = access(f"{url}?acl=creator")
        assert (verdict, "has the ACL world:anyone:rwcda" in text) == (Verdict.WARNING, True)
        native.set_acls(place, [make_digest_acl("me", "secret", all=True), make_acl("world", "anyone", read=True)])
        assert access(f"{url}?acl=read") == [
            (Verdict.OK, "the store's folder has the ACL digest:me:rwcda, world:anyone:r")
        ]
        [(verdict, text)] = access(f"{zookeeper_server.url}{place}")
        assert (verdict, text.startswith("no user in the URL")) == (Verdict.WARNING, True)
    finally:
        native.stop()
        native.close()


def test_tls(tls_server: ZooKeeperServer, certificates: Certificates) -> None:
    with connect(tls_server.url) as store, store.watch("") as watch:
        store.put("key", b"1")
        lease = store.lease(2.0)
        store.put("key", b"2", lease=lease)
        lease.refresh()
        until(lambda: (batch := watch.next(1.0)) and any(e.key == "key" for e in batch.events), 60.0, "an event")
        assert store.server_info().version.startswith("3.")
    with pytest.raises(Unavailable):
        connect(f"zookeeper+tls://127.0.0.1:{tls_server.port}?ca={certificates.ca}", timeout=2.0)
    with pytest.raises(Unavailable, match="certificate"):
        connect(f"zookeeper+tls://127.0.0.1:{tls_server.port}", timeout=2.0)
    with pytest.raises(ConfigError, match=r"names: ca=/nowhere\.pem"):
        connect(f"zookeeper+tls://127.0.0.1:{tls_server.port}?ca=/nowhere.pem")
    with pytest.raises((Unavailable, AuthenticationFailed)):
        connect(f"zookeeper://127.0.0.1:{tls_server.port}", timeout=2.0)


def test_a_kazoo_that_is_different_inside(monkeypatch: pytest.MonkeyPatch, zookeeper_url: str) -> None:
    from kazoo.protocol.connection import ConnectionHandler

    monkeypatch.delattr(ConnectionHandler, "_read_watch_event")
    with pytest.raises(PluginError, match="_read_watch_event has changed"):
        connect(zookeeper_url)


def test_native_is_kazoos_client(zookeeper_own_url: str) -> None:
    from kazoo.client import KazooClient

    with connect(zookeeper_own_url) as store:
        store.put("a/b", b"value")
        native = store.native
        assert isinstance(native, KazooClient)
        folder = zookeeper_own_url.rpartition("/")[2]
        assert native.get(f"/{folder}/a/@b")[0] == b"value"
        seen = threading.Event()
        native.get(f"/{folder}/a/@b", watch=lambda event: seen.set())
        store.put("a/b", b"new")
        assert seen.wait(60.0)


def test_the_diagnosis_sees_hosts_and_connections(zookeeper_own_url: str) -> None:
    checks = {check.name: check for check in examine(prepare(zookeeper_own_url, timeout=PATIENCE), samples=1).checks}
    assert checks["hosts"].verdict is Verdict.OK
    assert "maxClientCnxns" in checks["connections"].text
    assert checks["watch"].verdict is Verdict.OK
