"""One lease and the thread that keeps it: states by the clock, one notice of loss, nothing revived."""

from __future__ import annotations

import threading

import pytest

from leasehold import LeaseState
from leasehold.errors import LeaseLost, LeaseNotFound, OutcomeUnknown, StoreClosed, Unavailable
from leasehold.spi import LeaseGrant

from .doubles import own_threads, until


class Lost:
    """Counts calls of ``on_lost``."""

    def __init__(self):
        self.calls = []
        self.called = threading.Event()

    def __call__(self, lease):
        self.calls.append(lease)
        self.called.set()


@pytest.fixture
def lost():
    return Lost()


# -- states ------------------------------------------------------------------------------------------------


def test_alive_then_suspect_then_lost_by_the_clock_alone(held, backend, clock, lost):
    backend.always("refresh", Unavailable("down"))
    lease = held.lease(9, on_lost=lost)
    assert (lease.state, lease.remaining) == (LeaseState.ALIVE, 9.0)
    clock.advance(6.0)
    assert lease.state is LeaseState.SUSPECT
    assert lease.alive
    lease.assert_valid(margin=3.0)
    with pytest.raises(LeaseLost, match=r"3\.000 s more only"):
        lease.assert_valid(margin=3.1)
    clock.advance(3.0)
    assert lease.state is LeaseState.LOST
    assert lease.remaining == 0.0
    assert "not refreshed" in lease.reason
    with pytest.raises(LeaseLost, match="lost"):
        lease.assert_valid()
    assert lost.called.wait(10)


@pytest.mark.parametrize("ttl", [0.1, 0.3, 0.7, 1.1, 3.3, 9.0])
@pytest.mark.parametrize("start", [0.0, 0.1, 1000.0, 123456.789])
def test_the_keeper_notices_a_deadline_that_is_met_to_the_digit(backend, open_store, lost, ttl, start):
    from leasehold.clock import ManualClock

    clock = ManualClock(start)
    lease = open_store(backend, clock=clock).lease(ttl, keep_alive=False, on_lost=lost)
    clock.advance(ttl)
    assert lost.called.wait(10)
    assert lease.state is LeaseState.LOST


# -- closing -----------------------------------------------------------------------------------------------


def test_closing_the_store_revokes_and_nobody_can_count_on_the_leases_any_more(held, backend, lost):
    lease, other = held.lease(9, on_lost=lost), held.lease(9, keep_alive=False, on_lost=lost)
    held.close()
    assert (lease.state, other.state) == (LeaseState.REVOKED, LeaseState.REVOKED)
    assert [sorted(call.arguments["lease_ids"]) for call in backend.called("revoke")] == [[lease.id, other.id]]
    with pytest.raises(LeaseLost, match="revoked"):
        lease.assert_valid()
    lease.revoke()
    assert backend.count("revoke") == 1
    assert not lost.calls


def test_a_lease_granted_while_the_store_closes_is_revoked_and_not_handed_out(held, backend):
    def close_meanwhile(timeout, ttl):
        held.close()
        return LeaseGrant("late", ttl)

    backend.script("grant", close_meanwhile)
    with pytest.raises(StoreClosed, match="late"):
        held.lease(9)
    assert backend.called("revoke")[-1].arguments["lease_ids"] == ["late"]


def test_a_store_that_is_down_does_not_stop_the_closing(held, backend, caplog):
    backend.always("revoke", Unavailable("down"))
    lease = held.lease(9)
    held.close()
    assert lease.state is LeaseState.REVOKED
    assert "1 leases could not be revoked" in caplog.text
    assert backend.closed
