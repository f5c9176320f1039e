"""Writes and reads while the server dies, freezes, loses its leader or runs out of room."""

import threading
import time

import pytest

from tenure.errors import (
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    StoreClosed,
    StoreFull,
    Unavailable,
)
from tenure.spi import Delete, ListRequest, Put, RevisionEquals, Transaction, WatchRequest
from tenure_testkit.servers import EtcdCluster, EtcdServer, until
from tenure_testkit.servers.plugin import need_container

pytestmark = pytest.mark.faults


def test_a_frozen_server_costs_no_more_than_the_deadline(open_etcd, etcd_node: EtcdServer, put) -> None:
    backend = open_etcd(etcd_node.url)
    lease = backend.grant(30, timeout=5).lease_id
    put(backend, "key")
    etcd_node.pause()
    calls = {
        "get": (DeadlineExceeded, lambda: backend.get("key", timeout=0.3)),
        "list": (DeadlineExceeded, lambda: backend.list(ListRequest(prefix="", limit=1), timeout=0.3)),
        "put": (OutcomeUnknown, lambda: backend.commit(Transaction((), (Put("key", b""),)), timeout=0.3)),
        "delete": (OutcomeUnknown, lambda: backend.commit(Transaction((), (Delete("key"),)), timeout=0.3)),
        "grant": (OutcomeUnknown, lambda: backend.grant(5, timeout=0.3)),
        "refresh": (Unavailable, lambda: backend.refresh([lease], timeout=0.3)),
        "revoke": (OutcomeUnknown, lambda: backend.revoke([lease], timeout=0.3)),
        "leases": (DeadlineExceeded, lambda: backend.leases(None, timeout=0.3)),
        "info": (DeadlineExceeded, lambda: backend.server_info(timeout=0.3)),
    }
    for name, (expected, call) in calls.items():
        started = time.monotonic()
        with pytest.raises(expected):
            call()
        assert time.monotonic() - started < 1.5, name
    etcd_node.resume()
    until(lambda: _answers(backend), 60.0, "the server answers again")


def test_a_killed_server_is_told_at_once_and_found_again(open_etcd, etcd_node: EtcdServer, put) -> None:
    backend = open_etcd(etcd_node.url)
    put(backend, "key", b"kept")
    etcd_node.kill()
    until(lambda: not _answers(backend), 60.0, "the connection is known to be lost")
    with pytest.raises(Unavailable, match="can't connect"):
        until(lambda: put(backend, "key", b"lost"), 60.0, "never")
    etcd_node.start()
    until(lambda: _answers(backend), 60.0, "the server is found again")
    item = backend.get("key", timeout=5).item
    assert item is not None
    assert item.value == b"kept"


def test_a_counter_survives_its_server_being_killed(open_etcd, etcd_node: EtcdServer, put) -> None:
    """Compare-and-set under kills: what was acknowledged is there, what was in doubt at most once."""
    backend = open_etcd(etcd_node.url)
    put(backend, "counter", b"0")
    acknowledged = unknown = 0
    killer = threading.Thread(target=lambda: [etcd_node.restart() for _ in range(2)])
    killer.start()
    deadline = time.monotonic() + 60
    while killer.is_alive() or acknowledged < 200:
        assert time.monotonic() < deadline
        try:
            item = backend.get("counter", timeout=2).item
            assert item is not None
            write = Put("counter", b"%d" % (int(item.value) + 1))
            backend.commit(Transaction((RevisionEquals("counter", item.mod_revision),), (write,)), timeout=2)
            acknowledged += 1
        except OutcomeUnknown:
            unknown += 1
        except Unavailable:
            continue
    killer.join(60.0)
    item = backend.get("counter", timeout=5).item
    assert item is not None
    assert acknowledged <= int(item.value) <= acknowledged + unknown


def test_calls_in_flight_end_when_the_backend_is_closed(open_etcd, etcd_node: EtcdServer) -> None:
    backend = open_etcd(etcd_node.url)
    etcd_node.pause()
    ended: list[Exception] = []

    def call(function) -> None:
        try:
            function()
        except (Unavailable, OutcomeUnknown, StoreClosed) as exc:  # the last where it hadn't begun to send
            ended.append(exc)

    calls = [
        lambda: backend.get("key", timeout=60),
        lambda: backend.commit(Transaction((), (Put("key", b""),)), timeout=60),
        lambda: backend.refresh(["77"], timeout=60),
    ]
    threads = [threading.Thread(target=call, args=(function,)) for function in calls]
    for thread in threads:
        thread.start()
    until(lambda: backend._connection._gate._in_flight == len(calls), 60.0, "all calls are in flight")
    backend.close()
    for thread in threads:
        thread.join(60.0)
    assert len(ended) == len(calls)
    with pytest.raises(StoreClosed):
        backend.get("key", timeout=1)
    etcd_node.resume()


def test_a_full_database_is_told(open_etcd) -> None:
    need_container("etcd")
    with EtcdServer(args=["--quota-backend-bytes=4000000"]) as server:
        backend = open_etcd(server.url)

        def fill():
            try:
                backend.commit(Transaction((), (Put("full", b"x" * 500_000),)), timeout=5)
            except StoreFull as exc:
                return exc
            except OutcomeUnknown:
                pass  # the one that reached it
            return None

        assert "etcdctl alarm disarm" in str(until(fill, 60.0, "the quota is reached"))
        assert backend.get("full", timeout=5).item is not None
        assert any("quota" in risk for risk in backend.server_info(timeout=5).warnings)


def test_what_is_refused_at_the_quota_is_not_applied(open_etcd) -> None:
    """With several writers at once some writes are applied past the quota, and etcd answers as if they were refused."""
    need_container("etcd")
    done: set[str] = set()
    refused: set[str] = set()
    unclear: set[str] = set()

    def fill(backend, name: str) -> None:
        for number in range(200):
            key = f"{name}/{number}"
            try:
                backend.commit(Transaction((), (Put(key, b"x" * 50_000),)), timeout=5)
            except StoreFull:
                refused.add(key)
                return
            except OutcomeUnknown:
                unclear.add(key)
                return
            done.add(key)

    with EtcdServer(args=["--quota-backend-bytes=4000000"]) as server:
        backends = [open_etcd(server.url) for _ in range(8)]
        for attempt in range(10):
            threads = [
                threading.Thread(target=fill, args=(backend, f"{attempt}/{number}"))
                for number, backend in enumerate(backends)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            there = {key.decode() for key in server.gateway.items()}
            assert done <= there
            assert refused.isdisjoint(there)
            # Under the alarm nothing is applied any more, and that is known.
            with pytest.raises(StoreFull):
                backends[0].commit(Transaction((), (Put("more", b"x"), Put("and more", b"x"))), timeout=5)
            if there & unclear:
                return
            for key in there:
                backends[0].commit(Transaction((), (Delete(key),)), timeout=5)
            done.clear()
            server.make_room()
    pytest.fail("etcd applied no write past its quota, so this has shown nothing")


def test_the_largest_value_and_transaction_fit_and_more_is_refused(open_etcd, etcd_own_url) -> None:
    backend = open_etcd(etcd_own_url)
    limits = backend.capabilities
    long_key = "k" * 1400
    backend.commit(Transaction((), (Put(long_key, b"x" * limits.max_value_bytes),)), timeout=10)
    count = limits.max_transaction_operations
    share = limits.max_transaction_bytes // count - 1400
    keys = [f"{n:04d}" * 350 for n in range(count)]
    backend.commit(Transaction((), tuple(Put(key, b"x" * share) for key in keys)), timeout=10)
    half = count // 2
    preconditions = tuple(RevisionEquals(key, backend.get(key, timeout=5).item.mod_revision) for key in keys[:half])
    share = limits.max_transaction_bytes // half - 2800
    backend.commit(Transaction(preconditions, tuple(Put(key, b"x" * share) for key in keys[:half])), timeout=10)
    for operations in ((Put("k", b"x" * 1_600_000),), (Put("k", b"x" * 4_000_000),)):
        with pytest.raises(LimitExceeded, match="max-request-bytes"):
            backend.commit(Transaction((), operations), timeout=10)
    with pytest.raises(LimitExceeded, match="max-txn-ops"):
        backend.commit(Transaction((), tuple(Put(f"k{n}", b"") for n in range(count + 1))), timeout=10)


def test_large_lists_are_paged_by_weight(open_etcd, etcd_own_url, put) -> None:
    backend = open_etcd(etcd_own_url)
    for n in range(80):
        put(backend, f"heavy/{n:02d}", b"x" * 256_000)
    keys, after, revision, more = [], None, None, True
    while more:
        page = backend.list(ListRequest(prefix="heavy/", after=after, revision=revision), timeout=10)
        assert sum(len(item.value) for item in page.items) < 24_000_000
        assert revision in (None, page.revision)
        keys += [item.key for item in page.items]
        after, revision, more = keys[-1], page.revision, page.has_more
        put(backend, "heavy/~new")
    assert keys == [f"heavy/{n:02d}" for n in range(80)]


def test_work_goes_on_without_the_leader(open_etcd, etcd_cluster: EtcdCluster, recorder, put) -> None:
    backend, seen = open_etcd(etcd_cluster.url), recorder()
    start = put(backend, "leader/key")
    backend.watch(WatchRequest(prefix="leader/", after=start), sink=seen, timeout=5)
    killed = time.monotonic()
    etcd_cluster.kill_leader()

    def again():
        try:
            return put(backend, "leader/key", b"after")
        except (Unavailable, OutcomeUnknown):
            return None

    revision = until(again, 60.0, "a put succeeds")
    assert time.monotonic() - killed < 15
    seen.wait(lambda r: r.last_revision >= revision or r.errors)
    if seen.errors:
        assert isinstance(seen.errors[0], Unavailable)
        resumed = recorder()
        backend.watch(WatchRequest(prefix="leader/", after=seen.last_revision or start), sink=resumed, timeout=5)
        resumed.wait(lambda r: r.last_revision >= revision)


def test_without_a_quorum_reads_and_writes_are_refused_soon(open_etcd, etcd_cluster: EtcdCluster, put) -> None:
    backend = open_etcd(etcd_cluster.url)
    put(backend, "quorum/key")
    first = etcd_cluster.kill_leader()
    second = etcd_cluster.leader(other_than=first)
    second.kill()

    def refused():
        try:
            put(backend, "quorum/key")
        except OutcomeUnknown:
            return None
        except Unavailable as exc:
            return "no leader" in str(exc)
        return None

    until(refused, 60.0, "the member that is left says that it has no leader")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        backend.get("quorum/key", timeout=5)
    assert time.monotonic() - started < 5


def test_members_and_missing_endpoints_are_told(open_etcd, etcd_cluster: EtcdCluster) -> None:
    everything = open_etcd(etcd_cluster.url).server_info(timeout=5)
    assert everything.details["members"].count("http://") == 3
    assert not everything.warnings
    one = open_etcd(f"etcd://127.0.0.1:{etcd_cluster.nodes[0].port}").server_info(timeout=5)
    assert any("Name them all" in risk for risk in one.warnings)


def _answers(backend) -> bool:
    try:
        backend.get("key", timeout=1)
    except Unavailable:
        return False
    return True
