"""Three servers: the leader is killed or frozen under writers, watchers and leases."""

from __future__ import annotations

import time

import pytest

import tenure
from tenure import Unavailable
from tenure.errors import Conflict, DeadlineExceeded, OutcomeUnknown
from tenure_testkit.servers.consul import ConsulCluster
from tenure_testkit.waiting import PATIENCE, until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_work_goes_on_without_the_leader(consul_cluster: ConsulCluster, fault: str):
    with tenure.connect(consul_cluster.url, timeout=20) as store:
        lease = store.lease(6)
        store.put("leased", b"", lease=lease)
        watch = store.watch("")
        values: dict[str, bytes] = {}
        revision = store.put("counter", b"0").revision
        acknowledged = unknown = 0
        leader = consul_cluster.leader()
        getattr(leader, fault)()
        end = time.monotonic() + 2 * PATIENCE
        while acknowledged < 100:
            assert time.monotonic() < end, f"only {acknowledged} writes were acknowledged"
            try:
                item = store.get("counter")
                revision = store.put_if_unchanged(
                    "counter", b"%d" % (int(item.value) + 1), revision=item.mod_revision, timeout=3
                ).revision
                acknowledged += 1
            except OutcomeUnknown:
                unknown += 1
            except (Conflict, DeadlineExceeded, Unavailable):
                continue
        total = int(store.get("counter").value)
        assert acknowledged <= total <= acknowledged + unknown

        def caught_up() -> bool:
            batch = watch.next(0.5)
            for event in batch.events if batch else ():
                values[event.key] = event.item.value if event.item else b"gone"
            return values.get("counter") == b"%d" % total

        until(caught_up, 60.0, "the watch tells the last value")
        assert store.get_with_revision("counter").item.mod_revision >= revision
        # A dead server's node leaves the catalog after a while, and takes no lease with it.
        lease.refresh(timeout=10)
        assert lease.alive
        assert store.get("leased").lease_id == lease.id
        watch.close()


def test_without_a_majority_nothing_is_promised(consul_cluster: ConsulCluster):
    with tenure.connect(consul_cluster.url, timeout=10) as store:
        store.put("key", b"1")
        down = consul_cluster.nodes[:2]
        for member in down:
            member.kill()
        started = time.monotonic()
        with pytest.raises((Unavailable, OutcomeUnknown)):
            store.put("key", b"2", timeout=3)
        with pytest.raises(Unavailable):
            store.get("key", timeout=3)
        assert time.monotonic() - started < 9
        for member in down:
            member.start(wait=False)
        assert until(lambda: store.get("key", timeout=20), 60, "it works again").value in (b"1", b"2")
