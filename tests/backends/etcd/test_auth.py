"""Users: passwords, rights, and tokens that end in the middle of everything."""

import threading
from collections.abc import Iterator

import pytest

from tenure.errors import AuthenticationFailed, PermissionDenied, TenureError, Unavailable
from tenure.spi import KeyAbsent, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.servers import EtcdServer, until
from tenure_testkit.servers.plugin import need_container

_TOKEN_SECONDS = 1


@pytest.fixture(scope="module")
def auth_server() -> Iterator[EtcdServer]:
    """An etcd with users whose tokens live for a second."""
    need_container("etcd")
    with EtcdServer(password="p@ss/word", args=[f"--auth-token-ttl={_TOKEN_SECONDS}"]) as server:
        server.gateway.add_role("mine-only", "mine/")
        server.gateway.add_user("small", "secret", role="mine-only")
        yield server


def _small(server: EtcdServer, password: str = "secret") -> str:
    return f"etcd://small:{password}@127.0.0.1:{server.port}"


def _outlive_the_token(server: EtcdServer, backend) -> None:
    """Wait until etcd refuses the token that ``backend`` has now."""
    import grpc

    from tenure_etcd.messages import MESSAGES, bind

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        read = bind(channel, "KV")["Range"]
        token = backend._connection.metadata

        def refused() -> bool:
            try:
                read(MESSAGES["RangeRequest"](key=b"mine/probe"), timeout=5, metadata=token)
            except grpc.RpcError as exc:
                return "invalid auth token" in exc.details()
            return False

        # Asking keeps a token alive, so ask rarely.
        until(refused, 60.0, "the token ends", interval=_TOKEN_SECONDS * 3)


def test_a_wrong_password_is_told_without_showing_it(open_etcd, auth_server: EtcdServer) -> None:
    with pytest.raises(AuthenticationFailed, match="doesn't accept this user name and password") as caught:
        open_etcd(_small(auth_server, "wrong-guess"))
    assert "wrong-guess" not in str(caught.value)


def test_no_user_where_one_is_wanted(open_etcd, auth_server: EtcdServer) -> None:
    with pytest.raises(AuthenticationFailed, match="put user:password@"):
        open_etcd(f"etcd://127.0.0.1:{auth_server.port}")


def test_rights_are_kept_to(open_etcd, auth_server: EtcdServer, put, recorder) -> None:
    backend, seen = open_etcd(_small(auth_server)), recorder()
    put(backend, "mine/key")
    assert backend.get("mine/key", timeout=5).item is not None
    with pytest.raises(PermissionDenied):
        backend.get("other/key", timeout=5)
    with pytest.raises(PermissionDenied):
        put(backend, "other/key")
    with pytest.raises(PermissionDenied):
        backend.list(ListRequest(prefix=""), timeout=5)
    with pytest.raises(PermissionDenied):
        backend.watch(WatchRequest(prefix="other/"), sink=seen, timeout=5)
    assert backend.server_info(timeout=5).version


def test_calls_go_on_after_the_token_has_ended(open_etcd, auth_server: EtcdServer, put) -> None:
    backend = open_etcd(_small(auth_server))
    lease = backend.grant(30, timeout=5).lease_id
    before = put(backend, "mine/token", b"1", lease)
    _outlive_the_token(auth_server, backend)
    results: list[object] = []

    def work(n: int) -> None:
        try:
            results.append(
                backend.commit(Transaction((KeyAbsent(f"mine/t{n}"),), (Put(f"mine/t{n}", b""),)), timeout=5)
            )
        except TenureError as exc:
            results.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    revisions = [result.revision for result in results]
    assert sorted(revisions) == list(range(before + 1, before + 9))
    assert backend.refresh([lease], timeout=5) == {lease: 30.0}
    _outlive_the_token(auth_server, backend)
    assert [info.keys for info in backend.leases(lease, timeout=5)] == [("mine/token",)]
    _outlive_the_token(auth_server, backend)
    assert backend.revoke([lease, "77"], timeout=5) == {lease}


def test_the_native_client_is_logged_in(open_etcd, auth_server: EtcdServer, put) -> None:
    backend = open_etcd(_small(auth_server))
    put(backend, "mine/native", b"value")
    assert backend.native.get("mine/native")[0] == b"value"


def test_watches_go_on_and_new_ones_begin_after_the_token_has_ended(
    open_etcd, auth_server: EtcdServer, recorder, put, monkeypatch
) -> None:
    monkeypatch.setattr("tenure_etcd.watch_stream._FRESH_TOKEN_SECONDS", 0.0)
    backend, old = open_etcd(_small(auth_server)), recorder()
    backend.watch(WatchRequest(prefix="mine/w/"), sink=old, timeout=5)
    put(backend, "mine/w/key")
    old.wait(lambda r: r.entries)
    _outlive_the_token(auth_server, backend)

    def open_new():
        sink = recorder()
        backend.watch(WatchRequest(prefix="mine/w/", after=after), sink=sink, timeout=5)
        revision = put(backend, "mine/w/key")
        sink.wait(lambda r: r.last_revision >= revision or r.errors)
        assert all(isinstance(error, Unavailable) for error in sink.errors), sink.errors
        return not sink.errors

    after = old.last_revision
    until(open_new, 60.0, "a new watch begins")
    assert not old.errors
    assert old.last_revision >= after


def test_a_watch_refused_for_its_token_is_repeated_by_reopening(
    open_etcd, auth_server: EtcdServer, recorder, monkeypatch
) -> None:
    """The stream was opened with a token that ends before the next watch is asked for on it."""
    monkeypatch.setattr("tenure_etcd.watch_stream._FRESH_TOKEN_SECONDS", 0.0)
    backend = open_etcd(_small(auth_server))
    backend.watch(WatchRequest(prefix="mine/"), sink=recorder(), timeout=5)
    _outlive_the_token(auth_server, backend)
    # As if the read that goes before every watch had found another thread's new token.
    stream = backend._watches._streams[-1]
    refused = recorder()
    from tenure_etcd.feed import EtcdFeed

    assert stream.add(EtcdFeed(b"mine/", b"mine0", 1, refused, backend._connection.history.latest))
    assert isinstance(refused.error(), Unavailable)
    assert "the next attempt logs in again" in str(refused.errors[0])
    again = recorder()
    backend.watch(WatchRequest(prefix="mine/"), sink=again, timeout=5)
    assert again.of(type(again.items[0]))
    assert backend._watches._streams[-1] is not stream
