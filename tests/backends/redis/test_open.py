"""Opening: every kind of address, and every way it can be refused, with a message that says what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest

import tenure
from tenure import AuthenticationFailed, ConfigError, PermissionDenied, Unavailable
from tenure.errors import StoreClosed, TenureError
from tenure_testkit.servers import Certificates
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis

T = 5.0


@pytest.fixture(scope="module")
def secured():
    """A Redis with a password that has all the characters that need care, and a few users."""
    need_redis()
    with RedisServer(password="p@ss/w:rd%") as server:
        server.ask("ACL", "SETUSER", "app", "on", ">app-pw", "+@all", "-@dangerous", "~{leasehold}:*")
        server.ask("ACL", "SETUSER", "reader", "on", ">reader-pw", "+@read", "+@connection", "+role", "~*")
        server.ask("ACL", "SETUSER", "some", "on", ">some-pw", "+@all", "-zadd", "-xadd", "~*")
        server.ask("ACL", "SETUSER", "elsewhere", "on", ">elsewhere-pw", "+@all", "~other:*")
        yield server


def fails(url: str, kind: type[TenureError], words: str | None = None, **options) -> None:
    with pytest.raises(kind, match=words) as caught:
        tenure.connect(url, **options)
    for secret in ("p@ss", "p%40ss", "-pw", "wrong-secret"):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value)


def test_password_and_users(secured: RedisServer):
    at = f"127.0.0.1:{secured.port}"
    with tenure.connect(secured.url) as store:
        store.put("key", b"value")
        assert "p%40ss" not in store.url
        assert store.native.ping()
    with tenure.connect(f"redis://app:app-pw@{at}") as store:
        assert store.get("key").value == b"value"
        # Without INFO and CONFIG nothing good is assumed, and doctor says why.
        assert not store.capabilities.durable
        assert not store.capabilities.linearizable
        risks = " ".join(store.server_info().warnings)
        assert "+info" in risks
        assert "+config|get" in risks
    fails(f"redis://{at}", AuthenticationFailed, "wants a password")
    fails(f"redis://:wrong-secret@{at}", AuthenticationFailed, "doesn't accept")
    fails(f"redis://nobody:wrong-secret@{at}", AuthenticationFailed, "doesn't accept")


def test_users_without_the_rights_are_told_which(secured: RedisServer):
    at = f"127.0.0.1:{secured.port}"
    fails(f"redis://some:some-pw@{at}", PermissionDenied, r"\+zadd")
    fails(f"redis://reader:reader-pw@{at}", PermissionDenied, "access rules")
    fails(f"redis://elsewhere:elsewhere-pw@{at}", PermissionDenied, "access rules")
    secured.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        fails(f"redis://some:some-pw@{at}", PermissionDenied, r"\+zadd")
    finally:
        secured.ask("CONFIG", "SET", "maxmemory", "0")
    with tenure.connect(f"redis://app:app-pw@{at}") as store:
        store.put("before", b"")
        secured.ask("ACL", "SETUSER", "app", "-evalsha", "-eval")
        with pytest.raises(PermissionDenied, match="access rules"):
            store.put("after", b"")
        secured.ask("ACL", "SETUSER", "app", "+evalsha", "+eval")
        assert store.get("after") is None


def test_a_password_nobody_asked_for(redis_server: RedisServer):
    fails(f"redis://:wrong-secret@127.0.0.1:{redis_server.port}", AuthenticationFailed, "asks for none")


def test_a_store_is_opened_without_redis_py_and_offers_it(redis_server: RedisServer):
    program = (
        "import sys, tenure\n"
        f"store = tenure.connect({redis_server.url!r})\n"
        "assert 'redis' not in sys.modules\n"
        "assert store.native.ping()\n"
        "store.close()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_databases_are_apart(redis_node: RedisServer):
    with tenure.connect(redis_node.url) as zero, tenure.connect(f"{redis_node.url}?db=3") as three:
        zero.put("key", b"0")
        assert three.get("key") is None
        three.put("key", b"3")
        assert zero.get("key").value == b"0"
        assert three.native.connection_pool.connection_kwargs["db"] == 3
    fails(f"{redis_node.url}?db=99", ConfigError, "no database of this number")


def test_stores_are_apart_and_namespaces_share_one(fresh):
    parts = fresh.partition("?")
    with (
        tenure.connect(fresh) as root,
        tenure.connect(f"{parts[0]}/team?{parts[2]}") as team,
        tenure.connect(f"{fresh}-other") as other,
    ):
        team.put("key", b"1")
        assert root.list("").keys == ("team/key",)
        assert other.list("").keys == ()


def test_a_unix_socket(redis_server: RedisServer, relay, tmp_path):
    path = tmp_path / "redis.sock"
    relay(redis_server.port, path=path)
    with tenure.connect(f"redis+unix://{quote(str(path), safe='')}/ns?store=unix") as store:
        store.put("key", b"value")
        assert store.get("key").value == b"value"
        assert store.server_info().warnings == ()
        assert store.native.ping()
    fails(f"redis+unix://{quote(str(tmp_path / 'none'), safe='')}", Unavailable, "nothing listens")
    fails("redis+unix://relative/ns", ConfigError, "%2F")


@pytest.mark.parametrize("client_certs", [False, True])
def test_tls(tmp_path, certificates: Certificates, client_certs):
    need_redis()
    with RedisServer(tls=certificates, client_certs=client_certs, password="secret") as server:
        with tenure.connect(server.url) as store:
            store.put("key", b"value")
            assert store.native.get("nothing") is None
            with store.watch("") as watch:
                assert watch.next(5).events[0].key == "key"
        at = f"127.0.0.1:{server.port}"
        fails(f"redis+tls://:secret@{at}?ca={certificates.other_ca}", Unavailable, "certificates")
        fails(f"redis+tls://:secret@{at}?ca={tmp_path}/none.pem", ConfigError, f"names: ca={tmp_path}/none.pem")
        fails(f"redis://:secret@{at}", Unavailable, r"redis\+tls", timeout=2)
        if client_certs:
            fails(f"redis+tls://:secret@{at}?ca={certificates.ca}", Unavailable, timeout=2)


def test_tls_where_there_is_none(redis_server: RedisServer, certificates: Certificates):
    fails(f"redis+tls://127.0.0.1:{redis_server.port}?ca={certificates.ca}", Unavailable, timeout=2)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://h", "name of the primary"),
        ("redis://h?master=m", r"redis\+sentinel"),
        ("redis://h?sentinel_password=wrong-secret", r"redis\+sentinel"),
        ("redis+cluster://h?db=1", "one database"),
        ("redis+sentinel+cluster://h?master=m", "choose one"),
        ("redis+unix+tls://%2Fs", "unix"),
        ("redis://h?store=", "store"),
        ("redis://h?histroy=5", "did you mean 'history'"),
        ("redis://h?history=1", "at least 100"),
        ("redis+tcp://h", "variant"),
    ],
)
def test_urls_that_make_no_sense(url, words):
    fails(url, ConfigError, words)


def test_nobody_listens_and_no_such_host():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fails(f"redis://127.0.0.1:{port}", Unavailable, "nothing listens", timeout=1)
    fails("redis://no-such-host.invalid", Unavailable, "no host of that name", timeout=1)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None], ids=["http", "closes", "silent"])
def test_what_listens_is_not_redis(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    if answer is None:
                        stop.wait(5)
                    else:
                        client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        fails(f"redis://127.0.0.1:{server.getsockname()[1]}", Unavailable, timeout=0.5)
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(60.0)


def test_a_read_only_replica_is_refused_with_advice(redis_node: RedisServer):
    with tenure.connect(redis_node.url) as store:
        store.put("key", b"value")
        redis_node.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Unavailable, match="read-only replica"):
            store.put("key", b"other", timeout=0.5)
        fails(redis_node.url, Unavailable, r"redis\+sentinel", timeout=0.5)
        redis_node.ask("REPLICAOF", "NO", "ONE")
        assert store.get("key").value == b"value"
        store.put("key", b"other")


def test_of_several_hosts_the_primary_is_used(redis_node: RedisServer, redis_forgetful: RedisServer):
    redis_node.ask("REPLICAOF", "127.0.0.1", "1")
    hosts = f"redis://127.0.0.1:1,127.0.0.1:{redis_node.port},127.0.0.1:{redis_forgetful.port}"
    with tenure.connect(hosts) as store:
        store.put("key", b"value")
        assert not store.capabilities.linearizable
    assert redis_forgetful.ask("HLEN", "{leasehold}:data") == 5


def test_a_server_with_too_many_clients_says_so(open_redis, redis_node: RedisServer):
    with redis_node.client() as only:
        only.config_set("maxclients", "1")
        with pytest.raises(Unavailable, match="maxclients"):
            open_redis(redis_node.url)


def test_a_closed_store_says_so(open_redis, fresh):
    backend = open_redis(fresh)
    backend.close()
    backend.close()
    with pytest.raises(StoreClosed):
        backend.get("key", timeout=T)


def test_what_is_declared_and_what_is_risky(redis_node: RedisServer, redis_forgetful: RedisServer):
    with tenure.connect(redis_node.url, require=["durable", "linearizable"]) as store:
        info = store.server_info()
        assert (info.product, info.warnings) == ("Redis", ())
        assert info.details["append-only file"] == "1"
        assert abs(info.clock - time.time()) < 5
        assert info.revision == store.get_with_revision("x").revision
        for setting, value, words in (
            ("appendfsync", "everysec", "appendfsync is everysec"),
            ("appendfsync", "no", "appendfsync is no"),
            ("maxmemory", "1mb", "at the limit"),
            ("maxmemory", "0", ""),
            ("maxmemory-policy", "allkeys-lru", "Set it to noeviction"),
        ):
            redis_node.ask("CONFIG", "SET", setting, value)
            assert words in " ".join(store.server_info().warnings)
    with tenure.connect(redis_node.url) as store:
        assert not store.capabilities.durable
    with tenure.connect(redis_forgetful.url) as store:
        assert "a restart loses everything" in " ".join(store.server_info().warnings)
    with pytest.raises(tenure.Unsupported, match="durable"):
        tenure.connect(redis_forgetful.url, require=["durable"])
