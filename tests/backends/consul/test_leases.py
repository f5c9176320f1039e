"""Leases are sessions: as they are made, as others see them, and through what happens to the server."""

from __future__ import annotations

import threading
import time

import pytest

import tenure
from tenure import LeaseState
from tenure.spi import Put, Transaction
from tenure_consul.leases import seconds
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.waiting import until

T = 5.0


@pytest.mark.parametrize(
    ("text", "expected"), [("10s", 10), ("1m30s", 90), ("1h0m0s", 3600), ("1500ms", 1.5), ("1.5s", 1.5), ("", 0)]
)
def test_durations(text: str, expected: float):
    assert seconds(text) == expected


def test_sessions_are_made_to_end_by_their_ttl_alone(consul_server: ConsulServer, opened):
    backend = opened(consul_server.url)
    grant = backend.grant(12.5, timeout=T)
    assert grant.ttl == 12.5
    (session,) = consul_server.ask("GET", f"/v1/session/info/{grant.lease_id}")
    assert session["Behavior"] == "delete"
    assert session["LockDelay"] == 0
    assert session["TTL"] == "12500ms"
    assert not session["NodeChecks"]
    assert session["Node"] == "leasehold"
    assert backend.refresh([grant.lease_id, "1"], timeout=T) == {grant.lease_id: 12.5}
    (info,) = backend.leases(grant.lease_id, timeout=T)
    assert (info.lease_id, info.ttl, info.keys) == (grant.lease_id, 12.5, ())
    assert backend.revoke([grant.lease_id, "1"], timeout=T) == {grant.lease_id}
    assert backend.revoke([grant.lease_id], timeout=T) == frozenset()
    assert backend.leases(grant.lease_id, timeout=T) == backend.leases("1", timeout=T) == ()


def test_sessions_of_others_are_not_listed(consul_server: ConsulServer, opened, prefix):
    backend = opened(consul_server.url)
    theirs = consul_server.ask("PUT", "/v1/session/create", {"TTL": "10s", "Name": "theirs"})["ID"]
    ours = backend.grant(10, timeout=T).lease_id
    backend.commit(Transaction((), (Put(prefix + "key", b"", ours),)), timeout=T)
    listed = {info.lease_id: info.keys for info in backend.leases(None, timeout=T)}
    assert listed[ours] == (prefix + "key",)
    assert theirs not in listed
    backend.revoke([ours], timeout=T)
    consul_server.ask("PUT", f"/v1/session/destroy/{theirs}")


def test_a_session_destroyed_by_somebody_is_noticed(consul_server: ConsulServer, consul_own_url: str):
    lost = threading.Event()
    with tenure.connect(consul_own_url) as store:
        lease = store.lease(3, on_lost=lambda _lease: lost.set())
        store.put("key", b"", lease=lease)
        consul_server.ask("PUT", f"/v1/session/destroy/{lease.id}")
        assert lost.wait(3 + T)
        assert lease.state is LeaseState.LOST
        assert store.get("key") is None


def test_a_restart_keeps_sessions(consul_node: ConsulServer):
    with tenure.connect(consul_node.url) as store, store.lease(8) as lease:
        store.put("key", b"", lease=lease)
        consul_node.restart()
        lease.refresh()
        assert lease.alive
        assert store.get("key").lease_id == lease.id


def test_a_hundred_leases_in_one_process(consul_own_url: str):
    with tenure.connect(consul_own_url) as store:
        before = threading.active_count()
        leases = [store.lease(3) for _ in range(100)]
        for number, lease in enumerate(leases):
            store.put(f"{number:03}", b"", lease=lease)
        end = time.monotonic() + 3 * 2 + 1
        # Longer than any of them lasts unless it is refreshed.
        until(lambda: time.monotonic() > end, 60.0, "time has passed", interval=0.2)
        assert all(lease.alive for lease in leases)
        assert threading.active_count() - before <= 8 + 2  # a refresh may be under way: its threads, the keeper, timers
        assert len(store.list("").items) == 100
    with tenure.connect(consul_own_url) as store:
        assert store.list("").items == ()
