"""Names that can't be resolved, hosts that hang, certificates that are renewed, errors that aren't known."""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest

import tenure
from tenure.errors import AuthenticationFailed, DeadlineExceeded, OutcomeUnknown, Unavailable
from tenure.plugin_kit import Address, Resolver
from tenure.spi import Put, Transaction
from tenure_redis import backend as backends
from tenure_redis import endpoints
from tenure_redis.connection import ConnectionBroken, pack
from tenure_redis.errors import ERRORS, ServerError, cannot_connect, refused
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis

T = 5.0
LONG = 30.0


@pytest.fixture
def silent():
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def name_server(monkeypatch):
    """Answers what a test tells it to; a backend that is opened now asks it and not the system."""
    server = NameServer()
    monkeypatch.setattr(backends, "Resolver", lambda: Resolver(server.look_up, patience=0.05))
    yield server
    server.release.set()


class NameServer:
    def __init__(self) -> None:
        self.release = threading.Event()
        self.hangs = True
        self.found: tuple[Address, ...] = ()

    def look_up(self, host):
        if self.hangs:
            self.release.wait(LONG)
        return self.found


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
def test_a_name_server_that_hangs_costs_the_timeout(open_redis, name_server, scheme):
    options = "?master=mymaster" if scheme == "redis+sentinel" else ""
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"looking up 'store\.example'"):
        open_redis(f"{scheme}://store.example{options}", timeout=0.3)
    assert 0.25 < time.monotonic() - started < 2.0


def test_a_first_host_that_hangs_costs_half_of_the_time_and_once(open_redis, redis_server: RedisServer, silent):
    timeout = 2.0
    started = time.monotonic()
    backend = open_redis(f"redis://127.0.0.1:{silent},127.0.0.1:{redis_server.port}?store=hosts", timeout=timeout)
    assert timeout * 0.4 < time.monotonic() - started < timeout * 0.75
    redis_server.drop_clients()
    started = time.monotonic()
    backend.get("key", timeout=timeout)
    assert time.monotonic() - started < timeout * 0.4, "the host that worked last is asked first"


def test_a_host_that_hangs_and_the_time_is_up(open_redis, silent):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=f"127.0.0.1:{silent}: no answer"):
        open_redis(f"redis://127.0.0.1:{silent}", timeout=0.3)
    assert time.monotonic() - started < 2.0


def test_a_password_that_is_refused_says_more_than_a_host_that_is_not_reached(open_redis):
    need_redis()
    with RedisServer(password="right") as server:
        for hosts in (f"127.0.0.1:{server.port},127.0.0.1:1", f"127.0.0.1:1,127.0.0.1:{server.port}"):
            with pytest.raises(AuthenticationFailed, match="doesn't accept"):
                open_redis(f"redis://:wrong@{hosts}")


def test_an_idle_connection_that_the_server_closed_leaves_no_doubt(open_redis, redis_node: RedisServer, put):
    """It is noticed before anything is sent, so not even a write that is sent once is unknown."""
    backend = open_redis(redis_node.url)

    def drop() -> None:
        redis_node.drop_clients()
        for pooled in list(backend._pool._connections._idle):  # what is between may close its side a moment later
            assert select.select([pooled.connection._socket], [], [], T)[0]

    for _ in range(5):
        drop()
        backend.grant(30.0, timeout=T)
    drop()
    redis_node.stop()
    with pytest.raises(Unavailable, match="nothing listens"):
        backend.grant(30.0, timeout=0.3)
    with pytest.raises(Unavailable, match="nothing listens"):
        put(backend, "key")


def test_an_error_that_is_not_known_leaves_the_outcome_of_a_write_unknown(open_redis, redis_node: RedisServer, put):
    backend = open_redis(redis_node.url)
    revision = put(backend, "key", b"before")
    # A log that is ahead of its store refuses every entry, by an error that no table has.
    redis_node.ask("XADD", "{leasehold}:log", f"{revision + 10**9}-0", "op", "x", "d", "k")
    with pytest.raises(OutcomeUnknown, match=r"committing a transaction: .*doesn't know.*XADD"):
        backend.commit(Transaction((), (Put("key", b"after"),)), timeout=T)
    assert backend.get("key", timeout=T).item.value == b"before"
    redis_node.ask("XDEL", "{leasehold}:log", f"{revision + 10**9}-0")


@pytest.mark.parametrize(("write", "kind"), [(True, OutcomeUnknown), (False, Unavailable)])
def test_an_error_that_is_not_known(write, kind):
    error = refused(ServerError("ERR flux script: " + "a" * 40 + ", on line 3"), action="a", where="b", write=write)
    assert type(error) is kind
    assert str(error).endswith("(b said: ERR flux)")


def test_words_count_at_the_beginning_only():
    assert ERRORS.find("ERR wrong, says LOADING") is None
    assert ERRORS.find("LOADING Redis is loading the dataset in memory") is not None


@pytest.mark.parametrize(
    ("said", "encrypted", "words"),
    [
        ("[Errno 111] Connection refused", False, "nothing listens there"),
        ("[Errno 2] No such file or directory", False, "nothing listens there"),
        ("[Errno 13] Permission denied", False, "may not open"),
        ("timed out", False, "no answer from that address"),
        ("[Errno 113] No route to host: unreachable", False, "no answer from that address"),
        ("what it answered isn't Redis's protocol (H)", False, "what listens there isn't Redis"),
        ("it closed the connection", False, r"write redis\+tls://"),
        ("it closed the connection", True, r"it closed the connection \("),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True, "certificates don't match"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", True, "does that port speak TLS"),
        ("_ssl.c:989: The handshake operation timed out", True, "does that port speak TLS"),
        ("flux", False, "the connection failed"),
    ],
)
def test_what_to_check_when_a_connection_cannot_be_made(said, encrypted, words):
    error = cannot_connect(said, where="there", encrypted=encrypted, late=False)
    assert type(error) is Unavailable
    with pytest.raises(Unavailable, match=f"connecting to Redis at there: .*{words}"):
        raise error


def test_numbers_are_text_before_they_are_packed(monkeypatch):
    """The C code crashes when a signal handler raises while it makes text of a number."""
    packed = []
    monkeypatch.setattr("hiredis.pack_command", lambda command: packed.append(command) or b"")
    pack(("EVAL", b"x", 5, True, -1))
    pack(("GET", b"x"))
    assert {type(part) for command in packed for part in command} == {str, bytes}
    assert packed[0][2] == "5"


def test_a_new_connection_that_breaks_as_its_server_is_asked_again(redis_own_url, monkeypatch):
    """One that took long to make is asked for its role again before the request. Nothing of that was sent."""

    def breaks(*_):
        raise ConnectionBroken("it closed the connection")

    with tenure.connect(redis_own_url, timeout=LONG) as store:
        backend = store._backend
        lease = store.lease(LONG)
        with monkeypatch.context() as patch:
            patch.setattr(endpoints, "_ROLE_SECONDS", -1.0)
            patch.setattr(endpoints, "confirm", breaks)
            for call in (
                lambda: backend.get("a", timeout=T),
                lambda: backend.commit(Transaction((), (Put("a", b""),)), timeout=T),
                lambda: backend.refresh([lease.id], timeout=T),
                lambda: backend.leases(None, timeout=T),
                lambda: backend.server_info(timeout=T),
            ):
                backend._pool._connections.drop_idle()
                with pytest.raises(Unavailable, match="it closed the connection"):
                    call()
        assert store.get("a") is None
