"""Time that a test moves: what is due happens in its order, and no real time passes."""

from __future__ import annotations

import threading
import time

import pytest

from tenure import LeaseState
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure.testing import VirtualClock, wait_until

WEB = Instance("web", id="1", host="10.0.0.1", port=80)
REAL = 10.0  # seconds of a busy machine; far less than the minutes that pass for the store
STEADY = {"jitter": 0.0, "retry_first": 3.0, "retry_longest": 30.0}


def test_leases_are_refreshed_while_time_elapses(tenure_store, tenure_faults, tenure_clock):
    lease = tenure_store.lease(9)
    started = time.monotonic()
    tenure_clock.advance(90)
    assert lease.state is LeaseState.ALIVE
    assert tenure_faults.count("refresh") == 30
    assert time.monotonic() - started < REAL


def test_leases_are_lost_when_time_jumps(tenure_store, tenure_clock):
    lease = tenure_store.lease(9)
    tenure_clock.jump(9)
    assert lease.state is LeaseState.LOST


def test_a_lease_that_nobody_keeps_ends_at_its_time(tenure_store, tenure_clock):
    lease = tenure_store.lease(9, keep_alive=False)
    tenure_store.put("a", b"", lease=lease)
    tenure_clock.advance(8.9)
    assert tenure_store.get("a") is not None
    tenure_clock.advance(0.1)
    assert tenure_store.get("a") is None
    assert lease.state is LeaseState.LOST


def test_a_registration_comes_back_after_its_delays(tenure_sandbox):
    box = tenure_sandbox
    store = box.connect()
    with Registry(store, RegistryConfig(**STEADY), WEB) as registry:
        box.faults.fail_calls(1000, kinds="grant")
        box.faults.expire_lease(registry.lease)
        wait_until(lambda: registry.status is Status.RECOVERING)
        box.clock.advance(3 + 6 + 9 + 14.9)
        assert registry.status is Status.RECOVERING
        box.faults.clear()
        box.clock.advance(0.1)
        assert registry.status is Status.REGISTERED
        assert registry.wait_for("web").instances == (WEB,)


def test_threads_that_live_by_something_else_hold_nothing_up(tenure_store, tenure_clock):
    stop = threading.Event()
    blocked = threading.Event()

    def callback(_batch):
        blocked.set()
        assert stop.wait(60.0)

    tenure_store.watch(callback=callback)
    assert blocked.wait(60.0)
    started = time.monotonic()
    tenure_clock.advance(60)
    tenure_clock.advance(60)
    assert time.monotonic() - started < REAL
    stop.set()


def test_time_goes_forward():
    clock = VirtualClock(5.0)
    for move in (clock.advance, clock.advance):
        with pytest.raises(ValueError, match="can't go back"):
            move(-1)
    clock.advance(0)
    assert clock.now() == 5.0


def test_waiting_for_what_never_comes_says_what():
    def pigs_fly():
        return False

    with pytest.raises(AssertionError, match=r"pigs_fly \(.*test_clock.py, line \d+\) was still not true after 0.01 s"):
        wait_until(pigs_fly, within=0.01)


def test_an_outage_of_minutes_takes_no_minutes(tenure_sandbox):
    box = tenure_sandbox
    with Registry(box.connect(), RegistryConfig(**STEADY), WEB) as own, Registry(box.connect()) as other:
        started = time.monotonic()
        with box.faults.outage():
            box.clock.advance(300)
            assert (own.status, other.staleness) == (Status.RECOVERING, 300.0)
            assert other.get_service("web").instances == (WEB,)
        box.clock.advance(30)
        wait_until(lambda: own.status is Status.REGISTERED)
        assert time.monotonic() - started < REAL
