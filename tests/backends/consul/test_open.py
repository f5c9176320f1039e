"""Opening: addresses, tokens, TLS, and every way they can be refused, with a message that says what to do."""

from __future__ import annotations

import socket
import threading
import time
import uuid

import pytest

import tenure
from tenure import AuthenticationFailed, ConfigError, PermissionDenied, Unavailable
from tenure.errors import TenureError
from tenure_testkit.servers import Certificates
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.consul_plugin import need_consul
from tenure_testkit.servers.ports import free_port

T = 5.0


def fails(url: str, kind: type[TenureError], words: str, secret: str = "no-such-secret", **options) -> None:
    with pytest.raises(kind, match=words) as caught:
        tenure.connect(url, **options)
    assert secret not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("consul://user:secret-token@127.0.0.1", "no user names"),
        ("consul://:secret-token@127.0.0.1?token=secret-token", "two ACL tokens"),
        ("consul://127.0.0.1?token=secret-token%0D%0AX:y", "characters"),
        ("consul://127.0.0.1?root=..", "root"),
        ("consul://127.0.0.1?consistency=none", "consistency"),
        ("consul://127.0.0.1?wait=0", "wait"),
        ("consul+tls://127.0.0.1?ca=/nowhere/ca.pem", "ca, cert or key"),
    ],
)
def test_urls_that_make_no_sense(url: str, words: str):
    fails(url, ConfigError, words, "secret-token")


def test_nobody_listens():
    fails(f"consul://127.0.0.1:{free_port()}", Unavailable, "nothing listens there", timeout=1.0)
    fails("consul://no-such-host.invalid", Unavailable, "host", timeout=1.0)


def test_somebody_else_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    client.sendall(b"+PONG\r\n")

        threading.Thread(target=serve, daemon=True).start()
        fails(f"consul://127.0.0.1:{listener.getsockname()[1]}", Unavailable, "failed to answer", timeout=1.0)
        listener.shutdown(socket.SHUT_RDWR)


def test_a_listener_that_trickles_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nX-Filler: ")
                while not done.wait(0.1):
                    client.sendall(b"x")

        threading.Thread(target=serve, daemon=True).start()
        started = time.monotonic()
        fails(f"consul://127.0.0.1:{listener.getsockname()[1]}", Unavailable, "no answer in time", timeout=1.0)
        done.set()
        assert time.monotonic() - started < 3.0


def test_another_agent_takes_over(consul_server: ConsulServer):
    url = f"consul://127.0.0.1:{free_port()},127.0.0.1:{consul_server.port}/{uuid.uuid4().hex}"
    with tenure.connect(url) as store:
        assert store.put("key", b"value").revision
        assert store.get("key").value == b"value"


def test_an_unknown_datacenter(consul_url: str):
    fails(f"{consul_url}?dc=atlantis", Unavailable, "datacenter", timeout=1.0)
    with tenure.connect(f"{consul_url}?dc=dc1&namespace={uuid.uuid4().hex}") as store:
        store.put("key", b"", lease=store.lease(5))


def test_tokens(consul_acl: ConsulServer):
    plain = f"consul://127.0.0.1:{consul_acl.port}"
    wrong = str(uuid.uuid4())
    fails(plain, PermissionDenied, "consul://:TOKEN@host")
    fails(consul_acl.url_with(wrong), AuthenticationFailed, "doesn't know this ACL token", wrong)
    elsewhere = consul_acl.token('key_prefix "other/" { policy = "write" }')
    fails(consul_acl.url_with(elsewhere), PermissionDenied, "key_prefix", elsewhere)
    tenure.connect(consul_acl.url_with(elsewhere, root="other")).close()
    with tenure.connect(f"{plain}?token={consul_acl.management}") as store:
        assert store.capabilities.min_ttl == 1.0
        assert consul_acl.management not in f"{store!r} {store.url}"
        assert store.native.kv.put("other/native", "value")


def test_a_token_that_may_only_read(consul_acl: ConsulServer):
    with tenure.connect(consul_acl.url_with(consul_acl.token('key_prefix "leasehold/" { policy = "read" }'))) as store:
        before = store.get_with_revision("key").revision
        assert store.list("read-only/").items == ()
        for write in (
            lambda: store.put("key", b""),
            lambda: store.delete("key"),
            lambda: store.put_if_absent("key", b""),
            lambda: store.lease(5),
        ):
            with pytest.raises(PermissionDenied):
                write()
        assert store.get_with_revision("key").item is None
        assert store.get_with_revision("key").revision == before
        # What it may not ask for is assumed to be as Consul has it by default, and said.
        assert store.capabilities.min_ttl == 10.0
        assert any("agent read" in risk for risk in store.server_info().warnings)


def test_a_lease_needs_no_right_on_nodes(consul_acl: ConsulServer):
    """Only that the session is with the agent's node then."""
    rules = 'key_prefix "leasehold/" { policy = "write" } session_prefix "" { policy = "write" }'
    with tenure.connect(consul_acl.url_with(consul_acl.token(rules)), timeout=T) as store, store.lease(10) as lease:
        store.put("leased", b"", lease=lease)
        assert store.get("leased").lease_id == lease.id


def test_tls(certificates: Certificates):
    need_consul()
    with ConsulServer(tls=certificates, client_certs=True) as server:
        with tenure.connect(server.url) as store:
            store.put("key", b"value")
            watch = store.watch("")
            assert [event.key for event in watch.next(T).events] == ["key"]
            store.put("other", b"")
            watch.next(T)
            assert [event.key for event in watch.next(T).events] == ["other"]
            watch.close()
        at = f"127.0.0.1:{server.port}"
        fails(f"consul+tls://{at}?ca={certificates.other_ca}", Unavailable, "certificates", timeout=1.0)
        fails(f"consul+tls://{at}?ca={certificates.ca}", Unavailable, "cert and key", timeout=1.0)
        fails(f"consul://{at}", Unavailable, r"consul\+tls://", timeout=1.0)


def test_environment_variables_change_nothing(consul_own_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://nowhere.invalid:1")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "nonsense")
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    with tenure.connect(consul_own_url) as store:
        store.put("key", b"value")
        client = store.native
        assert client.kv.put("native/key", "text")
        index, found = client.kv.get("native/key")
        assert found["Value"] == b"text"
        started = time.monotonic()
        assert client.kv.get("native/key", index=index, wait="100ms")[1]["Value"] == b"text"
        assert time.monotonic() - started < T
        assert client.kv.delete("native/key")


def test_it_says_what_it_is(consul_server: ConsulServer):
    with tenure.connect(consul_server.url) as store:
        info = store.server_info()
    assert (info.product, info.version[:2]) == ("Consul", "1.")
    assert info.clock == pytest.approx(time.time(), abs=60)
    assert info.details["leader"] == info.details["servers"] == "127.0.0.1:8300"
    assert any("one server" in risk for risk in info.warnings)
    assert any("ACLs are off" in risk for risk in info.warnings)


def test_default_limits_are_told(consul_default: str):
    with tenure.connect(consul_default) as store:
        assert store.capabilities.min_ttl == 10.0
        assert store.capabilities.max_lifetime_after_refresh(10.0) == 22.0
        assert store.lease(1).ttl == 10.0
