"""The registry over an etcd that is killed, frozen or emptied."""

from __future__ import annotations

import pytest

import tenure
from tenure.registry import Instance, Registry, RegistryConfig, Status, encode

WEB = Instance("web", id="1", host="h", host_name="n", port=80)
KEY = "/registry/default/web/1@h"
CONFIG = RegistryConfig(heartbeat=2.0, retry_first=0.5, retry_longest=1.0)


@pytest.fixture
def pair(etcd_node, told):
    """A registered instance, a watcher with connections of its own, and what they are told."""
    with tenure.connect(etcd_node.url) as store, tenure.connect(etcd_node.url) as other:
        own, watcher = Registry(store, CONFIG, WEB), Registry(other, CONFIG)
        changes, events = told(), told()
        with own.start(), watcher.start():
            own.add_status_handler(changes)
            watcher.add_handler(events, replay=True)
            events.of(1)
            yield store, watcher, changes, events


def registered_again(changes) -> bool:
    return any(change.status is Status.REGISTERED for change in changes)


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_an_outage_longer_than_the_lease_serves_the_last_known_then_registers_once(etcd_node, pair, fault):
    store, watcher, changes, _ = pair
    if fault == "kill":
        etcd_node.kill()
    else:
        etcd_node.pause()
    changes.wait(lambda told: any("failed, next in" in change.reason for change in told), timeout=60.0)
    assert watcher.get_service("web").instances == (WEB,)
    assert watcher.staleness > 0
    if fault == "kill":
        etcd_node.start()
    else:
        etcd_node.resume()
    changes.wait(registered_again, timeout=60.0)
    assert [(item.key, item.value) for item in store.list("/registry/")] == [(KEY, encode(WEB))]
    assert len(watcher.wait_for("web", timeout=30.0)) == 1


@pytest.mark.faults
def test_a_store_that_lost_its_data_gets_its_instance_back(etcd_node, pair):
    store, watcher, changes, _ = pair
    etcd_node.stop()
    etcd_node.wipe()
    etcd_node.start()
    changes.wait(registered_again, timeout=60.0)
    assert [item.key for item in store.list("/registry/")] == [KEY]
    assert watcher.wait_for("web", timeout=30.0).instances == (WEB,)
