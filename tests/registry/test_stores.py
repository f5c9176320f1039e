"""The registry on each store, on the real clock: what two connections and a crash show."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tenure.errors import AlreadyRegistered
from tenure.registry import Instance, Registry, RegistryConfig, Status, encode

WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80, meta={"zone": "<a>"})
KEY = "/registry/default/web/1@10.0.0.1"

CHILD = """
import sys, tenure
from tenure.registry import Instance, Registry, RegistryConfig
store = tenure.connect(sys.argv[1])
own = Registry(store, RegistryConfig(heartbeat=float(sys.argv[2])), Instance("web", id="child", host="h")).start()
print("registered", flush=True)
sys.stdin.read()
own.close()
store.close()
"""


def test_register_update_and_deregister_are_seen_by_another(registry_store, told):
    seen = told()
    with Registry(registry_store()) as watcher:
        watcher.add_handler(seen)
        store = registry_store()
        with Registry(store, instance=WEB) as own:
            item = store.get(KEY)
            assert (item.value, item.lease_id) == (encode(WEB), own.lease.id)
            with pytest.raises(AlreadyRegistered):
                watcher.register(WEB)
            assert watcher.wait_for("web", timeout=10.0).instances == (WEB,)
            own.drain()
            seen.of(2)
        events = seen.of(3)
    assert [event.type for event in events] == ["create", "upsert", "delete"]


def test_a_lost_lease_and_a_deleted_entry_come_back(registry_store, told):
    store, changes = registry_store(), told()
    with Registry(store, instance=WEB) as own, Registry(registry_store()) as watcher:
        own.add_status_handler(changes)
        for number, lose in enumerate((lambda: store.delete(KEY), lambda: store.revoke_lease(str(own.lease.id))), 1):
            lose()
            changes.wait(lambda told_, n=number: sum(c.status is Status.REGISTERED for c in told_) == n)
            assert store.get(KEY).lease_id == own.lease.id
        assert watcher.wait_for("web", timeout=10.0).instances == (WEB,)
    assert store.get(KEY) is None


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_an_instance_of_another_process_goes_with_it(registry_url, registry_store, told, how):
    store = registry_store()
    if not store.capabilities.multi_process:
        return  # this store isn't seen by other processes: nothing to show
    seen = told()
    heartbeat = max(1.0, store.capabilities.min_ttl)
    slack = store.capabilities.max_lifetime_after_refresh(heartbeat) + store.capabilities.max_watch_latency
    with Registry(store) as watcher:
        watcher.add_handler(seen)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, registry_url, str(heartbeat)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with child:
            try:
                assert child.stdout.readline() == b"registered\n"
                assert watcher.wait_for("web", timeout=10.0)[0].id == "child"
                started = time.monotonic()
                if how == "killed":
                    child.send_signal(signal.SIGKILL)
                else:
                    child.stdin.close()
                events = seen.wait(lambda events: len(events) == 2, timeout=slack + 5.0)
                took = time.monotonic() - started
            finally:
                child.kill()
    assert [event.type for event in events] == ["create", "delete"]
    assert took < (slack + 1.0 if how == "killed" else 5.0)


def test_a_restarted_process_with_a_fixed_id_waits_for_its_predecessor(registry_store):
    store = registry_store()
    ttl = max(0.5, store.capabilities.min_ttl)
    store.put(KEY, b"{}", lease=store.lease(ttl, keep_alive=False))
    with Registry(
        registry_store(), RegistryConfig(wait=store.capabilities.max_lifetime_after_refresh(ttl) + 5.0), WEB
    ) as own:
        assert store.get(KEY).lease_id == own.lease.id
