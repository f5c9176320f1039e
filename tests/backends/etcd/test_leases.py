"""Leases: many at once, names as etcdctl prints them, and what is left when they end."""

import math
import time

import pytest

from tenure.errors import LeaseNotFound, Unavailable
from tenure.spi import Changes, Deleted, WatchRequest
from tenure_etcd.connection import Connection
from tenure_testkit.servers import EtcdServer, until


def test_names_are_the_ones_etcdctl_prints(open_etcd, etcd_node: EtcdServer) -> None:
    backend = open_etcd(etcd_node.url)
    granted = backend.grant(30, timeout=5)
    assert granted.lease_id in etcd_node.etcdctl("lease", "list")
    assert [info.lease_id for info in backend.leases(None, timeout=5)] == [granted.lease_id]


@pytest.mark.parametrize("asked", [0.5, 1.9, 2.0, 2.1, 9.5])
def test_a_ttl_is_never_shorter_than_asked(open_etcd, etcd_own_url, asked: float) -> None:
    backend = open_etcd(etcd_own_url)
    granted = backend.grant(asked, timeout=5)
    assert granted.ttl == max(math.ceil(asked), backend.capabilities.min_ttl)
    backend.revoke([granted.lease_id], timeout=5)


def test_names_that_cannot_be(open_etcd, etcd_own_url, put) -> None:
    backend = open_etcd(etcd_own_url)
    for name in ("", "xyz", "-1", "0", "f" * 17, "77"):
        assert backend.refresh([name], timeout=5) == {}
        assert backend.revoke([name], timeout=5) == frozenset()
        assert backend.leases(name or "none", timeout=5) == ()
        with pytest.raises(LeaseNotFound):
            put(backend, "no-lease", b"", name or "none")


def test_a_lease_that_a_starting_server_has_not_yet_is_not_lost(open_etcd, etcd_own_url, monkeypatch) -> None:
    """A server that was just started may answer before it has applied its log: a ttl of 0 is asked for twice."""
    backend = open_etcd(etcd_own_url)
    granted = backend.grant(30, timeout=5)
    asked: list[int] = []

    def exchange(self: Connection, method: str, requests, **arguments):
        asked.append(len(requests))
        answers = real(self, method, requests, **arguments)
        if len(asked) == 1:
            answers[0].TTL = 0
        return answers

    real = Connection.exchange
    monkeypatch.setattr(Connection, "exchange", exchange)
    assert backend.refresh([granted.lease_id], timeout=5) == {granted.lease_id: 30.0}
    assert backend.refresh([granted.lease_id], timeout=5) == {granted.lease_id: 30.0}
    assert asked == [1, 1, 1]
    backend.revoke([granted.lease_id], timeout=5)
    assert backend.refresh([granted.lease_id], timeout=5) == {}


def test_two_thousand_refreshed_and_revoked(open_etcd, etcd_node: EtcdServer, put) -> None:
    backend = open_etcd(etcd_node.url)
    ids = [backend.grant(60, timeout=5).lease_id for _ in range(2000)]
    put(backend, "many/key", b"", ids[7])
    gone = ids[::500]
    assert backend.revoke(gone, timeout=10) == set(gone)
    alive = set(ids) - set(gone)
    assert backend.refresh(ids, timeout=20) == dict.fromkeys(alive, 60.0)
    listed = {info.lease_id: info for info in backend.leases(None, timeout=20)}
    assert listed.keys() == alive
    assert listed[ids[7]].keys == ("many/key",)
    assert 0 < (listed[ids[7]].remaining or 0) <= 60
    assert backend.revoke(ids, timeout=30) == alive
    assert backend.get("many/key", timeout=5).item is None


def test_an_ended_lease_takes_its_keys_and_stays_dead(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    granted = backend.grant(2, timeout=5)
    put(backend, "ending/key", b"", granted.lease_id)
    backend.watch(WatchRequest(prefix="ending/"), sink=seen, timeout=5)
    began = time.monotonic()
    assert backend.refresh([granted.lease_id], timeout=5) == {granted.lease_id: granted.ttl}
    refreshed = time.monotonic()
    deleted = seen.wait(lambda r: r.of(Changes))[0].entries[0]
    took = time.monotonic()
    assert isinstance(deleted, Deleted)
    assert took - refreshed >= granted.ttl - (refreshed - began)
    assert took - refreshed <= backend.capabilities.max_lifetime_after_refresh(granted.ttl)
    assert backend.refresh([granted.lease_id], timeout=5) == {}
    assert backend.leases(granted.lease_id, timeout=5) == ()


@pytest.mark.faults
def test_a_restart_gives_the_full_ttl_again(open_etcd, etcd_node: EtcdServer) -> None:
    backend = open_etcd(etcd_node.url)
    granted = backend.grant(30, timeout=5)

    def end() -> float | None:
        """When the lease will end, by etcd's own account in whole seconds; ``None`` while it can't be asked."""
        try:
            [info] = backend.leases(granted.lease_id, timeout=5)
        except Unavailable:  # the channel may not have noticed yet that the server is back
            return None
        assert info.remaining is not None
        return time.monotonic() + info.remaining

    before = until(end, 60.0, "etcd tells of the lease")
    until(lambda: before - time.monotonic() < granted.ttl - 4.0, 60.0, "a part of the ttl has passed")
    killed = time.monotonic()
    etcd_node.restart()
    # A second for each of the two accounts' rounding.
    after = until(end, 60.0, "etcd tells of the lease after its restart")
    assert after > max(before, killed + granted.ttl) - 1.0 > before + 1.0
