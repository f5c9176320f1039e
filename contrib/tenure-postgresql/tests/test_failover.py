"""A replica that takes over, also one that lags behind; the servers are real, both in one container."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from postgresql_server import PostgresqlServer
from relay import Relay

import tenure
from tenure.errors import Conflict, HistoryReplaced, TenureError, Unavailable
from tenure.spi import Backend, Put, RevisionEquals, Transaction, WatchRequest
from tenure_testkit.waiting import until


@pytest.fixture
def pair(need_engine: None) -> Iterator[PostgresqlServer]:
    """A server of the test's own, with a replica."""
    with PostgresqlServer() as server:
        server.start_replica()
        yield server


@pytest.fixture
def server(pair: PostgresqlServer) -> PostgresqlServer:
    return pair


@pytest.fixture
def primary(pair: PostgresqlServer) -> Iterator[Relay]:
    """The way to the primary, which can be closed."""
    with Relay(pair.port) as relay:
        yield relay


@pytest.fixture
def url(pair: PostgresqlServer, primary: Relay, schema: str) -> str:
    """Both servers, the replica first."""
    hosts = f"127.0.0.1:{pair.replica_port},127.0.0.1:{primary.port}"
    return pair.url(schema=schema).replace(f"127.0.0.1:{pair.port}", hosts)


def caught_up(pair: PostgresqlServer) -> bool:
    """Whether the replica has everything."""
    query = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
    return pair.sql(query) == [(True,)]


def test_the_replica_is_passed_over_and_taken_when_it_takes_over(
    pair: PostgresqlServer, primary: Relay, open_store: Callable[..., tenure.Store]
) -> None:
    store = open_store("&silence=0.6&poll=0.2", timeout=10.0)
    with store.watch("") as watch:
        watch.next(5), watch.next(5)
        for number in range(3):
            last = store.put(f"{number}", b"").revision
            assert watch.next(5).revision == last
        until(lambda: caught_up(pair), what="the replica has caught up")
        primary.close()
        pair.promote_replica()
        # Nothing was lost, so the watch goes on where it was, without a gap.
        following = store.put("after", b"", timeout=20.0).revision
        assert following > last
        batch = watch.next(20)
        assert (batch.type, batch.revision) == (tenure.BatchType.CHANGES, following)


def test_a_replica_that_lagged_is_another_history(
    pair: PostgresqlServer, primary: Relay, open_backend: Callable[..., Backend], recorder: type
) -> None:
    def put(value: bytes) -> int:
        while True:
            try:
                return backend.commit(Transaction((), (Put("key", value),)), timeout=5.0).revision
            except Unavailable:  # the connections to the old server have to be found broken first
                continue

    backend, sink = open_backend("&silence=0.6&poll=0.2"), recorder()
    put(b"1")
    until(lambda: caught_up(pair), what="the replica has caught up")
    pair.leave_replica_behind()
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)
    lost = [put(b"2"), put(b"3")]
    until(lambda: sink.items and sink.items[-1].revision == lost[-1], what="the watch was told")
    primary.close()
    until(lambda: sink.errors, backend.capabilities.max_watch_failure_detection + 1.0, "the feed fails")
    assert isinstance(sink.errors[0], TenureError)
    pair.promote_replica()
    for _ in range(2):
        for revision in lost:
            with pytest.raises(HistoryReplaced, match="isn't in the log"):
                backend.watch(WatchRequest(prefix="", after=revision), sink=recorder(), timeout=10.0)
            with pytest.raises(Conflict):
                backend.commit(Transaction((RevisionEquals("key", revision),), (Put("key", b""),)), timeout=10.0)
        assert put(b"x") > max(lost)
    feed.close()


def test_a_watch_over_such_a_loss_ends_with_the_truth(
    pair: PostgresqlServer, primary: Relay, open_store: Callable[..., tenure.Store]
) -> None:
    store = open_store("&silence=0.6&poll=0.2", timeout=20.0)
    store.put("kept", b"1")
    until(lambda: caught_up(pair), what="the replica has caught up")
    pair.leave_replica_behind()
    with store.watch("") as watch:
        watch.next(5), watch.next(5)
        store.put("lost", b"")
        assert watch.next(5).events[0].key == "lost"
        primary.close()
        pair.promote_replica()
        batch = watch.next(30)
        assert batch.type is tenure.BatchType.RESYNC
        assert [(event.type.value, event.key) for event in batch.events] == [("delete", "lost")]
        assert store.list("").keys == ("kept",)
