"""One lease and the thread that keeps it: states by the clock, one notice of loss, nothing revived."""

from __future__ import annotations

import re
import threading

import pytest

from tenure import Lease, LeaseState, SystemClock
from tenure._runtime.clock import ManualClock
from tenure.errors import DeadlineExceeded, LeaseLost, LeaseNotFound, OutcomeUnknown, StoreClosed, Unavailable
from tenure.spi import LeaseGrant
from tenure_testkit.waiting import until

from .doubles import own_threads


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
    clock.jump(6.0)
    assert lease.state is LeaseState.AT_RISK
    assert lease.alive
    lease.ensure_valid(min_remaining=3.0)
    with pytest.raises(LeaseLost, match=r"3\.000 s more only"):
        lease.ensure_valid(min_remaining=3.1)
    clock.jump(3.0)
    assert lease.state is LeaseState.LOST
    assert lease.remaining == 0.0
    assert lease.reason.startswith("no refresh ")
    assert "for 9.000 s, the TTL is 9 s" in lease.reason
    with pytest.raises(LeaseLost, match="lost"):
        lease.ensure_valid()
    assert lost.called.wait(60.0)


@pytest.mark.parametrize("ttl", [0.1, 0.3, 0.7, 1.1, 3.3, 9.0])
@pytest.mark.parametrize("start", [0.0, 0.1, 1000.0, 123456.789])
def test_the_keeper_notices_a_deadline_that_is_met_to_the_digit(backend, open_store, lost, ttl, start):
    clock = ManualClock(start)
    lease = open_store(backend, clock=clock).lease(ttl, keep_alive=False, on_lost=lost)
    clock.jump(ttl)
    assert lost.called.wait(60.0)
    assert lease.state is LeaseState.LOST


# -- why -----------------------------------------------------------------------------------------------


class Keeper:
    """A keep-alive whose refreshes the test makes; ``sent`` is when the one under way was."""

    sent = None

    def busy_since(self):
        return self.sent

    def lost(self, lease):
        pass


@pytest.mark.parametrize(
    ("keep_alive", "steps", "reason"),
    [
        (False, [], "no refresh succeeded for 12.000 s, the TTL is 9 s"),
        (True, [], "no refresh was tried for 12.000 s, the TTL is 9 s: this process did not run"),
        (True, ["good"], "no refresh was tried for 12.000 s, the TTL is 9 s: this process did not run"),
        (True, ["good", 11.5, "bad", "bad"], "the 2 that were tried failed, the last with Unavailable: down$"),
        (True, ["good", 1.0, "bad"], "Unavailable: down; none was tried in the last 11.0 s: this process did not run"),
        (True, ["good", 10.0, "sent"], "the one that was sent 2.0 s ago had no answer in time$"),
        (True, ["good", 3.0, "sent"], "sent 9.0 s ago had no answer in time; this process did not run"),
        (True, ["good", 4.0, "others"], "a refresh of other leases has been under way for 8.0 s$"),
    ],
)
def test_a_loss_tells_a_pause_from_a_store_that_is_away(keep_alive, steps, reason):
    clock, keeper, passed = ManualClock(100.0), Keeper(), 0.0
    lease = Lease(
        LeaseGrant("L1", 9.0),
        requested_ttl=9.0,
        max_lifetime_after_refresh=9.0,
        keep_alive=keep_alive,
        started=100.0,
        margin=0.0,
        clock=clock,
        keeper=keeper,
        on_lost=None,
    )
    for step in steps:
        if isinstance(step, float):
            passed += step
            clock.jump(step)
            continue
        if step == "others":
            keeper.sent = clock.now()
            continue
        lease.mark_tried(clock.now())
        if step == "good":
            lease.mark_refreshed(clock.now(), 9.0, clock.now())
        elif step == "bad":
            lease.mark_failed(Unavailable("down"))
        else:
            keeper.sent = clock.now()
    clock.jump(12.0 - passed)
    assert lease.state is LeaseState.LOST
    assert re.search(reason, lease.reason)


# -- closing -----------------------------------------------------------------------------------------------


def test_closing_the_store_revokes_and_nobody_can_count_on_the_leases_any_more(held, backend, lost):
    lease, other = held.lease(9, on_lost=lost), held.lease(9, keep_alive=False, on_lost=lost)
    held.close()
    assert (lease.state, other.state) == (LeaseState.REVOKED, LeaseState.REVOKED)
    assert [sorted(call.arguments["lease_ids"]) for call in backend.called("revoke")] == [[lease.id, other.id]]
    with pytest.raises(LeaseLost, match="revoked"):
        lease.ensure_valid()
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


# -- losing ------------------------------------------------------------------------------------------------


def test_on_lost_once_when_the_store_says_gone_at_the_very_deadline(held, backend, clock, lost):
    def gone_at_the_deadline(timeout, lease_ids):
        clock.jump(6)
        return {}

    backend.always("refresh", gone_at_the_deadline)
    lease = held.lease(9, on_lost=lost)
    clock.jump(3)
    assert lost.called.wait(60.0)
    assert lease.state is LeaseState.LOST
    held.close()  # runs what is queued for callbacks
    assert lost.calls == [lease]


def test_an_answer_that_comes_after_the_deadline_revives_nothing(held, backend, clock, lost):
    def late(timeout, lease_ids):
        clock.jump(6)
        return backend.kept(lease_ids)

    backend.always("refresh", late)
    lease = held.lease(9, on_lost=lost)
    clock.jump(3)
    assert lost.called.wait(60.0)
    assert lease.state is LeaseState.LOST
    with pytest.raises(LeaseLost):
        lease.refresh()
    held.close()
    assert lost.calls == [lease]
    assert backend.count("refresh") == 1


def test_the_deadline_counts_from_when_the_refresh_was_sent(held, backend, clock):
    def slow(timeout, lease_ids):
        clock.jump(2)
        return backend.kept(lease_ids)

    lease = held.lease(9)
    backend.script("refresh", slow)
    lease.refresh()
    assert lease.remaining == 7.0


def test_a_put_refused_for_its_lease_makes_that_lease_lost(held, backend, lost):
    lease = held.lease(9, on_lost=lost)
    backend.script("commit", LeaseNotFound("gone"))
    with pytest.raises(LeaseNotFound):
        held.put("a", b"", lease=lease)
    assert lost.called.wait(60.0)
    assert lease.reason == "gone"
    with pytest.raises(LeaseLost):
        held.put("a", b"", lease=lease)
    assert backend.count("commit") == 1


def test_what_on_lost_raises_is_logged_and_the_others_hear_of_their_loss(held, backend, clock, lost, caplog):
    def broken(lease):
        raise RuntimeError("the application's bug")

    backend.always("refresh", Unavailable("down"))
    held.lease(9, on_lost=broken)
    held.lease(9, on_lost=lost)
    clock.jump(9)
    assert lost.called.wait(60.0)
    held.close()
    assert "the application's bug" in caplog.text


def test_a_callback_that_blocks_does_not_delay_another_leases_loss(held, backend, clock, lost):
    release = threading.Event()
    backend.always("refresh", Unavailable("down"))
    held.lease(8, on_lost=lambda lease: release.wait(10))
    held.lease(9, on_lost=lost)
    clock.jump(9)
    assert lost.called.wait(60.0)
    release.set()


# -- refreshing --------------------------------------------------------------------------------------------


def test_leases_due_together_go_in_one_call(held, backend, clock):
    leases = [held.lease(9) for _ in range(7)]
    clock.jump(3)
    backend.wait_for_calls("refresh", 1)
    assert sorted(backend.called("refresh")[0].arguments["lease_ids"]) == sorted(lease.id for lease in leases)
    until(lambda: all(lease.remaining == 9.0 for lease in leases))


@pytest.mark.parametrize("error", [Unavailable("down"), OutcomeUnknown("no answer"), ValueError("a bug"), None])
def test_a_failed_refresh_is_tried_again_before_the_deadline(held, backend, clock, error):
    backend.script("refresh", 17 if error is None else error)  # 17 is no answer at all: also a plugin's bug
    lease = held.lease(9)
    clock.jump(3)
    backend.wait_for_calls("refresh", 1)
    clock.jump(1)
    backend.wait_for_calls("refresh", 2)
    until(lambda: lease.remaining == 9.0)


def test_an_attempt_leaves_time_for_another_one(held, backend, clock):
    held.lease(3)
    clock.jump(1)
    backend.wait_for_calls("refresh", 1)
    assert backend.called("refresh")[0].timeout == pytest.approx(1.0)


def test_after_a_refresh_without_enough_time_batches_are_smaller(held, backend, clock):
    leases = [held.lease(9) for _ in range(400)]
    backend.script("refresh", DeadlineExceeded("slow"), DeadlineExceeded("slow"))
    for number, seconds in ((1, 3), (2, 1)):
        clock.jump(seconds)
        backend.wait_for_calls("refresh", number)
    clock.jump(1)
    until(lambda: all(lease.remaining >= 8 for lease in leases))
    assert [len(call.arguments["lease_ids"]) for call in backend.called("refresh")][:3] == [400, 200, 100]


class WokenAlone(ManualClock):
    """Time stands still, and a thread that waits does so until another one notifies it."""

    waits = 0

    def wait(self, condition, seconds):
        self.waits += 1
        condition.wait()


def test_one_lease_after_the_other_shares_a_thread_and_never_wakes_it(backend, open_store):
    clock = WokenAlone()
    store = open_store(backend, clock=clock)
    first = store.lease(9)
    until(lambda: clock.waits)
    first.revoke()
    for _ in range(100):
        store.lease(9).revoke()
    assert own_threads() == ["tenure-leases"]
    assert clock.waits == 1
    store.lease(6)  # is due before all others, so the thread has to look again
    until(lambda: clock.waits == 2)


def test_a_lease_about_to_end_does_not_starve_the_refreshing_of_others(held, backend, clock):
    """With attempts cut to what the next deadline leaves, a server 30 ms away could never answer in time."""
    held.lease(9)
    held.lease(3.01, keep_alive=False)
    clock.jump(3)
    backend.wait_for_calls("refresh", 1)
    assert backend.called("refresh")[0].timeout >= 0.25


def test_a_frozen_refresh_does_not_delay_another_leases_loss(store, backend, lost):
    """Real time: the refresh of the first lease hangs for as long as it may while the second one's time runs out."""
    frozen, over = threading.Event(), threading.Event()

    def hang(timeout, lease_ids):
        frozen.set()
        over.wait(timeout)
        raise Unavailable("frozen")

    backend.always("refresh", hang)
    store.lease(0.6)
    doomed = store.lease(0.7, keep_alive=False, on_lost=lost)
    assert frozen.wait(60.0)
    assert lost.called.wait(60.0)
    assert doomed.state is LeaseState.LOST
    assert store.clock.now() - doomed.deadline < 0.5
    over.set()


def test_without_keep_alive_only_the_holder_refreshes(held, backend, clock, lost):
    lease = held.lease(9, keep_alive=False, on_lost=lost)
    clock.jump(8)
    lease.refresh()
    assert lease.remaining == 9.0
    clock.jump(8)
    assert lease.alive
    assert backend.count("refresh") == 1
    clock.jump(1)
    assert lost.called.wait(60.0)


def test_a_revoked_lease_is_not_refreshed_again(held, backend, clock):
    lease, other = held.lease(9), held.lease(9)
    backend.always("revoke", Unavailable("down"))
    with pytest.raises(Unavailable):
        lease.revoke(timeout=0.05)
    assert lease.state is LeaseState.REVOKED
    clock.jump(3)
    backend.wait_for_calls("refresh", 1)
    assert backend.called("refresh")[0].arguments["lease_ids"] == [other.id]
    with pytest.raises(LeaseLost, match="revoked"):
        lease.refresh()


def test_a_lease_in_a_with_block_is_revoked_at_its_end(held, backend):
    with held.lease(9) as lease:
        assert lease.alive
    assert lease.state is LeaseState.REVOKED
    assert backend.called("revoke")[0].arguments["lease_ids"] == [lease.id]


def test_refreshing_a_lease_that_the_store_forgot_says_so(held, backend, lost):
    lease = held.lease(9, on_lost=lost)
    backend.script("refresh", {})
    with pytest.raises(LeaseLost, match="no longer knows"):
        lease.refresh()
    assert lost.called.wait(60.0)


def test_a_shorter_ttl_in_an_answer_counts_from_then_on(held, backend, clock):
    lease = held.lease(9)
    backend.script("refresh", {lease.id: 5.0})
    lease.refresh()
    assert (lease.ttl, lease.remaining) == (5.0, 5.0)


# -- the thread and its books ------------------------------------------------------------------------------


def test_one_thread_for_all_leases_and_none_when_they_are_gone(held):
    assert own_threads() == []
    leases = [held.lease(9) for _ in range(50)]
    assert own_threads() == ["tenure-leases"]
    for lease in leases:
        lease.revoke()
    until(lambda: not own_threads())
    again = held.lease(9)
    assert own_threads() == ["tenure-leases"]
    assert again.alive


def test_a_with_block_raises_its_own_error_although_the_lease_can_not_be_revoked(held, backend, caplog):
    backend.always("revoke", Unavailable("down"))
    with pytest.raises(KeyError), held.lease(9):
        raise KeyError("the application's own")
    assert "could not be revoked after an error" in caplog.text
    with pytest.raises(Unavailable), held.lease(9):
        pass


def test_the_books_do_not_grow_with_leases_that_are_gone(held):
    kept = held.lease(500)
    for _ in range(10_000):
        held.lease(9).revoke()
    assert len(held._keeper._machine) == 1
    assert held._keeper._machine.entries < 200
    assert kept.alive


def test_the_books_do_not_grow_with_refreshes(held, backend, clock):
    leases = [held.lease(9) for _ in range(20)]
    for number in range(1, 51):
        clock.jump(3)
        until(lambda: all(lease.remaining > 8 for lease in leases))
        backend.wait_for_calls("refresh", number)
    assert held._keeper._machine.entries <= 20


def test_ten_thousand_leases_for_a_minute_without_a_false_loss(held, backend, clock, lost):
    """Virtual time, in steps of a second."""
    leases = [held.lease(10, on_lost=lost) for _ in range(10_000)]
    assert own_threads() == ["tenure-leases"]
    for _ in range(60):
        clock.jump(1)
        until(lambda: min(lease.deadline for lease in leases) > clock.now() + 5.5)
    assert not lost.calls
    assert all(lease.state is LeaseState.ALIVE for lease in leases)
    assert max(len(call.arguments["lease_ids"]) for call in backend.called("refresh")) <= 500
    held.close()
    assert sum(len(call.arguments["lease_ids"]) for call in backend.called("revoke")) == 10_000


# -- a loss is told in time, whatever else happens -----------------------------------------------------------


class Suspendable(SystemClock):
    """Real time that a suspended machine leaves out, as ``CLOCK_BOOTTIME`` shows it afterwards."""

    def __init__(self):
        super().__init__()
        self.suspended = 0.0

    def now(self):
        return super().now() + self.suspended


def test_a_loss_is_told_soon_after_the_machine_wakes_up(backend, open_store, lost):
    clock = Suspendable()
    lease = open_store(backend, clock=clock).lease(600, on_lost=lost)
    clock.suspended = 3600.0
    assert lost.called.wait(20.0), "the next refresh would be due in 200 s"
    assert lease.state is LeaseState.LOST


def test_a_loss_is_told_while_a_refresh_waits_longer_than_it_may(backend, open_store, lost):
    """The machine was suspended in the middle of the refresh, and the plugin overruns its timeout."""
    clock, frozen, over = Suspendable(), threading.Event(), threading.Event()

    def hang(timeout, lease_ids):
        frozen.set()
        over.wait(60.0)
        raise Unavailable("frozen")

    backend.always("refresh", hang)
    store = open_store(backend, clock=clock)
    store.lease(0.3)
    doomed = store.lease(600, on_lost=lost)
    assert frozen.wait(60.0)
    clock.suspended = 3600.0
    try:
        assert lost.called.wait(20.0)
        assert lost.calls == [doomed]
    finally:
        over.set()


def test_callbacks_that_block_keep_no_loss_back(held, backend, clock, lost):
    release = threading.Event()
    backend.always("refresh", Unavailable("down"))
    with held.watch("", callback=lambda batch: release.wait(60.0)):
        for _ in range(40):  # more than the threads for callbacks of watches
            held.lease(8, on_lost=lambda lease: release.wait(60.0))
        held.lease(9, on_lost=lost)
        clock.jump(9)
        try:
            assert lost.called.wait(20.0)
        finally:
            release.set()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_on_lost_raises_ends_no_keeping_alive(held, backend, clock, lost, error):
    def raises(lease):
        raise error

    doomed = held.lease(9, on_lost=raises, keep_alive=False)
    kept = held.lease(9, on_lost=lost)
    for number in range(1, 5):
        clock.jump(3)
        backend.wait_for_calls("refresh", number)
        until(lambda: kept.remaining == 9.0)
    assert doomed.state is LeaseState.LOST
    until(lambda: hasattr(doomed, "_told_on_lost"))
    assert not lost.calls


def test_a_lease_that_no_thread_can_keep_alive_is_not_handed_out(held, backend, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Unavailable, match="no thread can be started to keep it alive"):
            held.lease(9)
    assert len(held._keeper._machine) == 0
    assert held.lease(9).alive


def test_a_loss_is_told_once_threads_can_be_started_again(held, backend, clock, lost, monkeypatch):
    """The keeper's thread runs, but those for callbacks and timers can't be started for a while."""
    refused, allowed, start = threading.Event(), threading.Event(), threading.Thread.start

    def sometimes(thread):
        if not allowed.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    kept = held.lease(9)
    doomed = held.lease(8, on_lost=lost, keep_alive=False)
    monkeypatch.setattr(threading.Thread, "start", sometimes)
    for number in (1, 2, 3):
        clock.jump(3)
        backend.wait_for_calls("refresh", number)
        until(lambda: kept.remaining == 9.0)
    assert refused.wait(60.0)
    assert doomed.state is LeaseState.LOST
    assert not lost.calls
    allowed.set()
    assert lost.called.wait(60.0)
    kept.revoke()


def test_a_revocation_that_is_interrupted_ends_the_refreshing(held, backend, clock, monkeypatch):
    """A signal handler raises between the end of the lease and the call to the store."""

    def interrupt(lease):
        raise KeyboardInterrupt

    lease, other = held.lease(9), held.lease(9)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(held._keeper, "forget", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lease.revoke()
    for number in (1, 2, 3):
        clock.jump(3)
        backend.wait_for_calls("refresh", number)
        until(lambda: other.remaining == 9.0)
    assert all(call.arguments["lease_ids"] == [other.id] for call in backend.called("refresh"))
    until(lambda: len(held._keeper._machine) == 1)


def test_a_loss_that_is_interrupted_is_told_at_the_deadline(held, backend, clock, lost, monkeypatch):
    def interrupt(lease):
        raise KeyboardInterrupt

    lease = held.lease(9, on_lost=lost)
    backend.script("commit", LeaseNotFound("gone"))
    with monkeypatch.context() as interrupted:
        interrupted.setattr(held._keeper, "lost", interrupt)
        with pytest.raises(KeyboardInterrupt):
            held.put("a", b"", lease=lease)
    assert lease.state is LeaseState.LOST
    clock.jump(9)
    assert lost.called.wait(60.0)
    held.close()
    assert lost.calls == [lease]
