"""Servers that are killed, frozen or held up, and connections that break in the middle of a write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from postgresql_server import PostgresqlServer
from relay import Relay
from tenure_postgresql.connection import ServerError
from tenure_postgresql.errors import refused

import tenure
from tenure.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    RetryAdvice,
    StoreClosed,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.spi import Backend, ListRequest, Put, ReadResult, Transaction, WatchRequest
from tenure_testkit.waiting import until

PUT = Transaction((), (Put("key", b"1"),))


def outcome(call: Callable[[], object]) -> Callable[[], object]:
    """Runs ``call`` in a thread; what is returned waits for its answer or error."""
    told: list[object] = []

    def run() -> None:
        try:
            told.append(call())
        except TenureError as exc:
            told.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> object:
        thread.join(60.0)
        assert told, "the call hangs"
        return told[0]

    return wait


def waiting_writers(server: PostgresqlServer, schema: str) -> int:
    """How many sessions wait for a lock while they call a function of the store."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'"
    return int(server.sql(query)[0][0])


def test_every_call_ends_in_time_on_a_frozen_server(server: PostgresqlServer, backend: Backend, url: str) -> None:
    lease = backend.grant(60.0, timeout=0.5).lease_id
    calls: dict[str, tuple[Callable[[], object], type[TenureError]]] = {
        "get": (lambda: backend.get("key", timeout=0.5), DeadlineExceeded),
        "list": (lambda: backend.list(ListRequest(prefix=""), timeout=0.5), DeadlineExceeded),
        "server_info": (lambda: backend.server_info(timeout=0.5), DeadlineExceeded),
        "leases": (lambda: backend.leases(None, timeout=0.5), DeadlineExceeded),
        "commit": (lambda: backend.commit(PUT, timeout=0.5), DeadlineExceeded),
        "watch": (lambda: backend.watch(WatchRequest(prefix=""), sink=Nobody(), timeout=0.5), DeadlineExceeded),
    }
    server.pause()
    # The first finds an open connection, so it was sent; the others can't make one, so nothing was.
    for name, call, kind in [
        ("grant", lambda: backend.grant(60.0, timeout=0.5), OutcomeUnknown),
        *((name, call, kind) for name, (call, kind) in calls.items()),
        ("open", lambda: tenure.connect(url, timeout=0.5), DeadlineExceeded),
    ]:
        started = time.monotonic()
        with pytest.raises(kind):
            call()
        assert time.monotonic() - started < 1.5, name
    server.resume()
    assert backend.refresh([lease], timeout=10.0) == {lease: 60.0}


class Nobody:
    def deliver(self, item: object, /) -> None: ...

    def fail(self, error: object, /) -> None: ...


def test_a_write_sent_to_a_frozen_server_is_unknown(server: PostgresqlServer, store: tenure.Store) -> None:
    store.put("key", b"before", timeout=0.5)
    server.pause()
    with pytest.raises(OutcomeUnknown, match="read before trying again"):
        store.put("key", b"after", timeout=0.5)
    server.resume()
    assert store.get("key", timeout=20).value in (b"before", b"after")


def test_a_feed_notices_a_frozen_server(
    server: PostgresqlServer, open_backend: Callable[..., Backend], recorder: Any
) -> None:
    backend = open_backend("&silence=0.6&poll=0.2")
    sink = recorder()
    with closing(backend.watch(WatchRequest(prefix=""), sink=sink, timeout=5.0)):
        until(lambda: sink.items, what="the feed began")
        server.pause()
        until(lambda: sink.errors, backend.capabilities.max_watch_failure_detection + 1.0, "the feed fails")
        assert isinstance(sink.errors[0], Unavailable)
    assert len(sink.errors) == 1


class closing:  # noqa: N801 - like the one in contextlib, with one argument fewer to type
    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._feed.close()


def test_a_watch_goes_on_after_a_freeze_and_a_kill(
    server: PostgresqlServer, open_store: Callable[..., tenure.Store]
) -> None:
    store = open_store("&silence=0.6&poll=0.2", timeout=20.0)
    with store.watch("w/") as watch:
        watch.next(5), watch.next(5)
        server.pause()
        time.sleep(1.5)  # longer than the silence: not a wait for a state, but the fault itself
        server.resume()
        revision = store.put("w/a", b"1").revision
        assert [(event.key, event.revision) for event in watch.next(20).events] == [("w/a", revision)]
        server.kill()
        server.start()
        revision = store.put("w/b", b"2").revision
        assert [(event.key, event.revision) for event in watch.next(20).events] == [("w/b", revision)]


def test_a_write_after_a_restart_is_not_unknown(server: PostgresqlServer, backend: Backend) -> None:
    first = backend.commit(PUT, timeout=5.0).revision
    server.kill()
    with pytest.raises(Unavailable, match="nothing listens there"):
        backend.commit(PUT, timeout=2.0)
    server.start()
    second = backend.commit(PUT, timeout=5.0).revision
    server.cut()
    assert first < second < backend.commit(PUT, timeout=5.0).revision


def test_a_connection_that_ends_in_mid_write_is_unknown(
    server: PostgresqlServer, backend: Backend, schema: str
) -> None:
    with server.connect() as holder, holder.transaction():
        holder.execute(f"SELECT FROM {schema}.store FOR UPDATE")
        told = outcome(lambda: backend.commit(PUT, timeout=10.0))
        until(lambda: waiting_writers(server, schema), what="the write waits for the lock")
        server.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'"
        )
        error = told()
    assert isinstance(error, OutcomeUnknown)
    assert backend.get("key", timeout=5.0).item is None


def test_an_answer_lost_on_the_way_is_unknown(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend]
) -> None:
    with Relay(server.port) as relay:
        store = tenure.connect(f"{server.url(schema=schema)}".replace(str(server.port), str(relay.port)), timeout=5)
        with store:
            store.put("key", b"before")
            relay.swallow_answers()
            with pytest.raises(OutcomeUnknown):
                store.put("key", b"after", timeout=1.0)
            relay.heal()
    assert open_backend().get("key", timeout=5.0).item.value == b"after"


def test_a_connection_reset_before_the_answer_is_unknown(
    server: PostgresqlServer, schema: str, open_backend: Callable[..., Backend]
) -> None:
    with Relay(server.port) as relay:
        store = tenure.connect(f"{server.url(schema=schema)}".replace(str(server.port), str(relay.port)), timeout=5)
        with store:
            store.put("key", b"before")
            relay.reset_at_next_answer()
            with pytest.raises(OutcomeUnknown):
                store.put("key", b"after", timeout=5.0)
            store.put("next", b"goes on")
    assert open_backend().get("key", timeout=5.0).item.value == b"after"


def test_a_write_is_done_when_it_is_committed_and_not_before(
    server: PostgresqlServer, backend: Backend, schema: str
) -> None:
    # What fails at the commit does so after the server has sent the complete result of the statement.
    server.sql(
        f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;"
        f"CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {schema}.change DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        f"EXECUTE FUNCTION {schema}.refuse()"
    )
    with pytest.raises(StoreFull):
        backend.commit(PUT, timeout=5.0)
    assert backend.get("key", timeout=5.0) == ReadResult(None, 0)


def test_a_write_that_waits_for_others_is_refused_in_time(
    server: PostgresqlServer, backend: Backend, schema: str
) -> None:
    with server.connect() as holder, holder.transaction():
        holder.execute(f"SELECT FROM {schema}.store FOR UPDATE")
        for call in (
            lambda: backend.commit(PUT, timeout=1.0),
            lambda: backend.revoke(["0" * 32], timeout=1.0),
        ):
            started = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="another session held the store's lock"):
                call()
            assert time.monotonic() - started < 1.5
        assert backend.get("key", timeout=5.0).item is None  # reading waits for nobody
    assert backend.get("key", timeout=5.0).revision == 0


def test_what_the_client_gave_up_the_server_gives_up(server: PostgresqlServer, backend: Backend, schema: str) -> None:
    with server.connect() as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {schema}.item")  # as ALTER TABLE or VACUUM FULL would
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                backend.get("key", timeout=0.3)
        until(lambda: not waiting_writers(server, schema), 5.0, "no session waits any more")


def test_close_ends_calls_under_way(server: PostgresqlServer, open_backend: Callable[..., Backend]) -> None:
    backend = open_backend()
    backend.get("key", timeout=5.0)
    server.pause()
    told = outcome(lambda: backend.get("key", timeout=30.0))
    time.sleep(0.2)  # whether the call is already waiting makes no difference to what has to happen
    started = time.monotonic()
    backend.close()
    error = told()
    assert isinstance(error, Unavailable | StoreClosed)
    assert time.monotonic() - started < 3.0


def test_no_more_connections_than_allowed(
    server: PostgresqlServer, open_backend: Callable[..., Backend], schema: str
) -> None:
    backend = open_backend("&connections=2")
    with server.connect() as holder, holder.transaction():
        holder.execute(f"SELECT FROM {schema}.store FOR UPDATE")
        told = [outcome(lambda: backend.commit(PUT, timeout=2.0)) for _ in range(5)]
        until(lambda: waiting_writers(server, schema) == 2, what="two of five have a connection")
        with pytest.raises(DeadlineExceeded, match="all 2 connections"):
            backend.get("key", timeout=0.3)
        ends = [wait() for wait in told]
    # Who got a connection in the last moment may have run out of time before the server could refuse.
    assert all(isinstance(end, DeadlineExceeded | OutcomeUnknown) for end in ends), ends
    assert sum(isinstance(end, DeadlineExceeded) for end in ends) >= 2, ends
    backend.commit(PUT, timeout=5.0)


def test_a_server_that_comes_back_empty_is_used_again(server: PostgresqlServer, url: str) -> None:
    """Also by a watch, which tells what is gone; what was refused meanwhile changed nothing."""
    with tenure.connect(url, timeout=20.0) as store, store.watch("") as watch:
        store.put("lost", b"")
        until(
            lambda: any(event.key == "lost" for event in getattr(watch.next(1.0), "events", ())), what="the key is told"
        )
        server.kill()
        server.wipe()
        server.start()
        assert store.get("lost") is None
        store.put("new", b"")
        told: dict[str, bool] = {}

        def caught_up() -> bool:
            told.update({event.key: event.item is not None for event in getattr(watch.next(1.0), "events", ())})
            return told == {"lost": False, "new": True}

        until(caught_up, what="the watch tells the loss and what is new")


def test_an_error_of_a_write_that_nobody_knows_is_an_unknown_outcome() -> None:
    error = refused(ServerError("XZ999", "something new"), action="writing", where="a server", write=True)
    assert type(error) is OutcomeUnknown
    assert error.retry is RetryAdvice.READ_FIRST
