"""Leases as sessions: many of them, without threads; used by others; ended by the server alone."""

import contextlib
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest

from tenure import connect
from tenure.errors import LeaseLost, LeaseNotFound, LimitExceeded, Unavailable
from tenure_testkit.servers import until
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper
from tenure_zookeeper import encoding
from tenure_zookeeper.session import Session


def test_a_hundred_leases_cost_no_thread_each(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        store.lease(5.0)
        threads = threading.active_count()
        leases = [store.lease(5.0) for _ in range(100)]
        for number, lease in enumerate(leases):
            store.put(f"{number:03}", b"", lease=lease)
        for lease in leases:
            lease.refresh()
        assert threading.active_count() <= threads + 10  # the pool that refreshes and timers, however many leases
        assert len(store.list("")) == 100
        assert all(lease.alive for lease in leases)
    with connect(zookeeper_own_url) as store:
        assert store.list("").keys == ()


def test_nothing_but_a_refresh_keeps_a_lease(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        lease = store.lease(1.0, keep_alive=False)
        started = time.monotonic()
        store.put("key", b"", lease=lease)
        until(lambda: store.get("key") is None, lease.max_lifetime_after_refresh + 1.0, "the lease ended")
        assert time.monotonic() - started >= 1.0
        with pytest.raises(LeaseLost):
            lease.refresh()
        with pytest.raises(LeaseNotFound):
            store.put("key", b"", lease=lease.id)


def test_another_process_may_use_and_end_a_lease(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        lease = store.lease(20.0)
        program = (
            "import sys, tenure\n"
            "with tenure.connect(sys.argv[1]) as store:\n"
            "    store.put('key', b'theirs', lease=sys.argv[2])\n"
            "    assert store.describe_lease(sys.argv[2]).keys == ('key',)\n"
        )
        subprocess.run([sys.executable, "-c", program, zookeeper_own_url, lease.id], check=True, timeout=60)
        item = store.get("key")
        assert item is not None
        assert (item.value, item.lease_id) == (b"theirs", lease.id)
        with connect(zookeeper_own_url) as other:
            other.revoke_lease(lease.id)
        assert store.get("key") is None
        with pytest.raises(LeaseLost):
            lease.refresh()


def test_leases_are_described_beside_a_namespace_that_is_closed(zookeeper_server: ZooKeeperServer) -> None:
    base = f"127.0.0.1:{zookeeper_server.port}"
    closed, odd = (f"{name}-{time.time_ns()}" for name in ("closed", "odd %/ns"))
    with (
        connect(f"zookeeper://me:secret@{base}/{closed}?acl=creator") as theirs,
        connect(f"zookeeper://{base}?namespace={quote(odd)}") as mine,
    ):
        theirs.put("key", b"")
        lease = mine.lease(5.0)
        mine.put("a/b", b"", lease=lease)
        mine.put("c", b"")
        assert mine.describe_lease(lease).keys == ("a/b",)
        assert [info.keys for info in mine.leases()] == [("a/b",)]


def test_a_transaction_takes_one_lease(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        one, two = store.lease(5.0), store.lease(5.0)
        with pytest.raises(LimitExceeded, match="2 different leases"):
            store.transaction().put("a", b"", lease=one).put("b", b"", lease=two).commit()
        store.transaction().put("a", b"", lease=one).put("b", b"").commit()
        one.revoke()
        assert store.list("").keys == ("b",)


def test_ids_that_are_no_leases(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        for wrong in ("x", "../../@a", "0", "0" * 16, "f" * 16):
            with pytest.raises(LeaseNotFound):
                store.put("key", b"", lease=wrong)
        assert store.get("key") is None


@pytest.mark.faults
def test_a_full_server_says_what_is_wrong() -> None:
    need_zookeeper()
    with ZooKeeperServer(connections=10) as server, connect(server.url) as one, contextlib.ExitStack() as others:
        one.put("key", b"")
        full = False
        while not full:
            try:
                other = others.enter_context(socket.create_connection(("127.0.0.1", server.port), 5.0))
            except OSError:  # the server closed it before connect() returned
                break
            readable, _, _ = select.select([other], [], [], 0.2)
            full = bool(readable)  # the server has closed it
        with pytest.raises(Unavailable, match="maxClientCnxns"):
            one.lease(1.0, timeout=1.0)
        one.put("key", b"")


@pytest.mark.faults
def test_a_restart_ends_no_lease(zookeeper_node: ZooKeeperServer) -> None:
    with connect(zookeeper_node.url, timeout=10.0) as store:
        lease = store.lease(20.0)
        store.put("key", b"", lease=lease)
        zookeeper_node.restart()
        lease.refresh()
        store.put("other", b"", lease=lease)
        assert store.list("").keys == ("key", "other")
        lease.revoke()
        assert store.list("").keys == ()


def test_a_session_that_the_server_says_has_ended_is_no_lease(
    zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends after the plugin has attached to it, and the answer to the put says so."""
    with connect(zookeeper_own_url) as store:
        lease_id = store.lease(60.0, keep_alive=False).id
        store.put("key", b"", lease=lease_id)
        ended = encoding.Reply(0, encoding.Code.SESSION_EXPIRED, b"", 0)
        monkeypatch.setattr(Session, "request", lambda *_: ended)
        with pytest.raises(LeaseNotFound):
            store.put("key", b"again", lease=lease_id)


def test_a_key_moves_between_leases(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store:
        one, two = store.lease(5.0), store.lease(5.0)
        first = store.put("key", b"0").revision
        for lease in (one, two, None, None, one, one, two):
            revision = store.put("key", b"x", lease=lease).revision
            item = store.get("key")
            assert item == ("key", b"x", first, revision, lease and lease.id)
        one.revoke()
        assert store.get("key") is not None
        many = store.transaction().put("key", b"y")
        for number in range(8):
            many.put(f"new{number}", b"")
        revision = many.commit().revision
        assert store.get("key") == ("key", b"y", first, revision, None)
        two.revoke()
        assert store.get("key") is not None


def test_a_lease_that_ends_is_seen_by_watchers(zookeeper_own_url: str) -> None:
    with connect(zookeeper_own_url) as store, connect(zookeeper_own_url) as other, other.watch("") as watch:
        watch.next(5.0)
        watch.next(5.0)
        lease = store.lease(5.0)
        store.transaction().put("a", b"", lease=lease).put("b", b"", lease=lease).commit()
        known: set[str] = set()
        ended = False
        while not ended or known:
            batch = watch.next(5.0)
            assert batch is not None, known
            known |= {event.key for event in batch.events if event.item is not None}
            known -= {event.key for event in batch.events if event.item is None}
            if known == {"a", "b"}:
                lease.revoke()
                ended = True


class ForgetfulRelay:
    """Stands before a server, and makes a connect to a session a connect without one once it is told to."""

    _CONNECT = struct.Struct("!iqiq")

    def __init__(self, target: int) -> None:
        self.forgets = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _changed(self, packet: bytes) -> bytes:
        protocol, zxid, timeout, number = self._CONNECT.unpack_from(packet)
        if not self.forgets or not number:
            return packet
        rest = packet[self._CONNECT.size + 4 + 16 :]
        return self._CONNECT.pack(protocol, zxid, timeout, 0) + struct.pack("!i", 16) + bytes(16) + rest

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server, contextlib.suppress(OSError):
            head = client.recv(4, socket.MSG_WAITALL)
            server.sendall(head)
            if head != b"srvr":
                server.sendall(self._changed(client.recv(struct.unpack("!i", head)[0], socket.MSG_WAITALL)))
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)


def test_a_new_session_in_place_of_the_old_one_is_a_lost_lease(zookeeper_server: ZooKeeperServer) -> None:
    """A compatible server answered so. The holder must not take the new session for the lease with its keys."""
    relay = ForgetfulRelay(zookeeper_server.port)
    with contextlib.closing(relay), connect(f"zookeeper://127.0.0.1:{relay.port}/forgetful", timeout=5.0) as store:
        lease = store.lease(5.0, keep_alive=False)
        store.put("lock", b"", lease=lease)
        another = store.lease(5.0, keep_alive=False)
        relay.forgets = True
        with pytest.raises(LeaseNotFound):
            store.put("second", b"", lease=another.id)
        with pytest.raises(LeaseLost):
            lease.refresh()
        with pytest.raises(LeaseLost):
            lease.ensure_valid()


def test_a_silent_server_among_others_costs_little(
    zookeeper_server: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is off takes its share of the time of opening, and nothing of what comes later."""
    monkeypatch.setattr("random.sample", lambda population, k: list(population)[:k])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{zookeeper_server.port}"
        started = time.monotonic()
        with connect(f"zookeeper://{hosts}/off", timeout=3.0) as store:
            assert time.monotonic() - started < 3.0
            opened = time.monotonic()
            store.put("key", b"", lease=store.lease(5.0))
            assert store.server_info().version != "unknown"
            assert time.monotonic() - opened < 1.0
