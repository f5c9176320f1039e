"""A sandbox: how it is opened, by whom, and that nothing of it is left."""

from __future__ import annotations

import subprocess
import sys
import threading
import unittest
from importlib import metadata

import pytest

import tenure
from tenure import ConfigError, PluginError, StoreClosed, registry
from tenure._runtime.clock import ManualClock
from tenure.registry import Instance
from tenure.testing import Sandbox, VirtualClock, embedded, wait_until


def test_each_is_empty_and_its_connections_see_the_same():
    with Sandbox() as one, Sandbox() as other:
        one.connect().put("a", b"1")
        assert one.connect().get("a").value == b"1"
        assert other.connect().get("a") is None


def test_code_that_opens_its_store_by_url_lives_by_the_same_clock_and_faults(tenure_url, tenure_sandbox):
    with tenure.connect(tenure_url) as store, tenure.connect(f"{tenure_url}/shop") as shop:
        assert store.clock is shop.clock is tenure_sandbox.clock
        shop.put("a", b"")
        assert store.get("a") is None
        assert [item.key for item in store.list()] == ["shop/a"]
        tenure_sandbox.faults.next_write_unknown(applied=False)
        with pytest.raises(tenure.OutcomeUnknown):
            store.put("a", b"")


def test_the_registry_of_a_process(tenure_url, tenure_sandbox):
    registry.init(tenure_url, instance=Instance("web", id="1", host="h", port=80))
    try:
        lease = registry.get_registry().lease
        tenure_sandbox.faults.expire_lease(lease)
        tenure_sandbox.clock.advance(5)
        wait_until(lambda: registry.get_registry().lease not in (lease, None))
        assert registry.wait_for("web").instances[0].id == "1"
    finally:
        registry.close()


def test_nothing_is_left_when_it_is_closed():
    with Sandbox() as box:
        store = box.connect()
        store.lease(5)
        store.watch(callback=print)
        outage = box.faults.outage()
        outage.__enter__()
    assert store.closed
    assert "closed" in repr(box)
    box.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tenure")]
    with pytest.raises(ConfigError, match="its test may have ended"):
        tenure.connect(box.url)


def test_a_connection_that_outlives_its_sandbox_says_so():
    with Sandbox() as box:
        store = tenure.connect(box.url)
    store.close()
    with pytest.raises(StoreClosed):
        store.get("a")


def test_another_clock_is_refused(tenure_url):
    with pytest.raises(ConfigError, match="the clock of its sandbox"):
        tenure.connect(tenure_url, clock=ManualClock())


def test_a_clock_of_ones_own():
    clock = VirtualClock(7.0)
    with Sandbox(clock=clock) as box:
        assert box.clock is clock
        assert box.connect().clock is clock


def test_a_store_named_by_its_url_is_left_as_it_was(tmp_path):
    url = f"sqlite://{tmp_path}/state.db"
    with tenure.connect(url) as store:
        store.put("mine", b"")
        with Sandbox(url) as box:
            box.connect().put("a", b"")
            assert box.connect().get("mine") is None
            assert len(store.list()) == 2
        assert store.list().keys == ("mine",)
    with pytest.raises(ConfigError, match="leave 'ns' out"):
        Sandbox(f"{url}?namespace=ns")


def test_without_a_store_for_tests_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(embedded, "GROUP", "tenure.nobody")
    with pytest.raises(ConfigError, match="give the URL of a store"):
        Sandbox()


def test_a_store_for_tests_that_fails_is_named(monkeypatch):
    broken = metadata.EntryPoint("broken", "no_such_module:Store", "tenure.testing")
    monkeypatch.setattr(embedded.metadata, "entry_points", lambda group: [broken])
    with pytest.raises(PluginError, match="no_such_module:Store"):
        Sandbox()


class TestWithUnittest(unittest.TestCase):
    def setUp(self):
        self.box = self.enterContext(Sandbox())

    def test_it_needs_no_pytest(self):
        self.box.faults.next_write_unknown(applied=True)
        with self.assertRaises(tenure.OutcomeUnknown):  # noqa: PT027 - as in a project without pytest
            self.box.connect().put("a", b"")


def test_it_works_where_pytest_is_not_installed():
    code = """
import sys
sys.modules["pytest"] = None
from tenure.testing import Sandbox
with Sandbox() as box:
    print(box.connect().put("a", b"1").revision)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
