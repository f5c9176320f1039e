"""Users who log in by SASL: the mechanism itself, and servers that have users, or serve nobody else."""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tenure import Batch, Store, connect
from tenure.errors import AuthenticationFailed, ConfigError, OutcomeUnknown, PermissionDenied, TenureError, Unavailable
from tenure_testkit.servers import until
from tenure_testkit.servers.ports import free_port
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper
from tenure_testkit.waiting import PATIENCE
from tenure_zookeeper import encoding
from tenure_zookeeper.auth import Login
from tenure_zookeeper.sasl import DigestMd5, log_in

USERS = {"me": "s3cret word", "odd": 'p"q\\r:s,t=u', "latin": "pässword", "wide": "密码", "other": "else"}


@pytest.fixture(scope="module")
def server() -> Iterator[ZooKeeperServer]:
    """One with users; others are served as well."""
    need_zookeeper()
    with ZooKeeperServer(sasl_users=USERS) as started:
        yield started


@pytest.fixture(scope="module")
def strict() -> Iterator[ZooKeeperServer]:
    """One that serves only who has logged in."""
    need_zookeeper()
    with ZooKeeperServer(sasl_users=USERS, sasl_required=True) as started:
        yield started


def use(store: Store) -> None:
    """Everything that a store does over a connection: its own, a watch's, and a lease's."""
    with store.watch("") as watch:
        store.put("a/b", b"1")
        with store.lease(5.0) as lease:
            store.put("a/c", b"2", lease=lease)
            lease.refresh()
            assert store.list("a/").keys == ("a/b", "a/c")
        until(lambda: (batch := watch.next(1.0)) and any(e.key == "a/b" for e in batch.events), 60.0, "an event")
    assert store.list("a/").keys == ("a/b",)
    assert store.delete("a/b").deleted == 1


# -- the mechanism ---------------------------------------------------------------------------------


def test_the_example_of_the_rfc() -> None:
    exchange = DigestMd5("chris", "secret", uri="imap/elwood.innosoft.com", nonce="OA6MHXh6VqTrRk")
    answer = exchange.answer(
        b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
    )
    assert b"response=d388dad90d4bbd760a152321f2143af7" in answer.split(b",")
    assert exchange.confirms(b"rspauth=ea40f60335c427b5527b84dbabcdfffd")
    assert not exchange.confirms(b"rspauth=ea40f60335c427b5527b84dbabcdfffe")
    assert not exchange.confirms(b"")


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    challenge = b'realm="r",nonce="n",qop="auth",algorithm=md5-sess'
    assert DigestMd5("a", "b").answer(challenge) != DigestMd5("a", "b").answer(challenge)


@pytest.mark.parametrize(
    "tokens",
    [
        [b""],
        [b"`\x82\x02"],
        [b'nonce="n",algorithm=md5'],
        [b'nonce="n",qop="auth-conf",algorithm=md5-sess'],
        [b'nonce="n",algorithm=md5-sess', b""],
        [b'nonce="n",algorithm=md5-sess', b"rspauth=00"],
    ],
)
def test_a_server_that_says_something_else_is_refused(tokens: list[bytes]) -> None:
    answers = iter(tokens)

    def ask(token: bytes) -> encoding.Reply:
        said = next(answers)
        return encoding.Reply(0, 0, encoding.INT.pack(len(said)) + said, 0)

    with pytest.raises(AuthenticationFailed):
        log_in(Login("me", "secret", sasl=True), ask)


# -- servers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_the_right_password(strict: ZooKeeperServer, user: str) -> None:
    with connect(strict.url_as(user, USERS[user])) as store:
        use(store)


@pytest.mark.parametrize("password", ["wrong-word", ""])
@pytest.mark.parametrize("user", ["me", "nobody-we-know"])
def test_a_wrong_password_is_told_in_time(
    server: ZooKeeperServer, strict: ZooKeeperServer, user: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for one in (server, strict):
        started = time.monotonic()
        with pytest.raises(AuthenticationFailed, match="user name and password") as caught:
            connect(one.url_as(user, password), timeout=20.0)
        assert time.monotonic() - started < 10.0
        assert "wrong-word" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert "wrong-word" not in caplog.text


@pytest.mark.parametrize("required", [True, False])
def test_a_password_that_was_changed_is_read_again(required: bool) -> None:
    """The servers' list of users is read at their start, so they begin again, and without data."""
    need_zookeeper()
    password = ["old-word"]
    outages: queue.SimpleQueue[TenureError | None] = queue.SimpleQueue()
    seen: list[str] = []

    def hear(batch: Batch) -> None:
        seen.extend(event.key for event in batch.events)

    with ZooKeeperServer(sasl_users={"me": "old-word"}, sasl_required=required) as server:
        url = f"{server.url}?auth=sasl"
        with (
            connect(url, timeout=PATIENCE, credentials=lambda: ("me", password[-1])) as store,
            store.watch("", callback=hear, on_outage=outages.put) as watch,
        ):
            store.put("before", b"")
            until(lambda: "before" in seen, PATIENCE)
            server.kill()
            server.wipe()
            server.sasl_users = {"me": "new-word"}
            server.start()
            until(lambda: isinstance(outages.get(timeout=PATIENCE), AuthenticationFailed), PATIENCE)
            assert isinstance(watch.outage, AuthenticationFailed)
            for call in (lambda: store.get("before"), lambda: store.put("k", b""), lambda: store.lease(10.0)):
                with pytest.raises(AuthenticationFailed):
                    call()
            password.append("new-word")
            until(lambda: outages.get(timeout=PATIENCE) is None, PATIENCE)
            with store.lease(10.0) as lease:
                store.put("after", b"", lease=lease)
                until(lambda: "after" in seen, PATIENCE)


def test_passwords_stay_out_of_what_is_shown(strict: ZooKeeperServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(strict.url_as("me", USERS["me"])) as store:
        use(store)
        shown = f"{store!r} {store.server_info()} {vars(store.native)!r} {Login('me', USERS['me'], sasl=True)!r}"
    assert USERS["me"] not in shown
    assert USERS["me"] not in caplog.text


def test_who_does_not_log_in_is_told_what_is_missing(strict: ZooKeeperServer) -> None:
    for url in (strict.url, strict.url_as("me", USERS["me"], "auth=digest")):
        started = time.monotonic()
        with pytest.raises(AuthenticationFailed, match="auth=sasl"):
            connect(url, timeout=20.0)
        assert time.monotonic() - started < 10.0


def test_a_server_without_users_is_told_apart(zookeeper_server: ZooKeeperServer) -> None:
    with pytest.raises(AuthenticationFailed, match="no SASL logins"):
        connect(zookeeper_server.url_as("me", "secret"))


def test_access_lists_name_the_user(server: ZooKeeperServer) -> None:
    namespace = f"sasl-{free_port()}"
    mine_url, other_url = (server.url_as(user, USERS[user]).replace("?", f"/{namespace}?") for user in ("me", "other"))
    with (
        connect(f"{mine_url}&acl=creator") as mine,
        connect(mine_url) as again,
        connect(other_url) as other,
        connect(f"{server.url}/{namespace}") as nobody,
        connect(server.url_as("me", USERS["me"], "auth=digest").replace("?", f"/{namespace}?")) as digest,
    ):
        mine.put("a/b", b"1")
        lease = mine.lease(5.0)
        mine.put("a/c", b"2", lease=lease)
        (entry,) = mine.native.get_acls(f"/{namespace}/a/@b")[0]
        assert (entry.id.scheme, entry.id.id) == ("sasl", "me")
        assert again.list("").keys == ("a/b", "a/c")
        again.put("a/c", b"3", lease=lease.id)
        for refused in (other, nobody, digest):
            for call in (
                lambda s=refused: s.get("a/b"),
                lambda s=refused: s.put("a/b", b"4"),
                lambda s=refused: s.put("a/new", b"4"),
                lambda s=refused: s.delete("a/b"),
                lambda s=refused: s.revoke_lease(lease.id),
                lambda s=refused: s.watch(""),
            ):
                with pytest.raises(PermissionDenied):
                    call()
        assert lease.alive


@pytest.mark.parametrize("options", ["auth=sasl", "auth=gssapi"])
def test_what_can_not_be_done_is_said_at_once(options: str) -> None:
    with pytest.raises(ConfigError, match=r"user:password@|digest.*sasl"):
        connect(f"zookeeper://127.0.0.1:{free_port()}?{options}")


@pytest.mark.faults
def test_a_restarted_server_gets_the_login_again() -> None:
    need_zookeeper()
    with (
        ZooKeeperServer(sasl_users=USERS, sasl_required=True) as server,
        connect(f"{server.url_as('me', USERS['me'])}&acl=creator", timeout=20.0) as store,
        store.watch("") as watch,
    ):
        lease = store.lease(20.0)
        store.put("leased", b"1", lease=lease)
        for number in range(3):
            server.restart()
            value = str(number).encode()
            until(lambda v=value: _put(store, "key", v), 60.0, "the store works again")
            lease.refresh()
            store.put("leased", value, lease=lease)
            assert store.list("").keys == ("key", "leased")

            def told(v: bytes = value) -> bool:
                batch = watch.next(1.0)
                return any(e.item is not None and e.item.value == v for e in (batch.events if batch else ()))

            until(told, 60.0, "the watch goes on")


@pytest.mark.faults
def test_a_server_that_goes_away_during_the_login_is_no_refusal() -> None:
    """kazoo's own login would end the client for good."""
    need_zookeeper()
    with ZooKeeperServer(sasl_users=USERS) as server:
        with connect(server.url_as("me", USERS["me"]), timeout=20.0) as store:
            store.put("key", b"1")
            reader = store.native._connection
            log_in_now, cut = reader._authenticate_with_sasl, threading.Event()

            def cut_once(host: str, timeout: float) -> None:
                if not cut.is_set():
                    cut.set()
                    server.restart()
                log_in_now(host, timeout)

            reader._authenticate_with_sasl = cut_once
            server.restart()
            until(cut.is_set, 60.0, "the login was cut")
            until(lambda: _put(store, "key", b"2"), 60.0, "the store works again")
        server.kill()
        with pytest.raises(Unavailable):
            connect(server.url_as("me", USERS["me"]), timeout=2.0)


def _put(store: Store, key: str, value: bytes) -> bool:
    with suppress(Unavailable, OutcomeUnknown):
        store.put(key, value, timeout=5.0)
        return True
    return False
